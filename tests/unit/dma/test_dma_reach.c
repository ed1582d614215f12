/* SPDX-License-Identifier: MIT */
/*
 * dma: the addresses that devices reach and can express, and the visible bytes of a bounce buffer.
 * If these fail, a device is given an address that it cannot form, or one guest sees another's
 * bytes.
 */
#include "dma_one.h"

#include <dma/internal.h>
#include <dragoman/base/status.h>

static bool is_bounced(const struct dgm_dma_tag *tag, unsigned segment)
{
    return dma_rig_is_buffer(dma_rig_machine(tag, dgm_bus_address(dma_one.segments[segment].bus)));
}

/* Maps the one piece for `device` while others are mapped. */
static int map_for(struct dgm_bounce_device *device, const struct dgm_dma_tag *tag,
                   const struct dgm_dma_piece *piece, struct dgm_dma_segment *device_segments,
                   struct dgm_dma_map *held)
{
    const struct dgm_dma_transfer transfer = {.tag = tag,
                                              .pieces = piece,
                                              .piece_count = 1,
                                              .direction = DGM_DMA_TO_DEVICE,
                                              .device = device};

    return dgm_dma_map(&dma_rig.dma, &transfer, device_segments, held);
}

/* --- alignment --- */

/* Fails: a segment starts where the device cannot start; or more than that part is bounced. */
static void only_what_is_not_aligned_is_bounced(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[3];

    tag.alignment = 4;
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x9000), 0, 1024);
    pieces[1] = dma_one_piece(dma_rig_foreign(1, 0x5000), 2, 1024);
    pieces[2] = dma_one_piece(dma_rig_foreign(2, 0x3000), 1020, 512);
    assert_int_equal(dma_one_map(&tag, pieces, 3, 0, DGM_DMA_TO_DEVICE), 2560);
    assert_int_equal(dma_one.map.segment_count, 3);
    assert_false(is_bounced(&tag, 0));
    assert_true(is_bounced(&tag, 1));
    assert_int_equal(dgm_bus_address(dma_one.segments[1].bus) % 4, 0);
    assert_int_equal(dgm_bus_address(dma_one.segments[2].bus), 0x3000000 + 1020);
    assert_int_equal(dma_rig.dma.bytes_bounced_gap, 1024);
    assert_int_equal(dma_one.map.bytes_bounced, 1024);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: a piece that is adjacent to the last segment is bounced,
 * though no segment starts there. */
static void what_follows_need_not_be_aligned(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[2];

    tag.alignment = 512;
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x9000), 512, 100);
    pieces[1] = dma_one_piece(pieces[0].gfn, 612, 412);
    assert_int_equal(dma_one_map(&tag, pieces, 2, 0, DGM_DMA_TO_DEVICE), 512);
    assert_int_equal(dma_one.map.segment_count, 1);
    assert_int_equal(dma_one.map.bytes_bounced, 0);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: unaligned pieces cost a buffer and a segment each. */
static void odd_pieces_share_a_buffer(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[8];

    tag.alignment = 4;
    for (unsigned i = 0; i < 8; i++) {
        pieces[i] = dma_one_piece(dma_rig_foreign(i, 0x9000 + 16 * i), 1 + 2 * i, 64);
        memset((char *)dgm_hv_page(GUEST, i) + 1 + 2 * i, 'a' + (int)i, 64);
    }
    assert_int_equal(dma_one_map(&tag, pieces, 8, 0, DGM_DMA_FROM_DEVICE), 512);
    assert_int_equal(dma_one.map.segment_count, 1);
    assert_int_equal(dma_rig.bounce.free, dma_rig.bounce.total - 1);
    for (unsigned i = 0; i < 512; i++) {
        unsigned char *byte =
            dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[0].bus) + i, true);

        assert_int_equal(*byte, 'a' + i / 64);
        *byte = (unsigned char)('A' + i / 64);
    }
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    for (unsigned i = 0; i < 8; i++) {
        const unsigned char *page = dgm_hv_page(GUEST, i);

        assert_int_equal(page[2 * i], 0);
        assert_int_equal(page[1 + 2 * i], 'A' + i);
        assert_int_equal(page[64 + 2 * i], 'A' + i);
        assert_int_equal(page[65 + 2 * i], 0);
    }
}

