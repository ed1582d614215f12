/* SPDX-License-Identifier: MIT */
/* packet: if these fail, a header is read wrong or beyond the packet, a checksum is wrong, or a
 * packet's frames are lost. */
#include "unit.h"

#include <dragoman/base/status.h>
#include <net/packet.h>
#include <sim/hypervisor/hypervisor.h>

#define RAM        0x40000u
#define RAM_FRAMES 128u

static struct dgm_frames frames;
static struct dgm_packets pool;

static int pool_start(void **state)
{
    (void)state;
    dgm_hv_start(dgm_gfn(RAM), RAM_FRAMES, dgm_mfn(RAM));
    dgm_frames_init(&frames);
    dgm_frames_add(&frames, (struct dgm_gfn_range){dgm_gfn(RAM), RAM_FRAMES});
    assert_int_equal(dgm_packets_init(&pool, &frames, 64), DGM_OK);
    return 0;
}

static int pool_stop(void **state)
{
    (void)state;
    dgm_packets_check(&pool);
    assert_int_equal(pool.free_frame_count, 64);
    dgm_hv_stop();
    return 0;
}

static void write16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Ethernet, `tags` VLAN tags, IPv4 with `options` words of options, then UDP or TCP with `payload`
 * bytes. Returns the length. */
static size_t make_ip4(uint8_t *at, unsigned tags, unsigned options, uint8_t protocol,
                       size_t payload)
{
    const size_t header = protocol == DGM_IP_TCP ? 20 : 8, ip = 20 + 4 * options;
    size_t next = 12;

    memset(at, 0, 14 + 4 * tags + ip + header);
    for (unsigned i = 0; i < 12; i++)
        at[i] = (uint8_t)(i < 6 ? 2 * i : 0x40 + 2 * i);
    for (unsigned i = 0; i < tags; i++, next += 4)
        write16(at + next, i + 1 < tags ? 0x88a8 : 0x8100);
    write16(at + next, 0x0800);
    next += 2;
    at[next] = (uint8_t)(0x45 + options);
    write16(at + next + 2, (unsigned)(ip + header + payload));
    at[next + 9] = protocol;
    if (protocol == DGM_IP_UDP)
        write16(at + next + ip + 4, (unsigned)(header + payload));
    return next + ip + header + payload;
}

/* Fails: addresses, types or offsets are read at the wrong place. */
static void reads_ip4(void **state)
{
    for (unsigned tags = 0; tags <= 2; tags++)
        for (unsigned options = 0; options <= 10; options++)
            for (unsigned tcp = 0; tcp < 2; tcp++) {
                uint8_t bytes[256] = {0};
                struct dgm_packet_headers headers;
                const size_t length =
                    make_ip4(bytes, tags, options, tcp ? DGM_IP_TCP : DGM_IP_UDP, 30);

                assert_true(dgm_packet_parse(
                    &headers, (struct dgm_packet_view){bytes, sizeof bytes, length}));
                assert_true(headers.destination == 0x00020406080aull);
                assert_true(headers.source == 0x4c4e50525456ull);
                assert_int_equal(headers.type, 0x0800);
                assert_int_equal(headers.network, 14 + 4 * tags);
                assert_int_equal(headers.ip, 4);
                assert_int_equal(headers.transport, 34 + 4 * tags + 4 * options);
                assert_int_equal(headers.transport_bytes, 30 + (tcp ? 20 : 8));
                assert_int_equal(headers.checksum, headers.transport + (tcp ? 16 : 6));
            }
}

/* Fails: an incomplete header is reported. Each truncation lies in memory of its exact size, so
 * that the sanitizer finds each overrun. */
static void never_reads_beyond(void **state)
{
    uint8_t whole[256] = {0};
    const size_t length = make_ip4(whole, 1, 2, DGM_IP_TCP, 10);

    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *bytes = malloc(cut ? cut : 1);
        struct dgm_packet_headers headers;

        memcpy(bytes, whole, cut);
        assert_int_equal(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, cut, cut}),
                         cut >= 14);
        if (cut >= 14)
            assert_int_equal(headers.transport, 0); /* the IP length claims more than there is */
        free(bytes);
    }
    /* All of the packet exists, but only `cut` bytes of it can be read here. */
    for (size_t cut = 14; cut < length; cut++) {
        struct dgm_packet_headers headers;

        assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){whole, cut, length}));
        assert_int_equal(headers.transport != 0, cut >= 46 + 20);
    }
}

