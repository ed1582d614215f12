/* SPDX-License-Identifier: MIT */
/*
 * nets: who may reach whom in the network, drawn from the seed
 *
 * In some seeds some vifs are on a second switch, without the card; have VLANs, which have tags
 * only behind the card; have isolation groups; may send only from their own IP addresses, and try
 * others; or have a limit of their rate. The rules are written here again, without the library's.
 */
#ifndef SIM_MACHINE_NETS_H
#define SIM_MACHINE_NETS_H

#include <sim/machine/network.h>

#include <kernel/config.h>

/* Draws the place of a guest's vif, and writes it into its configuration. */
void nets_draw(struct peer *peer, struct config_vif *vif);

/* Whether what one sends may arrive at the other. */
bool nets_reach(const struct peer *from, const struct peer *at);

/* Draws the VLAN of a packet of the outside, and adds its tag, if it has one. */
void nets_tag(struct peer *outside, struct sent_packet *packet, struct rng *rng, uint8_t *bytes);

/* The packet without its tag, copied to `plain`. */
struct arrival nets_untag(const uint8_t *bytes, uint32_t length, uint8_t *plain);

/* Checks that what arrives may. `packet`: NULL, if a hostile guest sent it. */
void nets_check(const struct peer *at, const struct peer *from, const struct arrival *arrival,
                const struct sent_packet *packet);

#endif
