/* SPDX-License-Identifier: MIT */
/*
 * pci, bounds: if these fail, too many, faulty or hostile devices stop the boot.
 */
#include "pci_rig.h"

/* Fails: more bridges, buses or devices than the tables hold cause more than a log line. */
static void more_than_the_tables_hold(void **state)
{
    int bridge = -1;

    for (unsigned i = 0; i < 12; i++)
        bridge = pci_add_bridge(bridge, 0, 4, true);
    pci_add(bridge, 0, 0);
    for (unsigned i = 1; i < 9; i++) {
        for (unsigned f = 0; f < 8; f++)
            pci_add(-1, i, f)->config[0x0e] = 0x80;
    }
    pci_add(-1, 9, 0);
    assert_int_equal(pci_scan(), DGM_PCI_DEVICES_MAX);
    assert_int_equal(pci.host.skipped, 2); /* the bridge at depth 8, and device 65 */
    pci_check();

    pci_start();
    pci.bus_first = 4;
    pci.bus_last = 5;
    pci_add(pci_add_bridge(-1, 1, 4, true), 0, 0);
    pci_add(pci_add_bridge(-1, 2, 4, true), 0, 0);
    pci_add(-1, 3, 0);
    assert_int_equal(pci_scan(), 2);
    assert_int_equal(pci.host.skipped, 1);
    assert_int_equal(pci.host.devices[1].bus, 5);
    pci_check();
}

/* On every bus all functions are present, in a low-power state, and the first one is a bridge. */
static uint64_t read_everywhere(uintptr_t at, unsigned bytes)
{
    static const uint8_t config[256] = {
        0x36, 0x1b, 0x10, [6] = 0x10, [0x34] = 0x40, [0x40] = 1, [0x44] = 3};

    pci.accesses++;
    pci.now_ns += 1000000;
    dgm_sim_set_now_ns(pci.now_ns);
    if (at % 4096 == 0x0e)
        return (at >> 12) % 256 == 0 ? 0x81 : 0x80;
    return pci_get(config + at % sizeof config, bytes);
}

/* Fails: a faulty host bridge, at which every function appears present, stops the boot for minutes
 * (10 ms for each that is powered up), and fills the log. */
static void every_function_is_present(void **state)
{
    static const struct dgm_sim_machine machine = {.mmio_read = read_everywhere,
                                                   .mmio_write = pci_write};
    const uint64_t start_ns = pci.now_ns;
    const uint64_t lines = dgm_sim_log_lines();

    dgm_sim_attach(&machine);
    assert_int_equal(pci_scan(), DGM_PCI_DEVICES_MAX);
    assert_int_equal(pci.host.skipped + DGM_PCI_DEVICES_MAX + DGM_PCI_DEPTH_MAX - 1,
                     DGM_PCI_FUNCTIONS_MAX + 1);
    assert_int_equal(dgm_sim_log_lines() - lines, pci.host.skipped);
    assert_true(pci.accesses < 30000 && pci.now_ns - start_ns < 30000000000);
    assert_non_null(strstr(dgm_sim_last_log(), "limit of 256 functions"));
}

/* Fails: a register with fixed bits decodes another address than the driver uses, and the driver's
 * first access is a data abort, or reaches another device. */
static void addresses_that_do_not_hold(void **state)
{
    for (unsigned high = 0; high < 2; high++) {
        struct pci_function *function;

        pci_start();
        function = pci_add(-1, 1, 0);
        pci_add_bar(function, 0, 0x4000, high ? 0xc : 0);
        pci_put(function->writable + (high ? 0x14 : 0x10), high ? 0x7f : 0x0fffc000, 4);
        pci_add_bar(pci_add(-1, 2, 0), 0, 0x4000, 0);
        assert_int_equal(pci_scan(), 2);
        assert_true(pci.host.devices[0].unusable);
        assert_int_equal(pci.host.devices[0].bars[0].bytes, 0);
        assert_int_equal(dgm_sim_logged("pci 00:01.0: BAR 0: it does not hold"), high + 1);
        assert_false(pci.host.devices[1].unusable);
        assert_int_equal(pci.host.devices[1].bars[0].pci, 0x10000000);
        pci_check();
    }
}

/* Fails: what lies in the header is taken for a capability, or a 64-bit BAR in the last slot takes
 * the register behind the BARs. */
static void nothing_beyond_its_place(void **state)
{
    struct pci_function *function = pci_add(-1, 1, 0);

    pci_put(function->config + 6, 0x10, 2);
    function->config[0x34] = 0x2c;
    function->config[0x2c] = 0x05; /* the subsystem's vendor, which looks like MSI */
    pci_put(function->config + 0x28, 0x12345678, 4);
    pci_put(function->writable + 0x28, 0xffffffff, 4);
    pci_add_bar(function, 5, 0x4000, 0);
    function->config[0x24] |= 4;
    assert_int_equal(pci_scan(), 1);
    assert_int_equal(pci.host.devices[0].cap_msi, 0);
    assert_false(pci.host.devices[0].bars[5].is64);
    assert_int_equal(pci_get(function->config + 0x28, 4), 0x12345678);
    pci_check();
}

