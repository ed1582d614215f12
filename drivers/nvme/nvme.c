/* SPDX-License-Identifier: MIT */
/*
 * nvme: the I/O path of the disk driver
 *
 * One pair of queues, 63 commands at most, so the submission queue can never overflow: an entry is
 * free again only when its completion was taken, and then the controller has long fetched it. A
 * completion is believed only if its command identifier is the one under which a command that the
 * controller was told of is under way. The upper bits of an identifier count how often its entry
 * was used, so a completion that comes twice does not end the entry's next command.
 *
 * Time is counted in ticks of one second, and only while commands are under way: the I/O path never
 * reads the clock. A tick sees whether the controller still answers, finds completions that no
 * interrupt told of, and starts a reset when a command has waited for ten ticks.
 *
 * With a level interrupt the controller lowers its line when the completion doorbell catches up
 * with its tail (NVMe 1.4, 7.5.1), so draining is all that the interrupt needs.
 *
 * Cost per command: one 64-byte store, a PRP entry per page beyond the second, a shared doorbell.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

#include <string.h>

#define ENTRY_NONE UINT16_MAX
#define ENTRY_MASK (DGM_NVME_DEPTH_MAX - 1)

_Static_assert((DGM_NVME_DEPTH_MAX & ENTRY_MASK) == 0, "a cid is split by a mask");

static struct dgm_nvme *nvme_of(struct dgm_blkdev *device)
{
    return dgm_container(device, struct dgm_nvme, device);
}

/* --- registers and queues, shared with control.c --- */

uint32_t dgm_nvme_read(const struct dgm_nvme *nvme, uint32_t offset)
{
    return dgm_arch_mmio_read32((const volatile char *)nvme->env->mmio + offset);
}

void dgm_nvme_write(struct dgm_nvme *nvme, uint32_t offset, uint32_t value)
{
    dgm_arch_mmio_write32((volatile char *)nvme->env->mmio + offset, value);
}

bool dgm_nvme_take(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue,
                   struct nvme_completion *completion)
{
    const volatile struct nvme_completion *shared =
        (const volatile struct nvme_completion *)queue->cq + queue->head;

    if (!nvme->device.tag.coherent)
        dgm_arch_cache_clean_invalidate((const void *)(uintptr_t)shared, sizeof *shared);
    completion->status = shared->status;
    if (!!(completion->status & NVME_STATUS_PHASE) != queue->phase)
        return false;
    dgm_arch_dma_rmb(); /* the phase bit is written last; the data it announces is there too */
    completion->result = shared->result;
    completion->queue = shared->queue;

    if (++queue->head == queue->depth) {
        queue->head = 0;
        queue->phase = !queue->phase;
    }
    return true;
}

void dgm_nvme_put(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue,
                  const struct nvme_command *command)
{
    struct nvme_command *shared = (struct nvme_command *)queue->sq + queue->tail;

    *shared = *command;
    if (!nvme->device.tag.coherent)
        dgm_arch_cache_clean(shared, sizeof *shared);
    if (++queue->tail == queue->depth)
        queue->tail = 0;
}

void dgm_nvme_ring_sq(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    dgm_arch_dma_wmb(); /* entries, PRP lists and data before the doorbell */
    dgm_nvme_write(nvme, queue->sq_doorbell, queue->tail);
    queue->tail_told = queue->tail;
    nvme->doorbells++;
}

void dgm_nvme_ring_cq(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    dgm_nvme_write(nvme, queue->cq_doorbell, queue->head);
    nvme->doorbells++;
}

/* --- entries --- */

static struct dgm_nvme_entry *entry_take(struct dgm_nvme *nvme, struct dgm_blk_command *command)
{
    struct dgm_nvme_entry *entry = &nvme->entries[nvme->free_first];

    dgm_assert(!entry->command);
    nvme->free_first = entry->next;
    entry->command = command;
    entry->cid = (uint16_t)(entry->cid + DGM_NVME_DEPTH_MAX);
    entry->tick = nvme->tick;
    entry->sequence = nvme->sequence++;
    if (++nvme->under_way > nvme->under_way_max)
        nvme->under_way_max = nvme->under_way;
    return entry;
}

/* Frees the entry first: done() may submit the next command at once. */
static void entry_end(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry, int status)
{
    struct dgm_blk_command *command = entry->command;

    entry->command = NULL;
    entry->next = nvme->free_first;
    nvme->free_first = (uint16_t)(entry - nvme->entries);
    nvme->under_way--;
    if (status != DGM_OK)
        nvme->device.errors++;
    if (status == DGM_ETIMEDOUT)
        nvme->device.timeouts++;
    command->done(command, status);
}

