/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/domctl: the toolstack's side of the simulated Xen
 *
 * getdomaininfo, max_mem and destroydomain, as Xen 4.17 to 4.20 answer them. They differ in the
 * interface version that they take (any other: -EACCES) and in what getdomaininfo says of a domain
 * that is not there: before 4.18 it answers with the next one there is.
 */
#ifndef SIM_HYPERVISOR_DOMCTL_H
#define SIM_HYPERVISOR_DOMCTL_H

#include <stdint.h>
#include <xen/xen.h>

enum dgm_hv_domctl {
    DGM_HV_DOMCTL_4_17 = 0x15,
    DGM_HV_DOMCTL_4_18 = 0x16,
    DGM_HV_DOMCTL_4_20 = 0x17, /* and 4.19, 4.21 */
};

/* Which Xen it is; after dgm_hv_start(), which makes it the newest. */
void dgm_hv_set_domctl(enum dgm_hv_domctl version);

/* The guest shuts itself down, SHUTDOWN_*; it stays until it is destroyed. */
void dgm_hv_domain_shutdown(domid_t domid, uint8_t reason);

/* How many frames it has, and how many it may have. A new domain has all that it may. */
uint64_t dgm_hv_pages(domid_t domid);
uint64_t dgm_hv_pages_max(domid_t domid);

#endif
