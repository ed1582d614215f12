/* SPDX-License-Identifier: MIT */
/* ranges: see ranges.h. */
#include "ranges.h"

#include <dragoman/base/addr.h>

#define FRAME_MASK ((uint64_t)DGM_FRAME_BYTES - 1)

static uint64_t range_end(struct range range)
{
    return range.base + range.bytes;
}

bool range_overlaps(struct range a, struct range b)
{
    return a.bytes && b.bytes && a.base < range_end(b) && b.base < range_end(a);
}

bool ranges_overlap(const struct range *ranges, size_t count, struct range range)
{
    for (size_t i = 0; i < count; i++)
        if (range_overlaps(ranges[i], range))
            return true;
    return false;
}

struct range range_inwards(struct range range)
{
    const uint64_t pad = -range.base & FRAME_MASK;

    if (range.bytes <= pad)
        return (struct range){range.base, 0};
    return (struct range){range.base + pad, (range.bytes - pad) & ~FRAME_MASK};
}

struct range range_outwards(struct range range)
{
    const uint64_t base = range.base & ~FRAME_MASK;
    const uint64_t bytes = range_end(range) - base;

    if (range.bytes == 0)
        return (struct range){base, 0};
    /* The last frame of the address space is excluded: its end would wrap. */
    return (struct range){base, bytes > (UINT64_MAX & ~FRAME_MASK) - base
                                    ? UINT64_MAX - base
                                    : (bytes + FRAME_MASK) & ~FRAME_MASK};
}

size_t ranges_remove(struct range *ranges, size_t count, struct range hole, size_t max)
{
    size_t kept = 0;
    const size_t before = count;

    for (size_t i = 0; i < before; i++) {
        const struct range range = ranges[i];

        if (!range_overlaps(range, hole)) {
            ranges[kept++] = range;
            continue;
        }
        const struct range below = {range.base,
                                    hole.base > range.base ? hole.base - range.base : 0};
        const struct range above = {range_end(hole), range_end(range) > range_end(hole)
                                                         ? range_end(range) - range_end(hole)
                                                         : 0};

        if (below.bytes)
            ranges[kept++] = below;
        if (above.bytes && !below.bytes)
            ranges[kept++] = above;
        else if (above.bytes && count < max)
            ranges[count++] = above; /* after the ranges that are still to be processed */
    }
    for (size_t i = before; i < count; i++)
        ranges[kept++] = ranges[i];
    return kept;
}
