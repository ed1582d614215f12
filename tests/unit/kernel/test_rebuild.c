/* SPDX-License-Identifier: MIT */
/*
 * rebuild: if these fail, a guest that reboots is gone, one that was destroyed comes back, or one
 * that crashes for ever keeps the machine busy.
 */
#include "guests_as_shipped.h"

#define SECOND_NS 1000000000ull

static struct builder builder;

/* Guest 1 can be built; what follows its ends is as xl has it. */
static int start_builder(void **state)
{
    set_up(state);
    memset(&builder, 0, sizeof builder);
    rig.config.guests[0].can_build = true;
    rig.config.guests[0].on[CONFIG_REBOOT] = CONFIG_RESTART;
    rig.config.guests[0].on[CONFIG_CRASH] = CONFIG_RESTART;
    guests_set_builder(&rig.guests, &builder);
    guests_start(&rig.guests);
    run_for(0);
    return 0;
}

static void end_with(uint8_t reason)
{
    rig.reason[1] = reason;
    rig.shared[1] = 0; /* its disks are shared anew */
    report_domain_change();
}

/* Fails: a guest that reboots is gone, or comes back without its disks, quotas or xenstore. */
static void a_reboot_is_followed_by_a_new_life(void **state)
{
    struct guest *guest = &rig.guests.guest[0];

    for (unsigned life = 1; life <= 20; life++) {
        run_for(100 * SECOND_NS); /* not early */
        end_with(SHUTDOWN_reboot);
        assert_int_equal(guest->state, GUEST_LIVE);
        assert_int_equal(rig.guests.live, COUNT);
        assert_int_equal(rig.built, life);
        assert_int_equal(rig.unpaused[1], life);
        assert_int_equal(rig.destroyed[1], life);
        assert_int_equal(rig.released[1], life);
        assert_int_equal(rig.opened, life);
        assert_int_equal(guest->account.slots.max, 1000);
        assert_false(guest->paused);
    }
    assert_int_equal(rig.idle, 0);
}

/* Fails: a power-off or a destruction is undone, or the machine stays on for nobody. */
static void other_ends_are_final(void **state)
{
    end_with(SHUTDOWN_poweroff);
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    run_for(1000 * SECOND_NS);
    assert_int_equal(rig.built, 0);

    assert_int_equal(guests_create(&rig.guests, 1), DGM_OK);
    rig.shared[1] = 0;
    run_for(0);
    assert_int_equal(rig.guests.guest[0].state, GUEST_LIVE);
    rig.dying[1] = true; /* by "destroy" */
    report_domain_change();
    run_for(1000 * SECOND_NS);
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    assert_int_equal(rig.built, 1);
    assert_int_equal(guests_create(&rig.guests, 2), DGM_ESRCH); /* it lives */
    rig.reason[2] = rig.reason[3] = SHUTDOWN_poweroff;
    report_domain_change();
    assert_int_equal(rig.idle, 1);
    assert_int_equal(guests_create(&rig.guests, 2), DGM_ENOSYS);
}

/* Fails: a guest that crashes at its start costs a build every moment, or its last chance is taken
 * from it after crashes that were days apart. */
static void crashes_have_pauses_and_a_limit(void **state)
{
    struct guest *guest = &rig.guests.guest[0];
    uint64_t pause_ns = SECOND_NS;

    for (unsigned crash = 1; crash <= RESTART_CRASHES_MAX; crash++) {
        end_with(SHUTDOWN_crash);
        assert_int_equal(guest->state, GUEST_WAITING);
        assert_int_equal(rig.idle, 0);
        run_for(pause_ns - 1);
        assert_int_equal(guest->state, GUEST_WAITING);
        run_for(1);
        assert_int_equal(guest->state, GUEST_LIVE);
        pause_ns = pause_ns * 2 < RESTART_PAUSE_LAST_NS ? pause_ns * 2 : RESTART_PAUSE_LAST_NS;
    }
    end_with(SHUTDOWN_crash);
    assert_int_equal(guest->state, GUEST_GONE);
    assert_int_equal(rig.built, RESTART_CRASHES_MAX);

    assert_int_equal(guests_create(&rig.guests, 1), DGM_OK); /* and it is counted anew */
    rig.shared[1] = 0;
    run_for(0);
    for (unsigned crash = 1; crash <= 3 * RESTART_CRASHES_MAX; crash++) {
        run_for(RESTART_EARLY_NS);
        end_with(SHUTDOWN_crash);
        run_for(RESTART_PAUSE_FIRST_NS);
        assert_int_equal(guest->state, GUEST_LIVE);
    }
}

