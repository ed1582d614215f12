/* SPDX-License-Identifier: MIT */
/* reach/internal: what the files of reach share. See reach.c. */
#ifndef REACH_INTERNAL_H
#define REACH_INTERNAL_H

#include <dragoman/reach/reach.h>

/* After every commit: is there something to be asked again, and when? */
void dgm_reach_look_again(struct dgm_reach *reach);

/* Slots that there are, taken or not. */
uint64_t dgm_reach_slots_there(const struct dgm_reach *reach);

/* Finds or begins the mapping at its mfn of a frame that is mapped at a slot. False: it stays
 * there. */
bool dgm_reach_identity_begin(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* The second mapping was asked for. False: Xen wants to be asked again. */
bool dgm_reach_identity_end(struct dgm_reach *reach, struct dgm_reach_frame *frame);

/* One user of the mapping less; the last one's goes into the batch of unmaps. */
void dgm_reach_identity_release(struct dgm_reach *reach, struct dgm_reach_frame *frame);

#endif
