/* SPDX-License-Identifier: MIT */
/*
 * network: the guests' vifs, the network card, and the outside behind it
 *
 * kernel/network.c makes the vifs and the switch. The card has no registers: it implements the
 * interface of a driver, holds a few packets at a time, completes them in their order a little
 * later, and sometimes loses its link for a while. The outside checks each packet that the card
 * sends, and sends some of its own.
 */
#ifndef SIM_MACHINE_NETWORK_H
#define SIM_MACHINE_NETWORK_H

#include <sim/guests/guest.h>

void network_boot(void); /* before frames are locked; all guests exist */
void network_give(void); /* before the guests are introduced */
/* An operator plugs or unplugs the vif soon. */
void network_plug_later(struct netfront *front, bool plug);
void network_poll(void); /* delivers what the card has completed */
bool network_pending(void);
/* The frontend of the guest with this number, or NULL. */
struct netfront *network_front(unsigned number);
struct dgm_netback;
struct dgm_task;
/* Its backend; NULL: it has been removed. */
const struct dgm_netback *network_back(const struct netfront *front);
/* Whether its vif exists on the switch with the card, in the VLAN, and the card has no packet from
 * before it came. Otherwise a packet to it may go to the outside. */
bool network_has_port(uint16_t vlan, unsigned number);
/* The time in which a packet arrives, unless Xen does not copy it yet, */
uint64_t network_delay_ns(void);
/* and whether a packet of any vif waits for Xen. */
bool network_waits_for_xen(void);
/* The time after which a packet without a response is a failure. */
uint64_t network_patience_ns(void);

/* Packets that were copied into another guest's buffers and are copied again. */
uint64_t network_abandoned(void);

/* Packets that the vif with this task has moved, in both directions; 0: it is the card's. */
uint64_t network_moved(const struct dgm_task *task);
/* Calls `act` for the task of each vif, and for the card's. */
void network_tasks(void (*act)(struct dgm_task *task));

/* Checks the pool of packets. */
void network_check(void);
/* Checks, when no guest sends any more, that each packet to this one arrived, or was counted as
 * dropped. */
void network_check_losses(const struct netfront *front);
/* Checks that all resources were returned. */
void network_end(void);

/* rates.c. Checks, after each turn, the bytes that the vifs with a limit have sent. */
void rates_check(void);
/* The guest's vif is new, so it has the credit of one period. */
void rates_start(unsigned number, uint32_t bytes, uint32_t us);

#endif
