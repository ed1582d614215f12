/* SPDX-License-Identifier: MIT */
/*
 * bounce: free lists by number, and the queue. See dragoman/dma/bounce.h for the rules of shares.
 *
 * A free buffer's `next` links the free list of its area. A taken buffer's `next` is its user's, to
 * chain the buffers of one transfer. A buffer is taken if it has an owner, so one that is given
 * twice is caught.
 *
 * Rounds. Shares are only asked through their tasks, so the queue can go stale: a waiter may have
 * lost interest, and its buffer be kept for it in vain. Rounds repair that:
 *
 *   1. A returned buffer wakes the tasks of all waiters, and posts `round_task` behind them. When
 * it runs, each of these tasks has run once: each waiter has taken a buffer, or was refused one, or
 * did not ask.
 *   2. The round removes the waiters that did not ask.
 *   3. A waiter may have been refused a buffer that is still to be had: it was kept for a waiter
 *      that precedes it, and that one did not ask, or took a buffer of another area. So if a waiter
 *      remains, and an area that it wants has a buffer beyond the minimums, the next round begins.
 *   4. Rounds end. While an area has such a buffer, the waiter that precedes the others there is
 * not refused. So in each round at least one waiter leaves the queue, served or not interested, or
 *      other guests have taken these buffers.
 *
 * The invariant: while a waiter wants an area that has a buffer beyond the minimums, a round is
 * posted (dgm_bounce_check()).
 */
#include <dma/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

static bool is_taken(const struct dgm_bounce *bounce, uint16_t buffer)
{
    return bounce->buffers[buffer].owner != NULL;
}

static unsigned area_of_buffer(const struct dgm_bounce *bounce, uint16_t buffer)
{
    unsigned a = bounce->area_count - 1u;

    while (a && buffer < bounce->areas[a].first)
        a--;
    return a;
}

static void free_list_push(struct dgm_bounce *bounce, unsigned a, uint16_t buffer)
{
    bounce->buffers[buffer].next = bounce->areas[a].free_first;
    bounce->areas[a].free_first = buffer;
    bounce->areas[a].free++;
    bounce->free++;
}

static uint16_t free_list_pop(struct dgm_bounce *bounce, unsigned a)
{
    const uint16_t buffer = bounce->areas[a].free_first;

    bounce->areas[a].free_first = bounce->buffers[buffer].next;
    bounce->areas[a].free--;
    bounce->free--;
    return buffer;
}

/* --- which share may take --- */

static bool wants_area(const struct dgm_bounce_share *share, unsigned a)
{
    return share->areas_wanted >> a & 1;
}

static bool uses_area(const struct dgm_bounce_share *share, unsigned a)
{
    return share->held[a] || wants_area(share, a);
}

static bool is_below_share(const struct dgm_bounce_area *area, const struct dgm_bounce_share *share,
                           unsigned a)
{
    const unsigned users = area->users + !uses_area(share, a);

    return share->held[a] * users < area->total;
}

/* The free buffers of an area that are left for no device's minimum. */
static unsigned beyond_minimums(const struct dgm_bounce_area *area)
{
    return area->free > area->unmet ? (unsigned)(area->free - area->unmet) : 0;
}

/* Whether the device's next buffer of area `a` is its minimum. */
static bool lacks_minimum(const struct dgm_bounce_device *device, unsigned a)
{
    return device->minimum_area == a && device->held[a] == 0;
}

/* Whether a buffer of the area remains for each waiter that precedes `share`, and each minimum. */
static bool may_take_from_area(const struct dgm_bounce *bounce,
                               const struct dgm_bounce_share *share, unsigned a)
{
    const struct dgm_bounce_area *area = &bounce->areas[a];
    const unsigned available = beyond_minimums(area);
    const bool below = is_below_share(area, share, a);
    bool joined_later = false; /* the waiters from here on joined the queue after `share` */
    unsigned preceding = 0;

    for (const struct dgm_bounce_share *s = bounce->queue; s && preceding < available;
         s = s->next_waiter) {
        if (s == share)
            joined_later = true;
        else if (wants_area(s, a) && is_below_share(area, s, a) == below)
            preceding += !joined_later;
        else if (wants_area(s, a))
            preceding += !below;
    }
    return preceding < available;
}

/* --- the queue --- */

