/* SPDX-License-Identifier: MIT */
/* netback: if these fail, guests lose packets, get others' bytes, or exceed their share. */
#include "vif_rig.h"

#include <net/internal.h>
#include <net/packet.h>
#include <net/switch.h>

#define HELD_BACK 20u

static void connect_all(unsigned buffers)
{
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++) {
        vif_connect(domid, buffers);
        assert_int_equal(vif_back_key(domid, "state"), XenbusStateConnected);
    }
}

/* Checks that a packet from 1 to 2 arrives: the attacked or refused guest works. */
static void expect_traffic(void)
{
    uint8_t packet[300];
    const unsigned before = vif.front[2].packets;

    vif_make(packet, sizeof packet, 1, 2);
    vif_send(1, packet, sizeof packet, 2, 0);
    vif_push(1);
    assert_int_equal(vif.front[2].packets, before + 1);
    assert_int_equal(vif.front[2].length, sizeof packet);
    assert_memory_equal(vif.front[2].packet, packet, sizeof packet);
    vif_post(2, 1);
}

/* Fails: netfront does not connect, or waits for a feature that does not exist. */
static void what_is_offered(void **state)
{
    assert_int_equal(vif_back_key(1, "state"), XenbusStateInitWait);
    assert_int_equal(vif_back_key(1, "feature-rx-copy"), 1);
    assert_int_equal(vif_back_key(1, "feature-sg"), 1);
    assert_int_equal(vif_back_key(1, "feature-split-event-channels"), 1);
    assert_int_equal(vif_back_key(1, "feature-gso-tcpv4"), 1);
    assert_int_equal(vif_back_key(1, "feature-gso-tcpv6"), 1);
    assert_int_equal(vif_back_key(1, "feature-ipv6-csum-offload"), 1);
    assert_int_equal(vif_back_key(1, "multi-queue-max-queues"), VIF_QUEUES);
    static const char *const absent[] = {"feature-xdp-headroom", "feature-rx-flip",
                                         "feature-multicast-control"};
    for (unsigned i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_int_equal(vif_back_key(1, absent[i]), -1);
}

/* Fails: bytes are lost or mixed up, at any size, number of pieces and offsets. */
static void carries_packets(void **state)
{
    static uint8_t packet[65535];

    vif.front[2].common = true;
    vif_write(2, "feature-sg", 1);
    vif_write(3, "feature-sg", 1);
    connect_all(200);
    for (unsigned i = 0; i < 300; i++) {
        const unsigned length =
            (unsigned)(unit_chance(30) ? 14 + unit_below(65522) : 14 + unit_below(1600));
        const unsigned least = (length + 4095) / 4096;
        const unsigned pieces = least + (unsigned)unit_below(15 - (least < 15 ? least : 14));
        const domid_t to = (domid_t)(2 + unit_below(2));
        struct vif_front *front = &vif.front[to];
        const unsigned before = front->packets;

        vif_make(packet, length, 1, to);
        const uint16_t id = vif_send(1, packet, length, pieces < length ? pieces : 1, 0);
        vif_push(1);
        assert_int_equal(vif.front[1].status[id], NETIF_RSP_OKAY);
        assert_int_equal(front->packets, before + 1);
        assert_int_equal(front->length, length);
        assert_memory_equal(front->packet, packet, length);
        vif_post(to, least);
    }
    assert_int_equal(vif.front[1].packets, 0);
}

/* Fails: a batch is reordered, or a broadcast reaches its sender or not all others. */
static void carries_batches(void **state)
{
    uint8_t packet[100];

    connect_all(200);
    for (unsigned i = 0; i < 30; i++) {
        vif_make(packet, sizeof packet, 1, i % 2 ? 0 : 2);
        packet[50] = (uint8_t)i;
        vif_send(1, packet, sizeof packet, 1, 0);
    }
    vif_push(1);
    assert_int_equal(vif.front[2].packets, 30);
    assert_int_equal(vif.front[3].packets, 15);
    assert_int_equal(vif.front[1].packets, 0);
    assert_int_equal(vif.front[2].packet[50], 29);
    assert_true(dgm_netback_copied(vif.env.shared).batches <= 20);
    assert_true(vif.back[1].counters.events_sent <= 1);
}

/* Sends raw entries, as a guest that breaks the protocol does. */
static void send_raw(const netif_tx_request_t *requests, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        vif_put(1, &requests[i]);
    vif_push(1);
}

/* Fails: a chain with wrong sizes is accepted, or closes the guest's connection. */
static void refuses_lies(void **state)
{
    static const struct {
        uint16_t offset, flags, size, offset2, size2;
        enum dgm_netback_refusal refusal;
    } cases[] = {
        {0, 0, 13, 0, 0, DGM_NETBACK_TOO_SHORT},
        {4090, 0, 60, 0, 0, DGM_NETBACK_PIECE_BOUNDS},
        {4097, 0, 60, 0, 0, DGM_NETBACK_PIECE_BOUNDS},
        {65535, 0, 60, 0, 0, DGM_NETBACK_PIECE_BOUNDS},
        {0, 0, 65535, 0, 0, DGM_NETBACK_PIECE_BOUNDS},
        {0, NETTXF_more_data, 60, 0, 60, DGM_NETBACK_SIZES_DISAGREE},
        {0, NETTXF_more_data, 60, 0, 61, DGM_NETBACK_SIZES_DISAGREE},
        {0, NETTXF_more_data, 60, 0, 0, DGM_NETBACK_PIECE_BOUNDS},
        {0, NETTXF_more_data, 100, 4090, 40, DGM_NETBACK_PIECE_BOUNDS},
        {0, 0, 60, 0, 0, DGM_NETBACK_BAD_GRANT}, /* reference 0 */
    };

    connect_all(100);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const bool two = cases[i].flags & NETTXF_more_data;
        const uint64_t before = vif.back[1].counters.refused[cases[i].refusal];
        const netif_tx_request_t requests[] = {
            {.offset = cases[i].offset, .flags = cases[i].flags, .id = 250, .size = cases[i].size},
            {.offset = cases[i].offset2, .id = 251, .size = cases[i].size2},
        };

        send_raw(requests, two ? 2 : 1);
        assert_int_equal(vif.front[1].status[250], NETIF_RSP_ERROR);
        assert_int_equal(vif.back[1].counters.refused[cases[i].refusal], before + 1);
        expect_traffic();
    }
}

