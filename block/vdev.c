/* SPDX-License-Identifier: MIT */
/*
 * vdev: the number of a virtual disk from its name, as xl and Linux compute it (Xen's docs,
 * misc/vbd-interface): the letters are a number in base 26 without a zero (a...z, aa...), the
 * digits name a partition.
 */
#include <block/internal.h>
#include <dragoman/base/text.h>

#define VDEV_MAJOR         202u
#define VDEV_EXTENDED      (1u << 28)
#define VDEV_DISK_MAX      ((1u << 20) - 1)
#define VDEV_PARTITION_MAX 255u

int dgm_blkback_vdev_number(const char *vdev, uint32_t *number)
{
    static const char prefix[] = "xvd";
    const char *p = vdev + sizeof prefix - 1;
    uint64_t disk = 0, partition = 0; /* disk: 1 for a, until the letters end */

    if (!dgm_text_starts(vdev, prefix))
        return DGM_EINVAL;
    for (; *p >= 'a' && *p <= 'z'; p++) {
        disk = disk * 26 + (uint64_t)(*p - 'a') + 1;
        if (disk > VDEV_DISK_MAX + 1)
            return DGM_EINVAL;
    }
    if (disk-- == 0)
        return DGM_EINVAL;
    if (*p == '0' ||
        (*p && !dgm_text_number(p, dgm_text_length(p), &partition, VDEV_PARTITION_MAX)))
        return DGM_EINVAL;

    if (disk < 16 && partition < 16)
        *number = VDEV_MAJOR << 8 | (uint32_t)disk << 4 | (uint32_t)partition;
    else
        *number = VDEV_EXTENDED | (uint32_t)disk << 8 | (uint32_t)partition;
    return DGM_OK;
}
