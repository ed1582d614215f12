/* SPDX-License-Identifier: MIT */
/*
 * blkback over time: frontends that close and connect again, guests that die with I/O in flight. If
 * these fail, resources are held for a guest that has ended, or a connection is affected by the one
 * before (XSA-350, -371).
 */
#include "guests_rig.h"

/* --- coming and going --- */

static void some_io(struct front *front, unsigned count)
{
    struct part parts[40];

    for (unsigned i = 0; i < 40; i++)
        parts[i] = (struct part){300 + i * 2, 0, (uint8_t)(i % 8)};
    for (unsigned n = 0; n < count; n++) {
        if (n % 3 == 2)
            (void)front_rw_indirect(front, n & 1, n * 64, parts, 40, 2030 + n % 8);
        else
            (void)front_rw(front, n & 1, n * 64, parts, 1 + n % 11);
    }
    (void)front_flush(front);
    front_push(front);
}

/* The frontend closes with I/O in flight; no frame is released before the disk has finished with
 * it. */
static void close_mid_io(void **state)
{
    for (unsigned turns = 0; turns < 6; turns++) {
        guests_start_plain((struct vbd_options){0}, 2, 512);
        guests.disk[0].stalled = true;
        guests.disk[0].depth = turns % 2 ? 5 : MODEL_QUEUE; /* some are mapped and not yet issued */
        some_io(&guests.front[0], 12);
        some_io(&guests.front[1], 12);
        for (unsigned i = 0; i < turns; i++)
            (void)vbd_turn();
        front_write_number(&guests.front[0], "state", XenbusStateClosed);
        vbd_run();
        if (guests.disk[0].queued) {
            assert_int_equal(back_state(&guests.front[0]), XenbusStateConnected);
            assert_false(dgm_blkback_idle(&guests.back[0]));
            /* the frontend restarts at once: it waits until the old connection has ended */
            front_write_number(&guests.front[0], "state", XenbusStateInitialising);
            vbd_run();
            assert_int_equal(back_state(&guests.front[0]), XenbusStateConnected);
        } else {
            front_write_number(&guests.front[0], "state", XenbusStateInitialising);
        }
        front_collect(&guests.front[1]);
        assert_int_equal(guests.front[1].outstanding, 0); /* the other guest is not affected */
        const RING_IDX responded = guests.front[0].ring.sring->rsp_prod;
        const uint64_t commands = guests.disk[0].number + guests.disk[0].queued;
        const bool in_flight = guests.disk[0].queued > 0;
        model_resume(&guests.disk[0]);
        vbd_run();
        assert_int_equal(guests.disk[0].number, commands); /* nothing new was issued */
        assert_int_equal(guests.back[0].counters.dropped > 0, in_flight);
        assert_int_equal(guests.front[0].ring.sring->rsp_prod, responded); /* no late response */
        assert_int_equal(vbd.core.grant->live, 1);
        /* The state was read after the connection had ended, and it was 1; whether Closed was
         * published before depends on the order. Now the device waits for the frontend. */
        assert_int_equal(back_state(&guests.front[0]), XenbusStateInitWait);
        front_unshare(&guests.front[0]);
        front_connect(&guests.front[0]);
        guests_stop();
    }
}

/* Closes and connects 200 times, at any moment of the handshake. */
static void reconnect_storm(void **state)
{
    guests_start_plain((struct vbd_options){0}, 1, 512);
    for (unsigned round = 0; round < 200; round++) {
        guests.disk[0].stalled = round % 3 == 0;
        if (round % 4)
            some_io(&guests.front[0], round % 20);
        for (unsigned i = 0; i < round % 5; i++)
            (void)vbd_turn();
        front_write_number(&guests.front[0], "state", XenbusStateClosing);
        if (round % 2)
            (void)vbd_turn();
        front_write_number(&guests.front[0], "state", XenbusStateClosed);
        if (round % 7 == 0)
            (void)vbd_turn();
        model_resume(&guests.disk[0]);
        vbd_run();
        assert_int_equal(back_state(&guests.front[0]), XenbusStateClosed);
        assert_int_equal(vbd.core.grant->live, 0);
        assert_true(dgm_blkback_idle(&guests.back[0]));
        front_unshare(&guests.front[0]);
        front_write_number(&guests.front[0], "state", XenbusStateInitialising);
        front_connect(&guests.front[0]);
    }
    assert_int_equal(guests.back[0].xenbus.connects, 201);
    guests_stop();
}

