/* SPDX-License-Identifier: MIT */
/*
 * dma/plan: which bytes of a transfer a map covers, and how the device reaches each of them
 *
 * A plan is made greedily, from the first byte of the transfer on. Each piece is translated, and
 * its memory is appended to the segments (plan_segments.c), or a bounce buffer in its place
 * (plan_bounce.c). The plan ends with the transfer, or where a piece cannot be appended: the device
 * cannot express it after the segment before it, or no buffer is free.
 *
 * A plan that ended early is truncated to whole blocks. This breaks no rule of the tag: a
 * truncation removes bytes from the end only, and the last segment may end anywhere. If less than a
 * block is left, the first blocks are gathered in a bounce buffer instead. For example with blocks
 * of 4096 bytes and four pieces of 1024 bytes that all start at offset 1024 of their frames: the
 * second piece breaks the gap rule after 1024 bytes, so all four pieces are gathered.
 *
 * Typical: 1 to 32 pieces, at most 256, none bounced. Linear in pieces; a truncation adds one pass
 * over segments and buffers.
 */
#include <dma/internal.h>

#include <dma/cachemaint.h>
#include <dragoman/base/check.h>

struct dma_walk dgm_dma_walk_to_start(const struct dgm_dma_transfer *transfer)
{
    struct dma_walk walk = {.pieces = transfer->pieces, .piece_count = transfer->piece_count};
    uint64_t skip = transfer->skip_bytes;

    while (walk.piece < walk.piece_count && skip >= walk.pieces[walk.piece].bytes)
        skip -= walk.pieces[walk.piece++].bytes;
    dgm_assert(walk.piece < walk.piece_count); /* some bytes are not yet mapped */
    walk.piece_offset = (uint32_t)skip;
    return walk;
}

struct dgm_dma_piece dgm_dma_walk_next(struct dma_walk *walk, uint32_t bytes_max)
{
    const struct dgm_dma_piece *whole = &walk->pieces[walk->piece];
    struct dgm_dma_piece piece = {0};

    if (walk->piece == walk->piece_count)
        return piece;
    piece.gfn = whole->gfn;
    piece.offset = (uint16_t)(whole->offset + walk->piece_offset);
    piece.bytes = (uint16_t)dma_min(whole->bytes - walk->piece_offset, bytes_max);
    walk->piece_offset += piece.bytes;
    if (walk->piece_offset == whole->bytes) {
        walk->piece++;
        walk->piece_offset = 0;
    }
    return piece;
}

static bool piece_shares_line(const struct dgm_dma_piece *piece)
{
    return dgm_cachemaint_shares_line(
        (struct dgm_span){.offset = piece->offset, .bytes = piece->bytes});
}

/* Appends `piece`, bounced if it must be. Returns the bytes appended, or an error. */
static int plan_append_piece(struct dma_plan *plan, const struct dgm_dma_piece *piece)
{
    const struct dgm_dma_tag *tag = plan->tag;
    uint64_t address;
    dgm_bus_t bus;

    if (!dgm_dma_address(plan->dma->p2m, tag, piece->gfn, &address))
        return DGM_EFAULT;
    if (!tag->coherent && plan->device_writes && piece_shares_line(piece))
        return dgm_dma_plan_append_bounced(plan, piece, DMA_CAUSE_LINE);
    if (!dgm_dma_bus(tag,
                     (struct dma_bytes){.address = address + piece->offset, .count = piece->bytes},
                     &bus))
        return dgm_dma_plan_append_bounced(plan, piece, DMA_CAUSE_REACH);
    if (plan->bounce_foreign && !tag->coherent && dgm_p2m_is_foreign(plan->dma->p2m, piece->gfn))
        return dgm_dma_plan_append_bounced(plan, piece, DMA_CAUSE_FLUSH);
    if (!dgm_dma_plan_is_appendable(plan, bus))
        return dgm_dma_plan_append_bounced(plan, piece, DMA_CAUSE_GAP);
    return (int)dgm_dma_plan_append(plan, bus, piece->bytes);
}

/*
 * Appends pieces until the plan has `bytes_max` bytes, the pieces end, or the device cannot express
 * more. DGM_OK, or the error of the piece that could not be appended.
 */
static int plan_append_pieces(struct dma_plan *plan, uint32_t bytes_max)
{
    struct dma_walk walk = plan->start;

    while (plan->map->bytes < bytes_max) {
        const struct dgm_dma_piece piece = dgm_dma_walk_next(&walk, bytes_max - plan->map->bytes);
        int done;

        if (piece.bytes == 0)
            break;
        done = plan_append_piece(plan, &piece);
        if (done < 0)
            return done;
        if (done < piece.bytes) /* the device cannot express more */
            break;
    }
    return DGM_OK;
}

/*
 * Whether this map, truncated to `bytes` bytes, and the next one would write into the same cache
 * line, for a device that is not coherent. Only pieces at odd offsets cause this: disk blocks are
 * whole lines.
 */
static bool truncation_splits_line(const struct dma_plan *plan, uint32_t bytes)
{
    struct dma_walk walk = plan->start;
    struct dgm_dma_piece piece = {0};

    if (plan->tag->coherent || !plan->device_writes)
        return false;
    for (uint32_t at = 0; at < bytes; at += piece.bytes)
        piece = dgm_dma_walk_next(&walk, bytes - at);
    return walk.piece_offset && piece_shares_line(&piece);
}

/* The bytes of the plan that can be kept: whole blocks, without a shared cache line at the end. */
static uint32_t plan_bytes_usable(const struct dma_plan *plan)
{
    uint32_t bytes = dma_round_down(plan->map->bytes, plan->tag->block_bytes);

    while (bytes && truncation_splits_line(plan, bytes))
        bytes -= plan->tag->block_bytes;
    return bytes;
}

void dgm_dma_plan_drop(struct dma_plan *plan)
{
    dgm_dma_plan_truncate(plan, 0);
    plan->gap_broken = false;
}

int dgm_dma_plan_make(struct dma_plan *plan)
{
    const uint32_t bytes_max = dma_map_bytes_max(plan->tag);
    uint32_t bytes;
    int status;

    plan->areas = dgm_dma_areas(plan->dma, plan->tag);
    status = plan_append_pieces(plan, bytes_max);
    if (status == DGM_EFAULT || status == DGM_ERANGE) {
        dgm_dma_plan_truncate(plan, 0);
        return status;
    }
    bytes = plan_bytes_usable(plan);
    if (bytes == 0)
        return dgm_dma_plan_gather(plan, bytes_max,
                                   status == DGM_EAGAIN ? DMA_CAUSE_REACH : DMA_CAUSE_GAP);
    /* Always done if there are buffers: the last may replace bytes that could not be appended. */
    if (bytes < plan->map->bytes || plan->buffer_last != DGM_BOUNCE_NONE)
        dgm_dma_plan_truncate(plan, bytes);
    return DGM_OK;
}
