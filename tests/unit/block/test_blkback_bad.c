/* SPDX-License-Identifier: MIT */
/*
 * blkback and invalid requests of guests. If these fail, a bad request gets the response OK, makes
 * others fail, or leaves frames mapped (XSA-155, -365, -371).
 */
#include "one_disk_rig.h"

static uint64_t count_refused(void)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < DGM_BLKBACK_REFUSALS; i++)
        sum += back.counters.refused[i];
    return sum;
}

/* One good request before the bad one and one after it: both must be served. */
static const struct part good_part[] = {{200, 0, 7}, {201, 0, 7}};

struct between {
    unsigned before;
    uint64_t commands, refused;
};

static struct between good_before(void)
{
    return (struct between){front_rw(&front, false, 8, &good_part[0], 1), disk.number,
                            count_refused()};
}

static void good_after(struct between between, uint64_t commands, uint64_t expect_refused)
{
    const unsigned after = front_rw(&front, false, 16, &good_part[1], 1);

    memset(dgm_hv_page(1, 200), 0, DGM_FRAME_BYTES);
    memset(dgm_hv_page(1, 201), 0, DGM_FRAME_BYTES);
    front_exchange(&front);
    assert_int_equal(front_status(&front, between.before), BLKIF_RSP_OKAY);
    assert_int_equal(front_status(&front, after), BLKIF_RSP_OKAY);
    assert_memory_equal(dgm_hv_page(1, 200), disk.bytes + 4096, 4096);
    assert_memory_equal(dgm_hv_page(1, 201), disk.bytes + 8192, 4096);
    assert_int_equal(disk.number - between.commands, commands + 2);
    assert_int_equal(count_refused() - between.refused, expect_refused);
    assert_int_equal(vbd.core.grant->live, 1); /* the ring */
    assert_int_equal(back_state(&front), XenbusStateConnected);
}

/* Puts `request` between two good ones; it never reaches the disk. */
static void expect_refused(struct blkif_request request, int16_t status,
                           enum dgm_blkback_refusal refusal)
{
    const uint64_t counted = back.counters.refused[refusal];
    const struct between between = good_before();
    struct front_request *sent = front_prepare(&front, request.operation, &request.id);

    if (request.operation == BLKIF_OP_INDIRECT)
        sent->operation = request.nr_segments; /* has indirect_op's offset */
    front_put(&front, &request, sizeof request);
    good_after(between, 0, 1);
    assert_int_equal(front_status(&front, (unsigned)(sent - front.sent)), status);
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
        request.seg[i].gref = 8000; /* never granted, and never to be mapped */
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
    /* indirect: the inner operation has nr_segments' offset, the count is behind it */
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

    one_disk_connect((struct one_disk_options){.readonly = true});
    expect_refused(request_of(BLKIF_OP_WRITE, 0, 1), BLKIF_RSP_ERROR, DGM_BLKBACK_READ_ONLY);
    assert_int_equal(front_key_number(&front, true, "info"), VDISK_READONLY);
    one_disk_teardown(state);
    /* the disk itself is read-only: `writable` has no effect */
    vbd_start((struct vbd_options){0});
    model_start(&disk, 8192, 512);
    disk.dev.read_only = true;
    front_guest_start(1);
    front_init(&front, 1, "xvda");
    assert_int_equal(vbd_share_plain(&back, 1, "xvda", &disk.dev, true), DGM_OK);
    front_connect(&front);
    const unsigned index = front_rw(&front, true, 0, &part, 1);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_ERROR);
    one_disk_teardown(state);
}

static void blocks_of_4096(void **state)
{
    one_disk_connect((struct one_disk_options){.block_bytes = 4096});
    expect_refused(request_of(BLKIF_OP_READ, 4, 1), BLKIF_RSP_ERROR, DGM_BLKBACK_UNALIGNED);
    struct blkif_request request = request_of(BLKIF_OP_READ, 8, 1);
    request.seg[0].last_sect = 3;
    expect_refused(request, BLKIF_RSP_ERROR, DGM_BLKBACK_UNALIGNED);
    one_disk_teardown(state);
}

/* A bad reference at each index of a request: all others are unmapped (vbd_stop() checks it). */
static void bad_references(void **state)
{
    struct part parts[40];

    for (unsigned i = 0; i < 40; i++)
        parts[i] = (struct part){FRONT_DATA_GFN + i, 0, 7};
    for (unsigned bad = 0; bad < 11; bad++) {
        const uint64_t mapped = vbd.core.grant->mapped;
        const struct between between = good_before();

        parts[bad].gfn = FRONT_GFN_BAD;
        const unsigned index = front_rw(&front, bad % 2, 64, parts, 11);
        parts[bad].gfn = FRONT_DATA_GFN + bad;

        good_after(between, 0, 1);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_ERROR);
        assert_int_equal(vbd.core.grant->mapped - mapped, 10 + 2);
    }
    for (unsigned bad = 0; bad < 40; bad++) {
        const uint64_t mapped = vbd.core.grant->mapped;
        const struct between between = good_before();

        parts[bad].gfn = FRONT_GFN_BAD;
        const unsigned index = front_rw_indirect(&front, bad % 2, 64, parts, 40, 8);
        parts[bad].gfn = FRONT_DATA_GFN + bad;

        good_after(between, 0, 1);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_ERROR);
        assert_int_equal(vbd.core.grant->mapped - mapped, 39 + 1 + 2);
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
        const unsigned index = front_rw_indirect(&front, true, 0, parts, 20, 8);

        page[i].first_sect = (uint8_t)(i % 2 ? 7 : 0);
        page[i].last_sect = (uint8_t)(i % 2 ? 6 : 200);
        good_after(between, 0, 1);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_ERROR);
    }
    /* the range is known only after the page */
    const struct between between = good_before();
    const unsigned index = front_rw_indirect(&front, true, 8192 - 8, &part, 1, 8);
    const unsigned beyond = front_rw_indirect(&front, true, 8192 - 7, &part, 1, 8);
    good_after(between, 1, 1);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    assert_int_equal(front_status(&front, beyond), BLKIF_RSP_ERROR);
}

