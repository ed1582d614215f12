/* SPDX-License-Identifier: MIT */
/*
 * switch: see dragoman/net/switch.h.
 *
 * Fixed ports are found by a walk over all ports: a few dozen comparisons, fewer than a table
 * costs. The table of learnt addresses is set-associative. If a set is full, a new entry replaces
 * the oldest: a flood of forged addresses from outside makes the switch flood packets only to the
 * open ports, where the forged packets come from, and no guest is affected.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <net/rate.h>
#include <net/sources.h>
#include <net/switch.h>
#include <net/vlan.h>

#define STORM_PERIOD_NS 100000000ull

void dgm_switch_init(struct dgm_switch *net)
{
    *net = (struct dgm_switch){0};
}

static struct dgm_switch_port *fixed_port_of(const struct dgm_switch *net, uint64_t mac)
{
    for (size_t i = 0; i < net->port_count; i++)
        if (net->ports[i]->mac == mac)
            return net->ports[i];
    return NULL;
}

int dgm_switch_add(struct dgm_switch *net, struct dgm_switch_port *port)
{
    dgm_assert(port->owner == NULL);
    if (dgm_mac_is_group(port->mac))
        return DGM_EINVAL;
    if (net->port_count == DGM_SWITCH_PORTS_MAX)
        return DGM_ENOSPC;
    if (port->mac && fixed_port_of(net, port->mac))
        return DGM_EEXIST;
    if (port->mirror && net->mirror)
        return DGM_EEXIST;
    if (port->mirror)
        net->mirror = port;
    dgm_rate_init(&port->storm,
                  (struct dgm_rate){.amount = DGM_SWITCH_STORM, .period_ns = STORM_PERIOD_NS});
    port->owner = net;
    net->ports[net->port_count++] = port;
    return DGM_OK;
}

void dgm_switch_remove(struct dgm_switch_port *port)
{
    struct dgm_switch *net = port->owner;
    size_t i = 0;

    dgm_assert(net != NULL && port->charged == 0);
    while (i < net->port_count && net->ports[i] != port)
        i++;
    dgm_assert(i < net->port_count);
    net->ports[i] = net->ports[--net->port_count];
    port->owner = NULL;
    if (net->mirror == port)
        net->mirror = NULL;
    for (size_t set = 0; set < DGM_SWITCH_SETS; set++)
        for (size_t way = 0; way < DGM_SWITCH_WAYS; way++)
            if (net->table[set][way].port == port)
                net->table[set][way] = (struct dgm_switch_entry){0};
}

/* --- learning --- */

static uint64_t key_of(uint64_t mac, uint16_t vlan)
{
    return mac | (uint64_t)vlan << 48;
}

static size_t key_set(uint64_t key)
{
    return (key * 0x9e3779b97f4a7c15ull) >> 58;
}
_Static_assert(DGM_SWITCH_SETS == 64, "key_set() gives 6 bits");

static bool is_fresh(const struct dgm_switch_entry *entry, uint64_t now_ns)
{
    return entry->key && now_ns - entry->seen_ns < DGM_SWITCH_AGE_NS;
}

struct dgm_switch_port *dgm_switch_learnt(const struct dgm_switch *net, uint64_t mac, uint16_t vlan)
{
    const uint64_t key = key_of(mac, vlan);
    const struct dgm_switch_entry *set = net->table[key_set(key)];
    const uint64_t now_ns = dgm_env_now_ns();

    for (size_t way = 0; way < DGM_SWITCH_WAYS; way++)
        if (set[way].key == key && is_fresh(&set[way], now_ns))
            return set[way].port;
    return NULL;
}

/* The entry of `key` in its set, or else a free one, or else the oldest one. */
static struct dgm_switch_entry *entry_for(struct dgm_switch *net, uint64_t key)
{
    struct dgm_switch_entry *set = net->table[key_set(key)], *best = &set[0];

    for (size_t way = 0; way < DGM_SWITCH_WAYS; way++) {
        if (set[way].key == key)
            return &set[way];
        if (best->key && (!set[way].key || set[way].seen_ns < best->seen_ns))
            best = &set[way];
    }
    return best;
}

