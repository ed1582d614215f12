/* SPDX-License-Identifier: MIT */
/* bounce: if these fail, two transfers share a buffer, buffers leak,
 * or a waiter sleeps permanently. */
#include "unit.h"

#include <dragoman/dma/bounce.h>
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <dma/internal.h>

#define FIRST       0x700u
#define BUFFERS_MAX 1024

static struct dgm_frames frames;
static struct dgm_reactor reactor;
static struct dgm_bounce bounce;
static unsigned woken;

static uint64_t records[BUFFERS_MAX * 8];

static void count_woken(struct dgm_task *task)
{
    woken++;
}

/* A new pool of `count` of the frames: what dgm_bounce_add() says. */
static int pool_of(uint16_t count)
{
    assert_true(dgm_bounce_bytes(count) <= sizeof records);
    dgm_bounce_init(&bounce, &reactor, count, records);
    return dgm_bounce_add(&bounce, &frames, count);
}

static int start(void **state)
{
    dgm_sim_memory(dgm_gfn(FIRST), BUFFERS_MAX);
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){{FIRST}, BUFFERS_MAX});
    dgm_reactor_init(&reactor);
    woken = 0;
    return 0;
}

static int stop(void **state)
{
    dgm_sim_memory(dgm_gfn(0), 0);
    return 0;
}

/* Fails: too few frames stop the domain, or buffers are invented. */
static void as_many_as_there_are(void **state)
{
    assert_int_equal(pool_of(BUFFERS_MAX), DGM_OK);
    assert_int_equal(bounce.total, BUFFERS_MAX);
    dgm_bounce_check(&bounce);
    assert_int_equal(pool_of(1), DGM_ENOMEM);
    assert_int_equal(bounce.total, 0);
    assert_int_equal(dgm_bounce_take(&bounce, NULL, DGM_BOUNCE_AREAS_ALL), DGM_BOUNCE_NONE);
    dgm_bounce_check(&bounce);
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){{FIRST}, 5});
    assert_int_equal(pool_of(8), DGM_ENOMEM);
    assert_int_equal(bounce.total, 5);
    dgm_bounce_check(&bounce);
}

/* Fails: a buffer is taken twice, or the pool shrinks. */
static void take_and_give(void **state)
{
    bool taken[16] = {false};
    uint16_t held[16], count = 0;

    unit_seed();
    assert_int_equal(pool_of(16), DGM_OK);
    for (unsigned step = 0; step < 20000; step++) {
        if (unit_chance(50)) {
            const uint16_t buffer = dgm_bounce_take(&bounce, NULL, DGM_BOUNCE_AREAS_ALL);

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

/* Fails: a task that waits for a buffer is not woken when one is returned. */
static void giving_wakes(void **state)
{
    struct dgm_task task = {.run = count_woken};
    uint16_t buffer;

    assert_int_equal(pool_of(1), DGM_OK);
    buffer = dgm_bounce_take(&bounce, NULL, DGM_BOUNCE_AREAS_ALL);
    assert_int_equal(dgm_bounce_take(&bounce, NULL, DGM_BOUNCE_AREAS_ALL), DGM_BOUNCE_NONE);
    dgm_waiters_add(&bounce.waiters, &task);
    dgm_reactor_turn(&reactor);
    assert_int_equal(woken, 0);
    dgm_bounce_give(&bounce, buffer);
    dgm_reactor_turn(&reactor);
    assert_int_equal(woken, 1);
}

/* Fails: an error path that returns a buffer twice is not noticed, and two transfers share it. */
static void misuse_panics(void **state)
{
    uint16_t buffer;

    assert_int_equal(pool_of(4), DGM_OK);
    expect_panic(dgm_bounce_give(&bounce, 2));
    expect_panic(dgm_bounce_give(&bounce, 4));
    expect_panic(dgm_bounce_give(&bounce, DGM_BOUNCE_NONE));
    buffer = dgm_bounce_take(&bounce, NULL, DGM_BOUNCE_AREAS_ALL);
    dgm_bounce_give(&bounce, buffer);
    expect_panic(dgm_bounce_give(&bounce, buffer));
    dgm_bounce_check(&bounce);
}

/* Fails: dgm_bounce_check() does not notice a leak. */
static void check_sees_a_planted_error(void **state)
{
    uint16_t first;

    assert_int_equal(pool_of(4), DGM_OK);
    first = bounce.areas[0].free_first;
    bounce.areas[0].free_first = bounce.buffers[first].next; /* one is lost */
    expect_panic(dgm_bounce_check(&bounce));
    bounce.areas[0].free_first = first;
    bounce.buffers[3].next = first; /* a circle */
    expect_panic(dgm_bounce_check(&bounce));
}

/* --- areas --- */

#define LOW  1u /* bits of the areas below, by the order in which they were added */
#define HIGH 2u

static void two_areas(uint16_t low, uint16_t high)
{
    struct dgm_frames more;

    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){{FIRST}, low});
    dgm_frames_init(&more);
    dgm_frames_add(&more, (struct dgm_gfn_range){{FIRST + 200}, high});
    dgm_bounce_init(&bounce, &reactor, (uint16_t)(low + high), records);
    assert_int_equal(dgm_bounce_add(&bounce, &frames, low), DGM_OK);
    assert_int_equal(dgm_bounce_add(&bounce, &more, high), DGM_OK);
    assert_int_equal(bounce.area_count, 2);
    dgm_bounce_check(&bounce);
}

/* Fails: devices that reach everything use up the few frames that a narrow one reaches; or a narrow
 * one is given a frame beyond its reach. */
static void the_highest_area_within_reach(void **state)
{
    uint16_t buffer[8];

    two_areas(3, 5);
    for (unsigned i = 0; i < 8; i++) {
        buffer[i] = dgm_bounce_take(&bounce, NULL, LOW | HIGH);
        assert_int_equal(dgm_gfn_number(dgm_bounce_gfn(&bounce, buffer[i])) >= FIRST + 200, i < 5);
    }
    assert_int_equal(dgm_bounce_take(&bounce, NULL, LOW | HIGH), DGM_BOUNCE_NONE);
    dgm_bounce_give(&bounce, buffer[0]);
    dgm_bounce_check(&bounce);
    assert_int_equal(dgm_bounce_take(&bounce, NULL, LOW), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce, NULL, 0), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce, NULL, HIGH), buffer[0]);
    dgm_bounce_give(&bounce, buffer[7]);
    assert_int_equal(dgm_bounce_take(&bounce, NULL, LOW), buffer[7]);
}

