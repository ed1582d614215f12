/* SPDX-License-Identifier: MIT */
/*
 * devtree: trees that are wrong or reserve memory. If these fail, a wrong property ends in a data
 * abort or a failed assertion instead of a log line, or firmware's memory is used as ours.
 */
#include "board_tree_rig.h"

#include <dragoman/base/status.h>
#include <kernel/devtree.h>

static struct devtree tree;

/* Fails: the operator sees an assertion of the PCI scan, or a data abort, and no disk works. */
static void wrong_bridge_is_left_out_and_the_next_one_used(void **state)
{
    static const struct {
        const char *says;
        uint32_t offset, cell, value; /* of parts: one cell replaced */
    } rows[] = {
#define CELL(member, cell, value) offsetof(struct parts, member), cell, value
        {"bus-range", CELL(first.bus_range, 0, 0x100)},
        {"bus-range", CELL(first.bus_range, 1, 256)},
        {"1 MiB", CELL(first.reg, 3, 0)},
        {"1 MiB", CELL(first.reg, 3, 0xfffff)},
        {"memory", CELL(first.reg, 0, 0)},
        {"wrapping", CELL(first.reg, 2, 0xffffffff)},
        {"dma-ranges", CELL(first.dma, 6, 0)},
        {"dma-ranges", CELL(first.dma, 2, 0xc0000800)},
        {"dma-ranges", CELL(first.dma, 5, 0xffffffff)},
        {"bus-range", CELL(first.bus_cells, 0, 1)},
        {"#address-cells", CELL(first.address_cells, 0, 2)},
        {"48 bits", CELL(first.reg, 0, 0x10000)},
        {"not on a frame", CELL(first.reg, 1, 0x10000800)},
#undef CELL
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct parts parts = sound;
        struct devtree_pci pci;
        int node = -1;

        if (rows[i].value == 0 && rows[i].offset == offsetof(struct parts, first.reg))
            parts.first.reg[1] = 0x44000000; /* over RAM, if the cell above it is 0 */
        memcpy((char *)&parts + rows[i].offset + rows[i].cell * 4, &rows[i].value, 4);
        if (rows[i].says[0] == 'w')
            parts.first.reg[0] = 0xffffffff;
        devtree_read(&tree, board_tree(&parts));
        assert_true(devtree_pci_next(&tree, &node, &pci));
        assert_int_equal(pci.config.base, 0x5010000000);
        if (!strstr(dgm_sim_last_log(), "pcie@1") || !strstr(dgm_sim_last_log(), rows[i].says))
            fail_msg("row %zu: \"%s\" says nothing of %s", i, dgm_sim_last_log(), rows[i].says);
        assert_false(devtree_pci_next(&tree, &node, &pci));
    }
}

/* Fails: the impossible range 5 to 3 is scanned. */
static void bus_range_backwards(void **state)
{
    struct parts parts = sound;
    struct devtree_pci pci;
    int node = -1;

    parts.first.bus_range[0] = 5;
    parts.first.bus_range[1] = 3;
    devtree_read(&tree, board_tree(&parts));
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.config.base, 0x5010000000);
}

/* Fails: the scan follows a root port to a bus without configuration space. */
static void buses_end_with_the_configuration_space(void **state)
{
    struct parts parts = sound;
    struct devtree_pci pci;
    int node = -1;

    parts.first.reg[3] = 0x380000; /* three buses and a half */
    parts.first.bus_range[0] = 4;
    devtree_read(&tree, board_tree(&parts));
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.bus_first, 4);
    assert_int_equal(pci.bus_last, 6);
    assert_non_null(strstr(dgm_sim_last_log(), "fewer buses"));
}

/* Fails: an empty window reaches the PCI code, which asserts that windows are not empty. */
static void wrong_windows_are_left_out(void **state)
{
    static const uint32_t cells[][3] = {
        /* cell, value, and whether the high cell of the PCI address is ones */
        {6, 0, 0},          /* 0 bytes */
        {5, 0xffffffff, 1}, /* wraps on the bus */
        {4, 0x42000000, 0}, /* over RAM */
        {4, 0x4e000000, 0}, /* over the grant window alone */
        {0, 0, 0},          /* configuration space */
        {2, 0xf0000000, 1}, /* wraps on the bus alone */
        {3, 0x10000, 0},    /* beyond 48 bits */
        {3, 0x40, 0},       /* over the bridge's own configuration space */
        {3, 0x50, 0},       /* over that of the other bridge */
        {4, 0x8000000, 0},  /* over the interrupt controller */
    };

    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        struct parts parts = sound;
        struct devtree_pci pci;
        int node = -1;

        parts.first.window[cells[i][0]] = cells[i][1];
        if (cells[i][2])
            parts.first.window[1] = 0xffffffff;
        devtree_read(&tree, board_tree(&parts));
        assert_true(devtree_pci_next(&tree, &node, &pci));
        assert_int_equal(pci.config.base, 0x4010000000);
        assert_int_equal(pci.window_count, 0);
    }
}

