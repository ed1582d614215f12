/* SPDX-License-Identifier: MIT */
/*
 * dma/internal: what the files of dma/ share
 *
 *   dma.c              the calls, and the parts of a map
 *   direct.c           the common map, in one pass, without a plan
 *   plan.c             the plan of a map: its pieces in order, and where it ends
 *   plan_segments.c    its segments: what the device can express
 *   plan_bounce.c      its bounce buffers
 *   bus.c              the addresses
 *   bounce.c           the pool of bounce buffers
 *   bounce_queue.c     which guest may take one, and the queue
 *   bounce_check.c     the invariants of the pool
 *   cacheflush.c       cache maintenance by machine address, by Xen
 */
#ifndef DMA_INTERNAL_H
#define DMA_INTERNAL_H

#include <dma/cachemaint.h>
#include <dragoman/dma/dma.h>

#define DGM_BOUNCE_NONE UINT16_MAX /* no buffer */

/* Why a part is bounced; selects the counter. */
enum dma_cause { DMA_CAUSE_REACH, DMA_CAUSE_GAP, DMA_CAUSE_LINE, DMA_CAUSE_FLUSH };

/* The bytes of a map that a buffer replaces: [map_offset, map_offset + bytes). */
struct dma_bounced {
    uint32_t map_offset;
    uint16_t offset; /* in the buffer */
    uint16_t bytes;
    uint8_t cause; /* enum dma_cause */
};

/* Frame numbers, the lowest and the highest. */
struct dma_extent {
    uint64_t first, last;
};

/* Buffers [first, first + total): neighbouring frames. */
struct dgm_bounce_area {
    uint16_t first, total, free;
    uint16_t free_first;          /* head of the free list */
    uint16_t minimums;            /* devices with their minimum here, */
    uint16_t unmet;               /* and those of them that hold no buffer of this area */
    uint16_t users;               /* shares that hold a buffer of this area, or wait for one */
    struct dma_extent extents[2]; /* of its frames, by enum dgm_dma_space */
};

struct dgm_bounce_buffer {
    dgm_gfn_t gfn;
    struct dgm_bounce_device *owner; /* NULL: the buffer is free */
    uint16_t next;                   /* of the free list, or of the buffers of one map */
    struct dma_bounced bounced;      /* while it is part of a map */
};

/* --- the pool: bounce.c and bounce_queue.c --- */

/* True if the frame is a buffer of this pool and taken. For checks: linear in the buffers. */
bool dgm_bounce_is_taken(const struct dgm_bounce *bounce, dgm_gfn_t gfn);

/*
 * A new device of the guest with `share`; it reaches `areas` (a bit for each). DGM_ENOSPC: each
 * buffer of these areas is already the minimum of some device. Without an area it has no minimum.
 * If other devices hold the buffer that would be its minimum, the device gets it as soon as they
 * return one.
 */
int dgm_bounce_device_begin(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                            struct dgm_bounce_share *share, unsigned areas);

/*
 * Takes a buffer of one of `areas` (a bit for each) for `device` (NULL: our own use). Returns its
 * number, or DGM_BOUNCE_NONE: by the rules above every free buffer is left for others.
 */
uint16_t dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                         unsigned areas);

/*
 * Queues the share of `device`, which found no buffer in `areas`. dgm_dma_map() calls it; the
 * caller of dgm_dma_map() adds its task: dgm_waiters_add(&bounce->waiters, task). The share stays
 * queued until it takes a buffer beyond a minimum, provided that it asks for one each time that the
 * task is woken.
 */
void dgm_bounce_wait(struct dgm_bounce *bounce, struct dgm_bounce_device *device, unsigned areas);

/* Returns a buffer to the pool and wakes the waiters. */
void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer);

static inline bool bounce_is_taken(const struct dgm_bounce *bounce, uint16_t buffer)
{
    return bounce->buffers[buffer].owner != NULL;
}

static inline dgm_gfn_t bounce_area_gfn(const struct dgm_bounce *bounce, unsigned a)
{
    return bounce->buffers[bounce->areas[a].first].gfn;
}

static inline bool bounce_wants_area(const struct dgm_bounce_share *share, unsigned a)
{
    return share->areas_wanted >> a & 1;
}

