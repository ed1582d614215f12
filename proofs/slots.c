/* SPDX-License-Identifier: MIT */
/*
 * Proves: free + taken + retired is the window, always; taking gives the lowest free slot and
 * nothing only when none is free; giving and retiring touch that slot alone.
 * Over: one operation from every state that the invariant allows (so any number of them), a window
 * of 68 slots that lies anywhere: two words of the bitmap, the slots between 4 and 63 retired.
 *
 * sources: core/slot.c
 * options: --unwind 70
 * planted: core/slot.c s/if \(slots->free_map\[word\] == 0\)/if (slots->free_map[word] == 1)/
 * planted: core/slot.c s/slots->taken--;//
 * planted: core/slot.c s/slots->free_some\[word \/ WORD_BITS\] \|= bit_of\(word\);//
 */
#include "proof.h"

#include <dragoman/slot.h>
#include <dragoman/status.h>

#define SLOTS 68

static const unsigned index_of[8] = {0, 1, 2, 3, 64, 65, 66, 67};

uint64_t memory[5];
struct dgm_slots slots;
bool is_free[8], is_retired[8];

static unsigned place(dgm_gfn_t gfn)
{
    unsigned i = 0;

    while (i < 8 && gfn.n - slots.window.first.n != index_of[i])
        i++;
    return i;
}

/* The state becomes any that the invariant allows. */
static void any_state(void)
{
    slots.free_map[0] = slots.free_map[1] = 0;
    slots.retired_map[0] = ~(uint64_t)15;
    slots.retired_map[1] = 0;
    slots.free = slots.taken = 0;
    slots.retired = 60;
    for (unsigned i = 0; i < 8; i++) {
        is_free[i] = any_bool();
        is_retired[i] = !is_free[i] && any_bool();
        slots.free_map[i / 4] |= (uint64_t)is_free[i] << index_of[i] % 64;
        slots.retired_map[i / 4] |= (uint64_t)is_retired[i] << index_of[i] % 64;
        slots.free += is_free[i];
        slots.retired += is_retired[i];
        slots.taken += !is_free[i] && !is_retired[i];
    }
    slots.free_some[0] = (uint64_t)(slots.free_map[0] != 0) | (uint64_t)(slots.free_map[1] != 0)
                                                                  << 1;
    slots.taken_max = any_u64();
    assume(slots.taken_max >= slots.taken);
}

int main(void)
{
    const struct dgm_gfn_range window = {.first = {any_u64()}, .count = SLOTS};
    dgm_gfn_t gfn;
    unsigned at;

    assume(window.first.n <= UINT64_MAX - SLOTS);
    prove(dgm_slots_bytes(SLOTS) <= sizeof memory);
    prove(dgm_slots_init(&slots, window, memory) == DGM_OK);
    dgm_slots_check(&slots);
    any_state();
    if (any_bool()) {
        const bool none = slots.free == 0;
        const int status = dgm_slot_take(&slots, &gfn);

        prove(status == (none ? DGM_EAGAIN : DGM_OK));
        if (status == DGM_OK) {
            at = place(gfn);
            prove(at < 8 && is_free[at]);
            for (unsigned i = 0; i < 8; i++)
                prove(i >= at || !is_free[i]);
            is_free[at] = false;
        }
    } else {
        at = any_u8() % 8;
        gfn = dgm_gfn(window.first.n + index_of[at]);
        assume(!is_free[at] && !is_retired[at]);
        if (any_bool()) {
            dgm_slot_give(&slots, gfn);
            is_free[at] = true;
        } else {
            dgm_slot_retire(&slots, gfn);
            is_retired[at] = true;
        }
    }
    dgm_slots_check(&slots);
    for (unsigned i = 0; i < 8; i++) {
        prove((slots.free_map[i / 4] >> index_of[i] % 64 & 1) == is_free[i]);
        prove((slots.retired_map[i / 4] >> index_of[i] % 64 & 1) == is_retired[i]);
    }
    return 0;
}
