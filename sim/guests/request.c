/* SPDX-License-Identifier: MIT */
/*
 * request: one request of an honest guest; response.c checks its result
 *
 * Requests have every shape that Linux makes and some that it could make: whole frames, sectors
 * within frames (two requests may share a frame, as may two segments of one), gaps in the middle,
 * up to 256 indirect segments. Data to be written are granted read-only or not, at random.
 */
#include <sim/machine/machine.h>

#include <string.h>

uint64_t request_user(const struct request *request, const struct front *front)
{
    return front->index * FRONT_REQUESTS + (uint64_t)(request - front->requests) + 1;
}

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

/* Takes `wanted` adjacent free sectors in some frame; false: a few tries found none. A frame with a
 * persistent grant is used by one segment at a time. */
static bool take_sectors(struct front *front, uint16_t near, uint8_t wanted, bool align,
                         struct request_segment *segment)
{
    struct sim_guest *guest = front->guest;
    const bool whole = front->persistent;
    const uint16_t frames = whole ? front->pool_frames : front->frames_count;
    const uint16_t first_frame = front->frames_first;

    for (unsigned tries = 0; tries < 12; tries++) {
        const uint16_t frame = tries == 0 && near >= first_frame && near - first_frame < frames
                                   ? near
                                   : (uint16_t)(first_frame + rng_below(&guest->rng, frames));
        const uint8_t first =
            align ? 0 : (uint8_t)rng_below(&guest->rng, FRAME_SECTORS - wanted + 1u);
        const uint8_t mask = sectors_mask(first, (uint8_t)(first + wanted - 1));

        if (guest->lost[frame] || (guest->taken[frame] & (whole ? 0xff : mask)))
            continue;
        guest->taken[frame] |= whole ? 0xff : mask;
        *segment = (struct request_segment){
            .frame = frame, .first = first, .last = (uint8_t)(first + wanted - 1), .whole = whole};
        return true;
    }
    return false;
}

void give_sectors(struct sim_guest *guest, const struct request_segment *segment)
{
    const uint8_t mask = segment->whole ? 0xff : sectors_mask(segment->first, segment->last);

    guest->taken[segment->frame] &= (uint8_t)~mask;
}

/* --- segments --- */

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

/* Takes segments whose sum is whole blocks. `count` is 0 if memory is short. */
static void take_segments(struct front *front, struct request *request)
{
    struct sim_guest *guest = front->guest;
    const unsigned count =
        front->reads_frames ? front->reads_frames : pick_count(guest, front->segments_max);
    const enum shape shape =
        front->reads_frames ? SHAPE_PAGES : (enum shape)rng_below(&guest->rng, 3);
    const uint32_t block = front->block_sectors;
    uint16_t near = UINT16_MAX;

    if (sim.options.steady_depth) /* each request has its own frames */
        near = (uint16_t)(front->frames_first + (request - front->requests) * count);
    for (unsigned i = 0; i < count; i++) {
        uint8_t wanted = segment_sectors(guest, shape, i, count);
        struct request_segment *segment = &request->segments[request->count];

        if (i + 1 == count && request->sectors + wanted > block &&
            (request->sectors + wanted) % block)
            wanted = (uint8_t)(block - request->sectors % block);
        else if (i + 1 == count && !sim.options.steady_depth)
            wanted = (uint8_t)(block - request->sectors % block);
        if (wanted > FRAME_SECTORS)
            wanted = FRAME_SECTORS;
        if (!take_sectors(front, near, wanted, shape == SHAPE_PAGES, segment))
            break;
        near = (uint16_t)(segment->frame + (shape == SHAPE_ODD ? 0 : 1));
        request->sectors += wanted;
        request->count++;
    }
    while (request->count &&
           request->sectors % block) { /* memory was short: reduced to whole blocks */
        const struct request_segment *last = &request->segments[request->count - 1];
        const uint32_t over = (uint32_t)(request->sectors % block);
        const uint32_t has = last->last - last->first + 1u;

        if (has > over) {
            struct request_segment rest = *last;

            rest.first = (uint8_t)(last->last - over + 1);
            if (!rest.whole)
                give_sectors(guest, &rest);
            request->segments[request->count - 1].last = (uint8_t)(last->last - over);
            request->sectors -= over;
        } else {
            give_sectors(guest, last);
            request->sectors -= has;
            request->count--;
        }
    }
}

static uint64_t oldest_read(const struct front *front)
{
    uint64_t oldest = UINT64_MAX;

    for (unsigned i = 0; i < FRONT_REQUESTS; i++) {
        const struct request *request = &front->requests[i];

        if (request->state != REQUEST_FREE && request->operation == BLKIF_OP_READ &&
            request->since < oldest)
            oldest = request->since;
    }
    return oldest;
}

static void pick_place(struct front *front, struct request *request)
{
    struct rng *rng = &front->guest->rng;
    const uint64_t blocks = front->model.sectors / front->block_sectors;
    const uint64_t wanted = request->sectors / front->block_sectors;
    uint64_t block = rng_below(rng, blocks - wanted + 1);

    if (rng_below(rng, 3) == 0) /* a small region, so that requests overlap */
        block = rng_below(rng, 64);
    if (rng_below(rng, 40) == 0)
        block = blocks - wanted;
    request->sector = block * front->block_sectors;
}

