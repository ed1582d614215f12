/* SPDX-License-Identifier: MIT */
/*
 * grantcopy: bytes between guests' granted frames and our own RAM, by Xen, in batches
 *
 * Mode copy and netback reach a guest's frame by copying: no mapping, no slot, no TLB flush, but
 * every byte is copied. Ops are added, then committed by one hypercall, and each op has its own
 * status. Xen executes the ops in the order of addition and keeps a page mapped from one op to the
 * next if both name it, so ops of one frame should be adjacent. A parked op is executed later, so
 * ops must not overlap. An op that may still succeed (xen_status.h: RETRY, SHORT, UNKNOWN; or an op
 * that Xen did not reach) is parked, and tried at most DGM_GRANTCOPY_TRIES times. reach/
 * commits and retries after pauses; a caller that cannot wait uses dgm_grantcopy_finish(). A retry
 * is harmless: it copies the same bytes.
 *
 * Source: xen/grant_table.h, GNTTABOP_copy. The local side is given as a gfn and must be our own
 * RAM: Xen refuses a foreign frame. One dgm_grantcopy per reactor.
 */
#ifndef DRAGOMAN_REACH_GRANTCOPY_H
#define DRAGOMAN_REACH_GRANTCOPY_H

#include <dragoman/base/addr.h>
#include <dragoman/hyper/xen_status.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_GRANTCOPY_BATCH 512 /* ops in one hypercall */
#define DGM_GRANTCOPY_TRIES 12  /* attempts for one op */

/* Other rooms use the counters `count`, `refused`, `bytes_*`, `batches`; the rest is reach's
 * own. */
struct dgm_grantcopy {
    struct gnttab_copy ops[DGM_GRANTCOPY_BATCH];
    int *status[DGM_GRANTCOPY_BATCH];
    uint8_t tries[DGM_GRANTCOPY_BATCH];
    size_t count;
    size_t parked;                /* ops[0] to ops[parked - 1] wait for a retry */
    uint64_t copied, refused;     /* ops */
    uint64_t retries;             /* ops that were parked, counted each time */
    uint64_t bytes_in, bytes_out; /* from guests, to guests */
    uint64_t batches;             /* hypercalls */
    struct dgm_xen_logged logged;
};

/* What to copy: bytes of a guest's frame, and their place in a local one. */
struct dgm_grantcopy_op {
    domid_t domid;
    grant_ref_t ref;
    dgm_gfn_t local;                     /* our frame */
    uint16_t guest_offset, local_offset; /* in the frames */
    uint16_t bytes;                      /* > 0; on both sides within the frame */
    bool to_guest;                       /* otherwise from the guest */
};

void dgm_grantcopy_init(struct dgm_grantcopy *copy);

/* Ops that can be added before dgm_grantcopy_add() has to commit. */
static inline size_t dgm_grantcopy_room(const struct dgm_grantcopy *copy)
{
    return DGM_GRANTCOPY_BATCH - copy->count;
}

/*
 * Adds an op; commits first if the batch is full. `status` is the caller's and outlives the op. It
 * is DGM_EAGAIN until it is final. DGM_OK: copied. Otherwise some of the bytes may have been
 * copied. DGM_EPERM: Xen refused the reference. DGM_ENOSPC: Xen lacked a resource at every attempt.
 * DGM_EIO: a status that no guest causes, at every attempt.
 */
void dgm_grantcopy_add(struct dgm_grantcopy *copy, const struct dgm_grantcopy_op *op, int *status);

/* Commits until no op is parked, without a pause: at most DGM_GRANTCOPY_TRIES hypercalls. For a
 * caller that cannot wait. Then every status is final. */
void dgm_grantcopy_finish(struct dgm_grantcopy *copy);

#ifdef __cplusplus
}
#endif

#endif
