/* SPDX-License-Identifier: MIT */
/*
 * memory_map: if these fail, mkboottree puts a kernel where firmware, Xen or another file lies, and
 * the machine crashes at boot or, worse, later.
 */
#include "memory_rig.h"
#include "unit.h"

#include <libfdt.h>

#define MIB (1024u * 1024)

static char tree[4096];
static struct memory_map map;

/* A tree with these cells as the reg of its memory node and of one reserved range. */
static void make_tree(uint32_t address_cells, uint32_t size_cells, const uint32_t *memory,
                      size_t memory_count, const uint32_t *reserved, size_t reserved_count)
{
    fdt32_t cells[16];

    fdt_create(tree, sizeof tree);
    fdt_add_reservemap_entry(tree, 0x8000000, 0x1000);
    fdt_finish_reservemap(tree);
    fdt_begin_node(tree, "");
    fdt_property_u32(tree, "#address-cells", address_cells);
    fdt_property_u32(tree, "#size-cells", size_cells);
    fdt_begin_node(tree, "memory@0");
    fdt_property_string(tree, "device_type", "memory");
    for (size_t i = 0; i < memory_count; i++)
        cells[i] = cpu_to_fdt32(memory[i]);
    fdt_property(tree, "reg", cells, (int)memory_count * 4);
    fdt_end_node(tree);
    fdt_begin_node(tree, "reserved-memory");
    fdt_property_u32(tree, "#address-cells", address_cells);
    fdt_property_u32(tree, "#size-cells", size_cells);
    fdt_begin_node(tree, "firmware@0");
    for (size_t i = 0; i < reserved_count; i++)
        cells[i] = cpu_to_fdt32(reserved[i]);
    fdt_property(tree, "reg", cells, (int)reserved_count * 4);
    fdt_end_node(tree);
    fdt_end_node(tree);
    fdt_end_node(tree);
    assert_int_equal(fdt_finish(tree), 0);
    assert_int_equal(fdt_check_full(tree, sizeof tree), 0);
}

static void reads_banks_and_reserved_ranges(void **state)
{
    static const uint32_t memory[] = {0, 0x40000000, 0, 0x10000000, 1, 0, 2, 0};
    static const uint32_t reserved[] = {0, 0x41000000, 0, 0x2000};

    make_tree(2, 2, memory, 8, reserved, 4);
    assert_int_equal(memory_map_read(&map, tree), MEMORY_MAP_OK);
    assert_int_equal(map.bank_count, 2);
    assert_int_equal(map.banks[0].start, 0x40000000);
    assert_int_equal(map.banks[1].start, 0x100000000);
    assert_int_equal(map.banks[1].size, 0x200000000);
    assert_int_equal(map.taken_count, 2);
    assert_int_equal(map.taken[0].start, 0x8000000);
    assert_int_equal(map.taken[1].size, 0x2000);
    assert_int_equal(memory_map_lowest(&map), 0x40000000);
    assert_int_equal(memory_map_ram_bytes(&map), 0x210000000);
    assert_true(memory_map_has(&map, 0x4fffffff));
    assert_false(memory_map_has(&map, 0x50000000));
}

/* Firmware fills such a node in; a size of zero is no bank. */
static void a_bank_of_size_zero(void **state)
{
    static const uint32_t memory[] = {0, 0, 0};

    make_tree(2, 1, memory, 3, NULL, 0);
    assert_int_equal(memory_map_read(&map, tree), MEMORY_MAP_OK);
    assert_int_equal(map.bank_count, 0);
    assert_true(map.has_empty_bank);
    assert_int_equal(memory_map_lowest(&map), UINT64_MAX);
}

static void cells_that_are_wrong(void **state)
{
    static const uint32_t memory[] = {0, 0, 0, 0, 0, 0};
    static const uint32_t wrong[][2] = {{3, 1}, {1, 3}, {0, 1}, {1, 0}};

    for (size_t i = 0; i < 4; i++) {
        make_tree(wrong[i][0], wrong[i][1], memory, 6, NULL, 0);
        assert_int_equal(memory_map_read(&map, tree), MEMORY_MAP_CELLS);
    }
}

