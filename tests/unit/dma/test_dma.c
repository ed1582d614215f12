/* SPDX-License-Identifier: MIT */
/*
 * dma: if these fail, a device accesses memory of another transfer, or none. Named cases;
 * test_dma_twin does the same at random, compared with a naive twin.
 */
#include "dma_one.h"

#include <dragoman/base/status.h>

static const struct dgm_dma_tag nvme = {.mask = UINT64_MAX,
                                        .segments_max = SEGMENTS_MAX,
                                        .block_bytes = 512,
                                        .gap = 4096,
                                        .coherent = true};

static void expect_segment(unsigned i, uint64_t bus, uint32_t bytes)
{
    assert_true(i < dma_one.map.segment_count);
    assert_int_equal(dgm_bus_address(dma_one.segments[i].bus), bus);
    assert_int_equal(dma_one.segments[i].bytes, bytes);
}

/* Fails: XSA-229: frames are merged because their gfns are adjacent; or are not, though their mfns
 * are adjacent. */
static void merged_by_machine_frames_only(void **state)
{
    struct dgm_dma_piece pieces[4];

    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x9000), 0, 4096);
    pieces[1] = dma_one_piece(dma_rig_foreign(1, 0x5000), 0, 4096); /* gfns adjacent, mfns not */
    dma_rig_foreign(2, 0x7777);
    pieces[2] = dma_one_piece(dma_rig_foreign(3, 0x5001), 0, 4096); /* mfns adjacent, gfns not */
    pieces[3] = dma_one_piece(dgm_gfn(RAM), 0, 4096);
    assert_int_equal(dgm_gfn_number(pieces[1].gfn), dgm_gfn_number(pieces[0].gfn) + 1);
    assert_int_not_equal(dgm_gfn_number(pieces[2].gfn), dgm_gfn_number(pieces[1].gfn) + 1);
    assert_int_equal(dma_one_map(&dma_one_tag, pieces, 4, 0, DGM_DMA_TO_DEVICE), 16384);
    assert_int_equal(dma_one.map.segment_count, 3);
    expect_segment(0, 0x9000000, 4096);
    expect_segment(1, 0x5000000, 8192);
    expect_segment(2, (uint64_t)RAM << 12, 4096);
    assert_int_equal(dma_one.map.bytes_bounced, 0);
    assert_int_equal(dma_rig.dma.bytes_foreign, 12288);
    assert_int_equal(dma_rig.dma.bytes_local, 4096);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: a guest's frame at the machine frames of our RAM or slots is mistaken for one of ours. */