/* Records that the packet's source is behind `port`, unless it is the address of a fixed port. */
static void learn_source(struct dgm_switch_port *port, const struct dgm_packet *packet)
{
    struct dgm_switch *net = port->owner;
    const uint64_t mac = packet->headers.source, key = key_of(mac, packet->vlan);
    struct dgm_switch_entry *entry;

    if (mac == port->mac || fixed_port_of(net, mac))
        return;
    entry = entry_for(net, key);
    if (entry->key != key) {
        net->learnt++;
        net->evicted += is_fresh(entry, dgm_env_now_ns());
    } else {
        net->moved += entry->port != port;
    }
    *entry = (struct dgm_switch_entry){.key = key, .seen_ns = dgm_env_now_ns(), .port = port};
}

/* --- forwarding --- */

/* A packet on its way to its ports. */
struct delivery {
    struct dgm_switch_port *from;
    struct dgm_packet *packet;    /* as it arrived */
    struct dgm_packet *converted; /* with another tag; NULL: not yet needed, or no memory for it */
};

static enum dgm_vlan_form form_at(const struct delivery *delivery,
                                  const struct dgm_switch_port *port)
{
    if (!delivery->from->owner->vlans)
        return DGM_VLAN_UNTAGGED; /* which is every packet's form then */
    return dgm_vlan_form_at(&port->vlans, delivery->packet->vlan);
}

static bool is_isolated(const struct dgm_switch_port *from, const struct dgm_switch_port *to)
{
    return from->group && to->group &&
           (from->group != to->group || from->group == DGM_SWITCH_ALONE);
}

static bool may_reach(const struct delivery *delivery, const struct dgm_switch_port *port)
{
    return port != delivery->from && !port->mirror && !is_isolated(delivery->from, port) &&
           form_at(delivery, port) != DGM_VLAN_NOT_MEMBER;
}

/* The packet in the form that the port requires. */
static struct dgm_packet *packet_for(struct delivery *delivery, const struct dgm_switch_port *port)
{
    if (delivery->packet->tagged == (form_at(delivery, port) == DGM_VLAN_TAGGED))
        return delivery->packet;
    if (!delivery->converted)
        delivery->converted = dgm_vlan_convert(delivery->packet);
    return delivery->converted;
}

static void send_to(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    port->owner->unconverted += packet == NULL;
    if (!packet || !port->deliver(port, packet)) {
        port->counters.refused_out++;
        return;
    }
    port->counters.packets_out++;
    port->counters.bytes_out += packet->length;
}

/* True if some port is a destination of the packet. */
static bool flood_packet(struct delivery *delivery)
{
    const struct dgm_switch *net = delivery->from->owner;
    const bool group = dgm_mac_is_group(delivery->packet->headers.destination);
    bool any = false;

    for (size_t i = 0; i < net->port_count; i++) {
        struct dgm_switch_port *port = net->ports[i];

        if (!may_reach(delivery, port) || (!group && port->mac && !port->spoofing_allowed))
            continue;
        any = true;
        send_to(port, packet_for(delivery, port));
    }
    return any;
}

/* The port behind which the packet's destination is. NULL: it is unknown, or is a group. */
static struct dgm_switch_port *destination_of(const struct delivery *delivery)
{
    const struct dgm_switch *net = delivery->from->owner;
    const uint64_t to = delivery->packet->headers.destination;
    struct dgm_switch_port *port = dgm_mac_is_group(to) || to == 0 ? NULL : fixed_port_of(net, to);

    if (port && form_at(delivery, port) != DGM_VLAN_NOT_MEMBER)
        return port;
    return dgm_switch_learnt(net, to, delivery->packet->vlan);
}

/* Adds the work of its copy to `work`. True if some port is a destination of the packet. */
static bool forward_packet(struct dgm_switch_port *from, struct dgm_packet *packet, uint32_t *work)
{
    struct delivery delivery = {.from = from, .packet = packet};
    struct dgm_switch_port *port = destination_of(&delivery);
    bool any = port && may_reach(&delivery, port);

    if (any)
        send_to(port, packet_for(&delivery, port));
    else if (!port)
        any = flood_packet(&delivery);
    if (from->owner->mirror)
        send_to(from->owner->mirror, packet);
    if (delivery.converted) {
        *work += dgm_packet_bytes_work(packet->length);
        dgm_packet_release(delivery.converted);
    }
    return any;
}

