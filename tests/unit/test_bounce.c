/* SPDX-License-Identifier: MIT */
/* bounce: if these fail, two transfers share a buffer, buffers leak, or a waiter sleeps for ever.
 */
#include "unit.h"

#include <dragoman/bounce.h>
#include <dragoman/check.h>
#include <dragoman/status.h>

#define FIRST 0x700u

static struct dgm_frames frames;
static struct dgm_reactor reactor;
static struct dgm_bounce bounce;
static unsigned woken;

static void wake(struct dgm_task *task)
{
    woken++;
}

static int start(void **state)
{
    dgm_sim_memory(dgm_gfn(FIRST), DGM_BOUNCE_MAX);
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){{FIRST}, DGM_BOUNCE_MAX});
    dgm_reactor_init(&reactor);
    woken = 0;
    return 0;
}

static int stop(void **state)
{
    dgm_sim_memory(dgm_gfn(0), 0);
    return 0;
}

/* Fails: fewer frames than asked for stop the domain, or are invented. */
static void as_many_as_there_are(void **state)
{
    assert_int_equal(dgm_bounce_init(&bounce, &reactor, &frames, DGM_BOUNCE_MAX), DGM_OK);
    assert_int_equal(bounce.total, DGM_BOUNCE_MAX);
    dgm_bounce_check(&bounce);
    assert_int_equal(dgm_bounce_init(&bounce, &reactor, &frames, 1), DGM_ENOMEM);
    assert_int_equal(bounce.total, 0);
    assert_int_equal(dgm_bounce_take(&bounce), DGM_BOUNCE_NONE);
    dgm_bounce_check(&bounce);
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){{FIRST}, 5});
    assert_int_equal(dgm_bounce_init(&bounce, &reactor, &frames, 8), DGM_ENOMEM);
    assert_int_equal(bounce.total, 5);
    dgm_bounce_check(&bounce);
}

/* Fails: a buffer is given to two, or the pool shrinks. */
static void take_and_give(void **state)
{
    bool taken[16] = {false};
    uint16_t held[16], count = 0;

    unit_seed();
    assert_int_equal(dgm_bounce_init(&bounce, &reactor, &frames, 16), DGM_OK);
    for (unsigned step = 0; step < 20000; step++) {
        if (unit_chance(50)) {
            const uint16_t buffer = dgm_bounce_take(&bounce);

            assert_true((buffer == DGM_BOUNCE_NONE) == (count == 16));
            if (buffer != DGM_BOUNCE_NONE) {
                assert_false(taken[buffer]);
                taken[buffer] = true;
                held[count++] = buffer;
            }
        } else if (count) {
            const uint16_t i = (uint16_t)unit_below(count);

            taken[held[i]] = false;
            dgm_bounce_give(&bounce, held[i]);
            held[i] = held[--count];
        }
        assert_int_equal(bounce.free, 16 - count);
    }
    dgm_bounce_check(&bounce);
    assert_int_equal(bounce.free_min, 0);
}

/* Fails: whoever waits for a buffer is not woken when one comes back. */
static void giving_wakes(void **state)
{
    struct dgm_task task = {.run = wake};
    uint16_t buffer;

    assert_int_equal(dgm_bounce_init(&bounce, &reactor, &frames, 1), DGM_OK);
    buffer = dgm_bounce_take(&bounce);
    assert_int_equal(dgm_bounce_take(&bounce), DGM_BOUNCE_NONE);
    dgm_waiters_add(&bounce.waiters, &task);
    dgm_reactor_turn(&reactor);
    assert_int_equal(woken, 0);
    dgm_bounce_give(&bounce, buffer);
    dgm_reactor_turn(&reactor);
    assert_int_equal(woken, 1);
}

/* Fails: an error path that gives a buffer twice goes unnoticed, and two transfers share it. */
static void misuse_panics(void **state)
{
    uint16_t buffer;

    assert_int_equal(dgm_bounce_init(&bounce, &reactor, &frames, 4), DGM_OK);
    expect_panic(dgm_bounce_give(&bounce, 2));
    expect_panic(dgm_bounce_give(&bounce, 4));
    expect_panic(dgm_bounce_give(&bounce, DGM_BOUNCE_NONE));
    buffer = dgm_bounce_take(&bounce);
    dgm_bounce_give(&bounce, buffer);
    expect_panic(dgm_bounce_give(&bounce, buffer));
    dgm_bounce_check(&bounce);
}

/* Fails: dgm_bounce_check() would let a leak pass. */
static void check_sees_a_planted_error(void **state)
{
    uint16_t first;

    assert_int_equal(dgm_bounce_init(&bounce, &reactor, &frames, 4), DGM_OK);
    first = bounce.free_first;
    bounce.free_first = bounce.next[first]; /* one slips away */
    expect_panic(dgm_bounce_check(&bounce));
    bounce.free_first = first;
    bounce.next[3] = first; /* a circle */
    expect_panic(dgm_bounce_check(&bounce));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_many_as_there_are),
        TEST(take_and_give),
        TEST(giving_wakes),
        TEST(misuse_panics),
        TEST(check_sees_a_planted_error),
    };

    return cmocka_run_group_tests_name("bounce", tests, NULL, NULL);
}
