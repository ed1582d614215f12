/* SPDX-License-Identifier: MIT */
/*
 * response: the result of an honest guest's request
 *
 * A response is for one request in flight, has its id and operation, zeros as padding, and an error
 * only if a fault affects the request. The data that was read is possible for the sectors, and no
 * other memory changed. When the response arrives, the grants are no longer mapped.
 */
#include <sim/machine/machine.h>

#include <string.h>

/* Whether `word` may be a segment of an indirect page of ours. */
static bool is_segment(uint64_t word)
{
    struct blkif_request_segment segment;

    memcpy(&segment, &word, sizeof segment);
    return segment.gref < GUEST_REFS && segment.first_sect <= segment.last_sect &&
           segment.last_sect < FRAME_SECTORS && word >> 48 == 0;
}

/* Whether the sector may come from a copy buffer that only this connection has used: each word is
 * zero, or of its disk, or of an indirect page. */
static bool is_of_connection(const struct front *front, const uint8_t *found)
{
    for (size_t i = 0; i < SECTOR / sizeof(uint64_t); i++) {
        uint64_t word;

        memcpy(&word, found + i * sizeof word, sizeof word);
        if (word != 0 && !is_segment(word) && !model_has_word(&front->model, i, word))
            return false;
    }
    return true;
}

/* After a read that the disk did not do, the guest finds the old contents of its frame, or in mode
 * copy those of a buffer. */
static bool is_unwritten(const struct front *front, const struct request *request,
                         const uint8_t *found, const uint8_t *expected)
{
    const struct dgm_blkback *back = sim_back_of(front);

    if (!request->unwritten)
        return false;
    return memcmp(found, expected, SECTOR) == 0 ||
           (back && back->connection.mode == DGM_REACH_MODE_COPY && is_of_connection(front, found));
}

/* A read ends with an error if Xen does not maintain the caches behind it; each of its lines is
 * then an old or a new one. */
static bool reads_stale(const struct request *request)
{
    return request->operation == BLKIF_OP_READ && sim.flush_refused;
}

/* Checks the data that was read, in the frames of the request. */
static void judge_data(struct front *front, struct request *request, bool ok)
{
    struct sim_guest *guest = front->guest;
    uint64_t sector = request->sector;

    for (unsigned i = 0; i < request->count; i++) {
        const struct request_segment *segment = &request->segments[i];

        for (uint8_t s = segment->first; s <= segment->last; s++, sector++) {
            const uint8_t *found = sector_va(guest, segment->frame, s);
            uint8_t *expected = sector_expected(guest, segment->frame, s);
            const char *wrong;

            if (memcmp(found, expected, SECTOR) == 0 &&
                !(request->operation == BLKIF_OP_READ && ok))
                continue;
            if (is_unwritten(front, request, found, expected) || (!ok && reads_stale(request))) {
                memcpy(expected, found, SECTOR);
                continue;
            }
            SIM_CHECK(request->operation == BLKIF_OP_READ,
                      "guest %u: the data of write %llu changed in its memory (sector %llu)",
                      guest->domid, (unsigned long long)request->id, (unsigned long long)sector);
            wrong = model_judge(&front->model, sector, found, request->since);
            SIM_CHECK(!wrong, "guest %u: read %llu%s finds %s at sector %llu (%016llx %016llx)",
                      guest->domid, (unsigned long long)request->id, ok ? "" : " (failed)", wrong,
                      (unsigned long long)sector,
                      (unsigned long long)((const uint64_t *)(const void *)found)[0],
                      (unsigned long long)((const uint64_t *)(const void *)found)[1]);
            memcpy(expected, found, SECTOR);
        }
    }
}

/* Checks that in these frames the sectors of no request are unchanged. */
static void judge_other_sectors(struct front *front, const struct request *request)
{
    struct sim_guest *guest = front->guest;

    for (unsigned i = 0; i < request->count; i++) {
        const uint16_t frame = request->segments[i].frame;

        if (guest->lost[frame]) /* a disk may still write to it */
            continue;
        for (uint8_t s = 0; s < FRAME_SECTORS; s++) {
            if (guest->taken[frame] & (1u << s))
                continue;
            SIM_CHECK(
                memcmp(sector_va(guest, frame, s), sector_expected(guest, frame, s), SECTOR) == 0,
                "guest %u: request %llu changed sector %u of frame %u, which it did not name",
                guest->domid, (unsigned long long)request->id, s, frame);
        }
    }
}

