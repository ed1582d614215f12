/* SPDX-License-Identifier: MIT */
/*
 * pci: if these fail, a disk is not found, or its registers lie at an address that no device or
 * another device claims, or its interrupts are lost.
 */
#include "pci_rig.h"

#include <drivers/nvme/nvme.h>

#define BAR32  0u
#define BAR64  4u
#define BAR64P 12u
#define BAR_IO 1u

/* Fails: devices are missed, or found in another order, so that "nvme0" is another disk. */
static void finds_devices_in_order(void **state)
{
    pci_add(-1, 31, 0);
    pci_put(pci_add(-1, 5, 0)->config + 0x0e, 0x80, 1);
    pci_add(-1, 5, 7);
    pci_add(-1, 6, 0);
    pci_add(-1, 6, 1); /* absent: 6.0 is a device of one function */
    pci_put(pci_add(-1, 0, 0)->config + 8, 0x06000000, 4);
    assert_int_equal(pci_scan(), 5);
    assert_int_equal(pci.host.devices[0].class_code, 0x060000);
    assert_int_equal(pci.host.devices[1].device, 5);
    assert_int_equal(pci.host.devices[2].function, 7);
    assert_int_equal(pci.host.devices[4].device, 31);
    assert_int_equal(pci.host.devices[4].vendor, 0x1b36);
    assert_int_equal(pci.host.devices[4].id, 0x0010);
    pci_check();

    for (size_t i = 1; i < pci.host.device_count; i++)
        assert_int_equal(pci.host.devices[i].class_code, DGM_NVME_PCI_CLASS);
}

/* Fails: an empty bus is not empty, or its scan takes too long. */
static void empty_bus(void **state)
{
    assert_int_equal(pci_scan(), 0);
    assert_true(pci.accesses <= 64);
}

/* Fails: the size of a BAR is misread, or it lies outside its window or in the wrong one. */
static void sizes_and_places_bars(void **state)
{
    struct pci_function *function = pci_add(-1, 1, 0);

    pci_add_bar(function, 0, 0x4000, BAR64);
    pci_add_bar(function, 2, 0x20, BAR_IO);
    pci_add_bar(function, 3, 0x1000, BAR32);
    pci_add_bar(function, 4, 1ull << 33, BAR64P);
    pci_add_bar(pci_add(-1, 2, 0), 5, 16, BAR32);
    assert_int_equal(pci_scan(), 2);
    pci_check();

    const struct dgm_pci_bar *bars = pci.host.devices[0].bars;

    assert_int_equal(bars[0].pci, 0x8000000000);
    assert_true(bars[0].is64);
    assert_int_equal(bars[1].bytes, 0); /* half of the one before */
    assert_int_equal(bars[2].bytes, 0); /* I/O */
    assert_int_equal(bars[3].pci, 0x10000000);
    assert_int_equal(bars[4].pci, 0x8200000000);
    assert_true(bars[4].prefetchable);
    assert_int_equal(pci.host.devices[1].bars[5].bytes, 16);
}

/* Fails: addresses of the CPU and of the bus are taken for one another. */
static void windows_may_be_shifted(void **state)
{
    pci.host.window_count = 1;
    pci.host.windows[0] = /* as on a Raspberry Pi 4 */
        (struct dgm_pci_window){.cpu = 0x600000000, .pci = 0xf8000000, .bytes = 0x4000000};
    pci_add_bar(pci_add(-1, 1, 0), 0, 0x100000, BAR64);
    pci_add_bar(pci_add(-1, 2, 0), 0, 0x4000, BAR64);
    assert_int_equal(pci_scan(), 2);
    pci_check();
    assert_int_equal(pci.host.devices[1].bars[0].cpu, 0x600100000);
    assert_int_equal(pci.host.devices[1].bars[0].pci, 0xf8100000);
}

/* Fails: a BAR gets address 0, which means "none"; or memory that must not be prefetched lies where
 * it is. */