/* Requests that are in flight at Closing are still served: the frontend waits for them. */
static void closing_serves_the_requests_in_flight(void **state)
{
    guests_start_plain((struct vbd_options){0}, 1, 512);
    some_io(&guests.front[0], 12);
    front_write_number(&guests.front[0], "state", XenbusStateClosing);
    vbd_run();
    front_collect(&guests.front[0]);
    assert_int_equal(guests.front[0].outstanding, 0);
    assert_int_equal(back_state(&guests.front[0]), XenbusStateClosing);
    front_write_number(&guests.front[0], "state", XenbusStateClosed);
    vbd_run();
    assert_int_equal(back_state(&guests.front[0]), XenbusStateClosed);
    guests_stop();
}

/* --- death --- */

/* The guest dies after any number of turns of its I/O, with a disk that stalls or not. */
static void death_mid_io(void **state)
{
    for (unsigned turns = 0; turns < 24; turns++) {
        const bool stalled = turns % 2, tight = turns % 4 >= 2;

        guests_start_plain((struct vbd_options){.sizes = tight ? &guests_one_of_each : NULL}, 3,
                           512);
        guests.disk[0].stalled = stalled;
        for (unsigned f = 0; f < 3; f++)
            some_io(&guests.front[f], 20);
        for (unsigned i = 0; i < turns / 2; i++)
            (void)vbd_turn();
        dgm_hv_domain_destroy(1);
        dgm_blkback_guest_gone(&guests.back[0]);
        vbd_run();
        assert_int_equal(dgm_blkback_idle(&guests.back[0]), guests.disk[0].queued == 0);
        model_resume(&guests.disk[0]);
        vbd_run();
        assert_true(dgm_blkback_idle(&guests.back[0]));
        dgm_blkback_destroy(&guests.back[0]);
        assert_int_equal(vbd.core.grant->live, 2); /* the others' rings */
        for (unsigned f = 1; f < 3; f++) {
            front_collect(&guests.front[f]);
            assert_int_equal(guests.front[f].outstanding, 0);
            for (unsigned i = 0; i < FRONT_SENT_MAX; i++) {
                if (guests.front[f].sent[i].used)
                    assert_int_equal(front_status(&guests.front[f], i), BLKIF_RSP_OKAY);
            }
            front_close(&guests.front[f]);
            vbd_end(&guests.back[f]);
            model_stop(&guests.disk[f]);
        }
        model_stop(&guests.disk[0]);
        vbd_stop();
    }
}

/* The guest's home in xenstore is removed before blkback is notified of its end. */
static void death_and_the_home_removed(void **state)
{
    guests_start_plain((struct vbd_options){0}, 1, 512);
    guests.disk[0].stalled = true;
    some_io(&guests.front[0], 5);
    vbd_run();
    dgm_hv_domain_destroy(1);
    assert_int_equal(dgm_xs_rm(vbd.xs, "/local/domain/1"), DGM_OK);
    vbd_run();
    dgm_blkback_guest_gone(&guests.back[0]);
    model_resume(&guests.disk[0]);
    vbd_run();
    assert_true(dgm_blkback_idle(&guests.back[0]));
    dgm_blkback_destroy(&guests.back[0]);
    model_stop(&guests.disk[0]);
    vbd_stop();
}

/* --- all of it mixed --- */

