/* SPDX-License-Identifier: MIT */
/*
 * blkback, what guests, Xen and disks get wrong. If these fail, a bad request is answered OK, takes
 * others down with it, or leaves frames mapped (XSA-155, -361, -365, -371).
 */
#include "blkback_rig.h"

static struct model_disk disk;
static struct dgm_blkback back;
static struct front front;

static void start_with(struct rig_options options, uint32_t block_bytes, bool writable)
{
    rig_start(options);
    model_start(&disk, 8192, block_bytes);
    guest_start(1);
    front_init(&front, 1, "xvda");
    assert_int_equal(rig_share(&back, 1, "xvda", &disk.dev, writable), DGM_OK);
    front_connect(&front);
}

static int start(void **state)
{
    start_with((struct rig_options){0}, 512, true);
    return 0;
}

static int stop(void **state)
{
    front_close(&front);
    device_end(&back);
    model_stop(&disk);
    rig_stop();
    return 0;
}

static uint64_t refused(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < DGM_BLKBACK_REFUSALS; i++)
        sum += back.counters.refused[i];
    return sum;
}

/* One good request before and one behind: both must be served whatever the bad one is. */
static const struct part good_part[] = {{200, 0, 7}, {201, 0, 7}};

struct between {
    unsigned before;
    uint64_t commands, refused;
};

static struct between good_before(void)
{
    return (struct between){front_rw(&front, false, 8, &good_part[0], 1, -1), disk.number,
                            refused()};
}

static void good_after(struct between between, uint64_t commands, uint64_t expect_refused)
{
    const unsigned after = front_rw(&front, false, 16, &good_part[1], 1, -1);

    memset(dgm_hv_page(1, 200), 0, DGM_FRAME_BYTES);
    memset(dgm_hv_page(1, 201), 0, DGM_FRAME_BYTES);
    front_go(&front);
    assert_int_equal(front_answer(&front, between.before), BLKIF_RSP_OKAY);
    assert_int_equal(front_answer(&front, after), BLKIF_RSP_OKAY);
    assert_memory_equal(dgm_hv_page(1, 200), disk.bytes + 4096, 4096);
    assert_memory_equal(dgm_hv_page(1, 201), disk.bytes + 8192, 4096);
    assert_int_equal(disk.number - between.commands, commands + 2);
    assert_int_equal(refused() - between.refused, expect_refused);
    assert_int_equal(rig.core.grant->live, 1); /* the ring */
    assert_int_equal(back_state(&front), XenbusStateConnected);
}

/* Puts `request` between two good ones; it never reaches the disk. */
static void expect_refused(struct blkif_request request, int16_t status,
                           enum dgm_blkback_refusal refusal)
{
    const uint64_t counted = back.counters.refused[refusal];
    const struct between between = good_before();
    struct front_asked *asked = front_ask(&front, request.operation, &request.id);

    if (request.operation == BLKIF_OP_INDIRECT)
        asked->operation = request.nr_segments; /* where indirect_op lies */
    front_put(&front, &request, sizeof request);
    good_after(between, 0, 1);
    assert_int_equal(front_answer(&front, (unsigned)(asked - front.asked)), status);
    assert_int_equal(back.counters.refused[refusal], counted + 1);
}

static struct blkif_request request_of(uint8_t operation, uint64_t sector, uint8_t segments)
{
    struct blkif_request request;

    memset(&request, 0, sizeof request);
    request.operation = operation;
    request.nr_segments = segments;
    request.sector_number = sector;
    for (unsigned i = 0; i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++) {
        request.seg[i].gref = 8000; /* never granted: nothing must come to ask */
        request.seg[i].last_sect = 7;
    }
    return request;
}

