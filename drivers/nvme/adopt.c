/* SPDX-License-Identifier: MIT */
/*
 * nvme/adopt: what the controller says of itself becomes the driver's limits, and the disk
 *
 * The registers are read in every attempt, because another controller may be in the place of this
 * one; the disk is adopted once.
 */
#include <drivers/nvme/internal.h>

#include <string.h>

#define SECOND_NS 1000000000ull

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
    device->takes_pages = true;
    tag->segments_max = at_most(tag->segments_max, tag->transfer_bytes_max / DGM_FRAME_BYTES + 1);
}
