/* SPDX-License-Identifier: MIT */
/*
 * fuzz pci: the scan, and the use of what it found, on an arbitrary hierarchy
 *
 * The input makes the host bridge (buses, windows), functions and bridges (pci_rig.h) with any
 * header, any BAR mask and any capabilities: lists that are cyclic or leave their space, an MSI-X
 * table anywhere. At any read, registers may be ones or any value.
 *
 * What must hold: the scan ends after a bounded number of accesses and log lines; configuration
 * space is accessed within the host bridge's buses; every address that is assigned is aligned, lies
 * within a window and belongs to one BAR; the MSI-X table lies within a BAR, and no write leaves
 * the table; each function that is not used is counted and logged. After the scan, interrupts,
 * resets and restores may fail, and end.
 */
#include "lib/feed.h"

#include <pci_rig.h>

#define SCAN_ACCESSES_MAX (256u * 256 + DGM_PCI_FUNCTIONS_MAX * 256u)
#define READ_NS           1000000u /* a read takes time, so that waits end */

static struct {
    struct feed *feed;
    uint8_t wild; /* in 256, of reads */
    uint64_t now_ns;
    uint32_t table_bytes; /* of the function whose MSI-X table is in use */
} m;

static uint64_t read_config(uintptr_t at, unsigned bytes)
{
    const uint64_t ones = UINT64_MAX >> (64 - 8 * bytes);
    const uint64_t value = pci_read(at, bytes);

    m.now_ns += READ_NS;
    dgm_sim_set_now_ns(m.now_ns);
    if (!feed_chance(m.feed, m.wild))
        return value;
    return feed_chance(m.feed, 128) ? ones : feed_take(m.feed, bytes);
}

static void write_config(uintptr_t at, uint64_t value, unsigned bytes)
{
    if (at >= TABLE && at < TABLE + 0x10000)
        fuzz_check(at % bytes == 0 && at - TABLE + bytes <= m.table_bytes);
    else
        pci_write(at, value, bytes);
}

/* --- the hierarchy --- */

static void make_windows(void)
{
    pci.host.window_count = feed_below(m.feed, DGM_PCI_WINDOWS_MAX + 1);
    for (size_t i = 0; i < pci.host.window_count; i++) {
        struct dgm_pci_window *window = &pci.host.windows[i];
        const uint64_t units = 1 + feed_below(m.feed, 256);
        uint64_t place;

        *window = (struct dgm_pci_window){.bytes = units << feed_below(m.feed, 40)};
        place = i + feed_below(m.feed, 2);
        window->pci = place << (feed_chance(m.feed, 128) ? 48 : 30);
        window->prefetchable = feed_chance(m.feed, 64);
        window->cpu = window->pci + (feed_below(m.feed, 16) << 32);
    }
}

/* Any capabilities, a cycle more often than not. */
static void make_capabilities(struct pci_function *function)
{
    static const uint8_t known[] = {PCI_CAP_PM, PCI_CAP_MSI, PCI_CAP_PCIE, PCI_CAP_MSIX};
    uint8_t at = (uint8_t)(0x40 + 4 * feed_below(m.feed, 48));

    function->config[PCI_STATUS] |= 0x10;
    function->config[PCI_CAPABILITIES] =
        feed_chance(m.feed, 32) ? (uint8_t)feed_take(m.feed, 1) : at;
    for (unsigned i = 0; i < 6 && feed_chance(m.feed, 200); i++) {
        const uint8_t next = (uint8_t)feed_take(m.feed, 1);

        function->config[at] =
            feed_chance(m.feed, 240) ? known[feed_below(m.feed, 4)] : (uint8_t)feed_take(m.feed, 1);
        function->config[at + 1] = next;
        /* Flags, MSI-X table and size, power state; a reset or a wake-up may have its effect. */
        feed_copy(m.feed, function->config + at + 2, 10);
        if (feed_chance(m.feed, 128))
            memset(function->writable + at + 2, 0xff, 10);
        at = (uint8_t)(next & ~3u);
    }
}

