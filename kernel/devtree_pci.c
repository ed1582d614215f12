/* SPDX-License-Identifier: MIT */
/*
 * devtree_pci: PCI host bridges (see devtree.h). Devicetree binding "pci-host-ecam-generic"; IEEE
 * 1275's PCI binding for `ranges` and `interrupt-map`.
 *
 * The configuration spaces of all bridges are claimed before any window, so a window of one bridge
 * never takes the registers of another, whatever their order in the tree.
 */
#include "devtree.h"

#include <dragoman/base/addr.h>
#include <dragoman/base/status.h>

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

/* --- configuration space --- */

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

/* Reads the buses that the bridge has and that its configuration space covers. NULL, or why the
 * bridge cannot be used. `*fewer`: some buses are not covered. */
static const char *read_config(const struct devtree *tree, struct devtree_pci *pci, bool *fewer)
{
    uint32_t first, last;

    if (fdt_address_cells(tree->fdt, pci->node) != 3 || fdt_size_cells(tree->fdt, pci->node) != 2)
        return "#address-cells is not 3, or #size-cells not 2";
    if (!devtree_bus_reg(tree->fdt, pci->node, 0, &pci->config))
        return "reg: missing, cut, wrapping, beyond 48 bits, or not passed on by a bus above";
    if (pci->config.base % DGM_FRAME_BYTES)
        return "reg: not on a frame";
    if (!read_bus_range(tree, pci->node, &first, &last))
        return "bus-range: not a first and a last bus up to 255";

    const uint64_t held = pci->config.bytes / BUS_BYTES;

    if (held == 0)
        return "reg: less than the 1 MiB of one bus";
    *fewer = last - first >= held;
    if (*fewer)
        last = first + (uint32_t)held - 1;
    pci->config.bytes = (last - first + 1) * BUS_BYTES;
    pci->bus_first = (uint8_t)first;
    pci->bus_last = (uint8_t)last;
    return NULL;
}

static void claim_config(struct devtree *tree, int node)
{
    struct devtree_pci pci = {.node = node};
    bool fewer = false;
    const char *cause = read_config(tree, &pci, &fewer), *over;

    if (cause) {
        devtree_complain(tree, node, "%s; the bridge is left out", cause);
        return;
    }
    if (fewer)
        devtree_complain(tree, node,
                         "reg: holds fewer buses than bus-range names; the last are left out");
    over = devtree_claim(tree, pci.config, node);
    if (over)
        devtree_complain(tree, node, "reg: lies %s; the bridge is left out", over);
}

void devtree_pci_claim(struct devtree *tree)
{
    for (int node = next_bridge(tree, -1); node >= 0; node = next_bridge(tree, node))
        if (devtree_okay(tree->fdt, node))
            claim_config(tree, node);
}

static bool has_config(const struct devtree *tree, const struct devtree_pci *pci)
{
    for (size_t i = 0; i < tree->claim_count; i++)
        if (tree->claims[i].node == pci->node && tree->claims[i].range.base == pci->config.base)
            return true;
    return false;
}

/* --- windows --- */

/* One entry of `ranges`: flags, PCI address, CPU address, length. */
struct entry {
    uint32_t flags;
    uint64_t pci, cpu, bytes;
};

static unsigned space_of(const struct entry *entry)
{
    return entry->flags >> 24 & 3; /* 0 configuration, 1 I/O, 2 and 3 memory */
}

/* Whether some bus address that the window has means RAM for a device: its DMA there would reach
 * another device. */
static bool is_over_dma(const struct devtree *tree, const struct devtree_pci *pci,
                        const struct entry *entry)
{
    const struct range bus = {entry->pci, entry->bytes};

    if (pci->dma.count == 0)
        return ranges_overlap(tree->banks, tree->bank_count, bus);
    for (size_t i = 0; i < pci->dma.count; i++) {
        const struct dgm_dma_window *window = &pci->dma.windows[i];
        const uint64_t up = window->machine_base - window->bus_base;
        struct range part = {window->bus_base, window->length};

        if (!range_overlaps(part, bus))
            continue;
        /* Their intersection, at the machine's addresses. */
        const uint64_t first = part.base > bus.base ? part.base : bus.base;
        const uint64_t last = part.base + part.bytes - 1 < bus.base + bus.bytes - 1
                                  ? part.base + part.bytes - 1
                                  : bus.base + bus.bytes - 1;

        part = (struct range){first + up, last - first + 1};
        if (ranges_overlap(tree->banks, tree->bank_count, part))
            return true;
    }
    return false;
}

