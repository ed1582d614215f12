/* SPDX-License-Identifier: MIT */
/*
 * memory_rig: the naive twin of tools/memory_map.c
 *
 * It tries every multiple of MEMORY_ALIGNMENT in every bank and compares each of its pages with
 * each taken range. Slow, so the banks of a test are small.
 */
#ifndef MEMORY_RIG_H
#define MEMORY_RIG_H

#include <tools/memory_map.h>

/* The lowest address for `size` bytes at or above `base`; UINT64_MAX when there is none. */
uint64_t memory_rig_lowest_place(const struct memory_map *map, uint64_t base, uint64_t size);

/* Fails the test unless the bytes lie in one bank and share no page with
 * the first `taken` ranges. */
void memory_rig_assert_free(const struct memory_map *map, size_t taken, uint64_t address,
                            uint64_t size);

#endif
