/* SPDX-License-Identifier: MIT */
/* memory_rig: see memory_rig.h. */
#include "memory_rig.h"
#include "unit.h"

static bool in_one_bank(const struct memory_map *map, uint64_t address, uint64_t size)
{
    for (size_t i = 0; i < map->bank_count; i++)
        if (address >= map->banks[i].start && address - map->banks[i].start < map->banks[i].size &&
            size <= map->banks[i].size - (address - map->banks[i].start))
            return true;
    return false;
}

static bool page_is_taken(const struct memory_map *map, size_t taken, uint64_t page)
{
    for (size_t i = 0; i < taken; i++)
        if (map->taken[i].start / MEMORY_PAGE <= page &&
            (map->taken[i].start + (map->taken[i].size - 1)) / MEMORY_PAGE >= page)
            return true;
    return false;
}

static bool pages_are_free(const struct memory_map *map, size_t taken, uint64_t address,
                           uint64_t size)
{
    for (uint64_t page = address / MEMORY_PAGE; page <= (address + (size - 1)) / MEMORY_PAGE;
         page++)
        if (page_is_taken(map, taken, page))
            return false;
    return true;
}

void memory_rig_assert_free(const struct memory_map *map, size_t taken, uint64_t address,
                            uint64_t size)
{
    assert_int_equal(address % MEMORY_ALIGNMENT, 0);
    assert_true(in_one_bank(map, address, size));
    assert_true(pages_are_free(map, taken, address, size));
}

uint64_t memory_rig_lowest_place(const struct memory_map *map, uint64_t base, uint64_t size)
{
    uint64_t lowest = UINT64_MAX;

    for (size_t i = 0; i < map->bank_count; i++) {
        const struct memory_range *bank = &map->banks[i];
        const uint64_t beyond = bank->start % MEMORY_ALIGNMENT;

        for (uint64_t offset = beyond ? MEMORY_ALIGNMENT - beyond : 0; offset < bank->size;
             offset += MEMORY_ALIGNMENT) {
            const uint64_t at = bank->start + offset;
            if (at >= base && at < lowest && in_one_bank(map, at, size) &&
                pages_are_free(map, map->taken_count, at, size))
                lowest = at;
        }
    }
    return lowest;
}
