/* SPDX-License-Identifier: MIT */
/*
 * card: a network card as an open port of a switch
 *
 * Lends the card buffers from the pool of packets, passes received packets to the switch, and
 * packets from the switch to the card. A blank checksum is filled in first. A packet is dropped and
 * counted if it is too long for the card, or if the card has no link or its queue is full.
 */
#ifndef DRAGOMAN_NET_CARD_H
#define DRAGOMAN_NET_CARD_H

#include <dragoman/net/switch.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_net_card_counters {
    uint64_t dropped_too_long, dropped_no_link, dropped_queue_full, dropped_checksum;
    uint64_t dropped_no_memory; /* received, and the pool had no new buffer for the card */
    uint64_t checksums;         /* filled in */
};

/* The caller's, permanently. It may read `port` and `counters`. */
struct dgm_net_card {
    struct dgm_switch_port port;
    struct dgm_net_card_counters counters;
    struct dgm_nicdev *nic;
    struct dgm_packets *packets;
    struct dgm_reactor *reactor;
    struct dgm_nic_client client;
    struct dgm_task task;
};

/* Called before the card is ready. Results as of dgm_switch_add(). */
int dgm_net_card_attach(struct dgm_net_card *card, struct dgm_nicdev *nic, struct dgm_switch *net,
                        struct dgm_packets *packets, struct dgm_reactor *reactor);

#ifdef __cplusplus
}
#endif

#endif
