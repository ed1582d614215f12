/* SPDX-License-Identifier: MIT */
/*
 * bounce_check: the invariants of a pool of bounce buffers, as assertions
 *
 * Counts are computed again from the records of the buffers and from the queue, and compared with
 * those that the pool keeps. For tests and the simulator, which call it after each step: it is
 * quadratic in the buffers that are taken.
 */
#include <dma/internal.h>

#include <dragoman/base/check.h>

bool dgm_bounce_is_taken(const struct dgm_bounce *bounce, dgm_gfn_t gfn)
{
    for (uint16_t b = 0; b < bounce->total; b++)
        if (dgm_gfn_equal(bounce->buffers[b].gfn, gfn))
            return bounce_is_taken(bounce, b);
    return false;
}

/* The counts of one area according to the records of the buffers. */
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
        dgm_assert(b >= area->first && b - area->first < area->total &&
                   !bounce_is_taken(bounce, b));
        on_list++;
        dgm_assert(on_list <= area->total); /* otherwise the list is a cycle */
    }
    for (const struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter)
        count.users = (uint16_t)(count.users + (bounce_wants_area(s, a) && !s->held[a]));
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
        dgm_assert(a == 0 ||
                   dgm_gfn_below(bounce_area_gfn(bounce, bounce->areas_by_height[a]),
                                 bounce_area_gfn(bounce, bounce->areas_by_height[a - 1])));
    }
    dgm_assert(total == bounce->total && free == bounce->free);
    dgm_assert(bounce->free_min <= bounce->free);
    for (const struct dgm_bounce_share *s = bounce->queue; s; s = s->next_waiter) {
        uint16_t taken = 0;

        for (unsigned a = 0; a < bounce->area_count; a++)
            taken = (uint16_t)(taken + s->held[a]);
        dgm_assert(s->areas_wanted && s->taken == taken);
        dgm_assert(!dgm_bounce_has_buffer_for(bounce, s) || bounce->round_task.posted);
    }
}
