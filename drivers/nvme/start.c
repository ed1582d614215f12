/* SPDX-License-Identifier: MIT */
/*
 * nvme/start: all memory, and the start of the controller
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

#include <string.h>

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

static const struct dgm_blkdev_ops nvme_ops = {
    .submit = dgm_nvme_submit,
    .kick = dgm_nvme_kick,
    .shutdown = dgm_nvme_close,
};

int dgm_nvme_start(struct dgm_nvme *nvme, struct dgm_device_env *env)
{
    struct dgm_text name;
    int status;

    memset(nvme, 0, sizeof *nvme);
    nvme->env = env;
    nvme->irq.handle = dgm_nvme_irq;
    nvme->timer.fire = dgm_nvme_timer;
    nvme->device.ops = &nvme_ops;
    nvme->device.tag = env->tag;
    nvme->poll_pause_ns = NVME_POLL_MAX_NS;
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
