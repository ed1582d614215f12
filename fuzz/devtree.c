/* SPDX-License-Identifier: MIT */
/*
 * fuzz devtree: kernel/devtree*.c and kernel/config.c on any tree
 *
 * The first byte chooses: the rest is the blob itself, or a program that builds a valid tree of
 * names and values that the readers use. Properties: a blob with a valid header either stops with a
 * cause (the panic for the operator) or is read: no crash, no endless loop, no read outside of the
 * blob (its memory is exactly as long as its header states).
 */
#include "lib/feed.h"

#include <kernel/config.h>
#include <kernel/devtree.h>

#include <libfdt.h>

#define BLOB_MAX 16384

static const char *const node_names[] = {"chosen", "memory@0", "hypervisor", "intc",    "timer",
                                         "pcie",   "dragoman", "guest",      "disk",    "v2m",
                                         "memory", "soc",      "x",          "guest-2", "disk-b"};

static const char *const property_names[] = {"compatible",
                                             "reg",
                                             "interrupts",
                                             "device_type",
                                             "#address-cells",
                                             "#size-cells",
                                             "ranges",
                                             "phandle",
                                             "dma-ranges",
                                             "bus-range",
                                             "interrupt-map",
                                             "interrupt-map-mask",
                                             "status",
                                             "when-idle",
                                             "domid",
                                             "label",
                                             "vdev",
                                             "target",
                                             "access",
                                             "unknown",
                                             "linux,initrd-start",
                                             "linux,initrd-end",
                                             "dma-coherent",
                                             "dma-noncoherent",
                                             "#interrupt-cells",
                                             "interrupt-parent",
                                             "interrupts-extended"};

