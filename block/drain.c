/* SPDX-License-Identifier: MIT */
/*
 * drain: from the ring to requests whose frames are reached
 *
 * A drain takes entries until the ring is empty, its budget is spent, or a resource is short. In
 * the last case the last entry stays pending, and the ring is not drained further until that entry
 * has been accepted. Frames of accepted requests are added to the batch: of direct requests all
 * segments, of indirect ones the page. The first commit reaches these. Then each indirect page is
 * copied out once, and the second commit, if one is needed, reaches their segments. A request with
 * a frame for which Xen returned GNTST_eagain is parked and takes the same steps after the retry.
 *
 * A request is admitted only with a record and with room for all of its frames, so two requests
 * never each hold half of the room that they need.
 */
#include <block/internal.h>

#define DRAIN_BUDGET 33u /* tries: a whole ring, and the one that finds it empty */

/* All fields of a request, and the first segment of a direct one. */
#define ENTRY_HEAD_BYTES 32u

_Static_assert(offsetof(struct blkif_request, seg) + sizeof(struct blkif_request_segment) ==
                       ENTRY_HEAD_BYTES &&
                   offsetof(struct blkif_request_indirect, indirect_grefs) + sizeof(grant_ref_t) <=
                       ENTRY_HEAD_BYTES,
               "what every request has lies in the head");

/* Takes the next entry, the rest of it only where a request has further segments. */
static int take_entry(struct dgm_blkback *blkback)
{
    struct blkif_request *direct = &blkback->entry.direct;
    const int got = dgm_ring_take(&blkback->ring, direct, ENTRY_HEAD_BYTES);

    if (got == 1 && direct->operation != BLKIF_OP_INDIRECT && direct->nr_segments > 1)
        dgm_ring_take_rest(&blkback->ring, direct, ENTRY_HEAD_BYTES);
    return got;
}

/* Returns what the requests of a run have reserved and not used. */
static void return_room(struct dgm_blkback *blkback)
{
    dgm_reach_unreserve(&blkback->connection, blkback->frames_reserved);
    blkback->frames_reserved = 0;
}

/* Reserves slots or copy buffers of the machine, which are short only if the quotas of all guests
 * together exceed them. Reservations that requests of the same run did not use are used first: so
 * one is enough for all requests whose frames are mapped already. False: the device waits for
 * room. */
static bool reserve_room(struct dgm_blkback *blkback, uint32_t frames)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_queue *queue = blkback->connection.mode == DGM_REACH_MODE_COPY
                                          ? &pool->copy_buffers_queue
                                          : &pool->slots_queue;
    int status = DGM_EAGAIN;

    if (frames <= blkback->frames_reserved && !queue->first) {
        blkback->frames_reserved -= frames;
        return true;
    }
    return_room(blkback);
    if (dgm_blkback_queue_admits(queue, &blkback->frames_waiter))
        status = dgm_reach_reserve(&blkback->connection, frames);
    if (status == DGM_EAGAIN) {
        dgm_blkback_queue_join(queue, &blkback->frames_waiter);
        return false;
    }
    dgm_blkback_queue_leave(pool->reactor, &blkback->frames_waiter);
    if (status == DGM_OK)
        return true;
    /* The guest's quota is used up by other things than requests, such as slots that were lost. */
    dgm_waiters_add(&blkback->guest->waiters, &blkback->task);
    return false;
}

/* Takes room for the frames of one request, of the device's share of its guest's quota. False: the
 * device waits for room, and gives up its entry in the queue for records,
 * which it cannot use now. */
static bool take_frames(struct dgm_blkback *blkback, uint32_t frames)
{
    struct dgm_blkback_share *share = dgm_blkback_frames_share(blkback);

    if (dgm_blkback_share_take(share, frames)) {
        if (reserve_room(blkback, frames))
            return true;
        dgm_blkback_share_undo(share, frames);
    }
    dgm_blkback_leave_records(blkback);
    return false;
}

/* Called when the status of an indirect request's page is final: copies, checks and reaches its
 * segments. */
