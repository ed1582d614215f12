/* SPDX-License-Identifier: MIT */
/*
 * devtree: what the kernel asks of the device tree that Xen made for Dom0
 *
 * Reads once, at start, into plain structures; libfdt does the parsing. Nothing about the board is
 * known from elsewhere. A property that is missing or malformed gives an error that names it; only
 * what is optional has a default.
 */
#ifndef KERNEL_DEVTREE_H
#define KERNEL_DEVTREE_H

#include <kernel/arm64/gic.h>

#define DEVTREE_BANKS_MAX   64
#define DEVTREE_REGIONS_MAX 16
#define DEVTREE_WINDOWS_MAX 8

struct devtree_range {
    uint64_t base, bytes;
};

struct devtree_interrupt {
    uint32_t intid;
    bool edge;
};

struct devtree {
    const void *fdt;
    uint64_t bytes;
    struct devtree_range banks[DEVTREE_BANKS_MAX]; /* ascending as in the tree */
    size_t bank_count;
    struct devtree_range initrd;       /* bytes 0: none */
    struct devtree_range grant_window; /* /hypervisor reg[0]: free guest-physical space */
    struct devtree_range regions[DEVTREE_REGIONS_MAX]; /* reg[1..]: extended regions */
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
    struct devtree_range config; /* ECAM */
    uint8_t bus_first, bus_last;
    struct devtree_pci_window windows[DEVTREE_WINDOWS_MAX];
    size_t window_count;
    struct dgm_dma_window dma[DGM_DMA_WINDOWS_MAX]; /* dma-ranges */
    size_t dma_count;
    bool coherent;
    int node;
};

/* The next host bridge after node `*node` (start with -1); false when there is none. */
bool devtree_pci_next(const struct devtree *tree, int *node, struct devtree_pci *pci);

/* The INTx interrupt (pin 1 = INTA ... 4) of a device on the root bus. DGM_ENOENT: the map has
 * none. */
int devtree_pci_interrupt(const struct devtree *tree, const struct devtree_pci *pci, uint8_t bus,
                          uint8_t device, uint8_t function, uint8_t pin,
                          struct devtree_interrupt *interrupt);

#endif
