/* SPDX-License-Identifier: MIT */
/*
 * p2m: which machine frame stands behind a guest frame of ours
 *
 * Dragoman's own RAM is mapped 1:1 (or, on a cache-coloured Dom0, by banks that name each machine
 * frame), so almost every question is answered by a range test. The exceptions are foreign frames.
 * They live in the slot window, a few ranges of guest frames fixed at init, so the answer is one
 * load from a flat array. The window is asked first: where slots are ballooned-out RAM it lies
 * inside a bank. Such RAM answers "no frame" as long as it is no slot, even while the balloon has
 * it back: no device may reach it.
 *
 *   lookups outnumber changes by about 10 to 1; a window holds 32,768 slots unless told otherwise;
 *   lookup, publish and unpublish cost the same at one live frame and at a full window.
 *
 * Order is the contract. A frame is published after Xen has mapped it and before anyone is told its
 * guest frame; it is unpublished after the last DMA to it has ended and before Xen unmaps it. So no
 * lookup ever returns a frame whose grant is not held. dma holds a slot (dgm_p2m_hold) for as long
 * as a device may touch it.
 *
 * Readers: any reactor, any time, no lock. Writers, and who holds and releases: the reactor that
 * owns the slot. Nothing here allocates, blocks or fails after dgm_p2m_init().
 */
#ifndef DRAGOMAN_PAGES_P2M_H
#define DRAGOMAN_PAGES_P2M_H

#include <dragoman/pages/window.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_P2M_BANKS_MAX 64

struct dgm_identity;

struct dgm_p2m {
    struct dgm_ram_bank banks[DGM_P2M_BANKS_MAX]; /* ascending, disjoint */
    size_t bank_count;
    struct dgm_window window;
    uint64_t *mfn;                 /* per index of the window; UINT64_MAX: empty */
    uint16_t *in_flight;           /* likewise: DMAs under way */
    uint64_t live;                 /* slots that hold a frame; atomic */
    struct dgm_identity *identity; /* frames at gfn == mfn (identity.h); NULL: there are none.
                                      Only its own reactor may ask for such frames. */
};

/* Bytes of memory that dgm_p2m_init() wants for a window of `count` indexes. */
size_t dgm_p2m_bytes(uint64_t count);

/*
 * Describes the machine: `banks` are our own RAM (copied, but for their `mfns`), `window` the slots
 * (copied). `memory` is the caller's, at least dgm_p2m_bytes(window->count), 8-byte aligned, and
 * stays ours. DGM_EINVAL: banks overlap (in machine frames too, as far as they are runs) or are too
 * many.
 */
int dgm_p2m_init(struct dgm_p2m *p2m, const struct dgm_ram_bank *banks, size_t bank_count,
                 const struct dgm_window *window, void *memory);

/* The machine frame behind `gfn`, or DGM_MFN_NONE: an empty slot, or no memory of ours. */
dgm_mfn_t dgm_p2m_lookup(const struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* True if `gfn` lies in the slot window: what is there is foreign, never local. */
bool dgm_p2m_is_slot(const struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* True if a foreign frame can be there: a slot, or one mapped at its mfn. */
bool dgm_p2m_is_foreign(const struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* Asserts: `gfn` is a slot, and empty (publish) or full with no DMA in flight (unpublish). */
void dgm_p2m_publish(struct dgm_p2m *p2m, dgm_gfn_t gfn, dgm_mfn_t mfn);
void dgm_p2m_unpublish(struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* A device may touch the frame from hold to release. For local frames these do nothing. */
void dgm_p2m_hold(struct dgm_p2m *p2m, dgm_gfn_t gfn);
void dgm_p2m_release(struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* Walks the window and asserts every invariant; for tests, fuzzers and the simulator. O(window). */
void dgm_p2m_check(const struct dgm_p2m *p2m);

#ifdef __cplusplus
}
#endif

#endif
