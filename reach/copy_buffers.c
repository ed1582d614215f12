/* SPDX-License-Identifier: MIT */
/*
 * copy_buffers: a free list of indexes. See dragoman/reach/copy_buffers.h.
 *
 * The buffer that was given last is taken first, because its lines are most likely in the cache.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <port/env.h>
#include <reach/internal.h>

#include <string.h>

#define NONE UINT16_MAX

static bool is_taken(const struct dgm_copy_buffers *buffers, uint16_t buffer)
{
    return buffers->taken[buffer / 64] >> (buffer % 64) & 1;
}

int dgm_copy_buffers_init(struct dgm_copy_buffers *buffers, struct dgm_frames *frames,
                          uint16_t count)
{
    dgm_assert(count > 0 && count <= DGM_COPY_BUFFERS_MAX);
    memset(buffers, 0, sizeof *buffers);
    for (uint16_t i = 0; i < count; i++) {
        const int status = dgm_frames_take(frames, 1, &buffers->gfn[i]);

        if (status != DGM_OK)
            return status;
        buffers->next_free[i] = i + 1 < count ? (uint16_t)(i + 1) : NONE;
    }
    buffers->total = buffers->free = buffers->free_min = count;
    return DGM_OK;
}

int dgm_copy_buffers_reserve(struct dgm_copy_buffers *buffers, struct dgm_quota *quota,
                             uint32_t count)
{
    if (count > quota->max - quota->used) {
        quota->refusals++;
        return DGM_EDQUOT;
    }
    if (count > (uint32_t)(buffers->free - buffers->reserved))
        return DGM_EAGAIN;
    buffers->reserved = (uint16_t)(buffers->reserved + count);
    quota->used += count;
    if (quota->used > quota->used_max)
        quota->used_max = quota->used;
    return DGM_OK;
}

void dgm_copy_buffers_unreserve(struct dgm_copy_buffers *buffers, struct dgm_quota *quota,
                                uint32_t count)
{
    dgm_assert(count <= buffers->reserved && count <= quota->used);
    buffers->reserved = (uint16_t)(buffers->reserved - count);
    quota->used -= count;
}

uint16_t dgm_copy_buffers_take(struct dgm_copy_buffers *buffers)
{
    const uint16_t buffer = buffers->free_first;

    dgm_assert(buffers->reserved > 0);
    buffers->reserved--;
    buffers->free_first = buffers->next_free[buffer];
    buffers->taken[buffer / 64] |= 1ull << (buffer % 64);
    if (--buffers->free < buffers->free_min)
        buffers->free_min = buffers->free;
    return buffer;
}

void dgm_copy_buffers_clear_for(struct dgm_copy_buffers *buffers, uint16_t buffer,
                                struct dgm_copy_user user)
{
    if (buffers->user[buffer] == user.number)
        return;
    memset(dgm_env_va(buffers->gfn[buffer]), 0, DGM_FRAME_BYTES);
    buffers->user[buffer] = user.number;
}

void dgm_copy_buffers_give(struct dgm_copy_buffers *buffers, struct dgm_quota *quota,
                           uint16_t buffer)
{
    dgm_assert(buffer < buffers->total && is_taken(buffers, buffer) && quota->used > 0);
    buffers->taken[buffer / 64] &= ~(1ull << (buffer % 64));
    buffers->next_free[buffer] = buffers->free_first;
    buffers->free_first = buffer;
    buffers->free++;
    quota->used--;
}

bool dgm_copy_buffers_is_taken(const struct dgm_copy_buffers *buffers, dgm_gfn_t gfn)
{
    for (uint16_t i = 0; i < buffers->total; i++)
        if (dgm_gfn_equal(buffers->gfn[i], gfn))
            return is_taken(buffers, i);
    return false;
}

void dgm_copy_buffers_check(const struct dgm_copy_buffers *buffers)
{
    uint16_t free = buffers->free_first;
    uint32_t taken = 0;

    for (uint16_t i = 0; i < buffers->free; i++) {
        dgm_assert(free < buffers->total && !is_taken(buffers, free));
        free = buffers->next_free[free];
    }
    dgm_assert(free == NONE); /* so the list is not a cycle, and has no buffer twice */
    for (uint16_t i = 0; i < buffers->total; i++)
        taken += is_taken(buffers, i);
    dgm_assert(taken + buffers->free == buffers->total);
    dgm_assert(buffers->reserved <= buffers->free && buffers->free_min <= buffers->free);
}
