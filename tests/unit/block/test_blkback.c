/* SPDX-License-Identifier: MIT */
/*
 * blkback without faults: handshakes, and data that must be right. If these fail, a guest reads or
 * writes other data than it requested, or is not served at all.
 */
#include "one_disk_rig.h"

/* --- data --- */

static uint8_t pattern_byte(uint64_t gfn, unsigned i, unsigned salt)
{
    return (uint8_t)(gfn * 37 + i * 11 + (i >> 8) * 5 + salt);
}

static void fill_guest_page(uint64_t gfn, unsigned salt)
{
    uint8_t *page = dgm_hv_page(1, gfn);

    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        page[i] = pattern_byte(gfn, i, salt);
}

/* The guest's parts hold what the disk holds from `sector` on. */
static void expect_same(const struct part *parts, unsigned count, uint64_t sector)
{
    const uint8_t *at = disk.bytes + sector * 512;

    for (unsigned i = 0; i < count; i++) {
        const uint8_t *page = dgm_hv_page(1, parts[i].gfn);
        const unsigned bytes = (parts[i].last - parts[i].first + 1u) * 512;

        assert_memory_equal(at, page + parts[i].first * 512, bytes);
        at += bytes;
    }
}

/* Checks that a frame did not change outside of the part that was read. */
static void expect_rest_untouched(const struct part *parts, unsigned count, unsigned salt)
{
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *page = dgm_hv_page(1, parts[i].gfn);

        for (unsigned at = 0; at < DGM_FRAME_BYTES; at++) {
            if (at / 512 < parts[i].first || at / 512 > parts[i].last)
                assert_int_equal(page[at], pattern_byte(parts[i].gfn, at, salt));
        }
    }
}

static void transfer(bool write, uint64_t sector, const struct part *parts, unsigned count,
                     bool indirect)
{
    uint8_t *before = malloc(disk.bytes_total);
    uint64_t sectors = 0;
    unsigned index;

    for (unsigned i = 0; i < count; i++) {
        fill_guest_page(parts[i].gfn, (unsigned)sector);
        sectors += parts[i].last - parts[i].first + 1u;
    }
    memcpy(before, disk.bytes, disk.bytes_total);
    index = indirect ? front_rw_indirect(&front, write, sector, parts, count, 8)
                     : front_rw(&front, write, sector, parts, count);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    expect_same(parts, count, sector);
    if (!write)
        expect_rest_untouched(parts, count, (unsigned)sector);
    /* the rest of the disk did not change */
    assert_memory_equal(before, disk.bytes, write ? sector * 512 : disk.bytes_total);
    if (write)
        assert_memory_equal(before + (sector + sectors) * 512,
                            disk.bytes + (sector + sectors) * 512,
                            disk.bytes_total - (sector + sectors) * 512);
    free(before);
}

static void write_and_read(uint64_t sector, const struct part *parts, unsigned count, bool indirect)
{
    transfer(true, sector, parts, count, indirect);
    transfer(false, sector + 64, parts, count, indirect);
}

static void whole_frames(void **state)
{
    struct part parts[256];

    for (unsigned i = 0; i < 256; i++) /* adjacent ones, and every third not */
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2 - (i % 3), 0, 7};
    for (unsigned count = 1; count <= 11; count++)
        write_and_read(count * 8, parts, count, false);
    for (unsigned count = 1; count <= 256; count += count < 64 ? 7 : 64)
        write_and_read(count * 8, parts, count, true);
    transfer(true, 0, parts, 256, true);
    transfer(false, 8192 - 2048, parts, 256, true);
    assert_int_equal(back.counters.segments,
                     back.counters.bytes_read / 4096 + back.counters.bytes_written / 4096);
}

/* All first and last sectors of one frame, and of the ends of a request of several. */
static void unaligned_ends(void **state)
{
    for (uint8_t first = 0; first < 8; first++) {
        for (uint8_t last = first; last < 8; last++) {
            const struct part one[] = {{40, first, last}};
            const struct part more[] = {{40, first, 7}, {44, 0, 7}, {42, 0, last}};

            write_and_read(101 + first, one, 1, false);
            write_and_read(200 + last, more, 3, false);
            write_and_read(333, more, 3, true);
        }
    }
}

