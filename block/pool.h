/* SPDX-License-Identifier: MIT */
/*
 * pool: the records of requests and of commands, shared by all devices of a reactor
 *
 * A request record has room for all of its segments side by side, because dma maps an array of
 * pieces. Records have fixed sizes in three classes, so there is no fragmentation. A request takes
 * a record of the smallest class that holds it and never of a larger one: otherwise small requests
 * could use up all large records.
 *
 * A shortage is served in order. Each class, the commands, the slots and the copy buffers have a
 * queue. Only the first waiter may take, or any device while the queue is empty. Returning an entry
 * posts the first waiter's task; leaving the queue posts the next one's.
 *
 * There is no deadlock: a device keeps a request record until the response is written, and a
 * command while the disk has it or while the device waits for bounce buffers. Bounce buffers return
 * from the disk, which needs neither records nor commands for that.
 */
#ifndef BLOCK_POOL_H
#define BLOCK_POOL_H

#include <block/request.h>

/* The most segments of one command. 32 segments are 128 KiB of scattered frames. */
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
    struct dgm_blkif_request parsed;
    struct dgm_reach_frame *frames;  /* per segment; the first `added` were given to reach */
    struct dgm_dma_piece *pieces;    /* per segment */
    struct dgm_reach_frame indirect; /* the page of segments; held as long as the frames */
    uint32_t issued;                 /* bytes submitted to the disk so far */
    uint16_t added;
    uint16_t commands; /* that the disk has now */
    uint8_t class;
    bool segments_known; /* direct, or its indirect page was read */
    bool in_issuing;     /* in owner->issuing */
    bool fully_issued;   /* nothing is left to submit */
    bool failed;         /* by the disk */
    enum dgm_blkback_refusal refusal;
};

/* A record for `segments` segments, or NULL: `waiter` is queued for one. */
struct dgm_blkback_request *dgm_blkback_request_take(struct dgm_blkback_pool *pool,
                                                     struct dgm_blkback_waiter *waiter,
                                                     uint16_t segments);
void dgm_blkback_request_give(struct dgm_blkback_pool *pool, struct dgm_blkback_request *request);

/* A command record, or NULL: `waiter` is queued for one. */
struct dgm_blkback_command *dgm_blkback_command_take(struct dgm_blkback_pool *pool,
                                                     struct dgm_blkback_waiter *waiter);
void dgm_blkback_command_give(struct dgm_blkback_pool *pool, struct dgm_blkback_command *command);

/* True if no other waiter is before `waiter`, queued or not. */
bool dgm_blkback_queue_admits(const struct dgm_blkback_queue *queue,
                              const struct dgm_blkback_waiter *waiter);
/* Queues `waiter`, if it is not in this queue already. Asserts: it is in no other one. */
void dgm_blkback_queue_join(struct dgm_blkback_queue *queue, struct dgm_blkback_waiter *waiter);
/* Takes `waiter` out of its queue, if it is in one; if it was the first, wakes the next. */
void dgm_blkback_queue_leave(struct dgm_blkback_pool *pool, struct dgm_blkback_waiter *waiter);
/* Posts the task of the queue's first waiter: what it waits for may be there. */
void dgm_blkback_queue_wake(struct dgm_blkback_pool *pool, struct dgm_blkback_queue *queue);

#endif
