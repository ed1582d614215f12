/* SPDX-License-Identifier: MIT */
/*
 * internal: the declarations that netback's files share
 *
 *   chain.c     a packet from its ring entries; pure
 *   connect.c   a vif's operations for xenbus: describe, offer, connect, disconnect
 *   keys.c      what the frontend wrote into xenstore: its queues and what it accepts
 *   life.c      the vif's only task; the end of a connection; create, destroy
 *   copy.c      the copies of a task, and the wait for those that Xen did not do
 *   transmit.c  from the guest: ring, copies, switch
 *   direct.c    from the guest straight into another guest's buffers
 *   receive.c   to the guest: queue, copies, ring
 *
 * The names of the rings are from the guest's view: it transmits and receives.
 */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include <dragoman/net/netback.h>
#include <dragoman/reach/grantcopy.h>
#include <net/chain.h>
#include <net/rate.h>
#include <net/switch.h>

/* The most packets that a run takes from a guest: each is 5 units of work or more. */
#define DGM_NETBACK_PACKETS (DGM_RUN_WORK / 5 + 1)

/* The most copies of a chain: one for each piece, and one for each boundary of our frames; or,
 * where they go directly to another guest, two more for the headers. */
#define DGM_CHAIN_COPIES_MAX (DGM_CHAIN_PIECES_MAX + DGM_PACKET_FRAMES_MAX)

/* A packet of a batch. */
struct dgm_netback_taken {
    struct dgm_chain chain;
    struct dgm_packet *packet; /* NULL: refused */
    enum dgm_netback_refusal refusal;
    bool settled;           /* `refusal` is final, except for copies not done */
    uint32_t first, copies; /* in the batch: those that it needs */
    int status;             /* of those of the batch before */
    struct dgm_netback_queue
        *to; /* it goes directly into so many buffers of this queue; else NULL */
    uint16_t buffers;
    bool in_pieces; /* in each of them is one piece of the chain, else one frame of the packet */
};

struct dgm_netback_shared {
    struct dgm_grantcopy copy;         /* empty between tasks */
    int status[DGM_GRANTCOPY_BATCH];   /* of its ops, in the order of addition */
    struct dgm_netback_queue *touched; /* by the run of a vif that sends; direct.c */
    bool direct_ended;                 /* for the rest of the batch: a queue is not known */
    struct dgm_netback_taken taken[DGM_NETBACK_PACKETS];
};

/* Adds a copy to the batch, which has room for it. */
void dgm_netback_copy_add(struct dgm_netback_shared *shared, const struct dgm_grantcopy_op *op);
void dgm_netback_copy_between(struct dgm_netback_shared *shared,
                              const struct dgm_grantcopy_between *op);
/*
 * The status of the `count` copies from `first` on: DGM_OK: all are done. DGM_EPERM: Xen refuses a
 * reference. DGM_EAGAIN: they are to be retried.
 */
int dgm_netback_copy_status(const struct dgm_netback_shared *shared, uint32_t first,
                            uint32_t count);

/*
 * Judges the status of a packet's copies, packet by packet, the oldest first. DGM_OK, or an error
 * that is final. DGM_EAGAIN: the packet and those behind it wait until the timer posts the vif's
 * task.
 */
int dgm_netback_wait_judge(struct dgm_netback_wait *wait, int status);
void dgm_netback_wait_init(struct dgm_netback_wait *wait, struct dgm_netback *netback);
/* The connection ends: nothing waits. */
void dgm_netback_wait_end(struct dgm_netback_wait *wait);

extern const struct dgm_xenbus_ops dgm_netback_ops;

/* What a frontend shares: for each queue the references of its rings and its event channels, of the
 * transmit ring first. */
struct dgm_netback_keys {
    unsigned count; /* queues */
    struct {
        uint64_t refs[2], ports[2];
    } queue[DGM_NETBACK_QUEUES_MAX];
};

/* Reads the frontend's keys, and sets what it accepts. An error: *why states which key is wrong. */
int dgm_netback_read_keys(struct dgm_netback *netback, struct dgm_netback_keys *keys,
                          const char **why);

/* Whether the guest's packets stay in the rings: while cards have its share of packets, or after it
 * has sent what its rate limit allows. The end of the wait posts the task. */
bool dgm_netback_hold_back(struct dgm_netback *netback);
/* Takes packets from the guest until the run's work is spent, and passes them to the switch.
 * Returns their number; DGM_EPROTO: the ring is broken. The task is posted again if there are
 * more. */
int dgm_netback_transmit(struct dgm_netback_queue *queue);
/* Adds copies of the packet's bytes from `packet->present` up to `end` into our memory, and moves
 * `present` there. */
void dgm_netback_copy_in(const struct dgm_netback *netback, struct dgm_netback_taken *taken,
                         uint32_t end);
/* Reads the packet's headers, all of which are in our memory, and sets the last reasons to refuse
 * it. */
void dgm_netback_settle(struct dgm_netback_taken *taken);

/* Whether the pieces of a checked chain are few and full enough for a buffer each. */
bool dgm_direct_fits(const struct dgm_chain *chain);
/*
 * Plans the `count` packets of the batch, whose first copies are done: adds copies to their
 * destinations' buffers, or of what is missing in our memory. Ends when the work of a run is spent.
 * Returns how many are planned.
 */
uint32_t dgm_direct_plan(struct dgm_netback_queue *from, uint32_t count);
/* After the batch: ends all reservations, and publishes the responses. */
void dgm_direct_end(struct dgm_netback_shared *shared);

/* Takes the buffers that the guest has posted. DGM_EPROTO: the ring is broken. */
int dgm_netback_take_posted(struct dgm_netback_queue *queue);
/* Copies packets of the queue into posted buffers until the run's work is spent, and writes their
 * responses. Returns the number of packets. The task is posted again if there are more. */
int dgm_netback_receive(struct dgm_netback_queue *queue);
/* Drops all packets of the queue. */
void dgm_netback_drop_waiting(struct dgm_netback_queue *queue);
/* A switch port's deliver(); and the vif of a port that has it. */
bool dgm_netback_deliver(struct dgm_switch_port *port, struct dgm_packet *packet);
struct dgm_netback *dgm_netback_of_port(struct dgm_switch_port *port);
/* The queue of the packet's flow. */
struct dgm_netback_queue *dgm_netback_queue_of(const struct dgm_netback *netback,
                                               const struct dgm_packet *packet);
/* Whether the frontend accepts the packet in `buffers` buffers as it is. */
bool dgm_netback_accepts(const struct dgm_netback *netback, const struct dgm_packet *packet,
                         uint32_t buffers);
/* The posted buffer for part `number` of the packet, behind those that are reserved. */
const struct netif_rx_request *dgm_netback_posted(const struct dgm_netback_queue *queue,
                                                  const struct dgm_packet *packet, uint32_t number);
/* Adds copies of what is in our memory of the packet, frame by frame, each to the start of a buffer
 * behind those that are reserved. */
void dgm_netback_copy_out(const struct dgm_netback_queue *queue, const struct dgm_packet *packet);
/* Makes responses visible, and sends the events that the guest requested. */
void dgm_netback_publish(struct dgm_netback_queue *queue);

/* Releases the rings' pages, if they are mapped. False: one is parked, and is released later. */
bool dgm_netback_unmap_pages(struct dgm_netback *netback);
/* True if no ring's page is held. */
bool dgm_netback_holds_no_page(const struct dgm_netback *netback);
/* Runs the vif's task after a pause, because a step of a connection waits for Xen or for room. */
void dgm_netback_retry_later(struct dgm_netback *netback);

#endif
