/* SPDX-License-Identifier: MIT */
/*
 * dma for devices that do not see the CPU's caches, maintained by virtual address. If it fails: on
 * a board whose disk is not coherent, stale data goes to the disk or to the guest.
 */
#include "dma_dram.h"

#include <dragoman/base/status.h>

/* Fails: coherent devices pay for maintenance. */
static void nothing_for_coherent_devices(void **state)
{
    const struct dgm_dma_piece pieces[] = {{dma_dram.slot[1], 0, 4096}};
    struct dgm_dma_tag coherent = dma_dram.tag;

    coherent.coherent = true;
    assert_int_equal(dgm_dma_map(&dma_rig.dma,
                                 &(struct dgm_dma_transfer){.tag = &coherent,
                                                            .pieces = pieces,
                                                            .piece_count = 1,
                                                            .direction = DGM_DMA_FROM_DEVICE},
                                 dma_dram.segments, &dma_dram.map),
                     4096);
    dgm_dma_unmap(&dma_rig.dma, &dma_dram.map, true);
    assert_int_equal(dma_dram.maintained, 0);
}

/* Fails: other bytes than those lent are copied to or from a buffer. Any bytes, a device that sees
 * the caches. */
static void exactly_what_is_lent_is_copied(void **state)
{
    const struct dgm_dma_piece pieces[] = {{dma_dram.slot[0], 512, 3584},
                                           {dma_dram.slot[3], 0, 1024}};
    struct dgm_dma_tag coherent = dma_dram.tag;

    coherent.coherent = true;
    coherent.gap = 0;
    assert_int_equal(dgm_dma_map(&dma_rig.dma,
                                 &(struct dgm_dma_transfer){.tag = &coherent,
                                                            .pieces = pieces,
                                                            .piece_count = 2,
                                                            .direction = DGM_DMA_FROM_DEVICE},
                                 dma_dram.segments, &dma_dram.map),
                     4608);
    assert_int_equal(dma_dram.map.bytes_bounced, 4608);
    for (unsigned trial = 0; trial < 300; trial++) {
        const uint32_t at = (uint32_t)unit_below(4609), bytes = (uint32_t)unit_below(4609 - at);

        for (uint32_t i = 0; i < 4608; i++) {
            *dma_dram_cpu_byte(pieces, i) = 'c';
            *dma_rig_byte(&dma_dram.tag,
                          i < dma_dram.map.segments[0].bytes
                              ? dgm_bus_address(dma_dram.map.segments[0].bus) + i
                              : dgm_bus_address(dma_dram.map.segments[1].bus) +
                                    (i - dma_dram.map.segments[0].bytes),
                          true) = 'd';
        }
        if (trial % 2)
            assert_int_equal(dgm_dma_sync_for_cpu(&dma_rig.dma, &dma_dram.map,
                                                  (struct dgm_span){.offset = at, .bytes = bytes}),
                             DGM_OK);
        else
            assert_int_equal(
                dgm_dma_sync_for_device(&dma_rig.dma, &dma_dram.map,
                                        (struct dgm_span){.offset = at, .bytes = bytes}),
                DGM_OK);
        for (uint32_t i = 0; i < 4608; i++) {
            const bool lent = i >= at && i - at < bytes;

            assert_int_equal(*dma_dram_cpu_byte(pieces, i), lent && trial % 2 ? 'd' : 'c');
            assert_int_equal(*dma_rig_byte(&dma_dram.tag,
                                           i < dma_dram.map.segments[0].bytes
                                               ? dgm_bus_address(dma_dram.map.segments[0].bus) + i
                                               : dgm_bus_address(dma_dram.map.segments[1].bus) +
                                                     (i - dma_dram.map.segments[0].bytes),
                                           true),
                             lent && trial % 2 == 0 ? 'c' : 'd');
        }
    }
    expect_panic((void)dgm_dma_sync_for_cpu(&dma_rig.dma, &dma_dram.map,
                                            (struct dgm_span){.offset = 4608, .bytes = 1}));
    expect_panic((void)dgm_dma_sync_for_device(
        &dma_rig.dma, &dma_dram.map, (struct dgm_span){.offset = 1, .bytes = UINT32_MAX}));
    dgm_dma_unmap(&dma_rig.dma, &dma_dram.map, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, dma_dram_start, dma_dram_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dma_dram_device_reads_what_was_written),
        TEST(dma_dram_guest_reads_what_the_device_wrote),
        TEST(dma_dram_transfers_never_share_a_line),
        TEST(nothing_for_coherent_devices),
        TEST(dma_dram_lent_and_lent_back),
        TEST(exactly_what_is_lent_is_copied),
    };

    return cmocka_run_group_tests_name("dma cache", tests, NULL, NULL);
}