/* Fills the memory of a write; poisons the memory of a read. */
static void prepare_request(struct front *front, struct request *request)
{
    struct sim_guest *guest = front->guest;
    uint64_t sector = request->sector;

    for (unsigned i = 0; i < request->count; i++) {
        const struct request_segment *segment = &request->segments[i];

        for (uint8_t s = segment->first; s <= segment->last; s++, sector++) {
            uint8_t *expected = sector_expected(guest, segment->frame, s);

            if (request->operation == BLKIF_OP_WRITE)
                model_fill(front->disk, sector, request->stamp, expected);
            else
                memset(expected, (int)(0xa0 | guest->domid), SECTOR);
            memcpy(sector_va(guest, segment->frame, s), expected, SECTOR);
        }
    }
}

static void grant_segments(struct front *front, struct request *request)
{
    struct sim_guest *guest = front->guest;
    const bool readonly = request->operation == BLKIF_OP_WRITE && rng_below(&guest->rng, 2);

    for (unsigned i = 0; i < request->count; i++) {
        struct request_segment *segment = &request->segments[i];

        if (front->persistent) {
            segment->ref = guest_pool_ref(guest, GUEST_DATA_GFN + segment->frame);
            guest->ref_user[segment->ref] = request_user(request, front);
            continue;
        }
        if (i && request->segments[i - 1].frame == segment->frame && rng_below(&guest->rng, 2)) {
            segment->ref = request->segments[i - 1].ref; /* one reference, mapped twice */
            continue;
        }
        segment->ref = guest_grant(guest, GUEST_DATA_GFN + segment->frame, readonly);
        guest->ref_user[segment->ref] = request_user(request, front);
    }
}

static void write_direct(struct front *front, const struct request *request)
{
    struct blkif_request entry;
    struct blkif_request *slot = RING_GET_REQUEST(&front->ring, front->ring.req_prod_pvt++);

    memset(&entry, 0, sizeof entry);
    entry.operation = request->operation;
    entry.nr_segments = (uint8_t)request->count;
    entry.id = request->id;
    entry.sector_number = request->sector;
    for (unsigned i = 0; i < request->count; i++)
        entry.seg[i] = (struct blkif_request_segment){
            request->segments[i].ref, request->segments[i].first, request->segments[i].last};
    memcpy(slot, &entry, sizeof entry);
}

static void write_indirect(struct front *front, struct request *request)
{
    struct sim_guest *guest = front->guest;
    const unsigned index = (unsigned)(request - front->requests);
    struct blkif_request_indirect entry;
    struct blkif_request_segment *list = guest_page(guest, front_indirect_gfn(front, index));
    void *slot = RING_GET_REQUEST(&front->ring, front->ring.req_prod_pvt++);

    watch_list_begins(front, index);
    for (unsigned i = 0; i < request->count; i++)
        list[i] = (struct blkif_request_segment){
            request->segments[i].ref, request->segments[i].first, request->segments[i].last};
    if (front->persistent)
        request->indirect_ref = guest_pool_ref(guest, front_indirect_gfn(front, index));
    else
        request->indirect_ref =
            guest_grant(guest, front_indirect_gfn(front, index), rng_below(&guest->rng, 2) == 0);
    guest->ref_user[request->indirect_ref] = request_user(request, front);
    memset(&entry, 0, sizeof entry);
    entry.operation = BLKIF_OP_INDIRECT;
    entry.indirect_op = request->operation;
    entry.nr_segments = request->count;
    entry.id = request->id;
    entry.sector_number = request->sector;
    entry.indirect_grefs[0] = request->indirect_ref;
    memcpy(slot, &entry, sizeof entry);
}

static struct request *free_request(struct front *front)
{
    for (unsigned i = 0; i < FRONT_REQUESTS; i++)
        if (front->requests[i].state == REQUEST_FREE)
            return &front->requests[i];
    return NULL;
}

bool request_submit(struct front *front)
{
    struct sim_guest *guest = front->guest;
    struct request *request = free_request(front);

    if (!request || RING_FULL(&front->ring))
        return false;
    request->count = 0;
    request->sectors = request->sector = 0;
    request->stamp = 0;
    request->may_fail = request->must_fail = request->unwritten = false;
    request->operation = front->reads_frames || !front->writable || rng_below(&guest->rng, 2)
                             ? BLKIF_OP_READ
                             : BLKIF_OP_WRITE;
    if (front->flush && !front->reads_frames && rng_below(&guest->rng, 12) == 0)
        request->operation = BLKIF_OP_FLUSH_DISKCACHE;
    if (request->operation != BLKIF_OP_FLUSH_DISKCACHE) {
        take_segments(front, request);
        if (request->count == 0)
            return false;
        pick_place(front, request);
        if (request->operation == BLKIF_OP_WRITE &&
            !model_may_write(&front->model, request->sector, request->sectors, oldest_read(front)))
            request->operation = BLKIF_OP_READ;
    }
    request->indirect = request->count > BLKIF_MAX_SEGMENTS_PER_REQUEST ||
                        (request->count && front->segments_max > BLKIF_MAX_SEGMENTS_PER_REQUEST &&
                         rng_below(&guest->rng, 8) == 0);
    request->since = model_moment(&front->model);
    if (request->operation == BLKIF_OP_WRITE)
        request->stamp = model_write(&front->model, request->sector, request->sectors);
    request->id = ++front->next_id << 8 | (uint64_t)(request - front->requests);
    request->deadline_ns = sim_now() + sim_patience_ns(front);
    request->state = REQUEST_UNDER_WAY;
    prepare_request(front, request);
    grant_segments(front, request);
    if (request->indirect)
        write_indirect(front, request);
    else
        write_direct(front, request);
    front->in_flight++;
    NOTE("guest %llu submits %llu: operation %llu sector %llu, %llu sectors in %llu segments",
         guest->domid, request->id, request->operation, request->sector, request->sectors,
         request->count);
    return true;
}
