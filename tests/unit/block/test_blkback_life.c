/* SPDX-License-Identifier: MIT */
/*
 * blkback over time: too little of everything, frontends that come and go, guests that die with I/O
 * under way. If these fail, a shortage becomes an I/O error or a standstill, one disk starves
 * another, or something is held for a guest that is gone (XSA-350, -371).
 */
#include "blkback_rig.h"

#define FRONTS_MAX 6

static struct model_disk disks[FRONTS_MAX];
static struct dgm_blkback backs[FRONTS_MAX];
static struct front fronts[FRONTS_MAX];
static unsigned fronts_used;

static const struct dgm_blkback_pool_sizes one_of_each = {.requests = {1, 1, 1}, .commands = 1};

/* `count` guests with a disk each. */
static void start(struct rig_options options, unsigned count, uint32_t block_bytes)
{
    rig_start(options);
    fronts_used = count;
    for (unsigned i = 0; i < count; i++) {
        const domid_t domid = (domid_t)(i + 1);

        model_start(&disks[i], 32768 / (block_bytes / 512), block_bytes);
        guest_start(domid);
        front_init(&fronts[i], domid, "xvda");
        assert_int_equal(rig_share(&backs[i], domid, "xvda", &disks[i].dev, true), DGM_OK);
        front_connect(&fronts[i]);
    }
}

static void stop(void)
{
    for (unsigned i = 0; i < fronts_used; i++) {
        if (back_state(&fronts[i]) == XenbusStateConnected)
            front_close(&fronts[i]);
        device_end(&backs[i]);
        model_stop(&disks[i]);
    }
    rig_stop();
}

/* --- too little --- */

/* A full ring of all sizes on every disk, written and read back; every answer must be OK. */
static void all_sizes(void)
{
    static struct part parts[FRONTS_MAX][32][64];
    unsigned index[FRONTS_MAX][32];

    for (unsigned write = 2; write-- > 0;) {
        for (unsigned n = 0; n < 24; n++) {
            /* 1 to 64 segments, on every disk the same */
            const unsigned count = 1 + (n * 23 + 7) % 64;

            for (unsigned f = 0; f < fronts_used; f++) {
                for (unsigned i = 0; i < count; i++) {
                    const uint8_t first = (uint8_t)((n + i) % 3);
                    uint8_t *page = dgm_hv_page(fronts[f].domid, 100 + n * 64 + i);

                    parts[f][n][i] = (struct part){100 + n * 64 + i, first, (uint8_t)(first + 3)};
                    memset(page, write ? (int)(f * 50 + n * 7 + i) : 0, DGM_FRAME_BYTES);
                }
                const unsigned even = count & ~1u ? count & ~1u : 2; /* whole blocks of 4096 */
                index[f][n] = even > 11
                                  ? front_rw_indirect(&fronts[f], write, n * 512, parts[f][n], even,
                                                      -1, 2020 + n)
                                  : front_rw(&fronts[f], write, n * 512, parts[f][n], even, -1);
                front_push(&fronts[f]);
            }
        }
        rig_run();
        for (unsigned f = 0; f < fronts_used; f++) {
            front_collect(&fronts[f]);
            for (unsigned n = 0; n < 24; n++) {
                assert_int_equal(front_answer(&fronts[f], index[f][n]), BLKIF_RSP_OKAY);
                const unsigned count = 1 + (n * 23 + 7) % 64;
                const unsigned even = count & ~1u ? count & ~1u : 2;
                const uint8_t *at = disks[f].bytes + n * 512 * 512;
                for (unsigned i = 0; i < even; i++) {
                    const uint8_t *page = dgm_hv_page(fronts[f].domid, parts[f][n][i].gfn);
                    assert_memory_equal(at, page + parts[f][n][i].first * 512, 2048);
                    assert_int_equal(*at, (uint8_t)(f * 50 + n * 7 + i));
                    at += 2048;
                }
            }
        }
    }
}

static uint64_t waits(void)
{
    uint64_t sum = 0;

    for (unsigned f = 0; f < fronts_used; f++)
        sum += backs[f].counters.waits;
    return sum;
}

static void one_record_and_one_command(void **state)
{
    start((struct rig_options){.sizes = &one_of_each}, 4, 512);
    all_sizes();
    assert_true(waits() > 100);
    stop();
}

static void one_bounce_buffer(void **state)
{
    start((struct rig_options){.bounce = 1}, 3, 4096);
    all_sizes();
    assert_true(rig.core.bounce.waits > 10);
    stop();
}

