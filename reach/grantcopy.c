/* SPDX-License-Identifier: MIT */
/*
 * grantcopy: batches of GNTTABOP_copy, each op with a status of its own. See
 * dragoman/reach/grantcopy.h.
 *
 * The batch is sorted by a shell sort of indexes, then each op is moved once to its place. This
 * needs no memory but the batch, and less than 20 comparisons per op for 512 ops, whatever order a
 * guest causes. A batch that is in order already costs one comparison per op. Equal keys are
 * ordered by index, so ops with the same key stay in the order of addition.
 */
#include <dragoman/base/check.h>
#include <dragoman/reach/grantcopy.h>
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
    struct gnttab_copy_ptr guest = {.domid = op->domid, .offset = op->offset};
    struct gnttab_copy_ptr local = {.domid = DOMID_SELF, .offset = op->offset};

    dgm_assert(op->bytes > 0 && op->offset < DGM_FRAME_BYTES);
    dgm_assert(op->bytes <= DGM_FRAME_BYTES - op->offset);
    if (copy->count == BATCH)
        dgm_grantcopy_commit(copy);
    while (copy->count == BATCH) /* full of parked ops, whose tries are bounded */
        dgm_grantcopy_retry(copy);
    guest.u.ref = op->ref;
    local.u.gmfn = dgm_gfn_number(op->local);
    to = &copy->ops[copy->count];
    to->source = op->to_guest ? local : guest;
    to->dest = op->to_guest ? guest : local;
    to->len = op->bytes;
    to->flags = op->to_guest ? GNTCOPY_dest_gref : GNTCOPY_source_gref;
    copy->status[copy->count] = status;
    copy->tries[copy->count++] = 0;
    *status = DGM_EAGAIN;
}

/* --- sorting --- */

/* Guest, reference, direction: Xen keeps the guest's page mapped while these are the same. */
static uint64_t key_of(const struct gnttab_copy *op)
{
    const bool out = is_to_guest(op);
    const struct gnttab_copy_ptr *guest = out ? &op->dest : &op->source;

    return (uint64_t)guest->domid << 33 | (uint64_t)guest->u.ref << 1 | out;
}

static uint64_t local_of(const struct gnttab_copy *op)
{
    return is_to_guest(op) ? op->source.u.gmfn : op->dest.u.gmfn;
}

static bool sorts_before(const struct dgm_grantcopy *copy, uint16_t a, uint16_t b)
{
    const uint64_t key_a = key_of(&copy->ops[a]), key_b = key_of(&copy->ops[b]);
    const uint64_t local_a = local_of(&copy->ops[a]), local_b = local_of(&copy->ops[b]);

    if (key_a != key_b)
        return key_a < key_b;
    return local_a != local_b ? local_a < local_b : a < b;
}

/* Sorts the indexes of the ops that are not parked: order[parked] and what follows. */
static void sort_indexes(struct dgm_grantcopy *copy)
{
    static const uint16_t gaps[] = {301, 132, 57, 23, 10, 4, 1};
    uint16_t *order = copy->order;

    for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        for (size_t i = copy->parked + gaps[g]; i < copy->count; i++) {
            const uint16_t moving = order[i];
            size_t j = i;

            for (; j >= copy->parked + gaps[g] && sorts_before(copy, moving, order[j - gaps[g]]);
                 j -= gaps[g])
                order[j] = order[j - gaps[g]];
            order[j] = moving;
        }
    }
}

static void move_op(struct dgm_grantcopy *copy, size_t to, size_t from)
{
    copy->ops[to] = copy->ops[from];
    copy->status[to] = copy->status[from];
    copy->tries[to] = copy->tries[from];
}

/* Sorts the ops that are not parked: moves op order[i] to i for each i, around each cycle of the
 * permutation. */
static void sort_batch(struct dgm_grantcopy *copy)
{
    uint16_t *order = copy->order;
    uint16_t sorted = (uint16_t)(copy->parked + 1);

    while (sorted < copy->count && sorts_before(copy, (uint16_t)(sorted - 1), sorted))
        sorted++;
    if (sorted >= copy->count)
        return;
    for (uint16_t i = (uint16_t)copy->parked; i < copy->count; i++)
        order[i] = i;
    sort_indexes(copy);
    for (uint16_t i = (uint16_t)copy->parked; i < copy->count; i++) {
        const struct gnttab_copy op = copy->ops[i];
        int *const status = copy->status[i];
        const uint8_t tries = copy->tries[i];
        uint16_t at = i;

        while (order[at] != i) {
            const uint16_t from = order[at];

            move_op(copy, at, from);
            order[at] = at;
            at = from;
        }
        order[at] = at;
        copy->ops[at] = op;
        copy->status[at] = status;
        copy->tries[at] = tries;
    }
}

/* --- committing --- */

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
    const int16_t status = copy->ops[i].status;
    const enum dgm_xen_meaning meaning = dgm_xen_op_meaning(status, result);

    if (meaning == DGM_XEN_OK) {
        finish_op(copy, i);
        return;
    }
    if (meaning == DGM_XEN_UNKNOWN)
        dgm_xen_log_unknown(&copy->logged, "copying from or to a grant", status, result);
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
    sort_batch(copy);
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
