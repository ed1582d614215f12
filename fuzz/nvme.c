/* SPDX-License-Identifier: MIT */
/*
 * fuzz nvme: the driver against a controller that responds arbitrarily
 *
 * Unless the input changes it, the controller here behaves correctly: it comes up, identifies
 * itself, takes commands. The input then changes what registers read as, what Identify says, how
 * admin commands end, and writes completions: true ones, wrong ones, twice, or any bytes in the
 * queue.
 *
 * What must hold: registers are read and written in 32 bits, within the device; each command that
 * was accepted ends exactly once, never before its doorbell was rung, and when it ends because
 * the controller was silent, the controller can no longer reach memory; the driver's counts agree
 * (dgm_nvme_check); a controller that falls silent permanently does not keep a command.
 */
#include "lib/nvme_controller.h"

#include <dragoman/base/status.h>
#include <drivers/nvme/nvme.h>

#define JOBS     80
#define SEGMENTS 6
#define SECOND   1000000000ull

struct job {
    struct dgm_blk_command command;
    struct dgm_dma_segment segments[SEGMENTS];
    bool live, announced;
};

static struct {
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_device_env env;
    struct dgm_nvme nvme;
    struct dgm_irq *irq;
    struct job jobs[JOBS];
} m;

/* --- the driver's environment --- */

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    (void)env;
    m.irq = irq;
    return DGM_OK;
}

static void cut_off(struct dgm_device_env *env)
{
    (void)env;
    controller.cut_off = true;
}

static void command_done(struct dgm_blk_command *command, int status)
{
    struct job *job = (struct job *)command; /* its first member */

    fuzz_check(job->live);
    fuzz_check(status == DGM_OK || status == DGM_EIO || status == DGM_ETIMEDOUT);
    if (status == DGM_OK)
        fuzz_check(job->announced);
    if (status == DGM_ETIMEDOUT)
        fuzz_check(controller.cut_off || !controller.shown_ready);
    job->live = false;
}

/* One run of memory that looks contiguous, cut at some of its page boundaries. */
static void make_segments(struct job *job, uint32_t bytes)
{
    const struct dgm_dma_tag *tag = &m.nvme.device.tag;
    uint64_t bus = 0x80000000u + feed_below(controller.feed, 4) * 512;
    uint32_t count = 0;

    if (bytes / DGM_FRAME_BYTES + 2 > tag->segments_max)
        bus = 0x80000000u;
    while (bytes) {
        uint32_t part = bytes;
        const uint32_t to_page = DGM_FRAME_BYTES - (uint32_t)(bus % DGM_FRAME_BYTES);

        if (count + 1 < SEGMENTS && count + 1 < tag->segments_max && part > to_page &&
            feed_chance(controller.feed, 128))
            part = to_page;
        job->segments[count++] = (struct dgm_dma_segment){{bus}, part};
        bytes -= part;
        bus += part;
    }
    job->command.segments = job->segments;
    job->command.segment_count = count;
}