/* Nothing if `share` is not queued. */
static void queue_remove(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
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
        bounce->areas[a].users -= wants_area(share, a) && !share->held[a];
    share->areas_wanted = 0;
}

static void queue_append(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
{
    struct dgm_bounce_share **link = &bounce->queue;

    while (*link)
        link = &(*link)->next_waiter;
    *link = share;
}

/* Begins a round, unless one is under way. */
static void wake_waiters(struct dgm_bounce *bounce)
{
    dgm_waiters_wake(&bounce->waiters, bounce->reactor);
    if (!bounce->queue || bounce->round_task.posted)
        return;
    for (struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter)
        s->asked_since_woken = false;
    dgm_reactor_post(bounce->reactor, &bounce->round_task);
}

static bool has_buffer_for(const struct dgm_bounce *bounce, const struct dgm_bounce_share *share)
{
    for (unsigned a = 0; a < bounce->area_count; a++)
        if (wants_area(share, a) && beyond_minimums(&bounce->areas[a]))
            return true;
    return false;
}

static void round_run(struct dgm_task *task)
{
    struct dgm_bounce *bounce = dgm_container(task, struct dgm_bounce, round_task);
    struct dgm_bounce_share *next;

    for (struct dgm_bounce_share *s = bounce->queue; s; s = next) {
        next = s->next_waiter;
        if (!s->asked_since_woken)
            queue_remove(bounce, s);
    }
    for (struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter)
        if (has_buffer_for(bounce, s)) {
            wake_waiters(bounce);
            return;
        }
}

/* --- the pool is filled --- */

size_t dgm_bounce_bytes(uint16_t buffers_max)
{
    return buffers_max * sizeof(struct dgm_bounce_buffer);
}

void dgm_bounce_init(struct dgm_bounce *bounce, struct dgm_reactor *reactor, uint16_t buffers_max,
                     void *memory)
{
    dgm_assert(buffers_max < DGM_BOUNCE_NONE);
    memset(bounce, 0, sizeof *bounce);
    memset(memory, 0, dgm_bounce_bytes(buffers_max));
    bounce->buffers = memory;
    bounce->buffers_max = buffers_max;
    bounce->reactor = reactor;
    bounce->round_task.run = round_run;
    bounce->own.share = &bounce->own_share;
    bounce->own.minimum_area = DGM_BOUNCE_AREAS_MAX;
}

dgm_gfn_t dgm_bounce_gfn(const struct dgm_bounce *bounce, uint16_t buffer)
{
    dgm_assert(buffer < bounce->total);
    return bounce->buffers[buffer].gfn;
}

static dgm_gfn_t area_gfn(const struct dgm_bounce *bounce, unsigned a)
{
    return bounce->buffers[bounce->areas[a].first].gfn;
}

/* A new area, of no buffer yet, for those from `first` on. False: there are as many as can be. */
static bool area_begin(struct dgm_bounce *bounce, uint16_t first)
{
    uint8_t *const by_height = bounce->areas_by_height;
    uint8_t place = bounce->area_count;

    if (place == DGM_BOUNCE_AREAS_MAX)
        return false;
    while (place &&
           dgm_gfn_below(area_gfn(bounce, by_height[place - 1]), bounce->buffers[first].gfn)) {
        by_height[place] = by_height[place - 1];
        place--;
    }
    by_height[place] = bounce->area_count;
    bounce->areas[bounce->area_count++] =
        (struct dgm_bounce_area){.first = first, .free_first = DGM_BOUNCE_NONE};
    return true;
}

/* Whether the frame of `buffer` is the neighbour of the frame before it. */
static bool is_next_frame(const struct dgm_bounce *bounce, uint16_t buffer)
{
    return dgm_gfn_equal(bounce->buffers[buffer].gfn,
                         dgm_gfn_add(bounce->buffers[buffer - 1].gfn, 1));
}

int dgm_bounce_add(struct dgm_bounce *bounce, struct dgm_frames *frames, uint16_t count)
{
    const uint16_t before = bounce->total;
    uint8_t area = bounce->area_count;
    int status = DGM_OK;

    dgm_assert(count <= bounce->buffers_max - before && bounce->free == before);
    for (uint16_t i = before; i < before + count; i++) {
        status = dgm_frames_take(frames, 1, &bounce->buffers[i].gfn);
        if (status == DGM_OK && (i == before || !is_next_frame(bounce, i)) &&
            !area_begin(bounce, i))
            status = DGM_ENOMEM;
        if (status != DGM_OK)
            break;
        bounce->areas[bounce->area_count - 1].total++;
        bounce->total++;
    }
    for (; area < bounce->area_count; area++) {
        const struct dgm_bounce_area *new = &bounce->areas[area];

        /* The lowest is pushed last, so that neighbours are taken in ascending order. */
        for (uint16_t i = new->total; i > 0; i--)
            free_list_push(bounce, area, (uint16_t)(new->first + i - 1));
    }
    bounce->free_min = bounce->free;
    return status;
}

/* --- devices --- */

int dgm_bounce_device_begin(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                            struct dgm_bounce_share *share, unsigned areas)
{
    unsigned most = 0;

    *device = (struct dgm_bounce_device){.share = share, .minimum_area = DGM_BOUNCE_AREAS_MAX};
    /* The area with the most buffers that are no minimums, the highest one of equals. */
    for (unsigned i = 0; i < bounce->area_count; i++) {
        const uint8_t a = bounce->areas_by_height[i];
        const unsigned room = bounce->areas[a].total - bounce->areas[a].minimums;

        if (areas >> a & 1 && room > most) {
            most = room;
            device->minimum_area = a;
        }
    }
    if (device->minimum_area == DGM_BOUNCE_AREAS_MAX)
        return areas ? DGM_ENOSPC : DGM_OK;
    bounce->areas[device->minimum_area].minimums++;
    bounce->areas[device->minimum_area].unmet++;
    return DGM_OK;
}

void dgm_bounce_device_end(struct dgm_bounce *bounce, struct dgm_bounce_device *device)
{
    for (unsigned a = 0; a < DGM_BOUNCE_AREAS_MAX; a++)
        dgm_assert(device->held[a] == 0);
    if (device->minimum_area == DGM_BOUNCE_AREAS_MAX)
        return;
    bounce->areas[device->minimum_area].minimums--;
    bounce->areas[device->minimum_area].unmet--;
    device->minimum_area = DGM_BOUNCE_AREAS_MAX;
    wake_waiters(bounce); /* its minimum may be taken by others now */
}

/* --- taking, waiting, giving --- */

/* The area that `device` may take from: the highest of `areas`; DGM_BOUNCE_AREAS_MAX: none. */
static unsigned area_to_take(const struct dgm_bounce *bounce,
                             const struct dgm_bounce_device *device, unsigned areas)
{
    for (unsigned i = 0; i < bounce->area_count; i++) {
        const unsigned a = bounce->areas_by_height[i];

        if (areas >> a & 1 && may_take_from_area(bounce, device->share, a))
            return a;
    }
    for (unsigned a = 0; a < bounce->area_count; a++)
        if (areas >> a & 1 && lacks_minimum(device, a) && bounce->areas[a].free)
            return a;
    return DGM_BOUNCE_AREAS_MAX;
}

uint16_t dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                         unsigned areas)
{
    struct dgm_bounce_share *share;
    uint16_t buffer;
    unsigned a;

    if (!device)
        device = &bounce->own;
    share = device->share;
    a = area_to_take(bounce, device, areas);
    if (a == DGM_BOUNCE_AREAS_MAX)
        return DGM_BOUNCE_NONE;

    /* A minimum is no turn in the queue: the share keeps its place for what is beyond. */
    if (lacks_minimum(device, a))
        bounce->areas[a].unmet--;
    else
        queue_remove(bounce, share);
    buffer = free_list_pop(bounce, a);
    bounce->buffers[buffer].next = DGM_BOUNCE_NONE;
    bounce->buffers[buffer].owner = device;
    if (bounce->free < bounce->free_min)
        bounce->free_min = bounce->free;
    bounce->areas[a].users += !uses_area(share, a);
    device->held[a]++;
    share->held[a]++;
    share->taken++;
    if (share->taken > share->taken_max)
        share->taken_max = share->taken;
    return buffer;
}

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
        bounce->areas[a].users += !uses_area(share, a);
        share->areas_wanted = (uint8_t)(share->areas_wanted | 1u << a);
    }
    /* A buffer that is kept for waiters before it: they may have lost interest. */
    if (has_buffer_for(bounce, share))
        dgm_reactor_post(bounce->reactor, &bounce->round_task);
}