/* Fails: a fragment, or a UDP length that disagrees, is taken for a whole datagram. */
static void refuses_parts(void **state)
{
    uint8_t bytes[256] = {0};
    struct dgm_packet_headers headers;
    const size_t length = make_ip4(bytes, 0, 0, DGM_IP_UDP, 30);

    write16(bytes + 20, 0x4000); /* do not fragment */
    assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, length, length}) &&
                headers.transport);
    write16(bytes + 20, 0x2000);
    assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, length, length}) &&
                !headers.transport);
    write16(bytes + 20, 0x0001);
    assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, length, length}) &&
                !headers.transport);
    write16(bytes + 20, 0);
    write16(bytes + 38, 37);
    assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, length, length}) &&
                !headers.transport);
    write16(bytes + 38, 38);
    bytes[14] = 0x44; /* a header of 16 bytes */
    assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, length, length}) &&
                !headers.ip);
}

/* Fails: extension headers of IPv6 are not skipped, or walked beyond the packet. */
static void reads_ip6(void **state)
{
    for (unsigned extensions = 0; extensions < 12; extensions++) {
        uint8_t bytes[512] = {0};
        struct dgm_packet_headers headers;
        const size_t transport = 54 + 16 * (size_t)extensions, length = transport + 20 + 5;

        write16(bytes + 12, 0x86dd);
        bytes[14] = 0x60;
        write16(bytes + 18, (unsigned)(length - 54));
        bytes[20] = extensions ? 0 : DGM_IP_TCP;
        for (unsigned i = 0; i < extensions; i++) {
            bytes[54 + 16 * i] = i + 1 < extensions ? 60 : DGM_IP_TCP;
            bytes[55 + 16 * i] = 1; /* 16 bytes */
        }
        assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, length, length}));
        assert_int_equal(headers.ip, 6);
        assert_int_equal(headers.transport, extensions <= 8 ? transport : 0);
        if (!extensions)
            continue;
        bytes[55] = 255; /* an extension that is longer than the packet */
        assert_true(dgm_packet_parse(&headers, (struct dgm_packet_view){bytes, length, length}));
        assert_int_equal(headers.transport, 0);
    }
}

