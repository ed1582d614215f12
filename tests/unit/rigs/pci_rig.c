/* SPDX-License-Identifier: MIT */
/* pci_rig: see pci_rig.h. */
#include "pci_rig.h"

struct pci pci;

void pci_put(uint8_t *at, uint64_t value, unsigned bytes)
{
    memcpy(at, &value, bytes);
}

uint64_t pci_get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static bool is_bridge(const struct pci_function *function)
{
    return (function->config[0x0e] & 0x7f) == 1;
}

bool pci_is_link(const struct pci_function *function)
{
    const uint8_t type = function->config[0x42] >> 4;

    return function->config[0x40] == 0x10 && (type == 4 || type == 6);
}

/* Whether a configuration access for `bus` arrives at the bus of `function`. */
static bool access_arrives(const struct pci_function *function, unsigned bus)
{
    if (function->parent < 0)
        return bus == pci.bus_first;
    if (function->parent == NOWHERE)
        return false;

    const struct pci_function *bridge = &pci.functions[function->parent];

    if (bridge->config[0x19] != bus)
        return false;
    for (;;) {
        if (bus < bridge->config[0x19] || bus > bridge->config[0x1a])
            return false;
        if (bridge->parent < 0)
            return true;
        bridge = &pci.functions[bridge->parent];
    }
}

static struct pci_function *find_function(unsigned bus, unsigned device, unsigned function)
{
    for (int i = 0; i < pci.count; i++) {
        struct pci_function *found = &pci.functions[i];
        const bool link = found->parent >= 0 && found->parent != NOWHERE &&
                          pci_is_link(&pci.functions[found->parent]);

        if (found->function == function && (link || found->device == device) &&
            access_arrives(found, bus))
            return found;
    }
    return NULL;
}

static struct pci_function *function_at(uintptr_t at, unsigned bytes, uint32_t *offset)
{
    const uint64_t from = at - ECAM;

    assert_in_range(at, ECAM, ECAM + ((pci.bus_last - pci.bus_first + 1ull) << 20) - 1);
    assert_int_equal(at % bytes, 0);
    assert_true(bytes <= 4);
    *offset = from & 0xfff;
    return find_function(pci.bus_first + (unsigned)(from >> 20), from >> 15 & 31, from >> 12 & 7);
}

uint64_t pci_read(uintptr_t at, unsigned bytes)
{
    uint32_t offset;

    pci.accesses++;
    pci.now_ns += 1000;
    dgm_sim_set_now_ns(pci.now_ns);
    if (at >= TABLE && at < TABLE + sizeof pci.table)
        return pci.table[(at - TABLE) / 4];

    struct pci_function *function = function_at(at, bytes, &offset);

    if (!function || (function->absent_reads && function->absent_reads--))
        return UINT64_MAX >> (64 - 8 * bytes);
    if (offset == 0 && function->retry_reads && function->retry_reads--)
        return 0xffff0001;
    if (function->wild)
        return unit_random() >> (64 - 8 * bytes);
    return pci_get(function->config + offset, bytes);
}

void pci_write(uintptr_t at, uint64_t value, unsigned bytes)
{
    uint32_t offset;

    pci.accesses++;
    if (at >= TABLE && at < TABLE + sizeof pci.table) {
        pci.table[(at - TABLE) / 4] = (uint32_t)value;
        return;
    }

    struct pci_function *function = function_at(at, bytes, &offset);

    if (!function)
        return;
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t *byte = &function->config[offset + i];
        const uint8_t mask = function->writable[offset + i];

        *byte = (uint8_t)((*byte & ~mask) | ((uint8_t)(value >> 8 * i) & mask));
        *byte = (uint8_t)(*byte & ~((uint8_t)(value >> 8 * i) & function->clears[offset + i]));
    }

    /* PCIe 7.5.3.4: function-level reset, if the capability at 0x40 has it */
    if (offset == 0x48 && (value & 0x8000) && function->config[0x40] == 0x10) {
        memset(function->config + 4, 0, 2);
        for (unsigned i = 0x10; i < 0x28; i++)
            function->config[i] &= (uint8_t)~function->writable[i];
        function->absent_reads = 3;
    }
}