/* Fails: two BARs get the same address, or the log does not say that a window is missing. */
static void windows_that_overlap_or_are_cut(void **state)
{
    static const uint32_t ranges[] = {0x2000000, 0, 0x10000000, 0, 0x10000000, 0, 0x10000000,
                                      0x3000000, 1, 0,          0, 0x1ffff000, 0, 0x10000000,
                                      0x3000000, 2, 0,          0, 0x20000000, 0};
    struct devtree_pci pci;
    int node = -1;

    board_begin_bridge();
    tree_cells_at("ranges", ranges, 20);
    tree_end();
    dgm_sim_log_clear();
    devtree_read(&tree, tree_finish());
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.window_count, 1);
    assert_int_equal(pci.windows[0].cpu, 0x10000000);
    assert_int_equal(dgm_sim_logged("cut within a window"), 1);
    assert_int_equal(dgm_sim_logged("lies over a range of pcie@1"), 1);
}

/* Fails: the devices of one bridge are found twice, so that a disk has two names and two owners;
 * or a bridge is left out for buses that the other does not have. */
static void one_configuration_space_of_two_bridges(void **state)
{
    struct parts parts = sound;
    struct devtree_pci pci;
    int node = -1;

    parts.first.reg[0] = 0x50;
    parts.first.reg[1] = 0x1ff00000; /* the last bus of the other bridge */
    devtree_read(&tree, board_tree(&parts));
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.config.base, 0x501ff00000);
    assert_false(devtree_pci_next(&tree, &node, &pci));
    assert_non_null(strstr(dgm_sim_last_log(), "pcie@2: reg: lies over a range of pcie@1"));

    parts.first.reg[1] = 0xff00000;
    parts.first.bus_range[1] = 0; /* it ends where the other begins, whatever its reg says */
    devtree_read(&tree, board_tree(&parts));
    node = -1;
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.config.bytes, 0x100000);
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.config.base, 0x5010000000);
}

/* Fails: windows that overlap, or are out of order, reach dma, which relies on neither. */
static void dma_windows(void **state)
{
    struct parts parts = sound;
    struct devtree_pci pci;
    int node = -1;
    static const uint32_t descending[14] = {0, 1, 0, 0, 0x80000000, 0, 0x1000,
                                            0, 2, 0, 0, 0x40000000, 0, 0x40000000};
    uint32_t overlapping[14];

    for (int overlap = 0; overlap < 2; overlap++) {
        memcpy(overlapping, descending, sizeof overlapping);
        if (overlap)
            overlapping[13] = 0x40001000;
        board_begin_bridge();
        tree_cells_at("dma-ranges", overlapping, 14);
        tree_end();
        devtree_read(&tree, tree_finish());
        node = -1;
        assert_int_equal(devtree_pci_next(&tree, &node, &pci), !overlap);
    }
    node = -1;
    overlapping[13] = 0x40000000;
    parts.first.dma_cells = 0; /* empty: the same addresses */
    devtree_read(&tree, board_tree(&parts));
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.dma.count, 0);
    assert_int_equal(pci.config.base, 0x4010000000);
    node = -1;
    parts.first.dma_cells = 3; /* cut */
    devtree_read(&tree, board_tree(&parts));
    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.config.base, 0x5010000000);
}

/* Fails: a wrong value that the start needs is used, instead of stopping with the cause. */
static void wrong_basics_stop_with_a_cause(void **state)
{
    static const struct {
        const char *says;
        uint32_t offset, cell, value;
    } rows[] = {
        {"/hypervisor: reg is too small", offsetof(struct parts, hypervisor), 3, 0x1fff},
        {"/hypervisor: reg lies over memory", offsetof(struct parts, hypervisor), 1, 0x41000000},
        {"interrupt controller's reg is no range", offsetof(struct parts, gic), 1, 0x8000800},
        {"interrupt controller's reg is too small", offsetof(struct parts, gic), 3, 0x800},
        {"interrupt controller's reg lies over", offsetof(struct parts, gic), 1, 0x41000000},
        {"interrupt controller's reg is too small", offsetof(struct parts, gic), 7, 0x10000},
        {"no /memory", offsetof(struct parts, memory), 2, 0xffffffff},
    };

    for (volatile size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct parts parts = sound;

        memcpy((char *)&parts + rows[i].offset + rows[i].cell * 4, &rows[i].value, 4);
        if (rows[i].value == 0xffffffff)
            parts.memory[0] = 0xffffffff;
        expect_panic_saying(rows[i].says, devtree_read(&tree, board_tree(&parts)));
    }
}

