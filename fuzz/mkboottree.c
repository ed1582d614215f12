/* SPDX-License-Identifier: MIT */
/*
 * fuzz mkboottree: boot trees from any board and any guests
 *
 * The input is a board's tree (banks, reserved ranges in both lists and at any depth, what earlier
 * boots left, some of it wrong), the options of the command line, and guests with files, memory,
 * disks and interfaces. The tree is made by the code of the tool. What must hold is checked by
 * tests/unit/rigs/boot_tree_rig.c on the finished tree.
 */
#include "boot_tree_rig.h"
#include "lib/feed.h"
#include "tool_env.h"

#include <libfdt.h>

#define BOARD_MAX  16384
#define GUESTS_MAX 6u
#define MIB        1048576ull

static struct guest_config guests[GUESTS_MAX];

/* Mostly near each other, so that ranges overlap. */
static uint64_t some_address(struct feed *feed)
{
    uint64_t address;

    if (feed_chance(feed, 16))
        return feed_take(feed, 8);
    address = feed_below(feed, 1024) * MIB;
    return address + (feed_chance(feed, 128) ? feed_take(feed, 3) : 0);
}

static unsigned some_cells(struct feed *feed)
{
    return feed_chance(feed, 4) ? (unsigned)feed_below(feed, 5) : 1 + (unsigned)feed_below(feed, 2);
}

static void add_reg(struct feed *feed, void *fdt, unsigned address_cells, unsigned size_cells)
{
    const unsigned counts[2] = {address_cells, size_cells};
    fdt32_t cells[32];
    int count = 0;

    for (uint64_t ranges = 1 + feed_below(feed, 3); ranges > 0; ranges--)
        for (unsigned v = 0; v < 2; v++) {
            const uint64_t value = some_address(feed);
            for (unsigned c = counts[v]; c > 0; c--)
                cells[count++] = cpu_to_fdt32(c > 2 ? 0 : (uint32_t)(value >> 32 * (c - 1)));
        }
    fdt_property(fdt, "reg", cells, count * 4);
}

static void add_memory(struct feed *feed, void *fdt, unsigned address_cells, unsigned size_cells)
{
    static const char *const names[] = {"memory@0", "memory", "memory@1", "dram@0", "memory-x"};

    for (uint64_t n = 1 + feed_below(feed, 3); n > 0; n--) {
        fdt_begin_node(fdt, names[feed_chance(feed, 16) ? n + 1 : n - 1]);
        if (!feed_chance(feed, 8))
            fdt_property_string(fdt, "device_type", "memory");
        add_reg(feed, fdt, address_cells, size_cells);
        fdt_end_node(fdt);
    }
}

static void add_reserved(struct feed *feed, void *fdt)
{
    const unsigned address_cells = some_cells(feed), size_cells = some_cells(feed);

    fdt_begin_node(fdt, "reserved-memory");
    fdt_property_u32(fdt, "#address-cells", address_cells);
    fdt_property_u32(fdt, "#size-cells", size_cells);
    for (uint64_t n = feed_below(feed, 4); n > 0; n--) {
        fdt_begin_node(fdt, n == 1 ? "a" : n == 2 ? "b" : "c");
        if (!feed_chance(feed, 32))
            add_reg(feed, fdt, address_cells, size_cells);
        if (feed_chance(feed, 32)) {
            fdt_begin_node(fdt, "below"); /* with the default cells, 2 and 1 */
            add_reg(feed, fdt, 2, 1);
            fdt_end_node(fdt);
        }
        fdt_end_node(fdt);
    }
    fdt_end_node(fdt);
}

static void add_chosen(struct feed *feed, void *fdt)
{
    static const char *const left[] = {"domU1", "module@9000000", "domU7", "framebuffer"};
    static const char *const compatibles[] = {"xen,domain", "xen,multiboot-module",
                                              "multiboot,module", "simple-framebuffer"};

    fdt_begin_node(fdt, "chosen");
    if (feed_chance(feed, 64))
        fdt_property_u32(fdt, "linux,initrd-start", (uint32_t)some_address(feed));
    if (feed_chance(feed, 24)) {
        fdt_begin_node(fdt, left[feed_below(feed, 4)]);
        const char *compatible = compatibles[feed_below(feed, 4)];
        fdt_property_string(fdt, "compatible", compatible);
        fdt_end_node(fdt);
    }
    fdt_end_node(fdt);
}

static void make_board(struct feed *feed, void *fdt)
{
    const unsigned address_cells = some_cells(feed), size_cells = some_cells(feed);

    fdt_create(fdt, BOARD_MAX);
    for (uint64_t n = feed_below(feed, 4); n > 0; n--) {
        const uint64_t address = some_address(feed);

        fdt_add_reservemap_entry(fdt, address, some_address(feed));
    }
    fdt_finish_reservemap(fdt);
    fdt_begin_node(fdt, "");
    fdt_property_u32(fdt, "#address-cells", address_cells);
    fdt_property_u32(fdt, "#size-cells", size_cells);
    if (!feed_chance(feed, 8))
        add_memory(feed, fdt, address_cells, size_cells);
    if (feed_chance(feed, 128))
        add_chosen(feed, fdt);
    if (feed_chance(feed, 192))
        add_reserved(feed, fdt);
    if (feed_chance(feed, 32)) {
        fdt_begin_node(fdt, "gic");
        fdt_property_string(fdt, "compatible", "arm,gic-400");
        fdt_end_node(fdt);
    }
    fdt_end_node(fdt);
    fdt_finish(fdt);
}