void pci_start(void)
{
    static const struct dgm_sim_machine machine = {.mmio_read = pci_read, .mmio_write = pci_write};

    memset(&pci, 0, sizeof pci);
    dgm_sim_attach(&machine);
    pci.bus_last = 255;
    pci.host.windows[0] =
        (struct dgm_pci_window){.cpu = 0x10000000, .pci = 0x10000000, .bytes = 0x2eff0000};
    pci.host.windows[1] =
        (struct dgm_pci_window){.cpu = 0x8000000000, .pci = 0x8000000000, .bytes = 0x8000000000};
    pci.host.window_count = 2;
}

int pci_rig_start(void **state)
{
    unit_seed();
    pci_start();
    return 0;
}

int pci_rig_stop(void **state)
{
    dgm_sim_attach(NULL);
    return 0;
}

int pci_scan(void)
{
    pci.host.ecam = (volatile void *)(uintptr_t)ECAM;
    pci.host.bus_first = pci.bus_first;
    pci.host.bus_last = pci.bus_last;
    return dgm_pci_scan(&pci.host);
}

struct pci_function *pci_add(int parent, unsigned device, unsigned function)
{
    struct pci_function *new = &pci.functions[pci.count++];

    assert_true(pci.count <= FUNCTIONS);
    new->parent = parent;
    new->device = (uint8_t)device;
    new->function = (uint8_t)function;
    pci_put(new->config, 0x00101b36, 4);
    pci_put(new->config + 4, 0x0007, 2);
    pci_put(new->writable + 4, 0x0407, 2);
    pci_put(new->config + 8, 0x01080202, 4);
    new->config[0x3d] = 1;
    pci_put(new->config + 0x30, 1, 4); /* the ROM is on */
    pci_put(new->writable + 0x30, 0xfffff801, 4);
    return new;
}

void pci_add_bar(struct pci_function *function, unsigned index, uint64_t bytes, uint32_t flags)
{
    const uint64_t mask = ~(bytes - 1) & ~(flags & 1 ? 3ull : 15ull);

    pci_put(function->config + 0x10 + 4 * index, flags | (0x55550000 & mask), 4);
    pci_put(function->writable + 0x10 + 4 * index, mask, 4);
    if ((flags & 7) == 4) {
        pci_put(function->config + 0x14 + 4 * index, 0, 4);
        pci_put(function->writable + 0x14 + 4 * index, mask >> 32, 4);
    }
    if (!(flags & 1))
        function->bar_bytes[index] = bytes;
}

int pci_add_bridge(int parent, unsigned device, unsigned port, bool wide)
{
    struct pci_function *bridge = pci_add(parent, device, 0);

    pci_put(bridge->config + 8, 0x06040000, 4);
    bridge->config[0x0e] = 1;
    bridge->config[0x3d] = 0;
    memset(bridge->config + 0x10, 0xa5, 0x20); /* as firmware might have left it */
    memset(bridge->config + 0x10, 0, 8);
    pci_put(bridge->writable + 0x18, 0xffffffff, 4);
    pci_put(bridge->config + 0x1c, 0x0101, 2);
    pci_put(bridge->writable + 0x1c, 0xf0f0, 2);
    pci_put(bridge->config + 0x20, 0, 4);
    pci_put(bridge->writable + 0x20, 0xfff0fff0, 4);
    pci_put(bridge->config + 0x24, wide ? 0x00010001 : 0, 4);
    pci_put(bridge->writable + 0x24, 0xfff0fff0, 4);
    pci_put(bridge->config + 0x28, 0, 8);
    pci_put(bridge->writable + 0x28, wide ? UINT64_MAX : 0, 8);
    pci_put(bridge->config + 6, 0x10, 2);
    bridge->config[0x34] = 0x40;
    bridge->config[0x40] = 0x10;
    bridge->config[0x42] = (uint8_t)(port << 4 | 2);
    return pci.count - 1;
}

struct pci_function *pci_add_slot(int parent, unsigned device, uint8_t capabilities)
{
    struct pci_function *port = &pci.functions[pci_add_bridge(parent, device, 4, true)];

    port->config[0x43] |= 1; /* a slot */
    port->config[0x54] |= capabilities;
    pci_put(port->writable + 0x58, 0xffff, 2);
    port->config[0x5a] = PCI_SLOT_BUTTON | PCI_SLOT_CHANGED; /* from before the start */
    port->clears[0x5a] = PCI_SLOT_BUTTON | PCI_SLOT_CHANGED;
    return port;
}

