/* SPDX-License-Identifier: MIT */
/*
 * Proves: in every window that dgm_window_add() can make, slots and their indexes correspond one to
 * one, indexes are below the count, parts start at whole blocks and share no gfn; a part that is
 * refused changes nothing.
 * Over: up to two parts at any address and of any size, any gfns.
 *
 * sources: pages/window.c
 * options: --unwind 4
 * planted: pages/window.c s/return DGM_EINVAL;/;/
 * planted: pages/window.c s/gap \+ gfns.count;/gfns.count;/
 * planted: pages/window.c s/-window->count % DGM_SLOT_BLOCK/window->count % DGM_SLOT_BLOCK/
 * planted: pages/window.c s/dgm_gfn_in\(a, b.first\) \|\| //
 */
#include "proof.h"

#include <dragoman/base/status.h>
#include <dragoman/pages/window.h>
#include <pages/internal.h>

static void prove_one_to_one(const struct dgm_window *window)
{
    const dgm_gfn_t a = dgm_gfn(any_u64()), b = dgm_gfn(any_u64());
    const uint64_t at = dgm_window_index(window, a), bt = dgm_window_index(window, b);

    if (at == DGM_WINDOW_NONE)
        return;
    prove(at < window->count);
    prove(dgm_gfn_equal(dgm_window_gfn(window, at), a));
    prove(dgm_gfn_equal(a, b) || at != bt);
    prove(!dgm_gfn_is_none(a));
}

static unsigned parts_with(const struct dgm_window *window, dgm_gfn_t gfn)
{
    unsigned count = 0;

    for (size_t i = 0; i < window->part_count; i++)
        count += dgm_gfn_in(window->parts[i].gfns, gfn);
    return count;
}

int main(void)
{
    struct dgm_window window = {.count = 0};
    const dgm_gfn_t gfn = dgm_gfn(any_u64());
    bool wanted = false;

    for (unsigned i = 0; i < 2; i++) {
        const struct dgm_gfn_range gfns = {{any_u64()}, any_u64()};
        const uint64_t count = window.count;
        const int status = dgm_window_add(&window, gfns);

        if (status == DGM_OK)
            wanted |= dgm_gfn_in(gfns, gfn);
        else
            prove(status == DGM_EINVAL && window.count == count);
        if (status == DGM_OK && gfns.count)
            prove(window.parts[window.part_count - 1].index % DGM_SLOT_BLOCK == 0);
    }
    prove(parts_with(&window, gfn) == wanted);
    prove((dgm_window_index(&window, gfn) != DGM_WINDOW_NONE) == wanted);
    prove_one_to_one(&window);
    return 0;
}
