/* SPDX-License-Identifier: MIT */
/*
 * blkdev: what a disk driver offers
 *
 * Commands carry bus segments that were mapped with the disk's own tag, so a driver only copies
 * them into its descriptors; a disk that the CPU serves uses the pieces instead
 * (docs/first-disk-driver.md). Submission queues the command; kick rings the doorbell once for a
 * batch. Completion calls command->done from the reactor's loop, never from inside submit. Every
 * submitted command is completed exactly once, with DGM_OK, DGM_EIO (the device reported an error)
 * or DGM_ETIMEDOUT (the device did not complete it, was reset, and the command was lost).
 */
#ifndef DRAGOMAN_DRIVERS_BLKDEV_H
#define DRAGOMAN_DRIVERS_BLKDEV_H

#include <dragoman/dma/dma.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dgm_blk_op {
    DGM_BLK_READ,
    DGM_BLK_WRITE,
    DGM_BLK_FLUSH, /* completed writes are durable when it completes; no segments */
};

struct dgm_blk_command {
    enum dgm_blk_op op;
    uint64_t block;                         /* in the disk's blocks */
    uint32_t blocks;                        /* > 0 for READ and WRITE */
    const struct dgm_dma_segment *segments; /* the caller's until done */
    uint32_t segment_count;
    /* > 0, only for a disk that takes lists of pages: the frames at `pages`, one after another, in
     * place of segments; the caller's until done. */
    uint32_t page_count;
    const dgm_bus_t *pages;
    /*
     * The same bytes for a CPU, which a disk without a DMA engine copies itself: they begin
     * `skip_bytes` into the pieces, and dgm_env_va(piece->gfn) is valid within that one frame. Only
     * a disk whose tag has no restriction (mask of ones, coherent, no gap, no alignment) may use
     * them: for any other disk a bounce buffer may replace a piece.
     */
    const struct dgm_dma_piece *pieces;
    uint64_t skip_bytes;
    void (*done)(struct dgm_blk_command *command, int status);
};

struct dgm_blkdev;

struct dgm_blkdev_ops {
    /*
     * DGM_OK: taken, done() will come. DGM_EAGAIN: the queue is full; wait on device->waiters.
     * DGM_EIO: the device has failed permanently. Asserts: the range lies within the disk, segments
     * obey the tag.
     */
    int (*submit)(struct dgm_blkdev *device, struct dgm_blk_command *command);
    void (*kick)(struct dgm_blkdev *device);
    /*
     * The machine is about to be switched off or reset. Each call continues the shutdown as far as
     * is possible without waiting: completed writes are made durable, then the device is shut down.
     * True: done, or the device has failed. From the first call on submit returns DGM_EIO. The
     * caller calls it for all disks in turn until each has returned true or `deadline_ns` has
     * passed; the deadline is the same in each call, and after half of the time the driver no
     * longer waits for a flush. NULL: the device needs none.
     */
    bool (*shutdown)(struct dgm_blkdev *device, uint64_t deadline_ns);
};

struct dgm_blkdev {
    const struct dgm_blkdev_ops *ops;
    char name[16]; /* "nvme0" */
    /*
     * A driver's start function returns before the device is ready, which may take minutes. Until
     * then nothing below `failed` is valid, and submit returns DGM_EAGAIN. A disk that fails before
     * it is ready has a serial number if it could be identified.
     */
    bool ready;  /* becomes true once, and stays true */
    bool failed; /* permanently: every command ends with DGM_EIO */
    char serial[24], model[44];
    uint32_t nsid;  /* NVMe: the namespace; 0: none */
    char nguid[36]; /* NVMe: NGUID or EUI-64 in hexadecimal digits; empty: none */
    uint64_t blocks;
    uint32_t block_bytes; /* 512 or 4096 */
    bool read_only;
    bool write_cache; /* volatile: flushes matter */
    /* How often a disk with such a cache lost its power since it became ready. What completed
     * before and was not flushed may be lost; commands that were in flight were submitted again. */
    uint32_t power_losses;
    struct dgm_dma_tag tag;              /* commands are mapped with it */
    bool takes_pages;                    /* a command may have pages in place of segments */
    struct dgm_waiters waiters;          /* woken when a queue entry becomes free */
    uint64_t commands, errors, timeouts; /* counted by the driver */
    struct dgm_blkdev *next;
};

#ifdef __cplusplus
}
#endif

#endif
