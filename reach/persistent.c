/* SPDX-License-Identifier: MIT */
/*
 * persistent: hash buckets with chains, an LRU list per owner. See dragoman/reach/persistent.h.
 *
 * An entry is free (in the free list), in use (in the chain of its bucket), or idle (in that chain,
 * and in its owner's list, which runs from the entry idle longest to the one idle shortest). All
 * links are indexes.
 *
 * A guest chooses its references, and with them the buckets. The bucket is the sum of the reference
 * and the owner's salt. Xen accepts only references below the size of the guest's grant table
 * (32,768 entries by default). So one owner can bring at most 32,768 / buckets entries into one
 * chain, whatever it tries; and adjacent references, as frontends use them, never collide.
 */
#include <dragoman/base/check.h>
#include <dragoman/reach/persistent.h>

#include <string.h>

#define NONE DGM_PERSISTENT_NONE

/* A power of two, at least as many as entries. */
static uint16_t bucket_count(uint16_t entries)
{
    uint16_t count = 1;

    while (count < entries)
        count = (uint16_t)(count * 2);
    return count;
}

size_t dgm_persistent_bytes(uint16_t entries)
{
    return entries * sizeof(struct dgm_persistent_entry) + bucket_count(entries) * sizeof(uint16_t);
}

void dgm_persistent_init(struct dgm_persistent *cache, uint16_t entries, void *memory)
{
    dgm_assert(entries > 0 && entries <= DGM_PERSISTENT_MAX);
    *cache = (struct dgm_persistent){
        .entries = memory,
        .buckets = (uint16_t *)((struct dgm_persistent_entry *)memory + entries),
        .total = entries,
        .free = entries,
        .bucket_mask = (uint16_t)(bucket_count(entries) - 1),
    };
    for (uint16_t i = 0; i < entries; i++)
        cache->entries[i] = (struct dgm_persistent_entry){
            .chain = i + 1 < entries ? (uint16_t)(i + 1) : NONE, .older = NONE, .newer = NONE};
    for (unsigned i = 0; i <= cache->bucket_mask; i++)
        cache->buckets[i] = NONE;
}

void dgm_persistent_owner_init(struct dgm_persistent_owner *owner, uint16_t quota)
{
    *owner = (struct dgm_persistent_owner){
        .quota = quota,
        .oldest = NONE,
        .newest = NONE,
        /* Owners lie at even distances in memory, and their frontends use the same references: the
         * salt spreads these over the buckets. */
        .salt = (uint16_t)((uintptr_t)owner * 0x9e3779b97f4a7c15u >> 48),
    };
}

static uint16_t *bucket_of(const struct dgm_persistent *cache,
                           const struct dgm_persistent_owner *owner, grant_ref_t ref)
{
    return &cache->buckets[(ref + owner->salt) & cache->bucket_mask];
}

static uint16_t find_entry(const struct dgm_persistent *cache,
                           const struct dgm_persistent_owner *owner, grant_ref_t ref)
{
    uint16_t i = *bucket_of(cache, owner, ref);

    while (i != NONE && (cache->entries[i].owner != owner || cache->entries[i].ref != ref))
        i = cache->entries[i].chain;
    return i;
}

static void chain_remove(struct dgm_persistent *cache, uint16_t i)
{
    const struct dgm_persistent_entry *entry = &cache->entries[i];
    uint16_t *bucket = bucket_of(cache, entry->owner, entry->ref);
    uint16_t before = *bucket;

    if (before == i) {
        *bucket = entry->chain;
        return;
    }
    while (cache->entries[before].chain != i)
        before = cache->entries[before].chain;
    cache->entries[before].chain = entry->chain;
}

/* --- the owner's list of idle entries --- */

static void idle_add(struct dgm_persistent *cache, uint16_t i)
{
    struct dgm_persistent_entry *entry = &cache->entries[i];
    struct dgm_persistent_owner *owner = entry->owner;

    entry->older = owner->newest;
    entry->newer = NONE;
    if (owner->newest == NONE)
        owner->oldest = i;
    else
        cache->entries[owner->newest].newer = i;
    owner->newest = i;
    owner->idle++;
}

static void idle_remove(struct dgm_persistent *cache, uint16_t i)
{
    struct dgm_persistent_entry *entry = &cache->entries[i];
    struct dgm_persistent_owner *owner = entry->owner;

    if (entry->older == NONE)
        owner->oldest = entry->newer;
    else
        cache->entries[entry->older].newer = entry->newer;
    if (entry->newer == NONE)
        owner->newest = entry->older;
    else
        cache->entries[entry->newer].older = entry->older;
    entry->older = entry->newer = NONE;
    owner->idle--;
}

