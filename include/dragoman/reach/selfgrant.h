/* SPDX-License-Identifier: MIT */
/*
 * selfgrant: measurements at start, by grants of our own frames to ourselves
 *
 * Xen maps our own grant in the same way as a guest's. So before any guest exists Dragoman measures
 * the cost of reaching a frame on this machine, to choose between mapping and copying; and it
 * learns the machine frames of its own RAM where Dom0 is not mapped 1:1 (cache colouring).
 *
 * Needs one frame of our own grant table, which the embedder maps (XENMEM_add_to_physmap, space
 * grant_table) at an address that the CPU can write. Entries are version 1. Used only while the
 * domain starts. Source: xen/grant_table.h.
 */
#ifndef DRAGOMAN_REACH_SELFGRANT_H
#define DRAGOMAN_REACH_SELFGRANT_H

#include <dragoman/base/addr.h>
#include <dragoman/pages/slot.h>

#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Other rooms use `table`; the rest is reach's own. */
struct dgm_selfgrant {
    struct grant_entry_v1 *table; /* 512 entries, the first 8 reserved; flags 0: free */
    domid_t self;                 /* our domain's number: Xen refuses DOMID_SELF for a map */
    struct dgm_slot_cache *slots;
};

/* The cost of reaching one frame, in 1/1024 of a nanosecond of dgm_env_now_ns(). */
struct dgm_reach_costs {
    uint64_t map;        /* mapping and unmapping it */
    uint64_t copy;       /* copying its 4,096 bytes by Xen, in one direction */
    uint64_t guest_copy; /* the same without Xen, as a guest does for a persistent grant */
};

/*
 * Measures them on a batch of `count` local frames, 2 to 32 and all different, and takes the best
 * of several rounds, as another domain may run during a round. The contents of the frames are lost.
 * DGM_EAGAIN: no slots. DGM_EPERM: Xen refuses. No frame stays granted or mapped, except one that
 * Xen refuses to unmap: its slot is retired and its entry of the table is not used again.
 */
int dgm_selfgrant_measure(const struct dgm_selfgrant *self, const dgm_gfn_t *frames, size_t count,
                          struct dgm_reach_costs *costs);

/*
 * Learns the machine frames behind `range` of our own RAM: mfns[i] for its frame i, which is
 * granted read-only for that. DGM_EPERM and DGM_EAGAIN: as above.
 */
int dgm_selfgrant_learn(const struct dgm_selfgrant *self, struct dgm_gfn_range range,
                        uint64_t *mfns);

#ifdef __cplusplus
}
#endif

#endif
