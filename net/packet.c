/* SPDX-License-Identifier: MIT */
/*
 * packet: the parser of headers, and checksums. See net/packet.h.
 *
 * Each header is read only after view_has() has found that it is complete. Lengths in headers are
 * the sender's claims: a transport header counts only if the length that the IP header claims lies
 * within the packet.
 */
#include <dragoman/base/status.h>
#include <net/packet.h>

#include <string.h>

enum {
    TYPE_IP4 = 0x0800,
    TYPE_IP6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_SERVICE_VLAN = 0x88a8,
    TAGS_MAX = 2,
    IP6_EXTENSIONS_MAX = 8, /* for longer chains the transport header is not parsed */
    IP6_HOP_BY_HOP = 0,
    IP6_ROUTING = 43,
    IP6_DESTINATION = 60,
};

static bool view_has(const struct dgm_packet_view *view, size_t offset, size_t bytes)
{
    return offset <= view->available && bytes <= view->available - offset;
}

static uint16_t read16(const struct dgm_packet_view *view, size_t offset)
{
    return (uint16_t)(view->bytes[offset] << 8 | view->bytes[offset + 1]);
}

static uint64_t get_mac(const struct dgm_packet_view *view, size_t offset)
{
    uint64_t mac = 0;

    for (size_t i = 0; i < 6; i++)
        mac = mac << 8 | view->bytes[offset + i];
    return mac;
}

/* Parses the transport header at `offset`, which has `bytes` bytes with its payload. */
static void parse_transport(struct dgm_packet_headers *headers, const struct dgm_packet_view *view,
                            size_t offset, size_t bytes, uint8_t protocol)
{
    const bool tcp = protocol == DGM_IP_TCP;
    size_t header_bytes = tcp ? 20 : 8;

    if ((!tcp && protocol != DGM_IP_UDP) || bytes < header_bytes ||
        !view_has(view, offset, header_bytes) || offset > view->length ||
        bytes > view->length - offset)
        return;
    if (!tcp && read16(view, offset + 4) != bytes)
        return; /* UDP has its own length, which its checksum covers */
    headers->protocol = protocol;
    headers->transport = (uint16_t)offset;
    headers->transport_bytes = (uint16_t)bytes;
    headers->checksum = (uint16_t)(offset + (tcp ? 16 : 6));
    if (tcp)
        header_bytes = (size_t)(view->bytes[offset + 12] >> 4) * 4;
    if (header_bytes >= (tcp ? 20 : 8) && header_bytes <= bytes &&
        view_has(view, offset, header_bytes))
        headers->payload = (uint16_t)(offset + header_bytes);
}

static void parse_ip4(struct dgm_packet_headers *headers, const struct dgm_packet_view *view)
{
    const size_t at = headers->network;
    size_t header_bytes, total;

    if (!view_has(view, at, 20) || view->bytes[at] >> 4 != 4)
        return;
    header_bytes = (size_t)(view->bytes[at] & 15) * 4;
    total = read16(view, at + 2);
    if (header_bytes < 20 || !view_has(view, at, header_bytes) || total < header_bytes)
        return;
    headers->ip = 4;
    if (read16(view, at + 6) & 0x3fff) /* a fragment: more follow, or an offset */
        return;
    parse_transport(headers, view, at + header_bytes, total - header_bytes, view->bytes[at + 9]);
}

static void parse_ip6(struct dgm_packet_headers *headers, const struct dgm_packet_view *view)
{
    const size_t at = headers->network;
    size_t next, end;
    uint8_t protocol;

    if (!view_has(view, at, 40) || view->bytes[at] >> 4 != 6)
        return;
    headers->ip = 6;
    protocol = view->bytes[at + 6];
    next = at + 40;
    end = next + read16(view, at + 4);
    for (unsigned i = 0; i < IP6_EXTENSIONS_MAX; i++) {
        if (protocol != IP6_HOP_BY_HOP && protocol != IP6_ROUTING && protocol != IP6_DESTINATION)
            break;
        if (!view_has(view, next, 8))
            return;
        protocol = view->bytes[next];
        next += 8 + (size_t)view->bytes[next + 1] * 8;
        if (next > end)
            return;
    }
    parse_transport(headers, view, next, end - next, protocol);
}