void dgm_nvme_io_init(struct dgm_nvme *nvme)
{
    dgm_assert(nvme->under_way == 0);
    nvme->entry_count = nvme->io.depth - 1;
    nvme->free_first = 0;
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        nvme->entries[i].cid = (uint16_t)((nvme->entries[i].cid & ~ENTRY_MASK) | i);
        nvme->entries[i].next = i + 1 < nvme->entry_count ? i + 1 : ENTRY_NONE;
    }
    nvme->sequence_told = nvme->sequence;
}

void dgm_nvme_io_end(struct dgm_nvme *nvme, int status)
{
    dgm_assert(nvme->state != DGM_NVME_LIVE);
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        if (nvme->entries[i].command)
            entry_end(nvme, &nvme->entries[i], status);
    }
}

/* --- what a disk offers --- */

static void submit_flush(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry)
{
    const struct nvme_command flush = {
        .opcode = NVME_FLUSH,
        .cid = entry->cid,
        .nsid = nvme->nsid,
    };

    dgm_nvme_put(nvme, &nvme->io, &flush);
}

static void submit_transfer(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry)
{
    const struct dgm_blk_command *command = entry->command;
    struct nvme_command transfer = {
        .opcode = command->op == DGM_BLK_READ ? NVME_READ : NVME_WRITE,
        .cid = entry->cid,
        .nsid = nvme->nsid,
        .cdw10 = (uint32_t)command->block,
        .cdw11 = (uint32_t)(command->block >> 32),
        .cdw12 = command->blocks - 1,
    };
    uint32_t list_used;
    const uint64_t bytes =
        dgm_nvme_prp(command->segments, command->segment_count, entry->list, nvme->list_entries,
                     entry->list_bus, transfer.prp, &list_used);

    dgm_assert(bytes == (uint64_t)command->blocks * nvme->device.block_bytes);
    dgm_assert(bytes <= nvme->device.tag.transfer_bytes_max);
    if (list_used && !nvme->device.tag.coherent)
        dgm_arch_cache_clean(entry->list, list_used * sizeof entry->list[0]);
    dgm_nvme_put(nvme, &nvme->io, &transfer);
}

static int nvme_submit(struct dgm_blkdev *device, struct dgm_blk_command *command)
{
    struct dgm_nvme *nvme = nvme_of(device);

    dgm_assert(command->done);
    if (command->op != DGM_BLK_FLUSH) {
        dgm_assert(command->blocks > 0);
        dgm_assert(command->block < device->blocks &&
                   command->blocks <= device->blocks - command->block);
    }
    if (nvme->state == DGM_NVME_FAILED)
        return DGM_EIO;
    if (nvme->state != DGM_NVME_LIVE || nvme->free_first == ENTRY_NONE)
        return DGM_EAGAIN;

    struct dgm_nvme_entry *entry = entry_take(nvme, command);

    if (command->op == DGM_BLK_FLUSH)
        submit_flush(nvme, entry);
    else
        submit_transfer(nvme, entry);
    device->commands++;
    return DGM_OK;
}

static void nvme_kick(struct dgm_blkdev *device)
{
    struct dgm_nvme *nvme = nvme_of(device);

    if (nvme->state != DGM_NVME_LIVE || nvme->io.tail == nvme->io.tail_told)
        return;
    nvme->sequence_told = nvme->sequence;
    if (!nvme->timer.armed)
        dgm_timer_arm(nvme->env->reactor, &nvme->timer, dgm_env_now_ns() + DGM_NVME_TICK_NS);
    dgm_nvme_ring_sq(nvme, &nvme->io);
}

const struct dgm_blkdev_ops dgm_nvme_ops = {
    .submit = nvme_submit,
    .kick = nvme_kick,
};

/* --- completions --- */

/* At most one line a second: a disk can fail thousands of commands in that time. */
static void log_error(struct dgm_nvme *nvme, const struct dgm_blk_command *command, uint32_t status)
{
    static const char *const verbs[] = {"read", "write", "flush"};
    const uint64_t now_ns = dgm_env_now_ns();

    if (now_ns < nvme->log_next_ns) {
        nvme->log_kept_back++;
        return;
    }
    dgm_env_log("%s: %s of %u blocks at %lu failed: status type %u code 0x%02x (%lu more errors "
                "before this one)",
                nvme->device.name, verbs[command->op], command->blocks,
                (unsigned long)command->block, NVME_STATUS(status) >> 8, NVME_STATUS(status) & 0xff,
                (unsigned long)nvme->log_kept_back);
    nvme->log_kept_back = 0;
    nvme->log_next_ns = now_ns + 1000000000u;
}

