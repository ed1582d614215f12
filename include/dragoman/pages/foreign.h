/* SPDX-License-Identifier: MIT */
/*
 * foreign: a guest's frame mapped by its own gfn, without a grant
 *
 * Xen allows this to the hardware domain only (XENMEM_add_to_physmap_batch, space gmfn_foreign). It
 * is used for a guest's xenstore page and console, and to write a new guest's memory. Xen holds a
 * page reference while the frame is mapped, so the frame cannot get another use meanwhile. It is
 * not published in the p2m: no device may reach it.
 */
#ifndef DRAGOMAN_PAGES_FOREIGN_H
#define DRAGOMAN_PAGES_FOREIGN_H

#include <dragoman/pages/slot.h>
#include <xen/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Maps the frame `remote` of `domid` at a slot, and stores the slot in `local`. DGM_EAGAIN: no slot
 * is free. Otherwise negative: Xen's error. */
int dgm_foreign_map(struct dgm_slot_cache *slots, domid_t domid, dgm_gfn_t remote,
                    dgm_gfn_t *local);

/* The most frames of one dgm_foreign_map_at(). */
#define DGM_FOREIGN_BATCH_MAX 16u

/* A run of frames of a domain. */
struct dgm_foreign_run {
    domid_t domid;
    dgm_gfn_t first;
    unsigned count; /* 1 to DGM_FOREIGN_BATCH_MAX */
};

/*
 * Maps the frames of `run` at `slots`, one at each, which the caller has taken; what was mapped
 * there is unmapped by that. Sets bit i of `*mapped` if the mapping at slots[i] was made, and
 * leaves it as it was otherwise. Returns DGM_OK if all were made, else Xen's error.
 */
int dgm_foreign_map_at(const dgm_gfn_t *slots, struct dgm_foreign_run run, uint32_t *mapped);

/* Unmaps the frame at `local`. If Xen refuses, the slot is retired. */
void dgm_foreign_unmap(struct dgm_slot_cache *slots, dgm_gfn_t local);

#ifdef __cplusplus
}
#endif

#endif
