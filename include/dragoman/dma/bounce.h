/* SPDX-License-Identifier: MIT */
/*
 * bounce: local memory that a device reaches, in place of memory that it does not reach or cannot
 * express
 *
 * A buffer is one local frame of 4 KiB, so that a piece keeps its offset in the frame. dma fills a
 * buffer before a device gets it, so a device that leaves bytes unwritten never shows the data of
 * the buffer's last user. A shortage of buffers makes a transfer wait; it is never an I/O error.
 * One pool per reactor.
 *
 * Areas. Devices differ in what they reach: a Raspberry Pi's reach the lowest GiB. A pool consists
 * of up to four areas, each a run of neighbouring frames. A buffer for a device is taken from the
 * highest of the areas that the device reaches, so that low frames are left for the
 * devices that reach nothing else.
 *
 * Minimums. Each device (a disk of a guest) has one buffer for itself, in an area that it reaches.
 * A device that holds no buffer of that area takes one, whatever others hold or wait for. One
 * buffer is all that a transfer needs to make progress (see dma.h), so no device waits for a buffer
 * that another device's disk has: a disk that is slow, hangs or dies delays its own transfers only,
 * and waiting never becomes a deadlock.
 *
 * Shares. The other buffers are shared by all guests, and a guest that floods its disks must not
 * have them all. A guest's share of an area is the number of the area's buffers, divided by the
 * number of guests that hold or want some of them, rounded up. The rules beyond the minimums:
 *
 *   1. While no guest waits, a guest takes any buffer that is not left for a minimum.
 *   2. A guest that finds no buffer joins the end of the queue.
 *   3. A waiter that holds less than its share precedes one that does not; of two equals, the one
 *      that joined the queue first precedes.
 *   4. A guest takes a buffer only if one remains for each waiter that precedes it, and for each
 *      device that does not hold its minimum.
 *
 * So a guest below its share waits until at most as many buffers are returned as there are guests.
 * A waiter that is woken and does not ask for a buffer no longer wants one: it is removed from the
 * queue, so that it cannot block the others.
 *
 * Taking and giving cost O(1) while no guest waits; otherwise they are linear in the waiting
 * guests.
 */
#ifndef DRAGOMAN_DMA_BOUNCE_H
#define DRAGOMAN_DMA_BOUNCE_H

#include <dragoman/base/frames.h>
#include <dragoman/base/reactor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_BOUNCE_AREAS_MAX 4u
#define DGM_BOUNCE_AREAS_ALL ((1u << DGM_BOUNCE_AREAS_MAX) - 1)

/* What one guest holds and wants of a pool. The caller's, zeroed before its first use. Other
 * rooms use the counters `taken`, `taken_max`, `waits`; the rest is dma's own. */
struct dgm_bounce_share {
    uint16_t held[DGM_BOUNCE_AREAS_MAX]; /* buffers of each area */
    uint16_t taken, taken_max;           /* buffers of all areas: now, and the high-water mark */
    uint64_t waits;                      /* counter: times that it had to wait */
    uint8_t areas_wanted;                /* a bit for each; 0: it is not queued */
    bool asked_since_woken;
    struct dgm_bounce_share *next_waiter;
};

/* One device of a guest. The caller's, from dgm_dma_device_begin() to dgm_bounce_device_end(). All
 * of it is dma's own. */
struct dgm_bounce_device {
    struct dgm_bounce_share *share;
    uint16_t held[DGM_BOUNCE_AREAS_MAX]; /* buffers of each area */
    uint8_t minimum_area;                /* DGM_BOUNCE_AREAS_MAX: it has no minimum */
};

/* The records of an area and of a buffer: private to dma/. */
struct dgm_bounce_area;
struct dgm_bounce_buffer;

/* Other rooms use `total`, `free`, `waiters`; the rest is dma's own. */
struct dgm_bounce {
    struct dgm_bounce_buffer *buffers;
    uint16_t buffers_max;
    uint16_t total, free, free_min; /* buffers; free_min: low-water mark */
    struct dgm_bounce_area *areas;
    uint8_t areas_by_height[DGM_BOUNCE_AREAS_MAX]; /* numbers of areas, highest gfn first */
    uint8_t area_count;
    struct dgm_bounce_share own_share; /* of transfers for no guest: our own use */
    struct dgm_bounce_device own;
    struct dgm_bounce_share *queue; /* the shares that wait, oldest first */
    struct dgm_waiters waiters;     /* their tasks */
    struct dgm_task round_task;     /* see dma/bounce_queue.c */
    struct dgm_reactor *reactor;
    uint64_t waits; /* counter: times that a share had to wait */
};

/* Memory for the records of `buffers_max` buffers, aligned as a uint64_t. */
size_t dgm_bounce_bytes(uint16_t buffers_max);

/* An empty pool, for at most `buffers_max` buffers. `memory` is the pool's from now on. */
void dgm_bounce_init(struct dgm_bounce *bounce, struct dgm_reactor *reactor, uint16_t buffers_max,
                     void *memory);

/*
 * Adds `count` frames from `frames` to the pool, while the domain starts: before dgm_dma_init(),
 * and before a buffer is taken. Each run of neighbouring frames becomes an area. DGM_ENOMEM:
 * `frames` had fewer, or they lay in more runs than there are areas; the pool then has those that
 * fit. Asserts: at most `buffers_max` in all.
 */
int dgm_bounce_add(struct dgm_bounce *bounce, struct dgm_frames *frames, uint16_t count);

/* The frame of buffer number `buffer`, below bounce->total. */
dgm_gfn_t dgm_bounce_gfn(const struct dgm_bounce *bounce, uint16_t buffer);

/* Asserts: it holds no buffer. */
void dgm_bounce_device_end(struct dgm_bounce *bounce, struct dgm_bounce_device *device);

/* Ends the use of `share`, which holds no buffer. A task of it that still waits is removed from
 * bounce->waiters by the caller. */
void dgm_bounce_share_end(struct dgm_bounce *bounce, struct dgm_bounce_share *share);

/* Asserts every invariant. Quadratic in the buffers that are taken. */
void dgm_bounce_check(const struct dgm_bounce *bounce);

#ifdef __cplusplus
}
#endif

#endif
