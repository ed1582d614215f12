/* SPDX-License-Identifier: MIT */
/* VLANs, isolation, storms, mirror: if these fail, a guest reaches a network that it must not. */
#include "unit.h"

#include <dragoman/base/status.h>
#include <net/switch.h>
#include <net/vlan.h>
#include <sim/hypervisor/hypervisor.h>

#define RAM    0x40000u
#define FRAMES 48u
#define MAC    0x00163e000010ull /* of port 0 */
#define OTHER  0x525400000001ull /* of a machine behind the card */

/* Ports: two of VLAN 10, one of VLAN 20, a trunk of 10 and 20 with 30 untagged, one of no VLAN, and
 * the card's. */
enum { A10, B10, C20, TRUNK, NONE, CARD, PORTS };

static struct dgm_frames frames;
static struct dgm_packets pool;
static struct dgm_switch net;
static struct dgm_switch_port ports[PORTS];
static unsigned got[PORTS];
static uint8_t last[PORTS][9000]; /* the packet that each port got last, */
static unsigned last_length[PORTS];

static bool count_delivered(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    const unsigned index = (unsigned)(port - ports);

    assert_true(packet->users > 0 && packet->source != NULL);
    got[index]++;
    last_length[index] = packet->length;
    for (uint32_t at = 0; at < packet->length && at < sizeof last[index]; at++)
        last[index][at] = *(uint8_t *)dgm_packet_at(packet, at);
    return true;
}

static void add_vlan(struct dgm_switch_port *port, unsigned vlan)
{
    port->vlans.tagged.words[vlan / 64] |= 1ull << vlan % 64;
}

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(RAM), 128, dgm_mfn(RAM));
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){dgm_gfn(RAM), 128});
    assert_int_equal(dgm_packets_init(&pool, &frames, FRAMES), DGM_OK);
    dgm_switch_init(&net);
    net.vlans = true;
    memset(ports, 0, sizeof ports);
    memset(got, 0, sizeof got);
    dgm_sim_set_now_ns(1000);
    for (unsigned i = 0; i < PORTS; i++) {
        ports[i].mac = i == CARD ? 0 : MAC + i;
        ports[i].deliver = count_delivered;
    }
    ports[A10].vlans.untagged = ports[B10].vlans.untagged = 10;
    ports[C20].vlans.untagged = 20;
    ports[TRUNK].vlans.untagged = 30;
    for (unsigned vlan = 1; vlan <= DGM_VLAN_MAX; vlan++)
        add_vlan(&ports[CARD], vlan);
    add_vlan(&ports[TRUNK], 10);
    add_vlan(&ports[TRUNK], 20);
    for (unsigned i = 0; i < PORTS; i++)
        assert_int_equal(dgm_switch_add(&net, &ports[i]), DGM_OK);
    return 0;
}

static int stop(void **state)
{
    for (unsigned i = 0; i < PORTS; i++)
        if (ports[i].owner)
            dgm_switch_remove(&ports[i]);
    dgm_packets_check(&pool);
    assert_int_equal(pool.free_frame_count, FRAMES);
    dgm_hv_stop();
    return 0;
}

/* --- a packet: addresses, a tag or none, a pattern --- */

#define UNTAGGED 0xffffu

static unsigned make_packet(uint8_t *bytes, uint64_t source, uint64_t destination, unsigned tci,
                            unsigned payload)
{
    unsigned at = 12;

    for (unsigned i = 0; i < 6; i++) {
        bytes[i] = (uint8_t)(destination >> 8 * (5 - i));
        bytes[6 + i] = (uint8_t)(source >> 8 * (5 - i));
    }
    if (tci != UNTAGGED) {
        bytes[at++] = 0x81;
        bytes[at++] = 0x00;
        bytes[at++] = (uint8_t)(tci >> 8);
        bytes[at++] = (uint8_t)tci;
    }
    bytes[at++] = 0x88;
    bytes[at++] = 0xb5;
    for (unsigned i = 0; i < payload; i++)
        bytes[at++] = (uint8_t)(i * 7 + (i >> 8));
    return at;
}

static uint64_t mac_of(unsigned port)
{
    return port == CARD ? OTHER : MAC + port;
}

/* Returns the work of a copy. */
static uint32_t input(unsigned port, const uint8_t *bytes, unsigned length)
{
    struct dgm_packet *packet = dgm_packet_take(&pool, length);

    for (unsigned at = 0; at < length; at++)
        *(uint8_t *)dgm_packet_at(packet, at) = bytes[at];
    memset(got, 0, sizeof got);
    return dgm_switch_input(&ports[port], packet);
}

/* Sends with the tag; `expected` has a bit for each port that gets it. */
static void send(unsigned port, uint64_t destination, unsigned tci, unsigned expected)
{
    uint8_t bytes[9000];

    (void)input(port, bytes, make_packet(bytes, mac_of(port), destination, tci, 50));
    for (unsigned i = 0; i < PORTS; i++)
        if (got[i] != (expected >> i & 1))
            fail_msg("port %u got %u packets", i, got[i]);
}

