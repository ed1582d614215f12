/* SPDX-License-Identifier: MIT */
/*
 * netback: one network interface (vif) of one guest, over Xen's PV network protocol
 *
 * A packet that a guest sends takes these steps. An event posts the vif's task. The task takes
 * entries from the transmit ring up to a budget, each copied out of shared memory once; a pure
 * function makes chains of them (net/chain.h). One hypercall copies all packets of the drain into
 * our own memory, headers and payload, so nothing that is parsed later can change. The switch
 * (switch.h) gives each packet to its ports. A packet to a guest is queued at that guest's vif,
 * whose task copies all queued packets into the buffers that the guest has posted, again with one
 * hypercall. Each ring is published once per task, with at most one event, and only if the guest
 * requested one: after events without work Linux ignores the channel for up to a second.
 *
 * A packet that only one other guest gets does not wait if that guest has posted buffers: the run
 * that took it copies it there, the payload of a large one straight from the sender's frames
 * (net/direct.c).
 *
 * Queues. A netfront has one queue for each of its vCPUs, up to those that its vif has: each with
 * two rings, its event channels, its buffers, and its own waits for buffers and for Xen. Packets to
 * the guest are spread by a hash of their flow (net/flow.h), so the order within a flow is kept.
 * The queues take turns, one in each run of the vif's only task: a guest with several queues has
 * the turns of one with a single queue. Shares, the rate limit and the card's charge are the vif's.
 *
 * Shares. A vif's queues hold at most `queue_frames` frames, and one of several at most half of
 * them, so that a queue that its guest does not empty leaves room to the others; further packets
 * are dropped and counted. While cards have `card_frames` frames of a vif to send, its transmit
 * ring is not drained: the ring fills, the guest's own queue waits, and no packet is dropped. So no
 * vif takes another's memory, or a card's whole queue, and a flood costs other tasks one bounded
 * task a turn. A vif with a rate limit is not drained either while its credit is used up; a timer
 * drains it again, and no packet is dropped. What the guest says that it sends is charged, also if
 * it is refused.
 *
 * The guest is offered: scatter-gather (packets up to 65,535 bytes), large packets of TCP (GSO)
 * over IPv4 and IPv6, split event channels, several queues, checksums left to us. Not offered, so
 * the keys are absent: multicast control, hashing, XDP headroom.
 *
 * If Xen does not do a copy, but may do it later (xen_status.h), the packet and those behind it
 * wait, in the vif's queue or as ring entries without a response. A timer retries it, with growing
 * pauses and for a bounded time; no other vif waits.
 *
 * A packet whose checksum the sender left blank is delivered unchanged to a guest that accepts
 * blank checksums; for any other receiver the checksum is filled in. A large packet is delivered
 * unchanged to a guest that accepts those; for any other receiver it is cut into ordinary ones.
 */
#ifndef DRAGOMAN_NET_NETBACK_H
#define DRAGOMAN_NET_NETBACK_H

#include <dragoman/hyper/binder.h>
#include <dragoman/hyper/ring.h>
#include <dragoman/net/switch.h>
#include <dragoman/reach/reach.h>
#include <dragoman/xenstore/xenbus.h>
#include <xen/io/netif.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Why a packet that a guest sends is refused: an error response, counted. */
enum dgm_netback_refusal {
    DGM_NETBACK_ACCEPTED,
    DGM_NETBACK_SLOTS_TOO_MANY,
    DGM_NETBACK_EXTRA_NOT_OFFERED,
    DGM_NETBACK_BAD_LARGE, /* a large packet (packet.h) that is not TCP, or whose mss is bad */
    DGM_NETBACK_TOO_SHORT,
    DGM_NETBACK_SIZES_DISAGREE,   /* the first entry's size and those of the others */
    DGM_NETBACK_PIECE_BOUNDS,     /* empty, or beyond the frame */
    DGM_NETBACK_BAD_GRANT,        /* Xen refused a reference */
    DGM_NETBACK_CHECKSUM_UNKNOWN, /* blank in a packet that is neither TCP nor UDP */
    DGM_NETBACK_NO_MEMORY,        /* ours: the pool of packets is empty */
    DGM_NETBACK_REFUSALS,
};