/* --- requests --- */

uint16_t dgm_persistent_use(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref)
{
    const uint16_t i = find_entry(cache, owner, ref);

    /* A guest can name one reference in every segment of every request of a large ring. */
    if (i == NONE || cache->entries[i].users == UINT16_MAX) {
        owner->misses++;
        return NONE;
    }
    if (cache->entries[i].users++ == 0)
        idle_remove(cache, i);
    owner->hits++;
    return i;
}

uint16_t dgm_persistent_add(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref, const struct dgm_foreign *foreign)
{
    const uint16_t i = cache->free_first;
    uint16_t *bucket = bucket_of(cache, owner, ref);

    if (cache->free == 0 || owner->count >= owner->quota || find_entry(cache, owner, ref) != NONE)
        return NONE;
    cache->free_first = cache->entries[i].chain;
    cache->free--;
    cache->entries[i] = (struct dgm_persistent_entry){
        .foreign = *foreign,
        .owner = owner,
        .ref = ref,
        .users = 1,
        .chain = *bucket,
        .older = NONE,
        .newer = NONE,
    };
    *bucket = i;
    if (++owner->count > owner->count_max)
        owner->count_max = owner->count;
    return i;
}

void dgm_persistent_unuse(struct dgm_persistent *cache, uint16_t entry)
{
    dgm_assert(entry < cache->total && cache->entries[entry].owner);
    dgm_assert(cache->entries[entry].users > 0);
    if (--cache->entries[entry].users == 0)
        idle_add(cache, entry);
}

bool dgm_persistent_evict(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                          struct dgm_foreign *foreign)
{
    const uint16_t i = owner->oldest;
    struct dgm_persistent_entry *entry;

    if (i == NONE)
        return false;
    entry = &cache->entries[i];
    *foreign = entry->foreign;
    idle_remove(cache, i);
    chain_remove(cache, i);
    entry->owner = NULL;
    entry->chain = cache->free_first;
    cache->free_first = i;
    cache->free++;
    owner->count--;
    owner->evictions++;
    return true;
}

/* --- invariants --- */

static void check_lists(const struct dgm_persistent *cache)
{
    uint32_t chained = 0, left = 0;

    for (unsigned b = 0; b <= cache->bucket_mask; b++) {
        for (uint16_t i = cache->buckets[b]; i != NONE; i = cache->entries[i].chain) {
            const struct dgm_persistent_entry *entry = &cache->entries[i];

            dgm_assert(i < cache->total && chained < cache->total && entry->owner);
            dgm_assert(bucket_of(cache, entry->owner, entry->ref) == &cache->buckets[b]);
            dgm_assert(find_entry(cache, entry->owner, entry->ref) ==
                       i); /* no reference has two entries */
            chained++;
        }
    }
    for (uint16_t i = cache->free_first; left < cache->free; i = cache->entries[i].chain) {
        dgm_assert(i < cache->total && !cache->entries[i].owner);
        left++;
    }
    dgm_assert(chained + left == cache->total);
}

/* `first`: the owner's entry of the lowest index. */
static void check_owner(const struct dgm_persistent *cache, uint16_t first)
{
    const struct dgm_persistent_owner *owner = cache->entries[first].owner;
    uint16_t older = NONE;
    uint32_t count = 0, idle = 0, listed = 0;

    for (uint16_t i = first; i < cache->total; i++) {
        if (cache->entries[i].owner == owner) {
            count++;
            idle += cache->entries[i].users == 0;
        }
    }
    for (uint16_t i = owner->oldest; i != NONE; i = cache->entries[i].newer) {
        dgm_assert(i < cache->total && listed < idle && cache->entries[i].owner == owner);
        dgm_assert(cache->entries[i].users == 0 && cache->entries[i].older == older);
        older = i;
        listed++;
    }
    dgm_assert(owner->newest == older);
    dgm_assert(listed == idle && owner->idle == idle);
    dgm_assert(owner->count == count && count <= owner->quota && count <= owner->count_max);
}

void dgm_persistent_check(const struct dgm_persistent *cache)
{
    check_lists(cache);
    for (uint16_t i = 0; i < cache->total; i++) {
        uint16_t before = i;

        if (!cache->entries[i].owner)
            continue;
        while (before && cache->entries[before - 1].owner != cache->entries[i].owner)
            before--;
        if (before == 0)
            check_owner(cache, i);
    }
}
