/* SPDX-License-Identifier: MIT */
/* identity: a hash table with chains through an array. See dragoman/pages/identity.h. */
#include <dragoman/base/check.h>
#include <pages/identity_table.h>

#include <string.h>

#define NONE UINT16_MAX

static uint32_t buckets_for(uint16_t entries)
{
    uint32_t count = 1;

    while (count < entries)
        count *= 2;
    return count;
}

size_t dgm_identity_bytes(uint16_t entries)
{
    return entries * sizeof(struct dgm_identity_entry) + buckets_for(entries) * sizeof(uint16_t);
}

static uint16_t *bucket_of(const struct dgm_identity *identity, dgm_gfn_t gfn)
{
    const uint64_t number = dgm_gfn_number(gfn);

    /* Guests' frames come in runs, so their low bits spread well. */
    return &identity->buckets[(number ^ number >> 16) & identity->bucket_mask];
}

void dgm_identity_init(struct dgm_identity *identity, uint16_t entries, void *memory,
                       const struct dgm_gfn_range *places, size_t place_count)
{
    dgm_assert(place_count <= DGM_IDENTITY_PLACES_MAX && entries <= DGM_IDENTITY_MAX);
    dgm_assert(((uintptr_t)memory & 7) == 0);
    memset(identity, 0, sizeof *identity);
    memset(memory, 0, dgm_identity_bytes(entries));
    for (size_t i = 0; i < place_count; i++)
        identity->places[i] = places[i];
    identity->place_count = place_count;
    identity->entries = memory;
    identity->buckets = (uint16_t *)(identity->entries + entries);
    identity->bucket_mask = (uint16_t)(buckets_for(entries) - 1);
    for (uint32_t i = 0; i <= identity->bucket_mask; i++)
        identity->buckets[i] = NONE;
    identity->total = entries;
    identity->free_first = NONE;
    for (uint16_t i = entries; i > 0; i--) {
        identity->entries[i - 1].chain = identity->free_first;
        identity->free_first = (uint16_t)(i - 1);
    }
}

bool dgm_identity_possible(const struct dgm_identity *identity, dgm_mfn_t mfn)
{
    for (size_t i = 0; i < identity->place_count; i++) {
        if (dgm_gfn_in(identity->places[i], dgm_identity_gfn(mfn)))
            return true;
    }
    return false;
}

struct dgm_identity_entry *dgm_identity_find(const struct dgm_identity *identity, dgm_gfn_t gfn)
{
    for (uint16_t i = *bucket_of(identity, gfn); i != NONE; i = identity->entries[i].chain) {
        if (dgm_gfn_equal(identity->entries[i].gfn, gfn))
            return &identity->entries[i];
    }
    return NULL;
}

bool dgm_identity_in_flight(const struct dgm_identity *identity)
{
    for (uint16_t i = 0; identity->used && i < identity->total; i++)
        if (identity->entries[i].state == DGM_IDENTITY_LIVE && identity->entries[i].in_flight)
            return true;
    return false;
}

struct dgm_identity_entry *dgm_identity_add(struct dgm_identity *identity, dgm_gfn_t gfn,
                                            struct dgm_guest_grant grant)
{
    const uint16_t index = identity->free_first;
    uint16_t *bucket = bucket_of(identity, gfn);

    dgm_assert(!dgm_identity_find(identity, gfn));
    if (index == NONE)
        return NULL;
    identity->free_first = identity->entries[index].chain;
    identity->entries[index] = (struct dgm_identity_entry){.gfn = gfn,
                                                           .ref = grant.ref,
                                                           .domid = grant.domid,
                                                           .users = 1,
                                                           .chain = *bucket,
                                                           .readonly = grant.readonly,
                                                           .state = DGM_IDENTITY_MAPPING};
    *bucket = index;
    identity->used++;
    return &identity->entries[index];
}

void dgm_identity_remove(struct dgm_identity *identity, dgm_gfn_t gfn)
{
    uint16_t *link = bucket_of(identity, gfn);
    uint16_t index;

    while (*link != NONE && !dgm_gfn_equal(identity->entries[*link].gfn, gfn))
        link = &identity->entries[*link].chain;
    index = *link;
    dgm_assert(index != NONE && identity->entries[index].in_flight == 0);
    *link = identity->entries[index].chain;
    identity->entries[index] = (struct dgm_identity_entry){.chain = identity->free_first};
    identity->free_first = index;
    identity->used--;
}

void dgm_identity_unmapped(struct dgm_identity *identity, dgm_gfn_t gfn, bool done)
{
    struct dgm_identity_entry *entry = dgm_identity_find(identity, gfn);

    dgm_assert(entry && entry->state == DGM_IDENTITY_LEAVING);
    if (done) {
        dgm_identity_remove(identity, gfn);
    } else {
        entry->state = DGM_IDENTITY_LOST;
        identity->lost++;
    }
}

void dgm_identity_check(const struct dgm_identity *identity)
{
    uint16_t free = 0, used = 0, lost = 0;

    for (uint16_t i = identity->free_first; i != NONE; i = identity->entries[i].chain) {
        dgm_assert(identity->entries[i].state == DGM_IDENTITY_FREE);
        free++;
        dgm_assert(free <= identity->total); /* otherwise the list is a cycle */
    }
    for (uint16_t i = 0; i < identity->total; i++) {
        const struct dgm_identity_entry *entry = &identity->entries[i];

        if (entry->state == DGM_IDENTITY_FREE)
            continue;
        used++;
        lost += entry->state == DGM_IDENTITY_LOST;
        dgm_assert(dgm_identity_find(identity, entry->gfn) == entry);
        dgm_assert(entry->state == DGM_IDENTITY_LIVE || entry->in_flight == 0);
        dgm_assert((entry->users == 0) ==
                   (entry->state == DGM_IDENTITY_LEAVING || entry->state == DGM_IDENTITY_LOST));
    }
    dgm_assert(lost == identity->lost);
    dgm_assert(used == identity->used && used + free == identity->total);
}
