/* SPDX-License-Identifier: MIT */
/*
 * dma_one: one transfer at a time on dma_rig's machine, by a device that is limited in nothing but
 * what a test adds to `plain`
 */
#ifndef DMA_ONE_H
#define DMA_ONE_H

#include "dma_rig.h"

#define MAX 1024

static struct dgm_dma_segment segments[MAX];
static struct dgm_dma_map map;

static const struct dgm_dma_tag plain = {
    .mask = UINT64_MAX, .segments_max = MAX, .block_bytes = 512, .coherent = true};

static int start(void **state)
{
    rig_start(0, 8);
    return 0;
}

static int stop(void **state)
{
    rig_stop();
    return 0;
}

static int go(const struct dgm_dma_tag *tag, const struct dgm_dma_piece *pieces, size_t count,
              uint64_t skip, enum dgm_dma_direction direction)
{
    return dgm_dma_map(&rig.dma,
                       &(struct dgm_dma_transfer){tag, pieces, count, skip, direction, NULL},
                       segments, &map);
}

static struct dgm_dma_piece piece(dgm_gfn_t gfn, unsigned offset, unsigned bytes)
{
    return (struct dgm_dma_piece){gfn, (uint16_t)offset, (uint16_t)bytes};
}

#endif
