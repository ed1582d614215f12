/* SPDX-License-Identifier: MIT */
/*
 * disks: the PCI devices of the board, and the disks among them
 *
 * Finds the host bridges in the device tree, lets the PCI code assign addresses, attaches a driver
 * to each device that one knows, and answers which disk a configuration's target means.
 */
#ifndef KERNEL_DISKS_H
#define KERNEL_DISKS_H

#include "memory.h"

#include <dragoman/drivers/blkdev.h>

#define DISKS_MAX 64

struct disks {
    struct dgm_blkdev *disk[DISKS_MAX];
    size_t count;
};

void disks_start(struct disks *disks, const struct devtree *tree, struct memory *memory,
                 struct dgm_reactor *reactor);

/* "nvme0", "sd0" (each kind counts by itself, in PCI order) or "serial:..."; NULL:
 * there is none. */
struct dgm_blkdev *disks_find(struct disks *disks, const char *target);

#endif
