/* SPDX-License-Identifier: MIT */
/*
 * dom0less: introduces a guest that Xen created at boot to xenstore
 *
 * Xen creates `xen,enhanced` guests with an event channel for xenstore but, before 4.21, without
 * the page. For those, introduction raises the guest's memory limit by one frame, populates the
 * frame and publishes its number in HVM_PARAM_STORE_PFN. Xen 4.21 and later allocate the page
 * themselves. The nodes under /local/domain/<domid> that a guest expects are written first. Source:
 * Xen's tools/helpers/init-dom0less.c as the contract, docs/features/dom0less.
 */
#ifndef DRAGOMAN_XENSTORE_DOM0LESS_H
#define DRAGOMAN_XENSTORE_DOM0LESS_H

#include <dragoman/hyper/domain.h>
#include <dragoman/pages/slot.h>
#include <dragoman/xenstore/xenstore.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Other rooms use `domid`, `name`; the rest is xenstore's own. */
struct dgm_dom0less_guest {
    domid_t domid;
    char name[32];
    uint64_t memory_kib; /* 0, also vcpus: Xen does not report it */
    uint32_t vcpus;
    bool populated; /* a frame for its page was added */
    bool retried;   /* an introduction failed, which was logged */
    dgm_gfn_t page; /* our slot, where its xenstore page is mapped; DGM_GFN_NONE: not introduced */
};

/*
 * DGM_OK: the guest is enhanced and its nodes are written; the caller may add devices, then
 * introduces it. DGM_ESRCH: no such domain. DGM_ENODEV: not an enhanced guest. DGM_ENOSPC: xenstore
 * is full. DGM_EAGAIN: Xen does not report it at this moment; retry later. An error leaves no
 * node.
 */
int dgm_dom0less_prepare(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs, domid_t domid,
                         const char *name);

/* Creates or finds the page and starts the service. DGM_EAGAIN: Xen or Dragoman lacks a resource,
 * or Xen failed for a cause that is not the guest's; retry later. Any other error, of Xen or of
 * dgm_xs_introduce(), is final. After an error only the frame for the page is held, and the log
 * names the step that failed. */
int dgm_dom0less_introduce(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs,
                           struct dgm_slot_cache *slots);

/* Ends the service for the guest, unmaps its page and removes its nodes. */
void dgm_dom0less_release(struct dgm_dom0less_guest *guest, struct dgm_xenstore *xs,
                          struct dgm_slot_cache *slots);

#ifdef __cplusplus
}
#endif

#endif
