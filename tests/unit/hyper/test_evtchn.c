/* SPDX-License-Identifier: MIT */
/* evtchn: if these fail, a guest's event is lost (its I/O hangs),
 * or one guest's events stop all. */
#include "unit.h"

#include <dragoman/base/check.h>
#include <dragoman/hyper/evtchn.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/base/status.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>

#include <pthread.h>
#include <unistd.h>

#define GUEST 1

#define REMOTE(guest, number) ((struct dgm_evtchn_remote){.domid = (guest), .port = (number)})

static struct dgm_reactor reactor;
static struct dgm_evtchn evtchn;

struct listener {
    struct dgm_task task;
    unsigned heard;
};

static void count_heard(struct dgm_task *task)
{
    dgm_container(task, struct listener, task)->heard++;
}

static struct listener a, b;

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(0x40000), 4, dgm_mfn(0x40000));
    dgm_hv_domain_add(GUEST, 1);
    dgm_reactor_init(&reactor);
    dgm_evtchn_init(&evtchn, &reactor, dgm_hv_shared_info(), &dgm_hv_shared_info()->vcpu_info[0]);
    a = b = (struct listener){.task = {.run = count_heard}};
    return 0;
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

/* As the domain's main loop: a dispatch if the interrupt is pending, then a turn. */
static void run_turn(void)
{
    if (dgm_hv_interrupt())
        dgm_evtchn_dispatch(&evtchn);
    dgm_reactor_turn(&reactor);
}

/* Fails: events are lost, are delivered without cause, or post the wrong task. */
static void events_reach_their_task(void **state)
{
    const evtchn_port_t remote_a = dgm_hv_guest_port(GUEST), remote_b = dgm_hv_guest_port(GUEST);
    const int port_a = dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote_a), &a.task);
    const int port_b = dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote_b), &b.task);

    assert_true(port_a > 0 && port_b > 0 && port_a != port_b);
    run_turn(); /* Xen makes a port pending when it is bound, so that no early event is lost */
    assert_int_equal(a.heard, 1);
    assert_int_equal(b.heard, 1);
    run_turn();
    assert_int_equal(a.heard, 1);
    assert_true(dgm_hv_guest_send(GUEST, remote_b));
    assert_true(
        dgm_hv_guest_send(GUEST, remote_b)); /* two events before the dispatch: one posting */
    run_turn();
    assert_int_equal(a.heard, 1);
    assert_int_equal(b.heard, 2);
    dgm_evtchn_send(&evtchn, (evtchn_port_t)port_a);
    assert_int_equal(dgm_hv_guest_events(GUEST, remote_a), 1);
    assert_int_equal(dgm_hv_guest_events(GUEST, remote_b), 0);
    assert_int_equal(evtchn.stray, 0);
}

/* Fails: a virtual interrupt of Xen (a guest died) is not delivered. */
static void virtual_interrupts_arrive(void **state)
{
    assert_true(dgm_evtchn_bind_virq(&evtchn, VIRQ_DOM_EXC, &a.task) > 0);
    assert_int_equal(dgm_evtchn_bind_virq(&evtchn, VIRQ_DOM_EXC, &b.task), DGM_EEXIST);
    run_turn();
    assert_int_equal(a.heard, 0);
    assert_true(dgm_hv_raise_virq(VIRQ_DOM_EXC));
    run_turn();
    assert_int_equal(a.heard, 1);
}

static void kick_while_running(struct dgm_task *task)
{
    if (dgm_container(task, struct listener, task)->heard++ == 0)
        dgm_hv_guest_send(GUEST, 1);
}

/* Fails: an event that arrives while the task runs is lost: its bit is cleared too late. */
static void a_kick_while_the_task_runs(void **state)
{
    assert_int_equal(dgm_hv_guest_port(GUEST), 1);
    a.task.run = kick_while_running;
    assert_true(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, 1), &a.task) > 0);
    run_turn();
    assert_int_equal(a.heard, 1);
    run_turn();
    assert_int_equal(a.heard, 2);
}

