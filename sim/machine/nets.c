/* SPDX-License-Identifier: MIT */
/* nets: see nets.h. */
#include <sim/machine/machine.h>
#include <sim/machine/nets.h>

#include <kernel/network.h>

#include <stdio.h>
#include <string.h>

#define VLAN_FIRST 10u
#define MACS       12u /* bytes before a tag */

/* The VLANs with tags are VLAN_FIRST (bit 0 of a peer's `tags`) and twice that (bit 1). */
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

/* An access port becomes a trunk: its own VLAN, or none, and others with tags. */
static void draw_trunk(struct rng *rng, struct peer *peer, struct config_vif *vif)
{
    peer->tags = (uint8_t)rng_range(rng, 1, NETS_ALL_TAGS);
    if (peer->vlan)
        peer->tags &= (uint8_t) ~(peer->vlan == VLAN_FIRST ? 1u : 2u);
    else
        peer->vlan = NETS_NO_VLAN;
    vif->vlans.tagged_only = peer->vlan == NETS_NO_VLAN;
    for (unsigned i = 0; i < 2; i++) {
        const unsigned vlan = VLAN_FIRST * (i + 1);

        vif->vlans.tagged.words[vlan / 64] |= (uint64_t)(peer->tags >> i & 1) << vlan % 64;
    }
}

/* From streams of their own, so that seeds keep the rest of their nets. */
static void draw_trunks_and_mirrors(struct peer *peer, struct config_vif *vif, bool vlans)
{
    struct rng seeds = rng_of(sim.options.seed, "mirrors");
    struct rng rng = rng_of(sim.options.seed + ((uint64_t)peer->number << 32), "trunks");
    const bool mirrors = rng_below(&seeds, 3) == 0;

    if (peer->hostile)
        return;
    if (vlans && !peer->apart && rng_below(&rng, 3) == 0)
        draw_trunk(&rng, peer, vif);
    peer->mirror = mirrors && peer->number == rng_range(&seeds, 1, sim.guest_count);
    vif->mirror = peer->mirror;
    if (vif->rate_bytes && rng_below(&rng, 2))
        vif->rate_bytes /= 20;
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
    vif->group = peer->group;
    if (peer->limited)
        limit_sources(peer, vif);
    if (rng_below(&rng, 4) == 0) {
        vif->rate_bytes = (uint32_t)rng_range(&rng, 20000, 200000);
        vif->rate_us = 10000;
    }
    draw_trunks_and_mirrors(peer, vif, vlans);
    vif->vlans.untagged = peer->vlan == NETS_NO_VLAN ? 0 : peer->vlan;
}

bool nets_member(const struct peer *peer, uint16_t vlan)
{
    return vlan == peer->vlan || (vlan == VLAN_FIRST && (peer->tags & 1)) ||
           (vlan == 2 * VLAN_FIRST && (peer->tags & 2));
}

bool nets_any_mirror(void)
{
    for (size_t i = 0; i < sim.config.vif_count; i++)
        if (sim.config.vifs[i].mirror)
            return true;
    return false;
}

/* Whether the switch accepts what the peer sends. */
static bool is_accepted(const struct peer *from, uint16_t vlan)
{
    return !from->mirror && vlan != NETS_NO_VLAN && nets_member(from, vlan);
}

bool nets_reach(const struct peer *from, uint16_t vlan, const struct peer *at)
{
    if (from->apart != at->apart || !is_accepted(from, vlan))
        return false;
    if (at->mirror)
        return true;
    if (from->group && at->group && (from->group != at->group || from->group == DGM_SWITCH_ALONE))
        return false;
    return nets_member(at, vlan);
}

void nets_count_accepted(const struct peer *from, const struct sent_packet *packet,
                         uint64_t since_ns)
{
    for (unsigned i = 1; i <= sim.guest_count; i++) {
        struct netfront *to = network_front(i);

        if ((packet->to == i || to->peer.mirror) && !packet->forged && to->connected &&
            to->connected_ns <= since_ns && nets_reach(from, packet->vlan, &to->peer))
            to->to_it++;
    }
}

/* --- tags --- */

static bool any_vlans(void)
{
    for (size_t i = 0; i < sim.config.vif_count; i++)
        if (sim.config.vifs[i].vlans.untagged || sim.config.vifs[i].vlans.tagged_only)
            return true;
    return false;
}

