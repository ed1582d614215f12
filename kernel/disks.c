/* SPDX-License-Identifier: MIT */
/* disks: see disks.h. */
#include "disks.h"
#include <kernel/arm64/mmu.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/base/text.h>
#include <dragoman/drivers/nvme.h>
#include <dragoman/drivers/pci.h>
#include <dragoman/drivers/sdhci.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* One host bridge; there is one on every board we know, a second one costs only memory. */
struct bridge {
    struct dgm_pci_host host;
    struct devtree_pci place;
    const struct devtree *tree;
};

/*
 * A driver of disks: what it takes, what its disks are called, and how big its state is. `attach`
 * brings up the device of `env` with the state at `state`, and gives the disk that blkback gets.
 */
struct driver {
    uint32_t class_code, class_mask; /* PCI's class codes that it serves */
    const char *name;
    size_t bytes;
    int (*attach)(void *state, struct dgm_device_env *env, struct dgm_blkdev **disk);
};

/* A controller with all that belongs to it. */
struct controller {
    struct dgm_device_env env;
    struct bridge *bridge;
    struct dgm_pci_device *device;
    _Alignas(max_align_t) char state[]; /* the driver's */
};

static int attach_nvme(void *state, struct dgm_device_env *env, struct dgm_blkdev **disk)
{
    struct dgm_nvme *nvme = state;

    *disk = &nvme->device;
    return dgm_nvme_start(nvme, env);
}

static int attach_sdhci(void *state, struct dgm_device_env *env, struct dgm_blkdev **disk)
{
    struct dgm_sdhci *sdhci = state;

    *disk = &sdhci->device;
    return dgm_sdhci_start(sdhci, env);
}

static const struct driver drivers[] = {
    {DGM_PCI_CLASS_NVME, 0xffffff, "nvme", sizeof(struct dgm_nvme), attach_nvme},
    {DGM_SDHCI_PCI_CLASS, DGM_SDHCI_PCI_CLASS_MASK, "sd", sizeof(struct dgm_sdhci), attach_sdhci},
};

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    const struct controller *controller = dgm_container(env, struct controller, env);
    struct dgm_pci_device *device = controller->device;
    struct devtree_interrupt interrupt;
    int result;

    if (env->irq_message) {
        const uint64_t table = device->bars[device->msix_bar].cpu + device->msix_offset;
        uint64_t address;
        uint32_t data;

        result = gic_bind_message(irq, &address, &data);
        if (result != DGM_OK)
            return result;
        mmu_map(table, (uint64_t)device->msix_entries * 16, MMU_DEVICE);
        result = dgm_pci_msix_open(device, (volatile void *)(uintptr_t)table);
        if (result == DGM_OK)
            dgm_pci_msix_set(device, (volatile void *)(uintptr_t)table, 0, address, data);
        return result;
    }
    if (device->root_pin == 0)
        return DGM_ENODEV;
    result = devtree_pci_interrupt(controller->bridge->tree, &controller->bridge->place,
                                   controller->bridge->host.bus_first, device->root_device,
                                   device->root_function, device->root_pin, &interrupt);
    if (result == DGM_OK)
        result = gic_bind(interrupt.intid, interrupt.edge, irq);
    if (result == DGM_OK)
        dgm_pci_intx(device, true);
    return result;
}

static void stop_dma(struct dgm_device_env *env)
{
    dgm_pci_dma_stop(dgm_container(env, struct controller, env)->device);
}

static int restore_device(struct dgm_device_env *env)
{
    return dgm_pci_restore(dgm_container(env, struct controller, env)->device);
}

static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    struct dgm_pci_device *device = dgm_container(env, struct controller, env)->device;

    if (mask && (env->irq_message || !dgm_pci_intx_asserted(device)))
        return false;
    dgm_pci_intx(device, !mask && !env->irq_message);
    return mask;
}

static void describe_env(struct controller *controller, struct memory *memory,
                         struct dgm_reactor *reactor)
{
    const struct dgm_pci_device *device = controller->device;
    const struct bridge *bridge = controller->bridge;
    const struct dgm_pci_bar *bar = &device->bars[0];
    struct dgm_device_env *env = &controller->env;

    snprintf(env->name, sizeof env->name, "pci %02x:%02x.%x", device->bus, device->device,
             device->function);
    mmu_map(bar->cpu, bar->bytes, MMU_DEVICE);
    env->mmio = (volatile void *)(uintptr_t)bar->cpu;
    env->mmio_bytes = bar->bytes;
    env->tag.mask = UINT64_MAX;
    env->tag.coherent = bridge->place.coherent;
    env->tag.window_count = bridge->place.dma_count;
    memcpy(env->tag.windows, bridge->place.dma, sizeof bridge->place.dma);
    env->reactor = reactor;
    env->frames = &memory->frames;
    env->p2m = &memory->core->p2m;
    env->irq_message = bridge->tree->gic.message && device->cap_msix;
    env->irq_bind = bind_interrupt;
    env->dma_stop = stop_dma;
    env->restore = restore_device;
    env->irq_mask = mask_interrupt;
}

