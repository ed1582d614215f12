/* SPDX-License-Identifier: MIT */
/*
 * devtree: what the kernel reads from the device tree that Xen made for Dom0
 *
 * The tree is read once, at start, into plain structures; libfdt does the parsing. It is the only
 * source of facts about the board. Every value is checked before its use: a range may wrap, a
 * bridge's registers may lie in RAM, a window may have 0 bytes. An error in a value without which
 * Dragoman cannot start stops it with the cause. Any other error is logged with node, property and
 * cause; the device is left out, and all others are used.
 *
 *   devtree.c         memory, Xen, interrupt controller, timer
 *   devtree_bus.c     addresses through the buses above a device (devtree_bus.h)
 *   devtree_irq.c     interrupts from a device to the GIC (devtree_bus.h)
 *   devtree_pci.c     PCI host bridges
 *   devtree_device.c  other devices, with their own registers
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
    /* Our RAM, whole frames. Xen shows reserved memory as memory nodes too; it is excluded here,
     * and from the extended regions below. */
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

/* Panics with the cause if the tree cannot be used. */
void devtree_read(struct devtree *tree, const void *fdt);

struct devtree_pci_window {
    uint64_t cpu, pci, bytes;
    bool is64, prefetchable, io;
};

struct devtree_pci {
    struct range config; /* ECAM, of these buses */
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
 * over what is taken, over another window, or over the configuration space of another bridge.
 */
bool devtree_pci_next(const struct devtree *tree, int *node, struct devtree_pci *pci);

/* An INTx pin of a function on the root bus: 1 = INTA ... 4. */
struct devtree_pci_pin {
    uint8_t bus, device, function, pin;
};

/* The interrupt of a pin. DGM_ENOENT: the map has none. */
int devtree_pci_interrupt(const struct devtree *tree, const struct devtree_pci *pci,
                          struct devtree_pci_pin pin, struct devtree_interrupt *interrupt);

/* --- devices with their own registers --- */

struct devtree_device {
    int node;
    struct range registers; /* as the CPU sees them */
    struct devtree_interrupt interrupt;
    struct devtree_dma dma;
    bool coherent;
};

/*
 * Reads the device at `node`: its first `reg` and its first interrupt. DGM_ENODEV: it is disabled
 * by its status, or by that of a bus above it. DGM_EINVAL: it cannot be used, and the cause is
 * logged.
 */
int devtree_device_read(const struct devtree *tree, int node, struct devtree_device *device);

/*
 * The entry of the NULL-terminated `list` that matches the node most specifically: a node's
 * `compatible` begins with the most specific string. `*rank` is the index of the match there. NULL:
 * no entry matches.
 */
const char *devtree_compatible(const void *fdt, int node, const char *const *list, int *rank);

/* The name of the first alias of `path`, or NULL. */
const char *devtree_alias(const void *fdt, const char *path);

/* --- for the other files of devtree --- */

/* True if `range` lies over our RAM, the grant window or the interrupt controller. */
bool devtree_is_taken(const struct devtree *tree, struct range range);
/* Logs a line about a node: property, cause and consequence. */
void devtree_complain(const struct devtree *tree, int node, const char *about);

#endif
