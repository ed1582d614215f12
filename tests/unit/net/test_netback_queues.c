/* SPDX-License-Identifier: MIT */
/*
 * the queues of a vif: if these fail, a guest with several vCPUs has no network, gets the packets
 * of one connection out of order, or gets more than a guest with one.
 */
#include "vif_rig.h"

#include <dragoman/base/status.h>
#include <net/internal.h>
#include <net/packet.h>

#define FLOWS 32u /* of the tests: UDP ports */

/* Connects with several queues, as Linux's netfront does. */
static void connect_queues(domid_t domid, unsigned count, unsigned buffers)
{
    vif_write(domid, "multi-queue-num-queues", count);
    vif_connect_queues(domid, count, buffers);
    assert_int_equal(vif_back_key(domid, "state"), XenbusStateConnected);
    assert_int_equal(vif.back[domid].queue_count, count);
}

static void restart_frontend(domid_t domid)
{
    vif_close(domid);
    vif_write(domid, "state", XenbusStateInitialising);
    vbd_run();
}

/* A datagram of a flow, with a number. */
static void make_datagram(uint8_t *bytes, unsigned length, domid_t from, domid_t to, unsigned flow,
                          unsigned number)
{
    vif_make(bytes, length, from, to);
    memset(bytes + 14, 0, 28);
    bytes[13] = 0; /* IPv4 */
    bytes[14] = 0x45;
    bytes[16] = (uint8_t)((length - 14) >> 8);
    bytes[17] = (uint8_t)(length - 14);
    bytes[23] = DGM_IP_UDP;
    bytes[26] = bytes[30] = 10;
    bytes[29] = (uint8_t)from;
    bytes[33] = (uint8_t)to;
    bytes[35] = (uint8_t)flow; /* the source port */
    bytes[37] = 9;
    bytes[38] = (uint8_t)((length - 34) >> 8);
    bytes[39] = (uint8_t)(length - 34);
    bytes[42] = (uint8_t)flow;
    bytes[43] = (uint8_t)number;
}

static struct {
    unsigned next[FLOWS]; /* number, by flow */
    int queue[FLOWS];     /* -1: none yet */
    unsigned packets[VIF_QUEUES];
} seen;

static void note_datagram(struct vif_front *front)
{
    const unsigned flow = front->packet[42];

    assert_int_equal(front->packet[43], seen.next[flow]++);
    assert_true(seen.queue[flow] < 0 || seen.queue[flow] == (int)front->queue);
    seen.queue[flow] = (int)front->queue;
    seen.packets[front->queue]++;
}

static void watch_flows(domid_t domid)
{
    memset(&seen, 0, sizeof seen);
    for (unsigned i = 0; i < FLOWS; i++)
        seen.queue[i] = -1;
    for (unsigned i = 0; i < VIF_QUEUES; i++)
        vif_front_queue(domid, i)->on_packet = note_datagram;
}

/* Fails: packets are lost or mixed up between queues; the packets of a flow go to several queues;
 * or one queue has all the work. */
static void flows_are_spread(void **state)
{
    for (unsigned from_queues = 1; from_queues <= VIF_QUEUES; from_queues++) {
        const unsigned to_queues = VIF_QUEUES + 1 - from_queues;

        connect_queues(1, from_queues, 0);
        connect_queues(2, to_queues, 64);
        watch_flows(2);
        for (unsigned i = 0; i < 2 * FLOWS; i++) {
            uint8_t packet[200];

            make_datagram(packet, sizeof packet, 1, 2, i % FLOWS, i / FLOWS);
            vif_send_at(vif_front_queue(1, i % FLOWS % from_queues), packet, sizeof packet, 2, 0);
            if (i % 8 == 7)
                vif_push(1);
        }
        for (unsigned i = 0; i < FLOWS; i++)
            assert_int_equal(seen.next[i], 2);
        for (unsigned i = 0; i < to_queues; i++)
            assert_true(seen.packets[i] >= FLOWS / to_queues / 2);
        restart_frontend(1);
        restart_frontend(2);
        assert_int_equal(vbd.core.grant->live, 0);
    }
}

/* --- keys --- */

static void expect_error(const char *expected)
{
    char value[128];

    assert_true(dgm_xs_read(vbd.xs, "/local/domain/0/error/backend/vif/1/0/error", value,
                            sizeof value) > 0);
    if (!strstr(value, expected))
        fail_msg("\"%s\" instead of \"%s\"", value, expected);
}

static void remove_key(const char *key)
{
    char path[128];

    snprintf(path, sizeof path, "/local/domain/1/device/vif/0/%s", key);
    assert_int_equal(dgm_xs_rm(vbd.xs, path), DGM_OK);
}

