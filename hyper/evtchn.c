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
 * ROUNDS_MAX rounds a task of our own continues the dispatch. It is queued behind the tasks just
 * posted, which therefore run first.
 *
 * All ports are masked from init on. The bind functions unmask a port by the hypercall, not by
 * clearing the bit: only the hypercall raises an event that became pending while the port was
 * masked.
 */
#include <dragoman/base/check.h>
#include <dragoman/hyper/evtchn.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/status.h>

#include <port/arch.h>

#include <string.h>

#define WORD_BITS  64u
#define WORDS      64u
#define ROUNDS_MAX 4

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

void dgm_evtchn_init(struct dgm_evtchn *evtchn, struct dgm_reactor *reactor,
                     struct shared_info *shared, struct vcpu_info *vcpu)
{
    memset(evtchn, 0, sizeof *evtchn);
    evtchn->reactor = reactor;
    evtchn->shared = shared;
    evtchn->vcpu = vcpu;
    evtchn->continuation.run = continue_dispatch;
    for (evtchn_port_t word = 0; word < WORDS; word++)
        (void)dgm_arch_swap64(word_at(shared->evtchn_mask, word * WORD_BITS), UINT64_MAX);
}

static int attach_task(struct dgm_evtchn *evtchn, evtchn_port_t port, struct dgm_task *task)
{
    struct evtchn_unmask unmask = {.port = port};
    struct evtchn_close close = {.port = port};
    long result = DGM_ENOSPC;

    dgm_assert(task->run);
    if (port < DGM_EVTCHN_PORTS) {
        dgm_assert(!evtchn->task[port]);
        evtchn->task[port] = task;
        result = dgm_event_channel_op(EVTCHNOP_unmask, &unmask);
        if (result == 0)
            return (int)port;
        evtchn->task[port] = NULL; /* a masked port delivers no event */
    }
    (void)dgm_event_channel_op(EVTCHNOP_close, &close);
    return (int)result;
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
    const long result = dgm_event_channel_op(EVTCHNOP_bind_virq, &bind);

    return result < 0 ? (int)result : attach_task(evtchn, bind.port, task);
}

void dgm_evtchn_close(struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    struct evtchn_close close = {.port = port};

    dgm_assert(port < DGM_EVTCHN_PORTS && evtchn->task[port]);
    dgm_arch_set_bit64(word_at(evtchn->shared->evtchn_mask, port), port % WORD_BITS);
    (void)dgm_event_channel_op(EVTCHNOP_close, &close);
    dgm_reactor_withdraw(evtchn->reactor, evtchn->task[port]);
    evtchn->task[port] = NULL;
}

void dgm_evtchn_send(struct dgm_evtchn *evtchn, evtchn_port_t port)
{
    struct evtchn_send send = {.port = port};

    evtchn->sent++;
    /* On an error the peer has closed its end or not yet bound it, so it waits for no event. */
    (void)dgm_event_channel_op(EVTCHNOP_send, &send);
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
