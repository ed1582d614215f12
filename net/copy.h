/* SPDX-License-Identifier: MIT */
/*
 * copy: bytes of packets between guests' granted frames and our own, by Xen, in batches
 *
 * Unlike reach/grantcopy.h the two sides have different offsets, several ops share a status, and
 * nothing is parked: an op that Xen does not do at once fails, because a packet may be lost and
 * must not wait. Ops are done in the order of addition. One batch per reactor; it is empty between
 * tasks.
 */
#ifndef NET_COPY_H
#define NET_COPY_H

#include <dragoman/base/addr.h>
#include <dragoman/hyper/xen_status.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#define DGM_NET_COPY_BATCH 512u

struct dgm_net_copy {
    struct gnttab_copy ops[DGM_NET_COPY_BATCH];
    int *status[DGM_NET_COPY_BATCH];
    uint32_t count;
    uint64_t batches, copied, refused, bytes_in, bytes_out;
    struct dgm_xen_logged logged;
};

struct dgm_net_copy_op {
    domid_t domid;
    grant_ref_t ref;
    dgm_gfn_t local;
    uint16_t guest_offset, local_offset;
    uint16_t bytes; /* > 0; each side lies within its frame */
    bool to_guest;
};

static inline uint32_t dgm_net_copy_room(const struct dgm_net_copy *copy)
{
    return DGM_NET_COPY_BATCH - copy->count;
}

/* Asserts that there is room. If the op fails, *status becomes DGM_EPERM (Xen refused the
 * reference) or DGM_EIO; else it stays as it is. */
void dgm_net_copy_add(struct dgm_net_copy *copy, const struct dgm_net_copy_op *op, int *status);

/* One hypercall for all ops that were added; none for no ops. */
void dgm_net_copy_commit(struct dgm_net_copy *copy);

#endif
