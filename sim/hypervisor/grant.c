/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/grant: GNTTABOP_map_grant_ref and unmap_grant_ref as on Arm; our own table
 *
 * Statuses and their order follow xen/common/grant_table.c, with the traps that were seen on real
 * Xen 4.17 and 4.20: Xen does not remember where a handle was mapped, so an unmap with a wrong
 * host_addr returns okay, drops the pin, and leaves the page visible.
 */
#include <sim/hypervisor/internal.h>

#include <port/env.h>
#include <port/sim/sim.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

void dgm_hv_grant_revoke(domid_t domid, grant_ref_t ref)
{
    assert(ref < DGM_HV_REFS);
    hv_domain_or_die(domid)->refs[ref].granted = false;
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

/* --- our own grant table --- */

struct hv_page *hv_own_page(uint64_t gfn)
{
    struct hv_page *page = hv_table_get(&hv.self->pages, gfn);

    if (!hv_is_ram(gfn) || hv_entry(gfn))
        return NULL;
    if (!page) {
        page = calloc(1, sizeof *page);
        assert(page);
        page->mfn = hv_ram_mfn(gfn);
        page->rw = page->ro = dgm_env_va(dgm_gfn(gfn));
        hv_table_set(&hv.self->pages, gfn, page);
    }
    return page;
}

long hv_table_map(uint64_t index, uint64_t gfn)
{
    if (index >= HV_TABLE_FRAMES)
        return -EINVAL;
    if (hv.table.gfn[index])
        return -EBUSY;                      /* seen on Xen: unmap it first */
    for (uint64_t i = 0; i <= index; i++) { /* grows */
        if (!hv.table.frames[i]) {
            hv.table.frames[i] = aligned_alloc(DGM_FRAME_BYTES, DGM_FRAME_BYTES);
            assert(hv.table.frames[i]);
            memset(hv.table.frames[i], 0, DGM_FRAME_BYTES);
        }
    }
    hv.table.gfn[index] = gfn;
    hv_entry_set(gfn, HV_ENTRY_TABLE, NULL, hv.table.frames[index]);
    return 0;
}

void hv_table_unmap(uint64_t gfn)
{
    for (size_t i = 0; i < HV_TABLE_FRAMES; i++)
        if (hv.table.gfn[i] == gfn)
            hv.table.gfn[i] = 0;
}

/* The entry of our reference; NULL: beyond the table. */
static struct grant_entry_v1 *own_entry(grant_ref_t ref)
{
    const uint32_t per_frame = DGM_FRAME_BYTES / sizeof(struct grant_entry_v1);

    if (ref >= HV_TABLE_FRAMES * per_frame || !hv.table.frames[ref / per_frame])
        return NULL;
    return &hv.table.frames[ref / per_frame][ref % per_frame];
}

/* Reads our entry. While it is in use Xen keeps the frame that it found at first. */
static void own_ref_load(struct hv_ref *ref, const struct grant_entry_v1 *entry)
{
    ref->granted = (entry->flags & GTF_type_mask) == GTF_permit_access && entry->domid == 0;
    ref->readonly = entry->flags & GTF_readonly;
    if (ref->pins == 0)
        ref->gfn = entry->frame;
}

/* --- references in use --- */

struct hv_domain *hv_granter(domid_t domid)
{
    return domid == 0 ? hv.self : hv_domain(domid);
}

int16_t hv_ref_pin(struct hv_domain *domain, grant_ref_t ref, bool writable, struct hv_page **page)
{
    struct grant_entry_v1 *own = domain == hv.self ? own_entry(ref) : NULL;
    struct hv_ref *entry;

    if (ref >= DGM_HV_REFS || (domain == hv.self && !own))
        return GNTST_bad_gntref;
    entry = &domain->refs[ref];
    if (own)
        own_ref_load(entry, own);
    if (!entry->granted || (entry->readonly && writable) || entry->pins >= HV_REF_PINS_MAX)
        return GNTST_general_error;
    *page = own ? hv_own_page(entry->gfn) : hv_table_get(&domain->pages, entry->gfn);
    if (!*page)
        return GNTST_bad_page;
    entry->pins++;
    entry->pins_writable += writable;
    if (own)
        own->flags |= (uint16_t)(GTF_reading | (writable ? GTF_writing : 0));
    return GNTST_okay;
}

void hv_ref_unpin(struct hv_domain *domain, grant_ref_t ref, bool writable)
{
    struct hv_ref *entry = &domain->refs[ref];

    entry->pins--;
    entry->pins_writable -= writable;
    if (domain == hv.self && entry->pins_writable == 0)
        own_entry(ref)->flags &= (uint16_t)~GTF_writing;
    if (domain == hv.self && entry->pins == 0)
        own_entry(ref)->flags &= (uint16_t)~GTF_reading;
}

/* --- map and unmap --- */

void dgm_hv_set_maptrack(uint64_t mappings)
{
    hv.maptrack = mappings;
}

static uint32_t find_free_handle(void)
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

static int16_t map_grant(struct gnttab_map_grant_ref *op)
{
    const bool writable = !(op->flags & GNTMAP_readonly);
    const uint64_t gfn = op->host_addr >> DGM_FRAME_SHIFT;
    struct hv_domain *domain = hv_granter(op->dom);
    const uint32_t handle = find_free_handle();
    const struct hv_entry *there = hv_entry(gfn);
    struct hv_page *page;
    int16_t status;

    if ((op->flags & ~(uint32_t)GNTMAP_readonly) != GNTMAP_host_map)
        return GNTST_general_error;
    if (!domain)
        return GNTST_bad_domain;
    if (handle == HV_HANDLES || (hv.maptrack && hv.stats.live >= hv.maptrack))
        return GNTST_no_space;
    status = hv_ref_pin(domain, op->ref, writable, &page);
    if (status != GNTST_okay)
        return status;

    if (there ? there->kind != HV_ENTRY_HOLE : hv_is_ram(gfn))
        hv.stats.over++;
    hv_entry_set(gfn, HV_ENTRY_GRANT, page, writable ? page->rw : page->ro);
    hv.handles[handle] = (struct hv_handle){.live = true,
                                            .writable = writable,
                                            .domain = domain,
                                            .ref = op->ref,
                                            .page = page,
                                            .gfn = gfn};
    page->maps++;
    page->maps_writable += writable;
    domain->maps++;
    op->handle = handle;
    op->dev_bus_addr = page->mfn << DGM_FRAME_SHIFT;
    hv.stats.map_ops++;
    hv.stats.live++;
    return GNTST_okay;
}

static int16_t unmap_grant(const struct gnttab_unmap_grant_ref *op)
{
    const uint64_t gfn = op->host_addr >> DGM_FRAME_SHIFT;
    struct hv_handle *handle = &hv.handles[op->handle % HV_HANDLES];
    const struct hv_entry *there = hv_entry(gfn);

    if (op->handle >= HV_HANDLES || !handle->live)
        return GNTST_bad_handle;
    if (op->host_addr == 0) { /* seen on Xen: okay, and no mapping is released */
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
    hv_ref_unpin(handle->domain, handle->ref, handle->writable);
    handle->page->maps--;
    handle->domain->maps--;
    handle->page->maps_writable -= handle->writable;
    hv.stats.unmap_ops++;
    hv.stats.live--;
    return GNTST_okay;
}

bool hv_cut(void)
{
    const uint64_t nth = hv.nth_op++;

    return hv.faults.cut && hv.faults.cut(hv.faults.context, nth);
}

static long map_grants(struct gnttab_map_grant_ref *ops, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        int16_t status = 0;

        if (hv_cut())
            return -EFAULT;
        if (hv.faults.map)
            status = hv.faults.map(hv.faults.context, hv.nth_map, &ops[i]);
        hv.nth_map++;
        ops[i].status = status ? status : map_grant(&ops[i]);
    }
    return 0;
}

static long unmap_grants(struct gnttab_unmap_grant_ref *ops, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        int16_t status = 0;

        if (hv_cut())
            return -EFAULT;
        if (hv.faults.unmap)
            status = hv.faults.unmap(hv.faults.context, hv.nth_unmap, &ops[i]);
        hv.nth_unmap++;
        ops[i].status = status ? status : unmap_grant(&ops[i]);
    }
    return 0;
}

long hv_grant_op(unsigned command, void *ops, uint64_t count)
{
    switch (command) {
    case GNTTABOP_map_grant_ref:
        return map_grants(ops, count);
    case GNTTABOP_unmap_grant_ref:
        return unmap_grants(ops, count);
    case GNTTABOP_copy:
        return hv_copy(ops, count);
    case GNTTABOP_cache_flush:
        return hv_cache_flush(ops, count);
    default:
        return -ENOSYS;
    }
}
