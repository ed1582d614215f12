/* SPDX-License-Identifier: MIT */
/*
 * schedule: shares the server's work between guests, and bounds it per turn of the reactor
 *
 * A connection that has work is queued. In a turn of the reactor connections are served from the
 * front of the queue, each at most once, until the turn's budget is spent (DGM_XS_WORK_PER_TURN
 * units). A connection is served until it has used its own budget (DGM_XS_WORK_PER_GUEST), then
 * moves to the end of the queue if it has more work. So a guest that floods the server waits behind
 * all others, and the disks' tasks, which run in the same turns, lose the same small time to
 * xenstore however many guests flood it.
 *
 * A request cannot be interrupted, so it may exceed the budgets; the excess is then deducted from
 * both budgets in the next turns. So over any number of turns the server does at most the budget of
 * these turns and one request, and for one guest at most that guest's budget and one request.
 *
 * A guest that has ended may leave a committed transaction whose events are not all queued. It is
 * an orphan, served like a connection.
 */
#ifndef XENSTORE_SCHEDULE_H
#define XENSTORE_SCHEDULE_H

#include "connection.h"

struct dgm_xs_schedule {
    struct dgm_xs_domain *first, *last; /* the queue */
    struct dgm_xs_transaction *orphans;
    struct dgm_task task; /* continues in the next turn */
    uint64_t turn;        /* of the reactor, to which `budget` belongs */
    uint64_t spent;       /* units in this turn */
    int64_t budget;       /* units left; negative: a debt */
};

void dgm_xs_schedule_init(struct dgm_xenstore *xs);

/* Queues the connection, which may have work, and serves the queue within the budget. */
void dgm_xs_schedule_ready(struct dgm_xenstore *xs, struct dgm_xs_domain *domain);
/* Removes the connection from the queue, before it is closed. */
void dgm_xs_schedule_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain);
/* Takes over a committed transaction whose guest has ended. */
void dgm_xs_schedule_orphan(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction);

#endif
