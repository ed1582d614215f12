/* SPDX-License-Identifier: MIT */
/* foreign: see dragoman/pages/foreign.h. */
#include <dragoman/pages/foreign.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <port/env.h>

#include <xen/memory.h>

int dgm_foreign_map_at(const dgm_gfn_t *slots, struct dgm_foreign_run run, uint32_t *mapped)
{
    struct xen_add_to_physmap_batch batch = {.domid = DOMID_SELF,
                                             .space = XENMAPSPACE_gmfn_foreign,
                                             .size = (uint16_t)run.count,
                                             .u.foreign_domid = run.domid};
    xen_ulong_t frames[DGM_FOREIGN_BATCH_MAX];
    xen_pfn_t gpfns[DGM_FOREIGN_BATCH_MAX];
    int errors[DGM_FOREIGN_BATCH_MAX];
    long result;

    dgm_assert(run.count >= 1 && run.count <= DGM_FOREIGN_BATCH_MAX);
    for (unsigned i = 0; i < run.count; i++) {
        frames[i] = dgm_gfn_number(run.first) + i;
        gpfns[i] = (xen_pfn_t)dgm_gfn_number(slots[i]);
        errors[i] = DGM_EFAULT; /* unless Xen writes another status */
    }
    set_xen_guest_handle(batch.idxs, frames);
    set_xen_guest_handle(batch.gpfns, gpfns);
    set_xen_guest_handle(batch.errs, errors);
    result = dgm_memory_op(XENMEM_add_to_physmap_batch, &batch);
    for (unsigned i = 0; i < run.count; i++)
        if (errors[i] == 0)
            *mapped |= 1u << i;
        else if (result == 0)
            result = errors[i];
    return (int)result;
}

int dgm_foreign_map(struct dgm_slot_cache *slots, domid_t domid, dgm_gfn_t remote, dgm_gfn_t *local)
{
    uint32_t mapped = 0;
    dgm_gfn_t slot;
    int result;

    if (dgm_slot_reserve(slots, NULL, 1) != DGM_OK)
        return DGM_EAGAIN;
    slot = dgm_slot_take(slots);
    result = dgm_foreign_map_at(&slot, (struct dgm_foreign_run){domid, remote, 1}, &mapped);
    if (result != DGM_OK) {
        if (mapped)
            dgm_foreign_unmap(slots, slot);
        else
            dgm_slot_give(slots, NULL, slot);
        return result;
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
