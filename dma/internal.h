/* SPDX-License-Identifier: MIT */
/*
 * dma/internal: what dma.c (the calls), bus.c (addresses) and plan.c (the algorithm) share
 *
 * A plan is a map being made: it takes bounce buffers and writes segments, and can be cut back. It
 * touches no memory that is meant, holds no slot and counts nothing; dma.c does that once the plan
 * is final.
 */
#ifndef DMA_INTERNAL_H
#define DMA_INTERNAL_H

#include <dragoman/dma/dma.h>

/* Why a part is bounced; names the counter. */
enum dma_cause { DMA_CAUSE_REACH, DMA_CAUSE_GAP, DMA_CAUSE_LINE, DMA_CAUSE_FLUSH };

/* A place in the list of pieces. */
struct dma_walk {
    const struct dgm_dma_piece *pieces;
    size_t count;
    uint32_t piece, skip;
};

struct dma_plan {
    struct dgm_dma *dma;
    const struct dgm_dma_tag *tag;
    struct dgm_dma_map *map; /* segments, segment_count, bytes, bounced grow as the plan does */
    struct dgm_bounce_share *share;
    struct dma_walk start; /* of the transfer */
    unsigned areas;        /* of the bounce pool, which the device reaches */
    uint16_t bounced_last; /* end of the chain map->bounced, which is in order of bytes */
    uint16_t spare;        /* a buffer that was taken in vain, for the gathering */
    bool device_writes;
    bool flush_refused; /* Xen maintains no caches for the foreign frames: bounce them */
    bool gap_broken;    /* the gap rule, or the alignment, ended it early */
};

/* --- bus.c --- */

/* Asserts that a tag can express a block: else it is a driver's mistake. */
void dgm_dma_tag_check(const struct dgm_dma_tag *tag);

/* The address of `gfn`'s first byte that the device's windows start from. False: no memory of ours,
 * an empty slot. */
bool dgm_dma_address(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                     uint64_t *address);

/* The only place where such an address becomes a bus address. False: beyond the device's reach. */
bool dgm_dma_bus(const struct dgm_dma_tag *tag, uint64_t address, uint64_t bytes, dgm_bus_t *bus);

/* The areas of the bounce pool that the device reaches all of, a bit each. */
unsigned dgm_dma_areas(const struct dgm_dma *dma, const struct dgm_dma_tag *tag);

/* --- plan.c --- */

/*
 * The next stretch of memory that is meant, at most `bytes_max` (> 0) bytes of one piece; steps
 * over it. 0 bytes: the pieces are at their end.
 */
struct dgm_dma_piece dgm_dma_walk_next(struct dma_walk *walk, uint32_t bytes_max);

/* DGM_OK: map->bytes > 0, whole blocks. DGM_EAGAIN, DGM_EFAULT, DGM_ERANGE: no buffer is held. */
int dgm_dma_plan_make(struct dma_plan *plan);

/* Gives back everything that the plan holds, to make it anew. */
void dgm_dma_plan_drop(struct dma_plan *plan);

#endif
