/* SPDX-License-Identifier: MIT */
/*
 * Proves, for any holdings and any waiters: a device that lacks its minimum is never refused a free
 * buffer, and no other takes the last ones that minimums need; beyond the minimums, the waiter that
 * precedes the others is never refused; a guest that holds its share never takes a buffer that a
 * waiter below its share wants; a guest never overtakes a waiter with as good a claim; a guest that
 * is refused is queued, and a round is posted if it could be served, so that it does not wait
 * permanently.
 * Over: three guests, any number of devices, an area of up to six buffers.
 *
 * sources: dma/bounce.c dma/bounce_queue.c
 * options: --unwind 5
 * defines: -Dmemset=proof_memset
 * resized: include/dragoman/dma/bounce.h s/AREAS_MAX 4u/AREAS_MAX 1u/
 * planted: dma/bounce_queue.c s/return preceding < available;/return area->free > 0;/
 * planted: dma/bounce_queue.c s/< area->total;/<= 2u * area->total;/
 * planted: dma/bounce_queue.c s/preceding \+= !joined_later;/preceding += joined_later;/
 * planted: dma/bounce_queue.c s/preceding \+= !below;/preceding += 0;/
 * planted: dma/bounce_queue.c s/available = bounce_beyond_minimums\(area\);/available = area->free;/
 * planted: dma/bounce.c s/bounce_lacks_minimum\(device, a\) && bounce->areas\[a\].free\)/false)/
 */
#include "proof.h"

#include <dragoman/dma/bounce.h>
#include <dragoman/base/status.h>
#include <dma/internal.h>

#define GUESTS  3
#define BUFFERS 6

struct dgm_bounce pool;
struct dgm_bounce_area areas[DGM_BOUNCE_AREAS_MAX];
struct dgm_bounce_buffer records[BUFFERS];
struct dgm_bounce_share guest[GUESTS];
struct dgm_bounce_device device;

int dgm_frames_take(struct dgm_frames *frames, uint64_t count, dgm_gfn_t *first)
{
    return DGM_ENOMEM;
}

void dgm_waiters_wake(struct dgm_waiters *waiters, struct dgm_reactor *reactor)
{
}

void dgm_reactor_post(struct dgm_reactor *reactor, struct dgm_task *task)
{
    task->posted = true;
}

/* The guests are equal, so one order of the queue represents all. */
static void any_state(void)
{
    struct dgm_bounce_area *area = &areas[0];
    uint16_t held = 0;

    pool.areas = areas;
    pool.buffers = records;
    pool.area_count = 1;
    for (unsigned i = GUESTS; i-- > 0;) {
        guest[i].held[0] = any_u8() % (BUFFERS + 1);
        guest[i].taken = guest[i].held[0];
        held = (uint16_t)(held + guest[i].held[0]);
        if (any_bool()) {
            guest[i].areas_wanted = 1;
            guest[i].next_waiter = pool.queue;
            pool.queue = &guest[i];
        }
        area->users += guest[i].held[0] || guest[i].areas_wanted;
    }
    pool.total = area->total = (uint16_t)(1 + any_u8() % BUFFERS);
    assume(held <= pool.total);
    pool.free = area->free = (uint16_t)(pool.total - held);
    area->free_first = pool.free ? 0 : DGM_BOUNCE_NONE;
}

/* The device that takes, of any of the guests; other devices lack their minimums. */
static void any_device(struct dgm_bounce_share *share)
{
    struct dgm_bounce_area *area = &pool.areas[0];

    device.share = share;
    device.held[0] = any_u8() % (BUFFERS + 1);
    assume(device.held[0] <= share->held[0]);
    device.minimum_area = any_bool() ? 0 : DGM_BOUNCE_AREAS_MAX;
    area->unmet = any_u8() % (BUFFERS + 1);
    area->minimums = area->total;
    assume(area->unmet <= area->free);
    assume(area->unmet > 0 || device.held[0] > 0 || device.minimum_area != 0);
}

static bool is_below_share(const struct dgm_bounce_share *share, unsigned users)
{
    return share->held[0] * users < pool.total;
}

int main(void)
{
    const unsigned guest_index = any_u8() % GUESTS;
    struct dgm_bounce_share *share = &guest[guest_index];
    unsigned users, better = 0, equal = 0, free, available;
    bool behind = false, waited, lacks_minimum;
    uint16_t buffer;

    any_state();
    any_device(share);
    available = (unsigned)(pool.areas[0].free - pool.areas[0].unmet);
    lacks_minimum = device.minimum_area == 0 && device.held[0] == 0;
    waited = share->areas_wanted != 0;
    users = pool.areas[0].users;
    free = pool.free;
    /* The rule again, in its simplest form: the waiters with a better claim, and those with an
     * equal and older one. */
    for (const struct dgm_bounce_share *s = pool.queue; s; s = s->next_waiter) {
        const unsigned all = users + (!waited && !share->held[0]);

        if (s == share)
            behind = true;
        else if (is_below_share(s, users) && !is_below_share(share, all))
            better++;
        else if (is_below_share(s, users) == is_below_share(share, all) && !behind)
            equal++;
    }

    buffer = dgm_bounce_take(&pool, &device, 1);
    prove((buffer != DGM_BOUNCE_NONE) ==
          (better + equal < available || (lacks_minimum && free > 0)));
    prove(pool.areas[0].free >= pool.areas[0].unmet);
    if (buffer == DGM_BOUNCE_NONE) {
        dgm_bounce_wait(&pool, &device, 1);
        prove(share->areas_wanted == 1 && share->asked_since_woken &&
              (!available || pool.round_task.posted));
    } else {
        prove(buffer == 0 && records[0].owner == &device);
        prove(lacks_minimum || !share->areas_wanted);
    }
    return 0;
}
