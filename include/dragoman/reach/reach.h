/* SPDX-License-Identifier: MIT */
/*
 * reach: the modes in which a guest's frame is reached, behind one interface
 *
 *   map        mapped at a slot for the time of the request: no byte is copied; Xen flushes our TLB
 *              entries for each frame that it unmaps
 *   map, with persistent grants
 *              mapped once and kept mapped for later requests. A frontend that reuses its grants
 *              copies the data itself; most requests need no hypercall
 *   copy       copied by Xen between the guest's frame and a local one: no mapping, no flush
 *   identity   mapped at gfn == mfn (identity.h). A mapping at a slot is made first, which reveals
 *              the mfn
 *
 * A backend has one dgm_reach_connection per connected frontend and one dgm_reach_frame per
 * segment. For each drain of its ring it
 *
 *   1. reserves room for each whole request          dgm_reach_reserve()
 *   2. adds every segment of every request           dgm_reach_add()
 *   3. commits once                                  dgm_reach_commit()
 *   4. uses each frame at frame->foreign.gfn: the CPU accesses it there (dgm_env_va()), and dma
 *      derives the device's addresses from it
 *   5. when the device has finished, releases the frames dgm_reach_release_add()
 *   6. commits once                                  dgm_reach_release_commit()
 *   7. and only then writes its responses.
 *
 * An operation that may still succeed is parked (grant.h has the list): for example where Xen
 * returns GNTST_eagain, or has no room for another mapping. A timer retries it a bounded number of
 * times, with growing pauses, or immediately after frames were released; each retry wakes
 * reach->waiters. While Xen has no room, idle persistent frames of all guests are unmapped.
 *
 * One dgm_reach per reactor.
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
    DGM_REACH_MODE_AUTO, /* persistent grants, map or copy, whichever costs least here */
};

/* "map", "copy", "identity", "auto": as in the configuration. */
const char *dgm_reach_mode_name(enum dgm_reach_mode mode);

enum dgm_reach_direction {
    DGM_REACH_FROM_GUEST, /* the guest's bytes are read; a read-only grant suffices */
    DGM_REACH_TO_GUEST,   /* the guest's frame is written */
};

/* The guest's memory of one segment: bytes within one granted frame. */
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
 * reads `foreign.gfn`, `foreign.status` and `held`; the rest is reach's own. */
struct dgm_reach_frame {
    /* gfn: the address of the frame, valid while status is DGM_OK. Mode copy shows only the bytes
     * of the piece there, the other modes the whole frame. status: DGM_EAGAIN: not final; any other
     * error: nothing is held; DGM_EPERM if Xen refused the reference. */
    struct dgm_foreign foreign;
    struct dgm_reach_frame *next; /* in a list of reach */
    struct dgm_reach_connection *connection;
    struct dgm_reach_piece piece;
    uint16_t entry; /* the number of its entry in reach->persistent, or of its copy buffer */
    uint8_t held;   /* enum dgm_reach_held */
};

/* Other rooms use `grant`, `copy_buffers`, `persistent`, `waiters`, `cheapest`,
 * `persistent_costs_more` and the counters `frames`, `identity_*`; the rest is reach's own. */
struct dgm_reach {
    struct dgm_reactor *reactor;
    struct dgm_grant *grant;
    struct dgm_grantcopy *copy;
    struct dgm_copy_buffers *copy_buffers; /* NULL: mode copy is not offered */
    struct dgm_identity *identity;         /* NULL: mode identity is not offered */
    struct dgm_persistent *persistent;     /* NULL: no frame is kept mapped */
    struct dgm_reach_frame *pending;       /* frames that need a step after their mapping */
    struct dgm_reach_frame *copying;       /* frames whose copy is in the batch, */
    struct dgm_reach_frame *parked_copies; /* or waits for a retry */
    struct dgm_timer retry;
    uint64_t retry_pause_ns;      /* the pause that `retry` waits; 0: nothing is parked */
    struct dgm_waiters waiters;   /* woken after each retry */
    enum dgm_reach_mode cheapest; /* DGM_REACH_MODE_AUTO without persistent grants: map or copy */
    bool persistent_costs_more;   /* than mapping each frame for one request */
    uint64_t frames[DGM_REACH_HELD_IDENTITY + 1]; /* counts additions, by enum dgm_reach_held */
    uint64_t unmapped_for_others;                 /* frames, by dgm_reach_make_way() */
    /* Times that a frame was mapped at gfn == mfn, was mapped so already, stayed at its slot. */
    uint64_t identity_mapped, identity_shared, identity_at_slot;
    uint64_t connections; /* that were ever initialised */
};

