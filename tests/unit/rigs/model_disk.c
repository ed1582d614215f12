/* SPDX-License-Identifier: MIT */
/* model_disk: see model_disk.h */
#include "vbd_rig.h"

static struct model_disk *disk_of(struct dgm_blkdev *dev)
{
    return (struct model_disk *)dev; /* its first member */
}

/* A failed read may have written any bytes to the memory of its data. */
static void scribble_over_data(const struct dgm_blk_command *command)
{
    for (uint32_t i = 0; i < command->segment_count; i++) {
        const uint64_t bus = dgm_bus_address(command->segments[i].bus);
        uint8_t *memory = dgm_hv_machine(dgm_mfn(bus >> DGM_FRAME_SHIFT));

        assert_true(dgm_hv_may_dma(dgm_mfn(bus >> DGM_FRAME_SHIFT), true));
        memory[bus & (DGM_FRAME_BYTES - 1)] ^= 0xff;
    }
}

/* Checks the tag's rules and, for each frame, that it is granted now with the
 * right that is needed. */
static void transfer_data(struct model_disk *disk, const struct dgm_blk_command *command)
{
    const struct dgm_dma_tag *tag = &disk->dev.tag;
    uint8_t *at = disk->bytes + command->block * disk->dev.block_bytes;
    uint64_t total = 0;

    assert_true(command->segment_count > 0 && command->segment_count <= tag->segments_max);
    for (uint32_t i = 0; i < command->segment_count; i++) {
        uint64_t bus = dgm_bus_address(command->segments[i].bus);
        uint32_t left = command->segments[i].bytes;

        assert_true(left > 0);
        if (tag->gap && i > 0)
            assert_int_equal(bus % tag->gap, 0);
        if (tag->gap && i + 1 < command->segment_count)
            assert_int_equal((bus + left) % tag->gap, 0);
        while (left) {
            const dgm_mfn_t mfn = dgm_mfn(bus >> DGM_FRAME_SHIFT);
            const uint32_t offset = (uint32_t)(bus & (DGM_FRAME_BYTES - 1));
            const uint32_t bytes =
                left < DGM_FRAME_BYTES - offset ? left : DGM_FRAME_BYTES - offset;
            uint8_t *memory = dgm_hv_machine(mfn);

            assert_non_null(memory);
            assert_true(dgm_hv_may_dma(mfn, command->op == DGM_BLK_READ));
            if (command->op == DGM_BLK_READ)
                memcpy(memory + offset, at, bytes);
            else
                memcpy(at, memory + offset, bytes);
            at += bytes;
            bus += bytes;
            left -= bytes;
            total += bytes;
        }
    }
    assert_int_equal(total, (uint64_t)command->blocks * disk->dev.block_bytes);
}

void model_complete_one(struct model_disk *disk)
{
    const unsigned which = disk->backwards ? disk->kicked - 1 : 0;
    struct dgm_blk_command *command = disk->queue[which];
    const int64_t number = (int64_t)disk->number++;
    const bool bad = disk->fail_from >= 0 && number >= disk->fail_from &&
                     (uint64_t)(number - disk->fail_from) < disk->fail_count;

    disk->queued--;
    disk->kicked--;
    memmove(&disk->queue[which], &disk->queue[which + 1],
            (disk->queued - which) * sizeof disk->queue[0]);
    if (command->op == DGM_BLK_FLUSH)
        disk->flushes += !bad;
    else if (!bad)
        transfer_data(disk, command);
    else if (command->op == DGM_BLK_READ)
        scribble_over_data(command);
    dgm_waiters_wake(&disk->dev.waiters, &vbd.reactor);
    command->done(command, bad ? DGM_EIO : DGM_OK);
}

static void run_disk(struct dgm_task *task)
{
    struct model_disk *disk = dgm_container(task, struct model_disk, task);

    for (unsigned n = 0; disk->kicked && !disk->stalled; n++) {
        if (disk->rate && n == disk->rate) {
            dgm_reactor_post(&vbd.reactor, task);
            break;
        }
        model_complete_one(disk);
    }
}

void model_resume(struct model_disk *disk)
{
    disk->stalled = false;
    dgm_reactor_post(&vbd.reactor, &disk->task);
}

static int model_submit(struct dgm_blkdev *dev, struct dgm_blk_command *command)
{
    struct model_disk *disk = disk_of(dev);

    if (disk->refuse)
        return DGM_EIO;
    if (disk->queued >= disk->depth) {
        disk->queue_full++;
        return DGM_EAGAIN;
    }
    if (command->op != DGM_BLK_FLUSH) {
        assert_true(command->blocks > 0);
        assert_true(command->block <= dev->blocks &&
                    command->blocks <= dev->blocks - command->block);
        assert_true(command->op == DGM_BLK_READ || !dev->read_only);
    }
    disk->queue[disk->queued++] = command;
    if (disk->queued > disk->queued_max)
        disk->queued_max = disk->queued;
    return DGM_OK;
}

static void model_kick(struct dgm_blkdev *dev)
{
    struct model_disk *disk = disk_of(dev);

    disk->kicks++;
    disk->kicked = disk->queued;
    dgm_reactor_post(&vbd.reactor, &disk->task);
}

void model_start(struct model_disk *disk, uint64_t blocks, uint32_t block_bytes)
{
    static const struct dgm_blkdev_ops ops = {.submit = model_submit, .kick = model_kick};

    *disk = (struct model_disk){
        .dev = {.ops = &ops,
                .name = "model0",
                .blocks = blocks,
                .block_bytes = block_bytes,
                .write_cache = true,
                .tag = {.mask = UINT64_MAX,
                        .gap = DGM_FRAME_BYTES,
                        .segments_max = 512,
                        .transfer_bytes_max = 128 * 1024,
                        .block_bytes = block_bytes,
                        .coherent = true}},
        .task = {.run = run_disk},
        .bytes_total = blocks * block_bytes,
        .depth = MODEL_QUEUE,
        .fail_from = -1,
    };
    disk->bytes = malloc(disk->bytes_total);
    for (uint64_t i = 0; i < disk->bytes_total; i++)
        disk->bytes[i] = (uint8_t)(i * 131 + (i >> 9) * 7 + 3);
}

void model_stop(struct model_disk *disk)
{
    assert_int_equal(disk->queued, 0);
    assert_int_equal(disk->dev.waiters.count, 0);
    free(disk->bytes);
}