/* Fails: after a split at another limit the next segment is not aligned. */
static void splits_stay_aligned(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[1];
    uint32_t at = 0;

    tag.alignment = 1024;
    tag.segment_bytes_max = 1536;
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x9000), 0, 4096);
    while (at < 4096) {
        const int bytes = dma_one_map(&tag, pieces, 1, at, DGM_DMA_TO_DEVICE);

        assert_true(bytes > 0);
        for (unsigned i = 0; i < dma_one.map.segment_count; i++) {
            assert_int_equal(dgm_bus_address(dma_one.segments[i].bus) % 1024, 0);
            assert_true(dma_one.segments[i].bytes <= 1536);
        }
        dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
        at += (uint32_t)bytes;
    }
    assert_int_equal(dma_rig.dma.bytes_bounced_gap, 0);
    tag.alignment = 24;
    expect_panic(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE));
    tag.alignment = 8192;
    expect_panic(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE));
}

/* --- behind an IOMMU --- */

/* Fails: a device whose IOMMU knows our guest-physical addresses is given machine addresses, or is
 * bounced because of them, as Linux does in Dom0. */
static void guest_physical(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[3];
    dgm_bus_t bus;

    tag.mask = (1ull << 36) - 1;
    tag.space = DGM_DMA_GUEST_PHYSICAL;
    dma_rig_stop();
    dma_rig_start(0x123, 8);
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x1000000000), 0, 4096); /* 2^48 */
    pieces[1] = dma_one_piece(dma_rig_foreign(1, 0x5000), 0, 4096);
    pieces[2] = dma_one_piece(dgm_gfn(RAM + 7), 512, 512);
    memset(dgm_hv_page(GUEST, 0), 'x', 4096);
    memset(dgm_hv_page(GUEST, 1), 'y', 4096);
    assert_int_equal(dma_one_map(&tag, pieces, 3, 0, DGM_DMA_FROM_DEVICE), 8704);
    assert_int_equal(dma_one.map.bytes_bounced, 0);
    assert_int_equal(dma_one.map.segment_count, 2); /* the slots are neighbours, in any frames */
    assert_int_equal(dgm_bus_address(dma_one.segments[0].bus), dgm_gfn_address(pieces[0].gfn));
    assert_int_equal(dma_one.segments[0].bytes, 8192);
    assert_int_equal(dgm_bus_address(dma_one.segments[1].bus), ((RAM + 7) << 12) + 512);
    assert_int_equal(*dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[0].bus) + 4095, true),
                     'x');
    assert_int_equal(*dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[0].bus) + 4096, true),
                     'y');
    assert_int_equal(dma_rig.dma.bytes_foreign, 8192);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    assert_int_equal(dgm_dma_local(&dma_rig.p2m, &tag, dgm_gfn(RAM + 7), &bus), DGM_OK);
    assert_int_equal(dgm_bus_address(bus), (RAM + 7) << 12);

    tag.mask = UINT32_MAX; /* the slots lie beyond: those are bounced, and to our own addresses */
    assert_int_equal(dma_one_map(&tag, pieces, 3, 0, DGM_DMA_TO_DEVICE), 8704);
    assert_int_equal(dma_one.map.bytes_bounced, 8192);
    assert_int_equal(dgm_bus_address(dma_one.segments[0].bus),
                     dgm_gfn_address(dgm_bounce_gfn(&dma_rig.bounce, dma_one.map.buffer_first)));
    assert_int_equal(*dma_rig_byte(&tag, dgm_bus_address(dma_one.segments[0].bus), false), 'x');
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    pieces[0].gfn = dgm_gfn(SLOT + 9); /* empty: the IOMMU has nothing there */
    assert_int_equal(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE), DGM_EFAULT);
    assert_int_equal(dgm_dma_local(&dma_rig.p2m, &tag, dgm_gfn(SLOT + 9), &bus), DGM_EFAULT);
}

/* --- far and near --- */

/* Fails: addresses lose bits beyond the lowest 44 or fewer. */
static void wide_addresses(void **state)
{
    static const unsigned bits[] = {40, 44, 48, 52};

    for (unsigned i = 0; i < 4; i++) {
        const uint64_t last = (1ull << (bits[i] - 12)) - 1;
        const struct dgm_dma_piece pieces[] = {dma_one_piece(dma_rig_foreign(i, last), 512, 3584)};
        struct dgm_dma_tag tag = dma_one_tag;

        tag.mask = (1ull << bits[i]) - 1;
        assert_int_equal(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE), 3584);
        assert_int_equal(dgm_bus_address(dma_one.segments[0].bus), (last << 12) + 512);
        dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
        tag.mask--; /* one byte short of the frame's end */
        assert_int_equal(dma_one_map(&tag, pieces, 1, 0, DGM_DMA_TO_DEVICE), 3584);
        assert_true(is_bounced(&tag, 0));
        dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    }
}

