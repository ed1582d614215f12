/* SPDX-License-Identifier: MIT */
/*
 * e1000e: a network card with Intel's 82574L, or one that is compatible
 *
 * One receive and one transmit queue of 256 legacy descriptors, one interrupt for everything (MSI-X
 * vector 0 or INTx), all packets received (promiscuous: guests have addresses of their own), no
 * offloads. The caller owns the structure; dgm_e1000e_start() takes two frames from env->frames,
 * and later code none.
 *
 * What a card may do, and what the driver does:
 *   loses its link              takes no more to send; buffers that it has are returned when sent
 *   sends nothing for 5 s       reset: what it had to send is returned as sent, what it had to
 *                               receive into is lent to it again
 *   does not end a reset        failed: it is cut off from memory, and all buffers are returned
 *   receives a damaged packet,  the buffer is returned with an error
 *   or one in several buffers
 *   raises no interrupt         its queues are polled once a second
 *
 * Card and CPU write adjacent descriptors in one cache line, so a card that does not see the CPU's
 * caches cannot be used.
 *
 * Sections and registers: Intel 82574 GbE Controller Family Datasheet.
 */
#ifndef DRAGOMAN_DRIVERS_E1000E_H
#define DRAGOMAN_DRIVERS_E1000E_H

#include <dragoman/drivers/nicdev.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_E1000E_ENTRIES 256u /* of each queue; one of them stays free */
#define DGM_E1000E_SUPPLY  128u /* buffers to receive into */

enum dgm_e1000e_state {
    DGM_E1000E_RESETTING,
    DGM_E1000E_LIVE,
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
    /* --- private --- */
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
};

/*
 * Takes memory, binds the interrupt, begins a reset. DGM_OK: nic.ready or nic.failed follows, and
 * env->changed is called then. DGM_ENODEV: too few registers. DGM_EOPNOTSUPP: the card does not see
 * the caches. DGM_ENOMEM, DGM_ERANGE: no frame is free, or the card does not reach it. Otherwise
 * the error of env->irq_bind. After any error nic.failed is true and logged.
 */
int dgm_e1000e_start(struct dgm_e1000e *card, struct dgm_device_env *env);

/* Asserts every invariant of the queues; for tests. */
void dgm_e1000e_check(const struct dgm_e1000e *card);

extern const struct dgm_nic_driver dgm_e1000e_driver;

#ifdef __cplusplus
}
#endif

#endif
