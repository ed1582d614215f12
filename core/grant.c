/* SPDX-License-Identifier: MIT */
/*
 * grant: batches of map and unmap, each op judged by its own status. See dragoman/grant.h.
 *
 * Order, from p2m.h's contract:
 *   map:    slot taken, hypercall, published, then handed out (status DGM_OK);
 *   unmap:  unpublished as it is added (which asserts that no DMA is in flight), hypercall, slot
 *           given back.
 *
 * What a hypercall left unsaid counts as refused: statuses are preset to a value that Xen never
 * writes, so a batch that fails as a whole, or stops half-way, is no special case.
 *
 * Xen does not remember where a handle was mapped: an unmap with another host_addr answers okay and
 * leaves the page visible at the old place. So the slot is kept with the handle and always told.
 */
#include <dragoman/check.h>
#include <dragoman/grant.h>
#include <dragoman/hypercall.h>
#include <dragoman/status.h>

#include <string.h>

static const int16_t UNSAID = INT16_MAX; /* Xen's statuses are 0 or negative */

static dgm_gfn_t gfn_of(uint64_t host_addr)
{
    return dgm_gfn(host_addr >> DGM_FRAME_SHIFT);
}

void dgm_grant_init(struct dgm_grant *grant, struct dgm_p2m *p2m, struct dgm_slots *slots)
{
    memset(grant, 0, sizeof *grant);
    grant->p2m = p2m;
    grant->slots = slots;
}

int dgm_grant_map_add(struct dgm_grant *grant, struct dgm_foreign *foreign, domid_t domid,
                      grant_ref_t ref, bool readonly)
{
    dgm_gfn_t slot;

    if (grant->map_count == DGM_GRANT_BATCH)
        return DGM_EAGAIN;
    if (dgm_slot_take(grant->slots, &slot) != DGM_OK)
        return DGM_EAGAIN;
    grant->map[grant->map_count] = (struct gnttab_map_grant_ref){
        .host_addr = slot.n << DGM_FRAME_SHIFT,
        .flags = (uint32_t)GNTMAP_host_map | (readonly ? (uint32_t)GNTMAP_readonly : 0u),
        .ref = ref,
        .dom = domid,
    };
    grant->map_of[grant->map_count++] = foreign;
    *foreign = (struct dgm_foreign){.gfn = DGM_GFN_NONE, .mfn = DGM_MFN_NONE, .status = DGM_EAGAIN};
    return DGM_OK;
}

static void map_call(struct dgm_grant *grant, size_t count)
{
    for (size_t i = 0; i < count; i++)
        grant->map[i].status = UNSAID;
    grant->batches++;
    /* Its own result says nothing that the statuses do not. */
    (void)dgm_grant_table_op(GNTTABOP_map_grant_ref, grant->map, (unsigned)count);
}

static void map_done(struct dgm_grant *grant, const struct gnttab_map_grant_ref *op,
                     struct dgm_foreign *foreign)
{
    const dgm_gfn_t slot = gfn_of(op->host_addr);

    if (op->status != GNTST_okay) {
        dgm_slot_give(grant->slots, slot);
        foreign->status = DGM_EPERM;
        grant->map_refused++;
        return;
    }
    foreign->gfn = slot;
    foreign->mfn = dgm_mfn(op->dev_bus_addr >> DGM_FRAME_SHIFT);
    foreign->handle = op->handle;
    dgm_p2m_publish(grant->p2m, slot, foreign->mfn);
    foreign->status = DGM_OK;
    grant->mapped++;
    grant->live++;
    if (grant->live > grant->live_max)
        grant->live_max = grant->live;
}

void dgm_grant_map_commit(struct dgm_grant *grant)
{
    size_t again = 0;

    if (grant->map_count == 0)
        return;
    map_call(grant, grant->map_count);
    for (size_t i = 0; i < grant->map_count; i++) {
        if (grant->map[i].status == GNTST_eagain) {
            grant->map[again] = grant->map[i];
            grant->map_of[again++] = grant->map_of[i];
        } else {
            map_done(grant, &grant->map[i], grant->map_of[i]);
        }
    }
    grant->map_count = 0;
    if (again == 0)
        return;
    map_call(grant, again);
    for (size_t i = 0; i < again; i++)
        map_done(grant, &grant->map[i], grant->map_of[i]);
}

void dgm_grant_unmap_add(struct dgm_grant *grant, struct dgm_foreign *foreign)
{
    dgm_assert(foreign->status == DGM_OK);
    if (grant->unmap_count == DGM_GRANT_BATCH)
        dgm_grant_unmap_commit(grant);
    dgm_p2m_unpublish(grant->p2m, foreign->gfn);
    grant->unmap[grant->unmap_count++] = (struct gnttab_unmap_grant_ref){
        .host_addr = foreign->gfn.n << DGM_FRAME_SHIFT,
        .dev_bus_addr = 0, /* only for mappings made with GNTMAP_device_map */
        .handle = foreign->handle,
    };
    *foreign = (struct dgm_foreign){.gfn = DGM_GFN_NONE, .mfn = DGM_MFN_NONE, .status = DGM_EAGAIN};
}

void dgm_grant_unmap_commit(struct dgm_grant *grant)
{
    if (grant->unmap_count == 0)
        return;
    for (size_t i = 0; i < grant->unmap_count; i++)
        grant->unmap[i].status = UNSAID;
    grant->batches++;
    (void)dgm_grant_table_op(GNTTABOP_unmap_grant_ref, grant->unmap, (unsigned)grant->unmap_count);
    for (size_t i = 0; i < grant->unmap_count; i++) {
        const dgm_gfn_t slot = gfn_of(grant->unmap[i].host_addr);

        if (grant->unmap[i].status == GNTST_okay) {
            dgm_slot_give(grant->slots, slot);
            grant->unmapped++;
            grant->live--;
        } else {
            dgm_slot_retire(grant->slots, slot);
            grant->unmap_refused++;
        }
    }
    grant->unmap_count = 0;
}

void dgm_grant_check(const struct dgm_grant *grant)
{
    dgm_assert(grant->map_count == 0 && grant->unmap_count == 0);
    dgm_assert(grant->mapped - grant->unmapped == grant->live);
    dgm_assert(grant->unmap_refused <= grant->live && grant->live <= grant->live_max);
}
