/* SPDX-License-Identifier: MIT */
/*
 * schedule: shares the server's work between guests, and bounds it per turn of the reactor
 *
 * A connection that has something to do is queued. In a turn of the reactor connections are served
 * from the front of the queue, each at most once, until the turn's budget is spent
 * (DGM_XS_WORK_PER_TURN units). A connection is served until it has used its own budget
 * (DGM_XS_WORK_PER_GUEST), then goes to the end of the queue if it has more to do. So a guest that
 * floods the server waits behind all others, and the disks' tasks, which run in the same turns,
 * lose the same small time to xenstore however many guests flood it.
 *
 * A request cannot be interrupted, so it may exceed the budgets; both then carry a debt into the
 * next turns. So over any number of turns the server does no more than the budget of these turns
 * and one request, and no more of it for one guest than that guest's budget and one request.
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
    struct dgm_task task; /* the next turn's part */
    uint64_t turn;        /* of the reactor, that `budget` is for */
    uint64_t spent;       /* units in this turn */
    int64_t budget;       /* units left; negative: a debt */
};

void dgm_xs_schedule_init(struct dgm_xenstore *xs);

/* The connection may have something to do: queues it, and serves the queue within the budget. */
void dgm_xs_schedule_ready(struct dgm_xenstore *xs, struct dgm_xs_domain *domain);
/* Takes the connection off the queue, before it is closed. */
void dgm_xs_schedule_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain);
/* The transaction is committed, and its guest has ended. */
void dgm_xs_schedule_orphan(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction);

#endif
