/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/memory: XENMEM_* for a direct-mapped Dom0
 *
 * RAM that is ballooned out leaves our p2m and stays allocated to us, so it can be populated again
 * with its contents. A foreign frame is mapped by its owner's gfn, and the mapping holds a
 * reference.
 */
#include <sim/hypervisor/internal.h>

#include <port/sim/sim.h>
#include <xen/memory.h>

#include <errno.h>
#include <stdlib.h>

static long decrease_reservation(const struct xen_memory_reservation *reservation)
{
    const xen_pfn_t *extents = reservation->extent_start.p;

    if (reservation->domid != DOMID_SELF || reservation->extent_order != 0)
        return -EINVAL;
    for (uint64_t i = 0; i < reservation->nr_extents; i++) {
        if (!hv_is_ram(extents[i]) || hv_entry(extents[i]))
            return (long)i;
        hv_entry_set(extents[i], HV_ENTRY_HOLE, NULL, NULL);
        hv.stats.ballooned++;
    }
    return (long)reservation->nr_extents;
}

static bool populate_own(uint64_t gfn)
{
    struct hv_entry *entry = hv_entry(gfn);

    if (!hv_is_ram(gfn) || !entry || entry->kind != HV_ENTRY_HOLE)
        return false;
    free(entry);
    hv_table_set(&hv.p2m, gfn, NULL);
    dgm_sim_plain(dgm_gfn(gfn));
    hv.stats.ballooned--;
    return true;
}

static bool populate_guest(struct hv_domain *domain, uint64_t gfn)
{
    void *rw, *ro;

    if (hv_table_get(&domain->pages, gfn) || hv_domain_pages(domain) >= domain->pages_max)
        return false;
    hv_memory(1, &rw, &ro);
    hv_page_add(domain, gfn, rw, ro);
    return true;
}

static long populate_physmap(const struct xen_memory_reservation *reservation)
{
    struct hv_domain *domain = hv_domain(reservation->domid);
    const xen_pfn_t *extents = reservation->extent_start.p;

    if (reservation->domid != DOMID_SELF && !domain)
        return 0;
    for (uint64_t i = 0; i < reservation->nr_extents; i++) {
        const bool done = reservation->domid == DOMID_SELF ? populate_own(extents[i])
                                                           : populate_guest(domain, extents[i]);

        if (!done)
            return (long)i;
    }
    return (long)reservation->nr_extents;
}

static int map_foreign(struct hv_domain *domain, uint64_t remote, uint64_t local)
{
    const struct hv_entry *there = hv_entry(local);
    struct hv_page *page = hv_table_get(&domain->pages, remote);

    if (!page)
        return -EINVAL;
    if (there ? there->kind != HV_ENTRY_HOLE : hv_is_ram(local))
        hv.stats.over++;
    page->foreign++;
    hv.stats.foreign++;
    hv_entry_set(local, HV_ENTRY_FOREIGN, page, page->rw);
    return 0;
}

static long add_batch(const struct xen_add_to_physmap_batch *batch)
{
    struct hv_domain *domain = hv_domain(batch->u.foreign_domid);
    const xen_ulong_t *remote = batch->idxs.p;
    const xen_pfn_t *local = batch->gpfns.p;
    int *errors = batch->errs.p;

    if (batch->space != XENMAPSPACE_gmfn_foreign)
        return -ENOSYS;
    if (batch->domid != DOMID_SELF)
        return -EPERM;
    if (!domain)
        return -ESRCH;
    for (uint16_t i = 0; i < batch->size; i++)
        errors[i] = map_foreign(domain, remote[i], local[i]);
    return 0;
}

static long add_to_physmap(const struct xen_add_to_physmap *add)
{
    if (add->domid != DOMID_SELF)
        return -EPERM;
    if (add->space == XENMAPSPACE_grant_table)
        return hv_table_map(add->idx, add->gpfn);
    if (add->space != XENMAPSPACE_shared_info || add->idx != 0)
        return -ENOSYS;
    hv_entry_set(add->gpfn, HV_ENTRY_SHARED_INFO, NULL, hv.shared);
    return 0;
}

static long remove_gfn(const struct xen_remove_from_physmap *remove)
{
    struct hv_entry *entry = hv_entry(remove->gpfn);

    if (remove->domid != DOMID_SELF)
        return -EPERM;
    if (!entry || entry->kind == HV_ENTRY_HOLE)
        return -ENOENT;
    if (entry->kind == HV_ENTRY_FOREIGN) {
        entry->page->foreign--;
        hv.stats.foreign--;
    }
    if (entry->kind == HV_ENTRY_TABLE)
        hv_table_unmap(remove->gpfn);
    hv_entry_clear(remove->gpfn);
    return 0;
}

long hv_memory_op(unsigned command, void *argument)
{
    switch (command) {
    case XENMEM_decrease_reservation:
        return decrease_reservation(argument);
    case XENMEM_populate_physmap:
        return populate_physmap(argument);
    case XENMEM_add_to_physmap:
        return add_to_physmap(argument);
    case XENMEM_add_to_physmap_batch:
        return add_batch(argument);
    case XENMEM_remove_from_physmap:
        return remove_gfn(argument);
    default:
        return -ENOSYS;
    }
}
