/* SPDX-License-Identifier: MIT */
/*
 * Proves: a turn fires exactly the timers that are due, each once, by deadline and then by the
 * order of arming; one that is armed by a handler fires in no turn before the next.
 * Over: three timers armed in any order with any deadlines, one perhaps disarmed, any time; the
 * first that fires arms itself again.
 *
 * sources: core/reactor.c
 * options: --unwind 6
 * planted: core/reactor.c s/deadline_ns <= deadline_ns\)/deadline_ns < deadline_ns)/
 * planted: core/reactor.c s/deadline_ns = reactor->firing_ns \+ 1;/deadline_ns = reactor->firing_ns;/
 * planted: core/reactor.c s/timers->deadline_ns <= reactor->firing_ns/timers->deadline_ns < reactor->firing_ns/
 * planted: core/reactor.c s/^    \*link = timer->next;/    *link = NULL;/
 */
#include "proof.h"

#include <dragoman/reactor.h>

#define TIMERS 3

struct dgm_reactor reactor;
struct dgm_timer timers[TIMERS];
uint64_t now_ns, deadline[TIMERS];
unsigned armed_as[TIMERS]; /* its place in the order of arming */
bool armed[TIMERS], fired[TIMERS];
int last = -1;

uint64_t dgm_env_now_ns(void)
{
    return now_ns;
}

static void fire(struct dgm_timer *timer)
{
    const int i = (int)(timer - timers);

    prove(armed[i] && !fired[i] && deadline[i] <= now_ns);
    prove(last < 0 || deadline[last] < deadline[i] ||
          (deadline[last] == deadline[i] && armed_as[last] < armed_as[i]));
    fired[i] = true;
    if (last < 0)
        dgm_timer_arm(&reactor, timer, any_u64());
    last = i;
}

int main(void)
{
    const unsigned start = any_u8() % TIMERS, off = any_u8();

    now_ns = any_u64();
    assume(now_ns < UINT64_MAX);
    dgm_reactor_init(&reactor);
    for (unsigned i = 0; i < TIMERS; i++) {
        const unsigned t = (start + i) % TIMERS;

        deadline[t] = any_u64();
        armed_as[t] = i;
        armed[t] = true;
        timers[t].fire = fire;
        dgm_timer_arm(&reactor, &timers[t], deadline[t]);
    }
    if (off < TIMERS) {
        dgm_timer_disarm(&reactor, &timers[off]);
        armed[off] = false;
    }
    (void)dgm_reactor_turn(&reactor);
    for (unsigned i = 0; i < TIMERS; i++)
        prove(fired[i] == (armed[i] && deadline[i] <= now_ns));
    prove(dgm_reactor_deadline_ns(&reactor) > now_ns);
    return 0;
}