/* Fails: a window that crosses 4 GiB is not used at all, or a 32-bit register gets an address above
 * it. */
static void a_window_across_4_gib(void **state)
{
    pci.host.windows[0] =
        (struct dgm_pci_window){.cpu = 0xf0000000, .pci = 0xf0000000, .bytes = 0x20000000};
    pci.host.window_count = 1;
    for (unsigned i = 1; i < 6; i++)
        pci_add_bar(pci_add(-1, i, 0), 0, 0x4000000, 0);
    assert_int_equal(pci_scan(), 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(pci.host.devices[i].unusable, i == 4);
    pci_check();
}

/* Fails: a small window before a large one is the only one that is used. */
static void the_largest_windows_are_used(void **state)
{
    static const struct dgm_pci_window windows[] = {
        {.cpu = 0x10000000, .pci = 0x10000000, .bytes = 0x1000},
        {.cpu = 0x20000000, .pci = 0x20000000, .bytes = 0x8000000},
        {.cpu = 0x8000000000, .pci = 0x8000000000, .bytes = 0x1000},
        {.cpu = 0x9000000000, .pci = 0x9000000000, .bytes = 0x800000000},
    };

    memcpy(pci.host.windows, windows, sizeof windows);
    pci.host.window_count = 4;
    pci_add_bar(pci_add(-1, 1, 0), 0, 0x4000, 0);
    pci_add_bar(pci_add(-1, 2, 0), 0, 0x4000, 12);
    assert_int_equal(pci_scan(), 2);
    assert_int_equal(pci.host.devices[0].bars[0].pci, 0x20000000);
    assert_int_equal(pci.host.devices[1].bars[0].pci, 0x9000000000);
    pci_check();
}

/* Fails: a BAR of an impossible size is used, or costs the devices behind it their addresses. */
static void sizes_that_fit_nowhere(void **state)
{
    for (unsigned shift = 32; shift < 64; shift++) {
        pci_start();
        pci_add_bar(pci_add(-1, 1, 0), 0, 1ull << shift, 12);
        pci_add_bar(pci_add(-1, 2, 0), 0, 0x4000, 0);
        assert_int_equal(pci_scan(), 2);
        assert_int_equal(pci.host.devices[0].unusable, shift > 39); /* the window has 2^39 bytes */
        assert_int_equal(pci.host.devices[0].bars[0].bytes, shift > 39 ? 0 : 1ull << shift);
        assert_false(pci.host.devices[1].unusable);
        pci_check();
    }
    assert_int_equal(dgm_sim_logged("BAR 0: 9007199254740992 KiB do not fit"), 1);

    pci_start();
    pci_add(-1, 1, 0); /* no BAR at all: the driver says that it has too few registers */
    assert_int_equal(pci_scan(), 1);
    assert_int_equal(pci.host.devices[0].bars[0].bytes, 0);
    assert_false(pci.host.devices[0].unusable);
}

/* Fails: a function that becomes ready late is missing; or one that never does holds the boot. */
static void late_functions(void **state)
{
    struct pci_function *late = pci_add(-1, 1, 0);
    struct pci_function *never = pci_add(-1, 2, 0);
    const uint64_t start_ns = pci.now_ns;

    late->retry_reads = 1000;
    never->retry_reads = UINT32_MAX;
    pci_add(-1, 3, 0)->retry_reads = 1;
    assert_int_equal(pci_scan(), 1);
    assert_int_equal(pci.host.devices[0].device, 1);
    assert_int_equal(pci.host.skipped, 2);
    assert_int_equal(dgm_sim_logged("does not become ready"), 2);
    assert_true(pci.now_ns - start_ns < 3000000000);
}

/* Fails: a configuration space with random contents hangs or breaks the boot. */
static void wild_functions(void **state)
{
    const uint64_t first = unit_seed();

    for (uint64_t seed = first; seed < first + 20; seed++) {
        unit_random_state = seed;
        pci_start();
        pci.bus_last = 15;
        for (unsigned i = 0; i < 8; i++)
            pci_add(unit_chance(70) ? -1 : pci_add_bridge(-1, 20 + i, 4, true), i, 0)->wild = true;
        pci_scan();
        assert_true(pci.host.device_count <= DGM_PCI_DEVICES_MAX);
        assert_true(pci.accesses < 1000000);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pci_rig_start, pci_rig_stop)
    const struct CMUnitTest tests[] = {
        TEST(more_than_the_tables_hold),
        TEST(every_function_is_present),
        TEST(addresses_that_do_not_hold),
        TEST(nothing_beyond_its_place),
        TEST(a_window_across_4_gib),
        TEST(the_largest_windows_are_used),
        TEST(sizes_that_fit_nowhere),
        TEST(late_functions),
        TEST(wild_functions),
    };

    return cmocka_run_group_tests_name("pci_bounds", tests, NULL, NULL);
}
