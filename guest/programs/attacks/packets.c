/* SPDX-License-Identifier: MIT */
/*
 * packets: attacks that are one packet: its entries in the transmit ring, and its headers
 *
 * Sources: xen/io/netif.h; RFC 791, 826, 8200, 9293.
 */
#include <stdlib.h>
#include <string.h>

#include "attacks.h"

/* The honest guest, as tests/guest/attacks.py configures it: its station and its IP address. */
static const uint8_t victim_mac[6] = {0x00, 0x16, 0x3e, 0x0a, 0x09, 0x02};

#define REF_NEVER 30000u      /* no reference of this guest */
#define REF_LAST  0xffffffffu /* beyond every table */

/* One entry: a slot or an extra. The page of a slot is the packet's own unless `ref` is given. */
struct entry {
    bool is_extra;
    uint8_t times;                  /* that it comes; 0: once */
    uint8_t type, more, large_type; /* of an extra */
    uint16_t mss;
    uint16_t flags, offset, bytes; /* of a slot */
    uint32_t ref;
};

struct packet_attack {
    struct attack attack;
    enum packet_kind kind;
    unsigned count; /* of the entries */
    struct entry entries[5];
};

#define EXTRA(...)                                                                                 \
    {                                                                                              \
        .is_extra = true, __VA_ARGS__                                                              \
    }
#define LARGE(mss_, type_)                                                                         \
    {                                                                                              \
        .is_extra = true, .type = 1, .mss = (mss_), .large_type = (type_)                          \
    }
#define CHECKED (TX_BLANK | TX_VALIDATED)

