/* SPDX-License-Identifier: MIT */
/*
 * sdhci: the I/O path of the SD driver
 *
 * A ring of commands, the oldest of which is with the controller. Commands are started and flushes
 * ended by a task, so nothing completes inside submit or kick. Every transfer is CMD18 or CMD25
 * with the controller's own CMD12 at the end, one block or many: one path.
 *
 * A transfer ends well when the controller says "transfer complete" with no error beside it, and
 * the card's two status words, in the answers to the command and to CMD12, show none. Anything else
 * goes through dgm_sdhci_recover(), which resets the lines before the command ends.
 *
 * Cost per command: 8 bytes per segment, 5 register writes and a read; at its end 2 writes and
 * 5 reads.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

#define BUSY_LOOK_NS 1000000ull
#define LOOKS_MAX    4u /* at what one interrupt brings */

static struct dgm_sdhci *sdhci_of(struct dgm_blkdev *device)
{
    return dgm_container(device, struct dgm_sdhci, device);
}

/* --- what a disk offers --- */

static int sdhci_submit(struct dgm_blkdev *device, struct dgm_blk_command *command)
{
    struct dgm_sdhci *sdhci = sdhci_of(device);

    dgm_assert(command->done);
    if (command->op != DGM_BLK_FLUSH) {
        dgm_assert(command->blocks > 0 &&
                   command->blocks <= DGM_SDHCI_TRANSFER_BYTES_MAX / device->block_bytes);
        dgm_assert(command->block < device->blocks &&
                   command->blocks <= device->blocks - command->block);
    }
    if (sdhci->state == DGM_SDHCI_FAILED)
        return DGM_EIO;
    if (sdhci->queue_count == DGM_SDHCI_QUEUE)
        return DGM_EAGAIN;
    sdhci->queue[(sdhci->queue_first + sdhci->queue_count++) % DGM_SDHCI_QUEUE] = command;
    device->commands++;
    return DGM_OK;
}

static void sdhci_kick(struct dgm_blkdev *device)
{
    struct dgm_sdhci *sdhci = sdhci_of(device);

    if (sdhci->queue_count && !sdhci->under_way)
        dgm_reactor_post(sdhci->env->reactor, &sdhci->task);
}

const struct dgm_blkdev_ops dgm_sdhci_ops = {
    .submit = sdhci_submit,
    .kick = sdhci_kick,
};

/* --- start --- */

/*
 * SDMA: an address written while size and count stand there may set off a transfer (it is how one
 * goes on after a boundary), so both are zero meanwhile.
 */
static void tell_memory(struct dgm_sdhci *sdhci, const struct dgm_blk_command *command)
{
    uint64_t bytes;

    if (sdhci->adma) {
        bytes = dgm_sdhci_adma(command->segments, command->segment_count, sdhci->descriptors);
        if (!sdhci->device.tag.coherent)
            dgm_arch_cache_clean(sdhci->descriptors,
                                 command->segment_count * sizeof sdhci->descriptors[0]);
        dgm_sdhci_write(sdhci, SDHCI_ADMA_ADDRESS, (uint32_t)sdhci->descriptors_bus.n);
    } else {
        const struct dgm_dma_segment *segment = command->segments;

        dgm_assert(command->segment_count == 1);
        dgm_assert(segment->bus.n <= UINT32_MAX &&
                   segment->bytes - 1u <= UINT32_MAX - segment->bus.n);
        bytes = segment->bytes;
        dgm_sdhci_write(sdhci, SDHCI_BLOCK, 0);
        dgm_sdhci_write(sdhci, SDHCI_SDMA_ADDRESS, (uint32_t)segment->bus.n);
    }
    dgm_assert(bytes == (uint64_t)command->blocks * sdhci->device.block_bytes);
}

static void start(struct dgm_sdhci *sdhci, const struct dgm_blk_command *command)
{
    const bool reads = command->op == DGM_BLK_READ;
    const uint32_t flags = SDHCI_MODE_DMA | SDHCI_MODE_COUNT | SDHCI_MODE_AUTO_CMD12 |
                           SDHCI_MODE_MULTI | (reads ? SDHCI_MODE_READ : 0) | SDHCI_RSP_48_CHECKED |
                           SDHCI_COMMAND_DATA;
    const uint64_t address =
        sdhci->in_blocks ? command->block : command->block * sdhci->device.block_bytes;
    const uint64_t now_ns = dgm_env_now_ns();

    tell_memory(sdhci, command);
    dgm_sdhci_write(sdhci, SDHCI_BLOCK,
                    command->blocks << 16 | SDHCI_BLOCK_SDMA_512K | sdhci->device.block_bytes);
    dgm_sdhci_write(sdhci, SDHCI_ARGUMENT, (uint32_t)address);
    dgm_arch_dma_wmb(); /* descriptors and data before the command */
    dgm_sdhci_write(sdhci, SDHCI_COMMAND,
                    (reads ? SD_READ : SD_WRITE) << SDHCI_COMMAND_INDEX | flags);
    sdhci->under_way = true;
    sdhci->late_ns = now_ns + DGM_SDHCI_LATE_NS;
    dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, now_ns + DGM_SDHCI_TICK_NS);
}

/* A card that is busy beyond the end of its last command, though it said that this was the end:
 * looked at again until it is late, and then treated as a command that got no answer. */
static void wait_while_busy(struct dgm_sdhci *sdhci)
{
    const uint64_t now_ns = dgm_env_now_ns();

    if (sdhci->late_ns == 0)
        sdhci->late_ns = now_ns + DGM_SDHCI_LATE_NS;
    dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, now_ns + BUSY_LOOK_NS);
    if (now_ns < sdhci->late_ns)
        return;
    sdhci->under_way = true;
    dgm_sdhci_recover(sdhci, DGM_ETIMEDOUT, "the card stays busy");
}

