/* SPDX-License-Identifier: MIT */
/* attacks.h: what the files of the program share; see attacks.c */
#ifndef ATTACKS_H
#define ATTACKS_H

#include "../lib/netfront.h"

enum outcome {
    SERVED,  /* every packet gets the response OK */
    REFUSED, /* every packet gets an error response; the connection stays */
    CLOSED,  /* the backend closes the connection */
    HARMLESS /* the guest harms itself only, and gets no promise */
};

struct attack {
    const char *name;
    enum outcome outcome;
    /* Runs on a new connection. Fails if the outcome is another one, HARMLESS excepted. */
    void (*run)(void);
};

/* What the first page of a packet holds. */
enum packet_kind {
    ARP,
    UDP,
    TCP,             /* over IPv4, 3,000 bytes, to the honest guest */
    TCP_TO_ALL,      /* the same as a broadcast */
    IP_HEADER_LONG,  /* an IPv4 header of 60 bytes in a packet of 60 */
    IP_LENGTH_LONG,  /* a total length behind the packet's end */
    TCP_HEADER_LONG, /* a TCP header of 60 bytes in a packet that has 20 of it */
    FRAGMENT,        /* with a blank checksum, which it cannot have */
    IP6_EXTENSIONS,  /* extension headers to the packet's end */
    TAGS,            /* VLAN tags to the packet's end */
    FORGED,          /* another guest's source address */
    GROUP_SOURCE,    /* a group address as its source */
    MULTICAST,
    TO_VICTIM,        /* to the honest guest */
    TO_VICTIM_LARGE,  /* the same as TCP of 60,000 bytes */
    TO_OUTSIDE_LARGE, /* to an address behind the network card */
    RANDOM,
};

/* Fills the first payload page. Returns the packet's bytes. */
uint16_t make_packet(enum packet_kind kind);

/* Adds a slot of the first payload page. */
void add_slot(uint16_t flags, uint16_t offset, uint16_t bytes);
/* Sends one good packet, which must be served. */
void send_good_packet(void);

/* Attack number `index`; NULL: there are no more in this group. */
const struct attack *packet_attack(unsigned index);
const struct attack *ring_attack(unsigned index);
const struct attack *flood_attack(unsigned index);
/* Sends the chain of a packet attack, and checks its outcome. */
void run_packet_attack(unsigned index);

#endif
