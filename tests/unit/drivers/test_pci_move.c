/* SPDX-License-Identifier: MIT */
/*
 * pci move: disks that come back in other slots. If these fail, a disk that an operator moved is
 * lost, its addresses do not lead to it, or another disk is taken for it.
 */
#include "pci_rig.h"

#define SLOTS 4

static struct pci_function *ports[SLOTS], *cards[SLOTS];
static struct dgm_pci_device *disk[SLOTS];

/* In no slot; a part of its memory may lie above 4 GiB. */
static struct pci_function *make_card(void)
{
    struct pci_function *card = pci_add(NOWHERE, 0, 0);

    pci_add_bar(card, 0, 0x4000, 4);
    pci_add_bar(card, 2, 0x200000, 12);
    return card;
}

/* `disks` disks in the first of four slots, all on. */
static void plug(unsigned disks)
{
    pci_start();
    for (unsigned i = 0; i < SLOTS; i++)
        ports[i] = pci_add_slot(-1, 4 + i, 0x43);
    for (unsigned i = 0; i < disks; i++) {
        cards[i] = make_card();
        cards[i]->parent = (int)(ports[i] - pci.functions);
        ports[i]->config[0x5a] |= PCI_SLOT_OCCUPIED;
    }
    assert_int_equal(pci_scan(), disks);
    assert_int_equal(pci.host.slot_count, SLOTS);
    for (unsigned i = 0; i < disks; i++) {
        disk[i] = &pci.host.devices[i];
        dgm_pci_enable(disk[i]);
        dgm_pci_intx(disk[i], true);
    }
}

static const struct dgm_pci_slot *take_event(enum dgm_pci_slot_event *event)
{
    return dgm_pci_slot_next(&pci.host, NULL, event);
}

static void unplug(struct pci_function *card)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (card->parent == ports[i] - pci.functions)
            ports[i]->config[0x5a] =
                (uint8_t)((ports[i]->config[0x5a] & ~PCI_SLOT_OCCUPIED) | PCI_SLOT_CHANGED);
    card->parent = NOWHERE;
}

/* As after power-on. */
static void plug_into(struct pci_function *card, unsigned slot)
{
    card->parent = (int)(ports[slot] - pci.functions);
    pci_put(card->config + 4, 0, 2);
    for (unsigned i = 0x10; i < 0x28; i++)
        card->config[i] &= (uint8_t)~card->writable[i];
    ports[slot]->config[0x5a] |= PCI_SLOT_OCCUPIED | PCI_SLOT_CHANGED;
}

/* What the kernel does for a driver that has lost its device. */
static int restore(struct dgm_pci_device *device)
{
    const struct dgm_pci_slot *slot;
    int status = dgm_pci_restore(device);

    if (status != DGM_OK && dgm_pci_seek(device, &slot) == DGM_OK)
        status = dgm_pci_restore(device);
    if (pci.host.device_count == 1)
        pci_check_addresses();
    return status;
}

static bool is_in(const struct dgm_pci_device *device, const struct pci_function *card)
{
    return pci_of(device) == card && pci_get(card->config + 4, 2) == 6 &&
           (pci_get(card->config + 0x10, 4) & ~15ull) == (uint32_t)device->bars[0].pci;
}

/* Fails: a disk that was moved is not found, or not at its addresses, which are mapped. */
static void found_in_every_other_slot(void **state)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        struct dgm_pci_bar bars[DGM_PCI_BARS];

        plug(1);
        memcpy(bars, disk[0]->bars, sizeof bars);
        unplug(cards[0]);
        assert_int_equal(restore(disk[0]), DGM_EAGAIN);
        plug_into(cards[0], slot);
        assert_int_equal(restore(disk[0]), DGM_OK);
        assert_true(is_in(disk[0], cards[0]));
        assert_memory_equal(disk[0]->bars, bars, sizeof bars);
        assert_int_equal(disk[0]->root_device, 4 + slot);
        assert_int_equal(disk[0]->root_pin, 1);
        assert_int_equal(disk[0]->path[0], (4 + slot) << 3);
        unplug(cards[0]); /* and back */
        assert_int_equal(restore(disk[0]), DGM_EAGAIN);
        plug_into(cards[0], 0);
        assert_int_equal(restore(disk[0]), DGM_OK);
        assert_true(is_in(disk[0], cards[0]));
    }
}

