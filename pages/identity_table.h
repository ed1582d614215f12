/* SPDX-License-Identifier: MIT */
/*
 * identity_table: the entries of the identity table, for p2m, grant and reach. See
 * dragoman/pages/identity.h.
 *
 * An entry's life: MAPPING, LIVE, LEAVING, then free again, or LOST. p2m counts the DMAs in flight
 * to a LIVE entry, reach counts its users, grant reports the end of its unmap.
 */
#ifndef PAGES_IDENTITY_TABLE_H
#define PAGES_IDENTITY_TABLE_H

#include <dragoman/pages/grant.h>
#include <dragoman/pages/identity.h>

enum dgm_identity_state {
    DGM_IDENTITY_FREE,
    DGM_IDENTITY_MAPPING, /* in a batch that is not committed, or parked */
    DGM_IDENTITY_LIVE,
    DGM_IDENTITY_LEAVING, /* in a batch of unmaps */
    DGM_IDENTITY_LOST,    /* Xen refused the unmap: the gfn is never used again */
};

struct dgm_identity_entry {
    dgm_gfn_t gfn;              /* of the mapping; equal to the mfn behind it */
    struct dgm_foreign foreign; /* the mapping */
    grant_ref_t ref;
    domid_t domid;
    uint16_t users;
    uint16_t in_flight; /* DMAs in flight */
    uint16_t chain;     /* next entry of the same hash bucket, or of the free list */
    bool readonly;
    uint8_t state;
};

/* The gfn of an identity mapping and the mfn behind it: the only exchange of the two numbers. */
static inline dgm_gfn_t dgm_identity_gfn(dgm_mfn_t mfn)
{
    return dgm_gfn(dgm_mfn_number(mfn));
}

static inline dgm_mfn_t dgm_identity_mfn(dgm_gfn_t gfn)
{
    return dgm_mfn(dgm_gfn_number(gfn));
}

/* True if `mfn` lies in one of the places. */
bool dgm_identity_possible(const struct dgm_identity *identity, dgm_mfn_t mfn);

/* The entry at `gfn` in any state but free, or NULL. */
struct dgm_identity_entry *dgm_identity_find(const struct dgm_identity *identity, dgm_gfn_t gfn);

/* True if a DMA is in flight to an entry. O(entries). */
bool dgm_identity_in_flight(const struct dgm_identity *identity);

/* A new entry with one user, in state MAPPING; NULL: the table is full. Asserts that `gfn` has no
 * entry. */
struct dgm_identity_entry *dgm_identity_add(struct dgm_identity *identity, dgm_gfn_t gfn,
                                            struct dgm_guest_grant grant);

/* Frees the entry: its mapping is gone, or was never made. */
void dgm_identity_remove(struct dgm_identity *identity, dgm_gfn_t gfn);

/* Ends the unmap of the entry at `gfn`, which is LEAVING: with `done` it is free, else LOST. */
void dgm_identity_unmapped(struct dgm_identity *identity, dgm_gfn_t gfn, bool done);

#endif
