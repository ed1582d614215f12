/* SPDX-License-Identifier: MIT */
/*
 * ask: one request of an honest guest; answer.c judges what comes of it
 *
 * Requests are of every shape that Linux makes and some that it could: whole frames, sectors within
 * frames (two requests may share a frame, and two segments of one), gaps in the middle, up to 256
 * indirect segments. Data to be written are granted read-only or not, as chance has it.
 */
#include <sim/machine/machine.h>

#include <string.h>

/* --- the guest's frames, in sectors --- */

static uint8_t sectors_mask(uint8_t first, uint8_t last)
{
    return (uint8_t)((1u << (last + 1)) - (1u << first));
}

uint8_t *sector_va(const struct sim_guest *guest, uint16_t frame, uint8_t sector)
{
    return (uint8_t *)guest_page(guest, GUEST_DATA_GFN + frame) + sector * SECTOR;
}

uint8_t *sector_expected(struct sim_guest *guest, uint16_t frame, uint8_t sector)
{
    return guest->expected[frame] + sector * SECTOR;
}

/* `wanted` sectors side by side in some frame, if they can be found by a few looks. A frame with a
 * persistent grant is used by one segment at a time. */
static bool take_sectors(struct sim_guest *guest, uint16_t near, uint8_t wanted, bool align,
                         struct ask_segment *segment)
{
    const bool whole = guest->front.persistent;
    const uint16_t frames = whole ? guest->front.pool_frames : GUEST_DATA_FRAMES;

    for (unsigned tries = 0; tries < 12; tries++) {
        const uint16_t frame =
            tries == 0 && near < frames ? near : (uint16_t)rng_below(&guest->rng, frames);
        const uint8_t first =
            align ? 0 : (uint8_t)rng_below(&guest->rng, FRAME_SECTORS - wanted + 1u);
        const uint8_t mask = sectors_mask(first, (uint8_t)(first + wanted - 1));

        if (guest->lost[frame] || (guest->taken[frame] & (whole ? 0xff : mask)))
            continue;
        guest->taken[frame] |= whole ? 0xff : mask;
        *segment = (struct ask_segment){
            .frame = frame, .first = first, .last = (uint8_t)(first + wanted - 1), .whole = whole};
        return true;
    }
    return false;
}

void give_sectors(struct sim_guest *guest, const struct ask_segment *segment)
{
    const uint8_t mask = segment->whole ? 0xff : sectors_mask(segment->first, segment->last);

    guest->taken[segment->frame] &= (uint8_t)~mask;
}

/* --- making one --- */

enum shape { SHAPE_PAGES, SHAPE_STREAM, SHAPE_ODD };

static uint8_t segment_sectors(struct sim_guest *guest, enum shape shape, unsigned i,
                               unsigned count)
{
    if (shape == SHAPE_PAGES)
        return FRAME_SECTORS;
    if (shape == SHAPE_STREAM && i > 0 && i + 1 < count)
        return FRAME_SECTORS;
    return (uint8_t)rng_range(&guest->rng, 1, FRAME_SECTORS);
}

static unsigned pick_count(struct sim_guest *guest, unsigned most)
{
    const uint64_t kind = rng_below(&guest->rng, 10);

    if (kind < 4)
        return 1;
    if (kind < 7)
        return (unsigned)rng_range(&guest->rng, 1, most < 11 ? most : 11);
    if (kind < 9)
        return (unsigned)rng_range(&guest->rng, 1, most < 33 ? most : 33);
    return (unsigned)rng_range(&guest->rng, 1, most);
}