/* Fails: frames that are not neighbours become one area, so that its extent is wrong; or a fifth
 * area is written behind the table. */
static void every_run_is_an_area(void **state)
{
    dgm_frames_init(&frames);
    for (unsigned i = 0; i < 6; i++)
        dgm_frames_add(&frames, (struct dgm_gfn_range){{FIRST + 10 * i}, 2});
    assert_int_equal(pool_of(12), DGM_ENOMEM);
    assert_int_equal(bounce.area_count, DGM_BOUNCE_AREAS_MAX);
    assert_int_equal(bounce.total, 2 * DGM_BOUNCE_AREAS_MAX);
    dgm_bounce_check(&bounce);
    assert_int_equal(dgm_gfn_number(dgm_bounce_gfn(
                         &bounce, dgm_bounce_take(&bounce, NULL, DGM_BOUNCE_AREAS_ALL))),
                     FIRST + 30);
}

/* --- shares --- */

/* A guest of the tests: a task that takes what it can when it is woken, until it holds `wants`
 * buffers, and holds each buffer for as many turns as its device takes. */
struct guest {
    struct dgm_task task;
    struct dgm_bounce_share share;
    struct dgm_bounce_device device; /* without a minimum */
    unsigned areas, wants, turns, held;
    struct {
        uint16_t buffer;
        uint64_t until;
    } flight[BUFFERS_MAX];
    bool gone;                 /* asks no more */
    uint64_t taken, waits_max; /* buffers returned to the pool while it waited, at most */
    uint64_t since;            /* `gives` when it began to wait; UINT64_MAX: it does not wait */
};

static uint64_t gives, now;

static void guest_run(struct dgm_task *task)
{
    struct guest *guest = (struct guest *)task;

    while (!guest->gone && guest->held < guest->wants) {
        const uint16_t buffer = dgm_bounce_take(&bounce, &guest->device, guest->areas);

        if (buffer == DGM_BOUNCE_NONE) {
            dgm_bounce_wait(&bounce, &guest->device, guest->areas);
            dgm_waiters_add(&bounce.waiters, task);
            if (guest->held == 0 && guest->since == UINT64_MAX)
                guest->since = gives;
            return;
        }
        if (guest->since != UINT64_MAX && gives - guest->since > guest->waits_max)
            guest->waits_max = gives - guest->since;
        guest->since = UINT64_MAX;
        guest->flight[guest->held].buffer = buffer;
        guest->flight[guest->held++].until = now + 1 + unit_below(guest->turns);
        guest->taken++;
    }
}

/* Until no task is posted: rounds must end. */
static void settle(void)
{
    for (unsigned i = 0; dgm_reactor_turn(&reactor); i++)
        assert_true(i < 100);
}

