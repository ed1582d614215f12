/* SPDX-License-Identifier: MIT */
/*
 * reach: Xen refuses, or returns GNTST_eagain, for any operations of a batch. If these fail, a
 * guest's frame stays mapped after its request, or a request is never retried.
 */
#include "reach_rig.h"

#include <limits.h>

#include <dragoman/base/status.h>

static struct dgm_reach *const reach = &reach_rig.core.reach;

/* --- Xen refuses --- */

/* `count` frames of guest 1, half read and half written, reached and released. */
static void one_round(enum dgm_reach_mode mode, unsigned count, unsigned *reached)
{
    struct dgm_reach_connection connection = reach_connect(1, mode);
    struct dgm_reach_frame many[REACH_MANY] = {0};

    *reached = 0;
    assert_int_equal(dgm_reach_reserve(&connection, count), DGM_OK);
    for (unsigned i = 0; i < count; i++) {
        reach_fill(1, i, 9);
        reach_add_frame(&connection, &many[i], 8 + i,
                        i % 2 == 0 ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST);
    }
    dgm_reach_commit(reach);
    for (unsigned i = 0; i < count; i++) {
        assert_true(many[i].foreign.status == DGM_OK || many[i].foreign.status == DGM_EPERM);
        if (many[i].foreign.status != DGM_OK)
            continue;
        ++*reached;
        if (i % 2 == 0)
            assert_memory_equal(reach_device_at(&many[i], false), reach_guest_page(1, i),
                                DGM_FRAME_BYTES);
        else
            memset(reach_device_at(&many[i], true), 0x3c, DGM_FRAME_BYTES);
    }
    for (unsigned i = 0; i < count; i++)
        dgm_reach_release_add(&many[i], 1, DGM_REACH_DELIVER);
    dgm_reach_release_commit(reach);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(many[i].held, DGM_REACH_NOT_HELD);
        assert_true(many[i].foreign.status == DGM_OK || many[i].foreign.status == DGM_EPERM);
        if (i % 2 && many[i].foreign.status == DGM_OK)
            assert_int_equal(reach_guest_page(1, i)[77], 0x3c);
    }
}

static void any_maps_are_refused(void **state)
{
    unsigned reached;

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    for (uint64_t mask = 0; mask < 32; mask++) {
        memset(&reach_rig.plan, 0, sizeof reach_rig.plan);
        reach_rig.plan.map_bad = mask;
        one_round(DGM_REACH_MODE_MAP, 5, &reached);
        assert_int_equal(reached, 5 - __builtin_popcountll(mask));
        reach_expect_nothing_held();
    }
    reach_stop();
}

static void any_copies_are_refused(void **state)
{
    unsigned reached;

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    for (uint64_t mask = 0; mask < 64; mask++) { /* three in, then up to three out */
        memset(&reach_rig.plan, 0, sizeof reach_rig.plan);
        reach_rig.plan.copy_bad = mask;
        one_round(DGM_REACH_MODE_COPY, 6, &reached);
        assert_int_equal(reached, 6 - __builtin_popcountll(mask & 7));
        reach_expect_nothing_held();
    }
    reach_stop();
}

/* The first mapping refused: no frame. The second: the frame stays at its slot. */
static void any_maps_of_identity_are_refused(void **state)
{
    unsigned reached;

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    for (uint64_t mask = 0; mask < 256; mask++) {
        const uint64_t at_slot = reach_rig.core.reach.identity_at_slot,
                       mapped = reach_rig.core.reach.identity_mapped;
        const unsigned there = 4 - (unsigned)__builtin_popcountll(mask & 15);
        const uint64_t second = mask >> 4 & ((1u << there) - 1);

        memset(&reach_rig.plan, 0, sizeof reach_rig.plan);
        reach_rig.plan.map_bad = (mask & 15) | second << 4;
        one_round(DGM_REACH_MODE_IDENTITY, 4, &reached);
        assert_int_equal(reached, there);
        assert_int_equal(reach_rig.core.reach.identity_at_slot - at_slot,
                         __builtin_popcountll(second));
        assert_int_equal(reach_rig.core.reach.identity_mapped - mapped,
                         there - (unsigned)__builtin_popcountll(second));
        reach_expect_nothing_held();
    }
    reach_stop();
}

/* Only frames that cannot be unmapped are lost: slots retire, entries are never used again. */
static void any_unmaps_are_refused(void **state)
{
    unsigned reached;

    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        for (uint64_t mask = 1; mask < (mode == DGM_REACH_MODE_MAP ? 8 : 64); mask++) {
            if (mode == DGM_REACH_MODE_COPY)
                continue;
            reach_start((struct reach_options){.slots = 64});
            reach_grant_all(1);
            reach_rig.plan.unmap_bad = mask;
            one_round(mode, 3, &reached);
            assert_int_equal(reached, 3);
            assert_int_equal(reach_rig.unmaps_refused, __builtin_popcountll(mask));
            reach_expect_nothing_held();
            one_round(mode, 3, &reached); /* and it still works */
            assert_int_equal(reached, 3);
            reach_stop();
        }
    }
}

