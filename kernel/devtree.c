/* SPDX-License-Identifier: MIT */
/*
 * devtree: see devtree.h. Devicetree Specification 0.4; what Xen adds: xen-arm64 facts, section
 * 1.4.
 */
#include "devtree.h"

#include <dragoman/base/status.h>
#include <port/env.h>

#include <libfdt.h>
#include <string.h>

#define need(condition, what)                                                                      \
    ((condition) ? (void)0 : dgm_env_panic(__FILE__, __LINE__, "device tree: " what))

static bool interrupt_entry(const void *fdt, int node, unsigned index,
                            struct devtree_interrupt *interrupt)
{
    int length;
    const fdt32_t *cell = fdt_getprop(fdt, node, "interrupts", &length);

    if (!cell || (index + 1) * 12 > (unsigned)length)
        return false;
    return devtree_gic_interrupt(cell + index * 3, interrupt);
}

static void reserve_range(struct devtree *tree, struct range range)
{
    if (range.bytes == 0)
        return;
    need(tree->reserved_count < DEVTREE_RESERVED_MAX, "more reserved ranges than are kept");
    tree->reserved[tree->reserved_count++] = range_outwards(range);
}

/* The reservations in the header of the board's own tree, which Xen does not pass on: mkboottree
 * copies them to /dragoman, as pairs of 64-bit numbers. */
static void read_copied_reservations(struct devtree *tree)
{
    const int node = fdt_node_offset_by_compatible(tree->fdt, -1, "dragoman,config");
    int length = 0;
    const fdt32_t *cell = node < 0 ? NULL : fdt_getprop(tree->fdt, node, "reserved", &length);

    for (; cell && length >= 16; cell += 4, length -= 16) {
        const struct range range = {devtree_cells(cell, 2), devtree_cells(cell + 2, 2)};

        need(range.bytes <= UINT64_MAX - range.base, "/dragoman: reserved: a range wraps");
        reserve_range(tree, range);
    }
}

/* Memory of firmware and devices: /reserved-memory, and reservations in the header. */
static void read_reserved(struct devtree *tree)
{
    const int parent = fdt_path_offset(tree->fdt, "/reserved-memory");
    struct range range;
    int node;

    for (int i = 0; i < fdt_num_mem_rsv(tree->fdt); i++) {
        need(fdt_get_mem_rsv(tree->fdt, i, &range.base, &range.bytes) == 0 &&
                 range.bytes <= UINT64_MAX - range.base,
             "a reservation in its header wraps");
        reserve_range(tree, range);
    }
    read_copied_reservations(tree);
    if (parent < 0)
        return;
    fdt_for_each_subnode(node, tree->fdt, parent)
    {
        for (unsigned i = 0; devtree_reg(tree->fdt, node, i, &range); i++)
            reserve_range(tree, range);
    }
}

static size_t remove_reserved(const struct devtree *tree, struct range *ranges, size_t count,
                              size_t max)
{
    for (size_t i = 0; i < tree->reserved_count; i++)
        count = ranges_remove(ranges, count, tree->reserved[i], max);
    return count;
}

/* The whole frames of all memory nodes that are not reserved. */
static void read_memory(struct devtree *tree)
{
    int node = -1;

    while ((node = fdt_node_offset_by_prop_value(tree->fdt, node, "device_type", "memory", 7)) >= 0)
        for (unsigned i = 0; tree->bank_count < DEVTREE_BANKS_MAX; i++) {
            struct range *bank = &tree->banks[tree->bank_count];

            if (!devtree_reg(tree->fdt, node, i, bank))
                break;
            *bank = range_inwards(*bank);
            if (bank->bytes)
                tree->bank_count++;
        }
    tree->bank_count = remove_reserved(tree, tree->banks, tree->bank_count, DEVTREE_BANKS_MAX);
    need(tree->bank_count, "no /memory that is not reserved");
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
    const uint64_t base = devtree_cells(start, start_bytes / 4),
                   behind = devtree_cells(end, end_bytes / 4);
    if (behind > base)
        tree->initrd = (struct range){base, behind - base};
}

static bool is_over_ram(const struct devtree *tree, struct range range)
{
    for (size_t i = 0; i < tree->bank_count; i++)
        if (range_overlaps(tree->banks[i], range))
            return true;
    return false;
}

static bool is_over_gic(const struct devtree *tree, struct range range)
{
    const uint64_t at[] = {tree->gic.distributor, tree->gic.second, tree->gic.message};

    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        if (at[i] && range_overlaps((struct range){at[i], DGM_FRAME_BYTES}, range))
            return true;
    return false;
}

