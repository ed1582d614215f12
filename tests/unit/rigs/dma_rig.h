/* SPDX-License-Identifier: MIT */
/*
 * dma_rig: a machine for the dma tests
 *
 * Our RAM is the gfns from RAM on, at the machine frames RAM + `colour`; the slots are the gfns
 * from SLOT on. A guest's frames are put at machine frames of the test's choice and mapped by
 * grants. A device is any caller of dma_rig_byte(): it reaches memory by bus address only, through
 * the tag's windows.
 */
#ifndef DMA_RIG_H
#define DMA_RIG_H

#include "unit.h"

#include <dragoman/dma/dma.h>
#include <dragoman/pages/grant.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>

#define GUEST      1
#define RAM        0x40000ull
#define RAM_FRAMES 1200u
#define SLOT       0x800000ull
#define SLOTS      1024u
#define POOL       (RAM + 100) /* the first bounce buffer */

extern struct dma_rig {
    struct dgm_p2m p2m;
    struct dgm_slots store;
    struct dgm_slot_cache slots;
    struct dgm_grant grant;
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_bounce bounce;
    struct dgm_dma dma;
    uint64_t p2m_memory[SLOTS * 2], store_memory[SLOTS / 8], slot_memory[8];
    uint64_t bounce_memory[RAM_FRAMES * 8];
    struct dgm_foreign foreign[SLOTS];
    size_t foreign_count;
    uint64_t colour; /* mfn - gfn of our RAM */
} dma_rig;

/* A machine with `buffers` bounce buffers and no guest's frame mapped. */
void dma_rig_start(uint64_t colour, uint16_t buffers);

/* Unmaps all guests' frames, of which no DMA may hold any. */
void dma_rig_stop(void);

/* Maps the guest's frame `gfn`, put at machine frame `mfn`, at the next slot. */
dgm_gfn_t dma_rig_foreign(uint64_t gfn, uint64_t mfn);

/* Nothing is held: neither slots nor buffers. */
void dma_rig_check_idle(void);

/* The machine address that a device reaches at `bus`, as the hardware does it: by its windows, and
 * by its IOMMU if its addresses are our guest-physical ones. */
uint64_t dma_rig_machine(const struct dgm_dma_tag *tag, uint64_t bus);

/* The byte there. Fails if the device may not access it. */
unsigned char *dma_rig_byte(const struct dgm_dma_tag *tag, uint64_t bus, bool write);

/* Whether a machine address is in a bounce buffer. */
bool dma_rig_is_buffer(uint64_t machine);

#endif
