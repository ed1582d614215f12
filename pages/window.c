/* SPDX-License-Identifier: MIT */
/* window: a list of parts, each of which starts at a whole block. See dragoman/pages/window.h. */
#include <dragoman/base/status.h>
#include <dragoman/pages/window.h>

/* Neither range wraps. */
static bool ranges_overlap(struct dgm_gfn_range a, struct dgm_gfn_range b)
{
    return dgm_gfn_in(a, b.first) || dgm_gfn_in(b, a.first);
}

int dgm_window_add(struct dgm_window *window, struct dgm_gfn_range gfns)
{
    const uint64_t gap = -window->count % DGM_SLOT_BLOCK; /* to the next whole block */

    if (gfns.count == 0)
        return DGM_OK;
    /* The highest gfn and the highest index mean "none", so no part may include them. */
    if (gfns.count > dgm_gfn_diff(DGM_GFN_NONE, gfns.first) || gap > UINT64_MAX - window->count ||
        gfns.count > UINT64_MAX - window->count - gap)
        return DGM_EINVAL;
    for (size_t i = 0; i < window->part_count; i++)
        if (ranges_overlap(gfns, window->parts[i].gfns))
            return DGM_EINVAL;
    if (window->part_count == DGM_WINDOW_PARTS_MAX)
        return DGM_ENOSPC;
    window->parts[window->part_count++] =
        (struct dgm_window_part){.gfns = gfns, .index = window->count + gap};
    window->count += gap + gfns.count;
    return DGM_OK;
}