static const struct packet_attack attacks[] = {
    /* Sizes and offsets. */
    {{"no_bytes", REFUSED, NULL}, ARP, 1, {{.bytes = 0}}},
    {{"shorter_than_a_header", REFUSED, NULL}, ARP, 1, {{.bytes = 13}}},
    {{"across_the_page", REFUSED, NULL}, ARP, 1, {{.offset = 4090, .bytes = 60}}},
    {{"offset_behind_the_page", REFUSED, NULL}, ARP, 1, {{.offset = 65535, .bytes = 60}}},
    {{"offset_and_size_wrap", REFUSED, NULL}, ARP, 1, {{.offset = 65500, .bytes = 65535}}},
    {{"a_page_of_64_kib", REFUSED, NULL}, ARP, 1, {{.bytes = 65535}}},
    {{"pieces_longer_than_the_packet", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_MORE, .bytes = 100}, {.bytes = 200}}},
    {{"pieces_as_long_as_the_packet", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_MORE, .bytes = 100}, {.bytes = 100}}},
    {{"sum_of_pieces_wraps", REFUSED, NULL},
     ARP,
     3,
     {{.flags = TX_MORE, .bytes = 100}, {.flags = TX_MORE, .bytes = 65535}, {.bytes = 65535}}},
    {{"a_piece_of_no_bytes", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_MORE, .bytes = 100}, {.bytes = 0}}},
    {{"pieces_of_one_byte", SERVED, NULL},
     ARP,
     5,
     {{.flags = TX_MORE, .bytes = 64},
      {.flags = TX_MORE, .offset = 60, .bytes = 1},
      {.flags = TX_MORE, .offset = 4095, .bytes = 1},
      {.flags = TX_MORE, .offset = 62, .bytes = 1},
      {.offset = 63, .bytes = 1}}},
    /* Numbers of slots. */
    {{"slots_19", REFUSED, NULL},
     ARP,
     3,
     {{.flags = TX_MORE, .bytes = 200}, {.flags = TX_MORE, .bytes = 1, .times = 17}, {.bytes = 1}}},
    {{"slots_without_end", CLOSED, NULL}, ARP, 1, {{.flags = TX_MORE, .bytes = 200, .times = 200}}},
    {{"more_but_no_slot", CLOSED, NULL}, ARP, 1, {{.flags = TX_MORE, .bytes = 200}}},
    {{"extra_that_does_not_come", CLOSED, NULL}, ARP, 1, {{.flags = TX_EXTRA, .bytes = 60}}},
    /* Extras. */
    {{"extra_of_type_0", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_EXTRA, .bytes = 60}, EXTRA(.type = 0)}},
    {{"extra_multicast_not_offered", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_EXTRA, .bytes = 60}, EXTRA(.type = 2)}},
    {{"extra_hash_not_offered", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_EXTRA, .bytes = 60}, EXTRA(.type = 4)}},
    {{"extra_headroom_not_offered", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_EXTRA, .bytes = 60}, EXTRA(.type = 5)}},
    {{"extra_of_type_255", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_EXTRA, .bytes = 60}, EXTRA(.type = 255)}},
    {{"two_extras_alike", REFUSED, NULL},
     TCP,
     3,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 3000},
      EXTRA(.type = 1, .more = 1, .mss = 1448, .large_type = 1),
      LARGE(1448, 1)}},
    {{"extras_without_end", CLOSED, NULL},
     ARP,
     2,
     {{.flags = TX_EXTRA, .bytes = 60}, EXTRA(.type = 3, .more = 1, .times = 100)}},
    /* Large packets. */
    {{"large_without_mss", REFUSED, NULL},
     TCP,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 3000}, LARGE(0, 1)}},
    {{"large_in_bytes", REFUSED, NULL},
     TCP,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 3000}, LARGE(1, 1)}},
    {{"large_with_the_largest_mss", SERVED, NULL},
     TCP,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 3000}, LARGE(65535, 1)}},
    {{"large_of_unknown_type", REFUSED, NULL},
     TCP,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 3000}, LARGE(1448, 77)}},
    {{"large_of_the_other_ip", REFUSED, NULL},
     TCP,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 3000}, LARGE(1448, 2)}},
    {{"large_udp", REFUSED, NULL},
     UDP,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 60}, LARGE(1448, 1)}},
    {{"large_arp", REFUSED, NULL},
     ARP,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 60}, LARGE(1448, 1)}},
    {{"large_without_blank_checksum", REFUSED, NULL},
     TCP,
     2,
     {{.flags = TX_EXTRA, .bytes = 3000}, LARGE(1448, 1)}},
    {{"large_with_a_cut_header", REFUSED, NULL},
     TCP_HEADER_LONG,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 60}, LARGE(1448, 1)}},
    {{"large_to_a_group", REFUSED, NULL},
     TCP_TO_ALL,
     2,
     {{.flags = TX_EXTRA | CHECKED, .bytes = 3000}, LARGE(1448, 1)}},
    /* Headers that lie. */
    {{"blank_checksum_of_arp", REFUSED, NULL}, ARP, 1, {{.flags = CHECKED, .bytes = 60}}},
    {{"blank_checksum_of_a_fragment", REFUSED, NULL},
     FRAGMENT,
     1,
     {{.flags = CHECKED, .bytes = 60}}},
    {{"ip_header_behind_the_end", REFUSED, NULL},
     IP_HEADER_LONG,
     1,
     {{.flags = CHECKED, .bytes = 60}}},
    {{"ip_length_behind_the_end", REFUSED, NULL},
     IP_LENGTH_LONG,
     1,
     {{.flags = CHECKED, .bytes = 60}}},
    {{"ip6_extensions_to_the_end", REFUSED, NULL},
     IP6_EXTENSIONS,
     1,
     {{.flags = CHECKED, .bytes = 1400}}},
    {{"tags_to_the_end", SERVED, NULL}, TAGS, 1, {{.bytes = 1400}}},
    {{"random_bytes", SERVED, NULL}, RANDOM, 1, {{.bytes = 1400}}},
    {{"unknown_flags", SERVED, NULL}, ARP, 1, {{.flags = 0xfff0, .bytes = 60}}},
    /* Other guests' addresses: the packet is dropped and counted behind its response. */
    {{"forged_source", SERVED, NULL}, FORGED, 1, {{.bytes = 60}}},
    {{"source_that_is_a_group", SERVED, NULL}, GROUP_SOURCE, 1, {{.bytes = 60}}},
    /* References. */
    {{"reference_never_granted", REFUSED, NULL}, ARP, 1, {{.bytes = 60, .ref = REF_NEVER}}},
    {{"reference_beyond_every_table", REFUSED, NULL}, ARP, 1, {{.bytes = 60, .ref = REF_LAST}}},
    {{"one_bad_reference_among_good", REFUSED, NULL},
     ARP,
     3,
     {{.flags = TX_MORE, .bytes = 200},
      {.flags = TX_MORE, .bytes = 50, .ref = REF_NEVER},
      {.bytes = 50}}},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- the packets --- */

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put_ip4(uint8_t *ip, uint8_t header_words, uint16_t length, uint8_t protocol)
{
    const uint8_t addresses[8] = {10, 9, 0, 3, 10, 9, 0, 2};
    uint32_t sum = 0;

    ip[0] = (uint8_t)(0x40 | header_words);
    put16(ip + 2, length);
    ip[8] = 64;
    ip[9] = protocol;
    memcpy(ip + 12, addresses, sizeof addresses);
    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, (uint16_t) ~(sum + (sum >> 16)));
}

static void put_udp(uint8_t *ip, uint16_t bytes)
{
    put_ip4(ip, 5, (uint16_t)(20 + bytes), 17);
    put16(ip + 22, 9); /* discard */
    put16(ip + 24, bytes);
}

