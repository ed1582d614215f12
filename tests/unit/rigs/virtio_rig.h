/* SPDX-License-Identifier: MIT */
/*
 * virtio_rig: the virtio network driver on a simulated card
 *
 * Our RAM's machine frames differ from its gfns, and bus addresses from both. The card may access a
 * buffer only while it is lent.
 */
#ifndef TESTS_VIRTIO_RIG_H
#define TESTS_VIRTIO_RIG_H

#include "unit.h"

#include <dragoman/base/status.h>
#include <drivers/virtio_net/virtio_net.h>
#include <port/env.h>
#include <sim/devices/virtio_net.h>

#define VIRTIO_RAM    0x40000ull
#define VIRTIO_FRAMES 400u
#define VIRTIO_QUEUES 8u   /* frames for queues; the others are buffers */
#define VIRTIO_SEND   200u /* the first buffer to send */
#define VIRTIO_MMIO   0x80000000ull
#define VIRTIO_MS     1000000ull

struct virtio_rig {
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct dgm_simvirtio sim;
    struct dgm_virtio_net card;
    struct dgm_nic_client client;
    struct dgm_irq *irq;
    uint64_t now_ns;
    struct dgm_nic_frame buffers[VIRTIO_FRAMES];
    bool lent[VIRTIO_FRAMES];
    unsigned sent, received, damaged, changes, on_wire, last_bytes;
    uint8_t last_byte, wire[65536], wire_header[12];
    bool cut, resupply, no_interrupts, irq_masked;
    bool lies; /* the card may use what was not lent to it: it gets other memory */
    uint64_t bar_bytes;
};

extern struct virtio_rig virtio_rig;

struct dgm_nicdev *virtio_nic(void);

/* Makes machine, card and environment; the driver is not started. */
void virtio_rig_start(void);
/* Asserts that the driver knows each buffer that it has. */
void virtio_rig_stop(void);
/* The same, for cmocka. */
int virtio_rig_setup(void **state);
int virtio_rig_teardown(void **state);

/* Delivers interrupts and runs the reactor until it is idle. */
void virtio_turn(void);
/* Lets time pass, from one timer to the next. */
void virtio_wait_ms(unsigned ms);

/* Lends a buffer, and returns the driver's result. */
int virtio_lend(struct dgm_nic_frame *frame, bool transmit);
/* A buffer to send, filled with its index. */
struct dgm_nic_frame *virtio_to_send(unsigned index, uint16_t bytes);

#endif
