/* SPDX-License-Identifier: MIT */
/*
 * switch: Ethernet between ports, which are guests' vifs and network cards
 *
 * A port is *fixed* (a guest's: it has one MAC address, from the configuration) or *open* (a
 * card's: there are many addresses behind it). A packet to the address of a fixed port goes only to
 * that port; no learning changes that, so no port takes over a guest's address. The addresses
 * behind open ports are learnt from their packets; their number is bounded, and they expire. A
 * packet to a group goes to all other ports. A packet to an unknown address goes to all other open
 * ports, because every fixed port's address is known.
 *
 * A fixed port is checked (`spoofing_allowed` false): a packet whose source address is not the
 * port's own is dropped and counted. So is one whose IP address is none of `sources`, if there are
 * any (net/sources.h).
 *
 * VLANs. In a switch with `vlans` each port has one VLAN for its untagged packets, and a set of
 * VLANs whose packets have tags: an *access* port has only the first, a *trunk* both, or only the
 * set. A packet leaves only at ports of its VLAN, with or without a tag as the port wants it; one
 * of a VLAN that its port is not in is dropped and counted. Addresses are learnt for each VLAN.
 * Without `vlans` the switch does not look at tags.
 *
 * Group traffic (broadcast, multicast) that arrives at a port is limited to DGM_SWITCH_STORM
 * packets in each tenth of a second; more is dropped and counted.
 *
 * Ports with different isolation groups do not reach each other; ports without a group reach all.
 * A *mirror* port gets each packet that the switch accepts, once, as it arrived, with its tag and
 * whatever its VLAN; what it sends is dropped.
 *
 * A MAC address is a number of 48 bits, the first byte on the wire being the highest.
 *
 * The switch does not queue, and copies a packet at most once, to change its tag. For each packet
 * it calls the deliver() of each port. A flood from one port costs one call for each port and
 * packet. Up to DGM_SWITCH_PORTS_MAX ports.
 */
#ifndef DRAGOMAN_NET_SWITCH_H
#define DRAGOMAN_NET_SWITCH_H

#include <dragoman/net/packets.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_SWITCH_PORTS_MAX 40u
#define DGM_SWITCH_SETS      64u /* of the table of learnt addresses */
#define DGM_SWITCH_WAYS      4u
#define DGM_SWITCH_STORM     1000u
#define DGM_SWITCH_ALONE     UINT16_MAX /* an isolation group: not even its ports reach each other */
#define DGM_SWITCH_AGE_NS    (300ull * 1000000000)

/* Why a packet is dropped. */
enum dgm_switch_drop {
    DGM_SWITCH_RUNT,    /* no Ethernet header */
    DGM_SWITCH_SPOOF,   /* its source is not its port's address, or is a group address */
    DGM_SWITCH_VLAN,    /* of a VLAN that its port is not in */
    DGM_SWITCH_FLOOD,   /* more group traffic than the limit */
    DGM_SWITCH_MIRROR,  /* from the mirror port */
    DGM_SWITCH_IP,      /* from an IP address that is not the port's */
    DGM_SWITCH_NO_PORT, /* no other port, or the destination is behind the one it came from */
    DGM_SWITCH_DROPS,
};

struct dgm_switch_port_counters {
    uint64_t packets_in, bytes_in;   /* from the port, before any drop */
    uint64_t packets_out, bytes_out; /* that the port accepted */
    uint64_t refused_out;            /* that the port refused; the port counts the cause */
    uint64_t dropped[DGM_SWITCH_DROPS];
};

/* A limit of what may pass in a period of time. Private to net/. */
struct dgm_rate {
    uint32_t amount; /* for each period; 0: there is no limit */
    uint64_t period_ns;
    uint64_t since_ns; /* the beginning of the present period */
    int64_t credit;
};

#define DGM_VLAN_MAX 4094u

/* A set of VLANs, a bit for each number. */
struct dgm_vlan_set {
    uint64_t words[(DGM_VLAN_MAX + 63) / 64];
};

/* The VLANs of a port. All zero: only packets without a tag, of no VLAN. */
struct dgm_vlan_port {
    uint16_t untagged; /* the VLAN of packets without a tag; 0: they belong to no VLAN */
    bool tagged_only;  /* packets without a tag are dropped */
    struct dgm_vlan_set tagged;
};

#define DGM_IP_PREFIXES_MAX 8u

struct dgm_ip_prefix {
    uint8_t address[16]; /* an IPv4 address has the first four */
    uint8_t version;     /* 4 or 6 */
    uint8_t bits;        /* of the address, at most all */
};

/* The addresses from which a port may send. None: any. */
struct dgm_ip_sources {
    struct dgm_ip_prefix prefixes[DGM_IP_PREFIXES_MAX];
    uint8_t count;
};

struct dgm_switch;

/* The owner's, from add to remove. It sets the first group and may read `name`, `counters`; the
 * rest is net's own. */
struct dgm_switch_port {
    const char *name;
    uint64_t mac; /* a fixed port's; 0: the port is open */
    bool spoofing_allowed;
    struct dgm_ip_sources sources;
    struct dgm_vlan_port vlans;
    uint16_t group; /* of isolation; 0: none */
    bool mirror;    /* at most one port of a switch */
    /* Delivers a packet to the port's user. A port that keeps the packet adds a user
     * (dgm_packet_hold()). The packet is shared with other ports: only the checksum of an ordinary
     * one may be filled in. False: refused. */
    bool (*deliver)(struct dgm_switch_port *port, struct dgm_packet *packet);
    /* A card has returned a packet that was charged to this port. May be NULL. */
    void (*discharged)(struct dgm_switch_port *port);

    struct dgm_switch *owner;
    struct dgm_rate storm; /* of group traffic from this port */
    uint32_t charged;      /* for packets from this port that cards have to send; see card.h */
    struct dgm_switch_port_counters counters;
};

struct dgm_switch_entry {
    uint64_t key; /* the address, and the VLAN above its 48 bits; 0: free */
    uint64_t seen_ns;
    struct dgm_switch_port *port;
};

/* Other rooms use `vlans`, `unconverted`, `learnt`, `moved`, `evicted`; the rest is net's own. */
struct dgm_switch {
    bool vlans; /* set by the owner after dgm_switch_init() */
    struct dgm_switch_port *ports[DGM_SWITCH_PORTS_MAX];
    size_t port_count;
    struct dgm_switch_port *mirror; /* NULL: none */
    struct dgm_switch_entry table[DGM_SWITCH_SETS][DGM_SWITCH_WAYS];
    uint64_t unconverted; /* deliveries without memory for the packet with another tag */
    uint64_t learnt;      /* addresses: new; */
    uint64_t moved;       /* seen at another port; */
    uint64_t evicted;     /* replaced by a new one */
};

void dgm_switch_init(struct dgm_switch *net);

/* The cause in words, for reports. */
const char *dgm_switch_drop_name(enum dgm_switch_drop drop);

#ifdef __cplusplus
}
#endif

#endif
