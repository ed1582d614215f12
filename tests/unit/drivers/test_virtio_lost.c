/* SPDX-License-Identifier: MIT */
/*
 * virtio lost: if these fail, a card that is silent, demands a reset, does not end one or has left
 * the bus is given up too soon, or keeps its buffers, or another one is taken for it.
 */
#include "virtio_rig.h"

static struct virtio_rig *const rig = &virtio_rig;

/* Fails: a card that makes no progress keeps its buffers, or does not work again. */
static void resets_a_silent_card(void **state)
{
    static const uint8_t packet[100];

    virtio_attach();
    virtio_supply_all();
    nic_rig.resupply = true;
    virtio_wait_ms(20000); /* nothing to send is no silence */
    assert_int_equal(nic_rig.nic->stalls, 0);
    rig->sim.silent = true;
    virtio_lend(nic_to_send(0, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    virtio_wait_ms(7000);
    assert_int_equal(nic_rig.nic->stalls, 1);
    assert_int_equal(nic_rig.sent, 1);
    rig->sim.silent = false;
    virtio_send_one(1);
    for (unsigned i = 0; i < 300; i++) {
        assert_true(dgm_simvirtio_receive(&rig->sim, NULL, packet, 100));
        virtio_turn();
    }
    assert_int_equal(nic_rig.received, 300);
}

/* Fails: a card's demand for a reset is ignored, or one that never works again is reset without
 * end. */
static void resets_on_demand(void **state)
{
    virtio_attach();
    virtio_supply_all();
    dgm_simvirtio_demand_reset(&rig->sim);
    virtio_wait_ms(100);
    assert_int_equal(rig->sim.resets, 2);
    virtio_send_one(0);
    rig->sim.always_needs_reset = true;
    dgm_simvirtio_demand_reset(&rig->sim);
    virtio_wait_ms(20000);
    assert_false(nic_rig.nic->failed);
    virtio_wait_ms(60000);
    assert_true(nic_rig.nic->failed && nic_rig.cut);
    assert_int_equal(nic_rig.damaged, nic_rig.nic->supply_max);
    assert_int_equal(rig->sim.resets, 2 + 16);
}

/* Fails: a card that does not end its reset for a while is given up; or one that never ends it
 * keeps its buffers, or still reaches memory. */
static void fails_permanently(void **state)
{
    virtio_attach();
    virtio_supply_all();
    rig->sim.silent = rig->sim.never_ends = true;
    virtio_lend(nic_to_send(0, 60), true, DGM_OK);
    nic_rig.nic->ops->kick(nic_rig.nic);
    virtio_wait_ms(50000);
    assert_true(!nic_rig.nic->failed && !nic_rig.nic->link);
    virtio_wait_ms(30000);
    assert_true(nic_rig.nic->failed && nic_rig.cut);
    assert_int_equal(nic_rig.sent, 1);
    assert_int_equal(nic_rig.damaged, nic_rig.nic->supply_max);
    virtio_lend(nic_to_send(1, 60), true, DGM_EIO);
    virtio_lend(&nic_rig.buffers[NIC_QUEUES], false, DGM_EIO);
}

/* Fails: a card that became another one in a reset is used with the former's buffers. */
static void refuses_another_card_after_a_reset(void **state)
{
    virtio_attach();
    virtio_supply_all();
    rig->sim.size_max = 64;
    dgm_simvirtio_demand_reset(&rig->sim);
    virtio_wait_ms(100);
    assert_true(nic_rig.nic->failed && nic_rig.cut);
}

/* Fails: a card that left the bus is given up, is not restored, keeps what it had to send or loses
 * its buffers; or it is used while it is away. */
static void waits_for_a_card_that_left(void **state)
{
    virtio_attach();
    virtio_supply_all();
    nic_rig_check_loss(&virtio_ways);
}

/* Fails: another card is taken for the one that left, or the right one is not looked for. */
static void another_card_is_not_taken(void **state)
{
    virtio_attach();
    virtio_supply_all();
    nic_rig_check_another(&virtio_ways);
}

/* Fails: a card is reset because the machine was paused. */
static void a_jump_of_the_clock(void **state)
{
    virtio_attach();
    nic_rig_check_jump(&virtio_ways);
}

/* Fails: a card that another master has reset behind the driver's back stays silent. */
static void resets_a_card_that_forgot_its_driver(void **state)
{
    virtio_attach();
    virtio_supply_all();
    dgm_simvirtio_init(&rig->sim);
    virtio_wait_ms(1100);
    virtio_send_one(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, virtio_rig_setup, virtio_rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(resets_a_silent_card),       TEST(resets_on_demand),
        TEST(fails_permanently),          TEST(refuses_another_card_after_a_reset),
        TEST(waits_for_a_card_that_left), TEST(another_card_is_not_taken),
        TEST(a_jump_of_the_clock),        TEST(resets_a_card_that_forgot_its_driver),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
