/* SPDX-License-Identifier: MIT */
/*
 * bounce_queue: which share may take a bounce buffer, and the queue of those that wait for one. See
 * dragoman/dma/bounce.h for the rules.
 *
 * The pool does not assign buffers to waiters: it wakes the waiters' tasks, and each task then asks
 * for a buffer, or does not. When a share asks, a free buffer is left for each waiter that precedes
 * it. So a waiter that no longer wants a buffer would keep one from the others. Rounds prevent
 * that:
 *
 *   1. A round begins when a buffer is returned. It wakes the tasks of all waiters, and posts
 *      `round_task` behind them. So when `round_task` runs, each of these tasks has run once.
 *   2. `round_task` removes from the queue each waiter that did not ask meanwhile.
 *   3. A waiter that is still queued was refused, perhaps because of a waiter that is now removed.
 *      If an area that it wants has a buffer beyond the minimums, the next round begins.
 *   4. Rounds end. In an area with such a buffer, the waiter that precedes all others is not
 *      refused. So each round removes a waiter from the queue, because it is served or because it
 *      does not ask; or other guests have taken these buffers, and then no next round begins.
 *
 * The invariant: while a waiter wants an area that has a buffer beyond the minimums, a round is
 * posted (dgm_bounce_check()).
 */
#include <dma/internal.h>

#include <dragoman/base/check.h>

/* --- which share may take --- */

static bool is_below_share(const struct dgm_bounce_area *area, const struct dgm_bounce_share *share,
                           unsigned a)
{
    const unsigned users = area->users + !bounce_uses_area(share, a);

    return share->held[a] * users < area->total;
}

bool dgm_bounce_may_take(const struct dgm_bounce *bounce, const struct dgm_bounce_share *share,
                         unsigned a)
{
    const struct dgm_bounce_area *area = &bounce->areas[a];
    const unsigned available = bounce_beyond_minimums(area);
    const bool below = is_below_share(area, share, a);
    bool joined_later = false; /* true after `share` is met: the others joined the queue after it */
    unsigned preceding = 0;

    for (const struct dgm_bounce_share *s = bounce->queue; s && preceding < available;
         s = s->next_waiter) {
        if (s == share)
            joined_later = true;
        else if (bounce_wants_area(s, a) && is_below_share(area, s, a) == below)
            preceding += !joined_later;
        else if (bounce_wants_area(s, a))
            preceding += !below;
    }
    return preceding < available;
}

/* --- the queue --- */

void dgm_bounce_queue_remove(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
{
    struct dgm_bounce_share **link = &bounce->queue;

    if (!share->areas_wanted)
        return;
    while (*link != share) {
        dgm_assert(*link);
        link = &(*link)->next_waiter;
    }
    *link = share->next_waiter;
    share->next_waiter = NULL;
    for (unsigned a = 0; a < bounce->area_count; a++)
        bounce->areas[a].users -= bounce_wants_area(share, a) && !share->held[a];
    share->areas_wanted = 0;
}

static void queue_append(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
{
    struct dgm_bounce_share **link = &bounce->queue;

    while (*link)
        link = &(*link)->next_waiter;
    *link = share;
}

void dgm_bounce_wake(struct dgm_bounce *bounce)
{
    dgm_waiters_wake(&bounce->waiters, bounce->reactor);
    if (!bounce->queue || bounce->round_task.posted)
        return;
    for (struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter)
        s->asked_since_woken = false;
    dgm_reactor_post(bounce->reactor, &bounce->round_task);
}

bool dgm_bounce_has_buffer_for(const struct dgm_bounce *bounce,
                               const struct dgm_bounce_share *share)
{
    for (unsigned a = 0; a < bounce->area_count; a++)
        if (bounce_wants_area(share, a) && bounce_beyond_minimums(&bounce->areas[a]))
            return true;
    return false;
}

void dgm_bounce_round(struct dgm_task *task)
{
    struct dgm_bounce *bounce = dgm_container(task, struct dgm_bounce, round_task);
    struct dgm_bounce_share *next;

    for (struct dgm_bounce_share *s = bounce->queue; s; s = next) {
        next = s->next_waiter;
        if (!s->asked_since_woken)
            dgm_bounce_queue_remove(bounce, s);
    }
    for (struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter)
        if (dgm_bounce_has_buffer_for(bounce, s)) {
            dgm_bounce_wake(bounce);
            return;
        }
}

/* --- waiting --- */

void dgm_bounce_wait(struct dgm_bounce *bounce, struct dgm_bounce_device *device, unsigned areas)
{
    struct dgm_bounce_share *share = device ? device->share : &bounce->own_share;

    dgm_assert(areas & ((1u << bounce->area_count) - 1));
    bounce->waits++;
    share->waits++;
    share->asked_since_woken = true;
    if (!share->areas_wanted)
        queue_append(bounce, share);
    for (unsigned a = 0; a < bounce->area_count; a++) {
        if (!(areas >> a & 1))
            continue;
        bounce->areas[a].users += !bounce_uses_area(share, a);
        share->areas_wanted = (uint8_t)(share->areas_wanted | 1u << a);
    }
    /* A buffer is left for waiters that precede it, which may no longer want one. */
    if (dgm_bounce_has_buffer_for(bounce, share))
        dgm_reactor_post(bounce->reactor, &bounce->round_task);
}

void dgm_bounce_share_end(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
{
    dgm_assert(share->taken == 0);
    if (share->areas_wanted) {
        dgm_bounce_queue_remove(bounce, share);
        dgm_bounce_wake(bounce); /* a buffer may have been left for it */
    }
}
