/* SPDX-License-Identifier: MIT */
/*
 * dma: the bus addresses by which a device reaches the memory of a transfer
 *
 * A tag describes what one device can do. A transfer is a list of pieces of memory. A map is a
 * prefix of a transfer, prepared for a device as a list of segments. Mapping
 *   - translates: guest frame -> machine frame -> bus address in the device's window;
 *   - splits where machine frames are not adjacent, and merges where they are;
 *   - ends the map where the device's gap rule demands it;
 *   - bounces the parts, and only those, that the device cannot reach or cannot express.
 * The map records where each part comes from; nothing is concluded from an address later.
 *
 * Mapping never fails for lack of memory. It maps a prefix of at least one device block, or returns
 * DGM_EAGAIN; then the caller waits for a bounce buffer:
 * dgm_waiters_add(&dma->bounce->waiters, task). A long transfer is a loop: map a prefix, submit it,
 * map the rest.
 *
 * Directions are seen from the device: TO_DEVICE is read by it, FROM_DEVICE written by it. For a
 * non-coherent device the memory belongs to the device from map to unmap. During a long map
 * dgm_dma_sync_for_cpu() and dgm_dma_sync_for_device() lend some bytes to the CPU and back.
 *
 * Caches are maintained by virtual address, where we have the memory mapped. With dgm_dma.flush
 * set, Xen maintains them for foreign frames, by machine address, in one hypercall per map; where
 * Xen refuses, the foreign parts are bounced.
 */
#ifndef DRAGOMAN_DMA_DMA_H
#define DRAGOMAN_DMA_DMA_H

#include <dragoman/dma/bounce.h>
#include <dragoman/dma/cacheflush.h>
#include <dragoman/pages/p2m.h>
#include <dragoman/base/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which addresses a device uses, before its windows. */
enum dgm_dma_space {
    /* Machine addresses: no IOMMU, or one that Xen keeps 1:1. (Xen lets the IOMMU pass each granted
     * frame at its machine address while it is mapped.) */
    DGM_DMA_MACHINE,
    /* Our guest-physical addresses: an IOMMU translates them. Mask and windows of the tag are then
     * about guest-physical addresses. */
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
    uint32_t gap; /* between two segments, the one ends and the next starts on a multiple of it
                     (NVMe PRPs); a power of two, at most 4096; 0: no such rule */
    uint32_t alignment; /* of every segment's start; a power of two, at most 4096; 0, 1: none */
    uint32_t segment_bytes_max;  /* at least a block; 0: no limit */
    uint32_t segments_max;       /* in one transfer */
    uint32_t transfer_bytes_max; /* at least a block; 0: no limit */
    uint32_t block_bytes;        /* maps are whole blocks; a power of two, at most 4096 */
    bool coherent;               /* the device sees the CPU's caches */
    enum dgm_dma_space space;
};

enum dgm_dma_direction {
    DGM_DMA_TO_DEVICE = 1,
    DGM_DMA_FROM_DEVICE = 2,
};

/* A range of a transfer's memory, within one frame. */
struct dgm_dma_piece {
    dgm_gfn_t gfn;
    uint16_t offset; /* bytes, below 4096 */
    uint16_t bytes;  /* 1 to 4096 - offset */
};

/* What the device is given. */
struct dgm_dma_segment {
    dgm_bus_t bus;
    uint32_t bytes;
};

/*
 * The input of dgm_dma_map(). The bytes are those of the pieces, one after another, without the
 * first `skip_bytes`, which earlier maps of the same transfer have covered. The sum of the pieces
 * and `skip_bytes` are multiples of tag->block_bytes, and something remains.
 */
struct dgm_dma_transfer {
    const struct dgm_dma_tag *tag;
    const struct dgm_dma_piece *pieces; /* untouched until dgm_dma_unmap() */
    size_t piece_count;
    uint64_t skip_bytes;
    enum dgm_dma_direction direction;
    struct dgm_bounce_device *device; /* for bounce buffers; NULL: our own use */
    /* For a device that takes lists of pages (NVMe), if every piece is a whole frame: room for a
     * page for each piece. The map may then be such a list, in place of segments. NULL: segments
     * only. */
    dgm_bus_t *pages;
    /* The caller ensures that the frame of every piece stays mapped until after dgm_dma_unmap(), so
     * the map need not hold it. */
    bool held;
};

/* One mapped transfer. The caller's. Other rooms use `segments`, `segment_count`, `page_count`,
 * `bytes`, `bytes_bounced`; the rest is dma's own. */
