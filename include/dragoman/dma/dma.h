/* SPDX-License-Identifier: MIT */
/*
 * dma: what to tell a device so that it reaches the memory that was meant
 *
 * A tag says what one device can do; a map is one transfer being prepared for it. Mapping
 * translates (guest frame -> machine frame -> bus address in the device's window), splits where
 * machine frames are not adjacent, merges where they are, cuts where the device's gap rule demands
 * it, and bounces only the parts that the device cannot reach or cannot express. Each part
 * remembers where it came from: nothing is ever guessed from an address afterwards.
 *
 * Mapping never fails for want of memory. It maps a prefix of at least one device block and says
 * how long it is, or it says DGM_EAGAIN: then wait on the bounce pool
 * (dgm_waiters_add(&dma->bounce->waiters, task)). A long transfer is a loop: map a prefix, issue
 * it, and come back for the rest.
 *
 * Directions are seen from memory: TO_DEVICE is read by the device, FROM_DEVICE written by it. For
 * a non-coherent device the memory belongs to the device between map and unmap; a map that lives
 * long lends parts of it back with dgm_dma_sync_for_cpu() and dgm_dma_sync_for_device().
 *
 * Caches are maintained by the addresses where we have the memory mapped. With dgm_dma.flush set,
 * foreign frames are maintained by Xen, by machine address, one hypercall for all of a map; where
 * Xen refuses, the foreign parts are bounced.
 */
#ifndef DRAGOMAN_DMA_DMA_H
#define DRAGOMAN_DMA_DMA_H

#include <dragoman/dma/bounce.h>
#include <dragoman/dma/cachemaint.h>
#include <dragoman/pages/p2m.h>
#include <dragoman/base/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whose addresses a device is told, before its windows. */
enum dgm_dma_space {
    /* No IOMMU, or one that Xen keeps 1:1: machine addresses. (Xen lets the IOMMU pass each granted
     * frame at its machine address for as long as it is mapped.) */
    DGM_DMA_MACHINE,
    /* An IOMMU translates our guest-physical addresses: those. Where a frame lies in the machine is
     * then no matter: mask and windows are about guest-physical addresses. */
    DGM_DMA_GUEST_PHYSICAL,
};

/* One window of a device onto memory: bus = machine - machine_base + bus_base. For
 * DGM_DMA_GUEST_PHYSICAL read guest-physical for machine. */
struct dgm_dma_window {
    uint64_t machine_base; /* bytes, frame aligned */
    uint64_t bus_base;     /* bytes, frame aligned */
    uint64_t length;       /* bytes */
};

#define DGM_DMA_WINDOWS_MAX 4

struct dgm_dma_tag {
    struct dgm_dma_window windows[DGM_DMA_WINDOWS_MAX]; /* sorted, disjoint; from dma-ranges */
    size_t window_count; /* 0: bus address = machine address everywhere */
    uint64_t mask;       /* highest bus address the device can form */
    uint64_t boundary;   /* a segment never crosses a multiple of this power of two, at least a
                            block; 0: no such limit */
    uint32_t gap; /* NVMe PRPs: inner segments start and end on multiples; 0: none; at most 4096 */
    uint32_t alignment; /* of every segment's start; a power of two, at most 4096; 0, 1: none */
    uint32_t segment_bytes_max;  /* at least a block; 0: no limit */
    uint32_t segments_max;       /* in one transfer */
    uint32_t transfer_bytes_max; /* at least a block; 0: no limit */
    uint32_t block_bytes; /* the least that a prefix may be cut to; a power of two, at most 4096 */
    bool coherent;        /* the device sees the CPU's caches */
    enum dgm_dma_space space;
};

enum dgm_dma_direction {
    DGM_DMA_TO_DEVICE = 1,
    DGM_DMA_FROM_DEVICE = 2,
};

/* A stretch of the memory that is meant: within one frame. */
struct dgm_dma_piece {
    dgm_gfn_t gfn;
    uint16_t offset; /* bytes, below 4096 */
    uint16_t bytes;  /* 1 to 4096 - offset */
};

/* A stretch of what the device is told. */
struct dgm_dma_segment {
    dgm_bus_t bus;
    uint32_t bytes;
};

/*
 * What dgm_dma_map() is asked for. The bytes are those of the pieces, one after another, without
 * the first `skip_bytes`: what earlier maps of the same transfer have covered. The sum of the
 * pieces and `skip_bytes` are multiples of tag->block_bytes, and something remains.
 */
struct dgm_dma_transfer {
    const struct dgm_dma_tag *tag;
    const struct dgm_dma_piece *pieces; /* untouched until dgm_dma_unmap() */
    size_t piece_count;
    uint64_t skip_bytes;
    enum dgm_dma_direction direction;
    struct dgm_bounce_share *share; /* whose bounce buffers; NULL: our own use */
};

