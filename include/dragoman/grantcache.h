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
 * sum of all quotas may exceed it, and then dgm_grantcache_add() refuses: the caller maps for that
 * one request only, or evicts first.
 */
#ifndef DRAGOMAN_GRANTCACHE_H
#define DRAGOMAN_GRANTCACHE_H

#include <dragoman/grant.h>

#define DGM_GRANTCACHE_MAX  16384u /* entries */
#define DGM_GRANTCACHE_NONE UINT16_MAX

struct dgm_grantcache_entry {
    struct dgm_foreign foreign;
    struct dgm_grantcache_owner *owner; /* NULL: free */
    grant_ref_t ref;
    uint16_t users;        /* requests that use it now */
    uint16_t chain;        /* next of the same hash bucket, or of the free list */
    uint16_t older, newer; /* while idle: neighbours in the owner's list */
};

/* One connection. The caller's; opaque but for the counters. */
struct dgm_grantcache_owner {
    uint16_t quota;          /* entries that it may have */
    uint16_t count;          /* entries that it has; of them */
    uint16_t idle;           /* in no request */
    uint16_t oldest, newest; /* idle ones */
    uint16_t count_max;
    uint16_t salt; /* where its references start among the buckets */
    uint64_t hits, misses, evictions;
};

struct dgm_grantcache {
    struct dgm_grantcache_entry *entries;
    uint16_t *buckets;
    uint16_t total, free, free_first;
    uint16_t bucket_mask;
};

/* Bytes for a cache of `entries` (at most DGM_GRANTCACHE_MAX). */
size_t dgm_grantcache_bytes(uint16_t entries);

/* `entries` > 0. `memory`: dgm_grantcache_bytes(entries), 8-byte aligned, stays ours. */
void dgm_grantcache_init(struct dgm_grantcache *cache, uint16_t entries, void *memory);

/* The owner's address is its identity: it does not move, and lives until it has no entries. */
void dgm_grantcache_owner_init(struct dgm_grantcache_owner *owner, uint16_t quota);

/* The entry of `ref`, now in use once more; or DGM_GRANTCACHE_NONE (counted as a miss): it is not
 * here, or 65,535 requests use it already. */
uint16_t dgm_grantcache_use(struct dgm_grantcache *cache, struct dgm_grantcache_owner *owner,
                            grant_ref_t ref);

/*
 * Keeps a frame that was just mapped, in use once. DGM_GRANTCACHE_NONE: the owner's quota is full,
 * no entry is free, or `ref` is already here (mapped twice in one batch): the frame stays the
 * caller's.
 */
uint16_t dgm_grantcache_add(struct dgm_grantcache *cache, struct dgm_grantcache_owner *owner,
                            grant_ref_t ref, const struct dgm_foreign *foreign);

/* One request is done with the entry. */
void dgm_grantcache_unuse(struct dgm_grantcache *cache, uint16_t entry);

/* Lets go of the owner's frame that was idle longest: the caller unmaps *foreign. False: none is
 * idle. */
bool dgm_grantcache_evict(struct dgm_grantcache *cache, struct dgm_grantcache_owner *owner,
                          struct dgm_foreign *foreign);

/* Every invariant; O(entries x owners). */
void dgm_grantcache_check(const struct dgm_grantcache *cache);

#endif
