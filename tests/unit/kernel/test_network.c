/* SPDX-License-Identifier: MIT */
/*
 * network: if these fail, a guest's vif does not work, is on another switch, cannot be unplugged,
 * or stays when its guest has ended; or an operator cannot tell which card is used.
 *
 * kernel/network.c as it ships, with a stand-in for a card's driver.
 */
#include "unit.h"

#include <kernel/network.c>

#include "vif_rig.h" /* behind it: it has a variable `vif` */

#define GUESTS 3u

static struct {
    struct config config;
    struct network network;
    struct dgm_frames frames;
    struct guest guests[GUESTS];
    struct dgm_device_env env;
} rig;

/* --- a card --- */

static int drop_packet(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    return DGM_EIO;
}

static int take_no_buffer(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    return DGM_EAGAIN;
}

static void ignore_kick(struct dgm_nicdev *nic)
{
}

static const struct dgm_nicdev_ops card_ops = {
    .transmit = drop_packet, .supply = take_no_buffer, .kick = ignore_kick};

static int start_card(void *state, struct dgm_device_env *env)
{
    struct dgm_nicdev *nic = state;

    nic->ops = &card_ops;
    nic->model = "a model";
    nic->mac = 0x5254a1b2c3d4;
    nic->bytes_max = 1514;
    nic->link = true;
    nic->ready = true;
    dgm_nicdev_tell_all(nic, env);
    return DGM_OK;
}

static const struct dgm_nic_driver driver = {.name = "fake",
                                             .vendor = 7,
                                             .ids = {8, 9},
                                             .state_bytes = sizeof(struct dgm_nicdev),
                                             .start = start_card};
static const struct dgm_nic_driver *const drivers[] = {&driver};

/* --- the machine: guests 1 and 2 on one switch, 3 on another --- */

static void add_vif(domid_t domid)
{
    struct config_vif *wanted = &rig.config.vifs[rig.config.vif_count++];

    *wanted = (struct config_vif){.mac = VIF_MAC + domid - 1, .queues = domid, .domid = domid};
    strcpy(wanted->bridge, domid == 3 ? "inner" : "xenbr0");
}

static int set_up(void **state)
{
    static const struct dgm_guest_limits limits = {.slots = 100};
    struct network *network = &rig.network;

    unit_seed();
    vbd_start((struct vbd_options){0});
    dgm_sim_log_clear();
    memset(&rig, 0, sizeof rig);
    memset(&vif, 0, sizeof vif);
    rig.frames = vbd.frames;
    rig.frames.locked = false;
    for (domid_t domid = 1; domid <= GUESTS; domid++)
        add_vif(domid);
    network->config = &rig.config;
    network->drivers = drivers;
    network->driver_count = 1;
    network->common.frames = &rig.frames;
    network_init(network);
    rig.env = (struct dgm_device_env){
        .frames = &rig.frames, .reactor = &vbd.reactor, .irq_message = true};
    assert_true(network_add_card(network, &driver, &rig.env, "pci 00:02.0"));
    network_start(network, &vbd.env);
    for (domid_t domid = 1; domid <= GUESTS; domid++) {
        struct guest *guest = &rig.guests[domid - 1];

        front_guest_start(domid);
        vif.front[domid].domid = domid;
        guest->base.domid = domid;
        snprintf(guest->base.name, sizeof guest->base.name, "name%u", domid);
        dgm_guest_account_init(&guest->account, domid, &limits);
        network->devices.give(&network->devices, guest);
        guest->given = true;
    }
    vbd_run();
    return 0;
}

static int clean_up(void **state)
{
    const struct guests_devices *devices = &rig.network.devices;

    for (unsigned i = 0; i < GUESTS; i++)
        devices->end(devices, &rig.guests[i]);
    vbd_run();
    for (unsigned i = 0; i < GUESTS; i++) {
        assert_true(devices->drained(devices, &rig.guests[i]));
        devices->remove(devices, &rig.guests[i]);
        assert_null(rig.network.vif[i].guest);
    }
    dgm_packets_check(&rig.network.packets);
    assert_int_equal(rig.network.packets.free_frame_count, rig.network.packets.total);
    vbd_stop();
    return 0;
}

