/* SPDX-License-Identifier: MIT */
/*
 * sdhci/adma: bus segments -> an ADMA2 descriptor table (SDHC 1.13.3)
 *
 * A descriptor is 64 bits: attributes in 15:0, length in 31:16 (0 means 65536), address in 63:32.
 * Addresses are multiples of four, as the tag requires; lengths need not be.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/check.h>

#define ADMA_VALID    (1u << 0)
#define ADMA_END      (1u << 1)
#define ADMA_TRANSFER (2u << 4)

static uint64_t adma_descriptor(const struct dgm_dma_segment *segment)
{
    const uint64_t address = dgm_bus_address(segment->bus);

    dgm_assert(address <= UINT32_MAX && segment->bytes - 1u <= UINT32_MAX - address);
    dgm_assert(segment->bytes > 0 && segment->bytes <= DGM_SDHCI_SEGMENT_BYTES_MAX);
    dgm_assert(address % DGM_SDHCI_ALIGNMENT == 0);
    return address << 32 | (segment->bytes & 0xffffu) << 16 | ADMA_TRANSFER | ADMA_VALID;
}

uint64_t dgm_sdhci_adma(const struct dgm_dma_segment *segments, uint32_t count,
                        uint64_t *descriptors)
{
    uint64_t bytes = 0;

    dgm_assert(count > 0 && count <= DGM_SDHCI_DESCRIPTORS);
    for (uint32_t i = 0; i < count; i++) {
        descriptors[i] = adma_descriptor(&segments[i]);
        bytes += segments[i].bytes;
    }
    descriptors[count - 1] |= ADMA_END;
    return bytes;
}
