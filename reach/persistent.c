/* SPDX-License-Identifier: MIT */
/*
 * persistent: hash buckets with chains, a clock per owner. See dragoman/reach/persistent.h.
 *
 * An entry is free (in the free list), or it belongs to an owner: it is in the chain of its bucket
 * and in its owner's circle. Using and releasing an entry changes only its own fields and a count,
 * because both happen for each frame of each request. Its place in the circle is changed by no use.
 *
 * Eviction moves the owner's hand along the circle. It passes entries in use, and gives each idle
 * entry that was used since the hand passed it last a second chance. Where some entry is idle, the
 * second round finds one at the latest. The hand stays where it found one. So evicting many entries
 * one after another takes at most two rounds in all, and the entries that they evict. New entries
 * are put where the hand comes last. All links are indexes.
 *
 * A guest chooses its references, and with them the buckets. The bucket is the sum of the reference
 * and the owner's salt. Xen accepts only references below the size of the guest's grant table
 * (32,768 entries by default). So one owner can bring at most 32,768 / buckets entries into one
 * chain, whatever it tries; and adjacent references, as frontends use them, never collide.
 */
#include <dragoman/base/check.h>
#include <reach/internal.h>

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
        cache->entries[i] =
            (struct dgm_persistent_entry){.chain = i + 1 < entries ? (uint16_t)(i + 1) : NONE};
    for (unsigned i = 0; i <= cache->bucket_mask; i++)
        cache->buckets[i] = NONE;
}

void dgm_persistent_owner_init(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                               uint16_t quota)
{
    *owner = (struct dgm_persistent_owner){
        .quota = quota,
        .hand = NONE,
        /* Frontends use the same small references: the salt spreads those of different owners over
         * the buckets. Multiples of this number (2^16 divided by the golden ratio, made odd) lie
         * far apart. */
        .salt = (uint16_t)(cache->owners++ * 0x9e37u),
    };
}

static void chain_remove(struct dgm_persistent *cache, uint16_t i)
{
    const struct dgm_persistent_entry *entry = &cache->entries[i];
    uint16_t *bucket = dgm_persistent_bucket(cache, entry->owner, entry->ref);
    uint16_t before = *bucket;

    if (before == i) {
        *bucket = entry->chain;
        return;
    }
    while (cache->entries[before].chain != i)
        before = cache->entries[before].chain;
    cache->entries[before].chain = entry->chain;
}

/* --- the owner's circle --- */

/* Puts entry `i` where the hand comes last: the hand stands on it, and looks at the next one. */
static void circle_add(struct dgm_persistent *cache, struct dgm_persistent_owner *owner, uint16_t i)
{
    if (owner->hand == NONE) {
        cache->entries[i].next = i;
    } else {
        cache->entries[i].next = cache->entries[owner->hand].next;
        cache->entries[owner->hand].next = i;
    }
    owner->hand = i;
}

/* Removes the entry that the hand looks at. */
static void circle_remove_next(struct dgm_persistent *cache, struct dgm_persistent_owner *owner)
{
    struct dgm_persistent_entry *before = &cache->entries[owner->hand];

    if (before->next == owner->hand)
        owner->hand = NONE;
    else
        before->next = cache->entries[before->next].next;
}

/* Moves the hand until it looks at an idle entry that had its second chance. Some entry is idle. */
static uint16_t find_victim(struct dgm_persistent *cache, struct dgm_persistent_owner *owner)
{
    for (;;) {
        const uint16_t i = cache->entries[owner->hand].next;
        struct dgm_persistent_entry *entry = &cache->entries[i];

        if (entry->users == 0 && !entry->recent)
            return i;
        if (entry->users == 0)
            entry->recent = false;
        owner->hand = i;
    }
}

/* --- requests --- */

uint16_t dgm_persistent_add(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                            grant_ref_t ref, const struct dgm_foreign *foreign)
{
    const uint16_t i = cache->free_first;
    uint16_t *bucket = dgm_persistent_bucket(cache, owner, ref);

    if (cache->free == 0 || owner->count >= owner->quota ||
        dgm_persistent_find(cache, owner, ref) != NONE)
        return NONE;
    cache->free_first = cache->entries[i].chain;
    cache->free--;
    cache->entries[i] = (struct dgm_persistent_entry){
        .foreign = *foreign,
        .owner = owner,
        .ref = ref,
        .users = 1,
        .chain = *bucket,
    };
    *bucket = i;
    circle_add(cache, owner, i);
    if (++owner->count > owner->count_max)
        owner->count_max = owner->count;
    return i;
}

bool dgm_persistent_evict(struct dgm_persistent *cache, struct dgm_persistent_owner *owner,
                          struct dgm_foreign *foreign)
{
    struct dgm_persistent_entry *entry;
    uint16_t i;

    if (owner->idle == 0)
        return false;
    i = find_victim(cache, owner);
    entry = &cache->entries[i];
    *foreign = entry->foreign;
    circle_remove_next(cache, owner);
    chain_remove(cache, i);
    entry->owner = NULL;
    owner->idle--;
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
            dgm_assert(dgm_persistent_bucket(cache, entry->owner, entry->ref) ==
                       &cache->buckets[b]);
            /* No reference has two entries. */
            dgm_assert(dgm_persistent_find(cache, entry->owner, entry->ref) == i);
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
    uint32_t count = 0, idle = 0, circled = 0;
    uint16_t at = owner->hand;

    for (uint16_t i = first; i < cache->total; i++) {
        if (cache->entries[i].owner == owner) {
            count++;
            idle += cache->entries[i].users == 0;
        }
    }
    do {
        dgm_assert(at < cache->total && circled < count && cache->entries[at].owner == owner);
        at = cache->entries[at].next;
        circled++;
    } while (at != owner->hand);
    dgm_assert(circled == count && owner->idle == idle);
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
