/* SPDX-License-Identifier: MIT */
/*
 * dma_internal: what dma.c (the calls) and dma_plan.c (the algorithm) share
 *
 * A plan is a map being made: it takes bounce buffers and writes segments, and can be cut back. It
 * touches no memory that is meant, holds no slot and counts nothing; dma.c does that once the plan
 * is final.
 */
#ifndef CORE_DMA_INTERNAL_H
#define CORE_DMA_INTERNAL_H

#include <dragoman/dma.h>

/* Why a part is bounced; names the counter. */
enum dma_cause { DMA_CAUSE_REACH, DMA_CAUSE_GAP, DMA_CAUSE_LINE };

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
    struct dma_walk start;   /* of the transfer */
    uint16_t bounced_last;   /* end of the chain map->bounced, which is in order of bytes */
    bool device_writes;
    bool gap_broken; /* the gap rule ended it early */
};

/*
 * The next stretch of memory that is meant, at most `bytes_max` (> 0) bytes of one piece; steps
 * over it. 0 bytes: the pieces are at their end.
 */
struct dgm_dma_piece dma_walk_next(struct dma_walk *walk, uint32_t bytes_max);

/* The only place where an mfn becomes a bus address. False: beyond the device's reach. */
bool dma_bus(const struct dgm_dma_tag *tag, dgm_mfn_t mfn, uint32_t offset, uint32_t bytes,
             dgm_bus_t *bus);

/* DGM_OK: map->bytes > 0, whole blocks. DGM_EAGAIN, DGM_EFAULT, DGM_ERANGE: no buffer is held. */
int dma_plan_make(struct dma_plan *plan);

#endif