static void odd_windows(void **state)
{
    pci.host.window_count = 3;
    pci.host.windows[0] = (struct dgm_pci_window){
        .cpu = 0x7000000000, .pci = 0x7000000000, .bytes = 0x10000000, .prefetchable = true};
    pci.host.windows[1] = (struct dgm_pci_window){
        .cpu = 0x6000000, .pci = 0x50000000, .bytes = 0x100000, .prefetchable = true};
    pci.host.windows[2] = (struct dgm_pci_window){.cpu = 0x20000000, .bytes = 0x1000000};

    struct pci_function *function = pci_add(-1, 1, 0);

    pci_add_bar(function, 0, 0x4000, BAR64);
    pci_add_bar(function, 2, 0x4000, BAR64P);
    pci_add_bar(function, 4, 0x4000, BAR32);
    assert_int_equal(pci_scan(), 1);
    pci_check();
    assert_int_equal(pci.host.devices[0].bars[0].pci, 0x100000);
    assert_int_equal(pci.host.devices[0].bars[2].pci, 0x7000000000);

    pci_start();
    pci.host.window_count = 1;
    pci.host.windows[0] = (struct dgm_pci_window){.cpu = 0x20000000, .bytes = 0x100000};
    pci_add_bar(pci_add(-1, 1, 0), 0, 0x4000, BAR32);
    assert_int_equal(pci_scan(), 1);
    assert_true(pci.host.devices[0].unusable);
}

/* Fails: a device without room is used, or takes the address space of others. */
static void exhaustion_leaves_the_device_out(void **state)
{
    pci.host.window_count = 1;
    pci.host.windows[0].bytes = 0x300000;
    pci_add_bar(pci_add(-1, 1, 0), 0, 0x100000, BAR64);

    struct pci_function *large = pci_add(-1, 2, 0);

    pci_add_bar(large, 0, 0x4000, BAR32);
    pci_add_bar(large, 2, 0x200000, BAR64);
    pci_add_bar(pci_add(-1, 3, 0), 0, 0x100000, BAR32);
    pci_add_bar(pci_add(-1, 4, 0), 0, 0x100000, BAR32);
    assert_int_equal(pci_scan(), 4);
    for (size_t i = 0; i < 4; i++) /* it is listed, so that those behind it keep their numbers */
        assert_int_equal(pci.host.devices[i].unusable, i == 1);
    assert_int_equal(pci.host.devices[1].bars[0].bytes, 0);
    pci_check();
    assert_int_equal(pci.host.skipped, 1);
    assert_int_equal(pci_get(large->config + 4, 2) & 7, 0);
    assert_non_null(strstr(dgm_sim_last_log(), "pci 00:02.0: 1b36:0010"));
    assert_non_null(strstr(dgm_sim_last_log(), "cannot be assigned"));
}

/* Fails: devices behind bridges are not found or not reached. */
static void devices_behind_bridges(void **state)
{
    const int root = pci_add_bridge(-1, 1, 4, true);
    const int up = pci_add_bridge(root, 0, 5, true);
    const int down1 = pci_add_bridge(up, 0, 6, true);
    const int down2 = pci_add_bridge(up, 1, 6, false); /* forwards no 64-bit addresses */
    const int old = pci_add_bridge(-1, 3, 7, true);    /* PCI Express to PCI */

    pci_add_bar(&pci.functions[root], 0, 0x1000, BAR32);
    pci_add_bar(pci_add(down1, 0, 0), 0, 0x4000, BAR64);
    pci_add_bar(pci_add(down2, 0, 0), 0, 0x4000, BAR64P);
    pci_add_bar(pci_add(old, 4, 0), 0, 0x10000000, BAR64P);
    pci_add_bar(pci_add(old, 7, 0), 0, 0x800000, BAR32);
    pci_add_bar(pci_add(-1, 2, 0), 0, 0x4000, BAR64);
    assert_int_equal(pci_scan(), 5);
    pci_check();
    assert_int_equal(pci.host.devices[0].device, 2);
    assert_int_equal(pci.host.devices[1].bus, 3);
    assert_int_equal(pci.host.devices[2].bus, 4);
    assert_true(pci.host.devices[2].bars[0].pci < 1ull << 32);
    assert_true(pci.host.devices[3].bars[0].pci >= 1ull << 32);
    assert_int_equal(pci.host.bus_used, 5);
    assert_int_equal(pci.functions[root].config[0x1a], 4); /* subordinate */
}