struct dgm_dma_map {
    struct dgm_dma_segment *segments; /* the array that was given to dgm_dma_map() */
    uint32_t segment_count;
    uint32_t page_count;    /* > 0: the map is a list of so many frames, transfer->pages, and has no
                               segments */
    uint32_t bytes;         /* mapped: a multiple of the tag's block */
    uint32_t bytes_bounced; /* of them */
    const struct dgm_dma_piece *pieces;
    uint32_t first_piece, first_piece_offset; /* where the map starts: piece, bytes into it */
    uint32_t pieces_held;                     /* by dma/direct.c */
    uint16_t buffer_first; /* of its bounce buffers, in order of bytes, if it has any */
    uint8_t direction;
    bool coherent;
    bool direct; /* made by dma/direct.c, not by a plan */
    bool held_by_caller;
};

/* Other rooms use `bounce`, `flush` and the counters `maps`, `bytes_*`, `cuts`, `syncs`; the rest
 * is dma's own. */
struct dgm_dma {
    struct dgm_p2m *p2m;
    struct dgm_bounce *bounce;
    struct dgm_cacheflush *flush; /* NULL: caches are maintained by virtual address; may be set
                                     after init, while nothing is mapped */
    uint32_t flush_paused_maps;   /* how many of the next maps bounce foreign frames without asking
                                     Xen, because Xen has refused to maintain their caches */
    /* counters */
    uint64_t maps;
    uint64_t bytes_local, bytes_foreign; /* by DMA straight to the frames */
    uint64_t bytes_bounced_reach;        /* beyond the device's mask or windows */
    uint64_t bytes_bounced_gap;          /* not expressible by the device */
    uint64_t bytes_bounced_line;  /* in a cache line that the transfer shares with other data, for a
                                     device that is not coherent */
    uint64_t bytes_bounced_flush; /* Xen refused to maintain the caches for them */
    uint64_t cuts; /* maps that ended early because of the gap rule or the alignment */
    uint64_t syncs;
};

/* One per reactor. `bounce` is of the same reactor and has all its areas. */
void dgm_dma_init(struct dgm_dma *dma, struct dgm_p2m *p2m, struct dgm_bounce *bounce);

/*
 * A new device with `tag`, of the guest with `share`: gets its minimum of the bounce buffers that
 * it reaches (bounce.h); end it with dgm_bounce_device_end(). DGM_ENOSPC: none is left. Asserts the
 * constraints that are stated at the members of the tag.
 */
int dgm_dma_device_begin(struct dgm_dma *dma, struct dgm_bounce_device *device,
                         struct dgm_bounce_share *share, const struct dgm_dma_tag *tag);

/*
 * Maps a prefix of `transfer` and returns its length in bytes, a multiple of tag->block_bytes.
 * `segments` has room for segments_max of the tag and stays untouched until dgm_dma_unmap(), as
 * does transfer->pages, which may be the same memory; `map` describes what the device is to be
 * given. With an error nothing is held: DGM_EAGAIN  no bounce buffer is free for transfer->device.
 * One buffer is enough, so a pool that is too small is never the cause; DGM_EFAULT  a piece is not
 * our memory (an empty slot); DGM_ERANGE  the device cannot reach the bounce buffers either.
 */
int dgm_dma_map(struct dgm_dma *dma, const struct dgm_dma_transfer *transfer,
                struct dgm_dma_segment *segments, struct dgm_dma_map *map);

/*
 * Ends a map after the device has finished with it: copies bounced bytes back (FROM_DEVICE, and
 * `copy_back`), releases everything that is held, and sets map->bytes and map->segment_count to 0.
 * DGM_OK, or DGM_EIO: Xen refused to maintain the caches for what the device wrote, so a CPU may
 * not see it: the transfer has failed.
 */
int dgm_dma_unmap(struct dgm_dma *dma, struct dgm_dma_map *map, bool copy_back);

/*
 * for_cpu lends the bytes of `span` of a live map to the CPU, which then sees what the device has
 * written there (no effect for TO_DEVICE). for_device lends them to the device again, which then
 * sees what the CPU has written. Where the bytes are bounced, exactly these bytes are copied.
 * Caches work in lines: a line at either end is cleaned before it is invalidated, so no write of a
 * CPU beside the bytes is lost. If the device writes to a line at the same time as a CPU, one of
 * the two is lost; so whole lines are lent while the device runs. Asserts: the bytes are mapped.
 * DGM_EIO: as dgm_dma_unmap().
 */
int dgm_dma_sync_for_cpu(struct dgm_dma *dma, const struct dgm_dma_map *map, struct dgm_span span);
int dgm_dma_sync_for_device(struct dgm_dma *dma, const struct dgm_dma_map *map,
                            struct dgm_span span);

/*
 * The bus address of a local frame, for a driver's own queues. DGM_ERANGE: the device does not
 * reach it. DGM_EFAULT: it is not our memory.
 */
int dgm_dma_local(const struct dgm_p2m *p2m, const struct dgm_dma_tag *tag, dgm_gfn_t gfn,
                  dgm_bus_t *bus);

#ifdef __cplusplus
}
#endif

#endif
