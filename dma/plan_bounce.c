/* SPDX-License-Identifier: MIT */
/*
 * dma/plan_bounce: the bounce buffers of a plan
 *
 * A piece that the device cannot reach, or at which no segment can start, is bounced: a buffer is
 * appended in its place, with the same offset in its frame. A *gathering* is a plan of one buffer,
 * to which the first blocks of the transfer are copied one after another, at whatever offsets their
 * pieces start. It is one segment, and no rule of a tag forbids a single aligned segment.
 *
 * Only buffers can be short, and a shortage never becomes a deadlock:
 *
 *   1. If no buffer is free, the plan ends there. If it has a block, it is truncated to whole
 *      blocks and used; the rest of the transfer is mapped later.
 *   2. With less than a block, the first blocks are gathered, which needs one buffer. The plan
 *      saves its first buffer for that and returns the others.
 *   3. So DGM_EAGAIN means that the plan never had a buffer. The device has a minimum of one
 *      (bounce.h), so an earlier transfer of this device holds it. That transfer returns it when
 *      its own disk has completed it, whatever other devices do.
 *   4. A transfer that waits holds no buffer, so no transfer waits for another that waits.
 *   5. A transfer that waits has not returned a buffer either, so it has woken no other waiter. If
 *      it returned its first buffer and then waited, two transfers could wake each other without
 *      end: one takes the buffer, finds no second, returns the first and so wakes the other, which
 *      does the same.
 */
#include <dma/internal.h>

#include <dragoman/base/check.h>

static struct dma_bounced *bounced_record(const struct dma_plan *plan, uint16_t buffer)
{
    return &plan->dma->bounce->buffers[buffer].bounced;
}

/* Takes the saved buffer or one of the pool. DGM_BOUNCE_NONE: neither exists. Asserts: the device
 * reaches an area. */
static uint16_t plan_take_buffer(struct dma_plan *plan)
{
    const uint16_t saved = plan->buffer_saved;

    dgm_assert(plan->areas);
    plan->buffer_saved = DGM_BOUNCE_NONE;
    if (saved != DGM_BOUNCE_NONE)
        return saved;
    return dgm_bounce_take(plan->dma->bounce, plan->device, plan->areas);
}

/* Makes `buffer` the last of the map's buffers. */
static void plan_add_buffer(struct dma_plan *plan, uint16_t buffer, struct dma_bounced record)
{
    *bounced_record(plan, buffer) = record;
    if (plan->map->buffer_first == DGM_BOUNCE_NONE)
        plan->map->buffer_first = buffer;
    else
        plan->dma->bounce->buffers[plan->buffer_last].next = buffer;
    plan->buffer_last = buffer;
}

/*
 * Whether the last buffer can take `piece` too: the plan ends in this buffer, and the piece's
 * offset is where the buffer's bytes end. If segments must be aligned and the piece is not, the
 * offset in the buffer may differ from the piece's, and the piece only has to fit: otherwise each
 * unaligned piece would cost a buffer and a segment.
 */
static bool last_buffer_can_take(const struct dma_plan *plan, const struct dgm_dma_piece *piece)
{
    const struct dma_bounced *last;
    uint32_t end;

    if (plan->buffer_last == DGM_BOUNCE_NONE)
        return false;
    last = bounced_record(plan, plan->buffer_last);
    if (last->map_offset + last->bytes != plan->map->bytes)
        return false;
    end = last->offset + last->bytes;
    return end == piece->offset || (dma_beyond_alignment(plan->tag, piece->offset) &&
                                    end + piece->bytes <= DGM_FRAME_BYTES);
}

/* The bus address of `bytes` bytes at `offset` of a buffer. */
static dgm_bus_t buffer_bus(const struct dma_plan *plan, uint16_t buffer, uint32_t offset,
                            uint32_t bytes)
{
    const dgm_gfn_t gfn = plan->dma->bounce->buffers[buffer].gfn;
    uint64_t address = 0;
    dgm_bus_t bus = {0};
    bool reached;

    reached = dgm_dma_address(plan->dma->p2m, plan->tag, gfn, &address) &&
              dgm_dma_bus(plan->tag,
                          (struct dma_bytes){.address = address + offset, .count = bytes}, &bus);
    dgm_assert(reached); /* the device reaches all of its area */
    return bus;
}

int dgm_dma_plan_append_bounced(struct dma_plan *plan, const struct dgm_dma_piece *piece,
                                enum dma_cause cause)
{
    const uint32_t unaligned = dma_beyond_alignment(plan->tag, piece->offset);
    uint16_t buffer = plan->buffer_last;
    struct dma_bounced *record;
    dgm_bus_t bus;

