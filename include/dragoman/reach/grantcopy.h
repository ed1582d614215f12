/* SPDX-License-Identifier: MIT */
/*
 * grantcopy: bytes between guests' granted frames and our own RAM, by Xen, in batches
 *
 * The other way to reach a guest's frame: no mapping, no slot, no TLB flush, but every byte moves.
 * Ops are added, then committed by one hypercall; each op's status is looked at. Before the call
 * the batch is sorted by guest, reference, direction and local frame, because Xen keeps a page
 * mapped from one op to the next when both name it. An op that Xen answers with "again" is
 * parked until dgm_grantcopy_retry(), a bounded number of times. Order between ops of one batch is
 * not kept: they must not overlap. What a hypercall leaves unsaid counts as refused.
 *
 * Source: xen/grant_table.h, GNTTABOP_copy. Our side is named by gfn, and must be RAM of our own
 * (Xen refuses a foreign frame). One dgm_grantcopy per reactor.
 */
#ifndef DRAGOMAN_REACH_GRANTCOPY_H
#define DRAGOMAN_REACH_GRANTCOPY_H

#include <dragoman/base/addr.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_GRANTCOPY_BATCH 512 /* ops in one hypercall */
#define DGM_GRANTCOPY_TRIES 12  /* an op that Xen answers with "again" this often is refused */

struct dgm_grantcopy {
    struct gnttab_copy ops[DGM_GRANTCOPY_BATCH];
    int *status[DGM_GRANTCOPY_BATCH];
    uint8_t tries[DGM_GRANTCOPY_BATCH];
    uint16_t order[DGM_GRANTCOPY_BATCH]; /* while sorting */
    size_t count;
    size_t parked;                   /* the first ops: wait for dgm_grantcopy_retry() */
    uint64_t copied, refused, again; /* ops */
    uint64_t bytes_in, bytes_out;    /* from guests, to guests */
    uint64_t batches;                /* hypercalls */
};

/* What to copy: within one frame on either side, at the same offset. */
struct dgm_grantcopy_op {
    domid_t domid;
    grant_ref_t ref;
    dgm_gfn_t local;        /* our frame */
    uint16_t offset, bytes; /* offset + bytes <= 4096, bytes > 0 */
    bool to_guest;          /* else from the guest */
};

void dgm_grantcopy_init(struct dgm_grantcopy *copy);

/*
 * Adds an op; commits first if the batch is full.
 * `status` is the caller's and stays until it is final: DGM_EAGAIN from now on, then DGM_OK
 * (copied) or DGM_EPERM (refused; nothing or a part was copied).
 */
void dgm_grantcopy_add(struct dgm_grantcopy *copy, const struct dgm_grantcopy_op *op, int *status);

/* One hypercall for all that was added (none: no hypercall). Then every status is final but those
 * of ops that Xen wants to be asked again: DGM_EAGAIN still, and counted in `parked`. */
void dgm_grantcopy_commit(struct dgm_grantcopy *copy);

/* A commit that asks again for what is parked, too. */
void dgm_grantcopy_retry(struct dgm_grantcopy *copy);

#ifdef __cplusplus
}
#endif

#endif
