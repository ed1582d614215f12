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
#include <net/switch.h>

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
    for (size_t set = 0; set < DGM_SWITCH_SETS; set++)
        for (size_t way = 0; way < DGM_SWITCH_WAYS; way++)
            if (net->table[set][way].port == port)
                net->table[set][way] = (struct dgm_switch_entry){0};
}

/* --- learning --- */

static size_t address_set(uint64_t mac)
{
    return (mac * 0x9e3779b97f4a7c15ull) >> 58;
}
_Static_assert(DGM_SWITCH_SETS == 64, "set_of() gives 6 bits");

static bool is_fresh(const struct dgm_switch_entry *entry, uint64_t now_ns)
{
    return entry->mac && now_ns - entry->seen_ns < DGM_SWITCH_AGE_NS;
}

struct dgm_switch_port *dgm_switch_learnt(const struct dgm_switch *net, uint64_t mac)
{
    const struct dgm_switch_entry *set = net->table[address_set(mac)];
    const uint64_t now_ns = dgm_env_now_ns();

    for (size_t way = 0; way < DGM_SWITCH_WAYS; way++)
        if (set[way].mac == mac && is_fresh(&set[way], now_ns))
            return set[way].port;
    return NULL;
}

/* The entry of `mac` in its set, or else a free one, or else the oldest one. */
static struct dgm_switch_entry *entry_for(struct dgm_switch *net, uint64_t mac)
{
    struct dgm_switch_entry *set = net->table[address_set(mac)], *best = &set[0];

    for (size_t way = 0; way < DGM_SWITCH_WAYS; way++) {
        if (set[way].mac == mac)
            return &set[way];
        if (best->mac && (!set[way].mac || set[way].seen_ns < best->seen_ns))
            best = &set[way];
    }
    return best;
}

/* Records that `mac` is behind `port`, unless it is the address of a fixed port. */
static void learn_address(struct dgm_switch_port *port, uint64_t mac)
{
    struct dgm_switch *net = port->owner;
    struct dgm_switch_entry *entry;

    if (mac == port->mac || fixed_port_of(net, mac))
        return;
    entry = entry_for(net, mac);
    if (entry->mac != mac) {
        net->learnt++;
        net->evicted += is_fresh(entry, dgm_env_now_ns());
    } else {
        net->moved += entry->port != port;
    }
    *entry = (struct dgm_switch_entry){.mac = mac, .seen_ns = dgm_env_now_ns(), .port = port};
}

/* --- forwarding --- */

static bool send_to(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    if (!port->deliver(port, packet)) {
        port->counters.refused_out++;
        return false;
    }
    port->counters.packets_out++;
    port->counters.bytes_out += packet->length;
    return true;
}

/* True if some port is a destination of the packet. */
static bool flood_packet(struct dgm_switch_port *from, struct dgm_packet *packet)
{
    const struct dgm_switch *net = from->owner;
    const bool group = dgm_mac_is_group(packet->headers.destination);
    bool any = false;

    for (size_t i = 0; i < net->port_count; i++) {
        struct dgm_switch_port *port = net->ports[i];

        if (port == from || (!group && port->mac && !port->spoofing_allowed))
            continue;
        any = true;
        send_to(port, packet);
    }
    return any;
}

static bool forward_packet(struct dgm_switch_port *from, struct dgm_packet *packet)
{
    const uint64_t to = packet->headers.destination;
    struct dgm_switch_port *port;

    if (dgm_mac_is_group(to) || to == 0)
        return flood_packet(from, packet);
    port = fixed_port_of(from->owner, to);
    if (!port)
        port = dgm_switch_learnt(from->owner, to);
    if (!port)
        return flood_packet(from, packet);
    if (port == from)
        return false;
    send_to(port, packet);
    return true;
}

static bool source_is_allowed(const struct dgm_switch_port *port, uint64_t source)
{
    if (dgm_mac_is_group(source) || source == 0)
        return false;
    if (port->mac && !port->spoofing_allowed)
        return source == port->mac;
    /* A packet from a card with a guest's source address is forged, or has returned in a loop. */
    return source == port->mac || !fixed_port_of(port->owner, source);
}

void dgm_switch_input(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    struct dgm_switch_port_counters *counters = &port->counters;

    packet->source = port;
    counters->packets_in++;
    counters->bytes_in += packet->length;
    if (!dgm_packet_read_headers(packet)) {
        counters->dropped[DGM_SWITCH_RUNT]++;
    } else if (!source_is_allowed(port, packet->headers.source)) {
        counters->dropped[DGM_SWITCH_SPOOF]++;
    } else {
        learn_address(port, packet->headers.source);
        counters->dropped[DGM_SWITCH_NO_PORT] += !forward_packet(port, packet);
    }
    dgm_packet_release(packet);
}
