/* SPDX-License-Identifier: MIT */
/*
 * reactor: one run-to-completion loop per vCPU
 *
 * Everything that Dragoman does is a task or a timer of a reactor. A task is posted when there is
 * work for it: an event channel fired, a completion arrived, a budget was returned. However often
 * it is posted before it runs, it runs once. It does a bounded piece of its work, and posts itself
 * again if there is more.
 *
 * Tasks run in the order of posting. A task that posts itself again is queued behind every task
 * that is already posted, so each posted task runs after at most one run of every other: no task
 * starves.
 *
 * Reactors share nothing. No function here locks, blocks or allocates: tasks and timers are members
 * of their owners' structures. Expect a dozen posted tasks at a time and a few hundred timers;
 * arming a timer is linear in the number of armed timers.
 */
#ifndef DRAGOMAN_BASE_REACTOR_H
#define DRAGOMAN_BASE_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Other rooms use `run`, `posted`; the rest is base's own. */
struct dgm_task {
    void (*run)(struct dgm_task *task); /* set by the owner before the first post */
    struct dgm_task *next;
    bool posted;
};

/* Other rooms use `fire`, `deadline_ns`, `armed`; the rest is base's own. */
struct dgm_timer {
    void (*fire)(struct dgm_timer *timer); /* set by the owner before arming */
    uint64_t deadline_ns;                  /* in dgm_env_now_ns()'s time */
    struct dgm_timer *next;
    bool armed;
};

/*
 * Work is counted in units of about 250 instructions. What takes time in a task, or in a timer's
 * handler, adds its work; a loop ends when the work since its start is spent, and the task posts
 * itself again. So a run is bounded by its loops, and by one step of each, whatever guests and
 * devices do.
 */
#define DGM_RUN_WORK 84u /* about 20,000 instructions */

/* Other rooms use the counters `turns`, `tasks_run`, `timers_fired`, `run_work_max`; the rest is
 * base's own. */
struct dgm_reactor {
    struct dgm_task *first, *last; /* posted tasks, oldest first */
    struct dgm_timer *timers;      /* armed timers, soonest first */
    struct dgm_task mark;          /* queued behind the last task of the current turn */
    bool firing;                   /* due timers are being fired: those with deadlines up to */
    uint64_t firing_ns;            /* this time */
    uint32_t work;                 /* of the task or the handler that runs */
    uint32_t run_work_max;
    uint64_t turns, tasks_run, timers_fired;
};

/* Tasks that wait for something scarce: slots, bounce buffers, entries of a device's queue. All of
 * it is base's own. */
struct dgm_waiters {
    struct dgm_task *tasks[64];
    size_t count;
};

void dgm_reactor_init(struct dgm_reactor *reactor);

/* Runs `task` in a later turn. Posting a posted task changes nothing. */
void dgm_reactor_post(struct dgm_reactor *reactor, struct dgm_task *task);

/* Removes a posted task from the queue, before its owner's memory is reused. No effect on a task
 * that is not posted. */
void dgm_reactor_withdraw(struct dgm_reactor *reactor, struct dgm_task *task);

/* Fires once, at or after `deadline_ns`. Arming an armed timer moves its deadline. A timer that a
 * timer's handler arms fires in a later turn, whatever its deadline. */
void dgm_timer_arm(struct dgm_reactor *reactor, struct dgm_timer *timer, uint64_t deadline_ns);
void dgm_timer_disarm(struct dgm_reactor *reactor, struct dgm_timer *timer);

/*
 * Fires the timers that are due, then runs each task that is posted by then, once. True: tasks were
 * posted meanwhile, so the next turn already has work.
 */
bool dgm_reactor_turn(struct dgm_reactor *reactor);

/* Adds to the work of the task or handler that runs. */
static inline void dgm_reactor_work(struct dgm_reactor *reactor, uint32_t units)
{
    reactor->work += units;
}

/* The work so far of the task or handler that runs: where a loop starts. */
static inline uint32_t dgm_reactor_worked(const struct dgm_reactor *reactor)
{
    return reactor->work;
}

/* Whether the work since `start` is spent, so that a loop that began there ends. */
static inline bool dgm_reactor_spent(const struct dgm_reactor *reactor, uint32_t start)
{
    return reactor->work - start >= DGM_RUN_WORK;
}

/* The deadline of the soonest timer, or UINT64_MAX. */
uint64_t dgm_reactor_deadline_ns(const struct dgm_reactor *reactor);

/*
 * Adds `task` to the list; dgm_waiters_wake() posts every task of the list and empties it. Adding a
 * task twice changes nothing. Asserts that the list has room (64 disks is the documented limit of
 * the domain).
 */
void dgm_waiters_add(struct dgm_waiters *waiters, struct dgm_task *task);
void dgm_waiters_remove(struct dgm_waiters *waiters, struct dgm_task *task);
void dgm_waiters_wake(struct dgm_waiters *waiters, struct dgm_reactor *reactor);

#ifdef __cplusplus
}
#endif

#endif
