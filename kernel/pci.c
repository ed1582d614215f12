/* SPDX-License-Identifier: MIT */
/* pci: see pci.h. */
#include "pci.h"
#include <kernel/arm64/registers.h>
#include "shortage.h"
#include <kernel/arm64/mmu.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/base/text.h>
#include <dragoman/drivers/pci.h>

#include <stdio.h>
#include <string.h>

_Static_assert(DEVTREE_WINDOWS_MAX == DGM_PCI_WINDOWS_MAX, "every window of a bridge is passed on");

/* A host bridge. The boards that we know have one; a second one costs only memory. */
struct bridge {
    struct dgm_pci_host host;
    struct devtree_pci place;
    const struct devtree *tree;
    struct dgm_reactor *reactor;
    struct dgm_timer slots; /* polls the slots, if there are any */
};

struct controller {
    struct dgm_device_env env;
    struct bridge *bridge;
    struct dgm_pci_device *device;
    struct dgm_irq *irq;              /* bound to a line; NULL: none, or a message */
    const struct dgm_pci_slot *other; /* a line said that the device cannot be used there */
};

static struct controller *controller_of(struct dgm_device_env *env)
{
    return dgm_container(env, struct controller, env);
}

/* --- operations of a driver's environment --- */

static int bind_message(struct dgm_pci_device *device, struct dgm_irq *irq)
{
    const uint64_t table = device->bars[device->msix_bar].cpu + device->msix_offset;
    struct dgm_pci_message message;
    int result = gic_bind_message(irq, &message);

    if (result != DGM_OK)
        return result;
    mmu_map((struct mmu_range){.address = table, .bytes = (uint64_t)device->msix_entries * 16},
            MMU_DEVICE);
    if (!mmu_probe(table))
        return DGM_ENODEV;
    result = dgm_pci_msix_open(device, (volatile void *)(uintptr_t)table);
    if (result == DGM_OK)
        dgm_pci_msix_set(device, (volatile void *)(uintptr_t)table, 0, message);
    return result;
}

/* The line that the device asserts from its present place. */
static int bind_line(struct controller *controller, struct dgm_irq *irq)
{
    const struct bridge *bridge = controller->bridge;
    const struct dgm_pci_device *device = controller->device;
    struct devtree_interrupt interrupt;

    if (device->root_pin == 0)
        return DGM_ENODEV;
    if (devtree_pci_interrupt(bridge->tree, &bridge->place,
                              (struct devtree_pci_pin){.bus = bridge->host.bus_first,
                                                       .device = device->root_device,
                                                       .function = device->root_function,
                                                       .pin = device->root_pin},
                              &interrupt) != DGM_OK) {
        devtree_complain(bridge->tree, bridge->place.node,
                         "interrupt-map: INT%c of %02x:%02x.%x does not lead to the GIC; %s has no "
                         "interrupt",
                         'A' + device->root_pin - 1, bridge->host.bus_first, device->root_device,
                         device->root_function, controller->env.name);
        return DGM_ENOENT;
    }
    return gic_bind(interrupt.intid, interrupt.edge, irq);
}

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    struct controller *controller = controller_of(env);
    int result;

    if (env->irq_message)
        return bind_message(controller->device, irq);
    result = bind_line(controller, irq);
    if (result != DGM_OK)
        return result;
    controller->irq = irq;
    dgm_pci_intx(controller->device, true);
    return DGM_OK;
}

static uint32_t read_config(const struct dgm_device_env *env, uint32_t offset)
{
    const struct controller *controller = dgm_container(env, struct controller, env);

    return dgm_pci_read32(controller->device, offset);
}

/* Registers come first; what follows may be the device's memory, of any size. */
#define MAPPED_BYTES_MAX (16ull << 20)

static volatile void *map_bar(const struct dgm_device_env *env, unsigned number, uint64_t *bytes)
{
    const struct controller *controller = dgm_container(env, struct controller, env);
    const struct dgm_pci_bar *bar = &controller->device->bars[number];

    dgm_assert(number < DGM_PCI_BARS);
    if (bar->bytes == 0)
        return NULL;
    *bytes = bar->bytes < MAPPED_BYTES_MAX ? bar->bytes : MAPPED_BYTES_MAX;
    mmu_map((struct mmu_range){.address = bar->cpu, .bytes = *bytes}, MMU_DEVICE);
    registers_add(env->name, (struct mmu_range){.address = bar->cpu, .bytes = *bytes});
    if (!mmu_probe(bar->cpu)) {
        dgm_env_log("%s: BAR %u: no device responds at %llx, within the host bridge's ranges",
                    env->name, number, (unsigned long long)bar->cpu);
        *bytes = 0;
        return NULL;
    }
    return (volatile void *)(uintptr_t)bar->cpu;
}

static void stop_dma(struct dgm_device_env *env)
{
    dgm_pci_dma_stop(controller_of(env)->device);
}

/* The device is in another slot now, so its line may be another one. Without it the driver's polls
 * find its completions. */
