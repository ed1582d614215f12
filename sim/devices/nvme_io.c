/* SPDX-License-Identifier: MIT */
/* nvme_io: transfers and completions of the simulated NVMe controller, and their faults. Sections
 * are of NVMe 1.4. */
#include <sim/devices/nvme_internal.h>

#include <assert.h>
#include <string.h>

void *simnvme_memory(struct dgm_simnvme *nvme, uint64_t bus, uint32_t bytes, bool write)
{
    assert(bus / PAGE == (bus + bytes - 1) / PAGE);
    return nvme->config.memory(nvme->config.context, bus, bytes, write);
}

/* --- completions --- */

static void post_raw(struct dgm_simnvme *nvme, struct dgm_simnvme_queue *queue, uint32_t sqid,
                     uint16_t cid, uint32_t status)
{
    const uint32_t entry[] = {
        0,
        0,
        sqid << 16 | queue->sq_head,
        cid | (uint32_t)queue->phase << 16 | status << 17,
    };
    uint32_t *shared = simnvme_memory(nvme, queue->cq + 16u * queue->cq_tail, 16, true);

    memcpy(shared, entry, 12);
    __atomic_store_n(&shared[3], entry[3], __ATOMIC_RELEASE);
    if (++queue->cq_tail == queue->cq_size) {
        queue->cq_tail = 0;
        queue->phase = !queue->phase;
    }
    if (queue->interrupts && !nvme->muted)
        nvme->messages++;
}

static bool cq_full(const struct dgm_simnvme_queue *queue)
{
    return (queue->cq_tail + 1) % queue->cq_size == queue->cq_head;
}

void simnvme_post(struct dgm_simnvme *nvme, unsigned id, uint16_t cid, uint32_t status)
{
    assert(!cq_full(&nvme->queues[id]));
    post_raw(nvme, &nvme->queues[id], id, cid, status);
}

bool dgm_simnvme_line(const struct dgm_simnvme *nvme)
{
    if (nvme->stuck_line && !nvme->gone)
        return true;
    if (nvme->muted || !(nvme->csts & RDY))
        return false;
    for (unsigned i = 0; i < 2; i++) {
        const struct dgm_simnvme_queue *queue = &nvme->queues[i];

        if (queue->interrupts && queue->cq_head != queue->cq_tail)
            return true;
    }
    return false;
}

/* --- data --- */

/*
 * Moves `bytes` between `data` and the memory that the command's PRP entries name (4.3). The
 * entries are followed as in the specification, chained lists included.
 */
void simnvme_transfer(struct dgm_simnvme *nvme, const uint32_t *command, uint8_t *data,
                      uint32_t bytes, bool to_memory)
{
    uint64_t page = PRP(command, 0);
    uint64_t list = 0;
    uint32_t left = bytes;

    assert(page % 4 == 0);
    for (uint32_t done = 0; left > 0;) {
        uint32_t here = PAGE - page % PAGE;

        here = here < left ? here : left;
        uint8_t *at = simnvme_memory(nvme, page, here, to_memory);

        memcpy(to_memory ? at : data + done, to_memory ? data + done : at, here);
        done += here;
        left -= here;
        if (left == 0)
            break;
        if (done == here && left <= PAGE) { /* two pages: both in the command */
            page = PRP(command, 1);
        } else {
            if (done == here)
                list = PRP(command, 1);
            assert(list % 8 == 0);
            memcpy(&page, simnvme_memory(nvme, list, 8, false), 8);
            if (list % PAGE == PAGE - 8 && left > PAGE) {
                list = page;
                memcpy(&page, simnvme_memory(nvme, list, 8, false), 8);
            }
            list += 8;
        }
        assert(page % PAGE == 0);
    }
}

/* Executes an I/O command (6.). Returns its status. */
static uint32_t carry_out(struct dgm_simnvme *nvme, const uint32_t *command)
{
    const uint64_t block = command[10] | (uint64_t)command[11] << 32;
    const uint32_t blocks = (command[12] & 0xffff) + 1;
    const uint32_t bytes = blocks << nvme->config.block_shift;

    assert((command[0] & 0xff00) == 0);
    assert(command[1] == nvme->config.nsid);
    if (OPCODE(command) == 0) {
        nvme->flushes++;
        nvme->flushed_at = nvme->io_commands;
        return 0;
    }
    assert(OPCODE(command) == 1 || OPCODE(command) == 2);
    assert(block < nvme->config.blocks && blocks <= nvme->config.blocks - block);
    assert(nvme->config.mdts == 0 || bytes <= PAGE << nvme->config.mdts);
    simnvme_transfer(nvme, command, nvme->disk + (block << nvme->config.block_shift), bytes,
                     OPCODE(command) == 2);
    return 0;
}

/* --- I/O commands --- */

