/* SPDX-License-Identifier: MIT */
/*
 * memory_map.h: the addresses in a board's memory at which a file may lie while Xen starts.
 *
 * A map has the banks of RAM and the ranges in them that are taken: the blob's /memreserve/ list,
 * the children of /reserved-memory, the ranges that the caller reserves (Xen, the boot tree, what
 * firmware needs), and the ranges of placed files. It is read once from the board's tree and then
 * only grows. Pure: no output, no allocation; fuzz/boottree.c runs it on random trees. A board has
 * a few banks and about ten reserved ranges; placing is linear in both for every range it skips.
 */
#ifndef DRAGOMAN_TOOLS_MEMORY_MAP_H
#define DRAGOMAN_TOOLS_MEMORY_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MEMORY_BANK_MAX = 64,
    MEMORY_TAKEN_MAX = 512,
    /* Xen requires modules at page boundaries; boot loaders use this alignment. */
    MEMORY_ALIGNMENT = 2 * 1024 * 1024,
    /* A placed file shares no page with other ranges. */
    MEMORY_PAGE = 4096,
};

struct memory_range {
    uint64_t start;
    uint64_t size; /* start + size does not wrap */
};

struct memory_map {
    struct memory_range banks[MEMORY_BANK_MAX];
    size_t bank_count;
    struct memory_range taken[MEMORY_TAKEN_MAX];
    size_t taken_count;
    bool has_empty_bank; /* a memory node of size zero: firmware fills it in */
};

enum memory_map_result {
    MEMORY_MAP_OK,
    MEMORY_MAP_CELLS, /* #address-cells or #size-cells is not 1 or 2 */
    MEMORY_MAP_MANY,  /* more than MEMORY_BANK_MAX banks or MEMORY_TAKEN_MAX ranges */
};

/* True: Xen takes this node of the root for RAM, by its name and its device_type. */
bool memory_map_is_bank(const void *tree, int node);

/* Reads banks and reserved ranges from a tree that fdt_check_full() accepts. */
enum memory_map_result memory_map_read(struct memory_map *map, const void *tree);

/* Reserves a range for no file. False: the map is full. */
bool memory_map_reserve(struct memory_map *map, struct memory_range range);

/*
 * Finds the lowest address at or above `base`, a multiple of MEMORY_ALIGNMENT, at which `size`
 * bytes
 * (> 0) lie within one bank and touch no page of a taken range, and reserves them. False when there
 * is none, or the map is full.
 */
bool memory_map_place(struct memory_map *map, uint64_t base, uint64_t size, uint64_t *address);

/* The lowest address of RAM; UINT64_MAX without a bank. */
uint64_t memory_map_lowest(const struct memory_map *map);

/* True when the address lies in a bank. */
bool memory_map_has(const struct memory_map *map, uint64_t address);

/* The size of all RAM, reserved ranges included; UINT64_MAX at most. */
uint64_t memory_map_ram_bytes(const struct memory_map *map);

#endif
