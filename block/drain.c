/* SPDX-License-Identifier: MIT */
/*
 * drain: from the ring to requests whose frames are reached
 *
 * A drain takes entries until the ring is empty, its budget is spent, or something is short; then
 * that one entry is parked, and nothing more is taken until it has found its place. What is taken
 * is added to the batch at once: direct requests with all their segments, indirect ones with their
 * page. The first commit reaches these; then the indirect pages are copied out, each once, and
 * their segments make the second batch, if there are any. A request of which Xen wants to be asked
 * again for some frame stands aside, and goes through the same steps when it was.
 *
 * A request is admitted only with a record and with room for all of its frames at once, so that no
 * two requests ever hold half of what each needs.
 */
#include <block/internal.h>

#include <dragoman/base/check.h>
#include <string.h>

#define DRAIN_BUDGET 32u /* entries: a whole ring */

static struct dgm_blkif_limits drain_limits(const struct dgm_blkback *blkback)
{
    return (struct dgm_blkif_limits){
        .sectors = blkback->disk->blocks * (blkback->disk->block_bytes / DGM_BLKIF_SECTOR_BYTES),
        .block_bytes = blkback->disk->block_bytes,
        .segments_max = blkback->segments_max,
        .writable = blkback->writable,
    };
}

/* What the disk reads may be granted read-only; what it writes may not. */
static void add_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                         const struct blkif_request_segment *segments)
{
    const enum dgm_reach_direction direction =
        request->asked.operation == BLKIF_OP_WRITE ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST;

    for (uint16_t i = 0; i < request->asked.segment_count; i++) {
        const uint32_t sectors = segments[i].last_sect - segments[i].first_sect + 1u;
        const struct dgm_dma_piece piece = {
            .gfn = DGM_GFN_NONE,
            .offset = (uint16_t)(segments[i].first_sect * DGM_BLKIF_SECTOR_BYTES),
            .bytes = (uint16_t)(sectors * DGM_BLKIF_SECTOR_BYTES),
        };

        request->pieces[i] = piece;
        dgm_reach_add(&blkback->connection, &request->frames[i],
                      &(struct dgm_reach_piece){.ref = segments[i].gref,
                                                .offset = piece.offset,
                                                .bytes = piece.bytes,
                                                .direction = direction});
    }
    request->added = request->asked.segment_count;
}

/* Room for the frames of one request, or a place in the line where room comes. */
static bool reserve(struct dgm_blkback *blkback, uint32_t frames)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_queue *line =
        blkback->connection.mode == DGM_REACH_MODE_COPY ? &pool->buffers_line : &pool->slots_line;
    const int status = dgm_blkback_queue_is_free(line, &blkback->slots)
                           ? dgm_reach_reserve(&blkback->connection, frames)
                           : DGM_EAGAIN;

    if (status == DGM_EAGAIN) {
        dgm_blkback_queue_join(line, &blkback->slots);
        return false;
    }
    dgm_blkback_queue_leave(pool, &blkback->slots);
    if (status == DGM_OK)
        return true;
    dgm_blkback_queue_leave(pool, &blkback->record); /* who waits for himself is in nobody's way */
    dgm_waiters_add(&blkback->guest->waiters, &blkback->task);
    return false;
}

/* Takes one parsed request in: false if something is short, and then nothing is held. */
static bool admit(struct dgm_blkback *blkback, struct dgm_blkback_list *fresh,
                  const struct dgm_blkif_request *asked,
                  const struct blkif_request_segment *segments)
{
    const uint32_t frames = asked->segment_count + (asked->indirect ? 1u : 0u);

    if (!reserve(blkback, frames))
        return false;

    struct dgm_blkback_request *request =
        dgm_blkback_request_take(blkback->env.pool, &blkback->record, asked->segment_count);

    if (!request) {
        dgm_reach_unreserve(&blkback->connection, frames);
        return false;
    }
    request->owner = blkback;
    request->asked = *asked;
    request->issued = 0;
    request->added = 0;
    request->commands = 0;
    request->opened = !asked->indirect;
    request->waiting = request->failed = false;
    request->whole = asked->operation == BLKIF_OP_FLUSH_DISKCACHE && !blkback->disk->write_cache;
    request->refusal = DGM_BLKBACK_ACCEPTED;
    blkback->live++;

    if (asked->indirect)
        dgm_reach_add(&blkback->connection, &request->indirect,
                      &(struct dgm_reach_piece){
                          .ref = asked->indirect_ref,
                          .bytes = (uint16_t)(asked->segment_count * sizeof segments[0]),
                          .direction = DGM_REACH_FROM_GUEST});
    else
        add_segments(blkback, request, segments);
    dgm_blkback_append(fresh, request);
    return true;
}

/* Copies an indirect page's segments, each byte read once whatever the compiler would like. */
static void copy_segments(struct blkif_request_segment *to, dgm_gfn_t page, uint16_t count)
{
    const volatile uint64_t *from = dgm_env_va(page);

    for (uint16_t i = 0; i < count; i++) {
        const uint64_t segment = from[i];

        memcpy(&to[i], &segment, sizeof segment);
    }
}

