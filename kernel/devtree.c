/* SPDX-License-Identifier: MIT */
/*
 * devtree: see devtree.h. Devicetree Specification 0.4; what Xen puts in: xen-arm64 facts,
 * section 1.4.
 */
#include "devtree.h"

#include <dragoman/base/status.h>
#include <port/env.h>

#include <libfdt.h>
#include <string.h>

#define need(condition, what)                                                                      \
    ((condition) ? (void)0 : dgm_env_panic(__FILE__, __LINE__, "device tree: " what))

static uint64_t cells(const fdt32_t *cell, int count)
{
    uint64_t value = 0;

    while (count-- > 0)
        value = value << 32 | fdt32_to_cpu(*cell++);
    return value;
}

/* Entry `index` of `reg`; false behind the end. No `ranges` translation: Xen's and QEMU's nodes are
 * at the root. */
static bool reg_entry(const void *fdt, int node, unsigned index, struct devtree_range *range)
{
    const int parent = fdt_parent_offset(fdt, node);
    const int ac = fdt_address_cells(fdt, parent), sc = fdt_size_cells(fdt, parent);
    int length;
    const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &length);

    if (!reg || ac < 1 || ac > 2 || sc < 1 || sc > 2)
        return false;
    if ((index + 1) * (unsigned)(ac + sc) * 4 > (unsigned)length)
        return false;
    reg += index * (unsigned)(ac + sc);
    range->base = cells(reg, ac);
    range->bytes = cells(reg + ac, sc);
    return true;
}

/* GIC binding: type (0 SPI, 1 PPI), number, flags. False: no interrupt that a GIC has. */
static bool gic_interrupt(const fdt32_t *cell, struct devtree_interrupt *interrupt)
{
    const uint32_t type = fdt32_to_cpu(cell[0]), number = fdt32_to_cpu(cell[1]);

    if (type > 1 || number >= (type ? 16 : 1020 - 32))
        return false;
    interrupt->intid = number + (type ? 16 : 32);
    interrupt->edge = fdt32_to_cpu(cell[2]) & 3;
    return true;
}

static bool interrupt_entry(const void *fdt, int node, unsigned index,
                            struct devtree_interrupt *interrupt)
{
    int length;
    const fdt32_t *cell = fdt_getprop(fdt, node, "interrupts", &length);

    if (!cell || (index + 1) * 12 > (unsigned)length)
        return false;
    return gic_interrupt(cell + index * 3, interrupt);
}

static void read_memory(struct devtree *tree)
{
    int node = -1;

    while ((node = fdt_node_offset_by_prop_value(tree->fdt, node, "device_type", "memory", 7)) >= 0)
        for (unsigned i = 0; tree->bank_count < DEVTREE_BANKS_MAX; i++) {
            struct devtree_range *bank = &tree->banks[tree->bank_count];

            if (!reg_entry(tree->fdt, node, i, bank))
                break;
            if (bank->bytes)
                tree->bank_count++;
        }
    need(tree->bank_count, "no /memory");
}

static void read_chosen(struct devtree *tree)
{
    const int node = fdt_path_offset(tree->fdt, "/chosen");
    int start_bytes, end_bytes;
    const fdt32_t *start, *end;

    if (node < 0)
        return;
    start = fdt_getprop(tree->fdt, node, "linux,initrd-start", &start_bytes);
    end = fdt_getprop(tree->fdt, node, "linux,initrd-end", &end_bytes);
    if (!start || !end || start_bytes % 4 || end_bytes % 4)
        return;
    const uint64_t base = cells(start, start_bytes / 4), behind = cells(end, end_bytes / 4);
    if (behind > base)
        tree->initrd = (struct devtree_range){base, behind - base};
}

static void read_hypervisor(struct devtree *tree)
{
    const int node = fdt_node_offset_by_compatible(tree->fdt, -1, "xen,xen");

    need(node >= 0, "no node compatible with xen,xen: this image runs under Xen only");
    need(reg_entry(tree->fdt, node, 0, &tree->grant_window), "/hypervisor has no reg");
    need(interrupt_entry(tree->fdt, node, 0, &tree->events), "/hypervisor has no interrupts");
    while (tree->region_count < DEVTREE_REGIONS_MAX &&
           reg_entry(tree->fdt, node, (unsigned)tree->region_count + 1,
                     &tree->regions[tree->region_count]))
        tree->region_count++;
}