/* A producer index beyond the ring: the connection closes, and the frontend can connect again. */
static void ring_overflow(void **state)
{
    static const uint32_t leaps[] = {33, 34, 64, 4096, 0x7fffffff, 0x80000000, 0xffffffff};
    const struct part part = {30, 0, 7};

    for (size_t i = 0; i < sizeof leaps / sizeof leaps[0]; i++) {
        front.ring.sring->req_prod += leaps[i];
        assert_true(dgm_hv_guest_send(1, front.port));
        vbd_run();
        assert_int_equal(back.counters.ring_overflows, i + 1);
        assert_int_equal(back_state(&front), XenbusStateClosing);
        assert_true(dgm_blkback_idle(&back));
        front_write_number(&front, "state", XenbusStateClosed);
        vbd_run();
        front_unshare(&front);
        front_write_number(&front, "state", XenbusStateInitialising);
        front_connect(&front);
        const unsigned index = front_rw(&front, false, 0, &part, 1);
        front_exchange(&front);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    }
}

/* The same with one request in flight and one taken in the same drain. */
static void ring_overflow_in_flight(void **state)
{
    const struct part part = {30, 0, 7}, other = {31, 0, 7};

    disk.stalled = true;
    (void)front_rw(&front, true, 0, &part, 1);
    front_exchange(&front);
    assert_int_equal(vbd.core.grant->live, 2);
    (void)front_rw(&front, true, 8, &other, 1);
    front_push(&front);
    front.ring.sring->req_prod += 100;
    vbd_run();
    assert_int_equal(back_state(&front), XenbusStateClosing);
    assert_false(dgm_blkback_idle(&back));
    model_resume(&disk);
    vbd_run();
    assert_true(dgm_blkback_idle(&back));
    assert_int_equal(vbd.core.grant->live, 0);
    front_write_number(&front, "state", XenbusStateClosed);
    vbd_run();
    front_unshare(&front);
    front_write_number(&front, "state", XenbusStateInitialising);
    front_connect(&front);
}

/* A ring full of refused requests, after which none is in flight: the next request is still
 * handled. */
static void a_ring_of_refusals(void **state)
{
    const struct part part = {30, 0, 7};

    for (unsigned round = 0; round < 3; round++) {
        unsigned index[32];

        for (unsigned i = 0; i < 32; i++) {
            struct blkif_request request = request_of(BLKIF_OP_DISCARD, 0, 0);
            struct front_request *sent = front_prepare(&front, BLKIF_OP_DISCARD, &request.id);

            front_put(&front, &request, sizeof request);
            index[i] = (unsigned)(sent - front.sent);
        }
        front_exchange(&front);
        for (unsigned i = 0; i < 32; i++)
            assert_int_equal(front_status(&front, index[i]), BLKIF_RSP_EOPNOTSUPP);
        index[0] = front_rw(&front, false, 0, &part, 1);
        front_exchange(&front);
        assert_int_equal(front_status(&front, index[0]), BLKIF_RSP_OKAY);
    }
}

/* A guest's errors are logged within a limit, which a new connection does not reset. */
static void the_log_is_limited(void **state)
{
    for (unsigned connection = 0; connection < 20; connection++) {
        for (unsigned i = 0; i < 8; i++) {
            struct blkif_request request = request_of(BLKIF_OP_DISCARD, 0, 0);
            struct front_request *sent = front_prepare(&front, BLKIF_OP_DISCARD, &request.id);

            front_put(&front, &request, sizeof request);
            front_exchange(&front);
            (void)front_status(&front, (unsigned)(sent - front.sent));
        }
        front_close(&front);
        front_write_number(&front, "state", XenbusStateInitialising);
        front_connect(&front);
    }
    assert_true(back.guest->log.suppressed_total >= 20 * 8 - DGM_LOG_LIMIT_BURST);
    assert_int_equal(back.counters.refused[DGM_BLKBACK_OPERATION_NOT_OFFERED], 20 * 8);
}

/* A guest that moves its index and sends events without end costs a bounded amount each time. */
static void endless_kicks(void **state)
{
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(dgm_hv_guest_send(1, front.port));
        front.ring.sring->req_event = i;
        vbd_run();
    }
    assert_int_equal(back_state(&front), XenbusStateConnected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE_DISK_TEST(every_refusal),      cmocka_unit_test(a_read_only_disk),
        cmocka_unit_test(blocks_of_4096),  ONE_DISK_TEST(bad_references),
        ONE_DISK_TEST(read_only_grants),   ONE_DISK_TEST(indirect_pages),
        ONE_DISK_TEST(ring_overflow),      ONE_DISK_TEST(ring_overflow_in_flight),
        ONE_DISK_TEST(a_ring_of_refusals), ONE_DISK_TEST(endless_kicks),
        ONE_DISK_TEST(the_log_is_limited),
    };

    return cmocka_run_group_tests_name("blkback_bad", tests, NULL, NULL);
}
