/* SPDX-License-Identifier: MIT */
/*
 * dma/plan: which segments, which bounce buffers
 *
 * Greedy, from the first byte on: each stretch within a frame is translated and appended, or, where
 * the device cannot reach it, a bounce buffer with the same in-frame offset is appended instead.
 * Appending merges with the last segment where bus addresses are adjacent and splits at the tag's
 * limits. It may append less than it was given: the next byte breaks the gap rule, or there is no
 * segment left. Then the plan ends at the last whole block. If not even one block was expressible,
 * the first bytes are gathered into one bounce buffer, as one segment, which no rule forbids.
 *
 * The same ending serves when bounce buffers run out: with a block in hand the plan is cut there;
 * else everything is given back but the one buffer that the gathering needs. So no transfer waits
 * for more than one buffer, and whoever waits holds none and gave none back (which would have woken
 * the other waiters for nothing): no deadlock and no livelock, whatever the pool's size.
 *
 * Gap rule: between two segments the end of one and the start of the next are multiples of
 * tag->gap. Alignment: a segment starts on a multiple of tag->alignment, so what starts elsewhere
 * and does not go on where the last segment ends is bounced. A cut only removes the end, so what is
 * left obeys both as well.
 *
 * Typical: 1 to 32 pieces, at most 256; no bounce. Linear in pieces; a cut adds one pass over
 * segments and buffers.
 */
#include "internal.h"

#include <dragoman/dma/cachemaint.h>
#include <dragoman/base/check.h>

#define TRANSFER_BYTES_MAX (1u << 30) /* so that lengths fit an int */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t round_down(uint32_t bytes, uint32_t unit)
{
    return bytes & ~(unit - 1);
}

struct dgm_dma_piece dgm_dma_walk_next(struct dma_walk *walk, uint32_t bytes_max)
{
    const struct dgm_dma_piece *piece = &walk->pieces[walk->piece];
    struct dgm_dma_piece stretch = {0};

    if (walk->piece == walk->count)
        return stretch;
    stretch.gfn = piece->gfn;
    stretch.offset = (uint16_t)(piece->offset + walk->skip);
    stretch.bytes = (uint16_t)least(piece->bytes - walk->skip, bytes_max);
    walk->skip += stretch.bytes;
    if (walk->skip == piece->bytes) {
        walk->piece++;
        walk->skip = 0;
    }
    return stretch;
}

/* --- appending --- */

static bool on_gap(const struct dma_plan *plan, uint64_t bus)
{
    return plan->tag->gap == 0 || (bus & (plan->tag->gap - 1)) == 0;
}

static bool is_aligned(const struct dma_plan *plan, uint64_t bus)
{
    return plan->tag->alignment == 0 || (bus & (plan->tag->alignment - 1)) == 0;
}

/* What is at `bus` goes on where the last segment ends. */
static bool follows(const struct dma_plan *plan, uint64_t bus)
{
    const struct dgm_dma_segment *last = plan->map->segments + plan->map->segment_count - 1;

    return plan->map->segment_count && last->bus.n + last->bytes == bus;
}

/* How many of `bytes` at `bus` one segment that already has `before` bytes can take. */
static uint32_t room(const struct dma_plan *plan, uint64_t bus, uint32_t before, uint32_t bytes)
{
    const struct dgm_dma_tag *tag = plan->tag;

    if (tag->segment_bytes_max)
        bytes = least(bytes, tag->segment_bytes_max - before);
    if (tag->boundary) {
        const uint64_t in = bus & (tag->boundary - 1);

        if (in == 0 && before)
            return 0;
        if (bytes > tag->boundary - in)
            bytes = (uint32_t)(tag->boundary - in);
    }
    return bytes;
}

/*
 * As above, for a segment that more must follow at once: it has to end where the next may start. 0
 * with nothing before: it cannot.
 */
static uint32_t room_to_go_on(const struct dma_plan *plan, uint64_t bus, uint32_t before,
                              uint32_t bytes)
{
    const struct dgm_dma_tag *tag = plan->tag;
    const uint32_t unit = tag->gap > tag->alignment ? tag->gap : tag->alignment;
    const uint32_t most = room(plan, bus, before, bytes);
    uint32_t over;

    if (most == bytes || unit == 0)
        return most;
    over = (uint32_t)((bus + most) & (unit - 1));
    return over <= most ? most - over : most;
}

