/* SPDX-License-Identifier: MIT */
/*
 * sdhci/adopt: the controller's capabilities, its tag, and the description of the disk
 *
 * The tag. Addresses have 32 bits and are multiples of four. With ADMA2 a transfer has at most as
 * many segments as fit into the frame of descriptors, of at most 64 KiB each; with SDMA it is one
 * segment that does not cross a multiple of 512 KiB, where the controller would stop and wait for
 * the driver.
 */
#include <drivers/sdhci/internal.h>

/* SDHC 2.2.26 */
#define CAP_ADMA2(low)    ((low) >> 19 & 1)
#define CAP_SDMA(low)     ((low) >> 22 & 1)
#define CAP_3V3(low)      ((low) >> 24 & 1)
#define CAP_3V0(low)      ((low) >> 25 & 1)
#define CAP_CLOCK(low)    ((low) >> 8 & 0xff) /* MHz; six bits before 3.00 */
#define CAP_SLOT(low)     ((low) >> 30)
#define CAP_SLOT_EMBEDDED 1u

#define POWER_ON  1u
#define POWER_3V3 (7u << 1)
#define POWER_3V0 (6u << 1)

static void tag_fill(struct dgm_sdhci *sdhci)
{
    struct dgm_dma_tag *tag = &sdhci->device.tag;

    if (tag->mask > UINT32_MAX)
        tag->mask = UINT32_MAX;
    tag->block_bytes = 512;
    tag->gap = 0;
    tag->alignment = DGM_SDHCI_ALIGNMENT;
    tag->transfer_bytes_max = DGM_SDHCI_TRANSFER_BYTES_MAX;
    if (sdhci->adma) {
        tag->segment_bytes_max = DGM_SDHCI_SEGMENT_BYTES_MAX;
        tag->segments_max = DGM_SDHCI_DESCRIPTORS;
    } else {
        tag->segment_bytes_max = DGM_SDHCI_SDMA_BYTES_MAX;
        tag->boundary = DGM_SDHCI_SDMA_BYTES_MAX;
        tag->segments_max = 1;
    }
}

int dgm_sdhci_capabilities(struct dgm_sdhci *sdhci)
{
    const uint32_t low = dgm_sdhci_read(sdhci, SDHCI_CAPABILITIES);

    sdhci->version = (uint8_t)dgm_sdhci_read16(sdhci, SDHCI_VERSION);
    sdhci->base_mhz = CAP_CLOCK(low) & (sdhci->version >= 2 ? 0xffu : 0x3fu);
    sdhci->adma = CAP_ADMA2(low);
    if (CAP_SLOT(low) == CAP_SLOT_EMBEDDED)
        sdhci->undetected = sdhci->fixed = sdhci->unprotected = true;
    if (!sdhci->adma && !CAP_SDMA(low))
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the controller has no DMA");
    if (sdhci->base_mhz == 0)
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the controller does not say its clock");
    if (!CAP_3V3(low) && !CAP_3V0(low))
        return dgm_sdhci_refuse(sdhci, DGM_EOPNOTSUPP, "the controller has no 3 V for the card");
    sdhci->power = (uint8_t)(POWER_ON | (CAP_3V3(low) ? POWER_3V3 : POWER_3V0));
    sdhci->known = true;
    tag_fill(sdhci);
    return DGM_OK;
}

void dgm_sdhci_adopt(struct dgm_sdhci *sdhci)
{
    struct dgm_blkdev *device = &sdhci->device;

    if (!(dgm_sdhci_read(sdhci, SDHCI_PRESENT) & SDHCI_PRESENT_WRITABLE) && !sdhci->unprotected)
        device->read_only = true; /* the card's write-protect switch */
    dgm_env_log("%s: SD host controller %u.00, %s; %s card", device->name, sdhci->version + 1u,
                sdhci->adma ? "ADMA2" : "SDMA", sdhci->in_blocks ? "SDHC" : "SDSC");
}
