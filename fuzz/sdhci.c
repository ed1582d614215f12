/* SPDX-License-Identifier: MIT */
/*
 * fuzz sdhci: the driver against a controller and a card that give arbitrary responses
 *
 * The input changes what registers read as and what the card reports, ends transfers or does not,
 * sets status bits, and makes the controller vanish and return (lib/sd_controller.h).
 *
 * What must hold: registers are accessed whole and within the device; each command that was
 * accepted ends exactly once; it ends with DGM_OK only after the controller reported its end, and
 * never while the controller may still access its memory, which it does not after that report,
 * after a reset, and when it is cut off; the driver's counts agree (dgm_sdhci_check); a silent
 * controller does not keep a command permanently.
 */
#include "lib/sd_controller.h"

#include <dragoman/base/status.h>
#include <drivers/sdhci/internal.h>

#define RAM      0x40000u
#define FRAMES   8u
#define JOBS     40
#define SEGMENTS 6
#define SECOND   1000000000ull

struct job {
    struct dgm_blk_command command;
    struct dgm_dma_segment segments[SEGMENTS];
    bool live;
};

static struct {
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_device_env env;
    struct dgm_sdhci sdhci;
    struct dgm_irq *irq;
    bool cut_off;
    struct job jobs[JOBS];
} m;

/* --- the driver's surroundings --- */

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    (void)env;
    m.irq = irq;
    return DGM_OK;
}

static void cut_off(struct dgm_device_env *env)
{
    (void)env;
    m.cut_off = true;
    sd_controller.unsafe = false;
}

static void command_done(struct dgm_blk_command *command, int status)
{
    struct job *job = (struct job *)command; /* its first member */

    fuzz_check(job->live);
    fuzz_check(status == DGM_OK || status == DGM_EIO || status == DGM_ETIMEDOUT);
    fuzz_check(!sd_controller.unsafe);
    fuzz_check(status != DGM_OK || job->command.op == DGM_BLK_FLUSH || sd_controller.shown_end);
    sd_controller.shown_end = false;
    job->live = false;
}

/* One run of memory, in several segments where the tag allows it. */
static void make_segments(struct job *job, uint32_t bytes)
{
    const struct dgm_dma_tag *tag = &m.sdhci.device.tag;
    uint64_t bus = 0x80000000u;
    uint32_t count = 0;

    while (bytes) {
        uint32_t part = tag->segment_bytes_max && bytes > tag->segment_bytes_max
                            ? (uint32_t)tag->segment_bytes_max
                            : bytes;

        if (count + 3 < SEGMENTS && count + 3 < tag->segments_max && part > 512 &&
            feed_chance(sd_controller.feed, 128))
            part = 512;
        fuzz_check(count < SEGMENTS);
        job->segments[count++] = (struct dgm_dma_segment){{bus}, part};
        bytes -= part;
        bus += part;
    }
    job->command.segments = job->segments;
    job->command.segment_count = count;
}

static void submit_command(void)
{
    const struct dgm_blkdev *device = &m.sdhci.device;
    struct job *job = m.jobs;
    int status;

    while (job < m.jobs + JOBS && job->live)
        job++;
    if (job == m.jobs + JOBS)
        return;
    memset(job, 0, sizeof *job);
    job->command.op = (enum dgm_blk_op)feed_below(sd_controller.feed, 3);
    job->command.done = command_done;
    if (job->command.op == DGM_BLK_WRITE && device->read_only)
        job->command.op = DGM_BLK_READ;
    if (job->command.op != DGM_BLK_FLUSH) {
        uint64_t most = 128; /* blocks: 64 KiB */

        job->command.block = feed_take(sd_controller.feed, 2) % device->blocks;
        if (most > device->blocks - job->command.block)
            most = device->blocks - job->command.block;
        job->command.blocks = (uint32_t)(1 + feed_take(sd_controller.feed, 1) % most);
        make_segments(job, job->command.blocks * device->block_bytes);
    }
    job->live = true;
    status = device->ops->submit(&m.sdhci.device, &job->command);
    if (status != DGM_OK) {
        fuzz_check(status == DGM_EAGAIN || (status == DGM_EIO && device->failed));
        job->live = false;
    }
}