bool devtree_is_taken(const struct devtree *tree, struct range range)
{
    return is_over_ram(tree, range) || range_overlaps(tree->grant_window, range) ||
           is_over_gic(tree, range);
}

/* Without other memory of the tree, in case the tree contradicts itself. */
static void read_regions(struct devtree *tree, int node)
{
    struct range region;

    for (unsigned i = 1; devtree_reg(tree->fdt, node, i, &region); i++) {
        region = range_inwards(region);
        if (devtree_is_taken(tree, region))
            dgm_env_log(
                "device tree: /hypervisor: reg: the extended region at %llx lies over memory "
                "that is used; that part is left out",
                (unsigned long long)region.base);
        if (region.bytes && tree->region_count < DEVTREE_REGIONS_MAX)
            tree->regions[tree->region_count++] = region;
    }
    tree->region_count =
        remove_reserved(tree, tree->regions, tree->region_count, DEVTREE_REGIONS_MAX);
    for (size_t i = 0; i < tree->bank_count; i++)
        tree->region_count =
            ranges_remove(tree->regions, tree->region_count, tree->banks[i], DEVTREE_REGIONS_MAX);
    tree->region_count =
        ranges_remove(tree->regions, tree->region_count, tree->grant_window, DEVTREE_REGIONS_MAX);
}

static void read_hypervisor(struct devtree *tree)
{
    const int node = fdt_node_offset_by_compatible(tree->fdt, -1, "xen,xen");

    need(node >= 0, "no node compatible with xen,xen: this image runs under Xen only");
    need(devtree_reg(tree->fdt, node, 0, &tree->grant_window), "/hypervisor has no reg");
    tree->grant_window = range_inwards(tree->grant_window);
    need(tree->grant_window.bytes >= 2 * DGM_FRAME_BYTES, "/hypervisor: reg is too small");
    need(!is_over_ram(tree, tree->grant_window), "/hypervisor: reg lies over memory");
    need(interrupt_entry(tree->fdt, node, 0, &tree->events), "/hypervisor has no interrupts");
    read_regions(tree, node);
}

/* Registers of at least a frame, outside RAM, at the CPU's address. */
static struct range gic_registers(const struct devtree *tree, int node, unsigned index)
{
    struct range range = {0, 0};

    need(devtree_bus_reg(tree->fdt, node, index, &range),
         "the interrupt controller lacks one of its two reg");
    need(range.bytes >= DGM_FRAME_BYTES && range.base % DGM_FRAME_BYTES == 0,
         "the interrupt controller's reg is no range of whole frames");
    need(!devtree_is_taken(tree, range), "the interrupt controller's reg lies over memory");
    return range;
}

static void read_gic(struct devtree *tree)
{
    struct range range;
    int node = fdt_next_node(tree->fdt, -1, NULL);

    while (node >= 0 && !devtree_gic_version(tree->fdt, node))
        node = fdt_next_node(tree->fdt, node, NULL);
    need(node >= 0, "no interrupt controller that is supported (GICv2, GICv3)");
    tree->gic.version = devtree_gic_version(tree->fdt, node);
    tree->gic.distributor = gic_registers(tree, node, 0).base;
    range = gic_registers(tree, node, 1);
    tree->gic.second = range.base;
    tree->gic.second_bytes = range.bytes;
    need(tree->gic.version == 2 || range.bytes >= 2 * GIC_REDISTRIBUTOR_BYTES,
         "the interrupt controller's second reg is too small");
    node = fdt_node_offset_by_compatible(tree->fdt, -1, "arm,gic-v2m-frame");
    if (tree->gic.version == 2 && node >= 0)
        tree->gic.message = gic_registers(tree, node, 0).base;
}

void devtree_read(struct devtree *tree, const void *fdt)
{
    int node;

    memset(tree, 0, sizeof *tree);
    need(fdt_check_header(fdt) == 0, "bad magic or version");
    need(fdt_check_full(fdt, fdt_totalsize(fdt)) == 0, "damaged");
    tree->fdt = fdt;
    tree->bytes = fdt_totalsize(fdt);
    read_reserved(tree);
    read_memory(tree);
    read_chosen(tree);
    read_hypervisor(tree);
    read_gic(tree);
    node = fdt_node_offset_by_compatible(fdt, -1, "arm,armv8-timer");
    if (node < 0)
        node = fdt_node_offset_by_compatible(fdt, -1, "arm,armv7-timer");
    need(node >= 0 && interrupt_entry(fdt, node, 2, &tree->timer), "no virtual timer interrupt");
}
