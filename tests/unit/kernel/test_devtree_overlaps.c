/* SPDX-License-Identifier: MIT */
/*
 * devtree, contradictions: trees whose parts overlap, have wrong sizes or wrong lengths. If these
 * fail, two devices or two disks have one address, memory is used that is not ours, or one fault in
 * a tree costs the devices that have no part in it.
 */
#include "board_tree_rig.h"

#include <dragoman/base/status.h>
#include <kernel/devtree.h>

static struct devtree tree;

/* --- the oracle --- */

static struct range ranges[512];
static size_t range_count;

static void gather(const struct range *some, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (some[i].bytes)
            ranges[range_count++] = some[i];
}

/* Memory, Xen's window, extended regions, the interrupt controller, registers and windows: no two
 * overlap, and only what is not used lies in reserved memory. */
static void check_apart(void)
{
    range_count = 0;
    gather(tree.banks, tree.bank_count);
    gather(tree.regions, tree.region_count);
    gather(&tree.grant_window, 1);
    gather(tree.gic_registers, DEVTREE_GIC_REGISTERS);
    for (size_t i = 0; i < tree.claim_count; i++)
        gather(&tree.claims[i].range, 1);
    for (size_t i = 0; i < range_count; i++) {
        assert_true(ranges[i].base <= DEVTREE_ADDRESS_END);
        assert_true(ranges[i].bytes <= DEVTREE_ADDRESS_END - ranges[i].base);
        assert_false(ranges_overlap(tree.reserved, tree.reserved_count, ranges[i]));
        assert_false(ranges_overlap(ranges, i, ranges[i]));
    }
}

static void check_bridge(const struct devtree_pci *pci)
{
    for (size_t i = 0; i < pci->window_count; i++)
        for (size_t j = 0; j < i; j++)
            assert_false(
                range_overlaps((struct range){pci->windows[i].pci, pci->windows[i].bytes},
                               (struct range){pci->windows[j].pci, pci->windows[j].bytes}));
}

/* What a whole tree gives. */
struct board {
    struct devtree_pci pci[2];
    bool bridge[2], device[2];
};

static struct board read_board(const struct parts *parts)
{
    struct board board = {.bridge = {false}};
    struct devtree_device device;
    struct devtree_pci pci;
    int node = -1;

    dgm_sim_log_clear();
    devtree_read(&tree, board_tree(parts));
    for (unsigned i = 0; i < 2; i++)
        board.device[i] =
            devtree_device_read(&tree, fdt_path_offset(tree.fdt, i ? "/mmc@2" : "/mmc@1"),
                                &device) == DGM_OK;
    while (devtree_pci_next(&tree, &node, &pci)) {
        assert_in_range(pci.number, 0, 1);
        assert_int_equal(node, fdt_path_offset(tree.fdt, pci.number ? "/pcie@2" : "/pcie@1"));
        check_bridge(&pci);
        board.bridge[pci.number] = true;
        board.pci[pci.number] = pci;
    }
    check_apart();
    return board;
}

/* --- wrong cells --- */

struct cell {
    uint32_t behind, value; /* 1 + the offset in struct parts; 0: no cell */
};

#define CELL(member, value) 1 + offsetof(struct parts, member), value

static struct parts bend(const struct cell *cells, size_t count)
{
    struct parts parts = sound;

    for (size_t i = 0; i < count && cells[i].behind; i++)
        memcpy((char *)&parts + cells[i].behind - 1, &cells[i].value, 4);
    return parts;
}

enum left {
    ALL,
    NO_WINDOW,        /* of the first bridge */
    NO_SECOND_WINDOW, /* of the second one */
    NO_BRIDGE,        /* the first one is left out */
    NO_DEVICE,        /* the second one is left out */
};

