/* SPDX-License-Identifier: MIT */
/*
 * grantcopy: batches of GNTTABOP_copy, each op with its own status. See dragoman/reach/grantcopy.h.
 */
#include <dragoman/base/check.h>
#include <reach/internal.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>

#include <string.h>

#define BATCH DGM_GRANTCOPY_BATCH

void dgm_grantcopy_init(struct dgm_grantcopy *copy)
{
    memset(copy, 0, sizeof *copy);
}

static bool is_to_guest(const struct gnttab_copy *op)
{
    return op->flags & GNTCOPY_dest_gref;
}

void dgm_grantcopy_add(struct dgm_grantcopy *copy, const struct dgm_grantcopy_op *op, int *status)
{
    struct gnttab_copy *to;
    struct gnttab_copy_ptr *guest, *local;

    dgm_assert(op->bytes > 0);
    dgm_assert(op->guest_offset < DGM_FRAME_BYTES && op->local_offset < DGM_FRAME_BYTES);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->guest_offset);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->local_offset);
    if (copy->count == BATCH)
        dgm_grantcopy_commit(copy);
    to = &copy->ops[copy->count];
    guest = op->to_guest ? &to->dest : &to->source;
    local = op->to_guest ? &to->source : &to->dest;
    guest->u.gmfn = 0; /* all of the union */
    guest->u.ref = op->ref;
    guest->domid = op->domid;
    guest->offset = op->guest_offset;
    local->u.gmfn = dgm_gfn_number(op->local);
    local->domid = DOMID_SELF;
    local->offset = op->local_offset;
    to->len = op->bytes;
    to->flags = op->to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref;
    copy->status[copy->count++] = status;
    *status = DGM_EAGAIN;
}

/* --- committing --- */

static void count_copied(struct dgm_grantcopy *copy, const struct gnttab_copy *op)
{
    copy->copied++;
    *(is_to_guest(op) ? &copy->bytes_out : &copy->bytes_in) += op->len;
}

/* The status of an op for which Xen returned `meaning`. */
static int status_of(enum dgm_xen_meaning meaning)
{
    switch (meaning) {
    case DGM_XEN_OK:
        return DGM_OK;
    case DGM_XEN_RETRY:
        return DGM_EAGAIN;
    case DGM_XEN_SHORT:
        return DGM_ENOSPC;
    case DGM_XEN_UNKNOWN:
        return DGM_EIO;
    default:
        return DGM_EPERM;
    }
}

static void judge_op(struct dgm_grantcopy *copy, size_t i, long result)
{
    const struct dgm_xen_outcome outcome = {.status = copy->ops[i].status, .result = result};
    const enum dgm_xen_meaning meaning = dgm_xen_op_meaning(outcome);
    const int status = status_of(meaning);

    *copy->status[i] = status;
    if (status == DGM_OK)
        count_copied(copy, &copy->ops[i]);
    else if (dgm_grantcopy_may_succeed(status))
        copy->not_done++;
    else
        copy->refused++;
    if (meaning == DGM_XEN_UNKNOWN)
        dgm_xen_log_unknown(&copy->logged, "copying from or to a grant", outcome);
}

void dgm_grantcopy_commit(struct dgm_grantcopy *copy)
{
    const size_t count = copy->count;
    long result;

    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        copy->ops[i].status = DGM_XEN_NOT_WRITTEN;
    copy->batches++;
    result = dgm_grant_table_op(GNTTABOP_copy, copy->ops, (unsigned)count);
    for (size_t i = 0; i < count; i++)
        judge_op(copy, i, result);
    copy->count = 0;
}
