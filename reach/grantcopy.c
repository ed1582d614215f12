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

/* The next op of the batch, whose two sides the caller fills in. */
static struct gnttab_copy *add_op(struct dgm_grantcopy *copy, uint16_t bytes, int *status)
{
    struct gnttab_copy *op;

    if (copy->count == BATCH)
        dgm_grantcopy_commit(copy);
    op = &copy->ops[copy->count];
    op->len = bytes;
    copy->status[copy->count++] = status;
    *status = DGM_EAGAIN;
    return op;
}

static void set_guest(struct gnttab_copy_ptr *side, struct dgm_grantcopy_end end)
{
    side->u.gmfn = 0; /* all of the union */
    side->u.ref = end.ref;
    side->domid = end.domid;
    side->offset = end.offset;
}

void dgm_grantcopy_add(struct dgm_grantcopy *copy, const struct dgm_grantcopy_op *op, int *status)
{
    struct gnttab_copy *to;
    struct gnttab_copy_ptr *local;

    dgm_assert(op->bytes > 0);
    dgm_assert(op->guest_offset < DGM_FRAME_BYTES && op->local_offset < DGM_FRAME_BYTES);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->guest_offset);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->local_offset);
    to = add_op(copy, op->bytes, status);
    local = op->to_guest ? &to->source : &to->dest;
    set_guest(
        op->to_guest ? &to->dest : &to->source,
        (struct dgm_grantcopy_end){.domid = op->domid, .ref = op->ref, .offset = op->guest_offset});
    local->u.gmfn = dgm_gfn_number(op->local);
    local->domid = DOMID_SELF;
    local->offset = op->local_offset;
    to->flags = op->to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref;
}

void dgm_grantcopy_add_between(struct dgm_grantcopy *copy, const struct dgm_grantcopy_between *op,
                               int *status)
{
    struct gnttab_copy *to;

    dgm_assert(op->bytes > 0);
    dgm_assert(op->from.offset < DGM_FRAME_BYTES && op->to.offset < DGM_FRAME_BYTES);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->from.offset);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->to.offset);
    to = add_op(copy, op->bytes, status);
    set_guest(&to->source, op->from);
    set_guest(&to->dest, op->to);
    to->flags = GNTCOPY_source_gref | GNTCOPY_dest_gref;
}

/* --- committing --- */

static void count_copied(struct dgm_grantcopy *copy, const struct gnttab_copy *op)
{
    copy->copied++;
    if (op->flags == (GNTCOPY_source_gref | GNTCOPY_dest_gref))
        copy->bytes_between += op->len;
    else
        *(op->flags & GNTCOPY_dest_gref ? &copy->bytes_out : &copy->bytes_in) += op->len;
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
