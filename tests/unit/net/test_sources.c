/* SPDX-License-Identifier: MIT */
/* sources: if these fail, a guest sends as another, or cannot send as itself. */
#include "unit.h"

#include <dragoman/base/status.h>
#include <net/sources.h>
#include <net/switch.h>
#include <sim/hypervisor/hypervisor.h>

#define RAM 0x40000u
#define MAC 0x00163e010203ull

static struct dgm_frames frames;
static struct dgm_packets pool;
static struct dgm_ip_sources sources;
static uint8_t bytes[200]; /* of the packet; the network header is at 14 */

static const uint8_t own4[4] = {10, 0, 0, 5}, other4[4] = {10, 0, 0, 6},
                     in_net4[4] = {10, 1, 77, 1}, beside_net4[4] = {10, 1, 128, 1}, zero[16];
static const uint8_t own6[16] = {0xfd, [15] = 5}, other6[16] = {0xfd, [15] = 6};
static const uint8_t link_local[16] = {0xfe, 0x80, [8] = 0x02, 0x16, 0x3e,
                                       0xff, 0xfe, 0x01,       0x02, 0x03};
static const uint8_t link_local_other[16] = {0xfe, 0x80, [15] = 1};

static void add(unsigned version, unsigned bits, const uint8_t *address)
{
    struct dgm_ip_prefix *prefix = &sources.prefixes[sources.count++];

    prefix->version = (uint8_t)version;
    prefix->bits = (uint8_t)bits;
    memcpy(prefix->address, address, version == 4 ? 4 : 16);
}

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(RAM), 64, dgm_mfn(RAM));
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){dgm_gfn(RAM), 64});
    assert_int_equal(dgm_packets_init(&pool, &frames, 8), DGM_OK);
    memset(&sources, 0, sizeof sources);
    memset(bytes, 0, sizeof bytes);
    add(4, 32, own4);
    add(4, 17, (const uint8_t[]){10, 1, 0, 0});
    return 0;
}

static int stop(void **state)
{
    dgm_packets_check(&pool);
    assert_int_equal(pool.free_frame_count, 8);
    dgm_hv_stop();
    return 0;
}

/* Whether the packet of `bytes`, with this type, may pass. */
static bool allows(unsigned type, unsigned length)
{
    struct dgm_packet *packet = dgm_packet_take(&pool, length);
    bool allowed;

    bytes[12] = (uint8_t)(type >> 8);
    bytes[13] = (uint8_t)type;
    memcpy(dgm_packet_at(packet, 0), bytes, length);
    assert_true(dgm_packet_read_headers(packet));
    allowed = dgm_sources_allow(&sources, MAC, packet);
    dgm_packet_release(packet);
    return allowed;
}

static bool allows_ip4(const uint8_t *from, unsigned protocol, unsigned port)
{
    memset(bytes + 14, 0, 28);
    bytes[14] = 0x45;
    bytes[17] = 28;
    bytes[23] = (uint8_t)protocol;
    memcpy(bytes + 26, from, 4);
    bytes[37] = (uint8_t)port;
    bytes[39] = 8;
    return allows(0x0800, 42);
}

static bool allows_arp(const uint8_t *from, uint64_t mac)
{
    static const uint8_t request[8] = {0, 1, 8, 0, 6, 4, 0, 1};

    memcpy(bytes + 14, request, sizeof request);
    for (unsigned i = 0; i < 6; i++)
        bytes[22 + i] = (uint8_t)(mac >> 8 * (5 - i));
    memcpy(bytes + 28, from, 4);
    return allows(0x0806, 42);
}

/* An advertisement of `target`, or with NULL an echo; `extension`: behind a header of options. */
static bool allows_ip6(const uint8_t *from, const uint8_t *target, bool extension)
{
    uint8_t *icmp = bytes + 54 + (extension ? 8 : 0);

    memset(bytes + 14, 0, 80);
    bytes[14] = 0x60;
    bytes[19] = extension ? 32 : 24;
    bytes[20] = extension ? 60 : 58;
    memcpy(bytes + 22, from, 16);
    if (extension)
        bytes[54] = 58;
    icmp[0] = target ? 136 : 128;
    if (target)
        memcpy(icmp + 8, target, 16);
    return allows(0x86dd, extension ? 86 : 78);
}

