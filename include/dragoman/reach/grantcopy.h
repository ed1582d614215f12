/* SPDX-License-Identifier: MIT */
/*
 * grantcopy: bytes between guests' granted frames and our own RAM, or between two guests' granted
 * frames, by Xen, in batches
 *
 * Mode copy and netback reach a guest's frame by copying: no mapping, no slot, no TLB flush, but
 * every byte is copied. Ops are added, then committed by one hypercall, and each op has its own
 * status. Xen executes the ops in the order of addition and keeps a page mapped from one op to the
 * next if both name it, so ops of one frame should be adjacent. An op is attempted once. If it may
 * still succeed, its caller adds it again after a pause; that is harmless, because it copies the
 * same bytes. Such an op is executed later than others, so ops must not overlap.
 *
 * Source: xen/grant_table.h, GNTTABOP_copy. The local side is given as a gfn and must be our own
 * RAM: Xen refuses a foreign frame. Of two guests each side is given by its reference, and the
 * status does not tell which side Xen refused. One dgm_grantcopy per reactor.
 */
#ifndef DRAGOMAN_REACH_GRANTCOPY_H
#define DRAGOMAN_REACH_GRANTCOPY_H

#include <dragoman/base/addr.h>
#include <dragoman/base/status.h>
#include <dragoman/hyper/xen_status.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_GRANTCOPY_BATCH 512 /* ops in one hypercall */

/* Other rooms use the counters `count`, `refused`, `bytes_*`, `batches`; the rest is reach's
 * own. */
struct dgm_grantcopy {
    struct gnttab_copy ops[DGM_GRANTCOPY_BATCH];
    int *status[DGM_GRANTCOPY_BATCH];
    size_t count;
    uint64_t copied, refused;     /* ops */
    uint64_t not_done;            /* ops that may still succeed, counted at each attempt */
    uint64_t bytes_in, bytes_out; /* from guests, to guests, */
    uint64_t bytes_between;       /* from one guest to another */
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

/* A place in a guest's granted frame. */
struct dgm_grantcopy_end {
    domid_t domid;
    grant_ref_t ref;
    uint16_t offset;
};

/* What to copy from one guest's frame to another guest's. */
struct dgm_grantcopy_between {
    struct dgm_grantcopy_end from, to;
    uint16_t bytes; /* > 0; on both sides within the frame */
};

void dgm_grantcopy_init(struct dgm_grantcopy *copy);

/* Ops that can be added before dgm_grantcopy_add() commits. */
static inline size_t dgm_grantcopy_room(const struct dgm_grantcopy *copy)
{
    return DGM_GRANTCOPY_BATCH - copy->count;
}

/*
 * Adds an op; commits first if the batch is full. `status` is the caller's and outlives the op: it
 * is DGM_EAGAIN until the commit. Unless it becomes DGM_OK, some of the bytes may have been copied.
 */
void dgm_grantcopy_add(struct dgm_grantcopy *copy, const struct dgm_grantcopy_op *op, int *status);

/* The same, from one guest to another. */
void dgm_grantcopy_add_between(struct dgm_grantcopy *copy, const struct dgm_grantcopy_between *op,
                               int *status);

/*
 * Makes one hypercall for all added ops, or none if no op was added. Then each op has its status:
 *
 *   DGM_OK       copied
 *   DGM_EPERM    Xen refused the reference, or one of the two
 *   and those that may still succeed, by the meaning of what Xen returned (xen_status.h):
 *   DGM_EAGAIN   RETRY
 *   DGM_ENOSPC   SHORT
 *   DGM_EIO      UNKNOWN
 */
void dgm_grantcopy_commit(struct dgm_grantcopy *copy);

/* True if an op with this status may still succeed. */
static inline bool dgm_grantcopy_may_succeed(int status)
{
    return status != DGM_OK && status != DGM_EPERM;
}

#ifdef __cplusplus
}
#endif

#endif