static void follow_device(struct controller *controller, const struct dgm_pci_slot *slot)
{
    dgm_env_log("%s: a device like it has come into the slot of bus %02x: it is tried there",
                controller->env.name, slot->bus);
    if (!controller->irq)
        return;
    gic_unbind(controller->irq);
    if (bind_line(controller, controller->irq) != DGM_OK)
        dgm_env_log("%s: no interrupt in this slot", controller->env.name);
}

/* Whether the device has come into another slot. */
static bool seek_device(struct controller *controller)
{
    const struct dgm_pci_slot *slot = NULL;
    const int status = dgm_pci_seek(controller->device, &slot);

    if (status == DGM_OK)
        follow_device(controller, slot);
    else if (status == DGM_EOPNOTSUPP && slot != controller->other) {
        controller->other = slot;
        dgm_env_log("%s: the slot of bus %02x has a device like it, but is not beside its own "
                    "slot, so it cannot be used there before the next boot",
                    controller->env.name, slot->bus);
    }
    return status == DGM_OK;
}

static int restore_device(struct dgm_device_env *env)
{
    struct controller *controller = controller_of(env);
    int status = dgm_pci_restore(controller->device);

    if (status != DGM_OK && seek_device(controller))
        status = dgm_pci_restore(controller->device);
    return status;
}

static bool reject_device(struct dgm_device_env *env)
{
    return dgm_pci_reject(controller_of(env)->device);
}

static bool mask_interrupt(struct dgm_device_env *env, bool mask)
{
    struct dgm_pci_device *device = controller_of(env)->device;

    if (mask && (env->irq_message || !dgm_pci_intx_asserted(device)))
        return false;
    dgm_pci_intx(device, !mask && !env->irq_message);
    return mask;
}

/* --- controllers --- */

static void describe_env(struct controller *controller, const struct dgm_device_env *common)
{
    const struct dgm_pci_device *device = controller->device;
    const struct bridge *bridge = controller->bridge;
    struct dgm_device_env *env = &controller->env;
    uint64_t bytes = 0;

    *env = *common;
    if (bridge->place.number)
        snprintf(env->name, sizeof env->name, "pci %04x:%02x:%02x.%x", bridge->place.number,
                 device->bus, device->device, device->function);
    else
        snprintf(env->name, sizeof env->name, "pci %02x:%02x.%x", device->bus, device->device,
                 device->function);
    env->mmio = map_bar(env, 0, &bytes);
    env->mmio_bytes = bytes;
    env->tag.mask = UINT64_MAX;
    env->tag.coherent = bridge->place.coherent;
    env->tag.window_count = bridge->place.dma.count;
    memcpy(env->tag.windows, bridge->place.dma.windows, sizeof env->tag.windows);
    env->config = read_config;
    env->bar = map_bar;
    env->irq_message = bridge->tree->gic.message && device->cap_msix;
    env->irq_bind = bind_interrupt;
    env->dma_stop = stop_dma;
    env->restore = restore_device;
    env->reject = reject_device;
    env->irq_mask = mask_interrupt;
}

/*
 * "pci:00:01.0/00.0": bus, device and function on the first bus, then device and function behind
 * each bridge. The first bus of a host bridge is fixed by the tree, so devices plugged in elsewhere
 * do not change it. Host bridges after the first are numbered: "pci:0001:00:02.0".
 */
static void describe_place(const struct controller *controller, char *place, size_t bytes)
{
    const struct dgm_pci_device *device = controller->device;
    size_t length;

    if (controller->bridge->place.number)
        snprintf(place, bytes, "pci:%04x:%02x", controller->bridge->place.number,
                 controller->bridge->host.bus_first);
    else
        snprintf(place, bytes, "pci:%02x", controller->bridge->host.bus_first);
    for (unsigned i = 0; i < device->path_length; i++) {
        length = strlen(place);
        snprintf(place + length, bytes - length, "%c%02x.%x", i ? '/' : ':', device->path[i] >> 3,
                 device->path[i] & 7);
    }
}

/* Enables the function and makes its driver's environment; its place is written to `place`. */
static struct dgm_device_env *prepare_device(struct bridge *bridge, struct dgm_pci_device *device,
                                             const struct dgm_device_env *common, char *place,
                                             size_t place_bytes)
{
    struct controller *controller = dgm_frames_take_bytes(common->frames, sizeof *controller);

    if (!controller)
        shortage(common->frames, sizeof *controller, "the state of a PCI device");
    controller->bridge = bridge;
    controller->device = device;
    describe_place(controller, place, place_bytes);
    if (device->unusable)
        return NULL;
    dgm_pci_enable(device); /* its registers are decoded from now on */
    describe_env(controller, common);
    return &controller->env;
}

static void add_controller(struct disks *disks, const struct dgm_disk_driver *driver,
                           struct bridge *bridge, struct dgm_pci_device *device,
                           const struct disks_options *options)
{
    char place[sizeof disks->disk[0].place];
    struct dgm_device_env *env =
        prepare_device(bridge, device, &options->common, place, sizeof place);

    if (!disks_add(disks, driver, env, (struct disks_place){place, ""}) && env)
        dgm_pci_dma_stop(device);
}

