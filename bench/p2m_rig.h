/* SPDX-License-Identifier: MIT */
/*
 * p2m_rig: a p2m with a window of a million slots and a bank of our own RAM, and its twin, for both
 * measurements. Slots are published in a random order, the same in both.
 */
#ifndef BENCH_P2M_RIG_H
#define BENCH_P2M_RIG_H

#include "treemap.h"

#include <dragoman/pages/p2m.h>

#include <stdint.h>

#define SLOTS       1000000u
#define SLOT_FIRST  0x200000u
#define RAM_FIRST   0x40000u
#define RAM_FRAMES  4096u
#define MFN_OF(gfn) ((gfn) + 0x1000000u)

extern struct dgm_p2m p2m;
extern uint64_t slot[SLOTS]; /* gfns, shuffled */

/* From 0 to `below` - 1; the same numbers in every run. */
uint64_t random_below(uint64_t below);

void rig_start(void);

#endif
