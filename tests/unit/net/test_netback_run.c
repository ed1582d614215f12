/* SPDX-License-Identifier: MIT */
/*
 * one run of a vif's task, and of a card's: if these fail, one guest delays the tasks of all
 * others, or gets events for which it did not ask.
 */
#include "vif_rig.h"

#include <dragoman/base/status.h>
#include <dragoman/net/card.h>
#include <net/internal.h>
#include <net/packet.h>
#include <net/switch.h>

#define SMALL 60u

static void send_small(domid_t from, domid_t to)
{
    uint8_t packet[SMALL];

    vif_make(packet, sizeof packet, from, to);
    vif_send(from, packet, sizeof packet, 1, 0);
}

/* Runs turns until nothing is to be done, and returns the work of the longest run. */
static uint32_t most_work(domid_t pushed)
{
    vbd.reactor.run_work_max = 0;
    vif_push(pushed);
    return vbd.reactor.run_work_max;
}

/* --- events --- */

/* The guest asks for an event with the response `after` those that are there. */
static void ask(struct vif_front *front, unsigned transmit_after, unsigned receive_after)
{
    front->transmit.sring->rsp_event = front->transmit.sring->rsp_prod + transmit_after;
    front->receive.sring->rsp_event = front->receive.sring->rsp_prod + receive_after;
}

/* Events that guest 1 gets when it sends a packet to 2 and gets one from there. */
static unsigned events_of_exchange(void)
{
    const uint64_t before = vif.back[1].counters.events_sent;

    send_small(1, 2);
    vif_push(1);
    send_small(2, 1);
    vif_push(2);
    return (unsigned)(vif.back[1].counters.events_sent - before);
}

/* Fails: a guest is woken for nothing, or not when it asked; with one event channel or two. */
static void events_are_asked_for(void **state)
{
    vif_connect(2, 100);
    for (unsigned common = 0; common < 2; common++) {
        struct vif_front *front = &vif.front[1];
        const uint64_t before = vif.back[1].counters.events_sent;

        front->common = common;
        vif_connect(1, 50);
        assert_int_equal(vif.back[1].counters.events_sent, before);
        ask(front, 100, 100);
        assert_int_equal(events_of_exchange(), 0);
        ask(front, 1, 100);
        assert_int_equal(events_of_exchange(), 1);
        ask(front, 100, 1);
        assert_int_equal(events_of_exchange(), 1);
        ask(front, 1, 1);
        assert_int_equal(events_of_exchange(), 2);
        vif_close(1);
        vif_write(1, "state", XenbusStateInitialising);
        vbd_run();
    }
}

/* --- the charge of a batch --- */

/* Fails: a vif takes more from its guest than a card may have of it, or less at a time: a large
 * packet counts as the packets into which a card cuts it. */
static void a_batch_counts_cuts(void **state)
{
    static const struct {
        unsigned length, drains; /* of two such packets */
    } cases[] = {{3500, 1}, {3499, 1}, {3501, 2}, {4000, 2}};
    static const netif_extra_info_t extra = {
        .type = XEN_NETIF_EXTRA_TYPE_GSO, .u.gso = {.size = 500, .type = XEN_NETIF_GSO_TYPE_TCPV4}};
    uint8_t packet[4000];

    vif_connect(1, 0);
    vif.front[1].extra = &extra;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint64_t before = vif.back[1].counters.drains;

        for (unsigned k = 0; k < 2; k++) {
            vif_make(packet, cases[i].length, 1, 2);
            vif_send(1, packet, cases[i].length, 1, NETTXF_csum_blank);
        }
        vif_push(1);
        assert_int_equal(vif.back[1].counters.drains - before, cases[i].drains);
    }
}

/* --- work --- */

/* Fails: a run takes a whole batch of large packets after its work is spent. */
static void a_run_ends_taking(void **state)
{
    enum { FRAMES = 4, COUNT = 16 };
    static uint8_t packet[FRAMES * DGM_FRAME_BYTES - 100];

    vif_connect(1, 0);
    vif.back[1].env.card_frames = 160; /* the card's share does not end the batch */
    for (unsigned i = 0; i < COUNT; i++) {
        vif_make(packet, sizeof packet, 1, 2);
        vif_send(1, packet, sizeof packet, FRAMES, 0);
    }
    assert_in_range(most_work(1), DGM_RUN_WORK, DGM_RUN_WORK + 40);
    assert_int_equal(vif.back[1].port.counters.packets_in, COUNT);
}

