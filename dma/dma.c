/* SPDX-License-Identifier: MIT */
/*
 * dma: mapping and unmapping of transfers. See dragoman/dma/dma.h; the algorithm is in plan.c,
 * addresses are in bus.c.
 *
 * Mapping: plan (segments and buffers, may fail with nothing held), have Xen maintain the caches
 * for foreign frames if it is to do that (a refusal: plan again, those bounced), then hold every
 * frame, fill the buffers, maintain caches, count. Unmapping and syncing go over the same
 * stretches: the map's records say which bytes were bounced, so nothing is concluded from
 * addresses.
 *
 * A frame is held once for each piece that the transfer touches, bounced or not: the device must
 * not lose a frame under its hands, nor the copying back at the end.
 */
#include "internal.h"

#include <dragoman/base/check.h>

#include <string.h>

#define FLUSH_WARY 64u /* maps */

/* Where the bytes that remain of `transfer` start. */
static struct dma_walk walk_to(const struct dgm_dma_transfer *transfer)
{
    struct dma_walk walk = {.pieces = transfer->pieces, .count = transfer->piece_count};
    uint64_t skip = transfer->skip_bytes;

    while (walk.piece < walk.count && skip >= walk.pieces[walk.piece].bytes)
        skip -= walk.pieces[walk.piece++].bytes;
    dgm_assert(walk.piece < walk.count); /* something remains to be mapped */
    walk.skip = (uint32_t)skip;
    return walk;
}

/* --- the stretches of a map, in order --- */

struct part {
    struct dgm_dma_piece meant; /* within one piece; bytes 0: the end */
    uint16_t buffer;            /* what stands in for it, or DGM_BOUNCE_NONE */
    uint16_t offset;            /* in the buffer */
};

struct parts {
    const struct dgm_dma *dma;
    const struct dgm_dma_map *map;
    struct dma_walk walk;
    uint32_t at;
    uint16_t buffer; /* the next one */
};

static struct parts parts_of(const struct dgm_dma *dma, const struct dgm_dma_map *map)
{
    /* The end of the pieces is never met: map->bytes says where to stop. */
    return (struct parts){.dma = dma,
                          .map = map,
                          .buffer = map->bounced,
                          .walk = {.pieces = map->pieces,
                                   .count = SIZE_MAX,
                                   .piece = map->first,
                                   .skip = map->first_skip}};
}

static struct part part_next(struct parts *parts)
{
    const struct dgm_dma_bounced *record = NULL;
    struct part part = {.buffer = DGM_BOUNCE_NONE};
    uint32_t end = parts->map->bytes;

    if (parts->at == end)
        return part;
    if (parts->buffer != DGM_BOUNCE_NONE) {
        record = &parts->dma->bounced[parts->buffer];
        end = record->at > parts->at ? record->at : record->at + record->bytes;
    }
    part.meant = dgm_dma_walk_next(&parts->walk, end - parts->at);
    if (record && record->at <= parts->at) {
        part.buffer = parts->buffer;
        part.offset = (uint16_t)(record->offset + (parts->at - record->at));
        if (parts->at + part.meant.bytes == end)
            parts->buffer = parts->dma->bounce->next[parts->buffer];
    }
    parts->at += part.meant.bytes;
    return part;
}

static void *part_va(const struct part *part)
{
    return (char *)dgm_env_va(part->meant.gfn) + part->meant.offset;
}

static void *buffer_va(const struct dgm_dma *dma, const struct part *part)
{
    return (char *)dgm_env_va(dma->bounce->gfn[part->buffer]) + part->offset;
}

/* --- caches --- */

/* The device itself touches a foreign frame, and Xen maintains the caches for those. */
static bool is_flushed(const struct dgm_dma *dma, const struct dgm_dma_map *map,
                       const struct part *part)
{
    return dma->flush && !map->coherent && part->buffer == DGM_BOUNCE_NONE &&
           dgm_p2m_is_foreign(dma->p2m, part->meant.gfn);
}

static void part_flush(struct dgm_dma *dma, const struct dgm_dma_map *map, const struct part *part)
{
    dgm_cacheflush_add(dma->flush, dgm_p2m_lookup(dma->p2m, part->meant.gfn), part->meant.offset,
                       part->meant.bytes, map->direction == DGM_DMA_FROM_DEVICE);
}

