/* SPDX-License-Identifier: MIT */
/*
 * Proves: a turn fires exactly the timers that are due, each once, by deadline and then by the
 * order of arming; a timer that a handler arms does not fire before the next turn.
 * Over: two timers with any of four deadlines, one of them possibly disarmed, any of four times;
 * the first that fires arms itself again.
 *
 * sources: base/reactor.c
 * options: --unwind 4
 * planted: base/reactor.c s/deadline_ns = reactor->firing_ns \+ 1;/deadline_ns = reactor->firing_ns;/
 * planted: base/reactor.c s/^    \*link = timer->next;/    *link = NULL;/
 */
#include "proof.h"

#include <dragoman/base/reactor.h>

#define TIMERS 2

struct dgm_reactor reactor;
struct dgm_timer timers[TIMERS];
uint64_t now_ns, deadline[TIMERS]; /* armed in the order of their numbers */
bool armed[TIMERS], fired[TIMERS];
int last = -1;

uint64_t dgm_env_now_ns(void)
{
    return now_ns;
}

static void timer_fired(struct dgm_timer *timer)
{
    const int i = (int)(timer - timers);

    prove(armed[i] && !fired[i] && deadline[i] <= now_ns);
    prove(last < 0 || deadline[last] < deadline[i] || (deadline[last] == deadline[i] && last < i));
    fired[i] = true;
    if (last < 0)
        dgm_timer_arm(&reactor, timer, any_u8() % 4);
    last = i;
}

int main(void)
{
    const unsigned off = any_u8();

    now_ns = any_u8() % 4;
    dgm_reactor_init(&reactor);
    for (unsigned t = 0; t < TIMERS; t++) {
        deadline[t] = any_u8() % 4;
        armed[t] = true;
        timers[t].fire = timer_fired;
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
