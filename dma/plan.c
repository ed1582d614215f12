/* SPDX-License-Identifier: MIT */
/*
 * dma/plan: which segments, which bounce buffers
 *
 * The plan is made greedily, from the first byte of the transfer on. Each piece is translated and
 * appended; a piece that the device cannot reach, or cannot start at, is bounced: a buffer with the
 * same offset in its frame is appended in its place. Where no more can be appended, the plan ends.
 *
 * Segments. What is appended merges with the last segment where their bus addresses are adjacent,
 * and is split at the tag's limits. Two rules of a tag concern the ends of segments:
 *
 *   gap        between two segments, the end of the one and the start of the next are multiples of
 *              tag->gap. The first segment may start anywhere, the last may end anywhere.
 *   alignment  a segment starts at a multiple of tag->alignment.
 *
 * An example, with a gap of 4096 as NVMe PRPs have it:
 *
 *      bus  9800    a000   5000            6000   3000    3400        7400    7800
 *            |---A---|      |-------B-------|      |---C---|           |---D---|
 *
 *   A ends and B starts at multiples of 4096, and so do B and C: three segments of 2048, 4096 and
 *   1024 bytes. C ends at 0x3400, so nothing but the byte at 0x3400 can follow it. D cannot: the
 *   plan ends after 7168 bytes, and D is the first segment of the next map.
 *
 * A split is between two segments too. With a gap of 4096 and at most 6144 bytes in a segment, 16
 * adjacent KiB become four segments of 4096 bytes: a segment that another must follow ends at the
 * last place at or below its limit where the next one may start (inner_segment_bytes()).
 *
 * Ends. A plan that ended early is truncated to whole blocks. A truncation only removes the end of
 * the plan, and the last segment may end anywhere, so what is left obeys both rules. If less than a
 * block is left, the first blocks of the transfer are gathered instead: copied to one bounce
 * buffer, which makes one segment, and no rule forbids a single segment. For example with blocks
 * of 4096 bytes and four pieces of 1024 bytes that all start at offset 1024 of their frames: the
 * second piece breaks the gap rule after 1024 bytes, so all four are gathered.
 *
 * Buffers. Nothing but bounce buffers can be short:
 *
 *   1. If none is free, the plan ends there. With at least one block it is truncated and used, and
 *      the rest of the transfer is mapped later.
 *   2. With less than a block, one buffer is enough: the gathering's. The plan saves its first
 *      buffer for that and returns the others. So DGM_EAGAIN means that the plan never had a
 *      buffer, though the device has a minimum of one (bounce.h): an earlier transfer of the device
 *      has it, and its own disk returns it.
 *   3. Hence a transfer that waits holds no buffer: no deadlock, whatever the size of the pool.
 *   4. And it has returned none, so it has woken no other waiter. If it returned its first buffer
 *      and then waited, two such transfers could hand that buffer to each other permanently: A
 * takes it, finds no second, returns it and so wakes B, which does the same and wakes A.
 *
 * Typical: 1 to 32 pieces, at most 256, none bounced. Linear in pieces; a truncation adds one pass
 * over segments and buffers.
 */
#include <dma/internal.h>

#include <dragoman/dma/cachemaint.h>
#include <dragoman/base/check.h>

#define TRANSFER_BYTES_MAX (1u << 30) /* so that lengths fit an int */

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t round_down(uint32_t bytes, uint32_t unit)
{
    return bytes & ~(unit - 1);
}

struct dgm_dma_piece dgm_dma_walk_next(struct dma_walk *walk, uint32_t bytes_max)
{
    const struct dgm_dma_piece *whole = &walk->pieces[walk->piece];
    struct dgm_dma_piece piece = {0};

    if (walk->piece == walk->piece_count)
        return piece;
    piece.gfn = whole->gfn;
    piece.offset = (uint16_t)(whole->offset + walk->piece_offset);
    piece.bytes = (uint16_t)min_u32(whole->bytes - walk->piece_offset, bytes_max);
    walk->piece_offset += piece.bytes;
    if (walk->piece_offset == whole->bytes) {
        walk->piece++;
        walk->piece_offset = 0;
    }
    return piece;
}

