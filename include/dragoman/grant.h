/* SPDX-License-Identifier: MIT */
/*
 * grant: guests' frames mapped into slots, in batches
 *
 * A backend adds every segment of every request of one drain of its ring, then commits: one
 * hypercall maps them all. Each op's status is looked at; a failed op gives its slot back and says
 * why in its dgm_foreign; the others are published in the p2m. Unmapping is batched in the same
 * way: added when a request is complete, committed before the responses are published (a Linux
 * frontend counts a grant still in use as our fault).
 *
 *   mapped - unmapped == live, at every moment between commits.
 *
 * An unmap that Xen refuses leaves a mapping that we no longer control: its slot is retired, it is
 * counted, and it stays in `live`. Source: xen/grant_table.h, GNTTABOP_map_grant_ref and
 * GNTTABOP_unmap_grant_ref. One dgm_grant per reactor.
 */
#ifndef DRAGOMAN_GRANT_H
#define DRAGOMAN_GRANT_H

#include <dragoman/p2m.h>
#include <dragoman/slot.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#define DGM_GRANT_BATCH 512 /* ops in one hypercall */

/* One foreign frame. The caller's; between map and unmap only dgm_grant writes it. */
struct dgm_foreign {
    dgm_gfn_t gfn;   /* our slot; valid while status is DGM_OK */
    dgm_mfn_t mfn;   /* what Xen says stands behind it (dev_bus_addr) */
    uint32_t handle; /* Xen's, for the unmap */
    int status;      /* DGM_OK: mapped. DGM_EAGAIN: not (yet) mapped. DGM_EPERM: Xen refused the
                        reference */
};

struct dgm_grant {
    struct dgm_p2m *p2m;
    struct dgm_slots *slots;
    struct gnttab_map_grant_ref map[DGM_GRANT_BATCH];
    struct dgm_foreign *map_of[DGM_GRANT_BATCH];
    size_t map_count;
    struct gnttab_unmap_grant_ref unmap[DGM_GRANT_BATCH];
    size_t unmap_count;
    uint64_t mapped, unmapped, live, live_max; /* frames */
    uint64_t map_refused, unmap_refused;       /* ops with a bad status */
    uint64_t batches;                          /* hypercalls */
};

void dgm_grant_init(struct dgm_grant *grant, struct dgm_p2m *p2m, struct dgm_slots *slots);

/*
 * Adds one reference of `domid` to the batch. DGM_EAGAIN: no slot is free, or the batch is full
 * (commit first); nothing was added. Until the commit foreign->status is DGM_EAGAIN.
 */
int dgm_grant_map_add(struct dgm_grant *grant, struct dgm_foreign *foreign, domid_t domid,
                      grant_ref_t ref, bool readonly);

/* One hypercall for all that was added; every foreign->status is then final. Nothing added: no
 * hypercall. */
void dgm_grant_map_commit(struct dgm_grant *grant);

/* Adds a mapped frame to the unmap batch, committing first if that is full. Asserts: mapped, no DMA
 * in flight. From here on nobody may use the frame, and `foreign` is the caller's again. */
void dgm_grant_unmap_add(struct dgm_grant *grant, struct dgm_foreign *foreign);
void dgm_grant_unmap_commit(struct dgm_grant *grant);

/* Batches empty, and the conservation law holds. */
void dgm_grant_check(const struct dgm_grant *grant);

#endif
