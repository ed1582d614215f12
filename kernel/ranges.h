/* SPDX-License-Identifier: MIT */
/*
 * ranges: lists of address ranges, and their difference to other ranges
 *
 * Used to remove reserved memory from RAM, and memory in use from free RAM. A list has at most a
 * few dozen entries, in any order; they are disjoint if they were at first. Ranges do not wrap:
 * base + bytes is at most UINT64_MAX.
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
/* True if `range` has a byte in common with any of `count` ranges. */
bool ranges_overlap(const struct range *ranges, size_t count, struct range range);

/* The whole frames in `range` (inwards), or all frames that overlap it (outwards); the result may
 * be empty. */
struct range range_inwards(struct range range);
struct range range_outwards(struct range range);

/*
 * Removes `hole` from each of the `count` ranges; empty ranges are removed from the list. A range
 * that is split needs another entry; if the list is full (`max`), its upper part is removed too, so
 * that no part of the hole ever remains. Returns the new count.
 */
size_t ranges_remove(struct range *ranges, size_t count, struct range hole, size_t max);

#endif