/* Fails: a guest waits for ever for a build that failed once, or Xen is asked without a pause. */
static void a_build_that_fails_is_repeated(void **state)
{
    struct guest *guest = &rig.guests.guest[0];

    rig.build_result = DGM_ENOMEM;
    end_with(SHUTDOWN_reboot);
    assert_int_equal(guest->state, GUEST_WAITING);
    assert_int_equal(rig.built, 1);
    rig.build_result = DGM_OK;
    run_for(RESTART_PAUSE_FIRST_NS);
    assert_int_equal(guest->state, GUEST_LIVE);

    rig.build_result = DGM_ENOMEM;
    end_with(SHUTDOWN_reboot);
    for (unsigned i = 0; i < 2 * RESTART_FAILURES_MAX; i++)
        run_for(RESTART_PAUSE_LAST_NS);
    assert_int_equal(guest->state, GUEST_GONE);
    assert_int_equal(rig.built, 2 + RESTART_FAILURES_MAX);
}

/* Fails: a guest whose former domain Xen still keeps is given up: a disk may return its frames
 * late. */
static void the_former_domain_may_stay_for_long(void **state)
{
    struct guest *guest = &rig.guests.guest[0];

    rig.build_result = DGM_EEXIST;
    end_with(SHUTDOWN_reboot);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(guest->state, GUEST_WAITING);
        run_for(RESTART_PAUSE_FIRST_NS);
    }
    rig.build_result = DGM_OK;
    run_for(RESTART_PAUSE_FIRST_NS);
    assert_int_equal(guest->state, GUEST_LIVE);
}

/* Fails: a guest that was built runs before its xenstore answers, or never starts because Xen
 * refused once. */
static void the_start_waits_for_xenstore_and_xen(void **state)
{
    struct guest *guest = &rig.guests.guest[0];

    rig.introduce_result[1] = DGM_EAGAIN;
    end_with(SHUTDOWN_reboot);
    assert_true(guest->paused);
    assert_int_equal(rig.unpaused[1], 0);
    rig.introduce_result[1] = DGM_OK;
    rig.unpause_result = DGM_EBUSY;
    run_for(RETRY_PAUSE_FIRST_NS);
    assert_true(guest->paused);
    rig.unpause_result = DGM_OK;
    run_for(4 * RETRY_PAUSE_FIRST_NS);
    assert_false(guest->paused);
    assert_int_equal(rig.unpaused[1], 1);
}

/* Fails: a preserved domain is destroyed, or keeps its devices. */
static void a_preserved_domain_stays(void **state)
{
    rig.config.guests[0].on[CONFIG_CRASH] = CONFIG_PRESERVE;
    end_with(SHUTDOWN_crash);
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    assert_int_equal(rig.destroyed[1], 0);
    assert_int_equal(rig.released[1], 1);
}

/* Fails: "destroy" does not reach a guest that waits for its next start. */
static void a_waiting_guest_can_be_destroyed(void **state)
{
    end_with(SHUTDOWN_crash);
    assert_int_equal(rig.guests.guest[0].state, GUEST_WAITING);
    assert_int_equal(guests_destroy(&rig.guests, 1), DGM_OK);
    run_for(100 * SECOND_NS);
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    assert_int_equal(rig.built, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_reboot_is_followed_by_a_new_life, start_builder),
        cmocka_unit_test_setup(other_ends_are_final, start_builder),
        cmocka_unit_test_setup(crashes_have_pauses_and_a_limit, start_builder),
        cmocka_unit_test_setup(a_build_that_fails_is_repeated, start_builder),
        cmocka_unit_test_setup(the_former_domain_may_stay_for_long, start_builder),
        cmocka_unit_test_setup(the_start_waits_for_xenstore_and_xen, start_builder),
        cmocka_unit_test_setup(a_preserved_domain_stays, start_builder),
        cmocka_unit_test_setup(a_waiting_guest_can_be_destroyed, start_builder),
    };

    return cmocka_run_group_tests_name("rebuild", tests, NULL, NULL);
}
