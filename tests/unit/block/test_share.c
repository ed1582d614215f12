/* SPDX-License-Identifier: MIT */
/*
 * The rule of shares (block/share.h). If one of these fails, a device does not find its minimum, a
 * heavy user leaves nothing for the next, or a waiter is not woken.
 */
#include "unit.h"

#include <block/pool.h>
#include <dragoman/base/frames.h>
#include <dragoman/base/status.h>
#include <dragoman/base/check.h>

#define SHARES 12u

static struct dgm_reactor reactor;
static struct dgm_blkback_resource resource;
static struct dgm_blkback_share share[SHARES];
static uint32_t guest_extra[SHARES];

static struct waiting_task {
    struct dgm_task task;
    unsigned runs;
} task[SHARES];

static void run_task(struct dgm_task *posted)
{
    dgm_container(posted, struct waiting_task, task)->runs++;
}

/* A resource of `total` units, and `count` shares of `minimum`, each of a different guest. */
static void start_share(uint32_t total, unsigned count, uint32_t minimum)
{
    dgm_reactor_init(&reactor);
    dgm_blkback_resource_init(&resource, &reactor, total);
    memset(guest_extra, 0, sizeof guest_extra);
    memset(task, 0, sizeof task);
    for (unsigned i = 0; i < SHARES; i++)
        task[i].task.run = run_task;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(
            dgm_blkback_share_init(&share[i], &resource, minimum, &guest_extra[i], &task[i].task),
            DGM_OK);
    }
}

static void run_turn(void)
{
    while (dgm_reactor_turn(&reactor))
        ;
}

/* Takes `count` units, as a run that needs no others. */
static bool take(unsigned i, uint32_t count)
{
    const bool taken = dgm_blkback_share_take(&share[i], count);

    dgm_blkback_share_give_kept(&share[i]);
    return taken;
}

/* Takes single units until the rule refuses. Returns the number taken. */
static uint32_t take_all(unsigned i)
{
    uint32_t taken = 0;

    while (dgm_blkback_share_take(&share[i], 1))
        taken++;
    return taken;
}

static void one_share_takes_everything(void **state)
{
    start_share(100, 1, 4);
    assert_int_equal(take_all(0), 100);
    assert_int_equal(guest_extra[0], 96);
    dgm_blkback_share_give(&share[0], 100);
    assert_int_equal(guest_extra[0], 0);
    run_turn();
    assert_int_equal(task[0].runs, 1);
}

/* A minimum is available whatever the others hold, unit by unit and all together. */
static void minimums_are_kept(void **state)
{
    for (uint32_t minimum = 1; minimum <= 8; minimum++) {
        start_share(SHARES * 8, SHARES, minimum);
        for (unsigned i = 0; i + 1 < SHARES; i++)
            assert_true(take_all(i) >= minimum);
        assert_true(dgm_blkback_share_take(&share[SHARES - 1], minimum));
        for (unsigned i = 0; i < SHARES; i++)
            dgm_blkback_share_check(&share[i]);
    }
}

/* One heavy user has half of the rest, two a third each, and so on: all take in turns. */
static void the_rest_is_shared(void **state)
{
    for (unsigned users = 1; users < SHARES; users++) {
        bool taking = true;

        start_share(SHARES * 2 + 600, SHARES, 2);
        while (taking) {
            taking = false;
            for (unsigned i = 0; i < users; i++) {
                if (!share[i].waiter.queue)
                    taking |= take(i, 1);
            }
        }
        for (unsigned i = 0; i < users; i++) {
            assert_true(share[i].used - 2 >= 600 / (users + 1) - 1);
            assert_true(share[i].used - 2 <= 600 / (users + 1) + 1);
        }
    }
}

/* However many devices a guest has, a third of the rest is left for other guests. */
static void a_guest_with_many_devices(void **state)
{
    start_share(SHARES * 2 + 600, SHARES, 2);
    for (unsigned i = 0; i < SHARES - 1; i++)
        share[i].guest_extra = &guest_extra[0];
    for (unsigned i = 0; i < SHARES - 1; i++)
        (void)take_all(i);
    assert_in_range(guest_extra[0], 390, 400);
    assert_in_range(take_all(SHARES - 1), 100, 110);
}

