/* SPDX-License-Identifier: MIT */
#include "dma_one.h"

const struct dgm_dma_tag dma_one_tag = {
    .mask = UINT64_MAX, .segments_max = SEGMENTS_MAX, .block_bytes = 512, .coherent = true};

struct dma_one dma_one;

int dma_one_start(void **state)
{
    dma_rig_start(0, 8);
    return 0;
}

int dma_one_stop(void **state)
{
    dma_rig_stop();
    return 0;
}

int dma_one_map(const struct dgm_dma_tag *tag, const struct dgm_dma_piece *pieces, size_t count,
                uint64_t skip, enum dgm_dma_direction direction)
{
    const struct dgm_dma_transfer transfer = {.tag = tag,
                                              .pieces = pieces,
                                              .piece_count = count,
                                              .skip_bytes = skip,
                                              .direction = direction};

    return dgm_dma_map(&dma_rig.dma, &transfer, dma_one.segments, &dma_one.map);
}

struct dgm_dma_piece dma_one_piece(dgm_gfn_t gfn, unsigned offset, unsigned bytes)
{
    return (struct dgm_dma_piece){gfn, (uint16_t)offset, (uint16_t)bytes};
}
