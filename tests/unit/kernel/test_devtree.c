/* SPDX-License-Identifier: MIT */
/*
 * devtree: if these fail, Dragoman starts on the wrong memory, binds the wrong interrupt, or stops
 * without naming the error in the board's tree.
 */
#include "tree_rig.h"

#include <dragoman/base/status.h>
#include <kernel/devtree.h>

static struct devtree tree;

/* The tree that Xen makes for Dom0 on QEMU's `virt`, with one difference. */
enum twist {
    NONE,
    GIC_V2,
    NO_MEMORY,
    EMPTY_MEMORY,
    NO_HYPERVISOR,
    HYPERVISOR_NO_REG,
    HYPERVISOR_NO_INTERRUPTS,
    EVENT_IS_NO_INTERRUPT,
    NO_GIC,
    GIC_NO_REG,
    GIC_ONE_REG,
    NO_TIMER,
    TIMER_SHORT,
    INITRD_BACKWARDS,
    PCI_DISABLED,
    PCI_STATUS_NO_NUL,
    MAP_HUGE_CELLS,
    MAP_NEGATIVE_CELLS,
    MAP_SHORT_CELLS,
    MAP_NO_PARENT,
    MAP_CUT,
    MAP_MASK_CUT,
    MAP_NO_INTERRUPT,
};

static enum twist twist;

