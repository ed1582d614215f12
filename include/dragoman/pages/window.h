/* SPDX-License-Identifier: MIT */
/*
 * window: the slot window, all guest frames of ours that are slots
 *
 * A window is made of a few runs of gfns (parts): extended regions, ballooned-out RAM, or both.
 * Every slot has an index, which counts through the parts, so that all that is kept per slot lies
 * in flat arrays. Finding an index costs one comparison for the first part, one more for each
 * further one. Made at start, then never changed: any reactor may read it.
 */
#ifndef DRAGOMAN_PAGES_WINDOW_H
#define DRAGOMAN_PAGES_WINDOW_H

#include <dragoman/base/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_WINDOW_PARTS_MAX 8
#define DGM_WINDOW_NONE      UINT64_MAX

/* Slots are owned in blocks, see slot.h. Every part starts at an index that is a multiple. */
#define DGM_SLOT_BLOCK 64u

struct dgm_window_part {
    struct dgm_gfn_range gfns;
    uint64_t index; /* of its first slot */
};

struct dgm_window {
    struct dgm_window_part parts[DGM_WINDOW_PARTS_MAX];
    size_t part_count;
    uint64_t count; /* indexes are below this; a few at the ends of parts stand for no slot */
};

/* The window of one part. */
static inline struct dgm_window dgm_window(struct dgm_gfn_range gfns)
{
    return (struct dgm_window){
        .parts = {{.gfns = gfns, .index = 0}}, .part_count = gfns.count != 0, .count = gfns.count};
}

/* Adds a part. DGM_EINVAL: it overlaps another, or wraps. DGM_ENOSPC: too many. */
int dgm_window_add(struct dgm_window *window, struct dgm_gfn_range gfns);

/* The slot's index, or DGM_WINDOW_NONE: no slot. */
static inline uint64_t dgm_window_index(const struct dgm_window *window, dgm_gfn_t gfn)
{
    uint64_t in = gfn.n - window->parts[0].gfns.first.n; /* wraps to something large below it */

    if (in < window->parts[0].gfns.count) /* 0 in a window without parts */
        return in;
    for (size_t i = 1; i < window->part_count; i++) {
        const struct dgm_window_part *part = &window->parts[i];

        in = gfn.n - part->gfns.first.n;
        if (in < part->gfns.count)
            return part->index + in;
    }
    return DGM_WINDOW_NONE;
}

/* The gfn of a slot; `index` is one that dgm_window_index() gave. */
static inline dgm_gfn_t dgm_window_gfn(const struct dgm_window *window, uint64_t index)
{
    size_t i = window->part_count - 1;

    while (window->parts[i].index > index)
        i--;
    return dgm_gfn(window->parts[i].gfns.first.n + (index - window->parts[i].index));
}

#ifdef __cplusplus
}
#endif

#endif
