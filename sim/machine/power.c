/* SPDX-License-Identifier: MIT */
/*
 * power: a disk loses its power, and with it a part of what its volatile cache held (--power)
 *
 * A sector that was written since the last flush that the disk executed is dirty. When the power is
 * lost each dirty sector of an honest guest has its durable contents again, or keeps the new ones.
 *
 * The oracle is written from the guests' view. A write with the response OK that a flush with the
 * response OK covered, which was submitted later, is never lost. After another completed write was
 * lost, no flush that is submitted later in this connection gets the response OK: its guest would
 * rely on data that is not there.
 */
#include <sim/machine/disk.h>

#include <stdlib.h>
#include <string.h>

#define CLEAN UINT32_MAX /* no guest makes so many writes */

void power_start(struct disk *disk, uint64_t bytes)
{
    const uint64_t sectors = bytes / SECTOR;

    if (!sim.options.power)
        return;
    disk->device.config.power_cycles = 1;
    disk->durable = malloc(sectors * sizeof disk->durable[0]);
    disk->reverted = calloc(sectors, 1);
    memset(disk->durable, 0xff, sectors * sizeof disk->durable[0]);
    disk->sectors = sectors;
}

static uint32_t stamp_at(const struct disk *disk, uint64_t sector)
{
    uint64_t word;

    memcpy(&word, disk->bytes + sector * SECTOR + 8, sizeof word);
    return (uint32_t)word;
}

void power_flushed(struct disk *disk)
{
    for (uint64_t i = 0; disk->durable && i < disk->sectors; i++)
        disk->durable[i] = CLEAN;
}

void power_written(struct disk *disk, uint64_t sector, uint64_t count)
{
    for (uint64_t i = sector; disk->durable && i < sector + count; i++) {
        if (disk->durable[i] == CLEAN)
            disk->durable[i] = stamp_at(disk, i);
        disk->reverted[i] = false;
    }
}

/* The honest guest's frontend that writes to the disk, or NULL. */
static struct front *writer_of(uint32_t disk)
{
    for (unsigned g = 0; g < sim.guest_count; g++)
        for (unsigned f = 0; f < sim.guests[g]->front_count && !sim.guests[g]->hostile; f++)
            if (sim.guests[g]->fronts[f].disk == disk && sim.guests[g]->fronts[f].writable)
                return &sim.guests[g]->fronts[f];
    return NULL;
}

static void note_loss(struct front *front, uint64_t done_at)
{
    if (done_at > front->connected_at && (!front->lost_at || done_at < front->lost_at))
        front->lost_at = done_at;
}

static void lose_sector(struct disk *disk, struct front *front, uint64_t sector)
{
    const struct model_sector *s = &front->model.sector[sector];
    const bool done = s->done_at && stamp_at(disk, sector) == s->done_stamp;

    if (!model_revert(&front->model, sector, disk->durable[sector]))
        return;
    SIM_CHECK(!done || s->done_at > front->flushed_at,
              "disk %u: sector %llu, which a flush had covered, is lost with the power",
              disk->number, (unsigned long long)sector);
    model_fill(disk->number, sector, disk->durable[sector], disk->bytes + sector * SECTOR);
    disk->reverted[sector] = true;
    if (done)
        note_loss(front, s->done_at);
}

void power_lost(struct disk *disk)
{
    struct front *front = writer_of(disk->number);
    uint64_t lost = 0;

    disk->device.config.power_cycles++;
    disk->device.cc = disk->device.csts = 0;
    disk->device.held_count = 0;
    for (uint64_t i = 0; front && i < disk->sectors; i++) {
        if (disk->durable[i] == CLEAN || stamp_at(disk, i) == disk->durable[i] ||
            rng_below(&disk->power_rng, 2))
            continue;
        lose_sector(disk, front, i);
        lost++;
    }
    power_flushed(disk);
    NOTE("disk %llu loses its power, and up to %llu sectors", disk->number, lost);
}

static void judge_flush(struct front *front, const struct request *request)
{
    SIM_CHECK(!front->lost_at || request->since < front->lost_at,
              "guest %u: flush %llu succeeds, though a write before it was lost",
              front->guest->domid, (unsigned long long)request->id);
    if (request->since > front->flushed_at)
        front->flushed_at = request->since;
}

void power_ended(struct front *front, const struct request *request, bool ok)
{
    const struct disk *disk = disks_of(front->disk);

    if (!disk->durable)
        return;
    if (request->operation == BLKIF_OP_FLUSH_DISKCACHE && ok)
        judge_flush(front, request);
    if (request->operation != BLKIF_OP_WRITE)
        return;
    /* The model takes the sectors for overwritten, but the write was lost before its end. */
    for (uint64_t i = request->sector; i < request->sector + request->sectors; i++)
        if (disk->reverted[i] && model_revert(&front->model, i, stamp_at(disk, i)) && ok)
            note_loss(front, front->model.sector[i].done_at);
}
