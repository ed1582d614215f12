/* SPDX-License-Identifier: MIT */
/* hyper/internal: what only hyper/ and its tests use of its files. */
#ifndef HYPER_INTERNAL_H
#define HYPER_INTERNAL_H

#include <dragoman/hyper/maptrack.h>
#include <dragoman/hyper/ring.h>
#include <dragoman/hyper/xen_status.h>
#include <xen/xen.h>

struct xen_domctl;

/* Calls a domctl with the version that Xen takes, found at the first call. */
int dgm_domctl(struct xen_domctl *op, uint32_t command, domid_t domid);
/* That version; 0: Xen takes none that is known. */
uint32_t dgm_domctl_version(void);

/* The meaning of the status of one grant operation: GNTST_*, 0 or negative. */
enum dgm_xen_meaning dgm_xen_grant_meaning(int16_t status);

/* "GNTST_no_space"; NULL for a number without a name. */
const char *dgm_xen_grant_status_name(int16_t status);

/* Requests taken and not yet responded to. */
static inline uint32_t dgm_ring_outstanding(const struct dgm_ring *ring)
{
    return ring->consumed - ring->responded;
}

/* The number of mappings by Xen's arguments, for one vCPU of ours that maps. Pure. */
uint64_t dgm_maptrack_by_arguments(const char *arguments);

#endif