static void add_card(struct network *network, struct bridge *bridge, struct dgm_pci_device *device)
{
    const struct dgm_nic_driver *driver = network_driver(network, device);
    char place[sizeof network->place];
    struct dgm_device_env *env;

    if (!driver)
        return;
    env = prepare_device(bridge, device, &network->common, place, sizeof place);
    if (env && !network_add_card(network, driver, env, place))
        dgm_pci_dma_stop(device);
}

static const struct dgm_disk_driver *driver_of(const struct disks_options *options,
                                               const struct dgm_pci_device *device)
{
    for (size_t i = 0; i < options->driver_count; i++) {
        const struct dgm_disk_driver *driver = options->drivers[i];

        if (driver->pci_class_mask &&
            (device->class_code & driver->pci_class_mask) == driver->pci_class)
            return driver;
    }
    return NULL;
}

/* --- slots --- */

/* QEMU, or an operator, waits several seconds for a slot to react. */
#define SLOTS_NS 2000000000ull

static void poll_slots(struct dgm_timer *timer)
{
    static const char *const texts[] = {
        [DGM_PCI_SLOT_REMOVAL] = "the removal of its card is asked for: refused, guests may use "
                                 "it; end them first",
        [DGM_PCI_SLOT_EMPTIED] = "its card was taken out",
        [DGM_PCI_SLOT_FILLED] = "a card was put in: it is used if it was there, or in another "
                                "slot, before, and otherwise from the next boot on",
    };
    struct bridge *bridge = dgm_container(timer, struct bridge, slots);
    const struct dgm_pci_slot *slot = NULL;
    enum dgm_pci_slot_event event;

    while ((slot = dgm_pci_slot_next(&bridge->host, slot, &event)) != NULL)
        dgm_env_log("pci %02x:%02x.%x: the slot of bus %02x: %s", slot->port.bus, slot->port.device,
                    slot->port.function, slot->bus, texts[event]);
    dgm_timer_arm(bridge->reactor, timer, dgm_env_now_ns() + SLOTS_NS);
}

static void watch_slots(struct bridge *bridge, struct dgm_reactor *reactor)
{
    if (bridge->host.slot_count == 0)
        return;
    bridge->reactor = reactor;
    bridge->slots.fire = poll_slots;
    dgm_timer_arm(reactor, &bridge->slots, dgm_env_now_ns() + SLOTS_NS);
}

/* --- host bridges --- */

/* NULL: no host bridge responds there. */
static struct bridge *scan_bridge(const struct devtree_pci *place, const struct devtree *tree,
                                  struct dgm_frames *frames)
{
    struct bridge *bridge = dgm_frames_take_bytes(frames, sizeof *bridge);

    if (!bridge)
        shortage(frames, sizeof *bridge, "the state of a PCI host bridge");
    bridge->tree = tree;
    bridge->place = *place;
    mmu_map((struct mmu_range){.address = place->config.base, .bytes = place->config.bytes},
            MMU_DEVICE);
    registers_add("PCI configuration space",
                  (struct mmu_range){.address = place->config.base, .bytes = place->config.bytes});
    if (!mmu_probe(place->config.base)) {
        devtree_complain(tree, place->node,
                         "reg: no host bridge responds at %llx; the bridge is left out",
                         (unsigned long long)place->config.base);
        return NULL;
    }
    bridge->host.ecam = (volatile void *)(uintptr_t)place->config.base;
    bridge->host.bus_first = place->bus_first;
    bridge->host.bus_last = place->bus_last;
    bridge->host.window_count = place->window_count;
    for (size_t i = 0; i < place->window_count; i++)
        bridge->host.windows[i] = (struct dgm_pci_window){
            .cpu = place->windows[i].cpu,
            .pci = place->windows[i].pci,
            .bytes = place->windows[i].bytes,
            .prefetchable = place->windows[i].prefetchable,
        };
    dgm_pci_scan(&bridge->host);
    return bridge;
}

static void start_bridge(struct bridge *bridge, struct disks *disks, struct network *network,
                         const struct disks_options *options)
{
    watch_slots(bridge, options->common.reactor);
    for (size_t i = 0; i < bridge->host.device_count; i++) {
        struct dgm_pci_device *device = &bridge->host.devices[i];
        const struct dgm_disk_driver *driver = driver_of(options, device);

        if (driver)
            add_controller(disks, driver, bridge, device, options);
        else if (network)
            add_card(network, bridge, device);
    }
}

void pci_start(struct disks *disks, struct network *network, struct devtree *tree,
               const struct disks_options *options)
{
    struct devtree_pci place;
    int node = -1;

    while (devtree_pci_next(tree, &node, &place)) {
        struct bridge *bridge = scan_bridge(&place, tree, options->common.frames);

        if (bridge)
            start_bridge(bridge, disks, network, options);
    }
}
