/* SPDX-License-Identifier: MIT */
/* devtree_bus: addresses through the buses of a tree; see devtree_bus.h. */
#include "devtree_bus.h"

#include <dragoman/base/status.h>

#include <string.h>

#define PCI_ADDRESS_CELLS 3 /* IEEE 1275's PCI binding: the first cell is the address space */

uint64_t devtree_cells(const fdt32_t *cell, int count)
{
    uint64_t value = 0;

    while (count-- > 0)
        value = value << 32 | fdt32_to_cpu(*cell++);
    return value;
}

/* The cells of `reg`; NULL: there are none. `*ac` and `*sc` are each 1 or 2, or both are 0. */
static const fdt32_t *open_reg(const void *fdt, int node, int *ac, int *sc, int *length)
{
    const int parent = fdt_parent_offset(fdt, node);

    *ac = fdt_address_cells(fdt, parent);
    *sc = fdt_size_cells(fdt, parent);
    if (*ac < 1 || *ac > 2 || *sc < 1 || *sc > 2)
        *ac = *sc = 0;
    return fdt_getprop(fdt, node, "reg", length);
}

bool devtree_reg(const void *fdt, int node, unsigned index, struct range *range)
{
    int ac, sc, length;
    const fdt32_t *reg = open_reg(fdt, node, &ac, &sc, &length);

    if (!reg || ac == 0 || (index + 1) * (unsigned)(ac + sc) * 4 > (unsigned)length)
        return false;
    reg += index * (unsigned)(ac + sc);
    range->base = devtree_cells(reg, ac);
    range->bytes = devtree_cells(reg + ac, sc);
    return range->bytes <= UINT64_MAX - range->base;
}

bool devtree_reg_ends(const void *fdt, int node, unsigned count)
{
    int ac, sc, length;

    if (!open_reg(fdt, node, &ac, &sc, &length))
        return true;
    return count * (unsigned)(ac + sc) * 4 == (unsigned)length;
}

/* --- `ranges` and `dma-ranges` of one bus --- */

struct map {
    const fdt32_t *cell;
    size_t count;            /* of entries */
    int child, parent, size; /* cells of each part of an entry */
};

enum map_kind {
    MAP_MISSING,
    MAP_SAME, /* empty: the same addresses on both sides */
    MAP_ENTRIES,
    MAP_WRONG,
};

static enum map_kind map_open(const void *fdt, int bus, const char *name, struct map *map)
{
    int length, entry_bytes;

    map->cell = fdt_getprop(fdt, bus, name, &length);
    if (!map->cell)
        return MAP_MISSING;
    if (length == 0)
        return MAP_SAME;
    map->child = fdt_address_cells(fdt, bus);
    map->parent = fdt_address_cells(fdt, fdt_parent_offset(fdt, bus));
    map->size = fdt_size_cells(fdt, bus);
    if (map->child < 1 || map->child > PCI_ADDRESS_CELLS || map->parent < 1 || map->parent > 2 ||
        map->size < 1 || map->size > 2)
        return MAP_WRONG;
    entry_bytes = (map->child + map->parent + map->size) * 4;
    map->count = (size_t)(length / entry_bytes);
    return length % entry_bytes ? MAP_WRONG : MAP_ENTRIES;
}

struct map_entry {
    uint64_t child, parent, bytes;
};

static struct map_entry map_entry(const struct map *map, size_t i)
{
    const fdt32_t *cell = map->cell + i * (size_t)(map->child + map->parent + map->size);
    const int space = map->child == PCI_ADDRESS_CELLS;

    return (struct map_entry){
        .child = devtree_cells(cell + space, map->child - space),
        .parent = devtree_cells(cell + map->child, map->parent),
        .bytes = devtree_cells(cell + map->child + map->parent, map->size),
    };
}

static bool entry_wraps(const struct map_entry *entry)
{
    return entry->bytes > UINT64_MAX - entry->child || entry->bytes > UINT64_MAX - entry->parent;
}

/* --- registers --- */

/* Translates a range on the bus to the bus above. False: no single entry contains all of it. */
static bool translate_range(const struct map *map, struct range *range)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct map_entry entry = map_entry(map, i);
        const uint64_t offset = range->base - entry.child;

        if (entry_wraps(&entry) || range->base < entry.child || offset > entry.bytes ||
            range->bytes > entry.bytes - offset)
            continue;
        range->base = entry.parent + offset;
        return true;
    }
    return false;
}

static bool is_addressable(struct range range)
{
    return range.base <= DEVTREE_ADDRESS_END && range.bytes <= DEVTREE_ADDRESS_END - range.base;
}

bool devtree_bus_translate(const void *fdt, int bus, struct range *range)
{
    struct map map;

    for (; bus > 0; bus = fdt_parent_offset(fdt, bus)) {
        const enum map_kind kind = map_open(fdt, bus, "ranges", &map);

        if (kind == MAP_SAME)
            continue;
        /* Devices behind a PCI bridge are found by PCI's rules (kernel/pci.c). */
        if (kind != MAP_ENTRIES || map.child == PCI_ADDRESS_CELLS || !translate_range(&map, range))
            return false;
    }
    return bus == 0 && is_addressable(*range);
}

