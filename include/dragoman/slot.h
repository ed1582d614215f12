/* SPDX-License-Identifier: MIT */
/*
 * slot: guest frames of ours where foreign frames can appear
 *
 * A slot is a hole in our guest-physical space: unpopulated (Xen's extended regions) or ballooned
 * out (our own RAM given up, see balloon.h). The window of slots is fixed at init. Slots are taken
 * lowest first, so that a batch gets an ascending run and neighbours can merge. Giving costs O(1),
 * taking a load per 4,096 slots of the window (a two-level bitmap). Where a foreign mapping could
 * not be undone its slot is retired: never used again, and counted.
 */
#ifndef DRAGOMAN_SLOT_H
#define DRAGOMAN_SLOT_H

#include <dragoman/addr.h>

#define DGM_SLOTS_DEFAULT 32768u

struct dgm_slots {
    struct dgm_gfn_range window;
    uint64_t *free_map;    /* a bit per slot: free */
    uint64_t *retired_map; /* a bit per slot: retired */
    uint64_t *free_some;   /* a bit per word of free_map: not all taken */
    uint64_t free, taken, retired;
    uint64_t taken_max; /* high-water mark */
};

size_t dgm_slots_bytes(uint64_t slots);

/* All slots of `window` are free. `memory`: dgm_slots_bytes(window.count), 8-byte aligned, stays
 * ours. */
int dgm_slots_init(struct dgm_slots *slots, struct dgm_gfn_range window, void *memory);

/* Takes the lowest free slot. DGM_EAGAIN: none is free. */
int dgm_slot_take(struct dgm_slots *slots, dgm_gfn_t *gfn);

/* Asserts: `gfn` is a taken slot of the window. */
void dgm_slot_give(struct dgm_slots *slots, dgm_gfn_t gfn);
void dgm_slot_retire(struct dgm_slots *slots, dgm_gfn_t gfn);

/* free + taken + retired == window, and the bitmaps agree. O(window). */
void dgm_slots_check(const struct dgm_slots *slots);

#endif
