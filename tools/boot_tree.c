/* SPDX-License-Identifier: MIT */
/*
 * boot_tree.c: see boot_tree.h.
 *
 * libfdt adds a sub-node before the existing ones, and Xen numbers the guests in the order of their
 * nodes. So the last node is added first.
 */
#include "boot_tree.h"

#include <libfdt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capacity.h"
#include "dragoman_nodes.h"
#include "message.h"
#include "must.h"
#include "must_tree.h"

enum {
    /* While it grows; libfdt needs some bytes more than the result. */
    TREE_ROOM = XEN_TREE_BYTES_MAX + 64 * 1024,
};

/* Checks that nothing in /chosen takes the place of what is added there. */
static void check_chosen(const void *tree, const char *path)
{
    const int chosen = fdt_path_offset(tree, "/chosen");
    bool is_boot_tree = fdt_path_offset(tree, "/dragoman") >= 0 ||
                        fdt_node_offset_by_compatible(tree, -1, "xen,domain") >= 0 ||
                        fdt_node_offset_by_compatible(tree, -1, "multiboot,module") >= 0 ||
                        fdt_node_offset_by_compatible(tree, -1, "xen,multiboot-module") >= 0;
    int node;

    if (chosen >= 0)
        fdt_for_each_subnode(node, tree, chosen)
        {
            const char *name = fdt_get_name(tree, node, NULL);
            is_boot_tree |= strncmp(name, "domU", 4) == 0 || strncmp(name, "module@", 7) == 0;
        }
    if (is_boot_tree)
        die("%s: is a boot tree already (it has guests or modules); --board needs the board's own "
            "tree",
            path);
}

/* Xen would load such a ramdisk into Dom0, from memory where it no longer is. */
static void remove_initrd(void *tree, const char *path)
{
    static const char *const names[] = {"linux,initrd-start", "linux,initrd-end"};
    const int chosen = fdt_path_offset(tree, "/chosen");

    for (size_t i = 0; chosen >= 0 && i < sizeof names / sizeof names[0]; i++)
        if (fdt_delprop(tree, chosen, names[i]) == 0)
            message_warn("%s: /chosen: %s is removed: it is of an earlier boot of Linux", path,
                         names[i]);
}

static void *open_board(const char *path)
{
    size_t size;
    char *board = must_read_file(path, &size);
    if (size < sizeof(struct fdt_header) || fdt_check_full(board, size) != 0)
        die("%s: is not a device tree blob, or is damaged (make one with QEMU's -machine "
            "...,dumpdtb=FILE, or take the board's .dtb)",
            path);
    if (fdt_totalsize(board) > XEN_TREE_BYTES_MAX)
        die("%s: has %u bytes; Xen takes at most %d: is it the board's tree?", path,
            fdt_totalsize(board), XEN_TREE_BYTES_MAX);
    void *tree = must_alloc(TREE_ROOM);
    must_fdt(fdt_open_into(board, tree, TREE_ROOM), path);
    check_chosen(tree, path);
    remove_initrd(tree, path);
    return tree;
}

/* Replaces the tree's memory nodes by one with the ranges of --memory. */
static void write_memory(void *tree, const struct machine_config *machine)
{
    const int address_cells = fdt_address_cells(tree, 0), size_cells = fdt_size_cells(tree, 0);
    fdt32_t reg[RANGE_OPTION_MAX * 4];
    size_t cells = 0;
    char name[40];

    for (int node = fdt_first_subnode(tree, 0); node >= 0;) {
        int next = fdt_next_subnode(tree, node);
        if (memory_map_is_bank(tree, node)) {
            must_fdt(fdt_del_node(tree, node), "memory");
            next = fdt_first_subnode(tree, 0); /* offsets have moved */
        }
        node = next;
    }
    for (size_t i = 0; i < machine->memory.count; i++) {
        const uint64_t values[2] = {machine->memory.ranges[i].start,
                                    machine->memory.ranges[i].size};
        const int counts[2] = {address_cells, size_cells};
        for (int v = 0; v < 2; v++) {
            if (counts[v] < 1 || counts[v] > 2 || (counts[v] == 1 && values[v] > UINT32_MAX))
                die("%s: its #%s-cells cannot express the --memory value 0x%llx; give the memory "
                    "in "
                    "several parts, each below 4 GiB in size",
                    machine->board_path, v == 0 ? "address" : "size",
                    (unsigned long long)values[v]);
            if (counts[v] == 2)
                reg[cells++] = cpu_to_fdt32((uint32_t)(values[v] >> 32));
            reg[cells++] = cpu_to_fdt32((uint32_t)values[v]);
        }
    }
    snprintf(name, sizeof name, "memory@%llx", (unsigned long long)machine->memory.ranges[0].start);
    if (fdt_subnode_offset(tree, 0, name) >= 0)
        die("%s: has a node /%s, which is no memory; --memory needs the name: rename the node",
            machine->board_path, name);
    int node = add_node(tree, 0, name);
    set_string(tree, node, "device_type", "memory");
    must_fdt(fdt_setprop(tree, node, "reg", reg, (int)(cells * sizeof reg[0])), "reg");
}

