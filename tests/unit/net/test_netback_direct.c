/* SPDX-License-Identifier: MIT */
/*
 * a packet straight from guest to guest: if these fail, a guest changes headers after they were
 * checked, a packet overtakes another, one guest is blamed for another's reference, or every byte
 * is copied twice.
 */
#include "vif_rig.h"

#include <net/internal.h>
#include <net/switch.h>

enum {
    IP = 14,
    UDP = IP + 20,
    NUMBER = UDP + 8, /* the packet's, in its payload */
    BIG = 9000,
    PIECES = 4,
    BUFFERS = 60,
    SEND_GFN = 200, /* as vif_rig */
};

static uint8_t packet[20000];

/* Makes `packet`, UDP over IPv4, with a number in its payload. */
static void make_udp(unsigned length, domid_t from, domid_t to, uint8_t number)
{
    static const uint8_t ip[20] = {0x45, [8] = 64, 17, [12] = 10, 0, 0, 1, 10, 0, 0, 2};

    vif_make(packet, length, from, to);
    packet[12] = 0x08;
    packet[13] = 0x00;
    memcpy(packet + IP, ip, sizeof ip);
    packet[IP + 2] = (uint8_t)((length - IP) >> 8);
    packet[IP + 3] = (uint8_t)(length - IP);
    packet[UDP + 4] = (uint8_t)((length - UDP) >> 8);
    packet[UDP + 5] = (uint8_t)(length - UDP);
    packet[NUMBER] = number;
}

static uint16_t send_udp(domid_t from, domid_t to, unsigned length, unsigned pieces, uint8_t number)
{
    make_udp(length, from, to, number);
    return vif_send(from, packet, length, pieces, 0);
}

/* --- the packets that guest 2 gets --- */

static struct {
    unsigned count;
    uint8_t number[100];
} seen;

static void note_number(struct vif_front *front)
{
    assert_true(seen.count < sizeof seen.number);
    seen.number[seen.count++] = front->packet[NUMBER];
}

static void expect_numbers(unsigned count)
{
    assert_int_equal(seen.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(seen.number[i], i);
    seen.count = 0;
}

static int start(void **state)
{
    unit_seed();
    vif_start();
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++) {
        vif_write(domid, "feature-sg", 1);
        vif_connect(domid, BUFFERS);
    }
    vif.front[2].on_packet = note_number;
    seen.count = 0;
    return 0;
}

/* The next packets of guest 1 are expected to be for a guest. */
static void send_one_before(void)
{
    send_udp(1, 2, 100, 1, 0);
    vif_push(1);
    expect_numbers(1);
    vif.back[2].counters.direct = 0;
}

static void expect_big(unsigned length)
{
    assert_int_equal(vif.front[2].length, length);
    assert_memory_equal(vif.front[2].packet, packet, length);
}

/* Fails: a large payload is copied through our memory, or arrives changed. */
static void payload_is_copied_once(void **state)
{
    static const struct {
        unsigned first, pieces;
    } cases[] = {{0, 3}, {66, 4}, {256, 4}, {257, 4}, {4096, 3}, {0, 5}};

    send_one_before();
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct dgm_netback_copied before = dgm_netback_copied(vif.env.shared);
        struct dgm_netback_copied after;
        uint16_t id;

        vif.front[1].first_bytes = cases[i].first;
        id = send_udp(1, 2, BIG, cases[i].pieces, 0);
        vif_push(1);
        after = dgm_netback_copied(vif.env.shared);
        assert_int_equal(vif.front[1].status[id], NETIF_RSP_OKAY);
        expect_big(BIG);
        assert_int_equal(vif.back[2].counters.direct, i + 1);
        assert_int_equal(after.bytes_in - before.bytes_in, after.bytes_out - before.bytes_out);
        assert_int_equal(
            after.bytes_in - before.bytes_in + after.bytes_between - before.bytes_between, BIG);
        assert_true(after.bytes_in - before.bytes_in <= 256);
        assert_int_equal(after.batches - before.batches, 2);
        vif_post(2, cases[i].pieces);
    }
}

/* Fails: a chain of tiny pieces takes a buffer of another guest for each; or a packet takes more
 * buffers than netfront accepts. */
