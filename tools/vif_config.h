/* SPDX-License-Identifier: MIT */
/*
 * vif_config.h: one network interface of a guest: a string of the configuration's list `vif`.
 *
 * The syntax is that of xl-network-configuration(5): fields "key=value" with commas between them.
 * libxlutil has a function for the value of rate only (xl reads the string itself). Supported are
 * mac, bridge, rate, vlan, ip and type=vif, and Dragoman's own group and mirror. Any other part is
 * an error with a remedy, because it would change what the guest gets.
 */
#ifndef DRAGOMAN_TOOLS_VIF_CONFIG_H
#define DRAGOMAN_TOOLS_VIF_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "config_text.h"
#include "vif_vlan.h"

#define VIF_BRIDGE_DEFAULT "xenbr0" /* xl's */
#define VIF_IP_MAX         8        /* of the domain, dragoman/net/switch.h */
#define VIF_GROUP_ALONE    65535u   /* of the domain, net/switch.h */
#define VIF_QUEUES_MAX     8        /* of the domain, dragoman/net/netback.h */

struct vif_config {
    char mac[18];        /* "00:16:3e:01:02:03" */
    const char *bridge;  /* "xenbr0" */
    uint32_t rate_bytes; /* that the guest may send in each `rate_us`; 0: no limit */
    uint32_t rate_us;
    struct vif_vlans vlans;
    uint8_t ip[VIF_IP_MAX][18]; /* where it may send from: version, bits, address */
    size_t ip_count;            /* 0: anywhere */
    uint32_t group;             /* of isolation; 0: none; VIF_GROUP_ALONE: not even with the same */
    bool mirror;                /* it gets all packets of its switch */
    const char *file;           /* the file that configures it */
    int line;
};

/*
 * Fills *vif from the string, or ends the tool with a message that names file and line. Without
 * mac= the address follows from the guest's name and the vif's index, so it is the same at every
 * boot.
 */
void vif_config_read(struct vif_config *vif, const struct config_text *text, const char *spec,
                     const char *guest_name, size_t index);

#endif