/* Fails: of disks that are exchanged, in any order, one is lost, or has another one's addresses. */
static void disks_exchange_their_slots(void **state)
{
    static const uint8_t orders[][3] = {{1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}, {0, 2, 1}};

    for (unsigned row = 0; row < 5 * 2; row++) {
        plug(3);
        for (unsigned i = 0; i < 3; i++)
            unplug(cards[i]);
        for (unsigned i = 0; i < 3; i++)
            plug_into(cards[i], orders[row / 2][i]);
        for (unsigned tries = 0; tries < 12; tries++) {
            const unsigned i = row % 2 ? 2 - tries % 3 : tries % 3;

            if (is_in(disk[i], cards[i]) || restore(disk[i]) != DGM_OK || is_in(disk[i], cards[i]))
                continue;
            assert_true(dgm_pci_reject(disk[i])); /* its driver sees another serial number */
        }
        for (unsigned i = 0; i < 3; i++)
            if (!is_in(disk[i], cards[i]))
                fail_msg("order %u: disk %u is in %02x", row, i, disk[i]->bus);
        pci_check_addresses();
    }
}

/* Fails: a card that is not the disk is tried again and again, keeps its access to memory, or keeps
 * the right one away. */
static void strangers_are_rejected_once(void **state)
{
    struct pci_function *stranger;
    const struct dgm_pci_slot *slot;
    enum dgm_pci_slot_event event;

    plug(1);
    unplug(cards[0]);
    stranger = make_card();
    plug_into(stranger, 2);
    while (take_event(&event))
        continue;
    assert_int_equal(restore(disk[0]), DGM_OK);
    assert_true(is_in(disk[0], stranger));
    assert_true(dgm_pci_reject(disk[0]));
    assert_int_equal(pci_get(stranger->config + 4, 2), 0x0400);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(restore(disk[0]), DGM_ENODEV);
    assert_int_equal(dgm_pci_seek(disk[0], &slot), DGM_EAGAIN);
    assert_int_equal(pci_get(stranger->config + 4, 2), 0x0400);

    plug_into(cards[0], 3);
    assert_int_equal(restore(disk[0]), DGM_OK);
    assert_true(is_in(disk[0], cards[0]));

    unplug(cards[0]); /* the stranger's place takes it, once the stranger has left */
    unplug(stranger);
    assert_int_equal(restore(disk[0]), DGM_EAGAIN);
    plug_into(cards[0], 2);
    while (take_event(&event))
        continue;
    assert_int_equal(restore(disk[0]), DGM_OK);
    assert_true(is_in(disk[0], cards[0]));
}

/* Fails: a disk that works, or one that only pauses, loses its slot to another. */
static void slots_in_use_are_left_alone(void **state)
{
    const struct dgm_pci_slot *slot;

    plug(2);
    unplug(cards[0]);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(restore(disk[0]), DGM_EAGAIN);
    assert_true(is_in(disk[1], cards[1]));

    plug(2); /* a moment without response: nothing was taken out */
    cards[0]->absent_reads = 1;
    assert_int_equal(dgm_pci_restore(disk[0]), DGM_EAGAIN);
    assert_int_equal(dgm_pci_seek(disk[0], &slot), DGM_EAGAIN);
    assert_true(is_in(disk[0], cards[0]));

    plug(1); /* another product, another class, another size */
    unplug(cards[0]);
    for (unsigned i = 1; i < SLOTS; i++)
        cards[i] = make_card();
    pci_put(cards[1]->config, 0x00111b36, 4);
    cards[2]->config[0x0a] = 2;
    pci_add_bar(cards[3], 2, 0x400000, 12);
    for (unsigned i = 1; i < SLOTS; i++)
        plug_into(cards[i], i);
    assert_int_equal(restore(disk[0]), DGM_EAGAIN);
    for (unsigned i = 1; i < SLOTS; i++)
        assert_int_equal(pci_get(cards[i]->config + 4, 2) & 6, 0);
}