static void read_gic(struct devtree *tree)
{
    static const char *const v2[] = {"arm,cortex-a15-gic", "arm,gic-400", "arm,cortex-a7-gic"};
    struct devtree_range range;
    int node = fdt_node_offset_by_compatible(tree->fdt, -1, "arm,gic-v3");

    tree->gic.version = node >= 0 ? 3 : 2;
    for (size_t i = 0; node < 0 && i < sizeof v2 / sizeof v2[0]; i++)
        node = fdt_node_offset_by_compatible(tree->fdt, -1, v2[i]);
    need(node >= 0, "no interrupt controller that we know (GICv2, GICv3)");
    need(reg_entry(tree->fdt, node, 0, &range), "the interrupt controller has no reg");
    tree->gic.distributor = range.base;
    need(reg_entry(tree->fdt, node, 1, &range), "the interrupt controller lacks its second reg");
    tree->gic.second = range.base;
    tree->gic.second_bytes = range.bytes;
    node = fdt_node_offset_by_compatible(tree->fdt, -1, "arm,gic-v2m-frame");
    if (tree->gic.version == 2 && node >= 0) {
        /* Below the GIC: its own cells, and `ranges` empty (addresses as outside). */
        need(reg_entry(tree->fdt, node, 0, &range), "the GICv2m frame has no reg");
        tree->gic.message = range.base;
    }
}

void devtree_read(struct devtree *tree, const void *fdt)
{
    int node;

    memset(tree, 0, sizeof *tree);
    need(fdt_check_header(fdt) == 0, "not one (bad magic or version)");
    need(fdt_check_full(fdt, fdt_totalsize(fdt)) == 0, "damaged");
    tree->fdt = fdt;
    tree->bytes = fdt_totalsize(fdt);
    read_memory(tree);
    read_chosen(tree);
    read_hypervisor(tree);
    read_gic(tree);
    node = fdt_node_offset_by_compatible(fdt, -1, "arm,armv8-timer");
    if (node < 0)
        node = fdt_node_offset_by_compatible(fdt, -1, "arm,armv7-timer");
    need(node >= 0 && interrupt_entry(fdt, node, 2, &tree->timer), "no virtual timer interrupt");
}

static void read_pci_windows(const struct devtree *tree, struct devtree_pci *pci)
{
    const int parent = fdt_parent_offset(tree->fdt, pci->node);
    const int ac = fdt_address_cells(tree->fdt, parent);
    int length;
    const fdt32_t *cell = fdt_getprop(tree->fdt, pci->node, "ranges", &length);

    for (; cell && length >= (5 + ac) * 4 && pci->window_count < DEVTREE_WINDOWS_MAX;
         cell += 5 + ac, length -= (5 + ac) * 4) {
        const uint32_t flags = fdt32_to_cpu(cell[0]);

        pci->windows[pci->window_count++] = (struct devtree_pci_window){
            .pci = cells(cell + 1, 2),
            .cpu = cells(cell + 3, ac),
            .bytes = cells(cell + 3 + ac, 2),
            .is64 = (flags >> 24 & 3) == 3,
            .io = (flags >> 24 & 3) == 1,
            .prefetchable = flags >> 30 & 1,
        };
    }
    cell = fdt_getprop(tree->fdt, pci->node, "dma-ranges", &length);
    for (; cell && length >= (5 + ac) * 4 && pci->dma_count < DGM_DMA_WINDOWS_MAX;
         cell += 5 + ac, length -= (5 + ac) * 4)
        pci->dma[pci->dma_count++] = (struct dgm_dma_window){
            .bus_base = cells(cell + 1, 2),
            .machine_base = cells(cell + 3, ac),
            .length = cells(cell + 3 + ac, 2),
        };
}

/* Without a status a node is in use. */
static bool is_okay(const void *fdt, int node)
{
    int length;
    const char *status = fdt_getprop(fdt, node, "status", &length);

    return !status || (length == 5 && !memcmp(status, "okay", 5)) ||
           (length == 3 && !memcmp(status, "ok", 3));
}

bool devtree_pci_next(const struct devtree *tree, int *node, struct devtree_pci *pci)
{
    int length;
    const fdt32_t *buses;

    for (;;) {
        *node = fdt_node_offset_by_compatible(tree->fdt, *node, "pci-host-ecam-generic");
        if (*node < 0)
            return false;
        memset(pci, 0, sizeof *pci);
        pci->node = *node;
        if (is_okay(tree->fdt, *node) && reg_entry(tree->fdt, *node, 0, &pci->config))
            break;
    }
    buses = fdt_getprop(tree->fdt, *node, "bus-range", &length);
    pci->bus_last = 255;
    if (buses && length == 8) {
        pci->bus_first = (uint8_t)fdt32_to_cpu(buses[0]);
        pci->bus_last = (uint8_t)fdt32_to_cpu(buses[1]);
    }
    pci->coherent = fdt_getprop(tree->fdt, *node, "dma-coherent", NULL) != NULL;
    read_pci_windows(tree, pci);
    return true;
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
            return gic_interrupt(cell + 5 + ac, interrupt) ? DGM_OK : DGM_ENOENT;
        }
        cell += entry;
        length -= entry * 4;
    }
    return DGM_ENOENT;
}
