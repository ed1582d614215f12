/* SPDX-License-Identifier: MIT */
/* disk: see disk.h. */
#include "disk.h"

#include <dragoman/base/status.h>

struct fuzz_disk fuzz_disk;

static int bind_interrupt(struct dgm_device_env *env, struct dgm_irq *irq)
{
    (void)env;
    fuzz_disk.irq = irq;
    return DGM_OK;
}

void fuzz_disk_start(const struct fuzz_disk_hardware *hardware)
{
    const struct dgm_gfn_range ram = hardware->ram;
    const struct dgm_ram_bank bank = {
        .gfn = ram.first, .mfn = dgm_mfn(dgm_gfn_number(ram.first)), .count = ram.count};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x900000}, 4});

    memset(&fuzz_disk, 0, sizeof fuzz_disk);
    dgm_sim_attach(hardware->machine);
    dgm_sim_memory(ram.first, ram.count);
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&fuzz_disk.reactor);
    dgm_frames_init(&fuzz_disk.frames);
    dgm_frames_add(&fuzz_disk.frames, ram);
    fuzz_check(dgm_p2m_init(&fuzz_disk.p2m, &bank, 1, &window, fuzz_disk.p2m_memory) == DGM_OK);
    fuzz_disk.env = (struct dgm_device_env){
        .name = "fuzz",
        .mmio = (volatile void *)hardware->registers,
        .mmio_bytes = hardware->bytes,
        .tag = {.mask = UINT64_MAX, .coherent = true},
        .reactor = &fuzz_disk.reactor,
        .frames = &fuzz_disk.frames,
        .p2m = &fuzz_disk.p2m,
        .irq_bind = bind_interrupt,
        .dma_stop = hardware->dma_stop,
        .times = {.start_ns = 3 * SECOND,
                  .stall_ns = 3 * SECOND,
                  .retry_ns = 6 * SECOND,
                  .lost_ns = 6 * SECOND},
    };
}

void fuzz_disk_stop(void)
{
    dgm_sim_memory(dgm_gfn(0), 0);
    dgm_sim_attach(NULL);
}

void fuzz_disk_pass_time(uint64_t ns)
{
    dgm_sim_set_now_ns(dgm_env_now_ns() + ns);
    for (unsigned turns = 0; dgm_reactor_turn(&fuzz_disk.reactor); turns++)
        fuzz_check(turns < 1000);
}

void fuzz_disk_submit(struct feed *feed, const struct fuzz_disk_submission *submission)
{
    struct dgm_blkdev *device = submission->device;
    struct job *job = fuzz_disk.jobs;
    int status;

    while (job < fuzz_disk.jobs + submission->jobs && job->live)
        job++;
    if (job == fuzz_disk.jobs + submission->jobs)
        return;
    memset(job, 0, sizeof *job);
    job->command.op = (enum dgm_blk_op)feed_below(feed, 3);
    job->command.done = submission->done;
    if (job->command.op == DGM_BLK_WRITE && device->read_only)
        job->command.op = DGM_BLK_READ;
    if (job->command.op != DGM_BLK_FLUSH) {
        uint64_t most = submission->blocks_max;

        job->command.block = feed_take(feed, 2) % device->blocks;
        if (most > device->blocks - job->command.block)
            most = device->blocks - job->command.block;
        job->command.blocks = (uint32_t)(1 + feed_take(feed, submission->blocks_bytes) % most);
        submission->segments(job, job->command.blocks * device->block_bytes);
    }
    job->live = true;
    status = device->ops->submit(device, &job->command);
    if (status != DGM_OK) {
        fuzz_check(status == DGM_EAGAIN || (status == DGM_EIO && device->failed));
        job->live = false;
    }
}

bool fuzz_disk_any_live(void)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (fuzz_disk.jobs[i].live)
            return true;
    return false;
}
