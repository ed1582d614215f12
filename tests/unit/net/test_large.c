/* SPDX-License-Identifier: MIT */
/* large packets: if these fail, a TCP stream is damaged when a large packet is forwarded or split,
 * or an invalid large packet does harm. */
#include "vif_rig.h"

#include <dragoman/base/status.h>
#include <dragoman/net/card.h>
#include <net/switch.h>

enum { FIN = 0x01, PSH = 0x08, ACK = 0x10, CWR = 0x80, FLAGS = FIN | PSH | ACK | CWR };

/* --- a TCP packet, and what must arrive --- */

static uint8_t large[65535];

static struct {
    unsigned ip, tags, options; /* 4 or 6; VLAN tags; words of TCP options */
    unsigned network, transport, payload, length;
} form;

static uint32_t read_big_endian(const uint8_t *at, unsigned count)
{
    uint32_t value = 0;

    while (count--)
        value = value << 8 | *at++;
    return value;
}

static void write_big_endian(uint8_t *at, unsigned count, uint32_t value)
{
    for (; count--; value >>= 8)
        at[count] = (uint8_t)value;
}

/* The sum of 16-bit words, as RFC 1071 writes it. */
static uint32_t sum_of_words(const uint8_t *at, unsigned bytes, uint32_t sum)
{
    for (unsigned i = 0; i < bytes; i++)
        sum += i & 1 ? at[i] : (uint32_t)at[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static uint32_t sum_of_pseudo_header(const uint8_t *packet, unsigned bytes)
{
    const uint8_t *ip = packet + form.network;
    const uint32_t addresses =
        form.ip == 4 ? sum_of_words(ip + 12, 8, 0) : sum_of_words(ip + 8, 32, 0);

    return sum_of_words(NULL, 0, addresses + 6 + bytes);
}

/* Makes `large`, with `bytes` of payload, from guest 1 to guest `to`, its checksum blank. */
static void make_large(unsigned ip, unsigned bytes, domid_t to)
{
    uint8_t *tcp;

    form.ip = ip;
    form.tags = (unsigned)unit_below(3);
    form.options = (unsigned)unit_below(11);
    form.network = 14 + 4 * form.tags;
    form.transport = form.network + (ip == 4 ? 20 : 40);
    form.payload = form.transport + 20 + 4 * form.options;
    form.length = form.payload + bytes;
    vif_make(large, form.length, 1, to);
    for (unsigned i = 0; i < form.tags; i++)
        write_big_endian(large + 12 + 4 * i, 2, i + 1 < form.tags ? 0x88a8 : 0x8100);
    write_big_endian(large + form.network - 2, 2, ip == 4 ? 0x0800 : 0x86dd);
    if (ip == 4) {
        write_big_endian(large + form.network, 4, 0x45000000 | (form.length - form.network));
        /* its number wraps; not to be fragmented */
        write_big_endian(large + form.network + 4, 4, 0xfffe4000);
        large[form.network + 9] = 6;
    } else {
        write_big_endian(large + form.network, 4, 0x60000000);
        write_big_endian(large + form.network + 4, 4,
                         (form.length - form.network - 40) << 16 | 6 << 8 | 64);
    }
    tcp = large + form.transport;
    write_big_endian(tcp + 4, 4, 0xfffff000); /* wraps */
    tcp[12] = (uint8_t)((5 + form.options) << 4);
    tcp[13] = FLAGS;
    write_big_endian(tcp + 16, 2, sum_of_pseudo_header(large, form.length - form.transport));
}

/* Checks the ordinary packet of `length` bytes that has the payload from `done` on. */
static void is_part(const uint8_t *packet, unsigned length, unsigned done, unsigned mss, bool blank)
{
    const uint8_t *ip = packet + form.network, *tcp = packet + form.transport;
    const unsigned left = form.length - form.payload - done;
    const unsigned tcp_bytes = length - form.transport;
    uint8_t flags = FLAGS;

    assert_int_equal(length, form.payload + (left < mss ? left : mss));
    assert_memory_equal(packet, large, form.network);
    if (form.ip == 4) {
        assert_int_equal(read_big_endian(ip + 2, 2), length - form.network);
        assert_int_equal(read_big_endian(ip + 4, 2), (0xfffe + done / mss) & 0xffff);
        assert_int_equal(read_big_endian(ip + 6, 2), 0x4000);
        assert_int_equal(sum_of_words(ip, 20, 0), 0xffff);
        assert_memory_equal(ip + 12, large + form.network + 12, 8);
    } else {
        assert_int_equal(read_big_endian(ip + 4, 2), length - form.network - 40);
        assert_memory_equal(ip + 6, large + form.network + 6, 34);
    }
    if (left > mss)
        flags &= (uint8_t) ~(FIN | PSH);
    if (done)
        flags &= (uint8_t)~CWR;
    assert_int_equal(tcp[13], flags);
    assert_int_equal(read_big_endian(tcp + 4, 4), 0xfffff000 + done);
    assert_memory_equal(tcp + 20, large + form.transport + 20, 4 * form.options);
    if (blank)
        assert_int_equal(read_big_endian(tcp + 16, 2), sum_of_pseudo_header(packet, tcp_bytes));
    else
        assert_int_equal(sum_of_words(tcp, tcp_bytes, sum_of_pseudo_header(packet, tcp_bytes)),
                         0xffff);
    assert_memory_equal(packet + form.payload, large + form.payload + done, length - form.payload);
}

/* Sends `large` as guest 1. */
static uint16_t send_large(unsigned type, uint16_t mss, uint16_t flags)
{
    const netif_extra_info_t extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO,
                                      .u.gso = {.size = mss, .type = (uint8_t)type}};
    const unsigned least = (form.length + 4095) / 4096;
    uint16_t id;

    vif.front[1].extra = &extra;
    id = vif_send(1, large, form.length, least + (unsigned)unit_below(18 - least), flags);
    vif.front[1].extra = NULL;
    vif_push(1);
    return id;
}

#define BLANK (NETTXF_csum_blank | NETTXF_data_validated)

static void connect_guests(unsigned buffers)
{
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++) {
        vif_write(domid, "feature-sg", 1);
        vif_connect(domid, buffers);
    }
}