static void some_ranges(struct feed *feed, struct range_options *options)
{
    for (uint64_t n = feed_below(feed, 4); n > 0; n--) {
        struct memory_range range = {.start = some_address(feed)};

        range.size = 1 + some_address(feed);
        if (range.size == 0 || range.size > UINT64_MAX - range.start)
            continue;
        bool free = true; /* the command line refuses ranges that overlap */
        for (size_t i = 0; i < options->count; i++)
            free &= range.start >= options->ranges[i].start + options->ranges[i].size ||
                    options->ranges[i].start >= range.start + range.size;
        if (free)
            options->ranges[options->count++] = range;
    }
}

static void make_guest(struct feed *feed, unsigned number)
{
    static const char *const names[] = {"g1", "g2", "g3", "g4", "g5", "g6"};
    static const char *const configs[] = {"1.cfg", "2.cfg", "3.cfg", "4.cfg", "5.cfg", "6.cfg"};
    static const char *const files[] = {"f0", "f1", "f2", "f3", "f4", "f5", "domain.bin"};
    static const uint64_t bytes[] = {1, 4096, 2 * MIB, 2 * MIB + 1, 20 * MIB, 300 * MIB, 4096};
    static const char *const targets[] = {"nvme0", "serial:a", "sd0", "pci:00:01.0"};
    struct guest_config *guest = &guests[number];
    const unsigned kernel = (unsigned)feed_below(feed, 5), ramdisk = (unsigned)feed_below(feed, 8);

    memset(guest, 0, sizeof *guest);
    guest->file = configs[number];
    guest->name = names[number];
    guest->kernel = files[feed_chance(feed, 4) ? 6 : kernel];
    guest->kernel_line = guest->memory_line = guest->vcpus_line = 1;
    guest->image.packed_bytes = bytes[kernel];
    guest->image.memory_bytes = bytes[kernel] * (1 + feed_below(feed, 2));
    if (ramdisk < 6 && ramdisk != kernel) { /* the configuration's reader refuses the same file */
        guest->ramdisk = files[ramdisk];
        guest->ramdisk_bytes = bytes[ramdisk];
    }
    guest->command_line = feed_chance(feed, 128) ? "quiet" : "";
    guest->memory_mib = 1 + (long)feed_below(feed, feed_chance(feed, 16) ? 1048576 : 200);
    guest->vcpus = 1 + (long)feed_below(feed, 12);
    guest->on[GUEST_REBOOT] = guest->vcpus % 2 ? GUEST_RESTART : GUEST_DESTROY;
    for (guest->disk_count = 0; guest->disk_count < feed_below(feed, 4); guest->disk_count++) {
        struct disk_config *disk = &guest->disks[guest->disk_count];

        *disk = (struct disk_config){.vdev = "xvda"};
        disk->target = targets[feed_below(feed, 4)];
        disk->writable = feed_chance(feed, 128);
        disk->mode = feed_chance(feed, 64) ? "copy" : NULL;
    }
    guest->vif_count = (size_t)feed_below(feed, 3);
    for (size_t v = 0; v < guest->vif_count; v++) {
        struct vif_config *vif = &guest->vifs[v];
        vif->file = guest->file;
        vif->bridge = "xenbr0";
        for (unsigned vlan = 1 + (unsigned)feed_below(feed, 9); vlan <= VLAN_MAX; vlan += 400)
            vif->vlans.tagged[vlan] = true;
    }
}

void run_input(struct feed *feed)
{
    static uint8_t board[BOARD_MAX];
    static const char *const xen_args[] = {"dom0_mem=16M", "", "dom0_mem=64M x", "dom0_mem=3M",
                                           "console=dtuart dom0_mem=1G"};
    struct boot_tree_case made = {
        .board = board,
        .board_bytes = sizeof board,
        .machine = {.board_path = "board.dtb",
                    .domain_path = "domain.bin",
                    .domain_bytes = 4096,
                    .domain_args = "",
                    .when_idle = "stay"},
        .guests = guests,
    };

    made.machine.xen_args = xen_args[feed_chance(feed, 64) ? feed_below(feed, 5) : 0];
    if (feed_chance(feed, 64))
        made.machine.base_address = some_address(feed) & ~4095ull;
    if (feed_chance(feed, 64))
        some_ranges(feed, &made.machine.memory);
    if (feed_chance(feed, 64))
        some_ranges(feed, &made.machine.avoid);
    made.guest_count = (size_t)feed_below(feed, GUESTS_MAX + 1);
    for (unsigned i = 0; i < made.guest_count; i++)
        make_guest(feed, i);
    make_board(feed, board);
    if (fdt_check_full(board, sizeof board) == 0)
        boot_tree_rig_make(&made);
    tool_env_end();
}
