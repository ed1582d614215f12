/* SPDX-License-Identifier: MIT */
/*
 * cachemaint: cache maintenance for devices that do not see the CPU's caches
 *
 * Dragoman has all memory that a device accesses mapped as cacheable, slots included, so
 * maintenance goes by virtual address to the point of coherency, without a hypercall. For frames
 * that our CPU has not mapped there is Xen's GNTTABOP_cache_flush, by machine address
 * (dgm_cacheflush, below); where Xen refuses it, dma bounces.
 *
 *   the device reads    before: clean, so that memory has what the CPU wrote
 *   the device writes   before: clean and invalidate, so that no dirty line is written back over
 *                       what the device writes;
 *                       after: clean and invalidate, so that lines which the CPU fetched meanwhile
 *                       are dropped. No CPU wrote to them, so nothing is cleaned over the device's
 *                       bytes.
 *
 * There is no bare invalidate: where a transfer ends inside a cache line, it would lose what was
 * written to the rest of the line. No maintenance saves a line that the device and a CPU write at
 * the same time: a clean loses the device's bytes, an invalidate the CPU's. dma bounces such ends
 * (dgm_cachemaint_shares_line()).
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
 * Before and after a device accesses the bytes of `span`, which begins in the frame `gfn` (offset
 * below 4096). It may extend into the next gfns, each of which is looked up separately.
 * `device_writes`: the device writes; otherwise it only reads, and no maintenance follows.
 */
void dgm_cachemaint_before(dgm_gfn_t gfn, struct dgm_span span, bool device_writes);
void dgm_cachemaint_after(dgm_gfn_t gfn, struct dgm_span span, bool device_writes);

/* Whether the span starts or ends inside a cache line, the rest of which others may write. */
bool dgm_cachemaint_shares_line(struct dgm_span span);

#define DGM_CACHEFLUSH_BATCH 256u

/*
 * Maintenance by machine address: ops are added, each within a frame, and done by one hypercall.
 * Xen allows it for our own frames and for those of which we have a grant mapping. It stops at the
 * first op that it refuses and does not say which one that is. So after a refusal the ops are done
 * one by one: the caller learns how many were refused, and all others are done. Source:
 * xen/grant_table.h, GNTTABOP_cache_flush.
 */
struct dgm_cacheflush {
    struct gnttab_cache_flush ops[DGM_CACHEFLUSH_BATCH];
    unsigned count;
    unsigned refused_now;   /* since the last commit, in batches that were full before it */
    bool absent;            /* Xen does not have the hypercall */
    uint64_t done, refused; /* counters: ops */
    uint64_t batches;       /* counter: hypercalls */
};

/*
 * Tries, with an op on no bytes, whether Xen has the hypercall. DGM_OK; or DGM_ENOSYS or another
 * error: it does not, and every commit counts all ops as refused without a hypercall.
 */
int dgm_cacheflush_probe(struct dgm_cacheflush *flush);

/*
 * Adds an op: a clean, with `invalidate` an invalidate too. A full batch is done first. Asserts:
 * the span lies within the frame and is not empty.
 */
void dgm_cacheflush_add(struct dgm_cacheflush *flush, dgm_mfn_t mfn, struct dgm_span span,
                        bool invalidate);

/* Does the added ops. Returns how many were refused. No hypercall if no op was added. */
unsigned dgm_cacheflush_commit(struct dgm_cacheflush *flush);

#ifdef __cplusplus
}
#endif

#endif
