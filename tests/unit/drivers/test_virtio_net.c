/* SPDX-License-Identifier: MIT */
/*
 * virtio_net: if these fail, packets are lost or mixed up, a buffer is returned twice or never, or
 * a card that does not follow the standard misleads the driver.
 */
#include "virtio_rig.h"

#define VERSION_1   (1ull << 32)
#define EVENT_INDEX (1ull << 29)

static struct virtio_rig *const rig = &virtio_rig;

/* Fails: the card is not reset, features are taken that it does not offer, or its address is read
 * wrong. */
static void starts(void **state)
{
    virtio_attach();
    assert_true(nic_rig.nic->mac == rig->sim.mac);
    assert_int_equal(rig->sim.resets, 1);
    assert_int_equal(rig->sim.status, 15);
    assert_true(rig->sim.accepted == 0x120010028ull);
    assert_int_equal(nic_rig.nic->bytes_max, 1518);
    assert_true(nic_rig.changes > 0);
}

/* Fails: a card that offers little cannot be used, or the driver takes more than is offered. */
static void starts_with_least(void **state)
{
    rig->sim.offered = VERSION_1;
    rig->sim.size_max = 32;
    virtio_attach();
    assert_true(rig->sim.accepted == VERSION_1);
    assert_true(nic_rig.nic->mac == 0);
    assert_int_equal(nic_rig.nic->supply_max, 16);
    virtio_supply_all();
    for (unsigned i = 0; i < 100; i++)
        virtio_send_one(i);
}

/* Fails: ACCESS_PLATFORM and ORDER_PLATFORM are refused, without which a real card does not start;
 * or a packet is longer than the MTU allows. */
static void takes_what_platforms_need(void **state)
{
    rig->sim.offered |= 1ull << 33 | 1ull << 36;
    rig->sim.mtu = 1280;
    virtio_attach();
    assert_true(rig->sim.accepted == 0x1320010028ull);
    assert_int_equal(nic_rig.nic->bytes_max, 1298);
}

/* Fails: an MTU that needs larger buffers, or an impossible one, is agreed to. */
static void refuses_an_unusable_mtu(void **state)
{
    rig->sim.mtu = 9000;
    virtio_attach();
    assert_true(!(rig->sim.accepted & 8) && nic_rig.nic->bytes_max == 1518);
}

/* Fails: packets are lost, sent twice, out of order, or not returned; or the doorbell is missing
 * where it is needed. Over several laps of the indices, by message and by line. */
static void sends(bool message, uint64_t features_off)
{
    unsigned count = 0;

    rig->sim.message = nic_rig.env.irq_message = message;
    rig->sim.offered &= ~features_off;
    virtio_attach();
    for (unsigned lap = 0; lap < 700; lap++) {
        for (unsigned i = 0; i < 100; i++)
            virtio_lend(nic_to_send(i, (uint16_t)(14 + 15 * i)), true, DGM_OK);
        nic_rig.nic->ops->kick(nic_rig.nic);
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(dgm_simvirtio_send(&rig->sim, 1), 1);
            assert_int_equal(nic_rig.last_bytes, 14 + 15 * i);
            assert_int_equal(nic_rig.wire[nic_rig.last_bytes - 1], i);
            count++;
            virtio_turn();
        }
        assert_int_equal(dgm_simvirtio_send(&rig->sim, 1), 0);
        assert_int_equal(nic_rig.sent, count);
    }
    assert_int_equal(nic_rig.on_wire, 70000);
    assert_int_equal(nic_rig.nic->sent, 70000);
}

static void sends_by_line(void **state)
{
    sends(false, 0);
}

/* Fails besides: an interrupt for each packet, although the card can raise fewer. */
static void sends_by_message(void **state)
{
    sends(true, 0);
    assert_true(nic_rig.nic->interrupts < 700 * 10);
}

static void sends_without_event_index(void **state)
{
    sends(false, EVENT_INDEX);
}

/* Fails: a card that fills in checksums gets another place than the packet's, or a complete
 * packet's bytes are changed; or a checksum is left to a card that does not fill it in. */
