/* SPDX-License-Identifier: MIT */
/*
 * dma/internal: what the files of dma/ share
 *
 * dma.c has the calls, plan.c the algorithm, bus.c the addresses, bounce.c the pool. A plan is a
 * map being made: it takes bounce buffers and writes segments, and can be truncated. It touches
 * none of the memory that the pieces name, holds no frame and counts nothing; dma.c does that once
 * the plan is final.
 */
#ifndef DMA_INTERNAL_H
#define DMA_INTERNAL_H

#include <dragoman/dma/dma.h>

/* Why a part is bounced; names the counter. */
enum dma_cause { DMA_CAUSE_REACH, DMA_CAUSE_GAP, DMA_CAUSE_LINE, DMA_CAUSE_FLUSH };

/* The bytes of a map that a buffer stands for: [map_offset, map_offset + bytes). */
struct dma_bounced {
    uint32_t map_offset;
    uint16_t offset; /* in the buffer */
    uint16_t bytes;
    uint8_t cause; /* enum dma_cause */
};

struct dgm_bounce_buffer {
    dgm_gfn_t gfn;
    struct dgm_bounce_device *owner; /* NULL: the buffer is free */
    uint16_t next;                   /* of the free list, or of the buffers of one map */
    struct dma_bounced bounced;      /* while it is part of a map */
};

/* A position in the bytes of a transfer: `piece_offset` bytes into pieces[piece]. */
struct dma_walk {
    const struct dgm_dma_piece *pieces;
    size_t piece_count;
    uint32_t piece, piece_offset;
};

struct dma_plan {
    struct dgm_dma *dma;
    const struct dgm_dma_tag *tag;
    struct dgm_dma_map
        *map; /* segments, segment_count, bytes, buffer_first grow as the plan does */
    struct dgm_bounce_device *device;
    struct dma_walk start; /* of the transfer */
    unsigned areas;        /* of the bounce pool that the device reaches, a bit for each */
    uint16_t buffer_last;  /* the last of the map's buffers, which are in order of bytes */
    uint16_t buffer_saved; /* taken from the truncated plan, for the gathering */
    bool device_writes;
    bool bounce_foreign; /* Xen does not maintain the caches for foreign frames */
    bool gap_broken;     /* the gap rule, or the alignment, ended the map early */
};

/* --- bus.c --- */

/* Asserts that the device can express a block: a tag is the driver's. */
void dgm_dma_tag_check(const struct dgm_dma_tag *tag);

/* The address of the first byte of `gfn` in the tag's space, before its windows. False: no memory
 * of ours (an empty slot). */
bool dgm_dma_address(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                     uint64_t *address);

/* The only place where such an address becomes a bus address. False: the device does not reach all
 * of the `bytes` bytes. */
bool dgm_dma_bus(const struct dgm_dma_tag *tag, uint64_t address, uint64_t bytes, dgm_bus_t *bus);

/* The areas of the bounce pool that the device reaches completely, a bit for each. */
unsigned dgm_dma_areas(const struct dgm_dma *dma, const struct dgm_dma_tag *tag);

/* --- plan.c --- */

/*
 * The next piece of the transfer's memory: at most `bytes_max` (> 0) bytes of one of its pieces;
 * the walk steps over it. 0 bytes: the end of the pieces.
 */
struct dgm_dma_piece dgm_dma_walk_next(struct dma_walk *walk, uint32_t bytes_max);

/* DGM_OK: map->bytes > 0, whole blocks. DGM_EAGAIN, DGM_EFAULT, DGM_ERANGE: no buffer is held. */
int dgm_dma_plan_make(struct dma_plan *plan);

/* Returns the buffers that the plan holds, so that it can be made anew. */
void dgm_dma_plan_drop(struct dma_plan *plan);

#endif
