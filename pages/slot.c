/* SPDX-License-Identifier: MIT */
/*
 * slot: a bitmap of blocks that any reactor may claim, over bitmaps of slots that only the
 * owner of the block touches. See dragoman/pages/slot.h.
 *
 * A block is one word of the bitmaps of slots. The cache that clears a block's bit in `stored` owns
 * the block. That atomic operation has acquire order, so the new owner sees what the former owner
 * wrote; setting the bit has release order. So `stored` is the only memory that two reactors touch
 * at the same time.
 *
 * Each slot has two bits: usable and free. A retired slot is neither: its usable bit is cleared, so
 * that an attempt to return it asserts. It may still show a guest's page.
 */
#include <dragoman/base/check.h>
#include <pages/internal.h>
#include <dragoman/base/status.h>

#include <string.h>

#define WORD_BITS 64u

_Static_assert(DGM_SLOT_BLOCK == WORD_BITS, "a block is a word of the bitmaps");

static uint64_t words_for(uint64_t bits)
{
    return bits / WORD_BITS + (bits % WORD_BITS != 0);
}

static uint64_t slot_bit(uint64_t index)
{
    return (uint64_t)1 << (index % WORD_BITS);
}

static bool slot_is_set(const uint64_t *map, uint64_t index)
{
    return map[index / WORD_BITS] & slot_bit(index);
}

static uint64_t count_bits(uint64_t word)
{
    return (uint64_t)__builtin_popcountll(word);
}

static uint64_t blocks_of(const struct dgm_slots *slots)
{
    return words_for(slots->window.count);
}

/* --- the store --- */

size_t dgm_slots_bytes(uint64_t count)
{
    const uint64_t blocks = words_for(count);

    return (size_t)((2 * blocks + words_for(blocks)) * sizeof(uint64_t));
}

/* A bit for each slot that the window has in this block. */
static uint64_t slots_of_block(const struct dgm_slots *slots, uint64_t block)
{
    const uint64_t index = block * DGM_SLOT_BLOCK;
    size_t i = slots->window.part_count - 1;
    uint64_t count;

    while (slots->window.parts[i].index > index)
        i--;
    count = slots->window.parts[i].gfns.count - (index - slots->window.parts[i].index);
    return count < WORD_BITS ? slot_bit(count) - 1 : UINT64_MAX;
}

static bool is_stored(const struct dgm_slots *slots, uint64_t block)
{
    return __atomic_load_n(&slots->stored[block / WORD_BITS], __ATOMIC_RELAXED) & slot_bit(block);
}

/* Puts the block into the store: any cache may claim it from now on. */
static void return_block(struct dgm_slots *slots, uint64_t block)
{
    __atomic_add_fetch(&slots->blocks_free, 1, __ATOMIC_RELAXED);
    __atomic_fetch_or(&slots->stored[block / WORD_BITS], slot_bit(block), __ATOMIC_RELEASE);
}

/* Takes the block out of the store for the caller. False: the store does not have it. */
static bool claim_block(struct dgm_slots *slots, uint64_t block)
{
    const uint64_t bit = slot_bit(block);

    if (!is_stored(slots, block) ||
        !(__atomic_fetch_and(&slots->stored[block / WORD_BITS], ~bit, __ATOMIC_ACQUIRE) & bit))
        return false;
    __atomic_sub_fetch(&slots->blocks_free, 1, __ATOMIC_RELAXED);
    return true;
}

static void add_block(struct dgm_slots *slots, uint64_t block)
{
    slots->usable_map[block] = slots->free_map[block] = slots_of_block(slots, block);
    __atomic_add_fetch(&slots->present, count_bits(slots_of_block(slots, block)), __ATOMIC_RELAXED);
    return_block(slots, block);
}

void dgm_slots_init(struct dgm_slots *slots, const struct dgm_window *window, bool all,
                    void *memory)
{
    dgm_assert(((uintptr_t)memory & 7) == 0);
    memset(slots, 0, sizeof *slots);
    memset(memory, 0, dgm_slots_bytes(window->count));
    slots->window = *window;
    slots->usable_map = memory;
    slots->free_map = slots->usable_map + words_for(window->count);
    slots->stored = slots->free_map + words_for(window->count);
    for (uint64_t block = 0; all && block < blocks_of(slots); block++)
        add_block(slots, block);
}