/* The cause in words, for reports. */
const char *dgm_netback_refusal_name(enum dgm_netback_refusal refusal);

struct dgm_netback_counters {
    uint64_t refused[DGM_NETBACK_REFUSALS];
    uint64_t dropped_not_connected; /* packets to the guest: it has no connected netfront, */
    uint64_t dropped_queue_full;    /* it does not take them fast enough, */
    uint64_t dropped_too_long;      /* it accepts no packet in several buffers, */
    uint64_t dropped_bad_grant;     /* or Xen refused a buffer that it posted */
    uint64_t drains;                /* runs of the task that took a packet */
    uint64_t held_back;             /* times that the vif waited for a card, */
    uint64_t rate_limited;          /* or for credit under its rate limit */
    uint64_t events_sent;
    uint64_t ring_errors; /* connections closed for an impossible index or chain */
    uint64_t checksums;   /* filled in for this vif's guest */
    uint64_t large_from;  /* large packets from the guest, */
    uint64_t large_to;    /* to it; and */
    uint64_t direct;      /* packets copied to it from another guest without a wait; */
    uint64_t not_direct;  /* packets from it for another guest that are copied again; */
    uint64_t cut;         /* packets into which large ones were cut for it */
};

struct dgm_netback_shared; /* what all vifs of a reactor share: batches */

/* The parts that a vif uses. Copied; what the members point to outlives the vif. */
struct dgm_netback_env {
    struct dgm_reactor *reactor;
    struct dgm_xenstore *xs;
    struct dgm_evtchn *evtchn;
    struct dgm_reach *reach;
    struct dgm_packets *packets;
    struct dgm_netback_shared *shared;
    uint16_t queue_frames; /* of each vif; from 32 to 256 */
    uint16_t card_frames;  /* of each vif, but one more packet; at least 1; see card.h */
};

/* Slots that each queue of a connected frontend holds: its rings' pages. */
#define DGM_NETBACK_QUEUE_SLOTS 2u

/* The most frames of the pool that one task takes, in addition to those of the queues. */
#define DGM_NETBACK_BATCH_FRAMES 80u

/* The shared part, from `frames`: about 40 KiB. NULL: too little memory. */
struct dgm_netback_shared *dgm_netback_shared_take(struct dgm_frames *frames);

/* Hypercalls that copied, and bytes from guests, to guests, and from one guest to another. */
struct dgm_netback_copied {
    uint64_t batches, bytes_in, bytes_out, bytes_between, refused;
};
struct dgm_netback_copied dgm_netback_copied(const struct dgm_netback_shared *shared);

struct dgm_netback_queue;

struct dgm_netback_options {
    uint32_t handle; /* the vif's number in the guest, from 0 */
    uint64_t mac;
    const char *bridge; /* its name in the configuration; outlives the vif */
    bool spoofing_allowed;
    uint32_t rate_bytes; /* that the guest may send each `rate_us`; 0: no limit */
    uint32_t rate_us;
    struct dgm_ip_sources sources; /* these four as in struct dgm_switch_port */
    struct dgm_vlan_port vlans;
    uint16_t group;
    bool mirror;
    struct dgm_netback_queue *queues; /* the caller's memory from create to destroy, */
    uint16_t queue_max;               /* for so many: from 1 to DGM_NETBACK_QUEUES_MAX */
};

/* The wait of one direction of a queue for a copy that Xen did not do; net's own. */
struct dgm_netback_wait {
    struct dgm_netback *netback;
    struct dgm_timer timer; /* armed: no copies before it fires */
    uint64_t pause_ns;
    struct dgm_xen_patience patience; /* with the oldest packet */
};

#define DGM_NETBACK_QUEUES_MAX 8u /* of a vif */