/* --- GNTST_eagain --- */

static unsigned woken;

static void count_wake(struct dgm_task *task)
{
    woken++;
}

/* Attempts that Xen answers with GNTST_eagain; the last: all of them. */
static const unsigned eagain_times[] = {1, 2, 12, 100, UINT_MAX};

#define EAGAIN_TIMES (sizeof eagain_times / sizeof eagain_times[0])

/* Fails: a frame that Xen needs time for is an error sooner than with Linux (32.6 s), or waits
 * without end, or its retries come without pauses or hold up another frame. */
static void eagain_is_retried_until_it_is_final(void **state)
{
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        for (unsigned t = 0; t < EAGAIN_TIMES; t++) {
            const unsigned times = eagain_times[t];
            struct dgm_task task = {.run = count_wake};
            struct dgm_reach_frame frame = {0}, other = {0};
            uint64_t pause = 0, asked_ns;

            reach_start((struct reach_options){0});
            reach_grant_all(1);
            struct dgm_reach_connection connection = reach_connect(1, mode);

            reach_fill(1, 3, 1);
            reach_rig.plan.map_again = reach_rig.plan.copy_again = 1;
            reach_frame(&connection, &frame, 8 + 3, DGM_REACH_FROM_GUEST);
            reach_frame(&connection, &other, 8 + 4,
                        DGM_REACH_FROM_GUEST); /* is not held up, nor retries the first */
            reach_rig.plan.map_again = reach_rig.plan.copy_again = 0;
            for (unsigned i = 1; i <= 1000 && frame.foreign.status == DGM_EAGAIN; i++) {
                reach_rig.plan.map_again = reach_rig.plan.copy_again = i < times;
                reach_rig.plan.map_seen = reach_rig.plan.copy_seen = 0;
                dgm_waiters_add(&reach->waiters, &task);
                woken = 0;
                asked_ns = reach_rig.now_ns;
                reach_run_to(dgm_reactor_deadline_ns(&reach_rig.reactor) - 1);
                assert_int_equal(woken, 0);
                reach_run_to(dgm_reactor_deadline_ns(&reach_rig.reactor));
                assert_int_equal(woken, 1);
                assert_int_equal(reach->waiters.count, 0);
                if (pause)
                    assert_int_equal(reach_rig.now_ns - asked_ns,
                                     pause * 2 < 256000000 ? pause * 2 : 256000000);
                pause = reach_rig.now_ns - asked_ns;
            }
            assert_int_equal(frame.foreign.status, times < UINT_MAX ? DGM_OK : DGM_EPERM);
            if (times == UINT_MAX)
                assert_true(reach_rig.now_ns >= 33000000000);
            else
                assert_memory_equal(reach_device_at(&frame, false), reach_guest_page(1, 3),
                                    DGM_FRAME_BYTES);
            assert_int_equal(dgm_reactor_deadline_ns(&reach_rig.reactor), UINT64_MAX);
            reach_settle();
            reach_release_frame(&frame, DGM_REACH_DISCARD);
            reach_release_frame(&other, DGM_REACH_DISCARD);
            reach_stop();
        }
    }
}

/* The second mapping of mode identity is retried too; meanwhile another request shares it. */
static void identity_is_retried(void **state)
{
    for (unsigned end = 0; end < 2; end++) {
        struct dgm_reach_frame one = {0}, two = {0};

        reach_start((struct reach_options){0});
        reach_grant_all(1);
        struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_IDENTITY);

        reach_rig.plan.map_again = 2;
        reach_frame(&connection, &one, 8, DGM_REACH_TO_GUEST);
        assert_int_equal(one.foreign.status, DGM_EAGAIN);
        reach_frame(&connection, &two, 8, DGM_REACH_TO_GUEST);
        assert_int_equal(two.foreign.status, DGM_EAGAIN);
        reach_rig.plan.map_seen = 0;
        reach_rig.plan.map_again = 0;
        reach_rig.plan.map_bad = end;
        reach_settle();
        assert_int_equal(one.held, end ? DGM_REACH_HELD_MAPPED : DGM_REACH_HELD_IDENTITY);
        assert_int_equal(two.held, end ? DGM_REACH_HELD_MAPPED : DGM_REACH_HELD_IDENTITY);
        reach_device_at(&one, true)[0] = 5;
        assert_int_equal(reach_device_at(&two, true)[0], 5);
        reach_release_frame(&two, DGM_REACH_DELIVER);
        assert_int_equal(reach_device_at(&one, true)[0], 5);
        reach_release_frame(&one, DGM_REACH_DELIVER);
        reach_stop();
    }
}