static void foreign_frames_in_odd_places(void **state)
{
    const dgm_gfn_t gfn = dma_rig_foreign(0, SLOT + 5); /* as inside an extended region */
    const struct dgm_dma_piece pieces[] = {dma_one_piece(gfn, 512, 512)};

    assert_int_equal(dma_one_map(&dma_one_tag, pieces, 1, 0, DGM_DMA_FROM_DEVICE), 512);
    expect_segment(0, ((uint64_t)(SLOT + 5) << 12) + 512, 512);
    assert_int_equal(dma_rig.dma.bytes_foreign, 512);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: our RAM is taken for 1:1 on a cache-coloured Dom0. */
static void coloured_dom0(void **state)
{
    const struct dgm_dma_piece pieces[] = {dma_one_piece(dgm_gfn(RAM + 7), 0, 4096)};
    dgm_bus_t bus;

    dma_rig_stop();
    dma_rig_start(0x123, 8);
    assert_int_equal(dma_one_map(&dma_one_tag, pieces, 1, 0, DGM_DMA_TO_DEVICE), 4096);
    expect_segment(0, (uint64_t)(RAM + 7 + 0x123) << 12, 4096);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    assert_int_equal(dgm_dma_local(&dma_rig.p2m, &dma_one_tag, dgm_gfn(RAM + 7), &bus), DGM_OK);
    assert_int_equal(dgm_bus_address(bus), (uint64_t)(RAM + 7 + 0x123) << 12);
}

/* Fails: a buffer that starts and ends off a page boundary is bounced though
 * PRPs can express it. */
static void prps_may_start_and_end_anywhere(void **state)
{
    const struct dgm_dma_piece pieces[] = {
        dma_one_piece(dma_rig_foreign(0, 0x9000), 2048, 2048),
        dma_one_piece(dma_rig_foreign(1, 0x5000), 0, 4096),
        dma_one_piece(dma_rig_foreign(2, 0x3000), 0, 1024),
    };

    assert_int_equal(dma_one_map(&nvme, pieces, 3, 0, DGM_DMA_TO_DEVICE), 7168);
    assert_int_equal(dma_one.map.segment_count, 3);
    assert_int_equal(dma_one.map.bytes_bounced, 0);
    assert_int_equal(dma_rig.dma.cuts, 0);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: 1 KiB-block ext4: gaps that PRPs cannot express reach the device, or are all bounced. */
static void cut_at_a_gap(void **state)
{
    struct dgm_dma_piece pieces[4];
    uint64_t at = 0;

    for (unsigned i = 0; i < 4; i++)
        pieces[i] = dma_one_piece(dma_rig_foreign(i, 0x9000 + 16 * i), 1024 * i, 1024);
    while (at < 4096) {
        assert_int_equal(dma_one_map(&nvme, pieces, 4, at, DGM_DMA_TO_DEVICE), 1024);
        assert_int_equal(dma_one.map.bytes_bounced, 0);
        at += 1024;
        dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    }
    assert_int_equal(dma_rig.dma.cuts, 3); /* the last was whole */
}

/* Fails: a disk with sectors of 4096 bytes cannot read the same pieces at all. */
static void gathered_where_a_block_has_gaps(void **state)
{
    struct dgm_dma_tag tag = nvme;
    struct dgm_dma_piece pieces[8];

    tag.block_bytes = 4096;
    for (unsigned i = 0; i < 8; i++) {
        const uint64_t gfn = i;

        pieces[i] = dma_one_piece(dma_rig_foreign(gfn, 0x9000 + 16 * i), 1024, 1024);
        memset((char *)dgm_hv_page(GUEST, gfn) + 1024, 'a' + (int)i, 1024);
    }
    for (uint64_t at = 0; at < 8192; at += 4096) {
        assert_int_equal(dma_one_map(&tag, pieces, 8, at, DGM_DMA_TO_DEVICE), 4096);
        assert_int_equal(dma_one.map.segment_count, 1);
        assert_int_equal(dma_one.map.bytes_bounced, 4096);
        for (unsigned i = 0; i < 4096; i++)
            assert_int_equal(
                *dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[0].bus) + i, false),
                'a' + (at + i) / 1024);
        dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    }
    assert_int_equal(dma_rig.dma.bytes_bounced_gap, 8192);
}

/* Fails: the Raspberry Pi 4's window of 30 bits at bus 0xC0000000 is not respected, at the frame at
 * its end. */
static void raspberry_pi_4(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[3];

    tag.window_count = 1;
    tag.windows[0] = (struct dgm_dma_window){0, 0xC0000000, 1ull << 30};
    tag.mask = UINT32_MAX;
    dma_rig_stop();
    dma_rig_start(0x3000 - RAM, 8);                                  /* our RAM low */
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x3ffff), 0, 4096); /* the last frame within */
    pieces[1] =
        dma_one_piece(dma_rig_foreign(1, 0x40000), 0, 4096); /* the first beyond: bus would wrap */
    pieces[2] = dma_one_piece(dma_rig_foreign(2, 0x3fffe), 512, 512);
    memset(dgm_hv_page(GUEST, 1), 'x', 4096);
    assert_int_equal(dma_one_map(&tag, pieces, 3, 0, DGM_DMA_TO_DEVICE), 8704);
    assert_int_equal(dma_one.map.segment_count, 3);
    expect_segment(0, 0xfffff000, 4096);
    assert_true(dma_rig_is_buffer(dma_rig_machine(&tag, dgm_bus_address(dma_one.segments[1].bus))));
    assert_int_equal(*dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[1].bus) + 4095, false),
                     'x');
    expect_segment(2, 0xffffe200, 512);
    assert_int_equal(dma_rig.dma.bytes_bounced_reach, 4096);
    assert_int_equal(dma_rig.dma.bytes_foreign, 4608);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: the device is given a frame that extends beyond its window or its mask. */
