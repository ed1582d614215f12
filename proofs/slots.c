/* SPDX-License-Identifier: MIT */
/*
 * Proves: a cache serves only slots of blocks that it owns, the lowest first, each to one holder;
 * reserving is all or nothing, within the quota and the free slots; whole blocks move between
 * store, caches and balloon, and only if none of their slots is taken; an operation changes no
 * other state, and no block of another cache.
 * Over: one operation from every state that the invariant allows (so any number of them), a window
 * of 68 slots: two blocks, each owned by this cache, by another one, by the store, or absent, the
 * slots between 3 and 63 retired.
 *
 * sources: pages/slot.c
 * options: --unwind 5
 * planted: pages/slot.c s/if \(slots->free_map\[block\] == 0\)/if (slots->free_map[block] == 1)/
 * planted: pages/slot.c s/cache->taken--;//
 * planted: pages/slot.c s/cache->free_some\[block \/ WORD_BITS\] \|= slot_bit\(block\);//
 * planted: pages/slot.c s/while \(cache->free - cache->reserved < count\)/while (cache->free < count)/
 * planted: pages/slot.c s/count > quota->max - quota->used/quota->used + count > quota->max/
 * planted: pages/slot.c s/slots->free_map\[block\] != slots->usable_map\[block\] \|\|//
 * planted: pages/slot.c s/count > cache->free - cache->reserved\)/count > cache->free)/
 * planted: pages/slot.c s/slots->usable_map\[block\] != slots_of_block\(slots, block\)/slots->usable_map[block] == 0/
 * planted: pages/slot.c s/if \(!claim_block\(slots, block\)\)$/if (is_stored(slots, block) \&\& !claim_block(slots, block))/
 */
#include "proof.h"

#include <dragoman/pages/slot.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>

#define FIRST 0x1000u
#define SLOTS 68

enum { OURS, OTHERS, STORED, ABSENT, OWNERS };

static const unsigned index_of[7] = {0, 1, 2, 64, 65, 66, 67};

uint64_t memory[5], cache_memory[2];
uint64_t usable_map[2], free_map[2], stored[1], owned[1], free_some[1];
struct dgm_slots slots;
struct dgm_slot_cache cache;
struct dgm_quota quota;
uint8_t owner[2]; /* of the blocks */
uint64_t usable[2], free_slots[2];

static uint64_t count_ones(uint64_t word)
{
    return (uint64_t)__builtin_popcountll(word);
}

static uint64_t all_slots_of(unsigned block)
{
    return block == 0 ? UINT64_MAX : 15;
}

static void any_block(unsigned block)
{
    owner[block] = any_u8() % OWNERS;
    usable[block] = any_u8() & (block == 0 ? 7 : 15);
    free_slots[block] = usable[block] & any_u8();
    if (owner[block] == STORED)
        free_slots[block] = usable[block];
    if (owner[block] == ABSENT)
        usable[block] = free_slots[block] = 0;
    assume(owner[block] != STORED || usable[block] != 0);
}

/* Sets any state that the invariant allows; separate arrays make the checker faster. */
static void any_state(void)
{
    slots.usable_map = usable_map;
    slots.free_map = free_map;
    slots.stored = stored;
    cache.owned = owned;
    cache.free_some = free_some;
    slots.stored[0] = slots.blocks_free = 0;
    cache.owned[0] = cache.free_some[0] = 0;
    cache.free = cache.taken = 0;
    for (unsigned block = 0; block < 2; block++) {
        any_block(block);
        slots.usable_map[block] = usable[block];
        slots.free_map[block] = free_slots[block];
        slots.stored[0] |= (uint64_t)(owner[block] == STORED) << block;
        slots.blocks_free += owner[block] == STORED;
        if (owner[block] != OURS)
            continue;
        cache.owned[0] |= (uint64_t)1 << block;
        cache.free_some[0] |= (uint64_t)(free_slots[block] != 0) << block;
        cache.free += count_ones(free_slots[block]);
        cache.taken += count_ones(usable[block]) - count_ones(free_slots[block]);
    }
    cache.reserved = any_u64();
    assume(cache.reserved <= cache.free);
    cache.taken_max = any_u64();
    assume(cache.taken_max >= cache.taken);
    quota.max = any_u64();
    quota.used = any_u64(); /* more than max, if that was lowered */
}

static uint64_t in_store(void)
{
    return (owner[0] == STORED ? count_ones(free_slots[0]) : 0) +
           (owner[1] == STORED ? count_ones(free_slots[1]) : 0);
}

/* Checks that the bitmaps are as expected after the operation. */
static void prove_same_slots(void)
{
    for (unsigned block = 0; block < 2; block++) {
        prove(slots.usable_map[block] == usable[block]);
        prove(slots.free_map[block] == free_slots[block]);
    }
}

/* Checks that another cache keeps its blocks; a block may have moved between this cache and the
 * store. */
