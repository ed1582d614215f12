/* SPDX-License-Identifier: MIT */
/*
 * dma: mapping and unmapping of transfers. See dragoman/dma.h; the algorithm is in dma_plan.c.
 *
 * Mapping: plan (segments and buffers, may fail with nothing held), then hold every frame, fill the
 * buffers, maintain caches, count. Unmapping goes back the same way, over the same stretches: the
 * map's records say which bytes were bounced, so nothing is concluded from addresses.
 *
 * A frame is held once for each piece that the transfer touches, bounced or not: the device must
 * not lose a frame under its hands, nor the copying back at the end.
 */
#include "dma_internal.h"

#include <dragoman/cachemaint.h>
#include <dragoman/check.h>

#include <string.h>

void dgm_dma_init(struct dgm_dma *dma, struct dgm_p2m *p2m, struct dgm_bounce *bounce)
{
    memset(dma, 0, sizeof *dma);
    dma->p2m = p2m;
    dma->bounce = bounce;
}

static bool is_power_of_two(uint64_t n)
{
    return n && (n & (n - 1)) == 0;
}

/* A tag that could not express a single block is a driver's mistake. */
static void check_tag(const struct dgm_dma_tag *tag)
{
    dgm_assert(is_power_of_two(tag->block_bytes) && tag->block_bytes <= DGM_FRAME_BYTES);
    dgm_assert(tag->segments_max > 0 && tag->window_count <= DGM_DMA_WINDOWS_MAX);
    dgm_assert(tag->gap == 0 || (is_power_of_two(tag->gap) && tag->gap <= DGM_FRAME_BYTES));
    dgm_assert(tag->boundary == 0 ||
               (is_power_of_two(tag->boundary) && tag->boundary >= tag->block_bytes));
    dgm_assert(tag->segment_bytes_max == 0 || tag->segment_bytes_max >= tag->block_bytes);
    dgm_assert(tag->transfer_bytes_max == 0 || tag->transfer_bytes_max >= tag->block_bytes);
}

static struct dma_walk walk_to(const struct dgm_dma_piece *pieces, size_t count, uint64_t skip)
{
    struct dma_walk walk = {.pieces = pieces, .count = count};

    while (walk.piece < count && skip >= pieces[walk.piece].bytes) {
        const struct dgm_dma_piece *piece = &pieces[walk.piece++];

        skip -= piece->bytes;
    }
    dgm_assert(walk.piece < count); /* something remains to be mapped */
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
    part.meant = dma_walk_next(&parts->walk, end - parts->at);
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

typedef void maintain_fn(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes);

/* What the device itself touches: the buffer, if there is one, and not what it stands for. */
static void part_maintain(const struct dgm_dma *dma, const struct dgm_dma_map *map,
                          const struct part *part, maintain_fn *maintain)
{
    const bool device_writes = map->direction == DGM_DMA_FROM_DEVICE;

    if (map->coherent)
        return;
    if (part->buffer == DGM_BOUNCE_NONE)
        maintain(part->meant.gfn, part->meant.offset, part->meant.bytes, device_writes);
    else
        maintain(dma->bounce->gfn[part->buffer], part->offset, part->meant.bytes, device_writes);
}

static void part_count(struct dgm_dma *dma, struct dgm_dma_map *map, const struct part *part)
{
    const uint32_t bytes = part->meant.bytes;

    if (part->buffer == DGM_BOUNCE_NONE) {
        if (dgm_p2m_is_slot(dma->p2m, part->meant.gfn))
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
    default:
        dma->bytes_bounced_line += bytes;
        break;
    }
}

/* --- the calls --- */

int dgm_dma_map(struct dgm_dma *dma, const struct dgm_dma_tag *tag,
                const struct dgm_dma_piece *pieces, size_t count, uint64_t skip_bytes,
                enum dgm_dma_direction direction, struct dgm_dma_segment *segments,
                struct dgm_dma_map *map)
{
    const struct dma_walk start = walk_to(pieces, count, skip_bytes);
    struct dma_plan plan = {.dma = dma,
                            .tag = tag,
                            .map = map,
                            .start = start,
                            .bounced_last = DGM_BOUNCE_NONE,
                            .device_writes = direction == DGM_DMA_FROM_DEVICE};
    struct parts parts;
    struct part part;
    int status;

    check_tag(tag);
    *map = (struct dgm_dma_map){.segments = segments,
                                .pieces = pieces,
                                .first = start.piece,
                                .first_skip = start.skip,
                                .bounced = DGM_BOUNCE_NONE,
                                .direction = (uint8_t)direction,
                                .coherent = tag->coherent};
    status = dma_plan_make(&plan);
    if (status == DGM_EAGAIN)
        dma->bounce->waits++;
    if (status != DGM_OK)
        return status;

    dma->maps++;
    dma->segments += map->segment_count;
    dma->cuts += plan.gap_broken;
    parts = parts_of(dma, map);
    for (part = part_next(&parts); part.meant.bytes; part = part_next(&parts)) {
        dgm_p2m_hold(dma->p2m, part.meant.gfn);
        /* FROM_DEVICE too: what the device leaves unwritten must come back as it was. */
        if (part.buffer != DGM_BOUNCE_NONE)
            memcpy(buffer_va(dma, &part), part_va(&part), part.meant.bytes);
        part_maintain(dma, map, &part, dgm_cachemaint_before);
        part_count(dma, map, &part);
    }
    return (int)map->bytes;
}

void dgm_dma_unmap(struct dgm_dma *dma, struct dgm_dma_map *map, bool copy_back)
{
    const bool copies = copy_back && map->direction == DGM_DMA_FROM_DEVICE;
    struct parts parts = parts_of(dma, map);
    struct part part;

    dgm_assert(map->bytes > 0); /* mapped, and not yet unmapped */
    for (part = part_next(&parts); part.meant.bytes; part = part_next(&parts)) {
        part_maintain(dma, map, &part, dgm_cachemaint_after);
        if (copies && part.buffer != DGM_BOUNCE_NONE)
            memcpy(part_va(&part), buffer_va(dma, &part), part.meant.bytes);
        dgm_p2m_release(dma->p2m, part.meant.gfn);
    }
    while (map->bounced != DGM_BOUNCE_NONE) {
        const uint16_t buffer = map->bounced;

        map->bounced = dma->bounce->next[buffer];
        dgm_bounce_give(dma->bounce, buffer);
    }
    map->bytes = 0;
    map->segment_count = 0;
}

int dgm_dma_local(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                  dgm_bus_t *bus)
{
    const dgm_mfn_t mfn = dgm_p2m_lookup(p2m, gfn);

    if (dgm_mfn_is_none(mfn))
        return DGM_EFAULT;
    return dma_bus(tag, mfn, 0, DGM_FRAME_BYTES, bus) ? DGM_OK : DGM_ERANGE;
}
