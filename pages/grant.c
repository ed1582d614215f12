/* SPDX-License-Identifier: MIT */
/*
 * grant: batches of map and unmap ops, each judged by its own status. See dragoman/pages/grant.h.
 *
 * The order follows from the contract of p2m.h:
 *   map:    take the slot, make the hypercall, publish, then set the status to DGM_OK;
 *   unmap:  unpublish when the op is added (which asserts that no DMA is in flight), make the
 *           hypercall, return the slot.
 *
 * An op whose status Xen did not write counts as refused: each status is preset to a value that Xen
 * never writes. So a batch that fails as a whole, or stops half-way, is no special case.
 *
 * Xen does not remember where a handle was mapped: an unmap with another host_addr returns
 * GNTST_okay and leaves the page visible at the old address. So the gfn is kept with the handle,
 * and every unmap names it.
 */
#include <dragoman/base/check.h>
#include <dragoman/pages/grant.h>
#include <dragoman/hyper/hypercall.h>
#include <pages/identity_table.h>
#include <dragoman/base/status.h>

#include <string.h>

static const int16_t NOT_WRITTEN = INT16_MAX; /* Xen's statuses are 0 or negative */

static dgm_gfn_t gfn_of(uint64_t host_addr)
{
    return dgm_gfn(host_addr >> DGM_FRAME_SHIFT);
}

void dgm_grant_init(struct dgm_grant *grant, struct dgm_p2m *p2m, struct dgm_slot_cache *slots)
{
    memset(grant, 0, sizeof *grant);
    grant->p2m = p2m;
    grant->slots = slots;
}

/* --- map --- */

static void add_map_op(struct dgm_grant *grant, struct dgm_foreign *foreign, dgm_gfn_t gfn,
                       domid_t domid, grant_ref_t ref, bool readonly)
{
    if (grant->map_count == DGM_GRANT_BATCH)
        dgm_grant_map_commit(grant);
    while (grant->map_count ==
           DGM_GRANT_BATCH) /* all ops are parked: bounded, they have DGM_GRANT_TRIES */
        dgm_grant_map_retry(grant);
    grant->map[grant->map_count] = (struct gnttab_map_grant_ref){
        .host_addr = dgm_gfn_address(gfn),
        .flags = (uint32_t)GNTMAP_host_map | (readonly ? (uint32_t)GNTMAP_readonly : 0u),
        .ref = ref,
        .dom = domid,
    };
    grant->map_tries[grant->map_count] = 0;
    grant->map_foreign[grant->map_count++] = foreign;
}

void dgm_grant_map_add(struct dgm_grant *grant, struct dgm_foreign *foreign,
                       struct dgm_quota *quota, domid_t domid, grant_ref_t ref, bool readonly)
{
    *foreign = (struct dgm_foreign){
        .gfn = DGM_GFN_NONE, .mfn = DGM_MFN_NONE, .quota = quota, .status = DGM_EAGAIN};
    add_map_op(grant, foreign, dgm_slot_take(grant->slots), domid, ref, readonly);
}

void dgm_grant_map_add_at(struct dgm_grant *grant, struct dgm_foreign *foreign, dgm_gfn_t gfn,
                          domid_t domid, grant_ref_t ref, bool readonly)
{
    dgm_assert(!dgm_p2m_is_slot(grant->p2m, gfn));
    *foreign = (struct dgm_foreign){.gfn = DGM_GFN_NONE, .mfn = DGM_MFN_NONE, .status = DGM_EAGAIN};
    add_map_op(grant, foreign, gfn, domid, ref, readonly);
}

static void map_hypercall(struct gnttab_map_grant_ref *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ops[i].status = NOT_WRITTEN;
    /* Its result adds nothing to the statuses. */
    (void)dgm_grant_table_op(GNTTABOP_map_grant_ref, ops, (unsigned)count);
}

static void finish_map(struct dgm_grant *grant, const struct gnttab_map_grant_ref *op,
                       struct dgm_foreign *foreign)
{
    const dgm_gfn_t gfn = gfn_of(op->host_addr);
    const bool slot = dgm_p2m_is_slot(grant->p2m, gfn);

