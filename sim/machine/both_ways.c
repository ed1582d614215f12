/* SPDX-License-Identifier: MIT */
/*
 * both_ways: checks that the map of the single pass (dma/direct.c) equals that of a plan
 * (dma/plan.c)
 *
 * This file wraps dgm_dma_map_direct(). A separate generator, which does not change the course of a
 * seed, draws one of three cases for each call: the pass, as it ships; a plan; or both, one after
 * the other, whose bytes, holds and counters must be equal. The pass's list of pages has the bytes
 * of the plan's segments, and no holds if the caller holds the frames.
 */
#include <sim/machine/machine.h>

#include <dma/internal.h>

#include <string.h>

#define SEGMENTS_MAX 512u

int __real_dgm_dma_map_direct(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                              struct dgm_dma_segment *segments, struct dgm_dma_map *map);
int __wrap_dgm_dma_map_direct(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                              struct dgm_dma_segment *segments, struct dgm_dma_map *map);

/* The holds of the pieces' slots, as one number. */
static uint64_t sum_of_holds(const struct dgm_dma *dma, const struct dgm_dma_transfer *transfer)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < transfer->piece_count; i++) {
        const uint64_t slot = dgm_window_index(&dma->p2m->window, transfer->pieces[i].gfn);

        if (slot != DGM_WINDOW_NONE)
            sum = sum * 31 + dma->p2m->in_flight[slot];
    }
    return sum;
}

/* What the pass gave the device, before the plan overwrites it. */
static struct dgm_dma_segment direct_segments[SEGMENTS_MAX];
static dgm_bus_t direct_pages[SEGMENTS_MAX];

static void compare_segments(const struct dgm_dma_map *map, uint32_t count)
{
    SIM_CHECK(map->segment_count == count, "a direct map has %u segments, the plan's %u", count,
              map->segment_count);
    for (uint32_t i = 0; i < count; i++)
        SIM_CHECK(dgm_bus_equal(map->segments[i].bus, direct_segments[i].bus) &&
                      map->segments[i].bytes == direct_segments[i].bytes,
                  "segment %u of a direct map is not the plan's", i);
}

static void compare_pages(const struct dgm_dma_map *map)
{
    uint32_t page = 0;

    for (uint32_t i = 0; i < map->segment_count; i++)
        for (uint32_t at = 0; at < map->segments[i].bytes; at += DGM_FRAME_BYTES, page++)
            SIM_CHECK(dgm_bus_equal(dgm_bus_add(map->segments[i].bus, at), direct_pages[page]),
                      "page %u of a direct map is not the plan's", page);
}

static int make_both(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                     struct dgm_dma_segment *segments, struct dgm_dma_map *map)
{
    const struct dgm_dma before = *dma;
    const uint64_t held_before = sum_of_holds(dma, transfer);
    const int bytes = __real_dgm_dma_map_direct(dma, transfer, segments, map);
    const uint32_t count = map->segment_count, page_count = map->page_count;
    const struct dgm_dma after = *dma;
    const uint64_t held = sum_of_holds(dma, transfer);
    const bool by_caller = page_count && transfer->held;

    if (bytes == 0) {
        SIM_CHECK(held == held_before, "a map that is not usual still holds frames");
        return 0;
    }
    SIM_CHECK(count <= SEGMENTS_MAX && page_count <= SEGMENTS_MAX, "%u segments", count);
    memcpy(direct_segments, map->segments, count * sizeof direct_segments[0]);
    if (page_count)
        memcpy(direct_pages, transfer->pages, page_count * sizeof direct_pages[0]);
    dgm_dma_unmap_direct(dma, map);
    SIM_CHECK(sum_of_holds(dma, transfer) == held_before,
              "a direct map does not release what it holds");
    *dma = before;
    dgm_dma_map_begin(transfer, segments, map);
    SIM_CHECK(dgm_dma_map_by_plan(dma, transfer, map) == bytes,
              "a direct map has %d bytes, the plan's %u", bytes, map->bytes);
    if (page_count)
        compare_pages(map);
    else
        compare_segments(map, count);
    SIM_CHECK(by_caller ? held == held_before : sum_of_holds(dma, transfer) == held,
              "a direct map holds other frames than the plan's");
    SIM_CHECK(memcmp(&after, dma, sizeof after) == 0, "a direct map is counted otherwise");
    return bytes;
}

int __wrap_dgm_dma_map_direct(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                              struct dgm_dma_segment *segments, struct dgm_dma_map *map)
{
    static struct rng rng;

    if (sim.options.steady_depth)
        return __real_dgm_dma_map_direct(dma, transfer, segments, map);
    if (dma->maps == 0)
        rng = rng_of(sim.options.seed, "both ways");
    switch (rng_below(&rng, 4)) {
    case 0:
        return 0;
    case 1:
        return make_both(dma, transfer, segments, map);
    default:
        return __real_dgm_dma_map_direct(dma, transfer, segments, map);
    }
}
