/* SPDX-License-Identifier: MIT */
/* queues: if these fail, packets of a flow change their order, a queue that its guest does not
 * serve stops the others, or a vif with several queues takes more than its share. */
#include "vif_rig.h"

#include <dragoman/base/status.h>
#include <net/internal.h>
#include <xen/io/xenbus.h>

#define FLOWS 64u

/* What arrived at guest 1: each packet has a flow and a number in it. */
static struct {
    unsigned queue[FLOWS], next[FLOWS]; /* of a flow: where it arrives, and its next number */
    unsigned packets[VIF_QUEUES];
    unsigned queue_now;
} seen;

static int start(void **state)
{
    unit_seed();
    memset(&seen, 0, sizeof seen);
    for (unsigned i = 0; i < FLOWS; i++)
        seen.queue[i] = UINT32_MAX;
    vif_start_with(&(struct dgm_netback_options){.bridge = "xenbr0", .queues_max = VIF_QUEUES});
    return 0;
}

static int stop(void **state)
{
    vif_stop();
    return 0;
}

enum { UDP_BYTES = 60, PORT_AT = 34, NUMBER_AT = 46, TYPE_AT = 12 };

/* A UDP packet of one flow. */
static void make_udp(uint8_t *bytes, domid_t from, domid_t to, uint16_t flow, uint32_t number)
{
    memset(bytes, 0, UDP_BYTES);
    vif_make(bytes, UDP_BYTES, from, to);
    memset(bytes + 14, 0, UDP_BYTES - 14);
    bytes[TYPE_AT + 1] = 0;
    bytes[14] = 0x45;
    bytes[17] = UDP_BYTES - 14;
    bytes[23] = 17;
    bytes[29] = (uint8_t)from;
    bytes[33] = (uint8_t)to;
    bytes[PORT_AT] = (uint8_t)(flow >> 8);
    bytes[PORT_AT + 1] = (uint8_t)flow;
    bytes[39] = UDP_BYTES - 34;
    memcpy(bytes + NUMBER_AT, &number, sizeof number);
}

static void check_flow(struct vif_front *front)
{
    const unsigned flow = front->packet[PORT_AT + 1];
    uint32_t number;

    assert_int_equal(front->length, UDP_BYTES);
    memcpy(&number, front->packet + NUMBER_AT, sizeof number);
    assert_int_equal(number, seen.next[flow]++);
    if (seen.queue[flow] == UINT32_MAX)
        seen.queue[flow] = front->queue;
    assert_int_equal(front->queue, seen.queue[flow]);
    seen.packets[front->queue]++;
}

static void the_offer(void **state)
{
    assert_int_equal(vif_back_key(1, "multi-queue-max-queues"), VIF_QUEUES);
}

/* Each queue gets some of the flows, and the packets of each flow stay in order. */
static void a_flow_stays_in_its_queue(void **state)
{
    uint8_t bytes[UDP_BYTES];

    vif_connect_queues(VIF_QUEUES, 64);
    vif_connect(2, 8);
    for (unsigned q = 0; q < VIF_QUEUES; q++)
        vif_queue(q)->on_packet = check_flow;
    for (uint32_t number = 0; number < 3; number++) {
        for (uint16_t flow = 0; flow < FLOWS; flow++) {
            make_udp(bytes, 2, 1, flow, number);
            vif_send(2, bytes, UDP_BYTES, 1, 0);
            if (flow % 16 == 15)
                vif_push(2);
        }
    }
    for (unsigned q = 0; q < VIF_QUEUES; q++)
        assert_in_range(seen.packets[q], 3, 3 * FLOWS / 2);
    assert_int_equal(vif.back[1].counters.dropped_queue_full, 0);
    vif_close(1);
    vif_close(2);
}

static void sends_from_each_queue(void **state)
{
    uint8_t bytes[UDP_BYTES];

    vif_connect_queues(VIF_QUEUES, 1);
    vif_connect(2, 64);
    for (unsigned q = 0; q < VIF_QUEUES; q++) {
        const unsigned before = vif.front[2].packets;

        for (uint32_t number = 0; number < 5; number++) {
            make_udp(bytes, 1, 2, (uint16_t)q, number);
            vif_send_at(vif_queue(q), bytes, UDP_BYTES, 1, 0);
        }
        vif_push(1);
        assert_int_equal(vif.front[2].packets, before + 5);
        assert_int_equal(vif_queue(q)->status[4], NETIF_RSP_OKAY);
    }
    vif_close(1);
    vif_close(2);
}

/* The guest posts buffers to one queue only. The others take at most half of the vif's frames, and
 * never all of them. */