static void leaves_checksums_to_the_card(void **state)
{
    static const uint8_t complete[12] = {0};
    static const uint8_t blank[12] = {1, 0, 0, 0, 0, 0, 34, 0, 16, 0};
    struct dgm_nic_frame *frame;

    virtio_attach();
    assert_false(nic_rig.nic->fills_checksums);
    virtio_rig_start();
    rig->sim.offered |= 1;
    virtio_attach();
    assert_true(nic_rig.nic->fills_checksums);
    frame = nic_to_send(0, 60);
    frame->checksum_start = 34;
    frame->checksum_at = 50;
    virtio_send_one(0);
    assert_memory_equal(rig->wire_header, blank, 12);
    frame->checksum_at = 0;
    for (unsigned i = 0; i < 300; i++) /* each header is used again */
        virtio_send_one(0);
    assert_memory_equal(rig->wire_header, complete, 12);
}

/* Fails: a large packet's frames reach the card in another order or with other sizes, its header is
 * wrong, its descriptors are lost, or one is lent for which there is no room. */
static void leaves_cutting_to_the_card(void **state)
{
    static const uint8_t header[12] = {1, 4, 74, 0, 0xdc, 5, 54, 0, 16, 0};
    static const uint16_t frames[3] = {2, 0, 1};
    struct dgm_nic_frame *frame;

    rig->sim.offered |= 1ull << 0 | 1ull << 11 | 1ull << 12;
    rig->sim.size_max = 32;
    virtio_attach();
    assert_true(nic_rig.nic->cuts_ip4 && nic_rig.nic->cuts_ip6);
    frame = nic_to_send(0, 60);
    for (unsigned i = 0; i < 3; i++) {
        memset(dgm_env_va(nic_rig.buffers[NIC_SEND + i].gfn), (int)i + 1, 4096);
        nic_rig.lent[NIC_SEND + i] = true;
    }
    *frame = (struct dgm_nic_frame){.gfn = dgm_gfn(NIC_RAM + NIC_SEND + 2),
                                    .bytes = 9000,
                                    .checksum_start = 54,
                                    .checksum_at = 70,
                                    .mss = 1500,
                                    .header_bytes = 74,
                                    .ip = 6,
                                    .count = 3,
                                    .frames = frames,
                                    .base = dgm_gfn(NIC_RAM + NIC_SEND)};
    for (unsigned i = 0; i < 50; i++) {
        virtio_lend(frame, true, DGM_OK);
        nic_rig.nic->ops->kick(nic_rig.nic);
        assert_int_equal(dgm_simvirtio_send(&rig->sim, 1), 1);
        virtio_turn();
        assert_int_equal(nic_rig.last_bytes, 9000);
        assert_true(nic_rig.wire[0] == 3 && nic_rig.wire[4096] == 1 && nic_rig.wire[8999] == 2);
        assert_memory_equal(rig->wire_header, header, 12);
    }
    for (unsigned i = 3; i < 3 + 15; i++) /* two of 32 descriptors are left */
        virtio_lend(nic_to_send(i, 60), true, DGM_OK);
    virtio_lend(frame, true, DGM_EAGAIN);
    nic_rig.lent[NIC_SEND + 1] = nic_rig.lent[NIC_SEND + 2] = false;
}

/* Fails: large packets are given to a card that does not cut them, or never has room for one. */
static void cards_that_do_not_cut(void **state)
{
    rig->sim.offered |= 1ull << 11 | 1ull << 12; /* without checksums */
    virtio_attach();
    assert_true(!(rig->sim.accepted & (3ull << 11)) && !nic_rig.nic->cuts_ip4);
    virtio_rig_start();
    rig->sim.offered |= 1ull << 0 | 1ull << 11;
    rig->sim.size_max = 16;
    virtio_attach();
    assert_false(nic_rig.nic->cuts_ip4 || nic_rig.nic->cuts_ip6);
    virtio_rig_start();
    rig->sim.offered |= 1ull << 0 | 1ull << 12;
    virtio_attach();
    assert_true(!nic_rig.nic->cuts_ip4 && nic_rig.nic->cuts_ip6);
}

