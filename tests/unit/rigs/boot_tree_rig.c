/* SPDX-License-Identifier: MIT */
/* boot_tree_rig: see boot_tree_rig.h. */
#include "boot_tree_rig.h"
#include "tool_env.h"
#include "unit.h"

#include <libfdt.h>
#include <stdio.h>

#define RANGES_MAX 1024u
#define PAGE       4096u

struct ranges {
    struct memory_range range[RANGES_MAX];
    size_t count;
};

static void add_range(struct ranges *ranges, uint64_t start, uint64_t size)
{
    assert_true(ranges->count < RANGES_MAX);
    if (size > UINT64_MAX - start)
        size = UINT64_MAX - start;
    if (size > 0)
        ranges->range[ranges->count++] = (struct memory_range){start, size};
}

static uint64_t cells_value(const fdt32_t **cell, int count)
{
    uint64_t value = 0;

    for (; count > 0; count--)
        value = value << 32 | fdt32_to_cpu(*(*cell)++);
    return value;
}

static void add_reg(struct ranges *ranges, const void *tree, int node)
{
    const int parent = fdt_parent_offset(tree, node);
    const int address_cells = fdt_address_cells(tree, parent);
    const int size_cells = fdt_size_cells(tree, parent);
    int length = 0;
    const fdt32_t *cell = fdt_getprop(tree, node, "reg", &length);

    if (cell == NULL)
        return;
    for (int left = length / 4; left >= address_cells + size_cells;
         left -= address_cells + size_cells) {
        const uint64_t start = cells_value(&cell, address_cells);
        add_range(ranges, start, cells_value(&cell, size_cells));
    }
}

static bool is_named(const char *name, const char *wanted)
{
    const size_t length = strlen(wanted);
    return strncmp(name, wanted, length) == 0 && (name[length] == '\0' || name[length] == '@');
}

/* Memory as Xen finds it in this tree. */
static void find_banks(struct ranges *banks, const void *tree)
{
    int node, length;

    banks->count = 0;
    fdt_for_each_subnode(node, tree, 0)
    {
        const char *type = fdt_getprop(tree, node, "device_type", &length);
        if (type && length == 7 && !memcmp(type, "memory", 7) &&
            is_named(fdt_get_name(tree, node, NULL), "memory"))
            add_reg(banks, tree, node);
    }
}

static void find_reserved(struct ranges *reserved, const struct boot_tree_case *made)
{
    const void *board = made->board;
    char path[1024];

    reserved->count = 0;
    for (int i = 0; i < fdt_num_mem_rsv(board); i++) {
        uint64_t start, size;
        assert_int_equal(fdt_get_mem_rsv(board, i, &start, &size), 0);
        add_range(reserved, start, size);
    }
    for (int node = fdt_next_node(board, -1, NULL); node >= 0;
         node = fdt_next_node(board, node, NULL))
        if (fdt_get_path(board, node, path, sizeof path) == 0 &&
            strncmp(path, "/reserved-memory/", 17) == 0)
            add_reg(reserved, board, node);
    for (size_t i = 0; i < made->machine.avoid.count; i++)
        add_range(reserved, made->machine.avoid.ranges[i].start,
                  made->machine.avoid.ranges[i].size);
}

static bool share_a_page(struct memory_range a, struct memory_range b)
{
    return a.start / PAGE <= (b.start + (b.size - 1)) / PAGE &&
           b.start / PAGE <= (a.start + (a.size - 1)) / PAGE;
}

static void check_place(const struct boot_tree_case *made, struct memory_range file)
{
    static struct ranges banks, reserved;
    uint64_t lowest = UINT64_MAX;
    bool in_bank = false;

    find_banks(&banks, made->tree);
    for (size_t i = 0; i < banks.count; i++) {
        const struct memory_range bank = banks.range[i];
        lowest = bank.start < lowest ? bank.start : lowest;
        in_bank |= file.start >= bank.start && file.start - bank.start < bank.size &&
                   file.size <= bank.size - (file.start - bank.start);
    }
    assert_true(in_bank);
    find_reserved(&reserved, made);
    for (size_t i = 0; i < reserved.count; i++)
        assert_false(share_a_page(file, reserved.range[i]));
    if (made->machine.base_address != 0)
        assert_true(file.start >= made->machine.base_address);
    else /* Xen and the boot loader's tree */
        assert_true(file.start >= lowest && file.start - lowest >= 144u << 20);
}