/* Fails: the log names another card or address, or a guest's vif is on another switch. */
static void the_log_names_them(void **state)
{
    struct dgm_device_env second = rig.env;

    assert_int_equal(dgm_sim_logged("fake0 is pci 00:02.0: a model, 52:54:a1:b2:c3:d4, link up, "
                                    "MSI-X\n"),
                     1);
    assert_int_equal(dgm_sim_logged("guest 1 (name1): vif 0 is 00:16:3e:00:00:01 on xenbr0\n"), 1);
    assert_int_equal(dgm_sim_logged("guest 3 (name3): vif 0 is 00:16:3e:00:00:03 on inner\n"), 1);
    assert_int_equal(dgm_sim_logged("there is no network card"), 0);
    assert_false(network_add_card(&rig.network, &driver, &second, "pci 00:03.0"));
    assert_int_equal(dgm_sim_logged("pci 00:03.0: a second network card"), 1);
    assert_ptr_equal(rig.network.card_net, rig.network.nets[0]);
}

/* Fails: a card is served by another card's driver, or by none. */
static void a_card_gets_its_driver(void **state)
{
    const struct network *network = &rig.network;

    assert_ptr_equal(network_driver(network, &(struct dgm_pci_device){.vendor = 7, .id = 9}),
                     &driver);
    assert_null(network_driver(network, &(struct dgm_pci_device){.vendor = 7, .id = 0}));
    assert_null(network_driver(network, &(struct dgm_pci_device){.vendor = 8, .id = 8}));
}

/* Sends a packet from a connected guest. */
static void send_packet(domid_t from, domid_t to)
{
    struct vif_front *front = &vif.front[from];
    uint8_t packet[100];
    int notify;

    vif_make(packet, sizeof packet, from, to);
    vif_send(from, packet, sizeof packet, 1, 0);
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->transmit, notify);
    assert_true(notify);
    dgm_hv_guest_send(from, front->ports[0]);
    vbd_run();
}

/* Fails: guests of one switch do not reach each other, or one of another switch is reached. */
static void switches_are_apart(void **state)
{
    const struct guests_devices *devices = &rig.network.devices;

    for (domid_t domid = 1; domid <= GUESTS; domid++) {
        assert_int_equal(devices->slots(devices, &rig.guests[domid - 1]), 2 * domid);
        vif_connect(domid, 10);
        assert_int_equal(vif_back_key(domid, "state"), XenbusStateConnected);
        assert_int_equal(vif_back_key(domid, "multi-queue-max-queues"), domid);
    }
    send_packet(1, 0); /* to all */
    assert_int_equal(rig.network.vif[1].back.port.counters.packets_out, 1);
    assert_int_equal(rig.network.vif[2].back.port.counters.packets_out, 0);
    assert_int_equal(rig.network.card.counters.dropped_no_link, 1); /* it was there, too */
    for (domid_t domid = 1; domid <= GUESTS; domid++)
        vif_close(domid);
}

/* Fails: a vif is withdrawn twice, never, or another one; or it does not come again. */
static void a_vif_is_unplugged(void **state)
{
    struct network *network = &rig.network;
    const struct network_vif second = {.domid = 2};

    assert_int_equal(network_unplug(network, (struct network_vif){.domid = 2, .handle = 1}),
                     DGM_ENOENT);
    assert_int_equal(network_plug(network, &rig.guests[1], 1), DGM_ENOENT);
    assert_int_equal(network_plug(network, &rig.guests[1], 0), DGM_EEXIST);
    vif_connect(2, 10);
    assert_int_equal(network_unplug(network, second), DGM_OK);
    assert_int_equal(network_unplug(network, second), DGM_EBUSY);
    vbd_pass(UNPLUG_MAX_NS / 2);
    assert_non_null(network->vif[1].guest); /* its guest has not closed it */
    vbd_pass(UNPLUG_MAX_NS);
    assert_null(network->vif[1].guest);
    assert_non_null(network->vif[0].guest);
    assert_int_equal(dgm_sim_logged("guest 2 (name2): vif 0 is unplugged\n"), 1);
    assert_int_equal(network_unplug(network, second), DGM_ENOENT);
    assert_int_equal(network_plug(network, &rig.guests[1], 0), DGM_OK);
    vbd_run();
    rig.guests[1].state = GUEST_ENDING;
    assert_int_equal(network_unplug(network, second), DGM_ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, clean_up)
    const struct CMUnitTest tests[] = {
        TEST(the_log_names_them),
        TEST(a_card_gets_its_driver),
        TEST(switches_are_apart),
        TEST(a_vif_is_unplugged),
    };

    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
