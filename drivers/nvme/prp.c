/* SPDX-License-Identifier: MIT */
/*
 * nvme/prp: the PRP entries and lists that describe a command's data
 *
 * A Physical Region Page entry names one page of memory. Only the first entry of a command may
 * start off a page boundary, and only the last page may end off one (NVMe 1.4, 4.3). Two pages fit
 * into the command itself; of three or more the second entry points to a list of all but the first.
 * A list lies within one frame here, so it is never chained. The gap rule of the tag (4096) makes
 * the segments of dgm_dma_map() fit; the assertions below check that it did.
 *
 * Pure: no register, no device. A 128 KiB transfer is 32 or 33 entries; at most 257.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>

#define PAGE_BYTES 4096u

void dgm_nvme_prp_many(struct nvme_prp *prp, const struct dgm_dma_segment *segments, uint32_t count)
{
    uint64_t total = 0;
    uint32_t used = 0;

    dgm_assert(count > 0);
    dgm_assert(dgm_bus_address(segments[0].bus) % NVME_PRP_ALIGNMENT == 0);
    prp->prp[0] = dgm_bus_address(segments[0].bus);
    prp->prp[1] = 0;

    for (uint32_t i = 0; i < count; i++) {
        const uint64_t start = dgm_bus_address(segments[i].bus);
        const uint64_t end = start + segments[i].bytes;

        dgm_assert(segments[i].bytes > 0 && end > start);
        dgm_assert(i == 0 || start % PAGE_BYTES == 0);
        dgm_assert(i == count - 1 || end % PAGE_BYTES == 0);
        total += segments[i].bytes;

        /* The very first page is in prp[0], whatever its offset; all others start on a boundary. */
        uint64_t page = i == 0 ? (start | (PAGE_BYTES - 1)) + 1 : start;

        for (; page < end; page += PAGE_BYTES) {
            dgm_assert(used < prp->list_entries);
            prp->list[used++] = page;
        }
    }

    if (used == 1)
        prp->prp[1] = prp->list[0];
    else if (used > 1)
        prp->prp[1] = dgm_bus_address(prp->list_bus);
    prp->list_used = used > 1 ? used : 0;
    prp->bytes = total;
}