static void make_bars(struct pci_function *function)
{
    for (unsigned i = 0; i < 6 && feed_chance(m.feed, 160); i++) {
        static const uint8_t flags[] = {0, 4, 12, 1};

        if (feed_chance(m.feed, 200)) {
            const uint64_t bytes = 1ull << feed_below(m.feed, 64);

            pci_add_bar(function, i, bytes, flags[feed_below(m.feed, 4)]);
        } else { /* any bits are writable, any are set */
            pci_put(function->writable + PCI_BAR0 + 4 * i, feed_take(m.feed, 4), 4);
        }
        if (feed_chance(m.feed, 16))
            pci_put(function->config + PCI_BAR0 + 4 * i, feed_take(m.feed, 4), 4);
    }
}

static void make_hierarchy(void)
{
    const unsigned count = (unsigned)feed_below(m.feed, FUNCTIONS);
    int bridge = -1;

    while ((unsigned)pci.count < count && m.feed->left) {
        const int parent = feed_chance(m.feed, 128) ? bridge : -1;
        const unsigned device = (unsigned)feed_below(m.feed, 32);
        struct pci_function *function;

        if (feed_chance(m.feed, 64)) {
            const unsigned last = 4 + (unsigned)feed_below(m.feed, 4);

            bridge = pci_add_bridge(parent, device, last, feed_chance(m.feed, 128));
            function = &pci.functions[bridge];
        } else {
            function = pci_add(parent, device, (unsigned)feed_below(m.feed, 8));
            make_bars(function);
        }
        if (feed_chance(m.feed, 96))
            make_capabilities(function);
        if (feed_chance(m.feed, 16))
            function->config[PCI_HEADER_TYPE] = (uint8_t)feed_take(m.feed, 1);
        else if (feed_chance(m.feed, 128))
            function->config[PCI_HEADER_TYPE] |= PCI_HEADER_MULTI;
    }
}

/* --- what the scan found --- */

static void check_bar(const struct dgm_pci_bar *bar)
{
    bool inside = false;

    fuzz_check((bar->bytes & (bar->bytes - 1)) == 0 && bar->pci % bar->bytes == 0 && bar->pci != 0);
    for (size_t i = 0; i < pci.host.window_count; i++) {
        const struct dgm_pci_window *window = &pci.host.windows[i];
        const uint64_t offset = bar->pci - window->pci;

        inside |= bar->pci >= window->pci && offset <= window->bytes &&
                  bar->bytes <= window->bytes - offset && bar->cpu == window->cpu + offset;
    }
    fuzz_check(inside);
}

static void check_apart(const struct dgm_pci_bar *a, const struct dgm_pci_bar *b)
{
    fuzz_check(!b->bytes || a->pci >= b->pci + b->bytes || b->pci >= a->pci + a->bytes);
}

static void check_device(size_t number)
{
    const struct dgm_pci_device *device = &pci.host.devices[number];

    fuzz_check(device->root_pin <= 4 && device->irq_pin <= 4);
    fuzz_check(device->path_length >= 1 && device->path_length <= DGM_PCI_DEPTH_MAX);
    for (unsigned i = 0; i < DGM_PCI_BARS; i++) {
        const struct dgm_pci_bar *bar = &device->bars[i];

        if (!bar->bytes)
            continue;
        fuzz_check(!device->unusable);
        check_bar(bar);
        for (unsigned other = 0; other < i; other++)
            check_apart(bar, &device->bars[other]);
        for (size_t before = 0; before < number; before++)
            for (unsigned other = 0; other < DGM_PCI_BARS; other++)
                check_apart(bar, &pci.host.devices[before].bars[other]);
    }
    if (device->cap_msix && !device->unusable) {
        const uint64_t bytes = device->bars[device->msix_bar].bytes;

        fuzz_check(device->msix_bar < DGM_PCI_BARS && device->msix_offset <= bytes &&
                   device->msix_entries * 16u <= bytes - device->msix_offset);
    }
}