/* Fails: extras that were not offered have an effect, or their entries get a data entry's
 * response. */
static void refuses_extras(void **state)
{
    const netif_tx_request_t first = {.flags = NETTXF_extra_info, .id = 250, .size = 60};
    union {
        netif_extra_info_t extra;
        netif_tx_request_t entry;
    } gso = {.extra = {.type = XEN_NETIF_EXTRA_TYPE_HASH, .flags = XEN_NETIF_EXTRA_FLAG_MORE}};

    connect_all(100);
    vif_put(1, &first);
    vif_put(1, &gso);
    gso.extra.flags = 0;
    vif_put(1, &gso);
    vif_push(1);
    assert_int_equal(vif.front[1].nulls, 2);
    assert_int_equal(vif.front[1].status[250], NETIF_RSP_ERROR);
    assert_int_equal(vif.back[1].counters.refused[DGM_NETBACK_EXTRA_NOT_OFFERED], 1);
    expect_traffic();
}

/* Fails: a chain without end, or impossible indices, are followed. Only the vif is closed, and
 * works again after it is connected again. */
static void closes_broken_rings(void **state)
{
    connect_all(100);
    for (unsigned round = 0; round < 4; round++) {
        struct vif_front *front = &vif.front[1];

        for (unsigned i = 0; round < 2 && i < (round ? 21 : 3); i++)
            vif_put(1, &(netif_tx_request_t){.flags = NETTXF_more_data, .id = 250, .size = 60});
        if (round == 2)
            front->transmit.req_prod_pvt += 257;
        if (round == 3) {
            front->receive.sring->req_prod += 1000;
            dgm_hv_guest_send(1, front->ports[1]);
        }
        vif_push(1);
        assert_int_equal(vif_back_key(1, "state"), XenbusStateClosing);
        assert_int_equal(vif.back[1].counters.ring_errors, round + 1);
        vif_close(1);
        vif_write(1, "state", XenbusStateInitialising);
        vbd_run();
        assert_int_equal(vif_back_key(1, "state"), XenbusStateInitWait);
        vif_connect(1, 50);
        expect_traffic();
    }
}

