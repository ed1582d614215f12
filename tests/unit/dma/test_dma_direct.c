/* SPDX-License-Identifier: MIT */
/* The common map, made in one pass, equals the map of a plan; dma/direct.c. */
#include "dma_rig.h"

#include <dma/internal.h>
#include <dragoman/base/status.h>

#define PIECES 24u
#define FRAMES 48u

/* A map with its segments, holds and counters. */
struct outcome {
    int bytes;
    struct dgm_dma_map map;
    struct dgm_dma_segment segments[PIECES];
    dgm_bus_t pages[PIECES];
    uint16_t in_flight[SLOTS];
    uint32_t held_by_callers;
    struct dgm_dma dma; /* the counters, among others */
};

static dgm_gfn_t frames[FRAMES]; /* foreign ones, then local ones */
static struct dgm_dma_piece pieces[PIECES];
static struct outcome direct, by_plan;

typedef int map_fn(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                   struct dgm_dma_segment *segments, struct dgm_dma_map *map);

static int make_by_plan(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                        struct dgm_dma_segment *segments, struct dgm_dma_map *map)
{
    dgm_dma_map_begin(transfer, segments, map);
    return dgm_dma_map_by_plan(dma, transfer, map);
}

static void take_outcome(const struct dgm_dma_transfer *wanted, map_fn *make,
                         struct outcome *outcome)
{
    const struct dgm_dma before = dma_rig.dma;
    struct dgm_dma_transfer transfer = *wanted;

    memset(outcome, 0, sizeof *outcome);
    if (wanted->pages)
        transfer.pages = outcome->pages;
    outcome->bytes = make(&dma_rig.dma, &transfer, outcome->segments, &outcome->map);
    memcpy(outcome->in_flight, dma_rig.p2m.in_flight, sizeof outcome->in_flight);
    outcome->held_by_callers = dma_rig.p2m.held_by_callers;
    outcome->dma = dma_rig.dma;
    if (outcome->bytes > 0) {
        struct dgm_dma_map map = outcome->map;

        assert_int_equal(dgm_dma_unmap(&dma_rig.dma, &map, true), DGM_OK);
        assert_int_equal(map.bytes, 0);
    }
    dma_rig_check_idle();
    dma_rig.dma = before;
}

/* The pages of `direct` have the bytes of the segments of `by_plan`. */
static void assert_equal_pages(void)
{
    unsigned page = 0;

    for (unsigned i = 0; i < by_plan.map.segment_count; i++)
        for (uint32_t at = 0; at < by_plan.segments[i].bytes; at += DGM_FRAME_BYTES)
            assert_true(
                dgm_bus_equal(dgm_bus_add(by_plan.segments[i].bus, at), direct.pages[page++]));
    assert_int_equal(direct.map.page_count, page);
    assert_int_equal(direct.map.segment_count, 0);
}

static void assert_equal_segments(void)
{
    assert_int_equal(direct.map.segment_count, by_plan.map.segment_count);
    for (unsigned i = 0; i < direct.map.segment_count; i++) {
        assert_true(dgm_bus_equal(direct.segments[i].bus, by_plan.segments[i].bus));
        assert_int_equal(direct.segments[i].bytes, by_plan.segments[i].bytes);
    }
}

static void assert_equal(const struct dgm_dma_transfer *transfer)
{
    static const uint16_t none[SLOTS];
    const bool by_caller = direct.map.page_count && transfer->held;

    assert_int_equal(direct.bytes, by_plan.bytes);
    assert_int_equal(direct.map.bytes, by_plan.map.bytes);
    assert_int_equal(direct.map.bytes_bounced, by_plan.map.bytes_bounced);
    assert_int_equal(by_plan.map.buffer_first, DGM_BOUNCE_NONE);
    if (direct.map.page_count)
        assert_equal_pages();
    else
        assert_equal_segments();
    assert_memory_equal(direct.in_flight, by_caller ? none : by_plan.in_flight,
                        sizeof direct.in_flight);
    assert_int_equal(direct.held_by_callers, by_caller);
    assert_int_equal(by_plan.held_by_callers, 0);
    assert_memory_equal(&direct.dma, &by_plan.dma, sizeof direct.dma);
}

