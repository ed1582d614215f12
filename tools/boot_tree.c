/* SPDX-License-Identifier: MIT */
/*
 * boot_tree.c: see boot_tree.h.
 *
 * libfdt adds a sub-node before the existing ones, and Xen numbers the guests in the order of their
 * nodes. So the last node is added first.
 */
#include "boot_tree.h"

#include <ctype.h>
#include <libfdt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capacity.h"
#include "message.h"
#include "must.h"

enum {
    /* QEMU's arm64 loader puts the device tree 128 MiB into memory; modules follow it. */
    BASE_OFFSET = 144 * 1024 * 1024,
    /* Xen's MAX_FDT_SIZE. */
    XEN_TREE_BYTES_MAX = 2 * 1024 * 1024,
    /* While it grows; libfdt needs some bytes more than the result. */
    TREE_ROOM = XEN_TREE_BYTES_MAX + 64 * 1024,
};

/* Ends the tool if a libfdt call fails: the buffer is larger than a tree that Xen takes. */
static int must_fdt(int result, const char *what)
{
    if (result == -FDT_ERR_NOSPACE)
        die("the boot tree would have more than the %d bytes that Xen takes: use fewer guests, "
            "disks or VLANs",
            XEN_TREE_BYTES_MAX);
    if (result < 0)
        die("device tree: %s: %s", what, fdt_strerror(result));
    return result;
}

static int add_node(void *tree, int parent, const char *name)
{
    return must_fdt(fdt_add_subnode(tree, parent, name), name);
}

static int add_numbered_node(void *tree, int parent, const char *prefix, size_t number)
{
    char name[40];
    snprintf(name, sizeof name, "%s%zu", prefix, number);
    return add_node(tree, parent, name);
}

static void set_string(void *tree, int node, const char *name, const char *value)
{
    must_fdt(fdt_setprop_string(tree, node, name, value), name);
}

static void set_cell(void *tree, int node, const char *name, uint32_t value)
{
    must_fdt(fdt_setprop_u32(tree, node, name, value), name);
}

static void set_empty(void *tree, int node, const char *name)
{
    must_fdt(fdt_setprop(tree, node, name, NULL, 0), name);
}

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

/* Fills the plan's map, and sets the lowest address of modules. */
static void read_memory(const void *tree, const struct machine_config *machine,
                        struct load_plan *plan)
{
    struct memory_map *map = &plan->map;

    switch (memory_map_read(map, tree)) {
    case MEMORY_MAP_OK:
        break;
    case MEMORY_MAP_CELLS:
        die("%s: #address-cells and #size-cells of memory must be 1 or 2", machine->board_path);
    case MEMORY_MAP_MANY:
        die("%s: more than %d banks of memory or %d reserved ranges", machine->board_path,
            MEMORY_BANK_MAX, MEMORY_TAKEN_MAX);
    }
    if (map->bank_count == 0)
        die("%s: %s: the board's firmware fills it in at boot; say here what the board has, as in "
            "--memory 0x0:948M --memory 0x40000000:1G",
            machine->board_path,
            map->has_empty_bank ? "its memory node has the size 0" : "it has no memory node");
    for (size_t i = 0; i < machine->avoid.count; i++)
        if (!memory_map_reserve(map, machine->avoid.ranges[i]))
            die("%s: more than %d reserved ranges", machine->board_path, MEMORY_TAKEN_MAX);
    if (machine->base_address != 0 && !memory_map_has(map, machine->base_address))
        die("%s: no memory at --base 0x%llx", machine->board_path,
            (unsigned long long)machine->base_address);
    const uint64_t lowest = memory_map_lowest(map);
    plan->base_address = machine->base_address;
    if (plan->base_address == 0)
        plan->base_address = lowest <= UINT64_MAX - BASE_OFFSET ? lowest + BASE_OFFSET : UINT64_MAX;
}

/* Plans the module of a file of that size: an existing one for the same file, or a new one. */
static const struct load_module *plan_module(struct load_plan *plan, const char *path,
                                             uint64_t size)
{
    const char *real = must_real_path(path);

    for (const char *at = real; *at != '\0'; at++)
        if (iscntrl((unsigned char)*at))
            die("%s: the file's name holds a control character, which the load plan cannot "
                "express; "
                "rename the file",
                path);
    for (size_t i = 0; i < plan->module_count; i++)
        if (strcmp(plan->modules[i].path, real) == 0)
            return &plan->modules[i];
    if (plan->module_count == MODULE_COUNT_MAX)
        die("%s: more than %d different files to load; Xen takes no more: let guests share kernels "
            "and ramdisks",
            path, MODULE_COUNT_MAX);

    struct load_module *module = &plan->modules[plan->module_count];
    *module = (struct load_module){.path = real, .size = size};
    if (!memory_map_place(&plan->map, plan->base_address, module->size, &module->address))
        die("%s: its %llu bytes do not fit into the board's memory from 0x%llx on, beside the "
            "other "
            "files and what is reserved; give a smaller file, or a lower --base",
            path, (unsigned long long)module->size, (unsigned long long)plan->base_address);
    plan->module_count++;
    return module;
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
    const struct load_module *kernel = plan_module(plan, guest->kernel, guest->image.packed_bytes);
    const struct load_module *ramdisk =
        guest->ramdisk != NULL ? plan_module(plan, guest->ramdisk, guest->ramdisk_bytes) : NULL;

    /* Xen knows a module by its address: it would take Dom0's kernel for the guest's alone. */
    if (kernel == &plan->modules[0])
        die("%s:%d: kernel '%s' is Dragoman's own image; give the guest another one", guest->file,
            guest->kernel_line, guest->kernel);
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

    const struct load_module *domain =
        plan_module(plan, machine->domain_path, machine->domain_bytes);
    for (size_t i = guest_count; i > 0; i--)
        add_guest_node(tree, chosen, &guests[i - 1], i, plan);
    add_module_node(tree, chosen, domain, "kernel", machine->domain_args);
}

