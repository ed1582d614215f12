/* SPDX-License-Identifier: MIT */
/*
 * board: each disk's controller as a device of a board's tree
 *
 * The machine knows what a controller reaches (plan_master()). The driver is told what the kernel's
 * code reads from a tree: the controller is behind two buses, of which each translates a part of
 * the way, of registers and of DMA. So a fault in that translation is a device that reaches the
 * wrong memory, or registers that do not exist, and the ordinary oracles find it.
 */
#include <sim/machine/board.h>

#include <kernel/devtree_bus.h>

#include <stdlib.h>
#include <string.h>

#define TREE_BYTES 4096
/* Addresses between the two buses: machine addresses and these do not overlap. */
#define OUTER_SHIFT     0x40000000000ull
#define OUTER_REGISTERS 0x50000000u

/* One entry of `ranges` or `dma-ranges`: two cells for each part. */
struct entry {
    fdt64_t child, parent, bytes;
} __attribute__((packed));

static struct entry entry_of(uint64_t child, uint64_t parent, uint64_t bytes)
{
    return (struct entry){cpu_to_fdt64(child), cpu_to_fdt64(parent), cpu_to_fdt64(bytes)};
}

static void put_cells(void *fdt, const char *name, const void *cells, size_t bytes)
{
    SIM_CHECK(fdt_property(fdt, name, cells, (int)bytes) == 0, "the board's tree is too small");
}

static void begin_bus(void *fdt, const char *name, struct entry registers)
{
    (void)fdt_begin_node(fdt, name);
    (void)fdt_property_u32(fdt, "#address-cells", 2);
    (void)fdt_property_u32(fdt, "#size-cells", 2);
    put_cells(fdt, "ranges", &registers, sizeof registers);
}

/* A bus that passes on the windows of `tag`: from the machine's addresses (outer), or to the
 * device's (inner). A device without windows is behind buses without `dma-ranges`. */
static void put_windows(void *fdt, const struct dgm_dma_tag *tag, bool inner)
{
    struct entry entries[DGM_DMA_WINDOWS_MAX];

    for (size_t i = 0; i < tag->window_count; i++) {
        const struct dgm_dma_window *window = &tag->windows[i];
        const uint64_t between = window->machine_base + OUTER_SHIFT;

        entries[i] = inner ? entry_of(window->bus_base, between, window->length)
                           : entry_of(between, window->machine_base, window->length);
    }
    if (tag->window_count)
        put_cells(fdt, "dma-ranges", entries, tag->window_count * sizeof entries[0]);
}

static void make_tree(void *fdt, const struct dgm_dma_tag *tag, struct range registers)
{
    const fdt64_t reg[2] = {cpu_to_fdt64(0), cpu_to_fdt64(registers.bytes)};

    (void)fdt_create(fdt, TREE_BYTES);
    (void)fdt_finish_reservemap(fdt);
    (void)fdt_begin_node(fdt, "");
    (void)fdt_property_u32(fdt, "#address-cells", 2);
    (void)fdt_property_u32(fdt, "#size-cells", 2);
    begin_bus(fdt, "outer", entry_of(OUTER_REGISTERS, registers.base, registers.bytes));
    put_windows(fdt, tag, false);
    if (tag->coherent)
        put_cells(fdt, "dma-coherent", NULL, 0);
    begin_bus(fdt, "inner", entry_of(0, OUTER_REGISTERS, registers.bytes));
    put_windows(fdt, tag, true);
    (void)fdt_begin_node(fdt, "disk");
    put_cells(fdt, "reg", reg, sizeof reg);
    for (unsigned nodes = 0; nodes < 4; nodes++)
        (void)fdt_end_node(fdt);
    SIM_CHECK(fdt_finish(fdt) == 0 && fdt_check_full(fdt, TREE_BYTES) == 0,
              "the board's tree is invalid");
}

void board_attach(struct dgm_device_env *env, const struct dgm_dma_tag *tag, uint64_t registers,
                  uint64_t bytes)
{
    void *fdt = malloc(TREE_BYTES);
    struct range found;
    struct devtree_dma dma;
    int node;

    make_tree(fdt, tag, (struct range){registers, bytes});
    node = fdt_path_offset(fdt, "/outer/inner/disk");
    SIM_CHECK(devtree_bus_reg(fdt, node, 0, &found), "the registers are not reached");
    SIM_CHECK(devtree_bus_dma(fdt, fdt_parent_offset(fdt, node), &dma) == 0,
              "the windows are not read");
    env->mmio = (volatile void *)(uintptr_t)found.base;
    env->mmio_bytes = found.bytes;
    env->tag = *tag;
    env->tag.coherent = devtree_bus_coherent(fdt, node);
    env->tag.window_count = dma.count;
    memcpy(env->tag.windows, dma.windows, sizeof env->tag.windows);
    free(fdt);
}
