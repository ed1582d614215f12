/* SPDX-License-Identifier: MIT */
/*
 * boottree.h: the device tree that Xen boots a whole machine from.
 *
 * Takes the board's own tree and adds what dom0less needs: Xen's and Dom0's command lines, one boot
 * module for Dom0's image, one `xen,domain` node per guest with its modules, and the `/dragoman`
 * node that assigns the disks to the guests. It also decides where in memory each module must lie;
 * the boot loader (or QEMU) puts it there: the load plan.
 *
 * Guests that name the same file share one module: Xen keeps 32 modules at most, so 32 guests can
 * boot only if they share.
 */
#ifndef DRAGOMAN_TOOLS_BOOTTREE_H
#define DRAGOMAN_TOOLS_BOOTTREE_H

#include <stdint.h>

#include "guestcfg.h"

enum {
    /* Xen's MAX_MODULES is 32; two are its own image and the device tree. */
    MODULE_COUNT_MAX = 30,
};

struct load_module {
    const char *path;
    uint64_t address;
    uint64_t size;
};

struct load_plan {
    struct load_module modules[MODULE_COUNT_MAX];
    size_t module_count;
    uint64_t next_address;
    uint64_t end_address; /* the end of the memory bank that holds the base */
};

struct machine_config {
    const char *board_path;  /* the board's device tree blob */
    const char *domain_path; /* Dom0's image */
    const char *xen_args;
    const char *domain_args;
    const char *when_idle; /* "poweroff" or "stay" */
    uint64_t base_address; /* where modules begin; 0: 144 MiB into the first bank of memory */
};

/* Fills *plan and returns the finished tree (fdt_totalsize() bytes), or dies. */
void *boot_tree_make(const struct machine_config *machine, const struct guest_config *guests,
                     size_t guest_count, struct load_plan *plan);

#endif
