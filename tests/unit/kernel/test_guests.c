/* SPDX-License-Identifier: MIT */
/*
 * guests: if these fail, a live guest loses its disks, an ended one keeps its memory, or one guest
 * can take all slots.
 */
#include "guests_as_shipped.h"

/* Fails: one guest may map all slots, or take all copy buffers, and the others wait for it. */
static void each_guest_has_its_part(void **state)
{
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(rig.guests.guest[i].account.slots.max, 1000);
        assert_int_equal(rig.guests.guest[i].account.copy_buffers.max, 200);
    }
}

/* Fails: an error of Xen that is not about a guest (for example an unknown version of the domctl
 * interface) ends every live guest. */
static void only_a_clear_result_ends_a_guest(void **state)
{
    static const int results[] = {DGM_EACCES, DGM_EPERM,  DGM_EFAULT, DGM_ENOSYS,     DGM_EINVAL,
                                  DGM_EAGAIN, DGM_ENOMEM, DGM_EBUSY,  DGM_EOPNOTSUPP, DGM_EIO};

    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        for (unsigned domid = 1; domid <= COUNT; domid++)
            rig.info_result[domid] = results[i];
        report_domain_change();
        assert_int_equal(rig.guests.live, COUNT);
        assert_int_equal(rig.gone, 0);
        assert_non_null(strstr(dgm_sim_last_log(), "does not report its state"));
    }
    const uint64_t lines = dgm_sim_log_lines();
    report_domain_change();
    assert_int_equal(dgm_sim_log_lines(), lines); /* said once */
    for (unsigned domid = 1; domid <= COUNT; domid++)
        rig.info_result[domid] = DGM_OK;
    rig.info_result[2] = DGM_ESRCH;
    report_domain_change();
    assert_int_equal(rig.guests.live, COUNT - 1);
    assert_int_equal(rig.guests.guest[1].state, GUEST_GONE);
    assert_int_equal(rig.destroyed[2], 0); /* Xen has no such domain */
}

/* Fails: a guest that ended while Xen did not report its state is never released: Xen announces an
 * end only once. */
static void an_unclear_state_is_queried_again(void **state)
{
    rig.info_result[1] = DGM_EFAULT;
    rig.reason[1] = SHUTDOWN_poweroff;
    report_domain_change();
    run_for(RETRY_PAUSE_FIRST_NS);
    assert_int_equal(rig.guests.guest[0].state, GUEST_LIVE);
    rig.info_result[1] = DGM_OK;
    run_for(2 * RETRY_PAUSE_FIRST_NS);
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    assert_int_equal(rig.guests.live, COUNT - 1);
    assert_false(rig.guests.retry_timer.armed);
}

/* Fails: a guest that Xen did not report at the start, or whose xenstore could not be served then,
 * waits for its disks permanently, or the machine is switched off before it is found. */
static void the_start_is_retried(void **state)
{
    for (unsigned domid = 1; domid <= COUNT; domid++)
        rig.prepare_result[domid] = DGM_EAGAIN;
    guests_start(&rig.guests);
    run_for(0);
    run_for(RETRY_PAUSE_FIRST_NS);
    assert_int_equal(rig.guests.count, 0);
    assert_int_equal(rig.idle, 0);
    assert_true(guests_may_come(&rig.guests, 2));
    memset(rig.prepare_result, 0, sizeof rig.prepare_result);
    rig.introduce_result[2] = DGM_EAGAIN;
    rig.introduce_result[3] = DGM_EINVAL; /* final */
    run_for(2 * RETRY_PAUSE_FIRST_NS);
    assert_int_equal(rig.guests.live, COUNT);
    assert_false(guests_may_come(&rig.guests, 2));
    assert_int_equal(rig.introduced[1], 1);
    assert_true(rig.guests.retry_timer.armed);
    memset(rig.introduce_result, 0, sizeof rig.introduce_result);
    run_for(4 * RETRY_PAUSE_FIRST_NS);
    for (unsigned domid = 1; domid <= COUNT; domid++)
        assert_int_equal(rig.introduced[domid], domid <= 2);
    assert_false(rig.guests.retry_timer.armed);
    assert_int_equal(rig.guests.retry_pause_ns, 0);
}

/* Fails: an end is missed because Xen did not bind the event that announces ends. */
static void ends_are_queried(void **state)
{
    rig.virq_result = DGM_ENOSPC;
    guests_start(&rig.guests);
    run_for(0);
    rig.reason[2] = SHUTDOWN_crash;
    run_for(RETRY_PAUSE_FIRST_NS);
    assert_int_equal(rig.guests.guest[1].state, GUEST_GONE);
    assert_true(rig.guests.retry_timer.armed);
    rig.virq_result = 0;
    run_for(RETRY_PAUSE_LAST_NS);
    assert_false(rig.guests.retry_timer.armed);
}

