/* SPDX-License-Identifier: MIT */
/* bounce: if these fail, two transfers share a buffer, buffers leak,
 * or a waiter sleeps permanently. */
#include "bounce_rig.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <dma/internal.h>

static unsigned woken;

static void count_woken(struct dgm_task *task)
{
    woken++;
}

/* Fails: too few frames stop the domain, or buffers are invented. */
static void as_many_as_there_are(void **state)
{
    assert_int_equal(bounce_rig_pool(BOUNCE_RIG_BUFFERS_MAX), DGM_OK);
    assert_int_equal(bounce_rig.bounce.total, BOUNCE_RIG_BUFFERS_MAX);
    dgm_bounce_check(&bounce_rig.bounce);
    assert_int_equal(bounce_rig_pool(1), DGM_ENOMEM);
    assert_int_equal(bounce_rig.bounce.total, 0);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, DGM_BOUNCE_AREAS_ALL),
                     DGM_BOUNCE_NONE);
    dgm_bounce_check(&bounce_rig.bounce);
    dgm_frames_init(&bounce_rig.frames);
    dgm_frames_add(&bounce_rig.frames, (struct dgm_gfn_range){{BOUNCE_RIG_FIRST}, 5});
    assert_int_equal(bounce_rig_pool(8), DGM_ENOMEM);
    assert_int_equal(bounce_rig.bounce.total, 5);
    dgm_bounce_check(&bounce_rig.bounce);
}

/* Fails: a buffer is taken twice, or the pool shrinks. */
static void take_and_give(void **state)
{
    bool taken[16] = {false};
    uint16_t held[16], count = 0;

    unit_seed();
    assert_int_equal(bounce_rig_pool(16), DGM_OK);
    for (unsigned step = 0; step < 20000; step++) {
        if (unit_chance(50)) {
            const uint16_t buffer = dgm_bounce_take(&bounce_rig.bounce, NULL, DGM_BOUNCE_AREAS_ALL);

            assert_true((buffer == DGM_BOUNCE_NONE) == (count == 16));
            if (buffer != DGM_BOUNCE_NONE) {
                assert_false(taken[buffer]);
                taken[buffer] = true;
                held[count++] = buffer;
            }
        } else if (count) {
            const uint16_t i = (uint16_t)unit_below(count);

            taken[held[i]] = false;
            dgm_bounce_give(&bounce_rig.bounce, held[i]);
            held[i] = held[--count];
        }
        assert_int_equal(bounce_rig.bounce.free, 16 - count);
    }
    dgm_bounce_check(&bounce_rig.bounce);
    assert_int_equal(bounce_rig.bounce.free_min, 0);
}

/* Fails: a task that waits for a buffer is not woken when one is returned. */
static void giving_wakes(void **state)
{
    struct dgm_task task = {.run = count_woken};
    uint16_t buffer;

    assert_int_equal(bounce_rig_pool(1), DGM_OK);
    buffer = dgm_bounce_take(&bounce_rig.bounce, NULL, DGM_BOUNCE_AREAS_ALL);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, DGM_BOUNCE_AREAS_ALL),
                     DGM_BOUNCE_NONE);
    dgm_waiters_add(&bounce_rig.bounce.waiters, &task);
    dgm_reactor_turn(&bounce_rig.reactor);
    assert_int_equal(woken, 0);
    dgm_bounce_give(&bounce_rig.bounce, buffer);
    dgm_reactor_turn(&bounce_rig.reactor);
    assert_int_equal(woken, 1);
}

/* Fails: an error path that returns a buffer twice is not detected, and two transfers share it. */
static void misuse_panics(void **state)
{
    uint16_t buffer;

    assert_int_equal(bounce_rig_pool(4), DGM_OK);
    expect_panic(dgm_bounce_give(&bounce_rig.bounce, 2));
    expect_panic(dgm_bounce_give(&bounce_rig.bounce, 4));
    expect_panic(dgm_bounce_give(&bounce_rig.bounce, DGM_BOUNCE_NONE));
    buffer = dgm_bounce_take(&bounce_rig.bounce, NULL, DGM_BOUNCE_AREAS_ALL);
    dgm_bounce_give(&bounce_rig.bounce, buffer);
    expect_panic(dgm_bounce_give(&bounce_rig.bounce, buffer));
    dgm_bounce_check(&bounce_rig.bounce);
}

