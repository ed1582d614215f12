/* SPDX-License-Identifier: MIT */
/* virtio_rig: the virtio network driver on a simulated card, in the machine of nic_rig.h */
#ifndef TESTS_VIRTIO_RIG_H
#define TESTS_VIRTIO_RIG_H

#include "nic_rig.h"

#include <drivers/virtio_net/virtio_net.h>
#include <sim/devices/virtio_net.h>

struct virtio_rig {
    struct dgm_simvirtio sim;
    struct dgm_virtio_net card;
    uint8_t wire_header[12];
    bool no_interrupts;
    uint64_t bar_bytes;
};

extern struct virtio_rig virtio_rig;

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

/* Starts the driver, which must succeed. */
void virtio_attach(void);
/* Lends a buffer, with this result of the driver. */
void virtio_lend(struct dgm_nic_frame *frame, bool transmit, int expected);
/* Lends as many receive buffers as the card takes. */
void virtio_supply_all(void);
/* A packet is sent, or received. */
void virtio_send_one(unsigned index);
void virtio_receive_one(void);
/* For the checks of nic_rig.h. */
extern const struct nic_ways virtio_ways;

#endif
