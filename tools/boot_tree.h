/* SPDX-License-Identifier: MIT */
/*
 * boot_tree.h: the device tree from which Xen boots a whole machine.
 *
 * Takes the board's own tree and adds what dom0less needs: Xen's and Dom0's command lines, one boot
 * module for Dom0's image, one `xen,domain` node per guest with its modules, and the `/dragoman`
 * node that assigns the disks to the guests. It also makes the load plan: the address of each
 * module, to which the boot loader (or QEMU) must load it.
 *
 * Guests that name the same file share one module: Xen keeps 32 modules at most, so 32 guests can
 * boot only if they share.
 */
#ifndef DRAGOMAN_TOOLS_BOOT_TREE_H
#define DRAGOMAN_TOOLS_BOOT_TREE_H

#include "load_plan.h"

/* Fills *plan and returns the finished tree (fdt_totalsize() bytes), or ends the tool. */
void *boot_tree_make(const struct machine_config *machine, const struct guest_config *guests,
                     size_t guest_count, struct load_plan *plan);

#endif
