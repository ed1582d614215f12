/* SPDX-License-Identifier: MIT */
/*
 * virtio_net: the part of a virtio network card (version 1, on PCI) that the driver uses
 *
 * Configuration space with its capabilities, one BAR with all structures, two split virtqueues. It
 * acts only when it is called: dgm_simvirtio_send() sends packets of the transmit queue,
 * dgm_simvirtio_receive() delivers a packet from the wire. A transmit queue that was found empty is
 * looked at again only after its doorbell. Faults are members that a test sets.
 */
#ifndef SIM_DEVICES_VIRTIO_NET_H
#define SIM_DEVICES_VIRTIO_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DGM_SIMVIRTIO_BAR       4u
#define DGM_SIMVIRTIO_BAR_BYTES 0x4000u

struct dgm_simvirtio_queue {
    uint16_t size, vector, enabled;
    uint64_t descriptors, available, used; /* bus addresses */
    uint16_t taken, returned;              /* indices: of the available and the used ring */
    bool awake;                            /* the doorbell was rung after the queue was empty */
};

struct dgm_simvirtio {
    /* Defined by the test. */
    void *(*memory)(void *context, uint64_t bus, uint32_t bytes, bool write);
    void (*sent)(void *context, const void *header, const void *packet, uint32_t bytes);
    void *context;
    uint64_t mac;
    bool link;
    bool message; /* MSI-X */
    uint64_t offered;
    uint16_t size_max; /* of its queues */
    uint16_t mtu;
    uint8_t config[256]; /* made by init; a test changes it */
    /* faults */
    bool silent;               /* sends no packet and returns no descriptor */
    bool deaf;                 /* to doorbells */
    bool line_stuck;           /* its line is asserted, and its interrupt status reads as ... */
    uint8_t isr_stuck;         /* ... this */
    bool never_ends;           /* a reset */
    bool needs_reset;          /* from now on until it is reset */
    bool always_needs_reset;   /* again after each start */
    bool refuses_features;     /* the driver's choice */
    bool refuses_vector;       /* 0 */
    uint32_t bytes_wrong;      /* in a used entry of a received packet; 0: the real ones */
    uint32_t id_wrong;         /* is added to that of each used entry */
    uint16_t returns_too_many; /* added once to the used ring's index */
    uint16_t notify_offset;    /* of each queue's doorbell; multiplied */
    /* state */
    uint8_t status, isr, generation;
    uint32_t select_offered, select_accepted;
    uint64_t accepted;
    uint16_t queue_select, vector;
    struct dgm_simvirtio_queue queues[2];
    uint64_t resets, doorbells;
    bool interrupt; /* by message */
};

void dgm_simvirtio_init(struct dgm_simvirtio *card);
uint32_t dgm_simvirtio_config(const struct dgm_simvirtio *card, uint32_t offset);
uint64_t dgm_simvirtio_read(struct dgm_simvirtio *card, uint32_t offset, unsigned bytes);
void dgm_simvirtio_write(struct dgm_simvirtio *card, uint32_t offset, uint64_t value,
                         unsigned bytes);

/* Sends up to `most` packets. Returns how many. */
unsigned dgm_simvirtio_send(struct dgm_simvirtio *card, unsigned most);
/* Receives a packet from the wire. False: there is no buffer. `header`: its first 10 bytes; NULL:
 * zeros. */
bool dgm_simvirtio_receive(struct dgm_simvirtio *card, const void *header, const void *packet,
                           uint32_t bytes);
void dgm_simvirtio_set_link(struct dgm_simvirtio *card, bool link);
void dgm_simvirtio_demand_reset(struct dgm_simvirtio *card);
/* Takes an interrupt: by message once, by the line as long as it is asserted. */
bool dgm_simvirtio_interrupts(struct dgm_simvirtio *card);

#endif
