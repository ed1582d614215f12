/* SPDX-License-Identifier: MIT */
/*
 * devtree_bus, devtree_irq, devtree_device: devices behind buses (buses.dts). If these fail, a
 * driver writes to registers of another device, waits for another device's interrupt, or gives its
 * device addresses that mean other memory.
 */
#include "tree_rig.h"

#include <dragoman/base/status.h>
#include <kernel/devtree.h>

static struct devtree tree;

static int start(void **state)
{
    tree_compile("tests/unit/kernel/buses.dts");
    devtree_read(&tree, tree_blob);
    return 0;
}

static int node_at(const char *path)
{
    const int node = fdt_path_offset(tree_blob, path);

    if (node < 0)
        fail_msg("no %s", path);
    return node;
}

/* --- registers --- */

/* Fails: a bus's address is taken for the CPU's, one level or all of them; or the bus's ranges. */
static void registers_through_ranges(void **state)
{
    static const struct {
        const char *path;
        uint64_t base; /* 0: the CPU does not reach it */
    } rows[] = {
        {"/axi/mmc@ff170000", 0xff170000},       {"/emmc2bus/mmc@7e340000", 0xfe340000},
        {"/emmc2bus/beyond@7f7fff80", 0}, /* begins in the bus's range and ends behind it */
        {"/outer/inner/dev@8000", 0x1000200000}, {"/outer/inner/alone@9000", 0x1000201000},
        {"/nexus-1/dev@1010", 0xd0001010},       {"/axi/i2c@ff020000/eeprom@54", 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct range range;
        const bool found = devtree_bus_reg(tree_blob, node_at(rows[i].path), 0, &range);

        if (found != (rows[i].base != 0) || (found && range.base != rows[i].base))
            fail_msg("%s: at %llx", rows[i].path, found ? (unsigned long long)range.base : 0);
        assert_false(devtree_bus_reg(tree_blob, node_at(rows[i].path), 1, &range));
    }
    assert_int_equal(tree.gic.distributor, 0xf9010000); /* the GIC is behind a bus as well */
    assert_int_equal(tree.gic.second, 0xf9020000);
}

/* --- DMA --- */

static void expect_windows(const char *bus, const struct dgm_dma_window *windows, size_t count)
{
    struct devtree_dma dma;

    assert_int_equal(devtree_bus_dma(tree_blob, node_at(bus), &dma), DGM_OK);
    assert_int_equal(dma.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(dma.windows[i].bus_base, windows[i].bus_base);
        assert_int_equal(dma.windows[i].machine_base, windows[i].machine_base);
        assert_int_equal(dma.windows[i].length, windows[i].length);
    }
}

/* Fails: a device is given the machine's address though its bus moves it, or an address that is
 * moved by one bus of two, or by one twice, or that the outer bus does not pass on. */
static void dma_through_every_bus(void **state)
{
    static const struct dgm_dma_window emmc2[] = {{0, 0xc0000000, 0x40000000}};
    static const struct dgm_dma_window outer[] = {{0x40000000, 0, 0x20000000},
                                                  {0x800000000, 0x80000000, 0x40000000}};
    /* Of the inner bus's 0x1000_0000 to 0x8fff_ffff. */
    static const struct dgm_dma_window inner[] = {{0x50000000, 0x10000000, 0x10000000},
                                                  {0x800000000, 0x80000000, 0x10000000}};
    struct devtree_dma dma;

    expect_windows("/axi", NULL, 0);
    expect_windows("/", NULL, 0);
    expect_windows("/emmc2bus", emmc2, 1);
    expect_windows("/outer", outer, 2);
    expect_windows("/outer/inner", inner, 2);
    assert_int_equal(devtree_bus_dma(tree_blob, node_at("/outer/lost"), &dma), DGM_EINVAL);
}

static void set_cells(const char *path, const char *name, const uint32_t *cells, int count)
{
    fdt32_t value[16];

    for (int i = 0; i < count; i++)
        value[i] = cpu_to_fdt32(cells[i]);
    assert_int_equal(fdt_setprop(tree_blob, node_at(path), name, value, count * 4), 0);
}

/* Fails: a device reaches the wrong memory. With more windows than the table holds it reaches
 * less. */
static void dma_ranges_that_are_wrong(void **state)
{
    static const struct {
        int count; /* of cells: child (2), parent (2), size (1) each */
        uint32_t cells[10];
    } wrong[] = {
        {4, {0, 0xc0000000, 0, 0}},                     /* cut */
        {9, {0, 0xc0000000, 0, 0, 0x1000, 0, 0, 0, 0}}, /* the second one is */
        {5, {0, 0xc0000000, 0, 0, 0}},                  /* empty */
        {5, {0, 0xc0000800, 0, 0, 0x1000}},             /* not on a frame */
        {5, {0, 0xc0000000, 0, 0x800, 0x1000}},
        {5, {0xffffffff, 0xfffff000, 0, 0, 0x2000}}, /* wraps */
        {5, {0, 0, 0xffffffff, 0xfffff000, 0x2000}},
        {10, {0, 0, 0, 0, 0x2000, 0, 0x8000, 0, 0x1000, 0x1000}}, /* overlap */
    };
    uint32_t many[15];
    struct devtree_dma dma;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        set_cells("/emmc2bus", "dma-ranges", wrong[i].cells, wrong[i].count);
        if (devtree_bus_dma(tree_blob, node_at("/emmc2bus"), &dma) != DGM_EINVAL)
            fail_msg("row %zu is taken", i);
    }
    for (uint32_t i = 0; i < 3; i++)
        memcpy(many + 5 * i, (uint32_t[]){0, (2 - i) << 20, 0, (2 - i) << 20, 0x1000}, 20);
    set_cells("/emmc2bus", "dma-ranges", many, 15);
    assert_int_equal(devtree_bus_dma(tree_blob, node_at("/emmc2bus"), &dma), DGM_OK);
    assert_int_equal(dma.count, 3);
    for (uint32_t i = 0; i < 3; i++) /* sorted */
        assert_int_equal(dma.windows[i].machine_base, i << 20);
}