static void pieces_are_not_wasted(void **state)
{
    send_one_before();
    send_udp(1, 2, 4200, 18, 0);
    vif_push(1);
    expect_big(4200);
    assert_int_equal(vif.front[2].post_count - vif.front[2].receive.rsp_cons, BUFFERS - 1 - 2);
    send_udp(1, 2, 18000, 18, 0); /* its first piece has more than 256 bytes */
    vif_push(1);
    expect_big(18000);
    assert_int_equal(vif.front[2].post_count - vif.front[2].receive.rsp_cons, BUFFERS - 1 - 2 - 5);
    assert_int_equal(dgm_netback_copied(vif.env.shared).bytes_between, 0);
}

/* --- a guest that changes what was checked --- */

static unsigned changes;

/* Before Xen copies from guest to guest, the sender overwrites the first bytes of its frames. */
static int16_t change_headers(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    if (op->flags != (GNTCOPY_source_gref | GNTCOPY_dest_gref))
        return 0;
    for (unsigned i = 0; vif.front[1].first_bytes == 0 && i < 256; i++)
        memset(dgm_hv_page(1, SEND_GFN + i), 0xee, DGM_FRAME_BYTES);
    changes++;
    return 0;
}

/* Fails: a guest's headers reach another guest that are not those that were checked. */
static void headers_are_those_that_were_checked(void **state)
{
    send_one_before();
    dgm_hv_set_faults(&(struct dgm_hv_faults){.copy = change_headers});
    send_udp(1, 2, BIG, 3, 0);
    vif_push(1);
    assert_true(changes > 0);
    assert_int_equal(vif.front[2].length, BIG);
    assert_memory_equal(vif.front[2].packet, packet, 256);
    assert_int_equal(vif.front[2].packet[BIG - 1], 0xee);
}

/* --- references that Xen refuses --- */

/* Fails: a guest's reference makes another guest lose buffers, or is answered as good; packets
 * behind it are lost. */
static void a_bad_piece_is_the_senders(void **state)
{
    const uint64_t refused = vif.back[1].counters.refused[DGM_NETBACK_BAD_GRANT];
    uint16_t bad;

    send_one_before();
    send_udp(1, 2, BIG, PIECES, 0);
    bad = send_udp(1, 2, BIG, PIECES, 7);
    send_udp(1, 2, BIG, PIECES, 1);
    send_udp(1, 2, 200, 1, 2);
    assert_true(dgm_hv_grant_end(1, vif.front[1].refs[bad + 2]));
    vif.front[1].refs[bad + 2] = 0;
    vif_push(1);
    expect_numbers(3);
    assert_int_equal(vif.front[2].errors, 0);
    assert_int_equal(vif.back[2].counters.dropped_bad_grant, 0);
    assert_int_equal(vif.front[1].status[bad], NETIF_RSP_ERROR);
    assert_int_equal(vif.back[1].counters.refused[DGM_NETBACK_BAD_GRANT], refused + 1);
    assert_int_equal(vif.queues[1][0].whole, 64 - 3);
    for (unsigned i = 0; i < 64; i++) {
        send_udp(1, 2, 100, 1, (uint8_t)i);
        vif_push(1);
        vif_post(2, 1);
        seen.count = 0;
    }
    assert_int_equal(vif.queues[1][0].whole, 0);
    assert_true(vif.back[2].counters.direct > 0);
}

/* Fails: the sender gets an error for a buffer of the receiver, or the receiver's other buffers are
 * answered in another order. */
static void a_bad_buffer_is_the_receivers(void **state)
{
    send_one_before();
    assert_true(dgm_hv_grant_end(2, vif.front[2].posted[2]));
    vif.front[2].posted[2] = 0;
    for (unsigned i = 0; i < 3; i++) {
        const uint16_t id = send_udp(1, 2, BIG, PIECES, (uint8_t)(i - (i > 0)));

        vif_push(1);
        assert_int_equal(vif.front[1].status[id], NETIF_RSP_OKAY);
    }
    expect_numbers(2);
    expect_big(BIG);
    assert_int_equal(vif.front[2].errors, 1);
    assert_int_equal(vif.back[2].counters.dropped_bad_grant, 1);
    assert_int_equal(vif.back[1].counters.refused[DGM_NETBACK_BAD_GRANT], 0);
}

/* --- Xen's errors --- */

static struct {
    int16_t status;
    unsigned times;
} trouble;

static int16_t between_fails(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    if (op->flags != (GNTCOPY_source_gref | GNTCOPY_dest_gref) || trouble.times == 0)
        return 0;
    trouble.times--;
    return trouble.status;
}

