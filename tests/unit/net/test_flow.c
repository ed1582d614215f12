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
    for (unsigned i = 0; i < payload; i++)
        frame[at + 20 + i] = (uint8_t)unit_random();
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

/* Fails: the fragments of a datagram, of which only the first has its ports, are out of order. */
static void fragments_have_no_ports(void **state)
{
    struct dgm_packet_headers headers;
    uint32_t queue[2];

    for (unsigned i = 0; i < 2; i++) {
        (void)queue_of(MANY, 4, DGM_IP_UDP, 7, 1234 + i, 100);
        frame[20] = 0x20; /* more fragments */
        assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){frame, sizeof frame, 154}));
        queue[i] = dgm_flow_queue(&headers, frame, MANY);
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
        cmocka_unit_test(a_flow_has_one_queue),
        cmocka_unit_test(fragments_have_no_ports),
        cmocka_unit_test(flows_are_spread),
    };

    unit_seed();
    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