static void read_indirect_page(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    request->segments_known = true;
    if (request->indirect.foreign.status == DGM_OK)
        dgm_blkback_read_segments(blkback, request, request->indirect.foreign.gfn);
    else
        request->refusal = DGM_BLKBACK_BAD_GRANT;
    dgm_blkback_reach_segments(blkback, request, blkback->env.pool->segments);
}

/* Reads the page of an indirect request, if the connection has it mapped already. */
static void use_indirect_page(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    dgm_gfn_t page;

    if (!dgm_reach_use(&blkback->connection, blkback->env.reach->persistent, &request->indirect,
                       request->parsed.indirect_ref, &page))
        return;
    dgm_blkback_read_segments(blkback, request, page);
    dgm_reach_count_used(&blkback->connection, 1);
    dgm_reach_unuse(&blkback->connection, &request->indirect, 1);
    blkback->frames_reserved++;
}

/* Makes the pieces of the request for dma. DGM_OK: all frames are reached. DGM_EAGAIN: the status
 * of some frame is not final. Otherwise the error of some frame. */
static int pieces_of(struct dgm_blkback_request *request)
{
    int result = DGM_OK;

    if (!request->segments_known)
        return DGM_EAGAIN;
    for (uint16_t i = 0; i < request->added; i++) {
        const struct dgm_reach_frame *frame = &request->frames[i];

        if (frame->foreign.status == DGM_EAGAIN)
            return DGM_EAGAIN;
        if (frame->foreign.status != DGM_OK)
            result = frame->foreign.status;
        request->pieces[i] = (struct dgm_dma_piece){
            .gfn = frame->foreign.gfn, .offset = frame->piece.offset, .bytes = frame->piece.bytes};
    }
    return result;
}

/* Moves the request, whose frames are reached unless it is refused, to `issuing`. */
static void settle_request(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    if (request->refusal != DGM_BLKBACK_ACCEPTED) {
        dgm_blkback_note_refusal(blkback, &request->parsed, request->refusal);
        dgm_blkback_append(&blkback->finished, request);
        return;
    }
    blkback->counters.segments += request->parsed.segment_count;
    if (request->parsed.indirect)
        blkback->counters.indirect++;
    request->in_issuing = true;
    dgm_blkback_append(&blkback->issuing, request);
}

/* Settles a request after a commit: it is refused if a reference is bad, and parked while some
 * frame waits for a retry. */
static void settle_added(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    const int status = pieces_of(request);

    if (status == DGM_EAGAIN) {
        dgm_blkback_append(&blkback->parked, request);
        dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
        return;
    }
    if (status != DGM_OK)
        request->refusal = DGM_BLKBACK_BAD_GRANT;
    settle_request(blkback, request);
}

void dgm_blkback_reach(struct dgm_blkback *blkback, struct dgm_blkback_list *list)
{
    struct dgm_reach *reach = blkback->env.reach;

    dgm_reach_commit(reach);
    for (struct dgm_blkback_request *r = list->first; r; r = r->next) {
        if (!r->segments_known && r->indirect.foreign.status != DGM_EAGAIN)
            read_indirect_page(blkback, r);
    }
    dgm_reach_commit(reach);
    return_room(blkback);
    for (struct dgm_blkback_request *r; (r = dgm_blkback_pop(list));)
        settle_added(blkback, r);
}

/* Reaches the frames of an admitted request; if that needs a commit, adds it to `fresh`. */
static void reach_request(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                          struct dgm_blkback_list *fresh)
{
    const bool indirect = request->parsed.indirect;

    if (indirect && blkback->connection.persistent)
        use_indirect_page(blkback, request);
    if (!request->segments_known) {
        request->indirect.piece =
            (struct dgm_reach_piece){.ref = request->parsed.indirect_ref,
                                     .bytes = (uint16_t)(request->parsed.segment_count *
                                                         sizeof(struct blkif_request_segment)),
                                     .direction = DGM_REACH_FROM_GUEST};
        blkback->frames_reserved += dgm_reach_add(&blkback->connection, &request->indirect, 1);
    } else if (dgm_blkback_reach_segments(blkback, request,
                                          indirect ? blkback->env.pool->segments
                                                   : blkback->entry.direct.seg)) {
        settle_request(blkback, request);
        return;
    }
    dgm_blkback_append(fresh, request);
}

