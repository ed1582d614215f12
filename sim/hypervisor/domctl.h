/* SPDX-License-Identifier: MIT */
/*
 * hypervisor/domctl: the toolstack's side of the simulated Xen
 *
 * getdomaininfo, max_mem and destroydomain, as in Xen 4.17 to 4.22. They differ in the interface
 * version that they accept (any other: -EACCES) and in what getdomaininfo returns for a domain that
 * does not exist: before 4.18, the next one that does.
 */
#ifndef SIM_HYPERVISOR_DOMCTL_H
#define SIM_HYPERVISOR_DOMCTL_H

#include <stdint.h>
#include <xen/xen.h>

enum dgm_hv_domctl {
    DGM_HV_DOMCTL_4_17 = 0x15,
    DGM_HV_DOMCTL_4_18 = 0x16,
    DGM_HV_DOMCTL_4_20 = 0x17, /* and 4.19, 4.21 */
    DGM_HV_DOMCTL_4_22 = 0x18,
};

/* Selects Xen's version, after dgm_hv_start(), which selects the newest. */
void dgm_hv_set_domctl(enum dgm_hv_domctl version);

/* The guest shuts itself down, SHUTDOWN_*; it exists until it is destroyed. */
void dgm_hv_domain_shutdown(domid_t domid, uint8_t reason);

/* The number of frames that it has, and that it may have. A new domain has all of them. */
uint64_t dgm_hv_pages(domid_t domid);
uint64_t dgm_hv_pages_max(domid_t domid);

#endif
