/* SPDX-License-Identifier: MIT */
/*
 * nvme: the I/O path of the disk driver: entries, submit, kick
 *
 * One pair of queues with at most 63 commands, so the submission queue can never overflow: an entry
 * is free only after its completion was taken, and by then the controller has fetched its command.
 *
 * An entry holds one command of a backend from submit to done(). It is either *sent* (it is at the
 * controller, or will be with the next doorbell) or *parked* until it is sent again, because its
 * completion had a temporary error, or because the controller lost it in a reset. Each time that it
 * is sent it has a new identifier: the lower bits are the entry's number, the upper ones count its
 * uses, so a duplicate or late completion does not end the entry's next use.
 *
 * The I/O path does not read the clock, except for the first command after the disk was idle.
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
_Static_assert(sizeof(dgm_bus_t) == sizeof(uint64_t), "a page is a PRP entry");

/* --- entries --- */

void dgm_nvme_io_init(struct dgm_nvme *nvme)
{
    dgm_assert(nvme->in_flight == 0);
    nvme->entry_count = nvme->io.depth - 1;
    nvme->free_first = nvme->entry_count ? 0 : ENTRY_NONE;
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        nvme->entries[i].cid = i;
        nvme->entries[i].next = i + 1 < nvme->entry_count ? i + 1 : ENTRY_NONE;
    }
}

static inline void put_flush(struct dgm_nvme *nvme, const struct dgm_nvme_entry *entry)
{
    *dgm_nvme_command_at_tail(&nvme->io) = (struct nvme_command){
        .opcode = NVME_FLUSH,
        .cid = entry->cid,
        .nsid = nvme->device.nsid,
    };
    dgm_nvme_command_put(nvme, &nvme->io);
}

/* The PRP entries of a command's data: those in the command, and what they describe. */
struct data {
    uint64_t prp[2];
    uint64_t bytes;
    uint32_t list_used;
};

/* Frames, one after another: the list is copied as it is. */
static inline struct data describe_pages(const struct dgm_nvme *nvme,
                                         const struct dgm_nvme_entry *entry)
{
    const dgm_bus_t *pages = entry->command->pages;
    const uint32_t count = entry->command->page_count;
    struct data data = {.prp = {dgm_bus_address(pages[0])},
                        .bytes = (uint64_t)count * DGM_FRAME_BYTES};

    if (count == 2)
        data.prp[1] = dgm_bus_address(pages[1]);
    if (count <= 2)
        return data;
    data.list_used = count - 1;
    dgm_assert(data.list_used <= nvme->list_entries);
    memcpy(entry->list, pages + 1, data.list_used * sizeof pages[0]);
    data.prp[1] = dgm_bus_address(entry->list_bus);
    return data;
}

static inline struct data describe_segments(const struct dgm_nvme *nvme,
                                            const struct dgm_nvme_entry *entry)
{
    struct nvme_prp prp = {
        .list = entry->list,
        .list_bus = entry->list_bus,
        .list_entries = nvme->list_entries,
    };

    dgm_nvme_prp(&prp, entry->command->segments, entry->command->segment_count);
    return (struct data){
        .prp = {prp.prp[0], prp.prp[1]}, .bytes = prp.bytes, .list_used = prp.list_used};
}

static inline void put_transfer(struct dgm_nvme *nvme, const struct dgm_nvme_entry *entry)
{
    const struct dgm_blk_command *command = entry->command;
    const struct data data =
        command->page_count ? describe_pages(nvme, entry) : describe_segments(nvme, entry);

    dgm_assert(data.bytes == (uint64_t)command->blocks * nvme->device.block_bytes);
    dgm_assert(data.bytes <= nvme->device.tag.transfer_bytes_max);
    if (data.list_used && !nvme->device.tag.coherent)
        dgm_arch_cache_clean(entry->list, data.list_used * sizeof entry->list[0]);

    *dgm_nvme_command_at_tail(&nvme->io) = (struct nvme_command){
        .opcode = command->op == DGM_BLK_READ ? NVME_READ : NVME_WRITE,
        .cid = entry->cid,
        .nsid = nvme->device.nsid,
        .prp = {data.prp[0], data.prp[1]},
        .cdw10 = (uint32_t)command->block,
        .cdw11 = (uint32_t)(command->block >> 32),
        .cdw12 = command->blocks - 1,
    };
    dgm_nvme_command_put(nvme, &nvme->io);
}

static inline void send_entry(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry)
{
    dgm_assert(entry->command);
    entry->cid = (uint16_t)(entry->cid + DGM_NVME_DEPTH_MAX);
    entry->sequence = nvme->sequence++;
    entry->watched_ns = 0;
    entry->parked = false;
    nvme->sent++;
    if (entry->command->op == DGM_BLK_FLUSH)
        put_flush(nvme, entry);
    else
        put_transfer(nvme, entry);
}