/* Adds the ranges of /memreserve/, which Xen does not pass on to Dom0. */
static void add_reservations(void *tree, int dragoman)
{
    for (int i = 0; i < fdt_num_mem_rsv(tree); i++) {
        uint64_t start, size;
        if (fdt_get_mem_rsv(tree, i, &start, &size) != 0 || size == 0)
            continue;
        if (fdt_appendprop_u64(tree, dragoman, "reserved", start) != 0 ||
            fdt_appendprop_u64(tree, dragoman, "reserved", size) != 0)
            die("the boot tree has no room for the board's reserved memory");
    }
}

static void describe_vif(void *tree, int node, const struct vif_config *vif, long vcpus)
{
    set_string(tree, node, "mac", vif->mac);
    set_string(tree, node, "bridge", vif->bridge);
    set_cell(tree, node, "queues", (uint32_t)(vcpus < VIF_QUEUES_MAX ? vcpus : VIF_QUEUES_MAX));
    if (vif->rate_bytes != 0) {
        must_fdt(fdt_setprop_u32(tree, node, "rate", vif->rate_bytes), "rate");
        must_fdt(fdt_appendprop_u32(tree, node, "rate", vif->rate_us), "rate");
    }
    if (vif->vlans.untagged != 0)
        set_cell(tree, node, "vlan", vif->vlans.untagged);
    for (unsigned first = 1, last; first <= VLAN_MAX; first = last + 1) {
        last = first;
        if (!vif->vlans.tagged[first])
            continue;
        while (last < VLAN_MAX && vif->vlans.tagged[last + 1])
            last++;
        if (fdt_appendprop_u32(tree, node, "tagged-vlans", first) != 0 ||
            fdt_appendprop_u32(tree, node, "tagged-vlans", last) != 0)
            die("%s:%d: the boot tree has no room for so many VLANs; give ranges of adjacent ones",
                vif->file, vif->line);
    }
    if (vif->ip_count != 0)
        must_fdt(fdt_setprop(tree, node, "ip", vif->ip, (int)(vif->ip_count * sizeof vif->ip[0])),
                 "ip");
    if (vif->group != 0)
        set_cell(tree, node, "group", vif->group);
    if (vif->mirror)
        set_empty(tree, node, "mirror");
}

/*
 * The domain's own configuration. No node below carries a unit address, a reg or interrupts: Xen
 * would take it for a device of the board and refuse the tree.
 */
static void add_dragoman(void *tree, const struct machine_config *machine,
                         const struct guest_config *guests, size_t guest_count)
{
    int dragoman = add_node(tree, 0, "dragoman");
    set_string(tree, dragoman, "compatible", "dragoman,config");
    set_string(tree, dragoman, "when-idle", machine->when_idle);
    for (size_t i = 0; i < machine->kind_count; i++)
        set_cell(tree, dragoman, must_format("%s-controllers", machine->kinds[i].name),
                 machine->kinds[i].count);
    add_reservations(tree, dragoman);
    for (size_t i = guest_count; i > 0; i--) {
        const struct guest_config *guest = &guests[i - 1];
        int node = add_numbered_node(tree, dragoman, "guest", i);
        set_cell(tree, node, "domid", (uint32_t)i);
        set_string(tree, node, "label", guest->name);
        for (size_t v = guest->vif_count; v > 0; v--) {
            int vif_node = add_numbered_node(tree, node, "vif", v - 1);
            describe_vif(tree, vif_node, &guest->vifs[v - 1], guest->vcpus);
        }
        for (size_t d = guest->disk_count; d > 0; d--) {
            const struct disk_config *disk = &guest->disks[d - 1];
            int disk_node = add_numbered_node(tree, node, "disk", d - 1);
            set_string(tree, disk_node, "vdev", disk->vdev);
            set_string(tree, disk_node, "target", disk->target);
            set_string(tree, disk_node, "access", disk->writable ? "w" : "r");
            if (disk->mode != NULL)
                set_string(tree, disk_node, "mode", disk->mode);
            if (disk->persistent != NULL)
                set_string(tree, disk_node, "persistent", disk->persistent);
        }
    }
}

void *boot_tree_make(const struct machine_config *machine, const struct guest_config *guests,
                     size_t guest_count, struct load_plan *plan)
{
    void *tree = open_board(machine->board_path);

    *plan = (struct load_plan){0};
    if (machine->memory.count > 0)
        write_memory(tree, machine);
    read_memory(tree, machine, plan);
    capacity_check_guests(tree, guests, guest_count);
    add_dragoman(tree, machine, guests, guest_count);
    add_chosen(tree, machine, guests, guest_count, plan);
    capacity_check_machine(machine, guests, guest_count, plan);
    must_fdt(fdt_pack(tree), "packing");
    if (fdt_totalsize(tree) > XEN_TREE_BYTES_MAX)
        die("%s: the boot tree has %u bytes; Xen takes at most %u: use fewer guests or disks",
            machine->board_path, fdt_totalsize(tree), XEN_TREE_BYTES_MAX);
    return tree;
}