typedef void maintain_fn(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes);

/* What the device itself touches: the buffer, if there is one, and not what it stands for. */
static void part_maintain(const struct dgm_dma *dma, const struct dgm_dma_map *map,
                          const struct part *part, maintain_fn *maintain)
{
    const bool device_writes = map->direction == DGM_DMA_FROM_DEVICE;

    if (map->coherent || is_flushed(dma, map, part))
        return;
    if (part->buffer == DGM_BOUNCE_NONE)
        maintain(part->meant.gfn, part->meant.offset, part->meant.bytes, device_writes);
    else
        maintain(dma->bounce->gfn[part->buffer], part->offset, part->meant.bytes, device_writes);
}

/* The device will touch it. What it leaves unwritten must come back as it was, so buffers are
 * filled for FROM_DEVICE too. */
static void part_to_device(const struct dgm_dma *dma, const struct dgm_dma_map *map,
                           const struct part *part)
{
    if (part->buffer != DGM_BOUNCE_NONE)
        memcpy(buffer_va(dma, part), part_va(part), part->meant.bytes);
    part_maintain(dma, map, part, dgm_cachemaint_before);
}

/* The device has written it. What Xen is to maintain is only added. */
static void part_to_cpu(struct dgm_dma *dma, const struct dgm_dma_map *map, const struct part *part,
                        bool copy_back)
{
    part_maintain(dma, map, part, dgm_cachemaint_after);
    if (map->direction != DGM_DMA_FROM_DEVICE)
        return;
    if (is_flushed(dma, map, part))
        part_flush(dma, map, part);
    if (copy_back && part->buffer != DGM_BOUNCE_NONE)
        memcpy(part_va(part), buffer_va(dma, part), part->meant.bytes);
}

/* Has Xen do what was added. */
static int flush_commit(struct dgm_dma *dma)
{
    return dma->flush && dgm_cacheflush_commit(dma->flush) ? DGM_EIO : DGM_OK;
}

/* Before the device runs, all foreign frames that it touches. */
static int flush_before(struct dgm_dma *dma, const struct dgm_dma_map *map)
{
    struct parts parts = parts_of(dma, map);
    struct part part;

    if (!dma->flush || map->coherent)
        return DGM_OK;
    for (part = part_next(&parts); part.meant.bytes; part = part_next(&parts))
        if (is_flushed(dma, map, &part))
            part_flush(dma, map, &part);
    return flush_commit(dma);
}