/* Checks that the port got last what make_packet() makes with this tag. */
static void expect_form(unsigned port, unsigned from, uint64_t destination, unsigned tci,
                        unsigned payload)
{
    uint8_t bytes[9000];

    assert_int_equal(last_length[port],
                     make_packet(bytes, mac_of(from), destination, tci, payload));
    assert_memory_equal(last[port], bytes, last_length[port]);
}

#define BIT(port) (1u << (port))

/* Fails: a guest reaches another VLAN, or not its own. */
static void separates(void **state)
{
    send(A10, DGM_MAC_BROADCAST, UNTAGGED, BIT(B10) | BIT(TRUNK) | BIT(CARD));
    send(C20, DGM_MAC_BROADCAST, UNTAGGED, BIT(TRUNK) | BIT(CARD));
    send(NONE, DGM_MAC_BROADCAST, UNTAGGED, BIT(CARD));
    send(TRUNK, DGM_MAC_BROADCAST, UNTAGGED, BIT(CARD));
    send(TRUNK, DGM_MAC_BROADCAST, 10, BIT(A10) | BIT(B10) | BIT(CARD));
    send(A10, MAC + B10, UNTAGGED, BIT(B10));
    send(A10, MAC + C20, UNTAGGED, BIT(CARD)); /* in VLAN 10 the address is unknown */
    send(CARD, DGM_MAC_BROADCAST, UNTAGGED, BIT(NONE));
    send(CARD, DGM_MAC_BROADCAST, 20, BIT(C20) | BIT(TRUNK));
    send(CARD, MAC + A10, 20, 0);
    send(CARD, MAC + A10, 10, BIT(A10));
}

/* Fails: copies cost nothing, so a trunk's guest delays the tasks of all. */
static void a_copy_costs_work(void **state)
{
    uint8_t bytes[9000];
    const unsigned length = make_packet(bytes, mac_of(TRUNK), MAC + A10, 10, 8000);

    assert_int_equal(input(TRUNK, bytes, length), length / 512 + 1);
    assert_int_equal(input(A10, bytes, make_packet(bytes, mac_of(A10), MAC + B10, UNTAGGED, 50)),
                     0);
    assert_int_equal(input(A10, bytes, make_packet(bytes, mac_of(A10), OTHER, UNTAGGED, 50)), 1);
}

/* Fails: a guest chooses its VLAN itself. */
static void drops_foreign_tags(void **state)
{
    uint8_t bytes[200];

    send(A10, DGM_MAC_BROADCAST, 20, 0);
    send(A10, DGM_MAC_BROADCAST, 10, 0);
    send(NONE, DGM_MAC_BROADCAST, 10, 0);
    send(TRUNK, DGM_MAC_BROADCAST, 11, 0);
    send(CARD, DGM_MAC_BROADCAST, 4095, 0);
    assert_int_equal(ports[A10].counters.dropped[DGM_SWITCH_VLAN], 2);
    ports[TRUNK].vlans.tagged_only = true;
    send(TRUNK, DGM_MAC_BROADCAST, UNTAGGED, 0);
    send(CARD, MAC + TRUNK, 30, 0);
    /* A tag of no VLAN, and one of VLAN 20 behind it. */
    make_packet(bytes, MAC + NONE, DGM_MAC_BROADCAST, 0, 50);
    memcpy(bytes + 16, "\x81\x00\x00\x14\x88\xb5", 6);
    (void)input(NONE, bytes, 70);
    assert_int_equal(got[CARD], 0);
    assert_int_equal(ports[NONE].counters.dropped[DGM_SWITCH_VLAN], 2);
}

/* Fails: a tag is missing, stays, or damages the packet, at any length. */
static void changes_tags(void **state)
{
    static uint8_t bytes[9000];
    static const unsigned sizes[] = {0, 46, 1500, 4076, 4078, 4080, 4082, 4084, 8900};

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        input(A10, bytes, make_packet(bytes, MAC + A10, DGM_MAC_BROADCAST, UNTAGGED, sizes[i]));
        expect_form(B10, A10, DGM_MAC_BROADCAST, UNTAGGED, sizes[i]);
        expect_form(TRUNK, A10, DGM_MAC_BROADCAST, 10, sizes[i]);
        expect_form(CARD, A10, DGM_MAC_BROADCAST, 10, sizes[i]);
        input(CARD, bytes, make_packet(bytes, OTHER, DGM_MAC_BROADCAST, 0x600a, sizes[i]));
        expect_form(A10, CARD, DGM_MAC_BROADCAST, UNTAGGED, sizes[i]);
        expect_form(TRUNK, CARD, DGM_MAC_BROADCAST, 0x600a, sizes[i]); /* with its priority */
    }
    send(A10, DGM_MAC_BROADCAST, 0x6000, BIT(B10) | BIT(TRUNK) | BIT(CARD)); /* only a priority */
    expect_form(B10, A10, DGM_MAC_BROADCAST, UNTAGGED, 50);
    expect_form(CARD, A10, DGM_MAC_BROADCAST, 0x600a, 50);
    send(CARD, MAC + TRUNK, 30, BIT(TRUNK));
    expect_form(TRUNK, CARD, MAC + TRUNK, UNTAGGED, 50);
}