static void check_scan(uint64_t lines)
{
    size_t unusable = 0;

    fuzz_check(pci.accesses <= SCAN_ACCESSES_MAX);
    fuzz_check(pci.host.device_count <= DGM_PCI_DEVICES_MAX);
    fuzz_check(pci.host.slot_count <= DGM_PCI_SLOTS_MAX);
    fuzz_check(pci.host.bus_used <= pci.host.bus_last);
    /* A line for each one that is not used, and at most two more for each function. */
    fuzz_check(lines >= pci.host.skipped && lines <= 3 * DGM_PCI_FUNCTIONS_MAX);
    for (size_t i = 0; i < pci.host.device_count; i++) {
        check_device(i);
        unusable += pci.host.devices[i].unusable;
    }
    fuzz_check(unusable <= pci.host.skipped);
}

/* --- its use --- */

static void take_slots(void)
{
    const struct dgm_pci_slot *slot = NULL;
    enum dgm_pci_slot_event event;

    while ((slot = dgm_pci_slot_next(&pci.host, slot, &event)) != NULL)
        fuzz_check(event != DGM_PCI_SLOT_QUIET);
}

/* A function may move to any bus; then the device is sought. Its addresses stay. */
static void move_device(struct dgm_pci_device *device)
{
    struct pci_function *card = pci_of(device);
    const struct dgm_pci_slot *slot;
    struct dgm_pci_bar bars[DGM_PCI_BARS];

    memcpy(bars, device->bars, sizeof bars);
    if (card && feed_chance(m.feed, 200)) {
        /* Behind what was added before it, so that no bridge is behind itself. */
        card->parent = (int)feed_below(m.feed, (uint64_t)(card - pci.functions) + 1) - 1;
        memset(card->config + PCI_COMMAND, 0, 2);
    }
    if (dgm_pci_seek(device, &slot) != DGM_EAGAIN)
        fuzz_check(slot >= pci.host.slots && slot < pci.host.slots + pci.host.slot_count);
    fuzz_check(memcmp(bars, device->bars, sizeof bars) == 0);
    fuzz_check(device->bus >= pci.host.bus_first && device->bus <= pci.host.bus_used);
}

static void use_device(struct dgm_pci_device *device)
{
    volatile void *const table = (volatile void *)(uintptr_t)TABLE;
    struct dgm_pci_message message = {.address = feed_take(m.feed, 5)};

    message.data = (uint32_t)feed_take(m.feed, 4);
    m.table_bytes = device->msix_entries * 16u;
    switch (feed_below(m.feed, 10)) {
    case 0:
        dgm_pci_enable(device);
        break;
    case 1:
        dgm_pci_dma_stop(device);
        break;
    case 2:
        dgm_pci_intx(device, dgm_pci_intx_asserted(device));
        break;
    case 3:
        if (!device->unusable && dgm_pci_msix_open(device, table) == DGM_OK)
            dgm_pci_msix_set(device, table, (uint16_t)feed_below(m.feed, device->msix_entries),
                             message);
        break;
    case 4:
        (void)dgm_pci_msi_set(device, message);
        break;
    case 5:
        if (dgm_pci_reset_start(device) == DGM_OK)
            (void)dgm_pci_reset_finish(device);
        break;
    case 6:
        (void)dgm_pci_restore(device);
        break;
    case 7:
        move_device(device);
        break;
    case 8:
        (void)dgm_pci_reject(device);
        break;
    default:
        take_slots();
        break;
    }
}

void run_input(struct feed *feed)
{
    static const struct dgm_sim_machine machine = {.mmio_read = read_config,
                                                   .mmio_write = write_config};

    pci_start();
    dgm_sim_attach(&machine);
    memset(&m, 0, sizeof m);
    m.feed = feed;
    m.wild = feed_chance(feed, 128) ? (uint8_t)feed_below(feed, 64) : 0;
    if (feed_chance(feed, 64)) {
        pci.bus_first = (uint8_t)feed_take(feed, 1);
        pci.bus_last = (uint8_t)(pci.bus_first + feed_below(feed, 256u - pci.bus_first));
    }
    if (feed_chance(feed, 128))
        make_windows();
    make_hierarchy();

    const uint64_t lines = dgm_sim_log_lines();

    fuzz_check(pci_scan() == (int)pci.host.device_count);
    check_scan(dgm_sim_log_lines() - lines);
    while (feed->left && pci.host.device_count)
        use_device(&pci.host.devices[feed_below(feed, pci.host.device_count)]);
    dgm_sim_attach(NULL);
}
