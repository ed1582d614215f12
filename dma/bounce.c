/* SPDX-License-Identifier: MIT */
/*
 * bounce: free lists through an array of numbers, and the line. See dragoman/dma/bounce.h.
 *
 * While a buffer is taken its `next` is the owner's, to chain the buffers of one transfer; a bit
 * per buffer says which it is, so that giving a buffer twice is caught.
 *
 * Rounds keep the line honest. A buffer that comes back wakes all that wait, and puts the task
 * `round` behind them. It runs when all of them have had their say: whoever stands in the line and
 * did not ask is taken out; and if buffers are free that someone was refused in favour of those, or
 * of others who came to take theirs later, the next round begins. Each round somebody takes a
 * buffer or leaves the line, because the first in it is never refused: so rounds end.
 */
#include <dragoman/dma/bounce.h>
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

static bool is_taken(const struct dgm_bounce *bounce, uint16_t buffer)
{
    return bounce->taken[buffer / 64] >> (buffer % 64) & 1;
}

static unsigned area_of(const struct dgm_bounce *bounce, uint16_t buffer)
{
    unsigned a = bounce->area_count - 1u;

    while (a && buffer < bounce->areas[a].first)
        a--;
    return a;
}

static void push(struct dgm_bounce *bounce, unsigned a, uint16_t buffer)
{
    bounce->next[buffer] = bounce->areas[a].free_first;
    bounce->areas[a].free_first = buffer;
    bounce->areas[a].free++;
    bounce->free++;
}

/* --- who may take --- */

static bool waits_for(const struct dgm_bounce_share *share, unsigned a)
{
    return share->areas >> a & 1;
}

static bool uses(const struct dgm_bounce_share *share, unsigned a)
{
    return share->held[a] || waits_for(share, a);
}

/* Holds less than its part of the area. */
static bool below_part(const struct dgm_bounce_area *area, const struct dgm_bounce_share *share,
                       unsigned a)
{
    const unsigned users = area->users + !uses(share, a);

    return share->held[a] * users < area->total;
}

/* A buffer remains for everybody who stands before `share`. */
static bool may_take(const struct dgm_bounce *bounce, const struct dgm_bounce_share *share,
                     unsigned a)
{
    const struct dgm_bounce_area *area = &bounce->areas[a];
    const bool below = below_part(area, share, a);
    bool behind = false; /* what follows in the line came after `share` */
    unsigned before = 0;

    for (const struct dgm_bounce_share *s = bounce->line; s && before < area->free; s = s->next) {
        if (s == share)
            behind = true;
        else if (waits_for(s, a) && below_part(area, s, a) == below)
            before += !behind;
        else if (waits_for(s, a))
            before += !below;
    }
    return before < area->free;
}

/* --- the line --- */

