/* SPDX-License-Identifier: MIT */
/*
 * cachemaint: making a device that does not see our caches, and the CPU, agree
 *
 * Everything Dragoman lends to a device it has mapped cacheable itself, slots included, so
 * maintenance goes by virtual address to the point of coherency: no hypercall.
 *
 *   the device will read    clean before: memory has what the CPU wrote
 *   the device will write   clean and invalidate before: no dirty line of ours is written back over
 *                           what the device writes;
 *                           clean and invalidate after: lines that the CPU fetched meanwhile, of
 * its own accord, go. Nobody wrote to them, so nothing is cleaned over the device's bytes.
 *
 * Never a bare invalidate: where a transfer ends inside a cache line, that would lose what a
 * neighbour wrote to the rest of the line. What no maintenance can save is a line that the device
 * and a CPU write at the same time: clean loses the device's bytes, invalidate the CPU's. dma
 * bounces such ends (dgm_cachemaint_shares_line).
 */
#ifndef DRAGOMAN_CACHEMAINT_H
#define DRAGOMAN_CACHEMAINT_H

#include <dragoman/addr.h>

/*
 * Before and after a device touches `bytes` bytes from `offset` (bytes, below 4096) in the frame
 * `gfn`. May run on into the neighbouring gfns, each of which is looked up by itself.
 * `device_writes`: else it only reads; then there is nothing to do after.
 */
void dgm_cachemaint_before(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes);
void dgm_cachemaint_after(dgm_gfn_t gfn, uint32_t offset, uint64_t bytes, bool device_writes);

/* True if the stretch starts or ends inside a cache line, so that others may write beside it. */
bool dgm_cachemaint_shares_line(uint32_t offset, uint64_t bytes);

#endif
