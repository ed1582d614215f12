/* SPDX-License-Identifier: MIT */
/*
 * grantcache: mapped frames that are kept for the next time (blkif's persistent grants)
 *
 * A frontend that reuses its grants lets us keep their mappings: no hypercall, no TLB flush for an
 * I/O whose frames are all here. One cache per reactor, one owner in it per connection (a
 * reference means something only within one guest). Finding, adding, giving back and evicting cost
 * O(1). Evicted is the owner's frame that was idle longest; what is in use is never evicted. The
 * cache makes no hypercall: what it lets go of, the caller unmaps.
 *
 * An owner holds up to its quota; the entries of all owners are one array given at init, so the
 * sum of all quotas may exceed it, and then dgm_persistent_add() refuses: the caller maps for that
 * one request only, or evicts first.
 */
#ifndef DRAGOMAN_REACH_PERSISTENT_H
#define DRAGOMAN_REACH_PERSISTENT_H

#include <dragoman/pages/grant.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_PERSISTENT_MAX  16384u /* entries */
#define DGM_PERSISTENT_NONE UINT16_MAX

struct dgm_persistent_entry {
    struct dgm_foreign foreign;
    struct dgm_persistent_owner *owner; /* NULL: free */
    grant_ref_t ref;
    uint16_t users;        /* requests that use it now */
    uint16_t chain;        /* next of the same hash bucket, or of the free list */
    uint16_t older, newer; /* while idle: neighbours in the owner's list */
};

/* One connection. The caller's; opaque but for the counters. */
struct dgm_persistent_owner {
    uint16_t quota;          /* entries that it may have */
    uint16_t count;          /* entries that it has; of them */
    uint16_t idle;           /* in no request */
    uint16_t oldest, newest; /* idle ones */
    uint16_t count_max;
    uint16_t salt; /* where its references start among the buckets */
    uint64_t hits, misses, evictions;
};

struct dgm_persistent {
    struct dgm_persistent_entry *entries;
    uint16_t *buckets;
    uint16_t total, free, free_first;
    uint16_t bucket_mask;
};

/* Bytes for a cache of `entries` (at most DGM_PERSISTENT_MAX). */
size_t dgm_persistent_bytes(uint16_t entries);

/* `entries` > 0. `memory`: dgm_persistent_bytes(entries), 8-byte aligned, stays ours. */
void dgm_persistent_init(struct dgm_persistent *cache, uint16_t entries, void *memory);

/* The owner's address is its identity: it does not move, and lives until it has no entries. */
void dgm_persistent_owner_init(struct dgm_persistent_owner *owner, uint16_t quota);

/* The entry of `ref`, now in use once more; or DGM_PERSISTENT_NONE (counted as a miss): it is not
 * here, or 65,535 requests use it already. */
uint16_t dgm_persistent_use(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref);

/*
 * Keeps a frame that was just mapped, in use once. DGM_PERSISTENT_NONE: the owner's quota is full,
 * no entry is free, or `ref` is already here (mapped twice in one batch): the frame stays the
 * caller's.
 */
uint16_t dgm_persistent_add(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref, const struct dgm_foreign *foreign);

/* One request is done with the entry. */
void dgm_persistent_unuse(struct dgm_persistent *cache, uint16_t entry);

/* Lets go of the owner's frame that was idle longest: the caller unmaps *foreign. False: none is
 * idle. */
bool dgm_persistent_evict(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                          struct dgm_foreign *foreign);

/* Every invariant; O(entries x owners). */
void dgm_persistent_check(const struct dgm_persistent *cache);

#ifdef __cplusplus
}
#endif

#endif
