/* SPDX-License-Identifier: MIT */
/* load_plan.c: see load_plan.h. */
#include "load_plan.h"

#include <ctype.h>
#include <string.h>

#include "message.h"
#include "must.h"

enum {
    /* QEMU's arm64 loader puts the device tree 128 MiB into memory; modules follow it. */
    BASE_OFFSET = 144 * 1024 * 1024,
};

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

static const struct load_module *find_module(const struct load_plan *plan, const char *path)
{
    const char *real = must_real_path(path);

    for (size_t i = 0; i < plan->module_count; i++)
        if (strcmp(plan->modules[i].path, real) == 0)
            return &plan->modules[i];
    return NULL;
}

/* Plans the module of a file of that size, unless it has one. */
static void plan_module(struct load_plan *plan, const char *path, uint64_t size)
{
    const char *real = must_real_path(path);

    for (const char *at = real; *at != '\0'; at++)
        if (iscntrl((unsigned char)*at))
            die("%s: the file's name holds a control character, which the load plan cannot "
                "express; "
                "rename the file",
                path);
    if (find_module(plan, path) != NULL)
        return;
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
}

const struct load_module *load_plan_kernel(const struct load_plan *plan,
                                           const struct guest_config *guest)
{
    return find_module(plan, guest->kernel);
}

const struct load_module *load_plan_ramdisk(const struct load_plan *plan,
                                            const struct guest_config *guest)
{
    return guest->ramdisk != NULL ? find_module(plan, guest->ramdisk) : NULL;
}

void load_plan_make(struct load_plan *plan, const void *tree, const struct machine_config *machine,
                    const struct guest_config *guests, size_t guest_count)
{
    *plan = (struct load_plan){0};
    read_memory(tree, machine, plan);
    plan_module(plan, machine->domain_path, machine->domain_bytes);
    for (size_t i = guest_count; i > 0; i--) {
        const struct guest_config *guest = &guests[i - 1];

        plan_module(plan, guest->kernel, guest->image.packed_bytes);
        /* Xen knows a module by its address: it would take Dom0's kernel for the guest's alone. */
        if (load_plan_kernel(plan, guest) == &plan->modules[0])
            die("%s:%d: kernel '%s' is Dragoman's own image; give the guest another one",
                guest->file, guest->kernel_line, guest->kernel);
        if (guest->ramdisk != NULL)
            plan_module(plan, guest->ramdisk, guest->ramdisk_bytes);
    }
}
