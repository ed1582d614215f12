/* SPDX-License-Identifier: MIT */
/*
 * p2m_rig: a p2m with a window of a million slots and a bank of our own RAM, and its twin, for both
 * measurements. Slots are published in a random order, the same in both.
 */
#ifndef BENCH_P2M_RIG_H
#define BENCH_P2M_RIG_H

#include "treemap.h"

#include <dragoman/pages/p2m.h>

#include <stdio.h>
#include <stdlib.h>

#define SLOTS       1000000u
#define SLOT_FIRST  0x200000u
#define RAM_FIRST   0x40000u
#define RAM_FRAMES  4096u
#define MFN_OF(gfn) ((gfn) + 0x1000000u)

static struct dgm_p2m p2m;
static uint64_t slot[SLOTS]; /* gfns, shuffled */

static uint64_t random_state = 1;

static uint64_t random_below(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void rig_start(void)
{
    const struct dgm_ram_bank bank = {.gfn = {RAM_FIRST}, .mfn = {RAM_FIRST}, .count = RAM_FRAMES};
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){dgm_gfn(SLOT_FIRST), SLOTS});
    void *const memory = aligned_alloc(64, (dgm_p2m_bytes(SLOTS) + 63) & ~(size_t)63);

    if (!memory || dgm_p2m_init(&p2m, &bank, 1, &window, memory) != 0)
        abort();
    for (uint64_t i = 0; i < SLOTS; i++) {
        const uint64_t other = random_below(i + 1);

        slot[i] = slot[other];
        slot[other] = SLOT_FIRST + i;
    }
}

#endif