/* The --memory ranges are the tree's memory, and nothing else is. */
static void check_memory(const struct boot_tree_case *made)
{
    const struct range_options *memory = &made->machine.memory;
    static struct ranges banks;

    if (memory->count == 0)
        return;
    find_banks(&banks, made->tree);
    assert_int_equal(banks.count, memory->count);
    for (size_t i = 0; i < banks.count; i++) {
        assert_int_equal(banks.range[i].start, memory->ranges[i].start);
        assert_int_equal(banks.range[i].size, memory->ranges[i].size);
    }
}

/* One module of the tree: it is what the plan says of the file. */
static void check_module(const struct boot_tree_case *made, int parent, const char *kind,
                         const char *path, uint64_t size)
{
    char compatible[64], real[256];
    int node, length = 0;

    snprintf(compatible, sizeof compatible, "multiboot,%s", kind);
    snprintf(real, sizeof real, "/%s", path);
    fdt_for_each_subnode(node, made->tree,
                         parent) if (fdt_node_check_compatible(made->tree, node, compatible) ==
                                     0) break;
    assert_true(node >= 0);
    const fdt32_t *cell = fdt_getprop(made->tree, node, "reg", &length);
    assert_true(cell && length == 16);
    const uint64_t start = cells_value(&cell, 2);
    assert_int_equal(cells_value(&cell, 2), size);
    for (size_t i = 0; i < made->plan.module_count; i++) {
        const struct load_module *module = &made->plan.modules[i];
        if (module->address == start) {
            assert_int_equal(module->size, size);
            assert_string_equal(module->path, real);
            return;
        }
    }
    fail_msg("%s is not in the load plan", path);
}

static void check_string(const void *tree, int node, const char *name, const char *wanted)
{
    const char *value = fdt_getprop(tree, node, name, NULL);

    assert_non_null(value);
    assert_string_equal(value, wanted);
}

/* A file of a guest that starts again is named, reserved, and in the node that Xen maps. */
static void check_kept(const struct boot_tree_case *made, int guest, const char *name,
                       uint64_t size)
{
    static struct ranges images;
    const int node = fdt_node_offset_by_compatible(made->tree, -1, "dragoman,images");
    const fdt32_t *cell = fdt_getprop(made->tree, guest, name, NULL);
    bool reserved = false, mapped = false;

    assert_non_null(cell);
    const uint64_t start = cells_value(&cell, 2), end = start + size;
    assert_int_equal(cells_value(&cell, 2), size);
    for (int i = 0; i < fdt_num_mem_rsv(made->tree); i++) {
        uint64_t base, bytes;
        assert_int_equal(fdt_get_mem_rsv(made->tree, i, &base, &bytes), 0);
        reserved |= base <= start && end <= base + bytes && end + PAGE > base + bytes;
    }
    images.count = 0;
    add_reg(&images, made->tree, node);
    for (size_t i = 0; i < images.count; i++)
        mapped |=
            images.range[i].start <= start && end <= images.range[i].start + images.range[i].size;
    assert_true(reserved && mapped);
}