static bool is_in_a_range(const struct range *ranges, size_t count, uint64_t address)
{
    for (size_t i = 0; i < count; i++)
        if (address >= ranges[i].base && address - ranges[i].base < ranges[i].bytes)
            return true;
    return false;
}

/*
 * Xen gives Dom0 a second memory node for the ranges of /reserved-memory. Fails: firmware's memory
 * goes to the pool, where a driver's queue or a guest's copy overwrites it; or slots lie over it.
 */
static void reserved_memory_is_not_ours(void **state)
{
    static const uint64_t header[][2] = {{0x41800000, 0x1001}, {0x68000000, 0x10}};
    static const uint32_t reserved_node[] = {0, 0x50000000, 0, 0x4000000, 0, 0x42000800, 0, 0x100};

    board_begin(header, 2);
    board_add_memory("memory@41000000", sound.memory, 4);
    board_add_memory("memory@50000000", reserved_node, 8); /* Xen's second one */
    tree_begin("reserved-memory");
    tree_cells("#address-cells", 2);
    tree_cells("#size-cells", 2);
    tree_bytes("ranges", "", 0);
    tree_begin("firmware@50000000");
    tree_cells("reg", 0, 0x50000000, 0, 0x4000000);
    tree_bytes("no-map", "", 0);
    tree_end();
    tree_begin("two@42000800"); /* not on frames, and with two ranges, one of them in a region */
    tree_cells("reg", 0, 0x42000800, 0, 0x100, 0, 0x6a000000, 0, 0x2000);
    tree_end();
    tree_begin("pool"); /* the kernel places it, so it has no fixed memory */
    tree_cells("size", 0, 0x100000);
    tree_end();
    tree_end();
    tree_begin("dragoman");
    tree_string("compatible", "dragoman,config");
    tree_cells("reserved", 0, 0x42002000, 0, 1, 0, 0x6b000fff, 0, 2, 0);
    tree_end();
    board_add_xen_and_gic(&sound);
    devtree_read(&tree, tree_finish());

    for (uint64_t frame = 0x40000; frame < 0x70000; frame++) {
        const uint64_t address = frame << 12;
        const bool reserved = (frame >= 0x50000 && frame < 0x54000) || frame == 0x42000 ||
                              frame == 0x41800 || frame == 0x41801 || frame == 0x42002;
        const bool hole = frame == 0x68000 || frame == 0x6a000 || frame == 0x6a001 ||
                          frame == 0x6b000 || frame == 0x6b001;

        assert_int_equal(is_in_a_range(tree.banks, tree.bank_count, address),
                         frame >= 0x41000 && frame < 0x49000 && !reserved);
        assert_int_equal(is_in_a_range(tree.regions, tree.region_count, address),
                         frame >= 0x60000 && !hole);
    }
}

/* Fails: a tree with more reserved ranges than the table holds is accepted, and some of them are
 * used. */
static void too_many_reserved_ranges(void **state)
{
    uint64_t header[DEVTREE_RESERVED_MAX + 1][2];

    for (size_t i = 0; i <= DEVTREE_RESERVED_MAX; i++) {
        header[i][0] = 0x41000000 + i * 0x2000;
        header[i][1] = 0x1000;
    }
    board_begin(header, DEVTREE_RESERVED_MAX + 1);
    board_add_memory("memory@41000000", sound.memory, 4);
    board_add_xen_and_gic(&sound);
    expect_panic_saying("reserved ranges", devtree_read(&tree, tree_finish()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_bridge_is_left_out_and_the_next_one_used),
        cmocka_unit_test(bus_range_backwards),
        cmocka_unit_test(buses_end_with_the_configuration_space),
        cmocka_unit_test(wrong_windows_are_left_out),
        cmocka_unit_test(windows_that_overlap_or_are_cut),
        cmocka_unit_test(one_configuration_space_of_two_bridges),
        cmocka_unit_test(dma_windows),
        cmocka_unit_test(wrong_basics_stop_with_a_cause),
        cmocka_unit_test(reserved_memory_is_not_ours),
        cmocka_unit_test(too_many_reserved_ranges),
    };

    return cmocka_run_group_tests_name("devtree_wrong", tests, NULL, NULL);
}
