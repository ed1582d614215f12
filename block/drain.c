/* SPDX-License-Identifier: MIT */
/*
 * drain: from the ring to mapped requests
 *
 * A drain takes entries until the ring is empty, its budget is spent, or something is short; then
 * that one entry is parked, and nothing more is taken until it has found its place. What is taken
 * is added to the grant batch at once: direct requests with all their segments, indirect ones with
 * their page. The first commit maps these; then the indirect pages are copied out, each once, and
 * their segments make the second batch, if there are any.
 *
 * A request is admitted only with a record and with slots for all of its frames at once, so that no
 * two requests ever hold half of what each needs.
 */
#include <block/internal.h>

#include <dragoman/check.h>
#include <string.h>

#define DRAIN_BUDGET 32u /* entries: a whole ring */

struct drain {
    struct dgm_blkback_list fresh;
    uint64_t slots_reserved; /* for segments of indirect requests, added in the second batch */
};

static struct dgm_blkif_limits drain_limits(const struct dgm_blkback *blkback)
{
    return (struct dgm_blkif_limits){
        .sectors = blkback->disk->blocks * (blkback->disk->block_bytes / DGM_BLKIF_SECTOR_BYTES),
        .block_bytes = blkback->disk->block_bytes,
        .segments_max = blkback->segments_max,
        .writable = blkback->writable,
    };
}

/* The slots were counted before, so a second refusal cannot be: only the batch was full. */
static void map_add(struct dgm_blkback *blkback, struct dgm_foreign *foreign, grant_ref_t ref,
                    bool readonly)
{
    struct dgm_grant *grant = blkback->env.grant;
    const domid_t domid = blkback->xenbus.domid;

    if (dgm_grant_map_add(grant, foreign, domid, ref, readonly) == DGM_OK)
        return;
    dgm_grant_map_commit(grant);

    const int status = dgm_grant_map_add(grant, foreign, domid, ref, readonly);

    dgm_assert(status == DGM_OK);
}

/* What the disk reads may be granted read-only; what it writes may not. */
static void add_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                         const struct blkif_request_segment *segments)
{
    const bool readonly = request->asked.operation == BLKIF_OP_WRITE;

    for (uint16_t i = 0; i < request->asked.segment_count; i++) {
        const uint32_t sectors = segments[i].last_sect - segments[i].first_sect + 1u;

        request->pieces[i] = (struct dgm_dma_piece){
            .gfn = DGM_GFN_NONE,
            .offset = (uint16_t)(segments[i].first_sect * DGM_BLKIF_SECTOR_BYTES),
            .bytes = (uint16_t)(sectors * DGM_BLKIF_SECTOR_BYTES),
        };
        map_add(blkback, &request->foreign[i], segments[i].gref, readonly);
    }
    request->added = request->asked.segment_count;
}

static bool slots_enough(struct dgm_blkback *blkback, const struct drain *drain, uint32_t wanted)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    const uint64_t free = blkback->env.grant->slots->free;

    if (dgm_blkback_line_free(&pool->slots_line, &blkback->slots) &&
        drain->slots_reserved <= free && wanted <= free - drain->slots_reserved)
        return true;
    dgm_blkback_line_join(&pool->slots_line, &blkback->slots);
    return false;
}

/* Takes one parsed request in: false if something is short, and then nothing is held. */
static bool admit(struct dgm_blkback *blkback, struct drain *drain,
                  const struct dgm_blkif_request *asked,
                  const struct blkif_request_segment *segments)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;

    if (!slots_enough(blkback, drain, asked->segment_count + (asked->indirect ? 1u : 0u)))
        return false;
    dgm_blkback_line_leave(pool, &blkback->slots);

    struct dgm_blkback_request *request =
        dgm_blkback_request_take(pool, &blkback->record, asked->segment_count);

    if (!request)
        return false;
    request->owner = blkback;
    request->asked = *asked;
    request->indirect.status = DGM_EAGAIN;
    request->issued = 0;
    request->added = 0;
    request->commands = 0;
    request->waiting = request->failed = false;
    request->whole = asked->operation == BLKIF_OP_FLUSH_DISKCACHE && !blkback->disk->write_cache;
    request->refusal = DGM_BLKBACK_ACCEPTED;
    blkback->live++;

    if (asked->indirect) {
        drain->slots_reserved += asked->segment_count;
        map_add(blkback, &request->indirect, asked->indirect_ref, true);
    } else {
        add_segments(blkback, request, segments);
    }
    dgm_blkback_append(&drain->fresh, request);
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

/* The indirect requests' pages are mapped or refused: adds what lies in them. */
static void add_indirect(struct dgm_blkback *blkback, struct drain *drain)
{
    struct blkif_request_segment *segments = blkback->env.pool->scratch;
    const struct dgm_blkif_limits limits = drain_limits(blkback);

    for (struct dgm_blkback_request *r = drain->fresh.first; r; r = r->next) {
        if (!r->asked.indirect)
            continue;
        drain->slots_reserved -= r->asked.segment_count;
        if (r->indirect.status != DGM_OK) {
            r->refusal = DGM_BLKBACK_BAD_GRANT;
            continue;
        }
        copy_segments(segments, r->indirect.gfn, r->asked.segment_count);
        r->refusal = dgm_blkif_check_segments(&r->asked, &limits, segments);
        if (r->refusal == DGM_BLKBACK_ACCEPTED)
            add_segments(blkback, r, segments);
    }
}

/* Every status is final: a request with one bad reference is refused whole. */
static void settle(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    for (uint16_t i = 0; i < request->added; i++) {
        if (request->foreign[i].status == DGM_OK) {
            request->pieces[i].gfn = request->foreign[i].gfn;
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
static bool take_in(struct dgm_blkback *blkback, struct drain *drain, const uint8_t *entry)
{
    struct blkif_request_segment segments[BLKIF_MAX_SEGMENTS_PER_REQUEST];
    struct dgm_blkif_request asked;
    const struct dgm_blkif_limits limits = drain_limits(blkback);
    const enum dgm_blkback_refusal refusal = dgm_blkif_parse(entry, &limits, &asked, segments);

    if (refusal != DGM_BLKBACK_ACCEPTED) {
        dgm_blkback_complain(blkback, &asked, refusal);
        dgm_blkback_answer(blkback, &asked, dgm_blkif_status(refusal));
    } else if (!admit(blkback, drain, &asked, segments)) {
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
    struct drain drain = {0};
    uint8_t entry[DGM_BLKIF_ENTRY_BYTES];
    uint32_t turn = 0;
    int got = 0;

    /* Turns that find nothing count too: a guest that plays with its index gains no more of them.
     */
    for (; turn < DRAIN_BUDGET; turn++) {
        got = next_entry(blkback, entry);
        if (got < 0)
            break;
        if (got == 0) {
            if (!dgm_ring_sleep(&blkback->ring))
                break;
        } else if (!take_in(blkback, &drain, entry)) {
            break;
        }
    }
    if (turn == DRAIN_BUDGET)
        dgm_reactor_post(blkback->env.reactor, &blkback->task);

    if (drain.fresh.first) {
        blkback->counters.drains++;
        dgm_grant_map_commit(blkback->env.grant);
        add_indirect(blkback, &drain);
        dgm_grant_map_commit(blkback->env.grant);
        for (struct dgm_blkback_request *r; (r = dgm_blkback_pop(&drain.fresh));)
            settle(blkback, r);
    }
    if (got < 0) {
        blkback->counters.ring_overflows++;
        dgm_xenbus_fail(&blkback->xenbus, got, "producer index beyond the ring");
    }
}