/* Fails: a pending bit at some position is not found. All words, both ends. */
static void every_word_is_scanned(void **state)
{
    static struct listener listeners[DGM_EVTCHN_PORTS];

    for (unsigned port = 1; port < DGM_EVTCHN_PORTS; port++) {
        listeners[port] = (struct listener){.task = {.run = count_heard}};
        assert_int_equal(dgm_evtchn_bind_interdomain(&evtchn,
                                                     REMOTE(GUEST, dgm_hv_guest_port(GUEST)),
                                                     &listeners[port].task),
                         port);
    }
    run_turn();
    for (unsigned port = 1; port < DGM_EVTCHN_PORTS; port++)
        assert_int_equal(listeners[port].heard, 1);
    unit_seed();
    for (unsigned round = 0; round < 200; round++) {
        const unsigned one = 1 + (unsigned)unit_below(DGM_EVTCHN_PORTS - 1);
        const unsigned two = 1 + (unsigned)unit_below(DGM_EVTCHN_PORTS - 1);
        const unsigned before = listeners[one].heard;

        dgm_hv_guest_send(GUEST, one);
        dgm_hv_guest_send(GUEST, two);
        run_turn();
        assert_int_equal(listeners[one].heard, before + 1);
    }
    assert_int_equal(evtchn.stray, 0);
    assert_int_equal(
        dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, dgm_hv_guest_port(GUEST)), &a.task),
        DGM_ENOSPC); /* beyond our table: refused, and the port is closed */
    assert_int_equal(
        dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, dgm_hv_guest_port(GUEST)), &a.task),
        DGM_ENOSPC);
}

/* Fails: an event on a port without a task stops the domain, or is delivered repeatedly. */
static void strays_are_masked(void **state)
{
    static const evtchn_port_t ports[] = {77, 1023, 1024, 4095};

    memset(dgm_hv_shared_info()->evtchn_mask, 0, sizeof dgm_hv_shared_info()->evtchn_mask);
    for (unsigned i = 0; i < 4; i++) {
        dgm_hv_set_pending(ports[i]);
        run_turn();
        assert_int_equal(evtchn.stray, i + 1);
        dgm_hv_set_pending(ports[i]);
        assert_false(dgm_hv_interrupt());
        assert_int_equal(evtchn.stray, i + 1);
    }
    assert_int_equal(evtchn.delivered, 0);
}

/* Fails: an event is delivered before its port is bound. */
static void masked_from_the_start(void **state)
{
    assert_false(dgm_evtchn_bits(&evtchn, 5).pending);
    dgm_hv_set_pending(5);
    assert_false(dgm_hv_interrupt());
    assert_true(dgm_evtchn_bits(&evtchn, 5).pending);
    assert_true(dgm_evtchn_bits(&evtchn, 5).masked);
    assert_false(dgm_evtchn_bits(&evtchn, 4).pending);
}

/* Fails: the task of a closed channel runs after its owner's end;
 * or a reused port delivers no event. */
static void close_and_bind_again(void **state)
{
    const evtchn_port_t remote = dgm_hv_guest_port(GUEST);
    int port = dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote), &a.task);

    run_turn();
    dgm_hv_guest_send(GUEST, remote);
    assert_true(dgm_hv_interrupt());
    dgm_evtchn_dispatch(&evtchn); /* posted, not yet run */
    dgm_evtchn_close(&evtchn, (evtchn_port_t)port);
    run_turn();
    assert_int_equal(a.heard, 1);
    assert_false(dgm_hv_guest_send(GUEST, remote)); /* the guest's end is unbound */
    expect_panic(dgm_evtchn_close(&evtchn, (evtchn_port_t)port));
    port = dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote), &b.task);
    assert_true(port > 0);
    run_turn();
    dgm_hv_guest_send(GUEST, remote);
    run_turn();
    assert_int_equal(b.heard, 2);
    assert_int_equal(a.heard, 1);
    assert_int_equal(evtchn.stray, 0);
}

/* Fails: an error of Xen is used as a port. */
static void errors_are_no_ports(void **state)
{
    assert_int_equal(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(9, 1), &a.task), DGM_ESRCH);
    assert_int_equal(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, 1), &a.task), DGM_EINVAL);
    dgm_hv_domain_destroy(GUEST);
    assert_int_equal(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, 1), &a.task), DGM_ESRCH);
}