/* Fails: one VLAN's address moves another's. */
static void learns_by_vlan(void **state)
{
    send(CARD, DGM_MAC_BROADCAST, 10, BIT(A10) | BIT(B10) | BIT(TRUNK));
    assert_ptr_equal(dgm_switch_learnt(&net, OTHER, 10), &ports[CARD]);
    assert_null(dgm_switch_learnt(&net, OTHER, 20));
    assert_null(dgm_switch_learnt(&net, OTHER, 0));
}

/* Fails: without memory for the other form a packet goes out in the wrong one, or frames leak. */
static void survives_shortage(void **state)
{
    struct dgm_packet *held[FRAMES];
    unsigned count = 0;

    while (pool.free_frame_count > 1)
        held[count++] = dgm_packet_take(&pool, 60);
    send(A10, DGM_MAC_BROADCAST, UNTAGGED, BIT(B10));
    assert_int_equal(net.unconverted, 2);
    assert_int_equal(ports[CARD].counters.refused_out, 1);
    while (count)
        dgm_packet_release(held[--count]);
}

/* Fails: a switch without VLANs changes or drops a guest's own tags. */
static void looks_at_no_tag(void **state)
{
    net.vlans = false;
    send(A10, MAC + C20, 77, BIT(C20));
    expect_form(C20, A10, MAC + C20, 77, 50);
}

/* Fails: isolated guests reach each other, or not the card. */
static void isolates(void **state)
{
    const unsigned all = BIT(A10) | BIT(B10) | BIT(C20) | BIT(TRUNK) | BIT(NONE) | BIT(CARD);

    net.vlans = false;
    ports[A10].group = ports[B10].group = 1;
    ports[C20].group = 2;
    ports[TRUNK].group = ports[NONE].group = DGM_SWITCH_ALONE;
    send(A10, DGM_MAC_BROADCAST, UNTAGGED, BIT(B10) | BIT(CARD));
    send(A10, MAC + C20, UNTAGGED, 0);
    send(A10, MAC + B10, UNTAGGED, BIT(B10));
    send(TRUNK, DGM_MAC_BROADCAST, UNTAGGED, BIT(CARD));
    send(TRUNK, MAC + NONE, UNTAGGED, 0);
    send(CARD, DGM_MAC_BROADCAST, UNTAGGED, all & ~BIT(CARD));
    ports[C20].group = 0;
    send(C20, DGM_MAC_BROADCAST, UNTAGGED, all & ~BIT(C20));
}

/* Fails: one guest's broadcasts take every other guest's time, or a storm never ends. */
static void limits_storms(void **state)
{
    for (unsigned i = 0; i < DGM_SWITCH_STORM; i++)
        send(A10, DGM_MAC_BROADCAST, UNTAGGED, BIT(B10) | BIT(TRUNK) | BIT(CARD));
    send(A10, DGM_MAC_BROADCAST, UNTAGGED, 0);
    send(A10, 0x01005e000001ull, UNTAGGED, 0);
    assert_int_equal(ports[A10].counters.dropped[DGM_SWITCH_FLOOD], 2);
    send(A10, MAC + B10, UNTAGGED, BIT(B10));
    send(B10, DGM_MAC_BROADCAST, UNTAGGED, BIT(A10) | BIT(TRUNK) | BIT(CARD));
    dgm_sim_set_now_ns(200000000);
    send(A10, DGM_MAC_BROADCAST, UNTAGGED, BIT(B10) | BIT(TRUNK) | BIT(CARD));
}

/* Fails: the mirror misses a packet, gets one twice, or takes part itself. */
static void mirrors(void **state)
{
    struct dgm_switch_port second = {.mac = 0x100, .mirror = true, .deliver = count_delivered};

    dgm_switch_remove(&ports[NONE]);
    ports[NONE].mirror = true;
    assert_int_equal(dgm_switch_add(&net, &ports[NONE]), DGM_OK);
    assert_int_equal(dgm_switch_add(&net, &second), DGM_EEXIST);
    send(A10, MAC + B10, UNTAGGED, BIT(B10) | BIT(NONE));
    send(CARD, DGM_MAC_BROADCAST, UNTAGGED, BIT(NONE));
    send(CARD, MAC + C20, 20, BIT(C20) | BIT(NONE));
    expect_form(NONE, CARD, MAC + C20, 20, 50);
    send(A10, DGM_MAC_BROADCAST, 20, 0); /* not accepted */
    send(NONE, DGM_MAC_BROADCAST, UNTAGGED, 0);
    assert_int_equal(ports[NONE].counters.dropped[DGM_SWITCH_MIRROR], 1);
    dgm_switch_remove(&ports[NONE]);
    send(A10, MAC + B10, UNTAGGED, BIT(B10));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(separates),      TEST(a_copy_costs_work), TEST(drops_foreign_tags), TEST(changes_tags),
        TEST(learns_by_vlan), TEST(survives_shortage), TEST(looks_at_no_tag),    TEST(isolates),
        TEST(limits_storms),  TEST(mirrors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