/* --- to a guest that accepts large packets --- */

/* Fails: a large packet between guests is cut, damaged, or loses its segment size. */
static void passes_whole(void **state)
{
    vif_write(2, "feature-gso-tcpv4", 1);
    vif_write(2, "feature-gso-tcpv6", 1);
    vif_write(2, "feature-ipv6-csum-offload", 1);
    connect_guests(100);
    for (unsigned i = 0; i < 60; i++) {
        const unsigned ip = i & 1 ? 4 : 6, bytes = 1449 + (unsigned)unit_below(63900);
        struct vif_front *front = &vif.front[2];

        make_large(ip, bytes, 2);
        const uint16_t id = send_large(ip == 4 ? 1 : 2, 1448, BLANK);
        assert_int_equal(vif.front[1].status[id], NETIF_RSP_OKAY);
        assert_int_equal(front->packets, i + 1);
        assert_int_equal(front->length, form.length);
        assert_memory_equal(front->packet, large, form.length);
        assert_int_equal(front->flags & (NETRXF_csum_blank | NETRXF_data_validated),
                         NETRXF_csum_blank | NETRXF_data_validated);
        assert_int_equal(front->received_extra.u.gso.size, 1448);
        assert_int_equal(front->received_extra.u.gso.type, ip == 4 ? 1 : 2);
        vif_post(2, (form.length + 4095) / 4096 + 1);
    }
    assert_int_equal(vif.front[1].nulls, 60);
    assert_int_equal(vif.back[1].counters.large_from, 60);
    assert_int_equal(vif.back[2].counters.large_to, 60);
    assert_int_equal(vif.back[2].counters.cut, 0);
}

/* --- to a guest that does not accept them --- */

static unsigned part_done, part_mss;

static void check_part(struct vif_front *front)
{
    is_part(front->packet, front->length, part_done, part_mss, front->flags & NETRXF_csum_blank);
    part_done += front->length - form.payload;
    assert_int_equal(front->received_extra.type, 0);
}

