/* SPDX-License-Identifier: MIT */
/*
 * Flushes that the disk fails (block/flush.c). If one of these fails, a guest's fsync returns
 * success though its data is not durable: Linux takes any response to a flush other than OK as
 * "flush is not supported".
 */
#include "one_disk_rig.h"

static const struct part part = {30, 0, 7};

static int start(void **state)
{
    one_disk_connect((struct one_disk_options){.blocks = 4096});
    return 0;
}

static int stop(void **state)
{
    if (back_state(&front) == XenbusStateConnected)
        front_close(&front);
    one_disk_stop();
    return 0;
}

/* The disk fails its next `count` commands. */
static void fail_next(uint64_t count)
{
    disk.fail_from = (int64_t)disk.number;
    disk.fail_count = count;
}

static bool has_response(unsigned index)
{
    front_collect(&front);
    return front.sent[index].responded;
}

static void expect_status(bool write, int16_t status)
{
    const unsigned index = front_rw(&front, write, 8, &part, 1);

    front_exchange(&front);
    assert_int_equal(front_status(&front, index), status);
}

/* The disk fails a flush several times, then it succeeds: one response, OK, and not before. */
static void retried_until_it_succeeds(void **state)
{
    for (unsigned failures = 1; failures <= 20; failures++) {
        const uint64_t flushes = disk.flushes;
        unsigned passed_ms = 0;

        fail_next(failures);
        const unsigned index = front_flush(&front);

        front_exchange(&front);
        for (; !has_response(index); passed_ms += 10) {
            assert_int_equal(disk.flushes, flushes);
            assert_true(passed_ms < 25000);
            vbd_pass(10000000);
        }
        assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
        assert_int_equal(disk.flushes, flushes + 1);
        expect_status(true, BLKIF_RSP_OKAY);
    }
    assert_int_equal(back.counters.flush_retries, 20 * 21 / 2);
    assert_int_equal(back.counters.flushes, 20);
    assert_int_equal(back.counters.device_errors, 0);
}

/* Reads and writes continue while a flush waits for its retry; several flushes wait together. */
static void others_are_served_meanwhile(void **state)
{
    unsigned index[4];

    fail_next(6);
    for (unsigned i = 0; i < 4; i++)
        index[i] = front_flush(&front);
    front_exchange(&front);
    disk.fail_from = -1;
    expect_status(true, BLKIF_RSP_OKAY);
    expect_status(false, BLKIF_RSP_OKAY);
    for (unsigned i = 0; i < 4; i++)
        assert_false(has_response(index[i]));
    vbd_pass(1000000000);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(has_response(index[i]));
        assert_int_equal(front_status(&front, index[i]), BLKIF_RSP_OKAY);
    }
    assert_int_equal(disk.flushes, 4);
}

/* The flush never succeeds: it and later ones get no response; writes fail, reads do not. */
static void given_up_after_a_time(void **state)
{
    expect_status(true, BLKIF_RSP_OKAY);
    fail_next(UINT64_MAX);
    const unsigned index = front_flush(&front);

    front_exchange(&front);
    vbd_pass(DGM_BLKBACK_FLUSH_RETRY_NS - 2000000000);
    assert_int_equal(back.counters.flushes_given_up, 0);
    vbd_pass(4000000000);
    assert_int_equal(back.counters.flushes_given_up, 1);
    disk.fail_from = -1; /* it would succeed now, but what it had failed to flush may be lost */
    for (unsigned n = 0; n < 3; n++) {
        const unsigned later = front_flush(&front);

        front_exchange(&front);
        vbd_pass(1000000000);
        assert_false(has_response(later));
        expect_status(true, BLKIF_RSP_ERROR);
        expect_status(false, BLKIF_RSP_OKAY);
    }
    assert_false(has_response(index));
    assert_int_equal(disk.flushes, 0);
    assert_int_equal(back.records_used, 0);
    assert_int_equal(back.counters.flushes_without_response, 4);

    front_close(&front);
    front_write_number(&front, "state", XenbusStateInitialising);
    front_connect(&front);
    expect_status(true, BLKIF_RSP_OKAY);
    const unsigned fresh = front_flush(&front);

    front_exchange(&front);
    assert_int_equal(front_status(&front, fresh), BLKIF_RSP_OKAY);
    assert_int_equal(disk.flushes, 1);
}

/* The disk has failed permanently: the device gives up immediately. */
static void given_up_with_the_disk(void **state)
{
    disk.dev.failed = disk.refuse = true;
    const unsigned index = front_flush(&front);

    front_exchange(&front);
    assert_int_equal(back.counters.flushes_given_up, 1);
    expect_status(true, BLKIF_RSP_ERROR);
    expect_status(false, BLKIF_RSP_ERROR);
    vbd_pass(2 * DGM_BLKBACK_FLUSH_RETRY_NS);
    assert_false(has_response(index));
    assert_int_equal(back.counters.flushes_without_response, 1);
}