/* Segments whose sum is whole blocks; at least one, or the ask has count 0. */
static void take_segments(struct front *front, struct ask *ask)
{
    struct sim_guest *guest = front->guest;
    const unsigned count = pick_count(guest, front->segments_max);
    const enum shape shape = (enum shape)rng_below(&guest->rng, 3);
    const uint32_t block = front->block_sectors;
    uint16_t near = UINT16_MAX;

    for (unsigned i = 0; i < count; i++) {
        uint8_t wanted = segment_sectors(guest, shape, i, count);
        struct ask_segment *segment = &ask->segments[ask->count];

        if (i + 1 == count && ask->sectors + wanted > block && (ask->sectors + wanted) % block)
            wanted = (uint8_t)(block - ask->sectors % block);
        else if (i + 1 == count)
            wanted = (uint8_t)(block - ask->sectors % block);
        if (wanted > FRAME_SECTORS)
            wanted = FRAME_SECTORS;
        if (!take_sectors(guest, near, wanted, shape == SHAPE_PAGES, segment))
            break;
        near = (uint16_t)(segment->frame + (shape == SHAPE_ODD ? 0 : 1));
        ask->sectors += wanted;
        ask->count++;
    }
    while (ask->count && ask->sectors % block) { /* memory was short: whole blocks again */
        const struct ask_segment *last = &ask->segments[ask->count - 1];
        const uint32_t over = (uint32_t)(ask->sectors % block);
        const uint32_t has = last->last - last->first + 1u;

        if (has > over) {
            struct ask_segment rest = *last;

            rest.first = (uint8_t)(last->last - over + 1);
            if (!rest.whole)
                give_sectors(guest, &rest);
            ask->segments[ask->count - 1].last = (uint8_t)(last->last - over);
            ask->sectors -= over;
        } else {
            give_sectors(guest, last);
            ask->sectors -= has;
            ask->count--;
        }
    }
}

static uint64_t oldest_read(const struct front *front)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < RING_ENTRIES; i++) {
        const struct ask *ask = &front->asks[i];

        if (ask->state != ASK_FREE && ask->operation == BLKIF_OP_READ && ask->since < oldest)
            oldest = ask->since;
    }
    return oldest;
}

static void pick_place(struct front *front, struct ask *ask)
{
    struct rng *rng = &front->guest->rng;
    const uint64_t blocks = front->model.sectors / front->block_sectors;
    const uint64_t wanted = ask->sectors / front->block_sectors;
    uint64_t block = rng_below(rng, blocks - wanted + 1);

    if (rng_below(rng, 3) == 0) /* a crowded corner, so that requests overlap */
        block = rng_below(rng, 64);
    if (rng_below(rng, 40) == 0)
        block = blocks - wanted;
    ask->sector = block * front->block_sectors;
}

/* Fills what is to be written; poisons what is to be read, to see what comes back. */
static void prepare(struct front *front, struct ask *ask)
{
    struct sim_guest *guest = front->guest;
    uint64_t sector = ask->sector;

    for (unsigned i = 0; i < ask->count; i++) {
        const struct ask_segment *segment = &ask->segments[i];

        for (uint8_t s = segment->first; s <= segment->last; s++, sector++) {
            uint8_t *expected = sector_expected(guest, segment->frame, s);

            if (ask->operation == BLKIF_OP_WRITE)
                model_fill(front->disk, sector, ask->stamp, expected);
            else
                memset(expected, (int)(0xa0 | guest->domid), SECTOR);
            memcpy(sector_va(guest, segment->frame, s), expected, SECTOR);
        }
    }
}

static void grant_segments(struct front *front, struct ask *ask)
{
    struct sim_guest *guest = front->guest;
    const unsigned index = (unsigned)(ask - front->asks);
    const bool readonly = ask->operation == BLKIF_OP_WRITE && rng_below(&guest->rng, 2);

    for (unsigned i = 0; i < ask->count; i++) {
        struct ask_segment *segment = &ask->segments[i];

        if (front->persistent) {
            segment->ref = guest_pool_ref(guest, GUEST_DATA_GFN + segment->frame);
            guest->ref_user[segment->ref] = index + 1;
            continue;
        }
        if (i && ask->segments[i - 1].frame == segment->frame && rng_below(&guest->rng, 2)) {
            segment->ref = ask->segments[i - 1].ref; /* one reference, mapped twice */
            continue;
        }
        segment->ref = guest_grant(guest, GUEST_DATA_GFN + segment->frame, readonly);
        guest->ref_user[segment->ref] = index + 1;
    }
}

