/* SPDX-License-Identifier: MIT */
/*
 * p2m: the machine frame behind each gfn of ours
 *
 * Dragoman's own RAM is mapped 1:1 (or, on a cache-coloured Dom0, by banks that name each machine
 * frame), so a range test answers almost every lookup. The exceptions are foreign frames. They are
 * at slots of the slot window, a few runs of gfns fixed at init, so one load from a flat array
 * answers. A lookup tests the window before the banks, because slots that are ballooned-out RAM lie
 * inside a bank. For RAM inside the window a lookup finds a machine frame only if it is a slot with
 * a foreign frame, even while the balloon has returned it to RAM: no device may reach it.
 *
 *   Lookups outnumber changes by about 10 to 1. A window has 32,768 slots by default. Lookup,
 *   publish and unpublish cost the same with one live frame and with a full window.
 *
 * The contract is an order. A frame is published after Xen has mapped it and before the caller of
 * the mapping learns its gfn. It is unpublished after the last DMA to it has ended and before Xen
 * unmaps it. So no lookup returns a frame whose grant is not held. dma holds a slot (dgm_p2m_hold)
 * while a device may access it.
 *
 * Any reactor may look up at any time, without a lock. Only the reactor that owns the slot
 * publishes, unpublishes, holds and releases. Nothing here allocates, blocks or fails after
 * dgm_p2m_init().
 */
#ifndef DRAGOMAN_PAGES_P2M_H
#define DRAGOMAN_PAGES_P2M_H

#include <dragoman/base/check.h>
#include <dragoman/pages/window.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_P2M_BANKS_MAX 64

struct dgm_identity;

/* Other rooms use the counters `live`, `identity`; the rest is pages' own. */
struct dgm_p2m {
    struct dgm_ram_bank banks[DGM_P2M_BANKS_MAX]; /* ascending, disjoint */
    size_t bank_count;
    struct dgm_window window;
    uint64_t *mfn;                 /* per index of the window; UINT64_MAX: empty */
    uint16_t *in_flight;           /* per index: DMAs in flight */
    uint32_t held_by_callers;      /* DMAs in flight whose frames are not held here */
    uint64_t live;                 /* slots that hold a frame; atomic */
    struct dgm_identity *identity; /* frames mapped at gfn == mfn (identity.h); NULL: none. Only
                                      the reactor of this table may look up such frames. */
};

/* Bytes of memory that dgm_p2m_init() needs for a window of `count` indexes. */
size_t dgm_p2m_bytes(uint64_t count);

/*
 * Describes the machine: `banks` are our own RAM (copied, except for their `mfns`), `window` the
 * slots (copied). `memory` has at least dgm_p2m_bytes(window->count) bytes, is 8-byte aligned, and
 * belongs to the p2m from now on. DGM_EINVAL: there are too many banks, or they overlap (in machine
 * frames too, where a bank is one run of them).
 */
int dgm_p2m_init(struct dgm_p2m *p2m, const struct dgm_ram_bank *banks, size_t bank_count,
                 const struct dgm_window *window, void *memory);

