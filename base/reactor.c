/* SPDX-License-Identifier: MIT */
/*
 * reactor: tasks in the order of posting, timers in the order of deadlines. See
 * dragoman/base/reactor.h.
 *
 * Two rules keep a turn bounded whatever the handlers do:
 *   - A turn queues its own mark behind the tasks that are posted when it begins, and ends when it
 *     dequeues the mark. A task posted meanwhile is behind the mark and runs in the next turn.
 *     Withdrawing any task does not move the mark.
 *   - A handler may arm a timer with a deadline in the past. The deadline becomes one nanosecond
 *     after the time for which the turn fires timers, so the timer fires in a later turn.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/reactor.h>

#include <string.h>

void dgm_reactor_init(struct dgm_reactor *reactor)
{
    memset(reactor, 0, sizeof *reactor);
}

static void append_task(struct dgm_reactor *reactor, struct dgm_task *task)
{
    task->posted = true;
    task->next = NULL;
    if (reactor->last)
        reactor->last->next = task;
    else
        reactor->first = task;
    reactor->last = task;
}

static struct dgm_task *remove_first_task(struct dgm_reactor *reactor)
{
    struct dgm_task *task = reactor->first;

    reactor->first = task->next;
    if (!reactor->first)
        reactor->last = NULL;
    task->next = NULL;
    task->posted = false;
    return task;
}

void dgm_reactor_post(struct dgm_reactor *reactor, struct dgm_task *task)
{
    dgm_assert(task->run);
    if (!task->posted)
        append_task(reactor, task);
}

void dgm_reactor_withdraw(struct dgm_reactor *reactor, struct dgm_task *task)
{
    struct dgm_task *before = NULL;
    struct dgm_task *at = reactor->first;

    if (!task->posted)
        return;
    while (at != task) {
        dgm_assert(at); /* else it was posted to another reactor */
        before = at;
        at = at->next;
    }
    if (before)
        before->next = task->next;
    else
        reactor->first = task->next;
    if (reactor->last == task)
        reactor->last = before;
    task->next = NULL;
    task->posted = false;
}

void dgm_timer_arm(struct dgm_reactor *reactor, struct dgm_timer *timer, uint64_t deadline_ns)
{
    struct dgm_timer **link = &reactor->timers;

    dgm_assert(timer->fire);
    dgm_timer_disarm(reactor, timer);
    if (reactor->firing && deadline_ns <= reactor->firing_ns)
        deadline_ns = reactor->firing_ns + 1;
    while (*link && (*link)->deadline_ns <= deadline_ns)
        link = &(*link)->next;
    timer->deadline_ns = deadline_ns;
    timer->next = *link;
    timer->armed = true;
    *link = timer;
}

void dgm_timer_disarm(struct dgm_reactor *reactor, struct dgm_timer *timer)
{
    struct dgm_timer **link = &reactor->timers;

    if (!timer->armed)
        return;
    while (*link != timer) {
        dgm_assert(*link); /* else it was armed on another reactor */
        link = &(*link)->next;
    }
    *link = timer->next;
    timer->next = NULL;
    timer->armed = false;
}

static void end_run(struct dgm_reactor *reactor)
{
    if (reactor->work > reactor->run_work_max)
        reactor->run_work_max = reactor->work;
    reactor->work = 0;
}

static void fire_due(struct dgm_reactor *reactor)
{
    if (!reactor->timers)
        return;
    reactor->firing = true;
    reactor->firing_ns = dgm_env_now_ns();
    while (reactor->timers && reactor->timers->deadline_ns <= reactor->firing_ns) {
        struct dgm_timer *timer = reactor->timers;

        reactor->timers = timer->next;
        timer->next = NULL;
        timer->armed = false;
        reactor->timers_fired++;
        timer->fire(timer);
        end_run(reactor);
    }
    reactor->firing = false;
}

bool dgm_reactor_turn(struct dgm_reactor *reactor)
{
    dgm_assert(!reactor->mark.posted && !reactor->firing); /* a turn within a turn */
    reactor->turns++;
    fire_due(reactor);
    if (!reactor->first)
        return false;
    append_task(reactor, &reactor->mark);
    for (;;) {
        struct dgm_task *task = remove_first_task(reactor);

        if (task == &reactor->mark)
            return reactor->first != NULL;
        reactor->tasks_run++;
        task->run(task);
        end_run(reactor);
    }
}

uint64_t dgm_reactor_deadline_ns(const struct dgm_reactor *reactor)
{
    return reactor->timers ? reactor->timers->deadline_ns : UINT64_MAX;
}

static size_t waiter_index(const struct dgm_waiters *waiters, const struct dgm_task *task)
{
    size_t i = 0;

    while (i < waiters->count && waiters->tasks[i] != task)
        i++;
    return i;
}

void dgm_waiters_add(struct dgm_waiters *waiters, struct dgm_task *task)
{
    if (waiter_index(waiters, task) < waiters->count)
        return;
    dgm_assert(waiters->count < sizeof waiters->tasks / sizeof waiters->tasks[0]);
    waiters->tasks[waiters->count++] = task;
}

void dgm_waiters_remove(struct dgm_waiters *waiters, struct dgm_task *task)
{
    const size_t i = waiter_index(waiters, task);

    if (i == waiters->count)
        return;
    waiters->count--;
    memmove(&waiters->tasks[i], &waiters->tasks[i + 1],
            (waiters->count - i) * sizeof waiters->tasks[0]);
}

void dgm_waiters_wake(struct dgm_waiters *waiters, struct dgm_reactor *reactor)
{
    const size_t count = waiters->count;

    waiters->count = 0;
    for (size_t i = 0; i < count; i++)
        dgm_reactor_post(reactor, waiters->tasks[i]);
}
