/* SPDX-License-Identifier: MIT */
/*
 * load_plan.h: where each file lies in memory when Xen starts.
 *
 * Guests that name the same file share one module: Xen keeps 32 modules at most, so 32 guests can
 * boot only if they share. The domain's own image is the first module.
 */
#ifndef DRAGOMAN_TOOLS_LOAD_PLAN_H
#define DRAGOMAN_TOOLS_LOAD_PLAN_H

#include <stdint.h>

#include "guest_config.h"
#include "memory_map.h"

enum {
    /* Xen's MAX_MODULES is 32; two are its own image and the device tree. */
    MODULE_COUNT_MAX = 30,
};

struct load_module {
    const char *path;
    uint64_t address;
    uint64_t size;
};

struct load_plan {
    struct load_module modules[MODULE_COUNT_MAX];
    size_t module_count;
    uint64_t base_address; /* no module lies below it */
    struct memory_map map;
};

enum {
    /* The most ranges of --memory, and of --avoid. */
    RANGE_OPTION_MAX = 16,
};

struct range_options {
    struct memory_range ranges[RANGE_OPTION_MAX];
    size_t count;
};

enum {
    KIND_COUNT_MAX = 4, /* of the domain, kernel/config.h */
};

/* How many controllers of a kind the machine has: --controllers nvme=2. */
struct controller_kind {
    char name[12];
    unsigned count;
};

struct machine_config {
    const char *board_path;  /* the board's device tree blob */
    const char *domain_path; /* Dom0's image */
    uint64_t domain_bytes;
    const char *xen_args;
    const char *domain_args;
    const char *when_idle; /* "poweroff" or "stay" */
    uint64_t base_address; /* the lowest address of modules; 0: 144 MiB into the lowest bank */
    struct range_options memory; /* replaces the tree's memory nodes, unless empty */
    struct range_options avoid;  /* memory for no module */
    struct controller_kind kinds[KIND_COUNT_MAX];
    size_t kind_count;
};

/* Reads the tree's memory, and plans all modules; an error ends the tool. */
void load_plan_make(struct load_plan *plan, const void *tree, const struct machine_config *machine,
                    const struct guest_config *guests, size_t guest_count);

/* The planned modules of a guest; the ramdisk's is NULL when it has none. */
const struct load_module *load_plan_kernel(const struct load_plan *plan,
                                           const struct guest_config *guest);
const struct load_module *load_plan_ramdisk(const struct load_plan *plan,
                                            const struct guest_config *guest);

#endif
