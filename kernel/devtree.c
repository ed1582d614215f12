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

static void read_hypervisor(struct devtree *tree)
{
    const int node = fdt_node_offset_by_compatible(tree->fdt, -1, "xen,xen");
    struct range window;

    need(node >= 0, "no node compatible with xen,xen: this image runs under Xen only");
    need(devtree_reg(tree->fdt, node, 0, &window), "/hypervisor has no reg");
    window = range_inwards(window);
    need(window.bytes >= 2 * DGM_FRAME_BYTES, "/hypervisor: reg is too small");
    need(window.base <= DEVTREE_ADDRESS_END && window.bytes <= DEVTREE_ADDRESS_END - window.base,
         "/hypervisor: reg is beyond 48 bits");
    need(!devtree_is_taken(tree, window),
         "/hypervisor: reg lies over memory, or over the interrupt controller");
    tree->grant_window = window;
    need(interrupt_entry(tree->fdt, node, 0, &tree->events), "/hypervisor has no interrupts");
    devtree_pci_claim(tree);
    devtree_read_regions(tree, node);
}

/* Registers of at least `bytes`, outside memory, at the CPU's address; the first ones are used. */
static uint64_t gic_registers(struct devtree *tree, int node, unsigned index, uint64_t bytes)
{
    struct range *range = &tree->gic_registers[index];
    struct range found;

    need(devtree_bus_reg(tree->fdt, node, index, &found),
         "the interrupt controller lacks one of its two reg");
    need(found.base % DGM_FRAME_BYTES == 0,
         "the interrupt controller's reg is no range of whole frames");
    need(found.bytes >= bytes, "the interrupt controller's reg is too small");
    need(!devtree_is_taken(tree, found),
         "the interrupt controller's reg lies over memory, or over its other one");
    *range = found;
    return found.base;
}

/* Without it devices use their lines in place of messages. */
static void read_message_frame(struct devtree *tree)
{
    const int node = fdt_node_offset_by_compatible(tree->fdt, -1, "arm,gic-v2m-frame");
    struct range range;

    if (node < 0 || tree->gic.version != 2)
        return;
    if (!devtree_bus_reg(tree->fdt, node, 0, &range) || range.bytes < DGM_FRAME_BYTES ||
        range.base % DGM_FRAME_BYTES || devtree_is_taken(tree, range)) {
        devtree_complain(tree, node,
                         "reg: missing, no range of whole frames, or over memory or the "
                         "interrupt controller; devices send no messages");
        return;
    }
    tree->gic_registers[2] = range;
    tree->gic.message = range.base;
}

static void read_gic(struct devtree *tree)
{
    struct gic_place *gic = &tree->gic;
    int node = fdt_next_node(tree->fdt, -1, NULL);

    while (node >= 0 && !devtree_gic_version(tree->fdt, node))
        node = fdt_next_node(tree->fdt, node, NULL);
    need(node >= 0, "no interrupt controller that is supported (GICv2, GICv3)");
    gic->version = devtree_gic_version(tree->fdt, node);
    gic->distributor_bytes = gic->version == 3 ? GIC_V3_DISTRIBUTOR_BYTES : DGM_FRAME_BYTES;
    gic->second_bytes = gic->version == 3 ? 2 * GIC_REDISTRIBUTOR_BYTES : DGM_FRAME_BYTES;
    gic->distributor = gic_registers(tree, node, 0, gic->distributor_bytes);
    gic->second = gic_registers(tree, node, 1, gic->second_bytes);
    read_message_frame(tree);
}

static void read_timer(struct devtree *tree)
{
    int node = fdt_node_offset_by_compatible(tree->fdt, -1, "arm,armv8-timer");

    if (node < 0)
        node = fdt_node_offset_by_compatible(tree->fdt, -1, "arm,armv7-timer");
    need(node >= 0 && interrupt_entry(tree->fdt, node, 2, &tree->timer),
         "no virtual timer interrupt");
    need(tree->timer.intid != tree->events.intid,
         "the virtual timer's interrupt is that of /hypervisor");
}

void devtree_read(struct devtree *tree, const void *fdt)
{
    memset(tree, 0, sizeof *tree);
    need(fdt_check_header(fdt) == 0, "bad magic or version");
    need(fdt_totalsize(fdt) <= DEVTREE_BYTES_MAX, "larger than 2 MiB");
    need(fdt_check_full(fdt, fdt_totalsize(fdt)) == 0, "damaged");
    tree->fdt = fdt;
    tree->bytes = fdt_totalsize(fdt);
    devtree_read_memory(tree);
    read_chosen(tree);
    read_gic(tree);
    read_hypervisor(tree);
    read_timer(tree);
}
