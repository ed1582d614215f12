/* SPDX-License-Identifier: MIT */
/*
 * devtree_bus: the translation of a device's addresses and interrupts by the buses above it
 *
 * Pure functions over a tree that fdt_check_full() has accepted. Nothing else is trusted: cells may
 * be missing, ranges may wrap, interrupt parents may form a cycle. Devicetree Specification 0.4,
 * 2.3.8 (ranges), 2.3.9 (dma-ranges), 2.4 (interrupts); address translation always ends at the
 * root.
 *
 * Three translations for a device, each through every bus above it:
 *   registers   its address on its bus -> the CPU's (`ranges`). A bus without `ranges` is not
 *               reached by loads and stores (I2C, SPI), so neither are its devices.
 *   DMA         the address that the device sends -> the machine's (`dma-ranges`). A bus without
 *               `dma-ranges` passes addresses on unchanged, as boards expect.
 *   interrupts  through `interrupt-parent` and each nexus's `interrupt-map`, to the GIC.
 */
#ifndef KERNEL_DEVTREE_BUS_H
#define KERNEL_DEVTREE_BUS_H

#include "ranges.h"

#include <dragoman/dma/dma.h>

#include <libfdt.h>

struct devtree_interrupt {
    uint32_t intid;
    bool edge;
};

/* The windows that a device reaches by DMA, sorted by machine address, disjoint. Count 0: all
 * memory, at its machine addresses. */
struct devtree_dma {
    struct dgm_dma_window windows[DGM_DMA_WINDOWS_MAX];
    size_t count;
    bool cut; /* more windows than these: the device reaches less */
};

/* The number of `count` cells at `cell`. */
uint64_t devtree_cells(const fdt32_t *cell, int count);

/* Entry `index` of `reg`, not translated. False: there is none, or it wraps. */
bool devtree_reg(const void *fdt, int node, unsigned index, struct range *range);

/* True if `reg` has `count` entries and no more; `count` were read. Also without a `reg`. */
bool devtree_reg_ends(const void *fdt, int node, unsigned count);

/* What the MMU translates: 48 bits. */
#define DEVTREE_ADDRESS_END (1ull << 48)

/* The same at the CPU's address. False also if some bus above does not pass it on, or if it is
 * not below DEVTREE_ADDRESS_END. */
bool devtree_bus_reg(const void *fdt, int node, unsigned index, struct range *range);

/* Translates a range on the bus `bus` (a node; no effect for the root) to the CPU's address.
 * False: as above. */
bool devtree_bus_translate(const void *fdt, int bus, struct range *range);

/*
 * The memory that devices on the bus `bus` reach. DGM_EINVAL: a `dma-ranges` is truncated, a window
 * in it is empty, unaligned, wraps or overlaps another, or no address passes all buses. Such a
 * device must not be used: it would reach the wrong memory. Windows beyond DGM_DMA_WINDOWS_MAX are
 * left out, so that the device reaches less.
 */
int devtree_bus_dma(const void *fdt, int bus, struct devtree_dma *dma);

/* True if the device sees the CPU's caches: `dma-coherent` of the node or of a bus above it, unless
 * `dma-noncoherent` is nearer. */
bool devtree_bus_coherent(const void *fdt, int node);

/* True if the node and all above it are enabled: no status, "okay" or "ok". */
bool devtree_okay(const void *fdt, int node);

/* --- interrupts --- */

/* The version of the GIC that the node describes; 0: it describes no GIC. */
unsigned devtree_gic_version(const void *fdt, int node);

/* GIC binding: type (0 SPI, 1 PPI), number, flags. False: it is not an interrupt of a GIC. */
bool devtree_gic_interrupt(const fdt32_t *cell, struct devtree_interrupt *interrupt);

#define DEVTREE_SPECIFIER_MAX 4 /* cells of an address or of an interrupt */

/* An interrupt in the terms of one node: a `specifier` of `#interrupt-cells` cells, for the device
 * at `unit` on its bus. */
struct devtree_signal {
    int controller; /* the node: an interrupt controller, or a nexus with an interrupt-map */
    fdt32_t unit[DEVTREE_SPECIFIER_MAX];
    fdt32_t specifier[DEVTREE_SPECIFIER_MAX];
};

/* Follows `signal` to the GIC. DGM_ENOENT: it does not lead there. */
int devtree_bus_follow(const void *fdt, struct devtree_signal *signal,
                       struct devtree_interrupt *interrupt);

/* Interrupt `index` of a device: `interrupts-extended`, else `interrupts`. DGM_ENOENT: none, or it
 * does not lead to the GIC. */
int devtree_bus_interrupt(const void *fdt, int node, unsigned index,
                          struct devtree_interrupt *interrupt);

#endif
