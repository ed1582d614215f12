/* SPDX-License-Identifier: MIT */
/*
 * pci/move: a device that came back in another slot
 *
 * The scan gave each port the window that its device needed, and an empty slot none. So a device
 * that comes back in another slot keeps its addresses, and the two ports exchange their windows:
 * each address is forwarded by one port before and after, and both ports are below the same bridge,
 * whose window has them. The devices that were known in the other slot get the place of this one:
 * two that were exchanged are both found.
 *
 * A slot is exchanged only if all that was known there is gone: it does not respond, or its BARs do
 * not hold the addresses that were assigned, so it is a card that was put in later. Until
 * dgm_pci_restore() such a card is as after power-on: it decodes nothing and does no DMA.
 *
 * Which of two equal cards is the right one only the driver knows. It rejects the wrong one, which
 * is not tried again until its slot reports an event.
 */
#include <drivers/pci/internal.h>

#include <dragoman/base/status.h>

_Static_assert(DGM_PCI_SLOTS_MAX <= 16, "dgm_pci_device.rejected has a bit for each slot");

/* --- what was rejected --- */

/* The slot that the device is in, or NULL. */
static const struct dgm_pci_slot *slot_of(const struct dgm_pci_device *device)
{
    const struct dgm_pci_host *host = device->host;

    for (size_t i = 0; i < host->slot_count; i++)
        if (host->slots[i].bus == device->bus)
            return &host->slots[i];
    return NULL;
}

static uint16_t bit_of(const struct dgm_pci_host *host, const struct dgm_pci_slot *slot)
{
    return (uint16_t)(1u << (slot - host->slots));
}

bool dgm_pci_is_rejected(const struct dgm_pci_device *device)
{
    const struct dgm_pci_slot *slot = slot_of(device);

    return slot && (device->rejected & bit_of(device->host, slot));
}

void dgm_pci_forget_rejected(struct dgm_pci_host *host, const struct dgm_pci_slot *slot)
{
    for (size_t i = 0; i < host->device_count; i++)
        host->devices[i].rejected &= (uint16_t)~bit_of(host, slot);
}

bool dgm_pci_reject(struct dgm_pci_device *device)
{
    const struct dgm_pci_slot *slot = slot_of(device);

    if (!slot)
        return false;
    dgm_pci_write16(device, PCI_COMMAND, PCI_COMMAND_INTX_OFF);
    dgm_pci_master_off(device);
    device->rejected |= bit_of(device->host, slot);
    return true;
}

/* --- windows --- */

/* The registers of a port's windows, as they are in configuration space. */
struct windows {
    uint32_t memory, prefetch, base_high, limit_high;
};

#define PREFETCH_KIND 0x000f000fu /* read-only: 32 or 64 bits */

static struct windows windows_read(const struct dgm_pci_device *port)
{
    return (struct windows){
        .memory = dgm_pci_read32(port, PCI_MEMORY_WINDOW),
        .prefetch = dgm_pci_read32(port, PCI_PREFETCH_WINDOW) & ~PREFETCH_KIND,
        .base_high = dgm_pci_read32(port, PCI_PREFETCH_BASE_HI),
        .limit_high = dgm_pci_read32(port, PCI_PREFETCH_LIMIT_HI),
    };
}

static void windows_write(const struct dgm_pci_device *port, const struct windows *windows)
{
    dgm_pci_write32(port, PCI_MEMORY_WINDOW, windows->memory);
    dgm_pci_write32(port, PCI_PREFETCH_WINDOW, windows->prefetch);
    dgm_pci_write32(port, PCI_PREFETCH_BASE_HI, windows->base_high);
    dgm_pci_write32(port, PCI_PREFETCH_LIMIT_HI, windows->limit_high);
}

static bool windows_equal(const struct windows *a, const struct windows *b)
{
    return a->memory == b->memory && a->prefetch == b->prefetch && a->base_high == b->base_high &&
           a->limit_high == b->limit_high;
}

/* False: a port does not respond, or does not hold the other's windows (it has 32 bits only);
 * nothing has changed. */
static bool exchange_windows(const struct dgm_pci_device *a, const struct dgm_pci_device *b)
{
    static const struct windows closed = {0x0000fff0, 0x0000fff0, 0, 0};
    const struct windows of_a = windows_read(a), of_b = windows_read(b);
    struct windows now_a, now_b;

    if (of_a.memory == UINT32_MAX || of_b.memory == UINT32_MAX)
        return false;
    windows_write(a, &closed); /* no address is forwarded by both */
    windows_write(b, &of_a);
    windows_write(a, &of_b);
    now_a = windows_read(a);
    now_b = windows_read(b);
    if (windows_equal(&now_a, &of_b) && windows_equal(&now_b, &of_a))
        return true;
    windows_write(b, &closed);
    windows_write(a, &of_a);
    windows_write(b, &of_b);
    return false;
}

