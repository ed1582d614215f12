/* SPDX-License-Identifier: MIT */
/* sdhci_jobs: the driver on the rig's controller, and commands for it. See sdhci_rig.h. */
#include "sdhci_rig.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

struct dgm_sdhci sd_disk;
struct dgm_device_env sd_env;
unsigned sd_ended;

static int sd_irq_bind(struct dgm_device_env *env, struct dgm_irq *irq)
{
    sd.irq = irq;
    return sd.irq_status;
}

static void sd_dma_stop(struct dgm_device_env *env)
{
    sd.cut_off = true;
    sd.dma_active = sd.transfer = false;
}

void sd_start(uint64_t colour, uint16_t buffers)
{
    static const struct dgm_sim_machine machine = {
        .hypercall = dgm_hv_hypercall, .mmio_read = sd_read, .mmio_write = sd_write};

    dma_rig_start(colour, buffers);
    dgm_sim_attach(&machine);
    dgm_sim_log_clear();
    memset(&sd, 0, sizeof sd);
    sd.capabilities = 1u << 24 | 1u << 22 | 1u << 19 | 50u << 8;
    sd.version = 2;
    dgm_sim_set_now_ns(sd.now_ns = 1000000000);
}

void sd_run(uint64_t ns)
{
    const uint64_t end_ns = sd.now_ns + ns;

    do {
        if (sd.irq && !sd.no_interrupt && !sd.masked &&
            (sd.edge ? sd.rises > 0 : sd.high || sd.irq_stuck)) {
            sd.rises = 0;
            sd.irq->handle(sd.irq);
        }
        while (dgm_reactor_turn(&dma_rig.reactor))
            ;
        dgm_sim_set_now_ns(sd.now_ns += ns > 100 ? ns / 100 : 1);
    } while (sd.now_ns < end_ns);
}

static int sd_restore(struct dgm_device_env *env)
{
    assert_false(sd.cut_off);
    if (sd.absent)
        return DGM_EAGAIN;
    if (sd.cleared)
        sd.cleared = sd.gone = false;
    return DGM_OK;
}

bool sd_reject(struct dgm_device_env *env)
{
    sd.rejects++;
    sd.absent = sd.cleared = sd.gone = true;
    return true;
}

static bool sd_irq_mask(struct dgm_device_env *env, bool mask)
{
    if (mask && !sd.high && !sd.irq_stuck)
        return false;
    sd.masked = mask;
    return mask;
}

void sd_drop_link(void)
{
    sd.cleared = sd.gone = true;
    sd.transfer = sd.dma_active = false;
}

static bool sd_property(const struct dgm_device_env *env, const char *name, uint32_t *value)
{
    for (unsigned i = 0; i < 4 && sd.properties[i].name; i++)
        if (!strcmp(sd.properties[i].name, name)) {
            *value = sd.properties[i].value;
            return true;
        }
    *value = 0;
    return false;
}

int sd_attach(void)
{
    int status;

    sd_env = (struct dgm_device_env){
        .name = "pci 00:01.0",
        .mmio = sd.registers,
        .mmio_bytes = sizeof sd.registers,
        .tag = {.mask = UINT64_MAX, .coherent = true},
        .reactor = &dma_rig.reactor,
        .frames = &dma_rig.frames,
        .p2m = &dma_rig.p2m,
        .irq_bind = sd_irq_bind,
        .dma_stop = sd_dma_stop,
        .restore = sd_restore,
        .irq_mask = sd_irq_mask,
        .times = sd.times,
        .compatible = sd.compatible,
        .property = sd.compatible ? sd_property : NULL,
    };
    status = dgm_sdhci_start(&sd_disk, &sd_env);
    for (unsigned i = 0; status == DGM_OK && !sd_disk.device.ready && !sd_disk.device.failed; i++) {
        assert_true(i < 100000);
        sd_run(5 * MS);
    }
    return status ? status : sd_disk.device.failed ? DGM_EIO : DGM_OK;
}

void sd_start_card(bool in_blocks, bool adma)
{
    sd_start(0, 64);
    sd_make_card(in_blocks, 7);
    if (!adma)
        sd.capabilities &= ~(1u << 19);
    assert_int_equal(sd_attach(), DGM_OK);
    for (size_t i = 0; i < sizeof sd.data; i++)
        sd.data[i] = (uint8_t)unit_random();
}

void sd_stop(void)
{
    dgm_sdhci_check(&sd_disk);
    dma_rig_stop();
}

/* --- commands --- */

void sd_done(struct dgm_blk_command *command, int status)
{
    struct sd_job *job = dgm_container(command, struct sd_job, blk);

    assert_int_equal(job->status, 1); /* once */
    assert_false(sd.dma_active);      /* its memory is no longer its own */
    job->status = status;
    job->order = ++sd_ended;
    if (command->op != DGM_BLK_FLUSH)
        dgm_dma_unmap(&dma_rig.dma, &job->map, status == DGM_OK);
}

int sd_submit(struct sd_job *job, enum dgm_blk_op op, uint64_t block,
              const struct dgm_dma_piece *pieces, size_t count, uint64_t skip)
{
    int bytes = 0, status;

    *job = (struct sd_job){.status = 1};
    job->blk.op = op;
    job->blk.done = sd_done;
    if (op != DGM_BLK_FLUSH) {
        const struct dgm_dma_transfer transfer = {
            .tag = &sd_disk.device.tag,
            .pieces = pieces,
            .piece_count = count,
            .skip_bytes = skip,
            .direction = op == DGM_BLK_READ ? DGM_DMA_FROM_DEVICE : DGM_DMA_TO_DEVICE};

        bytes = dgm_dma_map(&dma_rig.dma, &transfer, job->segments, &job->map);
        if (bytes < 0)
            return bytes;
        job->blk.block = block;
        job->blk.blocks = (uint32_t)bytes / 512;
        job->blk.segments = job->map.segments;
        job->blk.segment_count = job->map.segment_count;
    }
    status = sd_disk.device.ops->submit(&sd_disk.device, &job->blk);
    if (status < 0 && bytes)
        dgm_dma_unmap(&dma_rig.dma, &job->map, false);
    if (status == DGM_OK)
        sd_disk.device.ops->kick(&sd_disk.device);
    dgm_sdhci_check(&sd_disk);
    return status < 0 ? status : bytes;
}

int sd_submit_block(struct sd_job *job, enum dgm_blk_op op, uint64_t block)
{
    static struct dgm_dma_piece piece = {{RAM + 1}, 512, 512};

    return sd_submit(job, op, block, &piece, 1, 0);
}

void sd_let_work(void)
{
    for (unsigned i = 0; i < 4 * DGM_SDHCI_QUEUE; i++) {
        sd_run(0);
        sd_transfer();
    }
    sd_run(0);
}

void sd_run_card(unsigned seconds)
{
    for (unsigned i = 0; i < 20 * seconds; i++) {
        sd_let_work();
        sd_run(SECOND / 20);
    }
}

void sd_block_works(void)
{
    static struct sd_job job;

    assert_int_equal(sd_submit_block(&job, DGM_BLK_READ, 5), 512);
    sd_let_work();
    assert_int_equal(job.status, DGM_OK);
    assert_memory_equal((char *)dgm_env_va(dgm_gfn(RAM + 1)) + 512, sd.data + 5 * 512, 512);
}