static void write_wrong(unsigned which)
{
    const struct vif_front *first = vif_front_queue(1, 0), *last = vif_front_queue(1, 3);

    if (which == 0)
        vif_write(1, "multi-queue-num-queues", 0);
    else if (which == 1)
        vif_write(1, "multi-queue-num-queues", VIF_QUEUES + 1);
    else if (which == 2)
        remove_key("queue-2");
    else if (which == 3)
        vif_write(1, "queue-3/rx-ring-ref", first->ring_refs[0]);
    else if (which == 4)
        vif_write(1, "queue-3/tx-ring-ref", last->ring_refs[1]);
    else if (which == 5)
        vif_write(1, "queue-1/event-channel-tx", UINT64_MAX);
    else if (which == 6)
        remove_key("queue-3/event-channel-rx");
    else if (which == 7)
        vif_write(1, "queue-3/event-channel-rx", first->ports[0]);
    else if (which == 8)
        vif_write(1, "queue-3/tx-ring-ref", 8000);
    else if (which == 9)
        vif_write(1, "queue-2/tx-ring-ref", first->ring_refs[1]);
    else if (which == 10)
        vif_write(1, "queue-0/rx-ring-ref", first->ring_refs[0]);
    else
        vif_write(1, "request-rx-copy", 0);
}

/* Fails: a frontend that is wrong about its queues connects, is not told what is wrong, leaves
 * pages mapped, or cannot correct it. */
static void wrong_queues_are_refused(void **state)
{
    static const char *const expected[] = {
        "multi-queue-num-queues \"0\" is too small",
        "multi-queue-num-queues \"5\" is too large",
        "queue-2/tx-ring-ref is missing",
        "queue-3/rx-ring-ref is the reference of another ring",
        "queue-3/rx-ring-ref is the reference of another ring",
        "queue-1/event-channel-tx \"18446744073709551615\" is too large",
        "queue-3/event-channel-rx is missing",
        "event-channel: Xen refuses to bind this port",
        "tx-ring-ref or rx-ring-ref: Xen refuses this reference",
        "queue-2/tx-ring-ref is the reference of another ring",
        "queue-0/rx-ring-ref is the reference of another ring",
        "request-rx-copy: must be 1, packets are copied",
    };

    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        vif_write(1, "multi-queue-num-queues", VIF_QUEUES);
        for (unsigned queue = 0; queue < VIF_QUEUES; queue++) {
            vif_share(vif_front_queue(1, queue));
            vif_write_queue(vif_front_queue(1, queue), VIF_QUEUES);
        }
        vif_write(1, "request-rx-copy", 1);
        write_wrong(i);
        vif_write(1, "state", XenbusStateConnected);
        vbd_run();
        assert_int_equal(vif_back_key(1, "state"), XenbusStateClosing);
        assert_false(vif.back[1].connected);
        assert_int_equal(vbd.core.grant->live, 0);
        expect_error(expected[i]);
        restart_frontend(1);
        connect_queues(1, 1 + i % VIF_QUEUES, 0);
        restart_frontend(1);
    }
}

/* Fails: a count that is no number, which Linux's backend takes for absent, costs the vif. */
static void a_count_that_is_no_number(void **state)
{
    static const char *const counts[] = {"", "x", " ", "-1"};

    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        assert_int_equal(
            dgm_xs_write(
                vbd.xs, (struct dgm_xs_entry){"/local/domain/1/device/vif/0/multi-queue-num-queues",
                                              counts[i]}),
            DGM_OK);
        vif_connect_queues(1, 1, 0);
        assert_int_equal(vif_back_key(1, "state"), XenbusStateConnected);
        assert_int_equal(vif.back[1].queue_count, 1);
        restart_frontend(1);
    }
}

/* The map of one ring's page, which Xen does not do at first. */
static struct {
    grant_ref_t ref;
    int16_t status;
} late;

static int16_t fail_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return op->ref == late.ref ? late.status : 0;
}

/* Fails: a frontend that leaves while one of its rings is awaited connects, with the same
 * references, to a ring that is no longer mapped. */
static void restarts_while_a_ring_is_awaited(void **state)
{
    vif_write(1, "multi-queue-num-queues", 2);
    for (unsigned queue = 0; queue < 2; queue++) {
        vif_share(vif_front_queue(1, queue));
        vif_write_queue(vif_front_queue(1, queue), 2);
    }
    late.ref = vif_front_queue(1, 1)->ring_refs[0];
    late.status = GNTST_eagain;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = fail_map});
    vif_write(1, "request-rx-copy", 1);
    vif_write(1, "state", XenbusStateConnected);
    vbd_run();
    assert_true(vif.back[1].connect_pending);
    vif_write(1, "state", XenbusStateClosed);
    vbd_pass(100000000ull); /* the other pages are unmapped */
    assert_true(vbd.core.grant->live < 4);
    vif_write(1, "state", XenbusStateInitialising);
    vbd_run();
    vif_write(1, "state", XenbusStateConnected);
    vbd_run();
    late.status = GNTST_okay;
    vbd_pass(2000000000ull);
    assert_int_equal(vif_back_key(1, "state"), XenbusStateConnected);
    assert_int_equal(vbd.core.grant->live, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vif.queues[1][i / 2].pages[i % 2].held, DGM_REACH_HELD_MAPPED);
}

/* --- shares --- */

/* Fails: a queue without buffers, or whose copies Xen does not do, stops the others, or takes what
 * the vif may have. */