/* --- segments --- */

static bool is_on_gap(const struct dgm_dma_tag *tag, dgm_bus_t bus)
{
    return tag->gap == 0 || dgm_bus_offset(bus, tag->gap) == 0;
}

/* How far `offset` is beyond the last place where a segment may start. */
static uint32_t beyond_alignment(const struct dgm_dma_tag *tag, uint64_t offset)
{
    return tag->alignment ? (uint32_t)(offset & (tag->alignment - 1)) : 0;
}

static bool is_aligned(const struct dgm_dma_tag *tag, dgm_bus_t bus)
{
    return beyond_alignment(tag, dgm_bus_address(bus)) == 0;
}

/* Only if there is one. */
static struct dgm_dma_segment *last_segment(const struct dma_plan *plan)
{
    return &plan->map->segments[plan->map->segment_count - 1];
}

static dgm_bus_t segment_end(const struct dgm_dma_segment *segment)
{
    return dgm_bus_add(segment->bus, segment->bytes);
}

static bool is_adjacent_to_last_segment(const struct dma_plan *plan, dgm_bus_t bus)
{
    return plan->map->segment_count && dgm_bus_equal(segment_end(last_segment(plan)), bus);
}

/* Whether a segment may start at `bus`, behind the last one if there is one. */
static bool may_start_segment(const struct dma_plan *plan, dgm_bus_t bus)
{
    const struct dgm_dma_tag *tag = plan->tag;

    if (!is_aligned(tag, bus))
        return false;
    return plan->map->segment_count == 0 ||
           (is_on_gap(tag, segment_end(last_segment(plan))) && is_on_gap(tag, bus));
}

/* How many of `bytes` bytes at `bus` fit into one segment that has `present` bytes already. */
static uint32_t segment_bytes_allowed(const struct dgm_dma_tag *tag, dgm_bus_t bus,
                                      uint32_t present, uint32_t bytes)
{
    if (tag->segment_bytes_max)
        bytes = min_u32(bytes, tag->segment_bytes_max - present);
    if (tag->boundary) {
        const uint64_t crossed = dgm_bus_offset(bus, tag->boundary);

        if (crossed == 0 && present)
            return 0;
        if (bytes > tag->boundary - crossed)
            bytes = (uint32_t)(tag->boundary - crossed);
    }
    return bytes;
}

/*
 * The same for an inner segment: if not all `bytes` fit, another segment must follow at once, so
 * this one ends where the next may start. 0 with `present` 0: it cannot end at such a place.
 */
static uint32_t inner_segment_bytes(const struct dgm_dma_tag *tag, dgm_bus_t bus, uint32_t present,
                                    uint32_t bytes)
{
    const uint32_t unit = tag->gap > tag->alignment ? tag->gap : tag->alignment;
    const uint32_t allowed = segment_bytes_allowed(tag, bus, present, bytes);
    uint32_t over;

    if (allowed == bytes || unit == 0)
        return allowed;
    over = (uint32_t)dgm_bus_offset(dgm_bus_add(bus, allowed), unit);
    return over <= allowed ? allowed - over : allowed;
}

/* Adds a segment for the first of `bytes` bytes at `bus`. Returns how many; 0: none may start. */
static uint32_t plan_add_segment(struct dma_plan *plan, dgm_bus_t bus, uint32_t bytes)
{
    struct dgm_dma_map *map = plan->map;
    uint32_t segment_bytes;

    if (map->segment_count == plan->tag->segments_max)
        return 0;
    if (!may_start_segment(plan, bus)) {
        plan->gap_broken = true;
        return 0;
    }
    segment_bytes = inner_segment_bytes(plan->tag, bus, 0, bytes);
    if (segment_bytes == 0) /* then it is the last: no segment can follow it */
        segment_bytes = segment_bytes_allowed(plan->tag, bus, 0, bytes);
    map->segments[map->segment_count++] = (struct dgm_dma_segment){bus, segment_bytes};
    return segment_bytes;
}

