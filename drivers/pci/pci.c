/* SPDX-License-Identifier: MIT */
/*
 * pci: finds devices, numbers buses, opens the bridges' windows
 *
 * The walk is depth first and not recursive. It numbers buses as it meets bridges, and assigns
 * addresses from one cursor per host window. So the addresses behind a bridge are contiguous, and
 * the bridge's windows are the ranges over which the cursors moved between entering and leaving the
 * bridge, rounded to 1 MiB. This spends some addresses on alignment (a large BAR after a small
 * one), but needs no second pass; windows are hundreds of MiB.
 *
 * A bridge's subordinate bus number is the host's last bus while the walk is below the bridge, and
 * the true one afterwards (PCI-to-PCI Bridge Architecture 1.2, 3.2.5).
 */
#include <drivers/pci/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

/* A bus that the walk has entered. */
struct level {
    struct dgm_pci_device bridge; /* that leads to the bus; unused on the first level */
    struct pci_reach reach;
    uint64_t low_start, high_start; /* cursors when the bridge was entered */
    uint8_t bus;
    uint8_t next; /* the function to scan: device << 3 | function */
    bool done, one_device;
};

struct walk {
    struct dgm_pci_host *host;
    struct level levels[DGM_PCI_DEPTH_MAX];
    unsigned depth;     /* levels in use */
    unsigned functions; /* that are present */
    uint64_t late_ns;   /* until then functions that are not ready yet are waited for */
};

/* A function may need a second after a reset (PCIe 6.6.1); all together have this time. */
#define LATE_NS 2000000000ull

/* --- the walk --- */

static void skip_device(struct dgm_pci_device *device, const char *why)
{
    dgm_env_log("pci %02x:%02x.%x: %04x:%04x %s: not used", device->bus, device->device,
                device->function, device->vendor, device->id, why);
    device->host->skipped++;
}

/* Inserts `device` into the list, which is in the order bus, device, function. */
static void keep_device(const struct dgm_pci_device *device)
{
    struct dgm_pci_host *host = device->host;
    size_t at = host->device_count;

    while (at > 0 && (host->devices[at - 1].bus > device->bus)) {
        host->devices[at] = host->devices[at - 1];
        at--;
    }
    host->devices[at] = *device;
    host->device_count++;
}

/* The interrupt pin as the first bus sees it: each bridge rotates it by the device number. */
static void route_pin(const struct walk *walk, struct dgm_pci_device *device)
{
    unsigned pin = device->irq_pin;
    const struct dgm_pci_device *from = device;

    for (unsigned level = walk->depth - 1; level > 0; level--) {
        if (pin)
            pin = (pin - 1 + from->device) % 4 + 1;
        from = &walk->levels[level].bridge;
    }
    device->root_device = from->device;
    device->root_function = from->function;
    device->root_pin = (uint8_t)pin;
}

/* Sets the device's path, which does not depend on other devices. */
static void note_path(const struct walk *walk, struct dgm_pci_device *device)
{
    for (unsigned level = 1; level < walk->depth; level++) {
        const struct dgm_pci_device *bridge = &walk->levels[level].bridge;

        device->path[device->path_length++] = (uint8_t)(bridge->device << 3 | bridge->function);
    }
    device->path[device->path_length++] = (uint8_t)(device->device << 3 | device->function);
}

static void found_device(struct walk *walk, struct dgm_pci_device *device)
{
    const struct level *level = &walk->levels[walk->depth - 1];
    const uint8_t pin = dgm_pci_read8(device, PCI_INTERRUPT_PIN);

    device->irq_pin = pin <= 4 ? pin : 0;
    route_pin(walk, device);
    note_path(walk, device);
    if (walk->host->device_count == DGM_PCI_DEVICES_MAX) {
        skip_device(device, "is beyond the limit of 64 devices");
        return;
    }
    dgm_pci_write32(device, PCI_ROM, 0);
    if (dgm_pci_bars_assign(device, DGM_PCI_BARS, &level->reach) != DGM_OK) {
        skip_device(device, "has memory that cannot be assigned");
        memset(device->bars, 0, sizeof device->bars);
        device->unusable = true;
    }
    if (!device->unusable && device->cap_msix && !dgm_pci_msix_sound(device)) {
        dgm_env_log("pci %02x:%02x.%x: the MSI-X table is not within a BAR: MSI-X is not used",
                    device->bus, device->device, device->function);
        device->cap_msix = 0;
    }
    keep_device(device);
}

static void align_window(struct dgm_pci_window *window)
{
    if (window) {
        const uint64_t start = window->pci + window->used;
        const uint64_t up = (start + PCI_WINDOW_BYTES - 1) & ~(uint64_t)(PCI_WINDOW_BYTES - 1);

        window->used = up - window->pci < window->bytes ? up - window->pci : window->bytes;
    }
}

