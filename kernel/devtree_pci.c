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

/* A line about a host bridge: property, cause and consequence. */
static void complain(const struct devtree *tree, int node, const char *about)
{
    const char *name = fdt_get_name(tree->fdt, node, NULL);

    dgm_env_log("device tree: %.40s: %s", name ? name : "a PCI host bridge", about);
}

static bool wraps(uint64_t base, uint64_t bytes)
{
    return bytes > UINT64_MAX - base;
}

/* One entry of `ranges` or `dma-ranges`: flags, PCI address, CPU address, length. */
struct entry {
    uint32_t flags;
    uint64_t pci, cpu, bytes;
};

static size_t read_entries(const struct devtree *tree, int node, const char *name,
                           struct entry *entries, size_t max)
{
    const int ac = fdt_address_cells(tree->fdt, fdt_parent_offset(tree->fdt, node));
    int length;
    const fdt32_t *cell = fdt_getprop(tree->fdt, node, name, &length);
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
    return count;
}

static void read_windows(const struct devtree *tree, struct devtree_pci *pci)
{
    struct entry entries[DEVTREE_WINDOWS_MAX];
    const size_t count = read_entries(tree, pci->node, "ranges", entries, DEVTREE_WINDOWS_MAX);

    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &entries[i];
        const unsigned space = entry->flags >> 24 & 3;

        if (entry->bytes == 0)
            complain(tree, pci->node, "ranges: a window of 0 bytes is left out");
        else if (wraps(entry->pci, entry->bytes) || wraps(entry->cpu, entry->bytes))
            complain(tree, pci->node, "ranges: a window that wraps is left out");
        else if (devtree_is_taken(tree, (struct range){entry->cpu, entry->bytes}))
            complain(tree, pci->node, "ranges: a window that lies over memory is left out");
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

/* Whether a device may be told `entry`'s addresses beside the windows before it, in order. */
static bool add_dma_window(struct devtree_pci *pci, const struct entry *entry)
{
    struct dgm_dma_window *windows = pci->dma;
    size_t at = pci->dma_count;

    if (entry->bytes == 0 || wraps(entry->pci, entry->bytes) || wraps(entry->cpu, entry->bytes) ||
        (entry->pci | entry->cpu) % DGM_FRAME_BYTES)
        return false;
    for (; at > 0 && windows[at - 1].machine_base > entry->cpu; at--)
        windows[at] = windows[at - 1];
    windows[at] = (struct dgm_dma_window){
        .bus_base = entry->pci, .machine_base = entry->cpu, .length = entry->bytes};
    pci->dma_count++;
    return (at == 0 || windows[at - 1].length <= entry->cpu - windows[at - 1].machine_base) &&
           (at + 1 == pci->dma_count || entry->bytes <= windows[at + 1].machine_base - entry->cpu);
}

/*
 * False: its devices cannot be used. A window too few would make a device unable to reach some
 * memory; one that is wrong would make it reach other memory.
 */
static bool read_dma_windows(const struct devtree *tree, struct devtree_pci *pci)
{
    struct entry entries[DGM_DMA_WINDOWS_MAX];
    const size_t count = read_entries(tree, pci->node, "dma-ranges", entries, DGM_DMA_WINDOWS_MAX);
    int length = 0;

    for (size_t i = 0; i < count; i++)
        if (!add_dma_window(pci, &entries[i]))
            return false;
    /* Empty means: the same addresses. */
    return count > 0 || !fdt_getprop(tree->fdt, pci->node, "dma-ranges", &length) || length == 0;
}

/* Without a status a node is in use. */
static bool is_okay(const void *fdt, int node)
{
    int length;
    const char *status = fdt_getprop(fdt, node, "status", &length);

    return !status || (length == 5 && !memcmp(status, "okay", 5)) ||
           (length == 3 && !memcmp(status, "ok", 3));
}

/* The buses that the bridge has and that its configuration space holds. */
static bool read_buses(const struct devtree *tree, struct devtree_pci *pci)
{
    int length;
    const fdt32_t *buses = fdt_getprop(tree->fdt, pci->node, "bus-range", &length);
    const uint32_t first = buses && length == 8 ? fdt32_to_cpu(buses[0]) : 0;
    uint32_t last = buses && length == 8 ? fdt32_to_cpu(buses[1]) : 255;
    const uint64_t held = pci->config.bytes / BUS_BYTES;

    if (first > last || last > 255) {
        complain(tree, pci->node,
                 "bus-range: not a first and a last bus up to 255; the bridge is "
                 "left out");
        return false;
    }
    if (held == 0) {
        complain(tree, pci->node, "reg: less than the 1 MiB of one bus; the bridge is left out");
        return false;
    }
    if (last - first >= held) {
        complain(tree, pci->node,
                 "reg: holds fewer buses than bus-range names; the last are left "
                 "out");
        last = first + (uint32_t)held - 1;
    }
    pci->bus_first = (uint8_t)first;
    pci->bus_last = (uint8_t)last;
    return true;
}

/* False: the node cannot be used, and unless it is disabled a line says why. */
static bool read_bridge(const struct devtree *tree, int node, struct devtree_pci *pci)
{
    *pci = (struct devtree_pci){.node = node};
    if (!is_okay(tree->fdt, node))
        return false;
    if (!devtree_reg(tree->fdt, node, 0, &pci->config)) {
        complain(tree, node, "reg: missing, cut or wrapping; the bridge is left out");
        return false;
    }
    if (devtree_is_taken(tree, pci->config) || pci->config.base % DGM_FRAME_BYTES) {
        complain(tree, node, "reg: lies over memory, or not on a frame; the bridge is left out");
        return false;
    }
    if (!read_buses(tree, pci))
        return false;
    if (!read_dma_windows(tree, pci)) {
        complain(tree, node,
                 "dma-ranges: empty, unaligned, wrapping or overlapping windows; the "
                 "bridge is left out");
        return false;
    }
    pci->coherent = fdt_getprop(tree->fdt, node, "dma-coherent", NULL) != NULL;
    read_windows(tree, pci);
    return true;
}

bool devtree_pci_next(const struct devtree *tree, int *node, struct devtree_pci *pci)
{
    do {
        *node = fdt_node_offset_by_compatible(tree->fdt, *node, "pci-host-ecam-generic");
    } while (*node >= 0 && !read_bridge(tree, *node, pci));
    return *node >= 0;
}

/* interrupt-map: {child address (3 cells), child specifier (1), parent phandle, parent address,
 * parent specifier (3)}. */
int devtree_pci_interrupt(const struct devtree *tree, const struct devtree_pci *pci, uint8_t bus,
                          uint8_t device, uint8_t function, uint8_t pin,
                          struct devtree_interrupt *interrupt)
{
    int length, mask_bytes;
    const fdt32_t *cell = fdt_getprop(tree->fdt, pci->node, "interrupt-map", &length);
    const fdt32_t *mask = fdt_getprop(tree->fdt, pci->node, "interrupt-map-mask", &mask_bytes);
    const uint32_t unit = (uint32_t)bus << 16 | (uint32_t)device << 11 | (uint32_t)function << 8;
    const uint32_t unit_mask = mask && mask_bytes >= 16 ? fdt32_to_cpu(mask[0]) : UINT32_MAX;
    const uint32_t pin_mask = mask && mask_bytes >= 16 ? fdt32_to_cpu(mask[3]) : 7;

    while (cell && length >= 5 * 4) {
        const int parent = fdt_node_offset_by_phandle(tree->fdt, fdt32_to_cpu(cell[4]));
        int parent_bytes = 0;
        const fdt32_t *parent_cells =
            parent < 0 ? NULL : fdt_getprop(tree->fdt, parent, "#address-cells", &parent_bytes);
        const uint32_t ac = parent_cells && parent_bytes == 4 ? fdt32_to_cpu(*parent_cells) : 0;
        const int entry = 5 + (int)ac + 3;

        if (parent < 0 || ac > FDT_MAX_NCELLS || length < entry * 4)
            break;
        if ((fdt32_to_cpu(cell[0]) & unit_mask) == (unit & unit_mask) &&
            (fdt32_to_cpu(cell[3]) & pin_mask) == (pin & pin_mask)) {
            return devtree_gic_interrupt(cell + 5 + ac, interrupt) ? DGM_OK : DGM_ENOENT;
        }
        cell += entry;
        length -= entry * 4;
    }
    return DGM_ENOENT;
}