/* Fails: a fault in one node has no line that names it, or costs a device that is sound. */
static void each_fault_costs_its_node_alone(void **state)
{
    static const struct {
        const char *says;
        enum left left;
        struct cell cells[6];
    } rows[] = {
        {"pcie@2: ranges: the window at 10000000 lies over a range of pcie@1",
         NO_SECOND_WINDOW,
         {{CELL(second.window[3], 0)}}},
        {"pcie@2: ranges: the window at 3e000000 lies over a range of pcie@1",
         NO_SECOND_WINDOW,
         {{CELL(second.window[3], 0)},
          {CELL(second.window[4], 0x3e000000)},
          {CELL(second.window[6], 0x2000000)}}},
        {"pcie@1: ranges: the window at 501ff00000 lies over a range of pcie@2",
         NO_WINDOW,
         {{CELL(first.window[3], 0x50)},
          {CELL(first.window[4], 0x1ff00000)},
          {CELL(first.window[6], 0x200000)}}},
        {"pcie@1: ranges: the window at 9000000 lies over a range of mmc@1",
         NO_WINDOW,
         {{CELL(first.window[4], 0x9000000)}, {CELL(first.window[6], 0x1000)}}},
        {"pcie@1: ranges: the window at 60000000 lies over memory",
         NO_WINDOW,
         {{CELL(first.window[4], 0x60000000)}, {CELL(first.window[6], 0x1000)}}},
        {"pcie@1: ranges: the window at 30000000 lies over memory",
         NO_WINDOW,
         {{CELL(reserved[1], 0x31000000)},
          {CELL(reserved[3], 0x1000)},
          {CELL(reserved_cells, 4)},
          {CELL(first.window[4], 0x30000000)},
          {CELL(first.window[6], 0x10000000)}}},
        {"pcie@1: ranges: the window at 10000000 lies over memory, at the bus's",
         NO_WINDOW,
         {{CELL(first.dma_cells, 0)}, {CELL(first.window[2], 0x48fff000)}}},
        {"pcie@1: ranges: the window at 10000000 lies over memory, at the bus's",
         NO_WINDOW,
         {{CELL(first.dma[4], 0x40000000)}, {CELL(first.window[2], 0xc0000000)}}},
        {"pcie@1: ranges: cut within a window", NO_WINDOW, {{CELL(first.window_cells, 6)}}},
        {"pcie@1: ranges: no window for memory", NO_WINDOW, {{CELL(first.window_cells, 0)}}},
        {"pcie@1: ranges: no window for memory", NO_WINDOW, {{CELL(first.window[0], 0x1000000)}}},
        {"pcie@1: ranges: the window at 10000000 is for configuration space",
         NO_WINDOW,
         {{CELL(first.window[0], 0x40000000)}}},
        {"pcie@1: ranges: the window at 800000000000 lies over memory, or over the interrupt",
         NO_WINDOW,
         {{CELL(gic[4], 0x8000)},
          {CELL(gic[5], 0)},
          {CELL(gic[6], 0x7fff)},
          {CELL(first.window[3], 0x8000)},
          {CELL(first.window[4], 0)}}},
        {"pcie@1: #address-cells is not 3, or #size-cells not 2",
         NO_BRIDGE,
         {{CELL(first.size_cells, 1)}}},
        {"pcie@1: bus-range", NO_BRIDGE, {{CELL(first.bus_cells, 3)}}},
        {"pcie@1: dma-ranges: empty, unaligned", NO_BRIDGE, {{CELL(first.dma_cells, 6)}}},
        {"pcie@1: reg: lies over memory, or over the interrupt controller",
         NO_BRIDGE,
         {{CELL(first.reg[0], 0)}, {CELL(first.reg[1], 0x8000000)}}},
        {"", NO_BRIDGE, {{CELL(first.disabled, 1)}}},
        {"mmc@2: reg: over a range of mmc@1", NO_DEVICE, {{CELL(device_reg[1][1], 0x9000000)}}},
        {"mmc@2: reg: over a range of mmc@1", NO_DEVICE, {{CELL(device_reg[1][1], 0x9000ff8)}}},
        {"mmc@2: reg: over a range of pcie@2",
         NO_DEVICE,
         {{CELL(device_reg[1][0], 0x50)}, {CELL(device_reg[1][1], 0x10000000)}}},
        {"memory at 48000000 lies over memory",
         ALL,
         {{CELL(memory[5], 0x48000000)}, {CELL(memory[7], 0x2000000)}, {CELL(memory_cells, 8)}}},
        {"memory at 1000000000000 lies over memory or registers, or beyond 48 bits",
         ALL,
         {{CELL(memory[4], 0x10000)}, {CELL(memory[6], 1)}, {CELL(memory_cells, 8)}}},
        {"memory@41000000: reg: cut, wrapping", ALL, {{CELL(memory_cells, 7)}}},
        {"extended region at 68000000 lies over memory",
         ALL,
         {{CELL(region[5], 0x68000000)}, {CELL(region[7], 0x10000000)}, {CELL(region_cells, 8)}}},
        {"extended region at 8000000 lies over memory",
         ALL,
         {{CELL(region[1], 0x8000000)}, {CELL(region[3], 0x2000)}}},
        {"extended region at 700060000000 lies over memory or registers, or beyond 48 bits",
         ALL,
         {{CELL(region[0], 0x7000)}, {CELL(region[2], 0x10000)}}},
        {"extended region at 5ff00000 lies over memory",
         ALL,
         {{CELL(region[1], 0x5ff00000)},
          {CELL(first.reg[0], 0)},
          {CELL(first.reg[1], 0x60000000)}}},
        {"hypervisor: reg: cut, wrapping", ALL, {{CELL(region_cells, 3)}}},
        {"v2m: reg: missing, no range of whole frames, or over memory",
         ALL,
         {{CELL(message_cells, 4)}, {CELL(message[1], 0x41000000)}, {CELL(message[3], 0x1000)}}},
        {"v2m: reg: missing", ALL, {{CELL(message_cells, 3)}}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct parts parts = bend(rows[i].cells, 6);
        const struct board board = read_board(&parts);

        if (rows[i].says[0] && dgm_sim_logged(rows[i].says) != 1)
            fail_msg("row %zu: no line says \"%s\"; the last: %s", i, rows[i].says,
                     dgm_sim_last_log());
        if (board.bridge[0] != (rows[i].left != NO_BRIDGE) || !board.bridge[1] ||
            !board.device[0] || board.device[1] != (rows[i].left != NO_DEVICE))
            fail_msg("row %zu: a sound node is left out", i);
        if (board.bridge[0] && board.pci[0].window_count != (rows[i].left == NO_WINDOW ? 0u : 1u))
            fail_msg("row %zu: %zu windows", i, board.pci[0].window_count);
        assert_int_equal(board.pci[1].window_count, rows[i].left != NO_SECOND_WINDOW);
    }
}

/* Fails: the sound tree itself has a line. */
static void the_sound_tree_says_nothing(void **state)
{
    const uint64_t lines = dgm_sim_log_lines();
    const struct board board = read_board(&sound);

    assert_true(board.bridge[0] && board.bridge[1] && board.device[0] && board.device[1]);
    assert_int_equal(dgm_sim_log_lines(), lines);
    assert_int_equal(board.pci[0].bus_first, board.pci[1].bus_first); /* each has a bus 0 */
}

/* Fails: a wrong value without which nothing works is used, or stops without its cause. */
static void faults_that_stop_name_their_cause(void **state)
{
    static const struct {
        const char *says;
        struct cell cells[4];
    } rows[] = {
        {"interrupt controller's reg lies over memory", {{CELL(gic[2], 0x100)}}},
        {"interrupt controller's reg lies over memory, or over its other",
         {{CELL(gic[5], 0x8008000)}, {CELL(gic[7], 0x20000)}}},
        {"/hypervisor: reg is beyond 48 bits", {{CELL(hypervisor[0], 0x10000)}}},
        {"/hypervisor: reg lies over memory, or over the interrupt",
         {{CELL(hypervisor[1], 0x8000000)}}},
        {"what is reserved is not known", {{CELL(reserved_cells, 3)}}},
        {"what is reserved is not known",
         {{CELL(reserved_cells, 4)},
          {CELL(reserved[0], UINT32_MAX)},
          {CELL(reserved[2], UINT32_MAX)}}},
        {"the virtual timer's interrupt is that of /hypervisor", {{CELL(event_number, 11)}}},
        {"no /memory", {{CELL(memory[0], 0x10000)}}},
    };

    for (volatile size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct parts parts = bend(rows[i].cells, 4);

        expect_panic_saying(rows[i].says, devtree_read(&tree, board_tree(&parts)));
    }
    board_tree(&sound);
    fdt_set_totalsize(tree_blob, (2u << 20) + 8);
    expect_panic_saying("larger than 2 MiB", devtree_read(&tree, tree_blob));
}

/* Fails: more windows than the PCI code takes vanish without a line, or two of a bridge's windows
 * share bus addresses, so that two BARs get one address. */
static void many_windows(void **state)
{
    struct parts parts = sound;
    struct board board;

    for (uint32_t i = 0; i < 6; i++) {
        const uint32_t window[7] = {
            0x2000000, 0, 0x10000000 + i * 0x1000000, 0, 0x10000000 + i * 0x1000000, 0, 0x1000000};

        memcpy(parts.first.window + 7 * i, window, sizeof window);
    }
    parts.first.window_cells = 42;
    board = read_board(&parts);
    assert_int_equal(board.pci[0].window_count, DEVTREE_WINDOWS_MAX);
    assert_int_equal(dgm_sim_logged("pcie@1: ranges: the window at 14000000 is beyond the 4"), 1);
    assert_int_equal(dgm_sim_logged("pcie@1: ranges: the window at 15000000 is beyond the 4"), 1);

    parts.first.window[7 + 2] = 0x10fff000;
    board = read_board(&parts);
    assert_int_equal(board.pci[0].window_count, DEVTREE_WINDOWS_MAX);
    assert_int_equal(board.pci[0].windows[1].cpu, 0x12000000);
    assert_int_equal(
        dgm_sim_logged("the window at 11000000 lies over another one of this bridge, at the bus"),
        1);
}

/* Fails: one bus address means two places in memory, or a device that reaches less than the tree
 * says has no line. */
static void many_dma_windows(void **state)
{
    struct parts parts = sound;
    struct board board;

    for (uint32_t i = 0; i < 5; i++) {
        const uint32_t window[7] = {0x3000000, 1, i << 28, 0, i << 28, 0, 0x10000000};

        memcpy(parts.first.dma + 7 * i, window, sizeof window);
    }
    parts.first.dma_cells = 35;
    board = read_board(&parts);
    assert_int_equal(board.pci[0].dma.count, DGM_DMA_WINDOWS_MAX);
    assert_int_equal(dgm_sim_logged("pcie@1: dma-ranges: more than the 4 windows"), 1);

    parts.first.dma_cells = 14;
    parts.first.dma[7 + 2] = 0x0ffff000;
    board = read_board(&parts);
    assert_false(board.bridge[0]);
    assert_true(board.bridge[1]);
    assert_int_equal(dgm_sim_logged("pcie@1: dma-ranges"), 1);
}

/* Fails: registers are mapped by the number that a wrong tree has, until no page table is left. */
static void huge_interrupt_controller(void **state)
{
    struct parts parts = sound;

    parts.gic[4] = 0x4000;
    parts.gic[6] = 0x4000; /* 2^46 bytes */
    read_board(&parts);
    assert_int_equal(tree.gic.distributor_bytes, 0x10000);
    assert_int_equal(tree.gic.second_bytes, 0x20000);
}

/* Fails: a wrong interrupt-map is followed without end or beyond its end, or the interrupt of
 * another pin is taken. */
static void wrong_interrupt_maps(void **state)
{
    static const struct cell rows[][4] = {
        {{CELL(first.map_cells, 7)}}, /* cut in the GIC's specifier */
        {{CELL(first.map_cells, 4)}}, /* without a parent */
        {{CELL(first.map_cells, 0)}}, /* empty */
        {{CELL(first.map[4], 11)}},   /* the bridge itself */
        {{CELL(first.map[4], 2)}, {CELL(first.map[5], 1)}, {CELL(first.map_cells, 6)}},
        {{CELL(first.map[4], 12)}},         /* the other bridge, which has no such entry */
        {{CELL(first.map[4], 0)}},          /* no phandle */
        {{CELL(first.map[4], UINT32_MAX)}}, /* none either */
        {{CELL(first.map[4], 77)}},         /* no such node */
        {{CELL(first.map[5], 2)}},          /* neither SPI nor PPI */
        {{CELL(first.map[6], 988)}},        /* beyond the GIC */
        {{CELL(first.mask_cells, 3)}},      /* a mask that is too short */
        {{CELL(map_parent_cells, 7)}, {CELL(first.map[4], 2)}}, /* 8 cells */
        {{CELL(first.map[0], 0x1000)}},                         /* another device's entry */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct parts parts = bend(rows[i], 4);
        const struct board board = read_board(&parts);
        const struct devtree_pci_pin pin = {.device = 1, .pin = 1};
        struct devtree_interrupt interrupt;

        assert_true(board.bridge[0] && board.bridge[1]);
        if (devtree_pci_interrupt(&tree, &board.pci[0], pin, &interrupt) != DGM_ENOENT)
            fail_msg("row %zu: interrupt %u", i, interrupt.intid);
        assert_int_equal(devtree_pci_interrupt(&tree, &board.pci[1], pin, &interrupt), DGM_OK);
        assert_int_equal(interrupt.intid, 32 + 4);
    }
}

/* Fails: a board with more devices than the table holds uses some of them unchecked. */
static void more_claims_than_are_kept(void **state)
{
    devtree_read(&tree, board_tree(&sound));
    for (uint64_t i = tree.claim_count; i < DEVTREE_CLAIMS_MAX; i++)
        assert_null(devtree_claim(&tree, (struct range){0xa000000 + i * 0x1000, 0x1000}, 0));
    check_apart();
    assert_non_null(devtree_claim(&tree, (struct range){0xb000000, 0x1000}, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sound_tree_says_nothing),
        cmocka_unit_test(each_fault_costs_its_node_alone),
        cmocka_unit_test(faults_that_stop_name_their_cause),
        cmocka_unit_test(many_windows),
        cmocka_unit_test(many_dma_windows),
        cmocka_unit_test(huge_interrupt_controller),
        cmocka_unit_test(wrong_interrupt_maps),
        cmocka_unit_test(more_claims_than_are_kept),
    };

    return cmocka_run_group_tests_name("devtree_overlaps", tests, NULL, NULL);
}
