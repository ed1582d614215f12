/* SPDX-License-Identifier: MIT */
/*
 * guests: if these fail, a live guest loses its disks, an ended one keeps its memory, or one guest
 * can take all slots.
 *
 * kernel/guests.c as it ships, with stand-ins for the functions that it calls.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#define guests_start kernel_guests_start /* a rig has one of that name */
#include <kernel/guests.h>
#include <xen/sched.h>

#define COUNT 3u
#define NONE  0xffu /* no shutdown reason: the domain runs */

static struct {
    struct guests guests;
    struct config config;
    struct disks disks;
    struct dgm_blkback_env env;
    struct dgm_reach reach;
    struct dgm_grant grant;
    struct dgm_slot_cache cache;
    struct dgm_slots slots;
    struct dgm_copy_buffers copy_buffers;
    struct dgm_dma dma;
    struct dgm_bounce bounce;
    struct dgm_reactor reactor;
    int info_result[COUNT + 1];
    uint8_t reason[COUNT + 1];
    bool dying[COUNT + 1], draining;
    int prepare_result[COUNT + 1], introduce_result[COUNT + 1], virq_result; /* 0: as usual */
    unsigned introduced[COUNT + 1], shared[COUNT + 1];
    unsigned destroyed[COUNT + 1], released[COUNT + 1], idle, gone;
    unsigned destroy_again; /* calls for which Xen has not finished yet, or fails: */
    int destroy_result;
    uint64_t now_ns;
} rig;

static int fake_prepare(struct dgm_dom0less_guest *guest, domid_t domid, const char *name)
{
    if (domid > COUNT)
        return DGM_ESRCH;
    if (rig.prepare_result[domid])
        return rig.prepare_result[domid];
    guest->domid = domid;
    snprintf(guest->name, sizeof guest->name, "%s", name ? name : "");
    return DGM_OK;
}

static int fake_introduce(const struct dgm_dom0less_guest *guest)
{
    if (rig.introduce_result[guest->domid])
        return rig.introduce_result[guest->domid];
    rig.introduced[guest->domid]++;
    assert_int_equal(rig.shared[guest->domid], 1); /* it finds its disks */
    return DGM_OK;
}

static int fake_info(domid_t domid, struct dgm_domain_info *info)
{
    *info = (struct dgm_domain_info){.dying = rig.dying[domid],
                                     .shut_down = rig.reason[domid] != NONE,
                                     .shutdown_reason = rig.reason[domid]};
    return rig.info_result[domid];
}

static int fake_destroy(domid_t domid)
{
    rig.destroyed[domid]++;
    if (rig.destroy_again == 0)
        return DGM_OK;
    rig.destroy_again--;
    return rig.destroy_result;
}

static void fake_release(const struct dgm_dom0less_guest *guest)
{
    rig.released[guest->domid]++;
}

#define dgm_dom0less_prepare(guest, xs, domid, name) fake_prepare(guest, domid, name)
#define dgm_dom0less_introduce(guest, xs, slots)     fake_introduce(guest)
#define dgm_dom0less_release(guest, xs, slots)       fake_release(guest)
#define dgm_domain_info(domid, info)                 fake_info(domid, info)
#define dgm_domain_destroy(domid)                    fake_destroy(domid)
#define dgm_evtchn_bind_virq(evtchn, virq, task)     (rig.virq_result ? rig.virq_result : 1)
#define dgm_xs_domain_changed(xs)                    ((void)0)
#define dgm_xs_rm(xs, path)                          ((void)(path))
#define dgm_blkback_idle(back)                       (!rig.draining)
#define dgm_blkback_quarantined(back)                false
#define dgm_blkback_guest_gone(back)                 ((void)(rig.gone++))
#define dgm_blkback_destroy(back)                    ((void)(back))
#include <kernel/guests.c>

/* sharing.c: a disk for each guest. */
void guests_share_disks(struct guests *guests)
{
    for (size_t i = 0; i < guests->count; i++)
        if (rig.shared[guests->guest[i].base.domid]++ == 0)
            guests->disk[guests->disk_count++].guest = &guests->guest[i];
        else
            rig.shared[guests->guest[i].base.domid] = 1;
}

void guests_log_waiting(const struct guests *guests)
{
}

static void on_idle(void)
{
    rig.idle++;
}

static void run_for(uint64_t ns)
{
    rig.now_ns += ns;
    dgm_sim_set_now_ns(rig.now_ns);
    while (dgm_reactor_turn(&rig.reactor))
        ;
}

/* Xen sends VIRQ_DOM_EXC. */
static void report_domain_change(void)
{
    dgm_reactor_post(&rig.reactor, &rig.guests.domains_changed);
    run_for(0);
}

static int set_up(void **state)
{
    memset(&rig, 0, sizeof rig);
    memset(rig.reason, NONE, sizeof rig.reason);
    dgm_reactor_init(&rig.reactor);
    rig.slots.present = 3000;
    rig.copy_buffers.total = 600;
    rig.cache.slots = &rig.slots;
    rig.grant.slots = &rig.cache;
    rig.reach.grant = &rig.grant;
    rig.reach.copy_buffers = &rig.copy_buffers;
    rig.dma.bounce = &rig.bounce;
    rig.env =
        (struct dgm_blkback_env){.reactor = &rig.reactor, .reach = &rig.reach, .dma = &rig.dma};
    rig.config.guest_count = COUNT;
    for (unsigned i = 0; i < COUNT; i++) {
        rig.config.guests[i].domid = (uint16_t)(i + 1);
        snprintf(rig.config.guests[i].name, sizeof rig.config.guests[i].name, "g%u", i + 1);
    }
    guests_init(&rig.guests, &rig.config, &rig.disks, &rig.env, on_idle);
    return 0;
}

static int start(void **state)
{
    set_up(state);
    guests_start(&rig.guests);
    run_for(0);
    assert_int_equal(rig.guests.live, COUNT);
    return 0;
}

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
