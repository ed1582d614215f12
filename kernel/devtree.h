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
 *   devtree.c         memory, Xen, interrupt controller, timer
 *   devtree_bus.c     addresses through the buses above a device (devtree_bus.h)
 *   devtree_irq.c     interrupts from a device to the GIC (devtree_bus.h)
 *   devtree_pci.c     PCI host bridges
 *   devtree_device.c  other devices, with registers of their own
 */
#ifndef KERNEL_DEVTREE_H
#define KERNEL_DEVTREE_H

#include "devtree_bus.h"
#include <kernel/arm64/gic.h>

#include <libfdt.h>

#define DEVTREE_BANKS_MAX    64
#define DEVTREE_REGIONS_MAX  16
#define DEVTREE_WINDOWS_MAX  8
#define DEVTREE_RESERVED_MAX 64

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
    struct devtree_dma dma; /* through its own dma-ranges and those of the buses above it */
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

/* An INTx pin of a function on the root bus: 1 = INTA ... 4. */
struct devtree_pci_pin {
    uint8_t bus, device, function, pin;
};

/* The interrupt of a pin. DGM_ENOENT: the map has none. */
int devtree_pci_interrupt(const struct devtree *tree, const struct devtree_pci *pci,
                          struct devtree_pci_pin pin, struct devtree_interrupt *interrupt);

/* --- devices with registers of their own --- */

struct devtree_device {
    int node;
    struct range registers; /* as the CPU sees them */
    struct devtree_interrupt interrupt;
    struct devtree_dma dma;
    bool coherent;
};

/*
 * Reads the device at `node`: its first `reg` and its first interrupt. DGM_ENODEV: its status, or
 * that of a bus above it, says that it is not in use. DGM_EINVAL: it cannot be used, and a line
 * says why.
 */
int devtree_device_read(const struct devtree *tree, int node, struct devtree_device *device);

/*
 * The entry of `list` (NULL ends it) that says most of the node: a node's `compatible` begins with
 * the most specific. `*rank` is its place there. NULL: none fits.
 */
const char *devtree_compatible(const void *fdt, int node, const char *const *list, int *rank);

/* The name of the alias that means `path`, or NULL. Of several the first. */
const char *devtree_alias(const void *fdt, const char *path);

/* --- for the other files of devtree --- */

/* True if `range` lies over our RAM or the grant window. */
bool devtree_is_taken(const struct devtree *tree, struct range range);
/* A line about a node: property, cause and consequence. */
void devtree_complain(const struct devtree *tree, int node, const char *about);

#endif
