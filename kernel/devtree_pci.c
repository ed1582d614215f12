/* SPDX-License-Identifier: MIT */
/*
 * devtree_pci: PCI host bridges (see devtree.h). Devicetree binding "pci-host-ecam-generic"; IEEE
 * 1275's PCI binding for `ranges` and `interrupt-map`.
 */
#include "devtree.h"

#include <dragoman/base/status.h>
#include <port/env.h>

#include <libfdt.h>
#include <string.h>

#define BUS_BYTES 0x100000ull /* of configuration space, for each bus */

static int next_bridge(const struct devtree *tree, int after)
{
    return fdt_node_offset_by_compatible(tree->fdt, after, "pci-host-ecam-generic");
}

static bool range_wraps(uint64_t base, uint64_t bytes)
{
    return bytes > UINT64_MAX - base;
}

/* One entry of `ranges`: flags, PCI address, CPU address, length. */
struct entry {
    uint32_t flags;
    uint64_t pci, cpu, bytes;
};

static size_t read_entries(const struct devtree *tree, int node, struct entry *entries, size_t max)
{
    const int ac = fdt_address_cells(tree->fdt, fdt_parent_offset(tree->fdt, node));
    int length;
    const fdt32_t *cell = fdt_getprop(tree->fdt, node, "ranges", &length);
    size_t count = 0;

    for (; cell && length >= (5 + ac) * 4 && count < max; count++) {
        entries[count] = (struct entry){
            .flags = fdt32_to_cpu(cell[0]),
            .pci = devtree_cells(cell + 1, 2),
            .cpu = devtree_cells(cell + 3, ac),
            .bytes = devtree_cells(cell + 3 + ac, 2),
        };
        cell += 5 + ac;
        length -= (5 + ac) * 4;
    }
    if (cell && length)
        devtree_complain(tree, node,
                         "ranges: cut within a window, or more windows than are kept; the last are "
                         "left out");
    return count;
}

/* The first and the last bus; all, if the tree does not say. False: no possible pair. */
static bool read_bus_range(const struct devtree *tree, int node, uint32_t *first, uint32_t *last)
{
    int length;
    const fdt32_t *buses = fdt_getprop(tree->fdt, node, "bus-range", &length);

    *first = 0;
    *last = 255;
    if (!buses)
        return true;
    if (length != 8)
        return false;
    *first = fdt32_to_cpu(buses[0]);
    *last = fdt32_to_cpu(buses[1]);
    return *first <= *last && *last <= 255;
}

/* Whether `range` lies over the configuration space of a bridge before `end` (negative: of any). */
static bool is_over_config(const struct devtree *tree, int end, struct range range)
{
    int node = -1;

    while ((node = next_bridge(tree, node)) >= 0 && node != end) {
        uint32_t first, last;
        struct range config;

        if (!devtree_okay(tree->fdt, node) || !devtree_bus_reg(tree->fdt, node, 0, &config) ||
            !read_bus_range(tree, node, &first, &last))
            continue;
        if (config.bytes > (last - first + 1) * BUS_BYTES)
            config.bytes = (last - first + 1) * BUS_BYTES;
        if (range_overlaps(config, range))
            return true;
    }
    return false;
}

/* Translates the entry through the buses above the bridge. */
static bool seen_by_cpu(const struct devtree *tree, int node, struct entry *entry)
{
    struct range range = {entry->cpu, entry->bytes};

    if (!devtree_bus_translate(tree->fdt, fdt_parent_offset(tree->fdt, node), &range))
        return false;
    entry->cpu = range.base;
    return true;
}

static bool is_over_window(const struct devtree_pci *pci, const struct entry *entry)
{
    for (size_t i = 0; i < pci->window_count; i++)
        if (range_overlaps((struct range){pci->windows[i].cpu, pci->windows[i].bytes},
                           (struct range){entry->cpu, entry->bytes}))
            return true;
    return false;
}

