/* SPDX-License-Identifier: MIT */
/*
 * dma/direct: the usual map, in one pass
 *
 * Almost every map is for a device that sees the CPU's caches and is told machine addresses as they
 * are, and all its memory lies within the device's reach. Such a map has no bounce buffer and needs
 * no cache maintenance: it is segments, and holds. So one pass over the pieces does what a plan and
 * dma.c do in four: it looks each frame up and holds it in one step, checks the device's reach, and
 * merges it with the last segment or begins the next one. The map remembers how many pieces it
 * holds, so unmapping is a second short loop.
 *
 * The pass decides nothing that plan.c decides. At the first piece that is not usual (out of reach,
 * no memory of ours, a start or an end that the tag forbids, a segment too many) it releases what
 * it holds and makes no map, and the plan is made from the beginning: what is bounced, and where
 * the map ends, is said in one place. A map that this file does make is the one that the plan would
 * have made: segments, holds and counters. test_dma_direct and the simulator compare them.
 *
 * Cost: some 50 instructions for each piece to map it, 15 to unmap it.
 */
#include <dma/internal.h>

/* Whether each address of the tag is a machine address, and a segment may have any length. */
static bool is_plain(const struct dgm_dma_tag *tag)
{
    return tag->coherent && tag->space == DGM_DMA_MACHINE && tag->window_count == 0 &&
           tag->boundary == 0 && tag->segment_bytes_max == 0 && tag->mask >= DGM_FRAME_BYTES;
}

static void release_pieces(struct dgm_p2m *p2m, const struct dgm_dma_piece *pieces, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        dgm_p2m_release_held(p2m, pieces[i].gfn);
}

/* The segments that the pass has made so far, and the rules for the next one. */
struct run {
    struct dgm_dma_segment *segments;
    uint32_t count, count_max;
    uint64_t end;       /* of the last segment, on the bus; before the first one no address */
    uint64_t alignment; /* what a start may not have, */
    uint64_t gap;       /* and neither it nor the end before it: bits of an address */
};

/* Appends `bytes` bytes at `address`. False: no segment may start there, or none is left. */
static inline bool run_append(struct run *run, uint64_t address, uint32_t bytes, uint64_t gap)
{
    if (address == run->end) {
        run->segments[run->count - 1].bytes += bytes;
    } else {
        if ((((address | run->end) & run->gap) | (address & run->alignment)) != 0 ||
            run->count == run->count_max)
            return false;
        run->segments[run->count++] = (struct dgm_dma_segment){dgm_bus(address), bytes};
        run->gap = gap; /* the first segment may start anywhere */
    }
    run->end = address + bytes;
    return true;
}

int dgm_dma_map_direct(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                       struct dgm_dma_map *map)
{
    const struct dgm_dma_tag *tag = transfer->tag;
    const struct dgm_dma_piece *first = transfer->pieces + map->first_piece;
    const struct dgm_dma_piece *end = transfer->pieces + transfer->piece_count, *piece = first;
    const uint64_t highest = tag->mask - (DGM_FRAME_BYTES - 1); /* of a frame's address */
    const uint64_t gap = tag->gap ? tag->gap - 1 : 0;
    const uint32_t bytes_max = dma_map_bytes_max(tag);
    struct dgm_p2m *p2m = dma->p2m;
    uint32_t left = bytes_max, skip = map->first_piece_offset, bytes_local = 0;
    struct run run = {.segments = map->segments,
                      .count_max = tag->segments_max,
                      .end = UINT64_MAX,
                      .alignment = tag->alignment ? tag->alignment - 1 : 0};

    if (!is_plain(tag))
        return 0;
    for (; piece != end && left; piece++) {
        const uint32_t bytes = dma_min(piece->bytes - skip, left);
        bool local = false;
        const dgm_mfn_t mfn = dgm_p2m_lookup_held(p2m, piece->gfn, &local);
        const uint64_t frame = dgm_mfn_address(mfn);

        if (dgm_mfn_is_none(mfn))
            break;
        if (frame > highest || !run_append(&run, frame + piece->offset + skip, bytes, gap)) {
            dgm_p2m_release_held(p2m, piece->gfn);
            break;
        }
        if (local)
            bytes_local += bytes;
        left -= bytes;
        skip = 0;
    }
    if (piece != end && left) { /* this piece is not usual */
        release_pieces(p2m, first, (uint32_t)(piece - first));
        return 0;
    }
    map->segment_count = run.count;
    map->bytes = bytes_max - left;
    map->direct_pieces = (uint32_t)(piece - first);
    dma->maps++;
    dma->segments += map->segment_count;
    dma->bytes_local += bytes_local;
    dma->bytes_foreign += map->bytes - bytes_local;
    return (int)map->bytes;
}

void dgm_dma_unmap_direct(struct dgm_dma *dma, struct dgm_dma_map *map)
{
    release_pieces(dma->p2m, map->pieces + map->first_piece, map->direct_pieces);
    map->direct_pieces = 0;
    map->bytes = 0;
    map->segment_count = 0;
}