bool dgm_packet_parse(struct dgm_packet_headers *headers, struct dgm_packet_view view)
{
    size_t at = 12;
    uint16_t type;

    if (view.available > view.length)
        view.available = view.length;
    if (!view_has(&view, 0, DGM_PACKET_BYTES_MIN))
        return false;
    *headers =
        (struct dgm_packet_headers){.destination = get_mac(&view, 0), .source = get_mac(&view, 6)};
    type = read16(&view, at);
    for (unsigned i = 0; i < TAGS_MAX && (type == TYPE_VLAN || type == TYPE_SERVICE_VLAN) &&
                         view_has(&view, at + 4, 2);
         i++) {
        at += 4;
        type = read16(&view, at);
    }
    headers->type = type;
    headers->network = (uint16_t)(at + 2);
    if (type == TYPE_IP4)
        parse_ip4(headers, &view);
    else if (type == TYPE_IP6)
        parse_ip6(headers, &view);
    return true;
}

bool dgm_packet_read_headers(struct dgm_packet *packet)
{
    const uint32_t present = packet->present;

    packet->headers_read = dgm_packet_parse(
        &packet->headers,
        (struct dgm_packet_view){.bytes = dgm_packet_at(packet, 0),
                                 .available = present < DGM_FRAME_BYTES ? present : DGM_FRAME_BYTES,
                                 .length = packet->length});
    return packet->headers_read;
}

/* --- checksums --- */

static uint32_t fold_sum(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)sum;
}

/* The word of two bytes in memory, in the machine's own byte order. */
static uint16_t word_of(uint8_t first, uint8_t second)
{
    const uint8_t bytes[2] = {first, second};
    uint16_t word;

    __builtin_memcpy(&word, bytes, sizeof word);
    return word;
}

/* The sum of `count` bytes from an even address on, as words in the machine's own byte order. A
 * 64-bit load holds two 32-bit parts, each of which adds to the same sum modulo 2^16 - 1. The
 * builtins become loads; memcpy() is a call in a freestanding build. */
static uint64_t sum_words(const uint8_t *at, size_t count)
{
    uint64_t low = 0, high = 0, wide;
    uint16_t word;

    for (; count >= 2 && (uintptr_t)at % 8 != 0; at += 2, count -= 2) {
        __builtin_memcpy(&word, __builtin_assume_aligned(at, 2), sizeof word);
        low += word;
    }
    for (; count >= 8; at += 8, count -= 8) {
        __builtin_memcpy(&wide, __builtin_assume_aligned(at, 8), sizeof wide);
        low += (uint32_t)wide;
        high += wide >> 32;
    }
    for (; count >= 2; at += 2, count -= 2) {
        __builtin_memcpy(&word, __builtin_assume_aligned(at, 2), sizeof word);
        low += word;
    }
    return low + high + (count ? word_of(*at, 0) : 0);
}

/* RFC 1071, section 2: the sum does not depend on the byte order in which words are added, except
 * that its two bytes change places; and they do if each byte is in the other half of its word. */
uint32_t dgm_checksum_add(uint32_t sum, const void *bytes, size_t count, bool odd)
{
    const uint8_t *at = bytes;
    bool swapped = word_of(1, 0) == 1 ? !odd : odd;
    uint64_t first = 0, all;

    if (count > 0 && (uintptr_t)at % 2 != 0) {
        first = word_of(0, *at++);
        count--;
        swapped = !swapped;
    }
    all = fold_sum(first + sum_words(at, count));
    if (swapped)
        all = (all & 0xff) << 8 | all >> 8;
    return fold_sum(all + sum);
}

uint16_t dgm_checksum_finish(uint32_t sum)
{
    return (uint16_t)~fold_sum(sum);
}

int dgm_packet_fill_checksum(struct dgm_packet *packet)
{
    const struct dgm_packet_headers *headers = &packet->headers;
    uint32_t sum = 0, at = headers->transport;
    const uint32_t end = at + headers->transport_bytes;
    uint8_t *field;
    uint16_t value;

    dgm_assert(packet->present == packet->length);
    if (headers->transport == 0)
        return DGM_EINVAL;
    /* The field, which holds the sum of the pseudo-header, is summed with the rest. */
    while (at < end) {
        const uint32_t room = DGM_FRAME_BYTES - at % DGM_FRAME_BYTES;
        const uint32_t bytes = end - at < room ? end - at : room;

        sum =
            dgm_checksum_add(sum, dgm_packet_at(packet, at), bytes, (at - headers->transport) & 1);
        at += bytes;
    }
    value = dgm_checksum_finish(sum);
    if (value == 0 && headers->protocol == DGM_IP_UDP)
        value = 0xffff; /* 0 would mean that there is no checksum (RFC 768) */
    field = dgm_packet_at(packet, headers->checksum);
    field[0] = (uint8_t)(value >> 8);
    *(uint8_t *)dgm_packet_at(packet, headers->checksum + 1u) = (uint8_t)value;
    packet->checksum_blank = false;
    packet->checksum_valid = true;
    return DGM_OK;
}