static void part_count(struct dgm_dma *dma, struct dgm_dma_map *map, const struct part *part)
{
    const uint32_t bytes = part->meant.bytes;

    if (part->buffer == DGM_BOUNCE_NONE) {
        if (dgm_p2m_is_foreign(dma->p2m, part->meant.gfn))
            dma->bytes_foreign += bytes;
        else
            dma->bytes_local += bytes;
        return;
    }
    map->bytes_bounced += bytes;
    switch (dma->bounced[part->buffer].cause) {
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
 * Makes the plan, so that Xen refuses nothing of it. After a refusal the next few are made without
 * asking: who then has to wait for a buffer gave some back, but will not do so again, else two of
 * them could wake each other for ever.
 */
static int make(struct dma_plan *plan)
{
    struct dgm_dma *dma = plan->dma;
    int status;

    plan->flush_refused = dma->flush && (dma->flush->absent || dma->flush_wary);
    status = dgm_dma_plan_make(plan);
    if (status == DGM_OK && !plan->flush_refused && flush_before(dma, plan->map) != DGM_OK) {
        dma->flush_wary = FLUSH_WARY;
        dgm_dma_plan_drop(plan);
        plan->flush_refused = true;
        status = dgm_dma_plan_make(plan);
    }
    if (status == DGM_OK && plan->flush_refused && dma->flush_wary)
        dma->flush_wary--;
    if (status == DGM_EAGAIN)
        dgm_bounce_wait(dma->bounce, plan->share, plan->areas);
    return status;
}

int dgm_dma_map(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                struct dgm_dma_segment *segments, struct dgm_dma_map *map)
{
    const struct dma_walk start = walk_to(transfer);
    struct dma_plan plan = {.dma = dma,
                            .tag = transfer->tag,
                            .map = map,
                            .share = transfer->share,
                            .start = start,
                            .bounced_last = DGM_BOUNCE_NONE,
                            .spare = DGM_BOUNCE_NONE,
                            .device_writes = transfer->direction == DGM_DMA_FROM_DEVICE};
    struct parts parts;
    struct part part;
    int status;

    dgm_dma_tag_check(transfer->tag);
    *map = (struct dgm_dma_map){.segments = segments,
                                .pieces = transfer->pieces,
                                .first = start.piece,
                                .first_skip = start.skip,
                                .bounced = DGM_BOUNCE_NONE,
                                .direction = (uint8_t)transfer->direction,
                                .coherent = transfer->tag->coherent};
    status = make(&plan);
    if (status != DGM_OK)
        return status;

    dma->maps++;
    dma->segments += map->segment_count;
    dma->cuts += plan.gap_broken;
    parts = parts_of(dma, map);
    for (part = part_next(&parts); part.meant.bytes; part = part_next(&parts)) {
        dgm_p2m_hold(dma->p2m, part.meant.gfn);
        part_to_device(dma, map, &part);
        part_count(dma, map, &part);
    }
    return (int)map->bytes;
}

int dgm_dma_unmap(struct dgm_dma *dma, struct dgm_dma_map *map, bool copy_back)
{
    struct parts parts = parts_of(dma, map);
    struct part part;
    int status;

    dgm_assert(map->bytes > 0); /* mapped, and not yet unmapped */
    for (part = part_next(&parts); part.meant.bytes; part = part_next(&parts)) {
        part_to_cpu(dma, map, &part, copy_back);
        dgm_p2m_release(dma->p2m, part.meant.gfn);
    }
    status = flush_commit(dma);
    while (map->bounced != DGM_BOUNCE_NONE) {
        const uint16_t buffer = map->bounced;

        map->bounced = dma->bounce->next[buffer];
        dgm_bounce_give(dma->bounce, buffer);
    }
    map->bytes = 0;
    map->segment_count = 0;
    return status;
}

/* --- a live map, in part --- */

/* The next part, cut to what lies in bytes [at, end) of the map; bytes 0: no more. */
static struct part part_within(struct parts *parts, uint32_t at, uint32_t end)
{
    struct part part;
    uint32_t begins, before, after;

    do {
        begins = parts->at;
        part = part_next(parts);
    } while (part.meant.bytes && parts->at <= at);
    if (part.meant.bytes == 0 || begins >= end)
        return (struct part){.buffer = DGM_BOUNCE_NONE};
    before = begins < at ? at - begins : 0;
    after = parts->at > end ? parts->at - end : 0;
    part.meant.offset = (uint16_t)(part.meant.offset + before);
    part.offset = (uint16_t)(part.offset + before);
    part.meant.bytes = (uint16_t)(part.meant.bytes - before - after);
    return part;
}

static struct parts parts_to_sync(struct dgm_dma *dma, const struct dgm_dma_map *map, uint32_t at,
                                  uint32_t bytes)
{
    dgm_assert(at <= map->bytes && bytes <= map->bytes - at);
    dma->syncs++;
    return parts_of(dma, map);
}

int dgm_dma_sync_for_cpu(struct dgm_dma *dma, const struct dgm_dma_map *map, uint32_t at,
                         uint32_t bytes)
{
    struct parts parts = parts_to_sync(dma, map, at, bytes);
    struct part part;

    while ((part = part_within(&parts, at, at + bytes)).meant.bytes)
        part_to_cpu(dma, map, &part, true);
    return flush_commit(dma);
}

int dgm_dma_sync_for_device(struct dgm_dma *dma, const struct dgm_dma_map *map, uint32_t at,
                            uint32_t bytes)
{
    struct parts parts = parts_to_sync(dma, map, at, bytes);
    struct part part;

    while ((part = part_within(&parts, at, at + bytes)).meant.bytes) {
        if (is_flushed(dma, map, &part))
            part_flush(dma, map, &part);
        part_to_device(dma, map, &part);
    }
    return flush_commit(dma);
}
