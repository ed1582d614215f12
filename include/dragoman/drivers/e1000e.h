/* SPDX-License-Identifier: MIT */
/*
 * e1000e: a network card with Intel's 82574L, or one that is compatible
 *
 * One receive and one transmit queue of 256 legacy descriptors, one interrupt for everything (MSI-X
 * vector 0 or INTx), all packets received (promiscuous: guests have addresses of their own), no
 * offloads. The caller provides state_bytes of memory; start() takes two frames from env->frames,
 * and later code takes none. The state begins with its struct dgm_nicdev: that is all of it that
 * other code uses.
 *
 * What a card may do, and what the driver does:
 *   loses its link              takes no more to send; buffers that it has are returned when sent
 *   sends nothing for 5 s       reset: what it had to send is returned as sent, what it had to
 *                               receive into is lent to it again
 *   leaves the bus              waited for without a limit, and reset when it is back, if its MAC
 *                               address is the same; what it had to send is returned as sent
 *   does not end a reset        the same, for times.lost_ns; then it has failed: it is cut off from
 *                               memory, and all buffers are returned
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

/*
 * start() takes memory, binds the interrupt and begins a reset. DGM_OK: the card's `ready` or
 * `failed` follows, and env->changed is called then. DGM_ENODEV: too few registers.
 * DGM_EOPNOTSUPP: the card does not see the caches. DGM_ENOMEM, DGM_ERANGE: no frame is free, or
 * the card does not reach it. Otherwise the error of env->irq_bind. After any error the card has
 * failed, and that is logged.
 */
extern const struct dgm_nic_driver dgm_e1000e_driver;

#ifdef __cplusplus
}
#endif

#endif
