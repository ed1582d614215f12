/* SPDX-License-Identifier: MIT */
/* switch: what the ports of net/ (vifs, cards) call. See dragoman/net/switch.h. */
#ifndef NET_SWITCH_H
#define NET_SWITCH_H

#include <dragoman/net/switch.h>
#include <net/packet.h>

/* DGM_ENOSPC: too many ports. DGM_EEXIST: another port has this address, or is the mirror.
 * DGM_EINVAL: it is a group address. */
int dgm_switch_add(struct dgm_switch *net, struct dgm_switch_port *port);

/* Removes the port and what was learnt of it. Asserts that cards have none of its packets. */
void dgm_switch_remove(struct dgm_switch_port *port);

/* Forwards a packet that arrived at `port`. The switch sets its headers, and removes the caller as
 * a user of it. Returns the work (dgm_reactor_work()) of the copy that the switch made, or 0. */
uint32_t dgm_switch_input(struct dgm_switch_port *port, struct dgm_packet *packet);

/* The fixed port that alone gets the packet, which arrives at `from`, unchanged, if
 * dgm_switch_input() follows before anything else happens. NULL: another, several, none, or it is
 * not known yet. The packet's headers are read. */
struct dgm_switch_port *dgm_switch_only_port(struct dgm_switch_port *from,
                                             struct dgm_packet *packet);

/* The open port behind which `mac` was last seen in a VLAN (0: none), or NULL: unknown, or too long
 * ago. */
struct dgm_switch_port *dgm_switch_learnt(const struct dgm_switch *net, uint64_t mac,
                                          uint16_t vlan);

#endif
