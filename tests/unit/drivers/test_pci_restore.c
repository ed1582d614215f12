/* SPDX-License-Identifier: MIT */
/*
 * pci restore: if these fail, a disk whose link dropped for a moment never works again, or its
 * registers, its interrupts or its DMA are not restored.
 */
#include "pci_rig.h"

static struct pci_function *function;
static struct dgm_pci_device *device;

static int start(void **state)
{
    pci_start();
    function = pci_add(-1, 1, 0);
    pci_add_bar(function, 0, 0x4000, 4);
    function->config[6] |= 0x10;
    function->config[0x34] = 0x50;
    function->config[0x50] = PCI_CAP_MSIX;
    function->config[0x51] = 0x60;
    pci_put(function->config + 0x52, 3, 2); /* 4 entries */
    pci_put(function->writable + 0x52, 0xc000, 2);
    pci_put(function->config + 0x54, 0x2000, 4);
    function->config[0x60] = PCI_CAP_PM;
    pci_put(function->writable + 0x64, 3, 2);
    assert_int_equal(pci_scan(), 1);
    device = &pci.host.devices[0];
    return 0;
}

/* The effect of a dropped link: the registers are as after power-on. */
static void drop_link(void)
{
    memset(function->config + 4, 0, 2);
    memset(function->config + 0x10, 0, 8);
    pci_put(function->config + 0x10, 4, 4);
    pci_put(function->config + 0x52, 3, 2);
    memset(pci.table, 0, sizeof pci.table);
}

/* Fails: BARs, bus mastering or the message are not restored. */
static void messages_are_restored(void **state)
{
    dgm_pci_enable(device);
    assert_int_equal(dgm_pci_msix_open(device, (void *)(uintptr_t)TABLE), DGM_OK);
    dgm_pci_msix_set(device, (void *)(uintptr_t)TABLE, 1,
                     (struct dgm_pci_message){.address = 0x108020040, .data = 81});
    drop_link();
    function->absent_reads = 2;
    assert_int_equal(dgm_pci_restore(device), DGM_EAGAIN);
    assert_int_equal(dgm_pci_restore(device), DGM_EAGAIN);
    assert_int_equal(pci_get(function->config + 4, 2), 0);
    assert_int_equal(dgm_pci_restore(device), DGM_OK);
    assert_int_equal(pci_get(function->config + 4, 2), 0x0406);
    assert_int_equal(pci_get(function->config + 0x10, 8) & ~15ull, device->bars[0].pci);
    assert_int_equal(function->config[0x53] & 0xc0, 0x80);
    assert_int_equal(pci.table[4], 0x08020040);
    assert_int_equal(pci.table[5], 1);
    assert_int_equal(pci.table[6], 81);
    assert_int_equal(pci.table[7], 0);
    assert_int_equal(pci.table[3], 1); /* the others are masked */
}

/* Fails: a level interrupt stays masked, or one that was masked is not. */
static void level_interrupts_are_restored(void **state)
{
    for (unsigned on = 0; on < 2; on++) {
        dgm_pci_enable(device);
        dgm_pci_intx(device, on);
        drop_link();
        assert_int_equal(dgm_pci_restore(device), DGM_OK);
        assert_int_equal(pci_get(function->config + 4, 2), on ? 0x0006 : 0x0406);
        assert_int_equal(function->config[0x53] & 0x80, 0);
    }
}

/* Fails: a device that was cut off from memory while it was away cannot reach it again; or it can
 * before it is restored. */
static void a_stopped_device_is_restored(void **state)
{
    dgm_pci_enable(device);
    dgm_pci_intx(device, true);
    dgm_pci_dma_stop(device);
    assert_int_equal(pci_get(function->config + 4, 2), 0x0402);
    drop_link();
    assert_int_equal(dgm_pci_restore(device), DGM_OK);
    assert_int_equal(pci_get(function->config + 4, 2), 0x0006);
}

/* Fails: another kind of device gets the addresses of the former one. */
static void another_device_is_not_taken(void **state)
{
    dgm_pci_enable(device);
    drop_link();
    pci_put(function->config, 0x00101af4, 4);
    assert_int_equal(dgm_pci_restore(device), DGM_ENODEV);
    assert_int_equal(pci_get(function->config + 4, 2), 0);
}

/* Fails: a function in a low-power state gets addresses, which it loses when it leaves that
 * state. */
static void a_sleeping_device_is_woken_first(void **state)
{
    dgm_pci_enable(device);
    drop_link();
    function->config[0x64] = 3;
    assert_int_equal(dgm_pci_restore(device), DGM_EAGAIN);
    assert_int_equal(function->config[0x64] & 3, 0);
    assert_int_equal(pci_get(function->config + 4, 2), 0);
    assert_int_equal(dgm_pci_restore(device), DGM_OK);
    assert_int_equal(pci_get(function->config + 4, 2) & 6, 6);
}