/* The waiter that has waited longest takes first, then goes to the end. */
static void waiters_take_turns(void **state)
{
    start_share(3 + 1, 3, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_true(dgm_blkback_share_take(&share[i], 1));
    assert_true(dgm_blkback_share_take(&share[2], 1)); /* the only one of the rest */
    assert_false(dgm_blkback_share_take(&share[0], 1));
    assert_false(dgm_blkback_share_take(&share[1], 1));
    for (unsigned n = 0; n < 9; n++) {
        const unsigned has = (n + 2) % 3, next = (n + 3) % 3;

        dgm_blkback_share_give(&share[has], 1);
        assert_false(dgm_blkback_share_take(&share[has], 1)); /* it comes after the waiters */
        run_turn();
        assert_int_equal(task[next].runs, 1);
        task[next].runs = 0;
        assert_true(dgm_blkback_share_take(&share[next], 1));
        assert_false(share[next].waiter.queue);
    }
}

/* A waiter that the rule does not admit blocks no other; one that leaves passes on what it was
 * woken for. */
static void waiters_that_cannot_take(void **state)
{
    start_share(5 + 3, 5, 1);
    for (unsigned i = 0; i < 5; i++)
        assert_true(dgm_blkback_share_take(&share[i], 1));
    for (unsigned i = 1; i < 3; i++)
        assert_true(dgm_blkback_share_take(&share[i], 1));
    assert_false(dgm_blkback_share_take(&share[0], 2));
    assert_true(dgm_blkback_share_take(&share[3], 1)); /* the rest of one, too little for share 0 */
    assert_false(dgm_blkback_share_take(&share[4], 1));
    dgm_blkback_share_give(&share[1], 1);
    run_turn();
    assert_int_equal(task[0].runs, 0);
    assert_int_equal(task[4].runs, 1);
    dgm_blkback_share_give(&share[2], 1);
    run_turn();
    assert_int_equal(task[0].runs, 1);
    assert_int_equal(task[4].runs, 1); /* share 0 is first now */
    dgm_blkback_share_leave(&share[0]);
    run_turn();
    assert_int_equal(task[4].runs, 2);
}

/* What a share returns within its minimum is only its own: its own task is posted for it. */
static void ones_own_things_return(void **state)
{
    start_share(2 * 2, 2, 2);
    assert_true(dgm_blkback_share_take(&share[0], 2));
    assert_true(dgm_blkback_share_take(&share[1], 2));
    assert_false(dgm_blkback_share_take(&share[0], 1));
    assert_false(dgm_blkback_share_take(&share[1], 1));
    dgm_blkback_share_give(&share[1], 1);
    run_turn();
    assert_int_equal(task[0].runs, 0);
    assert_int_equal(task[1].runs, 1);
    dgm_blkback_share_give(&share[0], 1); /* each has one unit */
    dgm_blkback_share_give(&share[1], 1);
    run_turn();
    assert_int_equal(task[0].runs, 1);
    assert_int_equal(task[1].runs, 2);
}

static void creating_and_ending(void **state)
{
    struct dgm_blkback_share one;

    start_share(10, 4, 2);
    assert_int_equal(dgm_blkback_share_init(&one, &resource, 3, NULL, &task[4].task), DGM_ENOSPC);
    dgm_blkback_share_end(&one);
    assert_int_equal(take_all(0), 3); /* its 2, and 1 of the 2 of the rest */
    assert_int_equal(dgm_blkback_share_init(&one, &resource, 2, NULL, &task[4].task), DGM_OK);
    for (unsigned i = 1; i < 4; i++)
        assert_true(dgm_blkback_share_take(&share[i], 2));
    assert_false(dgm_blkback_share_take(&one, 2)); /* share 0 has an extra from before */
    dgm_blkback_share_give(&share[0], 1);
    assert_true(dgm_blkback_share_take(&one, 2));
    dgm_blkback_share_give(&one, 2);
    expect_panic(dgm_blkback_share_end(&share[0]));
    dgm_blkback_share_give(&share[0], 2);
    dgm_blkback_share_end(&one);
    dgm_blkback_share_end(&share[0]);
    assert_int_equal(resource.minimums, 6);
}

/* Rule 1, if a share holds all units when others are created: returned units go to the first share
 * that takes within its minimum, although another waits. */
static void minimums_wait_for_no_queue(void **state)
{
    start_share(4, 1, 1);
    assert_int_equal(take_all(0), 4);
    for (unsigned i = 1; i < 3; i++)
        assert_int_equal(
            dgm_blkback_share_init(&share[i], &resource, 1, &guest_extra[i], &task[i].task),
            DGM_OK);
    assert_false(dgm_blkback_share_take(&share[1], 1));
    dgm_blkback_share_give(&share[0], 1);
    assert_true(dgm_blkback_share_take(&share[2], 1));
    assert_false(dgm_blkback_share_take(&share[1], 1));
    dgm_blkback_share_give(&share[0], 1);
    run_turn();
    assert_true(task[1].runs > 0);
    assert_true(dgm_blkback_share_take(&share[1], 1));
}

/* Fails: the oracles that check that a pool is idle do not detect a device that waits. */
static void a_pool_with_a_waiter_is_not_idle(void **state)
{
    static struct dgm_blkback_pool pool;
    const struct dgm_blkback_pool_sizes sizes =
        dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){1, 0});
    struct dgm_blkback_queue *const queues[] = {&pool.slots_queue, &pool.copy_buffers_queue};
    struct dgm_blkback_waiter waiter = {.task = &task[0].task};
    struct dgm_frames frames;

    start_share(1, 1, 1);
    dgm_sim_memory(dgm_gfn(0x40000), dgm_blkback_pool_frames(&sizes));
    dgm_frames_init(&frames);
    assert_int_equal(
        dgm_frames_add(&frames,
                       (struct dgm_gfn_range){dgm_gfn(0x40000), dgm_blkback_pool_frames(&sizes)}),
        DGM_OK);
    assert_int_equal(dgm_blkback_pool_init(&pool, &reactor, &frames, &sizes), DGM_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(dgm_blkback_pool_idle(&pool));
        dgm_blkback_queue_join(queues[i], &waiter);
        assert_false(dgm_blkback_pool_idle(&pool));
        dgm_blkback_queue_leave(&reactor, &waiter);
    }
    dgm_sim_memory(dgm_gfn(0), 0);
}

