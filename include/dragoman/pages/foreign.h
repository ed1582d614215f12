/* SPDX-License-Identifier: MIT */
/*
 * foreign: a guest's frame mapped by its own gfn, without a grant
 *
 * Only the hardware domain may (XENMEM_add_to_physmap_batch, space gmfn_foreign). Used for a
 * guest's xenstore page. Xen holds a page reference while it is mapped, so the frame cannot be
 * reused under us. The frame is not published in the p2m: no device may reach it.
 */
#ifndef DRAGOMAN_PAGES_FOREIGN_H
#define DRAGOMAN_PAGES_FOREIGN_H

#include <dragoman/pages/slot.h>
#include <xen/xen.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Maps `remote` of `domid` at a slot. Negative: Xen's refusal,
 * or DGM_EAGAIN without a free slot. */
int dgm_foreign_map(struct dgm_slot_cache *slots, domid_t domid, dgm_gfn_t remote,
                    dgm_gfn_t *local);

/* Unmaps; if Xen refuses, the slot is retired. */
void dgm_foreign_unmap(struct dgm_slot_cache *slots, dgm_gfn_t local);

#ifdef __cplusplus
}
#endif

#endif
