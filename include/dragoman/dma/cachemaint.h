/* SPDX-License-Identifier: MIT */
/*
 * cachemaint: making a device that does not see our caches, and the CPU, agree
 *
 * Everything Dragoman lends to a device it has mapped cacheable itself, slots included, so
 * maintenance goes by virtual address to the point of coherency: no hypercall. For frames that a
 * CPU of ours has no mapping of there is Xen's GNTTABOP_cache_flush, by machine address
 * (dgm_cacheflush, below); where Xen refuses it, dma bounces.
 *
 *   the device will read    clean before: memory has what the CPU wrote
 *   the device will write   clean and invalidate before: no dirty line of ours is written back
 *                           over what the device writes;
 *                           clean and invalidate after: lines that the CPU fetched meanwhile go.
 *                           Nobody wrote to them: nothing is cleaned over the device's bytes.
 *
 * Never a bare invalidate: where a transfer ends inside a cache line, that would lose what a
 * neighbour wrote to the rest of the line. What no maintenance can save is a line that the device
 * and a CPU write at the same time: clean loses the device's bytes, invalidate the CPU's. dma
 * bounces such ends (dgm_cachemaint_shares_line).
 */
#ifndef DRAGOMAN_DMA_CACHEMAINT_H
#define DRAGOMAN_DMA_CACHEMAINT_H

#include <dragoman/base/addr.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Before and after a device touches `bytes` bytes from `offset` (bytes, below 4096) in the frame
 * `gfn`. May run on into the neighbouring gfns, each of which is looked up by itself.
 * `device_writes`: else it only reads; then there is nothing to do after.
 */
void dgm_cachemaint_before(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes);
void dgm_cachemaint_after(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes);

/* True if the stretch starts or ends inside a cache line, so that others may write beside it. */
bool dgm_cachemaint_shares_line(uint32_t offset, uint64_t bytes);

#define DGM_CACHEFLUSH_BATCH 256u

/*
 * Maintenance by machine address: stretches are added, each within a frame, and done in one
 * hypercall. Xen allows it for frames of our own and for those that we have a grant mapping of. It
 * stops at the first that it refuses and does not say which, so after a refusal they are asked for
 * one by one: the caller learns how many were refused, and all others are done. Source:
 * xen/grant_table.h, GNTTABOP_cache_flush.
 */
struct dgm_cacheflush {
    struct gnttab_cache_flush ops[DGM_CACHEFLUSH_BATCH];
    unsigned count;
    unsigned refused_now;   /* since the last commit: in batches that were full before it */
    bool absent;            /* Xen has no such hypercall */
    uint64_t done, refused; /* stretches */
    uint64_t batches;       /* hypercalls */
};

/*
 * Asks Xen, by an operation on nothing, whether it is there. DGM_OK; DGM_ENOSYS or another error:
 * no, and then every commit refuses everything without asking.
 */
int dgm_cacheflush_probe(struct dgm_cacheflush *flush);

/*
 * Adds a stretch. Cleans, and with `invalidate` invalidates too: never a bare invalidate. A full
 * batch is done first. Asserts: within the frame, not empty.
 */
void dgm_cacheflush_add(struct dgm_cacheflush *flush, dgm_mfn_t mfn, uint32_t offset,
                        uint32_t bytes, bool invalidate);

/* Does what was added: how many stretches were refused. Nothing added: no hypercall. */
unsigned dgm_cacheflush_commit(struct dgm_cacheflush *flush);

#ifdef __cplusplus
}
#endif

#endif
