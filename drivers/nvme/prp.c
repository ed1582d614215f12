/* SPDX-License-Identifier: MIT */
/*
 * nvme/prp: where a command's data lies, in the controller's words
 *
 * A Physical Region Page entry names one page of memory; only the first of a command may start off
 * a page boundary, and only the last may end off one (NVMe 1.4, 4.3). Two pages fit in the command
 * itself; of three or more the second entry points to a list of all but the first. A list lies
 * within one frame here, so it is never chained. The gap rule of the tag (4096) makes the segments
 * of dgm_dma_map() fit; what is asserted below is that it did.
 *
 * Pure: no register, no device. A 128 KiB transfer is 32 or 33 entries; at most 257.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/check.h>

#define PAGE_BYTES 4096u

uint64_t dgm_nvme_prp(const struct dgm_dma_segment *segments, uint32_t count, uint64_t *list,
                      uint32_t list_entries, dgm_bus_t list_bus, uint64_t prp[2],
                      uint32_t *list_used)
{
    uint64_t total = 0;
    uint32_t used = 0;

    dgm_assert(count > 0);
    dgm_assert(segments[0].bus.n % NVME_PRP_ALIGNMENT == 0);
    prp[0] = segments[0].bus.n;
    prp[1] = 0;

    for (uint32_t i = 0; i < count; i++) {
        const uint64_t start = segments[i].bus.n;
        const uint64_t end = start + segments[i].bytes;

        dgm_assert(segments[i].bytes > 0 && end > start);
        dgm_assert(i == 0 || start % PAGE_BYTES == 0);
        dgm_assert(i == count - 1 || end % PAGE_BYTES == 0);
        total += segments[i].bytes;

        /* The very first page is in prp[0], whatever its offset; all others start on a boundary. */
        uint64_t page = i == 0 ? (start | (PAGE_BYTES - 1)) + 1 : start;

        for (; page < end; page += PAGE_BYTES) {
            dgm_assert(used < list_entries);
            list[used++] = page;
        }
    }

    if (used == 1)
        prp[1] = list[0];
    else if (used > 1)
        prp[1] = list_bus.n;
    *list_used = used > 1 ? used : 0;
    return total;
}
