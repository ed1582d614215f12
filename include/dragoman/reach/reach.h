/* SPDX-License-Identifier: MIT */
/*
 * reach: the ways to reach a guest's frame, behind one interface
 *
 *   map        mapped at a slot for the time of the request: no byte is copied; Xen flushes our TLB
 *              entries for each frame unmapped
 *   kept       mapped once and kept for the next request (persistent grants): a frontend that
 *              reuses its grants copies by itself, and there is nothing left for Xen to do
 *   copy       copied by Xen between the guest's frame and a local one: no mapping, no flush
 *   identity   mapped where its gfn is its mfn (identity.h): learnt by a mapping at a slot first
 *
 * A backend has one dgm_reach_connection per connection and one dgm_reach_frame per segment. It
 * reserves for a whole request, adds every segment of every request of a drain, commits once, and
 * finds each frame at frame->foreign.gfn: there the CPU finds it (dgm_env_va) and from there dma
 * tells the device. When the device is done it releases them all, commits once, and only then
 * answers. What Xen answers with "again" is asked again by a timer, with growing pauses and a
 * bounded number of times; those who wait for it are woken each time.
 *
 * Room is left for a fourth way, resident frames. One dgm_reach per reactor.
 */
#ifndef DRAGOMAN_REACH_REACH_H
#define DRAGOMAN_REACH_REACH_H

#include <dragoman/dma/bounce.h>
#include <dragoman/pages/grant.h>
#include <dragoman/reach/persistent.h>
#include <dragoman/reach/grantcopy.h>
#include <dragoman/pages/identity.h>
#include <dragoman/base/reactor.h>
#include <dragoman/reach/selfgrant.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dgm_reach_mode {
    DGM_REACH_MODE_MAP,
    DGM_REACH_MODE_COPY,
    DGM_REACH_MODE_IDENTITY,
    DGM_REACH_MODE_AUTO, /* map or copy, whichever costs less here; map until that is known */
};

const char *dgm_reach_mode_name(enum dgm_reach_mode mode);

/* What one guest may have at once, on all its devices. The caller's; one per guest. */
struct dgm_reach_guest {
    domid_t domid;
    struct dgm_quota slots;
    struct dgm_quota buffers; /* local frames, path copy */
    struct dgm_bounce_share bounce;
    struct dgm_waiters waiters; /* tasks told DGM_EDQUOT; whoever released frames of this guest
                                   wakes them, dgm_waiters_wake() */
    struct dgm_reach_connection *persistent; /* its ways that keep frames mapped */
};

/* How one frame is held; only for reach.c. */
enum dgm_reach_held {
    DGM_REACH_NOT_HELD, /* nothing is held */
    DGM_REACH_HELD_MAPPED,
    DGM_REACH_HELD_PERSISTENT,
    DGM_REACH_HELD_COPIED,
    DGM_REACH_HELD_IDENTITY,
};

/* One frame of a request. The caller's; zeroed before its first use. */
struct dgm_reach_frame {
    /* gfn: where we find it, valid while status is DGM_OK. status: DGM_EAGAIN: not yet known;
     * DGM_EPERM: Xen refuses the reference, nothing is held. */
    struct dgm_foreign foreign;
    struct dgm_reach_frame *next; /* in reach->pending */
    struct dgm_reach_connection *connection;
    grant_ref_t ref;
    uint16_t offset, bytes; /* the part that is meant; other ways than copy show the whole frame */
    uint16_t entry;         /* of the grantcache, or a buffer's number */
    uint8_t held;
    bool to_device; /* the guest's bytes are read, else written */
};

struct dgm_reach {
    struct dgm_reactor *reactor;
    struct dgm_grant *grant;
    struct dgm_grantcopy *copy;
    struct dgm_bounce *buffers;        /* NULL: no path copy */
    struct dgm_identity *identity;     /* NULL: no path identity */
    struct dgm_persistent *persistent; /* NULL: nothing is kept */
    uint64_t buffers_reserved;
    struct dgm_reach_frame *pending; /* mapped, or about to be, and more to do after the commit */
    struct dgm_reach_frame *delivering; /* copies to guests in a batch */
    struct dgm_timer again;
    uint64_t again_ns;                            /* the pause that the timer waits; 0: not armed */
    struct dgm_waiters waiters;                   /* woken whenever something was asked again */
    enum dgm_reach_mode cheapest;                 /* what DGM_REACH_MODE_AUTO stands for */
    uint64_t frames[DGM_REACH_HELD_IDENTITY + 1]; /* by enum dgm_reach_held */
};

