/* SPDX-License-Identifier: MIT */
/*
 * vlan: see vlan.h.
 *
 * Only the outer tag counts, and only one of EtherType 0x8100: what is behind it, or a service tag,
 * is payload of its VLAN. A tag without a VLAN may not stand before another tag at a port whose
 * untagged packets belong to no VLAN: the switch outside would remove the first, and find itself
 * with a packet of a VLAN that the port may not be in.
 */
#include <net/vlan.h>

#include <string.h>

#define TAG_AT   12u /* behind both addresses */
#define TYPE_TAG 0x8100u
#define ID_MASK  0x0fffu

static uint16_t read16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void write16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

enum dgm_vlan_form dgm_vlan_form_at(const struct dgm_vlan_port *port, uint16_t vlan)
{
    if (vlan == port->untagged && !port->tagged_only)
        return DGM_VLAN_UNTAGGED;
    return dgm_vlan_has(&port->tagged, vlan) ? DGM_VLAN_TAGGED : DGM_VLAN_NOT_MEMBER;
}

static bool classify_untagged(const struct dgm_vlan_port *port, struct dgm_packet *packet)
{
    packet->tagged = false;
    packet->vlan = port->untagged;
    return !port->tagged_only;
}

bool dgm_vlan_classify(const struct dgm_vlan_port *port, struct dgm_packet *packet)
{
    uint8_t *tag = (uint8_t *)dgm_packet_at(packet, 0) + TAG_AT;

    if (packet->length < TAG_AT + DGM_VLAN_TAG_BYTES + 2 || read16(tag) != TYPE_TAG)
        return classify_untagged(port, packet);
    packet->tagged = true;
    packet->vlan = read16(tag + 2) & ID_MASK;
    if (packet->vlan)
        return dgm_vlan_has(&port->tagged, packet->vlan);
    if (port->untagged == 0)
        return classify_untagged(port, packet) && read16(tag + 4) != TYPE_TAG;
    write16(tag + 2, read16(tag + 2) | port->untagged);
    packet->vlan = port->untagged;
    return !port->tagged_only;
}

struct dgm_packet *dgm_vlan_convert(const struct dgm_packet *packet)
{
    const uint32_t length =
        packet->tagged ? packet->length - DGM_VLAN_TAG_BYTES : packet->length + DGM_VLAN_TAG_BYTES;
    struct dgm_packet *other =
        length > DGM_PACKET_BYTES_MAX ? NULL : dgm_packet_take(packet->pool, length);
    uint8_t *tag;

    if (!other)
        return NULL;
    tag = (uint8_t *)dgm_packet_at(other, 0) + TAG_AT;
    memcpy(dgm_packet_at(other, 0), dgm_packet_at(packet, 0), TAG_AT);
    if (packet->tagged) {
        dgm_packet_copy(other, TAG_AT, packet,
                        (struct dgm_span){TAG_AT + DGM_VLAN_TAG_BYTES, length - TAG_AT});
    } else {
        write16(tag, TYPE_TAG);
        write16(tag + 2, packet->vlan);
        dgm_packet_copy(other, TAG_AT + DGM_VLAN_TAG_BYTES, packet,
                        (struct dgm_span){TAG_AT, packet->length - TAG_AT});
    }
    other->checksum_blank = packet->checksum_blank;
    other->checksum_valid = packet->checksum_valid;
    other->mss = packet->mss;
    other->vlan = packet->vlan;
    other->tagged = !packet->tagged;
    other->source = packet->source;
    if (dgm_packet_read_headers(other) &&
        (other->headers.transport != 0) == (packet->headers.transport != 0) &&
        (other->mss == 0 || other->headers.payload != 0))
        return other;
    dgm_packet_release(other); /* a tag moved its headers out of the first frame */
    return NULL;
}