void dgm_nvme_entry_send(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry)
{
    send_entry(nvme, entry);
}

void dgm_nvme_entry_park(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry, uint64_t due_ns)
{
    dgm_assert(entry->command && !entry->parked);
    entry->parked = true;
    entry->due_ns = due_ns;
    nvme->sent--;
}

static inline struct dgm_nvme_entry *submit_entry(struct dgm_nvme *nvme,
                                                  struct dgm_blk_command *command)
{
    if (nvme->free_first == ENTRY_NONE)
        return NULL;

    struct dgm_nvme_entry *entry = &nvme->entries[nvme->free_first];

    dgm_assert(!entry->command);
    nvme->free_first = entry->next;
    entry->command = command;
    entry->tries = 0;
    if (++nvme->in_flight > nvme->in_flight_max)
        nvme->in_flight_max = nvme->in_flight;
    send_entry(nvme, entry);
    return entry;
}

struct dgm_nvme_entry *dgm_nvme_entry_submit(struct dgm_nvme *nvme, struct dgm_blk_command *command)
{
    return submit_entry(nvme, command);
}

/* The entry is freed before done() runs, which may submit the next command. */
void dgm_nvme_entry_end(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry, int status)
{
    struct dgm_blk_command *command = entry->command;

    if (!entry->parked)
        nvme->sent--;
    entry->command = NULL;
    entry->parked = false;
    entry->next = nvme->free_first;
    nvme->free_first = (uint16_t)(entry - nvme->entries);
    nvme->in_flight--;
    if (status != DGM_OK)
        nvme->device.errors++;
    if (status == DGM_ETIMEDOUT)
        nvme->device.timeouts++;
    command->done(command, status);
}

void dgm_nvme_io_ring(struct dgm_nvme *nvme)
{
    if (nvme->io.tail == nvme->io.tail_announced)
        return;
    nvme->sequence_announced = nvme->sequence;
    dgm_nvme_sq_ring(nvme, &nvme->io);
}

/* --- the operations of a disk --- */

int dgm_nvme_submit(struct dgm_blkdev *device, struct dgm_blk_command *command)
{
    struct dgm_nvme *nvme = dgm_container(device, struct dgm_nvme, device);

    dgm_assert(command->done);
    if (nvme->state == DGM_NVME_FAILED || nvme->closing)
        return DGM_EIO;
    if (nvme->state != DGM_NVME_LIVE)
        return DGM_EAGAIN;
    if (command->op != DGM_BLK_FLUSH) {
        dgm_assert(command->blocks > 0);
        dgm_assert(command->block < device->blocks &&
                   command->blocks <= device->blocks - command->block);
    }
    if (!submit_entry(nvme, command))
        return DGM_EAGAIN;
    device->commands++;
    return DGM_OK;
}

void dgm_nvme_kick(struct dgm_blkdev *device)
{
    struct dgm_nvme *nvme = dgm_container(device, struct dgm_nvme, device);

    if (nvme->state != DGM_NVME_LIVE || nvme->io.tail == nvme->io.tail_announced)
        return;
    if (!nvme->timer.armed) {
        nvme->progress_ns = dgm_env_now_ns(); /* it was idle */
        dgm_nvme_watch_arm(nvme, nvme->progress_ns);
    }
    dgm_nvme_io_ring(nvme);
}

void dgm_nvme_check(const struct dgm_nvme *nvme)
{
    unsigned free = 0;
    unsigned busy = 0;
    unsigned parked = 0;

    for (uint16_t i = nvme->free_first; i != ENTRY_NONE; i = nvme->entries[i].next) {
        dgm_assert(i < nvme->entry_count && !nvme->entries[i].command);
        dgm_assert(++free <= nvme->entry_count);
    }
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        const struct dgm_nvme_entry *entry = &nvme->entries[i];

        busy += entry->command != NULL;
        parked += entry->command && entry->parked;
        dgm_assert((entry->cid & ENTRY_MASK) == i);
    }
    dgm_assert(busy == nvme->in_flight && busy - parked == nvme->sent);
    dgm_assert(free + busy == nvme->entry_count);
    dgm_assert(nvme->io.head < nvme->io.depth && nvme->io.tail < nvme->io.depth);
    /* A live controller with commands is supervised. */
    dgm_assert(nvme->state != DGM_NVME_LIVE || nvme->timer.armed ||
               (parked == 0 && nvme->io.tail == nvme->io.tail_announced && nvme->sent == 0) ||
               nvme->io.tail != nvme->io.tail_announced);
}