/* The machine frame behind `gfn`. DGM_MFN_NONE: an empty slot, or not our memory. */
dgm_mfn_t dgm_p2m_lookup(const struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* The same for a local frame only. DGM_MFN_NONE: a slot, or a foreign frame, or not our memory. */
dgm_mfn_t dgm_p2m_lookup_local(const struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* True if `gfn` lies in the slot window: a frame at it is foreign, never local. */
bool dgm_p2m_is_slot(const struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* True if a frame at `gfn` is foreign: `gfn` is a slot or the gfn of an identity mapping. */
bool dgm_p2m_is_foreign(const struct dgm_p2m *p2m, dgm_gfn_t gfn);

/* A device may access the frame from hold to release. No effect on local frames. */
void dgm_p2m_hold(struct dgm_p2m *p2m, dgm_gfn_t gfn);
void dgm_p2m_release(struct dgm_p2m *p2m, dgm_gfn_t gfn);

/*
 * Lookup and hold for every request, where the frame is almost always at a slot: the index
 * is found once, inline. Any other frame is looked up out of line, by the functions above. Only the
 * reactor that publishes at the slot calls them, so the load needs no memory ordering.
 * DGM_MFN_NONE, as dgm_p2m_lookup(): nothing is held. Otherwise adds `bytes` to *bytes_local if
 * the frame is not foreign.
 */
__attribute__((noinline)) dgm_mfn_t dgm_p2m_lookup_held_elsewhere(struct dgm_p2m *p2m,
                                                                  dgm_gfn_t gfn, uint32_t bytes,
                                                                  uint64_t *bytes_local);

static inline dgm_mfn_t dgm_p2m_lookup_held(struct dgm_p2m *p2m, dgm_gfn_t gfn, uint32_t bytes,
                                            uint64_t *bytes_local)
{
    const uint64_t slot = dgm_window_index(&p2m->window, gfn);

    if (slot == DGM_WINDOW_NONE)
        return dgm_p2m_lookup_held_elsewhere(p2m, gfn, bytes, bytes_local);

    const dgm_mfn_t mfn = dgm_mfn(__atomic_load_n(&p2m->mfn[slot], __ATOMIC_RELAXED));

    if (dgm_mfn_is_none(mfn))
        return mfn;
    p2m->in_flight[slot]++;
    dgm_assert(p2m->in_flight[slot] != 0);
    return mfn;
}

/*
 * The same for a loop over the frames of a request: the slots of the window's first part, as the
 * compiler can keep them in registers. Its lookup holds nothing; DGM_MFN_NONE: an empty slot, or no
 * slot of this part.
 */
struct dgm_p2m_slots {
    struct dgm_gfn_range gfns;
    const uint64_t *mfn;
    uint16_t *in_flight;
};

static inline struct dgm_p2m_slots dgm_p2m_first_slots(const struct dgm_p2m *p2m)
{
    return (struct dgm_p2m_slots){p2m->window.parts[0].gfns, p2m->mfn, p2m->in_flight};
}

static inline dgm_mfn_t dgm_p2m_slots_lookup(const struct dgm_p2m_slots *slots, dgm_gfn_t gfn)
{
    const uint64_t slot = dgm_gfn_diff(gfn, slots->gfns.first);

    return slot < slots->gfns.count ? dgm_mfn(__atomic_load_n(&slots->mfn[slot], __ATOMIC_RELAXED))
                                    : DGM_MFN_NONE;
}

/* Holds a slot at which the lookup has found a frame. */
static inline void dgm_p2m_slots_hold(const struct dgm_p2m_slots *slots, dgm_gfn_t gfn)
{
    uint16_t *in_flight = &slots->in_flight[dgm_gfn_diff(gfn, slots->gfns.first)];

    ++*in_flight;
    dgm_assert(*in_flight != 0);
}

/* False: `gfn` is no slot of this part. */
static inline bool dgm_p2m_slots_release(const struct dgm_p2m_slots *slots, dgm_gfn_t gfn)
{
    const uint64_t slot = dgm_gfn_diff(gfn, slots->gfns.first);

    if (slot >= slots->gfns.count)
        return false;
    dgm_assert(slots->in_flight[slot] > 0);
    slots->in_flight[slot]--;
    return true;
}

/*
 * DMA to frames that need no hold, because whoever had them mapped keeps them mapped until it has
 * ended. Such a DMA counts only for the question whether any is in flight.
 */
static inline void dgm_p2m_begin_held_by_caller(struct dgm_p2m *p2m)
{
    p2m->held_by_callers++;
}

static inline void dgm_p2m_end_held_by_caller(struct dgm_p2m *p2m)
{
    dgm_assert(p2m->held_by_callers > 0);
    p2m->held_by_callers--;
}

/* Asserts every invariant, in O(window); for tests, fuzzers and the simulator. */
void dgm_p2m_check(const struct dgm_p2m *p2m);

#ifdef __cplusplus
}
#endif

#endif
