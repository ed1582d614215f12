/* SPDX-License-Identifier: MIT */
/*
 * cachemaint: cache maintenance for devices that do not see the CPU's caches
 *
 * Dragoman has all memory that a device accesses mapped as cacheable, slots included, so
 * maintenance goes by virtual address to the point of coherency, without a hypercall. For frames
 * that our CPU has not mapped there is Xen's GNTTABOP_cache_flush, by machine address
 * (dragoman/dma/cacheflush.h); where Xen refuses it, dma bounces.
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
#ifndef DMA_CACHEMAINT_H
#define DMA_CACHEMAINT_H

#include <dragoman/base/addr.h>

/*
 * Before and after a device accesses the bytes of `span`, which begins in the frame `gfn` (offset
 * below 4096). It may extend into the next gfns, each of which is looked up separately.
 * `device_writes`: the device writes; otherwise it only reads, and no maintenance follows.
 */
void dgm_cachemaint_before(dgm_gfn_t gfn, struct dgm_span span, bool device_writes);
void dgm_cachemaint_after(dgm_gfn_t gfn, struct dgm_span span, bool device_writes);

/* Whether the span starts or ends inside a cache line, the rest of which others may write. */
bool dgm_cachemaint_shares_line(struct dgm_span span);

#endif