static void one_queue_entry(void **state)
{
    start((struct rig_options){0}, 3, 512);
    for (unsigned f = 0; f < 3; f++)
        disks[f].depth = 1;
    all_sizes();
    assert_true(disks[0].queue_full > 10);
    stop();
}

static void few_slots(void **state)
{
    start((struct rig_options){.slots = 280}, 4, 512); /* 70 segments are offered */
    assert_int_equal(key_number(&fronts[0], true, "feature-max-indirect-segments"), 70);
    all_sizes();
    assert_true(waits() > 10);
    assert_true(rig.core.cache.taken_max > 250);
    stop();
}

static void little_of_everything(void **state)
{
    start((struct rig_options){.sizes = &one_of_each, .bounce = 1, .slots = 280}, 4, 4096);
    for (unsigned f = 0; f < 4; f++)
        disks[f].depth = 1;
    all_sizes();
    stop();
}

/* No slot for the ring itself: the connection waits until there is one. */
static void no_slot_for_the_ring(void **state)
{
    struct dgm_foreign taken[80];
    grant_ref_t refs[80];
    unsigned count = 0;

    rig_start((struct rig_options){.slots = 64});
    fronts_used = 2;
    for (unsigned i = 0; i < 2; i++) {
        model_start(&disks[i], 4096, 512);
        guest_start((domid_t)(i + 1));
        front_init(&fronts[i], (domid_t)(i + 1), "xvda");
        assert_int_equal(rig_share(&backs[i], (domid_t)(i + 1), "xvda", &disks[i].dev, true),
                         DGM_OK);
    }
    front_connect(&fronts[0]);
    while (rig.core.cache.free) {
        refs[count] = dgm_hv_grant_any(2, 20 + count, false);
        assert_int_equal(dgm_slot_reserve(&rig.core.cache, NULL, 1), DGM_OK);
        dgm_grant_map_add(rig.core.grant, &taken[count], NULL, 2, refs[count], false);
        count++;
    }
    dgm_grant_map_commit(rig.core.grant);
    front_share(&fronts[1]);
    front_write_number(&fronts[1], "state", XenbusStateInitialised);
    rig_run();
    assert_int_equal(back_state(&fronts[1]), XenbusStateInitWait);
    front_close(&fronts[0]); /* its ring's slot becomes free */
    rig_run();
    assert_int_equal(back_state(&fronts[1]), XenbusStateConnected);
    assert_int_equal(rig.core.cache.free, 0);
    for (unsigned i = 0; i < count; i++)
        dgm_grant_unmap_add(rig.core.grant, &taken[i]);
    dgm_grant_unmap_commit(rig.core.grant);
    stop();
}

/* One that has nothing under way itself waits for slots that another holds. */
static void slots_held_by_another(void **state)
{
    struct part parts[16];
    unsigned index;

    for (unsigned i = 0; i < 16; i++)
        parts[i] = (struct part){300 + i, 0, 7};
    start((struct rig_options){.slots = 64}, 2, 512);
    disks[0].hold = true;
    for (unsigned i = 0; i < 3; i++)
        (void)front_rw_indirect(&fronts[0], false, 0, parts, 16, -1, 9);
    front_go(&fronts[0]);
    index = front_rw_indirect(&fronts[1], false, 0, parts, 16, -1, 9);
    front_go(&fronts[1]);
    assert_int_equal(fronts[1].outstanding, 1);
    model_release(&disks[0]);
    rig_run();
    front_collect(&fronts[1]);
    assert_int_equal(front_answer(&fronts[1], index), BLKIF_RSP_OKAY);
    front_collect(&fronts[0]);
    assert_int_equal(fronts[0].outstanding, 0);
    stop();
}

/* It was told that there is a record, and dies before it takes it: the next in line gets it. */
static void the_first_in_line_dies(void **state)
{
    const struct part part = {200, 0, 7};
    const struct dgm_blkback_class *class = &rig.pool.classes[DGM_BLKBACK_SMALL];

    start((struct rig_options){.sizes = &one_of_each}, 3, 512);
    disks[0].hold = true;
    for (unsigned f = 0; f < 3; f++) {
        (void)front_rw(&fronts[f], false, 0, &part, 1, -1);
        front_go(&fronts[f]);
    }
    model_release(&disks[0]);
    while (!class->free)
        assert_true(rig_turn());
    assert_non_null(class->line.first);
    dgm_hv_domain_destroy(2);
    dgm_blkback_guest_gone(&backs[1]);
    rig_run();
    front_collect(&fronts[2]);
    assert_int_equal(fronts[2].outstanding, 0);
    device_end(&backs[1]);
    model_stop(&disks[1]);
    device_end(&backs[0]);
    device_end(&backs[2]);
    model_stop(&disks[0]);
    model_stop(&disks[2]);
    rig_stop();
}

