/* SPDX-License-Identifier: MIT */
/*
 * nvme/identify: the data that a controller reports about itself and its namespace
 *
 * NVMe 1.4, 5.15.2: Identify Controller (CNS 1), the list of active namespaces (CNS 2) and Identify
 * Namespace (CNS 0), 4096 bytes each. The device writes them, so every value is checked here before
 * its use. Refused with a log line: logical blocks other than 512 or 4096 bytes, metadata, no
 * blocks.
 *
 * After every reset the controller is identified again. If another disk is in the place, it must
 * never be written to: serial number, namespace, its unique identifier and size must be equal.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/little_endian.h>
#include <dragoman/base/status.h>
#include <dragoman/base/text.h>
#include <port/env.h>

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

/* Hexadecimal digits of an identifier; empty if all its bytes are zero, which means "none". */
static bool get_digits(const uint8_t *data, size_t offset, size_t bytes, char *to)
{
    bool any = false;

    for (size_t i = 0; i < bytes; i++) {
        any |= data[offset + i] != 0;
        to[2 * i] = "0123456789abcdef"[data[offset + i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[data[offset + i] & 0xf];
    }
    to[any ? 2 * bytes : 0] = 0;
    return any;
}

void dgm_nvme_identify_controller(struct dgm_nvme_identity *identity, const uint8_t *data)
{
    const uint8_t mdts = data[77]; /* 2^mdts pages; 0: no limit */

    _Static_assert(sizeof identity->serial > 20 && sizeof identity->model > 40, "5.15.2");
    get_text(data, 4, 20, identity->serial);
    get_text(data, 24, 40, identity->model);
    identity->transfer_bytes_max = DGM_NVME_TRANSFER_BYTES_MAX;
    if (mdts > 0 && mdts < 8)
        identity->transfer_bytes_max = DGM_FRAME_BYTES << mdts;
    identity->write_cache = data[525] & 1;
}

void dgm_nvme_identify_list(struct dgm_nvme_identity *identity, const uint8_t *data)
{
    identity->nsid = dgm_le32(data);
    identity->second_nsid = dgm_le32(data + 4);
}

int dgm_nvme_identify_namespace(struct dgm_nvme_identity *identity, const uint8_t *data,
                                const char *name)
{
    const uint64_t blocks = dgm_le64(data);
    const uint8_t formats = data[25]; /* less one */
    uint8_t format = data[26] & 0xf;

    if (formats > 15)
        format |= (data[26] >> 5 & 3) << 4;
    if (format > formats) { /* 63 at most */
        dgm_env_log("%s: namespace %u names format %u of %u: not used", name, identity->nsid,
                    format, formats + 1u);
        return DGM_ENODEV;
    }

    const uint32_t metadata = dgm_le16(data + 128 + 4u * format);
    const uint8_t shift = data[128 + 4u * format + 2];

    if (shift != 9 && shift != 12) {
        dgm_env_log("%s: namespace %u has blocks of 2^%u bytes, not 512 or 4096: not used", name,
                    identity->nsid, shift);
        return DGM_EOPNOTSUPP;
    }
    if (metadata) {
        dgm_env_log("%s: namespace %u has %u bytes of metadata per block: not used", name,
                    identity->nsid, metadata);
        return DGM_EOPNOTSUPP;
    }
    if (blocks == 0 || blocks > UINT64_MAX >> shift) {
        dgm_env_log("%s: namespace %u has %lu blocks: not used", name, identity->nsid,
                    (unsigned long)blocks);
        return DGM_ENODEV;
    }

    identity->blocks = blocks;
    identity->block_bytes = 1u << shift;
    identity->read_only = data[99] & 1; /* NSATTR: write protected */
    if (!get_digits(data, 104, 16, identity->nguid))
        get_digits(data, 120, 8, identity->nguid); /* EUI-64 */
    return DGM_OK;
}

const char *dgm_nvme_identity_differs(const struct dgm_nvme_identity *identity,
                                      const struct dgm_blkdev *device)
{
    if (!dgm_text_equal(identity->serial, device->serial))
        return "another disk is in its place (the serial number differs)";
    if (identity->nsid != device->nsid || !dgm_text_equal(identity->nguid, device->nguid))
        return "another namespace is in its place";
    if (identity->blocks != device->blocks || identity->block_bytes != device->block_bytes)
        return "the namespace has another size than before";
    if (identity->transfer_bytes_max < device->tag.transfer_bytes_max)
        return "the controller takes smaller transfers than before";
    return NULL;
}