/* Fails: the end of one guest is missed, or is taken for that of another one. */
static void each_way_to_end(void **state)
{
    rig.reason[1] = SHUTDOWN_reboot;
    report_domain_change();
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    assert_int_equal(rig.guests.guest[1].state, GUEST_LIVE);
    rig.dying[2] = true;
    report_domain_change();
    assert_int_equal(rig.guests.guest[1].state, GUEST_GONE);
    assert_int_equal(rig.idle, 0);
    rig.reason[3] = SHUTDOWN_crash;
    report_domain_change();
    for (unsigned domid = 1; domid <= COUNT; domid++) {
        assert_int_equal(rig.destroyed[domid], 1);
        assert_int_equal(rig.released[domid], 1);
    }
    assert_int_equal(rig.gone, COUNT);
    assert_int_equal(rig.idle, 1);
}

/* Fails: a guest that has gone keeps its place in the queue for bounce buffers. */
static void a_guest_that_has_gone_waits_no_more(void **state)
{
    struct dgm_bounce_share *const share = &rig.guests.guest[0].account.bounce;

    rig.bounce.queue = share;
    share->areas_wanted = 1;
    rig.reason[1] = SHUTDOWN_poweroff;
    report_domain_change();
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    assert_null(rig.bounce.queue);
}

/* Fails: a guest's memory returns to Xen while a disk still writes to it, or never. */
static void a_guest_ends_when_its_disks_are_drained(void **state)
{
    rig.draining = true;
    rig.reason[1] = SHUTDOWN_poweroff;
    report_domain_change();
    run_for(10 * DRAIN_POLL_NS);
    assert_int_equal(rig.guests.guest[0].state, GUEST_ENDING);
    assert_int_equal(rig.released[1] + rig.destroyed[1], 0);
    rig.draining = false;
    rig.destroy_again = 2;
    rig.destroy_result = DGM_EAGAIN;
    run_for(DRAIN_POLL_NS);
    assert_int_equal(rig.guests.guest[0].state, GUEST_ENDING);
    run_for(DRAIN_POLL_NS);
    run_for(DRAIN_POLL_NS);
    assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
    assert_int_equal(rig.destroyed[1], 3);
}

/* Fails: a guest of the configuration that Xen did not make is not named, or another one is. */
static void missing_guests_are_named(void **state)
{
    for (unsigned i = 0; i < COUNT; i++)
        rig.config.guests[i].domid = (uint16_t)(i + 1);
    const uint64_t lines = dgm_sim_log_lines();
    guests_start(&rig.guests);
    assert_int_equal(dgm_sim_log_lines() - lines, 0);

    set_up(state);
    for (unsigned i = 0; i < COUNT; i++)
        rig.config.guests[i].domid = (uint16_t)(i + (i == COUNT - 1 ? 5 : 1));
    guests_start(&rig.guests);
    assert_int_equal(dgm_sim_log_lines() - lines, 1);
    assert_non_null(strstr(dgm_sim_last_log(), "Xen made no such guest"));
}

/* Fails: a domain stays in Xen because it refused the destruction for a moment; or a cause that
 * stays keeps Dragoman busy. Every errno. */
static void a_refused_destruction(void **state)
{
    for (int error = 1; error < 200; error++) {
        const bool passes = error == -DGM_EAGAIN || error == -DGM_EBUSY;
        const unsigned tries = error == -DGM_ESRCH ? 1 : passes ? 101 : DGM_XEN_TRIES;

        start(NULL);
        rig.destroy_result = -error;
        rig.destroy_again = 100;
        rig.reason[1] = SHUTDOWN_poweroff;
        report_domain_change();
        for (unsigned i = 0; i < 110; i++)
            run_for(DRAIN_POLL_NS);
        assert_int_equal(rig.guests.guest[0].state, GUEST_GONE);
        assert_int_equal(rig.destroyed[1], tries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_guest_has_its_part, start),
        cmocka_unit_test_setup(only_a_clear_result_ends_a_guest, start),
        cmocka_unit_test_setup(an_unclear_state_is_queried_again, start),
        cmocka_unit_test_setup(the_start_is_retried, set_up),
        cmocka_unit_test_setup(ends_are_queried, set_up),
        cmocka_unit_test_setup(each_way_to_end, start),
        cmocka_unit_test_setup(a_guest_that_has_gone_waits_no_more, start),
        cmocka_unit_test_setup(a_guest_ends_when_its_disks_are_drained, start),
        cmocka_unit_test_setup(missing_guests_are_named, set_up),
        cmocka_unit_test_setup(a_refused_destruction, start),
    };

    return cmocka_run_group_tests_name("guests", tests, NULL, NULL);
}