/* "nvme0", "nvme1", ...: a driver's disks count by themselves, in the order in which they came. */
static void name_disk(const struct disks *disks, const char *kind, struct dgm_blkdev *disk)
{
    unsigned number = 0;

    for (size_t i = 0; i < disks->count; i++)
        number += disks->disk[i]->ops == disk->ops;
    snprintf(disk->name, sizeof disk->name, "%s%u", kind, number);
}

static void attach(struct disks *disks, const struct driver *driver, struct bridge *bridge,
                   struct dgm_pci_device *device, struct memory *memory,
                   struct dgm_reactor *reactor)
{
    struct controller *controller =
        dgm_frames_take_bytes(&memory->frames, sizeof *controller + driver->bytes);
    struct dgm_blkdev *disk;

    if (!controller || disks->count == DISKS_MAX) {
        dgm_env_log("pci %02x:%02x.%x: %s; this disk is left out", device->bus, device->device,
                    device->function,
                    controller ? "more disks than fit" : "too little memory for it");
        return;
    }
    controller->bridge = bridge;
    controller->device = device;
    describe_env(controller, memory, reactor);
    const struct dgm_device_env *env = &controller->env;

    dgm_pci_enable(device);
    const int result = driver->attach(controller->state, &controller->env, &disk);
    if (result != DGM_OK) {
        dgm_env_log("%s: no disk here (error %d)", env->name, result);
        dgm_pci_dma_stop(device);
        return;
    }
    name_disk(disks, driver->name, disk);
    disks->disk[disks->count++] = disk;
    dgm_env_log("%s is %s: %s, serial %s, %llu blocks of %u bytes%s", disk->name, env->name,
                disk->model, disk->serial, (unsigned long long)disk->blocks, disk->block_bytes,
                env->irq_message ? ", MSI-X" : ", INTx");
}

static const struct driver *driver_of(const struct dgm_pci_device *device)
{
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
        if ((device->class_code & drivers[i].class_mask) == drivers[i].class_code)
            return &drivers[i];
    return NULL;
}

static struct bridge *scan(const struct devtree *tree, const struct devtree_pci *place,
                           struct memory *memory)
{
    struct bridge *bridge = dgm_frames_take_bytes(&memory->frames, sizeof *bridge);

    if (!bridge) {
        dgm_env_log("too little memory for the PCI devices: raise dom0_mem=");
        return NULL;
    }
    bridge->tree = tree;
    bridge->place = *place;
    mmu_map(place->config.base, place->config.bytes, MMU_DEVICE);
    bridge->host.ecam = (volatile void *)(uintptr_t)place->config.base;
    bridge->host.bus_first = place->bus_first;
    bridge->host.bus_last = place->bus_last;
    for (size_t i = 0; i < place->window_count; i++) {
        const struct devtree_pci_window *window = &place->windows[i];

        if (window->io || bridge->host.window_count == DGM_PCI_WINDOWS_MAX)
            continue;
        bridge->host.windows[bridge->host.window_count++] = (struct dgm_pci_window){
            .cpu = window->cpu,
            .pci = window->pci,
            .bytes = window->bytes,
            .prefetchable = window->prefetchable,
        };
    }
    dgm_pci_scan(&bridge->host);
    return bridge;
}

void disks_start(struct disks *disks, const struct devtree *tree, struct memory *memory,
                 struct dgm_reactor *reactor)
{
    struct devtree_pci place;
    int node = -1;

    while (devtree_pci_next(tree, &node, &place)) {
        struct bridge *bridge = scan(tree, &place, memory);

        for (size_t i = 0; bridge && i < bridge->host.device_count; i++) {
            struct dgm_pci_device *device = &bridge->host.devices[i];
            const struct driver *driver = driver_of(device);

            if (driver)
                attach(disks, driver, bridge, device, memory, reactor);
        }
    }
    if (disks->count == 0)
        dgm_env_log("there is no disk to share");
}

struct dgm_blkdev *disks_find(struct disks *disks, const char *target)
{
    static const char by_serial[] = "serial:";

    for (size_t i = 0; i < disks->count; i++) {
        struct dgm_blkdev *disk = disks->disk[i];

        if (dgm_text_starts(target, by_serial)
                ? dgm_text_equal(target + sizeof by_serial - 1, disk->serial)
                : dgm_text_equal(target, disk->name))
            return disk;
    }
    return NULL;
}