/* --- places --- */

/* The device's place becomes that of the same function behind `to`, in place of `from`. */
static void place_behind(struct dgm_pci_device *device, const struct dgm_pci_slot *from,
                         const struct dgm_pci_slot *to)
{
    device->bus = to->bus;
    device->path[device->path_length - 2] = (uint8_t)(to->port.device << 3 | to->port.function);
    if (to->port.bus == device->host->bus_first) {
        device->root_device = to->port.device;
        device->root_function = to->port.function;
    } else if (device->root_pin) { /* the bridge above rotates it by the port's number */
        device->root_pin =
            (uint8_t)((device->root_pin - 1u + to->port.device + 32u - from->port.device) % 4 + 1);
    }
}

static void exchange_places(struct dgm_pci_host *host, const struct dgm_pci_slot *a,
                            const struct dgm_pci_slot *b)
{
    for (size_t i = 0; i < host->device_count; i++) {
        if (host->devices[i].bus == a->bus)
            place_behind(&host->devices[i], a, b);
        else if (host->devices[i].bus == b->bus)
            place_behind(&host->devices[i], b, a);
    }
}

/* Whether the device is still as it was made at the start. */
static bool is_there(const struct dgm_pci_device *device)
{
    return dgm_pci_responds(device) == DGM_OK && dgm_pci_bars_held(device) == DGM_PCI_BARS;
}

/* Whether something that was known in the slot is there. Bridges are not kept, so a bus behind one
 * counts as in use. */
static bool is_in_use(const struct dgm_pci_host *host, const struct dgm_pci_slot *slot)
{
    const struct dgm_pci_device port = {.host = slot->port.host,
                                        .bus = slot->port.bus,
                                        .device = slot->port.device,
                                        .function = slot->port.function};

    if ((dgm_pci_read32(&port, PCI_BUSES) >> 16 & 0xff) != slot->bus)
        return true;
    for (size_t i = 0; i < host->device_count; i++)
        if (host->devices[i].bus == slot->bus && is_there(&host->devices[i]))
            return true;
    return false;
}

/* Whether the slot has a card that may be the device. */
static bool may_have(const struct dgm_pci_slot *slot, const struct dgm_pci_device *device)
{
    struct dgm_pci_device there = *device;

    there.bus = slot->bus;
    if (dgm_pci_responds(&there) != DGM_OK ||
        dgm_pci_read32(&there, PCI_CLASS) >> 8 != device->class_code ||
        is_in_use(device->host, slot))
        return false;
    dgm_pci_write16(&there, PCI_COMMAND, PCI_COMMAND_INTX_OFF);
    return dgm_pci_bars_fit(&there, device);
}

/* The device may not have responded for a moment, and was looked for elsewhere: it still has its
 * addresses, which no other device has. So it is stopped where it was, too. */
void dgm_pci_dma_stop(struct dgm_pci_device *device)
{
    const struct dgm_pci_host *host = device->host;

    dgm_pci_master_off(device);
    for (size_t i = 0; i < host->slot_count; i++) {
        struct dgm_pci_device there = *device;

        there.bus = host->slots[i].bus;
        if (there.bus != device->bus && slot_of(device) && dgm_pci_responds(&there) != DGM_EAGAIN &&
            dgm_pci_bars_held(&there) == DGM_PCI_BARS)
            dgm_pci_master_off(&there);
    }
}

int dgm_pci_seek(struct dgm_pci_device *device, const struct dgm_pci_slot **slot)
{
    struct dgm_pci_host *host = device->host;
    const struct dgm_pci_slot *from = slot_of(device);
    int status = DGM_EAGAIN;

    if (!from || is_in_use(host, from))
        return DGM_EAGAIN;
    for (size_t i = 0; i < host->slot_count; i++) {
        const struct dgm_pci_slot *to = &host->slots[i];

        if (to == from || !may_have(to, device))
            continue;
        *slot = to;
        if (to->port.bus == from->port.bus && exchange_windows(&from->port, &to->port)) {
            exchange_places(host, from, to);
            return DGM_OK;
        }
        status = DGM_EOPNOTSUPP;
    }
    return status;
}
