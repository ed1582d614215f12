/* SPDX-License-Identifier: MIT */
/*
 * nvme/close: a controller is shut down before its power goes (NVMe 1.4, 7.6.2)
 *
 * A disk that loses its power without notice counts an unsafe shutdown, and must repair its tables
 * at the next start. The order: the backends' commands in flight end; a flush makes completed
 * writes durable; CC.SHN requests the shutdown; CSTS.SHST reports its end. The first two steps get
 * half of the time: a disk that does not flush is shut down nevertheless.
 *
 * Called repeatedly while the machine is switched off, when neither interrupts nor timers are
 * served.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

static void close_flush_done(struct dgm_blk_command *command, int status)
{
    struct dgm_nvme *nvme = dgm_container(command, struct dgm_nvme, closing_flush);

    if (status != DGM_OK)
        dgm_env_log("%s: NVMe: the flush before the shutdown has failed", nvme->device.name);
    nvme->closing_flushed = true;
}

static void notify_shutdown(struct dgm_nvme *nvme)
{
    const uint32_t control = dgm_nvme_read(nvme, NVME_CC);

    nvme->state = DGM_NVME_CLOSING;
    dgm_timer_disarm(nvme->env->reactor, &nvme->timer);
    dgm_nvme_write(nvme, NVME_CC, (control & ~NVME_CC_SHN) | NVME_CC_SHN_NORMAL);
}

/* The steps before the notification. */
static void close_live(struct dgm_nvme *nvme)
{
    dgm_nvme_drain(nvme);
    if (nvme->state == DGM_NVME_LIVE)
        dgm_nvme_supervise(nvme);
    if (nvme->state != DGM_NVME_LIVE)
        return;
    if (nvme->closing_flushed || dgm_env_now_ns() >= nvme->closing_half_ns) {
        notify_shutdown(nvme);
    } else if (!nvme->closing_flush_sent && nvme->in_flight == 0) {
        nvme->closing_flush =
            (struct dgm_blk_command){.op = DGM_BLK_FLUSH, .done = close_flush_done};
        nvme->closing_flush_sent = dgm_nvme_entry_submit(nvme, &nvme->closing_flush) != NULL;
        dgm_nvme_io_ring(nvme);
    }
}

bool dgm_nvme_close(struct dgm_blkdev *device, uint64_t deadline_ns)
{
    struct dgm_nvme *nvme = dgm_container(device, struct dgm_nvme, device);
    const uint64_t now_ns = dgm_env_now_ns();

    if (!nvme->closing) {
        nvme->closing = true;
        nvme->closing_half_ns = now_ns;
        if (deadline_ns > now_ns)
            nvme->closing_half_ns += (deadline_ns - now_ns) / 2;
        nvme->closing_flushed = !device->write_cache;
    }
    switch (nvme->state) {
    case DGM_NVME_LIVE:
        close_live(nvme);
        break;
    case DGM_NVME_CLOSING:
        if ((dgm_nvme_read(nvme, NVME_CSTS) & NVME_CSTS_SHST) == NVME_CSTS_SHST_DONE)
            nvme->state = DGM_NVME_CLOSED;
        break;
    case DGM_NVME_CLOSED:
    case DGM_NVME_FAILED:
        break;
    default: /* it may still become live */
        if (now_ns >= nvme->closing_half_ns)
            return true;
        dgm_nvme_advance(nvme);
        break;
    }
    return nvme->state == DGM_NVME_CLOSED || nvme->state == DGM_NVME_FAILED;
}
