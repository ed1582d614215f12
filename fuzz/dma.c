/* SPDX-License-Identifier: MIT */
/*
 * fuzz dma: any device, any transfers, compared with the naive twin of tests/unit/rigs/dma_twin.h
 *
 * The input describes the device's tag and then transfers, piece by piece; dma_twin_run() maps
 * each, several maps in flight, for the shares of several guests, and checks every byte,
 * every rule and the length of the prefix. The machine is made once: 64 guest frames, mapped, whose
 * machine frames ascend, descend, have gaps, and lie around the end of a window. After each input
 * no resource may be held.
 */
#include "../tests/unit/rigs/dma_twin.h"

#include "lib/feed.h"

#define FUZZ_FRAMES 64u

static void start_machine(void)
{
    static bool started;
    static const int8_t strides[] = {1, 1, 1, 2, -1, -1, 1, 7, 1, 1, -3, 1};
    uint64_t mfn = 0x53ff0; /* near the end of a window of feed_tag() */

    if (started)
        return;
    started = true;
    dma_rig_start(0x777, 5);
    dma_twin_begin(false);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = dma_twin_refuse});
    for (unsigned i = 0; i < FUZZ_FRAMES; i++) {
        do
            mfn += (uint64_t)(int64_t)strides[i % sizeof strides];
        while (dgm_hv_machine(dgm_mfn(mfn)));
        dma_twin.slot[i] = dma_rig_foreign(i, mfn);
    }
}

static struct dgm_dma_tag feed_tag(struct feed *feed)
{
    static const uint32_t gaps[] = {0, 4096, 4096, 512}, most[] = {1, 2, 5, SEGMENTS_MAX},
                          transfers[] = {0, 0, 4096, 8192, 65536, 5000, 6144, 4608},
                          lengths[] = {0, 0, 4096, 6144, 65536, 4608, 8192, 5000},
                          boundaries[] = {0, 0, 4096, 8192};
    struct dgm_dma_tag tag = {.mask = UINT64_MAX, .coherent = true};
    uint8_t reach;

    tag.boundary = boundaries[feed_below(feed, 4)];
    tag.gap = gaps[feed_below(feed, 4)];
    tag.segment_bytes_max = lengths[feed_below(feed, 8)];
    tag.segments_max = most[feed_below(feed, 4)];
    tag.transfer_bytes_max = transfers[feed_below(feed, 8)];
    tag.block_bytes = feed_chance(feed, 64) ? 4096 : 512;
    reach = (uint8_t)feed_take(feed, 1);
    if (reach & 1)
        tag.mask = 0x53fe0000 + feed_take(feed, 3) % 0x40000; /* in the middle of the frames */
    if (reach & 2) { /* our RAM low, where the buffers are; windows over parts of the guest's */
        tag.window_count = 3;
        tag.windows[0] = (struct dgm_dma_window){0x40000000, 0x200000000, 0x8000000};
        tag.windows[1] = (struct dgm_dma_window){0x50000000, 0x30000000,
                                                 0x3fe0000 + feed_take(feed, 3) % 0x40000};
        tag.windows[2] = (struct dgm_dma_window){0x54000000, 0x54000000, 0x3000 * 4096ull};
        if (tag.mask != UINT64_MAX)
            tag.mask = 0x208000000;
    }
    if (reach & 4)
        tag.alignment = 1u << feed_below(feed, 13);
    if (reach & 8)
        tag.coherent = false;
    if ((reach & 0x13) == 0x10) { /* an IOMMU; the mask ends anywhere in the slots, or before */
        tag.space = DGM_DMA_GUEST_PHYSICAL;
        if (reach & 0x20)
            tag.mask = reach & 0x40 ? UINT32_MAX : (SLOT << 12) + feed_take(feed, 3) % 0x40000;
    }
    dma_rig.dma.flush = reach & 0x80 ? &dma_twin.flush : NULL;
    dma_twin.refused_percent = reach & 0x80 ? (unsigned)feed_below(feed, 101) : 0;
    dma_rig.dma.flush_paused_maps = 0;
    return tag;
}

/* Pieces ascend through the frames, so they never overlap. `unit`: of lengths and offsets. */
static void feed_transfer(struct feed *feed, uint32_t unit, uint32_t block_bytes)
{
    struct dma_twin_transfer *t = &dma_twin_transfer;
    unsigned frame = (unsigned)feed_below(feed, FUZZ_FRAMES);
    size_t count = 1 + feed_below(feed, 8);

    t->count = 0;
    t->bytes = 0;
    for (; count && frame < FUZZ_FRAMES; count--) {
        const uint8_t how = (uint8_t)feed_take(feed, 1);
        const bool local = (how & 7) == 7 && frame % 4 == 0;
        const uint32_t offset = how & 8 ? (uint32_t)feed_below(feed, 4096 / unit) * unit : 0;
        const uint32_t room = 4096 - offset;
        const uint32_t bytes =
            how & 16 ? (uint32_t)(1 + feed_below(feed, room / unit)) * unit : room;

        dma_twin_add_piece(local ? dgm_gfn(RAM + frame / 4) : dma_twin.slot[frame], offset, bytes);
        frame += 1 + (how >> 5 & 1) + (how >> 6 & 1);
    }
    dma_twin_fill_block(block_bytes);
}

void run_input(struct feed *feed)
{
    unsigned transfers = 0;

    start_machine();
    unit_random_state = feed->left;
    const struct dgm_dma_tag tag = feed_tag(feed);
    const uint32_t unit = feed_chance(feed, 64) ? 1 : 512;

    dma_twin.blocks = unit == 512;
    do {
        unit_random_state += feed_take(feed, 1);
        const bool to_device = feed_chance(feed, 128);

        feed_transfer(feed, unit, tag.block_bytes);
        dma_twin_run(&tag, to_device ? DGM_DMA_TO_DEVICE : DGM_DMA_FROM_DEVICE);
    } while (feed->left && ++transfers < 4);
    dma_rig_check_idle();
    while (dgm_reactor_turn(&dma_rig.reactor)) /* until no share is queued */
        ;
}