/* --- Xen refuses an operation on a port of ours --- */

static struct {
    unsigned command, times, seen;
    long result;
} refusals;

static long refuse_command(void *context, uint64_t nth, unsigned op, unsigned command)
{
    if (op != __HYPERVISOR_event_channel_op || command != refusals.command)
        return 0;
    return refusals.seen++ < refusals.times ? refusals.result : 0;
}

static void refuse(unsigned command, long result, unsigned times)
{
    refusals.command = command;
    refusals.result = result;
    refusals.times = times;
    refusals.seen = 0;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = refuse_command});
}

static void pass_ns(uint64_t ns)
{
    dgm_sim_set_now_ns(dgm_env_now_ns() + ns);
    dgm_reactor_turn(&reactor);
}

/* Fails: an event that Xen refuses to send is lost, for some error: the guest waits for it. */
static void a_refused_event_is_sent_again(void **state)
{
    const evtchn_port_t remote_a = dgm_hv_guest_port(GUEST), remote_b = dgm_hv_guest_port(GUEST);
    const evtchn_port_t port_a =
        (evtchn_port_t)dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote_a), &a.task);
    const evtchn_port_t port_b =
        (evtchn_port_t)dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote_b), &b.task);

    for (long error = 1; error < 200; error++) {
        refuse(EVTCHNOP_send, -error, 5);
        dgm_evtchn_send(&evtchn, port_a);
        dgm_evtchn_send(&evtchn, port_b);
        assert_int_equal(dgm_hv_guest_events(GUEST, remote_a), 0);
        for (unsigned i = 0; i < 3; i++)
            pass_ns(2000000000);
        assert_int_equal(dgm_hv_guest_events(GUEST, remote_a), 1);
        assert_int_equal(dgm_hv_guest_events(GUEST, remote_b), 1);
        assert_int_equal(refusals.seen, 7);
        assert_false(evtchn.resend.armed);
    }

    /* the pauses grow, and end with the port */
    refuse(EVTCHNOP_send, DGM_EFAULT, UINT32_MAX);
    dgm_evtchn_send(&evtchn, port_a);
    for (unsigned i = 0; i < 60000; i++)
        pass_ns(1000000);
    assert_in_range(refusals.seen, 60, 75);
    dgm_evtchn_close(&evtchn, port_a);
    refusals.seen = 0;
    pass_ns(2000000000);
    assert_int_equal(refusals.seen, 0);
    assert_false(evtchn.resend.armed);
    expect_panic(dgm_evtchn_send(&evtchn, port_a));
    dgm_hv_set_faults(NULL);
}

/* Fails: an error for a port of ours is taken for the guest's wrong port, or for its end. */
static void an_unmask_is_not_the_guests_fault(void **state)
{
    const evtchn_port_t remote = dgm_hv_guest_port(GUEST);

    for (long error = 1; error < 200; error++) {
        refuse(EVTCHNOP_unmask, -error, 1);
        assert_int_equal(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote), &a.task),
                         DGM_EAGAIN);
        assert_int_equal(dgm_evtchn_bind_virq(&evtchn, VIRQ_DOM_EXC, &b.task), 1);
        dgm_evtchn_close(&evtchn, 1);
    }
    assert_int_equal(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote), &a.task), 1);
}

/* Fails: a close that Xen refused for a moment leaves the guest's end bound. */
static void a_close_is_retried(void **state)
{
    for (unsigned times = DGM_XEN_TRIES - 1; times <= DGM_XEN_TRIES; times++) {
        const evtchn_port_t remote = dgm_hv_guest_port(GUEST);
        const int port = dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, remote), &a.task);

        run_turn();
        refuse(EVTCHNOP_close, DGM_EINVAL, times);
        dgm_evtchn_close(&evtchn, (evtchn_port_t)port);
        assert_int_equal(dgm_hv_guest_send(GUEST, remote), times == DGM_XEN_TRIES);
        assert_false(dgm_hv_interrupt()); /* the lost port is masked */
    }
    assert_non_null(strstr(dgm_sim_last_log(), "not closed"));
}

/* --- an event at every point of a dispatch --- */