/* One connected frontend. The caller's. Other rooms use `mode`, `persistent`; the rest is reach's
 * own. */
struct dgm_reach_connection {
    struct dgm_reach *reach;
    struct dgm_guest_account *guest;
    enum dgm_reach_mode mode; /* never DGM_REACH_MODE_AUTO */
    bool persistent; /* the frontend reuses its grants, all of them writable; only in mode map */
    struct dgm_persistent_owner owner;
    struct dgm_copy_user copy_user;
    struct dgm_reach_connection *next; /* in guest->persistent */
};

/* The input of dgm_reach_init(): the members of the same names in struct dgm_reach. */
struct dgm_reach_parts {
    struct dgm_reactor *reactor;
    struct dgm_grant *grant;
    struct dgm_grantcopy *copy;
    struct dgm_copy_buffers *copy_buffers;
    struct dgm_identity *identity;
    struct dgm_persistent *persistent;
};

/* `parts` is copied; what its members point to stays valid. dgm_core_init() (core.h) makes all of
 * them. */
void dgm_reach_init(struct dgm_reach *reach, const struct dgm_reach_parts *parts);

/* Sets the costs of mapping and copying on this machine (selfgrant.h): connections that are
 * initialised with DGM_REACH_MODE_AUTO from now on use the cheapest. While the costs are unknown,
 * that is persistent grants, and map without them. */
void dgm_reach_set_costs(struct dgm_reach *reach, const struct dgm_reach_costs *costs);

/* True if `reach` has the parts that `mode` needs. */
bool dgm_reach_offers(const struct dgm_reach *reach, enum dgm_reach_mode mode);

/* Whether frontends are offered persistent grants in `mode`: in mode map, and in mode auto
 * unless a guest's copying costs more than mapping. */
bool dgm_reach_offers_persistent(const struct dgm_reach *reach, enum dgm_reach_mode mode);

/*
 * `persistent_frames`: the most frames that the connection keeps mapped. 0: its frontend does not
 * reuse grants. Otherwise the mode is map (auto becomes map), and `connection`
 * does not move until dgm_reach_connection_end(). Asserts: the mode is offered.
 */
void dgm_reach_connection_init(struct dgm_reach_connection *connection, struct dgm_reach *reach,
                               struct dgm_guest_account *guest, enum dgm_reach_mode mode,
                               uint16_t persistent_frames);

/* Unmaps the persistent frames of the connection that no request uses. */
void dgm_reach_connection_evict(struct dgm_reach_connection *connection);

/*
 * Ends the connection; its memory may then be reused. Asserts: it holds no persistent frame. So the
 * caller first stops adding frames, releases those that it has, and evicts.
 */
void dgm_reach_connection_end(struct dgm_reach_connection *connection);

/*
 * Reserves room for `count` frames, all or nothing. Idle persistent frames of the guest's
 * connections are unmapped if that makes enough room. DGM_EDQUOT: the guest's quota is used up;
 * wait on guest->waiters. DGM_EAGAIN: too little is free now; retry when frames of any guest were
 * released (the caller decides the order among those that wait).
 */
int dgm_reach_reserve(struct dgm_reach_connection *connection, uint32_t count);

/* Cancels `count` reservations that were not used. */
void dgm_reach_unreserve(struct dgm_reach_connection *connection, uint32_t count);

/* The most frames that one request may have, so that several requests of this guest, and of others,
 * have room at the same time. */
uint64_t dgm_reach_request_frames_max(const struct dgm_reach *reach,
                                      const struct dgm_guest_account *guest,
                                      enum dgm_reach_mode mode);

