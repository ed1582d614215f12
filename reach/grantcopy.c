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
    while (copy->count == BATCH) /* full of parked ops, whose tries are bounded */
        dgm_grantcopy_retry(copy);
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
    copy->status[copy->count] = status;
    copy->tries[copy->count++] = 0;
    *status = DGM_EAGAIN;
}

/* --- committing --- */

static void move_op(struct dgm_grantcopy *copy, size_t to, size_t from)
{
    copy->ops[to] = copy->ops[from];
    copy->status[to] = copy->status[from];
    copy->tries[to] = copy->tries[from];
}

static void finish_op(struct dgm_grantcopy *copy, size_t i)
{
    const struct gnttab_copy *op = &copy->ops[i];

    *copy->status[i] = DGM_OK;
    copy->copied++;
    *(is_to_guest(op) ? &copy->bytes_out : &copy->bytes_in) += op->len;
}

/* The status of an op for which the last attempt had `meaning`. */
static int final_status(enum dgm_xen_meaning meaning)
{
    switch (meaning) {
    case DGM_XEN_SHORT:
        return DGM_ENOSPC;
    case DGM_XEN_UNKNOWN:
        return DGM_EIO;
    default:
        return DGM_EPERM;
    }
}

/* Finishes op `i`, refuses it, or parks it. */
static void judge_op(struct dgm_grantcopy *copy, size_t i, long result)
{
    const struct dgm_xen_outcome outcome = {.status = copy->ops[i].status, .result = result};
    const enum dgm_xen_meaning meaning = dgm_xen_op_meaning(outcome);

    if (meaning == DGM_XEN_OK) {
        finish_op(copy, i);
        return;
    }
    if (meaning == DGM_XEN_UNKNOWN)
        dgm_xen_log_unknown(&copy->logged, "copying from or to a grant", outcome);
    if (meaning != DGM_XEN_REFUSED && meaning != DGM_XEN_NO_DOMAIN &&
        ++copy->tries[i] < DGM_GRANTCOPY_TRIES) {
        copy->retries++;
        move_op(copy, copy->parked++, i);
        return;
    }
    *copy->status[i] = final_status(meaning);
    copy->refused++;
}

void dgm_grantcopy_commit(struct dgm_grantcopy *copy)
{
    const size_t first = copy->parked, count = copy->count;
    long result;

    if (first == count)
        return;
    for (size_t i = first; i < count; i++)
        copy->ops[i].status = DGM_XEN_NOT_WRITTEN;
    copy->batches++;
    result = dgm_grant_table_op(GNTTABOP_copy, copy->ops + first, (unsigned)(count - first));
    for (size_t i = first; i < count; i++)
        judge_op(copy, i, result);
    copy->count = copy->parked;
}

void dgm_grantcopy_retry(struct dgm_grantcopy *copy)
{
    copy->parked = 0;
    dgm_grantcopy_commit(copy);
}

void dgm_grantcopy_finish(struct dgm_grantcopy *copy)
{
    dgm_grantcopy_commit(copy);
    while (copy->parked)
        dgm_grantcopy_retry(copy);
}