static void an_idle_queue_leaves_room(void **state)
{
    uint8_t bytes[UDP_BYTES];
    unsigned served;

    vif_connect_queues(2, 0);
    vif_connect(2, 8);
    for (unsigned q = 0; q < 2; q++)
        vif_queue(q)->on_packet = check_flow;
    for (unsigned round = 0; round < 4; round++) {
        for (uint16_t flow = 0; flow < FLOWS; flow++) {
            make_udp(bytes, 2, 1, flow, 0);
            vif_send(2, bytes, UDP_BYTES, 1, 0);
        }
        vif_push(2);
    }
    assert_true(vif.back[1].queue_frames < VIF_QUEUE_FRAMES);
    assert_true(vif.queues[1][0].frames <= VIF_QUEUE_FRAMES / 2);
    assert_true(vif.queues[1][1].frames <= VIF_QUEUE_FRAMES / 2);
    assert_true(vif.back[1].counters.dropped_queue_full > 0);
    vif_close(1);

    /* Now the first queue is served. */
    vif_connect_queues(2, 0);
    for (uint16_t flow = 0; flow < FLOWS; flow++) {
        make_udp(bytes, 2, 1, flow, 0);
        vif_send(2, bytes, UDP_BYTES, 1, 0);
    }
    vif_push(2);
    assert_true(vif.queues[1][1].frames > 0);
    memset(&seen, 0, sizeof seen);
    served = vif.front[1].packets;
    vif_queue(0)->on_packet = NULL;
    vif_post(1, 200);
    vif_push(1);
    for (uint16_t flow = 0; flow < FLOWS; flow++) {
        make_udp(bytes, 2, 1, flow, 1);
        vif_send(2, bytes, UDP_BYTES, 1, 0);
        vif_push(2);
    }
    assert_true(vif.front[1].packets >= served + FLOWS / 4);
    assert_true(vif.queues[1][1].frames > 0);
    vif_close(1);
    vif_close(2);
}

/* The budget of a task is shared: several queues full of packets are not a larger turn. */
static void a_turn_takes_no_more(void **state)
{
    uint8_t bytes[UDP_BYTES];

    vif_connect_queues(VIF_QUEUES, 1);
    vif_connect(2, 0);
    for (unsigned q = 0; q < VIF_QUEUES; q++)
        for (uint32_t number = 0; number < 60; number++) {
            make_udp(bytes, 1, 2, (uint16_t)q, number);
            vif_send_at(vif_queue(q), bytes, UDP_BYTES, 1, 0);
        }
    vif_push(1);
    assert_int_equal(vif.back[1].port.counters.packets_in, VIF_QUEUES * 60);
    assert_true(vif.back[1].counters.drains >= VIF_QUEUES * 60 * VIF_QUEUES / DGM_NETBACK_PACKETS);
    vif_close(1);
    vif_close(2);
}

/* What a frontend may write: the first one connects. */
static void refuses_other_numbers(void **state)
{
    static const struct {
        unsigned queues;
        const char *key;
        uint64_t number;
    } cases[] = {
        {4, "multi-queue-num-queues", 0},          {4, "multi-queue-num-queues", 5},
        {4, "multi-queue-num-queues", 0xffffffff}, {4, "multi-queue-num-queues", 0x100000004},
        {2, "multi-queue-num-queues", 3}, /* and queue 2 has no keys */
        {4, "queue-3/rx-ring-ref", 99999},         {4, "queue-3/event-channel-rx", 0},
    };

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vif_connect_queues(cases[i].queues, 4);
        assert_true(vif.back[1].connected);
        vif_write(1, "state", XenbusStateClosed);
        vbd_run();
        vif_write(1, "state", XenbusStateInitialising);
        vbd_run();
        vif_write(1, cases[i].key, cases[i].number);
        vif_write(1, "state", XenbusStateConnected);
        vbd_run();
        assert_false(vif.back[1].connected);
        assert_int_equal(vif_back_key(1, "state"), XenbusStateClosing);
        assert_false(dgm_netback_holds_pages(&vif.back[1]));
        vif_close(1);
        vif_write(1, "state", XenbusStateInitialising);
        vbd_run();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_offer, start, stop),
        cmocka_unit_test_setup_teardown(a_flow_stays_in_its_queue, start, stop),
        cmocka_unit_test_setup_teardown(sends_from_each_queue, start, stop),
        cmocka_unit_test_setup_teardown(an_idle_queue_leaves_room, start, stop),
        cmocka_unit_test_setup_teardown(a_turn_takes_no_more, start, stop),
        cmocka_unit_test_setup_teardown(refuses_other_numbers, start, stop),
    };

    return cmocka_run_group_tests_name("queues", tests, NULL, NULL);
}
