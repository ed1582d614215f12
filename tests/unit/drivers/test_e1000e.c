/* SPDX-License-Identifier: MIT */
/*
 * e1000e: if these fail, packets are lost or mixed up, a buffer is returned twice or never, or the
 * card accesses memory that was not lent to it.
 */
#include "e1000e_rig.h"

static struct e1000e_rig *const rig = &e1000e_rig;

static void lend_buffer(struct dgm_nic_frame *frame, bool transmit, int expected)
{
    assert_int_equal(nic_lend(frame, transmit), expected);
}

static void attach_card(void)
{
    assert_int_equal(dgm_e1000e_start(&rig->card, &nic_rig.env), DGM_OK);
    e1000e_wait_ms(50);
    assert_true(nic_rig.nic->ready && nic_rig.nic->link && !nic_rig.nic->failed);
}

static void send_one(unsigned index)
{
    const unsigned sent = nic_rig.sent;

    lend_buffer(nic_to_send(index, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_sime1000e_send(&rig->sim, 9), 1);
    e1000e_turn();
    assert_int_equal(nic_rig.sent, sent + 1);
}

static void receive_one(void)
{
    static const uint8_t packet[100];

    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
}

static void power_off(uint64_t mac)
{
    rig->sim.mac = mac;
    dgm_sime1000e_init(&rig->sim);
}

static const struct nic_ways ways = {.send_one = send_one,
                                     .receive_one = receive_one,
                                     .turn = e1000e_turn,
                                     .wait_ms = e1000e_wait_ms,
                                     .power_off = power_off};

static void supply_all(void)
{
    for (unsigned i = 0; i < DGM_E1000E_SUPPLY; i++)
        lend_buffer(&nic_rig.buffers[NIC_QUEUES + i], false, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
}

/* Fails: the card is not reset, or its address is read wrong. */
static void a_card_starts_without_bus_mastering(void **state)
{
    attach_card();
    assert_true(nic_rig.nic->mac == rig->sim.mac);
    assert_int_equal(rig->sim.resets, 1);
    assert_true(nic_rig.changes > 0);
}

/* Fails: packets are lost, sent twice, out of order, or not returned. Over many laps. */
static void packets_are_sent_in_order(void **state)
{
    unsigned count = 0;

    attach_card();
    for (unsigned lap = 0; lap < 10; lap++) {
        for (unsigned i = 0; i < 100; i++)
            lend_buffer(nic_to_send(i, (uint16_t)(14 + 15 * i)), true, DGM_OK);
        nic_rig.nic->ops->kick(nic_rig.nic);
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(dgm_sime1000e_send(&rig->sim, 1), 1);
            assert_int_equal(nic_rig.last_bytes, 14 + 15 * i);
            assert_int_equal(nic_rig.wire[nic_rig.last_bytes - 1], i);
            e1000e_turn();
            assert_int_equal(nic_rig.sent, ++count);
        }
    }
    assert_int_equal(nic_rig.on_wire, 1000);
    assert_int_equal(nic_rig.nic->sent, 1000);
}

/* Fails: a full queue overruns. */
static void a_full_queue_returns_eagain(void **state)
{
    attach_card();
    for (unsigned i = 0; i < nic_rig.nic->transmit_max; i++)
        lend_buffer(nic_to_send(i, 60), true, DGM_OK);
    lend_buffer(nic_to_send(300, 60), true, DGM_EAGAIN);
    supply_all();
    lend_buffer(&nic_rig.buffers[199], false, DGM_EAGAIN);
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_sime1000e_send(&rig->sim, 1000), nic_rig.nic->transmit_max);
    e1000e_turn();
    assert_int_equal(nic_rig.sent, nic_rig.nic->transmit_max);
}

/* Fails: the card gets a wrong address for a buffer that it cannot reach. */
static void unreachable_buffers_are_refused(void **state)
{
    const uint64_t mask = nic_rig.env.tag.mask;

    attach_card();
    nic_rig.env.tag.mask = UINT32_MAX; /* the window lies above 4 GiB */
    lend_buffer(nic_to_send(0, 60), true, DGM_ERANGE);
    lend_buffer(&nic_rig.buffers[199], false, DGM_ERANGE);
    nic_rig.env.tag.mask = mask;
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_sime1000e_send(&rig->sim, 1), 0);
}