static void submit_command(void)
{
    const struct dgm_blkdev *device = &m.nvme.device;
    struct job *job = m.jobs;
    int status;

    while (job < m.jobs + JOBS && job->live)
        job++;
    if (job == m.jobs + JOBS)
        return;
    memset(job, 0, sizeof *job);
    job->command.op = (enum dgm_blk_op)feed_below(controller.feed, 3);
    job->command.done = command_done;
    if (job->command.op != DGM_BLK_FLUSH) {
        uint64_t most = device->tag.transfer_bytes_max / device->block_bytes;

        job->command.block = feed_take(controller.feed, 2) % device->blocks;
        if (most > device->blocks - job->command.block)
            most = device->blocks - job->command.block;
        job->command.blocks = (uint32_t)(1 + feed_take(controller.feed, 2) % most);
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

static void kick_disk(void)
{
    if (m.nvme.state == DGM_NVME_LIVE)
        for (unsigned i = 0; i < JOBS; i++)
            m.jobs[i].announced = m.jobs[i].announced || m.jobs[i].live;
    m.nvme.device.ops->kick(&m.nvme.device);
}

static void pass_time(uint64_t ns)
{
    controller.now_ns += ns;
    dgm_sim_set_now_ns(controller.now_ns);
    for (unsigned turns = 0; dgm_reactor_turn(&m.reactor); turns++)
        fuzz_check(turns < 1000);
}

static void do_step(void)
{
    switch (feed_below(controller.feed, 16)) {
    case 0:
    case 1:
    case 2:
        submit_command();
        break;
    case 3:
        submit_command();
        kick_disk();
        break;
    case 4:
    case 5:
    case 6: /* a true one; if its command is not forgotten it comes again */
        if (controller.fetched_count) {
            const unsigned i = (unsigned)feed_below(controller.feed, controller.fetched_count);

            controller_post(&controller.io, 1, controller.fetched[i],
                            feed_chance(controller.feed, 64)
                                ? (uint32_t)feed_take(controller.feed, 2) & 0x7fff
                                : 0);
            if (!feed_chance(controller.feed, 32))
                controller.fetched[i] = controller.fetched[--controller.fetched_count];
        }
        break;
    case 7: /* a well-formed completion of no command */
        controller_post(&controller.io, (uint16_t)feed_below(controller.feed, 3),
                        (uint16_t)feed_take(controller.feed, 2), 0);
        break;
    case 8: /* any bytes */
        if (controller.io.cq && !controller.cut_off) {
            const size_t at = feed_below(controller.feed, DGM_FRAME_BYTES);

            feed_copy(controller.feed, (uint8_t *)controller_memory(controller.io.cq) + at,
                      1 + feed_below(controller.feed, 48) % (DGM_FRAME_BYTES - at));
        }
        break;
    case 9:
    case 10:
        m.irq->handle(m.irq);
        break;
    case 11:
        kick_disk();
        break;
    case 12:
        pass_time(feed_below(controller.feed, 256) * 50000000);
        break;
    case 13:
        controller.csts_or =
            feed_chance(controller.feed, 128) ? (uint32_t)feed_take(controller.feed, 1) : 0;
        break;
    case 14:
        controller.csts_gone = feed_chance(controller.feed, 64);
        break;
    default:
        controller.wild = (uint8_t)feed_below(controller.feed, 40);
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

static void start_driver(struct feed *feed)
{
    static const size_t sizes[] = {0x2000, 0x1010, 0x1008, 0x4000};
    const struct dgm_ram_bank bank = {{CONTROLLER_RAM}, {CONTROLLER_RAM}, CONTROLLER_FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x900000}, 4});
    static const struct dgm_sim_machine machine = {.mmio_read = controller_read,
                                                   .mmio_write = controller_write};

    memset(&m, 0, sizeof m);
    memset(&controller, 0, sizeof controller);
    controller.feed = feed;
    controller.wild = (uint8_t)feed_below(feed, 16);
    controller.cap = feed_chance(feed, 48) ? feed_take(feed, 8) : 0x2001f0003full | 1ull << 37;
    dgm_sim_attach(&machine);
    dgm_sim_memory(dgm_gfn(CONTROLLER_RAM), CONTROLLER_FRAMES);
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&m.reactor);
    dgm_frames_init(&m.frames);
    dgm_frames_add(&m.frames, (struct dgm_gfn_range){{CONTROLLER_RAM}, CONTROLLER_FRAMES});
    fuzz_check(dgm_p2m_init(&m.p2m, &bank, 1, &window, m.p2m_memory) == DGM_OK);
    controller.mmio_bytes = sizes[feed_below(feed, 4)];
    m.env = (struct dgm_device_env){
        .name = "fuzz",
        .mmio = (volatile void *)(uintptr_t)CONTROLLER_BASE,
        .mmio_bytes = controller.mmio_bytes,
        .tag = {.mask = UINT64_MAX, .coherent = true},
        .reactor = &m.reactor,
        .frames = &m.frames,
        .p2m = &m.p2m,
        .irq_bind = bind_interrupt,
        .dma_stop = cut_off,
        .times = {.start_ns = 3 * SECOND,
                  .stall_ns = 3 * SECOND,
                  .retry_ns = 6 * SECOND,
                  .lost_ns = 6 * SECOND},
    };
}

void run_input(struct feed *feed)
{
    start_driver(feed);
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
            do_step();
        kick_disk();
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
