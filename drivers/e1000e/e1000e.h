/* SPDX-License-Identifier: MIT */
/*
 * e1000e: the state of one card and of its queues
 *
 * Every file of the driver works on it, and the driver's tests read it. The embedder provides its
 * memory (dgm_e1000e_driver.state_bytes) and sees only its `nic`.
 */
#ifndef DRIVERS_E1000E_E1000E_H
#define DRIVERS_E1000E_E1000E_H

#include <dragoman/drivers/e1000e.h>

#define DGM_E1000E_ENTRIES 256u /* of each queue; one of them stays free */
#define DGM_E1000E_SUPPLY  128u /* buffers to receive into */

enum dgm_e1000e_state {
    DGM_E1000E_RESETTING,
    DGM_E1000E_LIVE,
    DGM_E1000E_LOST, /* does not respond, or does not end its reset: waits */
    DGM_E1000E_FAILED,
};

struct dgm_e1000e_descriptor;

struct dgm_e1000e_queue {
    volatile struct dgm_e1000e_descriptor *entries;
    dgm_bus_t bus;
    struct dgm_nic_frame *frames[DGM_E1000E_ENTRIES]; /* lent to the card, by entry */
    uint32_t first, next; /* oldest entry that the card has; the next one to fill */
    bool doorbell_due;    /* entries were filled after the last doorbell */
};

struct dgm_e1000e {
    struct dgm_nicdev nic; /* what the client uses */
    struct dgm_device_env *env;
    struct dgm_irq irq;
    struct dgm_task task;
    struct dgm_timer timer; /* live: the next poll; otherwise the next step of the reset */
    enum dgm_e1000e_state state;
    struct dgm_e1000e_queue transmit, receive;
    bool skipping;         /* the rest of a packet that lies in several buffers */
    uint64_t progress_ns;  /* when the card last sent something, or had nothing to send */
    uint64_t reset_end_ns; /* when a reset is given up */
    uint64_t resets;
    struct dgm_device_line line;
    struct dgm_nicdev_loss loss;
};

/* dgm_e1000e_driver.start, for one card: the public header has the contract. */
int dgm_e1000e_start(struct dgm_e1000e *card, struct dgm_device_env *env);

/* Asserts every invariant of the queues; for tests. */
void dgm_e1000e_check(const struct dgm_e1000e *card);

#endif
