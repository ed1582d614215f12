/* SPDX-License-Identifier: MIT */
/*
 * virtio_net: the state of one card and of its queues
 *
 * Every file of the driver works on it, and the driver's tests read it. The embedder provides its
 * memory (dgm_virtio_net_driver.state_bytes) and sees only its `nic`.
 */
#ifndef DRIVERS_VIRTIO_NET_VIRTIO_NET_H
#define DRIVERS_VIRTIO_NET_VIRTIO_NET_H

#include <dragoman/drivers/virtio_net.h>

#define DGM_VIRTIO_ENTRIES 256u /* descriptors of each queue, at most; a power of two */

enum dgm_virtio_net_state {
    DGM_VIRTIO_NET_RESETTING,
    DGM_VIRTIO_NET_LIVE,
    DGM_VIRTIO_NET_LOST, /* does not respond, or does not end its reset: waits */
    DGM_VIRTIO_NET_FAILED,
};

struct dgm_virtio_descriptor;
struct dgm_virtio_used;

/* A part of a BAR with one of the card's structures (4.1.4). */
struct dgm_virtio_region {
    volatile void *at;
    uint32_t bytes;
};

struct dgm_virtio_queue {
    /* shared with the card */
    volatile struct dgm_virtio_descriptor *descriptors;
    volatile uint16_t *available; /* flags, index, entries, used event (2.7.6) */
    volatile struct dgm_virtio_used *used;
    volatile uint16_t *available_event; /* behind the used entries (2.7.8) */
    uint8_t *headers;                   /* of each packet, by the first descriptor of its chain */
    dgm_bus_t descriptors_bus, rings_bus, headers_bus;
    volatile void *doorbell;
    /* private */
    uint16_t number, size;                          /* size 0: it was not started yet */
    uint16_t free_first, free_count;                /* descriptors that are in no chain: a list */
    uint16_t next[DGM_VIRTIO_ENTRIES];              /* in its chain, or in the list */
    uint16_t chain[DGM_VIRTIO_ENTRIES];             /* descriptors of the chain that begins here */
    struct dgm_nic_frame *lent[DGM_VIRTIO_ENTRIES]; /* by the first descriptor; else NULL */
    uint16_t available_index; /* of the next entry to fill; indices run freely, modulo 2^16 */
    uint16_t published_index; /* up to which the card was given entries */
    uint16_t used_index;      /* of the next entry that the card returns */
};

struct dgm_virtio_net {
    struct dgm_nicdev nic; /* what the client uses */
    struct dgm_device_env *env;
    struct dgm_virtio_region common, notify, isr, device;
    uint32_t notify_multiplier;
    uint64_t features; /* that were agreed on */
    struct dgm_irq irq;
    struct dgm_task task;
    struct dgm_timer timer; /* live: the next poll; otherwise the next step of the reset */
    enum dgm_virtio_net_state state;
    struct dgm_virtio_queue receive, transmit;
    bool status_due;       /* the card may have changed its status or its link */
    bool broken;           /* it returned what it did not have */
    uint64_t progress_ns;  /* when the card last sent something, or had nothing to send */
    uint64_t reset_end_ns; /* when a reset is given up */
    uint64_t resets;
    unsigned resets_in_row; /* without a packet in between */
    struct dgm_device_line line;
    struct dgm_nicdev_loss loss;
};

/* See dgm_virtio_net_driver. */
int dgm_virtio_net_start(struct dgm_virtio_net *card, struct dgm_device_env *env);

/* Asserts every invariant of the queues; for tests. */
void dgm_virtio_net_check(const struct dgm_virtio_net *card);

#endif