static void a_frame_across_the_end_of_reach(void **state)
{
    struct dgm_dma_piece pieces[2];
    struct dgm_dma_tag tag = dma_one_tag;

    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x50000), 0, 4096);
    pieces[1] = dma_one_piece(pieces[0].gfn, 0, 2048);
    for (int i = 0; i < 2; i++) {
        if (i == 0) {
            tag.mask = 0x50000000 + 2047;
        } else {
            tag = dma_one_tag;
            tag.window_count = 1;
            tag.windows[0] = (struct dgm_dma_window){0x40000000, 0, 0x10000000 + 2048};
        }
        assert_int_equal(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE), 4096);
        assert_int_equal(dma_one.map.bytes_bounced, 4096);
        dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
        assert_int_equal(dma_one_map(&tag, pieces + 1, 1, 0, DGM_DMA_TO_DEVICE), 2048);
        assert_int_equal(dma_one.map.bytes_bounced, 0);
        dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    }
}

/* Fails: each block of an unreachable frame costs a separate buffer, and a command. */
static void one_buffer_for_one_frame(void **state)
{
    struct dgm_dma_tag tag = nvme;
    struct dgm_dma_piece pieces[8];

    tag.mask = 0xffffffff;
    dma_rig_foreign(0, 0x140000);
    for (unsigned i = 0; i < 8; i++)
        pieces[i] = dma_one_piece(dma_rig.foreign[0].gfn, 512 * i, 512);
    assert_int_equal(dma_one_map(&tag, pieces, 8, 0, DGM_DMA_TO_DEVICE), 4096);
    assert_int_equal(dma_one.map.segment_count, 1);
    assert_int_equal(dma_rig.bounce.free, dma_rig.bounce.total - 1);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: R-Car: a 3.6 MB buffer above 4 GiB fails for a 32-bit device because the pool is small. */
static void any_length_with_any_pool(void **state)
{
    static const uint16_t pools[] = {1, 2, 7, 900};
    static struct dgm_dma_piece pieces[900];
    struct dgm_dma_tag tag = dma_one_tag;

    tag.mask = UINT32_MAX;
    for (unsigned p = 0; p < 4; p++) {
        uint64_t at = 0;

        dma_rig_stop();
        dma_rig_start(0x1000 - RAM, pools[p]);
        for (unsigned i = 0; i < 900; i++) {
            pieces[i] = dma_one_piece(dma_rig_foreign(i, 0x140000 + i), 0, 4096);
            memset(dgm_hv_page(GUEST, i), (int)(i * 7), 4096);
        }
        while (at < sizeof pieces / sizeof pieces[0] * 4096) {
            const int done = dma_one_map(&tag, pieces, 900, at, DGM_DMA_TO_DEVICE);
            uint32_t i = 0;

            assert_true(done >= 512 && done <= pools[p] * 4096);
            for (unsigned s = 0; s < dma_one.map.segment_count; s++)
                for (uint32_t b = 0; b < dma_one.segments[s].bytes; b++, i++)
                    if (*dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[s].bus) + b, false) !=
                        (unsigned char)((at + i) / 4096 * 7))
                        fail();
            dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
            at += (unsigned)done;
        }
        assert_int_equal(dma_rig.dma.bytes_bounced_reach, 900 * 4096);
    }
}

/* Fails: while no buffer is free a resource is held, or the I/O fails, or the waiter is not
 * woken. */
static void waits_without_holding(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_segment first_segments[4];
    struct dgm_dma_piece pieces[2];
    struct dgm_dma_map first;

    dma_rig_stop();
    dma_rig_start(0, 1);
    tag.mask = 0xffffffff;
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x140000), 512, 512);
    pieces[1] = dma_one_piece(dma_rig_foreign(1, 0x140010), 0, 512);
    assert_int_equal(dgm_dma_map(&dma_rig.dma,
                                 &(struct dgm_dma_transfer){.tag = &tag,
                                                            .pieces = pieces,
                                                            .piece_count = 2,
                                                            .direction = DGM_DMA_FROM_DEVICE},
                                 first_segments, &first),
                     512); /* the one buffer: a prefix */
    assert_int_equal(dma_one_map(&tag, pieces, 2, 512, DGM_DMA_FROM_DEVICE), DGM_EAGAIN);
    assert_int_equal(dma_rig.bounce.waits, 1);
    assert_int_equal(dma_rig.p2m.in_flight[dgm_gfn_number(pieces[1].gfn) - SLOT], 0);
    assert_int_equal(dma_rig.p2m.in_flight[dgm_gfn_number(pieces[0].gfn) - SLOT], 1);
    dgm_dma_unmap(&dma_rig.dma, &first, true);
    assert_int_equal(dma_one_map(&tag, pieces, 2, 512, DGM_DMA_FROM_DEVICE), 512);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: a block made of many unreachable pieces waits permanently on a small pool. */
