/* SPDX-License-Identifier: MIT */
/*
 * vif_vlan.h: the VLANs of a vif, in the two syntaxes of xl
 *
 *   bridge=br0.10:20:30   as for Open vSwitch: untagged packets are of VLAN 10, tagged ones of 20,
 * 30 vlan=10p/20/100+10x4  as for Linux's bridge (Xen 4.20): the same, with ranges
 */
#ifndef DRAGOMAN_TOOLS_VIF_VLAN_H
#define DRAGOMAN_TOOLS_VIF_VLAN_H

#include <stdbool.h>

enum { VLAN_MAX = 4094 };

struct vif_vlans {
    unsigned untagged; /* the VLAN of packets without a tag; 0: none */
    bool tagged[VLAN_MAX + 1];
    bool any_tagged;
};

/* What follows the bridge's name, ".10:20:30". Returns NULL, or what is wrong with it. */
const char *vif_vlans_of_bridge(struct vif_vlans *vlans, const char *text);

/* The value of vlan=. Returns NULL, or what is wrong with it. */
const char *vif_vlans_of_list(struct vif_vlans *vlans, const char *text);

#endif
