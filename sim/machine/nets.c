/* SPDX-License-Identifier: MIT */
/* nets: see nets.h. */
#include <sim/machine/machine.h>
#include <sim/machine/nets.h>

#include <kernel/network.h>

#include <stdio.h>
#include <string.h>

#define VLAN_FIRST 10u
#define MACS       12u /* bytes before a tag */

static uint16_t draw_vlan(struct rng *rng)
{
    const uint64_t which = rng_below(rng, 3);

    return which ? (uint16_t)(VLAN_FIRST * which) : 0;
}

static void limit_sources(const struct peer *peer, struct config_vif *vif)
{
    const uint8_t number = (uint8_t)peer->number;

    vif->sources = (struct dgm_ip_sources){
        .prefixes = {{.address = {10, 0, 0, number}, .version = 4, .bits = 32},
                     {.address = {0xfe, 0x80, [15] = number}, .version = 6, .bits = 128}},
        .count = 2};
}

void nets_draw(struct peer *peer, struct config_vif *vif)
{
    struct rng seeds = rng_of(sim.options.seed, "nets"), rng;
    const bool two = rng_below(&seeds, 3) == 0, vlans = rng_below(&seeds, 3) == 0;
    const bool groups = rng_below(&seeds, 3) == 0;

    rng = rng_of(sim.options.seed + ((uint64_t)peer->number << 32), "a vif's net");
    peer->apart = two && peer->number > 1 && rng_below(&rng, 3) == 0;
    peer->vlan = vlans && !peer->apart ? draw_vlan(&rng) : 0;
    peer->group = groups ? (uint16_t)rng_below(&rng, 4) : 0;
    if (peer->group == 3)
        peer->group = DGM_SWITCH_ALONE;
    peer->limited = rng_below(&rng, 3) == 0;
    snprintf(vif->bridge, sizeof vif->bridge, "%s", peer->apart ? "net1" : NETWORK_CARD_BRIDGE);
    vif->vlans.untagged = peer->vlan;
    vif->group = peer->group;
    if (peer->limited)
        limit_sources(peer, vif);
    if (rng_below(&rng, 4) == 0) {
        vif->rate_bytes = (uint32_t)rng_range(&rng, 20000, 200000);
        vif->rate_us = 10000;
    }
}

bool nets_reach(const struct peer *from, const struct peer *at)
{
    if (from->apart != at->apart)
        return false;
    if (from->group && at->group && (from->group != at->group || from->group == DGM_SWITCH_ALONE))
        return false;
    /* Behind the card are all VLANs. */
    return from->number == 0 || at->number == 0 || from->vlan == at->vlan;
}

/* --- tags --- */

static bool any_vlans(void)
{
    for (size_t i = 0; i < sim.config.vif_count; i++)
        if (sim.config.vifs[i].vlans.untagged)
            return true;
    return false;
}

void nets_tag(struct peer *outside, struct sent_packet *packet, struct rng *rng, uint8_t *bytes)
{
    const struct peer *to = packet->to == PACKET_TO_ALL ? NULL : peer_numbered(packet->to);

    if (!any_vlans())
        return;
    packet->vlan = to && rng_below(rng, 10) ? to->vlan : draw_vlan(rng);
    outside->sent[packet->number].vlan = packet->vlan;
    if (!packet->vlan)
        return;
    memmove(bytes + MACS + 4, bytes + MACS, packet->length - MACS);
    bytes[MACS] = 0x81;
    bytes[MACS + 1] = 0;
    bytes[MACS + 2] = (uint8_t)(packet->vlan >> 8);
    bytes[MACS + 3] = (uint8_t)packet->vlan;
}

struct arrival nets_untag(const uint8_t *bytes, uint32_t length, uint8_t *plain)
{
    struct arrival arrival = {.bytes = plain, .length = length};

    if (length < MACS + 6 || bytes[MACS] != 0x81 || bytes[MACS + 1] != 0 || !any_vlans()) {
        memcpy(plain, bytes, length);
        return arrival;
    }
    arrival.vlan = (uint16_t)(bytes[MACS + 2] << 8 | bytes[MACS + 3]);
    arrival.length = length - 4;
    memcpy(plain, bytes, MACS);
    memcpy(plain + MACS, bytes + MACS + 4, arrival.length - MACS);
    return arrival;
}

/* --- what arrives --- */

void nets_check(const struct peer *at, const struct peer *from, const struct arrival *arrival,
                const struct sent_packet *packet)
{
    SIM_CHECK(nets_reach(from, at), "peer %u: a packet arrives from peer %u, which must not reach",
              at->number, from->number);
    if (!packet)
        return;
    SIM_CHECK(!packet->forged, "peer %u: packet %u of peer %u arrives, with a forged IP address",
              at->number, packet->number, from->number);
    SIM_CHECK(at->number || arrival->vlan == from->vlan,
              "a packet of peer %u leaves with VLAN %u, not %u", from->number, arrival->vlan,
              from->vlan);
    SIM_CHECK(from->number || packet->vlan == at->vlan,
              "peer %u, in VLAN %u: a packet of VLAN %u arrives from outside", at->number, at->vlan,
              packet->vlan);
}
