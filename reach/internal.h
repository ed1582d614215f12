/* SPDX-License-Identifier: MIT */
/*
 * reach/internal: what the files of reach/ share
 *
 *   reach.c         connections, reservations, the parts put together
 *   batch.c         frames added, committed, released
 *   copied.c        frames that Xen copies
 *   identity.c      frames at gfn == mfn
 *   persistent.c    the cache of frames that stay mapped
 *   grantcopy.c     batches of copies by Xen
 *   copy_buffers.c  the pool of local frames for mode copy
 *   selfgrant.c     measurements at start
 */
#ifndef REACH_INTERNAL_H
#define REACH_INTERNAL_H

#include <dragoman/base/check.h>
#include <dragoman/reach/reach.h>

/* --- reach.c and batch.c --- */

/* Called after every commit: arms the timer that retries parked operations, if there are any. */
void dgm_reach_schedule_retry(struct dgm_reach *reach);

/* The slots that exist, taken or free. */
uint64_t dgm_reach_slot_count(const struct dgm_reach *reach);

/* --- identity.c --- */

/*
 * The three steps of a frame at gfn == mfn. begin: for a frame that is mapped at a slot, finds the
 * mapping at its mfn or adds one to the batch. False: the frame stays at its slot.
 */
bool dgm_reach_identity_begin(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* end: after the commit of that batch. False: the second mapping is parked. */
bool dgm_reach_identity_end(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* release: removes a user; the release of the last user adds the mapping to the batch of unmaps. */
void dgm_reach_identity_release(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* --- copied.c --- */

/*
 * Adds the op that copies the frame's piece, in its direction. After the commit a frame from the
 * guest is reached, and one to the guest is released, each with DGM_OK or an error. While it is
 * parked its status is DGM_EAGAIN.
 */
void dgm_reach_copy_add(struct dgm_reach *reach, struct dgm_reach_frame *frame);
void dgm_reach_copy_commit(struct dgm_reach *reach);

/* Commits, the parked frames included. */
void dgm_reach_copy_retry(struct dgm_reach *reach);

/* Returns the frame's copy buffer. */
void dgm_reach_copy_release(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* --- copy_buffers.c --- */

/*
 * Reserves `count` buffers and charges them to `quota`, all or nothing. DGM_EDQUOT: the guest's
 * quota has too little room, which is checked first. DGM_EAGAIN: the pool has too few; retry after
 * buffers of any guest were returned.
 */
int dgm_copy_buffers_reserve(struct dgm_copy_buffers *buffers, struct dgm_quota *quota,
                             uint32_t count);

/* Cancels `count` reservations that were not used. */
void dgm_copy_buffers_unreserve(struct dgm_copy_buffers *buffers, struct dgm_quota *quota,
                                uint32_t count);

/* Uses one reservation. Returns the buffer's number. Asserts: one is reserved. */
uint16_t dgm_copy_buffers_take(struct dgm_copy_buffers *buffers);

/* Makes `buffer`, which is taken, ready for bytes of `user`: no byte in it is another user's then.
 * It is zeroed only if another one used it last. */
void dgm_copy_buffers_clear_for(struct dgm_copy_buffers *buffers, uint16_t buffer,
                                struct dgm_copy_user user);

/* Records that some bytes of `buffer`, which is taken, become those of `user`. */
static inline void dgm_copy_buffers_fill_for(struct dgm_copy_buffers *buffers, uint16_t buffer,
                                             struct dgm_copy_user user)
{
    if (buffers->user[buffer] != user.number)
        buffers->user[buffer] = 0; /* the other bytes may be another user's */
}

/* Returns a buffer to the pool and discharges `quota`. Asserts: the buffer is taken. */
void dgm_copy_buffers_give(struct dgm_copy_buffers *buffers, struct dgm_quota *quota,
                           uint16_t buffer);

/* True if `gfn` is a buffer of the pool that is taken. O(total); for tests. */
bool dgm_copy_buffers_is_taken(const struct dgm_copy_buffers *buffers, dgm_gfn_t gfn);

/* Asserts every invariant. O(total). */
void dgm_copy_buffers_check(const struct dgm_copy_buffers *buffers);

/* --- persistent.c --- */

/* The owner's address is its identity: it does not move, and outlives its entries. It takes entries
 * of this cache alone. */
void dgm_persistent_owner_init(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                               uint16_t quota);

/*
 * Adds a frame that was just mapped, with one user. DGM_PERSISTENT_NONE: the owner's quota is full,
 * no entry is free, or `ref` already has an entry (it was mapped twice in one batch); the caller
 * keeps the mapping.
 */
uint16_t dgm_persistent_add(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref, const struct dgm_foreign *foreign);

/* Removes an idle entry of the owner, if possible one that was not used since the owner's hand
 * passed it; the caller unmaps *foreign. False: no entry is idle. */
bool dgm_persistent_evict(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                          struct dgm_foreign *foreign);

/* Asserts every invariant. O(entries x owners). */
void dgm_persistent_check(const struct dgm_persistent *cache);

#endif