/* Starts the oldest command, if none is under way. */
static void go_on(struct dgm_sdhci *sdhci)
{
    while (sdhci->state == DGM_SDHCI_LIVE && sdhci->queue_count && !sdhci->under_way) {
        const struct dgm_blk_command *command = sdhci->queue[sdhci->queue_first];

        if (command->op == DGM_BLK_FLUSH) {
            sdhci->under_way = true;
            dgm_sdhci_io_end(sdhci, DGM_OK); /* every write before it has ended */
        } else if (dgm_sdhci_read(sdhci, SDHCI_PRESENT) &
                   (SDHCI_PRESENT_CMD_INHIBIT | SDHCI_PRESENT_DAT_INHIBIT)) {
            wait_while_busy(sdhci);
            return;
        } else {
            start(sdhci, command);
        }
    }
}

/* --- end --- */

static void end_oldest(struct dgm_sdhci *sdhci, int status)
{
    struct dgm_blk_command *command = sdhci->queue[sdhci->queue_first];

    sdhci->queue_first = (sdhci->queue_first + 1) % DGM_SDHCI_QUEUE;
    sdhci->queue_count--;
    sdhci->under_way = false;
    sdhci->late_ns = 0;
    if (status != DGM_OK)
        sdhci->device.errors++;
    if (status == DGM_ETIMEDOUT)
        sdhci->device.timeouts++;
    command->done(command, status);
}

void dgm_sdhci_io_end(struct dgm_sdhci *sdhci, int status)
{
    if (!sdhci->under_way)
        return;
    end_oldest(sdhci, status);
    dgm_waiters_wake(&sdhci->device.waiters, sdhci->env->reactor);
}

void dgm_sdhci_io_end_all(struct dgm_sdhci *sdhci, int status)
{
    dgm_assert(sdhci->state == DGM_SDHCI_FAILED); /* so that done() cannot add to them */
    while (sdhci->queue_count)
        end_oldest(sdhci, status);
}

/* "Transfer complete": what does the card say? */
static void completed(struct dgm_sdhci *sdhci)
{
    const uint32_t begun = dgm_sdhci_read(sdhci, SDHCI_RESPONSE);
    /* Reading up to the last block, a card may note that it was about to go beyond (SD 4.3.3). */
    const uint32_t stopped = dgm_sdhci_read(sdhci, SDHCI_RESPONSE + 12) & ~SD_STATUS_OUT_OF_RANGE;

    if ((begun | stopped) & SD_STATUS_ERRORS) {
        dgm_sdhci_recover(sdhci, DGM_EIO, "the card reports an error");
        return;
    }
    dgm_timer_disarm(sdhci->env->reactor, &sdhci->timer);
    dgm_arch_dma_rmb();
    dgm_sdhci_io_end(sdhci, DGM_OK);
    go_on(sdhci);
}

/* Takes what the controller has to say. False: nothing. */
static bool look(struct dgm_sdhci *sdhci)
{
    const uint32_t status = dgm_sdhci_read(sdhci, SDHCI_STATUS) & SDHCI_STATUS_LIVE;

    if (status == 0)
        return false;
    dgm_sdhci_write(sdhci, SDHCI_STATUS, status);
    if (status & SDHCI_STATUS_REMOVED)
        dgm_sdhci_recover(sdhci, DGM_EIO, "the card was taken out");
    else if (!sdhci->under_way)
        sdhci->bogus++;
    else if (status & (SDHCI_STATUS_COMMAND_TIMEOUT | SDHCI_STATUS_DATA_TIMEOUT))
        dgm_sdhci_recover(sdhci, DGM_ETIMEDOUT, "the card does not answer a command");
    else if (status & SDHCI_STATUS_ERRORS)
        dgm_sdhci_recover(sdhci, DGM_EIO, "an error in a transfer");
    else
        completed(sdhci);
    return true;
}

/* Until nothing is left: a message (MSI) comes only when there was nothing before. */
void dgm_sdhci_io_interrupt(struct dgm_sdhci *sdhci)
{
    unsigned looks = 0;

    while (looks < LOOKS_MAX && sdhci->state == DGM_SDHCI_LIVE && look(sdhci))
        looks++;
    if (looks == 0)
        sdhci->interrupts_idle++;
}

void dgm_sdhci_io_run(struct dgm_task *task)
{
    go_on(dgm_container(task, struct dgm_sdhci, task));
}

void dgm_sdhci_io_tick(struct dgm_sdhci *sdhci)
{
    if (!sdhci->under_way) {
        go_on(sdhci);
    } else if (look(sdhci)) {
        sdhci->interrupts_lost++;
    } else if (dgm_env_now_ns() >= sdhci->late_ns) {
        dgm_sdhci_recover(sdhci, DGM_ETIMEDOUT, "a command got no answer");
    } else {
        dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, dgm_env_now_ns() + DGM_SDHCI_TICK_NS);
    }
}

void dgm_sdhci_check(const struct dgm_sdhci *sdhci)
{
    dgm_assert(sdhci->queue_first < DGM_SDHCI_QUEUE && sdhci->queue_count <= DGM_SDHCI_QUEUE);
    dgm_assert(!sdhci->under_way || sdhci->queue_count > 0);
    dgm_assert(sdhci->state != DGM_SDHCI_FAILED || sdhci->queue_count == 0);
    for (uint32_t i = 0; i < sdhci->queue_count; i++)
        dgm_assert(sdhci->queue[(sdhci->queue_first + i) % DGM_SDHCI_QUEUE]);
}