/* Fails: a guest sends IPv4 as another, or cannot ask for an address. */
static void ip4(void **state)
{
    assert_true(allows_ip4(own4, 17, 99));
    assert_true(allows_ip4(in_net4, 17, 99));
    assert_false(allows_ip4(other4, 17, 99));
    assert_false(allows_ip4(beside_net4, 17, 99));
    assert_true(allows_ip4(zero, 17, 67));
    assert_false(allows_ip4(zero, 17, 99));
    assert_false(allows_ip4(zero, 6, 67));
    assert_false(allows(0x0800, 20)); /* no complete header */
}

/* Fails: a guest takes over an address by ARP, or cannot look for its own. */
static void arp(void **state)
{
    assert_true(allows_arp(own4, MAC));
    assert_false(allows_arp(other4, MAC));
    assert_false(allows_arp(own4, MAC + 1));
    assert_true(allows_arp(zero, MAC)); /* a probe */
    assert_false(allows(0x0806, 41));
    bytes[18] = 5; /* another length of addresses */
    assert_false(allows(0x0806, 42));
}

/* Fails: IPv6 passes although no address of it is allowed, or a guest takes over one. */
static void ip6(void **state)
{
    assert_false(allows_ip6(own6, NULL, false));
    assert_false(allows_ip6(link_local, NULL, false));
    add(6, 128, own6);
    assert_true(allows_ip6(own6, NULL, false));
    assert_true(allows_ip6(link_local, NULL, false));
    assert_true(allows_ip6(zero, NULL, false));
    assert_false(allows_ip6(other6, NULL, false));
    assert_false(allows_ip6(link_local_other, NULL, false));
    for (unsigned extension = 0; extension < 2; extension++) {
        assert_true(allows_ip6(own6, own6, extension));
        assert_true(allows_ip6(link_local, own6, extension));
        assert_false(allows_ip6(own6, other6, extension));
        assert_false(allows_ip6(zero, other6, extension));
    }
    allows_ip6(own6, own6, false);
    assert_false(allows(0x86dd, 77)); /* the target is cut off */
}

/* Fails: other protocols stop, or more tags than are parsed hide an address. */
static void others(void **state)
{
    assert_true(allows(0x88b5, 60));
    allows_ip4(other4, 17, 99);
    memmove(bytes + 22, bytes + 14, 28);
    memcpy(bytes + 14, "\0\1\x81\0\0\2\x08\0", 8);
    assert_false(allows(0x8100, 50));
    memcpy(bytes + 14, "\0\1\x81\0\0\2\x81\0", 8);
    assert_false(allows(0x8100, 50));
}

static bool accept(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    return true;
}

/* Fails: the switch does not ask. */
static void the_switch_asks(void **state)
{
    static struct dgm_switch net;
    struct dgm_switch_port port = {.mac = MAC, .deliver = accept, .sources = sources};
    struct dgm_switch_port card = {.deliver = accept};

    dgm_switch_init(&net);
    dgm_switch_add(&net, &port);
    dgm_switch_add(&net, &card);
    memcpy(bytes + 6, "\x00\x16\x3e\x01\x02\x03", 6);
    for (unsigned good = 0; good < 2; good++) {
        struct dgm_packet *packet = dgm_packet_take(&pool, 42);

        allows_ip4(good ? own4 : other4, 17, 99);
        memcpy(dgm_packet_at(packet, 0), bytes, 42);
        (void)dgm_switch_input(&port, packet);
        assert_int_equal(card.counters.packets_out, good);
        assert_int_equal(port.counters.dropped[DGM_SWITCH_IP], 1);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(ip4), TEST(arp), TEST(ip6), TEST(others), TEST(the_switch_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
