/* SPDX-License-Identifier: MIT */
/*
 * netfront: the guest's half of a network interface, simulated in user space
 *
 * For guests that break the protocol on purpose (attacks.c). One interface, with one queue: two
 * rings, two event channels, which each connection initialises again. Source: xen/io/netif.h
 * (written as literals: this is the other side of the interface).
 */
#ifndef NETFRONT_H
#define NETFRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "xen.h"

#define NETFRONT_PAGES   24u /* of payload; the longest packet has 18 slots */
#define NETFRONT_ENTRIES 256u

/* Indexes in a ring's page. */
enum { REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT };

/* An entry of the transmit ring. */
struct tx_slot {
    uint32_t ref;
    uint16_t offset, flags, id, bytes;
};

/* Flags of a slot. */
enum { TX_BLANK = 1, TX_VALIDATED = 2, TX_MORE = 4, TX_EXTRA = 8 };

/* An entry of the transmit ring after one with TX_EXTRA. */
struct tx_extra {
    uint8_t type, flags; /* 1: a large packet; flag 1: another extra follows */
    uint16_t mss;
    uint8_t large_type; /* 1: TCP over IPv4, 2: over IPv6 */
    uint8_t padding;
    uint16_t features;
    uint32_t unused;
};

struct netfront {
    struct granted transmit, receive; /* the rings */
    uint32_t ports[2];                /* transmit, receive */
    struct granted pages[NETFRONT_PAGES];
    uint8_t mac[6];
    uint32_t produced, consumed; /* of the transmit ring */
    uint32_t posted;             /* buffers in the receive ring */
};

extern struct netfront netfront;

void netfront_start(void); /* xen_open() was called */

volatile uint32_t *ring_indexes(const struct granted *ring);

/* The interface's keys as Linux writes them, and its state Connected; without waiting. */
void netfront_write_keys(void);
/* Empty rings, new channels, the keys, and Connected. Whatever came before is closed. */
void netfront_connect(void);
/* Closes, and waits until the backend has closed. */
void netfront_close(void);

/* Adds an entry to the transmit ring; publish() shows all that were added to the backend. */
void add_entry(const void *entry);
void publish(void);

/* Posts the same page `count` times as a receive buffer. */
void post_buffers(uint32_t ref, unsigned count);

/*
 * Waits for `count` responses. Returns how many say that the entry is refused, those of extras not
 * counted; -1: the backend has closed the connection instead.
 */
int take_responses(unsigned count);

/* Waits for the responses to all entries, and takes none. */
void wait_for_responses(void);

/* Waits until the backend closes. */
void wait_for_end(void);

#endif
