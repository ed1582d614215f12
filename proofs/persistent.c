/* SPDX-License-Identifier: MIT */
/*
 * Proves: an eviction removes an idle frame of the owner, the first that had its second chance if
 * there is any, and never one in use; a reference is found exactly if it was added for that owner
 * and not evicted since; adding is refused exactly if the quota is full, no entry is free, or the
 * reference has an entry; counts agree, and one operation touches no other entry.
 * Over: one operation from every state that the invariant allows (so any number of them), a cache
 * of three entries, two owners whose references fall anywhere, any quotas and numbers of users.
 *
 * sources: reach/persistent.c
 * options: --unwind 5 --unwindset find_victim.0:8
 * planted: include/dragoman/reach/persistent.h s/if \(cache->entries\[i\].users\+\+ == 0\)/if (cache->entries[i].users++ == 1)/
 * planted: reach/persistent.c s/entry->users == 0 && !entry->recent/!entry->recent/
 * planted: reach/persistent.c s/^    owner->hand = i;//
 * planted: reach/persistent.c s/owner->count >= owner->quota \|\|//
 * planted: include/dragoman/reach/persistent.h s/cache->entries\[i\].owner != owner \|\| //
 */
#include "proof.h"

#include <dragoman/reach/persistent.h>
#include <reach/internal.h>

#define ENTRIES 3
#define BUCKETS 2
#define OWNERS  2
#define NONE    DGM_PERSISTENT_NONE

/* The expected state of an entry. */
struct twin {
    bool here, recent;
    unsigned owner, order; /* the position before its owner's hand */
    grant_ref_t ref;
    uint32_t users;
    uint32_t handle;
};

uint64_t memory[32];
struct dgm_persistent_entry entries[ENTRIES];
uint16_t buckets[BUCKETS];
struct dgm_persistent cache;
struct dgm_persistent_owner owners[OWNERS];
struct twin twin[ENTRIES];

static unsigned bucket_of_twin(unsigned i)
{
    return (twin[i].ref + owners[twin[i].owner].salt) % BUCKETS;
}

/* The entry of `owner` that its hand reaches first or last, or NONE. */
static uint16_t end_of_circle(unsigned owner, bool last)
{
    uint16_t end = NONE;

    for (uint16_t j = 0; j < ENTRIES; j++)
        if (twin[j].here && twin[j].owner == owner &&
            (end == NONE || (twin[j].order > twin[end].order) == last))
            end = j;
    return end;
}

/* The entry that the hand reaches after entry i. */
static uint16_t next_in_circle(unsigned i)
{
    uint16_t next = NONE;

    for (uint16_t j = 0; j < ENTRIES; j++)
        if (twin[j].here && twin[j].owner == twin[i].owner && twin[j].order > twin[i].order &&
            (next == NONE || twin[j].order < twin[next].order))
            next = j;
    return next == NONE ? end_of_circle(twin[i].owner, false) : next;
}

/*
 * Sets the links of entry i. In a bucket, and in the free list, the order by index represents every
 * order: no index is special.
 */
static void link_entry(uint16_t i)
{
    for (uint16_t j = 0; j < i; j++) {
        assume(twin[i].order != twin[j].order);
        assume(!twin[i].here || !twin[j].here || twin[i].owner != twin[j].owner ||
               twin[i].ref != twin[j].ref);
        if (twin[i].here == twin[j].here &&
            (!twin[i].here || bucket_of_twin(i) == bucket_of_twin(j)))
            entries[i].chain = j;
    }
    if (twin[i].here)
        entries[i].next = next_in_circle(i);
}

/* Adds entry i to the counts and to the heads of lists. */
static void list_entry(uint16_t i)
{
    if (!twin[i].here) {
        cache.free++;
        cache.free_first = i;
        return;
    }
    for (unsigned b = 0; b < BUCKETS; b++)
        if (b == bucket_of_twin(i))
            buckets[b] = i;
    for (unsigned o = 0; o < OWNERS; o++) {
        if (twin[i].owner != o)
            continue;
        entries[i].owner = &owners[o];
        owners[o].count++;
        owners[o].hand = end_of_circle(o, true);
        owners[o].idle += twin[i].users == 0;
    }
}

/* Sets any state that the invariant allows; separate arrays make the checker faster. */
static void any_state(void)
{
    cache = (struct dgm_persistent){.entries = entries,
                                    .buckets = buckets,
                                    .total = ENTRIES,
                                    .free_first = NONE,
                                    .bucket_mask = BUCKETS - 1};
    for (unsigned b = 0; b < BUCKETS; b++)
        buckets[b] = NONE;
    for (unsigned o = 0; o < OWNERS; o++)
        owners[o] = (struct dgm_persistent_owner){
            .quota = any_u16(), .count_max = any_u16(), .hand = NONE, .salt = any_u16()};
    for (unsigned i = 0; i < ENTRIES; i++) {
        twin[i] = (struct twin){any_bool(), any_bool(), any_bool(), any_u8(),
                                any_u32(),  any_u16(),  any_u32()};
        assume(twin[i].order < ENTRIES);
        entries[i] = (struct dgm_persistent_entry){.foreign = {.handle = twin[i].handle},
                                                   .ref = twin[i].ref,
                                                   .users = twin[i].users,
                                                   .recent = twin[i].recent,
                                                   .chain = NONE};
    }
    for (uint16_t i = 0; i < ENTRIES; i++) {
        link_entry(i);
        list_entry(i);
    }
    for (unsigned o = 0; o < OWNERS; o++)
        assume(owners[o].count <= owners[o].quota && owners[o].count <= owners[o].count_max);
}

