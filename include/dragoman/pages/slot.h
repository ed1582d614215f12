/* SPDX-License-Identifier: MIT */
/*
 * slot: our gfns where foreign frames can appear
 *
 * A slot is a hole in our guest-physical space: unpopulated (Xen's extended regions) or ballooned
 * out (our own RAM given up, see balloon.h); a window may have both.
 *
 * Two levels let reactors share slots without a lock. `dgm_slots` is the one store of the domain.
 * Caches claim and return whole blocks of DGM_SLOT_BLOCK slots, by one atomic operation on a
 * bitmap. A `dgm_slot_cache` belongs to one reactor: it owns blocks and serves single slots of
 * them, which no other reactor touches. The cache serves the lowest free slot, so a batch gets an
 * ascending run. Taking a slot costs one load per 4,096 slots of the window, and is O(1) for a
 * given window. A block whose slots are all free can return to the store (dgm_slot_cache_shrink).
 *
 * A slot is taken in two steps. First the caller reserves all the slots of a request, all or
 * nothing, against the guest's quota; then it takes them one by one, which cannot fail. So two
 * requests never each hold half of the slots that they need.
 *
 * A slot whose foreign mapping could not be undone is retired: it is counted and never used again.
 */
#ifndef DRAGOMAN_PAGES_SLOT_H
#define DRAGOMAN_PAGES_SLOT_H

#include <dragoman/base/quota.h>
#include <dragoman/pages/window.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_SLOTS_DEFAULT 32768u

/* The store. Any reactor may use it at any time. Other rooms use `present`; the rest is pages'
 * own. */
struct dgm_slots {
    struct dgm_window window;
    uint64_t *usable_map; /* a bit per index: a slot and not retired; the block's owner writes */
    uint64_t *free_map;   /* a bit per index: free; the block's owner writes */
    uint64_t *stored;     /* a bit per block: in the store, owned by no cache; atomic */
    uint64_t blocks_free; /* atomic, for reports */
    uint64_t present;     /* slots that were added and not withdrawn; atomic */
};

/* The slots of one reactor. Other rooms use `slots` and the counters `taken`, `taken_max`,
 * `retired`; the rest is pages' own. */
struct dgm_slot_cache {
    struct dgm_slots *slots;
    uint64_t *owned;     /* a bit per block: owned by this cache */
    uint64_t *free_some; /* a bit per block: owned by this cache, with a free slot */
    uint64_t free;       /* free slots of the owned blocks */
    uint64_t reserved;   /* free slots that are promised to requests */
    uint64_t taken, taken_max, retired;
};

/* Bytes for a store over `count` indexes (dgm_window.count), and for each cache of it. */
size_t dgm_slots_bytes(uint64_t count);
size_t dgm_slot_cache_bytes(uint64_t count);

/*
 * Makes a store over `window` (copied). `memory`: dgm_slots_bytes(window->count), 8-byte aligned;
 * it belongs to the store from now on. With `all` the store begins with every slot; otherwise it is
 * empty until dgm_slots_add().
 */
void dgm_slots_init(struct dgm_slots *slots, const struct dgm_window *window, bool all,
                    void *memory);

/*
 * Adds slots [first, first + count): all that the window has in one block (DGM_SLOT_BLOCK, or fewer
 * at the end of a part). The store must have none of them yet. Any reactor may call it, one at a
 * time.
 */
void dgm_slots_add(struct dgm_slots *slots, dgm_gfn_t first, uint64_t count);

/* Makes an empty cache. `memory`: dgm_slot_cache_bytes(slots->window.count), 8-byte aligned; it
 * belongs to the cache from now on. */
void dgm_slot_cache_init(struct dgm_slot_cache *cache, struct dgm_slots *slots, void *memory);

/* Returns every block whose slots are all free to the store, the highest first, as long as enough
 * free slots remain for the reservations. Returns the number of slots returned. */
uint64_t dgm_slot_cache_shrink(struct dgm_slot_cache *cache);

/*
 * Reserves `count` slots for the guest of `quota` (NULL: our own use, no quota), and claims blocks
 * from the store as needed. On failure nothing is reserved. DGM_EDQUOT: the guest's quota does not
 * allow `count` more; the quota is tested first. DGM_EAGAIN: the store has too few blocks. The
 * cache keeps those that it claimed; a caller that waits returns them meanwhile, by
 * dgm_slot_cache_shrink(): otherwise two reactors could each keep a part of the slots that both
 * need.
 */
int dgm_slot_reserve(struct dgm_slot_cache *cache, struct dgm_quota *quota, uint64_t count);

/* Cancels the reservation of `count` slots that were not taken. */
void dgm_slot_unreserve(struct dgm_slot_cache *cache, struct dgm_quota *quota, uint64_t count);

/* Takes the lowest free slot of the cache. Asserts that one is reserved. */
dgm_gfn_t dgm_slot_take(struct dgm_slot_cache *cache);

/* Returns a slot and discharges `quota`. Asserts that the slot was taken from this cache. */
void dgm_slot_give(struct dgm_slot_cache *cache, struct dgm_quota *quota, dgm_gfn_t gfn);

/* Retires a taken slot: it is never used again. It stays charged to its guest's quota permanently,
 * so the loss limits only the guest that caused it. */
void dgm_slot_retire(struct dgm_slot_cache *cache, dgm_gfn_t gfn);

/* Asserts that free + taken == usable over all owned blocks, and that the bitmaps agree.
 * O(window). */
void dgm_slot_cache_check(const struct dgm_slot_cache *cache);

#ifdef __cplusplus
}
#endif

#endif
