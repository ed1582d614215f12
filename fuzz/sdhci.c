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
#include "lib/disk.h"
#include "lib/sd_controller.h"

#include <dragoman/base/status.h>
#include <drivers/sdhci/internal.h>

#define RAM    0x40000u
#define FRAMES 8u
#define JOBS   40u

static struct dgm_sdhci sdhci;

static void cut_off(struct dgm_device_env *env)
{
    (void)env;
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
    const struct dgm_dma_tag *tag = &sdhci.device.tag;
    uint64_t bus = 0x80000000u;
    uint32_t count = 0;

    while (bytes) {
        uint32_t part = tag->segment_bytes_max && bytes > tag->segment_bytes_max
                            ? (uint32_t)tag->segment_bytes_max
                            : bytes;

        if (count + 3 < SEGMENTS_MAX && count + 3 < tag->segments_max && part > 512 &&
            feed_chance(sd_controller.feed, 128))
            part = 512;
        fuzz_check(count < SEGMENTS_MAX);
        job->segments[count++] = (struct dgm_dma_segment){{bus}, part};
        bytes -= part;
        bus += part;
    }
    job->command.segments = job->segments;
    job->command.segment_count = count;
}

static void submit_command(void)
{
    fuzz_disk_submit(sd_controller.feed,
                     &(struct fuzz_disk_submission){.device = &sdhci.device,
                                                    .jobs = JOBS,
                                                    .blocks_max = 128, /* 64 KiB */
                                                    .blocks_bytes = 1,
                                                    .segments = make_segments,
                                                    .done = command_done});
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
        sdhci.device.ops->kick(&sdhci.device);
        break;
    case 5:
    case 6:
    case 7:
        sd_controller_end_transfer();
        fuzz_disk.irq->handle(fuzz_disk.irq);
        break;
    case 8: /* its interrupt is lost */
        sd_controller_end_transfer();
        break;
    case 9: /* any bits but the end of a transfer */
        sd_controller.status |= (uint32_t)feed_take(sd_controller.feed, 4) & ~SDHCI_STATUS_TRANSFER;
        break;
    case 10:
        fuzz_disk.irq->handle(fuzz_disk.irq);
        break;
    case 11:
    case 12:
        fuzz_disk_pass_time(feed_below(sd_controller.feed, 256) * 20000000);
        break;
    case 13:
        sd_controller.gone = feed_chance(sd_controller.feed, 64);
        break;
    case 14: /* another card */
        sd_controller_change(sd_controller.cid, (uint32_t)feed_take(sd_controller.feed, 1));
        break;
    default:
        sd_controller.wild = (uint8_t)feed_below(sd_controller.feed, 40);
        break;
    }
    dgm_sdhci_check(&sdhci);
}

static int start_driver(struct feed *feed)
{
    static const struct dgm_sim_machine machine = {.mmio_read = sd_controller_read,
                                                   .mmio_write = sd_controller_write};

    memset(&sdhci, 0, sizeof sdhci);
    sd_controller_init(feed);
    fuzz_disk_start(&(struct fuzz_disk_hardware){.machine = &machine,
                                                 .registers = SD_CONTROLLER_BASE,
                                                 .bytes = SDHCI_BYTES,
                                                 .ram = {{RAM}, FRAMES},
                                                 .dma_stop = cut_off});
    return dgm_sdhci_start(&sdhci, &fuzz_disk.env);
}

void run_input(struct feed *feed)
{
    const int status = start_driver(feed);

    for (unsigned turn = 0; status == DGM_OK && !sdhci.device.ready && !sdhci.device.failed;
         turn++) {
        fuzz_check(turn < 2000);
        fuzz_disk_pass_time(SECOND / 20);
    }
    if (sdhci.device.ready && !sdhci.device.failed) {
        fuzz_check(sdhci.device.blocks > 0 && sdhci.device.block_bytes == 512);
        while (feed->left)
            do_step();
        sdhci.device.ops->kick(&sdhci.device);
        /* Silence: resets, and in the end an error for each; half an hour is plenty. */
        for (unsigned second = 0; fuzz_disk_any_live() && second < 1800; second++)
            fuzz_disk_pass_time(SECOND);
        fuzz_check(!fuzz_disk_any_live());
        dgm_sdhci_check(&sdhci);
    } else {
        fuzz_check(sdhci.device.failed);
    }
    fuzz_disk_stop();
}