/* Fails: one of several windows is taken for another, or the device is given a frame that extends
 * beyond one. */
static void three_windows(void **state)
{
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_piece pieces[4];

    tag.window_count = 3;
    tag.windows[0] = (struct dgm_dma_window){0, 0xc0000000, 0x3c000000};
    tag.windows[1] = (struct dgm_dma_window){0x40000000, 0x400000000, 0x30000000 + 2048};
    tag.windows[2] = (struct dgm_dma_window){0x80000000, 0, 0x40000000};
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x3bfff), 0, 4096); /* the last of the first */
    pieces[1] = dma_one_piece(dma_rig_foreign(1, 0x3c000), 0, 4096); /* between */
    pieces[2] =
        dma_one_piece(dma_rig_foreign(2, 0x70000), 0, 4096); /* across the end of the second */
    pieces[3] = dma_one_piece(dma_rig_foreign(3, 0x80000), 512, 512); /* in the third */
    assert_int_equal(dma_one_map(&tag, pieces, 4, 0, DGM_DMA_TO_DEVICE), 12800);
    assert_int_equal(dma_one.map.segment_count, 3);
    assert_int_equal(dgm_bus_address(dma_one.segments[0].bus), 0xfbfff000);
    assert_true(is_bounced(&tag, 1)); /* two buffers, neighbours */
    assert_int_equal(dma_one.segments[1].bytes, 8192);
    assert_int_equal(dgm_bus_address(dma_one.segments[2].bus), 512);
    assert_int_equal(dma_rig.dma.bytes_bounced_reach, 8192);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    pieces[2].bytes = 2048;
    assert_int_equal(dma_one_map(&tag, pieces + 2, 1, 0, DGM_DMA_TO_DEVICE), 2048);
    assert_int_equal(dgm_bus_address(dma_one.segments[0].bus), 0x400000000 + 0x30000000);
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
}

/* Fails: a narrow device is given a buffer that it cannot reach, or none though one is free; a wide
 * one uses up the low frames. */
static void areas_by_reach(void **state)
{
    struct dgm_dma_tag wide = dma_one_tag, narrow = dma_one_tag, none = dma_one_tag;
    struct dgm_frames more;
    struct dgm_dma_piece pieces[1];
    uint64_t low;

    dgm_frames_init(&dma_rig.frames);
    dgm_frames_add(&dma_rig.frames, (struct dgm_gfn_range){{POOL}, 2});
    dgm_frames_init(&more);
    dgm_frames_add(&more, (struct dgm_gfn_range){{POOL + 500}, 3});
    dgm_bounce_init(&dma_rig.bounce, &dma_rig.reactor, 5, dma_rig.bounce_memory);
    assert_int_equal(dgm_bounce_add(&dma_rig.bounce, &more, 3), DGM_OK);
    assert_int_equal(dgm_bounce_add(&dma_rig.bounce, &dma_rig.frames, 2), DGM_OK);
    dgm_dma_init(&dma_rig.dma, &dma_rig.p2m, &dma_rig.bounce);
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x140000), 0, 4096);
    low = (POOL + 2) << 12;
    narrow.mask = low - 1;
    wide.mask = UINT32_MAX;
    none.mask = ((POOL + 1) << 12) - 1; /* only half of the low area: none of it */

    assert_int_equal(dma_one_map(&none, pieces, 1, 0, DGM_DMA_TO_DEVICE), DGM_ERANGE);
    for (unsigned i = 0; i < 3; i++) {
        struct dgm_dma_map held[5];
        struct dgm_dma_segment device_segments[5][SEGMENTS_MAX];

        for (unsigned n = 0; n < 5; n++) {
            const struct dgm_dma_tag *tag = i == 0 || n < 3 ? &wide : &narrow;

            assert_int_equal(map_for(NULL, tag, pieces, device_segments[n], &held[n]), 4096);
            assert_int_equal(dgm_bus_address(device_segments[n][0].bus) < low, n >= 3);
        }
        assert_int_equal(dma_one_map(&narrow, pieces, 1, 0, DGM_DMA_TO_DEVICE), DGM_EAGAIN);
        for (unsigned n = 0; n < 5; n++)
            dgm_dma_unmap(&dma_rig.dma, &held[n], true);
        dgm_reactor_turn(&dma_rig.reactor);
        dgm_reactor_turn(&dma_rig.reactor);
    }
}