/* Appends `bytes` bytes at `bus`. Returns how many of them the segments could take. */
static uint32_t plan_append(struct dma_plan *plan, dgm_bus_t bus, uint32_t bytes)
{
    uint32_t done = 0;

    while (done < bytes) {
        const dgm_bus_t at = dgm_bus_add(bus, done);
        uint32_t more = 0;

        if (is_adjacent_to_last_segment(plan, at)) {
            struct dgm_dma_segment *last = last_segment(plan);

            more = inner_segment_bytes(plan->tag, at, last->bytes, bytes - done);
            last->bytes += more;
        }
        if (more == 0)
            more = plan_add_segment(plan, at, bytes - done);
        if (more == 0)
            break;
        done += more;
    }
    plan->map->bytes += done;
    return done;
}

/* --- bounce buffers --- */

static struct dma_bounced *bounced_record(const struct dma_plan *plan, uint16_t buffer)
{
    return &plan->dma->bounce->buffers[buffer].bounced;
}

/* The saved buffer, or one of the pool, or DGM_BOUNCE_NONE. Asserts: the device reaches an area. */
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
 * offset is where the buffer's bytes end. Where segments have to be aligned, and the piece is not,
 * its offset is free, and it only has to fit: else pieces that start anywhere would cost a buffer
 * and a segment each.
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
    return end == piece->offset ||
           (beyond_alignment(plan->tag, piece->offset) && end + piece->bytes <= DGM_FRAME_BYTES);
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
              dgm_dma_bus(plan->tag, address + offset, bytes, &bus);
    dgm_assert(reached); /* as all of its area */
    return bus;
}

/*
 * Appends a buffer in place of `piece`. Returns the bytes appended, or DGM_EAGAIN: no buffer is
 * free; DGM_ERANGE: the device does not reach the buffers either.
 */
static int plan_append_bounced(struct dma_plan *plan, const struct dgm_dma_piece *piece,
                               enum dma_cause cause)
{
    const uint32_t unaligned = beyond_alignment(plan->tag, piece->offset);
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
    return (int)plan_append(plan, bus, piece->bytes);
}

/* --- ends --- */

/* Keeps the first `bytes` bytes of the plan: drops and shortens segments, returns buffers. */
static void plan_truncate(struct dma_plan *plan, uint32_t bytes)
{
    struct dgm_bounce *bounce = plan->dma->bounce;
    struct dgm_dma_map *map = plan->map;
    uint16_t *link = &map->buffer_first;
    uint32_t kept = 0, count = 0;

    while (kept < bytes) {
        struct dgm_dma_segment *segment = &map->segments[count++];

        segment->bytes = min_u32(segment->bytes, bytes - kept);
        kept += segment->bytes;
    }
    map->segment_count = count;
    map->bytes = bytes;

    plan->buffer_last = DGM_BOUNCE_NONE;
    while (*link != DGM_BOUNCE_NONE) {
        const uint16_t buffer = *link;
        struct dma_bounced *record = bounced_record(plan, buffer);

        if (record->map_offset < bytes) {
            record->bytes = (uint16_t)min_u32(record->bytes, bytes - record->map_offset);
            plan->buffer_last = buffer;
            link = &bounce->buffers[buffer].next;
        } else {
            *link = bounce->buffers[buffer].next;
            dgm_bounce_give(bounce, buffer);
        }
    }
}

/* Takes the first of the map's buffers out of the plan, for the gathering. */
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

/* How many bytes a gathering of at most `bytes_max` bytes takes: whole blocks, in one segment. */
static uint32_t gathered_bytes_allowed(const struct dgm_dma_tag *tag, uint32_t bytes_max)
{
    bytes_max = min_u32(bytes_max, DGM_FRAME_BYTES);
    if (tag->segment_bytes_max)
        bytes_max = min_u32(bytes_max, tag->segment_bytes_max);
    if (tag->boundary && tag->boundary < bytes_max)
        bytes_max = (uint32_t)tag->boundary;
    return round_down(bytes_max, tag->block_bytes);
}

