/* SPDX-License-Identifier: MIT */
/*
 * dma: mapping and unmapping of transfers. See dragoman/dma/dma.h; the algorithm is in plan.c,
 * addresses are in bus.c.
 *
 * direct.c makes the common map. Any other map is made in this order:
 *
 *   1. Make the plan: segments and bounce buffers. It may fail, with nothing held.
 *   2. If Xen maintains the caches of foreign frames, ask it to do so. If it refuses, make the plan
 *      again, with these frames bounced.
 *   3. From here on no step can fail: hold every frame, fill the buffers, maintain the other
 *      caches, count the bytes.
 *
 * Unmapping and syncing go over the same parts. The records of the map's buffers say which bytes
 * are bounced, so nothing is concluded from addresses.
 *
 * A frame is held once for each part that lies in it, bounced or not: it must stay mapped for the
 * device and for the copy at the end.
 */
#include <dma/internal.h>

#include <dragoman/base/check.h>

#include <string.h>

#define FLUSH_PAUSE_MAPS 64u

/* --- the parts of a map, in order --- */

struct part {
    struct dgm_dma_piece piece; /* its memory */
    uint16_t buffer;            /* in place of that memory, or DGM_BOUNCE_NONE */
    uint16_t buffer_offset;
};

struct parts {
    const struct dgm_dma *dma;
    const struct dgm_dma_map *map;
    struct dma_walk walk;
    uint32_t map_offset;  /* of the next part */
    uint16_t buffer_next; /* the first buffer whose bytes do not end before map_offset */
};

static struct parts parts_of(const struct dgm_dma *dma, const struct dgm_dma_map *map)
{
    /* The walk ends after map->bytes, so it never reaches the end of the pieces. */
    return (struct parts){.dma = dma,
                          .map = map,
                          .buffer_next = map->buffer_first,
                          .walk = {.pieces = map->pieces,
                                   .piece_count = SIZE_MAX,
                                   .piece = map->first_piece,
                                   .piece_offset = map->first_piece_offset}};
}

/* Stores the next part in `part`. False: there is none. */
static bool part_next(struct parts *parts, struct part *part)
{
    const struct dgm_bounce_buffer *buffer = NULL;
    uint32_t end = parts->map->bytes;
    bool is_bounced = false;

    if (parts->map_offset == end)
        return false;
    if (parts->buffer_next != DGM_BOUNCE_NONE) {
        buffer = &parts->dma->bounce->buffers[parts->buffer_next];
        end = buffer->bounced.map_offset;
        is_bounced = end <= parts->map_offset;
        if (is_bounced)
            end += buffer->bounced.bytes;
    }
    part->piece = dgm_dma_walk_next(&parts->walk, end - parts->map_offset);
    part->buffer = DGM_BOUNCE_NONE;
    part->buffer_offset = 0;
    if (is_bounced) {
        part->buffer = parts->buffer_next;
        part->buffer_offset =
            (uint16_t)(buffer->bounced.offset + parts->map_offset - buffer->bounced.map_offset);
        if (parts->map_offset + part->piece.bytes == end)
            parts->buffer_next = buffer->next;
    }
    parts->map_offset += part->piece.bytes;
    return true;
}

static void *part_va(const struct part *part)
{
    return (char *)dgm_env_va(part->piece.gfn) + part->piece.offset;
}

static dgm_gfn_t buffer_gfn(const struct dgm_dma *dma, const struct part *part)
{
    return dma->bounce->buffers[part->buffer].gfn;
}

static void *part_buffer_va(const struct dgm_dma *dma, const struct part *part)
{
    return (char *)dgm_env_va(buffer_gfn(dma, part)) + part->buffer_offset;
}

/* --- caches --- */

/* Whether Xen maintains the caches for the part: the device itself accesses a foreign frame. */
static bool is_flushed_by_xen(const struct dgm_dma *dma, const struct dgm_dma_map *map,
                              const struct part *part)
{
    return dma->flush && !map->coherent && part->buffer == DGM_BOUNCE_NONE &&
           dgm_p2m_is_foreign(dma->p2m, part->piece.gfn);
}

static void part_flush(struct dgm_dma *dma, const struct dgm_dma_map *map, const struct part *part)
{
    const struct dgm_span span = {.offset = part->piece.offset, .bytes = part->piece.bytes};

    dgm_cacheflush_add(dma->flush, dgm_p2m_lookup(dma->p2m, part->piece.gfn), span,
                       map->direction == DGM_DMA_FROM_DEVICE);
}

typedef void maintain_fn(dgm_gfn_t gfn, struct dgm_span span, bool device_writes);