static bool is_over_window(const struct devtree_pci *pci, const struct entry *entry)
{
    for (size_t i = 0; i < pci->window_count; i++)
        if (range_overlaps((struct range){pci->windows[i].pci, pci->windows[i].bytes},
                           (struct range){entry->pci, entry->bytes}))
            return true;
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

/* NULL, or why the window cannot be used; it is claimed then. */
static const char *check_window(struct devtree *tree, const struct devtree_pci *pci,
                                struct entry *entry)
{
    const bool memory = space_of(entry) != 1;

    if (space_of(entry) == 0)
        return "is for configuration space, or has a wrong first cell";
    if (entry->bytes == 0)
        return "has 0 bytes";
    if (range_wraps(entry->pci, entry->bytes) || range_wraps(entry->cpu, entry->bytes))
        return "wraps";
    if (!seen_by_cpu(tree, pci->node, entry))
        return "is not passed on by the bus above, or is beyond 48 bits";
    if (memory && is_over_window(pci, entry))
        return "lies over another one of this bridge, at the bus's addresses";
    if (memory && is_over_dma(tree, pci, entry))
        return "lies over memory, at the bus's addresses";
    if (memory && pci->window_count == DEVTREE_WINDOWS_MAX)
        return "is beyond the 4 that are kept";
    return NULL;
}

static void read_window(struct devtree *tree, struct devtree_pci *pci, struct entry *entry)
{
    const unsigned long long at = entry->cpu;
    const char *cause = check_window(tree, pci, entry), *over;

    if (cause) {
        devtree_complain(tree, pci->node, "ranges: the window at %llx %s; it is left out", at,
                         cause);
        return;
    }
    over = devtree_claim(tree, (struct range){entry->cpu, entry->bytes}, pci->node);
    if (over)
        devtree_complain(tree, pci->node, "ranges: the window at %llx lies %s; it is left out", at,
                         over);
    else if (space_of(entry) != 1)
        pci->windows[pci->window_count++] = (struct devtree_pci_window){
            .pci = entry->pci,
            .cpu = entry->cpu,
            .bytes = entry->bytes,
            .prefetchable = entry->flags >> 30 & 1,
        };
}

static void read_windows(struct devtree *tree, struct devtree_pci *pci)
{
    const int ac = fdt_address_cells(tree->fdt, fdt_parent_offset(tree->fdt, pci->node));
    int length = 0;
    const fdt32_t *cell = fdt_getprop(tree->fdt, pci->node, "ranges", &length);

    /* The bridge's reg was read, so its parent has one or two cells. */
    for (; cell && length >= (5 + ac) * 4; cell += 5 + ac, length -= (5 + ac) * 4) {
        struct entry entry = {
            .flags = fdt32_to_cpu(cell[0]),
            .pci = devtree_cells(cell + 1, 2),
            .cpu = devtree_cells(cell + 3, ac),
            .bytes = devtree_cells(cell + 3 + ac, 2),
        };

        read_window(tree, pci, &entry);
    }
    if (cell && length)
        devtree_complain(tree, pci->node, "ranges: cut within a window; that one is left out");
    if (pci->window_count == 0)
        devtree_complain(tree, pci->node,
                         "ranges: no window for memory; its devices cannot be used");
}

/* --- bridges --- */

/* False: the node is disabled, or it cannot be used and the cause is logged. */
static bool read_bridge(struct devtree *tree, struct devtree_pci *pci)
{
    bool fewer;

    if (!devtree_okay(tree->fdt, pci->node) || read_config(tree, pci, &fewer) ||
        !has_config(tree, pci))
        return false;
    if (devtree_bus_dma(tree->fdt, pci->node, &pci->dma) != DGM_OK) {
        devtree_complain(tree, pci->node,
                         "dma-ranges: empty, unaligned, wrapping or overlapping windows; the "
                         "bridge is left out");
        return false;
    }
    if (pci->dma.cut)
        devtree_complain(tree, pci->node,
                         "dma-ranges: more than the 4 windows that are kept; its devices reach "
                         "less memory");
    pci->coherent = devtree_bus_coherent(tree->fdt, pci->node);
    read_windows(tree, pci);
    return true;
}

static unsigned number_of(const struct devtree *tree, int node)
{
    unsigned number = 0;

    for (int other = next_bridge(tree, -1); other >= 0 && other != node;
         other = next_bridge(tree, other))
        number++;
    return number;
}

bool devtree_pci_next(struct devtree *tree, int *node, struct devtree_pci *pci)
{
    for (;;) {
        *node = next_bridge(tree, *node);
        if (*node < 0)
            return false;
        *pci = (struct devtree_pci){.node = *node, .number = number_of(tree, *node)};
        if (read_bridge(tree, pci))
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