/* Fails: an interrupt is routed by a pin without the rotation of the bridges. */
static void interrupt_pins(void **state)
{
    const int root = pci_add_bridge(-1, 6, 4, true);
    const int up = pci_add_bridge(root, 0, 5, true);
    const int down = pci_add_bridge(up, 3, 6, true);

    pci_add(down, 0, 0)->config[0x3d] = 2;
    pci_add(-1, 9, 0)->config[0x3d] = 4;
    pci_add(-1, 10, 0)->config[0x3d] = 0;
    pci_add(-1, 11, 0)->config[0x3d] = 77;
    assert_int_equal(pci_scan(), 4);
    assert_int_equal(pci.host.devices[0].root_pin, 4);
    assert_int_equal(pci.host.devices[0].root_device, 9);
    assert_int_equal(pci.host.devices[1].root_pin, 0);
    assert_int_equal(pci.host.devices[2].root_pin, 0);

    struct dgm_pci_device *behind = &pci.host.devices[3];

    assert_int_equal(behind->irq_pin, 2);
    assert_int_equal(behind->root_device, 6);
    assert_int_equal(behind->root_pin, 1); /* pin B, rotated by 0, 3 and 0 */
    dgm_pci_intx(behind, true);
    assert_int_equal(pci_of(behind)->config[5] & 4, 0);
    dgm_pci_intx(behind, false);
    assert_int_equal(pci_of(behind)->config[5] & 4, 4);
}

static void put_capability(struct pci_function *function, uint8_t at, uint8_t id, uint8_t next)
{
    function->config[6] |= 0x10;
    function->config[at] = id;
    function->config[at + 1] = next;
}

/* Fails: a list of capabilities that is a cycle, or leads elsewhere, hangs the boot. */
static void capability_lists(void **state)
{
    struct pci_function *function = pci_add(-1, 1, 0);

    put_capability(function, 0x50, PCI_CAP_MSI, 0x70);
    put_capability(function, 0x70, PCI_CAP_PCIE, 0x90);
    put_capability(function, 0x90, PCI_CAP_PM, 0x52); /* low bits mean nothing: back to the first */
    function->config[0x34] = 0x50;
    function = pci_add(-1, 2, 0);
    pci_add_bar(function, 0, 0x4000, BAR64);
    put_capability(function, 0x50, PCI_CAP_MSIX, 0x10);
    function->config[0x34] = 0x50;
    function = pci_add(-1, 3, 0);
    function->config[0x34] = 0x50; /* but the status says there is no list */
    function->config[0x50] = PCI_CAP_MSI;
    assert_int_equal(pci_scan(), 3);
    assert_int_equal(pci.host.devices[0].cap_msi, 0x50);
    assert_int_equal(pci.host.devices[0].cap_pcie, 0x70);
    assert_int_equal(pci.host.devices[0].cap_pm, 0x90);
    assert_int_equal(pci.host.devices[1].cap_msix, 0x50);
    assert_int_equal(pci.host.devices[2].cap_msi, 0);
}

/* Fails: a function in a low-power state loses its assigned addresses. */
static void wakes_functions_up(void **state)
{
    struct pci_function *function = pci_add(-1, 1, 0);

    put_capability(function, 0x50, PCI_CAP_PM, 0);
    function->config[0x34] = 0x50;
    pci_put(function->config + 0x54, 3, 2);
    pci_put(function->writable + 0x54, 3, 2);
    assert_int_equal(pci_scan(), 1);
    assert_int_equal(pci_get(function->config + 0x54, 2), 0);
    assert_true(pci.now_ns >= 10000000);
}

static struct pci_function *with_msix(unsigned device, uint32_t table, uint16_t entries)
{
    struct pci_function *function = pci_add(-1, device, 0);

    pci_add_bar(function, 0, 0x4000, BAR64);
    put_capability(function, 0x50, PCI_CAP_MSIX, 0);
    function->config[0x34] = 0x50;
    pci_put(function->config + 0x52, 0x8000 | (entries - 1u), 2);
    pci_put(function->writable + 0x52, 0xc000, 2);
    pci_put(function->config + 0x54, table, 4);
    return function;
}