static void every_refusal(void **state)
{
    struct blkif_request request;

    expect_refused(request_of(BLKIF_OP_WRITE_BARRIER, 0, 1), BLKIF_RSP_EOPNOTSUPP,
                   DGM_BLKBACK_OPERATION_NOT_OFFERED);
    expect_refused(request_of(BLKIF_OP_DISCARD, 0, 0), BLKIF_RSP_EOPNOTSUPP,
                   DGM_BLKBACK_OPERATION_NOT_OFFERED);
    expect_refused(request_of(4, 0, 1), BLKIF_RSP_EOPNOTSUPP, DGM_BLKBACK_OPERATION_UNKNOWN);
    expect_refused(request_of(255, 0, 1), BLKIF_RSP_EOPNOTSUPP, DGM_BLKBACK_OPERATION_UNKNOWN);
    expect_refused(request_of(BLKIF_OP_FLUSH_DISKCACHE, 0, 1), BLKIF_RSP_ERROR,
                   DGM_BLKBACK_FLUSH_WITH_DATA);
    expect_refused(request_of(BLKIF_OP_READ, 0, 0), BLKIF_RSP_ERROR, DGM_BLKBACK_SEGMENTS_NONE);
    expect_refused(request_of(BLKIF_OP_READ, 0, 12), BLKIF_RSP_ERROR,
                   DGM_BLKBACK_SEGMENTS_TOO_MANY);
    expect_refused(request_of(BLKIF_OP_WRITE, 0, 255), BLKIF_RSP_ERROR,
                   DGM_BLKBACK_SEGMENTS_TOO_MANY);
    request = request_of(BLKIF_OP_WRITE, 0, 11);
    request.seg[10].last_sect = 8;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_SEGMENT_BOUNDS);
    request = request_of(BLKIF_OP_READ, 0, 1);
    request.seg[0].first_sect = 5;
    request.seg[0].last_sect = 4;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_SEGMENT_BOUNDS);
    expect_refused(request_of(BLKIF_OP_READ, 8185, 1), BLKIF_RSP_ERROR, DGM_BLKBACK_OUT_OF_RANGE);
    expect_refused(request_of(BLKIF_OP_READ, UINT64_MAX - 7, 1), BLKIF_RSP_ERROR,
                   DGM_BLKBACK_OUT_OF_RANGE);
    expect_refused(request_of(BLKIF_OP_WRITE, 1ull << 55, 1), BLKIF_RSP_ERROR,
                   DGM_BLKBACK_OUT_OF_RANGE);
    /* indirect: the inner operation lies in nr_segments' place, the count behind it */
    expect_refused(request_of(BLKIF_OP_INDIRECT, 0, BLKIF_OP_DISCARD), BLKIF_RSP_EOPNOTSUPP,
                   DGM_BLKBACK_OPERATION_UNKNOWN);
    request = request_of(BLKIF_OP_INDIRECT, 0, BLKIF_OP_READ);
    request.handle = 0;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_SEGMENTS_NONE);
    request.handle = 257;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_SEGMENTS_TOO_MANY);
    request.handle = 65535;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_SEGMENTS_TOO_MANY);
}

static void a_read_only_disk(void **state)
{
    const struct part part = {30, 0, 7};

    start_with((struct rig_options){0}, 512, false);
    expect_refused(request_of(BLKIF_OP_WRITE, 0, 1), BLKIF_RSP_ERROR, DGM_BLKBACK_READ_ONLY);
    assert_int_equal(key_number(&front, true, "info"), VDISK_READONLY);
    stop(state);
    /* the disk itself is read-only, whatever is asked for */
    rig_start((struct rig_options){0});
    model_start(&disk, 8192, 512);
    disk.dev.read_only = true;
    guest_start(1);
    front_init(&front, 1, "xvda");
    assert_int_equal(rig_share(&back, 1, "xvda", &disk.dev, true), DGM_OK);
    front_connect(&front);
    const unsigned index = front_rw(&front, true, 0, &part, 1, -1);
    front_go(&front);
    assert_int_equal(front_answer(&front, index), BLKIF_RSP_ERROR);
    stop(state);
}

static void blocks_of_4096(void **state)
{
    start_with((struct rig_options){0}, 4096, true);
    expect_refused(request_of(BLKIF_OP_READ, 4, 1), BLKIF_RSP_ERROR, DGM_BLKBACK_UNALIGNED);
    struct blkif_request request = request_of(BLKIF_OP_READ, 8, 1);
    request.seg[0].last_sect = 3;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_UNALIGNED);
    stop(state);
}