/* The page of an indirect request is there or refused: adds what lies in it. */
static void open_indirect(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    struct blkif_request_segment *segments = blkback->env.pool->scratch;
    const struct dgm_blkif_limits limits = drain_limits(blkback);

    request->opened = true;
    if (request->indirect.foreign.status == DGM_OK) {
        copy_segments(segments, request->indirect.foreign.gfn, request->asked.segment_count);
        request->refusal = dgm_blkif_check_segments(&request->asked, &limits, segments);
    } else {
        request->refusal = DGM_BLKBACK_BAD_GRANT;
    }
    if (request->refusal == DGM_BLKBACK_ACCEPTED)
        add_segments(blkback, request, segments);
    else
        dgm_reach_unreserve(&blkback->connection, request->asked.segment_count);
}

/* Every status is final: a request with one bad reference is refused whole. */
static void settle(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    for (uint16_t i = 0; i < request->added; i++) {
        const struct dgm_foreign *foreign = &request->frames[i].foreign;

        if (foreign->status == DGM_OK) {
            request->pieces[i].gfn = foreign->gfn;
            blkback->counters.segments++;
        } else {
            request->refusal = DGM_BLKBACK_BAD_GRANT;
        }
    }
    if (request->refusal != DGM_BLKBACK_ACCEPTED) {
        dgm_blkback_complain(blkback, &request->asked, request->refusal);
        dgm_blkback_append(&blkback->finished, request);
        return;
    }
    if (request->asked.indirect)
        blkback->counters.indirect++;
    request->waiting = true;
    dgm_blkback_append(&blkback->waiting, request);
}

/* Some frame is still to be asked for. */
static bool unsettled(const struct dgm_blkback_request *request)
{
    if (!request->opened)
        return true;
    for (uint16_t i = 0; i < request->added; i++) {
        if (request->frames[i].foreign.status == DGM_EAGAIN)
            return true;
    }
    return false;
}

void dgm_blkback_reach(struct dgm_blkback *blkback, struct dgm_blkback_list *list)
{
    struct dgm_reach *reach = blkback->env.reach;

    dgm_reach_commit(reach);
    for (struct dgm_blkback_request *r = list->first; r; r = r->next) {
        if (!r->opened && r->indirect.foreign.status != DGM_EAGAIN)
            open_indirect(blkback, r);
    }
    dgm_reach_commit(reach);
    for (struct dgm_blkback_request *r; (r = dgm_blkback_pop(list));) {
        if (!unsettled(r)) {
            settle(blkback, r);
        } else {
            dgm_blkback_append(&blkback->reaching, r);
            dgm_waiters_add(&reach->waiters, &blkback->task);
        }
    }
}

/* The parked entry, or the next of the ring. 1, 0, or DGM_EPROTO as dgm_ring_take(). */
static int next_entry(struct dgm_blkback *blkback, uint8_t *entry)
{
    if (blkback->parked) {
        memcpy(entry, blkback->parked_entry, DGM_BLKIF_ENTRY_BYTES);
        return 1;
    }
    return dgm_ring_take(&blkback->ring, entry, DGM_BLKIF_ENTRY_BYTES);
}

/* Takes one entry in. False: it is parked, and the drain ends. */
static bool take_in(struct dgm_blkback *blkback, struct dgm_blkback_list *fresh,
                    const uint8_t *entry)
{
    struct blkif_request_segment segments[BLKIF_MAX_SEGMENTS_PER_REQUEST];
    struct dgm_blkif_request asked;
    const struct dgm_blkif_limits limits = drain_limits(blkback);
    const enum dgm_blkback_refusal refusal = dgm_blkif_parse(entry, &limits, &asked, segments);

    if (refusal != DGM_BLKBACK_ACCEPTED) {
        dgm_blkback_complain(blkback, &asked, refusal);
        dgm_blkback_answer(blkback, &asked, dgm_blkif_status(refusal));
    } else if (!admit(blkback, fresh, &asked, segments)) {
        if (!blkback->parked)
            memcpy(blkback->parked_entry, entry, DGM_BLKIF_ENTRY_BYTES);
        blkback->parked = true;
        blkback->counters.waits++;
        return false;
    }
    blkback->parked = false;
    return true;
}

void dgm_blkback_drain(struct dgm_blkback *blkback)
{
    struct dgm_blkback_list fresh = {0};
    uint8_t entry[DGM_BLKIF_ENTRY_BYTES];
    uint32_t turn = 0;
    int got = 0;

    /* Turns that find nothing count too: a guest that plays with its index gains
     * no more of them. */
    for (; turn < DRAIN_BUDGET; turn++) {
        got = next_entry(blkback, entry);
        if (got < 0)
            break;
        if (got == 0) {
            if (!dgm_ring_final_check(&blkback->ring))
                break;
        } else if (!take_in(blkback, &fresh, entry)) {
            break;
        }
    }
    if (turn == DRAIN_BUDGET)
        dgm_reactor_post(blkback->env.reactor, &blkback->task);

    if (fresh.first) {
        blkback->counters.drains++;
        dgm_blkback_reach(blkback, &fresh);
    }
    if (got < 0) {
        blkback->counters.ring_overflows++;
        dgm_xenbus_fail(&blkback->xenbus, got, "producer index beyond the ring");
    }
}
