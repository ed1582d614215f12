/* SPDX-License-Identifier: MIT */
/*
 * dma/direct: the common map, made in one pass
 *
 * Almost every map is for a device that sees the CPU's caches and uses machine addresses unchanged,
 * and all its memory lies within the device's reach. Such a map has no bounce buffer and needs no
 * cache maintenance: it consists of segments and held frames. So one pass over the pieces does the
 * work of the four passes of a plan and dma.c: it looks each frame up and holds it in one step,
 * checks the device's reach, and merges the piece with the last segment or begins the next one. The
 * map records how many pieces it holds, so unmapping is a second short loop.
 *
 * Whole frames for a device that takes lists of pages, which most requests of a guest consist of,
 * have loops of their own, one for frames at slots and one for local frames: no rule about starts
 * and ends can forbid one, nothing is merged, and the list is what the device is given. They hold
 * the frames only if these are foreign and the caller does not hold them.
 *
 * The pass makes none of the decisions of plan.c. At the first piece that is not common (out of
 * reach, not our memory, a start or an end that the tag forbids, one segment too many) it releases
 * what it holds and makes no map, and the plan is made from the beginning. So only plan.c decides
 * what is bounced and where a map ends. A map that this file makes equals the one that the plan
 * would make: bytes and their addresses, holds and counters. test_dma_direct and the simulator
 * compare them.
 *
 * Cost: some 13 instructions for each page of a list to map it, and none to unmap it if its frame
 * is held by the caller; 50 for any other piece, 15 to unmap it.
 */
#include <dma/internal.h>

/* Whether the tag's bus addresses equal machine addresses, and a segment may have any length. */
static bool is_plain(const struct dgm_dma_tag *tag)
{
    return tag->coherent && tag->space == DGM_DMA_MACHINE &&
           (tag->window_count | tag->boundary | tag->segment_bytes_max) == 0 &&
           tag->mask >= DGM_FRAME_BYTES;
}

static inline void release_pieces(struct dgm_p2m *p2m, const struct dgm_dma_piece *piece,
                                  uint32_t count)
{
    const struct dgm_p2m_slots slots = dgm_p2m_first_slots(p2m);

    for (const struct dgm_dma_piece *end = piece + count; piece != end; piece++)
        if (!dgm_p2m_slots_release(&slots, piece->gfn))
            dgm_p2m_release(p2m, piece->gfn);
}

/* The highest address of a frame, the last frame of all addresses excluded: that is the address of
 * DGM_MFN_NONE. */
static inline uint64_t highest_frame(const struct dgm_dma_tag *tag)
{
    const uint64_t last = UINT64_MAX - DGM_FRAME_BYTES;

    return (tag->mask < last ? tag->mask : last) - (DGM_FRAME_BYTES - 1);
}

static inline int finish_map(struct dgm_dma *dma, const struct dgm_dma_map *map,
                             uint64_t bytes_local)
{
    dma->maps++;
    dma->bytes_local += bytes_local;
    dma->bytes_foreign += map->bytes - bytes_local;
    return (int)map->bytes;
}

/* --- pieces of any size --- */