static void write_direct(struct front *front, const struct ask *ask)
{
    struct blkif_request request;
    struct blkif_request *slot = RING_GET_REQUEST(&front->ring, front->ring.req_prod_pvt++);

    memset(&request, 0, sizeof request);
    request.operation = ask->operation;
    request.nr_segments = (uint8_t)ask->count;
    request.id = ask->id;
    request.sector_number = ask->sector;
    for (unsigned i = 0; i < ask->count; i++)
        request.seg[i] = (struct blkif_request_segment){
            ask->segments[i].ref, ask->segments[i].first, ask->segments[i].last};
    memcpy(slot, &request, sizeof request);
}

static void write_indirect(struct front *front, struct ask *ask)
{
    struct sim_guest *guest = front->guest;
    const unsigned index = (unsigned)(ask - front->asks);
    struct blkif_request_indirect request;
    struct blkif_request_segment *list = guest_page(guest, GUEST_INDIRECT_GFN + index);
    void *slot = RING_GET_REQUEST(&front->ring, front->ring.req_prod_pvt++);

    watch_list_begins(guest, index);
    for (unsigned i = 0; i < ask->count; i++)
        list[i] = (struct blkif_request_segment){ask->segments[i].ref, ask->segments[i].first,
                                                 ask->segments[i].last};
    if (front->persistent)
        ask->indirect_ref = guest_pool_ref(guest, GUEST_INDIRECT_GFN + index);
    else
        ask->indirect_ref =
            guest_grant(guest, GUEST_INDIRECT_GFN + index, rng_below(&guest->rng, 2) == 0);
    guest->ref_user[ask->indirect_ref] = index + 1;
    memset(&request, 0, sizeof request);
    request.operation = BLKIF_OP_INDIRECT;
    request.indirect_op = ask->operation;
    request.nr_segments = ask->count;
    request.id = ask->id;
    request.sector_number = ask->sector;
    request.indirect_grefs[0] = ask->indirect_ref;
    memcpy(slot, &request, sizeof request);
}

static struct ask *free_ask(struct front *front)
{
    for (unsigned i = 0; i < RING_ENTRIES; i++)
        if (front->asks[i].state == ASK_FREE)
            return &front->asks[i];
    return NULL;
}

bool ask_submit(struct front *front)
{
    struct sim_guest *guest = front->guest;
    struct ask *ask = free_ask(front);

    if (!ask || RING_FULL(&front->ring))
        return false;
    ask->count = 0;
    ask->sectors = ask->sector = 0;
    ask->stamp = 0;
    ask->hit = ask->must_fail = ask->unwritten = false;
    ask->operation = rng_below(&guest->rng, 2) ? BLKIF_OP_READ : BLKIF_OP_WRITE;
    if (front->flush && rng_below(&guest->rng, 12) == 0)
        ask->operation = BLKIF_OP_FLUSH_DISKCACHE;
    if (ask->operation != BLKIF_OP_FLUSH_DISKCACHE) {
        take_segments(front, ask);
        if (ask->count == 0)
            return false;
        pick_place(front, ask);
        if (ask->operation == BLKIF_OP_WRITE &&
            !model_may_write(&front->model, ask->sector, ask->sectors, oldest_read(front)))
            ask->operation = BLKIF_OP_READ;
    }
    ask->indirect = ask->count > BLKIF_MAX_SEGMENTS_PER_REQUEST ||
                    (ask->count && front->segments_max > BLKIF_MAX_SEGMENTS_PER_REQUEST &&
                     rng_below(&guest->rng, 8) == 0);
    ask->since = model_moment(&front->model);
    if (ask->operation == BLKIF_OP_WRITE)
        ask->stamp = model_write(&front->model, ask->sector, ask->sectors);
    ask->id = ++front->next_id << 8 | (uint64_t)(ask - front->asks);
    ask->deadline_ns = sim_now() + sim_patience_ns();
    ask->state = ASK_WAITING;
    prepare(front, ask);
    grant_segments(front, ask);
    if (ask->indirect)
        write_indirect(front, ask);
    else
        write_direct(front, ask);
    front->under_way++;
    NOTE("guest %llu asks %llu: operation %llu sector %llu, %llu sectors in %llu segments",
         guest->domid, ask->id, ask->operation, ask->sector, ask->sectors, ask->count);
    return true;
}