/* Fails: a packet that is cut from a large one has a wrong header, checksum, order or payload. */
static void cuts_for_a_guest(void **state)
{
    vif_write(3, "feature-no-csum-offload", 1);
    connect_guests(120);
    for (unsigned i = 0; i < 200; i++) {
        const domid_t to = i & 1 ? 2 : 3; /* guest 3 takes no blank checksums either */
        const unsigned ip = unit_chance(50) ? 4 : 6;

        part_mss = 88 + (unsigned)unit_below(unit_chance(50) ? 3000 : 9000);
        const unsigned parts = 1 + (unsigned)unit_below(10), before = vif.front[to].post_count;
        unsigned bytes = part_mss * parts + 1 + (unsigned)unit_below(part_mss);

        bytes = bytes > 60000 ? 60000 : bytes;
        make_large(ip, bytes, to);
        part_done = 0;
        vif.front[to].on_packet = check_part;
        send_large(ip == 4 ? 1 : 2, (uint16_t)part_mss, BLANK);
        assert_int_equal(part_done, bytes);
        while (vif.front[to].post_count - before < vif.front[to].receive.rsp_cons + 120 - before)
            vif_post(to, 1);
    }
    assert_true(vif.back[2].counters.cut > 200 && vif.back[3].counters.cut > 200);
    assert_int_equal(vif.back[2].counters.large_to + vif.back[3].counters.large_to, 0);
}

/* Fails: packets cut for a guest that posts no buffers take more than its queue's share. */
static void cuts_within_the_queue(void **state)
{
    connect_guests(0);
    make_large(4, 60000, 2);
    for (unsigned i = 0; i < 5; i++)
        send_large(1, 1000, BLANK);
    assert_int_equal(vif.back[2].queue_frames, VIF_QUEUE_FRAMES);
    assert_true(vif.back[2].counters.dropped_queue_full > 0);
    vif.front[2].on_packet = check_part;
    part_done = 0, part_mss = 1000;
    vif_post(2, VIF_QUEUE_FRAMES);
    vif_push(1);
    assert_int_equal(part_done, 1000 * VIF_QUEUE_FRAMES);
}

/* --- invalid large packets --- */

static void is_refused(uint16_t id, enum dgm_netback_refusal refusal)
{
    struct dgm_netback_counters *counters = &vif.back[1].counters;

    assert_int_equal(vif.front[1].status[id], NETIF_RSP_ERROR);
    assert_int_equal(counters->refused[refusal], 1);
    *counters = (struct dgm_netback_counters){0};
}

/* Fails: an invalid large packet is accepted, or closes the connection. */
static void refuses_lies(void **state)
{
    connect_guests(100);
    make_large(4, 20000, 2);
    is_refused(send_large(2, 1448, BLANK), DGM_NETBACK_BAD_LARGE); /* not IPv6 */
    is_refused(send_large(0, 1448, BLANK), DGM_NETBACK_EXTRA_NOT_OFFERED);
    is_refused(send_large(3, 1448, BLANK), DGM_NETBACK_EXTRA_NOT_OFFERED);
    is_refused(send_large(1, 0, BLANK), DGM_NETBACK_BAD_LARGE);
    is_refused(send_large(1, DGM_PACKET_MSS_MIN - 1, BLANK), DGM_NETBACK_BAD_LARGE);
    is_refused(send_large(1, 1448, 0), DGM_NETBACK_BAD_LARGE); /* its checksum is not blank */
    large[form.transport + 12] = 4 << 4;                       /* a TCP header of 16 bytes */
    is_refused(send_large(1, 1448, BLANK), DGM_NETBACK_BAD_LARGE);
    make_large(4, 20000, 2);
    write_big_endian(large + form.network + 2, 2, 20 + 24); /* its options are longer */
    large[form.transport + 12] = 15 << 4;
    is_refused(send_large(1, 1448, BLANK), DGM_NETBACK_BAD_LARGE);
    make_large(4, 20000, 2);
    large[form.network + 9] = 17; /* UDP; its length is wrong, so there is no checksum either */
    is_refused(send_large(1, 1448, BLANK), DGM_NETBACK_CHECKSUM_UNKNOWN);
    make_large(4, 20000, 2);
    memset(large, 0xff, 6); /* for all: it would be cut for each port */
    is_refused(send_large(1, 1448, BLANK), DGM_NETBACK_BAD_LARGE);
    assert_int_equal(vif.front[2].packets, 0);
    make_large(4, 1000, 2); /* an ordinary one */
    send_large(1, 1448, BLANK);
    assert_int_equal(vif.front[2].packets, 1);
    assert_int_equal(vif.front[2].received_extra.type, 0);
    assert_memory_equal(vif.front[2].packet, large, form.length);
}

