/* SPDX-License-Identifier: MIT */
/*
 * boottree.c: see boottree.h.
 *
 * libfdt adds a sub-node before the existing ones, and Xen numbers the guests in the order of their
 * nodes. So the last node is added first.
 */
#include "boottree.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "message.h"
#include "must.h"

enum {
    MODULE_ALIGNMENT = 2 * 1024 * 1024,
    /* QEMU's arm64 loader puts the device tree 128 MiB into memory; modules follow it. */
    BASE_OFFSET = 144 * 1024 * 1024,
};

/* A libfdt call that fails ends the tool: the buffer is large enough by construction. */
static int must_fdt(int result, const char *what)
{
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

static void *open_board(const char *path, size_t room)
{
    size_t size;
    char *board = must_read_file(path, &size);
    if (size < sizeof(struct fdt_header) || fdt_check_header(board) != 0 ||
        fdt_totalsize(board) > size)
        die("%s: is not a device tree blob (make one with QEMU's -machine ...,dumpdtb=FILE, or "
            "take "
            "the board's .dtb)",
            path);
    size_t tree_size = fdt_totalsize(board) + room;
    void *tree = must_alloc(tree_size);
    must_fdt(fdt_open_into(board, tree, (int)tree_size), path);
    free(board);
    return tree;
}

static uint64_t read_cells(const fdt32_t *cells, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 32 | fdt32_to_cpu(cells[i]);
    return value;
}

/* Finds the bank that the modules go to: the one that holds the base, or the lowest without one. */
static void place_base(const void *tree, const struct machine_config *machine,
                       struct load_plan *plan)
{
    int address_cells = fdt_address_cells(tree, 0);
    int size_cells = fdt_size_cells(tree, 0);
    uint64_t bank_start = UINT64_MAX, bank_end = 0;

    for (int node = -1;
         (node = fdt_node_offset_by_prop_value(tree, node, "device_type", "memory", 7)) >= 0;) {
        int length;
        const fdt32_t *reg = fdt_getprop(tree, node, "reg", &length);
        int step = address_cells + size_cells;
        for (int at = 0; reg != NULL && at + step <= length / 4; at += step) {
            uint64_t start = read_cells(reg + at, address_cells);
            uint64_t end = start + read_cells(reg + at + address_cells, size_cells);
            bool holds_base = machine->base_address >= start && machine->base_address < end;
            if (machine->base_address != 0 ? holds_base : start < bank_start) {
                bank_start = start;
                bank_end = end;
            }
        }
    }
    if (bank_end == 0 && machine->base_address != 0)
        die("%s: no memory at --base 0x%llx", machine->board_path,
            (unsigned long long)machine->base_address);
    if (bank_end == 0)
        die("%s: has no memory node; a boot loader that fills it in later needs --base",
            machine->board_path);
    plan->next_address = machine->base_address ? machine->base_address : bank_start + BASE_OFFSET;
    plan->end_address = bank_end;
}

/* The module for a file: an existing one for the same file, or a new one after the last. */
static const struct load_module *plan_module(struct load_plan *plan, const char *path)
{
    char *real = realpath(path, NULL);
    struct stat status;
    if (real == NULL || stat(real, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size == 0)
        die("%s: is missing, empty or no file", path);
    for (size_t i = 0; i < plan->module_count; i++)
        if (strcmp(plan->modules[i].path, real) == 0)
            return &plan->modules[i];
    if (plan->module_count == MODULE_COUNT_MAX)
        die("%s: more than %d different files to load; Xen takes no more: let guests share kernels "
            "and ramdisks",
            path, MODULE_COUNT_MAX);

    uint64_t size = (uint64_t)status.st_size;
    if (plan->next_address >= plan->end_address || size > plan->end_address - plan->next_address)
        die("%s: does not fit: it would lie at 0x%llx and memory ends at 0x%llx; give the machine "
            "more memory",
            path, (unsigned long long)plan->next_address, (unsigned long long)plan->end_address);
    struct load_module *module = &plan->modules[plan->module_count++];
    *module = (struct load_module){real, plan->next_address, size};
    plan->next_address += (size + MODULE_ALIGNMENT - 1) & ~(uint64_t)(MODULE_ALIGNMENT - 1);
    return module;
}

/* A multiboot module below a node with two address cells and two size cells. */
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
    const struct load_module *kernel = plan_module(plan, guest->kernel);
    const struct load_module *ramdisk =
        guest->ramdisk != NULL ? plan_module(plan, guest->ramdisk) : NULL;

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

    const struct load_module *domain = plan_module(plan, machine->domain_path);
    for (size_t i = guest_count; i > 0; i--)
        add_guest_node(tree, chosen, &guests[i - 1], i, plan);
    add_module_node(tree, chosen, domain, "kernel", machine->domain_args);
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
    for (size_t i = guest_count; i > 0; i--) {
        const struct guest_config *guest = &guests[i - 1];
        int node = add_numbered_node(tree, dragoman, "guest", i);
        set_cell(tree, node, "domid", (uint32_t)i);
        set_string(tree, node, "label", guest->name);
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
    /* Generous: a guest's nodes take its strings and well under 4 KiB. */
    size_t room = (guest_count + 2) * 16384 + strlen(machine->xen_args);
    void *tree = open_board(machine->board_path, room);

    *plan = (struct load_plan){0};
    place_base(tree, machine, plan);
    add_dragoman(tree, machine, guests, guest_count);
    add_chosen(tree, machine, guests, guest_count, plan);
    must_fdt(fdt_pack(tree), "packing");
    return tree;
}
