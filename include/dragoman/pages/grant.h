/* SPDX-License-Identifier: MIT */
/*
 * grant: guests' frames mapped by their grants, in batches
 *
 * A backend adds every segment of every request of one drain of its ring, then commits: one
 * hypercall maps them all. Each op has its own status (xen_status.h says what each means). The
 * frames of successful ops are published in the p2m. An op that Xen refuses returns its slot. An op
 * that may still succeed is parked until dgm_grant_map_retry(); no function waits for it:
 *
 *   RETRY, UNKNOWN   (GNTST_eagain: the page is being paged in) is retried for a bounded time
 *                    (dgm_xen_patience_ends()). It delays no other op.
 *   SHORT            (GNTST_no_space: our maptrack table in Xen is full) waits for unmaps of ours.
 *                    From the first such op on, ops are mapped strictly in the order of addition,
 *                    and later ones are parked behind it. So two requests never each hold a part of
 *                    their frames: the oldest one gets all room that is released. If neither a map
 *                    nor an unmap succeeds during DGM_GRANT_SHORT_TRIES attempts, and no frame has
 *                    DMA in flight, the oldest op fails: it needs more than Xen has.
 *
 * Unmapping is batched in the same way: the caller adds a frame when its request is complete, and
 * commits before it publishes the responses (a Linux frontend reports a grant that is still in use
 * after the response as a backend's fault).
 *
 *   mapped - unmapped == live, at every moment between commits.
 *
 * An unmap that Xen did not reach is retried immediately. One that Xen refuses leaves a mapping
 * that we cannot undo: its slot is retired, the op is counted, and the frame stays in `live`.
 * Source: xen/grant_table.h, GNTTABOP_map_grant_ref and GNTTABOP_unmap_grant_ref. One dgm_grant per
 * reactor. Backends use reach.h, which chooses among the modes, instead of calling this module.
 */
#ifndef DRAGOMAN_PAGES_GRANT_H
#define DRAGOMAN_PAGES_GRANT_H

#include <dragoman/hyper/xen_status.h>
#include <dragoman/pages/p2m.h>
#include <dragoman/pages/slot.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_GRANT_BATCH       512 /* ops in one hypercall */
#define DGM_GRANT_SHORT_TRIES 128 /* attempts without progress while Xen has no room */
#define DGM_GRANT_STUCK_TRIES 8   /* attempts before half-mapped requests return frames (reach.h) */

/* A guest's frame, and the access that is wanted. */
struct dgm_guest_grant {
    grant_ref_t ref;
    domid_t domid;
    bool readonly;
};

/* One foreign frame. The caller owns it; between map and unmap only dgm_grant writes it. Other
 * rooms use `gfn`, `mfn`, `status`, and `patience` where a frame is copied instead; the rest is
 * pages' own. */
struct dgm_foreign {
    dgm_gfn_t gfn; /* where it is mapped: our slot, or gfn == mfn; valid while status is DGM_OK */
    dgm_mfn_t mfn; /* the machine frame behind it, as Xen reports it (dev_bus_addr) */
    struct dgm_quota *quota; /* that the slot is charged to; NULL: none */
    uint32_t handle;         /* of Xen, for the unmap */
    /* DGM_OK: mapped. DGM_EAGAIN: not (yet) mapped. Else final: DGM_EPERM: Xen refused the
     * reference. DGM_ENOSPC: Xen had no room, and none was released. DGM_EIO: a status that no
     * guest causes. */
    int status;

    /* private to dgm_grant, from the addition to the final status */
    grant_ref_t ref;
    domid_t domid;
    bool readonly;
    struct dgm_xen_patience patience; /* with RETRY and UNKNOWN */
    struct dgm_foreign *next_parked;
};

/* Other rooms use `p2m`, `slots`, `parked_first`, `short_tries` and the counters `map_parked`,
 * `map_short`, `mapped`, `unmapped`, `live`, `live_max`, `map_refused`; the rest is pages' own. */
struct dgm_grant {
    struct dgm_p2m *p2m;
    struct dgm_slot_cache *slots;
    /* ops that were added and not committed */
    struct gnttab_map_grant_ref map[DGM_GRANT_BATCH];
    struct dgm_foreign *map_foreign[DGM_GRANT_BATCH];
    size_t map_count;
    /* ops that wait for dgm_grant_map_retry(), the oldest first */
    struct dgm_foreign *parked_first, *parked_last;
    size_t map_parked;
    bool map_short; /* Xen has no room: the oldest parked op is tried first */
    uint8_t short_tries;
    uint64_t short_progress; /* mapped + unmapped at the last attempt */
    struct gnttab_unmap_grant_ref unmap[DGM_GRANT_BATCH];
    struct dgm_quota *unmap_quota[DGM_GRANT_BATCH];
    size_t unmap_count;
    uint64_t mapped, unmapped, live, live_max; /* frames */
    uint64_t map_refused, unmap_refused;       /* ops with a final bad status */
    uint64_t map_retries;   /* ops that were parked for RETRY or UNKNOWN, counted each time */
    uint64_t map_shorts;    /* ops for which Xen had no room, counted each time */
    uint64_t unmap_retries; /* hypercalls that did none of their unmaps, and were retried */
    uint64_t batches;       /* hypercalls */
    bool short_logged;
    struct dgm_xen_logged map_logged, unmap_logged;
};

void dgm_grant_init(struct dgm_grant *grant, struct dgm_p2m *p2m, struct dgm_slot_cache *slots);

/*
 * Adds `wanted` to the batch, at a slot that was reserved for `quota` (dgm_slot_reserve; NULL: no
 * quota). Commits first if the batch is full. foreign->status is
 * DGM_EAGAIN until it is final.
 */
void dgm_grant_map_add(struct dgm_grant *grant, struct dgm_foreign *foreign,
                       struct dgm_quota *quota, struct dgm_guest_grant wanted);

/* The same at `gfn`, which is outside the slot window and where nothing is mapped: an identity
 * mapping, see identity.h. */
void dgm_grant_map_add_at(struct dgm_grant *grant, struct dgm_foreign *foreign, dgm_gfn_t gfn,
                          struct dgm_guest_grant wanted);

/*
 * Maps all that was added with one hypercall (with none if nothing was added). Afterwards every
 * status is final, except that of the parked ops: it stays DGM_EAGAIN, and map_parked counts them.
 */
void dgm_grant_map_commit(struct dgm_grant *grant);

/* Commits, then retries every parked op, in order; stops at an op for which Xen has no room. */
void dgm_grant_map_retry(struct dgm_grant *grant);

/* Adds a mapped frame to the unmap batch; commits first if that is full. Asserts that the frame is
 * mapped and has no DMA in flight. From here on the frame must not be used, and `foreign` belongs
 * to the caller again. */
void dgm_grant_unmap_add(struct dgm_grant *grant, struct dgm_foreign *foreign);
/* Unmaps all added frames: one hypercall, or more if Xen stops in the middle. */
void dgm_grant_unmap_commit(struct dgm_grant *grant);

/* Asserts that no op waits for a commit, and the equation above. */
void dgm_grant_check(const struct dgm_grant *grant);

#ifdef __cplusplus
}
#endif

#endif
