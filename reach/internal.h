/* SPDX-License-Identifier: MIT */
/* reach/internal: what the files of reach share. See reach.c. */
#ifndef REACH_INTERNAL_H
#define REACH_INTERNAL_H

#include <dragoman/reach/reach.h>

/* Called after every commit: arms the timer that retries parked operations, if there are any. */
void dgm_reach_schedule_retry(struct dgm_reach *reach);

/* The slots that exist, taken or free. */
uint64_t dgm_reach_slot_count(const struct dgm_reach *reach);

/*
 * The three steps of a frame at gfn == mfn. begin: for a frame that is mapped at a slot, finds the
 * mapping at its mfn or adds one to the batch. False: the frame stays at its slot.
 */
bool dgm_reach_identity_begin(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* end: after the commit of that batch. False: the second mapping is parked. */
bool dgm_reach_identity_end(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* release: removes a user; the release of the last user adds the mapping to the batch of unmaps. */
void dgm_reach_identity_release(struct dgm_reach *reach, struct dgm_reach_frame *frame);

#endif
