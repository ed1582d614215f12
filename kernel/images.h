/* SPDX-License-Identifier: MIT */
/*
 * images: the files that guests are built from
 *
 * The boot loader puts each guest's kernel and ramdisk into memory, and Xen builds its guests from
 * there. mkboottree reserves that memory, so that Xen does not free it, and names it in a node
 * compatible "dragoman,images", so that Xen maps it for us like a device's. It is mapped read-only:
 * later guests depend on it. It is none of our RAM, so no hypercall and no device takes its
 * address.
 */
#ifndef KERNEL_IMAGES_H
#define KERNEL_IMAGES_H

#include "config.h"
#include "devtree.h"

/* Where Linux's image goes and what it takes there: Documentation/arch/arm64/booting.rst. */
struct image_header {
    uint64_t text_offset; /* from a multiple of 2 MiB on */
    uint64_t bytes;       /* in memory; at least the file's */
};

/* Reads the header of a kernel. False: it is none that starts without unpacking. */
bool image_read(const void *kernel, uint64_t bytes, struct image_header *header);

/* Maps the images of all guests. A guest whose images cannot be used keeps running, and cannot be
 * built again: config_guest.can_build becomes false, and a line has the cause. */
void images_map(struct config *config, const struct devtree *tree);

#endif
