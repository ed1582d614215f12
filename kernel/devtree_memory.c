/* SPDX-License-Identifier: MIT */
/*
 * devtree_memory: RAM, reserved memory and extended regions (see devtree.h)
 *
 * RAM and extended regions become lists of whole frames that are disjoint, also from each other and
 * from what is reserved, whatever the tree says. What is reserved must be known completely, so an
 * entry of it that cannot be read stops the start; any other one is left out with a log line.
 */
#include "devtree.h"

#include <dragoman/base/addr.h>
#include <port/env.h>

#define need(condition, what)                                                                      \
    ((condition) ? (void)0 : dgm_env_panic(__FILE__, __LINE__, "device tree: " what))

#define PARTS_MAX (DEVTREE_RESERVED_MAX + 1) /* each reserved range may split one */

/* --- what is reserved --- */

static void reserve_range(struct devtree *tree, struct range range)
{
    if (range.bytes == 0)
        return;
    need(tree->reserved_count < DEVTREE_RESERVED_MAX,
         "more than the 64 reserved ranges that are kept");
    tree->reserved[tree->reserved_count++] = range_outwards(range);
}

/* The reservations in the header of the board's own tree, which Xen does not pass on: mkboottree
 * copies them to /dragoman, as pairs of 64-bit numbers. */
static void read_copied_reservations(struct devtree *tree)
{
    const int node = fdt_node_offset_by_compatible(tree->fdt, -1, "dragoman,config");
    int length = 0;
    const fdt32_t *cell = node < 0 ? NULL : fdt_getprop(tree->fdt, node, "reserved", &length);

    for (; cell && length >= 16; cell += 4, length -= 16) {
        const struct range range = {devtree_cells(cell, 2), devtree_cells(cell + 2, 2)};

        need(range.bytes <= UINT64_MAX - range.base, "/dragoman: reserved: a range wraps");
        reserve_range(tree, range);
    }
}

/* Memory of firmware and devices: /reserved-memory, and reservations in the header. */
static void read_reserved(struct devtree *tree)
{
    const int parent = fdt_path_offset(tree->fdt, "/reserved-memory");
    struct range range;
    int node;

    for (int i = 0; i < fdt_num_mem_rsv(tree->fdt); i++) {
        need(fdt_get_mem_rsv(tree->fdt, i, &range.base, &range.bytes) == 0 &&
                 range.bytes <= UINT64_MAX - range.base,
             "a reservation in its header wraps");
        reserve_range(tree, range);
    }
    read_copied_reservations(tree);
    if (parent < 0)
        return;
    fdt_for_each_subnode(node, tree->fdt, parent)
    {
        unsigned count = 0;

        for (; devtree_reg(tree->fdt, node, count, &range); count++)
            reserve_range(tree, range);
        need(devtree_reg_ends(tree->fdt, node, count),
             "/reserved-memory: a reg is cut, wraps, or has not one or two cells: what is reserved "
             "is not known");
    }
}

/* --- free of what is reserved, and of what was read before --- */

static size_t remove_all(struct range *parts, size_t count, const struct range *holes,
                         size_t hole_count)
{
    for (size_t i = 0; i < hole_count; i++)
        count = ranges_remove(parts, count, holes[i], PARTS_MAX);
    return count;
}

static size_t remove_used(const struct devtree *tree, struct range *parts, size_t count)
{
    const struct range beyond = {DEVTREE_ADDRESS_END, UINT64_MAX - DEVTREE_ADDRESS_END};

    count = remove_all(parts, count, &beyond, 1);
    count = remove_all(parts, count, tree->banks, tree->bank_count);
    count = remove_all(parts, count, tree->regions, tree->region_count);
    count = remove_all(parts, count, &tree->grant_window, 1);
    for (size_t i = 0; i < tree->claim_count; i++)
        count = remove_all(parts, count, &tree->claims[i].range, 1);
    return remove_all(parts, count, tree->gic_registers, DEVTREE_GIC_REGISTERS);
}

static uint64_t bytes_of(const struct range *ranges, size_t count)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += ranges[i].bytes;
    return bytes;
}

struct list {
    const char *what;
    struct range *ranges;
    size_t *count, max;
    bool full; /* and a line said so */
};

static void say_full(struct list *list, const struct range *range)
{
    if (!list->full)
        dgm_env_log("device tree: the %s at %llx is beyond the %u that are kept; it and all that "
                    "follow are left out",
                    list->what, (unsigned long long)range->base, (unsigned)list->max);
    list->full = true;
}

static void add_range(const struct devtree *tree, struct list *list, struct range range)
{
    struct range parts[PARTS_MAX];
    uint64_t bytes;
    size_t count = 1;

    parts[0] = range_inwards(range);
    count = remove_all(parts, count, tree->reserved, tree->reserved_count);
    bytes = bytes_of(parts, count);
    count = remove_used(tree, parts, count);
    if (bytes_of(parts, count) != bytes)
        dgm_env_log("device tree: the %s at %llx lies over memory or registers, or beyond 48 bits; "
                    "that part is left out",
                    list->what, (unsigned long long)range.base);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].bytes && *list->count == list->max)
            say_full(list, &parts[i]);
        else if (parts[i].bytes)
            list->ranges[(*list->count)++] = parts[i];
    }
}

/* Adds the entries of `reg` from `first` on. */
static void add_reg(const struct devtree *tree, struct list *list, int node, unsigned first)
{
    struct range range;

    for (; devtree_reg(tree->fdt, node, first, &range); first++)
        add_range(tree, list, range);
    if (!devtree_reg_ends(tree->fdt, node, first))
        devtree_complain(tree, node,
                         "reg: cut, wrapping, or not of one or two cells; the rest is left out");
}

void devtree_read_memory(struct devtree *tree)
{
    struct list list = {"memory", tree->banks, &tree->bank_count, DEVTREE_BANKS_MAX, false};
    int node = -1;

    read_reserved(tree);
    while ((node = fdt_node_offset_by_prop_value(tree->fdt, node, "device_type", "memory", 7)) >= 0)
        add_reg(tree, &list, node, 0);
    need(tree->bank_count, "no /memory that is not reserved");
}

void devtree_read_regions(struct devtree *tree, int node)
{
    struct list list = {"extended region", tree->regions, &tree->region_count, DEVTREE_REGIONS_MAX,
                        false};

    add_reg(tree, &list, node, 1);
}