static struct dgm_dma_tag random_tag(void)
{
    static const uint32_t units[] = {0, 4, 512, 4096};

    struct dgm_dma_tag tag = {.block_bytes = 512, .coherent = true};

    tag.mask = unit_below(4) ? UINT64_MAX : (RAM + 0x3000) << DGM_FRAME_SHIFT;
    tag.gap = unit_below(3) ? 4096 : units[unit_below(4)];
    tag.alignment = units[unit_below(4)];
    tag.segments_max = (uint32_t)(unit_below(4) ? PIECES : 1 + unit_below(4));
    tag.transfer_bytes_max = unit_below(3) ? 0 : (uint32_t)(1 + unit_below(40)) * 512;
    return tag;
}

/* Pieces of whole blocks, most of them whole frames, often neighbours in the machine. */
static struct dgm_dma_transfer random_transfer(const struct dgm_dma_tag *tag)
{
    const unsigned whole = unit_below(4);
    unsigned frame = unit_below(FRAMES);
    struct dgm_dma_transfer transfer = {
        .tag = tag, .pieces = pieces, .piece_count = 1 + unit_below(PIECES)};
    uint64_t bytes = 0;

    transfer.direction = unit_below(2) ? DGM_DMA_TO_DEVICE : DGM_DMA_FROM_DEVICE;

    for (size_t i = 0; i < transfer.piece_count; i++) {
        const bool odd = whole == 0 || (whole == 1 && (i == 0 || i + 1 == transfer.piece_count));
        const uint16_t offset = (uint16_t)(odd ? unit_below(8) * 512 : 0);
        const uint16_t rest = (uint16_t)(DGM_FRAME_BYTES - offset);

        frame = unit_below(3) ? (frame + 1) % FRAMES : (unsigned)unit_below(FRAMES);
        pieces[i] = (struct dgm_dma_piece){
            frames[frame], offset,
            (uint16_t)(odd && unit_below(2) ? (1 + unit_below(rest / 512)) * 512 : rest)};
        bytes += pieces[i].bytes;
    }
    if (unit_below(3) == 0)
        transfer.skip_bytes = unit_below(bytes / 512) * 512;
    if (bytes == transfer.piece_count * DGM_FRAME_BYTES && unit_below(2))
        transfer.pages = direct.pages;
    transfer.held = unit_below(2);
    return transfer;
}

static void start_rig(void)
{
    dma_rig_start(0x100, 8);
    for (unsigned i = 0; i < FRAMES; i++)
        if (i < FRAMES - 8) /* runs of up to eight, that ascend */
            frames[i] = dma_rig_foreign(i, RAM + 0x2000 + i + i / 8 * 0x300);
        else
            frames[i] = dgm_gfn(RAM + i);
}

/* Fails: the pass merges, splits, ends, holds or counts differently from a plan; it keeps a frame
 * at a piece that is not common; it makes a map of which a plan bounces a part. */
static void as_a_plan_makes_it(void **state)
{
    unsigned usual = 0, others = 0, lists = 0;

    start_rig();
    for (unsigned i = 0; i < 40000; i++) {
        const struct dgm_dma_tag tag = random_tag();
        const struct dgm_dma_transfer transfer = random_transfer(&tag);

        take_outcome(&transfer, dgm_dma_map_direct, &direct);
        if (direct.bytes == 0) { /* take_outcome() has seen that nothing is held */
            others++;
            continue;
        }
        usual++;
        lists += direct.map.page_count > 0;
        assert_true(direct.map.direct);
        take_outcome(&transfer, make_by_plan, &by_plan);
        assert_false(by_plan.map.direct);
        assert_equal(&transfer);
    }
    assert_true(usual > 5000 && others > 5000 && lists > 500);
    dma_rig_stop();
}

