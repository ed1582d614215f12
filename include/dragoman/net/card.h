/* SPDX-License-Identifier: MIT */
/*
 * card: a network card as an open port of a switch
 *
 * Lends the card buffers from the pool of packets, passes received packets to the switch, and
 * packets from the switch to the card, in their order. A blank checksum is filled in first, unless
 * the card does it. A large packet is given to a card that cuts it itself; for another card it is
 * cut as far as the card has room; the rest waits. A packet is
 * dropped and counted if it is too long for the card, or if the card has no link.
 *
 * Packets that wait, or that the card has, are charged to the port where they arrived: each as many
 * units as frames of the pool, or as packets into which it is cut, whichever is more. So a guest
 * with a small segment size cannot make its neighbours wait for thousands of packets. Each vif
 * stops sending at its limit (netback.h), so the queue cannot overflow.
 */
#ifndef DRAGOMAN_NET_CARD_H
#define DRAGOMAN_NET_CARD_H

#include <dragoman/base/reactor.h>
#include <dragoman/drivers/nicdev.h>
#include <dragoman/net/switch.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_NET_CARD_QUEUE 1024u /* packets that wait at most */
/* The most packets cut from large ones that the card has; each takes a frame of the pool. */
#define DGM_NET_CARD_CUT_MAX 128u

struct dgm_net_card_counters {
    uint64_t dropped_too_long, dropped_no_link, dropped_queue_full, dropped_checksum;
    uint64_t cut;               /* packets into which large ones were cut by us */
    uint64_t large;             /* packets that the card was given to cut itself */
    uint64_t dropped_no_memory; /* received, and the pool had no new buffer for the card */
    uint64_t checksums;         /* filled in */
};

/* The caller's, permanently. Other rooms use `nic`, `port`, `counters`; the rest is net's own. */
struct dgm_net_card {
    struct dgm_switch_port port;
    struct dgm_net_card_counters counters;
    struct dgm_nicdev *nic;
    struct dgm_packets *packets;
    struct dgm_reactor *reactor;
    struct dgm_nic_client client;
    struct dgm_task task;
    struct dgm_packet *queue[DGM_NET_CARD_QUEUE]; /* to send, oldest first */
    uint32_t queue_first, queue_count;
    uint32_t done;      /* of the payload of the oldest one, if that is large */
    uint32_t cut_count; /* cut packets that the card has */
};

/* Called before the card is ready. Results as of dgm_switch_add(). */
int dgm_net_card_attach(struct dgm_net_card *card, struct dgm_nicdev *nic, struct dgm_switch *net,
                        struct dgm_packets *packets, struct dgm_reactor *reactor);

#ifdef __cplusplus
}
#endif

#endif