static void check_guest(const struct boot_tree_case *made, size_t number)
{
    const struct guest_config *guest = &made->guests[number - 1];
    char path[64];

    snprintf(path, sizeof path, "/chosen/domU%zu", number);
    const int domain = fdt_path_offset(made->tree, path);
    assert_true(domain >= 0);
    check_module(made, domain, "kernel", guest->kernel, guest->image.packed_bytes);
    if (guest->ramdisk)
        check_module(made, domain, "ramdisk", guest->ramdisk, guest->ramdisk_bytes);
    const fdt32_t *cell = fdt_getprop(made->tree, domain, "memory", NULL);
    assert_non_null(cell);
    assert_int_equal(cells_value(&cell, 2), (uint64_t)guest->memory_mib * 1024);
    snprintf(path, sizeof path, "/dragoman/guest%zu", number);
    const int node = fdt_path_offset(made->tree, path);
    assert_true(node >= 0);
    check_string(made->tree, node, "label", guest->name);
    assert_int_equal(fdt_getprop(made->tree, node, "kernel", NULL) != NULL,
                     guest_config_restarts(guest));
    if (guest_config_restarts(guest)) {
        check_kept(made, node, "kernel", guest->image.packed_bytes);
        if (guest->ramdisk)
            check_kept(made, node, "ramdisk", guest->ramdisk_bytes);
    }
    for (size_t d = 0; d < guest->disk_count; d++) {
        snprintf(path, sizeof path, "/dragoman/guest%zu/disk%zu", number, d);
        const int disk = fdt_path_offset(made->tree, path);
        assert_true(disk >= 0);
        check_string(made->tree, disk, "target", guest->disks[d].target);
        check_string(made->tree, disk, "vdev", guest->disks[d].vdev);
        check_string(made->tree, disk, "access", guest->disks[d].writable ? "w" : "r");
    }
}

/* Xen numbers the guests in the order of their nodes, and takes the first module for Dom0. */
static void check_order(const struct boot_tree_case *made, int chosen)
{
    unsigned domid = 0;
    int node;

    fdt_for_each_subnode(node, made->tree, chosen)
    {
        const char *name = fdt_get_name(made->tree, node, NULL);
        if (fdt_node_check_compatible(made->tree, node, "xen,domain") == 0)
            assert_int_equal(strtoul(name + 4, NULL, 10), ++domid);
    }
    assert_int_equal(domid, made->guest_count);
}

static void check_tree(const struct boot_tree_case *made)
{
    const struct load_plan *plan = &made->plan;
    const int chosen = fdt_path_offset(made->tree, "/chosen");

    assert_int_equal(fdt_check_full(made->tree, fdt_totalsize(made->tree)), 0);
    assert_true(fdt_totalsize(made->tree) <= 2u << 20);
    assert_null(fdt_getprop(made->tree, chosen, "linux,initrd-start", NULL));
    check_memory(made);
    check_order(made, chosen);
    check_module(made, chosen, "kernel", made->machine.domain_path, made->machine.domain_bytes);
    for (size_t i = 1; i <= made->guest_count; i++)
        check_guest(made, i);
    for (size_t i = 0; i < plan->module_count; i++) {
        const struct memory_range file = {plan->modules[i].address, plan->modules[i].size};
        check_place(made, file);
        for (size_t j = i + 1; j < plan->module_count; j++)
            assert_false(share_a_page(
                file, (struct memory_range){plan->modules[j].address, plan->modules[j].size}));
    }
}

/* Each refusal names a file or an option, and ends with what to do. */
static void check_refusal(const struct boot_tree_case *made, const char *message)
{
    bool named = strstr(message, "board.dtb") || strstr(message, "domain.bin") ||
                 strncmp(message, "--", 2) == 0 || strncmp(message, "the boot tree", 13) == 0;

    for (size_t i = 0; i < made->guest_count; i++)
        named |= strncmp(message, made->guests[i].file, strlen(made->guests[i].file)) == 0 ||
                 strncmp(message, made->guests[i].kernel, strlen(made->guests[i].kernel)) == 0 ||
                 (made->guests[i].ramdisk &&
                  strncmp(message, made->guests[i].ramdisk, strlen(made->guests[i].ramdisk)) == 0);
    if (!named || strstr(message, "FDT_ERR"))
        fail_msg("the refusal does not help: %s", message);
}

static void make(void *context)
{
    struct boot_tree_case *made = context;
    made->tree = boot_tree_make(&made->machine, made->guests, made->guest_count, &made->plan);
}

void boot_tree_rig_make(struct boot_tree_case *made)
{
    made->tree = NULL;
    if (tool_env_run(make, made, made->board, made->board_bytes))
        check_tree(made);
    else
        check_refusal(made, tool_env_message());
}