/* Ends the transfers that are due. The guest asks at once for its next buffer, so a flooding guest
 * is always quicker than a waiter that has to be woken. */
static void guest_ends(struct guest *guest)
{
    for (unsigned i = 0; i < guest->held;) {
        if (guest->flight[i].until > now) {
            i++;
            continue;
        }
        dgm_bounce_give(&bounce, guest->flight[i].buffer);
        guest->flight[i] = guest->flight[--guest->held];
        gives++;
        guest_run(&guest->task);
        settle();
    }
}

static void guest_begin(struct guest *guest, unsigned areas, unsigned wants, unsigned turns)
{
    memset(guest, 0, sizeof *guest);
    guest->task.run = guest_run;
    (void)dgm_bounce_device_begin(&bounce, &guest->device, &guest->share, 0);
    guest->areas = areas;
    guest->wants = wants;
    guest->turns = turns;
    guest->since = UINT64_MAX;
    dgm_reactor_post(&reactor, &guest->task);
}

static void turn(struct guest *guests, unsigned count)
{
    settle();
    for (unsigned i = 0; i < count; i++)
        guest_ends(&guests[i]);
    now++;
    dgm_bounce_check(&bounce);
}

static struct guest guests[8];

/* Fails: a guest that floods its disk starves one that does little. A guest below its share waits
 * until at most as many buffers are returned as there are guests. */
static void a_guest_below_its_share_is_served(void **state)
{
    unit_seed();
    for (unsigned count = 2; count <= 8; count++) {
        for (uint16_t total = 1; total <= 32; total = (uint16_t)(total * 2)) {
            uint64_t before;

            dgm_reactor_init(&reactor);
            dgm_frames_init(&frames);
            dgm_frames_add(&frames, (struct dgm_gfn_range){{FIRST}, total});
            pool_of(total);
            gives = 0;
            for (unsigned i = 0; i < count; i++)
                guest_begin(&guests[i], 1, i ? 1 : 1000, i ? 2 : 5);
            turn(guests, count);
            assert_int_equal(bounce.free, 0); /* flooded */
            before = guests[0].taken;
            for (unsigned t = 0; t < 400; t++)
                turn(guests, count);
            for (unsigned i = 1; i < count; i++) {
                assert_true(guests[i].waits_max <= count);
                assert_true(guests[i].taken > 400 / 2 / (count * 5));
            }
            assert_true(guests[0].taken > before); /* nor is the flooding one */
        }
    }
}

/* A guest with one device. */
struct user {
    struct dgm_bounce_share share;
    struct dgm_bounce_device device;
};

/* `areas` of the device's minimum; 0: it has none. */
static void user_begin(struct user *user, unsigned areas)
{
    memset(user, 0, sizeof *user);
    assert_int_equal(dgm_bounce_device_begin(&bounce, &user->device, &user->share, areas), DGM_OK);
}

