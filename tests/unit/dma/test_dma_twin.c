/* SPDX-License-Identifier: MIT */
/*
 * dma compared with a naive twin (rigs/dma_twin.h): thousands of random transfers on random
 * devices. If it fails: corrupt data, a driver that is given an impossible list, or needless
 * truncations and copies.
 */
#include "dma_twin.h"

/* --- the machine: runs of machine frames up and down, near and far --- */

static void start_rig(void)
{
    uint64_t mfn = 0x50000;

    const uint64_t colour = unit_chance(50) ? 0x777 : 0;

    dma_rig_start(colour, (uint16_t)(1 + unit_below(40)));
    dma_twin_begin(unit_chance(50));
    for (unsigned i = 0; i < GUEST_FRAMES; i++) {
        const unsigned how = (unsigned)unit_below(4);

        if (how == 0)
            mfn = 0x50000 + unit_below(0x8000);
        else
            mfn += how == 1 ? 1 : how == 2 ? -1u : 2;
        while (dgm_hv_machine(dgm_mfn(mfn)))
            mfn = 0x50000 + unit_below(0x8000);
        dma_twin.slot[i] = dma_rig_foreign(i, mfn);
    }
}

/* --- devices --- */

static uint32_t any_of(const uint32_t *values, size_t count)
{
    return values[unit_below(count)];
}

#define ONE_OF(...)                                                                                \
    any_of((const uint32_t[]){__VA_ARGS__},                                                        \
           sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* An address within a frame. */
static uint64_t anywhere_in(uint64_t frame)
{
    return frame * 4096 + unit_below(4096);
}

static struct dgm_dma_tag random_tag(bool reaches_all)
{
    struct dgm_dma_tag tag = {
        .mask = UINT64_MAX,
        .gap = ONE_OF(0, 4096, 4096, 512),
        .segments_max = ONE_OF(1, 2, 5, SEGMENTS_MAX, SEGMENTS_MAX),
        .block_bytes = ONE_OF(512, 512, 4096),
        .coherent = true,
    };

    if (unit_chance(30))
        tag.alignment = ONE_OF(1, 4, 64, 512, 1024, 4096);
    if (unit_chance(30))
        tag.transfer_bytes_max = ONE_OF(4096, 8192, 65536, 5000);
    if (unit_chance(30))
        tag.segment_bytes_max = ONE_OF(4096, 6144, 65536);
    if (unit_chance(30))
        tag.boundary = ONE_OF(4096, 8192, 65536);
    if (reaches_all)
        return tag;
    tag.coherent = unit_chance(60);
    if (unit_chance(20)) { /* the slots within reach, some of them, or none */
        tag.space = DGM_DMA_GUEST_PHYSICAL;
        if (unit_chance(60))
            tag.mask = unit_chance(30) ? UINT32_MAX : anywhere_in(SLOT + unit_below(GUEST_FRAMES));
        return tag;
    }
    if (unit_chance(50))
        tag.mask = anywhere_in(
            dgm_mfn_number(dgm_p2m_lookup(&dma_rig.p2m, dma_twin.slot[unit_below(GUEST_FRAMES)])));
    if (unit_chance(60)) { /* RAM low; two windows over parts of the guest's frames */
        tag.window_count = 3;
        tag.windows[0] = (struct dgm_dma_window){0x40000000, 0x200000000, 0x8000000};
        tag.windows[1] =
            (struct dgm_dma_window){0x50000000, 0x30000000, anywhere_in(1 + unit_below(0x3000))};
        tag.windows[2] =
            (struct dgm_dma_window){0x54000000, 0x54000000, (unit_below(0x3000) + 1) * 4096};
        if (tag.mask != UINT64_MAX)
            tag.mask = 0x208000000;
    }
    return tag;
}

/* --- transfers --- */

/*
 * Pieces do not overlap: frames are used in order, from a random one on, with gaps. `unit`: all
 * lengths and offsets are multiples of it.
 */
static void random_transfer(uint32_t unit, uint32_t block_bytes)
{
    struct dma_twin_transfer *t = &dma_twin_transfer;
    const bool whole = unit_chance(30); /* mostly whole frames, as big I/O has */
    unsigned frame = (unsigned)unit_below(GUEST_FRAMES / 2);
    const size_t count = 1 + unit_below(unit_chance(50) ? 4 : PIECES_MAX - 8);

    t->count = 0;
    t->bytes = 0;
    while (t->count < count && frame < GUEST_FRAMES) {
        const dgm_gfn_t gfn = unit_chance(15) ? dgm_gfn(RAM + frame / 4) : dma_twin.slot[frame];
        uint32_t offset = whole && t->count ? 0 : (uint32_t)unit_below(4096 / unit) * unit;

        while (offset < 4096 && t->count < count) {
            const uint32_t left = 4096 - offset;
            const uint32_t bytes = (whole && unit_chance(90)) || unit_chance(30)
                                       ? left
                                       : (uint32_t)(1 + unit_below(left / unit)) * unit;

            dma_twin_add_piece(gfn, offset, bytes);
            offset += bytes + (unit_chance(50) ? 0 : unit);
            if (unit_chance(60))
                break;
        }
        /* gaps of 4 and more, so that no local frame is used twice */
        frame += unit_chance(50) && !dgm_p2m_is_slot(&dma_rig.p2m, gfn)
                     ? 4
                     : 1 + (unsigned)unit_below(3);
        if (!dgm_p2m_is_slot(&dma_rig.p2m, gfn))
            frame += 4;
    }
    dma_twin_fill_block(block_bytes);
}

static void run_trials(bool reaches_all, uint32_t unit)
{
    dma_twin.seed = unit_seed();
    dma_twin.blocks = unit == 512;
    for (dma_twin.trial = 0; dma_twin.trial < 2000; dma_twin.trial++) {
        struct dgm_dma_tag tag;

        if (dma_twin.trial % 100 == 0) {
            if (dma_twin.trial)
                dma_rig_stop();
            start_rig();
            dgm_hv_set_faults(&(struct dgm_hv_faults){.call = dma_twin_refuse});
        }
        tag = random_tag(reaches_all);
        dma_rig.dma.flush = unit_chance(30) ? &dma_twin.flush : NULL;
        dma_twin.refused_percent = unit_chance(30) ? (unsigned)unit_below(100) : 0;
        random_transfer(unit, tag.block_bytes);
        dma_twin_run(&tag, unit_chance(50) ? DGM_DMA_TO_DEVICE : DGM_DMA_FROM_DEVICE);
        if (dma_twin.trial % 10 == 0)
            dma_rig_check_idle();
    }
    dma_rig_stop();
}

static void devices_that_reach_everything(void **state)
{
    run_trials(true, 512);
}

static void narrow_devices(void **state)
{
    run_trials(false, 512);
}

/* Pieces that no disk has, but that the contract allows: any lengths and offsets; the sum is whole
 * blocks. */
static void pieces_of_any_length(void **state)
{
    run_trials(false, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_that_reach_everything),
        cmocka_unit_test(narrow_devices),
        cmocka_unit_test(pieces_of_any_length),
    };

    return cmocka_run_group_tests_name("dma twin", tests, NULL, NULL);
}
