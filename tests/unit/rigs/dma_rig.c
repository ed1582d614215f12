/* SPDX-License-Identifier: MIT */
#include "dma_rig.h"

struct dma_rig dma_rig;

void dma_rig_start(uint64_t colour, uint16_t buffers)
{
    const struct dgm_ram_bank bank = {{RAM}, {RAM + colour}, RAM_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{SLOT}, SLOTS});

    memset(&dma_rig, 0, sizeof dma_rig);
    dma_rig.colour = colour;
    dgm_hv_start(bank.gfn, bank.count, bank.mfn);
    dgm_hv_domain_add(GUEST, SLOTS);
    assert_int_equal(dgm_p2m_init(&dma_rig.p2m, &bank, 1, &window, dma_rig.p2m_memory), 0);
    assert_true(dgm_slots_bytes(SLOTS) <= sizeof dma_rig.store_memory);
    assert_true(dgm_slot_cache_bytes(SLOTS) <= sizeof dma_rig.slot_memory);
    dgm_slots_init(&dma_rig.store, &window, true, dma_rig.store_memory);
    dgm_slot_cache_init(&dma_rig.slots, &dma_rig.store, dma_rig.slot_memory);
    dgm_grant_init(&dma_rig.grant, &dma_rig.p2m, &dma_rig.slots);
    dgm_frames_init(&dma_rig.frames);
    dgm_frames_add(&dma_rig.frames, (struct dgm_gfn_range){{POOL}, RAM_FRAMES - 100});
    dgm_reactor_init(&dma_rig.reactor);
    assert_true(dgm_bounce_bytes(buffers) <= sizeof dma_rig.bounce_memory);
    dgm_bounce_init(&dma_rig.bounce, &dma_rig.reactor, buffers, dma_rig.bounce_memory);
    assert_int_equal(dgm_bounce_add(&dma_rig.bounce, &dma_rig.frames, buffers), 0);
    dgm_dma_init(&dma_rig.dma, &dma_rig.p2m, &dma_rig.bounce);
}

dgm_gfn_t dma_rig_foreign(uint64_t gfn, uint64_t mfn)
{
    struct dgm_foreign *foreign = &dma_rig.foreign[dma_rig.foreign_count++];

    if (dgm_mfn_number(dgm_hv_mfn(GUEST, gfn)) != mfn)
        dgm_hv_set_mfn(GUEST, gfn, dgm_mfn(mfn));
    assert_int_equal(dgm_slot_reserve(&dma_rig.slots, NULL, 1), 0);
    dgm_grant_map_add(
        &dma_rig.grant, foreign, NULL,
        (struct dgm_guest_grant){.ref = dgm_hv_grant_any(GUEST, gfn, false), .domid = GUEST});
    dgm_grant_map_commit(&dma_rig.grant);
    assert_int_equal(foreign->status, 0);
    return foreign->gfn;
}

void dma_rig_check_idle(void)
{
    dgm_p2m_check(&dma_rig.p2m);
    dgm_bounce_check(&dma_rig.bounce);
    assert_int_equal(dma_rig.bounce.free, dma_rig.bounce.total);
    for (size_t i = 0; i < SLOTS; i++)
        assert_int_equal(dma_rig.p2m.in_flight[i], 0);
    assert_int_equal(dma_rig.p2m.held_by_callers, 0);
}

void dma_rig_stop(void)
{
    dma_rig_check_idle();
    for (size_t i = 0; i < dma_rig.foreign_count; i++)
        dgm_grant_unmap_add(&dma_rig.grant, &dma_rig.foreign[i]);
    dgm_grant_unmap_commit(&dma_rig.grant);
    dgm_grant_check(&dma_rig.grant);
    assert_int_equal(dgm_hv_stats()->live, 0);
    assert_int_equal(dgm_hv_stats()->stale, 0);
    dgm_hv_stop();
}

/* The address behind the device's windows. */
static uint64_t bus_to_address(const struct dgm_dma_tag *tag, uint64_t bus)
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

uint64_t dma_rig_machine(const struct dgm_dma_tag *tag, uint64_t bus)
{
    const uint64_t address = bus_to_address(tag, bus);
    dgm_mfn_t mfn;

    if (tag->space == DGM_DMA_MACHINE)
        return address;
    mfn = dgm_p2m_lookup(&dma_rig.p2m, dgm_gfn(address / DGM_FRAME_BYTES));
    assert_false(dgm_mfn_is_none(mfn)); /* else the IOMMU has no entry */
    return dgm_mfn_address(mfn) + address % DGM_FRAME_BYTES;
}

unsigned char *dma_rig_byte(const struct dgm_dma_tag *tag, uint64_t bus, bool write)
{
    const uint64_t machine = dma_rig_machine(tag, bus);
    const dgm_mfn_t mfn = dgm_mfn(machine / DGM_FRAME_BYTES);

    assert_true(dgm_hv_may_dma(mfn, write));
    return (unsigned char *)dgm_hv_machine(mfn) + machine % DGM_FRAME_BYTES;
}

bool dma_rig_is_buffer(uint64_t machine)
{
    const uint64_t gfn = machine / DGM_FRAME_BYTES - dma_rig.colour;

    return gfn >= POOL && gfn < POOL + dma_rig.bounce.total;
}
