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
 * quotas may exceed it. If no entry is free, reach keeps a new mapping only for that one request,
 * or evicts first. The caller provides the memory; only reach/ uses the cache.
 */
#ifndef DRAGOMAN_REACH_PERSISTENT_H
#define DRAGOMAN_REACH_PERSISTENT_H

#include <dragoman/base/check.h>
#include <dragoman/pages/grant.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_PERSISTENT_MAX  16384u /* entries */
#define DGM_PERSISTENT_NONE UINT16_MAX

/* One connection. The caller's memory. Other rooms use the counters `count_max`, `hits`, `misses`,
 * `evictions`; the rest is reach's own. */
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

/* All of it is reach's own. */
struct dgm_persistent_entry {
    struct dgm_foreign foreign;
    struct dgm_persistent_owner *owner; /* NULL: the entry is free */
    grant_ref_t ref;
    uint32_t users; /* segments of requests that use it now, more than 2^16 if a guest names one
                       reference in each segment of a large ring; 0: idle */
    uint16_t chain; /* next in its hash bucket, or in the free list */
    uint16_t next;  /* in its owner's circle */
    bool recent;    /* used since the owner's hand passed it */
};

/* Other rooms use `total`; the rest is reach's own. */
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

/* --- reach's own: inline, because they are called for each frame of each request --- */

/* The hash bucket in whose chain `ref` is. */
static inline uint16_t *dgm_persistent_bucket(const struct dgm_persistent *cache,
                                              const struct dgm_persistent_owner *owner,
                                              grant_ref_t ref)
{
    return &cache->buckets[(ref + owner->salt) & cache->bucket_mask];
}

/* The entry of `ref`, or DGM_PERSISTENT_NONE. */
static inline uint16_t dgm_persistent_find(const struct dgm_persistent *cache,
                                           const struct dgm_persistent_owner *owner,
                                           grant_ref_t ref)
{
    uint16_t i = *dgm_persistent_bucket(cache, owner, ref);

    while (i != DGM_PERSISTENT_NONE &&
           (cache->entries[i].owner != owner || cache->entries[i].ref != ref))
        i = cache->entries[i].chain;
    return i;
}

/* Finds the entry of `ref` and adds a user to it. DGM_PERSISTENT_NONE: the cache does not have it.
 * The caller counts hits and misses. */
static inline uint16_t dgm_persistent_use(const struct dgm_persistent *cache,
                                          struct dgm_persistent_owner *owner, grant_ref_t ref)
{
    const uint16_t i = dgm_persistent_find(cache, owner, ref);

    if (i == DGM_PERSISTENT_NONE)
        return DGM_PERSISTENT_NONE;
    if (cache->entries[i].users++ == 0)
        owner->idle--;
    return i;
}

/* Removes one user of entry `i`. True: it is idle now, which the caller counts in owner->idle. */
static inline bool dgm_persistent_drop(const struct dgm_persistent *cache, uint16_t i)
{
    struct dgm_persistent_entry *entry = &cache->entries[i];

    dgm_assert(entry->users > 0); /* only an entry with an owner has users */
    entry->recent = true;
    return --entry->users == 0;
}

/* The same, counted. */
static inline void dgm_persistent_unuse(const struct dgm_persistent *cache, uint16_t i)
{
    dgm_assert(i < cache->total);
    if (dgm_persistent_drop(cache, i))
        cache->entries[i].owner->idle++;
}

#ifdef __cplusplus
}
#endif

#endif