/* The entry whose command `completion` ends, or NULL: no such command is under way. */
static struct dgm_nvme_entry *entry_of(struct dgm_nvme *nvme,
                                       const struct nvme_completion *completion)
{
    const uint16_t cid = nvme_cid(completion);
    struct dgm_nvme_entry *entry = &nvme->entries[cid & ENTRY_MASK];

    if (completion->queue >> 16 != 1 || (cid & ENTRY_MASK) >= nvme->entry_count)
        return NULL;
    if (!entry->command || entry->cid != cid)
        return NULL;
    if ((int32_t)(entry->sequence - nvme->sequence_told) >= 0)
        return NULL; /* queued, but the controller was not told of it */
    return entry;
}

/*
 * Takes what there is, as much as a full queue holds: until the doorbell, a controller that keeps
 * to the rules can have no more, and what it posts afterwards brings its own interrupt.
 */
unsigned dgm_nvme_io_drain(struct dgm_nvme *nvme)
{
    struct nvme_completion completion;
    unsigned taken = 0;
    unsigned ended = 0;

    while (taken < nvme->io.depth - 1u && dgm_nvme_take(nvme, &nvme->io, &completion)) {
        struct dgm_nvme_entry *entry = entry_of(nvme, &completion);

        taken++;
        if (!entry) {
            nvme->bogus++;
            continue;
        }
        ended++;
        if (NVME_STATUS(completion.status)) {
            log_error(nvme, entry->command, completion.status);
            entry_end(nvme, entry, DGM_EIO);
        } else {
            entry_end(nvme, entry, DGM_OK);
        }
    }
    if (taken)
        dgm_nvme_ring_cq(nvme, &nvme->io);
    if (ended)
        dgm_waiters_wake(&nvme->device.waiters, nvme->env->reactor);
    return taken;
}

void dgm_nvme_io_interrupt(struct dgm_nvme *nvme)
{
    if (dgm_nvme_io_drain(nvme) == 0)
        nvme->interrupts_idle++; /* a neighbour on the line, or a tick was faster */
}

/* How many ticks the command that waits longest has seen; 0 if none does. */
static uint32_t oldest(const struct dgm_nvme *nvme)
{
    uint32_t age = 0;

    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        const struct dgm_nvme_entry *entry = &nvme->entries[i];

        if (entry->command && nvme->tick - entry->tick > age)
            age = nvme->tick - entry->tick;
    }
    return age;
}

void dgm_nvme_io_tick(struct dgm_nvme *nvme)
{
    const uint32_t csts = dgm_nvme_read(nvme, NVME_CSTS);

    nvme->tick++;
    if (csts == NVME_CSTS_GONE) {
        dgm_nvme_reset(nvme, "does not answer");
        return;
    }
    if (csts & NVME_CSTS_FATAL) {
        dgm_nvme_reset(nvme, "reports a fatal status");
        return;
    }
    if (oldest(nvme) >= 2)
        nvme->interrupts_lost += dgm_nvme_io_drain(nvme);
    if (oldest(nvme) >= DGM_NVME_LATE_TICKS) {
        dgm_nvme_reset(nvme, "a command got no answer");
        return;
    }
    if (nvme->under_way && !nvme->timer.armed)
        dgm_timer_arm(nvme->env->reactor, &nvme->timer, dgm_env_now_ns() + DGM_NVME_TICK_NS);
}

void dgm_nvme_check(const struct dgm_nvme *nvme)
{
    unsigned free = 0;
    unsigned busy = 0;

    for (uint16_t i = nvme->free_first; i != ENTRY_NONE; i = nvme->entries[i].next) {
        dgm_assert(i < nvme->entry_count && !nvme->entries[i].command);
        dgm_assert(++free <= nvme->entry_count);
    }
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        busy += nvme->entries[i].command != NULL;
        dgm_assert((nvme->entries[i].cid & ENTRY_MASK) == i);
    }
    dgm_assert(busy == nvme->under_way);
    dgm_assert(free + busy == nvme->entry_count);
    dgm_assert(nvme->io.head < nvme->io.depth && nvme->io.tail < nvme->io.depth);
}
