/* SPDX-License-Identifier: MIT */
/*
 * virtio_net: a network card of the virtio standard, version 1 (not legacy), on PCI
 *
 * One receive and one transmit queue (split virtqueues of at most 256 descriptors), one interrupt
 * for everything (MSI-X vector 0 or INTx). The driver does not take the control queue: a card
 * without its commands receives all packets (guests have addresses of their own). The caller
 * provides state_bytes of memory; start() takes six frames from env->frames, and later code takes
 * none. The state begins with its struct dgm_nicdev: that is all of it that other code uses.
 *
 * A card, emulated or real, is not trusted to follow the standard:
 *   capabilities beyond a BAR, too    the next one of the kind is used; without a valid one of each
 *   short, misaligned, in a cycle     kind the card is refused
 *   a used entry that was not lent,   counted (`bogus`), and the card is reset
 *   more used than were lent
 *   an impossible length              counted, and the buffer is returned with an error
 *   needs a reset, has forgotten      reset: what it had to send is returned as sent, what it had
 *   its driver, sends nothing for     to receive into is lent to it again. After 16 resets without
 *   5 s                               a packet in between it has failed
 *   leaves the bus                    waited for without a limit, and reset when it is back, if its
 *                                     MAC address is the same
 *   does not end a reset              the same, for times.lost_ns; then it has failed
 *   changes its features in a reset   failed: cut off from memory, and all buffers are returned
 *   raises no interrupt, or misses    its queues are polled, and its doorbell is rung, once a
 *   a doorbell                        second
 *
 * What a card writes is read once. The driver never reads back what it wrote for the card: its own
 * records of lent buffers are in private memory.
 *
 * Card and CPU share cache lines of the rings, so a card that does not see the CPU's caches cannot
 * be used.
 *
 * Sections: Virtual I/O Device (VIRTIO) Version 1.2, OASIS Committee Specification 01.
 */
#ifndef DRAGOMAN_DRIVERS_VIRTIO_NET_H
#define DRAGOMAN_DRIVERS_VIRTIO_NET_H

#include <dragoman/drivers/nicdev.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * start() finds the card's structures, takes memory, binds the interrupt and begins a reset.
 * DGM_OK: the card's `ready` or `failed` follows, and env->changed is called then. DGM_ENODEV: a
 * structure is missing. DGM_EOPNOTSUPP: the card does not see the caches. DGM_ENOMEM, DGM_ERANGE:
 * no frame is free, or the card does not reach it. Otherwise the error of env->irq_bind. After any
 * error the card has failed, and that is logged.
 */
extern const struct dgm_nic_driver dgm_virtio_net_driver;

#ifdef __cplusplus
}
#endif

#endif