void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer)
{
    struct dgm_bounce_device *device;
    struct dgm_bounce_share *share;
    unsigned a;

    dgm_assert(buffer < bounce->total && is_taken(bounce, buffer));
    a = area_of_buffer(bounce, buffer);
    device = bounce->buffers[buffer].owner;
    share = device->share;
    bounce->buffers[buffer].owner = NULL;
    device->held[a]--;
    bounce->areas[a].unmet += lacks_minimum(device, a);
    share->held[a]--;
    share->taken--;
    bounce->areas[a].users -= !uses_area(share, a);
    free_list_push(bounce, a, buffer);
    wake_waiters(bounce);
}

void dgm_bounce_share_end(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
{
    dgm_assert(share->taken == 0);
    if (share->areas_wanted) {
        queue_remove(bounce, share);
        wake_waiters(bounce); /* a buffer may have been kept for it */
    }
}

/* --- invariants --- */

bool dgm_bounce_is_taken(const struct dgm_bounce *bounce, dgm_gfn_t gfn)
{
    for (uint16_t b = 0; b < bounce->total; b++)
        if (dgm_gfn_equal(bounce->buffers[b].gfn, gfn))
            return is_taken(bounce, b);
    return false;
}

/* What the records of the buffers say of area `a`. */
struct area_count {
    uint16_t taken, users, met; /* buffers; distinct shares; distinct devices with their minimum */
};

static struct area_count count_area(const struct dgm_bounce *bounce, unsigned a)
{
    const struct dgm_bounce_area *area = &bounce->areas[a];
    struct area_count count = {0};

    for (uint16_t b = area->first; b < area->first + area->total; b++) {
        const struct dgm_bounce_device *owner = bounce->buffers[b].owner;
        bool first_of_device = true, first_of_share = true;
        uint16_t of_device = 0, of_share = 0;

        if (!owner)
            continue;
        for (uint16_t c = area->first; c < area->first + area->total; c++) {
            const struct dgm_bounce_device *other = bounce->buffers[c].owner;

            of_device = (uint16_t)(of_device + (other == owner));
            of_share = (uint16_t)(of_share + (other && other->share == owner->share));
            if (c < b) {
                first_of_device &= other != owner;
                first_of_share &= !other || other->share != owner->share;
            }
        }
        dgm_assert(owner->held[a] == of_device && owner->share->held[a] == of_share);
        count.taken++;
        count.users = (uint16_t)(count.users + first_of_share);
        count.met = (uint16_t)(count.met + (first_of_device && owner->minimum_area == a));
    }
    return count;
}

static void check_area(const struct dgm_bounce *bounce, unsigned a)
{
    const struct dgm_bounce_area *area = &bounce->areas[a];
    struct area_count count = count_area(bounce, a);
    uint16_t on_list = 0;

    for (uint16_t b = area->free_first; b != DGM_BOUNCE_NONE; b = bounce->buffers[b].next) {
        dgm_assert(b >= area->first && b - area->first < area->total && !is_taken(bounce, b));
        on_list++;
        dgm_assert(on_list <= area->total); /* else the list is a circle */
    }
    for (const struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter)
        count.users = (uint16_t)(count.users + (wants_area(s, a) && !s->held[a]));
    dgm_assert(on_list == area->free && on_list + count.taken == area->total);
    dgm_assert(count.users == area->users && count.met == area->minimums - area->unmet);
    dgm_assert(area->minimums <= area->total);
}

void dgm_bounce_check(const struct dgm_bounce *bounce)
{
    uint16_t total = 0, free = 0;

    for (unsigned a = 0; a < bounce->area_count; a++) {
        check_area(bounce, a);
        total = (uint16_t)(total + bounce->areas[a].total);
        free = (uint16_t)(free + bounce->areas[a].free);
        dgm_assert(a == 0 || dgm_gfn_below(area_gfn(bounce, bounce->areas_by_height[a]),
                                           area_gfn(bounce, bounce->areas_by_height[a - 1])));
    }
    dgm_assert(total == bounce->total && free == bounce->free);
    dgm_assert(bounce->free_min <= bounce->free);
    for (const struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter) {
        uint16_t taken = 0;

        for (unsigned a = 0; a < bounce->area_count; a++)
            taken = (uint16_t)(taken + s->held[a]);
        dgm_assert(s->areas_wanted && s->taken == taken);
        dgm_assert(!has_buffer_for(bounce, s) || bounce->round_task.posted);
    }
}
