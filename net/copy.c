/* SPDX-License-Identifier: MIT */
/* copy: see copy.h. */
#include <net/copy.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/hyper/hypercall.h>

void dgm_net_copy_add(struct dgm_net_copy *copy, const struct dgm_net_copy_op *op, int *status)
{
    struct gnttab_copy_ptr guest = {.domid = op->domid, .offset = op->guest_offset};
    struct gnttab_copy_ptr local = {.domid = DOMID_SELF, .offset = op->local_offset};
    struct gnttab_copy *to = &copy->ops[copy->count];

    dgm_assert(copy->count < DGM_NET_COPY_BATCH && op->bytes > 0);
    dgm_assert(op->guest_offset < DGM_FRAME_BYTES && op->local_offset < DGM_FRAME_BYTES);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->guest_offset);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->local_offset);
    guest.u.ref = op->ref;
    local.u.gmfn = dgm_gfn_number(op->local);
    to->source = op->to_guest ? local : guest;
    to->dest = op->to_guest ? guest : local;
    to->len = op->bytes;
    to->flags = op->to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref;
    to->status = DGM_XEN_NOT_WRITTEN;
    copy->status[copy->count++] = status;
}

void dgm_net_copy_commit(struct dgm_net_copy *copy)
{
    long result;

    if (copy->count == 0)
        return;
    copy->batches++;
    result = dgm_grant_table_op(GNTTABOP_copy, copy->ops, copy->count);
    for (uint32_t i = 0; i < copy->count; i++) {
        const struct gnttab_copy *op = &copy->ops[i];
        const enum dgm_xen_meaning meaning = dgm_xen_op_meaning(op->status, result);

        if (meaning == DGM_XEN_OK) {
            copy->copied++;
            *(op->flags & GNTCOPY_dest_gref ? &copy->bytes_out : &copy->bytes_in) += op->len;
            continue;
        }
        if (meaning == DGM_XEN_UNKNOWN)
            dgm_xen_log_unknown(&copy->logged, "copying a packet", op->status, result);
        *copy->status[i] =
            meaning == DGM_XEN_REFUSED || meaning == DGM_XEN_NO_DOMAIN ? DGM_EPERM : DGM_EIO;
        copy->refused++;
    }
    copy->count = 0;
}