/* The disk lost its power with a write that no flush had covered: as if it did not flush. */
static void given_up_with_the_power(void **state)
{
    unsigned index;

    expect_status(true, BLKIF_RSP_OKAY);
    disk.dev.power_losses++;
    index = front_flush(&front);
    front_exchange(&front); /* the disk completes it, but not what was lost */
    vbd_pass(1000000000);
    assert_false(has_response(index));
    assert_int_equal(back.counters.flushes_given_up, 1);
    assert_int_equal(dgm_sim_logged("lost its power"), 1);
    expect_status(true, BLKIF_RSP_ERROR);
    expect_status(false, BLKIF_RSP_OKAY);

    front_close(&front);
    front_write_number(&front, "state", XenbusStateInitialising);
    front_connect(&front);
    expect_status(true, BLKIF_RSP_OKAY);
    index = front_flush(&front);
    front_exchange(&front);
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
}

/* Nothing was lost: all was flushed, or in flight and so submitted again. */
static void power_lost_without_a_loss(void **state)
{
    unsigned index, write;

    expect_status(true, BLKIF_RSP_OKAY);
    for (unsigned n = 0; n < 3; n++) {
        index = front_flush(&front);
        front_exchange(&front);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
        disk.stalled = true;
        write = front_rw(&front, true, 8, &part, 1);
        index = front_flush(&front);
        front_push(&front);
        vbd_run();
        disk.dev.power_losses++;
        model_resume(&disk);
        front_exchange(&front);
        assert_int_equal(front_status(&front, write), BLKIF_RSP_OKAY);
        assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
        expect_status(false, BLKIF_RSP_OKAY);
    }
    assert_int_equal(back.counters.flushes_given_up, 0);
}

/* A flush that was submitted before a write completed does not cover it, though it ends later. */
static void an_earlier_flush_covers_no_later_write(void **state)
{
    unsigned index;

    disk.stalled = disk.backwards = true;
    (void)front_flush(&front);
    (void)front_rw(&front, true, 8, &part, 1);
    front_push(&front);
    vbd_run();
    model_resume(&disk);
    front_exchange(&front);
    assert_int_equal(disk.flushes, 1);
    disk.dev.power_losses++;
    index = front_flush(&front);
    front_exchange(&front);
    assert_false(has_response(index));
    assert_int_equal(back.counters.flushes_given_up, 1);
}

/* Submitting it fails temporarily. */
static void refused_by_the_driver(void **state)
{
    disk.refuse = true;
    const unsigned index = front_flush(&front);

    front_exchange(&front);
    assert_false(has_response(index));
    disk.refuse = false;
    vbd_pass(1000000000);
    assert_true(has_response(index));
    assert_int_equal(front_status(&front, index), BLKIF_RSP_OKAY);
    assert_int_equal(disk.flushes, 1);
}

/* The frontend closes, or the guest ends, at any time of a flush that fails. */
static void leaving_meanwhile(void **state)
{
    for (unsigned end = 0; end < 2; end++) {
        for (uint64_t after_ns = 0; after_ns < 40000000000; after_ns = after_ns * 4 + 3000000) {
            start(state);
            fail_next(UINT64_MAX);
            (void)front_flush(&front);
            (void)front_rw(&front, false, 8, &part, 1);
            disk.stalled = after_ns % 2;
            front_push(&front);
            vbd_pass(after_ns);
            if (end) {
                dgm_hv_domain_destroy(1);
                dgm_blkback_guest_gone(&back);
            } else {
                front_write_number(&front, "state", XenbusStateClosed);
            }
            vbd_run();
            model_resume(&disk);
            vbd_run();
            assert_int_equal(back.records_used, 0);
            if (!end) {
                assert_int_equal(back_state(&front), XenbusStateClosed);
                front_unshare(&front);
            }
            assert_int_equal(dgm_reactor_deadline_ns(&vbd.reactor), UINT64_MAX);
            vbd_end(&back);
            model_stop(&disk);
            vbd_stop();
        }
    }
}

#define CONNECTED(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONNECTED(retried_until_it_succeeds),
        CONNECTED(others_are_served_meanwhile),
        CONNECTED(given_up_after_a_time),
        CONNECTED(given_up_with_the_disk),
        CONNECTED(given_up_with_the_power),
        CONNECTED(power_lost_without_a_loss),
        CONNECTED(an_earlier_flush_covers_no_later_write),
        CONNECTED(refused_by_the_driver),
        cmocka_unit_test(leaving_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