/* A range whose end wraps ends with the address space. */
static void ranges_at_the_end_of_the_address_space(void **state)
{
    static const uint32_t memory[] = {0xffffffff, 0xff000000, 0xffffffff, 0xffffffff};
    static const uint32_t reserved[] = {0xffffffff, 0xffe00000, 0xffffffff, 0xffffffff};
    uint64_t address;

    make_tree(2, 2, memory, 4, reserved, 4);
    assert_int_equal(memory_map_read(&map, tree), MEMORY_MAP_OK);
    assert_int_equal(map.banks[0].size, 0xffffff);
    assert_true(memory_map_place(&map, 0, 12 * MIB, &address));
    assert_int_equal(address, 0xffffffffff000000);
    assert_true(memory_map_place(&map, 0, 2 * MIB, &address));
    assert_int_equal(address, 0xffffffffffc00000);
    assert_false(memory_map_place(&map, 0, 1, &address));
}

/* Fails: a file ends in the page in which a reserved range begins,
 * and Xen frees that page later. */
static void pages_are_not_shared(void **state)
{
    uint64_t address;

    map = (struct memory_map){.banks = {{0, 8 * MIB}}, .bank_count = 1};
    assert_true(memory_map_reserve(&map, (struct memory_range){0x1fff, 1}));
    assert_true(memory_map_place(&map, 0, 0x1000, &address));
    assert_int_equal(address, 0);
    assert_true(memory_map_reserve(&map, (struct memory_range){2 * MIB + 0x1fff, 1}));
    assert_true(memory_map_place(&map, 1, 0x1001, &address));
    assert_int_equal(address, 4 * MIB);
}

static void a_full_map(void **state)
{
    uint64_t address;

    map = (struct memory_map){.banks = {{0, 4096ull * MIB}}, .bank_count = 1};
    for (unsigned i = 0; i < MEMORY_TAKEN_MAX; i++)
        assert_true(memory_map_place(&map, 0, 1, &address));
    assert_false(memory_map_place(&map, 0, 1, &address));
    assert_false(memory_map_reserve(&map, (struct memory_range){0, 1}));
    assert_true(memory_map_reserve(&map, (struct memory_range){0, 0}));
}

/* A range of up to `size_max` bytes. */
static struct memory_range range_of(uint64_t start, uint64_t size_max)
{
    return (struct memory_range){start, 1 + unit_below(size_max)};
}

static void places_as_the_naive_twin_does(void **state)
{
    uint64_t seed = unit_seed();

    for (unsigned round = 0; round < 300; round++) {
        map = (struct memory_map){.bank_count = 1 + unit_below(3)};
        for (size_t i = 0; i < map.bank_count; i++) {
            const uint64_t mib = unit_below(64), frames = unit_below(3);

            map.banks[i] = range_of(mib * MIB + frames * 4096, 24 * MIB);
        }
        for (uint64_t n = unit_below(6); n > 0; n--)
            memory_map_reserve(&map, range_of(unit_below(90 * MIB), 4 * MIB));
        for (unsigned n = 0; n < 8; n++) {
            uint64_t base = unit_below(60 * MIB), size = 1 + unit_below(5 * MIB), address;
            size_t taken = map.taken_count;
            uint64_t expected = memory_rig_lowest_place(&map, base, size);
            bool placed = memory_map_place(&map, base, size, &address);

            if (placed != (expected != UINT64_MAX) || (placed && address != expected))
                print_error("round %u of seed %llu\n", round, (unsigned long long)seed);
            assert_int_equal(placed, expected != UINT64_MAX);
            if (!placed)
                continue;
            assert_int_equal(address, expected);
            memory_rig_assert_free(&map, taken, address, size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_banks_and_reserved_ranges),
        cmocka_unit_test(a_bank_of_size_zero),
        cmocka_unit_test(cells_that_are_wrong),
        cmocka_unit_test(ranges_at_the_end_of_the_address_space),
        cmocka_unit_test(pages_are_not_shared),
        cmocka_unit_test(a_full_map),
        cmocka_unit_test(places_as_the_naive_twin_does),
    };

    return cmocka_run_group_tests_name("memory_map", tests, NULL, NULL);
}
