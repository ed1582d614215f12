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
#include "lib/disk.h"
#include "lib/nvme_controller.h"

#include <dragoman/base/status.h>
#include <drivers/nvme/nvme.h>

static struct dgm_nvme nvme;

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
        fuzz_check(job->announced || controller.misled);
    if (status == DGM_ETIMEDOUT)
        fuzz_check(controller.cut_off || !controller.shown_ready);
    job->live = false;
}

/*
 * A doorbell announces all commands that are in the queue: of the target and, after a reset or a
 * pause, of the driver itself. A controller that shows another stride of its doorbells than it has
 * takes one for another, and fetches what is no command.
 */
static void announce(uint16_t cid)
{
    const unsigned number = cid & (DGM_NVME_DEPTH_MAX - 1);

    if (number < nvme.entry_count && nvme.entries[number].command)
        ((struct job *)nvme.entries[number].command)->announced = true;
}

static void announce_none(void)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        fuzz_disk.jobs[i].announced = false;
}

/* One run of memory that looks contiguous, cut at some of its page boundaries. */
static void make_segments(struct job *job, uint32_t bytes)
{
    const struct dgm_dma_tag *tag = &nvme.device.tag;
    uint64_t bus = 0x80000000u + feed_below(controller.feed, 4) * 512;
    uint32_t count = 0;

    if (bytes / DGM_FRAME_BYTES + 2 > tag->segments_max)
        bus = 0x80000000u;
    while (bytes) {
        uint32_t part = bytes;
        const uint32_t to_page = DGM_FRAME_BYTES - (uint32_t)(bus % DGM_FRAME_BYTES);

        if (count + 1 < SEGMENTS_MAX && count + 1 < tag->segments_max && part > to_page &&
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
    const struct dgm_blkdev *device = &nvme.device;

    fuzz_disk_submit(controller.feed,
                     &(struct fuzz_disk_submission){.device = &nvme.device,
                                                    .jobs = JOBS_MAX,
                                                    .blocks_max = device->tag.transfer_bytes_max /
                                                                  device->block_bytes,
                                                    .blocks_bytes = 2,
                                                    .segments = make_segments,
                                                    .done = command_done});
}

static void kick_disk(void)
{
    nvme.device.ops->kick(&nvme.device);
}

static void do_step(void)
{
    uint16_t queue;

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
        queue = (uint16_t)feed_below(controller.feed, 3);
        controller_post(&controller.io, queue, (uint16_t)feed_take(controller.feed, 2), 0);
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
        fuzz_disk.irq->handle(fuzz_disk.irq);
        break;
    case 11:
        kick_disk();
        break;
    case 12:
        fuzz_disk_pass_time(feed_below(controller.feed, 256) * 50000000);
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
    dgm_nvme_check(&nvme);
}

static int start_driver(struct feed *feed)
{
    static const size_t sizes[] = {0x2000, 0x1010, 0x1008, 0x4000};
    static const struct dgm_sim_machine machine = {.mmio_read = controller_read,
                                                   .mmio_write = controller_write};

    memset(&nvme, 0, sizeof nvme);
    memset(&controller, 0, sizeof controller);
    controller.feed = feed;
    controller.fetch = announce;
    controller.forget = announce_none;
    controller.wild = (uint8_t)feed_below(feed, 16);
    controller.cap = feed_chance(feed, 48) ? feed_take(feed, 8) : 0x2001f0003full | 1ull << 37;
    controller.mmio_bytes = sizes[feed_below(feed, 4)];
    fuzz_disk_start(&(struct fuzz_disk_hardware){.machine = &machine,
                                                 .registers = CONTROLLER_BASE,
                                                 .bytes = controller.mmio_bytes,
                                                 .ram = {{CONTROLLER_RAM}, CONTROLLER_FRAMES},
                                                 .dma_stop = cut_off});
    return dgm_nvme_start(&nvme, &fuzz_disk.env);
}

void run_input(struct feed *feed)
{
    const int status = start_driver(feed);

    for (unsigned turn = 0; status == DGM_OK && !nvme.device.ready && !nvme.device.failed; turn++) {
        fuzz_check(turn < 1000);
        fuzz_disk_pass_time(SECOND / 20);
    }
    if (nvme.device.ready && !nvme.device.failed) {
        fuzz_check(nvme.device.blocks > 0);
        fuzz_check(nvme.device.block_bytes == 512 || nvme.device.block_bytes == 4096);
        fuzz_check(strlen(nvme.device.serial) <= 20 && strlen(nvme.device.model) <= 40);
        while (feed->left)
            do_step();
        kick_disk();
        /* Silence: resets, and in the end an error; ten minutes are plenty. */
        for (unsigned second = 0; fuzz_disk_any_live() && second < 600; second++)
            fuzz_disk_pass_time(SECOND);
        fuzz_check(!fuzz_disk_any_live());
        dgm_nvme_check(&nvme);
    } else {
        fuzz_check(nvme.device.failed);
    }
    fuzz_disk_stop();
}