    if (!plan->areas)
        return DGM_ERANGE;
    if (!last_buffer_can_take(plan, piece)) {
        buffer = plan_take_buffer(plan);
        if (buffer == DGM_BOUNCE_NONE)
            return DGM_EAGAIN;
        plan_add_buffer(plan, buffer,
                        (struct dma_bounced){.map_offset = plan->map->bytes,
                                             .offset = (uint16_t)(piece->offset - unaligned),
                                             .cause = (uint8_t)cause});
    }
    record = bounced_record(plan, buffer);
    bus = buffer_bus(plan, buffer, record->offset + record->bytes, piece->bytes);
    record->bytes = (uint16_t)(record->bytes + piece->bytes); /* the truncation corrects it */
    return (int)dgm_dma_plan_append(plan, bus, piece->bytes);
}

/* --- ends, and the gathering --- */

void dgm_dma_plan_truncate(struct dma_plan *plan, uint32_t bytes)
{
    struct dgm_bounce *bounce = plan->dma->bounce;
    struct dgm_dma_map *map = plan->map;
    uint16_t *link = &map->buffer_first;
    uint32_t kept = 0, count = 0;

    while (kept < bytes) {
        struct dgm_dma_segment *segment = &map->segments[count++];

        segment->bytes = dma_min(segment->bytes, bytes - kept);
        kept += segment->bytes;
    }
    map->segment_count = count;
    map->bytes = bytes;

    plan->buffer_last = DGM_BOUNCE_NONE;
    while (*link != DGM_BOUNCE_NONE) {
        const uint16_t buffer = *link;
        struct dma_bounced *record = bounced_record(plan, buffer);

        if (record->map_offset < bytes) {
            record->bytes = (uint16_t)dma_min(record->bytes, bytes - record->map_offset);
            plan->buffer_last = buffer;
            link = &bounce->buffers[buffer].next;
        } else {
            *link = bounce->buffers[buffer].next;
            dgm_bounce_give(bounce, buffer);
        }
    }
}

/* Removes the first of the map's buffers from the plan, for the gathering. */
static void plan_save_first_buffer(struct dma_plan *plan)
{
    const uint16_t first = plan->map->buffer_first;
    struct dgm_bounce_buffer *buffers = plan->dma->bounce->buffers;

    if (first == DGM_BOUNCE_NONE)
        return;
    plan->map->buffer_first = buffers[first].next;
    buffers[first].next = DGM_BOUNCE_NONE;
    plan->buffer_saved = first;
}

/* The length of a gathering of at most `bytes_max` bytes: whole blocks, in one segment. */
static uint32_t gathered_bytes_allowed(const struct dgm_dma_tag *tag, uint32_t bytes_max)
{
    bytes_max = dma_min(bytes_max, DGM_FRAME_BYTES);
    if (tag->segment_bytes_max)
        bytes_max = dma_min(bytes_max, tag->segment_bytes_max);
    if (tag->boundary && tag->boundary < bytes_max)
        bytes_max = (uint32_t)tag->boundary;
    return dma_round_down(bytes_max, tag->block_bytes);
}

/*
 * Gathers the first bytes of the transfer, at most `bytes_max`, in one buffer of the empty plan.
 * DGM_OK or an error; a saved buffer that was not needed stays saved.
 */
static int plan_gather_first_bytes(struct dma_plan *plan, uint32_t bytes_max, enum dma_cause cause)
{
    const uint32_t allowed = gathered_bytes_allowed(plan->tag, bytes_max);
    struct dma_walk walk = plan->start;
    uint32_t bytes = 0;
    uint16_t buffer;

    while (bytes < allowed) {
        const struct dgm_dma_piece piece = dgm_dma_walk_next(&walk, allowed - bytes);

        if (piece.bytes == 0)
            break;
        if (dgm_mfn_is_none(dgm_p2m_lookup(plan->dma->p2m, piece.gfn)))
            return DGM_EFAULT;
        bytes += piece.bytes;
    }
    dgm_assert(bytes && bytes % plan->tag->block_bytes == 0); /* the pieces are whole blocks */

    if (!plan->areas)
        return DGM_ERANGE;
    buffer = plan_take_buffer(plan);
    if (buffer == DGM_BOUNCE_NONE)
        return DGM_EAGAIN;
    plan_add_buffer(plan, buffer,
                    (struct dma_bounced){.bytes = (uint16_t)bytes, .cause = (uint8_t)cause});
    (void)dgm_dma_plan_append(plan, buffer_bus(plan, buffer, 0, bytes), bytes);
    dgm_assert(plan->map->bytes == bytes && plan->map->segment_count == 1);
    return DGM_OK;
}

int dgm_dma_plan_gather(struct dma_plan *plan, uint32_t bytes_max, enum dma_cause cause)
{
    int status;

    plan_save_first_buffer(plan);
    dgm_dma_plan_truncate(plan, 0);
    status = plan_gather_first_bytes(plan, bytes_max, cause);
    if (plan->buffer_saved != DGM_BOUNCE_NONE)
        dgm_bounce_give(plan->dma->bounce, plan->buffer_saved);
    plan->buffer_saved = DGM_BOUNCE_NONE;
    return status;
}
