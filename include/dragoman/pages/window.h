/* SPDX-License-Identifier: MIT */
/*
 * window: the slot window: all our gfns that are slots
 *
 * A window consists of a few runs of gfns (parts): extended regions, ballooned-out RAM, or both.
 * Every slot has an index that counts through the parts, so that per-slot data lies in flat arrays.
 * Finding an index costs one comparison for the first part and one more for each further part. The
 * window is made at start and never changes, so any reactor may read it.
 */
#ifndef DRAGOMAN_PAGES_WINDOW_H
#define DRAGOMAN_PAGES_WINDOW_H

#include <dragoman/base/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_WINDOW_PARTS_MAX 8
#define DGM_WINDOW_NONE      UINT64_MAX

/* Slots are owned in blocks, see slot.h. The first index of every part is a multiple of this. */
#define DGM_SLOT_BLOCK 64u

struct dgm_window_part {
    struct dgm_gfn_range gfns;
    uint64_t index; /* of its first slot */
};

struct dgm_window {
    struct dgm_window_part parts[DGM_WINDOW_PARTS_MAX];
    size_t part_count;
    uint64_t count; /* indexes are below this; a few at the ends of parts belong to no slot */
};

/* A window of one part. */
static inline struct dgm_window dgm_window(struct dgm_gfn_range gfns)
{
    return (struct dgm_window){
        .parts = {{.gfns = gfns, .index = 0}}, .part_count = gfns.count != 0, .count = gfns.count};
}

/* Adds a part. DGM_EINVAL: it overlaps another, or wraps. DGM_ENOSPC: the table is full. */
int dgm_window_add(struct dgm_window *window, struct dgm_gfn_range gfns);

/* The index of the slot `gfn`. DGM_WINDOW_NONE: `gfn` is no slot. */
static inline uint64_t dgm_window_index(const struct dgm_window *window, dgm_gfn_t gfn)
{
    uint64_t offset = dgm_gfn_diff(gfn, window->parts[0].gfns.first); /* large for a gfn below */

    if (offset < window->parts[0].gfns.count) /* 0 in a window without parts */
        return offset;
    for (size_t i = 1; i < window->part_count; i++) {
        const struct dgm_window_part *part = &window->parts[i];

        offset = dgm_gfn_diff(gfn, part->gfns.first);
        if (offset < part->gfns.count)
            return part->index + offset;
    }
    return DGM_WINDOW_NONE;
}

#ifdef __cplusplus
}
#endif

#endif
