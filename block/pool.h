/* SPDX-License-Identifier: MIT */
/*
 * pool: the records of requests and of commands, and the other resources that devices share
 *
 * A request record has room for all of its segments in one array, because dma maps an array of
 * pieces. Records have fixed sizes in three classes, so there is no fragmentation. A request takes
 * a record of the smallest class that holds it and never of a larger one: otherwise small requests
 * could use up all large records.
 *
 * Each class and the commands are a resource of all devices, by the rule of share.h: each device
 * has a minimum, fixed when it is created (struct dgm_blkback_pool_sizes). The slots and the copy
 * buffers of a guest's quota are resources of that guest's devices; the minimum is one request of
 * the most segments that the device offers. So a disk that is slow, hangs or dies uses up its own
 * minimum and a bounded part of the shared rest, and every other device finds its own minimum.
 *
 * The entries of a disk's queue belong to the disk, and several devices may share it (read-only).
 * While its queue is full, they wait in a FIFO, and the disk wakes the first waiter. That waiter
 * submits one command and is queued at the end if it has more. A device that is not queued does not
 * submit while others are queued. So a device waits for at most as many completed commands as
 * devices were queued before it.
 *
 * There is no deadlock: a device keeps a request record until the response is written, and a
 * command while the disk has it or while the device waits for bounce buffers. The disk returns
 * bounce buffers without needing records or commands. A device that cannot take what it is queued
 * for, because another resource is short, leaves the queue.
 */
#ifndef BLOCK_POOL_H
#define BLOCK_POOL_H

#include <block/request.h>
#include <block/share.h>

/* The most segments of a request of a Linux guest that was not told otherwise. */
#define DGM_BLKBACK_USUAL_SEGMENTS 32u

/* The most segments of one command. 32 segments are 128 KiB of scattered frames. */
#define DGM_BLKBACK_COMMAND_SEGMENTS 32u

struct dgm_blkback_command {
    struct dgm_blk_command blk;
    struct dgm_dma_map map;
    struct dgm_blkback_request *request;
    struct dgm_blkback_command *next; /* free list */
    union {                           /* whichever the map is made of */
        struct dgm_dma_segment segments[DGM_BLKBACK_COMMAND_SEGMENTS];
        dgm_bus_t pages[DGM_BLKBACK_COMMAND_SEGMENTS];
    };
};

struct dgm_blkback_request {
    struct dgm_blkback_request *next; /* free list, or one of the owner's lists */
    struct dgm_blkback *owner;
    struct dgm_blkif_request parsed;
    struct dgm_reach_frame *frames;  /* per segment; the first `added` were given to reach */
    struct dgm_dma_piece *pieces;    /* per segment */
    struct dgm_reach_frame indirect; /* the page of segments; held as long as the frames, or until
                                        it is read if Xen has no room */
    uint32_t issued;                 /* bytes submitted to the disk so far */
    uint32_t covers;                 /* a flush: owner->written when it was submitted */
    uint16_t added;
    uint16_t used;     /* all of its segments: reached by dgm_reach_use(); `added` is 0 then */
    uint16_t commands; /* those at the disk */
    uint8_t class;
    bool segments_known; /* direct, or its indirect page was read */
    bool in_issuing;     /* in owner->issuing */
    bool fully_issued;   /* nothing is left to submit */
    bool failed;         /* by the disk */
    bool delivers;       /* while it ends: the bytes that it read are copied to the guest */
    enum dgm_blkback_refusal refusal;
};

/* Frames of memory that a pool of these sizes takes. */
uint64_t dgm_blkback_pool_frames(const struct dgm_blkback_pool_sizes *sizes);

/* Adds a new device's shares of all resources. DGM_ENOSPC: there is too little for one more
 * minimum; nothing is held. */
int dgm_blkback_pool_join(struct dgm_blkback *blkback, uint16_t guest_disks);
/* Removes the device's shares. Asserts: it holds nothing. */
void dgm_blkback_pool_leave(struct dgm_blkback *blkback);

/* A record for `segments` segments, or NULL: the device is queued for one. */
struct dgm_blkback_request *dgm_blkback_request_take(struct dgm_blkback *blkback,
                                                     uint16_t segments);
static inline void dgm_blkback_request_give(struct dgm_blkback_request *request)
{
    struct dgm_blkback *blkback = request->owner;
    struct dgm_blkback_pool *pool = blkback->env.pool;

    request->owner = NULL;
    request->next = pool->requests_free[request->class];
    pool->requests_free[request->class] = request;
    dgm_blkback_share_keep(&blkback->shares[request->class], 1);
}

/* A command record, or NULL: the device is queued for one. */
static inline struct dgm_blkback_command *dgm_blkback_command_take(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_command *command;

    if (!dgm_blkback_share_take(&blkback->shares[DGM_BLKBACK_COMMANDS], 1))
        return NULL;
    command = pool->commands_free;
    pool->commands_free = command->next;
    return command;
}

/* Returns a command record. `keep`: the device's task is posted or runs. */
static inline void dgm_blkback_command_give(struct dgm_blkback *blkback,
                                            struct dgm_blkback_command *command, bool keep)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_share *share = &blkback->shares[DGM_BLKBACK_COMMANDS];

    command->request = NULL;
    command->next = pool->commands_free;
    pool->commands_free = command;
    if (keep)
        dgm_blkback_share_keep(share, 1);
    else
        dgm_blkback_share_give(share, 1);
}

/* At the end of a run of the device's task: returns the units that it has kept. */
static inline void dgm_blkback_give_kept(struct dgm_blkback *blkback)
{
    for (unsigned i = 0; i < DGM_BLKBACK_RESOURCES; i++)
        if (blkback->shares[i].kept)
            dgm_blkback_share_give_kept(&blkback->shares[i]);
    if (blkback->slots.kept)
        dgm_blkback_share_give_kept(&blkback->slots);
    if (blkback->copy_buffers.kept)
        dgm_blkback_share_give_kept(&blkback->copy_buffers);
}

/* Removes the device from the queue for request records. */
void dgm_blkback_leave_records(struct dgm_blkback *blkback);

/* The device's share of the guest's slots or copy buffers, by its connection's mode. */
static inline struct dgm_blkback_share *dgm_blkback_frames_share(struct dgm_blkback *blkback)
{
    return blkback->connection.mode == DGM_REACH_MODE_COPY ? &blkback->copy_buffers
                                                           : &blkback->slots;
}

/* The largest order of a ring that each of the guest's disks, of `guest_disks`, may have: the pages
 * of a ring take at most a 128th of the disk's slots, or one. */
uint8_t dgm_blkback_ring_order_max(const struct dgm_guest_account *guest, uint16_t guest_disks);

/* The most segments of a request that `guest_disks` disks of the guest, each with its own minimum,
 * may offer. */
uint64_t dgm_blkback_segments_max(const struct dgm_reach *reach,
                                  const struct dgm_guest_account *guest, enum dgm_reach_mode mode,
                                  uint16_t guest_disks);

#endif