/* Fails: received packets are lost or cut. */
static void packets_are_received_in_order(void **state)
{
    uint8_t packet[1518];

    attach_card();
    supply_all();
    nic_rig.resupply = true;
    for (unsigned i = 0; i < 1000; i++) {
        const uint32_t bytes = 60 + i % 1459;

        memset(packet, (int)i & 0xff, sizeof packet);
        assert_true(dgm_sime1000e_receive(&rig->sim, packet, bytes));
        e1000e_turn();
        assert_int_equal(nic_rig.received, i + 1);
        assert_int_equal(nic_rig.last_bytes, bytes);
        assert_int_equal(nic_rig.last_byte, i & 0xff);
    }
}

/* Fails: a damaged packet, a part of one, or an impossible length is taken for a packet. */
static void refuses_damaged(void **state)
{
    static const uint8_t packet[5000];

    attach_card();
    supply_all();
    rig->sim.errors = 1;
    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
    rig->sim.errors = 0;
    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 5000)); /* in three buffers */
    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 1519));
    rig->sim.bytes_wrong = 5;
    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
    rig->sim.bytes_wrong = 65535;
    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
    rig->sim.bytes_wrong = 0;
    e1000e_turn();
    assert_int_equal(nic_rig.received, 0);
    assert_int_equal(nic_rig.damaged, 7);
    assert_int_equal(nic_rig.nic->bogus, 3);
    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
    e1000e_turn();
    assert_int_equal(nic_rig.received, 1);
}

/* Fails: a run collects all packets that were received, and all other tasks wait for it; or those
 * left are not collected without another interrupt. */
static void a_run_ends_when_its_work_is_spent(void **state)
{
    attach_card();
    supply_all();
    nic_rig_check_run(&ways);
}

/* Fails: a lost interrupt stops the card, or missed packets are not counted. */
static void needs_no_interrupt(void **state)
{
    static const uint8_t packet[100];
    struct dgm_irq *irq;

    attach_card();
    supply_all();
    for (unsigned i = 0; i < 200; i++)
        dgm_sime1000e_receive(&rig->sim, packet, 100);
    irq = nic_rig.irq;
    nic_rig.irq = NULL;
    e1000e_wait_ms(1100);
    assert_int_equal(nic_rig.received, DGM_E1000E_SUPPLY);
    assert_int_equal(nic_rig.nic->missed, 200 - DGM_E1000E_SUPPLY);
    nic_rig.irq = irq;
}

/* Fails: the line is masked because another device asserts it, or because there is much to do; or
 * it stays asserted, with a cause that cannot be cleared or with none, and no other device is
 * served; or packets wait for seconds while it is masked. */
static void masks_only_a_stuck_line(void **state)
{
    static const uint8_t packet[100];
    unsigned turns = 0;

    attach_card();
    supply_all();
    nic_rig.resupply = true;
    for (unsigned i = 0; i < 1000; i++)
        nic_rig.irq->handle(nic_rig.irq);
    rig->sim.line_stuck = true; /* or the next packet is there already */
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
        e1000e_turn();
    }
    assert_false(nic_rig.irq_masked);
    for (; !nic_rig.irq_masked && turns < 1000; turns++) {
        rig->sim.causes_kept = turns % 2;
        e1000e_turn();
    }
    assert_in_range(turns, 50, 150);
    assert_int_equal(dgm_sim_logged("masked, and polled"), 1);
    assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
    e1000e_wait_ms(20);
    assert_int_equal(nic_rig.received, 1001);
}

