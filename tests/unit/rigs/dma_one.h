/* SPDX-License-Identifier: MIT */
/*
 * dma_one: one transfer at a time on dma_rig's machine, by a device whose only limits are those
 * that a test adds to dma_one_tag
 */
#ifndef DMA_ONE_H
#define DMA_ONE_H

#include "dma_rig.h"

#define SEGMENTS_MAX 1024

extern const struct dgm_dma_tag dma_one_tag;

extern struct dma_one {
    struct dgm_dma_segment segments[SEGMENTS_MAX];
    struct dgm_dma_map map;
} dma_one;

/* For cmocka: a machine with 8 bounce buffers. */
int dma_one_start(void **state);
int dma_one_stop(void **state);

/* Maps, as dgm_dma_map() does. */
int dma_one_map(const struct dgm_dma_tag *tag, const struct dgm_dma_piece *pieces, size_t count,
                uint64_t skip, enum dgm_dma_direction direction);

struct dgm_dma_piece dma_one_piece(dgm_gfn_t gfn, unsigned offset, unsigned bytes);

#endif
