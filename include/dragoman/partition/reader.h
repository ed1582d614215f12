/* SPDX-License-Identifier: MIT */
/*
 * reader: reads a disk's partition table
 *
 * Before any guest has the disk: one command at a time, through a frame of ours, by DMA with the
 * disk's own tag. A command that the disk fails counts as blocks that cannot be read: drivers
 * have retried it. The reader ends in bounded time, because a driver ends every command.
 */
#ifndef DRAGOMAN_PARTITION_READER_H
#define DRAGOMAN_PARTITION_READER_H

#include <dragoman/partition/table.h>

#include <dragoman/base/reactor.h>
#include <dragoman/drivers/blkdev.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_PARTITION_READER_SEGMENTS 4u

/* Other rooms use `table`; the rest is partition's own. */
struct dgm_partition_reader {
    struct dgm_partition_table table; /* complete when `done` is called */
    struct dgm_reactor *reactor;
    struct dgm_dma *dma;
    struct dgm_blkdev *disk;
    struct dgm_dma_tag tag; /* the disk's, narrowed to our segments */
    struct dgm_task *done;
    struct dgm_task task;
    struct dgm_timer timer; /* the retry, when something is short */
    struct dgm_blk_command command;
    struct dgm_dma_segment segments[DGM_PARTITION_READER_SEGMENTS];
    struct dgm_dma_map map;
    struct dgm_dma_piece piece; /* the frame of ours, as far as it is used */
    struct dgm_partition_extent wanted;
    uint32_t moved; /* bytes of `wanted` that were read */
    int status;     /* of the command */
    bool in_flight, completed;
};

/* What a reader works with. */
struct dgm_partition_reader_env {
    struct dgm_reactor *reactor;
    struct dgm_dma *dma;
    dgm_gfn_t frame;       /* a local one, the reader's from now on */
    struct dgm_task *done; /* posted when the table is complete */
};

/* Starts to read the table of `disk`, which is ready. */
void dgm_partition_reader_start(struct dgm_partition_reader *reader,
                                const struct dgm_partition_reader_env *env,
                                struct dgm_blkdev *disk);

#ifdef __cplusplus
}
#endif

#endif