/* The segments that the pass has made, and the rules for the next one. */
struct run {
    struct dgm_dma_segment *segments;
    uint32_t count, count_max;
    uint64_t end;       /* of the last segment, on the bus; before the first one no address */
    uint64_t alignment; /* address bits that must be 0 at a start, */
    uint64_t gap;       /* and those that must be 0 at a start and at the end before it */
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

/* Never inlined, so that the loop for whole frames has all registers. */
static __attribute__((noinline)) int
map_pieces(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer, struct dgm_dma_map *map)
{
    const struct dgm_dma_tag *tag = transfer->tag;
    const struct dgm_dma_piece *first = transfer->pieces + map->first_piece;
    const struct dgm_dma_piece *end = transfer->pieces + transfer->piece_count, *piece = first;
    const uint64_t highest = highest_frame(tag), gap = tag->gap ? tag->gap - 1 : 0;
    const uint32_t bytes_max = dma_map_bytes_max(tag);
    struct dgm_p2m *p2m = dma->p2m;
    uint32_t left = bytes_max, skip = map->first_piece_offset, held = 0;
    uint64_t bytes_local = 0;
    struct run run = {.segments = map->segments,
                      .count_max = tag->segments_max,
                      .end = UINT64_MAX,
                      .alignment = tag->alignment ? tag->alignment - 1 : 0};

    for (; piece != end && left; piece++) {
        const uint32_t bytes = dma_min(piece->bytes - skip, left);
        const dgm_mfn_t mfn = dgm_p2m_lookup_held(p2m, piece->gfn, bytes, &bytes_local);
        const uint64_t frame = dgm_mfn_address(mfn);

        if (dgm_mfn_is_none(mfn))
            break;
        held++;
        if (frame > highest || !run_append(&run, frame + piece->offset + skip, bytes, gap))
            break;
        left -= bytes;
        skip = 0;
    }
    if (piece != end && left) { /* this piece is not a common one */
        release_pieces(p2m, first, held);
        return 0;
    }
    map->segment_count = run.count;
    map->bytes = bytes_max - left;
    map->pieces_held = held;
    map->direct = true;
    return finish_map(dma, map, bytes_local);
}

/* --- whole frames --- */

/* Ends a map whose pages are listed. Frames start and end on every gap and alignment, so no rule is
 * left to be checked. */
static inline int finish_pages(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                               struct dgm_dma_segment *segments, struct dgm_dma_map *map,
                               bool local)
{
    const uint32_t count = (uint32_t)transfer->piece_count;

    *map = (struct dgm_dma_map){.segments = segments,
                                .page_count = count,
                                .bytes = count * DGM_FRAME_BYTES,
                                .pieces = transfer->pieces,
                                .pieces_held = transfer->held || local ? 0 : count,
                                .buffer_first = DGM_BOUNCE_NONE,
                                .direction = (uint8_t)transfer->direction,
                                .coherent = true,
                                .direct = true,
                                .held_by_caller = transfer->held};
    if (transfer->held)
        dgm_p2m_begin_held_by_caller(dma->p2m);
    return finish_map(dma, map, local ? map->bytes : 0);
}

/*
 * Makes the map if every piece, all of which are whole frames, is at a slot of the window's first
 * part, and all of them fit into one map. Returns the bytes; 0: some piece is at another place, and
 * nothing is held.
 */
static inline int map_pages(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                            struct dgm_dma_segment *segments, struct dgm_dma_map *map)
{
    const struct dgm_p2m_slots slots = dgm_p2m_first_slots(dma->p2m);
    const uint64_t highest = highest_frame(transfer->tag);
    const struct dgm_dma_piece *piece = transfer->pieces, *end = piece + transfer->piece_count;

    for (dgm_bus_t *page = transfer->pages; piece != end; piece++, page++) {
        const uint64_t address = dgm_mfn_address(dgm_p2m_slots_lookup(&slots, piece->gfn));

        if (address > highest)
            return 0;
        *page = dgm_bus(address);
    }
    if (!transfer->held)
        for (piece = transfer->pieces; piece != end; piece++)
            dgm_p2m_slots_hold(&slots, piece->gfn);
    return finish_pages(dma, transfer, segments, map, false);
}

/* The same for local frames, as the buffers of mode copy: they need no hold. Never inlined, as
 * map_pieces(). */
static __attribute__((noinline)) int map_local_pages(struct dgm_dma *dma,
                                                     const struct dgm_dma_transfer *transfer,
                                                     struct dgm_dma_segment *segments,
                                                     struct dgm_dma_map *map)
{
    const uint64_t highest = highest_frame(transfer->tag);
    const struct dgm_dma_piece *piece = transfer->pieces, *end = piece + transfer->piece_count;

    for (dgm_bus_t *page = transfer->pages; piece != end; piece++, page++) {
        const uint64_t address = dgm_mfn_address(dgm_p2m_lookup_local(dma->p2m, piece->gfn));

        if (address > highest)
            return 0;
        *page = dgm_bus(address);
    }
    return finish_pages(dma, transfer, segments, map, true);
}

int dgm_dma_map_direct(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                       struct dgm_dma_segment *segments, struct dgm_dma_map *map)
{
    const struct dgm_dma_tag *tag = transfer->tag;
    int bytes;

    if (!is_plain(tag))
        return 0;
    if (transfer->pages && transfer->skip_bytes == 0 &&
        transfer->piece_count <= tag->segments_max &&
        transfer->piece_count <= dma_map_bytes_max(tag) / DGM_FRAME_BYTES) {
        bytes = map_pages(dma, transfer, segments, map);
        if (!bytes)
            bytes = map_local_pages(dma, transfer, segments, map);
        if (bytes)
            return bytes;
    }
    dgm_dma_map_begin(transfer, segments, map);
    return map_pieces(dma, transfer, map);
}

void dgm_dma_unmap_direct(struct dgm_dma *dma, struct dgm_dma_map *map)
{
    if (map->pieces_held)
        release_pieces(dma->p2m, map->pieces + map->first_piece, map->pieces_held);
    if (map->held_by_caller)
        dgm_p2m_end_held_by_caller(dma->p2m);
    map->bytes = 0;
    map->segment_count = map->page_count = 0;
}
