/* SPDX-License-Identifier: MIT */
/*
 * Proves: a response is written to the entry that is due and to no other byte of the page;
 * publishing makes exactly the written responses visible, and asks for an event if and only if the
 * guest's rsp_event lies among them.
 * Over: all states of a ring that its invariant allows, indices anywhere, any page, reduced to four
 * entries of 20 bytes.
 *
 * sources: hyper/ring.c
 * options: --unwind 30 --unwindset copy_across.0:1
 * resized: include/dragoman/hyper/ring.h s/DGM_RING_ORDER_MAX 2u/DGM_RING_ORDER_MAX 0u/
 * planted: hyper/ring.c s/offset_of\(ring, ring->responded\)/offset_of(ring, ring->consumed)/
 * planted: hyper/ring.c s/< now - before;/<= now - before;/
 * planted: hyper/ring.c s/rsp_prod, now\)/rsp_prod, now + 1)/
 */
#include "proof.h"

#include <dragoman/hyper/ring.h>
#include <hyper/internal.h>

#include <string.h>

_Alignas(8) char page[64 + 4 * 20];

static uint32_t ring_word(uint32_t index)
{
    uint32_t value;

    memcpy(&value, page + 4 * index, sizeof value);
    return value;
}

static void check_respond(struct dgm_ring *ring)
{
    const struct dgm_ring before = *ring;
    const uint32_t entry = 64 + before.responded % before.entries * 20, at = any_u32();
    _Alignas(8) char response[16];
    char was;

    assume(at < sizeof page);
    was = page[at];
    dgm_ring_respond(ring, response, sizeof response);
    if (at >= entry && at - entry < sizeof response)
        prove(page[at] == response[at - entry]);
    else
        prove(page[at] == was);
    prove(ring->responded == before.responded + 1);
    prove(ring->consumed == before.consumed && ring->published == before.published);
}

static void check_publish(struct dgm_ring *ring)
{
    const uint32_t before = ring->published, now = ring->responded;
    const uint32_t event = ring_word(3); /* rsp_event */
    const bool wanted = dgm_ring_publish(ring);

    prove(ring->published == now && ring->responded == now);
    prove(now == before || ring_word(2) == now); /* rsp_prod */
    prove(wanted == (event - before - 1 < now - before));
}

int main(void)
{
    struct dgm_ring ring;

    __CPROVER_havoc_object(page);
    dgm_ring_init(&ring, &(struct dgm_ring_pages){.at = {page}}, 20);
    ring.entries = 4;
    ring.consumed = any_u32();
    ring.responded = any_u32();
    ring.published = any_u32();
    assume(ring.consumed - ring.published <= ring.entries);
    assume(ring.responded - ring.published <= ring.consumed - ring.published);
    if (any_bool()) {
        assume(dgm_ring_outstanding(&ring) > 0);
        check_respond(&ring);
    } else {
        check_publish(&ring);
    }
    return 0;
}