static void one_buffer_is_enough(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[8];

    dma_rig_stop();
    dma_rig_start(0, 1);
    tag.mask = 0xffffffff;
    tag.block_bytes = 4096;
    for (unsigned i = 0; i < 8; i++)
        pieces[i] = dma_one_piece(dma_rig_foreign(i, 0x140000 + 2 * i), 0, 512);
    assert_int_equal(dma_one_map(&tag, pieces, 8, 0, DGM_DMA_FROM_DEVICE), 4096);
    assert_int_equal(dma_one.map.segment_count, 1);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: a device is given an empty slot; or a resource is held after the error. */
static void empty_slots_are_refused(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[3];

    tag.mask = 0xffffffff;
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x140000), 0, 4096); /* takes a buffer */
    pieces[1] = dma_one_piece(dma_rig_foreign(1, 0x9000), 0, 4096);
    pieces[2] = dma_one_piece(dgm_gfn(SLOT + 100), 0, 4096);
    assert_int_equal(dma_one_map(&tag, pieces, 3, 0, DGM_DMA_TO_DEVICE), DGM_EFAULT);
    dma_rig_check_idle();
    assert_int_equal(dma_one_map(&tag, pieces + 2, 1, 0, DGM_DMA_TO_DEVICE), DGM_EFAULT);
    pieces[2].gfn = dgm_gfn(12345); /* no frame there */
    assert_int_equal(dma_one_map(&tag, pieces + 2, 1, 0, DGM_DMA_TO_DEVICE), DGM_EFAULT);
    pieces[0] = dma_one_piece(dma_rig_foreign(2, 0x9010), 0, 1024);
    pieces[1] = dma_one_piece(dgm_gfn(SLOT + 100), 1024, 3072);
    tag.gap = 4096;
    tag.block_bytes = 4096;
    assert_int_equal(dma_one_map(&tag, pieces, 2, 0, DGM_DMA_TO_DEVICE), DGM_EFAULT);
    pieces[1] = dma_one_piece(dma_rig_foreign(3, 0x9020), 0, 1024); /* found only while gathering */
    pieces[2] = dma_one_piece(dgm_gfn(SLOT + 100), 0, 2048);
    assert_int_equal(dma_one_map(&tag, pieces, 3, 0, DGM_DMA_TO_DEVICE), DGM_EFAULT);
    dma_rig_check_idle();
    assert_int_equal(dma_rig.dma.maps, 0);
}

/* Fails: the device is given buffers that it cannot reach. */
static void buffers_out_of_reach(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[1];
    dgm_bus_t bus;

    tag.mask = 0xfffffff; /* 256 MiB: below our RAM */
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x140000), 0, 4096);
    assert_int_equal(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE), DGM_ERANGE);
    dma_rig_check_idle();
    assert_int_equal(dgm_dma_local(&dma_rig.p2m, &tag, dgm_gfn(RAM), &bus), DGM_ERANGE);
    assert_int_equal(dgm_dma_local(&dma_rig.p2m, &tag, dgm_gfn(SLOT + 9), &bus), DGM_EFAULT);
}

/* Fails: after a short write of the device the guest sees another guest's bytes (XSA-403). */
static void short_writes_show_nothing_old(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[1];
    const unsigned char *page = dgm_hv_page(GUEST, 0);

    tag.mask = 0xffffffff;
    for (uint16_t i = 0; i < dma_rig.bounce.total; i++)
        memset(dgm_env_va(dgm_bounce_gfn(&dma_rig.bounce, i)), 'S',
               4096); /* another guest's secret */
    memset(dgm_hv_page(GUEST, 0), 'o', 4096);
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x140000), 0, 4096);
    assert_int_equal(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_FROM_DEVICE), 4096);
    for (unsigned i = 0; i < 100; i++)
        *dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[0].bus) + i, true) = 'n';
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(page[i], i < 100 ? 'n' : 'o');
    assert_int_equal(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_FROM_DEVICE), 4096);
    memset(dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[0].bus), true), 'z', 4096);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map,
                  false); /* the command failed: nothing is copied back */
    assert_int_equal(page[0], 'n');
}