/* A bad reference in each place of a request: exactly the others are unmapped (the rig's laws). */
static void bad_references(void **state)
{
    struct part parts[40];

    for (unsigned i = 0; i < 40; i++)
        parts[i] = (struct part){FRONT_DATA_GFN + i, 0, 7};
    for (int bad = 0; bad < 11; bad++) {
        const uint64_t mapped = rig.core.grant->mapped;
        const struct between between = good_before();
        const unsigned index = front_rw(&front, bad % 2, 64, parts, 11, bad);

        good_after(between, 0, 1);
        assert_int_equal(front_answer(&front, index), BLKIF_RSP_ERROR);
        assert_int_equal(rig.core.grant->mapped - mapped, 10 + 2);
    }
    for (int bad = 0; bad < 40; bad++) {
        const uint64_t mapped = rig.core.grant->mapped;
        const struct between between = good_before();
        const unsigned index = front_rw_indirect(&front, bad % 2, 64, parts, 40, bad, 8);

        good_after(between, 0, 1);
        assert_int_equal(front_answer(&front, index), BLKIF_RSP_ERROR);
        assert_int_equal(rig.core.grant->mapped - mapped, 39 + 1 + 2);
    }
    assert_int_equal(back.counters.refused[DGM_BLKBACK_BAD_GRANT], 51);
}

/* Frames granted read-only may be written to the disk, and never be read into. */
static void read_only_grants(void **state)
{
    struct blkif_request request = request_of(BLKIF_OP_READ, 0, 2);

    request.seg[0].gref = dgm_hv_grant_any(1, 30, false);
    request.seg[1].gref = dgm_hv_grant_any(1, 31, true);
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_BAD_GRANT);
    assert_true(dgm_hv_grant_end(1, request.seg[0].gref));
    assert_true(dgm_hv_grant_end(1, request.seg[1].gref));
}

static void indirect_pages(void **state)
{
    struct blkif_request_segment *page = dgm_hv_page(1, 8);
    const struct part part = {30, 0, 7};
    struct part parts[20];

    for (unsigned i = 0; i < 20; i++)
        parts[i] = (struct part){FRONT_DATA_GFN + i, 0, 7};
    /* no such page */
    struct blkif_request request = request_of(BLKIF_OP_INDIRECT, 0, BLKIF_OP_READ);
    request.handle = 5;
    ((struct blkif_request_indirect *)(void *)&request)->indirect_grefs[0] = 8000;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_BAD_GRANT);
    /* each segment in turn leaves its frame */
    for (unsigned i = 0; i < 20; i++) {
        const struct between between = good_before();
        const unsigned index = front_rw_indirect(&front, true, 0, parts, 20, -1, 8);

        page[i].first_sect = (uint8_t)(i % 2 ? 7 : 0);
        page[i].last_sect = (uint8_t)(i % 2 ? 6 : 200);
        good_after(between, 0, 1);
        assert_int_equal(front_answer(&front, index), BLKIF_RSP_ERROR);
    }
    /* the range is known only after the page */
    const struct between between = good_before();
    const unsigned index = front_rw_indirect(&front, true, 8192 - 8, &part, 1, -1, 8);
    const unsigned beyond = front_rw_indirect(&front, true, 8192 - 7, &part, 1, -1, 8);
    good_after(between, 1, 1);
    assert_int_equal(front_answer(&front, index), BLKIF_RSP_OKAY);
    assert_int_equal(front_answer(&front, beyond), BLKIF_RSP_ERROR);
}

/* A producer index beyond all bounds: this ring stops, and begins again only when the frontend
 * does. */