/* Segments with gaps between them: 1 KiB-block ext4 and O_DIRECT make such. */
static void gaps_everywhere(void **state)
{
    struct part parts[256];
    const uint64_t cuts = vbd.core.dma.cuts;

    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    for (unsigned round = 0; round < 60; round++) {
        const unsigned count = 1 + (unsigned)unit_random() % (round % 2 ? 256 : 11);

        for (unsigned i = 0; i < count; i++) {
            const uint8_t first = (uint8_t)(unit_random() % 8);
            const uint8_t last = (uint8_t)(first + unit_random() % (8u - first));

            parts[i] = (struct part){FRONT_DATA_GFN + i * 3, first, last};
        }
        write_and_read(unit_random() % 4096, parts, count, round % 2);
    }
    assert_true(vbd.core.dma.cuts > cuts); /* this was about the gap rule */
}

static void many_at_once(void **state)
{
    struct part parts[32];
    unsigned index[32];

    disk.backwards = true; /* responses out of order */
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 32; i++) {
            parts[i] = (struct part){FRONT_DATA_GFN + i, 0, 7};
            fill_guest_page(parts[i].gfn, round);
            index[i] = front_rw(&front, round % 2 == 0, i * 8, &parts[i], 1);
        }
        const uint64_t batches = vbd.core.grant->batches, kicks = disk.kicks, events = front.events;

        front_exchange(&front);
        for (unsigned i = 0; i < 32; i++) {
            assert_int_equal(front_status(&front, index[i]), BLKIF_RSP_OKAY);
            expect_same(&parts[i], 1, i * 8);
        }
        /* four runs of eight requests, each with one hypercall to map and one to unmap; together
         * one doorbell and one event */
        assert_int_equal(vbd.core.grant->batches - batches, 4 * 2);
        assert_int_equal(disk.kicks - kicks, 1);
        assert_int_equal(front.events - events, 1);
    }
}

/* The same id in two requests in flight: each gets one response. */
static void an_id_used_twice(void **state)
{
    struct blkif_request request;

    memset(&request, 0, sizeof request);
    request.operation = BLKIF_OP_READ;
    request.nr_segments = 1;
    request.id = 42;
    request.seg[0].last_sect = 7;
    for (unsigned i = 0; i < 2; i++) {
        request.seg[0].gref = dgm_hv_grant_any(1, 20 + i, false);
        request.sector_number = i * 8;
        front_put(&front, &request, sizeof request);
    }
    front_push(&front);
    vbd_run();
    assert_int_equal(front.ring.sring->rsp_prod, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(RING_GET_RESPONSE(&front.ring, i)->id, 42);
        assert_int_equal(RING_GET_RESPONSE(&front.ring, i)->status, BLKIF_RSP_OKAY);
        assert_memory_equal(dgm_hv_page(1, 20 + i), disk.bytes + i * 4096, 4096);
    }
    front.ring.rsp_cons = 2;
    front.outstanding = 0;
}

/* The same frame, and the same reference, in several segments of one request. */
static void a_reference_used_twice(void **state)
{
    struct blkif_request request;
    const grant_ref_t ref = dgm_hv_grant_any(1, 20, true);

    memset(&request, 0, sizeof request);
    fill_guest_page(20, 1);
    request.operation = BLKIF_OP_WRITE;
    request.nr_segments = 11;
    for (unsigned i = 0; i < 11; i++) {
        request.seg[i].gref = ref;
        request.seg[i].last_sect = 7;
    }
    front_put(&front, &request, sizeof request);
    front_push(&front);
    vbd_run();
    assert_int_equal(RING_GET_RESPONSE(&front.ring, 0)->status, BLKIF_RSP_OKAY);
    front.ring.rsp_cons = 1;
    for (unsigned i = 0; i < 11; i++)
        assert_memory_equal(dgm_hv_page(1, 20), disk.bytes + i * 4096, 4096);
    assert_true(dgm_hv_grant_end(1, ref));
}

static void a_flush_follows_the_writes(void **state)
{
    const struct part part = {30, 0, 7};
    unsigned write, flush;

    flush = front_flush(&front);
    front_exchange(&front);
    assert_int_equal(front_status(&front, flush), BLKIF_RSP_OKAY);
    assert_int_equal(disk.flushes, 1);
    write = front_rw(&front, true, 0, &part, 1);
    flush = front_flush(&front);
    front_exchange(&front);
    assert_int_equal(front_status(&front, write), BLKIF_RSP_OKAY);
    assert_int_equal(front_status(&front, flush), BLKIF_RSP_OKAY);
    assert_int_equal(disk.flushes, 2);
    disk.dev.write_cache = false; /* nothing to flush: no command is sent to the disk */
    flush = front_flush(&front);
    front_exchange(&front);
    assert_int_equal(front_status(&front, flush), BLKIF_RSP_OKAY);
    assert_int_equal(disk.flushes, 2);
    assert_int_equal(back.counters.flushes, 3);
}