/* The definition, byte by byte. */
static uint32_t sum_by_bytes(uint32_t sum, const uint8_t *bytes, size_t count, bool odd)
{
    for (size_t i = 0; i < count; i++) {
        sum += (i + odd) % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Fails: a checksum depends on where in memory the bytes lie, or a carry is lost. */
static void sums_as_defined(void **state)
{
    _Alignas(8) static uint8_t bytes[4096 + 8];

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        const size_t at = unit_below(8), count = unit_below(i % 8 ? 40 : 4096);
        const bool odd = unit_below(2), all_ones = unit_below(4) == 0;
        const uint32_t before = (uint32_t)unit_below(0x10000);

        for (size_t k = 0; k < count; k++)
            bytes[at + k] = all_ones ? 0xff : (uint8_t)unit_below(256);
        /* 0 and 0xffff are the same number. */
        assert_int_equal(dgm_checksum_add(before, bytes + at, count, odd) % 0xffff,
                         sum_by_bytes(before, bytes + at, count, odd) % 0xffff);
    }
}

/* Fails: a sum depends on how its bytes are divided. */
static void sums_in_pieces(void **state)
{
    uint8_t bytes[301];

    unit_seed();
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)unit_random();
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        const uint32_t first = dgm_checksum_add(0, bytes, cut, false);

        assert_int_equal(
            dgm_checksum_finish(dgm_checksum_add(first, bytes + cut, sizeof bytes - cut, cut & 1)),
            dgm_checksum_finish(dgm_checksum_add(0, bytes, sizeof bytes, false)));
    }
    assert_int_equal(
        dgm_checksum_finish(dgm_checksum_add(0, "\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 8, false)),
        (uint16_t)~0xddf2u); /* RFC 1071, section 3 */
}

/* Fails: a checksum that we fill in is wrong, whatever the packet's size. */
static void fills_checksums(void **state)
{
    unit_seed();
    for (unsigned i = 0; i < 200; i++) {
        const bool tcp = unit_chance(50);
        const size_t payload = unit_below(20000);
        static uint8_t whole[70000];
        const unsigned tags = (unsigned)unit_below(3), options = (unsigned)unit_below(11);
        const size_t length =
            make_ip4(whole, tags, options, tcp ? DGM_IP_TCP : DGM_IP_UDP, payload);
        struct dgm_packet *packet = dgm_packet_take(&pool, (uint32_t)length);
        const uint16_t pseudo = (uint16_t)unit_random();

        assert_non_null(packet);
        for (size_t at = length - payload; at < length; at++)
            whole[at] = (uint8_t)unit_random();
        for (uint32_t at = 0; at < length; at++)
            *(uint8_t *)dgm_packet_at(packet, at) = whole[at];
        assert_true(dgm_packet_read_headers(packet));
        for (unsigned j = 0; j < 2; j++)
            *(uint8_t *)dgm_packet_at(packet, packet->headers.checksum + j) =
                (uint8_t)(pseudo >> 8 * (1 - j));
        packet->checksum_blank = true;
        assert_int_equal(dgm_packet_fill_checksum(packet), DGM_OK);
        assert_true(packet->checksum_valid && !packet->checksum_blank);
        /* A receiver sums all bytes and the pseudo-header, and gets all ones. */
        uint32_t sum = pseudo;
        for (uint32_t at = packet->headers.transport; at < length; at++)
            sum = dgm_checksum_add(sum, dgm_packet_at(packet, at), 1,
                                   (at - packet->headers.transport) & 1);
        assert_int_equal(dgm_checksum_finish(sum), 0);
        dgm_packet_release(packet);
    }
}

/* Fails: an IPv4 packet that is neither TCP nor UDP is changed. */
static void fills_no_other(void **state)
{
    struct dgm_packet *packet = dgm_packet_take(&pool, 60);

    memset(dgm_packet_at(packet, 0), 0, 60);
    assert_true(dgm_packet_read_headers(packet));
    assert_int_equal(dgm_packet_fill_checksum(packet), DGM_EINVAL);
    dgm_packet_release(packet);
}

/* Fails: frames are lost, or two packets share one. */
static void keeps_frames_apart(void **state)
{
    struct dgm_packet *packets[64];
    uint32_t lengths[64];
    unsigned count = 0;

    unit_seed();
    for (unsigned step = 0; step < 4000; step++) {
        if (count < 64 && unit_chance(55)) {
            const uint32_t length = (uint32_t)(14 + unit_below(unit_chance(20) ? 65522 : 1505));
            struct dgm_packet *packet = dgm_packet_take(&pool, length);

            assert_int_equal(packet == NULL,
                             (length + 4095) / 4096 >
                                 pool.free_frame_count + (packet ? (length + 4095) / 4096 : 0));
            if (!packet)
                continue;
            lengths[count] = length;
            packets[count++] = packet;
            for (uint32_t at = 0; at < length; at += 4096)
                memset(dgm_packet_at(packet, at), (int)length & 0xff, 1);
        } else if (count) {
            const unsigned i = (unsigned)unit_below(count);

            for (uint32_t at = 0; at < lengths[i]; at += 4096)
                assert_int_equal(*(uint8_t *)dgm_packet_at(packets[i], at), lengths[i] & 0xff);
            dgm_packet_hold(packets[i]);
            dgm_packet_release(packets[i]);
            dgm_packet_release(packets[i]);
            packets[i] = packets[--count];
            lengths[i] = lengths[count];
        }
        dgm_packets_check(&pool);
    }
    while (count)
        dgm_packet_release(packets[--count]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_ip4),
        cmocka_unit_test(never_reads_beyond),
        cmocka_unit_test(refuses_parts),
        cmocka_unit_test(reads_ip6),
        cmocka_unit_test(sums_as_defined),
        cmocka_unit_test(sums_in_pieces),
        cmocka_unit_test_setup_teardown(fills_checksums, pool_start, pool_stop),
        cmocka_unit_test_setup_teardown(fills_no_other, pool_start, pool_stop),
        cmocka_unit_test_setup_teardown(keeps_frames_apart, pool_start, pool_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
