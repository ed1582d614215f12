/* SPDX-License-Identifier: MIT */
/* flow: if these fail, packets of one connection go to several queues, or all to one. */
#include "unit.h"

#include <net/flow.h>

static uint8_t frame[DGM_FRAME_BYTES];

#define MANY 0x80000000u /* queues */

/* The queue of a packet of IPv4 or IPv6 (0: neither) from port `port` of address `host`. */
static uint32_t queue_of(uint32_t queues, unsigned ip, unsigned protocol, unsigned host,
                         unsigned port, unsigned payload)
{
    const unsigned at = ip == 4 ? 34 : 54;
    const unsigned length = at + 20 + payload;
    struct dgm_packet_headers headers;

    memset(frame, 0, sizeof frame);
    frame[11] = (uint8_t)host;
    frame[12] = 0x08;
    frame[13] = ip ? 0x00 : 0x06;
    if (ip == 4) {
        frame[14] = 0x45;
        frame[16] = (uint8_t)((length - 14) >> 8);
        frame[17] = (uint8_t)(length - 14);
        frame[23] = (uint8_t)protocol;
        frame[29] = (uint8_t)host;
    } else if (ip == 6) {
        frame[12] = 0x86;
        frame[13] = 0xdd;
        frame[14] = 0x60;
        frame[18] = (uint8_t)((length - 54) >> 8);
        frame[19] = (uint8_t)(length - 54);
        frame[20] = (uint8_t)protocol;
        frame[37] = (uint8_t)host;
    }
    frame[at] = (uint8_t)(port >> 8);
    frame[at + 1] = (uint8_t)port;
    if (protocol == DGM_IP_TCP) {
        frame[at + 12] = 0x50;
    } else {
        frame[at + 4] = (uint8_t)((20 + payload) >> 8);
        frame[at + 5] = (uint8_t)(20 + payload);
    }
    for (unsigned i = ip ? at + 20 : 14; i < length; i++)
        frame[i] = (uint8_t)unit_random();
    assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){frame, sizeof frame, length}));
    return dgm_flow_queue(&headers, frame, queues);
}

/* Fails: the order of a connection's packets is lost: something that changes from packet to packet
 * is part of the hash. */
static void a_flow_has_one_queue(void **state)
{
    static const unsigned ips[] = {0, 4, 6};

    for (unsigned i = 0; i < 3; i++)
        for (unsigned tcp = 0; tcp < 2; tcp++) {
            const unsigned protocol = tcp ? DGM_IP_TCP : DGM_IP_UDP;
            const uint32_t queue = queue_of(MANY, ips[i], protocol, 7, 1234, 0);

            for (unsigned payload = 1; payload < 1400; payload += 97)
                assert_int_equal(queue_of(MANY, ips[i], protocol, 7, 1234, payload), queue);
        }
}

static uint32_t queue_of_frame(unsigned length)
{
    struct dgm_packet_headers headers;

    assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){frame, sizeof frame, length}));
    return dgm_flow_queue(&headers, frame, MANY);
}

/* Fails: connections of several hosts have one queue, because a part of an address is ignored. */
static void each_byte_of_an_address_counts(void **state)
{
    static const struct {
        unsigned ip, at, bytes; /* of both addresses */
    } cases[] = {{0, 0, 12}, {4, 26, 8}, {6, 22, 32}};

    for (unsigned i = 0; i < 3; i++) {
        (void)queue_of(MANY, cases[i].ip, DGM_IP_UDP, 7, 1234, 100);
        const unsigned length = (cases[i].ip == 4 ? 54 : 74) + 100;
        const uint32_t queue = queue_of_frame(length);

        for (unsigned at = cases[i].at; at < cases[i].at + cases[i].bytes; at++) {
            frame[at] ^= 0x10;
            assert_int_not_equal(queue_of_frame(length), queue);
            frame[at] ^= 0x10;
        }
    }
}

/* Fails: the fragments of a datagram of IPv6 are out of order. */
static void fragments_of_ip6(void **state)
{
    (void)queue_of(MANY, 6, DGM_IP_UDP, 7, 1234, 100);
    frame[20] = 44; /* a fragment header */
    memset(frame + 54, 0, 8);
    frame[54] = DGM_IP_UDP;
    frame[57] = 1; /* more of them */
    const uint32_t queue = queue_of_frame(174);

    for (unsigned at = 56; at < 62; at++) { /* its offset, its datagram's number */
        frame[at] ^= 0x10;
        assert_int_equal(queue_of_frame(174), queue);
    }
}

/* Fails: the fragments of a datagram, of which only the first has its ports, are out of order. */
static void fragments_have_no_ports(void **state)
{
    uint32_t queue[2];

    for (unsigned i = 0; i < 2; i++) {
        (void)queue_of(MANY, 4, DGM_IP_UDP, 7, 1234 + i, 100);
        frame[20] = 0x20; /* more fragments */
        queue[i] = queue_of_frame(154);
    }
    assert_int_equal(queue[0], queue[1]);
}

/* Fails: some queues have most of the packets. */
static void flows_are_spread(void **state)
{
    static const unsigned ips[] = {4, 6};

    for (unsigned by_port = 0; by_port < 2; by_port++)
        for (unsigned i = 0; i < 2; i++)
            for (unsigned queues = 2; queues <= 8; queues++) {
                unsigned count[8] = {0};

                for (unsigned n = 0; n < 200; n++)
                    count[queue_of(queues, ips[i], DGM_IP_UDP, by_port ? 1 : n, by_port ? n : 1,
                                   10)]++;
                for (unsigned queue = 0; queue < queues; queue++)
                    assert_in_range(count[queue], 100 / queues, 360 / queues);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flow_has_one_queue),    cmocka_unit_test(each_byte_of_an_address_counts),
        cmocka_unit_test(fragments_have_no_ports), cmocka_unit_test(fragments_of_ip6),
        cmocka_unit_test(flows_are_spread),
    };

    unit_seed();
    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
