/* SPDX-License-Identifier: MIT */
/*
 * Proves: against a guest that rewrites the page between any two of our reads, no assertion of the
 * ring fails and no more than `entries` requests are ever outstanding. Every read of the page
 * yields any value, so an index that is read twice may differ: only one that is read once passes.
 * Over: any operation from any state that the invariant allows (so any number of them); four
 * entries of 12 bytes.
 *
 * sources: core/ring.c
 * options: --unwind 12
 * instrument: --nondet-volatile
 * planted: core/ring.c s/if \(waiting == 0\)/if (load(\&ring->shared->req_prod) == ring->consumed)/
 * planted: core/ring.c s/if \(waiting > /if (load(\&ring->shared->req_prod) - ring->consumed > /
 */
#include "proof.h"

#include <dragoman/ring.h>
#include <dragoman/status.h>

_Alignas(8) char page[64 + 4 * 12];

int main(void)
{
    struct dgm_ring ring, before;
    uint32_t entry[3] = {0};
    int result = 0;

    dgm_ring_init(&ring, page, 12);
    ring.entries = 4;
    ring.consumed = any_u32();
    ring.answered = any_u32();
    ring.published = any_u32();
    assume(ring.consumed - ring.published <= ring.entries);
    assume(ring.answered - ring.published <= ring.consumed - ring.published);

    before = ring;

    switch (any_u8() % 4) {
    case 0:
        result = dgm_ring_take(&ring, entry, sizeof entry);
        prove(result == 1 || result == 0 || result == DGM_EPROTO);
        break;
    case 1:
        if (dgm_ring_outstanding(&ring) > 0)
            dgm_ring_answer(&ring, entry, sizeof entry);
        break;
    case 2:
        (void)dgm_ring_publish(&ring);
        break;
    default:
        (void)dgm_ring_sleep(&ring);
        break;
    }
    prove(ring.consumed == before.consumed + (result == 1));
    prove(ring.consumed - ring.published <= ring.entries);
    prove(dgm_ring_outstanding(&ring) <= ring.entries);
    return 0;
}