/* Fails: a device gets a slot that does not forward its addresses. */
static void slots_behind_other_bridges(void **state)
{
    const struct dgm_pci_slot *slot = NULL;

    plug(1);
    pci_start();
    ports[0] = pci_add_slot(pci_add_bridge(-1, 1, 5, true), 4, 0x43);
    ports[1] = pci_add_slot(pci_add_bridge(-1, 2, 5, true), 4, 0x43);
    cards[0] = pci_add((int)(ports[0] - pci.functions), 0, 0);
    pci_add_bar(cards[0], 0, 0x4000, 4);
    assert_int_equal(pci_scan(), 1);
    disk[0] = &pci.host.devices[0];
    dgm_pci_enable(disk[0]);
    cards[0]->parent = NOWHERE;
    plug_into(cards[0], 1);
    assert_int_equal(dgm_pci_seek(disk[0], &slot), DGM_EOPNOTSUPP);
    assert_int_equal(slot->port.device, 4);
    assert_int_equal(slot->bus, 4);
    assert_int_equal(pci_get(cards[0]->config + 4, 2) & 6, 0);
    plug_into(cards[0], 0);
    assert_int_equal(restore(disk[0]), DGM_OK);
}

/* Fails: a port with 32 bits only gets a window above 4 GiB, or two ports have one window. */
static void a_port_that_is_too_narrow(void **state)
{
    const struct dgm_pci_slot *slot = NULL;

    plug(1);
    memset(ports[1]->writable + 0x28, 0, 8);
    unplug(cards[0]);
    plug_into(cards[0], 1);
    assert_int_equal(dgm_pci_seek(disk[0], &slot), DGM_EOPNOTSUPP);
    plug_into(cards[0], 0);
    assert_int_equal(restore(disk[0]), DGM_OK);
    assert_true(is_in(disk[0], cards[0]));
}

/* Fails: a device that is given up can still reach memory, from where it was before. */
static void stopped_wherever_it_is(void **state)
{
    struct pci_function *stranger;

    plug(1);
    cards[0]->absent_reads = 1000;
    stranger = make_card();
    plug_into(stranger, 1);
    assert_int_equal(restore(disk[0]), DGM_OK);
    assert_true(dgm_pci_reject(disk[0]));
    cards[0]->absent_reads = 0; /* it had not left, and kept its registers */
    dgm_pci_dma_stop(disk[0]);
    assert_int_equal(pci_get(cards[0]->config + 4, 2) & 4, 0);
    assert_int_equal(pci_get(stranger->config + 4, 2) & 4, 0);
}

/* Fails: a card that is put in stays without power. */
static void slots_get_power(void **state)
{
    enum dgm_pci_slot_event event;

    plug(1);
    for (unsigned i = 0; i < SLOTS; i++)
        pci_put(ports[i]->config + 0x58, 0x07c0, 2);
    while (take_event(&event))
        continue;
    ports[1]->config[0x5a] |= PCI_SLOT_OCCUPIED | PCI_SLOT_CHANGED;
    assert_ptr_equal(take_event(&event), &pci.host.slots[1]);
    assert_int_equal(event, DGM_PCI_SLOT_FILLED);
    assert_int_equal(pci_get(ports[1]->config + 0x58, 2), 0x01c0);
    assert_int_equal(pci_get(ports[2]->config + 0x58, 2), 0x07c0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pci_rig_start, pci_rig_stop)
    const struct CMUnitTest tests[] = {
        TEST(found_in_every_other_slot),   TEST(disks_exchange_their_slots),
        TEST(strangers_are_rejected_once), TEST(slots_in_use_are_left_alone),
        TEST(slots_behind_other_bridges),  TEST(a_port_that_is_too_narrow),
        TEST(stopped_wherever_it_is),      TEST(slots_get_power),
    };

    return cmocka_run_group_tests_name("pci_move", tests, NULL, NULL);
}