/* --- towards a card --- */

static struct {
    struct dgm_nicdev nic;
    struct dgm_net_card card;
    struct dgm_nic_frame *has[8];
    unsigned count, room, seen;
    bool link;
} fake;

static int fake_transmit(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    if (!fake.link)
        return DGM_EIO;
    if (fake.count == fake.room)
        return DGM_EAGAIN;
    fake.has[fake.count++] = frame;
    return DGM_OK;
}

static int fake_supply(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    return DGM_EAGAIN;
}

static void fake_kick(struct dgm_nicdev *nic)
{
}

/* The card sends all its packets: each is checked, and returned. */
static void fake_send(void)
{
    struct dgm_nic_frame *sent[8];
    const unsigned count = fake.count;

    memcpy(sent, fake.has, sizeof sent);
    fake.count = 0;
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *packet = dgm_env_va(sent[i]->gfn);

        if (sent[i]->bytes > 60) { /* as the other packets have */
            is_part(packet, sent[i]->bytes, part_done, part_mss, false);
            part_done += sent[i]->bytes - form.payload;
            if (part_done == form.length - form.payload)
                part_done = 0;
        }
        fake.seen++;
        fake.nic.client->sent(fake.nic.client, sent[i]);
    }
    vif_push(1);
}

static void fake_start(unsigned room)
{
    static const struct dgm_nicdev_ops ops = {
        .transmit = fake_transmit, .supply = fake_supply, .kick = fake_kick};

    memset(&fake, 0, sizeof fake);
    fake.nic = (struct dgm_nicdev){.ops = &ops,
                                   .ready = true,
                                   .link = true,
                                   .name = "fake0",
                                   .bytes_max = DGM_NIC_FRAME_BYTES_MAX};
    fake.room = room;
    fake.link = true;
    assert_int_equal(
        dgm_net_card_attach(&fake.card, &fake.nic, &vif.net, &vif.packets, &vbd.reactor), DGM_OK);
    connect_guests(100);
    part_done = 0, part_mss = 1390;
}

static void fake_stop(void)
{
    assert_int_equal(vif.back[1].port.charged, 0);
    assert_int_equal(fake.card.queue_count + fake.card.cut_count, 0);
    dgm_switch_remove(&fake.card.port);
}

/* Fails: a packet for a card is cut wrong, lost, or overtaken by a smaller one after it. */
static void cuts_for_a_card(void **state)
{
    uint8_t small[60];
    unsigned packets = 0;

    fake_start(3);
    for (unsigned i = 0; i < 40; i++) {
        make_large(i & 1 ? 4 : 6, 28001, 2);
        large[0] = 0x52; /* an address that is not here */
        send_large(i & 1 ? 1 : 2, 1390, BLANK);
        vif_make(small, sizeof small, 1, 2);
        small[0] = 0x52;
        vif_send(1, small, sizeof small, 1, 0);
        vif_push(1);
        packets += 21 + 1;
        for (unsigned turn = 0; fake.count || fake.card.queue_count; turn++) {
            assert_true(turn < 30);
            fake_send();
        }
        assert_int_equal(fake.seen, packets);
        assert_int_equal(part_done, 0);
    }
    assert_int_equal(fake.card.counters.cut, 40 * 21);
    assert_int_equal(vif.back[1].port.counters.refused_out, 0);
    fake_stop();
}

/* Fails: a card that fills in checksums gets no blank ones; or a packet's checksum is left to it
 * while another user may fill it in. */
