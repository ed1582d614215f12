/* SPDX-License-Identifier: MIT */
/*
 * devtree_device: devices that have their own node and registers, such as the SD controllers of a
 * chip (see devtree.h)
 */
#include "devtree.h"

#include <dragoman/base/status.h>
#include <port/env.h>

#include <string.h>

#define REGISTERS_BYTES_MAX (16ull << 20) /* of a device; more would take page tables in vain */

/* Returns why the device cannot be used; NULL: it can be used. */
static const char *read_parts(const struct devtree *tree, int node, struct devtree_device *device)
{
    const void *fdt = tree->fdt;

    if (!devtree_bus_reg(fdt, node, 0, &device->registers))
        return "reg: missing, cut, wrapping, beyond 48 bits, or not passed on by a bus above";
    if (device->registers.bytes == 0 || device->registers.bytes > REGISTERS_BYTES_MAX)
        return "reg: empty, or larger than 16 MiB";
    if (device->registers.base % 4)
        return "reg: unaligned";
    if (devtree_bus_dma(fdt, fdt_parent_offset(fdt, node), &device->dma) != DGM_OK)
        return "dma-ranges of its buses: empty, unaligned, wrapping or overlapping windows";
    if (devtree_bus_interrupt(fdt, node, 0, &device->interrupt) != DGM_OK)
        return "interrupts: none that leads to the GIC";
    return NULL;
}

int devtree_device_read(struct devtree *tree, int node, struct devtree_device *device)
{
    const char *trouble, *over;

    *device = (struct devtree_device){.node = node};
    if (!devtree_okay(tree->fdt, node))
        return DGM_ENODEV;
    trouble = read_parts(tree, node, device);
    if (trouble) {
        devtree_complain(tree, node, "%s; it is left out", trouble);
        return DGM_EINVAL;
    }
    over = devtree_claim(tree, device->registers, node);
    if (over) {
        devtree_complain(tree, node, "reg: %s; it is left out", over);
        return DGM_EINVAL;
    }
    device->coherent = devtree_bus_coherent(tree->fdt, node);
    return DGM_OK;
}

const char *devtree_compatible(const void *fdt, int node, const char *const *list, int *rank)
{
    const char *name;

    for (*rank = 0; (name = fdt_stringlist_get(fdt, node, "compatible", *rank, NULL)); ++*rank)
        for (size_t i = 0; list[i]; i++)
            if (!strcmp(list[i], name))
                return list[i];
    return NULL;
}

const char *devtree_alias(const void *fdt, const char *path)
{
    const int aliases = fdt_path_offset(fdt, "/aliases");
    int property;

    if (aliases < 0)
        return NULL;
    fdt_for_each_property_offset(property, fdt, aliases)
    {
        const char *name;
        int length;
        const char *value = fdt_getprop_by_offset(fdt, property, &name, &length);

        if (value && (size_t)length == strlen(path) + 1 && !memcmp(value, path, (size_t)length))
            return name;
    }
    return NULL;
}
