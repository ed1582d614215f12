/* SPDX-License-Identifier: MIT */
/*
 * card: a network card as an open port of a switch
 *
 * Lends the card buffers from the pool of packets, gives what it receives to the switch, and gives
 * the card what the switch sends there. A packet with a blank checksum is completed first. A packet
 * that is too long for the card, or comes while it has no link or a full queue, is dropped and
 * counted.
 */
#ifndef DRAGOMAN_NET_CARD_H
#define DRAGOMAN_NET_CARD_H

#include <dragoman/net/switch.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_net_card_counters {
    uint64_t dropped_too_long, dropped_no_link, dropped_queue_full, dropped_checksum;
    uint64_t dropped_no_memory; /* received, and the pool had no other buffer for the card */
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

/* Before the card is ready. The results of dgm_switch_add(). */
int dgm_net_card_attach(struct dgm_net_card *card, struct dgm_nicdev *nic, struct dgm_switch *net,
                        struct dgm_packets *packets, struct dgm_reactor *reactor);

#ifdef __cplusplus
}
#endif

#endif