/* --- the bytes of a bounce buffer --- */

/* Poisons all buffers, maps, and checks what the device sees and, after it wrote only the first
 * `written` bytes, what the guest sees. */
static void map_and_compare(const struct dgm_dma_tag *tag, const struct dgm_dma_piece *pieces,
                            size_t count, enum dgm_dma_direction direction, uint32_t written)
{
    uint32_t at = 0;
    int bytes;

    for (uint16_t i = 0; i < dma_rig.bounce.total; i++)
        memset(dgm_env_va(dgm_bounce_gfn(&dma_rig.bounce, i)), 'S',
               4096); /* another guest's secret */
    for (size_t i = 0; i < count; i++)
        memset((char *)dgm_env_va(pieces[i].gfn) + pieces[i].offset, 'o', pieces[i].bytes);
    bytes = dma_one_map(tag, pieces, count, 0, direction);
    assert_true(bytes > 0 && dma_one.map.bytes_bounced > 0);
    for (unsigned s = 0; s < dma_one.map.segment_count; s++)
        for (uint32_t b = 0; b < dma_one.segments[s].bytes; b++, at++) {
            unsigned char *byte =
                dma_rig_byte(tag, dgm_bus_address(dma_one.segments[s].bus) + b, false);

            assert_int_equal(*byte, 'o');
            if (direction == DGM_DMA_FROM_DEVICE && at < written)
                *byte = 'n';
        }
    dgm_dma_unmap(&dma_rig.dma, &dma_one.map, true);
    at = 0;
    for (size_t i = 0; i < count; i++) {
        const unsigned char *memory = dgm_env_va(pieces[i].gfn);

        for (uint32_t b = 0; b < 4096; b++) {
            if (b < pieces[i].offset || b - pieces[i].offset >= pieces[i].bytes)
                assert_int_not_equal(memory[b], 'S');
            else
                assert_int_equal(memory[b],
                                 direction == DGM_DMA_FROM_DEVICE && at++ < written ? 'n' : 'o');
        }
    }
}

static long refuse_flush(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return op == __HYPERVISOR_grant_table_op && command == GNTTABOP_cache_flush ? DGM_EINVAL : 0;
}

/* Fails: a device or a guest sees a byte of a buffer's last user, for any cause of bouncing and any
 * number of bytes that the device writes. */
static void nothing_old_is_shown(void **state)
{
    static struct dgm_cacheflush flush;
    static const uint32_t written[] = {0, 1, 100, 511, 1024};
    struct dgm_dma_tag tag[5] = {dma_one_tag, dma_one_tag, dma_one_tag, dma_one_tag, dma_one_tag};
    struct dgm_dma_piece pieces[5][2];
    const uint64_t *counter[] = {&dma_rig.dma.bytes_bounced_reach, &dma_rig.dma.bytes_bounced_gap,
                                 &dma_rig.dma.bytes_bounced_gap, &dma_rig.dma.bytes_bounced_line,
                                 &dma_rig.dma.bytes_bounced_flush};
    const dgm_gfn_t far = dma_rig_foreign(0, 0x140000), one = dma_rig_foreign(1, 0x9000),
                    other = dma_rig_foreign(2, 0x5000);

    for (unsigned i = 0; i < 5; i++) {
        pieces[i][0] = dma_one_piece(one, 512, 512);
        pieces[i][1] = dma_one_piece(other, 0, 512);
    }
    tag[0].mask = UINT32_MAX;
    pieces[0][0].gfn = far;
    tag[1].gap = 4096; /* a block of 1024 that cannot be expressed */
    tag[1].block_bytes = 1024;
    tag[2].alignment = 4;
    pieces[2][0].offset = 513;
    tag[3].coherent = false;
    pieces[3][0].offset = 530;
    tag[4].coherent = false;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = refuse_flush});
    for (unsigned cause = 0; cause < 5; cause++) {
        const uint64_t before = *counter[cause];

        dma_rig.dma.flush = cause == 4 ? &flush : NULL;
        for (unsigned w = 0; w < 5; w++)
            map_and_compare(&tag[cause], pieces[cause], 2, DGM_DMA_FROM_DEVICE, written[w]);
        if (cause != 3) /* a line that is only read loses nothing */
            map_and_compare(&tag[cause], pieces[cause], 2, DGM_DMA_TO_DEVICE, 0);
        assert_true(*counter[cause] > before);
    }
    dgm_hv_set_faults(NULL);
}

/* --- shares --- */

