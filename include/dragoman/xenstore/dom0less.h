/* SPDX-License-Identifier: MIT */
/*
 * dom0less: a guest that Xen created at boot gets its xenstore
 *
 * Xen makes `xen,enhanced` guests with an event channel for xenstore but, before 4.21, without the
 * page: we raise the guest's memory limit by one frame, populate it, tell the guest where it is
 * (HVM_PARAM_STORE_PFN) and introduce it. From 4.21 on Xen has allocated the page already. The
 * nodes under /local/domain/<domid> that a guest expects are written first. Source: Xen's
 * tools/helpers/init-dom0less.c as the contract, docs/features/dom0less.
 */
#ifndef DRAGOMAN_XENSTORE_DOM0LESS_H
#define DRAGOMAN_XENSTORE_DOM0LESS_H

#include <dragoman/hyper/domain.h>
#include <dragoman/pages/slot.h>
#include <dragoman/xenstore/xenstore.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_dom0less_guest {
    domid_t domid;
    char name[32];
    uint64_t memory_kib; /* in xenstore's words */
    uint32_t vcpus;
    dgm_gfn_t page; /* our slot that shows its xenstore page; DGM_GFN_NONE: not introduced */
};

/*
 * DGM_OK: the guest is enhanced and its nodes are written; the caller may add devices, then
 * introduce. DGM_ESRCH: no such domain. DGM_ENODEV: not an enhanced guest. DGM_ENOSPC: xenstore is
 * full. On an error no node is left behind.
 */
int dgm_dom0less_prepare(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs, domid_t domid,
                         const char *name);

/* Makes or finds the page and starts to serve. DGM_OK, or Xen's or dgm_xs_introduce()'s error:
 * nothing is held, and the log says which step failed. */
int dgm_dom0less_introduce(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs,
                           struct dgm_slot_cache *slots);

/* Ends xenstore for the guest, unmaps its page and removes its nodes. */
void dgm_dom0less_release(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs,
                          struct dgm_slot_cache *slots);

#ifdef __cplusplus
}
#endif

#endif