/* --- handshakes --- */

static void what_is_published(void **state)
{
    one_disk_start(
        (struct one_disk_options){.blocks = 1000, .block_bytes = 4096, .readonly = true});
    vbd_run();
    assert_int_equal(front_key_number(&front, true, "feature-flush-cache"), 1);
    assert_int_equal(front_key_number(&front, true, "feature-barrier"), 0);
    assert_int_equal(front_key_number(&front, true, "feature-persistent"), 0);
    assert_int_equal(front_key_number(&front, true, "feature-max-indirect-segments"), 256);
    assert_int_equal(front_key_number(&front, true, "max-ring-page-order"), 2);
    assert_int_equal(front_key_number(&front, true, "multi-queue-max-queues"), -1);
    assert_int_equal(front_key_number(&front, false, "virtual-device"), 51712);
    front_connect(&front);
    assert_int_equal(front_key_number(&front, true, "sectors"), 8000);
    assert_int_equal(front_key_number(&front, true, "sector-size"), 4096);
    assert_int_equal(front_key_number(&front, true, "physical-sector-size"), 4096);
    assert_int_equal(front_key_number(&front, true, "info"), VDISK_READONLY);
    one_disk_teardown(state);
}

/* U-Boot does not wait for the backend and writes 4 at once. Then Linux takes the device over. */
static void uboot_then_linux(void **state)
{
    const struct part part = {30, 0, 7};

    one_disk_start((struct one_disk_options){0});
    vbd_run();
    front_share(&front);
    front_write_number(&front, "state", XenbusStateConnected);
    vbd_run();
    assert_int_equal(back_state(&front), XenbusStateConnected);
    transfer(false, 8, &part, 1, false);
    front_close(&front);
    front_write_number(&front, "state", XenbusStateInitialising);
    front_connect(&front);
    transfer(true, 8, &part, 1, false);
    one_disk_teardown(state);
}

/* Requests that are in the ring before the backend connects. */
static void requests_before_the_connection(void **state)
{
    const struct part part = {30, 0, 7};
    unsigned index;

    one_disk_start((struct one_disk_options){0});
    vbd_run();
    front_share(&front);
    index = front_rw(&front, false, 8, &part, 1);
    (void)RING_GET_REQUEST(&front.ring, 0);
    front.ring.sring->req_prod = front.ring.req_prod_pvt; /* no backend to notify yet */
    front_write_number(&front, "state", XenbusStateConnected);
    vbd_run();
    front_collect(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    assert_true(front.events > 0);
    one_disk_teardown(state);
}

static void a_disk_of_4096_byte_blocks(void **state)
{
    struct part parts[64];

    one_disk_start((struct one_disk_options){.blocks = 1024, .block_bytes = 4096});
    front_connect(&front);
    for (unsigned i = 0; i < 64; i++)
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2, 0, 7};
    write_and_read(8, parts, 11, false);
    write_and_read(16, parts, 64, true);
    for (unsigned i = 0; i < 64; i++) /* parts of 512 bytes: whole blocks only in sum */
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2, (uint8_t)(i % 8), (uint8_t)(i % 8)};
    write_and_read(24, parts, 8, false);
    write_and_read(32, parts, 64, true);
    assert_true(vbd.core.dma.bytes_bounced_gap > 0); /* a block of the disk lies in eight frames */
    one_disk_teardown(state);
}