/* Fails: memory of a device that sees no caches is not maintained. */
static void coherent_from_the_nearest(void **state)
{
    assert_false(devtree_bus_coherent(tree_blob, node_at("/axi/mmc@ff170000")));
    assert_true(devtree_bus_coherent(tree_blob, node_at("/outer/inner/dev@8000")));
    assert_false(devtree_bus_coherent(tree_blob, node_at("/outer/inner/alone@9000")));
}

/* --- interrupts --- */

/* Fails: a driver waits for another device's interrupt, or the search does not end. */
static void interrupts_to_the_gic(void **state)
{
    static const struct {
        const char *path;
        unsigned index, intid; /* 0: none */
        bool edge;
    } rows[] = {
        {"/axi/mmc@ff170000", 0, 32 + 49, false},
        {"/axi/mmc@ff170000", 1, 0, false},
        {"/axi/button@ff0b0000", 0, 0, false}, /* a controller that is not driven */
        {"/axi/both@ff0c0000", 0, 0, false},
        {"/axi/both@ff0c0000", 1, 32 + 60, true},
        {"/axi/both@ff0c0000", 2, 16 + 7, false},
        {"/axi/both@ff0c0000", 3, 0, false},
        {"/emmc2bus/mmc@7e340000", 0, 32 + 126, false},
        {"/outer/inner/dev@8000", 0, 32 + 1, true},
        {"/nexus-1/dev@1010", 0, 32 + 70, false}, /* 9 masked with 7 is 1 */
        {"/nexus-1/dev@2020", 0, 32 + 71, true},
        {"/nexus-1/dev@2020", 1, 0, false}, /* not in the map */
        {"/nexus-1/dev@3030", 0, 0, false}, /* a circle */
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct devtree_interrupt interrupt = {0, false};
        const int status =
            devtree_bus_interrupt(tree_blob, node_at(rows[i].path), rows[i].index, &interrupt);

        if (status != (rows[i].intid ? DGM_OK : DGM_ENOENT) || interrupt.intid != rows[i].intid ||
            interrupt.edge != rows[i].edge)
            fail_msg("%s, interrupt %u: status %d, %u", rows[i].path, rows[i].index, status,
                     interrupt.intid);
    }
}

/* Fails: a cycle of parents hangs the start. */
static void parents_in_a_circle(void **state)
{
    const uint32_t phandle = fdt_get_phandle(tree_blob, node_at("/axi/gpio@ff0a0000"));
    struct devtree_interrupt interrupt;

    fdt_delprop(tree_blob, node_at("/axi/gpio@ff0a0000"), "#interrupt-cells");
    set_cells("/axi/gpio@ff0a0000", "interrupt-parent", &phandle, 1);
    assert_int_equal(
        devtree_bus_interrupt(tree_blob, node_at("/axi/button@ff0b0000"), 0, &interrupt),
        DGM_ENOENT);
}

/* --- devices --- */

