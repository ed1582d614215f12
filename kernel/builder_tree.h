/* SPDX-License-Identifier: MIT */
/*
 * builder_tree: the device tree of a guest that Dragoman builds
 *
 * The nodes that Xen gives a dom0less guest, in the layout of xen/arch-arm.h. That header has its
 * constants for Arm compilers only, so those that are needed are here too.
 */
#ifndef KERNEL_BUILDER_TREE_H
#define KERNEL_BUILDER_TREE_H

#include "config.h"

#define GUEST_BANKS       2u
#define GUEST_BANK0_BASE  0x40000000ull
#define GUEST_BANK0_BYTES 0xc0000000ull
#define GUEST_BANK1_BASE  0x200000000ull
#define GUEST_VUART_GFN                                                                            \
    0x39003ull /* the fourth frame from GUEST_MAGIC_BASE, as Xen's tools have it */

#define BUILDER_TREE_BYTES                                                                         \
    16384u /* enough for CONFIG_VCPUS_MAX vCPUs and 1,024 bytes of arguments */

struct builder_tree {
    const struct config_build *build;
    unsigned gic_version;            /* 2 or 3 */
    struct range banks[GUEST_BANKS]; /* bytes 0: none */
    struct range ramdisk;            /* where it lies in the guest; bytes 0: none */
};

/* Writes the tree to `buffer`, of BUILDER_TREE_BYTES. Returns its bytes; 0: it does not fit. */
uint32_t builder_tree_write(void *buffer, const struct builder_tree *of);

#endif
