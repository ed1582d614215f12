/* SPDX-License-Identifier: MIT */
/*
 * memory: machine memory as devices find it, caches in between, and the oracle of DMA
 *
 * A master is a device's way to memory: its windows and mask turn a bus address into a machine
 * address. Every access is judged at the moment it is made: a guest's frame only while a grant of
 * it is mapped with that right, a frame of ours only if it was given to devices (queues, lists) or
 * is a buffer in use, for bouncing or for copies.
 *
 * Caches. What CPUs see (guests and Dragoman, which share coherent caches) is the ordinary memory
 * of the hosted port. For a frame that a non-coherent master has to do with, memory's own copy is
 * kept beside it, and a third copy that remembers what the cache held when the two last met: where
 * the CPU's bytes differ from that, the line is dirty. A dirty line may be evicted at any moment; a
 * clean one may be dropped and fetched again at any moment, or stay stale as long as nobody cleans
 * it out. Both moments come from the seed. Cost: nothing for frames that only coherent masters
 * touch.
 */
#ifndef SIM_MACHINE_MEMORY_H
#define SIM_MACHINE_MEMORY_H

#include <dragoman/dma/bounce.h>
#include <dragoman/reach/copy_buffers.h>
#include <dragoman/dma/dma.h>

struct sim_master {
    struct dgm_dma_tag tag; /* windows, mask, coherent */
    const char *name;
    bool stopped; /* bus mastering is off */
    uint64_t accesses;
};

/* `bounce` and `copy_buffers` (NULL: none): pools whose buffers devices may touch
 * while they are taken. */
void memory_start(uint64_t seed, struct dgm_gfn_range ram, dgm_mfn_t mfn,
                  const struct dgm_bounce *bounce, const struct dgm_copy_buffers *copy_buffers);

/* Frames of ours that devices may touch from now on. */
void memory_lend(dgm_gfn_t first, uint64_t count);
void memory_unlend(dgm_gfn_t first, uint64_t count);

/* The bytes that a device finds at `bus`, all in one frame; judges the access, and fails if it is
 * not allowed. */
void *memory_dma(struct sim_master *master, uint64_t bus, uint32_t bytes, bool device_writes);

/* The port's cache maintenance. */
void memory_clean(const void *va, size_t bytes);
void memory_clean_invalidate(const void *va, size_t bytes);

/* A few evictions and fetches, where devices were lately. */
void memory_mischief(void);

#endif
