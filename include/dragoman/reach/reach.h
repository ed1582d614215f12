/* SPDX-License-Identifier: MIT */
/*
 * reach: the modes in which a guest's frame is reached, behind one interface
 *
 *   map        mapped at a slot for the time of the request: no byte is copied; Xen flushes our TLB
 *              entries for each frame that it unmaps
 *   map, with persistent grants
 *              mapped once and kept mapped for later requests. A frontend that reuses its grants
 *              copies the data itself, and no hypercall is left to make
 *   copy       copied by Xen between the guest's frame and a local one: no mapping, no flush
 *   identity   mapped at gfn == mfn (identity.h). A mapping at a slot comes first and tells the mfn
 *
 * A backend has one dgm_reach_connection per connected frontend and one dgm_reach_frame per
 * segment. For each drain of its ring it
 *
 *   1. reserves room for each whole request          dgm_reach_reserve()
 *   2. adds every segment of every request           dgm_reach_add()
 *   3. commits once                                  dgm_reach_commit()
 *   4. uses each frame at frame->foreign.gfn: the CPU finds it there (dgm_env_va()), and dma
 *      derives from it what the device is given
 *   5. when the device is done, releases the frames  dgm_reach_release_add()
 *   6. commits once                                  dgm_reach_release_commit()
 *   7. and only then writes its responses.
 *
 * An operation that may still succeed is parked (grant.h says which): for example where Xen returns
 * GNTST_eagain, or has no room for another mapping. A timer retries it with growing pauses, and at
 * once when frames were released, a bounded number of times, and wakes reach->waiters after each
 * retry. While Xen has no room, idle persistent frames of all guests are unmapped.
 *
 * A further mode, resident frames, would fit in here. One dgm_reach per reactor.
 */
#ifndef DRAGOMAN_REACH_REACH_H
#define DRAGOMAN_REACH_REACH_H

#include <dragoman/base/reactor.h>
#include <dragoman/pages/grant.h>
#include <dragoman/pages/identity.h>
#include <dragoman/reach/copy_buffers.h>
#include <dragoman/reach/grantcopy.h>
#include <dragoman/reach/guest_account.h>
#include <dragoman/reach/persistent.h>
#include <dragoman/reach/selfgrant.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dgm_reach_mode {
    DGM_REACH_MODE_MAP,
    DGM_REACH_MODE_COPY,
    DGM_REACH_MODE_IDENTITY,
    DGM_REACH_MODE_AUTO, /* map or copy, whichever costs less here; map while that is unknown */
};

/* "map", "copy", "identity", "auto": as in the configuration. */
const char *dgm_reach_mode_name(enum dgm_reach_mode mode);

enum dgm_reach_direction {
    DGM_REACH_FROM_GUEST, /* the guest's bytes are read; a read-only grant suffices */
    DGM_REACH_TO_GUEST,   /* the guest's frame is written */
};

/* What of a guest's memory a request means: bytes within one granted frame. */
struct dgm_reach_piece {
    grant_ref_t ref;
    uint16_t offset, bytes; /* offset + bytes <= 4096, bytes > 0 */
    enum dgm_reach_direction direction;
};

/* How a frame of a request is held. */
enum dgm_reach_held {
    DGM_REACH_NOT_HELD,
    DGM_REACH_HELD_MAPPED,
    DGM_REACH_HELD_PERSISTENT,
    DGM_REACH_HELD_COPIED,
    DGM_REACH_HELD_IDENTITY,
};

/* One frame of a request. The caller's, zeroed before its first use. The caller sets `piece` and
 * reads `foreign.gfn`, `foreign.status` and `held`; the rest is reach's. */
struct dgm_reach_frame {
    /* gfn: where the frame is reached, valid while status is DGM_OK. Mode copy shows only the bytes
     * of the piece there, the other modes the whole frame. status: DGM_EAGAIN: not final;
     * any other error: nothing is held; DGM_EPERM if Xen refused the reference. */
    struct dgm_foreign foreign;
    struct dgm_reach_frame *next; /* in reach->pending or reach->deliveries */
    struct dgm_reach_connection *connection;
    struct dgm_reach_piece piece;
    uint16_t entry; /* the number of its entry in reach->persistent, or of its copy buffer */
    uint8_t held;   /* enum dgm_reach_held */
};

struct dgm_reach {
    struct dgm_reactor *reactor;
    struct dgm_grant *grant;
    struct dgm_grantcopy *copy;
    struct dgm_copy_buffers *copy_buffers; /* NULL: mode copy is not offered */
    struct dgm_identity *identity;         /* NULL: mode identity is not offered */
    struct dgm_persistent *persistent;     /* NULL: no frame is kept mapped */
    struct dgm_reach_frame *pending;       /* frames that need a step after their mapping */
    struct dgm_reach_frame *deliveries;    /* frames whose copy to the guest is in a batch */
    struct dgm_timer retry;
    uint64_t retry_pause_ns;      /* the pause that `retry` waits; 0: nothing is parked */
    struct dgm_waiters waiters;   /* woken after each retry */
    enum dgm_reach_mode cheapest; /* what DGM_REACH_MODE_AUTO stands for */
    uint64_t frames[DGM_REACH_HELD_IDENTITY + 1]; /* counts additions, by enum dgm_reach_held */
    uint64_t unmapped_for_others;                 /* frames, by dgm_reach_make_way() */
};