/* Fails: disks wait for records though all of them together may have whole rings in flight, or the
 * records need more memory than there is. */
static void a_pool_for_each_number_of_devices(void **state)
{
    static struct dgm_blkback_pool pool;
    struct dgm_frames frames;

    for (uint16_t devices = 1; devices <= DGM_BLKBACK_DEVICES_MAX; devices++) {
        const struct dgm_blkback_pool_sizes most =
            dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){devices, UINT64_MAX});
        const struct dgm_blkback_pool_sizes least =
            dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){devices, 0});
        const uint64_t between =
            (dgm_blkback_pool_frames(&most) + dgm_blkback_pool_frames(&least)) / 2;
        const struct dgm_blkback_pool_sizes some =
            dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){devices, between});

        assert_true(most.shared.requests[DGM_BLKBACK_SMALL] / (devices + 1) >= 60);
        assert_true(most.shared.requests[DGM_BLKBACK_MEDIUM] / (devices + 1) >= 28);
        assert_true(most.shared.commands / (devices + 1) >= 60);
        assert_int_equal(least.shared.requests[DGM_BLKBACK_SMALL], 128);
        assert_true(dgm_blkback_pool_frames(&some) <= between);
        assert_true(devices < 4 || some.shared.commands > least.shared.commands);
        if (devices % 21 != 1)
            continue;

        const struct dgm_gfn_range ram = {dgm_gfn(0x40000), dgm_blkback_pool_frames(&most)};

        for (unsigned eighth = 0; eighth <= 8;
             eighth++) { /* with the number of frames that it needs, or with fewer */
            const uint64_t lacking = eighth == 8 ? 1 : ram.count * eighth / 8;

            dgm_sim_memory(ram.first, ram.count);
            dgm_frames_init(&frames);
            assert_int_equal(
                dgm_frames_add(&frames, (struct dgm_gfn_range){ram.first, ram.count - lacking}),
                DGM_OK);
            assert_int_equal(dgm_blkback_pool_init(&pool, &reactor, &frames, &most),
                             lacking ? DGM_ENOMEM : DGM_OK);
            dgm_sim_memory(dgm_gfn(0), 0);
        }
    }
}

/* Compared with a naive model: the numbers agree, minimums are always available, no admitted waiter
 * sleeps. */
