/* SPDX-License-Identifier: MIT */
/*
 * nvme/queue: registers, and the queues in memory that driver and controller share
 *
 * A completion is new when its phase bit has the queue's current phase, which flips each time the
 * queue wraps (NVMe 1.4, 4.6). The phase bit is in the last word that the controller writes, so the
 * words before are read after it.
 */
#include <drivers/nvme/internal.h>

#include <string.h>

uint32_t dgm_nvme_read(const struct dgm_nvme *nvme, uint32_t offset)
{
    return dgm_arch_mmio_read32((const volatile char *)nvme->env->mmio + offset);
}

void dgm_nvme_write(struct dgm_nvme *nvme, uint32_t offset, uint32_t value)
{
    dgm_arch_mmio_write32((volatile char *)nvme->env->mmio + offset, value);
}

void dgm_nvme_frame_clear(struct dgm_nvme *nvme, void *va)
{
    memset(va, 0, DGM_FRAME_BYTES);
    if (!nvme->device.tag.coherent)
        dgm_arch_cache_clean_invalidate(va, DGM_FRAME_BYTES);
}

void dgm_nvme_queue_clear(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    dgm_nvme_frame_clear(nvme, queue->sq);
    dgm_nvme_frame_clear(nvme, queue->cq);
    queue->tail = queue->tail_announced = queue->head = 0;
    queue->phase = true;
}

bool dgm_nvme_completion_waits(const struct dgm_nvme *nvme, const struct dgm_nvme_queue *queue)
{
    return !!(dgm_nvme_completion_at_head(nvme, queue)->status & NVME_STATUS_PHASE) == queue->phase;
}

void dgm_nvme_sq_ring(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    dgm_arch_dma_wmb(); /* entries, PRP lists and data before the doorbell */
    dgm_nvme_write(nvme, queue->sq_doorbell, queue->tail);
    queue->tail_announced = queue->tail;
    nvme->doorbells++;
}

void dgm_nvme_cq_ring(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    dgm_nvme_write(nvme, queue->cq_doorbell, queue->head);
    nvme->doorbells++;
}
