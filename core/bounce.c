/* SPDX-License-Identifier: MIT */
/*
 * bounce: a free list through an array of numbers. See dragoman/bounce.h.
 *
 * While a buffer is taken its `next` is the owner's, to chain the buffers of one transfer; a bit
 * per buffer says which it is, so that giving a buffer twice is caught.
 */
#include <dragoman/bounce.h>
#include <dragoman/check.h>
#include <dragoman/status.h>

#include <string.h>

static bool is_taken(const struct dgm_bounce *bounce, uint16_t buffer)
{
    return bounce->taken[buffer / 64] >> (buffer % 64) & 1;
}

static void push(struct dgm_bounce *bounce, uint16_t buffer)
{
    bounce->next[buffer] = bounce->free_first;
    bounce->free_first = buffer;
    bounce->free++;
}

int dgm_bounce_init(struct dgm_bounce *bounce, struct dgm_reactor *reactor,
                    struct dgm_frames *frames, uint16_t count)
{
    int status = DGM_OK;

    dgm_assert(count <= DGM_BOUNCE_MAX);
    memset(bounce, 0, sizeof *bounce);
    bounce->reactor = reactor;
    bounce->free_first = DGM_BOUNCE_NONE;
    while (status == DGM_OK && bounce->total < count) {
        status = dgm_frames_take(frames, 1, &bounce->gfn[bounce->total]);
        if (status == DGM_OK)
            bounce->total++;
    }
    for (uint16_t i = bounce->total; i > 0; i--) /* lowest on top: neighbours come in order */
        push(bounce, (uint16_t)(i - 1));
    bounce->free_min = bounce->free;
    return status;
}

uint16_t dgm_bounce_take(struct dgm_bounce *bounce)
{
    const uint16_t buffer = bounce->free_first;

    if (buffer == DGM_BOUNCE_NONE)
        return DGM_BOUNCE_NONE;
    bounce->free_first = bounce->next[buffer];
    bounce->next[buffer] = DGM_BOUNCE_NONE;
    bounce->taken[buffer / 64] |= (uint64_t)1 << (buffer % 64);
    bounce->free--;
    if (bounce->free < bounce->free_min)
        bounce->free_min = bounce->free;
    return buffer;
}

void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer)
{
    dgm_assert(buffer < bounce->total && is_taken(bounce, buffer));
    bounce->taken[buffer / 64] &= ~((uint64_t)1 << (buffer % 64));
    push(bounce, buffer);
    dgm_waiters_wake(&bounce->waiters, bounce->reactor);
}

void dgm_bounce_check(const struct dgm_bounce *bounce)
{
    uint16_t on_list = 0, taken = 0;

    for (uint16_t b = bounce->free_first; b != DGM_BOUNCE_NONE; b = bounce->next[b]) {
        dgm_assert(b < bounce->total && !is_taken(bounce, b));
        on_list++;
        dgm_assert(on_list <= bounce->total); /* else the list runs in a circle */
    }
    for (uint16_t b = 0; b < bounce->total; b++)
        taken = (uint16_t)(taken + is_taken(bounce, b));
    dgm_assert(on_list == bounce->free && on_list + taken == bounce->total);
    dgm_assert(bounce->free_min <= bounce->free);
}
