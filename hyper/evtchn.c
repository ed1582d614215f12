/* SPDX-License-Identifier: MIT */
/*
 * evtchn: the 2-level scan, and binding. See dragoman/hyper/evtchn.h.
 *
 * An event, step by step:
 *   1. Xen sets the port's pending bit. If the port is not masked, Xen sets its word's bit in the
 *      selector, then upcall_pending; if that was 0, Xen raises the interrupt.
 *   2. The dispatch clears upcall_pending, then takes the selector. A word that Xen marks between
 *      the two steps sets upcall_pending again, so it is found in a later round and never lost.
 *   3. The dispatch clears each pending bit, then posts the port's task. An event after the
 *      clearing sets the bit again and is found in a later round. An event before the clearing is
 *      served by this posting, because the task reads the ring only later.
 *   4. The dispatch repeats from step 2 while upcall_pending is set. Guests that send events
 *      without pause would otherwise keep the dispatch in step 4 permanently. So after
 *      ROUNDS_MAX rounds a task of our own continues the dispatch. It is queued behind the tasks
 *      just posted, which therefore run first.
 *
 * All ports are masked from init on. The bind functions unmask a port by the hypercall, not by
 * clearing the bit: only the hypercall raises an event that became pending while the port was
 * masked.
 *
 * Sending returns 0 on Xen also where the peer has closed its end or has not yet bound it. So an
 * error is not the guest's, and the event would be lost: it is sent again.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/pause.h>
#include <dragoman/hyper/evtchn.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/base/status.h>

#include <port/arch.h>
#include <port/env.h>

#include <string.h>

#define WORD_BITS  64u
#define WORDS      64u
#define ROUNDS_MAX 4

static const struct dgm_pauses resend_pauses = {.first_ns = 1000000, .last_ns = 1024000000};

_Static_assert(sizeof(xen_ulong_t) == sizeof(uint64_t), "the 64-bit ABI");

static volatile uint64_t *word_at(xen_ulong_t *words, evtchn_port_t port)
{
    return (volatile uint64_t *)&words[port / WORD_BITS];
}

static bool bit_at(const xen_ulong_t *words, evtchn_port_t port)
{
    return *(const volatile uint64_t *)&words[port / WORD_BITS] >> (port % WORD_BITS) & 1;
}

struct dgm_evtchn_bits dgm_evtchn_bits(const struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    dgm_assert(port < DGM_EVTCHN_PORTS);
    return (struct dgm_evtchn_bits){.pending = bit_at(evtchn->shared->evtchn_pending, port),
                                    .masked = bit_at(evtchn->shared->evtchn_mask, port)};
}

static void continue_dispatch(struct dgm_task *task)
{
    dgm_evtchn_dispatch(dgm_container(task, struct dgm_evtchn, continuation));
}

static bool own_call_succeeds(unsigned command, void *op, long *result)
{
    *result = dgm_event_channel_op(command, op);
    return dgm_xen_call_meaning(DGM_XEN_CALL_OWN, *result) == DGM_XEN_OK;
}

/* --- sending --- */

static bool send_event(struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    struct evtchn_send send = {.port = port};
    long result;

    if (own_call_succeeds(EVTCHNOP_send, &send, &result))
        return true;
    dgm_log_limited(&evtchn->log, "Xen: an event is not sent (port %u, error %ld); it is retried",
                    port, result);
    return false;
}

static void resend_events(struct dgm_timer *timer)
{
    struct dgm_evtchn *evtchn = dgm_container(timer, struct dgm_evtchn, resend);
    bool left = false;

    for (unsigned word = 0; word < DGM_EVTCHN_PORTS / WORD_BITS; word++)
        for (uint64_t bits = evtchn->unsent[word]; bits; bits &= bits - 1) {
            if (send_event(evtchn, word * WORD_BITS + (unsigned)__builtin_ctzll(bits)))
                evtchn->unsent[word] ^= bits & -bits;
            else
                left = true;
        }
    if (!left) {
        evtchn->resend_pause_ns = 0;
        return;
    }
    evtchn->resend_pause_ns = dgm_pause_next_ns(resend_pauses, evtchn->resend_pause_ns);
    dgm_timer_arm(evtchn->reactor, timer, dgm_env_now_ns() + evtchn->resend_pause_ns);
}

void dgm_evtchn_send(struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    dgm_assert(port < DGM_EVTCHN_PORTS && evtchn->task[port]);
    evtchn->sent++;
    if (send_event(evtchn, port))
        return;
    evtchn->unsent[port / WORD_BITS] |= (uint64_t)1 << (port % WORD_BITS);
    if (evtchn->resend.armed)
        return;
    evtchn->resend_pause_ns = resend_pauses.first_ns;
    dgm_timer_arm(evtchn->reactor, &evtchn->resend, dgm_env_now_ns() + evtchn->resend_pause_ns);
}

/* --- binding --- */