static const char *const strings[] = {"xen,xen",
                                      "arm,gic-v3",
                                      "arm,cortex-a15-gic",
                                      "arm,gic-v2m-frame",
                                      "arm,armv8-timer",
                                      "arm,armv7-timer",
                                      "memory",
                                      "dragoman,config",
                                      "pci-host-ecam-generic",
                                      "okay",
                                      "disabled",
                                      "poweroff",
                                      "stay",
                                      "xvda",
                                      "nvme0",
                                      "w",
                                      "r",
                                      "web"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void add_property(struct feed *feed, void *fdt)
{
    const char *const name = property_names[feed_below(feed, COUNT(property_names))];
    uint8_t value[256];
    size_t bytes = 0;

    switch (feed_below(feed, 4)) {
    case 0: { /* a string */
        const char *const string = strings[feed_below(feed, COUNT(strings))];

        fdt_property(fdt, name, string, (int)strlen(string) + 1);
        return;
    }
    case 1: /* any bytes */
        bytes = feed_copy(feed, value, feed_below(feed, sizeof value));
        break;
    default: /* cells, small ones mostly */
        for (size_t cells = feed_below(feed, 33); cells; cells--, bytes += 4) {
            const uint8_t small = (uint8_t)feed_take(feed, 1);
            const fdt32_t cell = cpu_to_fdt32(small < 224 ? small : (uint32_t)feed_take(feed, 4));

            memcpy(value + bytes, &cell, 4);
        }
        break;
    }
    fdt_property(fdt, name, value, (int)bytes);
}

/* Adds valid cells, of which one may be changed, and the last ones missing. */
static void add_cells(struct feed *feed, void *fdt, const char *name, const uint32_t *cells,
                      size_t count, bool bent)
{
    fdt32_t value[20];
    size_t bytes = count * 4;

    for (size_t i = 0; i < count; i++)
        value[i] = cpu_to_fdt32(cells[i]);
    if (bent && feed_chance(feed, 128)) {
        const fdt32_t cell = (fdt32_t)feed_take(feed, 4);

        value[feed_below(feed, count)] = cell;
    }
    if (bent && feed_chance(feed, 64))
        bytes -= feed_below(feed, bytes + 1);
    fdt_property(fdt, name, value, (int)bytes);
}

/* Adds the nodes that every tree must have, so that the rest is read too. `which`: a bit for each
 * node; `bent`: a bit for each that has a fault. */
static void add_sound_nodes(struct feed *feed, void *fdt, uint8_t which, uint8_t bent)
{
    static const struct {
        const char *name, *key, *value;
        uint32_t reg[8], interrupts[9];
    } nodes[] = {
        {"memory@1", "device_type", "memory", {0, 0x40000000, 0, 0x1000000, 1, 0, 1, 0}, {0}},
        {"hypervisor",
         "compatible",
         "xen,xen",
         {0, 0x38000000, 0, 0x1000000, 2, 0, 1, 0},
         {1, 0, 8}},
        {"gic",
         "compatible",
         "arm,gic-v3",
         {0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0x10000},
         {0}},
        {"timer", "compatible", "arm,armv8-timer", {0}, {1, 13, 8, 1, 14, 8, 1, 11, 8}},
        {"pcie", "compatible", "pci-host-ecam-generic", {0x40, 0x10000000, 0, 0x1000000}, {0}},
    };
    static const uint32_t map[20] = {0x800,  0, 0, 1, 1, 0, 3, 4, /* no address cells in the GIC */
                                     0x1000, 0, 0, 2, 1, 0, 4, 4};
    static const uint32_t map_mask[4] = {0x1800, 0, 0, 7}, gic_cells[1] = {0};
    static const uint32_t ranges[14] = {0x2000000, 0,          0x10000000, 0,    0x10000000,
                                        0,         0x2eff0000, 0x43000000, 0x80, 0,
                                        0x80,      0,          0x80,       0};

    for (unsigned i = 0; i < COUNT(nodes); i++) {
        const bool wrong = bent >> i & 1;

        if (!(which >> i & 1))
            continue;
        fdt_begin_node(fdt, nodes[i].name);
        fdt_property_string(fdt, nodes[i].key, nodes[i].value);
        add_cells(feed, fdt, "reg", nodes[i].reg, 8, wrong);
        add_cells(feed, fdt, "interrupts", nodes[i].interrupts, 9, wrong);
        if (i == 2) {
            fdt_property_u32(fdt, "phandle", 1);
            fdt_property_u32(fdt, "#interrupt-cells", 3);
            add_cells(feed, fdt, "#address-cells", gic_cells, 1, wrong);
        }
        if (i == 4) {
            fdt_property_u32(fdt, "#address-cells", 3);
            fdt_property_u32(fdt, "#size-cells", 2);
            fdt_property_u32(fdt, "#interrupt-cells", 1);
            add_cells(feed, fdt, "interrupt-map", map, 16, wrong);
            add_cells(feed, fdt, "interrupt-map-mask", map_mask, 4, wrong);
            add_cells(feed, fdt, "ranges", ranges, 14, wrong);
            add_cells(feed, fdt, "dma-ranges", ranges, 14, wrong);
        }
        fdt_end_node(fdt);
    }
}

/* A bus with an offset in both directions, a bus in it, and a device there, whose interrupt goes
 * through the outer bus's map. */
static void add_buses(struct feed *feed, void *fdt, bool wrong)
{
    static const uint32_t two[1] = {2}, one[1] = {1}, gic[1] = {1}, outer[1] = {2};
    static const uint32_t ranges[6] = {0, 0, 0x10, 0, 0, 0x10000000};
    static const uint32_t dma[12] = {0, 0x80000000, 8, 0, 0, 0x40000000, 0, 0, 0, 0, 0, 0x20000000};
    static const uint32_t inner[4] = {0x1000, 0, 0x100000, 0x1000}, reg[2] = {0x1010, 0x10};
    static const uint32_t inner_dma[4] = {0, 0, 0x10000000, 0x80000000};
    static const uint32_t map[7] = {0, 0x1000, 1, 1, 0, 70, 4}, map_mask[3] = {0, 0xf000, 7};

    fdt_begin_node(fdt, "outer");
    add_cells(feed, fdt, "#address-cells", two, 1, wrong);
    add_cells(feed, fdt, "#size-cells", two, 1, wrong);
    add_cells(feed, fdt, "#interrupt-cells", one, 1, wrong);
    fdt_property_u32(fdt, "phandle", 2);
    add_cells(feed, fdt, "interrupt-parent", gic, 1, wrong);
    add_cells(feed, fdt, "ranges", ranges, 6, wrong);
    add_cells(feed, fdt, "dma-ranges", dma, 12, wrong);
    add_cells(feed, fdt, "interrupt-map", map, 7, wrong);
    add_cells(feed, fdt, "interrupt-map-mask", map_mask, 3, wrong);
    fdt_begin_node(fdt, "inner");
    add_cells(feed, fdt, "#address-cells", one, 1, wrong);
    add_cells(feed, fdt, "#size-cells", one, 1, wrong);
    add_cells(feed, fdt, "ranges", inner, 4, wrong);
    add_cells(feed, fdt, "dma-ranges", inner_dma, 4, wrong);
    fdt_begin_node(fdt, "mmc@1010");
    add_cells(feed, fdt, "reg", reg, 2, wrong);
    add_cells(feed, fdt, "interrupt-parent", outer, 1, wrong);
    add_cells(feed, fdt, "interrupts", one, 1, wrong);
    fdt_end_node(fdt);
    fdt_end_node(fdt);
    fdt_end_node(fdt);
}

/* Errors of the writer (no space, a property after a node) are ignored: the tree continues. */
static void build_tree(struct feed *feed, void *fdt)
{
    unsigned depth = 1;

    fdt_create(fdt, BLOB_MAX);
    fdt_finish_reservemap(fdt);
    fdt_begin_node(fdt, "");
    if (feed_chance(feed, 224)) {
        fdt_property_u32(fdt, "#address-cells", 2);
        fdt_property_u32(fdt, "#size-cells", 2);
    }
    const uint8_t which = (uint8_t)feed_take(feed, 1);
    const uint8_t bent = (uint8_t)feed_take(feed, 1);
    add_sound_nodes(feed, fdt, which, bent);
    if (which >> 5 & 1)
        add_buses(feed, fdt, bent >> 5 & 1);
    while (feed->left) {
        const uint64_t what = feed_below(feed, 16);

        if (what < 4 && depth < 30) {
            depth += fdt_begin_node(fdt, node_names[feed_below(feed, COUNT(node_names))]) == 0;
        } else if (what < 7 && depth > 1) {
            fdt_end_node(fdt);
            depth--;
        } else {
            add_property(feed, fdt);
        }
    }
    while (depth--)
        fdt_end_node(fdt);
    fdt_finish(fdt);
}

static void expect_cause(const char *what)
{
    fuzz_check(strncmp(what, "device tree: ", 13) == 0); /* a cause, no failed assertion */
    longjmp(unit_panic_return, 1);
}

static void check_windows(const struct devtree_dma *dma)
{
    fuzz_check(dma->count <= DGM_DMA_WINDOWS_MAX);
    for (size_t i = 0; i < dma->count; i++) {
        const struct dgm_dma_window *window = &dma->windows[i];

        fuzz_check(window->length && (window->machine_base | window->bus_base) % 4096 == 0);
        fuzz_check(window->machine_base <= UINT64_MAX - (window->length - 1));
        fuzz_check(window->bus_base <= UINT64_MAX - (window->length - 1));
        fuzz_check(i == 0 || dma->windows[i - 1].machine_base + (dma->windows[i - 1].length - 1) <
                                 window->machine_base);
    }
}

static void read_pci(struct devtree *tree)
{
    struct devtree_pci pci;
    struct devtree_interrupt interrupt;
    int node = -1;

    while (devtree_pci_next(tree, &node, &pci)) {
        fuzz_check(pci.window_count <= DEVTREE_WINDOWS_MAX);
        check_windows(&pci.dma);
        fuzz_check(pci.bus_first <= pci.bus_last);
        fuzz_check(((uint64_t)(pci.bus_last - pci.bus_first + 1) << 20) <= pci.config.bytes);
        fuzz_check(!devtree_is_taken(tree, pci.config));
        for (size_t i = 0; i < pci.window_count; i++) {
            const struct devtree_pci_window *window = &pci.windows[i];

            fuzz_check(window->bytes && window->pci <= UINT64_MAX - window->bytes);
            fuzz_check(!devtree_is_taken(tree, (struct range){window->cpu, window->bytes}));
        }
        for (uint8_t pin = 1; pin <= 4; pin++)
            if (devtree_pci_interrupt(tree, &pci,
                                      (struct devtree_pci_pin){.device = pin, .pin = pin},
                                      &interrupt) == 0)
                fuzz_check(interrupt.intid >= 16 && interrupt.intid < 1020);
    }
}

/* Reads every node as a device. */
static void read_devices(struct devtree *tree)
{
    struct devtree_device device;
    char path[256];

    for (int node = 0; node >= 0; node = fdt_next_node(tree->fdt, node, NULL)) {
        if (fdt_get_path(tree->fdt, node, path, sizeof path) == 0)
            devtree_alias(tree->fdt, path);
        if (devtree_device_read(tree, node, &device) != 0)
            continue;
        fuzz_check(device.registers.bytes && !devtree_is_taken(tree, device.registers));
        fuzz_check(device.registers.base <= UINT64_MAX - device.registers.bytes);
        fuzz_check(device.interrupt.intid >= 16 && device.interrupt.intid < 1020);
        check_windows(&device.dma);
    }
}

static void read_config(const void *fdt)
{
    static struct config config;

    config_read(&config, fdt);
    fuzz_check(config.guest_count <= CONFIG_GUESTS_MAX && config.disk_count <= CONFIG_DISKS_MAX);
    for (size_t i = 0; i < config.disk_count; i++) {
        const struct config_disk *disk = &config.disks[i];

        fuzz_check(config_guest(&config, disk->domid));
        fuzz_check(disk->vdev[0] && strlen(disk->vdev) < sizeof disk->vdev);
        fuzz_check(disk->target[0] && strlen(disk->target) < sizeof disk->target);
    }
    for (size_t i = 0; i < config.guest_count; i++)
        fuzz_check(config_guest(&config, config.guests[i].domid) == &config.guests[i]);
}

/* Memory, Xen's window, extended regions, the interrupt controller, registers and windows. */
static void check_apart(const struct devtree *tree)
{
    struct range all[DEVTREE_BANKS_MAX + DEVTREE_REGIONS_MAX + DEVTREE_CLAIMS_MAX + 4];
    size_t count = 0;

    for (size_t i = 0; i < tree->bank_count; i++)
        all[count++] = tree->banks[i];
    for (size_t i = 0; i < tree->region_count; i++)
        all[count++] = tree->regions[i];
    for (size_t i = 0; i < tree->claim_count; i++)
        all[count++] = tree->claims[i].range;
    for (size_t i = 0; i < DEVTREE_GIC_REGISTERS; i++)
        all[count++] = tree->gic_registers[i];
    all[count++] = tree->grant_window;
    for (size_t i = 0; i < count; i++) {
        fuzz_check(all[i].base <= DEVTREE_ADDRESS_END &&
                   all[i].bytes <= DEVTREE_ADDRESS_END - all[i].base);
        fuzz_check(!ranges_overlap(all, i, all[i]));
        fuzz_check(!ranges_overlap(tree->reserved, tree->reserved_count, all[i]));
    }
}

static void read_tree(const void *fdt)
{
    static struct devtree tree;

    dgm_sim_on_panic(expect_cause);
    if (setjmp(unit_panic_return) == 0) {
        devtree_read(&tree, fdt);
        fuzz_check(tree.bank_count >= 1 && tree.bank_count <= DEVTREE_BANKS_MAX);
        fuzz_check(tree.region_count <= DEVTREE_REGIONS_MAX);
        fuzz_check(tree.events.intid < 1020 && tree.timer.intid < 1020);
        read_devices(&tree);
        read_pci(&tree);
        check_apart(&tree);
    }
    dgm_sim_on_panic(NULL);
    if (fdt_check_full(fdt, fdt_totalsize(fdt)) == 0)
        read_config(fdt); /* even from a tree that lacks all else */
}

void run_input(struct feed *feed)
{
    const bool raw = feed_chance(feed, 96);
    char *const space = calloc(1, BLOB_MAX);
    char *blob;
    size_t bytes = 0;

    if (raw)
        bytes = feed_copy(feed, space, BLOB_MAX);
    else
        build_tree(feed, space);
    if (!raw || (bytes >= sizeof(struct fdt_header) && fdt_check_header(space) == 0 &&
                 fdt_totalsize(space) <= bytes)) {
        bytes = fdt_totalsize(space);
        if (bytes <= BLOB_MAX && fdt_check_header(space) == 0) {
            blob = malloc(bytes); /* not a byte more */
            memcpy(blob, space, bytes);
            read_tree(blob);
            free(blob);
        }
    }
    free(space);
}
