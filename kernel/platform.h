/* SPDX-License-Identifier: MIT */
/*
 * platform: controllers that have their own node in the device tree and that a driver serves
 *
 * As pci.h for controllers on PCI: maps the registers, and gives each controller its environment.
 * The bus of such a device cannot cut it off from memory, restore it or mask its interrupt.
 */
#ifndef KERNEL_PLATFORM_H
#define KERNEL_PLATFORM_H

#include "disks.h"
#include "devtree.h"

/* Adds all enabled controllers to `disks`, in the order of the tree. */
void platform_start(struct disks *disks, struct devtree *tree, const struct disks_options *options);

#endif
