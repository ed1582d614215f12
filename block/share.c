/* SPDX-License-Identifier: MIT */
/* share: see share.h */
#include <block/share.h>

#include <dragoman/base/check.h>

/* --- plain queues --- */

void dgm_blkback_queue_join(struct dgm_blkback_queue *queue, struct dgm_blkback_waiter *waiter)
{
    if (waiter->queue == queue)
        return;
    dgm_assert(!waiter->queue);
    waiter->queue = queue;
    waiter->next = NULL;
    if (queue->last)
        queue->last->next = waiter;
    else
        queue->first = waiter;
    queue->last = waiter;
}

bool dgm_blkback_queue_remove(struct dgm_blkback_waiter *waiter)
{
    struct dgm_blkback_queue *queue = waiter->queue;
    struct dgm_blkback_waiter *before = NULL;

    for (struct dgm_blkback_waiter *w = queue->first; w != waiter; w = w->next)
        before = w;
    if (before)
        before->next = waiter->next;
    else
        queue->first = waiter->next;
    if (queue->last == waiter)
        queue->last = before;
    waiter->next = NULL;
    waiter->queue = NULL;
    return !before;
}

void dgm_blkback_queue_wake(struct dgm_reactor *reactor, struct dgm_blkback_queue *queue)
{
    if (queue->first)
        dgm_reactor_post(reactor, queue->first->task);
}

/* --- the rule --- */

static uint32_t unmet_minimum(const struct dgm_blkback_share *share)
{
    return share->used < share->minimum ? share->minimum - share->used : 0;
}

static uint32_t extras_of(const struct dgm_blkback_share *share)
{
    return share->used > share->minimum ? share->used - share->minimum : 0;
}

/* How many of `count` things that the share takes now are extras. */
static uint32_t extras_in(const struct dgm_blkback_share *share, uint32_t count)
{
    const uint32_t own = unmet_minimum(share);

    return count > own ? count - own : 0;
}

/* Rules 1 and 2. The rest is negative only while other shares still have extras that they took
 * before some share was created. */
static inline bool rule_admits(const struct dgm_blkback_share *share, uint32_t count)
{
    const struct dgm_blkback_resource *resource = share->resource;
    const uint32_t extra = extras_in(share, count);

    if (extra == 0)
        return count <= resource->total - resource->used;
    if (resource->rest <= 0)
        return false;

    const uint32_t rest = (uint32_t)resource->rest;

    if (resource->share_count == 1)
        return extra <= rest;
    return extras_of(share) + extra <= rest &&
           (!share->guest_extra || *share->guest_extra + extra <= 2 * rest);
}

/* Rule 3: the waiter that takes first, or NULL. */
static struct dgm_blkback_share *first_admitted(const struct dgm_blkback_resource *resource)
{
    for (struct dgm_blkback_waiter *w = resource->queue.first; w; w = w->next) {
        struct dgm_blkback_share *share = dgm_container(w, struct dgm_blkback_share, waiter);

        if (rule_admits(share, share->wanted))
            return share;
    }
    return NULL;
}

static void wake_first_admitted(const struct dgm_blkback_resource *resource)
{
    const struct dgm_blkback_share *first = first_admitted(resource);

    if (first)
        dgm_reactor_post(resource->reactor, first->waiter.task);
}

/* --- taking and giving --- */

/* Whether rule 3 lets the share take before those that are queued. */
static bool is_next(const struct dgm_blkback_share *share)
{
    const struct dgm_blkback_share *first = first_admitted(share->resource);

    return !first || first == share;
}

/* Takes units that the rule admits, `extra` of them beyond the minimum. */
static inline void take_units(struct dgm_blkback_share *share, uint32_t count, uint32_t extra)
{
    struct dgm_blkback_resource *resource = share->resource;

    share->used += count;
    resource->used += count;
    resource->rest -= (int32_t)extra;
    if (share->guest_extra)
        *share->guest_extra += extra;
}

/* Takes units while shares are queued, or queues the share. */
static __attribute__((noinline)) bool take_or_join(struct dgm_blkback_share *share, uint32_t count)
{
    struct dgm_blkback_resource *resource = share->resource;
    const uint32_t extra = extras_in(share, count);

    share->wanted = count;
    if (!rule_admits(share, count) || (extra && !is_next(share))) {
        dgm_blkback_queue_join(&resource->queue, &share->waiter);
        return false;
    }
    take_units(share, count, extra);
    if (extra && share->waiter.queue)
        dgm_blkback_share_leave(share);
    return true;
}

