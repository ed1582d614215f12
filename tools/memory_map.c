/* SPDX-License-Identifier: MIT */
/* memory_map.c: see memory_map.h. */
#include "memory_map.h"

#include <libfdt.h>
#include <string.h>

/* A range whose end does not wrap; a longer one is truncated at the end of the address space. */
static struct memory_range range_of(uint64_t start, uint64_t size)
{
    if (size > UINT64_MAX - start)
        size = UINT64_MAX - start;
    return (struct memory_range){start, size};
}

static uint64_t read_cells(const fdt32_t *cells, int count)
{
    uint64_t value = 0;

    for (int i = 0; i < count; i++)
        value = value << 32 | fdt32_to_cpu(cells[i]);
    return value;
}

bool memory_map_reserve(struct memory_map *map, struct memory_range range)
{
    if (range.size == 0)
        return true;
    if (map->taken_count == MEMORY_TAKEN_MAX)
        return false;
    map->taken[map->taken_count++] = range_of(range.start, range.size);
    return true;
}

static bool add_bank(struct memory_map *map, struct memory_range range)
{
    if (range.size == 0) {
        map->has_empty_bank = true;
        return true;
    }
    if (map->bank_count == MEMORY_BANK_MAX)
        return false;
    map->banks[map->bank_count++] = range;
    return true;
}

/* Passes every range of the node's reg property to `add`. */
static enum memory_map_result read_reg(struct memory_map *map, const void *tree, int node,
                                       int parent,
                                       bool (*add)(struct memory_map *, struct memory_range))
{
    int length;
    const fdt32_t *reg = fdt_getprop(tree, node, "reg", &length);
    const int address_cells = fdt_address_cells(tree, parent);
    const int size_cells = fdt_size_cells(tree, parent);
    const int step = address_cells + size_cells;

    if (reg == NULL)
        return MEMORY_MAP_OK;
    if (address_cells < 1 || address_cells > 2 || size_cells < 1 || size_cells > 2)
        return MEMORY_MAP_CELLS;
    for (int at = 0; at + step <= length / 4; at += step) {
        struct memory_range range = range_of(read_cells(reg + at, address_cells),
                                             read_cells(reg + at + address_cells, size_cells));
        if (!add(map, range))
            return MEMORY_MAP_MANY;
    }
    return MEMORY_MAP_OK;
}

bool memory_map_is_bank(const void *tree, int node)
{
    int length;
    const char *type = fdt_getprop(tree, node, "device_type", &length);
    const char *name = fdt_get_name(tree, node, NULL);

    return type != NULL && length == 7 && memcmp(type, "memory", 7) == 0 && name != NULL &&
           (strcmp(name, "memory") == 0 || strncmp(name, "memory@", 7) == 0);
}

/* Xen reserves the ranges of all nodes below /reserved-memory, at any depth. */
static enum memory_map_result read_reserved(struct memory_map *map, const void *tree)
{
    enum memory_map_result result = MEMORY_MAP_OK;
    int node = fdt_path_offset(tree, "/reserved-memory"), depth = 0;

    if (node < 0)
        return MEMORY_MAP_OK;
    while (result == MEMORY_MAP_OK && (node = fdt_next_node(tree, node, &depth)) >= 0 && depth > 0)
        result = read_reg(map, tree, node, fdt_parent_offset(tree, node), memory_map_reserve);
    return result;
}

enum memory_map_result memory_map_read(struct memory_map *map, const void *tree)
{
    enum memory_map_result result = MEMORY_MAP_OK;
    int node;

    *map = (struct memory_map){0};
    fdt_for_each_subnode(node, tree, 0)
    {
        if (memory_map_is_bank(tree, node))
            result = read_reg(map, tree, node, 0, add_bank);
        if (result != MEMORY_MAP_OK)
            return result;
    }
    for (int i = 0; i < fdt_num_mem_rsv(tree); i++) {
        uint64_t start, size;
        if (fdt_get_mem_rsv(tree, i, &start, &size) == 0 &&
            !memory_map_reserve(map, (struct memory_range){start, size}))
            return MEMORY_MAP_MANY;
    }
    return read_reserved(map, tree);
}

/* Rounds up; false when the result does not fit. `to` is a power of two. */
static bool round_up(uint64_t *value, uint64_t to)
{
    if (*value > UINT64_MAX - (to - 1))
        return false;
    *value = (*value + to - 1) & ~(to - 1);
    return true;
}

/* The taken range that shares a page with the given one; NULL when there is none. */
static const struct memory_range *overlapping_range(const struct memory_map *map, uint64_t start,
                                                    uint64_t size)
{
    const uint64_t first = start / MEMORY_PAGE, last = (start + size - 1) / MEMORY_PAGE;

    for (size_t i = 0; i < map->taken_count; i++) {
        const struct memory_range *taken = &map->taken[i];
        if (taken->start / MEMORY_PAGE <= last &&
            (taken->start + taken->size - 1) / MEMORY_PAGE >= first)
            return taken;
    }
    return NULL;
}

/* The lowest free place in one bank. Each step moves the address up, so the search ends. */
static bool place_in_bank(const struct memory_map *map, const struct memory_range *bank,
                          uint64_t base, uint64_t size, uint64_t *address)
{
    const uint64_t bank_end = bank->start + bank->size;
    uint64_t start = base > bank->start ? base : bank->start;

    while (round_up(&start, MEMORY_ALIGNMENT) && start < bank_end && size <= bank_end - start) {
        const struct memory_range *taken = overlapping_range(map, start, size);
        if (taken == NULL) {
            *address = start;
            return true;
        }
        start = taken->start + taken->size;
        if (!round_up(&start, MEMORY_PAGE))
            return false;
    }
    return false;
}

bool memory_map_place(struct memory_map *map, uint64_t base, uint64_t size, uint64_t *address)
{
    bool found = false;

    for (size_t i = 0; i < map->bank_count; i++) {
        uint64_t candidate;
        if (place_in_bank(map, &map->banks[i], base, size, &candidate) &&
            (!found || candidate < *address)) {
            *address = candidate;
            found = true;
        }
    }
    return found && memory_map_reserve(map, (struct memory_range){*address, size});
}

uint64_t memory_map_lowest(const struct memory_map *map)
{
    uint64_t lowest = UINT64_MAX;

    for (size_t i = 0; i < map->bank_count; i++)
        if (map->banks[i].start < lowest)
            lowest = map->banks[i].start;
    return lowest;
}

bool memory_map_has(const struct memory_map *map, uint64_t address)
{
    for (size_t i = 0; i < map->bank_count; i++)
        if (address >= map->banks[i].start && address - map->banks[i].start < map->banks[i].size)
            return true;
    return false;
}

uint64_t memory_map_ram_bytes(const struct memory_map *map)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < map->bank_count; i++)
        bytes = map->banks[i].size > UINT64_MAX - bytes ? UINT64_MAX : bytes + map->banks[i].size;
    return bytes;
}