static void at_random(void **state)
{
    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    for (unsigned round = 0; round < 200; round++) {
        const unsigned count = 1 + (unsigned)unit_below(SHARES);
        const uint32_t minimum = 1 + (uint32_t)unit_below(5);
        uint32_t used[SHARES] = {0};

        start_share(count * minimum + (uint32_t)unit_below(40), count, minimum);
        for (unsigned step = 0; step < 500; step++) {
            const unsigned i = (unsigned)unit_below(count);
            const uint32_t n = 1 + (uint32_t)unit_below(minimum);
            uint32_t sum = 0, promised = 0;

            if (unit_chance(50)) {
                const bool taken = take(i, n);

                assert_true(taken || used[i] > 0);
                used[i] += taken ? n : 0;
            } else if (used[i]) {
                const uint32_t given = 1 + (uint32_t)unit_below(used[i]);

                if (unit_chance(50)) { /* a run that keeps them, and needs some again */
                    const uint32_t again = (uint32_t)unit_below(given + 1);

                    dgm_blkback_share_keep(&share[i], given);
                    if (share[i].kept && again) {
                        assert_true(dgm_blkback_share_take(&share[i], again));
                        used[i] += again;
                    }
                    dgm_blkback_share_give_kept(&share[i]);
                } else {
                    dgm_blkback_share_give(&share[i], given);
                }
                used[i] -= given;
            } else {
                dgm_blkback_share_leave(&share[i]);
            }
            for (unsigned j = 0; j < count; j++) {
                assert_int_equal(share[j].used, used[j]);
                sum += used[j];
                promised += used[j] < minimum ? minimum - used[j] : 0;
                assert_int_equal(guest_extra[j], used[j] > minimum ? used[j] - minimum : 0);
                dgm_blkback_share_check(&share[j]);
            }
            assert_int_equal(resource.used, sum);
            assert_int_equal(resource.rest, (int32_t)(resource.total - sum - promised));
            assert_true(sum + promised <= resource.total);
        }
        for (unsigned j = 0; j < count; j++)
            dgm_blkback_share_give(&share[j], used[j]);
        run_turn(); /* each waiter that was woken takes, and wakes the next */
        for (unsigned n = 0; n < count && resource.queue.first; n++) {
            struct dgm_blkback_share *first =
                dgm_container(resource.queue.first, struct dgm_blkback_share, waiter);

            assert_true(dgm_blkback_share_take(first, first->wanted));
            dgm_blkback_share_leave(first);
            run_turn();
        }
        assert_null(resource.queue.first);
    }
}

/* Fails: a device that found another resource short is woken by its own units, and takes and
 * returns them in every turn; or others do not get what it returns. */
static void units_that_are_not_used_after_all(void **state)
{
    start_share(12, 2, 4); /* a rest of 4 */
    assert_true(dgm_blkback_share_take(&share[0], 4));
    assert_false(dgm_blkback_share_take(&share[0], 5)); /* more than the rest */
    dgm_blkback_share_give(&share[0], 3);
    run_turn();
    assert_int_equal(task[0].runs, 1);

    assert_true(dgm_blkback_share_take(&share[0], 3)); /* within its minimum: still queued */
    dgm_blkback_share_undo(&share[0], 3);
    run_turn();
    assert_int_equal(task[0].runs, 1);
    assert_int_equal(share[0].used, 1);
    dgm_blkback_share_check(&share[0]);

    dgm_blkback_share_leave(&share[0]);
    assert_true(dgm_blkback_share_take(&share[0], 5)); /* two beyond its minimum */
    assert_false(dgm_blkback_share_take(&share[1], 7));
    dgm_blkback_share_undo(&share[0], 5);
    run_turn();
    assert_int_equal(task[1].runs, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_share_takes_everything),
        cmocka_unit_test(minimums_are_kept),
        cmocka_unit_test(the_rest_is_shared),
        cmocka_unit_test(a_guest_with_many_devices),
        cmocka_unit_test(waiters_take_turns),
        cmocka_unit_test(waiters_that_cannot_take),
        cmocka_unit_test(ones_own_things_return),
        cmocka_unit_test(units_that_are_not_used_after_all),
        cmocka_unit_test(creating_and_ending),
        cmocka_unit_test(minimums_wait_for_no_queue),
        cmocka_unit_test(a_pool_with_a_waiter_is_not_idle),
        cmocka_unit_test(a_pool_for_each_number_of_devices),
        cmocka_unit_test(at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