static void random_life(struct vbd_options options, uint32_t block_bytes, unsigned steps)
{
    bool broken[4] = {false}; /* it broke the protocol: its ring is ignored until it restarts */

    guests_start_plain(options, 4, block_bytes);
    for (unsigned step = 0; step < steps; step++) {
        const unsigned f = (unsigned)unit_below(4);
        struct front *front = &guests.front[f];
        const bool connected = back_state(front) == XenbusStateConnected;

        switch (unit_below(14)) {
        case 0:
            guests.disk[f].stalled = unit_chance(50);
            if (!guests.disk[f].stalled)
                model_resume(&guests.disk[f]);
            break;
        case 1:
            guests.disk[f].backwards = unit_chance(50);
            guests.disk[f].depth = 1 + (unsigned)unit_below(MODEL_QUEUE);
            break;
        case 2:
            guests.disk[f].fail_from = (int64_t)(guests.disk[f].number + unit_below(8));
            guests.disk[f].fail_count = unit_below(4);
            break;
        case 3:
            if (unit_chance(10) && connected) { /* a hostile producer index */
                broken[f] = true;
                front->ring.sring->req_prod += 100;
                (void)dgm_hv_guest_send(front->domid, front->port);
            }
            break;
        case 4:
            if (unit_chance(20)) {
                broken[f] = true;
                front_write_number(front, "state", unit_below(8));
            }
            break;
        case 5: /* an orderly restart */
            if (unit_chance(50)) {
                front_write_number(front, "state", XenbusStateClosed);
                for (unsigned i = 0; i < 4; i++)
                    model_resume(&guests.disk[i]);
                vbd_run();
                assert_int_equal(back_state(front), XenbusStateClosed);
                front_unshare(front);
                front_write_number(front, "state", XenbusStateInitialising);
                front_connect(front);
                broken[f] = false;
            }
            break;
        default:
            if (connected && !broken[f] && front->outstanding < 12)
                some_io(front, 1 + (unsigned)unit_below(8));
            break;
        }
        for (uint64_t turns = unit_below(4); turns > 0; turns--)
            (void)vbd_turn();
        if (connected && !broken[f]) {
            front_collect(front);
            for (unsigned i = 0; i < FRONT_SENT_MAX; i++) {
                if (front->sent[i].used && front->sent[i].responded)
                    (void)front_status(front, i);
            }
        }
        assert_true(vbd.core.grant->mapped - vbd.core.grant->unmapped == vbd.core.grant->live);
    }
    for (unsigned i = 0; i < 4; i++)
        model_resume(&guests.disk[i]);
    vbd_run();
    for (unsigned i = 0; i < 4; i++) {
        front_write_number(&guests.front[i], "state", XenbusStateClosed);
        vbd_run();
        front_unshare(&guests.front[i]);
    }
    guests_stop();
}

/* The report of a connection shows what it waits for: the disk, or the guest. */
static void progress_shows_who_has_the_next_step(void **state)
{
    struct dgm_blkback_progress progress;

    guests_start_plain((struct vbd_options){0}, 1, 512);
    guests.disk[0].stalled = true;
    some_io(&guests.front[0], 3);
    vbd_run();
    assert_true(dgm_blkback_progress(&guests.back[0], &progress));
    assert_int_equal(progress.page.req_prod, 4);
    assert_int_equal(progress.taken, 4);
    assert_int_equal(progress.records, guests.front[0].outstanding);
    assert_int_equal(progress.page.rsp_prod, progress.responded);
    assert_int_equal(progress.responded + progress.records, 4);
    assert_int_equal(progress.parked + progress.to_submit, 0);
    assert_false(progress.posted);
    assert_false(progress.event.pending || progress.event.masked);
    model_resume(&guests.disk[0]);
    vbd_run();
    assert_true(dgm_blkback_progress(&guests.back[0], &progress));
    assert_int_equal(progress.records, 0);
    assert_int_equal(progress.page.rsp_prod, 4);
    front_collect(&guests.front[0]);
    front_close(&guests.front[0]);
    assert_false(dgm_blkback_progress(&guests.back[0], &progress));
    guests.gone[0] = true;
    vbd_end(&guests.back[0]);
    model_stop(&guests.disk[0]);
    vbd_stop();
}

static void a_long_life(void **state)
{
    const uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    random_life((struct vbd_options){0}, 512, 4000);
    random_life((struct vbd_options){0}, 4096, 4000);
    random_life((struct vbd_options){.sizes = &guests_one_of_each, .bounce = 4}, 512, 4000);
    random_life((struct vbd_options){.sizes = &guests_one_of_each, .bounce = 4, .slots = 180}, 4096,
                4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_mid_io),
        cmocka_unit_test(reconnect_storm),
        cmocka_unit_test(closing_serves_the_requests_in_flight),
        cmocka_unit_test(death_mid_io),
        cmocka_unit_test(death_and_the_home_removed),
        cmocka_unit_test(progress_shows_who_has_the_next_step),
        cmocka_unit_test(a_long_life),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
