/* SPDX-License-Identifier: MIT */
/* partitions: see partitions.h. */
#include "partitions.h"

#include <dragoman/base/status.h>
#include <port/env.h>

bool partitions_are_wanted(const struct config *config)
{
    for (size_t i = 0; i < config->disk_count; i++) {
        struct dgm_partition_selector selector;

        if (dgm_partition_select(config->disks[i].part, &selector) &&
            selector.by != DGM_PARTITION_WHOLE && selector.by != DGM_PARTITION_BY_RANGE)
            return true;
    }
    return false;
}

/* --- reading --- */

void partitions_prepare(struct disks_entry *disk, struct dgm_frames *frames)
{
    struct dgm_partition_reader *reader = dgm_frames_take_bytes(frames, sizeof *reader);

    if (reader && dgm_frames_take(frames, 1, &disk->table_frame) == DGM_OK)
        disk->reader = reader;
    else
        dgm_env_log("%s: too little memory for its partition table: raise dom0_mem=", disk->name);
}

void partitions_read(struct disks_entry *disk, const struct disks_tables *tables)
{
    const struct dgm_partition_reader_env env = {.reactor = tables->reactor,
                                                 .dma = tables->dma,
                                                 .frame = disk->table_frame,
                                                 .done = tables->changed};

    if (!disk->reader || disk->table_read)
        return;
    disk->table_read = true;
    dgm_partition_reader_start(disk->reader, &env, disk->blkdev);
}

bool partitions_are_settled(const struct disks_entry *disk)
{
    return !disk->reader ||
           (disk->table_read && disk->reader->table.state != DGM_PARTITIONS_READING);
}

static void log_refusal(const char *name, const struct dgm_partition_table *table)
{
    const struct dgm_partition_fault *fault = &table->fault;

    if (table->primary.what)
        dgm_env_log("%s: both copies of its partition table are damaged: %s; the backup: %s", name,
                    table->primary.what, fault->what);
    else if (fault->other)
        dgm_env_log("%s: its partition table is refused: %s (partitions %u and %u)", name,
                    fault->what, fault->one, fault->other);
    else
        dgm_env_log("%s: its partition table is refused: %s (partition %u)", name, fault->what,
                    fault->one);
}

static uint32_t count_partitions(const struct dgm_partition_table *table)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < table->count; i++)
        count += table->partitions[i].number != 0;
    return count;
}

void partitions_log(const struct disks_entry *disk)
{
    const struct dgm_partition_table *table = disk->reader ? &disk->reader->table : NULL;

    if (!table)
        return;
    switch (table->state) {
    case DGM_PARTITIONS_READING:
        break;
    case DGM_PARTITIONS_NONE:
        dgm_env_log("%s: no partition table", disk->name);
        break;
    case DGM_PARTITIONS_READY:
        if (table->primary.what)
            dgm_env_log("%s: its primary GPT is damaged (%s): the backup is used. Repair it with "
                        "gdisk or parted",
                        disk->name, table->primary.what);
        dgm_env_log("%s: %s, %u partitions", disk->name, table->gpt ? "GPT" : "MBR",
                    count_partitions(table));
        break;
    case DGM_PARTITIONS_REFUSED:
        log_refusal(disk->name, table);
        break;
    }
}

/* --- finding --- */

static const struct dgm_partition_table *table_of(const struct disks_entry *disk)
{
    return disk->reader && disk->table_read && disk->reader->table.state != DGM_PARTITIONS_REFUSED
               ? &disk->reader->table
               : NULL;
}

/* The disk's blocks in which the range lies, also where it is not one of whole blocks. */
static struct dgm_partition_extent blocks_of(const struct dgm_blkdev *blkdev,
                                             const struct dgm_partition_selector *selector)
{
    const uint64_t end = selector->first_byte + selector->bytes;
    const uint64_t first = selector->first_byte / blkdev->block_bytes;

    return (struct dgm_partition_extent){first, end / blkdev->block_bytes +
                                                    (end % blkdev->block_bytes != 0) - first};
}

static enum partitions_found find_range(const struct dgm_blkdev *blkdev,
                                        const struct dgm_partition_selector *selector,
                                        struct dgm_partition_extent *extent)
{
    *extent = blocks_of(blkdev, selector);
    return selector->first_byte % blkdev->block_bytes == 0 &&
                   selector->bytes % blkdev->block_bytes == 0 && extent->first <= blkdev->blocks &&
                   extent->blocks <= blkdev->blocks - extent->first
               ? PARTITIONS_FOUND
               : PARTITIONS_OUTSIDE;
}

enum partitions_found partitions_find(const struct disks_entry *disk,
                                      const struct dgm_partition_selector *selector,
                                      struct partitions_part *part)
{
    const struct dgm_partition_table *table = table_of(disk);
    enum partitions_found result = PARTITIONS_NONE;

    *part = (struct partitions_part){.extent = {0, disk->blkdev->blocks}};
    if (selector->by == DGM_PARTITION_WHOLE)
        return PARTITIONS_FOUND;
    if (selector->by == DGM_PARTITION_BY_RANGE)
        return find_range(disk->blkdev, selector, &part->extent);
    if (!table)
        return PARTITIONS_REFUSED;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct dgm_partition *partition = &table->partitions[i];

        if (!dgm_partition_is_selected(selector, partition))
            continue;
        if (result == PARTITIONS_FOUND)
            return PARTITIONS_SEVERAL;
        *part = (struct partitions_part){partition->extent, partition->number};
        result = PARTITIONS_FOUND;
    }
    return result;
}

enum disks_found partitions_find_disk(struct disks *disks,
                                      const struct dgm_partition_selector *selector,
                                      struct disks_entry *found[2])
{
    size_t count = 0;
    struct partitions_part part;

    for (size_t i = 0; i < disks->count; i++) {
        struct disks_entry *disk = &disks->disk[i];

        if (!disks_is_settled(disk))
            return DISKS_WAIT;
        if (!disks_is_usable(disk))
            continue;
        const enum partitions_found result = partitions_find(disk, selector, &part);

        if ((result == PARTITIONS_FOUND || result == PARTITIONS_SEVERAL) && count < 2)
            found[count++] = disk;
    }
    return count == 0 ? DISKS_NONE : count == 1 ? DISKS_READY : DISKS_SEVERAL;
}

bool partitions_may_touch(const struct disks_entry *disk,
                          const struct dgm_partition_selector *selector,
                          struct dgm_partition_extent extent)
{
    const struct dgm_partition_table *table = table_of(disk);

    if (selector->by == DGM_PARTITION_WHOLE)
        return true;
    if (selector->by == DGM_PARTITION_BY_RANGE)
        return dgm_partition_overlaps(blocks_of(disk->blkdev, selector), extent);
    if (!table)
        return true;
    for (uint32_t i = 0; i < table->count; i++)
        if (dgm_partition_is_selected(selector, &table->partitions[i]) &&
            dgm_partition_overlaps(table->partitions[i].extent, extent))
            return true;
    return false;
}