/* Fails: a domain that dies, or a page that is away for a moment, costs packets of living guests or
 * delivers one twice. */
static void errors_of_xen_lose_nothing(void **state)
{
    static const int16_t errors[] = {GNTST_eagain,        GNTST_bad_domain, GNTST_bad_gntref,
                                     GNTST_general_error, GNTST_no_space,   -77};

    for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        vif.queues[1][0].whole = 0;
        send_one_before();
        trouble.status = errors[i];
        trouble.times = 1;
        dgm_hv_set_faults(&(struct dgm_hv_faults){.copy = between_fails});
        send_udp(1, 2, BIG, 3, 0);
        send_udp(1, 2, 150, 1, 1);
        vif_push(1);
        assert_int_equal(trouble.times, 0);
        expect_numbers(2);
        assert_int_equal(vif.front[2].errors, 0);
        vif_post(2, 5);
    }
}

/* Fails: what a guest has posted is answered for a packet to a guest that closed meanwhile. */
static void a_closed_guest_gets_nothing(void **state)
{
    uint16_t id;

    send_one_before();
    vif_close(2);
    id = send_udp(1, 2, BIG, PIECES, 0);
    vif_push(1);
    assert_int_equal(vif.front[1].status[id], NETIF_RSP_OKAY);
    assert_int_equal(vif.back[2].counters.dropped_not_connected, 1);
}

/* --- order --- */

/* Fails: a packet overtakes another one that waits for buffers. */
static void nothing_is_overtaken(void **state)
{
    const unsigned rounds = 24; /* two thirds have room */
    unsigned sent = 0;

    send_one_before();
    for (unsigned i = 0; i < rounds; i++) {
        if (i == rounds - 4)
            vif_post(2, 30);
        for (unsigned k = 0; k <= i % 3; k++)
            send_udp(1, 2, (i + k) % 3 ? 60 : 5000, (i + k) % 3 ? 1 : 3, (uint8_t)sent++);
        vif_push(1);
    }
    expect_numbers(sent);
    assert_true(vif.back[2].counters.direct > 5 && vif.back[2].counters.direct < sent);
}

/* Fails: a small packet goes into the last buffers, before a large one of its batch. */
static void nothing_is_overtaken_in_a_batch(void **state)
{
    send_one_before();
    for (unsigned i = 0; i < BUFFERS - 3; i++) {
        send_udp(1, 2, 60, 1, 0);
        vif_push(1);
        seen.count = 0;
    }
    send_udp(1, 2, 60, 1, 0);
    send_udp(1, 2, 5000, 3, 1);
    send_udp(1, 2, 60, 1, 2);
    send_udp(1, 2, 5000, 3, 3);
    vif_push(1);
    assert_int_equal(seen.count, 1);
    vif_post(2, 20);
    vif_push(1);
    expect_numbers(4);
}

/* Fails: a packet whose headers are not in its first piece is overtaken, or is not checked. */
static void late_headers_are_checked(void **state)
{
    send_one_before();
    for (unsigned i = 0; i < 4; i++) {
        vif.front[1].first_bytes = i % 2 ? 0 : 20;
        send_udp(1, 2, 5000, i % 2 ? 2 : 3, (uint8_t)i);
    }
    vif_push(1);
    expect_numbers(4);
    vif.front[1].first_bytes = 20;
    make_udp(5000, 3, 2, 0); /* of guest 3, which 1 is not */
    vif_send(1, packet, 5000, 3, 0);
    make_udp(5000, 3, 2, 0);
    vif.front[1].first_bytes = 0;
    vif_send(1, packet, 5000, 3, 0);
    vif_push(1);
    expect_numbers(0);
    assert_int_equal(vif.back[1].port.counters.dropped[DGM_SWITCH_SPOOF], 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, vif_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(payload_is_copied_once),
        TEST(pieces_are_not_wasted),
        TEST(headers_are_those_that_were_checked),
        TEST(a_bad_piece_is_the_senders),
        TEST(a_bad_buffer_is_the_receivers),
        TEST(errors_of_xen_lose_nothing),
        TEST(a_closed_guest_gets_nothing),
        TEST(nothing_is_overtaken),
        TEST(nothing_is_overtaken_in_a_batch),
        TEST(late_headers_are_checked),
    };

    return cmocka_run_group_tests_name("netback_direct", tests, NULL, NULL);
}