/* Records a port with a slot, and clears what the slot reported earlier. */
static void note_slot(struct dgm_pci_host *host, const struct dgm_pci_device *port, uint8_t bus)
{
    if (host->slot_count == DGM_PCI_SLOTS_MAX || !dgm_pci_has_slot(port))
        return;
    host->slots[host->slot_count] = (struct dgm_pci_slot){.port = *port, .bus = bus};
    dgm_pci_slot_take(&host->slots[host->slot_count++]);
}

const struct dgm_pci_slot *dgm_pci_slot_next(struct dgm_pci_host *host,
                                             const struct dgm_pci_slot *slot,
                                             enum dgm_pci_slot_event *event)
{
    size_t at = slot ? (size_t)(slot - host->slots) + 1 : 0;

    for (; at < host->slot_count; at++) {
        *event = dgm_pci_slot_take(&host->slots[at]);
        if (*event == DGM_PCI_SLOT_EMPTIED || *event == DGM_PCI_SLOT_FILLED)
            dgm_pci_forget_rejected(host, &host->slots[at]);
        if (*event == DGM_PCI_SLOT_FILLED)
            dgm_pci_slot_power(&host->slots[at]);
        if (*event != DGM_PCI_SLOT_QUIET)
            return &host->slots[at];
    }
    return NULL;
}

/* Numbers the bus behind the bridge; the walk continues there. */
static void found_bridge(struct walk *walk, struct dgm_pci_device *bridge)
{
    struct dgm_pci_host *host = walk->host;
    const struct level *above = &walk->levels[walk->depth - 1];

    if (walk->depth == DGM_PCI_DEPTH_MAX) {
        skip_device(bridge, "is a bridge nested too deep");
        return;
    }
    if (host->bus_used == host->bus_last) {
        skip_device(bridge, "is a bridge, and no bus number is left");
        return;
    }
    dgm_pci_write32(bridge, PCI_BRIDGE_ROM, 0);
    if (dgm_pci_bars_assign(bridge, 2, &above->reach) != DGM_OK) {
        skip_device(bridge, "is a bridge with memory that cannot be assigned");
        return;
    }

    struct level *level = &walk->levels[walk->depth++];
    const unsigned type = dgm_pci_port_type(bridge);
    const bool wide = (dgm_pci_read32(bridge, PCI_PREFETCH_WINDOW) & 0xf) == PCI_PREFETCH_64;

    *level = (struct level){.bridge = *bridge, .reach = above->reach, .bus = ++host->bus_used};
    note_slot(host, bridge, level->bus);
    level->reach.behind_bridge = true;
    if (!wide)
        level->reach.high = NULL;
    level->one_device = type == 4 || type == 6; /* root port, downstream port: a link, not a bus */
    align_window(level->reach.low);
    align_window(level->reach.high);
    level->low_start = level->reach.low ? level->reach.low->used : 0;
    level->high_start = level->reach.high ? level->reach.high->used : 0;
    dgm_pci_write32(bridge, PCI_BUSES,
                    (uint32_t)host->bus_last << 16 | (uint32_t)level->bus << 8 | bridge->bus);
}

/* The first and last address that were assigned since the cursor was `start`; false: none. */
static bool used_since(const struct dgm_pci_window *window, uint64_t start, uint64_t *first,
                       uint64_t *last)
{
    if (!window || window->used == start)
        return false;
    *first = window->pci + start;
    *last = (window->pci + window->used - 1) | (PCI_WINDOW_BYTES - 1);
    return true;
}

/* Called when all devices behind the bridge are known: sets its final bus range and windows. */
static void leave_bridge(struct walk *walk)
{
    struct level *level = &walk->levels[--walk->depth];
    struct dgm_pci_device *bridge = &level->bridge;
    uint64_t first = 0;
    uint64_t last = 0;

    dgm_pci_write32(bridge, PCI_BUSES,
                    (uint32_t)walk->host->bus_used << 16 | (uint32_t)level->bus << 8 | bridge->bus);
    dgm_pci_write16(bridge, PCI_IO_WINDOW, 0x00f0); /* base above limit: closed */

    if (used_since(level->reach.low, level->low_start, &first, &last))
        dgm_pci_write32(bridge, PCI_MEMORY_WINDOW,
                        ((uint32_t)last & 0xfff00000) | (uint32_t)first >> 16);
    else
        dgm_pci_write32(bridge, PCI_MEMORY_WINDOW, 0x0000fff0);

    if (used_since(level->reach.high, level->high_start, &first, &last)) {
        dgm_pci_write32(bridge, PCI_PREFETCH_WINDOW,
                        ((uint32_t)last & 0xfff00000) | ((uint32_t)first >> 16 & 0xfff0));
        dgm_pci_write32(bridge, PCI_PREFETCH_BASE_HI, (uint32_t)(first >> 32));
        dgm_pci_write32(bridge, PCI_PREFETCH_LIMIT_HI, (uint32_t)(last >> 32));
    } else {
        dgm_pci_write32(bridge, PCI_PREFETCH_WINDOW, 0x0000fff0);
        dgm_pci_write32(bridge, PCI_PREFETCH_BASE_HI, 0);
        dgm_pci_write32(bridge, PCI_PREFETCH_LIMIT_HI, 0);
    }
    align_window(level->reach.low);
    align_window(level->reach.high);
    dgm_pci_enable(bridge); /* forwards in both directions */
}

