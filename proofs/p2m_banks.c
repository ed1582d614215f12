/* SPDX-License-Identifier: MIT */
/*
 * Proves: banks of RAM are taken if and only if none overlaps another, in guest or in machine
 * frames, and none wraps; then every gfn has the answer of the bank that holds it, or none.
 * Over: three banks in any order, each up to 255 frames and within 255 of either end of the address
 * space, as the gfn asked for; no slots.
 *
 * sources: core/p2m.c
 * options: --unwind 5
 * planted: core/p2m.c s/a < b \? b - a < a_count : a - b < b_count/a <= b ? b - a < a_count : false/
 * planted: core/p2m.c s/gfn.n - bank->gfn.n >= bank->count/gfn.n - bank->gfn.n > bank->count/
 * planted: core/p2m.c s/banks\[at - 1\].gfn.n > bank.gfn.n/banks[at - 1].mfn.n > bank.mfn.n/
 */
#include "proof.h"

#include <dragoman/p2m.h>
#include <dragoman/status.h>

#define BANKS 3

struct dgm_p2m p2m;
uint64_t memory[1];

static uint64_t near_an_end(void)
{
    const uint64_t distance = any_u8();

    return any_bool() ? distance : UINT64_MAX - distance;
}

static bool apart(uint64_t a, uint64_t a_count, uint64_t b, uint64_t b_count)
{
    return a + a_count <= b || b + b_count <= a;
}

int main(void)
{
    const struct dgm_gfn_range no_slots = {.count = 0};
    const dgm_gfn_t asked = dgm_gfn(near_an_end());
    struct dgm_ram_bank banks[BANKS];
    dgm_mfn_t expected = DGM_MFN_NONE;
    bool fine = true;
    int status;

    for (int i = 0; i < BANKS; i++) {
        banks[i] = (struct dgm_ram_bank){{near_an_end()}, {near_an_end()}, any_u8()};
        fine = fine && banks[i].count <= UINT64_MAX - banks[i].gfn.n &&
               banks[i].count <= UINT64_MAX - banks[i].mfn.n;
        assume(banks[i].count > 0);
        if (banks[i].gfn.n <= asked.n && asked.n - banks[i].gfn.n < banks[i].count)
            expected = dgm_mfn(banks[i].mfn.n + (asked.n - banks[i].gfn.n));
    }
    for (int i = 0; fine && i < BANKS; i++)
        for (int j = 0; j < i; j++)
            fine = fine &&
                   apart(banks[i].gfn.n, banks[i].count, banks[j].gfn.n, banks[j].count) &&
                   apart(banks[i].mfn.n, banks[i].count, banks[j].mfn.n, banks[j].count);

    status = dgm_p2m_init(&p2m, banks, BANKS, no_slots, memory);

    prove((status == DGM_OK) == fine);
    if (status == DGM_OK) {
        prove(dgm_p2m_lookup(&p2m, asked).n == expected.n);
        dgm_p2m_check(&p2m);
    }
    return 0;
}
