/* SPDX-License-Identifier: MIT */
/*
 * faults: what Xen refuses, and which requests that hits
 *
 * Every fault is laid at the door of the requests that it concerns, so that an error without a
 * cause is found out as well as a cause without an error. Nothing is refused that a guest could not
 * live with: the sending of events, for example, does not fail on Xen.
 */
#include <sim/machine/machine.h>

#include <sim/hv_internal.h>

#include <errno.h>

struct sim_guest *sim_guest_of(domid_t domid)
{
    return domid >= 1 && domid <= sim.guest_count ? sim.guests[domid - 1] : NULL;
}

/* A reference of a guest's met a fault. `surely`: its request cannot succeed. */
static void hit_ref(domid_t domid, grant_ref_t ref, bool surely)
{
    struct sim_guest *guest = sim_guest_of(domid);
    uint64_t user;

    if (!guest || ref >= DGM_HV_REFS)
        return;
    guest->mischief++;
    user = guest->ref_user[ref];
    if (user == 0)
        return;
    guest->front.asks[user - 1].hit = true;
    guest->front.asks[user - 1].must_fail |= surely;
}

static int16_t on_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    int16_t status;

    (void)context;
    (void)nth;
    if (!sim_hit(FAULT_MAP))
        return 0;
    status = (int16_t)-rng_range(&sim.fault_rng, 1, -GNTST_no_space); /* any of them */
    NOTE("Xen refuses to map reference %llu of guest %llu: %lld", op->ref, op->dom,
         (uint64_t)(int64_t)status);
    hit_ref(op->dom, op->ref, status != GNTST_eagain);
    return status;
}

static int16_t on_unmap(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    (void)context;
    (void)nth;
    if (!sim_hit(FAULT_UNMAP))
        return 0;
    NOTE("Xen refuses to unmap handle %llu", op->handle);
    sim.unmaps_refused++;
    return (int16_t)-rng_range(&sim.fault_rng, 1, -GNTST_no_space);
}

static uint64_t ops_count(unsigned op, uint64_t command, uint64_t count)
{
    return op == __HYPERVISOR_grant_table_op &&
                   (command == GNTTABOP_map_grant_ref || command == GNTTABOP_unmap_grant_ref)
               ? count
               : 0;
}

/* The first `done` ops of a batch are done, the others are not. */
static long cut_batch(unsigned op, uint64_t command, uint64_t ops, uint64_t count, uint64_t done)
{
    NOTE("Xen does %llu of %llu ops of a grant batch (command %llu)", done, count, command);
    if (command == GNTTABOP_map_grant_ref) {
        const struct gnttab_map_grant_ref *map = (const void *)(uintptr_t)ops;

        for (uint64_t i = done; i < count; i++)
            hit_ref(map[i].dom, map[i].ref, true);
    } else {
        sim.unmaps_refused += count - done;
    }
    if (done)
        (void)dgm_hv_hypercall(op, command, ops, done, 0, 0);
    return -EFAULT;
}

static bool nth_falls(void)
{
    const uint64_t nth = ++sim.nth_seen;

    return sim.options.nth &&
           (nth == sim.options.nth || (sim.options.for_ever && nth > sim.options.nth));
}

long faults_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t count = ops_count(op, a1, a3);

    if (sim.options.nth_kind == NTH_HYPERCALL && nth_falls()) {
        NOTE("hypercall %llu, command %llu, fails (the %llu-th)", op, a1, sim.nth_seen);
        for (unsigned i = 0; i < sim.guest_count; i++)
            sim.guests[i]->mischief++;
        if (count)
            return cut_batch(op, a1, a2, count, 0);
        return -EFAULT;
    }
    if (count > 1 && a1 == GNTTABOP_map_grant_ref && sim_hit(FAULT_BATCH))
        return cut_batch(op, a1, a2, count, rng_below(&sim.fault_rng, count));
    if (op == __HYPERVISOR_event_channel_op && a1 == EVTCHNOP_bind_interdomain && sim_step &&
        sim_hit(FAULT_CHANNEL)) { /* not xenstore's: a guest could not begin */
        const struct evtchn_bind_interdomain *bind = (const void *)(uintptr_t)a2;
        struct sim_guest *guest = sim_guest_of(bind->remote_dom);

        if (guest)
            guest->mischief++;
        NOTE("Xen has no event channel for guest %llu", bind->remote_dom);
        return -ENOSPC;
    }
    return dgm_hv_hypercall(op, a1, a2, a3, a4, a5);
}

void faults_start(void)
{
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = on_map, .unmap = on_unmap});
}

/* --- the disk's --- */

/* Whose request is it that the disk has `blocks` of at `block`? */
void faults_hit_disk(uint32_t disk, uint64_t block, uint64_t blocks, uint8_t operation, bool surely)
{
    struct sim_guest *guest = disk < sim.guest_count ? sim.guests[disk] : NULL;
    struct ask *only = NULL;
    unsigned found = 0;

    if (!guest || guest->hostile)
        return;
    for (unsigned i = 0; i < RING_ENTRIES; i++) {
        struct ask *ask = &guest->front.asks[i];
        const uint64_t per_block = guest->front.block_sectors;

        if (ask->state == ASK_FREE || ask->operation != operation)
            continue;
        if (operation != BLKIF_OP_FLUSH_DISKCACHE &&
            (block * per_block < ask->sector ||
             (block + blocks) * per_block > ask->sector + ask->sectors))
            continue;
        ask->hit = true;
        only = ask;
        found++;
    }
    if (found == 1 && surely)
        only->must_fail = true;
}

void faults_hit_all(uint32_t disk)
{
    struct sim_guest *guest = disk < sim.guest_count ? sim.guests[disk] : NULL;

    for (unsigned i = 0; guest && i < RING_ENTRIES; i++)
        guest->front.asks[i].hit = true;
}
