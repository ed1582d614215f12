/* SPDX-License-Identifier: MIT */
/*
 * fuzz nvme: the driver against a controller that gives arbitrary answers
 *
 * The controller here is sound where the input says nothing else: it comes up, identifies itself,
 * takes commands. The input then changes what registers read as, what Identify says, how admin
 * commands end, and writes completions: true ones, wrong ones, twice, or any bytes in the queue.
 *
 * What must hold: registers are read and written in 32 bits, within the device; each command that
 * was accepted ends exactly once, never before its doorbell was rung, and when it ends because
 * the controller was silent, the controller can no longer reach memory; the driver's counts agree
 * (dgm_nvme_check); a controller that falls silent permanently does not keep a command.
 */
#include "feed.h"

#include <dragoman/base/status.h>
#include <drivers/nvme/internal.h>

#define RAM      0x40000u
#define FRAMES   64u
#define BASE     0x10000000u
#define JOBS     80
#define READ_NS  20000000ull /* each look at a register takes time, so that waits end */
#define SEGMENTS 6
#define SECOND   1000000000ull

struct job {
    struct dgm_blk_command command;
    struct dgm_dma_segment segments[SEGMENTS];
    bool live, told;
};

struct queue {
    uint64_t sq, cq; /* bus addresses; 0: none */
    uint32_t depth, head, tail;
    bool phase;
};

static struct {
    struct feed *feed;
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_device_env env;
    struct dgm_nvme nvme;
    struct dgm_irq *irq;
    uint64_t now_ns, cap;
    struct queue admin, io;
    uint32_t cc, csts, csts_or;
    bool csts_gone, cut_off, shown_ready;
    uint8_t wild; /* in 256, of reads and answers */
    uint16_t told[64];
    unsigned told_count;
    struct job jobs[JOBS];
} m;

static void *memory(uint64_t bus)
{
    const uint64_t frame = bus >> DGM_FRAME_SHIFT;

    fuzz_check(frame >= RAM && frame < RAM + FRAMES);
    return (uint8_t *)dgm_env_va(dgm_gfn(frame)) + bus % DGM_FRAME_BYTES;
}

static bool wild(void)
{
    return feed_chance(m.feed, m.wild);
}

/* --- the controller --- */

static void post(struct queue *queue, uint16_t sq_id, uint16_t cid, uint32_t status)
{
    struct nvme_completion *entry;

    if (!queue->cq || m.cut_off)
        return;
    entry = (struct nvme_completion *)memory(queue->cq) + queue->tail;
    *entry = (struct nvme_completion){
        .result = 0,
        .queue = (uint32_t)sq_id << 16,
        .status = cid | (uint32_t)queue->phase << 16 | status << 17,
    };
    if (++queue->tail == queue->depth) {
        queue->tail = 0;
        queue->phase = !queue->phase;
    }
}

static void identify(const struct nvme_command *command)
{
    uint8_t *const data = memory(command->prp[0]);

    memset(data, 0, DGM_FRAME_BYTES);
    if (command->cdw10 == NVME_IDENTIFY_CONTROLLER) {
        memcpy(data + 4, "FUZZ0001            ", 20);
        data[77] = 5;
        data[512] = 0x66;
        data[513] = 0x44;
    } else if (command->cdw10 == NVME_IDENTIFY_LIST) {
        data[0] = 1;
    } else {
        data[1] = 0x10; /* 4096 blocks */
        data[130] = 9;
    }
    while (wild())
        data[feed_below(m.feed, 600)] = (uint8_t)feed_take(m.feed, 1);
}

