/* SPDX-License-Identifier: MIT */
/*
 * sdhci: the I/O path of the SD driver: queue, start, end
 *
 * A ring of commands, the oldest of which is at the controller. A task starts commands and ends
 * flushes, so no command completes inside submit or kick. Every transfer is CMD18 or CMD25 with the
 * controller's own CMD12 at the end, for one block or many.
 *
 * Cost per command: 8 bytes per segment, 5 register writes and a read; at its end 2 writes and
 * 5 reads.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

#define BUSY_PAUSE_NS 1000000ull

static struct dgm_sdhci *sdhci_of(struct dgm_blkdev *device)
{
    return dgm_container(device, struct dgm_sdhci, device);
}

/* --- the operations of a disk --- */

static int sdhci_submit(struct dgm_blkdev *device, struct dgm_blk_command *command)
{
    struct dgm_sdhci *sdhci = sdhci_of(device);

    dgm_assert(command->done);
    if (sdhci->state == DGM_SDHCI_FAILED || sdhci->closing)
        return DGM_EIO;
    if (!device->ready || sdhci->queue_count == DGM_SDHCI_QUEUE)
        return DGM_EAGAIN;
    if (command->op != DGM_BLK_FLUSH) {
        dgm_assert(command->blocks > 0 &&
                   command->blocks <= DGM_SDHCI_TRANSFER_BYTES_MAX / device->block_bytes);
        dgm_assert(command->block < device->blocks &&
                   command->blocks <= device->blocks - command->block);
    }
    sdhci->queue[(sdhci->queue_first + sdhci->queue_count++) % DGM_SDHCI_QUEUE] = command;
    device->commands++;
    return DGM_OK;
}

static void sdhci_kick(struct dgm_blkdev *device)
{
    struct dgm_sdhci *sdhci = sdhci_of(device);

    if (sdhci->queue_count && !sdhci->in_flight)
        dgm_reactor_post(sdhci->env->reactor, &sdhci->task);
}

/* A card has no volatile cache: it is shut down when the last transfer has ended and the card is
 * ready. */
static bool sdhci_shutdown(struct dgm_blkdev *device, uint64_t deadline_ns)
{
    struct dgm_sdhci *sdhci = sdhci_of(device);

    sdhci->closing = true;
    if (sdhci->state == DGM_SDHCI_FAILED || dgm_env_now_ns() >= deadline_ns)
        return true;
    if (sdhci->state != DGM_SDHCI_LIVE) {
        dgm_sdhci_advance(sdhci);
        return sdhci->queue_count == 0;
    }
    if (sdhci->in_flight)
        dgm_sdhci_take_status(sdhci);
    else
        dgm_sdhci_start_next(sdhci);
    return sdhci->queue_count == 0;
}

const struct dgm_blkdev_ops dgm_sdhci_ops = {
    .submit = sdhci_submit,
    .kick = sdhci_kick,
    .shutdown = sdhci_shutdown,
};

/* --- start --- */

/*
 * SDMA: an address that is written while size and count are set may start a transfer (as a transfer
 * continues after a boundary), so both are zero meanwhile.
 */
static void describe_memory(struct dgm_sdhci *sdhci, const struct dgm_blk_command *command)
{
    uint64_t bytes;

    if (sdhci->adma) {
        bytes = dgm_sdhci_adma(command->segments, command->segment_count, sdhci->descriptors);
        if (!sdhci->device.tag.coherent)
            dgm_arch_cache_clean(sdhci->descriptors,
                                 command->segment_count * sizeof sdhci->descriptors[0]);
        dgm_sdhci_write(sdhci, SDHCI_ADMA_ADDRESS,
                        (uint32_t)dgm_bus_address(sdhci->descriptors_bus));
    } else {
        const struct dgm_dma_segment *segment = command->segments;
        const uint64_t address = dgm_bus_address(segment->bus);

        dgm_assert(command->segment_count == 1);
        dgm_assert(address <= UINT32_MAX && segment->bytes - 1u <= UINT32_MAX - address);
        bytes = segment->bytes;
        dgm_sdhci_write(sdhci, SDHCI_BLOCK, 0);
        dgm_sdhci_write(sdhci, SDHCI_SDMA_ADDRESS, (uint32_t)address);
    }
    dgm_assert(bytes == (uint64_t)command->blocks * sdhci->device.block_bytes);
}

