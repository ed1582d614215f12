/* SPDX-License-Identifier: MIT */
/* board_tree_rig: see board_tree_rig.h. */
#include "board_tree_rig.h"

#define MAP(device, pin, number) device << 11, 0, 0, pin, 1, 0, number, 4

/* A host bridge: the upper halves of its registers' and its window's addresses, its interrupt. */
#define BRIDGE(reg_high, window_high, interrupt)                                                   \
    {                                                                                              \
        .reg = {reg_high, 0x10000000, 0, 0x10000000}, .bus_range = {0, 0xff},                      \
        .window = {0x2000000, 0, 0x10000000, window_high, 0x10000000, 0, 0x2eff0000},              \
        .dma = {0x3000000, 0, 0xc0000000, 0, 0, 0, 0x40000000}, .map = {MAP(1, 1, interrupt)},     \
        .map_mask = {0x1800, 0, 0, 7}, .address_cells = 3, .size_cells = 2, .bus_cells = 2,        \
        .window_cells = 7, .dma_cells = 7, .map_cells = 8, .mask_cells = 4                         \
    }

const struct parts sound = {
    .memory = {0, 0x41000000, 0, 0x8000000},
    .memory_cells = 4,
    .hypervisor = {0, 0x4e000000, 0, 0x1000000},
    .region = {0, 0x60000000, 0, 0x10000000},
    .region_cells = 4,
    .gic = {0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000},
    .first = BRIDGE(0x40, 0, 3),
    .second = BRIDGE(0x50, 0x60, 4),
    .device_reg = {{0, 0x9000000, 0, 0x1000}, {0, 0x9001000, 0, 0x1000}},
};

void board_begin(const uint64_t (*header)[2], size_t count)
{
    tree_start_reserving(header, count);
    tree_cells("#address-cells", 2);
    tree_cells("#size-cells", 2);
    tree_cells("interrupt-parent", 1);
}

void board_add_memory(const char *name, const uint32_t *reg, size_t cells)
{
    tree_begin(name);
    tree_string("device_type", "memory");
    tree_cells_at("reg", reg, cells);
    tree_end();
}

void board_add_xen_and_gic(const struct parts *parts)
{
    uint32_t reg[12];

    memcpy(reg, parts->hypervisor, 16);
    memcpy(reg + 4, parts->region, parts->region_cells * 4);
    tree_begin("hypervisor");
    tree_string("compatible", "xen,xen");
    tree_cells_at("reg", reg, 4 + parts->region_cells);
    tree_cells("interrupts", 1, parts->event_number, 0xf08);
    tree_end();
    tree_begin("intc@8000000");
    tree_string("compatible", parts->message_cells ? "arm,gic-400" : "arm,gic-v3");
    tree_cells("phandle", 1);
    tree_cells("#interrupt-cells", 3);
    tree_cells_at("reg", parts->gic, 8);
    tree_end();
    tree_begin("timer");
    tree_string("compatible", "arm,armv8-timer");
    tree_cells("interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
    tree_end();
}

static void add_bridge(const char *name, uint32_t phandle, const struct bridge_parts *parts)
{
    tree_begin(name);
    tree_string("compatible", "pci-host-ecam-generic");
    tree_cells("phandle", phandle);
    tree_cells("#address-cells", parts->address_cells);
    tree_cells("#size-cells", parts->size_cells);
    tree_cells("#interrupt-cells", 1);
    tree_cells_at("reg", parts->reg, 4);
    tree_cells_at("bus-range", parts->bus_range, parts->bus_cells);
    tree_cells_at("ranges", parts->window, parts->window_cells);
    tree_cells_at("dma-ranges", parts->dma, parts->dma_cells);
    tree_cells_at("interrupt-map", parts->map, parts->map_cells);
    tree_cells_at("interrupt-map-mask", parts->map_mask, parts->mask_cells);
    if (parts->disabled)
        tree_string("status", "disabled");
    tree_end();
}

void board_begin_bridge(void)
{
    board_begin(NULL, 0);
    board_add_memory("memory@41000000", sound.memory, 4);
    board_add_xen_and_gic(&sound);
    tree_begin("pcie@1");
    tree_string("compatible", "pci-host-ecam-generic");
    tree_cells("#address-cells", 3);
    tree_cells("#size-cells", 2);
    tree_cells_at("reg", sound.first.reg, 4);
}

static void add_device(const char *name, const uint32_t *reg, uint32_t number)
{
    tree_begin(name);
    tree_string("compatible", "arasan,sdhci-8.9a");
    tree_cells_at("reg", reg, 4);
    tree_cells("interrupts", 0, number, 4);
    tree_end();
}

static void add_nexus(const struct parts *parts)
{
    tree_begin("nexus");
    tree_cells("phandle", 2);
    tree_cells("#address-cells", 0);
    tree_cells("#interrupt-cells", 1 + parts->map_parent_cells);
    tree_cells("interrupt-map", 1, 2, 1, 2, 2, 2); /* 1 -> 1, 2 -> 2, at itself */
    tree_end();
}

const void *board_tree(const struct parts *parts)
{
    board_begin(NULL, 0);
    board_add_memory("memory@41000000", parts->memory, parts->memory_cells);
    board_add_xen_and_gic(parts);
    if (parts->reserved_cells) {
        tree_begin("reserved-memory");
        tree_cells("#address-cells", 2);
        tree_cells("#size-cells", 2);
        tree_begin("firmware");
        tree_cells_at("reg", parts->reserved, parts->reserved_cells);
        tree_end();
        tree_end();
    }
    if (parts->message_cells) {
        tree_begin("v2m");
        tree_string("compatible", "arm,gic-v2m-frame");
        tree_cells_at("reg", parts->message, parts->message_cells);
        tree_end();
    }
    add_nexus(parts);
    add_bridge("pcie@1", 11, &parts->first);
    add_bridge("pcie@2", 12, &parts->second);
    add_device("mmc@1", parts->device_reg[0], 20);
    add_device("mmc@2", parts->device_reg[1], 21);
    return tree_finish();
}
