/* SPDX-License-Identifier: MIT */
/*
 * dma where a guest's frame lies close to our memory: if these fail, caches are maintained for
 * other memory than the device accessed, or not at all, because a decision was made by machine
 * address. (Linux asks pfn_valid(machine frame), which is true for any frame of a 128 MiB section
 * in which Dom0 has RAM, and for those of an extended region that it uses.)
 */
#include "dma_rig.h"

#define SECTION ((128ull << 20) / DGM_FRAME_BYTES)

static const struct dgm_dma_tag tag = {
    .mask = UINT64_MAX, .segments_max = 8, .block_bytes = 512, .coherent = false};

/* What was maintained since the last check: contiguous bytes, in order. */
static const char *seen;
static size_t seen_bytes;

static void note_maintenance(const void *va, size_t bytes)
{
    if (seen)
        assert_ptr_equal(va, seen + seen_bytes);
    else
        seen = va;
    seen_bytes += bytes;
}

static void expect_maintained(dgm_gfn_t gfn, uint32_t offset, uint32_t bytes)
{
    assert_ptr_equal(seen, (const char *)dgm_env_va(gfn) + offset);
    assert_int_equal(seen_bytes, bytes);
    seen = NULL;
    seen_bytes = 0;
}

/* One transfer into the guest's frame, which is at `mfn`. */
static void transfer_to(uint64_t guests, uint64_t mfn)
{
    const dgm_gfn_t gfn = dma_rig_foreign(guests, mfn);
    const struct dgm_dma_piece piece = {gfn, 512, 2048};
    const struct dgm_dma_transfer transfer = {
        .tag = &tag, .pieces = &piece, .piece_count = 1, .direction = DGM_DMA_FROM_DEVICE};
    struct dgm_dma_segment segments[8];
    struct dgm_dma_map map;

    assert_int_equal(dgm_dma_map(&dma_rig.dma, &transfer, segments, &map), 2048);
    expect_maintained(gfn, 512, 2048);
    assert_int_equal(map.segment_count, 1);
    assert_int_equal(dgm_bus_address(segments[0].bus), mfn * DGM_FRAME_BYTES + 512);
    memset(dma_rig_byte(&tag, dgm_bus_address(segments[0].bus), true), 0xd5, 2048);

    assert_int_equal(
        dgm_dma_sync_for_cpu(&dma_rig.dma, &map, (struct dgm_span){.offset = 512, .bytes = 1024}),
        DGM_OK);
    expect_maintained(gfn, 1024, 1024);
    assert_int_equal(dgm_dma_unmap(&dma_rig.dma, &map, true), DGM_OK);
    expect_maintained(gfn, 512, 2048);
    assert_int_equal(((unsigned char *)dgm_hv_page(GUEST, guests))[512], 0xd5);
}

static int start(void **state)
{
    dma_rig_start(0, 4);
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = dgm_hv_hypercall,
                                             .cache_clean = note_maintenance,
                                             .cache_clean_invalidate = note_maintenance});
    seen = NULL;
    seen_bytes = 0;
    return 0;
}

static int stop(void **state)
{
    assert_int_equal(dma_rig.dma.bytes_local, 0);
    dma_rig_stop();
    return 0;
}

static void in_the_section_of_our_ram(void **state)
{
    assert_true(RAM % SECTION == 0 && RAM_FRAMES < SECTION);
    transfer_to(0, RAM + RAM_FRAMES); /* right behind our bank */
    transfer_to(1, RAM + SECTION / 2);
    transfer_to(2, RAM + SECTION - 1);
}

static void inside_an_extended_region(void **state)
{
    transfer_to(0, SLOT);     /* numerically the very slot that it is mapped at */
    transfer_to(1, SLOT + 5); /* another, empty */
    transfer_to(2, SLOT + 1); /* another, full */
    transfer_to(3, SLOT + SLOTS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_the_section_of_our_ram, start, stop),
        cmocka_unit_test_setup_teardown(inside_an_extended_region, start, stop),
    };

    return cmocka_run_group_tests_name("dma_section", tests, NULL, NULL);
}
