/* SPDX-License-Identifier: MIT */
/*
 * little_endian: numbers in what a device or a disk holds: little-endian, and not aligned
 *
 * On any machine, by bytes. The caller has checked that the bytes are there.
 */
#ifndef DRAGOMAN_BASE_LITTLE_ENDIAN_H
#define DRAGOMAN_BASE_LITTLE_ENDIAN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline uint16_t dgm_le16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t dgm_le32(const uint8_t *at)
{
    return dgm_le16(at) | (uint32_t)dgm_le16(at + 2) << 16;
}

static inline uint64_t dgm_le64(const uint8_t *at)
{
    return dgm_le32(at) | (uint64_t)dgm_le32(at + 4) << 32;
}

#ifdef __cplusplus
}
#endif

#endif
