/* SPDX-License-Identifier: MIT */
/*
 * board_tree_rig: the tree of a whole board, of parts that are valid unless a test replaces them
 *
 * Memory, Xen, a GICv3, a timer, two host bridges, and two devices with their own registers. The
 * second bridge and the second device stay valid in most tests: they must be served whatever is
 * wrong with the first.
 */
#ifndef BOARD_TREE_RIG_H
#define BOARD_TREE_RIG_H

#include "tree_rig.h"

struct bridge_parts {
    uint32_t reg[4], bus_range[3], window[42], dma[35], map[20], map_mask[4];
    uint32_t bus_cells, window_cells, dma_cells, map_cells, mask_cells; /* in use */
    uint32_t address_cells, size_cells, disabled;
};

struct parts {
    uint32_t memory[8], region[8], gic[8], hypervisor[4], reserved[4], message[4];
    uint32_t memory_cells, region_cells, reserved_cells, message_cells;
    uint32_t event_number, map_parent_cells;
    struct bridge_parts first, second;
    uint32_t device_reg[2][4];
};

extern const struct parts sound;

/* The properties of the root; with reserved ranges in the header. */
void board_begin(const uint64_t (*header)[2], size_t count);
void board_add_memory(const char *name, const uint32_t *reg, size_t cells);
void board_add_xen_and_gic(const struct parts *parts);
/* A sound tree up to the properties of its only bridge, pcie@1, whose node is open. */
void board_begin_bridge(void);

/* The whole tree: bridges pcie@1 (phandle 11) and pcie@2 (12), devices mmc@1 and mmc@2, the GIC
 * (1), and a nexus (2) whose interrupt-map leads to itself. */
const void *board_tree(const struct parts *parts);

#endif