/* Fails: a message interrupt is written to a wrong address, or a stale entry writes somewhere. */
static void message_interrupts_by_msix(void **state)
{
    struct pci_function *function = with_msix(1, 0x2000, 16);

    with_msix(2, 0x3ff0, 2);            /* the table leaves the BAR */
    with_msix(3, 0x2000 | 6, 1);        /* no such BAR */
    with_msix(4, 0xfffffff8 & ~7u, 16); /* far away */
    pci_add(-1, 5, 0);
    assert_int_equal(pci_scan(), 5);
    pci_check();

    struct dgm_pci_device *device = &pci.host.devices[0];

    assert_int_equal(device->msix_bar, 0);
    assert_int_equal(device->msix_offset, 0x2000);
    assert_int_equal(device->msix_entries, 16);
    assert_int_equal(function->config[0x53] & 0x80, 0); /* off, after the scan */
    memset(pci.table, 0xa5, sizeof pci.table);
    assert_int_equal(dgm_pci_msix_open(device, (void *)(uintptr_t)TABLE), DGM_OK);
    assert_int_equal(function->config[0x53] & 0xc0, 0x80);
    assert_int_equal(function->config[5] & 4, 4);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(pci.table[4 * i + 3], 1);
    assert_int_equal(pci.table[4 * 16 + 3], 0xa5a5a5a5);
    dgm_pci_msix_set(device, (void *)(uintptr_t)TABLE, 2,
                     (struct dgm_pci_message){.address = 0x108020040, .data = 81});
    assert_int_equal(pci.table[8], 0x08020040);
    assert_int_equal(pci.table[9], 1);
    assert_int_equal(pci.table[10], 81);
    assert_int_equal(pci.table[11], 0);
    expect_panic(
        dgm_pci_msix_set(device, (void *)(uintptr_t)TABLE, 16, (struct dgm_pci_message){0}));
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(dgm_pci_msix_open(&pci.host.devices[i], (void *)(uintptr_t)TABLE),
                         DGM_EOPNOTSUPP);
}

/* Fails: as msix, for devices that have only MSI. */
static void message_interrupts_by_msi(void **state)
{
    for (unsigned wide = 0; wide < 2; wide++) {
        struct pci_function *function = pci_add(-1, 1 + wide, 0);

        put_capability(function, 0x50, PCI_CAP_MSI, 0);
        function->config[0x34] = 0x50;
        pci_put(function->config + 0x52, 0x0031 | wide << 7, 2); /* firmware had 8 vectors on */
        pci_put(function->writable + 0x52, 0x0071, 2);
        memset(function->writable + 0x54, 0xff, 10);
    }
    assert_int_equal(pci_scan(), 2);
    assert_int_equal(pci.functions[0].config[0x52] & 1, 0);
    assert_int_equal(dgm_pci_msi_set(&pci.host.devices[0],
                                     (struct dgm_pci_message){.address = 0x108020040, .data = 82}),
                     DGM_EOPNOTSUPP);
    assert_int_equal(dgm_pci_msi_set(&pci.host.devices[0],
                                     (struct dgm_pci_message){.address = 0x08020040, .data = 82}),
                     DGM_OK);
    assert_int_equal(pci_get(pci.functions[0].config + 0x54, 4), 0x08020040);
    assert_int_equal(pci_get(pci.functions[0].config + 0x58, 2), 82);
    assert_int_equal(pci.functions[0].config[0x52], 0x01);
    assert_int_equal(dgm_pci_msi_set(&pci.host.devices[1],
                                     (struct dgm_pci_message){.address = 0x108020040, .data = 83}),
                     DGM_OK);
    assert_int_equal(pci_get(pci.functions[1].config + 0x54, 8), 0x108020040);
    assert_int_equal(pci_get(pci.functions[1].config + 0x5c, 2), 83);
}

/* Fails: a device that must not reach memory still does. */
static void enable_and_stop(void **state)
{
    pci_add(-1, 1, 0);
    assert_int_equal(pci_scan(), 1);
    dgm_pci_enable(&pci.host.devices[0]);
    assert_int_equal(pci_get(pci.functions[0].config + 4, 2), 0x0406);
    dgm_pci_dma_stop(&pci.host.devices[0]);
    assert_int_equal(pci_get(pci.functions[0].config + 4, 2), 0x0402);
}