/* Units that a run takes ahead beyond the minimum: it begins eight requests at most. The rule
 * admits them one by one if it admits three times as many at once: each lowers the rest by one. */
#define UNITS_AHEAD 7u

bool dgm_blkback_share_take_extra(struct dgm_blkback_share *share, uint32_t count)
{
    if (share->resource->queue.first || !rule_admits(share, count))
        return take_or_join(share, count);
    if (rule_admits(share, count + 3 * UNITS_AHEAD)) {
        share->kept += UNITS_AHEAD;
        count += UNITS_AHEAD;
    }
    take_units(share, count, extras_in(share, count));
    return true;
}

static __attribute__((noinline)) void wake_after_give(struct dgm_blkback_share *share)
{
    if (share->waiter.queue && rule_admits(share, share->wanted))
        dgm_reactor_post(share->resource->reactor, share->waiter.task);
    wake_first_admitted(share->resource);
}

void dgm_blkback_share_give_extra(struct dgm_blkback_share *share, uint32_t count)
{
    struct dgm_blkback_resource *resource = share->resource;
    const uint32_t extras = extras_of(share), extra = count < extras ? count : extras;

    share->used -= count;
    resource->used -= count;
    resource->rest += (int32_t)extra;
    if (share->guest_extra)
        *share->guest_extra -= extra;
    if (resource->queue.first)
        wake_after_give(share);
}

void dgm_blkback_share_give_kept(struct dgm_blkback_share *share)
{
    const uint32_t count = share->kept;

    share->kept = 0;
    if (count)
        dgm_blkback_share_give(share, count);
}

void dgm_blkback_share_undo(struct dgm_blkback_share *share, uint32_t count)
{
    if (!share->waiter.queue) {
        dgm_blkback_share_give(share, count); /* to the others */
        return;
    }
    /* It is still queued, so it took within its minimum, which no other share may use. */
    dgm_assert(count <= share->used && share->used <= share->minimum);
    share->used -= count;
    share->resource->used -= count;
}

void dgm_blkback_share_leave(struct dgm_blkback_share *share)
{
    if (!share->waiter.queue)
        return;
    dgm_blkback_queue_remove(&share->waiter);
    wake_first_admitted(share->resource);
}

/* --- beginning and end --- */

void dgm_blkback_resource_init(struct dgm_blkback_resource *resource, struct dgm_reactor *reactor,
                               uint32_t total)
{
    *resource =
        (struct dgm_blkback_resource){.reactor = reactor, .total = total, .rest = (int32_t)total};
}

int dgm_blkback_share_init(struct dgm_blkback_share *share, struct dgm_blkback_resource *resource,
                           uint32_t minimum, uint32_t *guest_extra, struct dgm_task *task)
{
    *share = (struct dgm_blkback_share){.waiter = {.task = task}};
    if (minimum > resource->total - resource->minimums)
        return DGM_ENOSPC;
    share->resource = resource;
    share->minimum = minimum;
    share->guest_extra = guest_extra;
    resource->minimums += minimum;
    resource->rest -= (int32_t)minimum;
    resource->share_count++;
    return DGM_OK;
}

void dgm_blkback_share_end(struct dgm_blkback_share *share)
{
    struct dgm_blkback_resource *resource = share->resource;

    if (!resource)
        return;
    dgm_blkback_share_give_kept(share);
    dgm_assert(share->used == 0);
    dgm_blkback_share_leave(share);
    resource->minimums -= share->minimum;
    resource->rest += (int32_t)share->minimum;
    resource->share_count--;
    share->resource = NULL;
    wake_first_admitted(resource);
}

bool dgm_blkback_resource_idle(const struct dgm_blkback_resource *resource)
{
    return resource->used == 0 && !resource->queue.first;
}

void dgm_blkback_share_check(const struct dgm_blkback_share *share)
{
    const struct dgm_blkback_resource *resource = share->resource;

    dgm_assert(resource->minimums <= resource->total);
    dgm_assert(resource->used <= resource->total);
    dgm_assert(resource->rest <= (int32_t)(resource->total - resource->used));
    dgm_assert(share->kept <= share->used && share->used <= resource->used);
    dgm_assert(resource->rest < 0 || unmet_minimum(share) <= resource->total - resource->used);
}
