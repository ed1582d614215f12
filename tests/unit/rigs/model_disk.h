/* SPDX-License-Identifier: MIT */
/*
 * model_disk: a RAM disk behind blkdev.h that does DMA by machine address
 *
 * It checks that commands obey its tag and that it accesses only frames that are granted at that
 * moment with that right. A test can make it slow, short of queue entries, or broken.
 */
#ifndef MODEL_DISK_H
#define MODEL_DISK_H

#include <dragoman/drivers/blkdev.h>

#define MODEL_QUEUE 128

struct model_disk {
    struct dgm_blkdev dev;
    struct dgm_task task;
    uint8_t *bytes;
    uint64_t bytes_total;
    struct dgm_blk_command *queue[MODEL_QUEUE]; /* submitted; the first `kicked` are in flight */
    unsigned queued, kicked, depth;
    unsigned rate;     /* commands that it completes each turn; 0: all */
    bool stalled;      /* completes nothing until model_resume() */
    bool backwards;    /* completes the last command first */
    bool refuse;       /* submit returns DGM_EIO */
    int64_t fail_from; /* commands numbered [from, from + count) fail; -1: none */
    uint64_t fail_count;
    uint64_t number;                     /* of the next command to complete */
    uint64_t flushes, kicks, queue_full; /* flushes: those that succeeded */
    unsigned queued_max;
};

/* A disk of `blocks`; like with NVMe, the frames in the middle of a transfer must be whole. */
void model_start(struct model_disk *disk, uint64_t blocks, uint32_t block_bytes);

/* Completes one command, stalled or not. */
void model_complete_one(struct model_disk *disk);

/* Ends `stalled`. */
void model_resume(struct model_disk *disk);

/* Checks that the disk is idle, and frees its memory. */
void model_stop(struct model_disk *disk);

#endif
