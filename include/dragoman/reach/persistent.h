/* SPDX-License-Identifier: MIT */
/*
 * persistent: frames that stay mapped between requests (blkif's persistent grants)
 *
 * The mappings of a frontend that reuses its grants are kept: a request whose frames are all mapped
 * already needs no hypercall and no TLB flush. One cache per reactor, with one owner per
 * connection, as a reference has a meaning only within one guest. Finding, adding and releasing an
 * entry are O(1). Eviction takes an entry of the owner that was not used for long, and never one in
 * use; evicting any number of entries in a row costs at most two walks over the owner's entries.
 * The cache makes no hypercall: the caller unmaps the evicted frames.
 *
 * Each owner has a quota of entries. The entries of all owners are one array, so the sum of the
 * quotas may exceed it. If no entry is free, dgm_persistent_add() refuses, and the caller keeps the
 * mapping only for that one request, or evicts first.
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
    struct dgm_persistent_owner *owner; /* NULL: the entry is free */
    grant_ref_t ref;
    uint16_t users; /* requests that use it now; 0: idle */
    uint16_t chain; /* next in its hash bucket, or in the free list */
    uint16_t next;  /* in its owner's circle */
    bool recent;    /* used since the owner's hand passed it */
};

/* One connection. The caller's; opaque but for the counters. */
struct dgm_persistent_owner {
    uint16_t quota; /* the most entries that it may have */
    uint16_t count; /* entries that it has */
    uint16_t idle;  /* of these, used by no request */
    uint16_t hand;  /* the position of eviction in the circle of its entries: just before the next
                       candidate */
    uint16_t count_max; /* high-water mark of count */
    uint16_t salt;      /* added to a reference before it is hashed */
    uint64_t hits, misses, evictions;
};

struct dgm_persistent {
    struct dgm_persistent_entry *entries;
    uint16_t *buckets;
    uint16_t total, free, free_first;
    uint16_t bucket_mask;
    uint32_t owners; /* that were ever made: each has its own salt */
};

/* Bytes of memory for a cache of `entries`, at most DGM_PERSISTENT_MAX. */
size_t dgm_persistent_bytes(uint16_t entries);

/* `entries` > 0. `memory`: dgm_persistent_bytes(entries) bytes, 8-byte aligned, the cache's from
 * now on. */
void dgm_persistent_init(struct dgm_persistent *cache, uint16_t entries, void *memory);

/* The owner's address is its identity: it does not move, and outlives its entries. It takes entries
 * of this cache alone. */
void dgm_persistent_owner_init(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                               uint16_t quota);

/* Finds the entry of `ref` and adds a user to it. DGM_PERSISTENT_NONE, counted as a miss: the cache
 * does not have it, or 65,535 requests use it already. */
uint16_t dgm_persistent_use(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref);

/*
 * Adds a frame that was just mapped, with one user. DGM_PERSISTENT_NONE: the owner's quota is full,
 * no entry is free, or `ref` already has an entry (it was mapped twice in one batch); the caller
 * keeps the mapping.
 */
uint16_t dgm_persistent_add(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref, const struct dgm_foreign *foreign);

/* Removes one user of the entry. */
void dgm_persistent_unuse(struct dgm_persistent *cache, uint16_t entry);

/* Removes an idle entry of the owner, if possible one that was not used since the owner's hand
 * passed it; the caller unmaps *foreign. False: no entry is idle. */
bool dgm_persistent_evict(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                          struct dgm_foreign *foreign);

/* Asserts every invariant. O(entries x owners). */
void dgm_persistent_check(const struct dgm_persistent *cache);

#ifdef __cplusplus
}
#endif

#endif