static void leaves_checksums_to_a_card(void **state)
{
    struct dgm_packet *shared;

    fake_start(1);
    fake.nic.fills_checksums = true;
    make_large(4, 1000, 2); /* an ordinary one */
    large[0] = 0x52;
    send_large(1, 1448, BLANK);
    assert_int_equal(fake.count, 1);
    assert_int_equal(fake.has[0]->checksum_start, form.transport);
    assert_int_equal(fake.has[0]->checksum_at, form.transport + 16);
    assert_memory_equal(dgm_env_va(fake.has[0]->gfn), large, form.length);
    send_large(1, 1448, BLANK);
    shared = fake.card.queue[fake.card.queue_first];
    dgm_packet_hold(shared);
    fake.nic.client->sent(fake.nic.client, fake.has[--fake.count]);
    vif_push(1);
    assert_int_equal(fake.count, 1);
    assert_int_equal(fake.has[0]->checksum_at, 0);
    assert_true(!shared->checksum_blank && shared->checksum_valid);
    assert_int_equal(fake.card.counters.checksums, 1);
    dgm_packet_release(shared);
    fake.nic.client->sent(fake.nic.client, fake.has[--fake.count]);
    fake_stop();
}

/* Fails: a card that cuts large packets gets them cut, or one with CWR, which one part may have. */
static void leaves_cutting_to_a_card(void **state)
{
    fake_start(2);
    fake.nic.cuts_ip4 = true;
    for (form.tags = 1; form.tags;)
        make_large(4, 28001, 2);
    large[0] = 0x52;
    large[form.transport + 13] ^= CWR;
    send_large(1, 1390, BLANK);
    assert_true(fake.has[0]->mss == 1390 && fake.has[0]->count == 7 && fake.has[0]->checksum_at);
    fake.nic.client->sent(fake.nic.client, fake.has[--fake.count]);
    large[form.transport + 13] ^= CWR;
    send_large(1, 1390, BLANK);
    while (fake.count || fake.card.queue_count)
        fake_send(); /* which checks that it is a part */
    fake_stop();
}

/* Fails: a flood of large packets takes more of the pool than the vif's share. */
static void holds_back(void **state)
{
    fake_start(8);
    make_large(4, 28001, 2);
    large[0] = 0x52;
    for (unsigned i = 0; i < 6; i++)
        send_large(1, 1390, BLANK);
    assert_true(vif.back[1].port.charged < VIF_CARD_FRAMES + 21); /* one packet more, of 21 parts */
    assert_true(vif.back[1].counters.held_back > 0);
    for (unsigned turn = 0; fake.count || fake.card.queue_count; turn++) {
        assert_true(turn < 100);
        fake_send();
    }
    assert_int_equal(fake.seen, 6 * 21);
    fake_stop();
}

/* Fails: large packets of small segments are charged by their frames alone, so a neighbour's packet
 * waits for thousands of packets that are cut from them. */
static void small_segments_are_charged(void **state)
{
    fake_start(8);
    make_large(4, 28001, 2);
    large[0] = 0x52;
    part_mss = DGM_PACKET_MSS_MIN;
    for (unsigned i = 0; i < 3; i++)
        send_large(1, DGM_PACKET_MSS_MIN, BLANK);
    const unsigned cuts = (form.length - form.payload + part_mss - 1) / part_mss;

    assert_int_equal(fake.card.queue_count, 1);
    assert_int_equal(vif.back[1].port.charged, cuts);
    assert_true(vif.back[1].counters.held_back > 0);
    for (unsigned turn = 0; fake.count || fake.card.queue_count; turn++) {
        assert_true(turn < 3 * cuts);
        fake_send();
    }
    assert_int_equal(fake.seen, 3 * cuts);
    fake_stop();
}

/* Fails: packets for a card that loses its link wait permanently, or stay charged. */
static void loses_its_link(void **state)
{
    fake_start(4);
    make_large(4, 28001, 2);
    large[0] = 0x52;
    send_large(1, 1390, BLANK);
    assert_int_equal(fake.card.queue_count, 1);
    fake.link = false;
    fake_send();
    assert_int_equal(fake.card.counters.dropped_no_link, 1);
    fake_stop();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, vif_setup, vif_teardown)
    const struct CMUnitTest tests[] = {
        TEST(passes_whole),
        TEST(cuts_for_a_guest),
        TEST(cuts_within_the_queue),
        TEST(refuses_lies),
        TEST(cuts_for_a_card),
        TEST(leaves_cutting_to_a_card),
        TEST(holds_back),
        TEST(loses_its_link),
        TEST(leaves_checksums_to_a_card),
        TEST(small_segments_are_charged),
    };

    return cmocka_run_group_tests_name("large", tests, NULL, NULL);
}
