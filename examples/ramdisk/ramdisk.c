/* SPDX-License-Identifier: MIT */
/*
 * ramdisk: a disk in Dragoman's own memory, the smallest driver there is
 *
 * docs/first-disk-driver.md reads this file line by line. It owns 4 MiB and a queue of 16 commands.
 * It has no hardware: the CPU copies the bytes, so it uses a command's pieces and not its segments.
 * It never fails. One command is executed per turn of the reactor, so that the tasks of other disks
 * and guests run in between; a command copies 128 KiB at most.
 */
#include <dragoman/base/check.h>
#include <dragoman/drivers/driver.h>
#include <port/env.h>

#include <string.h>

#define QUEUE_LENGTH 16u
#define BLOCK_BYTES  512u
#define DISK_BYTES   (4u << 20)

struct ramdisk {
    struct dgm_blkdev device; /* first: the state begins with its disk */
    struct dgm_reactor *reactor;
    struct dgm_task task;
    struct dgm_blk_command *queue[QUEUE_LENGTH]; /* oldest at `first` */
    uint32_t first, count;
    char *bytes;
};

/*
 * Copies between the disk and the command's memory: `blocks` blocks, which begin `skip_bytes` into
 * its pieces. Each piece lies within one frame, and its address is valid only within that frame:
 * frames that are adjacent for the guest need not be adjacent here.
 */
static void carry_out(struct ramdisk *disk, const struct dgm_blk_command *command)
{
    char *at = disk->bytes + command->block * BLOCK_BYTES;
    uint64_t left = (uint64_t)command->blocks * BLOCK_BYTES;
    uint64_t skip = command->skip_bytes;

    for (const struct dgm_dma_piece *piece = command->pieces; left > 0; piece++) {
        if (skip >= piece->bytes) {
            skip -= piece->bytes;
            continue;
        }
        char *memory = (char *)dgm_env_va(piece->gfn) + piece->offset + skip;
        const uint64_t bytes = piece->bytes - skip < left ? piece->bytes - skip : left;

        if (command->op == DGM_BLK_READ)
            memcpy(memory, at, bytes);
        else
            memcpy(at, memory, bytes);
        at += bytes;
        left -= bytes;
        skip = 0;
    }
}

static void run_oldest(struct dgm_task *task)
{
    struct ramdisk *disk = dgm_container(task, struct ramdisk, task);
    struct dgm_blk_command *command = disk->queue[disk->first];

    dgm_assert(disk->count > 0);
    disk->first = (disk->first + 1) % QUEUE_LENGTH;
    disk->count--;
    if (command->op != DGM_BLK_FLUSH)
        carry_out(disk, command);
    disk->device.commands++;
    if (disk->count > 0)
        dgm_reactor_post(disk->reactor, &disk->task);
    dgm_waiters_wake(&disk->device.waiters, disk->reactor);
    command->done(command, DGM_OK); /* never from within ramdisk_submit() */
}

static int ramdisk_submit(struct dgm_blkdev *device, struct dgm_blk_command *command)
{
    struct ramdisk *disk = dgm_container(device, struct ramdisk, device);

    if (disk->count == QUEUE_LENGTH)
        return DGM_EAGAIN; /* the caller waits on device->waiters */
    disk->queue[(disk->first + disk->count++) % QUEUE_LENGTH] = command;
    return DGM_OK;
}

static void ramdisk_kick(struct dgm_blkdev *device)
{
    struct ramdisk *disk = dgm_container(device, struct ramdisk, device);

    if (disk->count > 0)
        dgm_reactor_post(disk->reactor, &disk->task);
}

static const struct dgm_blkdev_ops ramdisk_ops = {.submit = ramdisk_submit, .kick = ramdisk_kick};

static int ramdisk_start(void *state, struct dgm_device_env *env)
{
    struct ramdisk *disk = state;
    struct dgm_blkdev *device = &disk->device;

    disk->bytes = dgm_frames_take_bytes(env->frames, DISK_BYTES);
    if (!disk->bytes) {
        dgm_env_log("%s: too little memory for a RAM disk: raise dom0_mem=", env->name);
        return DGM_ENOMEM;
    }
    disk->reactor = env->reactor;
    disk->task.run = run_oldest;
    device->ops = &ramdisk_ops;
    device->tag = env->tag; /* any address, coherent: nothing is bounced, no cache is maintained */
    device->tag.block_bytes = BLOCK_BYTES;
    device->tag.transfer_bytes_max = 128u << 10;
    device->block_bytes = BLOCK_BYTES;
    device->blocks = DISK_BYTES / BLOCK_BYTES;
    memcpy(device->serial, "ram", 4);
    memcpy(device->model, "RAM disk", 9);
    device->ready = true;
    if (env->changed)
        env->changed(env);
    return DGM_OK;
}

static const struct dgm_disk_driver ramdisk_driver = {
    .name = "ram",
    .state_bytes = sizeof(struct ramdisk),
    .start = ramdisk_start,
};
DGM_DISK_DRIVER(ramdisk_driver);