/* The block that starts at slot `first`. */
static uint64_t block_starting_at(const struct dgm_slots *slots, dgm_gfn_t first)
{
    const uint64_t index = dgm_window_index(&slots->window, first);

    dgm_assert(index != DGM_WINDOW_NONE && index % DGM_SLOT_BLOCK == 0);
    return index / DGM_SLOT_BLOCK;
}

void dgm_slots_add(struct dgm_slots *slots, dgm_gfn_t first, uint64_t count)
{
    const uint64_t block = block_starting_at(slots, first);

    dgm_assert(count == count_bits(slots_of_block(slots, block)));
    dgm_assert(!is_stored(slots, block) && slots->usable_map[block] == 0);
    add_block(slots, block);
}

int dgm_slots_withdraw(struct dgm_slots *slots, dgm_gfn_t first)
{
    const uint64_t block = block_starting_at(slots, first);

    if (!claim_block(slots, block))
        return DGM_EAGAIN;
    if (slots->usable_map[block] != slots_of_block(slots, block)) {
        return_block(slots, block);
        return DGM_EBUSY;
    }
    slots->usable_map[block] = slots->free_map[block] = 0;
    __atomic_sub_fetch(&slots->present, count_bits(slots_of_block(slots, block)), __ATOMIC_RELAXED);
    return (int)count_bits(slots_of_block(slots, block));
}

/* --- a cache --- */

size_t dgm_slot_cache_bytes(uint64_t count)
{
    return (size_t)(2 * words_for(words_for(count)) * sizeof(uint64_t));
}

void dgm_slot_cache_init(struct dgm_slot_cache *cache, struct dgm_slots *slots, void *memory)
{
    dgm_assert(((uintptr_t)memory & 7) == 0);
    memset(cache, 0, sizeof *cache);
    memset(memory, 0, dgm_slot_cache_bytes(slots->window.count));
    cache->slots = slots;
    cache->owned = memory;
    cache->free_some = cache->owned + words_for(blocks_of(slots));
}

/* Claims the lowest block of the store for the cache. False: the store has none. */
static bool claim_lowest(struct dgm_slot_cache *cache)
{
    struct dgm_slots *slots = cache->slots;
    const uint64_t words = words_for(blocks_of(slots));

    for (uint64_t word = 0; word < words; word++) {
        uint64_t bits;

        while ((bits = __atomic_load_n(&slots->stored[word], __ATOMIC_RELAXED)) != 0) {
            const uint64_t block = word * WORD_BITS + (uint64_t)__builtin_ctzll(bits);

            if (!claim_block(slots, block))
                continue; /* another cache claimed it meanwhile */
            cache->owned[word] |= slot_bit(block);
            cache->free_some[word] |= slot_bit(block);
            cache->free += count_bits(slots->free_map[block]);
            return true;
        }
    }
    return false;
}

/* Returns the block to the store if all its slots are free and none is needed for what is reserved.
 * Returns the number of its slots, or 0. */
static uint64_t return_if_free(struct dgm_slot_cache *cache, uint64_t block)
{
    struct dgm_slots *slots = cache->slots;
    const uint64_t count = count_bits(slots->free_map[block]);

    if (slots->free_map[block] != slots->usable_map[block] || count > cache->free - cache->reserved)
        return 0;
    cache->owned[block / WORD_BITS] &= ~slot_bit(block);
    cache->free_some[block / WORD_BITS] &= ~slot_bit(block);
    cache->free -= count;
    return_block(slots, block);
    return count;
}

/* From the highest block down, so that the blocks that stay are low. */
uint64_t dgm_slot_cache_shrink(struct dgm_slot_cache *cache)
{
    uint64_t returned = 0;

    for (uint64_t word = words_for(blocks_of(cache->slots)); word-- > 0;) {
        uint64_t bits = cache->free_some[word];

        while (bits) {
            const uint64_t bit = WORD_BITS - 1 - (uint64_t)__builtin_clzll(bits);

            bits &= ~slot_bit(bit);
            returned += return_if_free(cache, word * WORD_BITS + bit);
        }
    }
    return returned;
}