/* Fails: another device's interrupt is taken for ours, or a device that left the bus counts as
 * asserting it. */
static void the_device_that_asserts_the_line(void **state)
{
    assert_false(dgm_pci_intx_asserted(device));
    function->config[6] |= 1u << 3;
    assert_true(dgm_pci_intx_asserted(device));
    function->absent_reads = 1;
    assert_false(dgm_pci_intx_asserted(device));
}

/* Fails: an MSI-X table that is not in a BAR is accessed beyond the device's BARs. */
static void a_table_outside_is_no_table(void **state)
{
    for (uint32_t bar = 1; bar < 8; bar++) {
        pci_put(function->config + 0x54, 0x2000 | bar, 4);
        assert_int_equal(pci_scan(), 1);
        assert_int_equal(device->cap_msix, 0);
        assert_non_null(strstr(dgm_sim_last_log(), "MSI-X is not used"));
    }
}

static enum dgm_pci_slot_event event_of(struct pci_function *port, uint8_t status)
{
    enum dgm_pci_slot_event event = DGM_PCI_SLOT_QUIET, other;

    port->config[0x5a] |= status;

    const struct dgm_pci_slot *slot = dgm_pci_slot_next(&pci.host, NULL, &event);

    if (slot) {
        assert_int_equal(slot->port.device, port->device);
        assert_null(dgm_pci_slot_next(&pci.host, slot, &other));
    }
    assert_null(dgm_pci_slot_next(&pci.host, NULL, &other));
    return slot ? event : DGM_PCI_SLOT_QUIET;
}

/* Fails: an event of a slot is not reported, or reported without end. */
static void slots_report_events(void **state)
{
    struct pci_function *const button = pci_add_slot(-1, 4, 1), *const plug =
                                                                    pci_add_slot(-1, 5, 0x40);

    pci_add((int)(button - pci.functions), 0, 0);
    pci_add((int)(plug - pci.functions), 0, 0);
    pci_add(pci_add_bridge(-1, 6, 4, true), 0, 0); /* neither */
    assert_int_equal(pci_scan(), 4);
    assert_int_equal(pci.host.slot_count, 2);
    assert_int_equal(pci.host.slots[1].bus, 2);
    assert_int_equal(event_of(button, 0), DGM_PCI_SLOT_QUIET);
    assert_int_equal(event_of(button, PCI_SLOT_OCCUPIED | PCI_SLOT_BUTTON), DGM_PCI_SLOT_REMOVAL);
    assert_int_equal(event_of(plug, PCI_SLOT_CHANGED), DGM_PCI_SLOT_EMPTIED);
    button->absent_reads = 1;
    assert_int_equal(event_of(plug, 0), DGM_PCI_SLOT_QUIET);
}

/* Fails: a card that is put in is taken for the wish to remove one. */
static void a_new_card_is_no_removal(void **state)
{
    struct pci_function *const port = pci_add_slot(-1, 4, 0x41);
    struct pci_function *const card = pci_add((int)(port - pci.functions), 0, 0);

    assert_int_equal(pci_scan(), 2);
    port->config[0x5a] = PCI_SLOT_CHANGED; /* QEMU's device_add sets all three bits */
    assert_int_equal(event_of(port, 0), DGM_PCI_SLOT_EMPTIED);
    assert_int_equal(event_of(port, PCI_SLOT_OCCUPIED | PCI_SLOT_CHANGED | PCI_SLOT_BUTTON),
                     DGM_PCI_SLOT_FILLED);
    card->absent_reads = 1; /* its slot has no power yet: the button asks for it */
    assert_int_equal(event_of(port, PCI_SLOT_BUTTON), DGM_PCI_SLOT_FILLED);
    assert_int_equal(event_of(port, PCI_SLOT_BUTTON), DGM_PCI_SLOT_REMOVAL);
    port->config[0x5a] = 0;
    assert_int_equal(event_of(port, PCI_SLOT_BUTTON), DGM_PCI_SLOT_QUIET);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, pci_rig_stop)
    const struct CMUnitTest tests[] = {
        TEST(messages_are_restored),
        TEST(level_interrupts_are_restored),
        TEST(a_stopped_device_is_restored),
        TEST(another_device_is_not_taken),
        TEST(a_sleeping_device_is_woken_first),
        TEST(the_device_that_asserts_the_line),
        TEST(a_table_outside_is_no_table),
        TEST(slots_report_events),
        TEST(a_new_card_is_no_removal),
    };

    return cmocka_run_group_tests_name("pci_restore", tests, NULL, NULL);
}
