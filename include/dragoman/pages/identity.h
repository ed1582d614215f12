/* SPDX-License-Identifier: MIT */
/*
 * identity: foreign frames mapped where their gfn is their mfn
 *
 * For those who want a foreign page to look like one of our own: its address works for a device as
 * it is. Without an IOMMU our free guest-physical space is numerically other domains' machine
 * memory, so such a mapping lies outside the slot window, and its records are kept here, by gfn. A
 * frame whose mfn lies in the window, in our own RAM, or where the CPU has no mapping (not in
 * `places`) cannot be mapped so; nor can one more than the table holds. The caller then keeps it at
 * a slot.
 *
 * Xen keeps no count of mappings at one gfn: of two, the first unmap removes both. So there is one
 * mapping per frame, shared by those who came with the same reference and the same rights, and
 * unmapped by the last of them. Who comes with another reference to the frame keeps his slot.
 *
 * One table per reactor, asked by its p2m. Everything here is O(1).
 */
#ifndef DRAGOMAN_PAGES_IDENTITY_H
#define DRAGOMAN_PAGES_IDENTITY_H

#include <dragoman/pages/grant.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_IDENTITY_PLACES_MAX 16
#define DGM_IDENTITY_MAX        4096u /* entries */

enum dgm_identity_state {
    DGM_IDENTITY_FREE,
    DGM_IDENTITY_MAPPING, /* in a batch that is not committed, or asked again */
    DGM_IDENTITY_LIVE,
    DGM_IDENTITY_LEAVING, /* in a batch of unmaps */
    DGM_IDENTITY_LOST,    /* Xen refused the unmap: never used again */
};

struct dgm_identity_entry {
    uint64_t frame;             /* gfn and mfn */
    struct dgm_foreign foreign; /* the mapping */
    grant_ref_t ref;
    domid_t domid;
    uint16_t users;
    uint16_t in_flight; /* DMAs under way */
    uint16_t chain;     /* next of the same hash bucket, or of the free list */
    bool readonly;
    uint8_t state;
};

struct dgm_identity {
    struct dgm_gfn_range places[DGM_IDENTITY_PLACES_MAX];
    size_t place_count;
    struct dgm_identity_entry *entries;
    uint16_t *buckets;
    uint16_t total, free_first, used;
    uint16_t bucket_mask;
    uint64_t mapped;          /* times that a frame was mapped at its mfn */
    uint64_t shared, at_slot; /* times that it was already mapped so; that it stayed at its slot */
};

/* The gfn of an identity mapping and the mfn behind it: the one place that exchanges the two. */
static inline dgm_gfn_t dgm_identity_gfn(dgm_mfn_t mfn)
{
    return dgm_gfn(dgm_mfn_number(mfn));
}

static inline dgm_mfn_t dgm_identity_mfn(dgm_gfn_t gfn)
{
    return dgm_mfn(dgm_gfn_number(gfn));
}

/* Bytes for a table of `entries`, 1 to DGM_IDENTITY_MAX. */
size_t dgm_identity_bytes(uint16_t entries);

/* `places`: where we may map and the CPU can look, at most DGM_IDENTITY_PLACES_MAX (copied).
 * `memory`: dgm_identity_bytes(entries), 8-byte aligned, stays ours. */
void dgm_identity_init(struct dgm_identity *identity, const struct dgm_gfn_range *places,
                       size_t place_count, uint16_t entries, void *memory);

/* True if `mfn` lies in one of the places. What follows is for reach.c. */
bool dgm_identity_possible(const struct dgm_identity *identity, dgm_mfn_t mfn);

/* The entry at `gfn` in any state but free, or NULL. */
struct dgm_identity_entry *dgm_identity_find(const struct dgm_identity *identity, dgm_gfn_t gfn);

/* A new entry with one user, in state MAPPING; NULL: the table is full. Asserts: there is none. */
struct dgm_identity_entry *dgm_identity_add(struct dgm_identity *identity, dgm_gfn_t gfn,
                                            domid_t domid, grant_ref_t ref, bool readonly);

/* Nothing is mapped there any more, or never was. */
void dgm_identity_remove(struct dgm_identity *identity, dgm_gfn_t gfn);

/* What Xen said to the unmap of the entry at `gfn`, which is LEAVING. For dgm_grant. */
void dgm_identity_unmapped(struct dgm_identity *identity, dgm_gfn_t gfn, bool done);

/* Every invariant; O(entries). */
void dgm_identity_check(const struct dgm_identity *identity);

#ifdef __cplusplus
}
#endif

#endif