static unsigned barriers, kick_at;
static bool kicked, heard_after;

static void kick_once(void)
{
    if (barriers++ != kick_at)
        return;
    kicked = true;
    heard_after = false;
    dgm_hv_guest_send(GUEST, 1);
}

static void hear_kick(struct dgm_task *task)
{
    heard_after = true; /* the task reads the ring: it sees all that was written before */
}

/* Fails: an event from another CPU at some point of the scan is lost. */
static void a_kick_at_any_moment(void **state)
{
    for (kick_at = 0, kicked = true; kicked; kick_at++) {
        start(NULL);
        a.task.run = hear_kick;
        assert_int_equal(dgm_hv_guest_port(GUEST), 1);
        assert_true(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, 1), &a.task) > 0);
        barriers = 0;
        kicked = false;
        dgm_sim_at_barrier(kick_once);
        for (int i = 0; i < 4; i++)
            run_turn();
        dgm_sim_at_barrier(NULL);
        assert_true(heard_after);
    }
    assert_true(kick_at > 3);
}

static void kick_always(void)
{
    dgm_hv_guest_send(GUEST, 1);
}

/* Fails: XSA-332: guests that send events without pause keep us in the dispatch permanently;
 * or the last event is lost. */
static void a_storm_does_not_hold_us(void **state)
{
    assert_int_equal(dgm_hv_guest_port(GUEST), 1);
    assert_true(dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, 1), &a.task) > 0);
    alarm(600);
    dgm_sim_at_barrier(kick_always);
    for (unsigned i = 0; i < 100; i++) {
        run_turn(); /* returns */
        assert_true(a.heard >= i);
    }
    a.heard = 0;
    dgm_evtchn_dispatch(&evtchn); /* stops at its bound, */
    dgm_sim_at_barrier(NULL);
    alarm(0);
    for (int i = 0; i < 3; i++)
        dgm_reactor_turn(&reactor); /* and continues without another interrupt */
    assert_true(a.heard > 1);
    assert_int_equal(dgm_hv_shared_info()->vcpu_info[0].evtchn_upcall_pending, 0);
}

/* --- events from other CPUs --- */

static uint64_t published; /* what the guest wrote before it sent an event */
static uint64_t seen;
static bool finished;

static void note_published(struct dgm_task *task)
{
    seen = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
}

static void *publish_and_send(void *argument)
{
    for (uint64_t i = 1; i <= 200000; i++) {
        __atomic_store_n(&published, i, __ATOMIC_SEQ_CST);
        dgm_hv_set_pending(*(evtchn_port_t *)argument);
    }
    __atomic_store_n(&finished, true, __ATOMIC_SEQ_CST);
    return NULL;
}

/* Fails: the order of clearing loses an event from another CPU;
 * the last write is not seen. */
static void no_kick_is_lost(void **state)
{
    const int bound =
        dgm_evtchn_bind_interdomain(&evtchn, REMOTE(GUEST, dgm_hv_guest_port(GUEST)), &a.task);
    evtchn_port_t port = (evtchn_port_t)bound;
    pthread_t thread;

    a.task.run = note_published;
    published = seen = 0;
    finished = false;
    assert_int_equal(pthread_create(&thread, NULL, publish_and_send, &port), 0);
    while (!__atomic_load_n(&finished, __ATOMIC_SEQ_CST))
        run_turn();
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++) /* the last interrupt, and the task that continues its dispatch */
        run_turn();
    assert_int_equal(seen, 200000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_reach_their_task),    TEST(virtual_interrupts_arrive),
        TEST(a_kick_while_the_task_runs), TEST(every_word_is_scanned),
        TEST(strays_are_masked),          TEST(masked_from_the_start),
        TEST(a_kick_at_any_moment),       TEST(close_and_bind_again),
        TEST(errors_are_no_ports),        TEST(no_kick_is_lost),
        TEST(a_storm_does_not_hold_us),   TEST(a_refused_event_is_sent_again),
        TEST(a_close_is_retried),         TEST(an_unmask_is_not_the_guests_fault),
    };

    return cmocka_run_group_tests_name("evtchn", tests, NULL, NULL);
}
