/* SPDX-License-Identifier: MIT */
/*
 * cut: ordinary packets from a large one. See net/packet.h.
 *
 * A large packet's blank checksum holds the sum of its pseudo-header, which includes the length of
 * header and payload. That of an ordinary packet differs in the length alone, so its sum is
 * computed from the large one's, with any routing header of IPv6 already in it.
 *
 * Sources: RFC 791, 8200, 9293; RFC 3168 for CWR, which only the first one carries.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <net/packet.h>

enum {
    TCP_SEQUENCE = 4, /* offsets in the TCP header */
    TCP_FLAGS = 13,
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_CWR = 0x80,
    IP4_LENGTH = 2, /* offsets in the IP header */
    IP4_ID = 4,
    IP4_CHECKSUM = 10,
    IP6_LENGTH = 4,
    IP6_BYTES = 40,
};

static uint32_t payload_bytes(const struct dgm_packet *large)
{
    const struct dgm_packet_headers *headers = &large->headers;

    return (uint32_t)headers->transport + headers->transport_bytes - headers->payload;
}

int dgm_packet_set_large(struct dgm_packet *packet, unsigned ip, uint16_t mss)
{
    const struct dgm_packet_headers *headers = &packet->headers;

    if (!packet->checksum_blank || headers->ip != ip || headers->protocol != DGM_IP_TCP ||
        headers->payload == 0 || mss < DGM_PACKET_MSS_MIN ||
        dgm_mac_is_group(headers->destination)) /* it would be cut for each port */
        return DGM_EINVAL;
    packet->mss = payload_bytes(packet) > mss ? mss : 0;
    return DGM_OK;
}

uint32_t dgm_packet_cut_count(const struct dgm_packet *large)
{
    return (payload_bytes(large) + large->mss - 1) / large->mss;
}

uint32_t dgm_packet_cut_bytes(const struct dgm_packet *large)
{
    return (uint32_t)large->headers.payload + large->mss;
}

bool dgm_packet_is_cut(const struct dgm_packet *large, uint32_t done)
{
    return done == payload_bytes(large);
}

static uint32_t read_big_endian(const uint8_t *bytes, unsigned count)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void write_big_endian(uint8_t *bytes, unsigned count, uint32_t value)
{
    for (unsigned i = count; i-- > 0; value >>= 8)
        bytes[i] = (uint8_t)value;
}

/* Corrects the IP header of the packet number `number`. */
static void correct_ip(struct dgm_packet *packet, const struct dgm_packet_headers *headers,
                       uint32_t number)
{
    uint8_t *ip = dgm_packet_at(packet, headers->network);
    const uint32_t bytes = (uint32_t)packet->length - headers->network;

    if (headers->ip == 6) {
        write_big_endian(ip + IP6_LENGTH, 2, bytes - IP6_BYTES);
        return;
    }
    write_big_endian(ip + IP4_LENGTH, 2, bytes);
    write_big_endian(ip + IP4_ID, 2, read_big_endian(ip + IP4_ID, 2) + number);
    write_big_endian(ip + IP4_CHECKSUM, 2, 0);
    write_big_endian(ip + IP4_CHECKSUM, 2,
                     dgm_checksum_finish(dgm_checksum_add(0, ip, (size_t)(ip[0] & 15) * 4, false)));
}

/* Corrects the TCP header of the packet whose payload is that of the large one from `at` on. */
static void correct_tcp(struct dgm_packet *packet, const struct dgm_packet *large, uint32_t at,
                        bool last)
{
    const struct dgm_packet_headers *headers = &large->headers;
    uint8_t *tcp = dgm_packet_at(packet, headers->transport);
    uint8_t *sum = dgm_packet_at(packet, headers->checksum);
    const uint32_t bytes = (uint32_t)packet->length - headers->transport;
    uint8_t lengths[4];

    write_big_endian(tcp + TCP_SEQUENCE, 4, read_big_endian(tcp + TCP_SEQUENCE, 4) + at);
    if (!last)
        tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
    if (at)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    write_big_endian(lengths, 2, ~(uint32_t)headers->transport_bytes);
    write_big_endian(lengths + 2, 2, bytes);
    write_big_endian(sum, 2,
                     (uint16_t)~dgm_checksum_finish(
                         dgm_checksum_add(read_big_endian(sum, 2), lengths, 4, false)));
}

struct dgm_packet *dgm_packet_cut(const struct dgm_packet *large, uint32_t *done)
{
    const uint32_t header_bytes = large->headers.payload, left = payload_bytes(large) - *done;
    const uint32_t bytes = left < large->mss ? left : large->mss;
    struct dgm_packet *packet;

    dgm_assert(large->mss >= DGM_PACKET_MSS_MIN && large->checksum_blank);
    dgm_assert(large->present == large->length);
    if (left == 0)
        return NULL;
    packet = dgm_packet_take(large->pool, header_bytes + bytes);
    if (!packet)
        return NULL;
    dgm_packet_copy(packet, 0, large, (struct dgm_span){0, header_bytes});
    dgm_packet_copy(packet, header_bytes, large, (struct dgm_span){header_bytes + *done, bytes});
    correct_ip(packet, &large->headers, *done / large->mss);
    correct_tcp(packet, large, *done, bytes == left);
    packet->headers = large->headers;
    packet->headers.transport_bytes = (uint16_t)(packet->length - large->headers.transport);
    packet->checksum_blank = true;
    packet->checksum_valid = large->checksum_valid;
    *done += bytes;
    return packet;
}
