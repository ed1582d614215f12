/* SPDX-License-Identifier: MIT */
/*
 * dma_twin: transfers compared with a naive twin, for the unit test and the fuzz target
 *
 * The twin knows the machine address of each byte of the transfer. Each byte of each bus segment
 * must have that address, or lie in a bounce buffer; the device's rules must hold; the device's
 * reads and writes must be correct, bounced or not; no resource may be held in the end. For devices
 * that reach everything the twin also knows how long the prefix must be: it tries every length from
 * the longest down, and builds segments byte by byte. The shares of three guests, and our own, take
 * turns; Xen may refuse to maintain caches; devices may be behind an IOMMU.
 */
#ifndef DMA_TWIN_H
#define DMA_TWIN_H

#include "dma_rig.h"

#define GUEST_FRAMES 256u
#define PIECES_MAX   48u
#define BYTES_MAX    (PIECES_MAX * 4096u)
#define SEGMENTS_MAX 64u
#define SHARES       3u

extern struct dma_twin {
    dgm_gfn_t slot[GUEST_FRAMES]; /* where guest frames are mapped, by the caller */
    uint64_t seed;                /* of a failure's message */
    unsigned trial;               /* the same */
    bool blocks;                  /* all pieces are multiples of 512 bytes */
    struct dgm_bounce_share shares[SHARES];
    struct dgm_bounce_device devices[SHARES]; /* one for each share */
    struct dgm_cacheflush flush;              /* for dma_rig.dma.flush */
    unsigned refused_percent;                 /* of the hypercalls for maintenance */
} dma_twin;

/* The transfer of the next run. */
extern struct dma_twin_transfer {
    struct dgm_dma_piece pieces[PIECES_MAX];
    size_t count;
    uint32_t bytes;
    uint64_t machine[BYTES_MAX];      /* per byte: its machine address, */
    dgm_gfn_t gfn[BYTES_MAX];         /* the frame of ours that it is in, */
    unsigned char *memory[BYTES_MAX]; /* where we see it, */
    unsigned char want[BYTES_MAX];    /* and its value in the end */
} dma_twin_transfer;

/* After dma_rig_start(): the shares and their devices, with minimums or without. */
void dma_twin_begin(bool minimums);

/* For dgm_hv_set_faults(): refuses cache maintenance in refused_percent of the calls. */
long dma_twin_refuse(void *context, uint64_t nth, unsigned op, unsigned command);

/* Appends a piece, which must not overlap another. */
void dma_twin_add_piece(dgm_gfn_t gfn, uint32_t offset, uint32_t bytes);

/* Appends a piece of a frame that no other piece uses, so that the sum is whole blocks. */
void dma_twin_fill_block(uint32_t block_bytes);

/* Maps all of the transfer, several maps in flight, unmapped in any order, and checks it all. */
void dma_twin_run(const struct dgm_dma_tag *tag, enum dgm_dma_direction direction);

#endif