/* Everybody wants the few records or the one command for ever: everybody gets a fair share. */
static void fair_shares(const struct dgm_blkback_pool_sizes *sizes)
{
    const struct part small[] = {{200, 0, 7}};
    unsigned most = 0, least = UINT32_MAX;

    start((struct rig_options){.sizes = sizes}, 4, 512);
    for (unsigned turn = 0; turn < 3000; turn++) {
        for (unsigned f = 0; f < 4; f++) {
            while (fronts[f].outstanding < 16) {
                (void)front_rw(&fronts[f], false, 8 * f, small, 1, -1);
                front_push(&fronts[f]);
            }
        }
        (void)rig_turn();
        for (unsigned f = 0; f < 4; f++) {
            front_collect(&fronts[f]);
            for (unsigned i = 0; i < FRONT_ASKED; i++) {
                if (fronts[f].asked[i].used && fronts[f].asked[i].answered)
                    assert_int_equal(front_answer(&fronts[f], i), BLKIF_RSP_OKAY);
            }
        }
    }
    rig_run();
    for (unsigned f = 0; f < 4; f++) {
        front_collect(&fronts[f]);
        if (fronts[f].answers > most)
            most = fronts[f].answers;
        if (fronts[f].answers < least)
            least = fronts[f].answers;
    }
    assert_true(least > 100);
    assert_true(most - least < most / 10 + 20);
    stop();
}

static void nobody_starves(void **state)
{
    const struct dgm_blkback_pool_sizes one_command = {.requests = {64, 1, 1}, .commands = 1};

    fair_shares(&one_of_each);
    fair_shares(&one_command);
}

/* A large request gets its record although small ones never stop. */
static void large_among_small(void **state)
{
    const struct dgm_blkback_pool_sizes sizes = {.requests = {2, 1, 1}, .commands = 2};
    const struct part small[] = {{200, 0, 7}};
    struct part many[200];

    for (unsigned i = 0; i < 200; i++)
        many[i] = (struct part){300 + i * 2, 0, 7};
    start((struct rig_options){.sizes = &sizes}, 3, 512);
    for (unsigned round = 0; round < 5; round++) {
        const unsigned large = front_rw_indirect(&fronts[0], false, 0, many, 200, -1, 9);

        front_push(&fronts[0]);
        for (unsigned turn = 0; !fronts[0].asked[large].answered; turn++) {
            assert_true(turn < 500);
            for (unsigned f = 1; f < 3; f++) {
                while (fronts[f].outstanding < 16) {
                    (void)front_rw(&fronts[f], false, 0, small, 1, -1);
                    front_push(&fronts[f]);
                }
            }
            (void)rig_turn();
            for (unsigned f = 0; f < 3; f++) {
                front_collect(&fronts[f]);
                for (unsigned i = 0; f && i < FRONT_ASKED; i++) {
                    if (fronts[f].asked[i].used && fronts[f].asked[i].answered)
                        assert_int_equal(front_answer(&fronts[f], i), BLKIF_RSP_OKAY);
                }
            }
        }
        assert_int_equal(front_answer(&fronts[0], large), BLKIF_RSP_OKAY);
    }
    rig_run();
    stop();
}

/* --- coming and going --- */

static void some_io(struct front *front, unsigned count)
{
    struct part parts[40];

    for (unsigned i = 0; i < 40; i++)
        parts[i] = (struct part){300 + i * 2, 0, (uint8_t)(i % 8)};
    for (unsigned n = 0; n < count; n++) {
        if (n % 3 == 2)
            (void)front_rw_indirect(front, n & 1, n * 64, parts, 40, -1, 2030 + n % 8);
        else
            (void)front_rw(front, n & 1, n * 64, parts, 1 + n % 11, -1);
    }
    (void)front_flush(front);
    front_push(front);
}

