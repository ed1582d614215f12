/* SPDX-License-Identifier: MIT */
/*
 * reactor: one run-to-completion loop per vCPU
 *
 * Everything that Dragoman does is a task or a timer of some reactor. A task is posted when there
 * is work (an event channel fired, a completion arrived, a budget was returned); it runs once for
 * each time that it was posted before it ran, does a bounded piece, and posts itself again if there
 * is more. Tasks run in the order of posting, so whoever posts himself again stands behind everyone
 * else: nobody starves.
 *
 * Nothing is shared between reactors, nothing here locks, blocks or allocates: tasks and timers are
 * members of their owners. A dozen tasks wait at a time, a few hundred timers exist; arming a timer
 * is linear in the timers that are armed.
 */
#ifndef DRAGOMAN_BASE_REACTOR_H
#define DRAGOMAN_BASE_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_task {
    void (*run)(struct dgm_task *task); /* set by the owner before the first post */
    struct dgm_task *next;
    bool posted;
};

struct dgm_timer {
    void (*fire)(struct dgm_timer *timer); /* set by the owner before arming */
    uint64_t deadline_ns;                  /* in dgm_env_now_ns()'s time */
    struct dgm_timer *next;
    bool armed;
};

struct dgm_reactor {
    struct dgm_task *first, *last; /* posted tasks, oldest first */
    struct dgm_timer *timers;      /* armed timers, soonest first */
    struct dgm_task mark;          /* the end of the turn under way */
    bool firing;                   /* timers are being fired, */
    uint64_t firing_ns;            /* at this moment */
    uint64_t turns, tasks_run, timers_fired;
};

/* A list of tasks that wait for something scarce (slots, bounce buffers, device queue entries). */
struct dgm_waiters {
    struct dgm_task *tasks[64];
    size_t count;
};

void dgm_reactor_init(struct dgm_reactor *reactor);

/* Runs `task` in a later turn. Posting a posted task changes nothing. */
void dgm_reactor_post(struct dgm_reactor *reactor, struct dgm_task *task);

/* Takes back a posted task, before its owner goes away. Nothing if it is not posted. */
void dgm_reactor_withdraw(struct dgm_reactor *reactor, struct dgm_task *task);

/* Fires once at or after `deadline_ns`. Arming an armed timer moves it. Armed by a timer's own
 * handler it never fires in the same turn. */
void dgm_timer_arm(struct dgm_reactor *reactor, struct dgm_timer *timer, uint64_t deadline_ns);
void dgm_timer_disarm(struct dgm_reactor *reactor, struct dgm_timer *timer);

/*
 * Fires the timers that are due and runs the tasks that were posted when the turn began, each once.
 * True if there is more to do at once (tasks posted meanwhile).
 */
bool dgm_reactor_turn(struct dgm_reactor *reactor);

/* When the soonest timer is due, or UINT64_MAX. */
uint64_t dgm_reactor_deadline_ns(const struct dgm_reactor *reactor);

/*
 * Remembers that `task` waits; dgm_waiters_wake() posts all that wait and forgets them. Adding
 * twice changes nothing. Asserts: no more than the table holds (64 disks is the limit that the
 * domain states).
 */
void dgm_waiters_add(struct dgm_waiters *waiters, struct dgm_task *task);
void dgm_waiters_remove(struct dgm_waiters *waiters, struct dgm_task *task);
void dgm_waiters_wake(struct dgm_waiters *waiters, struct dgm_reactor *reactor);

#ifdef __cplusplus
}
#endif

#endif