static void line_leave(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
{
    struct dgm_bounce_share **link = &bounce->line;

    if (!share->areas)
        return;
    while (*link != share) {
        dgm_assert(*link);
        link = &(*link)->next;
    }
    *link = share->next;
    share->next = NULL;
    for (unsigned a = 0; a < bounce->area_count; a++)
        bounce->areas[a].users -= waits_for(share, a) && !share->held[a];
    share->areas = 0;
}

/* Wakes all that wait and looks again when they have asked. */
static void wake(struct dgm_bounce *bounce)
{
    dgm_waiters_wake(&bounce->waiters, bounce->reactor);
    if (!bounce->line || bounce->round.posted)
        return;
    for (struct dgm_bounce_share *s = bounce->line; s; s = s->next)
        s->asked = false;
    dgm_reactor_post(bounce->reactor, &bounce->round);
}

static bool could_be_served(const struct dgm_bounce *bounce, const struct dgm_bounce_share *share)
{
    for (unsigned a = 0; a < bounce->area_count; a++)
        if (waits_for(share, a) && bounce->areas[a].free)
            return true;
    return false;
}

static void round_run(struct dgm_task *task)
{
    struct dgm_bounce *bounce = dgm_container(task, struct dgm_bounce, round);
    struct dgm_bounce_share *next;

    for (struct dgm_bounce_share *s = bounce->line; s; s = next) {
        next = s->next;
        if (!s->asked)
            line_leave(bounce, s);
    }
    for (struct dgm_bounce_share *s = bounce->line; s; s = s->next)
        if (could_be_served(bounce, s)) {
            wake(bounce);
            return;
        }
}

/* --- the calls --- */

/* A new area for the buffers from `first` on, if there may be one more. */
static bool area_begin(struct dgm_bounce *bounce, uint16_t first)
{
    uint8_t place = bounce->area_count;

    if (place == DGM_BOUNCE_AREAS_MAX)
        return false;
    for (; place &&
           bounce->gfn[bounce->areas[bounce->order[place - 1]].first].n < bounce->gfn[first].n;
         place--)
        bounce->order[place] = bounce->order[place - 1];
    bounce->order[place] = bounce->area_count;
    bounce->areas[bounce->area_count++] =
        (struct dgm_bounce_area){.first = first, .free_first = DGM_BOUNCE_NONE};
    return true;
}

int dgm_bounce_add(struct dgm_bounce *bounce, struct dgm_frames *frames, uint16_t count)
{
    const uint16_t before = bounce->total;
    uint8_t area = bounce->area_count;
    int status = DGM_OK;

    dgm_assert(count <= DGM_BOUNCE_MAX - before && bounce->free == before);
    for (uint16_t i = before; i < before + count; i++) {
        status = dgm_frames_take(frames, 1, &bounce->gfn[i]);
        if (status == DGM_OK && (i == before || bounce->gfn[i].n != bounce->gfn[i - 1].n + 1) &&
            !area_begin(bounce, i))
            status = DGM_ENOMEM;
        if (status != DGM_OK)
            break;
        bounce->areas[bounce->area_count - 1].total++;
        bounce->total++;
    }
    for (; area < bounce->area_count; area++) {
        const struct dgm_bounce_area *new = &bounce->areas[area];

        for (uint16_t i = new->total; i > 0; i--) /* lowest on top: neighbours come in order */
            push(bounce, area, (uint16_t)(new->first + i - 1));
    }
    bounce->free_min = bounce->free;
    return status;
}

int dgm_bounce_init(struct dgm_bounce *bounce, struct dgm_reactor *reactor,
                    struct dgm_frames *frames, uint16_t count)
{
    memset(bounce, 0, sizeof *bounce);
    bounce->reactor = reactor;
    bounce->round.run = round_run;
    return dgm_bounce_add(bounce, frames, count);
}

uint16_t dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_share *share, unsigned areas)
{
    struct dgm_bounce_area *area = NULL;
    unsigned a = 0;
    uint16_t buffer;

    if (!share)
        share = &bounce->own;
    for (unsigned i = 0; i < bounce->area_count && !area; i++) {
        a = bounce->order[i];
        if (areas >> a & 1 && may_take(bounce, share, a))
            area = &bounce->areas[a];
    }
    if (!area)
        return DGM_BOUNCE_NONE;

    line_leave(bounce, share);
    buffer = area->free_first;
    area->free_first = bounce->next[buffer];
    area->free--;
    bounce->next[buffer] = DGM_BOUNCE_NONE;
    bounce->taken[buffer / 64] |= (uint64_t)1 << (buffer % 64);
    bounce->owner[buffer] = share;
    bounce->free--;
    if (bounce->free < bounce->free_min)
        bounce->free_min = bounce->free;
    area->users += share->held[a]++ == 0;
    share->taken++;
    if (share->taken > share->taken_max)
        share->taken_max = share->taken;
    return buffer;
}

void dgm_bounce_wait(struct dgm_bounce *bounce, struct dgm_bounce_share *share, unsigned areas)
{
    struct dgm_bounce_share **link = &bounce->line;

    if (!share)
        share = &bounce->own;
    bounce->waits++;
    share->waits++;
    share->asked = true;
    if (!share->areas) {
        while (*link)
            link = &(*link)->next;
        *link = share;
    }
    for (unsigned a = 0; a < bounce->area_count; a++) {
        if (!(areas >> a & 1))
            continue;
        bounce->areas[a].users += !uses(share, a);
        share->areas = (uint8_t)(share->areas | 1u << a);
    }
    dgm_assert(share->areas);
    if (could_be_served(bounce, share)) /* refused for others: they may have lost interest */
        dgm_reactor_post(bounce->reactor, &bounce->round);
}