static void admin_command(const struct nvme_command *command)
{
    if (command->opcode == NVME_IDENTIFY)
        identify(command);
    if (command->opcode == NVME_CREATE_CQ)
        m.io = (struct queue){
            .cq = command->prp[0], .depth = (command->cdw10 >> 16) + 1, .phase = true};
    if (command->opcode == NVME_CREATE_SQ)
        m.io.sq = command->prp[0];
    if (wild()) /* an answer to no command */
        post(&m.admin, (uint16_t)feed_take(m.feed, 1), (uint16_t)feed_take(m.feed, 2), 0);
    if (!wild())
        post(&m.admin, 0, command->cid, wild() ? (uint32_t)feed_take(m.feed, 2) & 0x7fff : 0);
}

static void doorbell(struct queue *queue, uint32_t tail)
{
    fuzz_check(queue->sq && tail < queue->depth);
    while (queue->head != tail) {
        const struct nvme_command *command = (struct nvme_command *)memory(queue->sq) + queue->head;

        if (queue == &m.admin)
            admin_command(command);
        else if (m.told_count < 64)
            m.told[m.told_count++] = command->cid;
        queue->head = (queue->head + 1) % queue->depth;
    }
}

static void enable(uint32_t value)
{
    const bool was = m.cc & NVME_CC_ENABLE;

    m.cc = value;
    if (!was && (value & NVME_CC_ENABLE)) {
        m.admin.depth = NVME_ADMIN_DEPTH;
        m.admin.head = m.admin.tail = 0;
        m.admin.phase = true;
        if (!wild())
            m.csts |= NVME_CSTS_READY;
    } else if (was && !(value & NVME_CC_ENABLE)) {
        m.io = (struct queue){0};
        m.told_count = 0;
        if (!wild())
            m.csts = 0;
    }
}

static uint64_t mmio_read(uintptr_t address, unsigned bytes)
{
    const uint64_t offset = address - BASE;
    uint32_t value = 0;

    fuzz_check(bytes == 4 && offset % 4 == 0 && offset + 4 <= m.env.mmio_bytes);
    m.now_ns += READ_NS;
    dgm_sim_set_now_ns(m.now_ns);
    if (offset == NVME_CAP)
        value = (uint32_t)m.cap;
    else if (offset == NVME_CAP + 4)
        value = (uint32_t)(m.cap >> 32);
    else if (offset == NVME_VS)
        value = 0x10400;
    else if (offset == NVME_CC)
        value = m.cc;
    else if (offset == NVME_CSTS)
        value = m.csts_gone ? UINT32_MAX : m.csts | m.csts_or;
    if (wild())
        value = (uint32_t)feed_take(m.feed, 4);
    if (offset == NVME_CSTS)
        m.shown_ready = value & NVME_CSTS_READY;
    return value;
}

static void mmio_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    const uint64_t offset = address - BASE;
    const uint32_t stride = 4u << (m.cap >> 32 & 0xf);

    fuzz_check(bytes == 4 && offset % 4 == 0 && offset + 4 <= m.env.mmio_bytes);
    if (offset == NVME_CC)
        enable((uint32_t)value);
    else if (offset == NVME_ASQ)
        m.admin.sq = (m.admin.sq & ~(uint64_t)UINT32_MAX) | value;
    else if (offset == NVME_ACQ)
        m.admin.cq = (m.admin.cq & ~(uint64_t)UINT32_MAX) | value;
    else if (!(m.cc & NVME_CC_ENABLE))
        return;
    else if (offset == NVME_DOORBELLS)
        doorbell(&m.admin, (uint32_t)value);
    else if (offset == NVME_DOORBELLS + 2 * stride && m.io.sq)
        doorbell(&m.io, (uint32_t)value);
}

/* --- the driver's surroundings --- */

static int bind(struct dgm_device_env *env, struct dgm_irq *irq)
{
    (void)env;
    m.irq = irq;
    return DGM_OK;
}

static void cut_off(struct dgm_device_env *env)
{
    (void)env;
    m.cut_off = true;
}