/*
 * The first bytes of the transfer, at most `bytes_max`, in one buffer; the plan is empty. DGM_OK or
 * an error; a saved buffer that it did not need is still saved.
 */
static int plan_gather(struct dma_plan *plan, uint32_t bytes_max, enum dma_cause cause)
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
    (void)plan_append(plan, buffer_bus(plan, buffer, 0, bytes), bytes);
    dgm_assert(plan->map->bytes == bytes && plan->map->segment_count == 1);
    return DGM_OK;
}

/* Empties the plan and gathers instead. DGM_OK or an error, with no buffer held. */
static int plan_gather_instead(struct dma_plan *plan, uint32_t bytes_max, enum dma_cause cause)
{
    int status;

    plan_save_first_buffer(plan);
    plan_truncate(plan, 0);
    status = plan_gather(plan, bytes_max, cause);
    if (plan->buffer_saved != DGM_BOUNCE_NONE)
        dgm_bounce_give(plan->dma->bounce, plan->buffer_saved);
    plan->buffer_saved = DGM_BOUNCE_NONE;
    return status;
}

/* --- the whole --- */

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
        return plan_append_bounced(plan, piece, DMA_CAUSE_LINE);
    if (!dgm_dma_bus(tag, address + piece->offset, piece->bytes, &bus))
        return plan_append_bounced(plan, piece, DMA_CAUSE_REACH);
    if (plan->bounce_foreign && !tag->coherent && dgm_p2m_is_slot(plan->dma->p2m, piece->gfn))
        return plan_append_bounced(plan, piece, DMA_CAUSE_FLUSH);
    if (!is_aligned(tag, bus) && !is_adjacent_to_last_segment(plan, bus))
        return plan_append_bounced(plan, piece, DMA_CAUSE_GAP);
    return (int)plan_append(plan, bus, piece->bytes);
}

/*
 * Appends pieces until the plan has `bytes_max` bytes, or the pieces or the device's abilities end.
 * DGM_OK, or why a piece could not be appended.
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
 * Whether this transfer, truncated to `bytes` bytes, and the next would write into one cache line
 * of a device that is not coherent. Only if pieces are odd: disk blocks are whole lines.
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

/* How many of the plan's bytes can be kept: whole blocks, no shared cache line at their end. */
static uint32_t plan_bytes_usable(const struct dma_plan *plan)
{
    uint32_t bytes = round_down(plan->map->bytes, plan->tag->block_bytes);

    while (bytes && truncation_splits_line(plan, bytes))
        bytes -= plan->tag->block_bytes;
    return bytes;
}

static uint32_t transfer_bytes_allowed(const struct dgm_dma_tag *tag)
{
    uint32_t bytes = TRANSFER_BYTES_MAX;

    if (tag->transfer_bytes_max)
        bytes = min_u32(bytes, tag->transfer_bytes_max);
    return round_down(bytes, tag->block_bytes);
}

void dgm_dma_plan_drop(struct dma_plan *plan)
{
    plan_truncate(plan, 0);
    plan->gap_broken = false;
}

int dgm_dma_plan_make(struct dma_plan *plan)
{
    const uint32_t bytes_max = transfer_bytes_allowed(plan->tag);
    uint32_t bytes;
    int status;

    plan->areas = dgm_dma_areas(plan->dma, plan->tag);
    status = plan_append_pieces(plan, bytes_max);
    if (status == DGM_EFAULT || status == DGM_ERANGE) {
        plan_truncate(plan, 0);
        return status;
    }
    bytes = plan_bytes_usable(plan);
    if (bytes == 0)
        return plan_gather_instead(plan, bytes_max,
                                   status == DGM_EAGAIN ? DMA_CAUSE_REACH : DMA_CAUSE_GAP);
    /* With buffers always: the last may stand for bytes that could not be appended. */
    if (bytes < plan->map->bytes || plan->buffer_last != DGM_BOUNCE_NONE)
        plan_truncate(plan, bytes);
    return DGM_OK;
}