void dgm_evtchn_init(struct dgm_evtchn *evtchn, struct dgm_reactor *reactor,
                     struct shared_info *shared, struct vcpu_info *vcpu)
{
    memset(evtchn, 0, sizeof *evtchn);
    evtchn->reactor = reactor;
    evtchn->shared = shared;
    evtchn->vcpu = vcpu;
    evtchn->continuation.run = continue_dispatch;
    evtchn->resend.fire = resend_events;
    for (evtchn_port_t word = 0; word < WORDS; word++)
        (void)dgm_arch_swap64(word_at(shared->evtchn_mask, word * WORD_BITS), UINT64_MAX);
}

static void close_port(struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    struct evtchn_close close = {.port = port};
    long result;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES; tries++)
        if (own_call_succeeds(EVTCHNOP_close, &close, &result))
            return;
    dgm_log_limited(&evtchn->log, "Xen: port %u is not closed (error %ld): it is lost", port,
                    result);
}

/* An error for the unmasking is about a port of ours, so it is no error for the binding. */
static int attach_task(struct dgm_evtchn *evtchn, evtchn_port_t port, struct dgm_task *task)
{
    struct evtchn_unmask unmask = {.port = port};
    long result;

    dgm_assert(task->run);
    if (port >= DGM_EVTCHN_PORTS) {
        close_port(evtchn, port);
        return DGM_ENOSPC;
    }
    dgm_assert(!evtchn->task[port]);
    evtchn->task[port] = task;
    if (own_call_succeeds(EVTCHNOP_unmask, &unmask, &result))
        return (int)port;
    dgm_log_limited(&evtchn->log, "Xen: port %u is not unmasked (error %ld); it is retried", port,
                    result);
    evtchn->task[port] = NULL; /* a masked port delivers no event */
    close_port(evtchn, port);
    return DGM_EAGAIN;
}

int dgm_evtchn_bind_interdomain(struct dgm_evtchn *evtchn, struct dgm_evtchn_remote remote,
                                struct dgm_task *task)
{
    struct evtchn_bind_interdomain bind = {.remote_dom = remote.domid, .remote_port = remote.port};
    const long result = dgm_event_channel_op(EVTCHNOP_bind_interdomain, &bind);

    return result < 0 ? (int)result : attach_task(evtchn, bind.local_port, task);
}

int dgm_evtchn_bind_virq(struct dgm_evtchn *evtchn, uint32_t virq, struct dgm_task *task)
{
    struct evtchn_bind_virq bind = {.virq = virq, .vcpu = 0};
    long result = DGM_EAGAIN;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES; tries++)
        if (own_call_succeeds(EVTCHNOP_bind_virq, &bind, &result))
            return attach_task(evtchn, bind.port, task);
    return (int)result;
}

void dgm_evtchn_close(struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    dgm_assert(port < DGM_EVTCHN_PORTS && evtchn->task[port]);
    dgm_arch_set_bit64(word_at(evtchn->shared->evtchn_mask, port), port % WORD_BITS);
    close_port(evtchn, port);
    dgm_reactor_withdraw(evtchn->reactor, evtchn->task[port]);
    evtchn->task[port] = NULL;
    evtchn->unsent[port / WORD_BITS] &= ~((uint64_t)1 << (port % WORD_BITS));
}

static void deliver_event(struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    dgm_arch_clear_bit64(word_at(evtchn->shared->evtchn_pending, port), port % WORD_BITS);
    if (port < DGM_EVTCHN_PORTS && evtchn->task[port]) {
        evtchn->delivered++;
        dgm_reactor_post(evtchn->reactor, evtchn->task[port]);
    } else {
        evtchn->stray++;
        dgm_arch_set_bit64(word_at(evtchn->shared->evtchn_mask, port), port % WORD_BITS);
    }
}

static void scan_word(struct dgm_evtchn *evtchn, unsigned word)
{
    const evtchn_port_t first = word * WORD_BITS;
    uint64_t bits = *word_at(evtchn->shared->evtchn_pending, first) &
                    ~*word_at(evtchn->shared->evtchn_mask, first);

    for (; bits; bits &= bits - 1)
        deliver_event(evtchn, first + (unsigned)__builtin_ctzll(bits));
}

void dgm_evtchn_dispatch(struct dgm_evtchn *evtchn)
{
    volatile uint8_t *const upcall = (volatile uint8_t *)&evtchn->vcpu->evtchn_upcall_pending;

    for (int round = 0; *upcall; round++) {
        uint64_t words;

        if (round == ROUNDS_MAX) {
            dgm_reactor_post(evtchn->reactor, &evtchn->continuation);
            return;
        }
        *upcall = 0;
        dgm_arch_mb(); /* cleared before the selector is taken */
        words = dgm_arch_swap64((volatile uint64_t *)&evtchn->vcpu->evtchn_pending_sel, 0);
        for (; words; words &= words - 1)
            scan_word(evtchn, (unsigned)__builtin_ctzll(words));
    }
}
