/* SPDX-License-Identifier: MIT */
/*
 * nvme/start: all memory, a controller's limits, and its description as a disk
 *
 * All memory of the driver is taken here, before the pool of frames is locked: four frames for the
 * two queue pairs, and a PRP list for each I/O command, long enough for the largest transfer of any
 * controller (the limit of this one is known only when it is ready, which may be minutes later).
 * The interrupt is bound before the controller is enabled, because some controllers read the
 * interrupt's configuration when a queue is created.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/text.h>
#include <port/arch.h>

#include <string.h>

#define SECOND_NS 1000000000ull

static int frame_take(struct dgm_nvme *nvme, struct dgm_device_frame *frame)
{
    const char *why;
    const int status = dgm_device_queue_frame(nvme->env, &nvme->device.tag, frame, &why);

    return status != DGM_OK ? dgm_nvme_refuse(nvme, status, why) : DGM_OK;
}

static int queue_take(struct dgm_nvme *nvme, struct dgm_nvme_queue *queue)
{
    struct dgm_device_frame sq, cq;
    int status = frame_take(nvme, &sq);

    if (status == DGM_OK)
        status = frame_take(nvme, &cq);
    if (status != DGM_OK)
        return status;
    queue->sq = sq.va;
    queue->sq_bus = sq.bus;
    queue->cq = cq.va;
    queue->cq_bus = cq.bus;
    return DGM_OK;
}

/* A list per entry: one PRP for each page of the largest transfer except the first. Its length
 * divides a frame, so no list crosses one. */
static int lists_take(struct dgm_nvme *nvme)
{
    enum { LIST_ENTRIES = DGM_NVME_TRANSFER_BYTES_MAX / DGM_FRAME_BYTES };
    struct dgm_device_frame frame = {0};
    uint32_t offset = DGM_FRAME_BYTES;

    _Static_assert(DGM_FRAME_BYTES % (LIST_ENTRIES * sizeof(uint64_t)) == 0, "");
    nvme->list_entries = LIST_ENTRIES;
    for (unsigned i = 0; i < DGM_NVME_DEPTH_MAX - 1; i++, offset += LIST_ENTRIES * 8) {
        if (offset == DGM_FRAME_BYTES) {
            const int status = frame_take(nvme, &frame);

            if (status != DGM_OK)
                return status;
            offset = 0;
        }
        nvme->entries[i].list = (uint64_t *)(void *)((char *)frame.va + offset);
        nvme->entries[i].list_bus = dgm_bus_add(frame.bus, offset);
    }
    return DGM_OK;
}

static uint32_t at_most(uint32_t limit, uint32_t value)
{
    return limit != 0 && limit < value ? limit : value; /* 0 means no limit */
}

/* Reads CAP (3.1.1), the controller's limits, and checks that they suffice. */
int dgm_nvme_limits(struct dgm_nvme *nvme)
{
    const uint32_t low = dgm_nvme_read(nvme, NVME_CAP);
    const uint32_t high = dgm_nvme_read(nvme, NVME_CAP + 4);
    const uint32_t stride = 4u << (high & 0xf);

    nvme->version = dgm_nvme_read(nvme, NVME_VS);
    nvme->ready_ns = ((low >> 24) + 1) * (SECOND_NS / 2); /* TO counts half seconds; 0: no time */
    if (!(high >> 5 & 1))
        return dgm_nvme_refuse(nvme, DGM_EOPNOTSUPP, "no NVM command set");
    if (high >> 16 & 0xf)
        return dgm_nvme_refuse(nvme, DGM_EOPNOTSUPP, "pages of 4 KiB are too small for it");
    if ((low & 0xffff) == 0)
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "queues of one entry (CAP.MQES)");
    if ((nvme->env->mmio_bytes - NVME_DOORBELLS) / 4 < stride) /* doorbells of two queue pairs */
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "doorbells beyond its registers");

    const uint16_t depth = (uint16_t)at_most((low & 0xffff) + 1, DGM_NVME_DEPTH_MAX);

    if (nvme->known && depth != nvme->io.depth)
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "queues of another depth than before");
    nvme->admin.depth = NVME_ADMIN_DEPTH;
    nvme->admin.sq_doorbell = NVME_DOORBELLS;
    nvme->admin.cq_doorbell = NVME_DOORBELLS + stride;
    nvme->io.depth = depth;
    nvme->io.sq_doorbell = NVME_DOORBELLS + 2 * stride;
    nvme->io.cq_doorbell = NVME_DOORBELLS + 3 * stride;
    if (!nvme->known)
        dgm_nvme_io_init(nvme);
    nvme->known = true;
    return DGM_OK;
}