/* Fails: without link packets accumulate, or the return of the link is not detected. */
static void follows_the_link(void **state)
{
    attach_card();
    dgm_sime1000e_set_link(&rig->sim, false);
    e1000e_turn();
    assert_false(nic_rig.nic->link);
    lend_buffer(nic_to_send(0, 60), true, DGM_EIO);
    dgm_sime1000e_set_link(&rig->sim, true);
    e1000e_turn();
    assert_true(nic_rig.nic->link);
    lend_buffer(nic_to_send(0, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_sime1000e_send(&rig->sim, 9), 1);
}

/* Fails: a card that makes no progress keeps its buffers, or does not work again. */
static void resets_a_silent_card(void **state)
{
    static const uint8_t packet[100];

    attach_card();
    supply_all();
    nic_rig.resupply = true;
    e1000e_wait_ms(20000); /* nothing to send is no silence */
    assert_int_equal(nic_rig.nic->stalls, 0);
    rig->sim.silent = true;
    lend_buffer(nic_to_send(0, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    e1000e_wait_ms(7000);
    assert_int_equal(nic_rig.nic->stalls, 1);
    assert_int_equal(nic_rig.sent, 1);
    rig->sim.silent = false;
    assert_true(nic_rig.nic->link);
    lend_buffer(nic_to_send(1, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    assert_int_equal(dgm_sime1000e_send(&rig->sim, 9), 1);
    for (unsigned i = 0; i < 300; i++) {
        assert_true(dgm_sime1000e_receive(&rig->sim, packet, 100));
        e1000e_turn();
    }
    assert_int_equal(nic_rig.received, 300);
    assert_int_equal(nic_rig.sent, 2);
}

/* Fails: a card that does not end its reset for a while is given up; or one that never ends it
 * keeps its buffers, or still reaches memory. */
static void fails_permanently(void **state)
{
    attach_card();
    supply_all();
    rig->sim.silent = rig->sim.never_ends = true;
    lend_buffer(nic_to_send(0, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    e1000e_wait_ms(50000);
    assert_true(!nic_rig.nic->failed && !nic_rig.nic->link);
    nic_rig.away = true; /* this time does not count */
    e1000e_wait_ms(100000);
    nic_rig.away = false;
    e1000e_wait_ms(50000);
    assert_false(nic_rig.nic->failed);
    e1000e_wait_ms(30000);
    assert_true(nic_rig.nic->failed && nic_rig.cut);
    assert_int_equal(nic_rig.sent, 1);
    assert_int_equal(nic_rig.damaged, DGM_E1000E_SUPPLY);
    lend_buffer(nic_to_send(1, 60), true, DGM_EIO);
    lend_buffer(&nic_rig.buffers[NIC_QUEUES], false, DGM_EIO);
}

/* Fails: a card that left the bus is given up, is not restored, keeps what it had to send or loses
 * its buffers; or it is used while it is away. */
static void waits_for_a_card_that_left(void **state)
{
    attach_card();
    supply_all();
    nic_rig_check_loss(&ways);
}

/* Fails: another card is taken for the one that left, or the right one is not looked for. */
static void another_card_is_not_taken(void **state)
{
    attach_card();
    supply_all();
    nic_rig_check_another(&ways);
}

/* Fails: a card is reset because the machine was paused. */
static void a_jump_of_the_clock(void **state)
{
    attach_card();
    nic_rig_check_jump(&ways);
}

/* Fails: an unusable card is used. */
static void refuses_unusable(void **state)
{
    struct dgm_device_env env = nic_rig.env;

    nic_rig.env.tag.coherent = false;
    assert_int_equal(dgm_e1000e_start(&rig->card, &nic_rig.env), DGM_EOPNOTSUPP);
    nic_rig.env = env;
    nic_rig.env.mmio_bytes = 0x1000;
    assert_int_equal(dgm_e1000e_start(&rig->card, &nic_rig.env), DGM_ENODEV);
    nic_rig.env = env;
    nic_rig.env.tag.mask = UINT32_MAX; /* the window lies above 4 GiB */
    assert_int_equal(dgm_e1000e_start(&rig->card, &nic_rig.env), DGM_ERANGE);
    assert_true(nic_rig.nic->failed && !nic_rig.nic->ready && nic_rig.cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_card_starts_without_bus_mastering, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(packets_are_sent_in_order, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_returns_eagain, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(unreachable_buffers_are_refused, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(packets_are_received_in_order, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(refuses_damaged, e1000e_rig_setup, e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(a_run_ends_when_its_work_is_spent, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(needs_no_interrupt, e1000e_rig_setup, e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(masks_only_a_stuck_line, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(follows_the_link, e1000e_rig_setup, e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(resets_a_silent_card, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(fails_permanently, e1000e_rig_setup, e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(waits_for_a_card_that_left, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(another_card_is_not_taken, e1000e_rig_setup,
                                        e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(a_jump_of_the_clock, e1000e_rig_setup, e1000e_rig_teardown),
        cmocka_unit_test_setup_teardown(refuses_unusable, e1000e_rig_setup, e1000e_rig_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
