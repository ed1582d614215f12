/* SPDX-License-Identifier: MIT */
/* balloon: if these fail, a domain without extended regions has no slots,
 * or slots over live RAM. */
#include "unit.h"

#include <dragoman/hyper/xen_status.h>
#include <dragoman/pages/balloon.h>
#include <dragoman/pages/grant.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>
#include <xen/memory.h>

#define FIRST 0x40000u
#define RAM   1024u

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(FIRST), RAM, dgm_mfn(FIRST));
    return 0;
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

static struct dgm_gfn_range range_from(uint64_t from, uint64_t count)
{
    return (struct dgm_gfn_range){dgm_gfn(FIRST + from), count};
}

/* Fails: a run whose length is not a multiple of the hypercall's list is handled wrongly. */
static void out_and_in(void **state)
{
    static const uint64_t counts[] = {0, 1, 127, 128, 129, 700};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        strcpy(dgm_env_va(dgm_gfn(FIRST + 9)), "below");
        assert_int_equal(dgm_balloon_out(range_from(10, counts[i])), counts[i]);
        assert_int_equal(dgm_hv_stats()->ballooned, counts[i]);
        assert_string_equal(dgm_env_va(dgm_gfn(FIRST + 9)), "below");
        assert_true(dgm_hv_may_dma(dgm_mfn(FIRST + 10 + counts[i]), true));
        if (counts[i])
            assert_false(dgm_hv_may_dma(dgm_mfn(FIRST + 10), true));
        assert_int_equal(dgm_balloon_in(range_from(10, counts[i])), counts[i]);
        assert_int_equal(dgm_hv_stats()->ballooned, 0);
        memset(dgm_env_va(dgm_gfn(FIRST + 10)), 1, DGM_FRAME_BYTES);
    }
}

/* Fails: frames that Xen did not take are used as slots, though they are still RAM. */
static void only_what_xen_took(void **state)
{
    assert_int_equal(dgm_balloon_out(range_from(300, 1)),
                     1); /* Xen has it when the run reaches it */
    assert_int_equal(dgm_balloon_out(range_from(0, 512)), 300);
    assert_int_equal(dgm_balloon_out(range_from(300, 5)), 0);
    assert_int_equal(dgm_hv_stats()->ballooned, 301);
    assert_int_equal(dgm_balloon_in(range_from(0, 512)), 301);
}

static long refuse_from(void *context, uint64_t nth, unsigned op, unsigned command)
{
    const uint64_t *from = context;

    return nth >= *from ? DGM_EPERM : 0;
}

/* Fails: an error of Xen is used as a count, at the first call or a later one. */
static void errors_are_no_counts(void **state)
{
    uint64_t from = 0;

    dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &from, .call = refuse_from});
    assert_int_equal(dgm_balloon_out(range_from(0, 512)), DGM_EPERM);
    from = 2;
    assert_int_equal(dgm_balloon_out(range_from(0, 512)),
                     128); /* call 1 succeeded, call 2 failed */
    assert_int_equal(dgm_hv_stats()->ballooned, 128);
}

/* Fails: with ext_regions=0 a guest's frame cannot be mapped where our RAM was. */
static void a_grant_in_a_ballooned_slot(void **state)
{
    const struct dgm_ram_bank bank = {{FIRST}, {FIRST}, RAM, NULL};
    const struct dgm_window window = dgm_window(range_from(100, 16));
    static uint64_t p2m_memory[64], store_memory[8], slot_memory[8];
    static struct dgm_grant grant;
    struct dgm_p2m p2m;
    struct dgm_slots store;
    struct dgm_slot_cache slots;
    struct dgm_foreign foreign;

    dgm_hv_domain_add(1, 4);
    dgm_hv_grant(1, 8, 2, false);
    assert_int_equal(dgm_balloon_out(range_from(100, 16)), 16);
    assert_int_equal(dgm_p2m_init(&p2m, &bank, 1, &window, p2m_memory), DGM_OK);
    dgm_slots_init(&store, &window, true, store_memory);
    dgm_slot_cache_init(&slots, &store, slot_memory);
    dgm_grant_init(&grant, &p2m, &slots);
    assert_int_equal(dgm_slot_reserve(&slots, NULL, 1), DGM_OK);
    dgm_grant_map_add(&grant, &foreign, NULL, (struct dgm_guest_grant){.ref = 8, .domid = 1});
    dgm_grant_map_commit(&grant);
    assert_int_equal(foreign.status, DGM_OK);
    assert_int_equal(dgm_gfn_number(foreign.gfn), FIRST + 100);
    strcpy(dgm_hv_page(1, 2), "guest");
    assert_string_equal(dgm_env_va(foreign.gfn), "guest");
    assert_int_equal(dgm_mfn_number(dgm_p2m_lookup(&p2m, foreign.gfn)),
                     dgm_mfn_number(dgm_hv_mfn(1, 2)));
    dgm_grant_unmap_add(&grant, &foreign);
    dgm_grant_unmap_commit(&grant);
    dgm_grant_check(&grant);
    assert_int_equal(dgm_hv_stats()->over, 0);
    assert_int_equal(dgm_hv_stats()->live, 0);
    assert_int_equal(dgm_balloon_in(range_from(100, 16)), 16);
}