void request_release(struct front *front, struct request *request)
{
    struct sim_guest *guest = front->guest;
    grant_ref_t before = 0;

    for (unsigned i = 0; i < request->count; i++) {
        const struct request_segment *segment = &request->segments[i];

        give_sectors(guest, segment);
        if (front->persistent) {
            guest_pool_put(front, GUEST_DATA_GFN + segment->frame);
            continue;
        }
        if (segment->ref == before)
            continue;
        before = segment->ref;
        if (!guest_ungrant(guest, segment->ref, front))
            guest->lost[segment->frame] = 1;
    }
    if (request->indirect && front->persistent)
        guest_pool_put(front, front_indirect_gfn(front, (unsigned)(request - front->requests)));
    else if (request->indirect)
        (void)guest_ungrant(guest, request->indirect_ref, front);
    judge_other_sectors(front, request);
    request->state = REQUEST_FREE;
    front->in_flight--;
}

void request_respond(struct front *front, const struct blkif_response *response)
{
    struct sim_guest *guest = front->guest;
    struct request *request = &front->requests[response->id % FRONT_REQUESTS];
    const uint8_t *bytes = (const uint8_t *)response;
    const bool ok = response->status == BLKIF_RSP_OKAY;

    SIM_CHECK((response->id & 0xff) < FRONT_REQUESTS && request->state == REQUEST_UNDER_WAY &&
                  request->id == response->id,
              "guest %u: a response to %llu, which is not in flight", guest->domid,
              (unsigned long long)response->id);
    SIM_CHECK(response->operation == request->operation, "guest %u: response %llu has operation %u",
              guest->domid, (unsigned long long)request->id, response->operation);
    for (size_t i = 9; i < sizeof *response; i++)
        SIM_CHECK(i == 10 || i == 11 || bytes[i] == 0,
                  "guest %u: the padding of response %llu is not zero", guest->domid,
                  (unsigned long long)request->id);
    NOTE("guest %llu: the response to %llu is %lld", guest->domid, request->id,
         (uint64_t)(int64_t)response->status);
    SIM_CHECK(ok || response->status == BLKIF_RSP_ERROR, "guest %u: response %llu has status %d",
              guest->domid, (unsigned long long)request->id, response->status);
    SIM_CHECK(ok || request->operation != BLKIF_OP_FLUSH_DISKCACHE,
              "guest %u: flush %llu has an error response: Linux would never flush again",
              guest->domid, (unsigned long long)request->id);
    SIM_CHECK(ok || request->may_fail || disks_failed(front->disk) ||
                  sim_back_of(front)->flush_given_up || reads_stale(request),
              "guest %u: request %llu failed without a cause", guest->domid,
              (unsigned long long)request->id);
    SIM_CHECK(!ok || !request->must_fail,
              "guest %u: request %llu succeeded though part of it failed", guest->domid,
              (unsigned long long)request->id);
    if (request->operation == BLKIF_OP_WRITE)
        model_written(&front->model, request->sector, request->sectors, request->stamp, ok);
    judge_data(front, request, ok);
    power_ended(front, request, ok);
    front->responses++;
    front->failed += !ok;
    front->reads += request->operation == BLKIF_OP_READ;
    front->writes += request->operation == BLKIF_OP_WRITE;
    front->flushes += request->operation == BLKIF_OP_FLUSH_DISKCACHE;
    front->sectors_moved += request->sectors;
    if (!ok)
        sim.failed++;
    sim.responses++;
    request_release(front, request);
}

/* Called after the connection has ended, for a request without a response. */
void request_abandon(struct front *front, struct request *request)
{
    struct sim_guest *guest = front->guest;
    uint64_t sector = request->sector;

    NOTE("guest %llu: %llu gets no response", guest->domid, request->id);
    if (request->operation == BLKIF_OP_WRITE)
        model_written(&front->model, request->sector, request->sectors, request->stamp, false);
    power_ended(front, request, false);
    for (unsigned i = 0; i < request->count; i++) {
        const struct request_segment *segment = &request->segments[i];

        for (uint8_t s = segment->first; s <= segment->last; s++, sector++)
            memcpy(sector_expected(guest, segment->frame, s), sector_va(guest, segment->frame, s),
                   SECTOR);
    }
    request_release(front, request);
}