/* Fails: packets that a guest does not take are lost uncounted, queued without bound, or never
 * delivered. */
static void waits_for_buffers(void **state)
{
    uint8_t packet[5000];

    vif_connect(1, 0);
    vif_connect(2, 1);
    for (unsigned i = 0; i < VIF_QUEUE_FRAMES + 10; i++) {
        vif_make(packet, sizeof packet, 1, 2);
        vif_send(1, packet, 60, 1, 0);
    }
    vif_push(1);
    assert_int_equal(vif.front[2].packets, 1);
    assert_int_equal(vif.back[2].counters.dropped_queue_full, 9);
    assert_int_equal(vif.packets.total - vif.packets.free_frame_count, VIF_QUEUE_FRAMES);
    vif_post(2, 100);
    vif_push(2);
    assert_int_equal(vif.front[2].packets, VIF_QUEUE_FRAMES + 1);
    assert_int_equal(vif.packets.free_frame_count, vif.packets.total);
    /* A packet of two buffers waits for both of them. */
    vif_close(2);
    vif_write(2, "state", XenbusStateInitialising);
    vbd_run();
    vif_write(2, "feature-sg", 1);
    vif_connect(2, 1);
    vif_make(packet, sizeof packet, 1, 2);
    vif_send(1, packet, sizeof packet, 2, 0);
    vif_push(1);
    assert_int_equal(vif.front[2].packets, VIF_QUEUE_FRAMES + 1);
    vif_post(2, 1);
    vif_push(2);
    assert_int_equal(vif.front[2].packets, VIF_QUEUE_FRAMES + 2);
    assert_memory_equal(vif.front[2].packet, packet, sizeof packet);
}

/* Fails: a buffer that Xen refuses loses more than its packet. */
static void survives_bad_buffers(void **state)
{
    connect_all(0);
    vif_post(2, 3);
    dgm_hv_grant_revoke(2, vif.front[2].posted[1]);
    expect_traffic();
    vif.front[2].posted[1] = 0;
    uint8_t packet[60];
    vif_make(packet, sizeof packet, 1, 2);
    vif_send(1, packet, sizeof packet, 1, 0);
    vif_push(1);
    assert_int_equal(vif.front[2].errors, 1);
    assert_int_equal(vif.back[2].counters.dropped_bad_grant, 1);
    expect_traffic();
}

/* IPv4 and UDP from 1 to 2, whose checksum is blank: the field has the pseudo-header's sum. */
static unsigned make_blank(uint8_t *packet, unsigned payload)
{
    const unsigned udp = 8 + payload, length = 34 + udp;
    const uint8_t pseudo[] = {10, 0, 0, 1, 10, 0, 0, 2, 0, 17, (uint8_t)(udp >> 8), (uint8_t)udp};
    const uint32_t sum = dgm_checksum_add(0, pseudo, sizeof pseudo, false);

    vif_make(packet, length, 1, 2);
    memcpy(packet + 12, "\x08\x00\x45\x00", 4);
    packet[16] = (uint8_t)((20 + udp) >> 8);
    packet[17] = (uint8_t)(20 + udp);
    memset(packet + 20, 0, 2);
    packet[23] = 17;
    memcpy(packet + 26, pseudo, 8);
    packet[38] = (uint8_t)(udp >> 8);
    packet[39] = (uint8_t)udp;
    packet[40] = (uint8_t)(sum >> 8);
    packet[41] = (uint8_t)sum;
    return length;
}