/* --- a target --- */

#define RUN       (3 * 64 + 22) /* the last block is short */
#define RUN_FIRST 100u
#define MS        1000000ull

static struct {
    struct dgm_reactor reactor;
    struct dgm_slots store;
    struct dgm_slot_cache slots;
    struct dgm_balloon balloon;
    uint64_t store_memory[16], slots_memory[4], balloon_memory[1];
    uint64_t calls; /* for memory */
    uint64_t every; /* each n-th call fails, or takes a part; 0: none */
    bool cut;
} rig;

/* A Xen that at times has no memory, or not enough. */
static long call_scarce_xen(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                            uint64_t a5)
{
    if (op == __HYPERVISOR_memory_op && rig.every && ++rig.calls % rig.every == 0) {
        struct xen_memory_reservation *reservation = (void *)(uintptr_t)a2;

        if (!rig.cut)
            return DGM_ENOMEM;
        reservation->nr_extents = unit_below(reservation->nr_extents);
    }
    return dgm_hv_hypercall(op, a1, a2, a3, a4, a5);
}

static int start_target(void **state)
{
    const struct dgm_window window = dgm_window(range_from(RUN_FIRST, RUN));

    start(state);
    memset(&rig, 0, sizeof rig);
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = call_scarce_xen});
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&rig.reactor);
    assert_true(dgm_slots_bytes(window.count) <= sizeof rig.store_memory);
    assert_true(dgm_slot_cache_bytes(window.count) <= sizeof rig.slots_memory);
    assert_true(dgm_balloon_bytes(window.count) <= sizeof rig.balloon_memory);
    dgm_slots_init(&rig.store, &window, false, rig.store_memory);
    dgm_slot_cache_init(&rig.slots, &rig.store, rig.slots_memory);
    memset(rig.balloon_memory, 0xa5, sizeof rig.balloon_memory);
    dgm_balloon_init(&rig.balloon, &rig.reactor, &rig.store, &rig.slots, range_from(RUN_FIRST, RUN),
                     rig.balloon_memory);
    return 0;
}

/* Every frame is RAM, a slot, or in the moving block, and the balloon and Xen must agree. */
static void check_frames(void)
{
    const uint64_t moving = (uint64_t)__builtin_popcountll(rig.balloon.moving_frames);

    dgm_balloon_check(&rig.balloon);
    dgm_slot_cache_check(&rig.slots);
    assert_int_equal(dgm_hv_stats()->ballooned, rig.balloon.current + moving);
    for (uint64_t i = 0; i < RUN; i++) {
        const bool out = rig.balloon.ballooned[0] >> (i / 64) & 1;
        const bool is_moving =
            i / 64 == rig.balloon.moving && rig.balloon.moving_frames >> (i % 64) & 1;

        assert_int_equal(dgm_hv_may_dma(dgm_mfn(FIRST + RUN_FIRST + i), true), !out && !is_moving);
    }
    assert_true(dgm_hv_may_dma(dgm_mfn(FIRST + RUN_FIRST - 1), true));
    assert_true(dgm_hv_may_dma(dgm_mfn(FIRST + RUN_FIRST + RUN), true));
}

/* Lets time pass until the balloon has no timer armed, or for `turns` turns. */
static void run_timer(unsigned turns)
{
    while (turns-- && dgm_reactor_deadline_ns(&rig.reactor) != UINT64_MAX) {
        const uint64_t deadline = dgm_reactor_deadline_ns(&rig.reactor);
        const uint64_t calls = dgm_hv_stats()->calls;

        if (deadline > dgm_env_now_ns())
            dgm_sim_set_now_ns(deadline);
        dgm_reactor_turn(&rig.reactor);
        assert_true(dgm_hv_stats()->calls - calls <= 1); /* one step in a turn */
        check_frames();
    }
}