/* Appends what is at `bus`; returns how many of `bytes` the device can be told of. */
static uint32_t append(struct dma_plan *plan, dgm_bus_t bus, uint32_t bytes)
{
    struct dgm_dma_map *map = plan->map;
    uint32_t done = 0;

    while (done < bytes) {
        const uint64_t at = bus.n + done;
        struct dgm_dma_segment *last = map->segments + map->segment_count - 1;
        uint32_t more = 0;

        if (follows(plan, at)) {
            more = room_to_go_on(plan, at, last->bytes, bytes - done);
            last->bytes += more;
        }
        if (more == 0) {
            if (map->segment_count == plan->tag->segments_max)
                break;
            if (!is_aligned(plan, at) ||
                (map->segment_count &&
                 (!on_gap(plan, last->bus.n + last->bytes) || !on_gap(plan, at)))) {
                plan->gap_broken = true;
                break;
            }
            more = room_to_go_on(plan, at, 0, bytes - done);
            if (more == 0) /* ends here, then: nothing can follow it */
                more = room(plan, at, 0, bytes - done);
            map->segments[map->segment_count++] = (struct dgm_dma_segment){{at}, more};
        }
        done += more;
    }
    map->bytes += done;
    return done;
}

/* --- bouncing --- */

static void chain(struct dma_plan *plan, uint16_t buffer, struct dgm_dma_bounced record)
{
    plan->dma->bounced[buffer] = record;
    if (plan->map->bounced == DGM_BOUNCE_NONE)
        plan->map->bounced = buffer;
    else
        plan->dma->bounce->next[plan->bounced_last] = buffer;
    plan->bounced_last = buffer;
}

/*
 * The last buffer goes on with `stretch`: bounced up to here, and the offsets follow. Where
 * segments have to be aligned they need not follow, it only has to fit: else pieces that start
 * anywhere would cost a buffer and a segment each.
 */
static bool continues(const struct dma_plan *plan, const struct dgm_dma_piece *stretch)
{
    const struct dgm_dma_bounced *last;

    if (plan->bounced_last == DGM_BOUNCE_NONE)
        return false;
    last = &plan->dma->bounced[plan->bounced_last];
    return last->at + last->bytes == plan->map->bytes &&
           (last->offset + last->bytes == stretch->offset ||
            (!is_aligned(plan, stretch->offset) &&
             last->offset + last->bytes <= (int)DGM_FRAME_BYTES - stretch->bytes));
}

/* A buffer, or DGM_BOUNCE_NONE. The device must reach some: dgm_dma_areas(). */
static uint16_t take_buffer(struct dma_plan *plan)
{
    const uint16_t spare = plan->spare;

    plan->spare = DGM_BOUNCE_NONE;
    if (spare != DGM_BOUNCE_NONE)
        return spare;
    return dgm_bounce_take(plan->dma->bounce, plan->share, plan->areas);
}

/* What the device is told for `bytes` bytes at `offset` of a buffer. */
static dgm_bus_t buffer_bus(const struct dma_plan *plan, uint16_t buffer, uint32_t offset,
                            uint32_t bytes)
{
    uint64_t address = 0;
    dgm_bus_t bus = {0};
    bool reached;

    reached =
        dgm_dma_address(plan->dma->p2m, plan->tag, plan->dma->bounce->gfn[buffer], &address) &&
        dgm_dma_bus(plan->tag, address + offset, bytes, &bus);
    dgm_assert(reached); /* as all of its area */
    return bus;
}

/*
 * Appends a buffer in place of `stretch`, which starts at `place`. The number of bytes appended, or
 * DGM_EAGAIN: no buffer is free. DGM_ERANGE: the device cannot reach the buffers either.
 */
