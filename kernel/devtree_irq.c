/* SPDX-License-Identifier: MIT */
/*
 * devtree_irq: interrupts from a device to the GIC; see devtree_bus.h
 *
 * A node names its interrupt in the terms of its interrupt parent. That parent is the GIC, another
 * controller (which Dragoman does not drive), or a nexus, whose interrupt-map translates the
 * interrupt to the terms of the next parent. The steps are bounded, because the parents of a tree
 * may form a cycle.
 */
#include "devtree_bus.h"

#include <dragoman/base/status.h>

#include <string.h>

#define STEPS_MAX 16 /* from a device to the GIC; boards have three */

unsigned devtree_gic_version(const void *fdt, int node)
{
    static const struct {
        const char *compatible;
        unsigned version;
    } known[] = {
        {"arm,gic-v3", 3}, {"arm,gic-400", 2}, {"arm,cortex-a15-gic", 2}, {"arm,cortex-a7-gic", 2}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (fdt_node_check_compatible(fdt, node, known[i].compatible) == 0)
            return known[i].version;
    return 0;
}

bool devtree_gic_interrupt(const fdt32_t *cell, struct devtree_interrupt *interrupt)
{
    const uint32_t type = fdt32_to_cpu(cell[0]), number = fdt32_to_cpu(cell[1]);

    if (type > 1 || number >= (type ? 16 : 1020 - 32))
        return false;
    interrupt->intid = number + (type ? 16 : 32);
    interrupt->edge = fdt32_to_cpu(cell[2]) & 3;
    return true;
}

/* The node's "#address-cells" or "#interrupt-cells", `absent` without one; -1: more cells than any
 * binding has. */
static int cell_count(const void *fdt, int node, const char *name, int absent)
{
    int length;
    const fdt32_t *cells = fdt_getprop(fdt, node, name, &length);

    if (!cells)
        return absent;
    if (length != 4 || fdt32_to_cpu(*cells) > DEVTREE_SPECIFIER_MAX)
        return -1;
    return (int)fdt32_to_cpu(*cells);
}

static bool cells_match(const fdt32_t *entry, const fdt32_t *wanted, const fdt32_t *mask, int count)
{
    for (int i = 0; i < count; i++)
        if ((entry[i] ^ wanted[i]) & (mask ? mask[i] : UINT32_MAX))
            return false;
    return true;
}

/* Makes one step: looks `signal` up in its nexus's interrupt-map. */
static bool map_step(const void *fdt, struct devtree_signal *signal)
{
    const int nexus = signal->controller;
    const int ac = cell_count(fdt, nexus, "#address-cells", 2);
    const int ic = cell_count(fdt, nexus, "#interrupt-cells", -1);
    int length, mask_bytes;
    const fdt32_t *cell = fdt_getprop(fdt, nexus, "interrupt-map", &length);
    const fdt32_t *mask = fdt_getprop(fdt, nexus, "interrupt-map-mask", &mask_bytes);

    if (!cell || ac < 0 || ic < 1 || (mask && mask_bytes < (ac + ic) * 4))
        return false;
    while (length >= (ac + ic + 1) * 4) {
        const fdt32_t *next = cell + ac + ic + 1;
        const int parent = fdt_node_offset_by_phandle(fdt, fdt32_to_cpu(next[-1]));
        const int parent_ac = parent < 0 ? -1 : cell_count(fdt, parent, "#address-cells", 0);
        const int parent_ic = parent < 0 ? -1 : cell_count(fdt, parent, "#interrupt-cells", -1);

        if (parent_ac < 0 || parent_ic < 1 || length < (ac + ic + 1 + parent_ac + parent_ic) * 4)
            return false;
        if (cells_match(cell, signal->unit, mask, ac) &&
            cells_match(cell + ac, signal->specifier, mask ? mask + ac : NULL, ic)) {
            signal->controller = parent;
            memcpy(signal->unit, next, (size_t)parent_ac * 4);
            memcpy(signal->specifier, next + parent_ac, (size_t)parent_ic * 4);
            return true;
        }
        cell = next + parent_ac + parent_ic;
        length -= (ac + ic + 1 + parent_ac + parent_ic) * 4;
    }
    return false;
}

int devtree_bus_follow(const void *fdt, struct devtree_signal *signal,
                       struct devtree_interrupt *interrupt)
{
    for (unsigned steps = 0; steps < STEPS_MAX; steps++) {
        if (devtree_gic_version(fdt, signal->controller))
            return cell_count(fdt, signal->controller, "#interrupt-cells", -1) == 3 &&
                           devtree_gic_interrupt(signal->specifier, interrupt)
                       ? DGM_OK
                       : DGM_ENOENT;
        if (!map_step(fdt, signal))
            return DGM_ENOENT;
    }
    return DGM_ENOENT;
}

/* The node in whose terms `interrupts` of `node` are; negative: there is none. */
static int interrupt_parent(const void *fdt, int node)
{
    for (unsigned steps = 0; node >= 0 && steps < STEPS_MAX; steps++) {
        int length;
        const fdt32_t *phandle = fdt_getprop(fdt, node, "interrupt-parent", &length);

        node = phandle && length == 4 ? fdt_node_offset_by_phandle(fdt, fdt32_to_cpu(*phandle))
                                      : fdt_parent_offset(fdt, node);
        if (node >= 0 && fdt_getprop(fdt, node, "#interrupt-cells", NULL))
            return node;
    }
    return -FDT_ERR_NOTFOUND;
}

/* `interrupts-extended`: {phandle of a controller, a specifier in its terms}. */
static bool extended_entry(const void *fdt, int node, unsigned index, struct devtree_signal *signal)
{
    int length;
    const fdt32_t *cell = fdt_getprop(fdt, node, "interrupts-extended", &length);

    for (; cell && length >= 4; index--) {
        const int parent = fdt_node_offset_by_phandle(fdt, fdt32_to_cpu(*cell));
        const int ic = parent < 0 ? -1 : cell_count(fdt, parent, "#interrupt-cells", -1);

        if (ic < 1 || length < (1 + ic) * 4)
            return false;
        if (index == 0) {
            signal->controller = parent;
            memcpy(signal->specifier, cell + 1, (size_t)ic * 4);
            return true;
        }
        cell += 1 + ic;
        length -= (1 + ic) * 4;
    }
    return false;
}

static bool plain_entry(const void *fdt, int node, unsigned index, struct devtree_signal *signal)
{
    const int parent = interrupt_parent(fdt, node);
    const int ic = parent < 0 ? -1 : cell_count(fdt, parent, "#interrupt-cells", -1);
    int length;
    const fdt32_t *cell = fdt_getprop(fdt, node, "interrupts", &length);

    if (!cell || ic < 1 || (index + 1) * (unsigned)ic * 4 > (unsigned)length)
        return false;
    signal->controller = parent;
    memcpy(signal->specifier, cell + index * (unsigned)ic, (size_t)ic * 4);
    return true;
}

int devtree_bus_interrupt(const void *fdt, int node, unsigned index,
                          struct devtree_interrupt *interrupt)
{
    struct devtree_signal signal;
    int length;
    const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &length);

    memset(&signal, 0, sizeof signal);
    if (reg) /* the part of its unit address that a nexus compares */
        memcpy(signal.unit, reg,
               (size_t)length < sizeof signal.unit ? (size_t)length : sizeof signal.unit);
    if (fdt_getprop(fdt, node, "interrupts-extended", NULL)
            ? !extended_entry(fdt, node, index, &signal)
            : !plain_entry(fdt, node, index, &signal))
        return DGM_ENOENT;
    return devtree_bus_follow(fdt, &signal, interrupt);
}
