/* SPDX-License-Identifier: MIT */
/* bounce, guests: if these fail, a guest that floods its disk starves others, or a waiter sleeps
 * permanently. */
#include "bounce_rig.h"

#include <dma/internal.h>
#include <dragoman/base/status.h>

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
    } flight[BOUNCE_RIG_BUFFERS_MAX];
    bool gone;                 /* takes no further buffer */
    uint64_t taken, waits_max; /* buffers returned to the pool while it waited, at most */
    uint64_t since;            /* `gives` when it began to wait; UINT64_MAX: it does not wait */
};

static uint64_t gives, now;

static void guest_run(struct dgm_task *task)
{
    struct guest *guest = (struct guest *)task;

    while (!guest->gone && guest->held < guest->wants) {
        const uint16_t buffer = dgm_bounce_take(&bounce_rig.bounce, &guest->device, guest->areas);

        if (buffer == DGM_BOUNCE_NONE) {
            dgm_bounce_wait(&bounce_rig.bounce, &guest->device, guest->areas);
            dgm_waiters_add(&bounce_rig.bounce.waiters, task);
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
static void run_until_idle(void)
{
    for (unsigned i = 0; dgm_reactor_turn(&bounce_rig.reactor); i++)
        assert_true(i < 100);
}

/* Ends the transfers that are due. The guest asks immediately for its next buffer, so a flooding
 * guest is always faster than a waiter that has to be woken. */
static void guest_ends(struct guest *guest)
{
    for (unsigned i = 0; i < guest->held;) {
        if (guest->flight[i].until > now) {
            i++;
            continue;
        }
        dgm_bounce_give(&bounce_rig.bounce, guest->flight[i].buffer);
        guest->flight[i] = guest->flight[--guest->held];
        gives++;
        guest_run(&guest->task);
        run_until_idle();
    }
}

static void guest_begin(struct guest *guest, unsigned areas, unsigned wants, unsigned turns)
{
    memset(guest, 0, sizeof *guest);
    guest->task.run = guest_run;
    (void)dgm_bounce_device_begin(&bounce_rig.bounce, &guest->device, &guest->share, 0);
    guest->areas = areas;
    guest->wants = wants;
    guest->turns = turns;
    guest->since = UINT64_MAX;
    dgm_reactor_post(&bounce_rig.reactor, &guest->task);
}

static void run_turn(struct guest *guests, unsigned count)
{
    run_until_idle();
    for (unsigned i = 0; i < count; i++)
        guest_ends(&guests[i]);
    now++;
    dgm_bounce_check(&bounce_rig.bounce);
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

            dgm_reactor_init(&bounce_rig.reactor);
            dgm_frames_init(&bounce_rig.frames);
            dgm_frames_add(&bounce_rig.frames, (struct dgm_gfn_range){{BOUNCE_RIG_FIRST}, total});
            bounce_rig_pool(total);
            gives = 0;
            for (unsigned i = 0; i < count; i++)
                guest_begin(&guests[i], 1, i ? 1 : 1000, i ? 2 : 5);
            run_turn(guests, count);
            assert_int_equal(bounce_rig.bounce.free, 0); /* flooded */
            before = guests[0].taken;
            for (unsigned t = 0; t < 400; t++)
                run_turn(guests, count);
            for (unsigned i = 1; i < count; i++) {
                assert_true(guests[i].waits_max <= count);
                assert_true(guests[i].taken > 400 / 2 / (count * 5));
            }
            assert_true(guests[0].taken > before); /* nor is the flooding one */
        }
    }
}

/* Fails: a waiter that no longer wants a buffer (its request failed, its guest left) blocks the
 * others permanently; or a waiter sleeps although buffers are free. */
static void no_waiter_blocks_the_queue(void **state)
{
    struct guest *const lazy = &guests[0], *const keen = &guests[1], *const holder = &guests[2];

    assert_int_equal(bounce_rig_pool(1), DGM_OK);
    gives = 0;
    guest_begin(holder, 1, 1, 3);
    guest_begin(lazy, 1, 1, 1);
    guest_begin(keen, 1, 1, 1);
    dgm_reactor_turn(&bounce_rig.reactor);
    assert_int_equal(holder->held, 1);
    assert_ptr_equal(bounce_rig.bounce.queue, &lazy->share);
    lazy->gone = holder->gone = true;
    for (unsigned t = 0; t < 12; t++)
        run_turn(guests, 3);
    assert_true(keen->taken > 0);
    assert_int_equal(lazy->taken, 0);
    assert_null(bounce_rig.bounce.queue);
    keen->gone = true;
    run_turn(guests, 3);
    run_turn(guests, 3);
    assert_int_equal(bounce_rig.bounce.free, 1);

    guest_begin(holder, 1, 1, 3);
    guest_begin(lazy, 1, 1, 1);
    run_turn(guests, 3);
    dgm_waiters_remove(&bounce_rig.bounce.waiters, &lazy->task);
    dgm_bounce_share_end(&bounce_rig.bounce, &lazy->share);
    assert_null(bounce_rig.bounce.queue);
    dgm_bounce_check(&bounce_rig.bounce);
    expect_panic(dgm_bounce_share_end(&bounce_rig.bounce, &holder->share));
}

/* Fails: a wake-up is lost, a count is wrong, or a guest starves, for any actions of guests: any
 * areas, floods, waiters that no longer want a buffer. */
static void any_guests(void **state)
{
    unit_seed();
    for (unsigned trial = 0; trial < 200; trial++) {
        const unsigned count = 1 + (unsigned)unit_below(8);

        dgm_reactor_init(&bounce_rig.reactor);
        const uint16_t low = (uint16_t)(1 + unit_below(6)), high = (uint16_t)(1 + unit_below(6));

        bounce_rig_two_areas(low, high);
        for (unsigned i = 0; i < count; i++) {
            const unsigned areas = unit_chance(40)   ? BOUNCE_RIG_LOW
                                   : unit_chance(50) ? BOUNCE_RIG_HIGH
                                                     : BOUNCE_RIG_LOW | BOUNCE_RIG_HIGH;
            const unsigned wants = 1 + (unsigned)unit_below(12);

            guest_begin(&guests[i], areas, wants, 1 + (unsigned)unit_below(4));
        }
        for (unsigned t = 0; t < 100; t++) {
            struct guest *guest = &guests[unit_below(count)];

            if (unit_chance(10))
                guest->gone = !guest->gone;
            if (unit_chance(20)) /* for another reason than a buffer */
                dgm_reactor_post(&bounce_rig.reactor, &guest->task);
            run_turn(guests, count);
        }
        for (unsigned i = 0; i < count; i++) {
            guests[i].gone = false;
            guests[i].taken = 0;
            dgm_reactor_post(&bounce_rig.reactor, &guests[i].task);
        }
        for (unsigned t = 0; t < 100; t++)
            run_turn(guests, count);
        for (unsigned i = 0; i < count; i++)
            assert_true(guests[i].taken > 0);
        for (unsigned i = 0; i < count; i++)
            guests[i].gone = true;
        for (unsigned t = 0; t < 8; t++)
            run_turn(guests, count);
        assert_int_equal(bounce_rig.bounce.free, bounce_rig.bounce.total);
        assert_null(bounce_rig.bounce.queue);
        assert_int_equal(bounce_rig.bounce.areas[0].users + bounce_rig.bounce.areas[1].users, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOUNCE_RIG_TEST(a_guest_below_its_share_is_served),
        BOUNCE_RIG_TEST(no_waiter_blocks_the_queue),
        BOUNCE_RIG_TEST(any_guests),
    };

    return cmocka_run_group_tests_name("bounce, guests", tests, NULL, NULL);
}