/* A frontend's errors in xenstore: reported, the device closed, and usable after a restart. */
static void frontends_that_share_nonsense(void **state)
{
    static const struct {
        const char *key, *value;
    } wrong[] = {
        {"ring-ref", "abc"},
        {"ring-ref", ""},
        {"ring-ref", "4294967296"},
        {"ring-ref", "8191"},
        {"event-channel", "-1"},
        {"event-channel", "9999999"},
        {"event-channel", "4000"},
        {"protocol", "x86_32-abi"},
        {"protocol", "a-very-long-protocol"},
        {"ring-page-order", "1"},
        {"multi-queue-num-queues", "2"},
        {"ring-page-order", "2 pages"},
    };

    one_disk_start((struct one_disk_options){0});
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char path[128];

        vbd_run();
        front_share(&front);
        front_write(&front, wrong[i].key, wrong[i].value);
        front_write_number(&front, "state", XenbusStateInitialised);
        vbd_run();
        assert_int_equal(back_state(&front), XenbusStateClosing);
        assert_true(dgm_blkback_idle(&back));
        assert_int_equal(vbd.core.grant->live, 0);
        front_write_number(&front, "state", XenbusStateClosed);
        vbd_run();
        assert_int_equal(back_state(&front), XenbusStateClosed);
        front_unshare(&front);
        front_path(&front, false, wrong[i].key, path);
        assert_int_equal(dgm_xs_rm(vbd.xs, path), DGM_OK);
        front_write_number(&front, "state", XenbusStateInitialising);
    }
    front_connect(&front);
    one_disk_teardown(state);
}

static void several_disks_and_guests(void **state)
{
    static const char *const vdevs[] = {"xvda", "xvdb", "xvdc"};
    static struct dgm_blkback backs[6];
    static struct front fronts[6];
    static struct model_disk disks[6];
    unsigned index[6][8];

    vbd_start((struct vbd_options){.guest_disks = 3});
    for (domid_t guest = 0; guest < 2; guest++)
        front_guest_start((domid_t)(guest + 1));
    for (unsigned i = 0; i < 6; i++) {
        const domid_t domid = (domid_t)(i / 3 + 1);

        model_start(&disks[i], 4096, 512);
        memset(disks[i].bytes, (int)i + 1, disks[i].bytes_total);
        front_init(&fronts[i], domid, vdevs[i % 3]);
        assert_int_equal(vbd_share_plain(&backs[i], domid, vdevs[i % 3], &disks[i].dev, true),
                         DGM_OK);
    }
    for (unsigned i = 0; i < 6; i++)
        front_connect(&fronts[i]);
    for (unsigned n = 0; n < 8; n++) {
        for (unsigned i = 0; i < 6; i++) {
            const struct part part = {100 + i * 10 + n, 0, 7};

            index[i][n] = front_rw(&fronts[i], false, n * 8, &part, 1);
            front_push(&fronts[i]);
        }
    }
    vbd_run();
    for (unsigned i = 0; i < 6; i++) {
        front_collect(&fronts[i]);
        for (unsigned n = 0; n < 8; n++) {
            assert_int_equal(front_status(&fronts[i], index[i][n]), BLKIF_RSP_OKAY);
            const uint8_t *page = dgm_hv_page(fronts[i].domid, 100 + i * 10 + n);
            for (unsigned at = 0; at < DGM_FRAME_BYTES; at++)
                assert_int_equal(page[at], i + 1);
        }
    }
    for (unsigned i = 0; i < 6; i++) {
        front_close(&fronts[i]);
        vbd_end(&backs[i]);
        model_stop(&disks[i]);
    }
    vbd_stop();
}

static void what_create_refuses(void **state)
{
    vbd_start((struct vbd_options){.slots = 40});
    model_start(&disk, 64, 512);
    front_guest_start(1);
    assert_int_equal(vbd_share_plain(&back, 1, "hda", &disk.dev, true), DGM_EINVAL);
    assert_int_equal(vbd_share_plain(&back, 1, "xvda", &disk.dev, true), DGM_ENOSPC);
    model_stop(&disk);
    vbd_stop();

    one_disk_start((struct one_disk_options){.blocks = 64}); /* never connected */
    vbd_run();
    vbd_end(&back);
    model_stop(&disk);
    vbd_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE_DISK_TEST(whole_frames),
        ONE_DISK_TEST(unaligned_ends),
        ONE_DISK_TEST(gaps_everywhere),
        ONE_DISK_TEST(many_at_once),
        ONE_DISK_TEST(an_id_used_twice),
        ONE_DISK_TEST(a_reference_used_twice),
        ONE_DISK_TEST(a_flush_follows_the_writes),
        cmocka_unit_test(what_is_published),
        cmocka_unit_test(uboot_then_linux),
        cmocka_unit_test(requests_before_the_connection),
        cmocka_unit_test(a_disk_of_4096_byte_blocks),
        cmocka_unit_test(frontends_that_share_nonsense),
        cmocka_unit_test(several_disks_and_guests),
        cmocka_unit_test(what_create_refuses),
    };

    return cmocka_run_group_tests_name("blkback", tests, NULL, NULL);
}
