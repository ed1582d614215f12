/* SPDX-License-Identifier: MIT */
/*
 * internal: how blkback's files share the work
 *
 *   connect.c   what xenbus asks for: describe, offer, connect, disconnect
 *   life.c      the device's one task, blkback_run(); the end of a connection; create, destroy
 *   drain.c     from the ring to requests whose frames are reached
 *   issue.c     from those to the disk, and back to answers
 *
 * All of it runs from the device's one task, blkback_run() in life.c.
 */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include <block/pool.h>
#include <block/request.h>

extern const struct dgm_xenbus_ops dgm_blkback_ops;

/* The ring's page is given back, if there is one. */
void dgm_blkback_unmap_page(struct dgm_blkback *blkback);

/* Out of every line and list of waiters but Xen's: nothing is wanted any more. */
void dgm_blkback_stop_waiting(struct dgm_blkback *blkback);

/* Takes up to a budget of requests from the ring and reaches their frames. */
void dgm_blkback_drain(struct dgm_blkback *blkback);

/* Goes on with requests whose frames were added: each leaves `list` for `waiting`, for `finished`
 * (Xen refused a reference), or for `reaching` (it is to be asked again). */
void dgm_blkback_reach(struct dgm_blkback *blkback, struct dgm_blkback_list *list);

/* Submits what waits, oldest first, until all is issued or something is short. */
void dgm_blkback_issue(struct dgm_blkback *blkback);

/* Releases the frames of the finished requests in one batch, answers them, and gives their records
 * back. */
void dgm_blkback_finish(struct dgm_blkback *blkback);

/* Writes one response, not yet visible. */
void dgm_blkback_answer(struct dgm_blkback *blkback, const struct dgm_blkif_request *asked,
                        int16_t status);

/* A request that the guest got wrong: counted, and the first few of a connection logged. */
void dgm_blkback_complain(struct dgm_blkback *blkback, const struct dgm_blkif_request *asked,
                          enum dgm_blkback_refusal refusal);

void dgm_blkback_append(struct dgm_blkback_list *list, struct dgm_blkback_request *request);
/* NULL: empty. */
struct dgm_blkback_request *dgm_blkback_pop(struct dgm_blkback_list *list);

#endif