static void read_windows(const struct devtree *tree, struct devtree_pci *pci)
{
    struct entry entries[DEVTREE_WINDOWS_MAX];
    const size_t count = read_entries(tree, pci->node, entries, DEVTREE_WINDOWS_MAX);

    for (size_t i = 0; i < count; i++) {
        struct entry *entry = &entries[i];
        const unsigned space = entry->flags >> 24 & 3;

        if (entry->bytes == 0)
            devtree_complain(tree, pci->node, "ranges: a window of 0 bytes is left out");
        else if (range_wraps(entry->pci, entry->bytes) || range_wraps(entry->cpu, entry->bytes))
            devtree_complain(tree, pci->node, "ranges: a window that wraps is left out");
        else if (!seen_by_cpu(tree, pci->node, entry))
            devtree_complain(tree, pci->node,
                             "ranges: a window that the bus above it does not pass on is left out");
        else if (devtree_is_taken(tree, (struct range){entry->cpu, entry->bytes}))
            devtree_complain(tree, pci->node,
                             "ranges: a window that lies over memory, or over the interrupt "
                             "controller, is left out");
        else if (space && (is_over_config(tree, -1, (struct range){entry->cpu, entry->bytes}) ||
                           is_over_window(pci, entry)))
            devtree_complain(tree, pci->node,
                             "ranges: a window that lies over another, or over a configuration "
                             "space, is left out");
        else if (space)
            pci->windows[pci->window_count++] = (struct devtree_pci_window){
                .pci = entry->pci,
                .cpu = entry->cpu,
                .bytes = entry->bytes,
                .is64 = space == 3,
                .io = space == 1,
                .prefetchable = entry->flags >> 30 & 1,
            };
    }
}

/* Reads the buses that the bridge has and that its configuration space covers. */
static bool read_buses(const struct devtree *tree, struct devtree_pci *pci)
{
    const uint64_t held = pci->config.bytes / BUS_BYTES;
    uint32_t first, last;

    if (!read_bus_range(tree, pci->node, &first, &last)) {
        devtree_complain(tree, pci->node,
                         "bus-range: not a first and a last bus up to 255; the bridge is "
                         "left out");
        return false;
    }
    if (held == 0) {
        devtree_complain(tree, pci->node,
                         "reg: less than the 1 MiB of one bus; the bridge is left out");
        return false;
    }
    if (last - first >= held) {
        devtree_complain(tree, pci->node,
                         "reg: holds fewer buses than bus-range names; the last are left "
                         "out");
        last = first + (uint32_t)held - 1;
    }
    pci->config.bytes = (last - first + 1) * BUS_BYTES;
    pci->bus_first = (uint8_t)first;
    pci->bus_last = (uint8_t)last;
    return true;
}

/* False: the node is disabled, or it cannot be used and the cause is logged. */
static bool read_bridge(const struct devtree *tree, int node, struct devtree_pci *pci)
{
    *pci = (struct devtree_pci){.node = node};
    if (!devtree_okay(tree->fdt, node))
        return false;
    if (fdt_address_cells(tree->fdt, node) != 3 || fdt_size_cells(tree->fdt, node) != 2) {
        devtree_complain(tree, node,
                         "#address-cells is not 3, or #size-cells not 2; the bridge is left out");
        return false;
    }
    if (!devtree_bus_reg(tree->fdt, node, 0, &pci->config)) {
        devtree_complain(tree, node,
                         "reg: missing, cut, wrapping, beyond 48 bits, or not passed on by a bus "
                         "above; the bridge is left out");
        return false;
    }
    if (devtree_is_taken(tree, pci->config) || pci->config.base % DGM_FRAME_BYTES) {
        devtree_complain(tree, node,
                         "reg: lies over memory, or not on a frame; the bridge is left out");
        return false;
    }
    if (!read_buses(tree, pci))
        return false;
    if (is_over_config(tree, node, pci->config)) {
        devtree_complain(tree, node,
                         "reg: lies over that of another bridge, so its devices would be found "
                         "twice; the bridge is left out");
        return false;
    }
    if (devtree_bus_dma(tree->fdt, node, &pci->dma) != DGM_OK) {
        devtree_complain(tree, node,
                         "dma-ranges: empty, unaligned, wrapping or overlapping windows; the "
                         "bridge is left out");
        return false;
    }
    pci->coherent = devtree_bus_coherent(tree->fdt, node);
    read_windows(tree, pci);
    return true;
}

bool devtree_pci_next(const struct devtree *tree, int *node, struct devtree_pci *pci)
{
    for (;;) {
        *node = next_bridge(tree, *node);
        if (*node < 0)
            return false;
        if (read_bridge(tree, *node, pci))
            return true;
    }
}

/* The interrupt-map of the bridge compares a function's address and its pin. */
int devtree_pci_interrupt(const struct devtree *tree, const struct devtree_pci *pci,
                          struct devtree_pci_pin pin, struct devtree_interrupt *interrupt)
{
    struct devtree_signal signal = {
        .controller = pci->node,
        .unit = {cpu_to_fdt32((uint32_t)pin.bus << 16 | (uint32_t)pin.device << 11 |
                              (uint32_t)pin.function << 8)},
        .specifier = {cpu_to_fdt32(pin.pin)},
    };

    return devtree_bus_follow(tree->fdt, &signal, interrupt);
}