/* The frontend closes with I/O under way; nothing is let go of before the disk is done with it. */
static void close_mid_io(void **state)
{
    for (unsigned turns = 0; turns < 6; turns++) {
        start((struct rig_options){0}, 2, 512);
        disks[0].hold = true;
        disks[0].depth = turns % 2 ? 5 : MODEL_QUEUE; /* some are mapped and wait */
        some_io(&fronts[0], 12);
        some_io(&fronts[1], 12);
        for (unsigned i = 0; i < turns; i++)
            (void)rig_turn();
        front_write_number(&fronts[0], "state", XenbusStateClosed);
        rig_run();
        if (disks[0].queued) {
            assert_int_equal(back_state(&fronts[0]), XenbusStateConnected);
            assert_false(dgm_blkback_idle(&backs[0]));
            /* it comes back at once: it waits until the old connection has drained */
            front_write_number(&fronts[0], "state", XenbusStateInitialising);
            rig_run();
            assert_int_equal(back_state(&fronts[0]), XenbusStateConnected);
        } else {
            front_write_number(&fronts[0], "state", XenbusStateInitialising);
        }
        front_collect(&fronts[1]);
        assert_int_equal(fronts[1].outstanding, 0); /* the other one does not notice */
        const RING_IDX answered = fronts[0].ring.sring->rsp_prod;
        const uint64_t commands = disks[0].number + disks[0].queued;
        const bool under_way = disks[0].queued > 0;
        model_release(&disks[0]);
        rig_run();
        assert_int_equal(disks[0].number, commands); /* nothing new was issued */
        assert_int_equal(backs[0].counters.dropped > 0, under_way);
        assert_int_equal(fronts[0].ring.sring->rsp_prod, answered); /* nobody is answered late */
        assert_int_equal(rig.core.grant->live, 1);
        /* We read the state when all had drained, and it said 1: no stop at Closed on the way, or
         * one, as it fell. Either way the frontend is awaited. */
        assert_int_equal(back_state(&fronts[0]), XenbusStateInitWait);
        front_unshare(&fronts[0]);
        front_connect(&fronts[0]);
        stop();
    }
}

/* Closed and opened again and again, without waiting for anything. */
static void reconnect_storm(void **state)
{
    start((struct rig_options){0}, 1, 512);
    for (unsigned round = 0; round < 200; round++) {
        disks[0].hold = round % 3 == 0;
        if (round % 4)
            some_io(&fronts[0], round % 20);
        for (unsigned i = 0; i < round % 5; i++)
            (void)rig_turn();
        front_write_number(&fronts[0], "state", XenbusStateClosing);
        if (round % 2)
            (void)rig_turn();
        front_write_number(&fronts[0], "state", XenbusStateClosed);
        if (round % 7 == 0)
            (void)rig_turn();
        model_release(&disks[0]);
        rig_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        assert_int_equal(rig.core.grant->live, 0);
        assert_true(dgm_blkback_idle(&backs[0]));
        front_unshare(&fronts[0]);
        front_write_number(&fronts[0], "state", XenbusStateInitialising);
        front_connect(&fronts[0]);
    }
    assert_int_equal(backs[0].xenbus.connects, 201);
    stop();
}

/* All requests under way at the Closing are still served: the frontend waits for them. */
static void closing_serves_what_is_there(void **state)
{
    start((struct rig_options){0}, 1, 512);
    some_io(&fronts[0], 12);
    front_write_number(&fronts[0], "state", XenbusStateClosing);
    rig_run();
    front_collect(&fronts[0]);
    assert_int_equal(fronts[0].outstanding, 0);
    assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
    front_write_number(&fronts[0], "state", XenbusStateClosed);
    rig_run();
    assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
    stop();
}

/* --- death --- */

/* After any number of turns of its I/O, with the disk answering or not. */
static void death_mid_io(void **state)
{
    for (unsigned turns = 0; turns < 24; turns++) {
        const bool hold = turns % 2, tight = turns % 4 >= 2;

        start((struct rig_options){.sizes = tight ? &one_of_each : NULL}, 3, 512);
        disks[0].hold = hold;
        for (unsigned f = 0; f < 3; f++)
            some_io(&fronts[f], 20);
        for (unsigned i = 0; i < turns / 2; i++)
            (void)rig_turn();
        dgm_hv_domain_destroy(1);
        dgm_blkback_guest_gone(&backs[0]);
        rig_run();
        assert_int_equal(dgm_blkback_idle(&backs[0]), disks[0].queued == 0);
        model_release(&disks[0]);
        rig_run();
        assert_true(dgm_blkback_idle(&backs[0]));
        dgm_blkback_destroy(&backs[0]);
        assert_int_equal(rig.core.grant->live, 2); /* the others' rings */
        for (unsigned f = 1; f < 3; f++) {
            front_collect(&fronts[f]);
            assert_int_equal(fronts[f].outstanding, 0);
            for (unsigned i = 0; i < FRONT_ASKED; i++) {
                if (fronts[f].asked[i].used)
                    assert_int_equal(front_answer(&fronts[f], i), BLKIF_RSP_OKAY);
            }
            front_close(&fronts[f]);
            device_end(&backs[f]);
            model_stop(&disks[f]);
        }
        model_stop(&disks[0]);
        rig_stop();
    }
}