/* Maintains what the device itself accesses: the buffer, if there is one. */
static void part_maintain(const struct dgm_dma *dma, const struct dgm_dma_map *map,
                          const struct part *part, maintain_fn *maintain)
{
    const bool bounced = part->buffer != DGM_BOUNCE_NONE;
    const dgm_gfn_t gfn = bounced ? buffer_gfn(dma, part) : part->piece.gfn;
    const struct dgm_span span = {.offset = bounced ? part->buffer_offset : part->piece.offset,
                                  .bytes = part->piece.bytes};

    if (!map->coherent && !is_flushed_by_xen(dma, map, part))
        maintain(gfn, span, map->direction == DGM_DMA_FROM_DEVICE);
}

/* Before the device accesses the part. A buffer is filled for FROM_DEVICE too: what the device does
 * not write must come back as it was. */
static void part_to_device(const struct dgm_dma *dma, const struct dgm_dma_map *map,
                           const struct part *part)
{
    if (part->buffer != DGM_BOUNCE_NONE)
        memcpy(part_buffer_va(dma, part), part_va(part), part->piece.bytes);
    part_maintain(dma, map, part, dgm_cachemaint_before);
}

/* After the device has accessed the part. Maintenance by Xen is only added to its batch. */
static void part_to_cpu(struct dgm_dma *dma, const struct dgm_dma_map *map, const struct part *part,
                        bool copy_back)
{
    part_maintain(dma, map, part, dgm_cachemaint_after);
    if (map->direction != DGM_DMA_FROM_DEVICE)
        return;
    if (is_flushed_by_xen(dma, map, part))
        part_flush(dma, map, part);
    if (copy_back && part->buffer != DGM_BOUNCE_NONE)
        memcpy(part_va(part), part_buffer_va(dma, part), part->piece.bytes);
}

/* Commits Xen's batch. DGM_OK, or DGM_EIO: Xen refused some op. */
static int flush_commit(struct dgm_dma *dma)
{
    return dma->flush && dgm_cacheflush_commit(dma->flush) ? DGM_EIO : DGM_OK;
}

/* Asks Xen to maintain the caches of all foreign frames that the device will access. */
static int flush_before(struct dgm_dma *dma, const struct dgm_dma_map *map)
{
    struct parts parts = parts_of(dma, map);
    struct part part;

    if (!dma->flush || map->coherent)
        return DGM_OK;
    while (part_next(&parts, &part))
        if (is_flushed_by_xen(dma, map, &part))
            part_flush(dma, map, &part);
    return flush_commit(dma);
}

static void part_count(struct dgm_dma *dma, struct dgm_dma_map *map, const struct part *part)
{
    const uint32_t bytes = part->piece.bytes;

    if (part->buffer == DGM_BOUNCE_NONE) {
        if (dgm_p2m_is_foreign(dma->p2m, part->piece.gfn))
            dma->bytes_foreign += bytes;
        else
            dma->bytes_local += bytes;
        return;
    }
    map->bytes_bounced += bytes;
    switch (dma->bounce->buffers[part->buffer].bounced.cause) {
    case DMA_CAUSE_REACH:
        dma->bytes_bounced_reach += bytes;
        break;
    case DMA_CAUSE_GAP:
        dma->bytes_bounced_gap += bytes;
        break;
    case DMA_CAUSE_FLUSH:
        dma->bytes_bounced_flush += bytes;
        break;
    default:
        dma->bytes_bounced_line += bytes;
        break;
    }
}

/* --- the calls --- */

/*
 * Makes a plan for which Xen refuses no cache maintenance.
 *
 * A plan that Xen refused returns its buffers, which wakes waiters, and the next plan may then have
 * to wait for more buffers. So after a refusal the next maps are planned without asking Xen:
 * otherwise two transfers could wake each other without end.
 */
static int plan_and_flush(struct dma_plan *plan)
{
    struct dgm_dma *dma = plan->dma;
    int status;

    plan->bounce_foreign = dma->flush && (dma->flush->absent || dma->flush_paused_maps);
    status = dgm_dma_plan_make(plan);
    if (status == DGM_OK && !plan->bounce_foreign && flush_before(dma, plan->map) != DGM_OK) {
        dma->flush_paused_maps = FLUSH_PAUSE_MAPS;
        dgm_dma_plan_drop(plan);
        plan->bounce_foreign = true;
        status = dgm_dma_plan_make(plan);
    }
    if (status == DGM_OK && plan->bounce_foreign && dma->flush_paused_maps)
        dma->flush_paused_maps--;
    if (status == DGM_EAGAIN)
        dgm_bounce_wait(dma->bounce, plan->device, plan->areas);
    return status;
}

void dgm_dma_map_begin(const struct dgm_dma_transfer *transfer, struct dgm_dma_segment *segments,
                       struct dgm_dma_map *map)
{
    const struct dma_walk start =
        transfer->skip_bytes ? dgm_dma_walk_to_start(transfer) : (struct dma_walk){0};

    *map = (struct dgm_dma_map){.segments = segments,
                                .pieces = transfer->pieces,
                                .first_piece = start.piece,
                                .first_piece_offset = start.piece_offset,
                                .buffer_first = DGM_BOUNCE_NONE,
                                .direction = (uint8_t)transfer->direction,
                                .coherent = transfer->tag->coherent};
}

