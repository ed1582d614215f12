/* SPDX-License-Identifier: MIT */
/* schedule: see schedule.h. */
#include "store.h"

#include <dragoman/base/check.h>

static void queue_add(struct dgm_xs_schedule *schedule, struct dgm_xs_domain *domain)
{
    domain->queued = true;
    domain->queue_next = NULL;
    if (schedule->last)
        schedule->last->queue_next = domain;
    else
        schedule->first = domain;
    schedule->last = domain;
}

void dgm_xs_schedule_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain)
{
    struct dgm_xs_schedule *const schedule = &xs->schedule;
    struct dgm_xs_domain *before = NULL, *at = schedule->first;

    if (!domain->queued)
        return;
    while (at != domain) {
        before = at;
        at = at->queue_next;
    }
    if (before)
        before->queue_next = domain->queue_next;
    else
        schedule->first = domain->queue_next;
    if (schedule->last == domain)
        schedule->last = before;
    domain->queued = false;
}

static int64_t refill_budget(int64_t budget, int64_t units)
{
    return budget < 0 ? budget + units : units;
}

/* Charges the work since `start`. */
static void account_work(struct dgm_xenstore *xs, uint64_t start)
{
    struct dgm_xs_schedule *const schedule = &xs->schedule;
    const uint64_t spent = xs->heap.work - start;

    schedule->budget -= (int64_t)spent;
    schedule->spent += spent;
    if (schedule->spent > xs->counters.work_turn_max)
        xs->counters.work_turn_max = schedule->spent;
}

static void serve_orphan(struct dgm_xenstore *xs)
{
    struct dgm_xs_transaction *const orphan = xs->schedule.orphans;
    const uint64_t start = xs->heap.work;

    if (dgm_xs_transaction_announce(xs, orphan, DGM_XS_WORK_PER_GUEST)) {
        xs->schedule.orphans = orphan->next;
        xs->heap.accounts[orphan->account].transactions--;
        dgm_xs_transaction_end(xs, orphan);
    }
    account_work(xs, start);
}

/* Serves the first connection of the queue. */
static void serve_first(struct dgm_xenstore *xs)
{
    struct dgm_xs_schedule *const schedule = &xs->schedule;
    struct dgm_xs_domain *const domain = schedule->first;
    const uint64_t start = xs->heap.work;
    bool more = true;

    dgm_xs_schedule_remove(xs, domain);
    domain->turn = schedule->turn;
    domain->budget = refill_budget(domain->budget, DGM_XS_WORK_PER_GUEST);
    if (domain->budget > 0) {
        more = dgm_xs_connection_serve(domain, (uint64_t)domain->budget);
        domain->budget -= (int64_t)(xs->heap.work - start);
        account_work(xs, start);
    }
    if (more)
        queue_add(schedule, domain);
}

static void schedule_serve(struct dgm_xenstore *xs)
{
    struct dgm_xs_schedule *const schedule = &xs->schedule;
    const uint64_t turn = xs->reactor->turns;

    if (schedule->turn != turn) {
        schedule->turn = turn;
        schedule->spent = 0;
        schedule->budget = refill_budget(schedule->budget, DGM_XS_WORK_PER_TURN);
        if (schedule->orphans && schedule->budget > 0)
            serve_orphan(xs);
    }
    while (schedule->budget > 0 && schedule->first && schedule->first->turn != turn)
        serve_first(xs);
    if (schedule->first || schedule->orphans)
        dgm_reactor_post(xs->reactor, &schedule->task);
}

static void schedule_run(struct dgm_task *task)
{
    schedule_serve(dgm_container(task, struct dgm_xenstore, schedule.task));
}

void dgm_xs_schedule_init(struct dgm_xenstore *xs)
{
    xs->schedule.task.run = schedule_run;
    xs->schedule.turn = UINT64_MAX;
}

void dgm_xs_schedule_ready(struct dgm_xenstore *xs, struct dgm_xs_domain *domain)
{
    if (!domain->queued)
        queue_add(&xs->schedule, domain);
    schedule_serve(xs);
}

void dgm_xs_schedule_orphan(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction)
{
    transaction->next = xs->schedule.orphans;
    xs->schedule.orphans = transaction;
    dgm_reactor_post(xs->reactor, &xs->schedule.task);
}
