/* SPDX-License-Identifier: MIT */
/*
 * frames: an allocator that only gives, and stops giving. See dragoman/base/frames.h.
 *
 * A range is eaten from its front. A handful of ranges (banks less the image, the device tree, the
 * initial ramdisk), a few dozen takes while the domain starts, so the first range that fits is good
 * enough.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/frames.h>
#include <dragoman/base/status.h>

#include <string.h>

void dgm_frames_init(struct dgm_frames *frames)
{
    memset(frames, 0, sizeof *frames);
}

int dgm_frames_add(struct dgm_frames *frames, struct dgm_gfn_range range)
{
    dgm_assert(!frames->locked);
    if (range.count == 0)
        return DGM_OK;
    if (frames->range_count == DGM_FRAMES_RANGES_MAX)
        return DGM_ENOSPC;
    frames->ranges[frames->range_count++] = range;
    return DGM_OK;
}

static dgm_gfn_t eat(struct dgm_frames *frames, struct dgm_gfn_range *range, uint64_t count)
{
    const dgm_gfn_t first = range->first;

    for (uint64_t i = 0; i < count; i++)
        memset(dgm_env_va(dgm_gfn(first.n + i)), 0, DGM_FRAME_BYTES);
    range->first = dgm_gfn(first.n + count);
    range->count -= count;
    frames->taken += count;
    return first;
}

int dgm_frames_take(struct dgm_frames *frames, uint64_t count, dgm_gfn_t *first)
{
    dgm_assert(!frames->locked && count > 0);
    for (size_t i = 0; i < frames->range_count; i++) {
        if (frames->ranges[i].count >= count) {
            *first = eat(frames, &frames->ranges[i], count);
            return DGM_OK;
        }
    }
    return DGM_ENOMEM;
}

/* Do the first `count` frames of `range` lie side by side in our address space too? */
static bool is_one_piece(struct dgm_gfn_range range, uint64_t count)
{
    const char *const start = dgm_env_va(range.first);

    for (uint64_t i = 1; i < count; i++)
        if ((const char *)dgm_env_va(dgm_gfn(range.first.n + i)) != start + i * DGM_FRAME_BYTES)
            return false;
    return true;
}

void *dgm_frames_take_bytes(struct dgm_frames *frames, size_t bytes)
{
    const uint64_t count = bytes / DGM_FRAME_BYTES + (bytes % DGM_FRAME_BYTES != 0);

    dgm_assert(!frames->locked && bytes > 0);
    for (size_t i = 0; i < frames->range_count; i++) {
        struct dgm_gfn_range *range = &frames->ranges[i];

        if (range->count >= count && is_one_piece(*range, count))
            return dgm_env_va(eat(frames, range, count));
    }
    return NULL;
}

uint64_t dgm_frames_left(const struct dgm_frames *frames)
{
    uint64_t left = 0;

    for (size_t i = 0; i < frames->range_count; i++)
        left += frames->ranges[i].count;
    return left;
}

void dgm_frames_lock(struct dgm_frames *frames)
{
    frames->locked = true;
}