static void done(struct dgm_blk_command *command, int status)
{
    struct job *job = (struct job *)command; /* its first member */

    fuzz_check(job->live);
    fuzz_check(status == DGM_OK || status == DGM_EIO || status == DGM_ETIMEDOUT);
    if (status == DGM_OK)
        fuzz_check(job->told);
    if (status == DGM_ETIMEDOUT)
        fuzz_check(m.cut_off || !m.shown_ready);
    job->live = false;
}

/* One run of memory that looks contiguous, cut at some of its page boundaries. */
static void make_segments(struct job *job, uint32_t bytes)
{
    const struct dgm_dma_tag *tag = &m.nvme.device.tag;
    uint64_t bus = 0x80000000u + feed_below(m.feed, 4) * 512;
    uint32_t count = 0;

    if (bytes / DGM_FRAME_BYTES + 2 > tag->segments_max)
        bus = 0x80000000u;
    while (bytes) {
        uint32_t part = bytes;
        const uint32_t to_page = DGM_FRAME_BYTES - (uint32_t)(bus % DGM_FRAME_BYTES);

        if (count + 1 < SEGMENTS && count + 1 < tag->segments_max && part > to_page &&
            feed_chance(m.feed, 128))
            part = to_page;
        job->segments[count++] = (struct dgm_dma_segment){{bus}, part};
        bytes -= part;
        bus += part;
    }
    job->command.segments = job->segments;
    job->command.segment_count = count;
}

static void submit(void)
{
    const struct dgm_blkdev *device = &m.nvme.device;
    struct job *job = m.jobs;
    int status;

    while (job < m.jobs + JOBS && job->live)
        job++;
    if (job == m.jobs + JOBS)
        return;
    memset(job, 0, sizeof *job);
    job->command.op = (enum dgm_blk_op)feed_below(m.feed, 3);
    job->command.done = done;
    if (job->command.op != DGM_BLK_FLUSH) {
        uint64_t most = device->tag.transfer_bytes_max / device->block_bytes;

        job->command.block = feed_take(m.feed, 2) % device->blocks;
        if (most > device->blocks - job->command.block)
            most = device->blocks - job->command.block;
        job->command.blocks = (uint32_t)(1 + feed_take(m.feed, 2) % most);
        make_segments(job, job->command.blocks * device->block_bytes);
    }
    job->live = true;
    status = device->ops->submit(&m.nvme.device, &job->command);
    if (status != DGM_OK) {
        fuzz_check(status == DGM_EAGAIN || status == DGM_EIO);
        fuzz_check(status == DGM_EAGAIN || device->failed);
        job->live = false;
    }
}

static void kick(void)
{
    if (m.nvme.state == DGM_NVME_LIVE)
        for (unsigned i = 0; i < JOBS; i++)
            m.jobs[i].told = m.jobs[i].told || m.jobs[i].live;
    m.nvme.device.ops->kick(&m.nvme.device);
}

static void pass_time(uint64_t ns)
{
    m.now_ns += ns;
    dgm_sim_set_now_ns(m.now_ns);
    for (unsigned turns = 0; dgm_reactor_turn(&m.reactor); turns++)
        fuzz_check(turns < 1000);
}

static void step(void)
{
    switch (feed_below(m.feed, 16)) {
    case 0:
    case 1:
    case 2:
        submit();
        break;
    case 3:
        submit();
        kick();
        break;
    case 4:
    case 5:
    case 6: /* a true one; if its command is not forgotten it comes again */
        if (m.told_count) {
            const unsigned i = (unsigned)feed_below(m.feed, m.told_count);

            post(&m.io, 1, m.told[i],
                 feed_chance(m.feed, 64) ? (uint32_t)feed_take(m.feed, 2) & 0x7fff : 0);
            if (!feed_chance(m.feed, 32))
                m.told[i] = m.told[--m.told_count];
        }
        break;
    case 7: /* nonsense in good form */
        post(&m.io, (uint16_t)feed_below(m.feed, 3), (uint16_t)feed_take(m.feed, 2), 0);
        break;
    case 8: /* any bytes */
        if (m.io.cq && !m.cut_off) {
            const size_t at = feed_below(m.feed, DGM_FRAME_BYTES);

            feed_copy(m.feed, (uint8_t *)memory(m.io.cq) + at,
                      1 + feed_below(m.feed, 48) % (DGM_FRAME_BYTES - at));
        }
        break;
    case 9:
    case 10:
        m.irq->handle(m.irq);
        break;
    case 11:
        kick();
        break;
    case 12:
        pass_time(feed_below(m.feed, 256) * 50000000);
        break;
    case 13:
        m.csts_or = feed_chance(m.feed, 128) ? (uint32_t)feed_take(m.feed, 1) : 0;
        break;
    case 14:
        m.csts_gone = feed_chance(m.feed, 64);
        break;
    default:
        m.wild = (uint8_t)feed_below(m.feed, 40);
        break;
    }
    dgm_nvme_check(&m.nvme);
}

