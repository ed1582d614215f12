/* SPDX-License-Identifier: MIT */
/*
 * copy_buffers: local frames that Xen copies to or from in mode copy
 *
 * A fixed pool of single local frames. A frame of a request stays in its buffer from the moment it
 * is added until it is released, so one request needs as many buffers as it has frames. The buffers
 * of a request are reserved together, against the guest's quota; taking a reserved buffer cannot
 * fail. So two requests never each hold half of the buffers that they need. A buffer keeps
 * the bytes of its last user, which is a connection, and is zeroed before another one may find them
 * in it. The same connection may find its own older bytes where a device wrote nothing.
 *
 * The caller provides the memory; only reach/ takes buffers. One pool per reactor, a few hundred
 * buffers. Every operation but the check is O(1).
 */
#ifndef DRAGOMAN_REACH_COPY_BUFFERS_H
#define DRAGOMAN_REACH_COPY_BUFFERS_H

#include <dragoman/base/frames.h>
#include <dragoman/base/quota.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_COPY_BUFFERS_MAX 1024u

/* One user of buffers: a connection. Its number is not 0, and no other user ever has it. */
struct dgm_copy_user {
    uint64_t number;
};

/* total == free + taken, and reserved <= free. Other rooms use `total`; the rest is reach's own. */
struct dgm_copy_buffers {
    dgm_gfn_t gfn[DGM_COPY_BUFFERS_MAX];
    uint16_t next_free[DGM_COPY_BUFFERS_MAX];
    uint64_t user[DGM_COPY_BUFFERS_MAX];       /* the only one whose bytes it has; 0: not known */
    uint64_t taken[DGM_COPY_BUFFERS_MAX / 64]; /* a bit per buffer */
    uint16_t total, free, free_first;
    uint16_t free_min; /* low-water mark */
    uint16_t reserved; /* of the free ones */
};

/* A pool of `count` buffers, 1 to DGM_COPY_BUFFERS_MAX, from `frames`. DGM_ENOMEM: `frames` has
 * fewer; the pool is not usable. */
int dgm_copy_buffers_init(struct dgm_copy_buffers *buffers, struct dgm_frames *frames,
                          uint16_t count);

#ifdef __cplusplus
}
#endif

#endif
