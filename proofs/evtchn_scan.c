/* SPDX-License-Identifier: MIT */
/*
 * Proves: a dispatch posts the task of every port that is pending, marked and not masked, and of no
 * other; a port of nobody's is masked, so that it cannot come again and again; nothing is read or
 * written beyond Xen's arrays, and the dispatch ends although the others never stop sending.
 * Over: any two words marked, any two bits in one and one in the other, any mask, upcalls that come
 * back at any moment; all 4,096 ports, of which one is bound.
 *
 * sources: core/evtchn.c
 * options: --unwind 7 --unwindset dgm_evtchn_init.0:65
 * defines: -DPROOF_OTHERS
 * planted: core/evtchn.c s/port < DGM_EVTCHN_PORTS && evtchn->task\[port\]/evtchn->task[port]/
 * planted: core/evtchn.c s/words &= words - 1/words = 0/
 * planted: core/evtchn.c s/if \(round == ROUNDS_MAX\)/if (round == 1000)/
 */
#include "proof.h"

#include <dragoman/evtchn.h>
#include <dragoman/hypercall.h>

struct dgm_evtchn evtchn;
struct shared_info shared;
struct vcpu_info vcpu;
struct dgm_task task;
bool posted, more;
unsigned upcalls;

long dgm_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
    return 0;
}

void dgm_reactor_post(struct dgm_reactor *reactor, struct dgm_task *which)
{
    prove(which == &task || which == &evtchn.more);
    if (which == &task)
        posted = true;
    else
        more = true;
}

void dgm_reactor_withdraw(struct dgm_reactor *reactor, struct dgm_task *which)
{
}

/* Somebody sends: the upcall is raised, with nothing new marked. */
void proof_others(void)
{
    if (any_bool())
        vcpu.evtchn_upcall_pending = 1;
}

static bool bit(const xen_ulong_t *words, unsigned port)
{
    return words[port / 64] >> port % 64 & 1;
}

int main(void)
{
    const unsigned word[2] = {any_u8() % 64, any_u8() % 64};
    const unsigned port[3] = {word[0] * 64 + any_u8() % 64, word[0] * 64 + any_u8() % 64,
                              word[1] * 64 + any_u8() % 64};
    const unsigned mine = any_u16() % DGM_EVTCHN_PORTS;
    bool masked[3], due = false;

    dgm_evtchn_init(&evtchn, NULL, &shared, &vcpu);
    evtchn.task[mine] = &task;
    for (int i = 0; i < 3; i++) {
        shared.evtchn_pending[port[i] / 64] |= 1ull << port[i] % 64;
        if (any_bool())
            shared.evtchn_mask[port[i] / 64] &= ~(1ull << port[i] % 64);
    }
    vcpu.evtchn_pending_sel = 1ull << word[0] | 1ull << word[1];
    vcpu.evtchn_upcall_pending = 1;
    for (int i = 0; i < 3; i++) {
        masked[i] = bit(shared.evtchn_mask, port[i]);
        due = due || (port[i] == mine && !masked[i]);
    }

    dgm_evtchn_dispatch(&evtchn);

    prove(posted == due);
    prove(more == (vcpu.evtchn_upcall_pending != 0));
    for (int i = 0; i < 3; i++) {
        prove(bit(shared.evtchn_pending, port[i]) == masked[i]);
        prove(port[i] == mine || bit(shared.evtchn_mask, port[i]));
    }
    return 0;
}