static void add_memory(const char *name, uint64_t base, uint64_t bytes)
{
    tree_begin(name);
    tree_string("device_type", "memory");
    tree_cells("reg", (uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(bytes >> 32),
               (uint32_t)bytes);
    tree_end();
}

static void add_hypervisor(void)
{
    tree_begin("hypervisor");
    tree_bytes("compatible", "xen,xen-4.20\0xen,xen", 21);
    if (twist != HYPERVISOR_NO_REG)
        tree_cells("reg", 0, 0x4e000000, 0, 0x1000000, /* grant window */
                   0, 0x50000000, 0, 0x8000000,        /* extended regions */
                   1, 0, 7, 0);
    if (twist == EVENT_IS_NO_INTERRUPT)
        tree_cells("interrupts", 1, 16, 0xf08);
    else if (twist != HYPERVISOR_NO_INTERRUPTS)
        tree_cells("interrupts", 1, 0, 0xf08);
    tree_end();
}

static void add_gic(void)
{
    if (twist == NO_GIC)
        return;
    tree_begin("intc@8000000");
    tree_string("compatible", twist == GIC_V2 ? "arm,cortex-a15-gic" : "arm,gic-v3");
    tree_cells("phandle", 0x8002);
    if (twist == MAP_HUGE_CELLS)
        tree_cells("#address-cells", 0x40000000);
    else if (twist == MAP_NEGATIVE_CELLS)
        tree_cells("#address-cells", 0xfffffff8); /* 5 + this + 3 = 0: an endless loop */
    else if (twist == MAP_SHORT_CELLS)
        tree_bytes("#address-cells", "\2", 1);
    else
        tree_cells("#address-cells", 2);
    tree_cells("#size-cells", 2);
    tree_bytes("ranges", "", 0);
    tree_cells("#interrupt-cells", 3);
    if (twist == GIC_ONE_REG)
        tree_cells("reg", 0, 0x8000000, 0, 0x10000);
    else if (twist == GIC_V2)
        tree_cells("reg", 0, 0x8000000, 0, 0x10000, 0, 0x8010000, 0, 0x10000);
    else if (twist != GIC_NO_REG)
        tree_cells("reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000);
    if (twist == GIC_V2) {
        tree_begin("v2m@8020000");
        tree_string("compatible", "arm,gic-v2m-frame");
        tree_cells("reg", 0, 0x8020000, 0, 0x1000);
        tree_end();
    }
    tree_end();
}

static void add_timer(void)
{
    if (twist == NO_TIMER)
        return;
    tree_begin("timer");
    tree_bytes("compatible", "arm,armv8-timer\0arm,armv7-timer", 32);
    if (twist == TIMER_SHORT)
        tree_cells("interrupts", 1, 13, 4, 1, 14, 4);
    else
        tree_cells("interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
    tree_end();
}

/* Unit address (device << 11), pin, the GIC, its address (2 cells), SPI number, flags. */
#define MAP(device, pin, spi) (device) << 11, 0, 0, pin, 0x8002, 0, 0, 0, spi, 4

static void add_pci(void)
{
    const bool bad = twist == MAP_NO_PARENT;

    tree_begin("pcie@10000000");
    tree_string("compatible", "pci-host-ecam-generic");
    tree_cells("#address-cells", 3);
    tree_cells("#size-cells", 2);
    tree_cells("reg", 0x40, 0x10000000, 0, 0x10000000);
    if (twist != PCI_STATUS_NO_NUL)
        tree_cells("bus-range", 2, 0x7f);
    tree_cells("ranges", 0x1000000, 0, 0, 0, 0x3eff0000, 0, 0x10000, /* I/O */
               0x2000000, 0, 0x10000000, 0, 0x10000000, 0, 0x2eff0000, 0x43000000, 0x80, 0, 0x81, 0,
               0x80, 0); /* 64 bits, prefetchable */
    tree_cells("dma-ranges", 0x3000000, 0, 0xc0000000, 0, 0, 0, 0x40000000);
    tree_bytes("dma-coherent", "", 0);
    tree_cells("#interrupt-cells", 1);
    if (twist == MAP_MASK_CUT)
        tree_cells("interrupt-map-mask", 0x1800, 0, 0);
    else
        tree_cells("interrupt-map-mask", 0x1800, 0, 0, 7);
    if (twist == MAP_NO_INTERRUPT)
        tree_cells("interrupt-map", MAP(0, 1, 5000));
    else if (twist == MAP_CUT)
        tree_cells("interrupt-map", 0, 0, 0, 1, 0x8002, 0, 0, 0, 3);
    else if (bad)
        tree_cells("interrupt-map", 0, 0, 0, 1, 0x9999, 0, 0, 0, 3, 4);
    else
        tree_cells("interrupt-map", MAP(0, 1, 3), MAP(0, 2, 4), MAP(0, 3, 5), MAP(0, 4, 6),
                   MAP(1, 1, 4), MAP(1, 2, 5), MAP(1, 3, 6), MAP(1, 4, 3));
    if (twist == PCI_DISABLED)
        tree_string("status", "disabled");
    if (twist == PCI_STATUS_NO_NUL)
        tree_bytes("status", "okay", 4);
    tree_end();
}

static const void *make_tree(enum twist with)
{
    twist = with;
    tree_start();
    tree_cells("#address-cells", 2);
    tree_cells("#size-cells", 2);
    tree_begin("chosen");
    tree_cells("linux,initrd-start", 0, 0x48000000);
    if (twist == INITRD_BACKWARDS)
        tree_cells("linux,initrd-end", 0, 0x47fff000);
    else
        tree_cells("linux,initrd-end", 0x48001000);
    tree_end();
    if (twist == EMPTY_MEMORY) {
        add_memory("memory", 0x41000000, 0);
    } else if (twist != NO_MEMORY) {
        add_memory("memory@41000000", 0x41000000, 0x1000000);
        tree_begin("memory@80000000"); /* two banks in one node, one of them empty */
        tree_string("device_type", "memory");
        tree_cells("reg", 0, 0x80000000, 0, 0x200000, 0, 0x90000000, 0, 0, 8, 0x80000000, 1, 0);
        tree_end();
    }
    if (twist != NO_HYPERVISOR)
        add_hypervisor();
    add_gic();
    add_timer();
    add_pci();
    return tree_finish();
}

static void read_it(enum twist with)
{
    devtree_read(&tree, make_tree(with));
}

static void reads_all_of_it(void **state)
{
    read_it(NONE);
    assert_ptr_equal(tree.fdt, tree_blob);
    assert_int_equal(tree.bytes, fdt_totalsize(tree_blob));
    assert_int_equal(tree.bank_count, 3);
    assert_int_equal(tree.banks[0].base, 0x41000000);
    assert_int_equal(tree.banks[0].bytes, 0x1000000);
    assert_int_equal(tree.banks[1].base, 0x80000000);
    assert_int_equal(tree.banks[1].bytes, 0x200000);
    assert_int_equal(tree.banks[2].base, 0x880000000);
    assert_int_equal(tree.banks[2].bytes, 0x100000000);
    assert_int_equal(tree.initrd.base, 0x48000000);
    assert_int_equal(tree.initrd.bytes, 0x1000); /* one cell or two */
    assert_int_equal(tree.grant_window.base, 0x4e000000);
    assert_int_equal(tree.grant_window.bytes, 0x1000000);
    assert_int_equal(tree.region_count, 2);
    assert_int_equal(tree.regions[0].base, 0x50000000);
    assert_int_equal(tree.regions[1].base, 0x100000000);
    assert_int_equal(tree.regions[1].bytes, 0x700000000);
    assert_int_equal(tree.events.intid, 16);
    assert_false(tree.events.edge);
    assert_int_equal(tree.timer.intid, 27); /* the virtual one: the third */
}

static void gic_version_3(void **state)
{
    read_it(NONE);
    assert_int_equal(tree.gic.version, 3);
    assert_int_equal(tree.gic.distributor, 0x8000000);
    assert_int_equal(tree.gic.second, 0x80a0000);
    assert_int_equal(tree.gic.second_bytes, 0x20000); /* what one CPU uses */
    assert_int_equal(tree.gic.message, 0);
}

static void gic_version_2(void **state)
{
    read_it(GIC_V2);
    assert_int_equal(tree.gic.version, 2);
    assert_int_equal(tree.gic.second, 0x8010000);
    assert_int_equal(tree.gic.message, 0x8020000);
}

static void initrd_backwards_is_none(void **state)
{
    read_it(INITRD_BACKWARDS);
    assert_int_equal(tree.initrd.bytes, 0);
}

/* Banks beyond the table's size are not used. */
static void many_banks(void **state)
{
    uint32_t reg[30 * 4];

    for (uint32_t i = 0; i < 30; i++) {
        reg[i * 4] = i / 16;
        reg[i * 4 + 1] = i % 16 * 0x10000000;
        reg[i * 4 + 2] = 0;
        reg[i * 4 + 3] = 0x1000;
    }
    tree_start();
    tree_cells("#address-cells", 2);
    tree_cells("#size-cells", 2);
    for (int node = 0; node < 3; node++) {
        char name[32];

        snprintf(name, sizeof name, "memory@%d", node);
        for (uint32_t i = 0; i < 30; i++)
            reg[i * 4 + 1] += 0x1000;
        tree_begin(name);
        tree_string("device_type", "memory");
        tree_cells_at("reg", reg, 120);
        tree_end();
    }
    twist = NONE;
    add_hypervisor();
    add_gic();
    add_timer();
    devtree_read(&tree, tree_finish());
    assert_int_equal(tree.bank_count, DEVTREE_BANKS_MAX);
    assert_int_equal(dgm_sim_logged("beyond the 64 that are kept"), 1);
}

/* Fails: the operator sees a crash instead of the cause. */
static void says_what_is_missing(void **state)
{
    static const struct {
        enum twist twist;
        const char *says;
    } rows[] = {
        {NO_MEMORY, "no /memory"},
        {EMPTY_MEMORY, "no /memory"},
        {NO_HYPERVISOR, "runs under Xen only"},
        {HYPERVISOR_NO_REG, "/hypervisor has no reg"},
        {HYPERVISOR_NO_INTERRUPTS, "/hypervisor has no interrupts"},
        {EVENT_IS_NO_INTERRUPT, "/hypervisor has no interrupts"},
        {NO_GIC, "no interrupt controller"},
        {GIC_NO_REG, "lacks one of its two reg"},
        {GIC_ONE_REG, "lacks one of its two reg"},
        {NO_TIMER, "no virtual timer"},
        {TIMER_SHORT, "no virtual timer"},
    };

    for (volatile size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_panic_saying(rows[i].says, read_it(rows[i].twist));
}

static void not_a_tree(void **state)
{
    static const char nothing[64];

    expect_panic_saying("bad magic", devtree_read(&tree, nothing));

    /* A property's length runs over the end of the structure. */
    make_tree(NONE);
    fdt32_t *words = (fdt32_t *)(tree_blob + fdt_off_dt_struct(tree_blob));
    for (size_t i = 0; fdt32_to_cpu(words[i]) != FDT_END; i++)
        if (fdt32_to_cpu(words[i]) == FDT_PROP) {
            words[i + 1] = cpu_to_fdt32(0x7ffffff0);
            break;
        }
    expect_panic_saying("damaged", devtree_read(&tree, tree_blob));
}

static bool find_pci(enum twist with, struct devtree_pci *pci)
{
    int node = -1;

    read_it(with);
    return devtree_pci_next(&tree, &node, pci);
}

static void pci_bridge(void **state)
{
    struct devtree_pci pci;
    int node;

    assert_true(find_pci(NONE, &pci));
    assert_int_equal(pci.config.base, 0x4010000000);
    assert_int_equal(pci.config.bytes, 0x7e00000);
    assert_int_equal(pci.bus_first, 2);
    assert_int_equal(pci.bus_last, 0x7f);
    assert_true(pci.coherent);
    assert_int_equal(pci.window_count, 2); /* not the one for I/O space */
    assert_int_equal(pci.windows[0].bytes, 0x2eff0000);
    assert_false(pci.windows[0].prefetchable);
    assert_true(pci.windows[1].prefetchable);
    assert_int_equal(pci.windows[1].pci, 0x8000000000);
    assert_int_equal(pci.windows[1].cpu, 0x8100000000);
    assert_int_equal(pci.windows[1].bytes, 0x8000000000);
    assert_int_equal(pci.dma.count, 1); /* as on the Raspberry Pi */
    assert_int_equal(pci.dma.windows[0].bus_base, 0xc0000000);
    assert_int_equal(pci.dma.windows[0].machine_base, 0);
    assert_int_equal(pci.dma.windows[0].length, 0x40000000);
    node = pci.node;
    assert_false(devtree_pci_next(&tree, &node, &pci)); /* the node exists */
}

static void pci_status(void **state)
{
    struct devtree_pci pci;

    assert_false(find_pci(PCI_DISABLED, &pci));
    assert_false(find_pci(PCI_STATUS_NO_NUL, &pci)); /* and nothing behind it is read */
}

static void pci_interrupts(void **state)
{
    struct devtree_interrupt interrupt;
    struct devtree_pci pci;

    assert_true(find_pci(NONE, &pci));
    for (uint8_t device = 0; device < 8; device++)
        for (uint8_t pin = 1; pin <= 4; pin++) {
            const int status = devtree_pci_interrupt(
                &tree, &pci, (struct devtree_pci_pin){.device = device, .pin = pin}, &interrupt);

            /* The mask leaves two bits of the device number; the map has two of the four. */
            assert_int_equal(status, device % 4 < 2 ? DGM_OK : DGM_ENOENT);
            if (status != DGM_OK)
                continue;
            assert_int_equal(interrupt.intid, 32 + 3 + (device % 4 + pin - 1) % 4);
            assert_false(interrupt.edge); /* flags: 4, level high */
        }
}

/* Each of these once made the parser loop without end, or read beyond the tree. */
static void pci_map_that_is_wrong(void **state)
{
    static const enum twist twists[] = {
        MAP_HUGE_CELLS, MAP_NEGATIVE_CELLS, MAP_SHORT_CELLS, MAP_NO_PARENT,
        MAP_CUT,        MAP_MASK_CUT,       MAP_NO_INTERRUPT};
    struct devtree_interrupt interrupt;
    struct devtree_pci pci;

    for (size_t i = 0; i < sizeof twists / sizeof twists[0]; i++) {
        assert_true(find_pci(twists[i], &pci));
        if (twists[i] == MAP_SHORT_CELLS)
            devtree_pci_interrupt(&tree, &pci, (struct devtree_pci_pin){.pin = 1}, &interrupt);
        else
            assert_int_equal(
                devtree_pci_interrupt(&tree, &pci, (struct devtree_pci_pin){.pin = 1}, &interrupt),
                DGM_ENOENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_of_it),
        cmocka_unit_test(gic_version_3),
        cmocka_unit_test(gic_version_2),
        cmocka_unit_test(initrd_backwards_is_none),
        cmocka_unit_test(many_banks),
        cmocka_unit_test(says_what_is_missing),
        cmocka_unit_test(not_a_tree),
        cmocka_unit_test(pci_bridge),
        cmocka_unit_test(pci_status),
        cmocka_unit_test(pci_interrupts),
        cmocka_unit_test(pci_map_that_is_wrong),
    };

    return cmocka_run_group_tests_name("devtree", tests, NULL, NULL);
}
