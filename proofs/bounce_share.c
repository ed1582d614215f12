/* SPDX-License-Identifier: MIT */
/*
 * Proves: whatever guests hold, and whoever of them waits: the first in the line is never refused a
 * free buffer; a guest that holds its part never takes one that another, below its part, waits for;
 * a newcomer never overtakes who waits with as good a claim; who is refused stands in the line, and
 * a round is posted if buffers are free, so that nobody sleeps beside them for ever.
 * Over: three guests, an area of up to six buffers.
 *
 * sources: dma/bounce.c
 * options: --unwind 5
 * defines: -Dmemset=proof_memset
 * resized: include/dragoman/dma/bounce.h s/1024u/4u/; s/MAX . 64/MAX/; s/AREAS_MAX 4u/AREAS_MAX 1u/
 * planted: dma/bounce.c s/return before < area->free;/return area->free > 0;/
 * planted: dma/bounce.c s/< area->total;/<= 2u * area->total;/
 * planted: dma/bounce.c s/before \+= !behind;/before += behind;/
 * planted: dma/bounce.c s/before \+= !below;/before += 0;/
 */
#include "proof.h"

#include <dragoman/dma/bounce.h>
#include <dragoman/base/status.h>

#define GUESTS  3
#define BUFFERS 6

struct dgm_bounce pool;
struct dgm_bounce_share guest[GUESTS];

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

/* Guests are all alike, so one order of the line is as good as any. */
static void any_state(void)
{
    struct dgm_bounce_area *area = &pool.areas[0];
    uint16_t held = 0;

    pool.area_count = 1;
    for (unsigned i = GUESTS; i-- > 0;) {
        guest[i].held[0] = any_u8() % (BUFFERS + 1);
        guest[i].taken = guest[i].held[0];
        held = (uint16_t)(held + guest[i].held[0]);
        if (any_bool()) {
            guest[i].areas = 1;
            guest[i].next = pool.line;
            pool.line = &guest[i];
        }
        area->users += guest[i].held[0] || guest[i].areas;
    }
    pool.total = area->total = (uint16_t)(1 + any_u8() % BUFFERS);
    assume(held <= pool.total);
    pool.free = area->free = (uint16_t)(pool.total - held);
    area->free_first = pool.free ? 0 : DGM_BOUNCE_NONE;
}

static bool below(const struct dgm_bounce_share *share, unsigned users)
{
    return share->held[0] * users < pool.total;
}

int main(void)
{
    const unsigned who = any_u8() % GUESTS;
    struct dgm_bounce_share *share = &guest[who];
    unsigned users, better = 0, equal = 0, free;
    bool behind = false, waited;
    uint16_t buffer;

    any_state();
    waited = share->areas != 0;
    users = pool.areas[0].users;
    free = pool.free;
    /* Said again, as plainly as can be: who in the line has the better claim, and who an equal and
     * older one. */
    for (const struct dgm_bounce_share *s = pool.line; s; s = s->next) {
        const unsigned all = users + (!waited && !share->held[0]);

        if (s == share)
            behind = true;
        else if (below(s, users) && !below(share, all))
            better++;
        else if (below(s, users) == below(share, all) && !behind)
            equal++;
    }

    buffer = dgm_bounce_take(&pool, share, 1);
    prove((buffer != DGM_BOUNCE_NONE) == (better + equal < free));
    if (better + equal == 0 && free)
        prove(buffer != DGM_BOUNCE_NONE);
    if (buffer == DGM_BOUNCE_NONE) {
        dgm_bounce_wait(&pool, share, 1);
        prove(share->areas == 1 && share->asked && (!free || pool.round.posted));
    } else {
        prove(buffer == 0 && pool.owner[0] == share && !share->areas);
    }
    return 0;
}