static bool any_live(void)
{
    for (unsigned i = 0; i < JOBS; i++)
        if (m.jobs[i].live)
            return true;
    return false;
}

static void start(struct feed *feed)
{
    static const size_t sizes[] = {0x2000, 0x1010, 0x1008, 0x4000};
    const struct dgm_ram_bank bank = {{RAM}, {RAM}, FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x900000}, 4});
    static const struct dgm_sim_machine machine = {.mmio_read = mmio_read,
                                                   .mmio_write = mmio_write};

    memset(&m, 0, sizeof m);
    m.feed = feed;
    m.wild = (uint8_t)feed_below(feed, 16);
    m.cap = feed_chance(feed, 48) ? feed_take(feed, 8) : 0x2001f0003full | 1ull << 37;
    dgm_sim_attach(&machine);
    dgm_sim_memory(dgm_gfn(RAM), FRAMES);
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&m.reactor);
    dgm_frames_init(&m.frames);
    dgm_frames_add(&m.frames, (struct dgm_gfn_range){{RAM}, FRAMES});
    fuzz_check(dgm_p2m_init(&m.p2m, &bank, 1, &window, m.p2m_memory) == DGM_OK);
    m.env = (struct dgm_device_env){
        .name = "fuzz",
        .mmio = (volatile void *)(uintptr_t)BASE,
        .mmio_bytes = sizes[feed_below(feed, 4)],
        .tag = {.mask = UINT64_MAX, .coherent = true},
        .reactor = &m.reactor,
        .frames = &m.frames,
        .p2m = &m.p2m,
        .irq_bind = bind,
        .dma_stop = cut_off,
        .times = {.start_ns = 3 * SECOND,
                  .stall_ns = 3 * SECOND,
                  .retry_ns = 6 * SECOND,
                  .lost_ns = 6 * SECOND},
    };
}

static void run_input(struct feed *feed)
{
    start(feed);
    const int status = dgm_nvme_start(&m.nvme, &m.env);

    for (unsigned turn = 0; status == DGM_OK && !m.nvme.device.ready && !m.nvme.device.failed;
         turn++) {
        fuzz_check(turn < 1000);
        pass_time(SECOND / 20);
    }
    if (m.nvme.device.ready && !m.nvme.device.failed) {
        fuzz_check(m.nvme.device.blocks > 0);
        fuzz_check(m.nvme.device.block_bytes == 512 || m.nvme.device.block_bytes == 4096);
        fuzz_check(strlen(m.nvme.device.serial) <= 20 && strlen(m.nvme.device.model) <= 40);
        while (feed->left)
            step();
        kick();
        /* Silence: resets, and in the end an error; ten minutes are plenty. */
        for (unsigned second = 0; any_live() && second < 600; second++)
            pass_time(SECOND);
        fuzz_check(!any_live());
        dgm_nvme_check(&m.nvme);
    } else {
        fuzz_check(m.nvme.device.failed);
    }
    dgm_sim_memory(dgm_gfn(0), 0);
    dgm_sim_attach(NULL);
}
