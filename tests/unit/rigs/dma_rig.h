/* SPDX-License-Identifier: MIT */
/*
 * dma_rig: a machine for the dma tests
 *
 * Our RAM is gfns RAM.. (machine frames RAM_MFN.., equal or not: `colour`), the slots are SLOT..; a
 * guest's frames are put at machine frames of the test's choice and mapped by grants. The device is
 * whoever calls rig_byte(): it sees memory by bus address only, through the tag's windows.
 */
#ifndef DMA_RIG_H
#define DMA_RIG_H

#include "unit.h"

#include <dragoman/dma/dma.h>
#include <dragoman/pages/grant.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>

#define GUEST      1
#define RAM        0x40000ull
#define RAM_FRAMES 1200u
#define SLOT       0x800000ull
#define SLOTS      1024u
#define POOL       (RAM + 100) /* bounce buffers are taken from here */

static struct {
    struct dgm_p2m p2m;
    struct dgm_slots store;
    struct dgm_slot_cache slots;
    struct dgm_grant grant;
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_bounce bounce;
    struct dgm_dma dma;
    uint64_t p2m_memory[SLOTS * 2], store_memory[SLOTS / 8], slot_memory[8];
    uint64_t bounce_memory[RAM_FRAMES * 8];
    struct dgm_foreign foreign[SLOTS];
    size_t foreign_count;
    uint64_t colour; /* mfn - gfn of our RAM */
} rig;

static void rig_start(uint64_t colour, uint16_t buffers)
{
    const struct dgm_ram_bank bank = {{RAM}, {RAM + colour}, RAM_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{SLOT}, SLOTS});

    memset(&rig, 0, sizeof rig);
    rig.colour = colour;
    dgm_hv_start(bank.gfn, bank.count, bank.mfn);
    dgm_hv_domain_add(GUEST, SLOTS);
    assert_int_equal(dgm_p2m_init(&rig.p2m, &bank, 1, &window, rig.p2m_memory), 0);
    assert_true(dgm_slots_bytes(SLOTS) <= sizeof rig.store_memory);
    assert_true(dgm_slot_cache_bytes(SLOTS) <= sizeof rig.slot_memory);
    dgm_slots_init(&rig.store, &window, true, rig.store_memory);
    dgm_slot_cache_init(&rig.slots, &rig.store, rig.slot_memory);
    dgm_grant_init(&rig.grant, &rig.p2m, &rig.slots);
    dgm_frames_init(&rig.frames);
    dgm_frames_add(&rig.frames, (struct dgm_gfn_range){{POOL}, RAM_FRAMES - 100});
    dgm_reactor_init(&rig.reactor);
    assert_true(dgm_bounce_bytes(buffers) <= sizeof rig.bounce_memory);
    dgm_bounce_init(&rig.bounce, &rig.reactor, buffers, rig.bounce_memory);
    assert_int_equal(dgm_bounce_add(&rig.bounce, &rig.frames, buffers), 0);
    dgm_dma_init(&rig.dma, &rig.p2m, &rig.bounce);
}

/* Maps the guest's frame `gfn`, put at machine frame `mfn`, into the next slot. */
static dgm_gfn_t rig_foreign(uint64_t gfn, uint64_t mfn)
{
    struct dgm_foreign *foreign = &rig.foreign[rig.foreign_count++];

    if (dgm_hv_mfn(GUEST, gfn).n != mfn)
        dgm_hv_set_mfn(GUEST, gfn, dgm_mfn(mfn));
    assert_int_equal(dgm_slot_reserve(&rig.slots, NULL, 1), 0);
    dgm_grant_map_add(&rig.grant, foreign, NULL, GUEST, dgm_hv_grant_any(GUEST, gfn, false), false);
    dgm_grant_map_commit(&rig.grant);
    assert_int_equal(foreign->status, 0);
    return foreign->gfn;
}

/* Nothing is held: neither slots nor buffers. */
static void rig_check_idle(void)
{
    dgm_p2m_check(&rig.p2m);
    dgm_bounce_check(&rig.bounce);
    assert_int_equal(rig.bounce.free, rig.bounce.total);
    for (size_t i = 0; i < SLOTS; i++)
        assert_int_equal(rig.p2m.in_flight[i], 0);
}

/* Everything back; the grants must not be held by any DMA. */
static void rig_stop(void)
{
    rig_check_idle();
    for (size_t i = 0; i < rig.foreign_count; i++)
        dgm_grant_unmap_add(&rig.grant, &rig.foreign[i]);
    dgm_grant_unmap_commit(&rig.grant);
    dgm_grant_check(&rig.grant);
    assert_int_equal(dgm_hv_stats()->live, 0);
    assert_int_equal(dgm_hv_stats()->stale, 0);
    dgm_hv_stop();
}

/* What comes out of the device's windows at `bus`. */
static uint64_t rig_address(const struct dgm_dma_tag *tag, uint64_t bus)
{
    assert_true(bus <= tag->mask);
    if (tag->window_count == 0)
        return bus;
    for (size_t i = 0; i < tag->window_count; i++)
        if (bus >= tag->windows[i].bus_base &&
            bus - tag->windows[i].bus_base < tag->windows[i].length)
            return bus - tag->windows[i].bus_base + tag->windows[i].machine_base;
    fail_msg("bus address %llx is in no window", (unsigned long long)bus);
    return 0;
}

/* The machine address that a device reaches at `bus`, as the hardware does it: by its windows, and
 * by its IOMMU if that is in our guest-physical space. */
static uint64_t rig_machine(const struct dgm_dma_tag *tag, uint64_t bus)
{
    const uint64_t address = rig_address(tag, bus);
    dgm_mfn_t mfn;

    if (tag->space == DGM_DMA_MACHINE)
        return address;
    mfn = dgm_p2m_lookup(&rig.p2m, dgm_gfn(address / DGM_FRAME_BYTES));
    assert_false(dgm_mfn_is_none(mfn)); /* else the IOMMU has no entry */
    return mfn.n * DGM_FRAME_BYTES + address % DGM_FRAME_BYTES;
}

/* The byte there. Fails if the device may not touch it. */
static unsigned char *rig_byte(const struct dgm_dma_tag *tag, uint64_t bus, bool write)
{
    const uint64_t machine = rig_machine(tag, bus);
    const dgm_mfn_t mfn = dgm_mfn(machine / DGM_FRAME_BYTES);

    assert_true(dgm_hv_may_dma(mfn, write));
    return (unsigned char *)dgm_hv_machine(mfn) + machine % DGM_FRAME_BYTES;
}

static inline bool rig_is_buffer(uint64_t machine)
{
    const uint64_t gfn = machine / DGM_FRAME_BYTES - rig.colour;

    return gfn >= POOL && gfn < POOL + rig.bounce.total;
}

#endif