/* One connected frontend. The caller's; `mode` is for reading, the rest is reach's. */
struct dgm_reach_connection {
    struct dgm_reach *reach;
    struct dgm_guest_account *guest;
    enum dgm_reach_mode mode; /* never DGM_REACH_MODE_AUTO */
    bool persistent; /* the frontend reuses its grants, all of them writable; only in mode map */
    struct dgm_persistent_owner owner;
    struct dgm_reach_connection *next; /* in guest->persistent */
};

/* What dgm_reach_init() is given: the fields of the same names in struct dgm_reach. */
struct dgm_reach_parts {
    struct dgm_reactor *reactor;
    struct dgm_grant *grant;
    struct dgm_grantcopy *copy;
    struct dgm_copy_buffers *copy_buffers;
    struct dgm_identity *identity;
    struct dgm_persistent *persistent;
};

/* `parts` is copied; what it points to stays. dgm_core_init() (core.h) makes all of them. */
void dgm_reach_init(struct dgm_reach *reach, const struct dgm_reach_parts *parts);

/* Tells what mapping and copying cost on this machine (selfgrant.h): connections that are
 * initialised with DGM_REACH_MODE_AUTO from now on take the cheaper one. */
void dgm_reach_set_costs(struct dgm_reach *reach, const struct dgm_reach_costs *costs);

/* True if `reach` has the parts that `mode` needs. */
bool dgm_reach_offers(const struct dgm_reach *reach, enum dgm_reach_mode mode);

/*
 * `persistent_frames`: how many frames the connection keeps mapped at most. 0: its frontend does
 * not reuse grants. Otherwise the mode is map (auto becomes map: no mode is cheaper), and
 * `connection` does not move until dgm_reach_connection_end(). Asserts: the mode is offered.
 */
void dgm_reach_connection_init(struct dgm_reach_connection *connection, struct dgm_reach *reach,
                               struct dgm_guest_account *guest, enum dgm_reach_mode mode,
                               uint16_t persistent_frames);

/* Unmaps the persistent frames of the connection that no request uses. */
void dgm_reach_connection_evict(struct dgm_reach_connection *connection);

/*
 * Ends the connection, before its memory is used for another one: afterwards it keeps no frame
 * mapped. Asserts: it holds no persistent frame. So the caller first stops adding frames, releases
 * those that it has, and evicts.
 */
void dgm_reach_connection_end(struct dgm_reach_connection *connection);

/*
 * Reserves room for `count` frames, all or nothing. Idle persistent frames of any connection of the
 * guest are unmapped where that makes the room. DGM_EDQUOT: the guest already uses its quota; wait
 * on guest->waiters. DGM_EAGAIN: too little is free now; retry when frames of any guest were
 * released (the order among those that wait is the caller's affair).
 */
int dgm_reach_reserve(struct dgm_reach_connection *connection, uint32_t count);

/* Cancels `count` reservations that were not used. */
void dgm_reach_unreserve(struct dgm_reach_connection *connection, uint32_t count);

/* The number of frames that one request may have at most, so that several requests of this guest,
 * and of others, have room side by side. */
uint64_t dgm_reach_request_frames_max(const struct dgm_reach *reach,
                                      const struct dgm_guest_account *guest,
                                      enum dgm_reach_mode mode);

/* Adds the pieces of `count` frames to the batch; uses as many reservations. Asserts: no frame is
 * held. */
void dgm_reach_add(struct dgm_reach_connection *connection, struct dgm_reach_frame *frames,
                   uint32_t count);

/* Reaches all frames that were added: at most one hypercall for each mode in use (identity: three).
 * Then every status is final except those of parked frames, DGM_EAGAIN: wait on reach->waiters. */
void dgm_reach_commit(struct dgm_reach *reach);

/*
 * For the frames of a request of which some are parked. Where Xen has no room for another mapping
 * and all that it has is held by such requests, none of them would ever be complete. After several
 * attempts without progress this unmaps the frames that are reached and adds them once more, behind
 * all that waits; but not those of the request whose frame is the next to be mapped. So that one
 * becomes complete. A frame that then has no slot gets the status DGM_ENOSPC.
 */
void dgm_reach_make_way(struct dgm_reach_connection *connection, struct dgm_reach_frame *frames,
                        uint32_t count);

enum dgm_reach_release {
    DGM_REACH_DISCARD, /* what was written to the frame is of no use to the guest */
    DGM_REACH_DELIVER, /* the guest gets what was written to the piece */
};

/*
 * Adds `count` frames to the batch of releases; without effect on those that are not held. Called
 * once for each frame, also when its delivery is then parked. True: some frame is to be delivered,
 * which dgm_reach_release_commit() may park or fail; else it releases all of them. Asserts: the
 * status of each is final. The caller sees to it that no DMA is in flight.
 */
bool dgm_reach_release_add(struct dgm_reach_frame *frames, uint32_t count,
                           enum dgm_reach_release release);

/*
 * Releases all frames that were added. Then each has held == DGM_REACH_NOT_HELD and a status:
 * DGM_OK, or an error if its bytes could not be delivered. A frame that is still held is parked:
 * wait on reach->waiters.
 */
void dgm_reach_release_commit(struct dgm_reach *reach);

/* Asserts: nothing is pending, and every part's own invariants. */
void dgm_reach_check(const struct dgm_reach *reach);

#ifdef __cplusplus
}
#endif

#endif
