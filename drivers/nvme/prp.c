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

/* Appends the pages from `page` to `end`, which is reached by the last of them. */
static inline uint32_t list_pages(const struct nvme_prp *prp, uint32_t used, uint64_t page,
                                  uint64_t end)
{
    for (; page < end; page += PAGE_BYTES) {
        dgm_assert(used < prp->list_entries);
        prp->list[used++] = page;
    }
    return used;
}

void dgm_nvme_prp_many(struct nvme_prp *prp, const struct dgm_dma_segment *segments, uint32_t count)
{
    const uint64_t first = dgm_bus_address(segments[0].bus);
    uint64_t total = segments[0].bytes, end = first + total;
    uint32_t used;

    dgm_assert(count > 0 && first % NVME_PRP_ALIGNMENT == 0 && end > first);
    /* The first page is in prp[0], whatever its offset; all others start on a boundary. */
    used = list_pages(prp, 0, (first | (PAGE_BYTES - 1)) + 1, end);
    for (const struct dgm_dma_segment *s = segments + 1, *last = segments + count; s != last; s++) {
        const uint64_t start = dgm_bus_address(s->bus);

        dgm_assert((start | end) % PAGE_BYTES == 0 && s->bytes > 0 && used < prp->list_entries);
        end = start + s->bytes;
        total += s->bytes;
        prp->list[used++] = start;
        if (s->bytes > PAGE_BYTES)
            used = list_pages(prp, used, start + PAGE_BYTES, end);
    }
    prp->prp[0] = first;
    prp->prp[1] = used == 1 ? prp->list[0] : used ? dgm_bus_address(prp->list_bus) : 0;
    prp->list_used = used > 1 ? used : 0;
    prp->bytes = total;
}