/* Fails: shares are enforced while no guest waits. */
static void all_buffers_while_no_guest_waits(void **state)
{
    struct user one, other;

    assert_int_equal(pool_of(8), DGM_OK);
    user_begin(&one, 0);
    user_begin(&other, 0);
    assert_int_not_equal(dgm_bounce_take(&bounce, &other.device, 1), DGM_BOUNCE_NONE);
    for (unsigned i = 0; i < 7; i++)
        assert_int_not_equal(dgm_bounce_take(&bounce, &one.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(one.share.taken, 7);
    assert_int_equal(one.share.taken_max, 7);
    dgm_bounce_check(&bounce);
}

/* Fails: while a guest below its share waits, one that holds its share takes a returned buffer. */
static void a_guest_at_its_share_waits(void **state)
{
    struct user one, other, third;
    uint16_t buffer[4];

    assert_int_equal(pool_of(4), DGM_OK);
    user_begin(&one, 0);
    user_begin(&other, 0);
    user_begin(&third, 0);
    for (unsigned i = 0; i < 4; i++)
        buffer[i] = dgm_bounce_take(&bounce, &one.device, 1);
    assert_int_equal(dgm_bounce_take(&bounce, &other.device, 1), DGM_BOUNCE_NONE);
    dgm_bounce_wait(&bounce, &one.device, 1); /* before the other, but it holds its share */
    dgm_bounce_wait(&bounce, &other.device, 1);
    dgm_bounce_give(&bounce, buffer[0]);
    assert_int_equal(dgm_bounce_take(&bounce, &one.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce, &third.device, 1),
                     DGM_BOUNCE_NONE); /* does not overtake */
    assert_int_equal(dgm_bounce_take(&bounce, &other.device, 1), buffer[0]);
    assert_int_equal(other.share.waits, 1);
    dgm_bounce_check(&bounce);
    dgm_bounce_give(&bounce, buffer[1]);
    assert_int_equal(dgm_bounce_take(&bounce, &one.device, 1), buffer[1]); /* no other waits now */
    dgm_bounce_check(&bounce);
}

/* Fails: a waiter that has lost interest (its request failed, its guest left) blocks the others
 * permanently; or a waiter sleeps beside free buffers. */
static void no_waiter_blocks_the_queue(void **state)
{
    struct guest *const lazy = &guests[0], *const keen = &guests[1], *const holder = &guests[2];

    assert_int_equal(pool_of(1), DGM_OK);
    gives = 0;
    guest_begin(holder, 1, 1, 3);
    guest_begin(lazy, 1, 1, 1);
    guest_begin(keen, 1, 1, 1);
    dgm_reactor_turn(&reactor);
    assert_int_equal(holder->held, 1);
    assert_ptr_equal(bounce.queue, &lazy->share);
    lazy->gone = holder->gone = true;
    for (unsigned t = 0; t < 12; t++)
        turn(guests, 3);
    assert_true(keen->taken > 0);
    assert_int_equal(lazy->taken, 0);
    assert_null(bounce.queue);
    keen->gone = true;
    turn(guests, 3);
    turn(guests, 3);
    assert_int_equal(bounce.free, 1);

    guest_begin(holder, 1, 1, 3);
    guest_begin(lazy, 1, 1, 1);
    turn(guests, 3);
    dgm_waiters_remove(&bounce.waiters, &lazy->task);
    dgm_bounce_share_end(&bounce, &lazy->share);
    assert_null(bounce.queue);
    dgm_bounce_check(&bounce);
    expect_panic(dgm_bounce_share_end(&bounce, &holder->share));
}

/* --- minimums --- */

/* Fails: a device whose disk hangs has all buffers, and another device waits for it. */
static void each_device_has_its_minimum(void **state)
{
    struct user hog, other;
    struct dgm_bounce_device second; /* of the hog's guest */
    uint16_t held[4], buffer;

    assert_int_equal(pool_of(4), DGM_OK);
    user_begin(&hog, 1);
    user_begin(&other, 1);
    assert_int_equal(dgm_bounce_device_begin(&bounce, &second, &hog.share, 1), DGM_OK);
    held[0] = dgm_bounce_take(&bounce, &hog.device, 1);
    held[1] = dgm_bounce_take(&bounce, &hog.device, 1);
    assert_int_not_equal(held[1], DGM_BOUNCE_NONE); /* beyond the three minimums there is one */
    assert_int_equal(dgm_bounce_take(&bounce, &hog.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce, NULL, 1), DGM_BOUNCE_NONE);
    dgm_bounce_wait(&bounce, &hog.device, 1);
    dgm_bounce_check(&bounce); /* two are free, and no round is posted for them */
    assert_false(bounce.round_task.posted);
    for (unsigned i = 0; i < 20; i++) { /* whatever the hog holds and waits for */
        buffer = dgm_bounce_take(&bounce, &other.device, 1);
        assert_int_not_equal(buffer, DGM_BOUNCE_NONE);
        assert_int_equal(dgm_bounce_take(&bounce, &other.device, 1), DGM_BOUNCE_NONE);
        held[2] = dgm_bounce_take(&bounce, &second, 1);
        assert_int_not_equal(held[2], DGM_BOUNCE_NONE);
        assert_int_equal(bounce.free, 0);
        dgm_bounce_check(&bounce);
        dgm_bounce_give(&bounce, buffer);
        dgm_bounce_give(&bounce, held[2]);
        assert_int_equal(dgm_bounce_take(&bounce, &hog.device, 1), DGM_BOUNCE_NONE);
        dgm_bounce_wait(&bounce, &hog.device, 1);
    }
    expect_panic(dgm_bounce_device_end(&bounce, &hog.device));
    dgm_bounce_device_end(&bounce, &second);
    dgm_bounce_device_end(&bounce, &other.device);
    held[2] = dgm_bounce_take(&bounce, &hog.device, 1);
    held[3] = dgm_bounce_take(&bounce, &hog.device, 1);
    assert_int_not_equal(held[3], DGM_BOUNCE_NONE); /* now they are for all */
    dgm_bounce_check(&bounce);
    for (unsigned i = 0; i < 4; i++)
        dgm_bounce_give(&bounce, held[i]);
    dgm_bounce_device_end(&bounce, &hog.device);
    dgm_bounce_share_end(&bounce, &hog.share);
    dgm_bounce_check(&bounce);
}

/* Fails: more minimums are promised than there are buffers, or in an area beyond reach. */
static void no_more_minimums_than_buffers(void **state)
{
    struct user users[5], one_more;

    two_areas(3, 2);
    for (unsigned i = 0; i < 5; i++)
        user_begin(&users[i], i < 2 ? HIGH : LOW);
    assert_int_equal(bounce.areas[0].minimums, 3);
    assert_int_equal(bounce.areas[1].minimums, 2);
    memset(&one_more, 0, sizeof one_more);
    assert_int_equal(
        dgm_bounce_device_begin(&bounce, &one_more.device, &one_more.share, LOW | HIGH),
        DGM_ENOSPC);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(dgm_bounce_take(&bounce, &users[i].device, i < 2 ? LOW : HIGH),
                         DGM_BOUNCE_NONE);
        assert_int_not_equal(dgm_bounce_take(&bounce, &users[i].device, LOW | HIGH),
                             DGM_BOUNCE_NONE);
    }
    dgm_bounce_check(&bounce);
}

/* Fails: a device that is created while others have all buffers never gets its minimum. */
static void a_late_minimum_comes_first(void **state)
{
    struct user hog, late;
    uint16_t held[2];

    assert_int_equal(pool_of(2), DGM_OK);
    user_begin(&hog, 1);
    held[0] = dgm_bounce_take(&bounce, &hog.device, 1);
    held[1] = dgm_bounce_take(&bounce, &hog.device, 1);
    dgm_bounce_wait(&bounce, &hog.device, 1);
    user_begin(&late, 1);
    assert_int_equal(dgm_bounce_take(&bounce, &late.device, 1), DGM_BOUNCE_NONE);
    dgm_bounce_wait(&bounce, &late.device, 1);
    dgm_bounce_check(&bounce);
    dgm_bounce_give(&bounce, held[1]);
    assert_int_equal(dgm_bounce_take(&bounce, &hog.device, 1), DGM_BOUNCE_NONE);
    assert_int_equal(dgm_bounce_take(&bounce, &late.device, 1), held[1]);
    dgm_bounce_check(&bounce);
}

/* Fails: a wake-up is lost, a count is wrong, or a guest starves, whatever guests do: any areas,
 * floods, losing interest. */
static void any_guests(void **state)
{
    unit_seed();
    for (unsigned trial = 0; trial < 200; trial++) {
        const unsigned count = 1 + (unsigned)unit_below(8);

        dgm_reactor_init(&reactor);
        two_areas((uint16_t)(1 + unit_below(6)), (uint16_t)(1 + unit_below(6)));
        for (unsigned i = 0; i < count; i++)
            guest_begin(&guests[i],
                        unit_chance(40)   ? LOW
                        : unit_chance(50) ? HIGH
                                          : LOW | HIGH,
                        1 + (unsigned)unit_below(12), 1 + (unsigned)unit_below(4));
        for (unsigned t = 0; t < 100; t++) {
            struct guest *guest = &guests[unit_below(count)];

            if (unit_chance(10))
                guest->gone = !guest->gone;
            if (unit_chance(20)) /* for another reason than a buffer */
                dgm_reactor_post(&reactor, &guest->task);
            turn(guests, count);
        }
        for (unsigned i = 0; i < count; i++) {
            guests[i].gone = false;
            guests[i].taken = 0;
            dgm_reactor_post(&reactor, &guests[i].task);
        }
        for (unsigned t = 0; t < 100; t++)
            turn(guests, count);
        for (unsigned i = 0; i < count; i++)
            assert_true(guests[i].taken > 0);
        for (unsigned i = 0; i < count; i++)
            guests[i].gone = true;
        for (unsigned t = 0; t < 8; t++)
            turn(guests, count);
        assert_int_equal(bounce.free, bounce.total);
        assert_null(bounce.queue);
        assert_int_equal(bounce.areas[0].users + bounce.areas[1].users, 0);
    }
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
        TEST(the_highest_area_within_reach),
        TEST(every_run_is_an_area),
        TEST(a_guest_below_its_share_is_served),
        TEST(all_buffers_while_no_guest_waits),
        TEST(a_guest_at_its_share_waits),
        TEST(no_waiter_blocks_the_queue),
        TEST(each_device_has_its_minimum),
        TEST(no_more_minimums_than_buffers),
        TEST(a_late_minimum_comes_first),
        TEST(any_guests),
    };

    return cmocka_run_group_tests_name("bounce", tests, NULL, NULL);
}
