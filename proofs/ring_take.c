/* SPDX-License-Identifier: MIT */
/*
 * Proves: for any producer index and entries of a guest, taking a request, in one or two steps,
 * reads within the page, returns the entry that is due, and never allows more than `entries`
 * outstanding requests; an index that claims more changes no state.
 * Over: all states of a ring, indices anywhere (so that they wrap), one take, of the whole entry or
 * of its head first; one page, reduced to four entries (of 12 bytes) or two (of 112). The states are
 * all that the invariant allows, so it holds for any number of takes. Rings of several pages:
 * tests/unit/hyper/test_ring.c.
 *
 * sources: hyper/ring.c
 * options: --unwind 30 --unwindset copy_across.0:1
 * resized: include/dragoman/hyper/ring.h s/DGM_RING_ORDER_MAX 2u/DGM_RING_ORDER_MAX 0u/
 * planted: hyper/ring.c s/waiting > ring->entries - \(.*\)\)/waiting > ring->entries)/
 * planted: hyper/ring.c s/index & \(ring->entries - 1\)/index \& ring->entries/
 */
#include "proof.h"

#include <dragoman/hyper/ring.h>
#include <dragoman/base/status.h>
#include <hyper/internal.h>

#include <string.h>

_Alignas(8) char page[64 + 2 * 112]; /* any content: see main() */

static void check_take(uint32_t entries, uint32_t entry_bytes)
{
    struct dgm_ring ring, before;
    _Alignas(8) char request[112];
    uint32_t producer, at = any_u32(), bytes = any_u32();
    int result;

    dgm_ring_init(&ring, &(struct dgm_ring_pages){.at = {page}}, entry_bytes);
    prove((ring.entries & (ring.entries - 1)) == 0);
    prove(64 + ring.entries * entry_bytes <= 4096);
    ring.entries = entries;
    ring.consumed = any_u32();
    ring.responded = any_u32();
    ring.published = any_u32();
    assume(ring.consumed - ring.published <= ring.entries);
    assume(ring.responded - ring.published <= ring.consumed - ring.published);
    before = ring;
    memcpy(&producer, page, sizeof producer);

    assume(bytes == entry_bytes || bytes == (entry_bytes == 112 ? 32 : 4));
    result = dgm_ring_take(&ring, request, bytes);
    if (result == 1 && bytes < entry_bytes)
        dgm_ring_take_rest(&ring, request, bytes);

    prove(result == 1 || result == 0 || result == DGM_EPROTO);
    prove((result == 0) == (producer == before.consumed));
    prove(ring.consumed == before.consumed + (result == 1));
    prove(ring.responded == before.responded && ring.published == before.published);
    prove(ring.consumed - ring.published <= ring.entries);
    prove(dgm_ring_outstanding(&ring) <= ring.entries);
    if (result == 1) {
        const uint32_t entry = 64 + before.consumed % ring.entries * entry_bytes;

        assume(at < entry_bytes);
        prove(request[at] == page[entry + at]);
        prove(producer - before.published <= ring.entries);
    }
}

int main(void)
{
    __CPROVER_havoc_object(page);
    if (any_bool())
        check_take(2, 112);
    else
        check_take(4, 12);
    return 0;
}
