/* SPDX-License-Identifier: MIT */
/*
 * nets: who may reach whom in the network, drawn from the seed
 *
 * In some seeds some vifs are on a second switch, without the card; have a VLAN without a tag, or
 * several with tags (a trunk, which sends some packets with a tag that it has not); have isolation
 * groups; may send only from their own IP addresses, and try others; have a limit of their rate; or
 * one is the mirror of its switch. The card is a trunk. The rules are written here again, without
 * the library's.
 */
#ifndef SIM_MACHINE_NETS_H
#define SIM_MACHINE_NETS_H

#include <sim/machine/network.h>

#include <dragoman/drivers/nicdev.h>
#include <kernel/config.h>

/* Draws the place of a guest's vif, and writes it into its configuration. */
void nets_draw(struct peer *peer, struct config_vif *vif);

#define NETS_ALL_TAGS 3u
#define NETS_NO_VLAN  UINT16_MAX /* a trunk's untagged packets are dropped */
bool nets_member(const struct peer *peer, uint16_t vlan);

/* Whether what one sends in a VLAN may arrive at the other. */
bool nets_reach(const struct peer *from, uint16_t vlan, const struct peer *at);

/* Gives the packet its VLAN, which is drawn for a trunk, and its tag, if it has one. Its bytes have
 * room for that. */
#define NETS_TAG_BYTES 4u
void nets_tag(struct peer *from, struct sent_packet *packet, struct rng *rng, uint8_t *bytes);

/* Whether a switch has a mirror. */
bool nets_any_mirror(void);

/* Checks what arrives at the peer, with its tag. */
void nets_check_arrival(struct peer *at, const struct arrival *arrival);

/* A packet leaves through the card: a large one as it is, if the card cuts it. */
void nets_leave(struct peer *outside, const struct dgm_nicdev *nic,
                const struct dgm_nic_frame *frame);

/* A packet was accepted for whom it is, and for the mirror. `since_ns`: when it was sent. */
void nets_count_accepted(const struct peer *from, const struct sent_packet *packet,
                         uint64_t since_ns);

/* Checks that what arrives may, with the tag that it must have. `packet`: NULL, if a hostile guest
 * sent it. */
void nets_check(const struct peer *at, const struct peer *from, const struct arrival *arrival,
                const struct sent_packet *packet);

#endif