static void start_transfer(struct dgm_sdhci *sdhci, const struct dgm_blk_command *command)
{
    const bool reads = command->op == DGM_BLK_READ;
    const uint32_t flags = SDHCI_MODE_DMA | SDHCI_MODE_COUNT | SDHCI_MODE_AUTO_CMD12 |
                           SDHCI_MODE_MULTI | (reads ? SDHCI_MODE_READ : 0) | SDHCI_RSP_48_CHECKED |
                           SDHCI_COMMAND_DATA;
    const uint64_t address =
        sdhci->in_blocks ? command->block : command->block * sdhci->device.block_bytes;
    const uint64_t now_ns = dgm_env_now_ns();

    describe_memory(sdhci, command);
    dgm_sdhci_write(sdhci, SDHCI_BLOCK,
                    command->blocks << 16 | SDHCI_BLOCK_SDMA_512K | sdhci->device.block_bytes);
    dgm_sdhci_write(sdhci, SDHCI_ARGUMENT, (uint32_t)address);
    dgm_arch_dma_wmb(); /* descriptors and data before the command */
    dgm_sdhci_write(sdhci, SDHCI_COMMAND,
                    (reads ? SD_READ : SD_WRITE) << SDHCI_COMMAND_INDEX | flags);
    sdhci->in_flight = true;
    sdhci->seen = false;
    sdhci->late_ns = now_ns + sdhci->times.stall_ns;
    dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, now_ns + sdhci->poll_pause_ns);
}

/* Handles a card that is busy after the end of its last command: it is polled until it is late, and
 * then treated like a command without a response. */
static void wait_while_busy(struct dgm_sdhci *sdhci)
{
    const uint64_t now_ns = dgm_env_now_ns();

    if (sdhci->late_ns == 0)
        sdhci->late_ns = now_ns + sdhci->times.stall_ns;
    dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, now_ns + BUSY_PAUSE_NS);
    if (now_ns < sdhci->late_ns)
        return;
    sdhci->in_flight = true;
    dgm_sdhci_recover(sdhci, SDHCI_PASSING, DGM_ETIMEDOUT, "the card stays busy");
}

/* True: the command was started, or it must wait. */
static bool start_oldest(struct dgm_sdhci *sdhci)
{
    const struct dgm_blk_command *command = sdhci->queue[sdhci->queue_first];
    uint32_t present;

    if (command->op == DGM_BLK_FLUSH) {
        dgm_sdhci_end_oldest(sdhci, DGM_OK); /* all earlier writes have ended */
        return false;
    }
    if (sdhci->again_ns && dgm_env_now_ns() < sdhci->again_ns) {
        dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, sdhci->again_ns);
        return true;
    }
    present = dgm_sdhci_read(sdhci, SDHCI_PRESENT);
    if (present == SDHCI_PRESENT_GONE)
        dgm_sdhci_lose(sdhci, "the controller has left the bus");
    else if (present & (SDHCI_PRESENT_CMD_INHIBIT | SDHCI_PRESENT_DAT_INHIBIT))
        wait_while_busy(sdhci);
    else
        start_transfer(sdhci, command);
    return true;
}

void dgm_sdhci_start_next(struct dgm_sdhci *sdhci)
{
    while (sdhci->state == DGM_SDHCI_LIVE && sdhci->queue_count && !sdhci->in_flight) {
        if (start_oldest(sdhci))
            return;
    }
}

void dgm_sdhci_run(struct dgm_task *task)
{
    dgm_sdhci_start_next(dgm_container(task, struct dgm_sdhci, task));
}

/* --- end --- */

void dgm_sdhci_end_oldest(struct dgm_sdhci *sdhci, int status)
{
    struct dgm_blk_command *command = sdhci->queue[sdhci->queue_first];

    sdhci->queue_first = (sdhci->queue_first + 1) % DGM_SDHCI_QUEUE;
    sdhci->queue_count--;
    sdhci->in_flight = false;
    sdhci->late_ns = sdhci->again_ns = 0;
    sdhci->tries = 0;
    if (status != DGM_OK)
        sdhci->device.errors++;
    if (status == DGM_ETIMEDOUT)
        sdhci->device.timeouts++;
    command->done(command, status);
    dgm_waiters_wake(&sdhci->device.waiters, sdhci->env->reactor);
}

void dgm_sdhci_check(const struct dgm_sdhci *sdhci)
{
    dgm_assert(sdhci->queue_first < DGM_SDHCI_QUEUE && sdhci->queue_count <= DGM_SDHCI_QUEUE);
    dgm_assert(!sdhci->in_flight || sdhci->queue_count > 0);
    dgm_assert(sdhci->state != DGM_SDHCI_FAILED || sdhci->queue_count == 0);
    for (uint32_t i = 0; i < sdhci->queue_count; i++)
        dgm_assert(sdhci->queue[(sdhci->queue_first + i) % DGM_SDHCI_QUEUE]);
}