/* Reads the vendor and the device, of a function that may not be ready yet. */
static uint32_t read_ids(const struct walk *walk, const struct dgm_pci_device *device)
{
    uint32_t ids;

    do {
        ids = dgm_pci_read32(device, PCI_VENDOR);
    } while ((uint16_t)ids == PCI_VENDOR_RETRY && dgm_env_now_ns() < walk->late_ns);
    return ids;
}

/* Scans one function. True: the device may have further functions. Not inlined: no frame on the
 * stack has 3 KiB, and dgm_pci_scan() has all levels in its own. */
static __attribute__((noinline)) bool scan_function(struct walk *walk, uint8_t bus, uint8_t device,
                                                    uint8_t function)
{
    struct dgm_pci_device found = {
        .host = walk->host,
        .bus = bus,
        .device = device,
        .function = function,
    };
    const uint32_t ids = read_ids(walk, &found);

    found.vendor = (uint16_t)ids;
    found.id = (uint16_t)(ids >> 16);
    if (found.vendor == PCI_VENDOR_ABSENT || found.vendor == 0)
        return function > 0; /* function numbers may have gaps, but function 0 always exists */
    if (found.vendor == PCI_VENDOR_RETRY) {
        skip_device(&found, "does not become ready");
        return function > 0;
    }

    if (++walk->functions > DGM_PCI_FUNCTIONS_MAX) {
        skip_device(&found, "is beyond the limit of 256 functions; it and all that follow are");
        return false;
    }

    const uint8_t type = dgm_pci_read8(&found, PCI_HEADER_TYPE);

    found.class_code = dgm_pci_read32(&found, PCI_CLASS) >> 8;
    dgm_pci_write16(&found, PCI_COMMAND, PCI_COMMAND_INTX_OFF);
    dgm_pci_capabilities(&found);
    if ((type & 0x7f) == PCI_HEADER_DEVICE)
        found_device(walk, &found);
    else if ((type & 0x7f) == PCI_HEADER_BRIDGE)
        found_bridge(walk, &found);
    else
        skip_device(&found, "has an unknown kind of header");
    return function > 0 || (type & PCI_HEADER_MULTI);
}

/* Of a window that crosses 4 GiB only the part below is used. For many devices address 0 means
 * "none", so the first MiB is not assigned. */
static void open_window(struct dgm_pci_window *window)
{
    dgm_assert(window->bytes > 0 && window->pci <= UINT64_MAX - window->bytes);
    if (window->pci < PCI_LOW_END && window->bytes > PCI_LOW_END - window->pci)
        window->bytes = PCI_LOW_END - window->pci;
    window->used = 0;
    if (window->pci == 0)
        window->used = window->bytes < PCI_WINDOW_BYTES ? window->bytes : PCI_WINDOW_BYTES;
}

/* The host windows that BARs are assigned from: the largest below 4 GiB that is not prefetchable,
 * and the largest above 4 GiB. */
static struct pci_reach host_reach(struct dgm_pci_host *host)
{
    struct pci_reach reach = {0};

    for (size_t i = 0; i < host->window_count; i++) {
        struct dgm_pci_window *window = &host->windows[i];
        struct dgm_pci_window **best = window->pci < PCI_LOW_END ? &reach.low : &reach.high;

        open_window(window);
        if (best == &reach.low && window->prefetchable)
            continue;
        if (!*best || window->bytes - window->used > (*best)->bytes - (*best)->used)
            *best = window;
    }
    return reach;
}

int dgm_pci_scan(struct dgm_pci_host *host)
{
    struct walk walk = {.host = host, .depth = 1, .late_ns = dgm_env_now_ns() + LATE_NS};

    dgm_assert(host->bus_first <= host->bus_last && host->window_count <= DGM_PCI_WINDOWS_MAX);
    host->device_count = 0;
    host->slot_count = 0;
    host->skipped = 0;
    host->bus_used = host->bus_first;
    walk.levels[0].bus = host->bus_first;
    walk.levels[0].reach = host_reach(host);

    while (walk.depth > 0) {
        struct level *level = &walk.levels[walk.depth - 1];

        level->done |= walk.functions > DGM_PCI_FUNCTIONS_MAX;
        if (level->done && walk.depth == 1)
            break;
        if (level->done) {
            leave_bridge(&walk);
            continue;
        }

        const uint8_t device = level->next >> 3;
        const uint8_t function = level->next & 7;
        const uint8_t limit = level->one_device ? 0 : 31;

        /* The cursor moves first: the scan may enter a bridge and return here later. */
        level->next++;
        level->done = function == 7 && device == limit;
        if (!scan_function(&walk, level->bus, device, function)) {
            level->next = (uint8_t)((device + 1) << 3);
            level->done = device == limit;
        }
    }
    return (int)host->device_count;
}
