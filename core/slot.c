/* SPDX-License-Identifier: MIT */
/*
 * slot: a bitmap of free slots under a bitmap of words that have one. See dragoman/slot.h.
 *
 * Taking looks for the first set bit of free_some (one load per 4,096 slots, so 8 at the default
 * window), then for the first set bit of that word. A third bitmap knows the retired ones, so that
 * giving one back is caught: it may still show a guest's page. Three bits per slot in all.
 */
#include <dragoman/check.h>
#include <dragoman/slot.h>
#include <dragoman/status.h>

#include <string.h>

#define WORD_BITS 64u

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

size_t dgm_slots_bytes(uint64_t slots)
{
    const uint64_t words = words_for(slots);

    return (size_t)((2 * words + words_for(words)) * sizeof(uint64_t));
}

int dgm_slots_init(struct dgm_slots *slots, struct dgm_gfn_range window, void *memory)
{
    const uint64_t words = words_for(window.count);

    if (window.count > UINT64_MAX - window.first.n)
        return DGM_EINVAL;
    dgm_assert(((uintptr_t)memory & 7) == 0);
    memset(slots, 0, sizeof *slots);
    memset(memory, 0, dgm_slots_bytes(window.count));
    slots->window = window;
    slots->free_map = memory;
    slots->retired_map = slots->free_map + words;
    slots->free_some = slots->retired_map + words;
    slots->free = window.count;
    for (uint64_t i = 0; i < window.count; i++)
        slots->free_map[i / WORD_BITS] |= bit_of(i);
    for (uint64_t i = 0; i < words; i++)
        slots->free_some[i / WORD_BITS] |= bit_of(i);
    return DGM_OK;
}

static uint64_t lowest_free(const struct dgm_slots *slots)
{
    uint64_t top = 0, word;

    while (slots->free_some[top] == 0)
        top++;
    word = top * WORD_BITS + (uint64_t)__builtin_ctzll(slots->free_some[top]);
    return word * WORD_BITS + (uint64_t)__builtin_ctzll(slots->free_map[word]);
}

int dgm_slot_take(struct dgm_slots *slots, dgm_gfn_t *gfn)
{
    uint64_t index, word;

    if (slots->free == 0)
        return DGM_EAGAIN;
    index = lowest_free(slots);
    word = index / WORD_BITS;
    slots->free_map[word] &= ~bit_of(index);
    if (slots->free_map[word] == 0)
        slots->free_some[word / WORD_BITS] &= ~bit_of(word);
    slots->free--;
    slots->taken++;
    if (slots->taken > slots->taken_max)
        slots->taken_max = slots->taken;
    *gfn = dgm_gfn(slots->window.first.n + index);
    return DGM_OK;
}

/* The index of a slot that somebody holds. */
static uint64_t taken_index(const struct dgm_slots *slots, dgm_gfn_t gfn)
{
    const uint64_t index = gfn.n - slots->window.first.n;

    dgm_assert(dgm_gfn_in(slots->window, gfn));
    dgm_assert(!test(slots->free_map, index));
    dgm_assert(!test(slots->retired_map, index));
    return index;
}

void dgm_slot_give(struct dgm_slots *slots, dgm_gfn_t gfn)
{
    const uint64_t index = taken_index(slots, gfn);
    const uint64_t word = index / WORD_BITS;

    slots->free_map[word] |= bit_of(index);
    slots->free_some[word / WORD_BITS] |= bit_of(word);
    slots->taken--;
    slots->free++;
}

void dgm_slot_retire(struct dgm_slots *slots, dgm_gfn_t gfn)
{
    const uint64_t index = taken_index(slots, gfn);

    slots->retired_map[index / WORD_BITS] |= bit_of(index);
    slots->taken--;
    slots->retired++;
}

void dgm_slots_check(const struct dgm_slots *slots)
{
    uint64_t free = 0, retired = 0;

    for (uint64_t word = 0; word < words_for(slots->window.count); word++) {
        dgm_assert((slots->free_map[word] & slots->retired_map[word]) == 0);
        dgm_assert(test(slots->free_some, word) == (slots->free_map[word] != 0));
        free += (uint64_t)__builtin_popcountll(slots->free_map[word]);
        retired += (uint64_t)__builtin_popcountll(slots->retired_map[word]);
    }
    dgm_assert(free == slots->free && retired == slots->retired);
    dgm_assert(free + retired + slots->taken == slots->window.count);
    dgm_assert(slots->taken <= slots->taken_max);
}