/* A connection's way to its guest's frames. The caller's. */
struct dgm_reach_connection {
    struct dgm_reach *reach;
    struct dgm_reach_guest *guest;
    enum dgm_reach_mode mode;
    bool persistent; /* the frontend reuses its grants, all of them writable; only with path map */
    struct dgm_persistent_owner owner;
    struct dgm_reach_connection *next; /* in guest->persistent */
};

struct dgm_reach_parts {
    struct dgm_reactor *reactor;
    struct dgm_grant *grant;
    struct dgm_grantcopy *copy;
    struct dgm_bounce *buffers;
    struct dgm_identity *identity;
    struct dgm_persistent *persistent;
};

/* `parts` is copied; what it points to stays. dgm_core_init() (core.h) makes all of them. */
void dgm_reach_init(struct dgm_reach *reach, const struct dgm_reach_parts *parts);

/* What mapping and copying cost on this machine was measured (selfgrant.h): from now on new ways
 * of DGM_REACH_MODE_AUTO take the cheaper one. */
void dgm_reach_set_costs(struct dgm_reach *reach, const struct dgm_reach_costs *costs);

/* True if this reach was given what `path` needs. */
bool dgm_reach_offers(const struct dgm_reach *reach, enum dgm_reach_mode mode);

/* `keep`: at most so many frames are kept mapped; 0: not persistent, else `way` does not move.
 * Where frames are kept, auto is map: nothing is cheaper. Asserts: the path is offered. */
void dgm_reach_connection_init(struct dgm_reach_connection *connection, struct dgm_reach *reach,
                               struct dgm_reach_guest *guest, enum dgm_reach_mode mode,
                               uint16_t keep);

/* A guest that may use up to `slots` slots and `buffers` copy buffers at once,
 * on all its devices. */
void dgm_reach_guest_init(struct dgm_reach_guest *guest, domid_t domid, uint64_t slots,
                          uint64_t buffers);

/*
 * Promises room for `count` frames, all or nothing. DGM_EAGAIN: there is too little now; try again
 * when frames of any guest have been released (the caller keeps the line). DGM_EDQUOT: the guest
 * has its share already; wait on guest->waiters. What is kept and idle for any way of the
 * guest is let go of first.
 */
int dgm_reach_reserve(struct dgm_reach_connection *connection, uint32_t count);
/* Gives back `count` promises that were not used. */
void dgm_reach_unreserve(struct dgm_reach_connection *connection, uint32_t count);

/* The most frames that one request should ask for: so few that several have room side by side. */
uint64_t dgm_reach_most(const struct dgm_reach *reach, const struct dgm_reach_guest *guest,
                        enum dgm_reach_mode mode);

/*
 * Begins to reach `bytes` bytes at `offset` of reference `ref`; uses up one promise. `to_device`:
 * only reads it (a read-only grant will do, unless persistent).
 */
void dgm_reach_add(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                   grant_ref_t ref, uint16_t offset, uint16_t bytes, bool to_device);

/* At most one hypercall for each way in use (identity: three). Then every status is final but
 * those that are to be asked again: wait on reach->waiters. */
void dgm_reach_commit(struct dgm_reach *reach);

/*
 * Lets go of a frame (nothing if Xen refused it), once: who then waits for Xen does not add it
 * again. `deliver`: the guest gets what was written there. Asserts: its status is final, no DMA in
 * flight.
 */
void dgm_reach_release_add(struct dgm_reach_frame *frame, bool deliver);

/* After it a frame that was added has how == DGM_REACH_NOT_HELD and a status: DGM_OK, or DGM_EPERM
 * when the guest could not be given its bytes. Else Xen is to be asked again: wait on
 * reach->waiters. */
void dgm_reach_release_commit(struct dgm_reach *reach);

/* Unmaps all that is kept for this way and in no request. Before `way` goes away: no frame is added
 * any more; once more when the last one was released. */
void dgm_reach_connection_evict(struct dgm_reach_connection *connection);

/* Nothing pending, and every part's own invariants. */
void dgm_reach_check(const struct dgm_reach *reach);

#ifdef __cplusplus
}
#endif

#endif
