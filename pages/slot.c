/* SPDX-License-Identifier: MIT */
/*
 * slot: a bitmap of blocks that anyone may claim, over bitmaps of slots that only the block's owner
 * touches. See dragoman/pages/slot.h.
 *
 * A block is one word of the bitmaps of slots. Whoever clears its bit in `stored` owns it: that
 * atomic operation acquires what the owner before has written, and the one that sets the bit again
 * releases it. So nothing but `stored` is ever touched by two at a time.
 *
 * Two bits per slot; a slot that is retired is one no longer (its usable bit is gone), so that
 * giving it back is caught: it may still show a guest's page.
 */
#include <dragoman/base/check.h>
#include <dragoman/pages/slot.h>
#include <dragoman/base/status.h>

#include <string.h>

#define WORD_BITS 64u

_Static_assert(DGM_SLOT_BLOCK == WORD_BITS, "a block is a word of the bitmaps");

static uint64_t words_for(uint64_t bits)
{
    return bits / WORD_BITS + (bits % WORD_BITS != 0);
}

static uint64_t bit_of(uint64_t index)
{
    return (uint64_t)1 << (index % WORD_BITS);
}

static bool test(const uint64_t *map, uint64_t index)
{
    return map[index / WORD_BITS] & bit_of(index);
}

static uint64_t ones(uint64_t word)
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

/* The slots that the window has in this block, as bits. */
static uint64_t slots_in(const struct dgm_slots *slots, uint64_t block)
{
    const uint64_t index = block * DGM_SLOT_BLOCK;
    size_t i = slots->window.part_count - 1;
    uint64_t count;

    while (slots->window.parts[i].index > index)
        i--;
    count = slots->window.parts[i].gfns.count - (index - slots->window.parts[i].index);
    return count < WORD_BITS ? bit_of(count) - 1 : UINT64_MAX;
}

static bool is_stored(const struct dgm_slots *slots, uint64_t block)
{
    return __atomic_load_n(&slots->stored[block / WORD_BITS], __ATOMIC_RELAXED) & bit_of(block);
}

/* The block is anyone's from now on. */
static void store(struct dgm_slots *slots, uint64_t block)
{
    __atomic_add_fetch(&slots->blocks_free, 1, __ATOMIC_RELAXED);
    __atomic_fetch_or(&slots->stored[block / WORD_BITS], bit_of(block), __ATOMIC_RELEASE);
}

/* The block is the caller's from now on. False: it is another's. */
static bool claim(struct dgm_slots *slots, uint64_t block)
{
    const uint64_t bit = bit_of(block);

    if (!is_stored(slots, block) ||
        !(__atomic_fetch_and(&slots->stored[block / WORD_BITS], ~bit, __ATOMIC_ACQUIRE) & bit))
        return false;
    __atomic_sub_fetch(&slots->blocks_free, 1, __ATOMIC_RELAXED);
    return true;
}

static void fill_and_store(struct dgm_slots *slots, uint64_t block)
{
    slots->usable_map[block] = slots->free_map[block] = slots_in(slots, block);
    __atomic_add_fetch(&slots->present, ones(slots_in(slots, block)), __ATOMIC_RELAXED);
    store(slots, block);
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
        fill_and_store(slots, block);
}

/* The block of [first, first + count), which is all that the window has in it. */
static uint64_t whole_block(const struct dgm_slots *slots, dgm_gfn_t first)
{
    const uint64_t index = dgm_window_index(&slots->window, first);

    dgm_assert(index != DGM_WINDOW_NONE && index % DGM_SLOT_BLOCK == 0);
    return index / DGM_SLOT_BLOCK;
}

void dgm_slots_add(struct dgm_slots *slots, dgm_gfn_t first, uint64_t count)
{
    const uint64_t block = whole_block(slots, first);

    dgm_assert(count == ones(slots_in(slots, block)));
    dgm_assert(!is_stored(slots, block) && slots->usable_map[block] == 0);
    fill_and_store(slots, block);
}

