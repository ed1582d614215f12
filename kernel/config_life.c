/* SPDX-License-Identifier: MIT */
/* config_life: what is done at a guest's end, and what it is built from again (see config.h). */
#include "config.h"
#include "config_keys.h"

#include <port/env.h>

#include <libfdt.h>
#include <string.h>

static const char *const end_keys[] = {
    [CONFIG_POWEROFF] = "on-poweroff",
    [CONFIG_REBOOT] = "on-reboot",
    [CONFIG_CRASH] = "on-crash",
    [CONFIG_WATCHDOG] = "on-watchdog",
};

/* A range of two 64-bit numbers. False: there is none. */
static bool read_file(const void *fdt, int node, const char *key, struct range *range)
{
    int length;
    const fdt64_t *cell = fdt_getprop(fdt, node, key, &length);

    if (!cell || length != 2 * sizeof *cell)
        return false;
    *range = (struct range){fdt64_ld(cell), fdt64_ld(cell + 1)};
    return range->bytes && range->bytes <= UINT64_MAX - range->base;
}

static bool read_build(const void *fdt, int node, struct config_build *build)
{
    int length;
    const fdt64_t *memory = fdt_getprop(fdt, node, "memory", &length);
    const bool has_memory = memory && length == sizeof *memory;
    const fdt32_t *vcpus = fdt_getprop(fdt, node, "vcpus", &length);
    const bool has_vcpus = vcpus && length == sizeof *vcpus;

    if (!has_memory || !has_vcpus || !read_file(fdt, node, "kernel", &build->kernel))
        return false;
    build->frames = fdt64_ld(memory) / 4;
    build->vcpus = fdt32_to_cpu(*vcpus);
    build->arguments = fdt_getprop(fdt, node, "bootargs", &length);
    if (!build->arguments || length < 1 || build->arguments[length - 1])
        build->arguments = "";
    (void)read_file(fdt, node, "ramdisk", &build->ramdisk);
    return build->vcpus >= 1 && build->vcpus <= CONFIG_VCPUS_MAX;
}

void config_read_life(struct config_guest *guest, const void *fdt, int node, const char *path)
{
    static const enum config_action usual[] = {
        [CONFIG_POWEROFF] = CONFIG_DESTROY,
        [CONFIG_REBOOT] = CONFIG_RESTART,
        [CONFIG_CRASH] = CONFIG_RESTART,
        [CONFIG_WATCHDOG] = CONFIG_RESTART,
    };
    struct config_choices actions = {{[CONFIG_DESTROY] = "destroy",
                                      [CONFIG_RESTART] = "restart",
                                      [CONFIG_PRESERVE] = "preserve"},
                                     3,
                                     0,
                                     "\"destroy\", \"restart\" or \"preserve\""};

    guest->can_build = read_build(fdt, node, &guest->build);
    for (unsigned end = 0; end < CONFIG_ENDS; end++) {
        actions.usual = usual[end];
        guest->on[end] =
            (enum config_action)config_choice(fdt, node, path, end_keys[end], &actions);
    }
}