/* Fails: after a reset the device responds at no address, or at wrong ones. */
static void function_level_reset(void **state)
{
    struct pci_function *function = pci_add(-1, 1, 0);

    pci_add_bar(function, 0, 0x4000, BAR64);
    pci_add(-1, 2, 0);
    put_capability(function, 0x40, PCI_CAP_PCIE, 0);
    function->config[0x34] = 0x40;
    pci_put(function->config + 0x44, 1u << 28, 4);
    assert_int_equal(pci_scan(), 2);

    struct dgm_pci_device *device = &pci.host.devices[0];

    dgm_pci_enable(device);
    assert_int_equal(dgm_pci_reset_start(device), DGM_OK);
    assert_int_equal(dgm_pci_reset_finish(device), DGM_EAGAIN);
    assert_int_equal(dgm_pci_reset_finish(device), DGM_EAGAIN);
    assert_int_equal(dgm_pci_reset_finish(device), DGM_EAGAIN);
    assert_int_equal(dgm_pci_reset_finish(device), DGM_OK);
    pci_check();
    assert_int_equal(dgm_pci_reset_start(&pci.host.devices[1]), DGM_EOPNOTSUPP);
}

/* Random hierarchies, compared with the rig's routing. */
static void random_hierarchies(void **state)
{
    const uint64_t first = unit_seed();

    for (uint64_t seed = first; seed < first + 300; seed++) {
        int bridges[20];
        int bridge_count = 0;
        unsigned endpoints = 0;

        unit_random_state = seed;
        pci_start();
        if (unit_chance(30))
            pci.host.window_count = 1;
        if (unit_chance(30))
            pci.host.windows[1].prefetchable = true;
        for (unsigned i = 0; i < 24; i++) {
            const int parent =
                bridge_count && unit_chance(70) ? bridges[unit_below((unsigned)bridge_count)] : -1;
            const bool link = parent >= 0 && pci_is_link(&pci.functions[parent]);
            const unsigned device = link ? 0 : i + 1;
            bool taken = false;
            unsigned depth = 0;

            for (int j = 0; j < pci.count; j++)
                taken |= link && pci.functions[j].parent == parent;
            for (int up = parent; up >= 0; up = pci.functions[up].parent)
                depth++;
            if (taken)
                continue;
            if (bridge_count < 20 && depth < 6 && unit_chance(40)) {
                const unsigned port = 4 + (unsigned)unit_below(4);

                bridges[bridge_count++] = pci_add_bridge(parent, device, port, unit_chance(70));
                if (unit_chance(30))
                    pci_add_bar(&pci.functions[pci.count - 1], 0, 0x1000, BAR32);
                continue;
            }

            struct pci_function *function = pci_add(parent, device, 0);

            endpoints++;
            for (unsigned b = 0; b < 6; b++) {
                static const uint32_t flags[] = {BAR32, BAR64, BAR64P, BAR_IO, 8};
                const uint32_t flag = flags[unit_below(5)];

                if (unit_chance(40) || (b == 5 && (flag & 4)))
                    continue;
                pci_add_bar(function, b, 16ull << unit_below(flag & 1 ? 4 : 17), flag);
                b += (flag & 4) != 0;
            }
        }
        if (pci_scan() != (int)endpoints)
            fail_msg("seed %llu: %zu of %u devices: %s", (unsigned long long)seed,
                     pci.host.device_count, endpoints, dgm_sim_last_log());
        pci_check();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pci_rig_start, pci_rig_stop)
    const struct CMUnitTest tests[] = {
        TEST(finds_devices_in_order),
        TEST(empty_bus),
        TEST(sizes_and_places_bars),
        TEST(windows_may_be_shifted),
        TEST(odd_windows),
        TEST(exhaustion_leaves_the_device_out),
        TEST(devices_behind_bridges),
        TEST(interrupt_pins),
        TEST(capability_lists),
        TEST(wakes_functions_up),
        TEST(message_interrupts_by_msix),
        TEST(message_interrupts_by_msi),
        TEST(enable_and_stop),
        TEST(function_level_reset),
        TEST(random_hierarchies),
    };

    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
