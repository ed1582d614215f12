/* SPDX-License-Identifier: MIT */
/*
 * balloon: our own RAM given up, as slots for foreign frames
 *
 * For machines without extended regions (Xen's ext_regions=0). The frames leave our p2m by
 * XENMEM_decrease_reservation and become slots. On a direct-mapped Dom0 Xen keeps such a page
 * allocated to us (it must be able to give the same one back), so nothing returns to Xen: each slot
 * costs a frame of real RAM.
 */
#ifndef DRAGOMAN_BALLOON_H
#define DRAGOMAN_BALLOON_H

#include <dragoman/addr.h>

/*
 * Gives up `range`, which must be our own RAM, unused. Returns the number of frames that Xen took:
 * they are the first ones of the range. The rest is still RAM. Negative: none was taken.
 */
int64_t dgm_balloon_out(struct dgm_gfn_range range);

/* Takes `range` back from Xen, contents undefined. Returns the number of frames restored, from the
 * first on. */
int64_t dgm_balloon_in(struct dgm_gfn_range range);

#endif