void dgm_nvme_adopt_name(struct dgm_nvme *nvme)
{
    memcpy(nvme->device.serial, nvme->found.serial, sizeof nvme->device.serial);
    memcpy(nvme->device.model, nvme->found.model, sizeof nvme->device.model);
}

void dgm_nvme_adopt(struct dgm_nvme *nvme)
{
    const struct dgm_nvme_identity *found = &nvme->found;
    struct dgm_blkdev *device = &nvme->device;
    struct dgm_dma_tag *tag = &device->tag;

    memcpy(device->nguid, found->nguid, sizeof device->nguid);
    device->nsid = found->nsid;
    device->blocks = found->blocks;
    device->block_bytes = found->block_bytes;
    device->read_only = found->read_only;
    device->write_cache = found->write_cache;
    if (found->second_nsid)
        dgm_env_log("%s: NVMe: namespace %u is shared; namespace %u and any further one are not",
                    device->name, found->nsid, found->second_nsid);

    /* Whole frames, so that the pages of any transfer are one more than its frames at most. */
    tag->transfer_bytes_max = at_most(tag->transfer_bytes_max, found->transfer_bytes_max);
    tag->transfer_bytes_max &= ~(DGM_FRAME_BYTES - 1);
    if (tag->transfer_bytes_max == 0)
        tag->transfer_bytes_max = DGM_FRAME_BYTES;
    tag->block_bytes = found->block_bytes;
    tag->gap = DGM_FRAME_BYTES;
    tag->alignment = NVME_PRP_ALIGNMENT;
    tag->segments_max = at_most(tag->segments_max, tag->transfer_bytes_max / DGM_FRAME_BYTES + 1);
}

static int allocate_queues(struct dgm_nvme *nvme)
{
    int status;

    if (nvme->env->mmio_bytes < NVME_DOORBELLS + 16)
        return dgm_nvme_refuse(nvme, DGM_ENODEV, "too few registers");
    status = queue_take(nvme, &nvme->admin);
    if (status == DGM_OK)
        status = queue_take(nvme, &nvme->io);
    if (status == DGM_OK)
        status = lists_take(nvme);
    if (status != DGM_OK)
        return status;
    status = nvme->env->irq_bind(nvme->env, &nvme->irq);
    return status ? dgm_nvme_refuse(nvme, status, "no interrupt") : DGM_OK;
}

int dgm_nvme_start(struct dgm_nvme *nvme, struct dgm_device_env *env)
{
    struct dgm_text name;
    int status;

    memset(nvme, 0, sizeof *nvme);
    nvme->env = env;
    nvme->irq.handle = dgm_nvme_irq;
    nvme->timer.fire = dgm_nvme_timer;
    nvme->device.ops = &dgm_nvme_ops;
    nvme->device.tag = env->tag;
    nvme->poll_pause_ns = NVME_POLL_MAX_NS;
    nvme->unmask_after = 1;
    nvme->io.depth = 1; /* no entry, until the limits are read */
    dgm_nvme_io_init(nvme);
    nvme->times = dgm_device_times(&env->times);
    name = dgm_text(nvme->device.name, sizeof nvme->device.name);
    dgm_text_add(&name, env->name);

    status = allocate_queues(nvme);
    if (status != DGM_OK) {
        nvme->state = DGM_NVME_FAILED;
        nvme->device.failed = true;
        return status;
    }
    nvme->give_up_ns = dgm_env_now_ns() + nvme->times.start_ns;
    dgm_nvme_enter(nvme, DGM_NVME_LOST, UINT64_MAX);
    dgm_nvme_advance(nvme);
    return DGM_OK;
}

/* --- the driver in an image --- */

static int start_controller(void *state, struct dgm_device_env *env)
{
    return dgm_nvme_start(state, env);
}

_Static_assert(offsetof(struct dgm_nvme, device) == 0, "the state begins with its disk");

const struct dgm_disk_driver dgm_nvme_driver = {
    .name = "nvme",
    .pci_class = DGM_NVME_PCI_CLASS,
    .pci_class_mask = 0xffffff,
    .state_bytes = sizeof(struct dgm_nvme),
    .start = start_controller,
};
DGM_DISK_DRIVER(dgm_nvme_driver);
