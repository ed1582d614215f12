/* SPDX-License-Identifier: MIT */
/*
 * devtree: what the kernel reads from the device tree that Xen made for Dom0
 *
 * Reads once, at start, into plain structures; libfdt does the parsing. Nothing about the board is
 * known from elsewhere. Every value is checked before its use: a range that wraps, a bridge whose
 * registers lie in RAM, a window of 0 bytes. What Dragoman cannot start without stops it with the
 * cause; anything else gets a line with node, property and cause, is left out, and all other
 * devices are used.
 *
 *   devtree.c       memory, Xen, interrupt controller, timer
 *   devtree_pci.c   PCI host bridges
 */
#ifndef KERNEL_DEVTREE_H
#define KERNEL_DEVTREE_H

#include "ranges.h"
#include <kernel/arm64/gic.h>

#include <libfdt.h>

#define DEVTREE_BANKS_MAX    64
#define DEVTREE_REGIONS_MAX  16
#define DEVTREE_WINDOWS_MAX  8
#define DEVTREE_RESERVED_MAX 64

struct devtree_interrupt {
    uint32_t intid;
    bool edge;
};

struct devtree {
    const void *fdt;
    uint64_t bytes;
    /* Our RAM, whole frames. Xen shows reserved memory as memory nodes too; it is not in here, nor
     * in the extended regions below. */
    struct range banks[DEVTREE_BANKS_MAX];
    size_t bank_count;
    struct range reserved[DEVTREE_RESERVED_MAX]; /* firmware's and devices' memory, whole frames */
    size_t reserved_count;
    struct range initrd;                       /* bytes 0: none */
    struct range grant_window;                 /* /hypervisor reg[0]: free guest-physical space */
    struct range regions[DEVTREE_REGIONS_MAX]; /* reg[1..]: extended regions */
    size_t region_count;
    struct devtree_interrupt events, timer;
    struct gic_place gic;
};

/* Panics with the cause when the tree cannot be used: there is nothing to start from. */
void devtree_read(struct devtree *tree, const void *fdt);

struct devtree_pci_window {
    uint64_t cpu, pci, bytes;
    bool is64, prefetchable, io;
};

struct devtree_pci {
    struct range config; /* ECAM */
    uint8_t bus_first, bus_last;
    struct devtree_pci_window windows[DEVTREE_WINDOWS_MAX];
    size_t window_count;
    struct dgm_dma_window dma[DGM_DMA_WINDOWS_MAX]; /* dma-ranges */
    size_t dma_count;
    bool coherent;
    int node;
};

/* --- PCI host bridges --- */

/*
 * The next usable host bridge after node `*node` (start with -1); false when there is none. Its
 * buses lie within its configuration space, windows are not empty and do not wrap, and neither lies
 * over our RAM.
 */
bool devtree_pci_next(const struct devtree *tree, int *node, struct devtree_pci *pci);

/* The INTx interrupt (pin 1 = INTA ... 4) of a device on the root bus. DGM_ENOENT: the map has
 * none. */
int devtree_pci_interrupt(const struct devtree *tree, const struct devtree_pci *pci, uint8_t bus,
                          uint8_t device, uint8_t function, uint8_t pin,
                          struct devtree_interrupt *interrupt);

/* --- for devtree_pci.c --- */

/* Entry `index` of `reg`. False: there is none, or it wraps. */
bool devtree_reg(const void *fdt, int node, unsigned index, struct range *range);
/* The number in `count` cells. */
uint64_t devtree_cells(const fdt32_t *cell, int count);
/* GIC binding: type (0 SPI, 1 PPI), number, flags. False: no interrupt that a GIC has. */
bool devtree_gic_interrupt(const fdt32_t *cell, struct devtree_interrupt *interrupt);
/* True if `range` lies over our RAM or the grant window. */
bool devtree_is_taken(const struct devtree *tree, struct range range);

#endif
