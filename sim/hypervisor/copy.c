/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/copy: GNTTABOP_copy as Xen on Arm does it
 *
 * Each side of an op is acquired (a reference pinned, a page mapped) unless it still is from the
 * previous op: Xen keeps both sides from one op to the next while their domains stay the same,
 * drops a side when its page changes, and drops both when an op fails. A reference counts as in use
 * only for that long. The order of the checks is that of xen/common/grant_table.c.
 */
#include <sim/hypervisor/internal.h>

#include <errno.h>
#include <string.h>

struct side {
    bool kept, is_ref, writable;
    domid_t domid;
    uint64_t name; /* the reference, or our gfn */
    struct hv_domain *domain;
    struct hv_page *page;
};

static void side_drop(struct side *side)
{
    if (side->kept && side->is_ref)
        hv_ref_unpin(side->domain, (grant_ref_t)side->name, side->writable);
    side->kept = false;
}

static struct side side_of(const struct gnttab_copy *op, bool dest)
{
    const bool is_ref = op->flags & (dest ? GNTCOPY_dest_gref : GNTCOPY_source_gref);
    const domid_t domid = dest ? op->dest.domid : op->source.domid;
    const grant_ref_t ref = dest ? op->dest.u.ref : op->source.u.ref;
    const uint64_t gmfn = dest ? op->dest.u.gmfn : op->source.u.gmfn;

    return (struct side){
        .is_ref = is_ref, .writable = dest, .domid = domid, .name = is_ref ? ref : gmfn};
}

static int16_t find_domain(struct side *side)
{
    if (side->domid != DOMID_SELF && !side->is_ref)
        return GNTST_permission_denied;
    side->domain = hv_granter(side->domid == DOMID_SELF ? 0 : side->domid);
    return side->domain ? GNTST_okay : GNTST_bad_domain;
}

static int16_t side_acquire(struct side *kept, const struct side *want)
{
    int16_t status = GNTST_okay;

    if (kept->kept && kept->is_ref == want->is_ref && kept->name == want->name)
        return GNTST_okay;
    side_drop(kept);
    *kept = *want;
    if (want->is_ref)
        status = hv_ref_pin(want->domain, (grant_ref_t)want->name, want->writable, &kept->page);
    else if (!(kept->page = hv_own_page(want->name)))
        status = GNTST_bad_page;
    if (status != GNTST_okay)
        return status;
    kept->kept = true;
    hv.stats.copy_switches++;
    return GNTST_okay;
}

static int16_t copy_one(const struct gnttab_copy *op, struct side *source, struct side *dest)
{
    struct side from = side_of(op, false), to = side_of(op, true);
    int16_t status;

    if (op->len == 0)
        return GNTST_okay;
    if (!source->kept || !dest->kept || source->domid != from.domid || dest->domid != to.domid) {
        side_drop(source);
        side_drop(dest);
    }
    if ((status = find_domain(&from)) || (status = find_domain(&to)) ||
        (status = side_acquire(source, &from)) || (status = side_acquire(dest, &to)))
        return status;
    if (op->source.offset + op->len > DGM_FRAME_BYTES ||
        op->dest.offset + op->len > DGM_FRAME_BYTES)
        return GNTST_bad_copy_arg;
    memmove((char *)dest->page->rw + op->dest.offset,
            (const char *)source->page->rw + op->source.offset, op->len);
    hv.stats.copy_ops++;
    hv.stats.copy_bytes += op->len;
    return GNTST_okay;
}

long hv_copy(struct gnttab_copy *ops, uint64_t count)
{
    struct side source = {0}, dest = {0};
    long result = 0;

    for (uint64_t i = 0; i < count; i++) {
        int16_t status = 0;

        if (hv_cut()) {
            result = -EFAULT;
            break;
        }
        if (hv.faults.copy)
            status = hv.faults.copy(hv.faults.context, hv.nth_copy, &ops[i]);
        hv.nth_copy++;
        if (!status)
            status = copy_one(&ops[i], &source, &dest);
        if (status) {
            side_drop(&source);
            side_drop(&dest);
        }
        ops[i].status = status;
    }
    side_drop(&source);
    side_drop(&dest);
    return result;
}