struct pci_function *pci_of(const struct dgm_pci_device *device)
{
    return find_function(device->bus, device->device, device->function);
}

/* --- the routing of memory accesses --- */

/* Whether the bridge forwards [first, last], as prefetchable memory or not. */
static bool in_window(const struct pci_function *bridge, uint64_t first, uint64_t last,
                      bool prefetchable)
{
    const uint64_t memory = pci_get(bridge->config + 0x20, 4);
    const uint64_t prefetch = pci_get(bridge->config + 0x24, 4);
    const uint64_t low_first = (memory & 0xfff0) << 16;
    const uint64_t low_last = (memory & 0xfff00000) | 0xfffff;
    const uint64_t high_first = (prefetch & 0xfff0) << 16 | pci_get(bridge->config + 0x28, 4) << 32;
    const uint64_t high_last =
        (prefetch & 0xfff00000) | 0xfffff | pci_get(bridge->config + 0x2c, 4) << 32;

    return (first >= low_first && last <= low_last) ||
           (prefetchable && first >= high_first && last <= high_last);
}

static void check_bar(const struct dgm_pci_device *device, unsigned index)
{
    const struct pci_function *function = pci_of(device);
    const struct dgm_pci_bar *bar = &device->bars[index];
    const uint64_t last = bar->pci + bar->bytes - 1;
    const uint64_t low = pci_get(function->config + 0x10 + 4 * index, 4);
    const uint64_t written =
        (low & ~15ull) | (bar->is64 ? pci_get(function->config + 0x14 + 4 * index, 4) << 32 : 0);
    bool forwarded = false;

    assert_int_equal(bar->bytes, function->bar_bytes[index]);
    assert_int_equal(bar->pci % bar->bytes, 0);
    assert_true(bar->pci != 0);
    assert_int_equal(written, bar->pci);
    for (size_t i = 0; i < pci.host.window_count; i++) {
        const struct dgm_pci_window *window = &pci.host.windows[i];

        if (bar->pci >= window->pci && last - window->pci < window->bytes) {
            forwarded = true;
            assert_int_equal(bar->cpu - window->cpu, bar->pci - window->pci);
            assert_true(!window->prefetchable || bar->prefetchable);
        }
    }
    assert_true(forwarded);

    int on_the_way[FUNCTIONS] = {0};

    for (int up = function->parent; up >= 0; up = pci.functions[up].parent) {
        assert_true(in_window(&pci.functions[up], bar->pci, last, bar->prefetchable));
        assert_int_equal(pci.functions[up].config[4] & 6, 6);
        on_the_way[up] = 1;
    }
    for (int i = 0; i < pci.count; i++) { /* no other bridge takes it */
        if (is_bridge(&pci.functions[i]) && !on_the_way[i] && (pci.functions[i].config[4] & 2)) {
            assert_false(in_window(&pci.functions[i], bar->pci, bar->pci, true));
            assert_false(in_window(&pci.functions[i], last, last, true));
        }
    }
}

void pci_check_addresses(void)
{
    for (size_t i = 0; i < pci.host.device_count; i++) {
        const struct dgm_pci_device *a = &pci.host.devices[i];

        for (unsigned x = 0; x < 6; x++) {
            if (!a->bars[x].bytes)
                continue;
            if (pci_of(a))
                check_bar(a, x);
            for (size_t j = 0; j < i; j++) {
                for (unsigned y = 0; y < 6; y++) {
                    const struct dgm_pci_bar *other = &pci.host.devices[j].bars[y];

                    if (other->bytes)
                        assert_true(a->bars[x].pci >= other->pci + other->bytes ||
                                    other->pci >= a->bars[x].pci + a->bars[x].bytes);
                }
            }
        }
    }
}

void pci_check(void)
{
    pci_check_addresses();
    for (size_t i = 0; i < pci.host.device_count; i++) {
        const struct dgm_pci_device *a = &pci.host.devices[i];

        assert_non_null(pci_of(a));
        assert_int_equal(pci_get(pci_of(a)->config + 4, 2),
                         0x0400); /* no decoding, no bus mastering, INTx off */
        assert_int_equal(pci_of(a)->config[0x30] & 1, 0);
        if (i > 0) {
            const struct dgm_pci_device *b = &pci.host.devices[i - 1];

            assert_true((b->bus << 8 | b->device << 3 | b->function) <
                        (a->bus << 8 | a->device << 3 | a->function));
        }
    }
}