/*
 * Adds the pieces of `count` frames to the batch. Each uses a reservation, except those that the
 * connection has mapped already: the number of these is returned, and their reservations stay the
 * caller's, for its next request or for dgm_reach_unreserve(). It is 0 unless the connection is
 * persistent. Asserts: no frame is held.
 */
uint32_t dgm_reach_add(struct dgm_reach_connection *connection, struct dgm_reach_frame *frames,
                       uint32_t count);

/*
 * The short way for a persistent connection, inline because it is taken for each frame of almost
 * each request. Uses the frame of `ref`, if the connection has it mapped, until dgm_reach_unuse():
 * without a reservation and a commit. Of `frame` only `entry` is set; it counts as not held.
 * False: the connection has not mapped it. The caller either unuses the frames and adds them, or
 * counts them by dgm_reach_count_used(). `mapped` is a copy of *reach->persistent, which the
 * compiler can keep in registers during a loop.
 */
static inline bool dgm_reach_use(struct dgm_reach_connection *connection,
                                 const struct dgm_persistent *mapped, struct dgm_reach_frame *frame,
                                 grant_ref_t ref, dgm_gfn_t *gfn)
{
    const uint16_t entry = dgm_persistent_use(mapped, &connection->owner, ref);

    if (entry == DGM_PERSISTENT_NONE)
        return false;
    frame->entry = entry;
    *gfn = mapped->entries[entry].foreign.gfn;
    return true;
}

static inline void dgm_reach_count_used(struct dgm_reach_connection *connection, uint32_t count)
{
    connection->owner.hits += count;
    connection->reach->frames[DGM_REACH_HELD_PERSISTENT] += count;
}

static inline void dgm_reach_unuse(struct dgm_reach_connection *connection,
                                   const struct dgm_reach_frame *frames, uint32_t count)
{
    const struct dgm_persistent mapped = *connection->reach->persistent;
    uint16_t idle = 0;

    for (const struct dgm_reach_frame *end = frames + count; frames != end; frames++)
        idle = (uint16_t)(idle + dgm_persistent_drop(&mapped, frames->entry));
    connection->owner.idle = (uint16_t)(connection->owner.idle + idle);
}

/* Reaches all frames that were added: at most one hypercall for each mode in use (identity: three).
 * Then every status is final except those of parked frames, DGM_EAGAIN: wait on reach->waiters. */
void dgm_reach_commit(struct dgm_reach *reach);

/*
 * For the frames of a request of which some are parked. If Xen has no room for another mapping and
 * requests that are only partly mapped hold all of it, no such request would ever be complete. So
 * after several attempts without progress this function unmaps those frames of the request that are
 * mapped, and adds them again at the end of the parked ops, except for the request whose frame is
 * mapped next. That request then becomes complete. A frame for which no slot is free then gets the
 * status DGM_ENOSPC.
 */
void dgm_reach_make_way(struct dgm_reach_connection *connection, struct dgm_reach_frame *frames,
                        uint32_t count);

enum dgm_reach_release {
    DGM_REACH_DISCARD, /* the bytes written to the frame are not delivered */
    DGM_REACH_DELIVER, /* the bytes written to the piece are delivered to the guest */
};

/*
 * Adds `count` frames to the batch of releases; without effect on those that are not held. Called
 * once for each frame, even if its delivery is parked afterwards. True: some frame is to be
 * delivered, and dgm_reach_release_commit() may park or fail that; otherwise it releases all of
 * them. Asserts: the status of each is final. The caller ensures that no DMA is in flight.
 */
bool dgm_reach_release_add(struct dgm_reach_frame *frames, uint32_t count,
                           enum dgm_reach_release release);

/*
 * Releases all frames that were added. Then each has held == DGM_REACH_NOT_HELD and a status:
 * DGM_OK, or an error if its bytes could not be delivered. A frame that is still held is parked:
 * wait on reach->waiters.
 */
void dgm_reach_release_commit(struct dgm_reach *reach);

/* Asserts: nothing is pending, and the invariants of every part. */
void dgm_reach_check(const struct dgm_reach *reach);

#ifdef __cplusplus
}
#endif

#endif
