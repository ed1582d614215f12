/* SPDX-License-Identifier: MIT */
/*
 * nvme/identify: what a controller says of itself and of its namespace
 *
 * NVMe 1.4, 5.15.2: Identify Controller (CNS 1), the list of active namespaces (CNS 2) and Identify
 * Namespace (CNS 0), 4096 bytes each, of the device's making: nothing in them is trusted further
 * than it is checked here. Refused with a line that says why: logical blocks other than 512 or 4096
 * bytes, metadata, no blocks, queue entries of other sizes.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/status.h>
#include <port/env.h>

static uint32_t get(const uint8_t *data, size_t offset, size_t bytes)
{
    uint32_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value |= (uint32_t)data[offset + i] << 8 * i;
    return value;
}

/* ASCII padded with spaces on either side -> a string; `to` has room for `bytes` and a NUL. */
static void get_text(const uint8_t *data, size_t offset, size_t bytes, char *to)
{
    size_t length = 0;

    for (size_t i = 0; i < bytes; i++) {
        const uint8_t c = data[offset + i];

        if (length == 0 && (c == ' ' || c == 0))
            continue;
        to[length++] = c == 0 ? ' ' : c < ' ' || c > '~' ? '?' : (char)c;
    }
    while (length > 0 && to[length - 1] == ' ')
        length--;
    to[length] = 0;
}

void dgm_nvme_identify_controller(struct dgm_nvme *nvme, const uint8_t *data)
{
    struct dgm_blkdev *device = &nvme->device;
    const uint8_t mdts = data[77]; /* 2^mdts pages; 0: no limit */
    uint32_t bytes = DGM_NVME_TRANSFER_BYTES_MAX;

    _Static_assert(sizeof nvme->device.serial > 20 && sizeof nvme->device.model > 40, "5.15.2");
    get_text(data, 4, 20, device->serial);
    get_text(data, 24, 40, device->model);

    if (mdts > 0 && mdts < 8)
        bytes = DGM_FRAME_BYTES << mdts;
    if (device->tag.transfer_bytes_max == 0 || device->tag.transfer_bytes_max > bytes)
        device->tag.transfer_bytes_max = bytes;
    device->write_cache = data[525] & 1;
}

uint32_t dgm_nvme_identify_first(const uint8_t *data)
{
    return get(data, 0, 4);
}

int dgm_nvme_identify_namespace(struct dgm_nvme *nvme, const uint8_t *data)
{
    struct dgm_blkdev *device = &nvme->device;
    const uint64_t blocks = get(data, 0, 4) | (uint64_t)get(data, 4, 4) << 32;
    const uint8_t formats = data[25]; /* less one */
    uint8_t format = data[26] & 0xf;

    if (formats > 15)
        format |= (data[26] >> 5 & 3) << 4;
    if (format > formats || format > 63) {
        dgm_env_log("%s: namespace %u names format %u of %u: not used", device->name, nvme->nsid,
                    format, formats + 1u);
        return DGM_ENODEV;
    }

    const uint32_t metadata = get(data, 128 + 4u * format, 2);
    const uint8_t shift = data[128 + 4u * format + 2];

    if (shift != 9 && shift != 12) {
        dgm_env_log("%s: namespace %u has blocks of 2^%u bytes, not 512 or 4096: not used",
                    device->name, nvme->nsid, shift);
        return DGM_EOPNOTSUPP;
    }
    if (metadata) {
        dgm_env_log("%s: namespace %u has %u bytes of metadata per block: not used", device->name,
                    nvme->nsid, metadata);
        return DGM_EOPNOTSUPP;
    }
    if (blocks == 0 || blocks > UINT64_MAX >> shift) {
        dgm_env_log("%s: namespace %u has %lu blocks: not used", device->name, nvme->nsid,
                    (unsigned long)blocks);
        return DGM_ENODEV;
    }

    device->blocks = blocks;
    device->block_bytes = 1u << shift;
    device->tag.block_bytes = 1u << shift;
    device->read_only = data[99] & 1; /* NSATTR: write protected */
    return DGM_OK;
}
