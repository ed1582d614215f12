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
 *   devtree.c         Xen, interrupt controller, timer
 *   devtree_memory.c  memory, reserved or free
 *   devtree_claim.c   which addresses are whose
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

#define DEVTREE_BYTES_MAX    (2u << 20) /* what is mapped before it is read; Xen makes no more */
#define DEVTREE_BANKS_MAX    64
#define DEVTREE_REGIONS_MAX  16
#define DEVTREE_WINDOWS_MAX  4 /* of a host bridge, memory windows */
#define DEVTREE_RESERVED_MAX 64
#define DEVTREE_CLAIMS_MAX   64

/* Of the interrupt controller: distributor, GICC or redistributors, GICv2m frame. */
#define DEVTREE_GIC_REGISTERS 3

/* Addresses that the device at `node` uses: its registers, or a window of a host bridge. */
struct devtree_claim {
    struct range range;
    int node;
};

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
    struct range gic_registers[DEVTREE_GIC_REGISTERS]; /* all of them; gic has what is used */
    struct devtree_claim claims[DEVTREE_CLAIMS_MAX];   /* disjoint, and not over the above */
    size_t claim_count;
};

/* Panics with the cause if the tree cannot be used. */
void devtree_read(struct devtree *tree, const void *fdt);

/* A window for memory; those for I/O space are not used. */
struct devtree_pci_window {
    uint64_t cpu, pci, bytes;
    bool prefetchable;
};

struct devtree_pci {
    struct range config; /* ECAM, of these buses */
    uint8_t bus_first, bus_last;
    struct devtree_pci_window windows[DEVTREE_WINDOWS_MAX];
    size_t window_count;
    struct devtree_dma dma; /* through its own dma-ranges and those of the buses above it */
    bool coherent;
    int node;
    /* Among all host bridges of the tree, disabled and wrong ones included: what is wrong with one
     * bridge does not change the names of the disks behind another. */
    unsigned number;
};

/* --- PCI host bridges --- */

/*
 * The next usable host bridge after node `*node` (start with -1); false when there is none. Called
 * once for each. Its buses lie within its configuration space, windows are not empty and do not
 * wrap, and both are claimed. No two windows have a bus address in common, and none has one of our
 * RAM, as far as devices reach it.
 */
bool devtree_pci_next(struct devtree *tree, int *node, struct devtree_pci *pci);

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
 * Reads the device at `node`, once: its first `reg`, which is claimed, and its first interrupt.
 * DGM_ENODEV: it is disabled by its status, or by that of a bus above it. DGM_EINVAL: it cannot be
 * used, and the cause is logged.
 */
int devtree_device_read(struct devtree *tree, int node, struct devtree_device *device);

/*
 * The entry of the NULL-terminated `list` that matches the node most specifically: a node's
 * `compatible` begins with the most specific string. `*rank` is the index of the match there. NULL:
 * no entry matches.
 */
const char *devtree_compatible(const void *fdt, int node, const char *const *list, int *rank);

/* The name of the first alias of `path`, or NULL. */
const char *devtree_alias(const void *fdt, const char *path);

/* --- for the other files of devtree --- */

/* Reads reserved memory, then RAM; panics if there is none. */
void devtree_read_memory(struct devtree *tree);
/* Reads the extended regions of /hypervisor, at `node`, without memory and registers that are known
 * by then. */
void devtree_read_regions(struct devtree *tree, int node);
/* Claims the configuration spaces of all host bridges. */
void devtree_pci_claim(struct devtree *tree);

/* True if `range` lies over our RAM, reserved memory, the grant window, an extended region or the
 * interrupt controller. */
bool devtree_is_taken(const struct devtree *tree, struct range range);
/* Claims `range` for the device at `node`. NULL, or what it lies over, in words that are valid
 * until the next call; then it must not be used. */
const char *devtree_claim(struct devtree *tree, struct range range, int node);
/* Logs a line about a node: property, cause and consequence. */
void devtree_complain(const struct devtree *tree, int node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
