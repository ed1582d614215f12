/* SPDX-License-Identifier: MIT */
/*
 * share: how the devices share a scarce resource, so that none keeps another from its disk
 *
 * A resource is a number of equal units: request records of one class, command records, the slots
 * or copy buffers of one guest. Each device that uses it has a share with a minimum, fixed when the
 * device is created. Units are not assigned to shares; only their numbers count.
 *
 * The rule. Let `promised` be the sum over all shares of what each may still take within its
 * minimum, and rest = total - used - promised. Taking within a minimum does not change the rest.
 *
 *   1. Within its minimum a share may always take, whichever shares are queued.
 *   2. Beyond its minimum a share may take `extra` units if all of these hold, with the rest as it
 *      is before: extra <= rest; its own extras together are at most rest; the extras of all
 *      devices of its guest together are at most 2 * rest. A resource with only one share has no
 *      such limit.
 *   3. Among waiters that rule 2 admits, the one that has waited longest takes first, and a device
 *      that is not queued takes after all of them.
 *
 * Why a device always makes progress on a healthy disk, whatever other guests and devices hold:
 * a share is created only if the sum of all minimums stays within the total, and rule 2 leaves
 * `promised` free, so used + promised <= total always holds (a share that is created while others
 * have extras has its minimum as soon as these return them). A share that holds nothing therefore
 * finds its whole minimum free. A device that waits holds some units, or wants more than its
 * minimum (which no single request does). The units that it holds are returned when its own disk
 * completes their requests; no other disk has to do anything.
 *
 * Why the rest is shared fairly: a single heavy user gets half of the units beyond all minimums,
 * two get a third each, n get 1/(n + 1) each, and the same number stays free for the next heavy
 * user. One guest with many devices gets at most two thirds. Beyond the minimums nothing is
 * reserved for an idle guest.
 *
 * Kept units. A run of a device's task takes units ahead, as many as the rule would admit one by
 * one, and keeps those that its records return, so that it applies the rule once and not for each
 * request. Kept units count as used. While any share is queued none is kept. At its end a run
 * returns them all, so no other device sees them; but those that records return between two runs,
 * for which the next run is posted, are kept until that one.
 *
 * Costs: of kept units eight instructions to take and to keep; within a minimum, without waiters, a
 * dozen instructions to take and to give; beyond it three dozen; with waiters linear in their
 * number, at most one for each device (64).
 */
#ifndef BLOCK_SHARE_H
#define BLOCK_SHARE_H

#include <dragoman/base/check.h>
#include <dragoman/block/blkback.h>

void dgm_blkback_resource_init(struct dgm_blkback_resource *resource, struct dgm_reactor *reactor,
                               uint32_t total);

/* Adds a share. `guest_extra`: the count of units that all devices of its guest have beyond their
 * minimums, or NULL if the resource is one guest's. `task`: the device's. DGM_ENOSPC: the sum of
 * the minimums would exceed the total. */
int dgm_blkback_share_init(struct dgm_blkback_share *share, struct dgm_blkback_resource *resource,
                           uint32_t minimum, uint32_t *guest_extra, struct dgm_task *task);

/* Removes a share. Asserts: it holds nothing. No effect if it was never initialised. */
void dgm_blkback_share_end(struct dgm_blkback_share *share);

/* Taking beyond the minimum, and returning while any share waits or has extras: share.c. */
bool dgm_blkback_share_take_extra(struct dgm_blkback_share *share, uint32_t count);
void dgm_blkback_share_give_extra(struct dgm_blkback_share *share, uint32_t count);

/* Returns the kept units, as dgm_blkback_share_give(). */
void dgm_blkback_share_give_kept(struct dgm_blkback_share *share);

/*
 * Takes `count` units by the rule. Otherwise queues the share and returns false: its task is posted
 * when the rule may admit it. A queued share that takes within its minimum keeps its entry in the
 * queue; otherwise the share whose own units return first would always be the first to get the
 * rest. So a device that wants no more has to leave.
 */
static inline bool dgm_blkback_share_take(struct dgm_blkback_share *share, uint32_t count)
{
    struct dgm_blkback_resource *resource = share->resource;

    if (share->kept >= count && !resource->queue.first) {
        share->kept -= count;
        return true;
    }
    if (share->kept)
        dgm_blkback_share_give_kept(share);
    if (share->used + count > share->minimum || resource->rest < 0)
        return dgm_blkback_share_take_extra(share, count);
    share->used += count;
    resource->used += count;
    return true;
}

/* Returns `count` units, and posts the tasks of this share and of the first waiter, if the rule
 * admits them. */
static inline void dgm_blkback_share_give(struct dgm_blkback_share *share, uint32_t count)
{
    struct dgm_blkback_resource *resource = share->resource;

    dgm_assert(count <= share->used);
    if (share->used > share->minimum || resource->queue.first) {
        dgm_blkback_share_give_extra(share, count);
        return;
    }
    share->used -= count;
    resource->used -= count;
}

/* Keeps `count` units, which a record returns, for the next records of the device; returns them if
 * any share waits. The device's task is posted or runs; its run ends by
 * dgm_blkback_share_give_kept(). */
static inline void dgm_blkback_share_keep(struct dgm_blkback_share *share, uint32_t count)
{
    if (share->resource->queue.first)
        dgm_blkback_share_give(share, count);
    else
        share->kept += count;
}

/*
 * Returns units that were taken just now and are not used after all, because another resource is
 * short. Unlike dgm_blkback_share_give() it does not post the share's own task: that would take and
 * return the same units again in every turn, until the other resource has room.
 */
void dgm_blkback_share_undo(struct dgm_blkback_share *share, uint32_t count);

/* Leaves the queue, if the share is queued; a waiter that the rule admits is woken. */
void dgm_blkback_share_leave(struct dgm_blkback_share *share);

/* True if nothing is taken and no share waits. */
bool dgm_blkback_resource_idle(const struct dgm_blkback_resource *resource);

/* Asserts the assumptions of the argument above, for a share and its resource. */
void dgm_blkback_share_check(const struct dgm_blkback_share *share);

/* --- plain queues: first come, first served --- */

/* True if no other waiter is before `waiter`, queued or not. */
static inline bool dgm_blkback_queue_admits(const struct dgm_blkback_queue *queue,
                                            const struct dgm_blkback_waiter *waiter)
{
    return !queue->first || queue->first == waiter;
}

/* Queues `waiter`, if it is not in this queue already. Asserts: it is in no other one. */
void dgm_blkback_queue_join(struct dgm_blkback_queue *queue, struct dgm_blkback_waiter *waiter);
/* Removes `waiter` from its queue. True: it was the first, so the next one may have to be woken. */
bool dgm_blkback_queue_remove(struct dgm_blkback_waiter *waiter);
/* Posts the task of the first waiter: the resource may be available. */
void dgm_blkback_queue_wake(struct dgm_reactor *reactor, struct dgm_blkback_queue *queue);
/* Removes `waiter`, and posts the task of the next one if it was the first. No effect if it is not
 * queued. */
static inline void dgm_blkback_queue_leave(struct dgm_reactor *reactor,
                                           struct dgm_blkback_waiter *waiter)
{
    struct dgm_blkback_queue *queue = waiter->queue;

    if (queue && dgm_blkback_queue_remove(waiter))
        dgm_blkback_queue_wake(reactor, queue);
}

#endif