/* One mapped transfer. The caller's; opaque but for the first four members. */
struct dgm_dma_map {
    struct dgm_dma_segment *segments; /* the array that was given to dgm_dma_map() */
    uint32_t segment_count;
    uint32_t bytes;         /* mapped: a multiple of the tag's block */
    uint32_t bytes_bounced; /* of them */
    const struct dgm_dma_piece *pieces;
    uint32_t first, first_skip; /* where the transfer starts: piece, bytes into it */
    uint16_t bounced;           /* chain of bounce buffers */
    uint8_t direction;
    bool coherent;
};

/* Per bounce buffer: what it stands for. Indexed like the pool's buffers. */
struct dgm_dma_bounced {
    uint32_t at;          /* bytes from the start of the map */
    uint32_t piece, skip; /* from here in map->pieces */
    uint16_t offset;      /* in the buffer */
    uint16_t bytes;
    uint8_t cause;
};

/* How far an area of the bounce pool stretches, in frames: machine and guest-physical. */
struct dgm_dma_extent {
    uint64_t first[2], last[2]; /* by enum dgm_dma_space */
};

struct dgm_dma {
    struct dgm_p2m *p2m;
    struct dgm_bounce *bounce;
    struct dgm_cacheflush *flush; /* NULL: caches are maintained by address; may be set after init,
                                     while nothing is mapped */
    uint32_t flush_wary; /* maps to come that bounce foreign frames, after Xen refused to flush */
    struct dgm_dma_extent extents[DGM_BOUNCE_AREAS_MAX];
    struct dgm_dma_bounced bounced[DGM_BOUNCE_MAX];
    /* counters */
    uint64_t maps, segments;
    uint64_t bytes_local, bytes_foreign; /* by DMA straight to the frames */
    uint64_t bytes_bounced_reach;        /* beyond the device's mask or windows */
    uint64_t bytes_bounced_gap;          /* not expressible by the device */
    uint64_t bytes_bounced_line;  /* written beside others into one cache line, not coherent */
    uint64_t bytes_bounced_flush; /* Xen refused to maintain the caches for them */
    uint64_t cuts;                /* transfers shortened by the gap rule or the alignment */
    uint64_t syncs;
};

/* One per reactor. `bounce` has all its areas and is of the same reactor. */
void dgm_dma_init(struct dgm_dma *dma, struct dgm_p2m *p2m, struct dgm_bounce *bounce);

/*
 * Maps a prefix of `transfer` and returns its length in bytes, a multiple of the block. `segments`
 * has room for segments_max of the tag and stays untouched until dgm_dma_unmap(); `map` and it say
 * what to tell the device. With an error nothing is held:
 *   DGM_EAGAIN  no bounce buffer is free for transfer->share. One buffer is enough, so this is
 *               never because the pool is too small;
 *   DGM_EFAULT  a piece is no memory of ours (an empty slot);
 *   DGM_ERANGE  the device cannot reach the bounce buffers either.
 */
int dgm_dma_map(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                struct dgm_dma_segment *segments, struct dgm_dma_map *map);

/*
 * The device is done: bounced bytes are copied back (FROM_DEVICE, and `copy_back`), everything held
 * is released, and map->bytes and map->segment_count are 0. DGM_OK, or DGM_EIO: Xen refused to
 * maintain the caches for what the device wrote, so that a CPU may not see it: the transfer has
 * failed.
 */
int dgm_dma_unmap(struct dgm_dma *dma, struct dgm_dma_map *map, bool copy_back);

/*
 * Lends `bytes` bytes from byte `at` of a live map to the CPU, which then sees what the device has
 * written there (nothing to do for TO_DEVICE), and back to the device, which then sees what the CPU
 * has written. Exactly these bytes are copied where bounced. Caches know only lines: a line at an
 * end is cleaned before it is invalidated, so what a CPU wrote beside is never lost; but what the
 * device writes, at that very time, beside what a CPU writes in one line cannot be saved, so lend
 * whole lines while the device is running. Asserts: the bytes are mapped. DGM_EIO: as
 * dgm_dma_unmap().
 */
int dgm_dma_sync_for_cpu(struct dgm_dma *dma, const struct dgm_dma_map *map, uint32_t at,
                         uint32_t bytes);
int dgm_dma_sync_for_device(struct dgm_dma *dma, const struct dgm_dma_map *map, uint32_t at,
                            uint32_t bytes);

/*
 * The bus address of a local frame, for a driver's own queues. DGM_ERANGE: the device cannot reach
 * it. DGM_EFAULT: no memory of ours.
 */
int dgm_dma_local(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                  dgm_bus_t *bus);

#ifdef __cplusplus
}
#endif

#endif