static void prove_same_owners(void)
{
    uint64_t stored = 0;

    for (unsigned block = 0; block < 2; block++) {
        const bool is_stored = slots.stored[0] >> block & 1, is_ours = cache.owned[0] >> block & 1;

        prove(!(is_stored && is_ours));
        prove((is_stored || is_ours) == (owner[block] == OURS || owner[block] == STORED));
        stored += is_stored;
    }
    prove(slots.blocks_free == stored);
    prove(slots.stored[0] < 4 && cache.owned[0] < 4);
}

static void reserve_slots(void)
{
    const uint64_t count = any_u64(), used = quota.used, reserved = cache.reserved;
    const uint64_t there = cache.free - cache.reserved + in_store();
    const bool charged = any_bool();
    const bool allowed = !charged || (used <= quota.max && count <= quota.max - used);
    const int status = dgm_slot_reserve(&cache, charged ? &quota : NULL, count);

    prove((status == DGM_EDQUOT) == !allowed);
    prove((status == DGM_OK) == (allowed && count <= there));
    prove(status == DGM_OK || status == DGM_EDQUOT || status == DGM_EAGAIN);
    prove(cache.reserved == reserved + (status == DGM_OK ? count : 0));
    prove(quota.used == used + (status == DGM_OK && charged ? count : 0));
}

static void unreserve_slots(void)
{
    const uint64_t count = any_u64(), used = quota.used, reserved = cache.reserved;

    assume(count <= reserved && count <= used);
    dgm_slot_unreserve(&cache, &quota, count);
    prove(cache.reserved == reserved - count && quota.used == used - count);
}

static void shrink_window(void)
{
    const uint64_t free = cache.free, given = dgm_slot_cache_shrink(&cache);

    prove(given == free - cache.free);
    for (unsigned block = 0; block < 2; block++) {
        const bool kept = cache.owned[0] >> block & 1;
        const uint64_t count = count_ones(free_slots[block]);

        if (owner[block] != OURS)
            prove(!kept);
        else if (!kept)
            prove(free_slots[block] == usable[block]);
        else /* it had to */
            prove(count == 0 || free_slots[block] != usable[block] ||
                  cache.free - cache.reserved < count);
    }
}

static void take_slot(void)
{
    const uint64_t reserved = cache.reserved;
    uint64_t index;

    assume(reserved > 0);
    index = dgm_gfn_number(dgm_slot_take(&cache)) - FIRST;
    prove(index < SLOTS && owner[index / 64] == OURS);
    prove(free_slots[index / 64] >> index % 64 & 1);
    prove((free_slots[index / 64] & (((uint64_t)1 << index % 64) - 1)) == 0);
    prove(index < 64 || owner[0] != OURS || free_slots[0] == 0);
    prove(cache.reserved == reserved - 1);
    free_slots[index / 64] &= ~((uint64_t)1 << index % 64);
}

static void give_or_retire(void)
{
    const unsigned index = index_of[any_u8() % 7];
    const uint64_t bit = (uint64_t)1 << index % 64, used = quota.used;

    assume(owner[index / 64] == OURS);
    assume((usable[index / 64] & ~free_slots[index / 64] & bit) && used > 0);
    if (any_bool()) {
        dgm_slot_give(&cache, &quota, dgm_gfn(FIRST + index));
        free_slots[index / 64] |= bit;
        prove(quota.used == used - 1);
    } else {
        dgm_slot_retire(&cache, dgm_gfn(FIRST + index));
        usable[index / 64] &= ~bit;
        prove(quota.used == used);
    }
}

static void balloon_slots(void)
{
    const unsigned block = any_bool();
    const dgm_gfn_t gfn = dgm_gfn(FIRST + block * 64);

    if (any_bool()) {
        assume(owner[1] == ABSENT);
        dgm_slots_add(&slots, dgm_gfn(FIRST + 64), 4);
        usable[1] = free_slots[1] = 15;
        owner[1] = STORED;
    } else {
        const int result = dgm_slots_withdraw(&slots, gfn);

        prove(result == (owner[block] != STORED ? DGM_EAGAIN
                         : usable[block] != all_slots_of(block)
                             ? DGM_EBUSY
                             : (int)count_ones(all_slots_of(block))));
        if (result > 0) {
            usable[block] = free_slots[block] = 0;
            owner[block] = ABSENT;
        }
    }
}

static void prove_state(void)
{
    dgm_slot_cache_check(&cache);
    prove_same_slots();
    prove_same_owners();
}

int main(void)
{
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{FIRST}, SLOTS});

    prove(dgm_slots_bytes(SLOTS) <= sizeof memory);
    prove(dgm_slot_cache_bytes(SLOTS) <= sizeof cache_memory);
    dgm_slots_init(&slots, &window, true, memory);
    dgm_slot_cache_init(&cache, &slots, cache_memory);
    dgm_slot_cache_check(&cache);
    any_state();

    /* Each case ends the program: the checker is faster if states are not merged again. */
    switch (any_u8() % 6) {
    case 0:
        reserve_slots();
        prove_state();
        break;
    case 1:
        unreserve_slots();
        prove_state();
        break;
    case 2:
        shrink_window();
        prove_state();
        break;
    case 3:
        take_slot();
        prove_state();
        break;
    case 4:
        give_or_retire();
        prove_state();
        break;
    default:
        balloon_slots();
        prove_state();
        break;
    }
    return 0;
}