/* Adds a multiboot module below a node with two address cells and two size cells. */
static void add_module_node(void *tree, int parent, const struct load_module *module,
                            const char *kind, const char *arguments)
{
    char name[40], compatible[64];
    snprintf(name, sizeof name, "module@%llx", (unsigned long long)module->address);
    int node = add_node(tree, parent, name);
    if (arguments != NULL && arguments[0] != '\0')
        set_string(tree, node, "bootargs", arguments);
    fdt64_t reg[2] = {cpu_to_fdt64(module->address), cpu_to_fdt64(module->size)};
    must_fdt(fdt_setprop(tree, node, "reg", reg, sizeof reg), "reg");
    int length = snprintf(compatible, sizeof compatible, "multiboot,%s%cmultiboot,module", kind, 0);
    must_fdt(fdt_setprop(tree, node, "compatible", compatible, length + 1), "compatible");
}

static void add_guest_node(void *tree, int chosen, const struct guest_config *guest, size_t domid,
                           struct load_plan *plan)
{
    const struct load_module *kernel = load_plan_kernel(plan, guest);
    const struct load_module *ramdisk = load_plan_ramdisk(plan, guest);
    int node = add_numbered_node(tree, chosen, "domU", domid);
    set_string(tree, node, "compatible", "xen,domain");
    set_cell(tree, node, "#address-cells", 2);
    set_cell(tree, node, "#size-cells", 2);
    must_fdt(fdt_setprop_u64(tree, node, "memory", (uint64_t)guest->memory_mib * 1024), "memory");
    set_cell(tree, node, "cpus", (uint32_t)guest->vcpus);
    set_string(tree, node, "xen,enhanced", "enabled");
    set_empty(tree, node, "vpl011");
    if (ramdisk != NULL)
        add_module_node(tree, node, ramdisk, "ramdisk", NULL);
    add_module_node(tree, node, kernel, "kernel", guest->command_line);
}

static void add_chosen(void *tree, const struct machine_config *machine,
                       const struct guest_config *guests, size_t guest_count,
                       struct load_plan *plan)
{
    int chosen = fdt_path_offset(tree, "/chosen");
    if (chosen == -FDT_ERR_NOTFOUND)
        chosen = add_node(tree, 0, "chosen");
    must_fdt(chosen, "/chosen");
    set_cell(tree, chosen, "#address-cells", 2);
    set_cell(tree, chosen, "#size-cells", 2);
    set_string(tree, chosen, "xen,xen-bootargs", machine->xen_args);

    for (size_t i = guest_count; i > 0; i--)
        add_guest_node(tree, chosen, &guests[i - 1], i, plan);
    add_module_node(tree, chosen, &plan->modules[0], "kernel", machine->domain_args);
}

void *boot_tree_make(const struct machine_config *machine, const struct guest_config *guests,
                     size_t guest_count, struct load_plan *plan)
{
    void *tree = open_board(machine->board_path);

    if (machine->memory.count > 0)
        write_memory(tree, machine);
    load_plan_make(plan, tree, machine, guests, guest_count);
    capacity_check_guests(tree, guests, guest_count);
    dragoman_nodes_add(tree, machine, guests, guest_count, plan);
    add_chosen(tree, machine, guests, guest_count, plan);
    capacity_check_machine(machine, guests, guest_count, plan);
    must_fdt(fdt_pack(tree), "packing");
    if (fdt_totalsize(tree) > XEN_TREE_BYTES_MAX)
        die("%s: the boot tree has %u bytes; Xen takes at most %u: use fewer guests or disks",
            machine->board_path, fdt_totalsize(tree), XEN_TREE_BYTES_MAX);
    return tree;
}
