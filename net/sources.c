/* SPDX-License-Identifier: MIT */
/* sources: see sources.h. */
#include <net/sources.h>

#include <string.h>

enum {
    TYPE_IP4 = 0x0800,
    TYPE_ARP = 0x0806,
    TYPE_IP6 = 0x86dd,
    TYPE_TAG = 0x8100, /* behind as many tags as are parsed */
    TYPE_SERVICE_TAG = 0x88a8,
    PORT_DHCP_SERVER = 67,
    IP6_HOP_BY_HOP = 0,
    IP6_ROUTING = 43,
    IP6_ICMP = 58,
    IP6_DESTINATION = 60,
    ICMP6_ADVERTISEMENT = 136,
};

static const uint8_t unspecified[16];

static bool has_prefix(const struct dgm_ip_prefix *prefix, const uint8_t *address)
{
    const unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;

    return memcmp(prefix->address, address, whole) == 0 &&
           (rest == 0 || (prefix->address[whole] ^ address[whole]) >> (8 - rest) == 0);
}

static bool is_listed(const struct dgm_ip_sources *sources, unsigned version,
                      const uint8_t *address)
{
    for (unsigned i = 0; i < sources->count; i++)
        if (sources->prefixes[i].version == version && has_prefix(&sources->prefixes[i], address))
            return true;
    return false;
}

/* fe80:: and the MAC address as in RFC 4291, appendix A. */
static bool is_link_local_of(uint64_t mac, const uint8_t *address)
{
    const uint8_t own[16] = {0xfe,
                             0x80,
                             [8] = (uint8_t)(mac >> 40) ^ 2,
                             [9] = (uint8_t)(mac >> 32),
                             [10] = (uint8_t)(mac >> 24),
                             [11] = 0xff,
                             [12] = 0xfe,
                             [13] = (uint8_t)(mac >> 16),
                             [14] = (uint8_t)(mac >> 8),
                             [15] = (uint8_t)mac};

    return memcmp(own, address, sizeof own) == 0;
}

static bool allows_ip6(const struct dgm_ip_sources *sources, uint64_t mac, const uint8_t *address)
{
    bool any = false;

    for (unsigned i = 0; i < sources->count; i++)
        any |= sources->prefixes[i].version == 6;
    return any && (is_listed(sources, 6, address) || is_link_local_of(mac, address));
}

static bool allows_arp(const struct dgm_ip_sources *sources, uint64_t mac, const uint8_t *arp)
{
    static const uint8_t ethernet_ip4[6] = {0, 1, 8, 0, 6, 4};
    uint64_t sender = 0;

    for (unsigned i = 8; i < 14; i++)
        sender = sender << 8 | arp[i];
    return memcmp(arp, ethernet_ip4, sizeof ethernet_ip4) == 0 && sender == mac &&
           (memcmp(arp + 14, unspecified, 4) == 0 || is_listed(sources, 4, arp + 14));
}

static bool is_dhcp_request(const struct dgm_packet *packet, const uint8_t *start)
{
    const uint16_t transport = packet->headers.transport;

    return packet->headers.protocol == DGM_IP_UDP && transport &&
           (start[transport + 2] << 8 | start[transport + 3]) == PORT_DHCP_SERVER;
}

/* The offset of the ICMPv6 message behind an IPv6 header and its extensions; 0: none is found. A
 * fragment is none: receivers drop advertisements in fragments (RFC 6980). */
static uint32_t find_icmp6(const uint8_t *ip, uint32_t bytes)
{
    uint32_t at = 40;
    uint8_t next = ip[6];

    while (next == IP6_HOP_BY_HOP || next == IP6_ROUTING || next == IP6_DESTINATION) {
        if (at + 8 > bytes)
            return 0;
        next = ip[at];
        at += 8 + ip[at + 1] * 8u;
    }
    return next == IP6_ICMP ? at : 0;
}

/* The target of a neighbour advertisement is an address that the sender claims to have. One that is
 * not complete in the packet's first frame is taken for a false one. */
static bool claims_other_ip6(const struct dgm_ip_sources *sources, uint64_t mac, const uint8_t *ip,
                             uint32_t bytes)
{
    const uint32_t icmp = find_icmp6(ip, bytes);

    if (icmp == 0 || (icmp < bytes && ip[icmp] != ICMP6_ADVERTISEMENT))
        return false;
    return icmp + 24 > bytes || !allows_ip6(sources, mac, ip + icmp + 8);
}

bool dgm_sources_allow(const struct dgm_ip_sources *sources, uint64_t mac,
                       const struct dgm_packet *packet)
{
    const struct dgm_packet_headers *headers = &packet->headers;
    const uint8_t *start = dgm_packet_at(packet, 0), *at = start + headers->network;
    const uint32_t readable = packet->present < DGM_FRAME_BYTES ? packet->present : DGM_FRAME_BYTES;
    const uint32_t bytes = readable - headers->network;

    switch (headers->type) {
    case TYPE_ARP:
        return bytes >= 28 && allows_arp(sources, mac, at);
    case TYPE_IP4:
        return headers->ip == 4 &&
               (is_listed(sources, 4, at + 12) ||
                (memcmp(at + 12, unspecified, 4) == 0 && is_dhcp_request(packet, start)));
    case TYPE_IP6:
        if (headers->ip != 6 || claims_other_ip6(sources, mac, at, bytes))
            return false;
        return allows_ip6(sources, mac, at + 8) || memcmp(at + 8, unspecified, 16) == 0;
    case TYPE_TAG:
    case TYPE_SERVICE_TAG:
        return false;
    default:
        return true;
    }
}