static void fetch_commands(struct dgm_simnvme *nvme)
{
    struct dgm_simnvme_queue *queue = &nvme->queues[1];

    while (queue->sq_head != queue->sq_tail && nvme->held_count < DGM_SIMNVME_HELD_MAX) {
        uint32_t *command = nvme->held[nvme->held_count];

        memcpy(command, simnvme_memory(nvme, queue->sq + 64u * queue->sq_head, 64, false), 64);
        for (size_t i = 0; i < nvme->held_count; i++)
            assert(CID(nvme->held[i]) != CID(command));
        nvme->stuck[nvme->held_count++] = false;
        queue->sq_head = (queue->sq_head + 1) % queue->sq_size;
    }
}

static void release_command(struct dgm_simnvme *nvme, size_t index)
{
    nvme->held_count--;
    memmove(nvme->held[index], nvme->held[index + 1],
            (nvme->held_count - index) * sizeof nvme->held[0]);
    memmove(&nvme->stuck[index], &nvme->stuck[index + 1],
            (nvme->held_count - index) * sizeof nvme->stuck[0]);
}

/* The next held command that can be completed, or held_count. */
static size_t choose_command(struct dgm_simnvme *nvme)
{
    uint64_t *seed = &nvme->config.shuffle;
    size_t candidates = 0;

    for (size_t i = 0; i < nvme->held_count; i++)
        candidates += !nvme->stuck[i];
    if (candidates == 0)
        return nvme->held_count;
    if (*seed)
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;

    size_t skip = *seed ? (*seed >> 33) % candidates : 0;

    for (size_t i = 0;; i++) {
        if (!nvme->stuck[i] && skip-- == 0)
            return i;
    }
}

static void flood_queue(struct dgm_simnvme *nvme)
{
    nvme->overrun = true;
    for (uint32_t i = 0; i < nvme->flood_entries; i++)
        post_raw(nvme, &nvme->queues[1], 1, (uint16_t)(0x7fc0 + i), 0);
}

/* Completes held command `index`, according to its fault. */
static void complete_command(struct dgm_simnvme *nvme, size_t index, enum dgm_simnvme_fault fault)
{
    uint32_t command[16];

    memcpy(command, nvme->held[index], sizeof command);
    if (nvme->config.on_execute)
        nvme->config.on_execute(nvme->config.context, command, fault);

    const uint16_t cid = CID(command);

    if (fault == DGM_SIMNVME_SILENT || fault == DGM_SIMNVME_FATAL) {
        nvme->stuck[index] = true;
        if (fault == DGM_SIMNVME_FATAL)
            nvme->csts |= CFS;
        return;
    }
    if (fault == DGM_SIMNVME_BAD_CID || fault == DGM_SIMNVME_OLD_CID ||
        fault == DGM_SIMNVME_BAD_QUEUE) {
        nvme->stuck[index] = true; /* its own completion is never posted */
        if (fault == DGM_SIMNVME_BAD_QUEUE)
            post_raw(nvme, &nvme->queues[1], 2, cid, 0);
        else
            simnvme_post(nvme, 1, fault == DGM_SIMNVME_BAD_CID ? cid | 63 : (uint16_t)(cid - 64),
                         0);
        return;
    }

    const bool unwritten = fault == DGM_SIMNVME_UNWRITTEN && OPCODE(command) == 2;
    const uint32_t status = fault == DGM_SIMNVME_ERROR ? nvme->status
                            : unwritten                ? 0
                                                       : carry_out(nvme, command);

    release_command(nvme, index);
    nvme->muted = fault == DGM_SIMNVME_NO_INTERRUPT;
    simnvme_post(nvme, 1, cid, status);
    if (fault == DGM_SIMNVME_TWICE && !cq_full(&nvme->queues[1]))
        simnvme_post(nvme, 1, cid, status);
    if (fault == DGM_SIMNVME_FLOOD)
        flood_queue(nvme);
}

unsigned dgm_simnvme_run(struct dgm_simnvme *nvme, unsigned most)
{
    unsigned ran = 0;

    if (!(nvme->csts & RDY) || (nvme->csts & (CFS | SHST_DONE)) || nvme->gone ||
        !nvme->queues[1].sq)
        return 0;
    fetch_commands(nvme);
    while (ran < most && !cq_full(&nvme->queues[1]) && !(nvme->csts & CFS)) {
        const size_t index = choose_command(nvme);

        if (index == nvme->held_count)
            break;

        const uint64_t number = nvme->io_commands++;
        const bool faulty =
            number >= nvme->fault_from && number - nvme->fault_from < nvme->fault_count;

        const bool muted = nvme->mute_writes && OPCODE(nvme->held[index]) == 1;

        complete_command(nvme, index,
                         muted    ? DGM_SIMNVME_SILENT
                         : faulty ? nvme->fault
                                  : DGM_SIMNVME_SOUND);
        ran++;
    }
    return ran;
}

bool dgm_simnvme_ready(const struct dgm_simnvme *nvme)
{
    size_t candidates = 0;

    for (size_t i = 0; i < nvme->held_count; i++)
        candidates += !nvme->stuck[i];
    return candidates && (nvme->csts & RDY) && !(nvme->csts & CFS) && !nvme->gone;
}

void dgm_simnvme_late_dma(struct dgm_simnvme *nvme)
{
    for (size_t i = 0; i < nvme->held_count; i++)
        carry_out(nvme, nvme->held[i]);
}
