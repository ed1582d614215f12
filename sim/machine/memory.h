/* SPDX-License-Identifier: MIT */
/*
 * memory: machine memory as devices see it, caches in between, and the oracle of DMA
 *
 * A master is a device's connection to memory: its windows and mask turn a bus address into a
 * machine address. Each access is checked when it is made: a guest's frame only while a grant of it
 * is mapped with that right, a frame of ours only if it was lent to devices (queues, lists) or is a
 * bounce or copy buffer in use.
 *
 * Caches. The CPUs' view (of guests and Dragoman, which share coherent caches) is the ordinary
 * memory of the hosted port. For a frame that a non-coherent master accesses, two more copies
 * exist: the contents of memory, and the contents of the cache when it was last equal to memory. If
 * the CPUs' bytes differ from the latter, the line is dirty. A dirty line may be evicted at any
 * moment; a clean one may be dropped and fetched anew at any moment, or stay stale until it is
 * invalidated. The seed determines these moments. Frames that only coherent masters access cost
 * nothing.
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

/* `bounce` and `copy_buffers` (NULL: none): pools whose buffers devices may access
 * while they are taken. */
void memory_start(uint64_t seed, struct dgm_gfn_range ram, dgm_mfn_t mfn,
                  const struct dgm_bounce *bounce, const struct dgm_copy_buffers *copy_buffers);

/* Frames of ours that devices may access from now on; and no longer. */
void memory_lend(dgm_gfn_t first, uint64_t count);
void memory_unlend(dgm_gfn_t first, uint64_t count);

/* The bytes that a device accesses at `bus`, all in one frame. Fails the run if it may not. */
void *memory_dma(struct sim_master *master, uint64_t bus, uint32_t bytes, bool device_writes);

/* The port's cache maintenance. */
void memory_clean(const void *va, size_t bytes);
void memory_clean_invalidate(const void *va, size_t bytes);

/* Evicts or fetches a few lines near recent accesses of devices. */
void memory_disturb(void);

#endif