static void a_queue_waits_alone(void **state)
{
    uint8_t packet[100];
    unsigned slow, flow = 0;

    connect_queues(1, 1, 0);
    connect_queues(2, 4, 0);
    watch_flows(2);
    for (unsigned i = 0; i < VIF_QUEUE_FRAMES; i++) {
        make_datagram(packet, sizeof packet, 1, 2, flow, i);
        vif_send(1, packet, sizeof packet, 1, 0);
    }
    vif_push(1);
    for (slow = 0; vif.queues[2][slow].waiting_count == 0; slow++)
        assert_true(slow + 1 < VIF_QUEUES);
    assert_int_equal(vif.queues[2][slow].waiting_count, VIF_QUEUE_FRAMES / 2);
    assert_int_equal(vif.back[2].counters.dropped_queue_full, VIF_QUEUE_FRAMES / 2);
    for (unsigned i = 0; i < VIF_QUEUES; i++)
        if (i != slow)
            vif_post_at(vif_front_queue(2, i), 60);
    for (flow = 1; flow < FLOWS; flow++) {
        make_datagram(packet, sizeof packet, 1, 2, flow, 0);
        vif_send(1, packet, sizeof packet, 1, 0);
        vif_push(1);
    }
    for (unsigned i = 0; i < VIF_QUEUES; i++)
        assert_true(i == slow ? seen.packets[i] == 0 : seen.packets[i] > 0);
    vif_post_at(vif_front_queue(2, slow), 60);
    vif_push(2);
    assert_int_equal(seen.next[0], VIF_QUEUE_FRAMES / 2);
    assert_int_equal(vif.packets.free_frame_count, vif.packets.total);
}

static void push_without_running(struct vif_front *front)
{
    int notify;

    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->transmit, notify);
    assert_true(notify);
    dgm_hv_guest_send(front->domid, front->ports[0]);
}

/* Fails: a guest with four queues gets more turns than a guest with one; or one of its queues
 * starves while the others are full. */
static void queues_share_the_turns(void **state)
{
    enum { EACH = 60, RUN = VIF_CARD_FRAMES };
    uint8_t packet[60];

    connect_queues(1, 4, 0);
    connect_queues(3, 1, 0);
    for (unsigned i = 0; i < 4 * EACH; i++) {
        vif_make(packet, sizeof packet, 1, 2);
        packet[0] = 0x52; /* no port has this address */
        vif_send_at(vif_front_queue(1, i % 4), packet, sizeof packet, 1, 0);
        packet[11] = (uint8_t)(packet[11] + 2);
        vif_send(3, packet, sizeof packet, 1, 0);
    }
    for (unsigned i = 0; i < 4; i++)
        push_without_running(vif_front_queue(1, i));
    push_without_running(&vif.front[3]);
    while (vif.back[1].port.counters.packets_in < 4 * EACH) {
        uint64_t least = UINT64_MAX, most = 0;

        (void)vbd_turn();
        assert_in_range(vif.back[1].port.counters.packets_in + RUN -
                            vif.back[3].port.counters.packets_in,
                        0, 2 * RUN);
        for (unsigned i = 0; i < 4; i++) {
            const uint64_t count = vif.queues[1][i].packets_from;

            least = count < least ? count : least;
            most = count > most ? count : most;
        }
        assert_in_range(most - least, 0, RUN);
    }
    vif_push(1);
    assert_int_equal(vif.back[3].port.counters.packets_in, 4 * EACH);
}

/* The copies to guest 2's queue whose frames have these references are not done. */
static const struct vif_front *absent;

static int16_t copy_later(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    if (!absent || !(op->flags & GNTCOPY_dest_gref))
        return 0;
    for (unsigned i = 0; i < 256; i++)
        if (absent->posted[i] && absent->posted[i] == op->dest.u.ref)
            return GNTST_eagain;
    return 0;
}

/* Fails: the packets of all queues wait for a copy of one queue. */
static void a_copy_waits_in_its_queue(void **state)
{
    uint8_t packet[100];

    connect_queues(1, 1, 0);
    connect_queues(2, 4, 60);
    watch_flows(2);
    absent = vif_front_queue(2, 0);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.copy = copy_later});
    for (unsigned flow = 0; flow < FLOWS; flow++) {
        make_datagram(packet, sizeof packet, 1, 2, flow, 0);
        vif_send(1, packet, sizeof packet, 1, 0);
        vif_push(1);
    }
    const unsigned waiting = vif.queues[2][0].waiting_count;

    assert_true(waiting > 0);
    assert_int_equal(seen.packets[1] + seen.packets[2] + seen.packets[3], FLOWS - waiting);
    absent = NULL;
    vbd_pass(1000000000ull);
    vif_push(2);
    assert_int_equal(seen.packets[0], waiting);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vif_setup, vif_teardown)
    const struct CMUnitTest tests[] = {
        TEST(flows_are_spread),
        TEST(wrong_queues_are_refused),
        TEST(a_count_that_is_no_number),
        TEST(a_queue_waits_alone),
        TEST(restarts_while_a_ring_is_awaited),
        TEST(queues_share_the_turns),
        TEST(a_copy_waits_in_its_queue),
    };

    return cmocka_run_group_tests_name("netback_queues", tests, NULL, NULL);
}
