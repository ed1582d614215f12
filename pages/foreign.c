/* SPDX-License-Identifier: MIT */
/*
 * foreign: one frame per hypercall; one frame per guest exists, its xenstore page. See
 * dragoman/pages/foreign.h.
 */
#include <dragoman/pages/foreign.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/base/status.h>

#include <port/env.h>

#include <xen/memory.h>

int dgm_foreign_map(struct dgm_slot_cache *slots, domid_t domid, dgm_gfn_t remote, dgm_gfn_t *local)
{
    struct xen_add_to_physmap_batch batch = {
        .domid = DOMID_SELF, .space = XENMAPSPACE_gmfn_foreign, .size = 1};
    xen_ulong_t index = dgm_gfn_number(remote);
    xen_pfn_t gpfn;
    dgm_gfn_t slot;
    int error = DGM_EFAULT; /* unless Xen writes another status */
    long result;

    if (dgm_slot_reserve(slots, NULL, 1) != DGM_OK)
        return DGM_EAGAIN;
    slot = dgm_slot_take(slots);
    gpfn = (xen_pfn_t)dgm_gfn_number(slot);
    batch.u.foreign_domid = domid;
    set_xen_guest_handle(batch.idxs, &index);
    set_xen_guest_handle(batch.gpfns, &gpfn);
    set_xen_guest_handle(batch.errs, &error);
    result = dgm_memory_op(XENMEM_add_to_physmap_batch, &batch);
    if (result < 0 || error != 0) {
        dgm_slot_give(slots, NULL, slot);
        return result < 0 ? (int)result : error;
    }
    *local = slot;
    return DGM_OK;
}

void dgm_foreign_unmap(struct dgm_slot_cache *slots, dgm_gfn_t local)
{
    struct xen_remove_from_physmap remove = {.domid = DOMID_SELF,
                                             .gpfn = (xen_pfn_t)dgm_gfn_number(local)};
    long result;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES; tries++) {
        result = dgm_memory_op(XENMEM_remove_from_physmap, &remove);
        if (dgm_xen_call_meaning(DGM_XEN_CALL_OWN, result) == DGM_XEN_OK) {
            dgm_slot_give(slots, NULL, local);
            return;
        }
    }
    dgm_env_log("Xen: a foreign frame is not unmapped (error %ld): its slot is lost", result);
    dgm_slot_retire(slots, local);
}