static uint16_t twin_find(unsigned owner, grant_ref_t ref)
{
    uint16_t i = 0;

    while (i < ENTRIES && !(twin[i].here && twin[i].owner == owner && twin[i].ref == ref))
        i++;
    return i < ENTRIES ? i : NONE;
}

/* The owner's idle entry that its hand reaches first; `any`: those that were used recently
 * included. */
static uint16_t twin_first_idle(unsigned owner, bool any)
{
    uint16_t first = NONE;

    for (uint16_t i = 0; i < ENTRIES; i++)
        if (twin[i].here && twin[i].owner == owner && twin[i].users == 0 &&
            (any || !twin[i].recent) && (first == NONE || twin[i].order < twin[first].order))
            first = i;
    return first;
}

static void use_frame(unsigned owner, grant_ref_t ref)
{
    const uint16_t there = twin_find(owner, ref);

    assume(there == NONE || twin[there].users < UINT32_MAX); /* records of requests are few */

    const uint16_t i = dgm_persistent_use(&cache, &owners[owner], ref);

    prove(i == there);
    if (i != NONE)
        twin[i].users++;
}

static void add_frame(unsigned owner, grant_ref_t ref)
{
    const bool refuses = cache.free == 0 || owners[owner].count == owners[owner].quota ||
                         twin_find(owner, ref) != NONE;
    const struct dgm_foreign foreign = {.handle = any_u32()};
    const uint16_t i = dgm_persistent_add(&cache, &owners[owner], ref, &foreign);

    prove((i == NONE) == refuses);
    if (i == NONE)
        return;
    prove(i < ENTRIES && !twin[i].here);
    twin[i] = (struct twin){true, false, owner, ENTRIES, ref, 1, foreign.handle};
}

static void unuse_frame(void)
{
    const uint16_t i = any_u8() % ENTRIES;

    assume(twin[i].here && twin[i].users > 0);
    dgm_persistent_unuse(&cache, i);
    twin[i].users--;
    twin[i].recent = true;
}

static void evict_frame(unsigned owner)
{
    const uint16_t fresh = twin_first_idle(owner, true);
    const uint16_t worn = twin_first_idle(owner, false);
    const uint16_t victim = worn == NONE ? fresh : worn;
    struct dgm_foreign foreign = {.handle = 0};

    prove(dgm_persistent_evict(&cache, &owners[owner], &foreign) == (victim != NONE));
    if (victim == NONE)
        return;
    prove(foreign.handle == twin[victim].handle && owners[owner].evictions == 1);
    for (unsigned i = 0; i < ENTRIES; i++) { /* the hand has passed these */
        if (i == victim || twin[i].owner != owner || !twin[i].here)
            continue;
        if (twin[i].users == 0 && (worn == NONE || twin[i].order < twin[victim].order))
            twin[i].recent = false;
        if (twin[i].order < twin[victim].order)
            twin[i].order += ENTRIES;
    }
    twin[victim].here = false;
}

/* Checks that the list from `head` has exactly the entries of bucket `bucket`, or the free ones. */
static void walk_bucket(uint16_t head, unsigned bucket)
{
    bool seen[ENTRIES] = {false};

    for (unsigned steps = 0; steps < ENTRIES && head != NONE; steps++) {
        prove(head < ENTRIES && !seen[head]);
        seen[head] = true;
        head = entries[head].chain;
    }
    for (unsigned i = 0; i < ENTRIES; i++)
        prove(seen[i] == (twin[i].here ? bucket_of_twin(i) == bucket : bucket == BUCKETS));
}

/* Checks every field against the twins. */
static void check_twins(void)
{
    for (uint16_t i = 0; i < ENTRIES; i++) {
        prove(entries[i].owner == (twin[i].here ? &owners[twin[i].owner] : NULL));
        if (!twin[i].here)
            continue;
        prove(entries[i].ref == twin[i].ref && entries[i].users == twin[i].users);
        prove(entries[i].foreign.handle == twin[i].handle);
        prove(entries[i].recent == twin[i].recent);
        prove(entries[i].next == next_in_circle(i));
    }
    for (unsigned b = 0; b < BUCKETS; b++)
        walk_bucket(buckets[b], b);
    for (unsigned o = 0; o < OWNERS; o++) {
        unsigned count = 0, idle = 0;

        for (unsigned i = 0; i < ENTRIES; i++) {
            count += twin[i].here && twin[i].owner == o;
            idle += twin[i].here && twin[i].owner == o && twin[i].users == 0;
        }
        prove(owners[o].count == count && count <= owners[o].quota);
        prove(owners[o].idle == idle && count <= owners[o].count_max);
        prove(owners[o].hand == end_of_circle(o, true));
    }
    prove(cache.free == ENTRIES - owners[0].count - owners[1].count);
    if (cache.free)
        walk_bucket(cache.free_first, BUCKETS);
}

int main(void)
{
    const unsigned owner = any_bool();
    const grant_ref_t ref = any_u32();

    prove(dgm_persistent_bytes(ENTRIES) <= sizeof memory);
    dgm_persistent_init(&cache, ENTRIES, memory);
    dgm_persistent_check(&cache);
    any_state();

    switch (any_u8() % 4) {
    case 0:
        use_frame(owner, ref);
        break;
    case 1:
        add_frame(owner, ref);
        break;
    case 2:
        unuse_frame();
        break;
    default:
        evict_frame(owner);
        break;
    }
    check_twins();
    return 0;
}