/* Fails: the device is given more than a command can hold. */
static void limits_of_a_command(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[4];

    for (unsigned i = 0; i < 4; i++)
        pieces[i] = dma_one_piece(dgm_gfn(RAM + i), 0, 4096); /* adjacent */
    tag.transfer_bytes_max = 8192 + 700;
    assert_int_equal(dma_one_map(&tag, pieces, 4, 0, DGM_DMA_TO_DEVICE), 8192 + 512);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    tag = dma_one_tag;
    tag.segment_bytes_max = 6144;
    assert_int_equal(dma_one_map(&tag, pieces, 4, 0, DGM_DMA_TO_DEVICE), 16384);
    assert_int_equal(dma_one.map.segment_count, 3);
    expect_segment(1, ((uint64_t)RAM << 12) + 6144, 6144);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    tag.gap = 4096; /* inner segments may now only end on pages */
    assert_int_equal(dma_one_map(&tag, pieces, 4, 0, DGM_DMA_TO_DEVICE), 16384);
    assert_int_equal(dma_one.map.segment_count, 4);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    tag.segments_max = 2;
    assert_int_equal(dma_one_map(&tag, pieces, 4, 512, DGM_DMA_TO_DEVICE), 7680);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    tag = dma_one_tag;
    tag.boundary = 8192;
    assert_int_equal(dma_one_map(&tag, pieces, 4, 4096, DGM_DMA_TO_DEVICE), 12288);
    assert_int_equal(dma_one.map.segment_count, 2);
    expect_segment(0, (uint64_t)(RAM + 1) << 12, 4096);
    expect_segment(1, (uint64_t)(RAM + 2) << 12, 8192);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: a frame is unmapped while a device has it; a map is unmapped twice; an impossible tag is
 * accepted. */
static void misuse_panics(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_bounce_share share = {0};
    struct dgm_bounce_device device;
    struct dgm_dma_piece pieces[1];

    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x9000), 0, 512);
    assert_int_equal(dma_one_map(&dma_one_tag, pieces, 1, 0, DGM_DMA_TO_DEVICE), 512);
    expect_panic(dgm_grant_unmap_add(&dma_rig.grant, &dma_rig.foreign[0]));
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    expect_panic(dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true));
    expect_panic(
        dma_one_map(&dma_one_tag, pieces, 1, 512, DGM_DMA_TO_DEVICE)); /* nothing remains */
    tag.block_bytes = 8192;
    expect_panic(dgm_dma_device_begin(&dma_rig.dma, &device, &share, &tag));
    tag = dma_one_tag;
    tag.boundary = 256;
    expect_panic(dgm_dma_device_begin(&dma_rig.dma, &device, &share, &tag));
    expect_panic(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE));
    tag = dma_one_tag;
    tag.segments_max = 0;
    expect_panic(dgm_dma_device_begin(&dma_rig.dma, &device, &share, &tag));
    expect_panic(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, dma_one_start, dma_one_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(merged_by_machine_frames_only),
        TEST(foreign_frames_in_odd_places),
        TEST(coloured_dom0),
        TEST(prps_may_start_and_end_anywhere),
        TEST(cut_at_a_gap),
        TEST(gathered_where_a_block_has_gaps),
        TEST(raspberry_pi_4),
        TEST(a_frame_across_the_end_of_reach),
        TEST(one_buffer_for_one_frame),
        TEST(any_length_with_any_pool),
        TEST(waits_without_holding),
        TEST(one_buffer_is_enough),
        TEST(empty_slots_are_refused),
        TEST(buffers_out_of_reach),
        TEST(short_writes_show_nothing_old),
        TEST(limits_of_a_command),
        TEST(misuse_panics),
    };

    return cmocka_run_group_tests_name("dma", tests, NULL, NULL);
}