/* Fails: a device that the board does not have is used, or an unusable one is not logged. */
static void only_usable_devices(void **state)
{
    static const struct {
        const char *path;
        int status;
        const char *says;
    } rows[] = {
        {"/axi/mmc@ff170000", DGM_OK, NULL},
        {"/axi/mmc@ff160000", DGM_ENODEV, NULL},
        {"/outer/off/dev@3000", DGM_ENODEV, NULL}, /* its bus is off */
        {"/axi/wrong@40001000", DGM_EINVAL, "reg"},
        {"/axi/large@e0000000", DGM_EINVAL, "16 MiB"},
        {"/axi/odd@ff0c0002", DGM_EINVAL, "unaligned"},
        {"/axi/over-gic@f9010000", DGM_EINVAL, "interrupt controller"},
        {"/emmc2bus/beyond@7f7fff80", DGM_EINVAL, "reg"},
        {"/outer/lost/dev@2000", DGM_EINVAL, "dma-ranges"},
        {"/axi/button@ff0b0000", DGM_EINVAL, "interrupts"},
    };
    struct devtree_device device;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(devtree_device_read(&tree, node_at(rows[i].path), &device),
                         rows[i].status);
        if (rows[i].says && (!strstr(dgm_sim_last_log(), rows[i].says) ||
                             !strstr(dgm_sim_last_log(), strrchr(rows[i].path, '/') + 1)))
            fail_msg("%s: \"%s\"", rows[i].path, dgm_sim_last_log());
    }
    assert_int_equal(devtree_device_read(&tree, node_at("/emmc2bus/mmc@7e340000"), &device), 0);
    assert_int_equal(device.registers.base, 0xfe340000);
    assert_int_equal(device.registers.bytes, 0x100);
    assert_int_equal(device.interrupt.intid, 32 + 126);
    assert_int_equal(device.dma.count, 1);
    assert_int_equal(device.dma.windows[0].bus_base, 0xc0000000);
    assert_false(device.coherent);
}

/* Fails: a driver gets a controller's generic compatible string instead of the specific one, and
 * misses its quirks. */
static void most_specific_name(void **state)
{
    static const char *const list[] = {"arasan,sdhci-8.9a", "xlnx,zynqmp-8.9a", NULL};
    static const char *const family[] = {"arasan,sdhci-8.9a", NULL};
    static const char *const others[] = {"arasan,sdhci-8.9", "xlnx,zynqmp-8.9a2", NULL};
    const int node = node_at("/axi/mmc@ff170000");
    int rank;

    assert_string_equal(devtree_compatible(tree_blob, node, list, &rank), "xlnx,zynqmp-8.9a");
    assert_int_equal(rank, 0);
    assert_string_equal(devtree_compatible(tree_blob, node, family, &rank), "arasan,sdhci-8.9a");
    assert_int_equal(rank, 1);
    assert_null(devtree_compatible(tree_blob, node, others, &rank));
    assert_null(devtree_compatible(tree_blob, node_at("/axi"), list, &rank));
}

/* Fails: a host bridge behind a bus is scanned at its address on the bus instead of the CPU's, or
 * its devices get untranslated addresses. */
static void bridge_behind_a_bus(void **state)
{
    struct devtree_interrupt interrupt;
    struct devtree_pci pci;
    int node = -1;

    assert_true(devtree_pci_next(&tree, &node, &pci));
    assert_int_equal(pci.config.base, 0x1000800000);
    assert_int_equal(pci.window_count, 1); /* the second one ends behind the bus's range */
    assert_int_equal(pci.windows[0].cpu, 0x1008000000);
    assert_int_equal(pci.windows[0].pci, 0x40000000);
    assert_true(pci.coherent);
    assert_int_equal(pci.dma.count, 1);
    assert_int_equal(pci.dma.windows[0].bus_base, 0x400000000);
    assert_int_equal(pci.dma.windows[0].machine_base, 0x800000000);
    assert_int_equal(pci.dma.windows[0].length, 0x40000000);
    assert_int_equal(devtree_pci_interrupt(
                         &tree, &pci, (struct devtree_pci_pin){.device = 3, .pin = 1}, &interrupt),
                     DGM_OK);
    assert_int_equal(interrupt.intid, 32 + 80);
}

/* Fails: a target of the configuration means another disk than the board's alias. */
static void aliases_of_paths(void **state)
{
    assert_string_equal(devtree_alias(tree_blob, "/axi/mmc@ff170000"), "mmc0");
    assert_string_equal(devtree_alias(tree_blob, "/emmc2bus/mmc@7e340000"), "mmc1");
    assert_null(devtree_alias(tree_blob, "/axi/mmc@ff160000"));
    assert_null(devtree_alias(tree_blob, "/axi/mmc@ff17000"));
    fdt_del_node(tree_blob, node_at("/aliases"));
    assert_null(devtree_alias(tree_blob, "/axi/mmc@ff170000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers_through_ranges, start),
        cmocka_unit_test_setup(dma_through_every_bus, start),
        cmocka_unit_test_setup(dma_ranges_that_are_wrong, start),
        cmocka_unit_test_setup(coherent_from_the_nearest, start),
        cmocka_unit_test_setup(interrupts_to_the_gic, start),
        cmocka_unit_test_setup(parents_in_a_circle, start),
        cmocka_unit_test_setup(only_usable_devices, start),
        cmocka_unit_test_setup(most_specific_name, start),
        cmocka_unit_test_setup(bridge_behind_a_bus, start),
        cmocka_unit_test_setup(aliases_of_paths, start),
    };

    return cmocka_run_group_tests_name("devtree_bus", tests, NULL, NULL);
}