/* Fails: the balloon stops short of its target, or leaves the run. */
static void goes_to_its_target(void **state)
{
    static const uint64_t wanted[][2] = {{1, 64},    {64, 64},   {65, 128},         {0, 0},
                                         {RUN, RUN}, {100, 128}, {UINT64_MAX, RUN}, {0, 0}};

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        dgm_balloon_set_target(&rig.balloon, wanted[i][0]);
        assert_int_equal(rig.balloon.target, wanted[i][1]);
        run_timer(100);
        assert_int_equal(rig.balloon.current, wanted[i][1]);
        assert_int_equal(rig.balloon.refusals, 0);
        assert_int_equal(dgm_slot_reserve(&rig.slots, NULL, wanted[i][1] + 1), DGM_EAGAIN);
        assert_int_equal(dgm_slot_reserve(&rig.slots, NULL, wanted[i][1]), DGM_OK);
        dgm_slot_unreserve(&rig.slots, NULL, wanted[i][1]);
    }
    assert_true(dgm_env_now_ns() < MS); /* without a pause */
    memset(dgm_env_va(dgm_gfn(FIRST + RUN_FIRST)), 1, DGM_FRAME_BYTES);
}

/* Fails: the start has to wait for the reactor, or retries a refused step without end. */
static void steps_by_hand(void **state)
{
    unsigned steps = 1;

    dgm_balloon_set_target(&rig.balloon, RUN);
    while (dgm_balloon_step(&rig.balloon))
        steps++;
    assert_int_equal(steps, 4);
    assert_int_equal(rig.balloon.current, RUN);
    assert_false(rig.balloon.timer.armed);
    rig.every = 1;
    dgm_balloon_set_target(&rig.balloon, 0);
    assert_false(dgm_balloon_step(&rig.balloon));
    assert_true(rig.balloon.timer.armed);
    check_frames();
}

/* Fails: one refusal at the start leaves slots missing; or a Xen that always refuses holds the
 * start, or is not asked again later. */
static void refusals_at_the_start(void **state)
{
    for (uint64_t every = 2; every < 7; every++) {
        stop(state);
        start_target(state);
        rig.every = every;
        dgm_balloon_set_target(&rig.balloon, RUN);
        dgm_balloon_fill(&rig.balloon);
        assert_int_equal(rig.balloon.current, RUN);
        check_frames();
    }
    stop(state);
    start_target(state);
    rig.every = 1;
    dgm_balloon_set_target(&rig.balloon, RUN);
    dgm_balloon_fill(&rig.balloon);
    assert_int_equal(rig.balloon.current, 0);
    assert_int_equal(rig.balloon.refusals, DGM_XEN_TRIES);
    rig.every = 0;
    run_timer(10);
    assert_int_equal(rig.balloon.current, RUN);
    check_frames();
}

/* Fails: a Xen without memory gets hypercalls without pause, or no retry. */
static void waits_twice_as_long(void **state)
{
    uint64_t expected = 0, wait = MS;

    rig.every = 1;
    dgm_balloon_set_target(&rig.balloon, 64);
    for (unsigned i = 0; i < 20; i++) {
        run_timer(1);
        assert_int_equal(rig.balloon.refusals, i + 1);
        expected += wait;
        assert_int_equal(dgm_reactor_deadline_ns(&rig.reactor), expected);
        wait = 2 * wait < 32000 * MS ? 2 * wait : 32000 * MS;
    }
    rig.every = 0;
    run_timer(1);
    assert_int_equal(rig.balloon.current, 64);
    assert_int_equal(rig.balloon.wait_ns, 0);
    rig.every = 1;
    dgm_balloon_set_target(&rig.balloon, 0);
    run_timer(1);
    assert_int_equal(rig.balloon.wait_ns, MS); /* the pauses start again at the shortest */
    assert_int_equal(rig.balloon.current, 0);
    assert_int_equal(rig.balloon.moving_frames, UINT64_MAX);
    dgm_balloon_set_target(&rig.balloon, 64);
    run_timer(1); /* the block becomes slots without a hypercall */
    assert_int_equal(rig.balloon.current, 64);
}