static int bounce(struct dma_plan *plan, const struct dma_walk *place,
                  const struct dgm_dma_piece *stretch, enum dma_cause cause)
{
    const bool goes_on = continues(plan, stretch);
    const uint16_t buffer = goes_on ? plan->bounced_last : take_buffer(plan);
    const uint32_t aside = plan->tag->alignment ? stretch->offset & (plan->tag->alignment - 1) : 0;
    struct dgm_dma_bounced *record;
    dgm_bus_t bus;

    if (!plan->areas)
        return DGM_ERANGE;
    if (buffer == DGM_BOUNCE_NONE)
        return DGM_EAGAIN;
    if (!goes_on)
        chain(plan, buffer,
              (struct dgm_dma_bounced){.at = plan->map->bytes,
                                       .piece = place->piece,
                                       .skip = place->skip,
                                       .offset = (uint16_t)(stretch->offset - aside),
                                       .cause = (uint8_t)cause});
    record = &plan->dma->bounced[buffer];
    bus = buffer_bus(plan, buffer, record->offset + record->bytes, stretch->bytes);
    record->bytes = (uint16_t)(record->bytes + stretch->bytes); /* a cut takes back what is over */
    return (int)append(plan, bus, stretch->bytes);
}

/* --- cutting --- */

/*
 * Before everything is cut: the first buffer stays, so that the gathering has its one. Given back,
 * it would be the next one's turn, who may be in the same case: two could hand it over for ever.
 */
static void spare_first(struct dma_plan *plan)
{
    const uint16_t first = plan->map->bounced;

    if (first == DGM_BOUNCE_NONE)
        return;
    plan->map->bounced = plan->dma->bounce->next[first];
    plan->dma->bounce->next[first] = DGM_BOUNCE_NONE;
    plan->spare = first;
}

/* Keeps the first `keep` bytes: drops and shortens segments, gives back buffers. */
static void cut(struct dma_plan *plan, uint32_t keep)
{
    struct dgm_dma *dma = plan->dma;
    struct dgm_dma_map *map = plan->map;
    uint16_t *link = &map->bounced;
    uint32_t at = 0, count = 0;

    while (at < keep) {
        struct dgm_dma_segment *segment = &map->segments[count++];

        segment->bytes = least(segment->bytes, keep - at);
        at += segment->bytes;
    }
    map->segment_count = count;
    map->bytes = keep;

    plan->bounced_last = DGM_BOUNCE_NONE;
    while (*link != DGM_BOUNCE_NONE) {
        const uint16_t buffer = *link;
        struct dgm_dma_bounced *record = &dma->bounced[buffer];

        if (record->at < keep) {
            record->bytes = (uint16_t)least(record->bytes, keep - record->at);
            plan->bounced_last = buffer;
            link = &dma->bounce->next[buffer];
        } else {
            *link = dma->bounce->next[buffer];
            dgm_bounce_give(dma->bounce, buffer);
        }
    }
}

/* One buffer for the first bytes, as many as fit. DGM_OK or an error, with nothing held. */
static int gather(struct dma_plan *plan, uint32_t limit, enum dma_cause cause)
{
    const struct dgm_dma_tag *tag = plan->tag;
    struct dma_walk walk = plan->start;
    uint32_t bytes = 0;
    uint16_t buffer;

    limit = least(limit, DGM_FRAME_BYTES);
    if (tag->segment_bytes_max)
        limit = least(limit, tag->segment_bytes_max);
    if (tag->boundary && tag->boundary < limit)
        limit = (uint32_t)tag->boundary;
    limit = round_down(limit, tag->block_bytes);
    while (bytes < limit) {
        const struct dgm_dma_piece stretch = dgm_dma_walk_next(&walk, limit - bytes);

        if (stretch.bytes == 0)
            break;
        if (dgm_mfn_is_none(dgm_p2m_lookup(plan->dma->p2m, stretch.gfn)))
            return DGM_EFAULT;
        bytes += stretch.bytes;
    }
    dgm_assert(bytes && bytes % tag->block_bytes == 0); /* the pieces are whole blocks */

    if (!plan->areas)
        return DGM_ERANGE;
    buffer = take_buffer(plan);
    if (buffer == DGM_BOUNCE_NONE)
        return DGM_EAGAIN;
    chain(plan, buffer,
          (struct dgm_dma_bounced){.piece = plan->start.piece,
                                   .skip = plan->start.skip,
                                   .bytes = (uint16_t)bytes,
                                   .cause = (uint8_t)cause});
    (void)append(plan, buffer_bus(plan, buffer, 0, bytes), bytes);
    dgm_assert(plan->map->bytes == bytes && plan->map->segment_count == 1);
    return DGM_OK;
}