/* Fails: dgm_bounce_check() does not notice a leak. */
static void check_sees_a_planted_error(void **state)
{
    uint16_t first;

    assert_int_equal(bounce_rig_pool(4), DGM_OK);
    first = bounce_rig.bounce.areas[0].free_first;
    bounce_rig.bounce.areas[0].free_first = bounce_rig.bounce.buffers[first].next; /* one is lost */
    expect_panic(dgm_bounce_check(&bounce_rig.bounce));
    bounce_rig.bounce.areas[0].free_first = first;
    bounce_rig.bounce.buffers[3].next = first; /* a circle */
    expect_panic(dgm_bounce_check(&bounce_rig.bounce));
}

/* --- areas --- */

/* Fails: devices that reach everything use up the few frames that a narrow one reaches; or a narrow
 * one is given a frame beyond its reach. */
static void the_highest_area_within_reach(void **state)
{
    uint16_t buffer[8];

    bounce_rig_two_areas(3, 5);
    for (unsigned i = 0; i < 8; i++) {
        buffer[i] = dgm_bounce_take(&bounce_rig.bounce, NULL, BOUNCE_RIG_LOW | BOUNCE_RIG_HIGH);
        assert_int_equal(dgm_gfn_number(dgm_bounce_gfn(&bounce_rig.bounce, buffer[i])) >=
                             BOUNCE_RIG_FIRST + 200,
                         i < 5);
    }
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, BOUNCE_RIG_LOW | BOUNCE_RIG_HIGH),
                     DGM_BOUNCE_NONE);
    dgm_bounce_give(&bounce_rig.bounce, buffer[0]);
    dgm_bounce_check(&bounce_rig.bounce);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, BOUNCE_RIG_LOW), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, 0), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, BOUNCE_RIG_HIGH), buffer[0]);
    dgm_bounce_give(&bounce_rig.bounce, buffer[7]);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, BOUNCE_RIG_LOW), buffer[7]);
}

/* Fails: frames that are not neighbours become one area, so that its extent is wrong; or a fifth
 * area is written behind the table. */
static void every_run_is_an_area(void **state)
{
    dgm_frames_init(&bounce_rig.frames);
    for (unsigned i = 0; i < 6; i++)
        dgm_frames_add(&bounce_rig.frames, (struct dgm_gfn_range){{BOUNCE_RIG_FIRST + 10 * i}, 2});
    assert_int_equal(bounce_rig_pool(12), DGM_ENOMEM);
    assert_int_equal(bounce_rig.bounce.area_count, DGM_BOUNCE_AREAS_MAX);
    assert_int_equal(bounce_rig.bounce.total, 2 * DGM_BOUNCE_AREAS_MAX);
    dgm_bounce_check(&bounce_rig.bounce);
    assert_int_equal(
        dgm_gfn_number(dgm_bounce_gfn(
            &bounce_rig.bounce, dgm_bounce_take(&bounce_rig.bounce, NULL, DGM_BOUNCE_AREAS_ALL))),
        BOUNCE_RIG_FIRST + 30);
}

/* --- shares --- */

/* A guest with one device. */
struct user {
    struct dgm_bounce_share share;
    struct dgm_bounce_device device;
};

/* `areas` of the device's minimum; 0: it has none. */
static void user_begin(struct user *user, unsigned areas)
{
    memset(user, 0, sizeof *user);
    assert_int_equal(
        dgm_bounce_device_begin(&bounce_rig.bounce, &user->device, &user->share, areas), DGM_OK);
}

