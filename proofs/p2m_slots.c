/* SPDX-License-Identifier: MIT */
/*
 * Proves: a lookup returns exactly the frame that was published and not unpublished since, for
 * every gfn, in and around the window; hold and release change no result; the counts agree.
 * Over: any operation from any state that the invariant allows (so any number of them), on a window
 * of two parts, of three slots and one, that lie anywhere, compared with a twin that keeps the
 * expected state; no banks of RAM.
 *
 * sources: pages/p2m.c
 * options: --unwind 8
 * planted: pages/p2m.c s/if \(slot != DGM_WINDOW_NONE\)/if (slot < 4)/
 * planted: pages/p2m.c s/mfn\[slot\], EMPTY, __ATOMIC_RELEASE/mfn[0], EMPTY, __ATOMIC_RELEASE/
 * planted: pages/p2m.c s/__atomic_sub_fetch\(&p2m->live, 1, __ATOMIC_RELAXED\);/(void)p2m;/
 * planted: pages/p2m.c s/p2m->window = \*window;/p2m->window = *window; p2m->window.part_count = 1;/
 */
#include "proof.h"

#include <dragoman/pages/p2m.h>
#include <dragoman/base/status.h>
#include <pages/internal.h>

#define INDEXES 5 /* 0 to 2, and 4 */

uint64_t memory[INDEXES + 2], mfn_of[INDEXES];
uint16_t in_flight[INDEXES];
struct dgm_p2m p2m;
dgm_mfn_t twin[INDEXES];
uint16_t held[INDEXES];

/* Sets any state that the invariant allows; separate arrays make the checker faster. */
static void any_state(void)
{
    p2m.mfn = mfn_of;
    p2m.in_flight = in_flight;
    p2m.live = 0;
    for (unsigned i = 0; i < INDEXES; i++) {
        mfn_of[i] = any_u64();
        in_flight[i] = any_u16();
        assume(mfn_of[i] != UINT64_MAX || in_flight[i] == 0);
        assume(i != 3 || mfn_of[i] == UINT64_MAX); /* no slot */
        twin[i] = dgm_mfn(mfn_of[i]);
        held[i] = in_flight[i];
        p2m.live += mfn_of[i] != UINT64_MAX;
    }
}

/* The expected index, computed differently from the code. */
static unsigned index_of(const struct dgm_window *window, dgm_gfn_t gfn)
{
    for (unsigned i = 0; i < 3; i++)
        if (dgm_gfn_equal(gfn, dgm_gfn_add(window->parts[0].gfns.first, i)))
            return i;
    return dgm_gfn_equal(gfn, window->parts[1].gfns.first) ? 4 : INDEXES;
}

static void change_one_slot(const struct dgm_window *window)
{
    const dgm_gfn_t gfn = dgm_gfn(any_u64());
    const dgm_mfn_t mfn = dgm_mfn(any_u64());
    const unsigned slot = index_of(window, gfn);

    assume(slot < INDEXES);
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
    const struct dgm_gfn_range three = {.first = {any_u64()}, .count = 3};
    const struct dgm_gfn_range one = {.first = {any_u64()}, .count = 1};
    const struct dgm_window window = {.parts = {{three, 0}, {one, 4}}, 2, INDEXES};
    const dgm_gfn_t any_gfn = dgm_gfn(any_u64());
    unsigned slot;
    dgm_mfn_t result;

    assume(dgm_gfn_number(three.first) <= UINT64_MAX - 3 &&
           dgm_gfn_number(one.first) <= UINT64_MAX - 1);
    assume(!dgm_gfn_in(three, one.first));
    prove(dgm_p2m_bytes(INDEXES) <= sizeof memory);
    prove(dgm_p2m_init(&p2m, NULL, 0, &window, memory) == DGM_OK);
    dgm_p2m_check(&p2m);
    prove((char *)(p2m.in_flight + INDEXES) <= (char *)memory + sizeof memory);
    any_state();
    change_one_slot(&window);

    dgm_p2m_check(&p2m);
    for (unsigned i = 0; i < INDEXES; i++)
        prove(p2m.in_flight[i] == held[i]);
    result = dgm_p2m_lookup(&p2m, any_gfn);
    slot = index_of(&window, any_gfn);
    prove(dgm_p2m_is_slot(&p2m, any_gfn) == (slot < INDEXES));
    if (slot < INDEXES)
        prove(dgm_mfn_equal(result, twin[slot]));
    else
        prove(dgm_mfn_is_none(result));
    return 0;
}
