/* SPDX-License-Identifier: MIT */
/*
 * selfgrant: what we learn at start by granting frames of our own to ourselves
 *
 * Xen answers a map of our own grant as it answers a guest's, so before any guest is there we can
 * measure what reaching a frame costs on this machine (to choose between mapping and copying), and
 * learn the machine frames of our own RAM when Dom0 is not mapped 1:1 (cache colouring).
 *
 * Needs our own grant table: one frame of it, mapped by the embedder (XENMEM_add_to_physmap, space
 * grant_table) at an address that the CPU can write. Entries are version 1. Only while starting.
 * Source: xen/grant_table.h.
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

struct dgm_selfgrant {
    struct grant_entry_v1 *table; /* 512 entries; the first 8 are reserved; one not 0 is in use */
    domid_t self;                 /* our domain's number; DOMID_SELF is refused by map */
    struct dgm_slot_cache *slots;
};

/* What reaching one frame costs, in nanoseconds of dgm_env_now_ns() times 1,024. */
struct dgm_reach_costs {
    uint64_t map;  /* map, and unmap again */
    uint64_t copy; /* copying 4,096 bytes, one way */
};

/*
 * Measures both ways on `count` local frames, 2 to 32 and all different, a batch at a time, and
 * takes the best of several rounds (another domain may have run in between). What the frames hold
 * is lost. DGM_EAGAIN: no slots. DGM_EPERM: Xen refuses; nothing is left granted or mapped, but for
 * what Xen refuses to unmap: that slot is retired, and its entry of the table not used again.
 */
int dgm_selfgrant_measure(const struct dgm_selfgrant *self, const dgm_gfn_t *frames, size_t count,
                          struct dgm_reach_costs *costs);

/*
 * Asks Xen for the machine frames behind `range` of our own RAM: mfns[i] for each frame, which is
 * granted read-only for that. DGM_EPERM: Xen refuses one, as above; DGM_EAGAIN: no slots.
 */
int dgm_selfgrant_learn(const struct dgm_selfgrant *self, struct dgm_gfn_range range,
                        uint64_t *mfns);

#ifdef __cplusplus
}
#endif

#endif