/* A delivery for which Xen returns GNTST_eagain succeeds later, or is refused. */
static void deliveries_are_retried(void **state)
{
    for (unsigned t = 0; t < EAGAIN_TIMES; t++) {
        struct dgm_reach_frame frame = {0};
        const unsigned times = eagain_times[t];

        reach_start((struct reach_options){0});
        reach_grant_all(1);
        struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_COPY);

        reach_fill(1, 0, 0);
        reach_frame(&connection, &frame, 8, DGM_REACH_TO_GUEST);
        memset(reach_device_at(&frame, true), 0x77, DGM_FRAME_BYTES);
        reach_rig.plan.copy_again = 1;
        reach_release_frame(&frame, DGM_REACH_DELIVER);
        for (unsigned i = 1; frame.foreign.status == DGM_EAGAIN; i++) {
            assert_int_equal(frame.held, DGM_REACH_HELD_COPIED);
            assert_true(i < 1000);
            reach_rig.plan.copy_seen = 0;
            reach_rig.plan.copy_again = i < times;
            reach_run_to(dgm_reactor_deadline_ns(&reach_rig.reactor));
        }
        assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
        assert_int_equal(frame.foreign.status, times < UINT_MAX ? DGM_OK : DGM_EPERM);
        if (times < UINT_MAX)
            assert_int_equal(reach_guest_page(1, 0)[4000], 0x77);
        reach_stop();
    }
}

/* After a time without retries the pauses start small again. */
static void retry_pauses_start_again(void **state)
{
    struct dgm_reach_frame frame = {0};

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_MAP);

    for (unsigned round = 0; round < 3; round++) {
        memset(&reach_rig.plan, 0, sizeof reach_rig.plan);
        reach_rig.plan.map_again = 7;
        reach_frame(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
        assert_int_equal(dgm_reactor_deadline_ns(&reach_rig.reactor) - reach_rig.now_ns, 1000000);
        reach_settle();
        assert_int_equal(frame.foreign.status, DGM_OK);
        reach_release_frame(&frame, DGM_REACH_DISCARD);
    }
    reach_stop();
}

/* --- Xen is short of room --- */

#define STUCK       3u /* requests, */
#define STUCK_EACH  4u /* of as many frames, */
#define STUCK_ROOM  8u /* for as many mappings */
#define STUCK_AGAIN 0x111u

static bool is_final(const struct dgm_reach_frame *frames)
{
    for (unsigned i = 0; i < STUCK_EACH; i++)
        if (frames[i].foreign.status == DGM_EAGAIN)
            return false;
    return true;
}

/* Fails: requests that each hold a part of Xen's room wait for each other, until one is refused; or
 * a complete request loses its frames. */
static void requests_make_way(void **state)
{
    for (unsigned persistent = 0; persistent < 2; persistent++) {
        struct dgm_reach_frame frames[STUCK][STUCK_EACH] = {0};
        bool done[STUCK] = {0};
        unsigned left = STUCK;

        reach_start((struct reach_options){.persistent_frames = persistent ? 16 : 0});
        reach_grant_all(1);
        struct dgm_reach_connection connection;

        dgm_reach_connection_init(&connection, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP,
                                  persistent ? 16 : 0);
        dgm_hv_set_maptrack(STUCK_ROOM);
        reach_rig.plan.map_again = STUCK_AGAIN; /* the first frame of each request */
        for (unsigned r = 0; r < STUCK; r++) {
            assert_int_equal(dgm_reach_reserve(&connection, STUCK_EACH), DGM_OK);
            for (unsigned i = 0; i < STUCK_EACH; i++)
                reach_add_frame(&connection, &frames[r][i], 8 + r * STUCK_EACH + i,
                                DGM_REACH_FROM_GUEST);
        }
        dgm_reach_commit(reach);
        for (unsigned r = 0; r < STUCK; r++)
            assert_false(is_final(frames[r]));
        for (unsigned retries = 0; left > 0; retries++) {
            assert_true(retries < DGM_GRANT_SHORT_TRIES);
            reach_run_to(dgm_reactor_deadline_ns(&reach_rig.reactor));
            for (unsigned r = 0; r < STUCK; r++) {
                if (done[r])
                    continue;
                if (!is_final(frames[r])) {
                    dgm_reach_make_way(&connection, frames[r], STUCK_EACH);
                    continue;
                }
                for (unsigned i = 0; i < STUCK_EACH; i++)
                    assert_int_equal(frames[r][i].foreign.status, DGM_OK);
                dgm_reach_release_add(frames[r], STUCK_EACH, DGM_REACH_DISCARD);
                dgm_reach_release_commit(reach);
                done[r] = true;
                left--;
            }
        }
        assert_true(reach->unmapped_for_others > 0);
        dgm_hv_set_maptrack(0);
        reach_settle();
        reach_end_connection(&connection);
        reach_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_maps_are_refused),
        cmocka_unit_test(any_copies_are_refused),
        cmocka_unit_test(any_maps_of_identity_are_refused),
        cmocka_unit_test(any_unmaps_are_refused),
        cmocka_unit_test(eagain_is_retried_until_it_is_final),
        cmocka_unit_test(identity_is_retried),
        cmocka_unit_test(deliveries_are_retried),
        cmocka_unit_test(retry_pauses_start_again),
        cmocka_unit_test(requests_make_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