/* --- the whole --- */

/* Appends the stretch at `place` in the best way there is: bytes appended, or an error. */
static int take(struct dma_plan *plan, const struct dma_walk *place,
                const struct dgm_dma_piece *stretch, enum dma_cause *cause)
{
    const struct dgm_dma_tag *tag = plan->tag;
    uint64_t address;
    dgm_bus_t bus;

    if (!dgm_dma_address(plan->dma->p2m, tag, stretch->gfn, &address))
        return DGM_EFAULT;
    *cause = DMA_CAUSE_GAP; /* if less is appended than was given, that is why */
    if (!tag->coherent && plan->device_writes &&
        dgm_cachemaint_shares_line(stretch->offset, stretch->bytes))
        return bounce(plan, place, stretch, DMA_CAUSE_LINE);
    if (!dgm_dma_bus(tag, address + stretch->offset, stretch->bytes, &bus))
        return bounce(plan, place, stretch, DMA_CAUSE_REACH);
    if (plan->flush_refused && !tag->coherent && dgm_p2m_is_slot(plan->dma->p2m, stretch->gfn))
        return bounce(plan, place, stretch, DMA_CAUSE_FLUSH);
    if (!is_aligned(plan, bus.n) && !follows(plan, bus.n))
        return bounce(plan, place, stretch, DMA_CAUSE_GAP);
    return (int)append(plan, bus, stretch->bytes);
}

/*
 * Would a cut after `keep` bytes leave two transfers, this one and the next, writing into one cache
 * line of a device that is not coherent? Only when pieces are odd: disk blocks are whole lines.
 */
static bool splits_line(const struct dma_plan *plan, uint32_t keep)
{
    struct dma_walk walk = plan->start;
    struct dgm_dma_piece stretch = {0};

    if (plan->tag->coherent || !plan->device_writes)
        return false;
    for (uint32_t at = 0; at < keep; at += stretch.bytes)
        stretch = dgm_dma_walk_next(&walk, keep - at);
    return walk.skip && dgm_cachemaint_shares_line(stretch.offset, stretch.bytes);
}

static uint32_t limit_of(const struct dgm_dma_tag *tag)
{
    uint32_t limit = TRANSFER_BYTES_MAX;

    if (tag->transfer_bytes_max)
        limit = least(limit, tag->transfer_bytes_max);
    return round_down(limit, tag->block_bytes);
}

void dgm_dma_plan_drop(struct dma_plan *plan)
{
    cut(plan, 0);
    plan->gap_broken = false;
}

int dgm_dma_plan_make(struct dma_plan *plan)
{
    const uint32_t limit = limit_of(plan->tag);
    struct dma_walk walk = plan->start;
    enum dma_cause cause = DMA_CAUSE_GAP;
    uint32_t keep;

    plan->areas = dgm_dma_areas(plan->dma, plan->tag);
    while (plan->map->bytes < limit) {
        const struct dma_walk place = walk;
        const struct dgm_dma_piece stretch = dgm_dma_walk_next(&walk, limit - plan->map->bytes);
        int done;

        if (stretch.bytes == 0)
            break;
        done = take(plan, &place, &stretch, &cause);
        if (done == DGM_EFAULT || done == DGM_ERANGE) {
            cut(plan, 0);
            return done;
        }
        if (done == DGM_EAGAIN)
            cause = DMA_CAUSE_REACH;
        if (done < (int)stretch.bytes) /* no buffer, or not expressible: end here */
            break;
    }
    keep = round_down(plan->map->bytes, plan->tag->block_bytes);
    while (keep && splits_line(plan, keep))
        keep -= plan->tag->block_bytes;
    if (keep == 0)
        spare_first(plan);
    if (keep < plan->map->bytes || plan->bounced_last != DGM_BOUNCE_NONE)
        cut(plan, keep);
    if (keep)
        return DGM_OK;

    const int status = gather(plan, limit, cause);

    if (plan->spare != DGM_BOUNCE_NONE)
        dgm_bounce_give(plan->dma->bounce, plan->spare);
    plan->spare = DGM_BOUNCE_NONE;
    return status;
}
