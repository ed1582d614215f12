/* SPDX-License-Identifier: MIT */
/*
 * pages/internal: what only pages/ does with the tables of our guest-physical space
 *
 * grant.c alone publishes and unpublishes frames; balloon.c alone moves RAM in and out and
 * withdraws slots. identity_table.h has the table of identity mappings.
 */
#ifndef PAGES_INTERNAL_H
#define PAGES_INTERNAL_H

#include <dragoman/pages/p2m.h>
#include <dragoman/pages/slot.h>

/* --- window.c --- */

/* The gfn of the slot with `index`, which dgm_window_index() returned. */
static inline dgm_gfn_t dgm_window_gfn(const struct dgm_window *window, uint64_t index)
{
    size_t i = window->part_count - 1;

    while (window->parts[i].index > index)
        i--;
    return dgm_gfn_add(window->parts[i].gfns.first, index - window->parts[i].index);
}

/* --- p2m.c --- */

/* Assert that `gfn` is a slot: an empty one (publish), or a full one without DMA in flight
 * (unpublish). */
void dgm_p2m_publish(struct dgm_p2m *p2m, dgm_gfn_t gfn, dgm_mfn_t mfn);
void dgm_p2m_unpublish(struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* True if a device may access some foreign frame now. O(window), so only for rare decisions. */
bool dgm_p2m_in_flight(const struct dgm_p2m *p2m);

/* --- slot.c --- */

/*
 * Removes all slots of the block that starts at `first` from the store. Any reactor may call it,
 * one at a time. Returns their number. DGM_EAGAIN: a cache owns the block (shrink that cache), or
 * the store never had it. DGM_EBUSY: a slot of the block is retired and may still show a guest's
 * page, so the block stays.
 */
int dgm_slots_withdraw(struct dgm_slots *slots, dgm_gfn_t first);

/* --- balloon.c --- */

struct dgm_balloon;

/* Makes one step now. True: it succeeded, and the target is not reached yet. */
bool dgm_balloon_step(struct dgm_balloon *balloon);

/* Gets `range` back from Xen, with undefined contents. Returns the number of frames restored, the
 * first ones of the range. Negative: Xen's error, and it restored none. */
int64_t dgm_balloon_in(struct dgm_gfn_range range);

#endif