/* Fails: slots that show guests' pages become RAM, or slots in use block the others' return. */
static void slots_in_use_stay(void **state)
{
    dgm_gfn_t gfn[70];

    dgm_balloon_set_target(&rig.balloon, RUN);
    run_timer(10);
    assert_int_equal(dgm_slot_reserve(&rig.slots, NULL, 70), DGM_OK);
    for (int i = 0; i < 70; i++)
        gfn[i] = dgm_slot_take(&rig.slots);
    for (int i = 0; i < 69; i++)
        dgm_slot_give(&rig.slots, NULL, gfn[i]);
    dgm_balloon_set_target(&rig.balloon, 0);
    run_timer(10); /* the cache shrinks; all blocks but the second return */
    assert_int_equal(rig.balloon.current, 64);
    assert_int_equal(rig.balloon.ballooned[0], 2);
    assert_true(rig.balloon.refusals > 3);
    dgm_slot_give(&rig.slots, NULL, gfn[69]);
    run_timer(1);
    assert_int_equal(rig.balloon.current, 0);

    dgm_balloon_set_target(&rig.balloon, 64);
    run_timer(1);
    assert_int_equal(dgm_slot_reserve(&rig.slots, NULL, 1), DGM_OK);
    dgm_slot_retire(&rig.slots, dgm_slot_take(&rig.slots));
    dgm_balloon_set_target(&rig.balloon, 0);
    run_timer(20);
    assert_int_equal(rig.balloon.current, 64); /* it still shows a guest's page */
}

/* Fails: a frame is lost, or has two uses, after Xen did a part or nothing. */
static void every_nth_call_fails(void **state)
{
    const uint64_t seed = unit_seed();

    for (unsigned cut = 0; cut < 2; cut++) {
        for (uint64_t every = 1; every <= 12; every++) {
            stop(NULL);
            start_target(NULL);
            rig.every = every;
            rig.cut = cut;
            for (unsigned i = 0; i < 40; i++) {
                dgm_balloon_set_target(&rig.balloon, unit_below(RUN + 30));
                run_timer(1 + (unsigned)unit_below(8)); /* often too few to reach the target */
            }
            rig.every = 0;
            dgm_balloon_set_target(&rig.balloon, RUN);
            run_timer(100);
            if (rig.balloon.current != RUN)
                fail_msg("seed %llu every %llu cut %u", (unsigned long long)seed,
                         (unsigned long long)every, cut);
            dgm_balloon_set_target(&rig.balloon, 0);
            run_timer(100);
            assert_int_equal(rig.balloon.current, 0);
            assert_int_equal(dgm_hv_stats()->ballooned, 0);
            assert_true(rig.balloon.refusals > 0);
        }
    }
}

/* Fails: a balloon starts over a run that is no part of the window. */
static void misuse_panics(void **state)
{
    expect_panic(dgm_balloon_init(&rig.balloon, &rig.reactor, &rig.store, NULL,
                                  range_from(RUN_FIRST + 1, 64), rig.balloon_memory));
    expect_panic(dgm_balloon_init(&rig.balloon, &rig.reactor, &rig.store, NULL,
                                  range_from(RUN_FIRST, RUN + 1), rig.balloon_memory));
    expect_panic(dgm_balloon_init(&rig.balloon, &rig.reactor, &rig.store, NULL,
                                  range_from(RUN_FIRST, 0), rig.balloon_memory));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(out_and_in, start, stop),
        cmocka_unit_test_setup_teardown(only_what_xen_took, start, stop),
        cmocka_unit_test_setup_teardown(errors_are_no_counts, start, stop),
        cmocka_unit_test_setup_teardown(a_grant_in_a_ballooned_slot, start, stop),
        cmocka_unit_test_setup_teardown(goes_to_its_target, start_target, stop),
        cmocka_unit_test_setup_teardown(steps_by_hand, start_target, stop),
        cmocka_unit_test_setup_teardown(refusals_at_the_start, start_target, stop),
        cmocka_unit_test_setup_teardown(waits_twice_as_long, start_target, stop),
        cmocka_unit_test_setup_teardown(slots_in_use_stay, start_target, stop),
        cmocka_unit_test_setup_teardown(every_nth_call_fails, start_target, stop),
        cmocka_unit_test_setup_teardown(misuse_panics, start_target, stop),
    };

    return cmocka_run_group_tests_name("balloon", tests, NULL, NULL);
}