static void pass_time(uint64_t ns)
{
    sd_controller.now_ns += ns;
    dgm_sim_set_now_ns(sd_controller.now_ns);
    for (unsigned turns = 0; dgm_reactor_turn(&m.reactor); turns++)
        fuzz_check(turns < 1000);
}

static void do_step(void)
{
    switch (feed_below(sd_controller.feed, 16)) {
    case 0:
    case 1:
    case 2:
        submit_command();
        break;
    case 3:
    case 4:
        m.sdhci.device.ops->kick(&m.sdhci.device);
        break;
    case 5:
    case 6:
    case 7:
        sd_controller_end_transfer();
        m.irq->handle(m.irq);
        break;
    case 8: /* its interrupt is lost */
        sd_controller_end_transfer();
        break;
    case 9: /* any bits but the end of a transfer */
        sd_controller.status |= (uint32_t)feed_take(sd_controller.feed, 4) & ~SDHCI_STATUS_TRANSFER;
        break;
    case 10:
        m.irq->handle(m.irq);
        break;
    case 11:
    case 12:
        pass_time(feed_below(sd_controller.feed, 256) * 20000000);
        break;
    case 13:
        sd_controller.gone = feed_chance(sd_controller.feed, 64);
        break;
    case 14: /* another card */
        sd_controller.cid[feed_below(sd_controller.feed, 4)] =
            (uint32_t)feed_take(sd_controller.feed, 1);
        break;
    default:
        sd_controller.wild = (uint8_t)feed_below(sd_controller.feed, 40);
        break;
    }
    dgm_sdhci_check(&m.sdhci);
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
    const struct dgm_ram_bank bank = {{RAM}, {RAM}, FRAMES, NULL};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x900000}, 4});
    static const struct dgm_sim_machine machine = {.mmio_read = sd_controller_read,
                                                   .mmio_write = sd_controller_write};

    memset(&m, 0, sizeof m);
    sd_controller_init(feed);
    dgm_sim_attach(&machine);
    dgm_sim_memory(dgm_gfn(RAM), FRAMES);
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&m.reactor);
    dgm_frames_init(&m.frames);
    dgm_frames_add(&m.frames, (struct dgm_gfn_range){{RAM}, FRAMES});
    fuzz_check(dgm_p2m_init(&m.p2m, &bank, 1, &window, m.p2m_memory) == DGM_OK);
    m.env = (struct dgm_device_env){
        .name = "fuzz",
        .mmio = (volatile void *)(uintptr_t)SD_CONTROLLER_BASE,
        .mmio_bytes = SDHCI_BYTES,
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
    const int status = dgm_sdhci_start(&m.sdhci, &m.env);

    for (unsigned turn = 0; status == DGM_OK && !m.sdhci.device.ready && !m.sdhci.device.failed;
         turn++) {
        fuzz_check(turn < 2000);
        pass_time(SECOND / 20);
    }
    if (m.sdhci.device.ready && !m.sdhci.device.failed) {
        fuzz_check(m.sdhci.device.blocks > 0 && m.sdhci.device.block_bytes == 512);
        while (feed->left)
            do_step();
        m.sdhci.device.ops->kick(&m.sdhci.device);
        /* Silence: resets, and in the end an error for each; half an hour is plenty. */
        for (unsigned second = 0; any_live() && second < 1800; second++)
            pass_time(SECOND);
        fuzz_check(!any_live());
        dgm_sdhci_check(&m.sdhci);
    } else {
        fuzz_check(m.sdhci.device.failed);
    }
    dgm_sim_memory(dgm_gfn(0), 0);
    dgm_sim_attach(NULL);
}
