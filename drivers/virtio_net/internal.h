/* SPDX-License-Identifier: MIT */
/*
 * internal: layouts of the standard, and the declarations that the driver's files share
 *
 *   virtio_net.c  start, reset, interrupts, link
 *   regions.c     where the card's structures are
 *   negotiate.c   features, and the start of the queues
 *   queue.c       the two queues: lending buffers to the card, and collecting them
 */
#ifndef DRIVERS_VIRTIO_NET_INTERNAL_H
#define DRIVERS_VIRTIO_NET_INTERNAL_H

#include <drivers/virtio_net/virtio_net.h>

/* 4.1.4.3: the common configuration */
enum {
    COMMON_DEVICE_FEATURES_SELECT = 0x00,
    COMMON_DEVICE_FEATURES = 0x04,
    COMMON_DRIVER_FEATURES_SELECT = 0x08,
    COMMON_DRIVER_FEATURES = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10, /* 16 bits */
    COMMON_STATUS = 0x14,        /* 8 bits */
    COMMON_GENERATION = 0x15,    /* 8 bits */
    COMMON_QUEUE_SELECT = 0x16,  /* all of a queue's have 16 bits, */
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_NOTIFY = 0x1e,
    COMMON_QUEUE_DESCRIPTORS = 0x20, /* but these: 64, written as two of 32 */
    COMMON_QUEUE_AVAILABLE = 0x28,
    COMMON_QUEUE_USED = 0x30,
    COMMON_BYTES = 0x38,

    /* 2.1: the status */
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,
    STATUS_NEEDS_RESET = 64,
    STATUS_GONE = 255, /* the value read from a device that left the bus */

    /* 4.1.4.5: the cause of an interrupt; reading clears it */
    ISR_QUEUE = 1,
    ISR_CONFIGURATION = 2,

    /* 5.1.4: the configuration of a network card */
    NET_MAC = 0,
    NET_STATUS = 6, /* 16 bits */
    NET_MTU = 10,   /* 16 bits */
    NET_STATUS_LINK_UP = 1,

    /* 2.7.5: a descriptor's flags */
    DESCRIPTOR_NEXT = 1,
    DESCRIPTOR_WRITE = 2, /* the card writes it */

    NET_HEADER_BYTES = 12, /* 5.1.6; before the packet */
    HEADER_NEEDS_CHECKSUM = 1,
    HEADER_LARGE_TCP4 = 1, /* the kind */
    HEADER_LARGE_TCP6 = 4,
    USED_OFFSET = 1024, /* of the used ring in the frame that it shares with the available ring */
    HEADER_STRIDE = 16, /* from one header to the next in our memory */
};

/* 5.1.3, 6: features */
#define FEATURE(bit)            (UINT64_C(1) << (bit))
#define FEATURE_CHECKSUM        FEATURE(0) /* of packets to send */
#define FEATURE_MTU             FEATURE(3)
#define FEATURE_CUTS_TCP4       FEATURE(11) /* VIRTIO_NET_F_HOST_TSO4; needs FEATURE_CHECKSUM */
#define FEATURE_CUTS_TCP6       FEATURE(12)
#define FEATURE_MAC             FEATURE(5)
#define FEATURE_STATUS          FEATURE(16)
#define FEATURE_EVENT_INDEX     FEATURE(29)
#define FEATURE_VERSION_1       FEATURE(32)
#define FEATURE_ACCESS_PLATFORM FEATURE(33)
#define FEATURE_ORDER_PLATFORM  FEATURE(36)

/* 2.7.5, 2.7.8: little-endian, like the CPU */
struct dgm_virtio_descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};

struct dgm_virtio_used {
    uint16_t flags, index;
    struct {
        uint32_t id, bytes;
    } entries[];
};

/* 5.1.6 */
struct dgm_virtio_header {
    uint8_t flags, large_kind;
    uint16_t header_bytes, large_bytes;
    uint16_t checksum_start, checksum_offset; /* from the start */
    uint16_t buffers;
};

/* Finds the structures. DGM_ENODEV: one is missing. */
int dgm_virtio_find_regions(struct dgm_virtio_net *card);

/* The steps of 3.1.1 after the card's reset, up to FEATURES_OK; after it the MAC address is read.
 * NULL, or why the card cannot be used. */
const char *dgm_virtio_negotiate(struct dgm_virtio_net *card);
/* Tells the card where the queues are, and enables them. NULL, or why it cannot be used. */
const char *dgm_virtio_start_queues(struct dgm_virtio_net *card);

/* Empties a queue that the card does not use; `size` is its number of descriptors. */
void dgm_virtio_queue_clear(struct dgm_virtio_queue *queue, uint16_t size);
/* Adds an entry. Results as in nicdev.h. */
int dgm_virtio_lend(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue,
                    struct dgm_nic_frame *frame);
/* Gives the card the entries that were added, and rings the doorbell if the card requested it. */
void dgm_virtio_publish(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue);
void dgm_virtio_ring_doorbell(const struct dgm_virtio_queue *queue);
/* Returns the buffers that the card has finished. True if there were any. If the card returns what
 * it does not have, card->broken is set. */
bool dgm_virtio_collect_sent(struct dgm_virtio_net *card);
bool dgm_virtio_collect_received(struct dgm_virtio_net *card);
/* Asks for the next interrupt of a queue. True: the card has returned more meanwhile. */
bool dgm_virtio_arm(struct dgm_virtio_net *card, struct dgm_virtio_queue *queue);
/* Called while the card does no DMA: returns all transmit buffers. Receive buffers are lent again,
 * or returned too. */
void dgm_virtio_abandon(struct dgm_virtio_net *card, bool keep_receive);

/* Entries that the card has: it was given them, and has not returned them. */
static inline uint16_t dgm_virtio_in_flight(const struct dgm_virtio_queue *queue)
{
    return (uint16_t)(queue->published_index - queue->used_index);
}

#endif