bool devtree_bus_reg(const void *fdt, int node, unsigned index, struct range *range)
{
    return devtree_reg(fdt, node, index, range) &&
           devtree_bus_translate(fdt, fdt_parent_offset(fdt, node), range);
}

/* --- DMA --- */

/* Adds the intersection of `entry` and `window`, whose machine addresses are those of the bus. */
static void window_pass(struct devtree_dma *dma, const struct dgm_dma_window *window,
                        const struct map_entry *entry)
{
    const uint64_t first =
        window->machine_base > entry->child ? window->machine_base : entry->child;
    const uint64_t window_last = window->machine_base + (window->length - 1);
    const uint64_t entry_last = entry->child + (entry->bytes - 1);
    const uint64_t last = window_last < entry_last ? window_last : entry_last;

    if (first > last)
        return;
    if (dma->count == DGM_DMA_WINDOWS_MAX) {
        dma->cut = true;
        return;
    }
    dma->windows[dma->count++] = (struct dgm_dma_window){
        .bus_base = window->bus_base + (first - window->machine_base),
        .machine_base = entry->parent + (first - entry->child),
        .length = last - first + 1,
    };
}

/* Translates all windows from the bus to the bus above. False: an entry is invalid, or no window is
 * left. */
static bool dma_pass(const struct map *map, struct devtree_dma *dma)
{
    const struct devtree_dma below = *dma;

    dma->count = 0;
    for (size_t i = 0; i < map->count; i++) {
        const struct map_entry entry = map_entry(map, i);
        const struct dgm_dma_window same = {
            .machine_base = entry.child, .bus_base = entry.child, .length = entry.bytes};

        if (entry.bytes == 0 || entry_wraps(&entry))
            return false;
        if (below.count == 0)
            window_pass(dma, &same, &entry);
        for (size_t w = 0; w < below.count; w++)
            window_pass(dma, &below.windows[w], &entry);
    }
    return dma->count > 0;
}

/* Whether one bus address would mean two places in memory. */
static bool is_ambiguous(const struct devtree_dma *dma)
{
    for (size_t i = 0; i < dma->count; i++)
        for (size_t j = 0; j < i; j++)
            if (range_overlaps((struct range){dma->windows[i].bus_base, dma->windows[i].length},
                               (struct range){dma->windows[j].bus_base, dma->windows[j].length}))
                return true;
    return false;
}

/* Sorts by machine address. False: two windows overlap, or one is not frame aligned. */
static bool dma_sort(struct devtree_dma *dma)
{
    for (size_t i = 0; i < dma->count; i++) {
        const struct dgm_dma_window window = dma->windows[i];
        size_t at = i;

        if ((window.machine_base | window.bus_base) % DGM_FRAME_BYTES)
            return false;
        for (; at > 0 && dma->windows[at - 1].machine_base > window.machine_base; at--)
            dma->windows[at] = dma->windows[at - 1];
        dma->windows[at] = window;
    }
    for (size_t i = 1; i < dma->count; i++) {
        const struct dgm_dma_window *before = &dma->windows[i - 1];

        if (before->length > dma->windows[i].machine_base - before->machine_base)
            return false;
    }
    return true;
}

int devtree_bus_dma(const void *fdt, int bus, struct devtree_dma *dma)
{
    struct map map;

    *dma = (struct devtree_dma){.count = 0};
    for (; bus > 0; bus = fdt_parent_offset(fdt, bus)) {
        const enum map_kind kind = map_open(fdt, bus, "dma-ranges", &map);

        if (kind == MAP_WRONG || (kind == MAP_ENTRIES && !dma_pass(&map, dma)))
            return DGM_EINVAL;
    }
    return dma_sort(dma) && !is_ambiguous(dma) ? DGM_OK : DGM_EINVAL;
}

bool devtree_bus_coherent(const void *fdt, int node)
{
    for (; node >= 0; node = fdt_parent_offset(fdt, node)) {
        if (fdt_getprop(fdt, node, "dma-noncoherent", NULL))
            return false;
        if (fdt_getprop(fdt, node, "dma-coherent", NULL))
            return true;
    }
    return false;
}

/* --- status --- */

static bool status_okay(const void *fdt, int node)
{
    int length;
    const char *status = fdt_getprop(fdt, node, "status", &length);

    return !status || (length == 5 && !memcmp(status, "okay", 5)) ||
           (length == 3 && !memcmp(status, "ok", 3));
}

bool devtree_okay(const void *fdt, int node)
{
    for (; node >= 0; node = fdt_parent_offset(fdt, node))
        if (!status_okay(fdt, node))
            return false;
    return true;
}
