/* SPDX-License-Identifier: MIT */
/*
 * vif_rig: guests with a vif each on one switch, on top of vbd_rig's machine
 *
 * A front is a guest's netfront: it sends packets in pieces, posts buffers, and collects what it
 * received. It ends its grants when it gets the response, so a grant that is still in use fails the
 * test. vif_stop() checks that no resource is held.
 */
#ifndef VIF_RIG_H
#define VIF_RIG_H

#include "vbd_rig.h"

#include <dragoman/net/netback.h>

#define VIF_GUESTS       3u
#define VIF_MAC          0x00163e000001ull /* of guest 1 */
#define VIF_QUEUE_FRAMES 32u
#define VIF_CARD_FRAMES  8u
#define VIF_QUEUES       4u /* of each vif */

/* A queue of a netfront. */
struct vif_front {
    domid_t domid;
    unsigned queue;
    bool shared; /* its rings exist */
    grant_ref_t ring_refs[2];
    evtchn_port_t ports[2];
    bool common; /* set before it connects: one event channel for both rings */
    netif_tx_front_ring_t transmit;
    netif_rx_front_ring_t receive;
    uint16_t next_id;
    grant_ref_t refs[256];                   /* of sent pieces, by id; 0: none */
    int16_t status[256];                     /* of responses, by id */
    unsigned nulls;                          /* responses to extras */
    unsigned first_bytes;                    /* of each packet, its first piece; 0: as the others */
    const netif_extra_info_t *extra;         /* goes behind the first entry of each packet sent */
    grant_ref_t posted[256];                 /* of posted buffers, by ring index */
    unsigned post_count;                     /* ever */
    uint8_t packet[70000];                   /* received last, */
    unsigned length, flags, packets, errors; /* its length and flags; counts */
    netif_extra_info_t received_extra;       /* of that packet; zero: none */
    void (*on_packet)(struct vif_front *front); /* sees each packet; NULL: none */
};

extern struct vif_rig {
    struct dgm_frames frames;
    struct dgm_packets packets;
    struct dgm_switch net;
    struct dgm_netback_env env;
    struct dgm_netback back[VIF_GUESTS + 1]; /* by domid */
    struct dgm_netback_queue queues[VIF_GUESTS + 1][VIF_QUEUES];
    struct vif_front front[VIF_GUESTS + 1]; /* queue 0 of each; vif_front_queue() has the others */
    struct vif_front others[VIF_GUESTS + 1][VIF_QUEUES];
} vif;

/* The machine, and guests 1 to VIF_GUESTS with a vif each, not connected. */
void vif_start(void);
/* The same; each vif has these options, with an address of its own. */
void vif_start_with(const struct dgm_netback_options *common);
void vif_stop(void);

/* The same for each test, with random numbers from the seed; the end removes a test's faults. */
int vif_setup(void **state);
int vif_teardown(void **state);

void vif_write(domid_t domid, const char *key, uint64_t number);
/* A key of the backend's directory; -1: it does not exist. */
long long vif_back_key(domid_t domid, const char *key);

/* Shares rings and channels, goes to Connected, posts `buffers`. */
void vif_connect(domid_t domid, unsigned buffers);
/* The same with several queues; `buffers`, up to 64, for each. */
void vif_connect_queues(domid_t domid, unsigned count, unsigned buffers);
struct vif_front *vif_front_queue(domid_t domid, unsigned queue);
/* The parts of that: shares the rings of a queue; writes the keys of a queue of `count`. */
void vif_share(struct vif_front *front);
void vif_write_queue(const struct vif_front *front, unsigned count);
/* Goes to Closed, and ends ring, channels and grants. */
void vif_close(domid_t domid);
void vif_post(domid_t domid, unsigned buffers);
void vif_post_at(struct vif_front *front, unsigned buffers);

/* Puts a raw entry of 12 bytes into the transmit ring; not visible before vif_push(). */
void vif_put(domid_t domid, const void *entry);
/* A packet of `length` bytes at `bytes`, in `pieces` pieces at odd offsets. Returns the id of its
 * first entry. */
uint16_t vif_send(domid_t domid, const uint8_t *bytes, unsigned length, unsigned pieces,
                  uint16_t flags);
uint16_t vif_send_at(struct vif_front *front, const uint8_t *bytes, unsigned length,
                     unsigned pieces, uint16_t flags);
/* Publishes the sent packets, runs the machine, collects responses and packets of all guests. */
void vif_push(domid_t domid);

/* Makes a packet from guest `from` to guest `to` (0: to all), with a pattern. */
void vif_make(uint8_t *bytes, unsigned length, domid_t from, domid_t to);

#endif