void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer)
{
    struct dgm_bounce_share *share;
    unsigned a;

    dgm_assert(buffer < bounce->total && is_taken(bounce, buffer));
    a = area_of(bounce, buffer);
    share = bounce->owner[buffer];
    bounce->taken[buffer / 64] &= ~((uint64_t)1 << (buffer % 64));
    bounce->owner[buffer] = NULL;
    share->held[a]--;
    share->taken--;
    bounce->areas[a].users -= !uses(share, a);
    push(bounce, a, buffer);
    wake(bounce);
}

void dgm_bounce_share_end(struct dgm_bounce *bounce, struct dgm_bounce_share *share)
{
    dgm_assert(share->taken == 0);
    if (share->areas) {
        line_leave(bounce, share);
        wake(bounce); /* others may have been refused for it */
    }
}

/* --- invariants --- */

/* Buffers of area `a` that `share` holds, by the buffers' own record. */
static uint16_t held_by(const struct dgm_bounce *bounce, const struct dgm_bounce_share *share,
                        unsigned a)
{
    const struct dgm_bounce_area *area = &bounce->areas[a];
    uint16_t held = 0;

    for (uint16_t b = area->first; b < area->first + area->total; b++)
        held = (uint16_t)(held + (bounce->owner[b] == share));
    return held;
}

static void check_area(const struct dgm_bounce *bounce, unsigned a)
{
    const struct dgm_bounce_area *area = &bounce->areas[a];
    uint16_t on_list = 0, taken = 0, users = 0;

    for (uint16_t b = area->free_first; b != DGM_BOUNCE_NONE; b = bounce->next[b]) {
        dgm_assert(b >= area->first && b - area->first < area->total && !is_taken(bounce, b));
        on_list++;
        dgm_assert(on_list <= area->total); /* else the list runs in a circle */
    }
    for (uint16_t b = area->first; b < area->first + area->total; b++) {
        const struct dgm_bounce_share *owner = bounce->owner[b];
        bool first = true; /* of this owner's */

        dgm_assert(is_taken(bounce, b) == (owner != NULL));
        if (!owner)
            continue;
        taken++;
        for (uint16_t c = area->first; c < b && first; c++)
            first = bounce->owner[c] != owner;
        if (first) {
            dgm_assert(owner->held[a] == held_by(bounce, owner, a));
            users++;
        }
    }
    for (const struct dgm_bounce_share *s = bounce->line; s; s = s->next)
        users = (uint16_t)(users + (waits_for(s, a) && !s->held[a]));
    dgm_assert(on_list == area->free && on_list + taken == area->total && users == area->users);
}

void dgm_bounce_check(const struct dgm_bounce *bounce)
{
    uint16_t total = 0, free = 0;

    for (unsigned a = 0; a < bounce->area_count; a++) {
        check_area(bounce, a);
        total = (uint16_t)(total + bounce->areas[a].total);
        free = (uint16_t)(free + bounce->areas[a].free);
        dgm_assert(a == 0 || bounce->gfn[bounce->areas[bounce->order[a]].first].n <
                                 bounce->gfn[bounce->areas[bounce->order[a - 1]].first].n);
    }
    dgm_assert(total == bounce->total && free == bounce->free);
    dgm_assert(bounce->free_min <= bounce->free);
    for (const struct dgm_bounce_share *s = bounce->line; s; s = s->next) {
        uint16_t taken = 0;

        for (unsigned a = 0; a < bounce->area_count; a++)
            taken = (uint16_t)(taken + s->held[a]);
        /* Who waits can be served in vain only until the round that is posted. */
        dgm_assert(s->areas && s->taken == taken);
        dgm_assert(!could_be_served(bounce, s) || bounce->round.posted);
    }
}
