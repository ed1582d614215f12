/* SPDX-License-Identifier: MIT */
/* reach_rig: reach over the whole core and the simulated Xen, with three guests that have granted
 * frames and a plan of Xen's refusals. */
#ifndef REACH_RIG_H
#define REACH_RIG_H

#include "unit.h"

#include <dragoman/core/core.h>
#include <sim/hypervisor/hypervisor.h>

#define REACH_SLOTS_FIRST  0x80000u
#define REACH_GUESTS       4 /* domids 1 to 3 */
#define REACH_GUEST_FRAMES 64
#define REACH_MANY         8 /* frames of a request in most tests */

/* The ops that Xen refuses. Bit n of a mask: the n-th op of that kind from now on. */
struct reach_plan {
    uint64_t map_bad, unmap_bad, copy_bad;
    uint64_t map_again, copy_again; /* GNTST_eagain */
    uint64_t map_seen, unmap_seen, copy_seen;
    unsigned bad_percent, again_percent; /* of maps and copies, at random */
    unsigned unmap_percent;
};

struct reach_rig {
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_core core;
    struct dgm_guest_account guests[REACH_GUESTS]; /* by domid */
    struct reach_plan plan;
    uint64_t unmaps_refused;
    uint64_t now_ns;
};

extern struct reach_rig reach_rig;

struct reach_options {
    uint64_t slots;                     /* 0: 256 */
    uint64_t quota;                     /* slots of a guest; 0: all */
    uint16_t copies, persistent_frames; /* 0: 64 */
    uint64_t copies_quota;              /* 0: all */
    uint16_t identities;                /* 0: 64 */
    struct dgm_gfn_range place;         /* empty: all of the guests' machine memory */
    bool only_map;
};

void reach_start(struct reach_options options);

/* Waits for parked operations, and fails if any resource is held. */
void reach_stop(void);

/* Lets time pass up to a moment. */
void reach_run_to(uint64_t ns);

/* Lets time pass until nothing is parked. */
void reach_settle(void);

/* Fails if any resource is held except frames that Xen refused to unmap. */
void reach_expect_nothing_held(void);

/* --- guests --- */

uint8_t *reach_guest_page(domid_t domid, uint64_t gfn);

/* Fills a guest's frame with bytes that depend on all three. */
void reach_fill(domid_t domid, uint64_t gfn, uint8_t salt);

/* Grants every frame of the guest, writable: reference 8 + gfn. */
void reach_grant_all(domid_t domid);

/* --- connections and frames --- */

/* A connection without persistent grants. */
struct dgm_reach_connection reach_connect(domid_t domid, enum dgm_reach_mode mode);

/* Evicts and ends a connection with persistent grants. */
void reach_end_connection(struct dgm_reach_connection *connection);

/* Adds a piece of a frame, or a whole frame; its room is reserved already. */
void reach_add_piece(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                     struct dgm_reach_piece piece);
void reach_add_frame(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                     grant_ref_t ref, enum dgm_reach_direction direction);

/* Reserves and adds a whole frame. */
void reach_begin(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                 grant_ref_t ref, enum dgm_reach_direction direction);

/* Reserves, adds and commits a whole frame. */
void reach_frame(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                 grant_ref_t ref, enum dgm_reach_direction direction);

void reach_release_frame(struct dgm_reach_frame *frame, enum dgm_reach_release release);

/* The memory that a device reaches at the frame, by the address from the p2m. Fails if the device
 * may not. */
uint8_t *reach_device_at(const struct dgm_reach_frame *frame, bool write);

/* How a frame is held in each mode. */
extern const enum dgm_reach_held reach_held_in[DGM_REACH_MODE_IDENTITY + 1];

#endif