    if (op->status != GNTST_okay) {
        if (slot)
            dgm_slot_give(grant->slots, foreign->quota, gfn);
        foreign->status = DGM_EPERM;
        grant->map_refused++;
        return;
    }
    foreign->gfn = gfn;
    foreign->mfn = dgm_mfn(op->dev_bus_addr >> DGM_FRAME_SHIFT);
    foreign->handle = op->handle;
    if (slot)
        dgm_p2m_publish(grant->p2m, gfn, foreign->mfn);
    foreign->status = DGM_OK;
    grant->mapped++;
    grant->live++;
    if (grant->live > grant->live_max)
        grant->live_max = grant->live;
}

void dgm_grant_map_commit(struct dgm_grant *grant)
{
    const size_t first = grant->map_parked, count = grant->map_count;

    if (first == count)
        return;
    map_hypercall(grant->map + first, count - first);
    grant->batches++;
    for (size_t i = first; i < count; i++) {
        const uint8_t tries = (uint8_t)(grant->map_tries[i] + 1);

        if (grant->map[i].status == GNTST_eagain && tries < DGM_GRANT_TRIES) {
            grant->map[grant->map_parked] = grant->map[i];
            grant->map_foreign[grant->map_parked] = grant->map_foreign[i];
            grant->map_tries[grant->map_parked++] = tries;
            grant->map_retries++;
        } else {
            finish_map(grant, &grant->map[i], grant->map_foreign[i]);
        }
    }
    grant->map_count = grant->map_parked;
}

void dgm_grant_map_retry(struct dgm_grant *grant)
{
    grant->map_parked = 0;
    dgm_grant_map_commit(grant);
}

/* --- unmap --- */

void dgm_grant_unmap_add(struct dgm_grant *grant, struct dgm_foreign *foreign)
{
    dgm_assert(foreign->status == DGM_OK);
    if (grant->unmap_count == DGM_GRANT_BATCH)
        dgm_grant_unmap_commit(grant);
    if (dgm_p2m_is_slot(grant->p2m, foreign->gfn))
        dgm_p2m_unpublish(grant->p2m, foreign->gfn);
    grant->unmap_quota[grant->unmap_count] = foreign->quota;
    grant->unmap[grant->unmap_count++] = (struct gnttab_unmap_grant_ref){
        .host_addr = dgm_gfn_address(foreign->gfn),
        .dev_bus_addr = 0, /* only for mappings made with GNTMAP_device_map */
        .handle = foreign->handle,
    };
    *foreign = (struct dgm_foreign){.gfn = DGM_GFN_NONE, .mfn = DGM_MFN_NONE, .status = DGM_EAGAIN};
}

static void finish_unmap(struct dgm_grant *grant, const struct gnttab_unmap_grant_ref *op,
                         struct dgm_quota *quota)
{
    const dgm_gfn_t gfn = gfn_of(op->host_addr);
    const bool done = op->status == GNTST_okay;

    if (done) {
        grant->unmapped++;
        grant->live--;
    } else {
        grant->unmap_refused++;
    }
    if (!dgm_p2m_is_slot(grant->p2m, gfn))
        dgm_identity_unmapped(grant->p2m->identity, gfn, done);
    else if (done)
        dgm_slot_give(grant->slots, quota, gfn);
    else
        dgm_slot_retire(grant->slots, gfn);
}

void dgm_grant_unmap_commit(struct dgm_grant *grant)
{
    if (grant->unmap_count == 0)
        return;
    for (size_t i = 0; i < grant->unmap_count; i++)
        grant->unmap[i].status = NOT_WRITTEN;
    grant->batches++;
    (void)dgm_grant_table_op(GNTTABOP_unmap_grant_ref, grant->unmap, (unsigned)grant->unmap_count);
    for (size_t i = 0; i < grant->unmap_count; i++)
        finish_unmap(grant, &grant->unmap[i], grant->unmap_quota[i]);
    grant->unmap_count = 0;
}

void dgm_grant_check(const struct dgm_grant *grant)
{
    dgm_assert(grant->map_count == grant->map_parked && grant->unmap_count == 0);
    dgm_assert(grant->mapped - grant->unmapped == grant->live);
    dgm_assert(grant->unmap_refused <= grant->live && grant->live <= grant->live_max);
}
