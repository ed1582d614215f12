/* SPDX-License-Identifier: MIT */
/*
 * fuzz boottree: the addresses that mkboottree gives to files, on any board's tree
 *
 * The first byte chooses: the rest is the blob itself, or a program that builds a tree with banks
 * of memory, /memreserve/ entries and children of /reserved-memory, some of them wrong. Then files
 * are placed. Properties: a file lies in one bank and shares no page with a reserved range or
 * another file; if the banks are small, its address is that of a naive twin.
 */
#include "lib/feed.h"
#include "memory_rig.h"

#include <libfdt.h>

#define BLOB_MAX  16384
#define SMALL_MAX (64ull << 20)

static struct memory_map map;

/* Mostly small numbers, so that ranges overlap. */
static uint64_t some_address(struct feed *feed)
{
    uint64_t address;

    if (feed_chance(feed, 16))
        return feed_take(feed, 8);
    address = feed_below(feed, 96) << 20;
    return address | (feed_chance(feed, 128) ? feed_take(feed, 2) : 0);
}

static void add_reg(struct feed *feed, void *fdt, unsigned address_cells, unsigned size_cells)
{
    fdt32_t cells[32];
    size_t count = 0;

    for (uint64_t ranges = 1 + feed_below(feed, 3); ranges > 0; ranges--) {
        const uint64_t address = some_address(feed);
        const uint64_t values[2] = {address, some_address(feed)};
        const unsigned counts[2] = {address_cells, size_cells};
        for (unsigned v = 0; v < 2; v++)
            for (unsigned c = counts[v]; c > 0; c--)
                cells[count++] = cpu_to_fdt32(c > 2 ? 0 : (uint32_t)(values[v] >> 32 * (c - 1)));
    }
    if (count > 0 && feed_chance(feed, 16))
        count--; /* the last range is incomplete */
    fdt_property(fdt, "reg", cells, (int)count * 4);
}

static unsigned some_cells(struct feed *feed)
{
    return feed_chance(feed, 8) ? (unsigned)feed_below(feed, 5) : 1 + (unsigned)feed_below(feed, 2);
}

static void build_tree(struct feed *feed, void *fdt, int bytes)
{
    unsigned address_cells = some_cells(feed), size_cells = some_cells(feed);

    fdt_create(fdt, bytes);
    for (uint64_t n = feed_below(feed, 4); n > 0; n--) {
        const uint64_t address = some_address(feed);

        fdt_add_reservemap_entry(fdt, address, some_address(feed));
    }
    fdt_finish_reservemap(fdt);
    fdt_begin_node(fdt, "");
    fdt_property_u32(fdt, "#address-cells", address_cells);
    fdt_property_u32(fdt, "#size-cells", size_cells);
    for (uint64_t n = feed_below(feed, 4); n > 0; n--) {
        fdt_begin_node(fdt, n == 1 ? "memory" : n == 2 ? "memory@1" : "memory@2");
        fdt_property_string(fdt, "device_type", "memory");
        add_reg(feed, fdt, address_cells, size_cells);
        fdt_end_node(fdt);
    }
    if (feed_chance(feed, 192)) {
        fdt_begin_node(fdt, "reserved-memory");
        address_cells = some_cells(feed);
        size_cells = some_cells(feed);
        fdt_property_u32(fdt, "#address-cells", address_cells);
        fdt_property_u32(fdt, "#size-cells", size_cells);
        for (uint64_t n = feed_below(feed, 4); n > 0; n--) {
            fdt_begin_node(fdt, n == 1 ? "a" : n == 2 ? "b" : "c");
            if (!feed_chance(feed, 32))
                add_reg(feed, fdt, address_cells, size_cells);
            fdt_end_node(fdt);
        }
        fdt_end_node(fdt);
    }
    fdt_end_node(fdt);
    fdt_finish(fdt);
}

/* The naive twin needs time linear in the size of the banks. */
static bool is_small(void)
{
    for (size_t i = 0; i < map.bank_count; i++)
        if (map.banks[i].size > SMALL_MAX)
            return false;
    return true;
}

static void place_files(struct feed *feed)
{
    for (uint64_t n = 1 + feed_below(feed, 8); n > 0; n--) {
        const uint64_t base = some_address(feed), size = 1 + feed_below(feed, 6 << 20);
        const size_t taken = map.taken_count;
        const uint64_t expected =
            is_small() ? memory_rig_lowest_place(&map, base, size) : UINT64_MAX;
        uint64_t address;

        if (!memory_map_place(&map, base, size, &address)) {
            fuzz_check(expected == UINT64_MAX || map.taken_count == MEMORY_TAKEN_MAX);
            continue;
        }
        fuzz_check(!is_small() || address == expected);
        fuzz_check(address >= base);
        memory_rig_assert_free(&map, taken, address, size);
    }
}

void run_input(struct feed *feed)
{
    static uint8_t blob[BLOB_MAX];

    if (feed_chance(feed, 32)) {
        size_t bytes = feed_copy(feed, blob, sizeof blob / 2);
        if (fdt_check_full(blob, bytes) != 0)
            return;
    } else {
        build_tree(feed, blob, sizeof blob);
        if (fdt_check_full(blob, sizeof blob) != 0)
            return;
    }
    if (memory_map_read(&map, blob) == MEMORY_MAP_OK)
        place_files(feed);
}
