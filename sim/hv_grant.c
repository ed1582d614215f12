/* SPDX-License-Identifier: MIT */
/*
 * hv_grant: GNTTABOP_map_grant_ref and unmap_grant_ref as Xen on Arm does them
 *
 * Statuses and their order follow xen/common/grant_table.c, with the traps that were seen on real
 * Xen 4.17 and 4.20: Xen does not remember where a handle was mapped, so an unmap with a wrong
 * host_addr answers okay, drops the pin, and leaves the page visible.
 */
#include <sim/hv_internal.h>

#include <port/env.h>
#include <port/sim/sim.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

void dgm_hv_grant(domid_t domid, grant_ref_t ref, uint64_t gfn, bool readonly)
{
    struct hv_ref *entry;

    assert(ref < DGM_HV_REFS);
    entry = &hv_domain_or_die(domid)->refs[ref];
    assert(entry->pins == 0);
    *entry = (struct hv_ref){.granted = true, .readonly = readonly, .gfn = gfn};
}

grant_ref_t dgm_hv_grant_any(domid_t domid, uint64_t gfn, bool readonly)
{
    const struct hv_domain *domain = hv_domain_or_die(domid);
    grant_ref_t ref = 8; /* the first ones are reserved */

    while (domain->refs[ref].granted)
        ref++;
    dgm_hv_grant(domid, ref, gfn, readonly);
    return ref;
}

bool dgm_hv_grant_end(domid_t domid, grant_ref_t ref)
{
    struct hv_ref *entry = &hv_domain_or_die(domid)->refs[ref];

    assert(ref < DGM_HV_REFS && entry->granted);
    if (entry->pins)
        return false;
    entry->granted = false;
    return true;
}

unsigned dgm_hv_grant_pins(domid_t domid, grant_ref_t ref)
{
    assert(ref < DGM_HV_REFS);
    return hv_domain_or_die(domid)->refs[ref].pins;
}

struct hv_entry *hv_entry(uint64_t gfn)
{
    return hv_table_get(&hv.p2m, gfn);
}

void hv_entry_set(uint64_t gfn, enum hv_entry_kind kind, struct hv_page *page, void *va)
{
    struct hv_entry *entry = hv_entry(gfn);

    if (!entry) {
        entry = calloc(1, sizeof *entry);
        assert(entry);
        hv_table_set(&hv.p2m, gfn, entry);
    }
    *entry = (struct hv_entry){.kind = kind, .page = page};
    if (va)
        dgm_sim_alias(dgm_gfn(gfn), va);
    else
        dgm_sim_hole(dgm_gfn(gfn));
}

void hv_entry_clear(uint64_t gfn)
{
    if (hv_is_ram(gfn)) {
        hv_entry_set(gfn, HV_ENTRY_HOLE, NULL, NULL);
        return;
    }
    free(hv_entry(gfn));
    hv_table_set(&hv.p2m, gfn, NULL);
    dgm_sim_plain(dgm_gfn(gfn));
}

static uint32_t handle_free(void)
{
    for (uint32_t i = 0; i < HV_HANDLES; i++) {
        const uint32_t handle = (hv.handle_next + i) % HV_HANDLES;

        if (!hv.handles[handle].live) {
            hv.handle_next = handle + 1;
            return handle;
        }
    }
    return HV_HANDLES;
}

static int16_t map_one(struct gnttab_map_grant_ref *op)
{
    const bool writable = !(op->flags & GNTMAP_readonly);
    const uint64_t gfn = op->host_addr >> DGM_FRAME_SHIFT;
    struct hv_domain *domain = hv_domain(op->dom);
    const uint32_t handle = handle_free();
    const struct hv_entry *there = hv_entry(gfn);
    struct hv_ref *ref;
    struct hv_page *page;

    if ((op->flags & ~(uint32_t)GNTMAP_readonly) != GNTMAP_host_map)
        return GNTST_general_error;
    if (!domain)
        return GNTST_bad_domain;
    if (handle == HV_HANDLES)
        return GNTST_no_space;
    if (op->ref >= DGM_HV_REFS)
        return GNTST_bad_gntref;
    ref = &domain->refs[op->ref];
    if (!ref->granted || (ref->readonly && writable) || ref->pins >= HV_REF_PINS_MAX)
        return GNTST_general_error;
    page = hv_table_get(&domain->pages, ref->gfn);
    if (!page)
        return GNTST_bad_page;

    if (there ? there->kind != HV_ENTRY_HOLE : hv_is_ram(gfn))
        hv.stats.over++;
    hv_entry_set(gfn, HV_ENTRY_GRANT, page, writable ? page->rw : page->ro);
    hv.handles[handle] = (struct hv_handle){.live = true,
                                            .writable = writable,
                                            .domain = domain,
                                            .ref = op->ref,
                                            .page = page,
                                            .gfn = gfn};
    ref->pins++;
    page->maps++;
    page->maps_writable += writable;
    op->handle = handle;
    op->dev_bus_addr = page->mfn << DGM_FRAME_SHIFT;
    hv.stats.map_ops++;
    hv.stats.live++;
    return GNTST_okay;
}

static int16_t unmap_one(const struct gnttab_unmap_grant_ref *op)
{
    const uint64_t gfn = op->host_addr >> DGM_FRAME_SHIFT;
    struct hv_handle *handle = &hv.handles[op->handle % HV_HANDLES];
    const struct hv_entry *there = hv_entry(gfn);

    if (op->handle >= HV_HANDLES || !handle->live)
        return GNTST_bad_handle;
    if (op->host_addr == 0) { /* seen on Xen: okay, and nothing is released */
        hv.stats.stale++;
        return GNTST_okay;
    }
    if (there && there->kind != HV_ENTRY_HOLE && there->page != handle->page)
        return GNTST_general_error;
    if (!there && hv_is_ram(gfn))
        return GNTST_general_error;
    if (gfn != handle->gfn)
        hv.stats.stale++;
    if (there && there->kind != HV_ENTRY_HOLE)
        hv_entry_clear(gfn);
    handle->live = false;
    handle->domain->refs[handle->ref].pins--;
    handle->page->maps--;
    handle->page->maps_writable -= handle->writable;
    hv.stats.unmap_ops++;
    hv.stats.live--;
    return GNTST_okay;
}

static bool cut(void)
{
    const uint64_t nth = hv.nth_op++;

    return hv.faults.cut && hv.faults.cut(hv.faults.context, nth);
}

static long map(struct gnttab_map_grant_ref *ops, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        int16_t status = 0;

        if (cut())
            return -EFAULT;
        if (hv.faults.map)
            status = hv.faults.map(hv.faults.context, hv.nth_map, &ops[i]);
        hv.nth_map++;
        ops[i].status = status ? status : map_one(&ops[i]);
    }
    return 0;
}

static long unmap(struct gnttab_unmap_grant_ref *ops, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        int16_t status = 0;

        if (cut())
            return -EFAULT;
        if (hv.faults.unmap)
            status = hv.faults.unmap(hv.faults.context, hv.nth_unmap, &ops[i]);
        hv.nth_unmap++;
        ops[i].status = status ? status : unmap_one(&ops[i]);
    }
    return 0;
}

long hv_grant_op(unsigned command, void *ops, uint64_t count)
{
    switch (command) {
    case GNTTABOP_map_grant_ref:
        return map(ops, count);
    case GNTTABOP_unmap_grant_ref:
        return unmap(ops, count);
    default:
        return -ENOSYS;
    }
}
