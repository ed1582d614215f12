/* SPDX-License-Identifier: MIT */
/*
 * answer: what came of an honest guest's request
 *
 * An answer is for one request under way, echoes it, has no byte of padding, and says error only if
 * a fault was aimed at the request; what was read is what the sectors may hold, and nothing beside
 * it changed. When it comes, the grants are free.
 */
#include <sim/machine/machine.h>

#include <string.h>

/* A read of which the disk has left out something shows what was there before, or zeros where the
 * frame was not mapped, and nothing else. */
static bool is_unwritten(const struct front *front, const struct ask *ask, const uint8_t *found,
                         const uint8_t *expected)
{
    static const uint8_t zeros[SECTOR];
    const struct dgm_blkback *back = sim_back_of(front->guest);

    if (!ask->unwritten)
        return false;
    return memcmp(found, expected, SECTOR) == 0 ||
           (back && back->connection.mode == DGM_REACH_MODE_COPY &&
            memcmp(found, zeros, SECTOR) == 0);
}

/* The frames that it used: nothing but what was read changed, and that is right. */
static void judge_data(struct front *front, struct ask *ask, bool ok)
{
    struct sim_guest *guest = front->guest;
    uint64_t sector = ask->sector;

    for (unsigned i = 0; i < ask->count; i++) {
        const struct ask_segment *segment = &ask->segments[i];

        for (uint8_t s = segment->first; s <= segment->last; s++, sector++) {
            const uint8_t *found = sector_va(guest, segment->frame, s);
            uint8_t *expected = sector_expected(guest, segment->frame, s);
            const char *wrong;

            if (memcmp(found, expected, SECTOR) == 0 && !(ask->operation == BLKIF_OP_READ && ok))
                continue;
            if (is_unwritten(front, ask, found, expected)) {
                memcpy(expected, found, SECTOR);
                continue;
            }
            SIM_CHECK(ask->operation == BLKIF_OP_READ,
                      "guest %u: the data of write %llu changed in its memory (sector %llu)",
                      guest->domid, (unsigned long long)ask->id, (unsigned long long)sector);
            wrong = model_judge(&front->model, sector, found, ask->since);
            SIM_CHECK(!wrong, "guest %u: read %llu%s finds %s at sector %llu (%016llx %016llx)",
                      guest->domid, (unsigned long long)ask->id, ok ? "" : " (failed)", wrong,
                      (unsigned long long)sector,
                      (unsigned long long)((const uint64_t *)(const void *)found)[0],
                      (unsigned long long)((const uint64_t *)(const void *)found)[1]);
            memcpy(expected, found, SECTOR);
        }
    }
}

/* Of the frames that it shared, the sectors that nobody reads into are as they were. */
static void judge_around(struct front *front, const struct ask *ask)
{
    struct sim_guest *guest = front->guest;

    for (unsigned i = 0; i < ask->count; i++) {
        const uint16_t frame = ask->segments[i].frame;

        for (uint8_t s = 0; s < FRAME_SECTORS; s++) {
            if (guest->taken[frame] & (1u << s))
                continue;
            SIM_CHECK(
                memcmp(sector_va(guest, frame, s), sector_expected(guest, frame, s), SECTOR) == 0,
                "guest %u: request %llu changed sector %u of frame %u, which it did not name",
                guest->domid, (unsigned long long)ask->id, s, frame);
        }
    }
}

void ask_release(struct front *front, struct ask *ask)
{
    struct sim_guest *guest = front->guest;
    grant_ref_t before = 0;

    for (unsigned i = 0; i < ask->count; i++) {
        const struct ask_segment *segment = &ask->segments[i];

        give_sectors(guest, segment);
        if (front->persistent) {
            guest_pool_put(guest, GUEST_DATA_GFN + segment->frame);
            continue;
        }
        if (segment->ref == before)
            continue;
        before = segment->ref;
        if (!guest_ungrant(guest, segment->ref))
            guest->lost[segment->frame] = 1;
    }
    if (ask->indirect && front->persistent)
        guest_pool_put(guest, GUEST_INDIRECT_GFN + (uint64_t)(ask - front->asks));
    else if (ask->indirect)
        (void)guest_ungrant(guest, ask->indirect_ref);
    judge_around(front, ask);
    ask->state = ASK_FREE;
    front->under_way--;
}

void ask_answer(struct front *front, const struct blkif_response *response)
{
    struct sim_guest *guest = front->guest;
    struct ask *ask = &front->asks[response->id % RING_ENTRIES];
    const uint8_t *bytes = (const uint8_t *)response;
    const bool ok = response->status == BLKIF_RSP_OKAY;

    SIM_CHECK((response->id & 0xff) < RING_ENTRIES && ask->state == ASK_WAITING &&
                  ask->id == response->id,
              "guest %u: an answer to %llu, which is not under way", guest->domid,
              (unsigned long long)response->id);
    SIM_CHECK(response->operation == ask->operation, "guest %u: answer %llu names operation %u",
              guest->domid, (unsigned long long)ask->id, response->operation);
    for (size_t i = 9; i < sizeof *response; i++)
        SIM_CHECK(i == 10 || i == 11 || bytes[i] == 0, "guest %u: padding in answer %llu",
                  guest->domid, (unsigned long long)ask->id);
    NOTE("guest %llu: %llu is answered with %lld", guest->domid, ask->id,
         (uint64_t)(int64_t)response->status);
    SIM_CHECK(ok || response->status == BLKIF_RSP_ERROR, "guest %u: answer %llu has status %d",
              guest->domid, (unsigned long long)ask->id, response->status);
    SIM_CHECK(ok || ask->hit || guest->disk_gone,
              "guest %u: request %llu failed, and nothing was wrong with it", guest->domid,
              (unsigned long long)ask->id);
    SIM_CHECK(!ok || !ask->must_fail, "guest %u: request %llu is OK, though part of it failed",
              guest->domid, (unsigned long long)ask->id);
    if (ask->operation == BLKIF_OP_WRITE)
        model_written(&front->model, ask->sector, ask->sectors, ask->stamp, ok);
    judge_data(front, ask, ok);
    front->answered++;
    front->failed += !ok;
    front->reads += ask->operation == BLKIF_OP_READ;
    front->writes += ask->operation == BLKIF_OP_WRITE;
    front->flushes += ask->operation == BLKIF_OP_FLUSH_DISKCACHE;
    front->sectors_moved += ask->sectors;
    if (!ok)
        sim.failed++;
    sim.answered++;
    ask_release(front, ask);
}

/* The connection is over and this was never answered. */
void ask_drop(struct front *front, struct ask *ask)
{
    struct sim_guest *guest = front->guest;
    uint64_t sector = ask->sector;

    NOTE("guest %llu: %llu is never answered", guest->domid, ask->id);
    if (ask->operation == BLKIF_OP_WRITE)
        model_written(&front->model, ask->sector, ask->sectors, ask->stamp, false);
    for (unsigned i = 0; i < ask->count; i++) {
        const struct ask_segment *segment = &ask->segments[i];

        for (uint8_t s = segment->first; s <= segment->last; s++, sector++)
            memcpy(sector_expected(guest, segment->frame, s), sector_va(guest, segment->frame, s),
                   SECTOR);
    }
    ask_release(front, ask);
}