/* A queue of a vif, about 8 KiB; net's own. Only queues that the frontend uses hold anything. */
struct dgm_netback_queue {
    struct dgm_netback *netback;
    struct dgm_netback_wait transmit_wait, receive_wait;
    struct dgm_reach_frame pages[2]; /* transmit, receive */
    struct dgm_ring transmit, receive;
    evtchn_port_t ports[2];              /* the same twice: a common channel */
    bool transmits_first;                /* in the run that serves it */
    struct netif_tx_request sent[256];   /* entries taken from the ring, at their indices; the */
    uint32_t returned;                   /* last ones are taken again before the ring's */
    bool neighbour;                      /* the last packet went directly to another guest */
    uint16_t whole;                      /* packets that do not, after one that failed */
    struct netif_rx_request posted[256]; /* buffers taken from the ring, oldest first */
    uint32_t posted_first, posted_count;
    uint32_t reserved; /* of these, the oldest, by the run of a vif that sends; direct.c */
    bool touched, overtaken;
    struct dgm_netback_queue *next_touched;
    struct dgm_packet *waiting[256]; /* packets to the guest, oldest first */
    uint32_t waiting_first, waiting_count, waiting_frames;
    uint64_t packets_from, packets_to; /* on this connection */
};

/* The caller's memory from create to destroy. Other rooms use `port`, `counters`, `connected`,
 * `queue_count`, `mac` and what xenbus.h offers of `xenbus`; the rest is net's own. */
struct dgm_netback {
    struct dgm_switch_port port;
    struct dgm_xenbus_device xenbus;
    struct dgm_netback_counters counters;
    /* --- private --- */
    struct dgm_netback_env env;
    struct dgm_guest_account *guest;
    const char *bridge;
    char mac[18], name[16];
    struct dgm_task task;
    struct dgm_timer retry;                 /* of a connect that found a resource short */
    struct dgm_rate rate;                   /* of what the guest sends */
    struct dgm_timer refill;                /* when there is credit again */
    char rate_text[24];                     /* as in xenstore; empty: no limit */
    struct dgm_reach_connection connection; /* for the rings' pages */
    struct dgm_evtchn_binder binder;
    bool connected, disconnecting, connect_pending;
    bool waits_for_card;                   /* until it returns some of the guest's packets */
    bool takes_pieces;                     /* the frontend: packets in several buffers, */
    bool takes_blank_ip4, takes_blank_ip6; /* blank checksums, */
    bool takes_large_ip4, takes_large_ip6; /* large packets */
    uint16_t queue_max, queue_count;       /* of `queues`: all; those that the frontend uses */
    uint16_t queue_next;                   /* the one that is served first in the next run */
    struct dgm_netback_queue *queues;
    uint32_t queue_frames; /* of the packets that wait in all queues */
};

/*
 * Gives `guest` an interface on `net`: creates the nodes and goes to InitWait. DGM_EEXIST: another
 * port has this address. DGM_EINVAL: it is a group address. DGM_ENOSPC: the switch or the store is
 * full.
 */
int dgm_netback_create(struct dgm_netback *netback, const struct dgm_netback_env *env,
                       struct dgm_guest_account *guest, struct dgm_switch *net,
                       const struct dgm_netback_options *options);

/* The packets of a queue that the connected frontend uses, since it connected: from the guest, and
 * to it. */
struct dgm_netback_queue_packets {
    uint64_t from, to;
};
struct dgm_netback_queue_packets dgm_netback_queue_packets(const struct dgm_netback *netback,
                                                           unsigned queue);

/* Withdraws the vif from a running guest. The caller then waits until it is unplugged, and destroys
 * it. A guest may never close it: after a time the caller calls dgm_netback_guest_gone(). */
void dgm_netback_unplug(struct dgm_netback *netback);
bool dgm_netback_unplugged(const struct dgm_netback *netback);

/* The guest has ended: begins to release all that the vif holds of it. The caller then waits until
 * the vif is idle. */
void dgm_netback_guest_gone(struct dgm_netback *netback);

/* True if nothing of the guest is held, and no card has a packet of it. */
bool dgm_netback_idle(const struct dgm_netback *netback);

/* Removes the nodes and the port. Asserts: idle. */
void dgm_netback_destroy(struct dgm_netback *netback);

#ifdef __cplusplus
}
#endif

#endif
