/* SPDX-License-Identifier: MIT */
/*
 * dma_dram: dma_rig's machine with a device that does not see the CPU's caches
 *
 * The model: memory is what the CPU sees, plus, per frame, what is in DRAM. The device sees only
 * DRAM. A clean copies the CPU's bytes of whole lines there. A clean and invalidate does so for
 * lines that the CPU has written (all of them before the device runs, none of the device's after),
 * and then shows the CPU what DRAM has. DRAM starts with random bytes, so a byte that is not
 * maintained is wrong on one side or the other. Xen's cache maintenance by machine address
 * (dgm_dma.flush) acts on the same model.
 */
#ifndef DMA_DRAM_H
#define DMA_DRAM_H

#include "dma_rig.h"

#define LINE   64u
#define FRAMES 64u

extern struct dma_dram {
    struct dgm_dma_tag tag;
    dgm_gfn_t slot[FRAMES]; /* the guest's frames: some beyond the device's reach, some adjacent */
    struct dgm_dma_segment segments[64];
    struct dgm_dma_map map;
    struct dgm_cacheflush flush;
    bool device_has_run; /* maintenance is now "after" */
    uint64_t maintained; /* bytes */
    unsigned refuse;     /* the number of the next hypercalls for maintenance that are refused */
} dma_dram;

/* For cmocka: caches are maintained by virtual address; or, for foreign frames, by Xen. */
int dma_dram_start(void **state);
int dma_dram_start_flush(void **state);
int dma_dram_stop(void **state);

/* Maps for the device, which writes or reads. As dgm_dma_map(). */
int dma_dram_map(const struct dgm_dma_piece *pieces, size_t count, uint64_t skip, bool write);

/* The device has run: unmaps. */
void dma_dram_end(void);

/* DRAM at a byte of the map. */
unsigned char *dma_dram_device_byte(uint32_t at);

/* What the CPU sees at a byte of the pieces. */
unsigned char *dma_dram_cpu_byte(const struct dgm_dma_piece *pieces, uint32_t at);

/* Up to 21 pieces that do not overlap; lengths and offsets are multiples of `unit`, the sum is of
 * 512. Returns how many; `bytes`: the sum. */
size_t dma_dram_random_pieces(struct dgm_dma_piece *pieces, uint32_t unit, uint32_t *bytes);

/* --- tests for both kinds of maintenance --- */

void dma_dram_device_reads_what_was_written(void **state);
void dma_dram_guest_reads_what_the_device_wrote(void **state);
void dma_dram_transfers_never_share_a_line(void **state);
void dma_dram_lent_and_lent_back(void **state);

#endif
