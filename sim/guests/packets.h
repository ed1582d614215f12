/* SPDX-License-Identifier: MIT */
/*
 * packets: what guests and the outside send to each other, and how an arrival is checked
 *
 * A peer is a guest's vif, or the outside behind the network card. Each byte of a packet follows
 * from its sender, its number and its position, so an arrival identifies what was sent. A check
 * knows nothing of the library: it has its own parser, for the few forms that peers send.
 *
 * An arrival must be a packet that its source has sent to this peer, unchanged, whole or as the
 * next part of a large one; with a correct or a correctly blank checksum; in a form that the peer
 * accepts; and no packet arrives twice, or before one of its flow that was sent earlier. A flow is
 * what one peer sends to another in one form: guests with several queues change the order of flows.
 */
#ifndef SIM_GUESTS_PACKETS_H
#define SIM_GUESTS_PACKETS_H

#include <sim/machine/base.h>

#define PEERS_MAX        33u /* number 0 is the outside; a guest has its domid */
#define PACKET_TO_ALL    UINT8_MAX
#define PACKET_BYTES_MAX 65535u

enum packet_form { PACKET_RAW, PACKET_UDP4, PACKET_TCP4, PACKET_TCP6, PACKET_FORMS };

/* A packet as its sender knows it. */
struct sent_packet {
    enum packet_form form;
    uint8_t to;      /* a peer's number, or PACKET_TO_ALL */
    bool blank;      /* it leaves with a blank checksum */
    bool forged;     /* its IP address is not the sender's, which may use no other */
    uint16_t vlan;   /* in which it travels; 0: the untagged one of a switch without VLANs, too */
    bool tagged;     /* it was sent with a tag, which its length does not contain */
    bool may_fail;   /* a fault concerns one of its pieces */
    uint16_t mss;    /* of a large packet; else 0 */
    uint32_t length; /* bytes */
    uint32_t number; /* among those that the peer has sent */
};

/* Of a flow: the last packet, and the first position in it that may follow. */
struct last_packet {
    bool any;
    uint32_t number, next;
};

struct peer {
    unsigned number;
    uint64_t mac;
    bool apart;           /* on the second switch, which has no card; and so on: nets.h */
    uint16_t vlan, group; /* 0: none. The VLAN is that of untagged packets */
    uint8_t tags;         /* a bit for each VLAN whose packets have tags, as nets.c numbers them */
    bool mirror;          /* it gets all packets of its switch, and what it sends goes nowhere */
    bool limited;         /* to its own IP addresses */
    bool hostile;         /* its packets may be anything, but not from another's address */
    bool takes_blank4, takes_blank6, takes_large4, takes_large6, takes_pieces;
    struct sent_packet *sent; /* by number */
    uint32_t sent_count, sent_room;
    uint64_t arrived; /* packets to it alone, or all if it is a mirror; the parts of a large one
                         count once */
    struct last_packet last[PEERS_MAX][PEERS_MAX + 1][PACKET_FORMS]; /* by flow: source,
                                                                        destination, form */
};

void peer_start(struct peer *peer, unsigned number);
struct peer *peer_numbered(unsigned number); /* NULL: there is none */

/* Draws a packet for another peer, records it, and writes its bytes. `bytes_max`: of an ordinary
 * one; `large`: large ones are possible. */
struct sent_packet peer_draw_packet(struct peer *from, struct rng *rng, uint32_t bytes_max,
                                    bool large, uint8_t *bytes);

struct arrival {
    const uint8_t *bytes;
    uint32_t length;
    uint16_t mss;     /* of a large packet */
    uint8_t large_ip; /* 4 or 6 */
    bool blank, in_pieces;
    uint16_t vlan; /* of the tag that it had; 0: it had none */
};

/* Checks what arrives at the peer. */
void peer_check_arrival(struct peer *at, const struct arrival *arrival);

#endif
