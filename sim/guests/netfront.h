/* SPDX-License-Identifier: MIT */
/*
 * netfront: an honest guest's network frontend, which does what Linux's does
 *
 * It connects with one to four queues and all its buffers posted, sends packets to other peers
 * (packets.h) in one or more pieces, checks what arrives, and posts each buffer again. Only a
 * queue's own events announce responses to it. All packets of a flow leave by one queue.
 */
#ifndef SIM_GUESTS_NETFRONT_H
#define SIM_GUESTS_NETFRONT_H

#include <sim/guests/packets.h>

#include <sim/hypervisor/hypervisor.h>
#include <xen/io/netif.h>

#define NETFRONT_ENTRIES     256u /* of each ring */
#define NETFRONT_SEND_FRAMES 64u  /* each holds one piece */
#define NETFRONT_POST_FRAMES 128u
#define NETFRONT_QUEUES_MAX  4u
#define NETFRONT_RING_FRAMES (2u * NETFRONT_QUEUES_MAX)
#define NETFRONT_FRAMES      (NETFRONT_RING_FRAMES + NETFRONT_SEND_FRAMES + NETFRONT_POST_FRAMES)

#define NETFRONT_POISON     0xd5 /* of frames before they are used */
#define NETFRONT_PIECES_MAX 18u  /* of a packet, as Linux */

struct sim_guest;

struct netfront_queue {
    struct netfront *front;
    unsigned number;
    bool event; /* arrived, and not yet handled */
    netif_tx_front_ring_t transmit;
    netif_rx_front_ring_t receive;
    grant_ref_t ring_refs[2];
    evtchn_port_t ports[2]; /* the same twice: a common channel; 0: none */
    struct {
        bool used, extra, head; /* head: the packet's first one */
        grant_ref_t ref;
        uint16_t frame;
        uint32_t number;       /* the packet */
        uint64_t sent_ns;      /* when it was put into the ring */
    } entry[NETFRONT_ENTRIES]; /* of the transmit ring, by id, which is the place in the ring */
    struct {
        grant_ref_t ref;
        uint16_t frame;
        bool faulted;           /* a fault concerns the reference */
        uint64_t abandoned;     /* network_abandoned() when it was posted */
    } posted[NETFRONT_ENTRIES]; /* by place in the ring */
    unsigned posted_count;
    RING_IDX judged; /* responses to what it sent that rates.c has seen */
};

struct netfront {
    struct sim_guest *guest;
    uint64_t first_gfn; /* of NETFRONT_FRAMES frames: the rings, frames to send, buffers */
    struct peer peer;
    bool connected, ticking;
    uint64_t connected_ns;           /* since then */
    bool splits;                     /* it has one event channel for each ring */
    uint32_t delay_us;               /* from an event to its handling, at most */
    uint32_t burst;                  /* packets that it sends at a time, at most */
    uint32_t salt;                   /* of this connection: which flow leaves by which queue */
    unsigned queue_max, queue_count; /* that the backend offers; of this connection */
    struct netfront_queue queue[NETFRONT_QUEUES_MAX];
    uint16_t free_frames[NETFRONT_SEND_FRAMES];
    unsigned free_frame_count;
    uint16_t free_buffers[NETFRONT_POST_FRAMES];
    unsigned free_buffer_count;
    uint64_t left;  /* packets that it has still to send on this connection */
    uint64_t to_it; /* packets to it alone, accepted while it is connected */
};

/* netfront_connect.c. The guest gets a vif with its frames from `first_gfn` on. */
void netfront_start(struct netfront *front, struct sim_guest *guest, uint64_t first_gfn);
/* From InitWait to Connected; false: the backend failed. In the guest's coroutine. */
bool netfront_connect(struct netfront *front);
void netfront_close(struct netfront *front);      /* as Linux closes, and opens again */
void netfront_restart(struct netfront *front);    /* without closing, as after a resume */
void netfront_poke(struct netfront_queue *queue); /* an event arrived */
void netfront_act(struct netfront *front); /* handles an event, if there is one, and may send */
/* An operator unplugs the vif, and plugs it again later. Linux goes to Closed directly, and uses
 * the vif until its directory is gone. */
void netfront_unplug(struct netfront *front);
/* For hostile guests: new rings and channels, without buffers; and their end, whatever the backend
 * has of them. */
void netfront_share_rings(struct netfront *front);
void netfront_abandon_rings(struct netfront *front);
/* A fault concerns the reference. */
void netfront_fault(struct netfront *front, grant_ref_t ref);
/* Checks that no response is late. */
void netfront_check_progress(const struct netfront *front);

/* netfront_send.c */
void netfront_send(struct netfront *front);            /* a few packets, drawn */
void netfront_take_sent(struct netfront_queue *queue); /* the responses to them */
void netfront_end_entry(struct netfront_queue *queue, uint16_t id);

/* netfront.c */
void netfront_post_buffers(struct netfront_queue *queue);
void netfront_take_packets(struct netfront_queue *queue);
/* Takes a buffer back. Its bytes from `bytes` on must not have changed. */
void netfront_end_buffer(struct netfront_queue *queue, uint16_t place, uint32_t bytes);

#endif