void nets_tag(struct peer *from, struct sent_packet *packet, struct rng *rng, uint8_t *bytes)
{
    const struct peer *to = packet->to == PACKET_TO_ALL ? NULL : peer_numbered(packet->to);

    packet->vlan = from->vlan;
    if (from->tags && any_vlans() && packet->length + NETS_TAG_BYTES <= PACKET_BYTES_MAX)
        packet->vlan =
            to && to->vlan != NETS_NO_VLAN && rng_below(rng, 10) ? to->vlan : draw_vlan(rng);
    /* A tag without a VLAN would be one of the port's own. */
    if (packet->vlan == 0)
        packet->vlan = from->vlan;
    packet->tagged = packet->vlan != from->vlan;
    from->sent[packet->number].vlan = packet->vlan;
    from->sent[packet->number].tagged = packet->tagged;
    if (!packet->tagged)
        return;
    memmove(bytes + MACS + NETS_TAG_BYTES, bytes + MACS, packet->length - MACS);
    bytes[MACS] = 0x81;
    bytes[MACS + 1] = 0;
    bytes[MACS + 2] = (uint8_t)(packet->vlan >> 8);
    bytes[MACS + 3] = (uint8_t)packet->vlan;
}

/* --- what arrives --- */

void nets_check_arrival(struct peer *at, const struct arrival *arrival)
{
    static uint8_t plain[PACKET_BYTES_MAX];
    struct arrival untagged = *arrival;
    const uint8_t *bytes = arrival->bytes;

    if (arrival->length < MACS + 6 || bytes[MACS] != 0x81 || bytes[MACS + 1] != 0 || !any_vlans()) {
        peer_check_arrival(at, arrival);
        return;
    }
    untagged.vlan = (uint16_t)((bytes[MACS + 2] & 0xf) << 8 | bytes[MACS + 3]);
    untagged.length = arrival->length - NETS_TAG_BYTES;
    untagged.bytes = plain;
    memcpy(plain, bytes, MACS);
    memcpy(plain + MACS, bytes + MACS + NETS_TAG_BYTES, untagged.length - MACS);
    peer_check_arrival(at, &untagged);
}

void nets_leave(struct peer *outside, const struct dgm_nicdev *nic,
                const struct dgm_nic_frame *frame)
{
    static uint8_t bytes[PACKET_BYTES_MAX + DGM_FRAME_BYTES];
    struct arrival arrival = {.bytes = bytes, .length = frame->bytes};

    for (uint32_t at = 0; at < frame->bytes; at += DGM_FRAME_BYTES) {
        const uint32_t left = frame->bytes - at;
        dgm_gfn_t gfn = frame->gfn;

        if (frame->mss)
            gfn = dgm_gfn(dgm_gfn_number(frame->base) + frame->frames[at / DGM_FRAME_BYTES]);
        memcpy(bytes + at, dgm_env_va(gfn), left < DGM_FRAME_BYTES ? left : DGM_FRAME_BYTES);
    }
    arrival.mss = frame->mss;
    arrival.large_ip = frame->ip;
    arrival.blank = frame->mss && frame->checksum_at;
    SIM_CHECK(!frame->mss || (frame->ip == 4 ? nic->cuts_ip4 : nic->cuts_ip6),
              "the card gets a large packet that it does not cut");
    nets_check_arrival(outside, &arrival);
}

/* The VLAN of an arrival from a hostile guest, which has no tags of its own. */
static uint16_t vlan_of(const struct peer *at, const struct peer *from,
                        const struct arrival *arrival)
{
    if (at->apart || at->mirror)
        return from->vlan;
    return arrival->vlan ? arrival->vlan : at->vlan;
}

void nets_check(const struct peer *at, const struct peer *from, const struct arrival *arrival,
                const struct sent_packet *packet)
{
    const uint16_t vlan = packet ? packet->vlan : vlan_of(at, from, arrival);
    const bool tagged = packet && (at->mirror ? packet->tagged : vlan != at->vlan);

    SIM_CHECK(nets_reach(from, vlan, at),
              "peer %u: a packet arrives from peer %u, VLAN %u, which must not reach", at->number,
              from->number, vlan);
    if (!packet)
        return;
    SIM_CHECK(!packet->forged, "peer %u: packet %u of peer %u arrives, with a forged IP address",
              at->number, packet->number, from->number);
    SIM_CHECK(arrival->vlan == (tagged ? vlan : 0),
              "peer %u: packet %u of peer %u, VLAN %u, arrives with the tag %u", at->number,
              packet->number, from->number, vlan, arrival->vlan);
}
