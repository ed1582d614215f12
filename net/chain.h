/* SPDX-License-Identifier: MIT */
/*
 * chain: a packet that a guest sends, from its entries in the transmit ring (xen/io/netif.h)
 *
 * A packet is a chain of entries: the first one, extras directly after it if its flags announce
 * them, then one entry for each further piece. The first entry's size is that of the whole packet;
 * its own piece has the bytes that remain without the other pieces. A pure function takes one entry
 * after another and decides when the chain ends. Each entry was copied out of shared memory once;
 * shared memory is not read again.
 *
 * A chain that is too long, or has too many extras, is *broken*: the start of the next chain is
 * unknown, so the connection ends. After any other fault only that packet is refused.
 */
#ifndef NET_CHAIN_H
#define NET_CHAIN_H

#include <dragoman/net/netback.h>
#include <net/packet.h>

#define DGM_CHAIN_PIECES_MAX 18u /* the most that Linux sends */
#define DGM_CHAIN_SLOTS_MAX  20u /* longer ones are broken, as for Linux */
#define DGM_CHAIN_EXTRAS_MAX 4u  /* one of each type */

struct dgm_chain_piece {
    grant_ref_t ref;
    uint16_t offset, bytes;
};

enum dgm_chain_expects {
    DGM_CHAIN_FIRST,
    DGM_CHAIN_EXTRA,
    DGM_CHAIN_PIECE,
    DGM_CHAIN_END,
    DGM_CHAIN_BROKEN,
};

struct dgm_chain {
    enum dgm_chain_expects expects; /* next */
    uint16_t length;                /* of the packet */
    uint16_t slots;                 /* entries without extras; each gets a response with its id */
    uint16_t extras;                /* entries that get NETIF_RSP_NULL */
    bool extras_refused;            /* one of them was not offered, or is a second one */
    uint8_t large_ip;               /* 4 or 6: a large packet (packet.h) over this IP; else 0 */
    uint16_t mss;                   /* of a large packet */
    uint16_t flags;                 /* of the first entry */
    uint32_t rest;                  /* bytes of the pieces after the first one */
    uint16_t ids[DGM_CHAIN_SLOTS_MAX];
    struct dgm_chain_piece pieces[DGM_CHAIN_SLOTS_MAX];
};

/* Takes the next entry, 12 bytes. A zeroed chain expects its first one. Returns chain->expects. */
enum dgm_chain_expects dgm_chain_add(struct dgm_chain *chain, const void *entry);

/*
 * Checks a complete chain, except `mss`. DGM_NETBACK_ACCEPTED: each piece lies within its frame,
 * and the sum of the pieces is the packet's length, at least 14.
 */
enum dgm_netback_refusal dgm_chain_check(struct dgm_chain *chain);

#endif