/* Fails: another share than the transfer's is charged. */
static void each_guest_its_share(void **state)
{
    struct dgm_bounce_share one = {0}, other = {0};
    struct dgm_bounce_device of_one, of_other;
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_segment device_segments[3][SEGMENTS_MAX];
    struct dgm_dma_map held[3];
    struct dgm_dma_piece pieces[1];

    dma_rig_stop();
    dma_rig_start(0, 2);
    assert_int_equal(dgm_bounce_device_begin(&dma_rig.bounce, &of_one, &one, 0), DGM_OK);
    assert_int_equal(dgm_bounce_device_begin(&dma_rig.bounce, &of_other, &other, 0), DGM_OK);
    tag.mask = UINT32_MAX;
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x140000), 0, 4096);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(map_for(&of_one, &tag, pieces, device_segments[i], &held[i]), 4096);
    assert_int_equal(one.taken, 2);
    assert_int_equal(map_for(&of_other, &tag, pieces, device_segments[2], &held[2]), DGM_EAGAIN);
    assert_int_equal(other.waits, 1);
    dgm_dma_unmap(&dma_rig.dma, &held[0], true);
    assert_int_equal(map_for(&of_one, &tag, pieces, device_segments[0], &held[0]),
                     DGM_EAGAIN); /* it holds its share, and the other waits */
    assert_int_equal(map_for(&of_other, &tag, pieces, device_segments[2], &held[2]), 4096);
    dgm_dma_unmap(&dma_rig.dma, &held[1], true);
    dgm_dma_unmap(&dma_rig.dma, &held[2], true);
    assert_int_equal(one.taken + other.taken, 0);
    assert_int_equal(one.taken_max, 2);
    dgm_bounce_share_end(&dma_rig.bounce, &one);
    dgm_bounce_share_end(&dma_rig.bounce, &other);
}

/* Fails: a device with a hanging disk keeps another device's transfers from the last buffer. */
static void each_device_maps_with_its_minimum(void **state)
{
    struct dgm_bounce_share share = {0};
    struct dgm_bounce_device hangs, works, far;
    struct dgm_dma_tag tag = dma_one_tag;
    struct dgm_dma_segment device_segments[3][SEGMENTS_MAX];
    struct dgm_dma_map held[3];
    struct dgm_dma_piece pieces[1];

    dma_rig_stop();
    dma_rig_start(0, 3);
    tag.mask = UINT32_MAX;
    pieces[0] = dma_one_piece(dma_rig_foreign(0, 0x140000), 0, 4096);
    assert_int_equal(dgm_dma_device_begin(&dma_rig.dma, &hangs, &share, &tag), DGM_OK);
    assert_int_equal(dgm_dma_device_begin(&dma_rig.dma, &works, &share, &tag), DGM_OK);
    assert_int_equal(map_for(&hangs, &tag, pieces, device_segments[0], &held[0]), 4096);
    assert_int_equal(map_for(&hangs, &tag, pieces, device_segments[1], &held[1]), 4096);
    assert_int_equal(map_for(&hangs, &tag, pieces, device_segments[2], &held[2]), DGM_EAGAIN);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(map_for(&works, &tag, pieces, device_segments[2], &held[2]), 4096);
        dgm_dma_unmap(&dma_rig.dma, &held[2], true);
    }
    tag.mask = (RAM << 12) - 1; /* it reaches no buffer, so it has no minimum, and needs none */
    assert_int_equal(dgm_dma_device_begin(&dma_rig.dma, &far, &share, &tag), DGM_OK);
    dgm_bounce_device_end(&dma_rig.bounce, &far);
    dgm_dma_unmap(&dma_rig.dma, &held[0], true);
    dgm_dma_unmap(&dma_rig.dma, &held[1], true);
    dgm_bounce_device_end(&dma_rig.bounce, &hangs);
    dgm_bounce_device_end(&dma_rig.bounce, &works);
    dgm_bounce_share_end(&dma_rig.bounce, &share);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, dma_one_start, dma_one_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_what_is_not_aligned_is_bounced),
        TEST(what_follows_need_not_be_aligned),
        TEST(odd_pieces_share_a_buffer),
        TEST(splits_stay_aligned),
        TEST(guest_physical),
        TEST(wide_addresses),
        TEST(three_windows),
        TEST(areas_by_reach),
        TEST(nothing_old_is_shown),
        TEST(each_guest_its_share),
        TEST(each_device_maps_with_its_minimum),
    };

    return cmocka_run_group_tests_name("dma reach", tests, NULL, NULL);
}