/* Fails: shares are enforced while no guest waits. */
static void all_buffers_while_no_guest_waits(void **state)
{
    struct user one, other;

    assert_int_equal(bounce_rig_pool(8), DGM_OK);
    user_begin(&one, 0);
    user_begin(&other, 0);
    assert_int_not_equal(dgm_bounce_take(&bounce_rig.bounce, &other.device, 1), DGM_BOUNCE_NONE);
    for (unsigned i = 0; i < 7; i++)
        assert_int_not_equal(dgm_bounce_take(&bounce_rig.bounce, &one.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(one.share.taken, 7);
    assert_int_equal(one.share.taken_max, 7);
    dgm_bounce_check(&bounce_rig.bounce);
}

/* Fails: while a guest below its share waits, one that holds its share takes a returned buffer. */
static void a_guest_at_its_share_waits(void **state)
{
    struct user one, other, third;
    uint16_t buffer[4];

    assert_int_equal(bounce_rig_pool(4), DGM_OK);
    user_begin(&one, 0);
    user_begin(&other, 0);
    user_begin(&third, 0);
    for (unsigned i = 0; i < 4; i++)
        buffer[i] = dgm_bounce_take(&bounce_rig.bounce, &one.device, 1);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &other.device, 1), DGM_BOUNCE_NONE);
    dgm_bounce_wait(&bounce_rig.bounce, &one.device,
                    1); /* before the other, but it holds its share */
    dgm_bounce_wait(&bounce_rig.bounce, &other.device, 1);
    dgm_bounce_give(&bounce_rig.bounce, buffer[0]);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &one.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &third.device, 1),
                     DGM_BOUNCE_NONE); /* does not overtake */
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &other.device, 1), buffer[0]);
    assert_int_equal(other.share.waits, 1);
    dgm_bounce_check(&bounce_rig.bounce);
    dgm_bounce_give(&bounce_rig.bounce, buffer[1]);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &one.device, 1),
                     buffer[1]); /* no other waits now */
    dgm_bounce_check(&bounce_rig.bounce);
}

/* --- minimums --- */

/* Fails: a device whose disk hangs has all buffers, and another device waits for it. */
static void each_device_has_its_minimum(void **state)
{
    struct user hog, other;
    struct dgm_bounce_device second; /* of the hog's guest */
    uint16_t held[4], buffer;

    assert_int_equal(bounce_rig_pool(4), DGM_OK);
    user_begin(&hog, 1);
    user_begin(&other, 1);
    assert_int_equal(dgm_bounce_device_begin(&bounce_rig.bounce, &second, &hog.share, 1), DGM_OK);
    held[0] = dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1);
    held[1] = dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1);
    assert_int_not_equal(held[1], DGM_BOUNCE_NONE); /* beyond the three minimums there is one */
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, NULL, 1), DGM_BOUNCE_NONE);
    dgm_bounce_wait(&bounce_rig.bounce, &hog.device, 1);
    dgm_bounce_check(&bounce_rig.bounce); /* two are free, and no round is posted for them */
    assert_false(bounce_rig.bounce.round_task.posted);
    for (unsigned i = 0; i < 20; i++) { /* for anything that the hog holds and waits for */
        buffer = dgm_bounce_take(&bounce_rig.bounce, &other.device, 1);
        assert_int_not_equal(buffer, DGM_BOUNCE_NONE);
        assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &other.device, 1), DGM_BOUNCE_NONE);
        held[2] = dgm_bounce_take(&bounce_rig.bounce, &second, 1);
        assert_int_not_equal(held[2], DGM_BOUNCE_NONE);
        assert_int_equal(bounce_rig.bounce.free, 0);
        dgm_bounce_check(&bounce_rig.bounce);
        dgm_bounce_give(&bounce_rig.bounce, buffer);
        dgm_bounce_give(&bounce_rig.bounce, held[2]);
        assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1), DGM_BOUNCE_NONE);
        dgm_bounce_wait(&bounce_rig.bounce, &hog.device, 1);
    }
    expect_panic(dgm_bounce_device_end(&bounce_rig.bounce, &hog.device));
    dgm_bounce_device_end(&bounce_rig.bounce, &second);
    dgm_bounce_device_end(&bounce_rig.bounce, &other.device);
    held[2] = dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1);
    held[3] = dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1);
    assert_int_not_equal(held[3], DGM_BOUNCE_NONE); /* now they are for all */
    dgm_bounce_check(&bounce_rig.bounce);
    for (unsigned i = 0; i < 4; i++)
        dgm_bounce_give(&bounce_rig.bounce, held[i]);
    dgm_bounce_device_end(&bounce_rig.bounce, &hog.device);
    dgm_bounce_share_end(&bounce_rig.bounce, &hog.share);
    dgm_bounce_check(&bounce_rig.bounce);
}

