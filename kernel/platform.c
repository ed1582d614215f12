/* SPDX-License-Identifier: MIT */
/* platform: see platform.h. */
#include "platform.h"
#include <kernel/arm64/registers.h>
#include "shortage.h"
#include <kernel/arm64/mmu.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <port/env.h>

#include <stdio.h>
#include <string.h>

struct controller {
    struct dgm_device_env env;
    struct devtree_device device;
    const void *fdt;
};

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    const struct devtree_interrupt *interrupt =
        &dgm_container(env, struct controller, env)->device.interrupt;

    return gic_bind(interrupt->intid, interrupt->edge, irq);
}

/*
 * Whether a node's device asserts its line cannot be read, so the device must be alone on it. If it
 * does not assert the line, masking costs only its interrupts: it is polled.
 */
static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    const struct devtree_interrupt *interrupt =
        &dgm_container(env, struct controller, env)->device.interrupt;

    return !interrupt->edge && gic_mask(interrupt->intid, mask);
}

static bool read_property(const struct dgm_device_env *env, const char *name, uint32_t *value)
{
    const struct controller *controller = dgm_container(env, struct controller, env);
    int length;
    const fdt32_t *cell = fdt_getprop(controller->fdt, controller->device.node, name, &length);

    *value = cell && length >= 4 ? fdt32_to_cpu(*cell) : 0;
    return cell != NULL;
}

static void describe_env(struct controller *controller, const struct dgm_device_env *common)
{
    const struct devtree_device *device = &controller->device;
    struct dgm_device_env *env = &controller->env;

    *env = *common;
    snprintf(env->name, sizeof env->name, "%s", fdt_get_name(controller->fdt, device->node, NULL));
    mmu_map((struct mmu_range){.address = device->registers.base, .bytes = device->registers.bytes},
            MMU_DEVICE);
    registers_add(env->name, (struct mmu_range){.address = device->registers.base,
                                                .bytes = device->registers.bytes});
    if (mmu_probe(device->registers.base)) {
        env->mmio = (volatile void *)(uintptr_t)device->registers.base;
        env->mmio_bytes = device->registers.bytes;
    } else {
        dgm_env_log("%s: no device responds at %llx, its reg", env->name,
                    (unsigned long long)device->registers.base);
    }
    env->tag.mask = UINT64_MAX;
    env->tag.coherent = device->coherent;
    env->tag.window_count = device->dma.count;
    memcpy(env->tag.windows, device->dma.windows, sizeof env->tag.windows);
    env->irq_bind = bind_interrupt;
    env->irq_mask = mask_interrupt;
    env->property = read_property;
}

/* The driver that matches the node's most specific compatible string. */
static const struct dgm_disk_driver *driver_of(const struct disks_options *options, const void *fdt,
                                               int node, const char **compatible)
{
    const struct dgm_disk_driver *best = NULL;
    int best_rank = 0;

    for (size_t i = 0; i < options->driver_count; i++) {
        const struct dgm_disk_driver *driver = options->drivers[i];
        const char *name = NULL;
        int rank;

        if (driver->compatible)
            name = devtree_compatible(fdt, node, driver->compatible, &rank);
        if (name && (!best || rank < best_rank)) {
            best = driver;
            best_rank = rank;
            *compatible = name;
        }
    }
    return best;
}

/* "sd:/axi/mmc@ff170000". A path that is truncated here is longer than any target. */
static void describe_place(const struct dgm_disk_driver *driver, const char *path, char *place,
                           size_t bytes)
{
    const size_t room = bytes - strlen(driver->name) - 2;

    snprintf(place, bytes, "%s:%.*s", driver->name, (int)room, path);
}

static void add_controller(struct disks *disks, const struct disks_options *options,
                           struct devtree *tree, int node, const struct dgm_disk_driver *driver,
                           const char *compatible)
{
    char path[256] = "", place[sizeof disks->disk[0].place];
    struct devtree_device device;
    struct controller *controller;
    const char *alias;
    const int result = devtree_device_read(tree, node, &device);

    if (result == DGM_ENODEV)
        return;
    controller = dgm_frames_take_bytes(options->common.frames, sizeof *controller);
    if (!controller)
        shortage(options->common.frames, sizeof *controller, "the state of a disk controller");
    controller->fdt = tree->fdt;
    controller->device = device;
    fdt_get_path(tree->fdt, node, path, sizeof path);
    alias = devtree_alias(tree->fdt, path);
    describe_place(driver, path, place, sizeof place);
    if (result == DGM_OK) {
        describe_env(controller, &options->common);
        controller->env.compatible = compatible;
    }
    disks_add(disks, driver, result == DGM_OK ? &controller->env : NULL,
              (struct disks_place){place, alias ? alias : ""});
}

void platform_start(struct disks *disks, struct devtree *tree, const struct disks_options *options)
{
    for (int node = fdt_next_node(tree->fdt, -1, NULL); node >= 0;
         node = fdt_next_node(tree->fdt, node, NULL)) {
        const char *compatible;
        const struct dgm_disk_driver *driver = driver_of(options, tree->fdt, node, &compatible);

        if (driver)
            add_controller(disks, options, tree, node, driver, compatible);
    }
}
