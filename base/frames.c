/* SPDX-License-Identifier: MIT */
/*
 * frames: an allocator without a free operation. See dragoman/base/frames.h.
 *
 * Frames are taken from the front of a range. There are a handful of ranges (RAM banks less the
 * image, the device tree and the initial ramdisk) and a few dozen calls while the domain starts, so
 * taking from the first range that fits is good enough.
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

static dgm_gfn_t take_front(struct dgm_frames *frames, struct dgm_gfn_range *range, uint64_t count)
{
    const dgm_gfn_t first = range->first;

    for (uint64_t i = 0; i < count; i++)
        memset(dgm_env_va(dgm_gfn_add(first, i)), 0, DGM_FRAME_BYTES);
    range->first = dgm_gfn_add(first, count);
    range->count -= count;
    frames->taken += count;
    return first;
}

int dgm_frames_take(struct dgm_frames *frames, uint64_t count, dgm_gfn_t *first)
{
    dgm_assert(!frames->locked && count > 0);
    for (size_t i = 0; i < frames->range_count; i++) {
        if (frames->ranges[i].count >= count) {
            *first = take_front(frames, &frames->ranges[i], count);
            return DGM_OK;
        }
    }
    return DGM_ENOMEM;
}

/* True if the first `count` frames of `range` have adjacent addresses too. */
static bool has_adjacent_addresses(struct dgm_gfn_range range, uint64_t count)
{
    const char *const start = dgm_env_va(range.first);

    for (uint64_t i = 1; i < count; i++)
        if ((const char *)dgm_env_va(dgm_gfn_add(range.first, i)) != start + i * DGM_FRAME_BYTES)
            return false;
    return true;
}

void *dgm_frames_take_bytes(struct dgm_frames *frames, size_t bytes)
{
    const uint64_t count = bytes / DGM_FRAME_BYTES + (bytes % DGM_FRAME_BYTES != 0);

    dgm_assert(!frames->locked && bytes > 0);
    for (size_t i = 0; i < frames->range_count; i++) {
        struct dgm_gfn_range *range = &frames->ranges[i];

        if (range->count >= count && has_adjacent_addresses(*range, count))
            return dgm_env_va(take_front(frames, range, count));
    }
    return NULL;
}

uint64_t dgm_frames_available(const struct dgm_frames *frames)
{
    uint64_t available = 0;

    for (size_t i = 0; i < frames->range_count; i++)
        available += frames->ranges[i].count;
    return available;
}

void dgm_frames_lock(struct dgm_frames *frames)
{
    frames->locked = true;
}
