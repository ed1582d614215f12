/* SPDX-License-Identifier: MIT */
/* packets: see packets.h. Headers have no options, so their sizes are fixed. */
#include <sim/guests/packets.h>
#include <sim/machine/nets.h>

#include <stdlib.h>
#include <string.h>

enum {
    ETHERNET = 14,
    IP4 = 20,
    IP6 = 40,
    UDP = 8,
    TCP = 20,
    NUMBER = 4, /* raw packets and UDP begin their payload with the packet's number */
    TYPE_RAW = 0x88b5,
    TCP_FIN = 0x01,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_CWR = 0x80,
};

static struct peer *peers[PEERS_MAX];

void peer_start(struct peer *peer, unsigned number)
{
    peer->number = number;
    peer->mac = 0x00163e000000ull + number;
    peers[number] = peer;
}

struct peer *peer_numbered(unsigned number)
{
    return number < PEERS_MAX ? peers[number] : NULL;
}

/* --- forms --- */

static uint32_t ip_bytes(enum packet_form form)
{
    return form == PACKET_RAW ? 0 : form == PACKET_TCP6 ? IP6 : IP4;
}

static bool is_tcp(enum packet_form form)
{
    return form == PACKET_TCP4 || form == PACKET_TCP6;
}

static uint32_t transport_bytes(enum packet_form form)
{
    return form == PACKET_RAW ? 0 : is_tcp(form) ? TCP : UDP;
}

/* The offset of the first byte of the pattern. */
static uint32_t pattern_offset(enum packet_form form)
{
    return ETHERNET + ip_bytes(form) + transport_bytes(form) + (is_tcp(form) ? 0 : NUMBER);
}

static void put_number(uint8_t *to, unsigned count, uint64_t value)
{
    for (unsigned i = count; i-- > 0; value >>= 8)
        to[i] = (uint8_t)value;
}

static uint64_t get_number(const uint8_t *from, unsigned count)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < count; i++)
        value = value << 8 | from[i];
    return value;
}

/* Writes the pattern's bytes from `position` on. */
static void write_pattern(uint8_t *to, const struct peer *from, uint32_t number, uint32_t position,
                          uint32_t count)
{
    const uint64_t stream = (uint64_t)from->number << 56 | (uint64_t)number << 24;
    uint64_t word = 0;

    for (uint32_t i = 0; i < count; i++, position++) {
        if (i == 0 || position % 8 == 0)
            word = mix64(stream | position / 8);
        to[i] = (uint8_t)(word >> position % 8 * 8);
    }
}

/* --- checksums --- */