static inline bool bounce_uses_area(const struct dgm_bounce_share *share, unsigned a)
{
    return share->held[a] || bounce_wants_area(share, a);
}

/* The free buffers of an area that are not left for a device's minimum. */
static inline unsigned bounce_beyond_minimums(const struct dgm_bounce_area *area)
{
    return area->free > area->unmet ? (unsigned)(area->free - area->unmet) : 0;
}

/* Whether the device's next buffer of area `a` is its minimum. */
static inline bool bounce_lacks_minimum(const struct dgm_bounce_device *device, unsigned a)
{
    return device->minimum_area == a && device->held[a] == 0;
}

/*
 * Whether `share` may take a buffer of area `a` that is no minimum: one remains for each waiter
 * that precedes it, and for each minimum that is not met.
 */
bool dgm_bounce_may_take(const struct dgm_bounce *bounce, const struct dgm_bounce_share *share,
                         unsigned a);

/* Whether an area that `share` waits for has a buffer beyond the minimums. */
bool dgm_bounce_has_buffer_for(const struct dgm_bounce *bounce,
                               const struct dgm_bounce_share *share);

/* Removes `share` from the queue. No effect if it is not queued. */
void dgm_bounce_queue_remove(struct dgm_bounce *bounce, struct dgm_bounce_share *share);

/* Wakes the waiters: begins a round, unless one has begun. */
void dgm_bounce_wake(struct dgm_bounce *bounce);

/* Ends a round; run by bounce->round_task. */
void dgm_bounce_round(struct dgm_task *task);

/* --- cacheflush.c --- */

/*
 * Adds an op: a clean, with `invalidate` an invalidate too. A full batch is done first. Asserts:
 * the span lies within the frame and is not empty.
 */
void dgm_cacheflush_add(struct dgm_cacheflush *flush, dgm_mfn_t mfn, struct dgm_span span,
                        bool invalidate);

/* Does the added ops. Returns how many were refused. No hypercall if no op was added. */
unsigned dgm_cacheflush_commit(struct dgm_cacheflush *flush);

/* --- plans --- */

/* A position in the bytes of a transfer: `piece_offset` bytes into pieces[piece]. */
struct dma_walk {
    const struct dgm_dma_piece *pieces;
    size_t piece_count;
    uint32_t piece, piece_offset;
};

/*
 * A plan takes bounce buffers and writes segments, and can be truncated. It accesses none of the
 * memory that the pieces name, holds no frame and changes no counter; dma.c does that when the plan
 * is final.
 */
struct dma_plan {
    struct dgm_dma *dma;
    const struct dgm_dma_tag *tag;
    struct dgm_dma_map *map; /* segments, segment_count, bytes, buffer_first: grow with the plan */
    struct dgm_bounce_device *device;
    struct dma_walk start; /* of the transfer */
    unsigned areas;        /* of the bounce pool that the device reaches, a bit for each */
    uint16_t buffer_last;  /* the last of the map's buffers, which are in order of bytes */
    uint16_t buffer_saved; /* from the truncated plan, for the gathering */
    bool device_writes;
    bool bounce_foreign; /* Xen does not maintain the caches for foreign frames */
    bool gap_broken;     /* the gap rule, or the alignment, ended the map early */
};

/* --- bus.c --- */

/* Bytes [address, address + count) of a tag's space, before its windows. */
struct dma_bytes {
    uint64_t address, count;
};

/* Asserts that the device can express a block: a tag is the driver's. */
void dgm_dma_tag_check(const struct dgm_dma_tag *tag);

/* The address of the first byte of `gfn` in the tag's space, before its windows. False: it is not
 * our memory (an empty slot). */
bool dgm_dma_address(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                     uint64_t *address);

/* The only function that converts such an address to a bus address. False: the device does not
 * reach all of the bytes. */
bool dgm_dma_bus(const struct dgm_dma_tag *tag, struct dma_bytes at, dgm_bus_t *bus);

/* The areas of the bounce pool that the device reaches completely, a bit for each. */
unsigned dgm_dma_areas(const struct dgm_dma *dma, const struct dgm_dma_tag *tag);

/* --- plan_segments.c --- */