static void ring_overflow(void **state)
{
    static const uint32_t leaps[] = {33, 34, 64, 4096, 0x7fffffff, 0x80000000, 0xffffffff};
    const struct part part = {30, 0, 7};

    for (size_t i = 0; i < sizeof leaps / sizeof leaps[0]; i++) {
        front.ring.sring->req_prod += leaps[i];
        assert_true(dgm_hv_guest_send(1, front.port));
        rig_run();
        assert_int_equal(back.counters.ring_overflows, i + 1);
        assert_int_equal(back_state(&front), XenbusStateClosing);
        assert_true(dgm_blkback_idle(&back));
        front_write_number(&front, "state", XenbusStateClosed);
        rig_run();
        front_unshare(&front);
        front_write_number(&front, "state", XenbusStateInitialising);
        front_connect(&front);
        const unsigned index = front_rw(&front, false, 0, &part, 1, -1);
        front_go(&front);
        assert_int_equal(front_answer(&front, index), BLKIF_RSP_OKAY);
    }
}

/* The same with requests under way, and one taken in the same drain. */
static void ring_overflow_under_way(void **state)
{
    const struct part part = {30, 0, 7}, other = {31, 0, 7};

    disk.hold = true;
    (void)front_rw(&front, true, 0, &part, 1, -1);
    front_go(&front);
    assert_int_equal(rig.core.grant->live, 2);
    (void)front_rw(&front, true, 8, &other, 1, -1);
    front_push(&front);
    front.ring.sring->req_prod += 100;
    rig_run();
    assert_int_equal(back_state(&front), XenbusStateClosing);
    assert_false(dgm_blkback_idle(&back));
    model_release(&disk);
    rig_run();
    assert_true(dgm_blkback_idle(&back));
    assert_int_equal(rig.core.grant->live, 0);
    front_write_number(&front, "state", XenbusStateClosed);
    rig_run();
    front_unshare(&front);
    front_write_number(&front, "state", XenbusStateInitialising);
    front_connect(&front);
}

/* A ring full of refusals, which leave nothing under way: the next request is still heard. */
static void a_ring_of_refusals(void **state)
{
    const struct part part = {30, 0, 7};

    for (unsigned round = 0; round < 3; round++) {
        unsigned index[32];

        for (unsigned i = 0; i < 32; i++) {
            struct blkif_request request = request_of(BLKIF_OP_DISCARD, 0, 0);
            struct front_asked *asked = front_ask(&front, BLKIF_OP_DISCARD, &request.id);

            front_put(&front, &request, sizeof request);
            index[i] = (unsigned)(asked - front.asked);
        }
        front_go(&front);
        for (unsigned i = 0; i < 32; i++)
            assert_int_equal(front_answer(&front, index[i]), BLKIF_RSP_EOPNOTSUPP);
        index[0] = front_rw(&front, false, 0, &part, 1, -1);
        front_go(&front);
        assert_int_equal(front_answer(&front, index[0]), BLKIF_RSP_OKAY);
    }
}

/* A guest that plays with its index and kicks for ever gets a bounded share. */
static void endless_kicks(void **state)
{
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(dgm_hv_guest_send(1, front.port));
        front.ring.sring->req_event = i;
        rig_run();
    }
    assert_int_equal(back_state(&front), XenbusStateConnected);
}

/* --- the disk --- */

/* Each of the pieces of one request fails in turn: one error, no answer of OK, nothing held. */
static void a_piece_fails(void **state)
{
    struct part parts[64];
    uint64_t pieces;

    for (unsigned i = 0; i < 64; i++) /* every one with a gap: a command each */
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2, 1, 5};
    pieces = disk.number;
    unsigned index = front_rw_indirect(&front, true, 0, parts, 64, -1, 8);
    front_go(&front);
    assert_int_equal(front_answer(&front, index), BLKIF_RSP_OKAY);
    pieces = disk.number - pieces;
    assert_true(pieces > 8);
    for (unsigned round = 0; round < 2 * pieces; round++) {
        disk.backwards = round >= pieces;
        disk.fail_from = (int64_t)(disk.number + 1 + round % pieces); /* behind good_before */
        disk.fail_count = 1;
        if (disk.backwards)
            disk.fail_from--;
        const uint64_t errors = back.counters.device_errors;
        const struct part one = {300, 0, 7};
        const unsigned before = front_rw(&front, false, 0, &one, 1, -1);
        index = front_rw_indirect(&front, round % 2, 0, parts, 64, -1, 8);
        front_go(&front);
        const bool whole_failed = front_answer(&front, index) == BLKIF_RSP_ERROR;
        const bool other_failed = front_answer(&front, before) == BLKIF_RSP_ERROR;
        assert_int_equal(whole_failed + other_failed, 1);
        assert_int_equal(back.counters.device_errors - errors, 1);
        assert_int_equal(rig.core.grant->live, 1);
    }
}