int dgm_slot_reserve(struct dgm_slot_cache *cache, struct dgm_quota *quota, uint64_t count)
{
    if (quota && (quota->used > quota->max || count > quota->max - quota->used)) {
        quota->refusals++;
        return DGM_EDQUOT;
    }
    while (cache->free - cache->reserved < count)
        if (!claim_lowest(cache))
            return DGM_EAGAIN;
    cache->reserved += count;
    if (quota) {
        quota->used += count;
        if (quota->used > quota->used_max)
            quota->used_max = quota->used;
    }
    return DGM_OK;
}

static void uncharge_quota(struct dgm_quota *quota, uint64_t count)
{
    if (!quota)
        return;
    dgm_assert(count <= quota->used);
    quota->used -= count;
}

void dgm_slot_unreserve(struct dgm_slot_cache *cache, struct dgm_quota *quota, uint64_t count)
{
    dgm_assert(count <= cache->reserved);
    cache->reserved -= count;
    uncharge_quota(quota, count);
}

dgm_gfn_t dgm_slot_take(struct dgm_slot_cache *cache)
{
    struct dgm_slots *slots = cache->slots;
    uint64_t word = 0, block, bit;

    dgm_assert(cache->reserved > 0);
    while (cache->free_some[word] == 0)
        word++;
    block = word * WORD_BITS + (uint64_t)__builtin_ctzll(cache->free_some[word]);
    bit = (uint64_t)__builtin_ctzll(slots->free_map[block]);
    slots->free_map[block] &= ~slot_bit(bit);
    if (slots->free_map[block] == 0)
        cache->free_some[word] &= ~slot_bit(block);
    cache->free--;
    cache->reserved--;
    cache->taken++;
    if (cache->taken > cache->taken_max)
        cache->taken_max = cache->taken;
    return dgm_window_gfn(&slots->window, block * DGM_SLOT_BLOCK + bit);
}

/* The index of a slot that is taken from this cache. */
static uint64_t taken_index(const struct dgm_slot_cache *cache, dgm_gfn_t gfn)
{
    const struct dgm_slots *slots = cache->slots;
    const uint64_t index = dgm_window_index(&slots->window, gfn);

    dgm_assert(index != DGM_WINDOW_NONE);
    dgm_assert(slot_is_set(cache->owned, index / DGM_SLOT_BLOCK));
    dgm_assert(slot_is_set(slots->usable_map, index) && !slot_is_set(slots->free_map, index));
    return index;
}

void dgm_slot_give(struct dgm_slot_cache *cache, struct dgm_quota *quota, dgm_gfn_t gfn)
{
    const uint64_t index = taken_index(cache, gfn), block = index / DGM_SLOT_BLOCK;

    cache->slots->free_map[block] |= slot_bit(index);
    cache->free_some[block / WORD_BITS] |= slot_bit(block);
    cache->taken--;
    cache->free++;
    uncharge_quota(quota, 1);
}

void dgm_slot_retire(struct dgm_slot_cache *cache, dgm_gfn_t gfn)
{
    const uint64_t index = taken_index(cache, gfn);

    cache->slots->usable_map[index / DGM_SLOT_BLOCK] &= ~slot_bit(index);
    cache->taken--;
    cache->retired++;
}

void dgm_slot_cache_check(const struct dgm_slot_cache *cache)
{
    const struct dgm_slots *slots = cache->slots;
    uint64_t free = 0, usable = 0;

    for (uint64_t block = 0; block < blocks_of(slots); block++) {
        if (!slot_is_set(cache->owned, block)) {
            dgm_assert(!slot_is_set(cache->free_some, block));
            continue;
        }
        dgm_assert(!is_stored(slots, block));
        dgm_assert((slots->usable_map[block] & ~slots_of_block(slots, block)) == 0);
        dgm_assert((slots->free_map[block] & ~slots->usable_map[block]) == 0);
        dgm_assert(slot_is_set(cache->free_some, block) == (slots->free_map[block] != 0));
        free += count_bits(slots->free_map[block]);
        usable += count_bits(slots->usable_map[block]);
    }
    dgm_assert(free == cache->free && free + cache->taken == usable);
    dgm_assert(cache->reserved <= cache->free);
    dgm_assert(cache->taken <= cache->taken_max);
}