static uint32_t sum_words(uint32_t sum, const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* The sum of the pseudo-header of a packet of `length` bytes. */
static uint32_t pseudo_sum(enum packet_form form, const uint8_t *bytes, uint32_t length)
{
    const uint8_t *ip = bytes + ETHERNET;
    const uint32_t payload = length - ETHERNET - ip_bytes(form);
    uint8_t rest[4] = {0, is_tcp(form) ? 6 : 17};

    put_number(rest + 2, 2, payload);
    return sum_words(form == PACKET_TCP6 ? sum_words(0, ip + 8, 32) : sum_words(0, ip + 12, 8),
                     rest, 4);
}

static uint32_t checksum_offset(enum packet_form form)
{
    return ETHERNET + ip_bytes(form) + (is_tcp(form) ? 16u : 6u);
}

static void fill_transport_checksum(const struct sent_packet *packet, uint8_t *bytes)
{
    const uint32_t at = ETHERNET + ip_bytes(packet->form);
    uint8_t *field = bytes + checksum_offset(packet->form);
    const uint32_t sum = pseudo_sum(packet->form, bytes, packet->length);

    put_number(field, 2, 0);
    if (packet->blank) {
        put_number(field, 2, sum);
        return;
    }
    const uint16_t value = (uint16_t)~sum_words(sum, bytes + at, packet->length - at);
    put_number(field, 2, value || is_tcp(packet->form) ? value : 0xffff);
}

/* --- sending --- */

static void write_ip(const struct sent_packet *packet, const struct peer *from, uint8_t *ip)
{
    const uint32_t bytes = packet->length - ETHERNET;

    if (packet->form == PACKET_TCP6) {
        ip[0] = 0x60;
        put_number(ip + 4, 2, bytes - IP6);
        ip[6] = 6;
        ip[7] = 64;
        ip[8] = ip[24] = 0xfe;
        ip[9] = ip[25] = 0x80;
        ip[23] = (uint8_t)(packet->forged ? PEERS_MAX : from->number);
        ip[39] = packet->to;
        return;
    }
    ip[0] = 0x45;
    put_number(ip + 2, 2, bytes);
    put_number(ip + 4, 2, packet->number);
    ip[8] = 64;
    ip[9] = is_tcp(packet->form) ? 6 : 17;
    put_number(ip + 12, 4, 0x0a000000u | (packet->forged ? PEERS_MAX : from->number));
    put_number(ip + 16, 4, 0x0a000000u | packet->to);
    put_number(ip + 10, 2, (uint16_t)~sum_words(0, ip, IP4));
}

static void write_transport(const struct sent_packet *packet, uint8_t *at)
{
    put_number(at, 4, 0x10001000u + packet->form);
    if (!is_tcp(packet->form)) {
        put_number(at + 4, 2, packet->length - ETHERNET - IP4);
        return;
    }
    put_number(at + 4, 4, 0); /* the position of the payload's first byte */
    put_number(at + 8, 4, packet->number);
    at[12] = TCP / 4 << 4;
    at[13] = TCP_ACK | TCP_PSH | (packet->mss && packet->number % 2 ? TCP_CWR | TCP_FIN : 0);
    put_number(at + 14, 2, 1000);
}

static void write_packet(const struct sent_packet *packet, const struct peer *from, uint8_t *bytes)
{
    const uint32_t first = pattern_offset(packet->form);
    const struct peer *to = peer_numbered(packet->to);

    memset(bytes, 0, first);
    put_number(bytes, 6, packet->to == PACKET_TO_ALL ? 0xffffffffffffull : to->mac);
    put_number(bytes + 6, 6, from->mac);
    put_number(bytes + 12, 2,
               packet->form == PACKET_RAW    ? TYPE_RAW
               : packet->form == PACKET_TCP6 ? 0x86dd
                                             : 0x0800);
    if (!is_tcp(packet->form))
        put_number(bytes + first - NUMBER, NUMBER, packet->number);
    write_pattern(bytes + first, from, packet->number, 0, packet->length - first);
    if (packet->form == PACKET_RAW)
        return;
    write_ip(packet, from, bytes + ETHERNET);
    write_transport(packet, bytes + ETHERNET + ip_bytes(packet->form));
    fill_transport_checksum(packet, bytes);
}

static uint8_t draw_destination(const struct peer *from, struct rng *rng)
{
    unsigned number;

    if (rng_below(rng, 20) == 0)
        return PACKET_TO_ALL;
    do
        number = (unsigned)rng_below(rng, PEERS_MAX);
    while (number == from->number || !peers[number]);
    return (uint8_t)number;
}

struct sent_packet peer_draw_packet(struct peer *from, struct rng *rng, uint32_t bytes_max,
                                    bool large, uint8_t *bytes)
{
    struct sent_packet packet = {.to = draw_destination(from, rng), .number = from->sent_count};
    uint32_t least;

    if (packet.to != PACKET_TO_ALL)
        packet.form = (enum packet_form)rng_below(rng, PACKET_FORMS);
    packet.forged = from->limited && packet.form != PACKET_RAW && rng_below(rng, 20) == 0;
    least = pattern_offset(packet.form);
    packet.length = (uint32_t)rng_range(rng, least, rng_below(rng, 3) ? bytes_max : least + 40);
    packet.blank = packet.form != PACKET_RAW && from->number && rng_below(rng, 2);
    if (large && is_tcp(packet.form) && rng_below(rng, 3) == 0) {
        packet.mss = (uint16_t)rng_range(rng, 88, rng_below(rng, 3) ? 1448 : 400);
        packet.length = (uint32_t)rng_range(rng, least + packet.mss + 1u,
                                            rng_below(rng, 3) ? 9000 : PACKET_BYTES_MAX);
        packet.blank = true;
    }
    if (from->sent_count == from->sent_room) {
        from->sent_room = from->sent_room ? 2 * from->sent_room : 256;
        from->sent = realloc(from->sent, from->sent_room * sizeof from->sent[0]);
    }
    from->sent[from->sent_count++] = packet;
    write_packet(&packet, from, bytes);
    return packet;
}

/* --- arriving --- */

/* The form of the bytes, or PACKET_FORMS. */
static enum packet_form form_of(const struct arrival *arrival)
{
    const uint8_t *bytes = arrival->bytes;
    enum packet_form form = PACKET_FORMS;

    if (arrival->length < ETHERNET + NUMBER)
        return PACKET_FORMS;
    if (get_number(bytes + 12, 2) == TYPE_RAW)
        form = PACKET_RAW;
    else if (get_number(bytes + 12, 2) == 0x86dd)
        form = PACKET_TCP6;
    else if (get_number(bytes + 12, 2) == 0x0800 && arrival->length > ETHERNET + IP4)
        form = bytes[ETHERNET + 9] == 6 ? PACKET_TCP4 : PACKET_UDP4;
    return form == PACKET_FORMS || arrival->length < pattern_offset(form) ? PACKET_FORMS : form;
}

static void check_checksums(const struct peer *at, const struct arrival *arrival,
                            const struct sent_packet *packet)
{
    const uint8_t *bytes = arrival->bytes;
    const uint32_t transport = ETHERNET + ip_bytes(packet->form);
    const uint32_t sum = pseudo_sum(packet->form, bytes, arrival->length);
    const bool ip6 = packet->form == PACKET_TCP6;

    if (!ip6)
        SIM_CHECK(sum_words(0, bytes + ETHERNET, IP4) == 0xffff,
                  "peer %u: the IP header of packet %u has a wrong checksum", at->number,
                  packet->number);
    if (!arrival->blank) {
        SIM_CHECK(sum_words(sum, bytes + transport, arrival->length - transport) == 0xffff,
                  "peer %u: packet %u has a wrong checksum", at->number, packet->number);
        return;
    }
    SIM_CHECK(ip6 ? at->takes_blank6 : at->takes_blank4,
              "peer %u: packet %u has a blank checksum, which the peer does not accept", at->number,
              packet->number);
    SIM_CHECK(get_number(bytes + checksum_offset(packet->form), 2) == sum,
              "peer %u: the blank checksum of packet %u is not the pseudo-header's", at->number,
              packet->number);
}

/* The packet's headers, except for checksums: of the packet as it was sent, changed as far as a
 * part of a large one differs. `position`: of the payload's first byte. */
static void check_headers(const struct peer *at, const struct arrival *arrival,
                          const struct peer *from, const struct sent_packet *packet,
                          uint32_t position)
{
    const uint32_t first = pattern_offset(packet->form);
    const bool last = position + arrival->length - first == packet->length - first;
    const uint32_t tcp = ETHERNET + ip_bytes(packet->form);
    struct sent_packet part = *packet;
    uint8_t expected[ETHERNET + IP6 + TCP];

    part.length = first;
    write_packet(&part, from, expected);
    if (packet->form != PACKET_RAW) {
        uint8_t *ip = expected + ETHERNET;

        put_number(ip + (packet->form == PACKET_TCP6 ? 4 : 2), 2,
                   arrival->length - ETHERNET - (packet->form == PACKET_TCP6 ? IP6 : 0));
        if (packet->form == PACKET_TCP4 && packet->mss)
            put_number(ip + 4, 2, packet->number + position / packet->mss);
        if (packet->form != PACKET_TCP6)
            memcpy(ip + 10, arrival->bytes + ETHERNET + 10, 2);
        memcpy(expected + checksum_offset(packet->form),
               arrival->bytes + checksum_offset(packet->form), 2);
    }
    if (packet->form == PACKET_UDP4)
        put_number(expected + ETHERNET + IP4 + 4, 2, arrival->length - ETHERNET - IP4);
    if (is_tcp(packet->form)) {
        put_number(expected + tcp + 4, 4, position);
        if (!last)
            expected[tcp + 13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
        if (position)
            expected[tcp + 13] &= (uint8_t)~TCP_CWR;
    }
    SIM_CHECK(memcmp(expected, arrival->bytes, first) == 0,
              "peer %u: the headers of packet %u of peer %u have changed", at->number,
              packet->number, from->number);
}

/* The order: no packet twice, none before an earlier one. */
static void check_order(struct peer *at, const struct peer *from, const struct sent_packet *packet,
                        uint32_t position, uint32_t bytes)
{
    const unsigned to = packet->to == PACKET_TO_ALL ? PEERS_MAX : packet->to;
    struct last_packet *last = &at->last[from->number][to][packet->form];
    const bool again = last->any && last->number == packet->number;

    SIM_CHECK(!last->any || packet->number >= last->number,
              "peer %u: packet %u of peer %u arrives after packet %u", at->number, packet->number,
              from->number, last->number);
    SIM_CHECK(!again || (packet->mss && position >= last->next),
              "peer %u: packet %u of peer %u, from byte %u on, arrives twice", at->number,
              packet->number, from->number, position);
    at->arrived += !again && (packet->to == at->number || at->mirror);
    *last = (struct last_packet){.any = true, .number = packet->number, .next = position + bytes};
}

/* That a whole packet is whole, and a part has the size of a part. */
static void check_length(const struct peer *at, const struct arrival *arrival,
                         const struct sent_packet *packet, uint32_t position)
{
    const uint32_t payload = arrival->length - pattern_offset(packet->form);
    const uint32_t left = packet->length - pattern_offset(packet->form) - position;

    if (!packet->mss || arrival->mss)
        SIM_CHECK(position == 0 && arrival->length == packet->length && arrival->mss == packet->mss,
                  "peer %u: %u bytes of packet %u, which has %u", at->number, arrival->length,
                  packet->number, packet->length);
    else
        SIM_CHECK(position % packet->mss == 0 &&
                      payload == (left < packet->mss ? left : packet->mss),
                  "peer %u: packet %u, segments of %u bytes, has one of %u at %u", at->number,
                  packet->number, packet->mss, payload, position);
    if (arrival->mss)
        SIM_CHECK((packet->form == PACKET_TCP6 ? at->takes_large6 : at->takes_large4) &&
                      arrival->large_ip == (packet->form == PACKET_TCP6 ? 6 : 4) && arrival->blank,
                  "peer %u: packet %u is large, which the peer does not accept", at->number,
                  packet->number);
    SIM_CHECK(at->takes_pieces || !arrival->in_pieces,
              "peer %u: packet %u arrives in several buffers", at->number, packet->number);
}

void peer_check_arrival(struct peer *at, const struct arrival *arrival)
{
    static uint8_t expected[PACKET_BYTES_MAX];
    const enum packet_form form = form_of(arrival);
    const uint8_t *bytes = arrival->bytes;
    const uint64_t to = arrival->length < ETHERNET ? 0 : get_number(bytes, 6);
    const uint64_t mac = arrival->length < ETHERNET ? 0 : get_number(bytes + 6, 6);
    const struct peer *from = peer_numbered((unsigned)(mac & 0xff));
    const struct sent_packet *packet;
    uint32_t number, position, first;

    SIM_CHECK(from && from != at && from->mac == mac,
              "peer %u: a packet arrives from an address that no peer has", at->number);
    SIM_CHECK(to == at->mac || to >> 40 & 1 || at->mirror ||
                  (at->number == 0 && !network_has_port(arrival->vlan, (unsigned)(to & 0xff))),
              "peer %u: a packet for another peer arrives, from peer %u", at->number, from->number);
    if (from->hostile) {
        nets_check(at, from, arrival, NULL);
        return;
    }
    SIM_CHECK(form != PACKET_FORMS, "peer %u: a packet arrives that no peer sends", at->number);
    first = pattern_offset(form);
    number =
        (uint32_t)get_number(is_tcp(form) ? bytes + first - TCP + 8 : bytes + first - NUMBER, 4);
    position = is_tcp(form) ? (uint32_t)get_number(bytes + first - TCP + 4, 4) : 0;
    SIM_CHECK(
        number < from->sent_count && from->sent[number].form == form && position < PACKET_BYTES_MAX,
        "peer %u: packet %u arrives, which peer %u has not sent", at->number, number, from->number);
    packet = &from->sent[number];
    nets_check(at, from, arrival, packet);
    check_length(at, arrival, packet, position);
    check_headers(at, arrival, from, packet, position);
    write_pattern(expected, from, number, position, arrival->length - first);
    SIM_CHECK(memcmp(bytes + first, expected, arrival->length - first) == 0,
              "peer %u: the data of packet %u of peer %u have changed", at->number, number,
              from->number);
    if (form != PACKET_RAW)
        check_checksums(at, arrival, packet);
    check_order(at, from, packet, position, arrival->length - first);
}