/* Fails: more minimums are promised than there are buffers, or in an area beyond reach. */
static void no_more_minimums_than_buffers(void **state)
{
    struct user users[5], one_more;

    bounce_rig_two_areas(3, 2);
    for (unsigned i = 0; i < 5; i++)
        user_begin(&users[i], i < 2 ? BOUNCE_RIG_HIGH : BOUNCE_RIG_LOW);
    assert_int_equal(bounce_rig.bounce.areas[0].minimums, 3);
    assert_int_equal(bounce_rig.bounce.areas[1].minimums, 2);
    memset(&one_more, 0, sizeof one_more);
    assert_int_equal(dgm_bounce_device_begin(&bounce_rig.bounce, &one_more.device, &one_more.share,
                                             BOUNCE_RIG_LOW | BOUNCE_RIG_HIGH),
                     DGM_ENOSPC);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &users[i].device,
                                         i < 2 ? BOUNCE_RIG_LOW : BOUNCE_RIG_HIGH),
                         DGM_BOUNCE_NONE);
        assert_int_not_equal(
            dgm_bounce_take(&bounce_rig.bounce, &users[i].device, BOUNCE_RIG_LOW | BOUNCE_RIG_HIGH),
            DGM_BOUNCE_NONE);
    }
    dgm_bounce_check(&bounce_rig.bounce);
}

/* Fails: a device that is created while others have all buffers never gets its minimum. */
static void a_late_minimum_comes_first(void **state)
{
    struct user hog, late;
    uint16_t held[2];

    assert_int_equal(bounce_rig_pool(2), DGM_OK);
    user_begin(&hog, 1);
    held[0] = dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1);
    held[1] = dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1);
    dgm_bounce_wait(&bounce_rig.bounce, &hog.device, 1);
    user_begin(&late, 1);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &late.device, 1), DGM_BOUNCE_NONE);
    dgm_bounce_wait(&bounce_rig.bounce, &late.device, 1);
    dgm_bounce_check(&bounce_rig.bounce);
    dgm_bounce_give(&bounce_rig.bounce, held[1]);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &hog.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce_rig.bounce, &late.device, 1), held[1]);
    dgm_bounce_check(&bounce_rig.bounce);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOUNCE_RIG_TEST(as_many_as_there_are),
        BOUNCE_RIG_TEST(take_and_give),
        BOUNCE_RIG_TEST(giving_wakes),
        BOUNCE_RIG_TEST(misuse_panics),
        BOUNCE_RIG_TEST(check_sees_a_planted_error),
        BOUNCE_RIG_TEST(the_highest_area_within_reach),
        BOUNCE_RIG_TEST(every_run_is_an_area),
        BOUNCE_RIG_TEST(all_buffers_while_no_guest_waits),
        BOUNCE_RIG_TEST(a_guest_at_its_share_waits),
        BOUNCE_RIG_TEST(each_device_has_its_minimum),
        BOUNCE_RIG_TEST(no_more_minimums_than_buffers),
        BOUNCE_RIG_TEST(a_late_minimum_comes_first),
    };

    return cmocka_run_group_tests_name("bounce", tests, NULL, NULL);
}