static void put_tcp(uint8_t *ip, uint16_t bytes, uint8_t header_words)
{
    put_ip4(ip, 5, (uint16_t)(20 + bytes), 6);
    put16(ip + 22, 9);
    ip[32] = (uint8_t)(header_words << 4);
    ip[33] = 0x10; /* ACK */
}

static void put_type(uint8_t *page, uint16_t type)
{
    put16(page + 12, type);
}

static void put_addresses(uint8_t *page, enum packet_kind kind)
{
    memset(page, 0xff, 6);
    memcpy(page + 6, netfront.mac, 6);
    if (kind == TCP || kind == TO_VICTIM || kind == TO_VICTIM_LARGE || kind == FORGED)
        memcpy(page, victim_mac, 6);
    if (kind == TO_OUTSIDE_LARGE)
        memcpy(page, (const uint8_t[]){0x02, 0, 0, 0, 0, 1}, 6);
    if (kind == MULTICAST)
        memcpy(page, (const uint8_t[]){0x01, 0x00, 0x5e, 0, 0, 1}, 6);
    if (kind == FORGED)
        page[11] ^= 1;
    if (kind == GROUP_SOURCE)
        page[6] |= 1;
}

uint16_t make_packet(enum packet_kind kind)
{
    uint8_t *const page = netfront.pages[0].page;
    uint8_t *const ip = page + 14;

    memset(page, 0, XEN_PAGE);
    put_addresses(page, kind);
    put_type(page, 0x0800);
    switch (kind) {
    case ARP:
        put_type(page, 0x0806);
        memcpy(ip, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
        return 60;
    case TCP:
    case TCP_TO_ALL:
        put_tcp(ip, 3000 - 34, 5);
        return 3000;
    case TO_VICTIM_LARGE:
    case TO_OUTSIDE_LARGE:
        put_tcp(ip, 60000 - 34, 5);
        return 60000;
    case IP_HEADER_LONG:
        put_ip4(ip, 15, 60 - 14, 17);
        return 60;
    case IP_LENGTH_LONG:
        put_udp(ip, 2000);
        return 60;
    case TCP_HEADER_LONG:
        put_tcp(ip, 60 - 34, 15);
        return 60;
    case FRAGMENT:
        put_udp(ip, 60 - 34);
        ip[6] = 0x20;
        return 60;
    case IP6_EXTENSIONS: /* each names a hop-by-hop header (0) of 8 bytes as the next one */
        put_type(page, 0x86dd);
        ip[0] = 0x60;
        put16(ip + 4, 1400 - 54);
        return 1400;
    case TAGS:
        for (uint16_t at = 12; at < 1400; at += 4)
            put16(page + at, 0x8100);
        return 1400;
    case RANDOM:
        for (uint16_t at = 14; at < 1400; at++)
            page[at] = (uint8_t)rand();
        return 1400;
    default:
        put_udp(ip, 60 - 34);
        return 60;
    }
}

/* --- the attacks --- */

static void add_attack_entry(const struct entry *entry)
{
    if (entry->is_extra)
        add_entry(&(struct tx_extra){.type = entry->type,
                                     .flags = entry->more,
                                     .mss = entry->mss,
                                     .large_type = entry->large_type});
    else
        add_entry(&(struct tx_slot){.ref = entry->ref ? entry->ref : netfront.pages[0].ref,
                                    .offset = entry->offset,
                                    .flags = entry->flags,
                                    .id = (uint16_t)(netfront.produced % NETFRONT_ENTRIES),
                                    .bytes = entry->bytes});
}

void run_packet_attack(unsigned index)
{
    const struct packet_attack *attack = &attacks[index];
    int slots = 0, extras = 0, expected = 0;

    (void)make_packet(attack->kind);
    for (unsigned i = 0; i < attack->count; i++) {
        for (unsigned times = attack->entries[i].times ? attack->entries[i].times : 1; times;
             times--) {
            add_attack_entry(&attack->entries[i]);
            extras += attack->entries[i].is_extra;
            slots += !attack->entries[i].is_extra;
        }
    }
    publish();
    if (attack->attack.outcome == REFUSED)
        expected = slots;
    else if (attack->attack.outcome == CLOSED)
        expected = -1;
    if (take_responses((unsigned)(slots + extras)) != expected)
        fail("the responses are others");
}

const struct attack *packet_attack(unsigned index)
{
    return index < COUNT(attacks) ? &attacks[index].attack : NULL;
}

void add_slot(uint16_t flags, uint16_t offset, uint16_t bytes)
{
    add_attack_entry(&(struct entry){.flags = flags, .offset = offset, .bytes = bytes});
}

void send_good_packet(void)
{
    add_slot(0, 0, make_packet(ARP));
    publish();
    if (take_responses(1) != 0)
        fail("a good packet is refused");
}