/* Admits a parsed request to `fresh`. False: a resource is short, and nothing is held. */
static bool admit_request(struct dgm_blkback *blkback, struct dgm_blkback_list *fresh,
                          const struct dgm_blkif_request *parsed)
{
    const uint32_t frames = dgm_blkif_frames(parsed);

    if (!take_frames(blkback, frames))
        return false;

    struct dgm_blkback_request *request = dgm_blkback_request_take(blkback, parsed->segment_count);

    if (!request) {
        blkback->frames_reserved += frames;
        dgm_blkback_share_undo(dgm_blkback_frames_share(blkback), frames);
        return false;
    }
    request->parsed = *parsed;
    request->issued = 0;
    request->added = request->used = 0;
    request->commands = 0;
    request->segments_known = !parsed->indirect;
    request->in_issuing = request->failed = false;
    request->fully_issued =
        parsed->operation == BLKIF_OP_FLUSH_DISKCACHE && !blkback->disk->write_cache;
    request->refusal = DGM_BLKBACK_ACCEPTED;
    blkback->records_used++;
    reach_request(blkback, request, fresh);
    return true;
}

/* Parses the last entry taken, admits or refuses the request, and adds its work. False: a
 * resource is short; the entry stays pending, and the drain ends. */
static bool accept_entry(struct dgm_blkback *blkback, const struct dgm_blkif_limits *limits,
                         struct dgm_blkback_list *fresh)
{
    struct dgm_blkif_request parsed;
    const enum dgm_blkback_refusal refusal = dgm_blkif_parse(&blkback->entry, limits, &parsed);

    if (blkback->flush_given_up && refusal == DGM_BLKBACK_ACCEPTED &&
        parsed.operation != BLKIF_OP_READ) { /* see flush.c */
        blkback->counters.device_errors++;
        if (parsed.operation == BLKIF_OP_WRITE)
            dgm_blkback_respond(blkback, &parsed, BLKIF_RSP_ERROR);
        else
            blkback->counters.flushes_without_response++;
    } else if (refusal != DGM_BLKBACK_ACCEPTED) {
        dgm_blkback_note_refusal(blkback, &parsed, refusal);
        dgm_blkback_respond(blkback, &parsed, dgm_blkif_status(refusal));
    } else if (!admit_request(blkback, fresh, &parsed)) {
        blkback->entry_pending = true;
        blkback->counters.waits++;
        return false;
    }
    blkback->entry_pending = false;
    dgm_reactor_work(blkback->env.reactor, dgm_blkback_work_of(&parsed));
    return true;
}

void dgm_blkback_drain(struct dgm_blkback *blkback)
{
    const struct dgm_blkif_limits limits = dgm_blkback_limits_of(blkback);
    struct dgm_blkback_list fresh = {0};
    const struct dgm_reactor *reactor = blkback->env.reactor;
    const uint32_t start = dgm_reactor_worked(reactor);
    uint32_t tries = 0;
    int got = 0;

    /* A try that finds no entry counts too, so a guest does not gain tries by moving its index back
     * and forth. */
    for (; tries < DRAIN_BUDGET && !dgm_reactor_spent(reactor, start); tries++) {
        got = blkback->entry_pending ? 1 : take_entry(blkback);
        if (got < 0)
            break;
        if (got == 0) {
            if (!dgm_ring_final_check(&blkback->ring))
                break;
        } else if (!accept_entry(blkback, &limits, &fresh)) {
            break;
        }
    }
    if ((tries == DRAIN_BUDGET || dgm_reactor_spent(reactor, start)) &&
        dgm_ring_final_check(&blkback->ring))
        dgm_reactor_post(blkback->env.reactor, &blkback->task);

    if (fresh.first) {
        blkback->counters.drains++;
        dgm_blkback_reach(blkback, &fresh);
    } else {
        return_room(blkback);
    }
    if (got < 0) {
        blkback->counters.ring_overflows++;
        dgm_xenbus_fail(&blkback->xenbus, got, "producer index beyond the ring");
    }
}
