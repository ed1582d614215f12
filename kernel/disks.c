/* SPDX-License-Identifier: MIT */
/* disks: see disks.h. */
#include "disks.h"
#include "mmu.h"

#include <dragoman/check.h>
#include <dragoman/status.h>
#include <dragoman/text.h>
#include <drivers/nvme.h>
#include <drivers/pci.h>

#include <stdio.h>
#include <string.h>

/* One host bridge; there is one on every board we know, a second one costs only memory. */
struct bridge {
    struct dgm_pci_host host;
    struct devtree_pci place;
    const struct devtree *tree;
};

/* An NVMe controller with all that belongs to it. */
struct nvme_disk {
    struct dgm_device_env env;
    struct dgm_nvme nvme;
    struct bridge *bridge;
    struct dgm_pci_device *device;
};

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    struct nvme_disk *disk = dgm_container(env, struct nvme_disk, env);
    const struct dgm_pci_device *device = disk->device;
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
    result = devtree_pci_interrupt(disk->bridge->tree, &disk->bridge->place,
                                   disk->bridge->host.bus_first, device->root_device,
                                   device->root_function, device->root_pin, &interrupt);
    if (result == DGM_OK)
        result = gic_bind(interrupt.intid, interrupt.edge, irq);
    if (result == DGM_OK)
        dgm_pci_intx(device, true);
    return result;
}

static void attach_nvme(struct disks *disks, struct bridge *bridge, struct dgm_pci_device *device,
                        struct memory *memory, struct dgm_reactor *reactor)
{
    struct nvme_disk *disk = dgm_frames_take_bytes(&memory->frames, sizeof *disk);
    const struct dgm_pci_bar *bar = &device->bars[0];

    if (!disk || disks->count == DISKS_MAX) {
        dgm_env_log("pci %02x:%02x.%x: %s; this disk is left out", device->bus, device->device,
                    device->function, disk ? "more disks than fit" : "too little memory for it");
        return;
    }
    disk->bridge = bridge;
    disk->device = device;
    struct dgm_device_env *env = &disk->env;
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
    env->p2m = &memory->p2m;
    env->irq_message = bridge->tree->gic.message && device->cap_msix;
    env->irq_bind = bind_interrupt;

    dgm_pci_enable(device);
    const int result = dgm_nvme_attach(&disk->nvme, env);
    if (result != DGM_OK) {
        dgm_env_log("%s: no disk here (error %d)", env->name, result);
        dgm_pci_dma_stop(device);
        return;
    }
    struct dgm_blkdev *block = &disk->nvme.device;
    snprintf(block->name, sizeof block->name, "nvme%u", (unsigned)disks->count);
    disks->disk[disks->count++] = block;
    dgm_env_log("%s is %s: %s, serial %s, %llu blocks of %u bytes%s", block->name, env->name,
                block->model, block->serial, (unsigned long long)block->blocks, block->block_bytes,
                env->irq_message ? ", MSI-X" : ", INTx");
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
        struct dgm_pci_device *device = NULL;

        while (bridge && (device = dgm_pci_next(&bridge->host, device, DGM_PCI_CLASS_NVME)))
            attach_nvme(disks, bridge, device, memory, reactor);
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
