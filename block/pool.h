/* SPDX-License-Identifier: MIT */
/*
 * pool: the records of requests and of transfers, shared by all devices of a reactor
 *
 * A request record comes with room for its segments side by side, because dma maps an array of
 * pieces. So records have fixed sizes in three classes, and there is nothing to fragment. A request
 * takes a record of the smallest class that holds it and never of a larger one: else small requests
 * could keep every large record busy.
 *
 * Shortage is served in order. Each class, the commands, the slots and the buffers have a line;
 * only who stands first, or comes when nobody stands, may take. Whatever is given back posts the
 * first one's task; leaving the line posts the next. A request's record is held until it is
 * answered, a command while the disk has it or its device waits for a bounce buffer, and bounce
 * buffers come back from the disk without either: no deadlock.
 */
#ifndef BLOCK_POOL_H
#define BLOCK_POOL_H

#include <block/request.h>

/* What the disk has at once of one request. 32 segments are 128 KiB of scattered frames. */
#define DGM_BLKBACK_COMMAND_SEGMENTS 32u

struct dgm_blkback_command {
    struct dgm_blk_command blk;
    struct dgm_dma_map map;
    struct dgm_blkback_request *request;
    struct dgm_blkback_command *next; /* free list */
    struct dgm_dma_segment segments[DGM_BLKBACK_COMMAND_SEGMENTS];
};

struct dgm_blkback_request {
    struct dgm_blkback_request *next; /* free list, or one of the owner's lists */
    struct dgm_blkback *owner;
    struct dgm_blkif_request asked;
    struct dgm_reach_frame *frames;  /* per segment; the first `added` were given to reach */
    struct dgm_dma_piece *pieces;    /* per segment */
    struct dgm_reach_frame indirect; /* the page of segments, held to the end */
    uint32_t issued;                 /* bytes that the disk has or had */
    uint16_t added;
    uint16_t commands; /* the disk has now */
    uint8_t class;
    bool opened;  /* its segments are known */
    bool waiting; /* in owner->waiting */
    bool whole;   /* all is issued */
    bool failed;  /* by the disk */
    enum dgm_blkback_refusal refusal;
};

/* A record for `segments` segments, or NULL: `place` then stands in line. */
struct dgm_blkback_request *dgm_blkback_request_take(struct dgm_blkback_pool *pool,
                                                     struct dgm_blkback_waiter *place,
                                                     uint16_t segments);
void dgm_blkback_request_give(struct dgm_blkback_pool *pool, struct dgm_blkback_request *request);

struct dgm_blkback_command *dgm_blkback_command_take(struct dgm_blkback_pool *pool,
                                                     struct dgm_blkback_waiter *place);
void dgm_blkback_command_give(struct dgm_blkback_pool *pool, struct dgm_blkback_command *command);

/* True if `place` may take now, were there enough: nobody else is first in line. */
bool dgm_blkback_queue_is_free(const struct dgm_blkback_queue *line,
                               const struct dgm_blkback_waiter *place);
void dgm_blkback_queue_join(struct dgm_blkback_queue *line, struct dgm_blkback_waiter *place);
/* Nothing if it stands in no line. */
void dgm_blkback_queue_leave(struct dgm_blkback_pool *pool, struct dgm_blkback_waiter *place);
/* What the line waits for may be there: posts the first one's task. */
void dgm_blkback_queue_wake(struct dgm_blkback_pool *pool, struct dgm_blkback_queue *line);

#endif
