/* SPDX-License-Identifier: MIT */
/*
 * Proves: a lookup answers exactly what was published and not unpublished since, for every gfn, in
 * and around the window; hold and release change no answer; the counts agree.
 * Over: any operation from any state that the invariant allows (so any number of them), on a window
 * of four slots that lies anywhere, beside a twin that keeps what should be there; no banks of
 * RAM.
 *
 * sources: core/p2m.c
 * options: --unwind 8
 * planted: core/p2m.c s/if \(slot < p2m->window.count\)/if (slot <= p2m->window.count)/
 * planted: core/p2m.c s/mfn\[slot\], EMPTY, __ATOMIC_RELEASE/mfn[0], EMPTY, __ATOMIC_RELEASE/
 * planted: core/p2m.c s/p2m->live--;/(void)p2m;/
 */
#include "proof.h"

#include <dragoman/p2m.h>
#include <dragoman/status.h>

#define SLOTS 4

uint64_t memory[SLOTS + 1], mfn_of[SLOTS];
uint16_t in_flight[SLOTS];
struct dgm_p2m p2m;
dgm_mfn_t twin[SLOTS];
uint16_t held[SLOTS];

/* The state becomes any that the invariant allows; in arrays of their own, which is quicker. */
static void any_state(void)
{
    p2m.mfn = mfn_of;
    p2m.in_flight = in_flight;
    p2m.live = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        mfn_of[i] = any_u64();
        in_flight[i] = any_u16();
        assume(mfn_of[i] != UINT64_MAX || in_flight[i] == 0);
        twin[i] = dgm_mfn(mfn_of[i]);
        held[i] = in_flight[i];
        p2m.live += mfn_of[i] != UINT64_MAX;
    }
}

static void step(uint64_t first)
{
    const unsigned slot = any_u8() % SLOTS;
    const dgm_gfn_t gfn = dgm_gfn(first + slot);
    const dgm_mfn_t mfn = dgm_mfn(any_u64());

    switch (any_u8() % 4) {
    case 0:
        assume(dgm_mfn_is_none(twin[slot]) && !dgm_mfn_is_none(mfn));
        dgm_p2m_publish(&p2m, gfn, mfn);
        twin[slot] = mfn;
        break;
    case 1:
        assume(!dgm_mfn_is_none(twin[slot]) && held[slot] == 0);
        dgm_p2m_unpublish(&p2m, gfn);
        twin[slot] = DGM_MFN_NONE;
        break;
    case 2:
        assume(!dgm_mfn_is_none(twin[slot]) && held[slot] < UINT16_MAX);
        dgm_p2m_hold(&p2m, gfn);
        held[slot]++;
        break;
    default:
        assume(held[slot] > 0);
        dgm_p2m_release(&p2m, gfn);
        held[slot]--;
        break;
    }
}

int main(void)
{
    const struct dgm_gfn_range window = {.first = {any_u64()}, .count = SLOTS};
    const dgm_gfn_t asked = dgm_gfn(any_u64());
    dgm_mfn_t answer;

    assume(window.first.n <= UINT64_MAX - SLOTS);
    prove(dgm_p2m_bytes(SLOTS) <= sizeof memory);
    prove(dgm_p2m_init(&p2m, NULL, 0, window, memory) == DGM_OK);
    dgm_p2m_check(&p2m);
    prove((char *)(p2m.in_flight + SLOTS) <= (char *)memory + sizeof memory);
    any_state();
    step(window.first.n);

    dgm_p2m_check(&p2m);
    for (unsigned i = 0; i < SLOTS; i++)
        prove(p2m.in_flight[i] == held[i]);
    answer = dgm_p2m_lookup(&p2m, asked);
    prove(dgm_p2m_is_slot(&p2m, asked) == dgm_gfn_in(window, asked));
    if (dgm_gfn_in(window, asked))
        prove(answer.n == twin[asked.n - window.first.n].n);
    else
        prove(dgm_mfn_is_none(answer));
    return 0;
}
