/* SPDX-License-Identifier: MIT */
/*
 * packet: a network packet in our own memory, its headers and its checksums
 *
 * A packet lies in local frames that no guest can access, so its bytes do not change after they are
 * parsed. Packets of all ports come from one pool (dgm_packets). A packet has one user at first;
 * each queue that keeps it adds a user, and the last user's release returns its frames.
 *
 * The parser is a pure function of the packet's first frame. It never reads beyond the given
 * length, and it accepts a header only if it is complete.
 *
 * A *large* packet is a TCP segment that stands for several: each of them has `mss` bytes of its
 * payload, and headers made from its own (dgm_packet_cut()). It has a blank checksum.
 *
 * Sources: IEEE 802.3 and 802.1Q, RFC 791, 8200, 768, 9293, 1071.
 */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include <dragoman/drivers/nicdev.h>
#include <dragoman/net/packets.h>

#define DGM_PACKET_BYTES_MIN 14u /* an Ethernet header */
#define DGM_PACKET_BYTES_MAX 65535u

/* --- headers --- */

#define DGM_MAC_BROADCAST 0xffffffffffffull

static inline bool dgm_mac_is_group(uint64_t mac)
{
    return mac >> 40 & 1;
}

enum { DGM_IP_TCP = 6, DGM_IP_UDP = 17 };

struct dgm_packet_headers {
    uint64_t destination, source; /* MAC addresses */
    uint16_t type;                /* the EtherType behind the VLAN tags */
    uint16_t network;             /* offset of what follows the EtherType */
    uint8_t ip;                   /* 4 or 6; 0: the packet has no valid IP header */
    /* The rest is set only for an unfragmented TCP segment or UDP datagram with a complete header;
     * otherwise `transport` is 0. */
    uint8_t protocol;         /* DGM_IP_TCP or DGM_IP_UDP */
    uint16_t transport;       /* offset of its header */
    uint16_t transport_bytes; /* header and payload, by the IP header; lies within the packet */
    uint16_t checksum;        /* offset of its checksum */
    uint16_t payload;         /* offset of what follows its header; 0: not all of that is there */
};

/* A packet of `length` bytes, of which `available` can be read. */
struct dgm_packet_view {
    const uint8_t *bytes;
    size_t available, length;
};

/* Parses the headers. False: there is no complete Ethernet header, and `headers` is not set. */
bool dgm_packet_parse(struct dgm_packet_headers *headers, struct dgm_packet_view view);

/*
 * The sum of 16-bit words, ones' complement (RFC 1071), of `bytes` bytes, added to `sum`. `odd`:
 * the bytes begin at an odd offset of what is summed.
 */
uint32_t dgm_checksum_add(uint32_t sum, const void *bytes, size_t count, bool odd);
/* The value of a header's checksum field for this sum. */
uint16_t dgm_checksum_finish(uint32_t sum);

/* --- packets --- */

/* The work (reactor.h) to move a packet of `frames` frames into or out of a port's user, */
static inline uint32_t dgm_packet_work(uint32_t frames)
{
    return 3 + 2 * frames;
}

/* and to sum or to copy `bytes` of it. */
static inline uint32_t dgm_packet_bytes_work(uint32_t bytes)
{
    return bytes / 512 + 1;
}

struct dgm_switch_port;
struct dgm_netback_taken; /* net/internal.h */

struct dgm_packet {
    struct dgm_nic_frame nic; /* the first frame, for a network card */
    struct dgm_packet *next;  /* in the pool's list of free packets */
    struct dgm_packets *pool;
    uint16_t users;
    uint16_t length;  /* bytes */
    uint16_t present; /* the first bytes, which are in our frames; the others are in its sender's */
    uint16_t frame_count;
    uint16_t frames[DGM_PACKET_FRAMES_MAX]; /* by number in the pool */
    /* Its TCP or UDP checksum is not filled in: the field holds the sum of the pseudo-header. */
    bool checksum_blank;
    bool checksum_valid; /* the payload is known to be unchanged */
    uint16_t mss;        /* of a large packet; else 0 */
    uint16_t vlan;       /* in a switch with VLANs: its VLAN; 0: none */
    bool tagged;         /* and whether its bytes have a tag for that */
    uint16_t charge;     /* that it adds to its source's charge while a card has it */
    bool headers_read;
    bool inspected;                   /* by the switch, which drops it, */
    uint8_t drop;                     /* if this is not DGM_SWITCH_DROPS */
    struct dgm_netback_taken *direct; /* it is in buffers of its only port already; else NULL */
    struct dgm_packet_headers headers;
    struct dgm_switch_port *source; /* the port where it arrived; NULL: not yet in the switch */
};

/* A packet of `length` bytes, up to DGM_PACKET_BYTES_MAX, with undefined contents and one user.
 * NULL: too few frames are free. */
struct dgm_packet *dgm_packet_take(struct dgm_packets *pool, uint32_t length);

/* Adds a user; removes a user. Removing the last one returns the packet to the pool. */
void dgm_packet_hold(struct dgm_packet *packet);
void dgm_packet_release(struct dgm_packet *packet);

/* The frame that holds byte `offset` of the packet, and that byte's address. */
dgm_gfn_t dgm_packet_gfn(const struct dgm_packet *packet, uint32_t offset);
void *dgm_packet_at(const struct dgm_packet *packet, uint32_t offset);
/* Copies the bytes `span` of `from` to `to_offset` of another packet; both have them. */
void dgm_packet_copy(struct dgm_packet *to, uint32_t to_offset, const struct dgm_packet *from,
                     struct dgm_span span);

/* Sets `headers` from the bytes that are present. False: it has no complete Ethernet header. */
bool dgm_packet_read_headers(struct dgm_packet *packet);

/*
 * Fills in a blank checksum. DGM_EINVAL: it is neither TCP nor UDP, so there is none. Linear in
 * the bytes.
 */
int dgm_packet_fill_checksum(struct dgm_packet *packet);

/* --- large packets --- */

/* The smallest `mss` that is accepted; a smaller one would cost more headers than payload. */
#define DGM_PACKET_MSS_MIN 88u

/*
 * Makes the packet a large one, after its headers were read. With a payload of at most `mss` bytes
 * it stays an ordinary one. DGM_EINVAL: it is not TCP over IPv`ip` with all headers in the first
 * frame, its checksum is not blank, it is for a group, or `mss` is below DGM_PACKET_MSS_MIN.
 */
int dgm_packet_set_large(struct dgm_packet *packet, unsigned ip, uint16_t mss);

/* The number of packets that dgm_packet_cut() makes of it, and the length of the longest one. */
uint32_t dgm_packet_cut_count(const struct dgm_packet *large);
uint32_t dgm_packet_cut_bytes(const struct dgm_packet *large);

/*
 * Makes the next ordinary packet of a large one, with the payload from byte *done on, and adds the
 * payload's bytes to *done, which is 0 at first. The packet has one user and a blank checksum.
 * NULL, with *done unchanged: too few frames are free, or no payload is left.
 */
struct dgm_packet *dgm_packet_cut(const struct dgm_packet *large, uint32_t *done);

/* True if `done` is all of the payload. */
bool dgm_packet_is_cut(const struct dgm_packet *large, uint32_t done);

#endif