/* Fails: a guest gets a wrong checksum, or a correct one is marked as blank. */
static void handles_blank_checksums(void **state)
{
    uint8_t packet[1500];
    const unsigned length = make_blank(packet, 777);

    vif_write(3, "feature-no-csum-offload", 1);
    connect_all(100);
    vif_send(1, packet, length, 2, NETTXF_csum_blank | NETTXF_data_validated);
    vif_push(1);
    assert_int_equal(vif.front[2].flags, NETRXF_csum_blank | NETRXF_data_validated);
    assert_memory_equal(vif.front[2].packet, packet, length);
    packet[5]++; /* to guest 3, which does not take blank ones */
    vif_send(1, packet, length, 2, NETTXF_csum_blank | NETTXF_data_validated);
    vif_push(1);
    assert_int_equal(vif.front[3].flags, NETRXF_data_validated);
    uint32_t sum = dgm_checksum_add((uint32_t)packet[40] << 8 | packet[41],
                                    vif.front[3].packet + 34, length - 34, false);
    assert_int_equal(dgm_checksum_finish(sum), 0);
    packet[23] = 1; /* ICMP: nothing is blank there */
    const uint16_t id = vif_send(1, packet, length, 2, NETTXF_csum_blank | NETTXF_data_validated);
    vif_push(1);
    assert_int_equal(vif.front[1].status[id], NETIF_RSP_ERROR);
    expect_traffic();
}

/* Fails: a guest sends as another one. */
static void drops_forged_packets(void **state)
{
    uint8_t packet[60];

    connect_all(100);
    vif_make(packet, sizeof packet, 3, 2);
    vif_send(1, packet, sizeof packet, 1, 0);
    vif_push(1);
    assert_int_equal(vif.front[2].packets, 0);
    assert_int_equal(vif.back[1].port.counters.dropped[DGM_SWITCH_SPOOF], 1);
    expect_traffic();
}

/* --- towards a card --- */

static struct dgm_packet *held[64];
static unsigned held_count;

static bool hold_packet(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    dgm_packet_hold(packet);
    packet->source->charged++;
    held[held_count++] = packet;
    return true;
}

static void release_packet(void)
{
    struct dgm_packet *packet = held[--held_count];

    packet->source->charged--;
    packet->source->discharged(packet->source);
    dgm_packet_release(packet);
}

/* Fails: a vif fills a card's queue beyond its share, loses packets there, or is never drained
 * again; or another vif, with packets for a guest, waits with it. */
static void holds_back(void **state)
{
    struct dgm_switch_port card = {.name = "card", .deliver = hold_packet};
    uint8_t packet[60];

    held_count = 0;
    assert_int_equal(dgm_switch_add(&vif.net, &card), DGM_OK);
    connect_all(100);
    for (unsigned i = 0; i < HELD_BACK; i++) {
        vif_make(packet, sizeof packet, 1, 2);
        packet[0] = 0x52; /* an address that is not here */
        packet[50] = (uint8_t)i;
        vif_send(1, packet, sizeof packet, 1, 0);
    }
    vif_push(1);
    assert_int_equal(held_count, VIF_CARD_FRAMES);
    assert_false(dgm_netback_idle(&vif.back[1]));
    vif_make(packet, sizeof packet, 3, 2);
    vif_send(3, packet, sizeof packet, 1, 0);
    vif_push(3);
    assert_int_equal(vif.front[2].packets, 1);
    for (unsigned i = 0; i < HELD_BACK; i++) {
        assert_true(held_count > 0);
        release_packet();
        vif_push(1);
    }
    assert_int_equal(held_count, 0);
    assert_int_equal(card.counters.packets_out, HELD_BACK);
    dgm_switch_remove(&card);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vif_setup, vif_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_offered),      TEST(carries_packets),      TEST(carries_batches),
        TEST(refuses_lies),         TEST(refuses_extras),       TEST(closes_broken_rings),
        TEST(waits_for_buffers),    TEST(survives_bad_buffers), TEST(handles_blank_checksums),
        TEST(drops_forged_packets), TEST(holds_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
