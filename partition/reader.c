/* SPDX-License-Identifier: MIT */
/*
 * reader: see reader.h
 *
 * Blocks that are wanted may take several commands, as a device may express only a part of them at
 * once. A shortage (the disk's queue is full, no bounce buffer is free) is retried by a timer: it
 * is rare, and the lists of waiters have room for guests' devices only.
 */
#include <dragoman/partition/reader.h>
#include <partition/parser.h>

#include <dragoman/base/check.h>
#include <port/env.h>

#include <string.h>

#define RETRY_NS 10000000u

static void on_command_done(struct dgm_blk_command *command, int status)
{
    struct dgm_partition_reader *reader =
        dgm_container(command, struct dgm_partition_reader, command);

    reader->status = status;
    reader->completed = true;
    dgm_reactor_post(reader->reactor, &reader->task);
}

/* Maps and submits as much as the device can express of what is left. */
static int submit_rest(struct dgm_partition_reader *reader)
{
    const struct dgm_dma_transfer transfer = {
        .tag = &reader->tag,
        .pieces = &reader->piece,
        .piece_count = 1,
        .skip_bytes = reader->moved,
        .direction = DGM_DMA_FROM_DEVICE,
    };
    const uint32_t block_bytes = reader->disk->block_bytes;
    int status = dgm_dma_map(reader->dma, &transfer, reader->segments, &reader->map);

    if (status < 0)
        return status;
    reader->command = (struct dgm_blk_command){
        .op = DGM_BLK_READ,
        .block = reader->wanted.first + reader->moved / block_bytes,
        .blocks = reader->map.bytes / block_bytes,
        .segments = reader->segments,
        .segment_count = reader->map.segment_count,
        .pieces = &reader->piece,
        .skip_bytes = reader->moved,
        .done = on_command_done,
    };
    status = reader->disk->ops->submit(reader->disk, &reader->command);
    if (status != DGM_OK) {
        (void)dgm_dma_unmap(reader->dma, &reader->map, false);
        return status;
    }
    reader->in_flight = true;
    reader->disk->ops->kick(reader->disk);
    return DGM_OK;
}

/* DGM_OK: the bytes of the command are in the frame. */
static int end_command(struct dgm_partition_reader *reader)
{
    const uint32_t bytes = reader->map.bytes;
    const int unmapped = dgm_dma_unmap(reader->dma, &reader->map, reader->status == DGM_OK);
    const int status = reader->status == DGM_OK ? unmapped : reader->status;

    reader->in_flight = reader->completed = false;
    if (status == DGM_OK)
        reader->moved += bytes;
    return status;
}

/* False: the table is complete. */
static bool begin_blocks(struct dgm_partition_reader *reader)
{
    if (!dgm_partition_wants(&reader->table, &reader->wanted))
        return false;
    reader->piece.bytes = (uint16_t)(reader->wanted.blocks * reader->disk->block_bytes);
    reader->moved = 0;
    return true;
}

static void run_reader(struct dgm_task *task)
{
    struct dgm_partition_reader *reader = dgm_container(task, struct dgm_partition_reader, task);
    int status = DGM_OK;

    if (reader->in_flight) {
        if (!reader->completed)
            return;
        status = end_command(reader);
    }
    for (;;) {
        if (status == DGM_OK && reader->moved < reader->piece.bytes)
            status = submit_rest(reader);
        if (reader->in_flight)
            return;
        if (status == DGM_EAGAIN) {
            dgm_timer_arm(reader->reactor, &reader->timer, dgm_env_now_ns() + RETRY_NS);
            return;
        }
        dgm_partition_supply(&reader->table,
                             status == DGM_OK ? dgm_env_va(reader->piece.gfn) : NULL);
        status = DGM_OK;
        if (!begin_blocks(reader)) {
            dgm_reactor_post(reader->reactor, reader->done);
            return;
        }
    }
}

static void on_retry(struct dgm_timer *timer)
{
    struct dgm_partition_reader *reader = dgm_container(timer, struct dgm_partition_reader, timer);

    dgm_reactor_post(reader->reactor, &reader->task);
}

void dgm_partition_reader_start(struct dgm_partition_reader *reader,
                                const struct dgm_partition_reader_env *env, struct dgm_blkdev *disk)
{
    dgm_assert(disk->ready);
    memset(reader, 0, sizeof *reader);
    reader->reactor = env->reactor;
    reader->dma = env->dma;
    reader->disk = disk;
    reader->tag = disk->tag;
    reader->done = env->done;
    reader->task.run = run_reader;
    reader->timer.fire = on_retry;
    reader->piece.gfn = env->frame;
    if (reader->tag.segments_max == 0 || reader->tag.segments_max > DGM_PARTITION_READER_SEGMENTS)
        reader->tag.segments_max = DGM_PARTITION_READER_SEGMENTS;
    dgm_partition_begin(
        &reader->table,
        (struct dgm_partition_disk){.blocks = disk->blocks, .block_bytes = disk->block_bytes});
    if (begin_blocks(reader))
        dgm_reactor_post(env->reactor, &reader->task);
    else
        dgm_reactor_post(env->reactor, env->done);
}