static void a_disk_that_refuses_all(void **state)
{
    const struct part part = {30, 0, 7};
    unsigned index;

    disk.refuse = true;
    index = front_rw(&front, false, 0, &part, 1, -1);
    const unsigned flush = front_flush(&front);
    front_go(&front);
    assert_int_equal(front_answer(&front, index), BLKIF_RSP_ERROR);
    assert_int_equal(front_answer(&front, flush), BLKIF_RSP_ERROR);
    disk.refuse = false;
    disk.fail_from = (int64_t)disk.number;
    disk.fail_count = 1;
    index = front_flush(&front);
    front_go(&front);
    assert_int_equal(front_answer(&front, index), BLKIF_RSP_ERROR);
    index = front_rw(&front, false, 0, &part, 1, -1);
    front_go(&front);
    assert_int_equal(front_answer(&front, index), BLKIF_RSP_OKAY);
    assert_int_equal(back.counters.device_errors, 3);
}

/* A read that fails leaves what a bounce buffer held where it was. */
static void a_failed_read_that_was_bounced(void **state)
{
    struct part parts[8];

    start_with((struct rig_options){0}, 4096, true);
    for (unsigned i = 0; i < 8; i++) {
        parts[i] = (struct part){FRONT_DATA_GFN + i * 2, 3, 3};
        memset(dgm_hv_page(1, parts[i].gfn), 0x77, DGM_FRAME_BYTES);
    }
    disk.fail_from = (int64_t)disk.number;
    disk.fail_count = 1;
    const unsigned index = front_rw(&front, false, 0, parts, 8, -1);
    front_go(&front);
    assert_int_equal(front_answer(&front, index), BLKIF_RSP_ERROR);
    for (unsigned i = 0; i < 8; i++) {
        const uint8_t *page = dgm_hv_page(1, parts[i].gfn);
        for (unsigned at = 0; at < DGM_FRAME_BYTES; at++)
            assert_int_equal(page[at], 0x77);
    }
    assert_int_equal(rig.core.dma.bytes_bounced_gap, 4096);
    stop(state);
}

/* --- Xen --- */

struct nth {
    uint64_t at, seen;
    bool ever;
};

static bool strike(struct nth *nth)
{
    const uint64_t now = nth->seen++;

    return nth->ever ? now >= nth->at : now == nth->at;
}

static int16_t fail_map(void *context, uint64_t number, const struct gnttab_map_grant_ref *op)
{
    return strike(context) ? GNTST_no_space : 0;
}

static int16_t fail_unmap(void *context, uint64_t number, const struct gnttab_unmap_grant_ref *op)
{
    return strike(context) ? GNTST_general_error : 0;
}

/* All but unmask, which fails only for ports that are not ours. */
static long fail_call(void *context, uint64_t number, unsigned op, unsigned command)
{
    if (op == __HYPERVISOR_event_channel_op && command == EVTCHNOP_unmask)
        return 0;
    return strike(context) ? DGM_EFAULT : 0;
}

static bool fail_cut(void *context, uint64_t number)
{
    return strike(context);
}

/* Connects, does some I/O, closes, whatever fails underway. Every answer is OK with the data right,
 * or an error. */