int dgm_dma_map_by_plan(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                        struct dgm_dma_map *map)
{
    struct dma_plan plan = {.dma = dma,
                            .tag = transfer->tag,
                            .map = map,
                            .device = transfer->device,
                            .start = {.pieces = transfer->pieces,
                                      .piece_count = transfer->piece_count,
                                      .piece = map->first_piece,
                                      .piece_offset = map->first_piece_offset},
                            .buffer_last = DGM_BOUNCE_NONE,
                            .buffer_saved = DGM_BOUNCE_NONE,
                            .device_writes = transfer->direction == DGM_DMA_FROM_DEVICE};
    struct parts parts;
    struct part part;
    int status;

    dgm_dma_tag_check(transfer->tag);
    status = plan_and_flush(&plan);
    if (status != DGM_OK)
        return status;

    dma->maps++;
    dma->cuts += plan.gap_broken;
    parts = parts_of(dma, map);
    while (part_next(&parts, &part)) {
        dgm_p2m_hold(dma->p2m, part.piece.gfn);
        part_to_device(dma, map, &part);
        part_count(dma, map, &part);
    }
    return (int)map->bytes;
}

int dgm_dma_map(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                struct dgm_dma_segment *segments, struct dgm_dma_map *map)
{
    const int bytes = dgm_dma_map_direct(dma, transfer, segments, map);

    if (bytes)
        return bytes;
    dgm_dma_map_begin(transfer, segments, map);
    return dgm_dma_map_by_plan(dma, transfer, map);
}

/* Never inlined: its records would be on the stack of each common unmap. */
static __attribute__((noinline)) int unmap_parts(struct dgm_dma *dma, struct dgm_dma_map *map,
                                                 bool copy_back)
{
    struct parts parts = parts_of(dma, map);
    struct part part;
    int status;

    while (part_next(&parts, &part)) {
        part_to_cpu(dma, map, &part, copy_back);
        dgm_p2m_release(dma->p2m, part.piece.gfn);
    }
    status = flush_commit(dma);
    while (map->buffer_first != DGM_BOUNCE_NONE) {
        const uint16_t buffer = map->buffer_first;

        map->buffer_first = dma->bounce->buffers[buffer].next;
        dgm_bounce_give(dma->bounce, buffer);
    }
    map->bytes = 0;
    map->segment_count = 0;
    return status;
}

int dgm_dma_unmap(struct dgm_dma *dma, struct dgm_dma_map *map, bool copy_back)
{
    dgm_assert(map->bytes > 0); /* mapped, and not yet unmapped */
    if (!map->direct)
        return unmap_parts(dma, map, copy_back);
    dgm_dma_unmap_direct(dma, map);
    return DGM_OK;
}

/* --- sync: bytes of a live map --- */

/* Stores the next part that has bytes in `span` of the map in `part`, reduced to those bytes. */
static bool part_next_within(struct parts *parts, struct dgm_span span, struct part *part)
{
    const uint32_t begin = span.offset, end = span.offset + span.bytes;

    while (begin < end && parts->map_offset < end) {
        if (!part_next(parts, part))
            break;
        const uint32_t part_end = parts->map_offset;
        const uint32_t part_begin = part_end - part->piece.bytes;
        const uint32_t before = part_begin < begin ? begin - part_begin : 0;
        const uint32_t after = part_end > end ? part_end - end : 0;

        if (part_end <= begin)
            continue;
        part->piece.offset = (uint16_t)(part->piece.offset + before);
        part->piece.bytes = (uint16_t)(part->piece.bytes - before - after);
        part->buffer_offset = (uint16_t)(part->buffer_offset + before);
        return true;
    }
    return false;
}

static struct parts parts_to_sync(struct dgm_dma *dma, const struct dgm_dma_map *map,
                                  struct dgm_span span)
{
    dgm_assert(span.offset <= map->bytes && span.bytes <= map->bytes - span.offset);
    dma->syncs++;
    return parts_of(dma, map);
}

int dgm_dma_sync_for_cpu(struct dgm_dma *dma, const struct dgm_dma_map *map, struct dgm_span span)
{
    struct parts parts = parts_to_sync(dma, map, span);
    struct part part;

    while (part_next_within(&parts, span, &part))
        part_to_cpu(dma, map, &part, true);
    return flush_commit(dma);
}

int dgm_dma_sync_for_device(struct dgm_dma *dma, const struct dgm_dma_map *map,
                            struct dgm_span span)
{
    struct parts parts = parts_to_sync(dma, map, span);
    struct part part;

    while (part_next_within(&parts, span, &part)) {
        if (is_flushed_by_xen(dma, map, &part))
            part_flush(dma, map, &part);
        part_to_device(dma, map, &part);
    }
    return flush_commit(dma);
}
