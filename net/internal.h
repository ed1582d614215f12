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

/* A packet of a batch. */
struct dgm_netback_taken {
    struct dgm_chain chain;
    struct dgm_packet *packet; /* NULL: refused */
    enum dgm_netback_refusal refusal;
    uint32_t copies; /* that it needs */
};

struct dgm_netback_shared {
    struct dgm_grantcopy copy;       /* empty between tasks */
    int status[DGM_GRANTCOPY_BATCH]; /* of its ops, in the order of addition */
    struct dgm_netback_taken taken[DGM_NETBACK_PACKETS];
};

/* Adds a copy to the batch, which has room for it. */
void dgm_netback_copy_add(struct dgm_netback_shared *shared, const struct dgm_grantcopy_op *op);
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

/* Takes the buffers that the guest has posted. DGM_EPROTO: the ring is broken. */
int dgm_netback_take_posted(struct dgm_netback_queue *queue);
/* Copies packets of the queue into posted buffers until the run's work is spent, and writes their
 * responses. Returns the number of packets. The task is posted again if there are more. */
int dgm_netback_receive(struct dgm_netback_queue *queue);
/* Drops all packets of the queue. */
void dgm_netback_drop_waiting(struct dgm_netback_queue *queue);
/* A switch port's deliver(). */
bool dgm_netback_deliver(struct dgm_switch_port *port, struct dgm_packet *packet);

/* Releases the rings' pages, if they are mapped. False: one is parked, and is released later. */
bool dgm_netback_unmap_pages(struct dgm_netback *netback);
/* True if no ring's page is held. */
bool dgm_netback_holds_no_page(const struct dgm_netback *netback);
/* Runs the vif's task after a pause, because a step of a connection waits for Xen or for room. */
void dgm_netback_retry_later(struct dgm_netback *netback);

#endif
