/* SPDX-License-Identifier: MIT */
/*
 * ranges: lists of address ranges, and what is left of them without other ranges
 *
 * For RAM without what is reserved, and free RAM without what is in use. A list has at most a few
 * dozen entries, in any order; they are disjoint if they were at first. Ranges do not wrap: base +
 * bytes is at most UINT64_MAX.
 */
#ifndef KERNEL_RANGES_H
#define KERNEL_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct range {
    uint64_t base, bytes;
};

/* True if they have a byte in common. */
bool range_overlaps(struct range a, struct range b);

/* The whole frames in `range`, or all frames that it touches; perhaps none. */
struct range range_inwards(struct range range);
struct range range_outwards(struct range range);

/*
 * Removes `hole` from each of the `count` ranges, of which empty ones vanish. One that is split
 * needs a new entry; where the list is full (`max`), its upper part is removed too, so that nothing
 * of the hole ever stays. Returns the new count.
 */
size_t ranges_remove(struct range *ranges, size_t count, size_t max, struct range hole);

#endif