/* Fails: a run delivers all packets that wait for its guest. */
static void a_run_ends_delivering(void **state)
{
    vif_connect(1, 0);
    vif_connect(2, 0);
    for (unsigned i = 0; i < VIF_QUEUE_FRAMES; i++)
        send_small(1, 2);
    vif_push(1);
    vif_post(2, VIF_QUEUE_FRAMES);
    assert_in_range(most_work(2), DGM_RUN_WORK, DGM_RUN_WORK + dgm_packet_work(1));
    assert_int_equal(vif.front[2].packets, VIF_QUEUE_FRAMES);
}

/* Fails: a run whose work is spent for one direction serves the other one, too; or the next run
 * serves the same direction first again. */
static void a_run_serves_both_in_turn(void **state)
{
    for (unsigned first = 0; first < 2; first++) {
        const struct dgm_switch_port_counters *const counters = &vif.back[2].port.counters;
        const uint64_t before = counters->packets_in;

        vif_connect(1, 0);
        vif_connect(2, 0);
        vif.back[2].env.card_frames = 160;
        vif.back[2].queues[0].transmits_first = first;
        for (unsigned i = 0; i < VIF_QUEUE_FRAMES; i++)
            send_small(1, 2);
        vif_push(1);
        for (unsigned i = 0; i < 2 * DGM_NETBACK_PACKETS; i++)
            send_small(2, 3);
        vif_post(2, VIF_QUEUE_FRAMES);
        RING_PUSH_REQUESTS(&vif.front[2].transmit);
        vbd.reactor.run_work_max = 0;
        for (unsigned run = 0; run < 2; run++)
            (void)vbd_turn();
        assert_true(counters->packets_in - before >= DGM_NETBACK_PACKETS - 1);
        assert_true(dgm_netback_queue_packets(&vif.back[2], 0).to >= DGM_NETBACK_PACKETS - 1);
        vif_push(2);
        assert_in_range(vbd.reactor.run_work_max, DGM_RUN_WORK, DGM_RUN_WORK + DGM_RUN_WORK / 2);
        assert_int_equal(vif.front[2].packets, (first + 1) * VIF_QUEUE_FRAMES);
        for (domid_t domid = 1; domid <= 2; domid++) {
            vif_close(domid);
            vif_write(domid, "state", XenbusStateInitialising);
            vbd_run();
        }
    }
}

/* --- a card --- */

static struct {
    struct dgm_nicdev nic;
    struct dgm_net_card card;
    struct dgm_nic_frame *has[100]; /* sent, oldest first */
    unsigned count, limit;          /* packets that it has; that it takes */
} fake;

static int take_packet(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    if (fake.count == fake.limit)
        return DGM_EAGAIN;
    fake.has[fake.count++] = frame;
    return DGM_OK;
}

static int take_no_buffer(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    return DGM_EAGAIN;
}

static void ignore_kick(struct dgm_nicdev *nic)
{
}

static const struct dgm_nicdev_ops fake_ops = {
    .transmit = take_packet, .supply = take_no_buffer, .kick = ignore_kick};

/* Fails: a card's task sends all that waits, and all other tasks wait for it. */
static void a_card_ends_sending(void **state)
{
    enum { COUNT = 40 };

    memset(&fake, 0, sizeof fake);
    fake.nic = (struct dgm_nicdev){
        .name = "fake", .ops = &fake_ops, .bytes_max = 1514, .ready = true, .link = true};
    fake.limit = 1;
    assert_int_equal(
        dgm_net_card_attach(&fake.card, &fake.nic, &vif.net, &vif.packets, &vbd.reactor), DGM_OK);
    vif_connect(1, 0);
    vif.back[1].env.card_frames = 160;
    for (unsigned i = 0; i < COUNT; i++)
        send_small(1, 0);
    vif_push(1);
    assert_int_equal(fake.count, 1);
    assert_int_equal(fake.card.queue_count, COUNT - 1);
    fake.limit = COUNT;
    dgm_reactor_post(&vbd.reactor, &fake.card.task);
    assert_in_range(most_work(1), DGM_RUN_WORK, DGM_RUN_WORK + dgm_packet_work(1));
    assert_int_equal(fake.count, COUNT);
    for (unsigned i = 0; i < COUNT; i++)
        fake.nic.client->sent(fake.nic.client, fake.has[i]);
    vbd_run();
    dgm_switch_remove(&fake.card.port);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vif_setup, vif_teardown)
    const struct CMUnitTest tests[] = {
        TEST(events_are_asked_for),  TEST(a_batch_counts_cuts),       TEST(a_run_ends_taking),
        TEST(a_run_ends_delivering), TEST(a_run_serves_both_in_turn), TEST(a_card_ends_sending),
    };

    return cmocka_run_group_tests_name("netback_run", tests, NULL, NULL);
}