static inline uint32_t dma_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* `unit` is a power of two. */
static inline uint32_t dma_round_down(uint32_t bytes, uint32_t unit)
{
    return bytes & ~(unit - 1);
}

/* The bytes from the last possible start of a segment to `offset`. */
static inline uint32_t dma_beyond_alignment(const struct dgm_dma_tag *tag, uint64_t offset)
{
    return tag->alignment ? (uint32_t)(offset & (tag->alignment - 1)) : 0;
}

/* Whether memory at `bus` can be appended: a segment may start there, or the last segment ends
 * there. */
bool dgm_dma_plan_is_appendable(const struct dma_plan *plan, dgm_bus_t bus);

/* Appends `bytes` bytes at `bus`. Returns how many of them the segments could take. */
uint32_t dgm_dma_plan_append(struct dma_plan *plan, dgm_bus_t bus, uint32_t bytes);

/* --- plan_bounce.c --- */

/*
 * Appends a buffer that replaces `piece`. Returns the bytes appended, or DGM_EAGAIN: no buffer is
 * free; DGM_ERANGE: the device does not reach the buffers either.
 */
int dgm_dma_plan_append_bounced(struct dma_plan *plan, const struct dgm_dma_piece *piece,
                                enum dma_cause cause);

/* Keeps the first `bytes` bytes of the plan: removes and shortens segments, returns buffers. */
void dgm_dma_plan_truncate(struct dma_plan *plan, uint32_t bytes);

/*
 * Empties the plan and gathers the first blocks of the transfer instead, at most `bytes_max` bytes.
 * DGM_OK; DGM_EAGAIN, DGM_EFAULT, DGM_ERANGE: no buffer is held.
 */
int dgm_dma_plan_gather(struct dma_plan *plan, uint32_t bytes_max, enum dma_cause cause);

/* The bytes that one map can have: whole blocks. */
static inline uint32_t dma_map_bytes_max(const struct dgm_dma_tag *tag)
{
    const uint32_t most = 1u << 30; /* so that a length fits into an int */

    return dma_round_down(tag->transfer_bytes_max ? dma_min(most, tag->transfer_bytes_max) : most,
                          tag->block_bytes);
}

/* --- dma.c --- */

/* Empties `map` and sets its start to the first byte of `transfer` that is not yet mapped. */
void dgm_dma_map_begin(const struct dgm_dma_transfer *transfer, struct dgm_dma_segment *segments,
                       struct dgm_dma_map *map);

/* Makes a map that dgm_dma_map_begin() has begun by a plan, for any device and pieces. Returns what
 * dgm_dma_map() returns. */
int dgm_dma_map_by_plan(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                        struct dgm_dma_map *map);

/* --- direct.c --- */

/*
 * Makes the map, if it is a common one, as dgm_dma_map_by_plan() would make it. Returns its bytes;
 * 0: it is not a common one, and nothing is held. Never inlined: its loop needs all registers.
 */
__attribute__((noinline)) int dgm_dma_map_direct(struct dgm_dma *dma,
                                                 const struct dgm_dma_transfer *transfer,
                                                 struct dgm_dma_segment *segments,
                                                 struct dgm_dma_map *map);

/* Releases what a map of dgm_dma_map_direct() holds. */
void dgm_dma_unmap_direct(struct dgm_dma *dma, struct dgm_dma_map *map);

/* --- plan.c --- */

/* The position of the first byte of `transfer` that is not yet mapped. */
struct dma_walk dgm_dma_walk_to_start(const struct dgm_dma_transfer *transfer);

/*
 * The next piece of the transfer's memory: at most `bytes_max` (> 0) bytes of one of its pieces;
 * the walk steps over it. 0 bytes: the end of the pieces.
 */
struct dgm_dma_piece dgm_dma_walk_next(struct dma_walk *walk, uint32_t bytes_max);

/* DGM_OK: map->bytes > 0, whole blocks. DGM_EAGAIN, DGM_EFAULT, DGM_ERANGE: no buffer is held. */
int dgm_dma_plan_make(struct dma_plan *plan);

/* Returns the buffers that the plan holds, so that it can be made again. */
void dgm_dma_plan_drop(struct dma_plan *plan);

#endif