/* Fails: a card that looks at its queue all the time is notified nevertheless: a trap each. */
static void spares_doorbells(void **state)
{
    virtio_attach();
    virtio_lend(nic_to_send(0, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    for (unsigned i = 1; i < 100; i++) {
        virtio_lend(nic_to_send(i, 60), true, DGM_OK);
        nic_rig.nic->ops->kick(nic_rig.nic);
        assert_int_equal(dgm_simvirtio_send(&rig->sim, 1), 1);
        virtio_turn();
    }
    assert_int_equal(rig->sim.doorbells, 1);
}

/* Fails: a full queue overruns. */
static void a_full_queue_returns_eagain(void **state)
{
    virtio_attach();
    for (unsigned i = 0; i < nic_rig.nic->transmit_max; i++)
        virtio_lend(nic_to_send(i, 60), true, DGM_OK);
    virtio_lend(nic_to_send(150, 60), true, DGM_EAGAIN);
    virtio_supply_all();
    virtio_lend(&nic_rig.buffers[199], false, DGM_EAGAIN);
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_simvirtio_send(&rig->sim, 1000), nic_rig.nic->transmit_max);
    virtio_turn();
    assert_int_equal(nic_rig.sent, nic_rig.nic->transmit_max);
}

/* Fails: received packets are lost or cut. */
static void receives(void **state)
{
    uint8_t packet[1518];

    virtio_attach();
    virtio_supply_all();
    nic_rig.resupply = true;
    for (unsigned i = 0; i < 70000; i++) {
        const uint32_t bytes = 60 + i % 1459;

        memset(packet, (int)i & 0xff, sizeof packet);
        assert_true(dgm_simvirtio_receive(&rig->sim, NULL, packet, bytes));
        virtio_turn();
        assert_int_equal(nic_rig.received, i + 1);
        assert_int_equal(nic_rig.last_bytes, bytes);
        assert_int_equal(nic_rig.last_byte, i & 0xff);
    }
}

/* Fails: an impossible length is taken for a packet. */
static void refuses_impossible_lengths(void **state)
{
    static const uint32_t wrong[] = {1, 12, 25, 12 + 1519, 65548, UINT32_MAX};
    static const uint8_t packet[1519];

    virtio_attach();
    virtio_supply_all();
    for (unsigned i = 0; i < 6; i++) {
        rig->sim.bytes_wrong = wrong[i];
        assert_true(dgm_simvirtio_receive(&rig->sim, NULL, packet, 100));
        virtio_turn();
    }
    rig->sim.bytes_wrong = 0;
    assert_true(dgm_simvirtio_receive(&rig->sim, NULL, packet, 1519));
    virtio_turn();
    assert_int_equal(nic_rig.received, 0);
    assert_int_equal(nic_rig.damaged, 7);
    assert_int_equal(nic_rig.nic->bogus, 7);
    assert_true(dgm_simvirtio_receive(&rig->sim, NULL, packet, 100));
    virtio_turn();
    assert_int_equal(nic_rig.received, 1);
}

/* Fails: a run collects all packets that were received, and all other tasks wait for it; or those
 * left are not collected without another interrupt. */
static void a_run_ends_when_its_work_is_spent(void **state)
{
    virtio_attach();
    virtio_supply_all();
    nic_rig_check_run(&virtio_ways);
}

/* Fails: a used entry that was not lent ends another's loan, or reaches beyond the tables. */
static void resets_a_card_that_returns_what_it_has_not(void **state)
{
    static const uint32_t wrong[] = {1, 256, 0x10000, UINT32_MAX - 100};

    virtio_attach();
    virtio_supply_all();
    for (unsigned i = 0; i < 4; i++) {
        virtio_lend(nic_to_send(i, 60), true, DGM_OK);
        nic_rig.nic->ops->kick(nic_rig.nic);
        rig->sim.id_wrong = wrong[i];
        dgm_simvirtio_send(&rig->sim, 1);
        rig->sim.id_wrong = 0;
        virtio_wait_ms(100);
        assert_int_equal(nic_rig.nic->bogus, i + 1);
        assert_int_equal(rig->sim.resets, i + 2);
        assert_int_equal(nic_rig.sent, 2 * i + 1);
        virtio_send_one(9);
    }
    rig->sim.returns_too_many = 200;
    virtio_lend(nic_to_send(1, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    dgm_simvirtio_send(&rig->sim, 1);
    rig->sim.returns_too_many = 0;
    virtio_wait_ms(100);
    assert_int_equal(nic_rig.nic->bogus, 5);
    virtio_send_one(9);
}

/* Fails: a lost interrupt or a lost doorbell stops the card. */
static void needs_neither_interrupt_nor_doorbell(void **state)
{
    static const uint8_t packet[100];

    virtio_attach();
    virtio_supply_all();
    for (unsigned i = 0; i < 200; i++)
        dgm_simvirtio_receive(&rig->sim, NULL, packet, 100);
    rig->no_interrupts = rig->sim.deaf = true;
    virtio_lend(nic_to_send(0, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_simvirtio_send(&rig->sim, 9), 0);
    rig->sim.deaf = false;
    virtio_wait_ms(1100);
    assert_int_equal(nic_rig.received, nic_rig.nic->supply_max);
    assert_int_equal(dgm_simvirtio_send(&rig->sim, 9), 1);
    virtio_wait_ms(1100);
    assert_int_equal(nic_rig.sent, 1);
    assert_int_equal(nic_rig.nic->stalls, 0);
}

/* Fails: a line that stays asserted keeps the reactor busy, so no other device is served. */
static void masks_a_stuck_line(uint8_t isr)
{
    static const uint8_t packet[100];

    virtio_attach();
    virtio_supply_all();
    rig->sim.line_stuck = true;
    rig->sim.isr_stuck = isr;
    virtio_turn();
    assert_true(nic_rig.irq_masked);
    assert_int_equal(dgm_sim_logged("masked, and polled"), 1);
    for (unsigned i = 0; i < 10; i++)
        dgm_simvirtio_receive(&rig->sim, NULL, packet, 100);
    virtio_wait_ms(20);
    assert_int_equal(nic_rig.received, 10);
}

static void masks_a_line_without_a_cause(void **state)
{
    masks_a_stuck_line(0);
}

static void masks_a_line_whose_cause_stays(void **state)
{
    masks_a_stuck_line(1);
}

/* Fails: without link packets accumulate, or the return of the link is not detected. */
static void follows_the_link(bool message)
{
    rig->sim.message = nic_rig.env.irq_message = message;
    virtio_attach();
    dgm_simvirtio_set_link(&rig->sim, false);
    virtio_turn();
    assert_false(nic_rig.nic->link);
    virtio_lend(nic_to_send(0, 60), true, DGM_EIO);
    dgm_simvirtio_set_link(&rig->sim, true);
    virtio_turn();
    assert_true(nic_rig.nic->link);
    virtio_send_one(0);
}

static void follows_the_link_by_line(void **state)
{
    follows_the_link(false);
}

static void follows_the_link_by_message(void **state)
{
    follows_the_link(true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, virtio_rig_setup, virtio_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(starts),
        TEST(starts_with_least),
        TEST(takes_what_platforms_need),
        TEST(refuses_an_unusable_mtu),
        TEST(sends_by_line),
        TEST(sends_by_message),
        TEST(sends_without_event_index),
        TEST(leaves_checksums_to_the_card),
        TEST(leaves_cutting_to_the_card),
        TEST(cards_that_do_not_cut),
        TEST(spares_doorbells),
        TEST(a_full_queue_returns_eagain),
        TEST(receives),
        TEST(a_run_ends_when_its_work_is_spent),
        TEST(refuses_impossible_lengths),
        TEST(resets_a_card_that_returns_what_it_has_not),
        TEST(needs_neither_interrupt_nor_doorbell),
        TEST(masks_a_line_without_a_cause),
        TEST(masks_a_line_whose_cause_stays),
        TEST(follows_the_link_by_line),
        TEST(follows_the_link_by_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
