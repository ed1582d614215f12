/* SPDX-License-Identifier: MIT */
/*
 * vlan: the VLANs of a switch's ports, and the tags of packets (IEEE 802.1Q)
 *
 * A packet has one of two forms: its bytes have a tag, or they have none. Ports of one VLAN may
 * want different forms, and the packet is shared between ports, so the form that it did not arrive
 * in is a copy. The switch makes at most one for each packet, and none between access ports.
 */
#ifndef NET_VLAN_H
#define NET_VLAN_H

#include <dragoman/net/switch.h>
#include <net/packet.h>

#define DGM_VLAN_TAG_BYTES 4u

enum dgm_vlan_form { DGM_VLAN_UNTAGGED, DGM_VLAN_TAGGED, DGM_VLAN_NOT_MEMBER };

static inline bool dgm_vlan_has(const struct dgm_vlan_set *set, uint16_t vlan)
{
    return set->words[vlan / 64] >> vlan % 64 & 1;
}

/* The form in which the port takes packets of a VLAN. */
enum dgm_vlan_form dgm_vlan_form_at(const struct dgm_vlan_port *port, uint16_t vlan);

/*
 * Finds the VLAN of a packet that arrived at a port, from its tag or its port. A tag that has a
 * priority only gets the number of the port's VLAN; the packet has one user. False: the port is not
 * a member of that VLAN.
 */
bool dgm_vlan_classify(const struct dgm_vlan_port *port, struct dgm_packet *packet);

/* A copy of the packet in the other form, with one user. NULL: too few frames are free, or with a
 * tag it would be too long. */
struct dgm_packet *dgm_vlan_convert(const struct dgm_packet *packet);

#endif
