/* SPDX-License-Identifier: MIT */
/*
 * nvme/start: a controller's limits, its queues' memory, and the way to LIVE at boot
 *
 * Everything the driver will ever need is taken here: four frames for the two queue pairs, and a
 * PRP list for each I/O command, as long as the largest transfer that the controller takes. The
 * interrupt is bound before the controller is enabled, because some take note of how interrupts are
 * delivered when a queue is created. A controller that cannot be used is left disabled.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

#include <string.h>

static int take_frame(struct dgm_nvme *nvme, void **va, dgm_bus_t *bus)
{
    *va = dgm_frames_take_bytes(nvme->env->frames, DGM_FRAME_BYTES);
    if (!*va)
        return dgm_nvme_refuse(nvme, DGM_ENOMEM, "no frames for its queues");
    if (dgm_dma_local(nvme->env->p2m, &nvme->device.tag, dgm_env_gfn(*va), bus) != DGM_OK)
        return dgm_nvme_refuse(nvme, DGM_ERANGE, "its queues are out of its reach");
    return DGM_OK;
}

static int queue_take(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    const int status = take_frame(nvme, &queue->sq, &queue->sq_bus);

    return status ? status : take_frame(nvme, &queue->cq, &queue->cq_bus);
}

/*
 * A list per entry, as long as the largest transfer needs: one PRP for each page but the first. The
 * length is a power of two, so that no list crosses a frame.
 */
static int lists_take(struct dgm_nvme *nvme)
{
    const struct dgm_dma_tag *tag = &nvme->device.tag;
    const uint32_t entries_needed = tag->transfer_bytes_max / DGM_FRAME_BYTES;
    uint32_t entries = 2;

    while (entries < entries_needed)
        entries *= 2;
    nvme->list_entries = entries;
    _Static_assert(DGM_NVME_TRANSFER_BYTES_MAX / DGM_FRAME_BYTES * 8 <= DGM_FRAME_BYTES, "");

    char *frame = NULL;
    dgm_bus_t frame_bus = {0};
    uint32_t offset = DGM_FRAME_BYTES;

    for (uint16_t i = 0; i < nvme->entry_count; i++, offset += entries * 8) {
        if (offset == DGM_FRAME_BYTES) {
            void *va;
            const int status = take_frame(nvme, &va, &frame_bus);

            if (status)
                return status;
            frame = va;
            offset = 0;
        }
        nvme->entries[i].list = (uint64_t *)(void *)(frame + offset);
        nvme->entries[i].list_bus.n = frame_bus.n + offset;
    }
    return DGM_OK;
}

static uint32_t at_most(uint32_t limit, uint32_t value)
{
    return limit != 0 && limit < value ? limit : value; /* a limit of 0 is none */
}

/* CAP (3.1.1): what it can do, and whether that is enough. */
static int capabilities(struct dgm_nvme *nvme)
{
    struct dgm_device_env *env = nvme->env;

    if (env->mmio_bytes < NVME_DOORBELLS + 16)
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "too few registers");

    const uint32_t low = dgm_nvme_read(nvme, NVME_CAP);
    const uint32_t high = dgm_nvme_read(nvme, NVME_CAP + 4);
    const uint32_t stride = 4u << (high & 0xf);

    nvme->version = dgm_nvme_read(nvme, NVME_VS);
    nvme->ready_ns = ((low >> 24) + 1) * 500000000ull; /* TO counts half seconds; 0: no time */
    if (low == UINT32_MAX && high == UINT32_MAX)
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "no registers (CAP reads as ones)");
    if (!(high >> 5 & 1))
        return dgm_nvme_refuse(nvme, DGM_EOPNOTSUPP, "no NVM command set");
    if (high >> 16 & 0xf)
        return dgm_nvme_refuse(nvme, DGM_EOPNOTSUPP, "pages of 4 KiB are too small for it");
    if ((low & 0xffff) == 0)
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "queues of one entry (CAP.MQES)");
    if ((env->mmio_bytes - NVME_DOORBELLS) / 4 < stride) /* doorbells of two queue pairs */
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "doorbells beyond its registers");

    nvme->admin.depth = NVME_ADMIN_DEPTH;
    nvme->admin.sq_doorbell = NVME_DOORBELLS;
    nvme->admin.cq_doorbell = NVME_DOORBELLS + stride;
    nvme->io.depth = (uint16_t)at_most((low & 0xffff) + 1, DGM_NVME_DEPTH_MAX);
    nvme->io.sq_doorbell = NVME_DOORBELLS + 2 * stride;
    nvme->io.cq_doorbell = NVME_DOORBELLS + 3 * stride;
    return DGM_OK;
}

static int bring_up(struct dgm_nvme *nvme)
{
    struct dgm_dma_tag *tag = &nvme->device.tag;
    int status = nvme->env->irq_bind(nvme->env, &nvme->irq);

    if (status)
        return dgm_nvme_refuse(nvme, status, "no interrupt");
    dgm_nvme_disable(nvme);
    do {
        status = dgm_nvme_step(nvme);
    } while (nvme->state != DGM_NVME_LIVE && (status == DGM_OK || status == DGM_EAGAIN));
    if (status)
        return status;

    /* Whole frames, so that the pages of any transfer are one more than its frames at most. */
    tag->transfer_bytes_max &= ~(DGM_FRAME_BYTES - 1);
    if (tag->transfer_bytes_max == 0)
        tag->transfer_bytes_max = DGM_FRAME_BYTES;
    tag->gap = DGM_FRAME_BYTES;
    tag->alignment = NVME_PRP_ALIGNMENT;
    tag->segments_max = at_most(tag->segments_max, tag->transfer_bytes_max / DGM_FRAME_BYTES + 1);
    return lists_take(nvme);
}

/* `from` cut to fit the device's name. */
static void name_device(struct dgm_blkdev *device, const char *from)
{
    size_t length = 0;

    for (; length < sizeof device->name - 1 && from[length]; length++)
        device->name[length] = from[length];
    device->name[length] = 0;
}

int dgm_nvme_start(struct dgm_nvme *nvme, struct dgm_device_env *env)
{
    memset(nvme, 0, sizeof *nvme);
    nvme->env = env;
    nvme->irq.handle = dgm_nvme_irq;
    nvme->timer.fire = dgm_nvme_timer;
    nvme->device.ops = &dgm_nvme_ops;
    nvme->device.tag = env->tag;
    nvme->attaching = true;
    name_device(&nvme->device, env->name);

    int status = capabilities(nvme);

    if (status == DGM_OK)
        status = queue_take(nvme, &nvme->admin);
    if (status == DGM_OK)
        status = queue_take(nvme, &nvme->io);
    if (status != DGM_OK) {
        nvme->state = DGM_NVME_FAILED;
        nvme->device.failed = true;
        return status;
    }
    status = bring_up(nvme);
    if (status != DGM_OK)
        dgm_nvme_fail(nvme);
    nvme->attaching = false;
    nvme->device.ready = status == DGM_OK;
    if (env->changed)
        env->changed(env);
    return status;
}

/* --- the driver in an image --- */

static int start(void *state, struct dgm_device_env *env)
{
    return dgm_nvme_start(state, env);
}

_Static_assert(offsetof(struct dgm_nvme, device) == 0, "the state begins with its disk");

const struct dgm_disk_driver dgm_nvme_driver = {
    .name = "nvme",
    .pci_class = DGM_NVME_PCI_CLASS,
    .pci_class_mask = 0xffffff,
    .state_bytes = sizeof(struct dgm_nvme),
    .start = start,
};
DGM_DISK_DRIVER(dgm_nvme_driver);
