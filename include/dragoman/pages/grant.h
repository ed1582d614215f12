/* SPDX-License-Identifier: MIT */
/*
 * grant: guests' frames mapped, in batches
 *
 * A backend adds every segment of every request of one drain of its ring, then commits: one
 * hypercall maps them all. Each op's status is looked at; a failed op gives its slot back and says
 * why in its dgm_foreign; the others are published in the p2m. An op that Xen answers with "again"
 * (its page is being brought in) is parked until dgm_grant_map_retry(), a bounded number of times;
 * nobody sleeps on it. Unmapping is batched in the same way: added when a request is complete,
 * committed before the responses are published (a Linux frontend counts a grant still in use as our
 * fault).
 *
 *   mapped - unmapped == live, at every moment between commits.
 *
 * An unmap that Xen refuses leaves a mapping that we no longer control: its slot is retired, it is
 * counted, and it stays in `live`. Source: xen/grant_table.h, GNTTABOP_map_grant_ref and
 * GNTTABOP_unmap_grant_ref. One dgm_grant per reactor. Backends go through reach.h, which chooses
 * among the ways to reach a frame.
 */
#ifndef DRAGOMAN_PAGES_GRANT_H
#define DRAGOMAN_PAGES_GRANT_H

#include <dragoman/pages/p2m.h>
#include <dragoman/pages/slot.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_GRANT_BATCH 512 /* ops in one hypercall */
#define DGM_GRANT_TRIES 12  /* times that an op answered with "again" is asked */

/* One foreign frame. The caller's; between map and unmap only dgm_grant writes it. */
struct dgm_foreign {
    dgm_gfn_t gfn; /* where it is mapped: our slot, or gfn == mfn; valid while status is DGM_OK */
    dgm_mfn_t mfn; /* what Xen says stands behind it (dev_bus_addr) */
    struct dgm_quota *quota; /* whom the slot is charged to; NULL: nobody */
    uint32_t handle;         /* Xen's, for the unmap */
    int status; /* DGM_OK: mapped. DGM_EAGAIN: not (yet) mapped. DGM_EPERM: Xen refused the
                   reference */
};

struct dgm_grant {
    struct dgm_p2m *p2m;
    struct dgm_slot_cache *slots;
    /* what was added and not committed */
    struct gnttab_map_grant_ref map[DGM_GRANT_BATCH];
    struct dgm_foreign *map_of[DGM_GRANT_BATCH];
    uint8_t map_tries[DGM_GRANT_BATCH];
    size_t map_count;
    size_t map_parked; /* the first ops: wait for dgm_grant_map_retry() */
    struct gnttab_unmap_grant_ref unmap[DGM_GRANT_BATCH];
    struct dgm_quota *unmap_quota[DGM_GRANT_BATCH];
    size_t unmap_count;
    uint64_t mapped, unmapped, live, live_max; /* frames */
    uint64_t map_refused, unmap_refused;       /* ops with a final bad status */
    uint64_t map_retries; /* ops that Xen answered with GNTST_eagain, counted each time */
    uint64_t batches;     /* hypercalls */
};

void dgm_grant_init(struct dgm_grant *grant, struct dgm_p2m *p2m, struct dgm_slot_cache *slots);

/*
 * Adds one reference of `domid` to the batch, at a slot that was reserved for `quota`
 * (dgm_slot_reserve; NULL: nobody's). Commits first if the batch is full. Until it is final
 * foreign->status is DGM_EAGAIN.
 */
void dgm_grant_map_add(struct dgm_grant *grant, struct dgm_foreign *foreign,
                       struct dgm_quota *quota, domid_t domid, grant_ref_t ref, bool readonly);

/* The same at a place outside the slot window, where nothing is mapped: gfn == mfn.
 * See identity.h. */
void dgm_grant_map_add_at(struct dgm_grant *grant, struct dgm_foreign *foreign, dgm_gfn_t gfn,
                          domid_t domid, grant_ref_t ref, bool readonly);

/*
 * One hypercall for all that was added (none: no hypercall). Then every status is final but those
 * of ops that Xen wants to be asked again: DGM_EAGAIN still, and counted in map_parked.
 */
void dgm_grant_map_commit(struct dgm_grant *grant);

/* A commit that asks again for what is parked, too. */
void dgm_grant_map_retry(struct dgm_grant *grant);

/* Adds a mapped frame to the unmap batch, committing first if that is full. Asserts: mapped, no DMA
 * in flight. From here on nobody may use the frame, and `foreign` is the caller's again. */
void dgm_grant_unmap_add(struct dgm_grant *grant, struct dgm_foreign *foreign);
void dgm_grant_unmap_commit(struct dgm_grant *grant);

/* Nothing added and not committed, and the conservation law holds. */
void dgm_grant_check(const struct dgm_grant *grant);

#ifdef __cplusplus
}
#endif

#endif
