/* SPDX-License-Identifier: MIT */
/*
 * platform: controllers that have a node of their own in the device tree and that a driver serves
 *
 * As pci.h for controllers on PCI: maps the registers, and gives each controller its environment.
 * Such a device cannot be cut off from memory, restored or masked by its bus.
 */
#ifndef KERNEL_PLATFORM_H
#define KERNEL_PLATFORM_H

#include "disks.h"
#include "devtree.h"

/* Adds all controllers that are in use to `disks`, in the order of the tree. */
void platform_start(struct disks *disks, const struct devtree *tree,
                    const struct disks_options *options);

#endif