const char *dgm_switch_drop_name(enum dgm_switch_drop drop)
{
    static const char *const names[] = {
        [DGM_SWITCH_RUNT] = "no Ethernet header",
        [DGM_SWITCH_SPOOF] = "another's MAC address",
        [DGM_SWITCH_VLAN] = "another VLAN",
        [DGM_SWITCH_FLOOD] = "beyond the storm limit",
        [DGM_SWITCH_MIRROR] = "from a mirror",
        [DGM_SWITCH_IP] = "another's IP address",
        [DGM_SWITCH_NO_PORT] = "no port has the destination",
    };

    return drop < DGM_SWITCH_DROPS ? names[drop] : "unknown";
}

/* --- what arrives --- */

static bool source_is_allowed(const struct dgm_switch_port *port, uint64_t source)
{
    if (dgm_mac_is_group(source) || source == 0)
        return false;
    if (port->mac && !port->spoofing_allowed)
        return source == port->mac;
    /* A packet from a card with a guest's source address is forged, or has returned in a loop. */
    return source == port->mac || !fixed_port_of(port->owner, source);
}

/* Charges group traffic to the port's limit. True: it is beyond the limit, and refused. */
static bool refuse_storm(struct dgm_switch_port *port, const struct dgm_packet *packet)
{
    if (!dgm_mac_is_group(packet->headers.destination))
        return false;
    dgm_rate_replenish(&port->storm);
    if (!dgm_rate_allows(&port->storm))
        return true;
    dgm_rate_take(&port->storm, 1);
    return false;
}

/* Why the packet is dropped whatever else arrives; DGM_SWITCH_DROPS: it is not. Finds its VLAN. */
static enum dgm_switch_drop inspect_packet(const struct dgm_switch_port *port,
                                           struct dgm_packet *packet)
{
    packet->vlan = 0;
    packet->tagged = false;
    if (!packet->headers_read && !dgm_packet_read_headers(packet))
        return DGM_SWITCH_RUNT;
    if (port->mirror)
        return DGM_SWITCH_MIRROR;
    if (!source_is_allowed(port, packet->headers.source))
        return DGM_SWITCH_SPOOF;
    if (port->sources.count && !dgm_sources_allow(&port->sources, port->mac, packet))
        return DGM_SWITCH_IP;
    if (port->owner->vlans && !dgm_vlan_classify(&port->vlans, packet))
        return DGM_SWITCH_VLAN;
    return DGM_SWITCH_DROPS;
}

/* Inspects the packet once: its priority tag gets a VLAN by that. */
static enum dgm_switch_drop drop_of(const struct dgm_switch_port *port, struct dgm_packet *packet)
{
    if (!packet->inspected)
        packet->drop = (uint8_t)inspect_packet(port, packet);
    packet->inspected = true;
    return packet->drop;
}

struct dgm_switch_port *dgm_switch_only_port(struct dgm_switch_port *from,
                                             struct dgm_packet *packet)
{
    const struct delivery delivery = {.from = from, .packet = packet};
    const uint64_t to = packet->headers.destination;
    struct dgm_switch_port *port;

    dgm_assert(packet->headers_read);
    if (from->owner->mirror || dgm_mac_is_group(to) || to == 0)
        return NULL;
    port = fixed_port_of(from->owner, to);
    if (!port || drop_of(from, packet) != DGM_SWITCH_DROPS || !may_reach(&delivery, port) ||
        packet->tagged != (form_at(&delivery, port) == DGM_VLAN_TAGGED))
        return NULL;
    return port;
}

uint32_t dgm_switch_input(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    struct dgm_switch_port_counters *counters = &port->counters;
    enum dgm_switch_drop drop;
    uint32_t work = 0;

    packet->source = port;
    counters->packets_in++;
    counters->bytes_in += packet->length;
    drop = drop_of(port, packet);
    if (drop == DGM_SWITCH_DROPS && refuse_storm(port, packet))
        drop = DGM_SWITCH_FLOOD;
    if (drop == DGM_SWITCH_DROPS) {
        learn_source(port, packet);
        if (!forward_packet(port, packet, &work))
            drop = DGM_SWITCH_NO_PORT;
    }
    if (drop != DGM_SWITCH_DROPS)
        counters->dropped[drop]++;
    dgm_packet_release(packet);
    return work;
}