static void scenario(struct dgm_hv_faults faults)
{
    const struct part parts[] = {{30, 0, 7}, {32, 2, 7}, {34, 0, 4}};
    struct part many[40];

    for (unsigned i = 0; i < 40; i++)
        many[i] = (struct part){60 + i, 0, 7};
    rig_start((struct rig_options){0});
    model_start(&disk, 8192, 512);
    guest_start(1);
    front_init(&front, 1, "xvda");
    assert_int_equal(rig_share(&back, 1, "xvda", &disk.dev, true), DGM_OK);
    rig_run();
    front_share(&front);
    dgm_hv_set_faults(&faults);
    front_write_number(&front, "state", XenbusStateInitialised);
    rig_run();
    if (back_state(&front) == XenbusStateConnected) {
        unsigned index[4];

        for (unsigned round = 0; round < 2; round++) {
            index[0] = front_rw(&front, false, 8, parts, 1, -1);
            index[1] = front_rw(&front, true, 64, parts + 1, 2, -1);
            index[2] = front_rw_indirect(&front, false, 0, many, 40, -1, 8);
            index[3] = front_flush(&front);
            front_push(&front);
            rig_run();
            /* an unmap that Xen refused leaves that grant in use: no collecting then */
            if (rig.core.grant->unmap_refused)
                break;
            front_collect(&front);
            for (unsigned i = 0; i < 4; i++) {
                const int16_t status = front_answer(&front, index[i]);
                assert_true(status == BLKIF_RSP_OKAY || status == BLKIF_RSP_ERROR);
                if (i == 0 && status == BLKIF_RSP_OKAY)
                    assert_memory_equal(dgm_hv_page(1, 30), disk.bytes + 4096, 4096);
                if (i == 2 && status == BLKIF_RSP_OKAY)
                    assert_memory_equal(dgm_hv_page(1, 60 + 39), disk.bytes + 39 * 4096, 4096);
            }
        }
    } else {
        assert_int_equal(back_state(&front), XenbusStateClosing);
    }
    front_write_number(&front, "state", XenbusStateClosed);
    rig_run();
    assert_int_equal(back_state(&front), XenbusStateClosed);
    device_end(&back);
    model_stop(&disk);
    rig.unmaps_refused = rig.core.grant->unmap_refused;
    rig_stop();
}

/* Once, and for ever after: n = 0, 1, ... until nothing fails any more. */
static void each(struct dgm_hv_faults faults)
{
    for (unsigned ever = 0; ever < 2; ever++) {
        struct nth nth = {.ever = ever};

        faults.context = &nth;
        for (uint64_t n = 0; nth.seen >= n; n++) {
            nth.at = n;
            nth.seen = 0;
            scenario(faults);
            assert_true(n < 1000);
        }
        assert_true(nth.at > 4);
    }
}

static void every_map_fails(void **state)
{
    each((struct dgm_hv_faults){.map = fail_map});
}

static void every_unmap_fails(void **state)
{
    each((struct dgm_hv_faults){.unmap = fail_unmap});
}

static void every_hypercall_fails(void **state)
{
    each((struct dgm_hv_faults){.call = fail_call});
}

static void every_batch_is_cut(void **state)
{
    each((struct dgm_hv_faults){.cut = fail_cut});
}

#define CONNECTED(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONNECTED(every_refusal),
        cmocka_unit_test(a_read_only_disk),
        cmocka_unit_test(blocks_of_4096),
        CONNECTED(bad_references),
        CONNECTED(read_only_grants),
        CONNECTED(indirect_pages),
        CONNECTED(ring_overflow),
        CONNECTED(ring_overflow_under_way),
        CONNECTED(a_ring_of_refusals),
        CONNECTED(endless_kicks),
        CONNECTED(a_piece_fails),
        CONNECTED(a_disk_that_refuses_all),
        cmocka_unit_test(a_failed_read_that_was_bounced),
        cmocka_unit_test(every_map_fails),
        cmocka_unit_test(every_unmap_fails),
        cmocka_unit_test(every_hypercall_fails),
        cmocka_unit_test(every_batch_is_cut),
    };

    return cmocka_run_group_tests_name("blkback_bad", tests, NULL, NULL);
}