/* Fails: whole frames for an NVMe controller are mapped by a plan, or held once too often. */
static void whole_frames_are_a_list(void **state)
{
    const struct dgm_dma_tag tag = {.mask = UINT64_MAX,
                                    .gap = 4096,
                                    .alignment = 4,
                                    .segments_max = PIECES,
                                    .block_bytes = 512,
                                    .coherent = true};
    struct dgm_dma_transfer transfer = {.tag = &tag,
                                        .pieces = pieces,
                                        .piece_count = PIECES,
                                        .direction = DGM_DMA_FROM_DEVICE,
                                        .pages = direct.pages};

    start_rig();
    for (unsigned i = 0; i < PIECES; i++)
        pieces[i] = (struct dgm_dma_piece){frames[7 * i % (FRAMES - 8)], 0, DGM_FRAME_BYTES};
    for (unsigned held = 0; held < 2; held++) {
        transfer.held = held;
        take_outcome(&transfer, dgm_dma_map_direct, &direct);
        assert_int_equal(direct.bytes, PIECES * DGM_FRAME_BYTES);
        assert_int_equal(direct.map.page_count, PIECES);
        assert_int_equal(direct.map.pieces_held, held ? 0 : PIECES);
    }
    for (unsigned i = 0; i < PIECES; i++)
        pieces[i].gfn = frames[FRAMES - 8 + i % 8];
    transfer.held = false;
    take_outcome(&transfer, dgm_dma_map_direct, &direct); /* local frames, as those of mode copy */
    assert_int_equal(direct.map.page_count, PIECES);
    take_outcome(&transfer, make_by_plan, &by_plan);
    assert_equal(&transfer);
    pieces[PIECES - 1].gfn = frames[0]; /* a mixture is no list */
    take_outcome(&transfer, dgm_dma_map_direct, &direct);
    assert_int_equal(direct.map.page_count, 0);
    dma_rig_stop();
}

/* Fails: the pass makes a map that needs a bounce buffer, cache maintenance or another kind of
 * address. */
static void others_are_not(void **state)
{
    const struct dgm_dma_tag plain = {
        .mask = UINT64_MAX, .segments_max = PIECES, .block_bytes = 512, .coherent = true};
    struct dgm_dma_tag tag;
    struct dgm_dma_transfer transfer = {
        .tag = &tag, .pieces = pieces, .piece_count = 2, .direction = DGM_DMA_FROM_DEVICE};

    start_rig();
    pieces[0] = (struct dgm_dma_piece){frames[0], 0, DGM_FRAME_BYTES};
    pieces[1] = (struct dgm_dma_piece){frames[9], 0, DGM_FRAME_BYTES};
    for (unsigned kind = 0; kind < 8; kind++) {
        tag = plain;
        tag.coherent = kind != 1;
        tag.space = kind == 2 ? DGM_DMA_GUEST_PHYSICAL : DGM_DMA_MACHINE;
        tag.window_count = kind == 3;
        tag.boundary = kind == 4 ? 4096 : 0;
        tag.segment_bytes_max = kind == 5 ? 4096 : 0;
        if (kind == 6) /* the second piece is beyond the device's reach */
            tag.mask = (RAM + 0x2100) << DGM_FRAME_SHIFT;
        if (kind == 7) /* an empty slot */
            pieces[1].gfn = dgm_gfn(SLOT + SLOTS - 1);
        take_outcome(&transfer, dgm_dma_map_direct, &direct);
        assert_int_equal(direct.bytes > 0, kind == 0);
    }
    dma_rig_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_plan_makes_it),
        cmocka_unit_test(whole_frames_are_a_list),
        cmocka_unit_test(others_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
