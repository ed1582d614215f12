/* SPDX-License-Identifier: MIT */
/*
 * identity: foreign frames mapped at gfn == mfn
 *
 * An identity mapping makes a foreign page look like one of our own: its CPU address is the address
 * for a device. Without an IOMMU our free guest-physical space has the same numbers as other
 * domains' machine memory, so such a mapping lies outside the slot window, and its records are kept
 * here, by gfn. A frame cannot have an identity mapping if its mfn lies in the window, in our own
 * RAM, or where the CPU has no mapping (not in `places`), or if the table is full. The caller then
 * leaves the frame at a slot.
 *
 * Xen does not count the mappings at one gfn: of two mappings, the first unmap removes both. So
 * there is one mapping per frame. Requests with the same reference and the same rights share it,
 * and the last of them unmaps it. A request with another reference to the frame keeps its slot.
 *
 * Each reactor has one table, which its p2m looks into. Every operation is O(1).
 */
#ifndef DRAGOMAN_PAGES_IDENTITY_H
#define DRAGOMAN_PAGES_IDENTITY_H

#include <dragoman/base/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_IDENTITY_PLACES_MAX 16
#define DGM_IDENTITY_MAX        4096u /* entries */

struct dgm_identity_entry; /* pages/identity_table.h */

/* All of it is pages' own. */
struct dgm_identity {
    struct dgm_gfn_range places[DGM_IDENTITY_PLACES_MAX];
    size_t place_count;
    struct dgm_identity_entry *entries;
    uint16_t *buckets;
    uint16_t total, free_first, used;
    uint16_t lost; /* of the used entries: those whose unmap Xen refused */
    uint16_t bucket_mask;
};

/* Bytes for a table of `entries`, 1 to DGM_IDENTITY_MAX. */
size_t dgm_identity_bytes(uint16_t entries);

/* `places`: gfns where we may map and the CPU has a mapping, at most DGM_IDENTITY_PLACES_MAX
 * (copied). `memory`: dgm_identity_bytes(entries), 8-byte aligned; it belongs to the table from now
 * on. */
void dgm_identity_init(struct dgm_identity *identity, uint16_t entries, void *memory,
                       const struct dgm_gfn_range *places, size_t place_count);

/* Asserts every invariant; O(entries). */
void dgm_identity_check(const struct dgm_identity *identity);

#ifdef __cplusplus
}
#endif

#endif
