/* SPDX-License-Identifier: MIT */
/*
 * sdhci/card: the registers that describe a card: its CID (SD 5.2) and its CSD (SD 5.3)
 *
 * 128 bits each, numbered from the last. The response registers hold bits 127:8; the controller has
 * checked the checksum below. Every value is checked here before its use.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/status.h>
#include <port/env.h>

#define SECTOR_SHIFT 9u

/* `count` bits (at most 32) of the card's register, the lowest of which is `low` (from 8). */
static uint32_t register_bits(const uint32_t response[4], unsigned low, unsigned count)
{
    const unsigned word = (low - 8) / 32, shift = (low - 8) % 32;
    const uint64_t both = response[word] | (word < 3 ? (uint64_t)response[word + 1] << 32 : 0);

    return (uint32_t)(both >> shift & ((1ull << count) - 1));
}

static char printable_character(uint32_t c)
{
    return c < ' ' || c > '~' ? '?' : (char)c;
}

/* model: the product's name of five letters and its revision; serial: eight hexadecimal digits. */
void dgm_sdhci_card_cid(struct dgm_blkdev *device, const uint32_t response[4])
{
    const uint32_t serial = register_bits(response, 24, 32);
    const uint32_t revision = register_bits(response, 56, 8);
    char *to = device->model;

    for (unsigned i = 0; i < 5; i++)
        *to++ = printable_character(register_bits(response, 96 - 8 * i, 8));
    *to++ = ' ';
    *to++ = (char)('0' + (revision >> 4) % 10);
    *to++ = '.';
    *to++ = (char)('0' + (revision & 0xf) % 10);
    *to = 0;

    to = device->serial;
    for (unsigned shift = 32; shift > 0; shift -= 4)
        *to++ = "0123456789abcdef"[serial >> (shift - 4) & 0xf];
    *to = 0;
}

int dgm_sdhci_card_csd(struct dgm_blkdev *device, const uint32_t response[4])
{
    const uint32_t structure = register_bits(response, 126, 2);
    const uint32_t block_shift = register_bits(response, 80, 4);

    switch (structure) {
    case 0: /* SDSC */
        if (block_shift < SECTOR_SHIFT || block_shift > 11) {
            dgm_env_log("%s: SD: the card has blocks of 2^%u bytes: not used", device->name,
                        block_shift);
            return DGM_EOPNOTSUPP;
        }
        device->blocks = (uint64_t)(register_bits(response, 62, 12) + 1)
                         << (register_bits(response, 47, 3) + 2 + block_shift - SECTOR_SHIFT);
        break;
    case 1: /* SDHC, SDXC: in units of 512 KiB */
        device->blocks = (uint64_t)(register_bits(response, 48, 22) + 1) << (19 - SECTOR_SHIFT);
        break;
    default:
        dgm_env_log("%s: SD: the card's CSD has structure %u: not used", device->name, structure);
        return DGM_EOPNOTSUPP;
    }
    device->block_bytes = 1u << SECTOR_SHIFT;
    device->read_only = register_bits(response, 12, 2) != 0; /* temporarily, or permanently */
    return DGM_OK;
}
