/* SPDX-License-Identifier: MIT */
/*
 * Proves: no buffer is taken twice, all of them are taken before the pool reports that none is
 * free, each is a different frame, and a returned buffer wakes the waiters.
 * Over: four takes and gives in any order, a pool of two buffers in one area.
 *
 * sources: dma/bounce.c dma/bounce_queue.c
 * options: --unwind 5 --unwindset dgm_bounce_add.0:4 --unwindset dgm_bounce_add.1:3
 * defines: -Dmemset=proof_memset
 * resized: include/dragoman/dma/bounce.h s/AREAS_MAX 4u/AREAS_MAX 1u/
 * planted: dma/bounce.c s/free_first = bounce->buffers\[buffer\].next;/free_first = buffer;/
 * planted: dma/bounce.c s/bounce->areas\[a\].free--;//
 * planted: dma/bounce.c s/^    dgm_bounce_wake\(bounce\);//
 */
#include "proof.h"

#include <dragoman/dma/bounce.h>
#include <dragoman/base/status.h>
#include <dma/internal.h>

#define BUFFERS 2

struct dgm_bounce pool;
struct {
    struct dgm_bounce_area areas[DGM_BOUNCE_AREAS_MAX];
    struct dgm_bounce_buffer buffers[BUFFERS];
} records;
unsigned frames_given, woken;

int dgm_frames_take(struct dgm_frames *frames, uint64_t count, dgm_gfn_t *first)
{
    prove(count == 1);
    if (frames_given == BUFFERS)
        return DGM_ENOMEM;
    *first = dgm_gfn(100 + frames_given++);
    return DGM_OK;
}

void dgm_waiters_wake(struct dgm_waiters *waiters, struct dgm_reactor *reactor)
{
    prove(waiters == &pool.waiters && pool.free > 0);
    woken++;
}

void dgm_reactor_post(struct dgm_reactor *reactor, struct dgm_task *task)
{
    prove(false); /* no share is queued */
}

int main(void)
{
    bool taken[BUFFERS] = {false};
    unsigned out = 0;

    dgm_bounce_init(&pool, NULL, BUFFERS, &records);
    prove(dgm_bounce_add(&pool, NULL, BUFFERS) == DGM_OK);
    prove(pool.total == BUFFERS);
    for (unsigned i = 0; i < 4; i++) {
        const unsigned woken_before = woken;
        uint16_t buffer = any_u16();

        if (any_bool()) {
            buffer = dgm_bounce_take(&pool, NULL, 1);
            prove((buffer == DGM_BOUNCE_NONE) == (out == BUFFERS));
            if (buffer != DGM_BOUNCE_NONE) {
                prove(buffer < BUFFERS && !taken[buffer]);
                prove(dgm_gfn_number(dgm_bounce_gfn(&pool, buffer)) == 100u + buffer);
                taken[buffer] = true;
                out++;
            }
        } else {
            assume(buffer < BUFFERS && taken[buffer]);
            dgm_bounce_give(&pool, buffer);
            prove(woken == woken_before + 1);
            taken[buffer] = false;
            out--;
        }
        prove(pool.free == BUFFERS - out && pool.free_min <= pool.free);
    }
    return 0;
}