/* Its home in xenstore is gone before we are told. */
static void death_and_the_home_removed(void **state)
{
    start((struct rig_options){0}, 1, 512);
    disks[0].hold = true;
    some_io(&fronts[0], 5);
    rig_run();
    dgm_hv_domain_destroy(1);
    assert_int_equal(dgm_xs_rm(rig.xs, "/local/domain/1"), DGM_OK);
    rig_run();
    dgm_blkback_guest_gone(&backs[0]);
    model_release(&disks[0]);
    rig_run();
    assert_true(dgm_blkback_idle(&backs[0]));
    dgm_blkback_destroy(&backs[0]);
    model_stop(&disks[0]);
    rig_stop();
}

/* --- everything at once --- */

static void life(struct rig_options options, uint32_t block_bytes, unsigned steps)
{
    bool mad[4] = {false}; /* it has broken the rules: its ring means nothing until it restarts */

    start(options, 4, block_bytes);
    for (unsigned step = 0; step < steps; step++) {
        const unsigned f = (unsigned)unit_below(4);
        struct front *front = &fronts[f];
        const bool connected = back_state(front) == XenbusStateConnected;

        switch (unit_below(14)) {
        case 0:
            disks[f].hold = unit_chance(50);
            if (!disks[f].hold)
                model_release(&disks[f]);
            break;
        case 1:
            disks[f].backwards = unit_chance(50);
            disks[f].depth = 1 + (unsigned)unit_below(MODEL_QUEUE);
            break;
        case 2:
            disks[f].fail_from = (int64_t)(disks[f].number + unit_below(8));
            disks[f].fail_count = unit_below(4);
            break;
        case 3:
            if (unit_chance(10) && connected) { /* a hostile producer index */
                mad[f] = true;
                front->ring.sring->req_prod += 100;
                (void)dgm_hv_guest_send(front->domid, front->port);
            }
            break;
        case 4:
            if (unit_chance(20)) {
                mad[f] = true;
                front_write_number(front, "state", unit_below(8));
            }
            break;
        case 5: /* an orderly restart */
            if (unit_chance(50)) {
                front_write_number(front, "state", XenbusStateClosed);
                for (unsigned i = 0; i < 4; i++)
                    model_release(&disks[i]);
                rig_run();
                assert_int_equal(back_state(front), XenbusStateClosed);
                front_unshare(front);
                front_write_number(front, "state", XenbusStateInitialising);
                front_connect(front);
                mad[f] = false;
            }
            break;
        default:
            if (connected && !mad[f] && front->outstanding < 12)
                some_io(front, 1 + (unsigned)unit_below(8));
            break;
        }
        for (uint64_t turns = unit_below(4); turns > 0; turns--)
            (void)rig_turn();
        if (connected && !mad[f]) {
            front_collect(front);
            for (unsigned i = 0; i < FRONT_ASKED; i++) {
                if (front->asked[i].used && front->asked[i].answered)
                    (void)front_answer(front, i);
            }
        }
        assert_true(rig.core.grant->mapped - rig.core.grant->unmapped == rig.core.grant->live);
    }
    for (unsigned i = 0; i < 4; i++)
        model_release(&disks[i]);
    rig_run();
    for (unsigned i = 0; i < 4; i++) {
        front_write_number(&fronts[i], "state", XenbusStateClosed);
        rig_run();
        front_unshare(&fronts[i]);
    }
    stop();
}

static void a_long_life(void **state)
{
    const uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    life((struct rig_options){0}, 512, 4000);
    life((struct rig_options){0}, 4096, 4000);
    life((struct rig_options){.sizes = &one_of_each, .bounce = 1}, 512, 4000);
    life((struct rig_options){.sizes = &one_of_each, .bounce = 1, .slots = 180}, 4096, 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_record_and_one_command),
        cmocka_unit_test(one_bounce_buffer),
        cmocka_unit_test(one_queue_entry),
        cmocka_unit_test(few_slots),
        cmocka_unit_test(little_of_everything),
        cmocka_unit_test(no_slot_for_the_ring),
        cmocka_unit_test(slots_held_by_another),
        cmocka_unit_test(the_first_in_line_dies),
        cmocka_unit_test(nobody_starves),
        cmocka_unit_test(large_among_small),
        cmocka_unit_test(close_mid_io),
        cmocka_unit_test(reconnect_storm),
        cmocka_unit_test(closing_serves_what_is_there),
        cmocka_unit_test(death_mid_io),
        cmocka_unit_test(death_and_the_home_removed),
        cmocka_unit_test(a_long_life),
    };

    return cmocka_run_group_tests_name("blkback_life", tests, NULL, NULL);
}