int dgm_slots_withdraw(struct dgm_slots *slots, dgm_gfn_t first)
{
    const uint64_t block = whole_block(slots, first);

    if (!claim(slots, block))
        return DGM_EAGAIN;
    if (slots->usable_map[block] != slots_in(slots, block)) {
        store(slots, block);
        return DGM_EBUSY;
    }
    slots->usable_map[block] = slots->free_map[block] = 0;
    __atomic_sub_fetch(&slots->present, ones(slots_in(slots, block)), __ATOMIC_RELAXED);
    return (int)ones(slots_in(slots, block));
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

/* Makes the lowest block of the store ours. False: it has none. */
static bool claim_lowest(struct dgm_slot_cache *cache)
{
    struct dgm_slots *slots = cache->slots;
    const uint64_t words = words_for(blocks_of(slots));

    for (uint64_t word = 0; word < words; word++) {
        uint64_t bits;

        while ((bits = __atomic_load_n(&slots->stored[word], __ATOMIC_RELAXED)) != 0) {
            const uint64_t block = word * WORD_BITS + (uint64_t)__builtin_ctzll(bits);

            if (!claim(slots, block))
                continue; /* another was quicker */
            cache->owned[word] |= bit_of(block);
            cache->free_some[word] |= bit_of(block);
            cache->free += ones(slots->free_map[block]);
            return true;
        }
    }
    return false;
}

/* Gives the block back if it is wholly free and nobody waits for its slots. */
static uint64_t give_back(struct dgm_slot_cache *cache, uint64_t block)
{
    struct dgm_slots *slots = cache->slots;
    const uint64_t count = ones(slots->free_map[block]);

    if (slots->free_map[block] != slots->usable_map[block] || count > cache->free - cache->reserved)
        return 0;
    cache->owned[block / WORD_BITS] &= ~bit_of(block);
    cache->free_some[block / WORD_BITS] &= ~bit_of(block);
    cache->free -= count;
    store(slots, block);
    return count;
}

/* From the highest on, so that what stays is low. */
uint64_t dgm_slot_cache_shrink(struct dgm_slot_cache *cache)
{
    uint64_t given = 0;

    for (uint64_t word = words_for(blocks_of(cache->slots)); word-- > 0;) {
        uint64_t bits = cache->free_some[word];

        while (bits) {
            const uint64_t bit = WORD_BITS - 1 - (uint64_t)__builtin_clzll(bits);

            bits &= ~bit_of(bit);
            given += give_back(cache, word * WORD_BITS + bit);
        }
    }
    return given;
}

int dgm_slot_reserve(struct dgm_slot_cache *cache, struct dgm_quota *quota, uint64_t count)
{
    if (quota && (quota->used > quota->max || count > quota->max - quota->used)) {
        quota->refusals++;
        return DGM_EDQUOT;
    }
    while (cache->free - cache->reserved < count) {
        if (!claim_lowest(cache)) {
            /* Else two that both need more than is left would each keep a half. */
            dgm_slot_cache_shrink(cache);
            return DGM_EAGAIN;
        }
    }
    cache->reserved += count;
    if (quota) {
        quota->used += count;
        if (quota->used > quota->used_max)
            quota->used_max = quota->used;
    }
    return DGM_OK;
}

static void uncharge(struct dgm_quota *quota, uint64_t count)
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
    uncharge(quota, count);
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
    slots->free_map[block] &= ~bit_of(bit);
    if (slots->free_map[block] == 0)
        cache->free_some[word] &= ~bit_of(block);
    cache->free--;
    cache->reserved--;
    cache->taken++;
    if (cache->taken > cache->taken_max)
        cache->taken_max = cache->taken;
    return dgm_window_gfn(&slots->window, block * DGM_SLOT_BLOCK + bit);
}

/* The index of a slot that somebody has from this cache. */
static uint64_t taken_index(const struct dgm_slot_cache *cache, dgm_gfn_t gfn)
{
    const struct dgm_slots *slots = cache->slots;
    const uint64_t index = dgm_window_index(&slots->window, gfn);

    dgm_assert(index != DGM_WINDOW_NONE);
    dgm_assert(test(cache->owned, index / DGM_SLOT_BLOCK));
    dgm_assert(test(slots->usable_map, index) && !test(slots->free_map, index));
    return index;
}

void dgm_slot_give(struct dgm_slot_cache *cache, struct dgm_quota *quota, dgm_gfn_t gfn)
{
    const uint64_t index = taken_index(cache, gfn), block = index / DGM_SLOT_BLOCK;

    cache->slots->free_map[block] |= bit_of(index);
    cache->free_some[block / WORD_BITS] |= bit_of(block);
    cache->taken--;
    cache->free++;
    uncharge(quota, 1);
}

void dgm_slot_retire(struct dgm_slot_cache *cache, dgm_gfn_t gfn)
{
    const uint64_t index = taken_index(cache, gfn);

    cache->slots->usable_map[index / DGM_SLOT_BLOCK] &= ~bit_of(index);
    cache->taken--;
    cache->retired++;
}

void dgm_slot_cache_check(const struct dgm_slot_cache *cache)
{
    const struct dgm_slots *slots = cache->slots;
    uint64_t free = 0, usable = 0;

    for (uint64_t block = 0; block < blocks_of(slots); block++) {
        if (!test(cache->owned, block)) {
            dgm_assert(!test(cache->free_some, block));
            continue;
        }
        dgm_assert(!is_stored(slots, block));
        dgm_assert((slots->usable_map[block] & ~slots_in(slots, block)) == 0);
        dgm_assert((slots->free_map[block] & ~slots->usable_map[block]) == 0);
        dgm_assert(test(cache->free_some, block) == (slots->free_map[block] != 0));
        free += ones(slots->free_map[block]);
        usable += ones(slots->usable_map[block]);
    }
    dgm_assert(free == cache->free && free + cache->taken == usable);
    dgm_assert(cache->reserved <= cache->free);
    dgm_assert(cache->taken <= cache->taken_max);
}
