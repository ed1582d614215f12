/* SPDX-License-Identifier: MIT */
/*
 * slot: guest frames of ours where foreign frames can appear
 *
 * A slot is a hole in our guest-physical space: unpopulated (Xen's extended regions) or ballooned
 * out (our own RAM given up, see balloon.h); a window may have both.
 *
 * Two levels, so that reactors share slots without a lock. `dgm_slots` is the one store of the
 * domain; it hands out and takes back whole blocks of DGM_SLOT_BLOCK slots, by one atomic operation
 * on a bitmap. A `dgm_slot_cache` is a reactor's: the blocks that it owns, from which it serves
 * single slots with nobody else looking. Slots are taken lowest first, so a batch gets an ascending
 * run. Taking costs a load per 4,096 slots of the window, giving O(1). A block that is free again
 * as a whole can go back to the store (dgm_slot_cache_shrink).
 *
 * Taking is in two steps: reserve, all or nothing and against the guest's quota, and then take,
 * which cannot fail. So no two requests ever hold half of what each needs.
 *
 * Where a foreign mapping could not be undone its slot is retired: never used again, and counted.
 */
#ifndef DRAGOMAN_PAGES_SLOT_H
#define DRAGOMAN_PAGES_SLOT_H

#include <dragoman/base/quota.h>
#include <dragoman/pages/window.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_SLOTS_DEFAULT 32768u

/* The store. Any reactor, any time. */
struct dgm_slots {
    struct dgm_window window;
    uint64_t
        *usable_map;    /* a bit per index: a slot, and not retired; written by the block's owner */
    uint64_t *free_map; /* a bit per index: free; written by the block's owner */
    uint64_t *stored;   /* a bit per block: the store's to give; atomic */
    uint64_t blocks_free; /* atomic, for reports */
    uint64_t present;     /* slots that were added and not withdrawn; atomic */
};

/* A reactor's slots. */
struct dgm_slot_cache {
    struct dgm_slots *slots;
    uint64_t *owned;     /* a bit per block: ours */
    uint64_t *free_some; /* a bit per block: ours, and not all taken */
    uint64_t free;       /* slots of ours that nobody has */
    uint64_t reserved;   /* of the free ones: promised */
    uint64_t taken, taken_max, retired;
};

/* Bytes for a store over `count` indexes (dgm_window.count), and for each cache of it. */
size_t dgm_slots_bytes(uint64_t count);
size_t dgm_slot_cache_bytes(uint64_t count);

/*
 * The store over `window` (copied). `memory`: dgm_slots_bytes(window->count), 8-byte aligned, stays
 * ours. With `all` every slot is there from the start; else none is, until dgm_slots_add().
 */
void dgm_slots_init(struct dgm_slots *slots, const struct dgm_window *window, bool all,
                    void *memory);

/*
 * Slots [first, first + count) can be used from now on: they are all that the window has in one
 * block (DGM_SLOT_BLOCK, or fewer at the end of a part), and none was there before. Any reactor,
 * but one at a time.
 */
void dgm_slots_add(struct dgm_slots *slots, dgm_gfn_t first, uint64_t count);

/*
 * Takes all slots of the block that starts at `first` away again, under the same rule. Returns how
 * many there were. DGM_EAGAIN: some cache owns the block (ask it to shrink), or it is not there.
 * DGM_EBUSY: a slot of it is retired and may still show a guest's page, so the block stays.
 */
int dgm_slots_withdraw(struct dgm_slots *slots, dgm_gfn_t first);

/* `memory`: dgm_slot_cache_bytes(slots->window.count), 8-byte aligned, stays ours. */
void dgm_slot_cache_init(struct dgm_slot_cache *cache, struct dgm_slots *slots, void *memory);

/* Gives every block that is wholly free, less what is reserved, back to the store, the highest
 * first. Returns slots given. */
uint64_t dgm_slot_cache_shrink(struct dgm_slot_cache *cache);

/*
 * Promises `count` slots to the guest of `quota` (NULL: our own use, no quota). DGM_EDQUOT: the
 * guest's quota is too full, which is looked at first; nothing is reserved. DGM_EAGAIN: there are
 * too few; nothing is reserved, and the cache has shrunk, so that another that needs less is
 * served.
 */
int dgm_slot_reserve(struct dgm_slot_cache *cache, struct dgm_quota *quota, uint64_t count);

/* Gives back `count` promises that were not used. */
void dgm_slot_unreserve(struct dgm_slot_cache *cache, struct dgm_quota *quota, uint64_t count);

/* The lowest free slot of ours. Asserts: one is reserved. */
dgm_gfn_t dgm_slot_take(struct dgm_slot_cache *cache);

/* Asserts: a taken slot of this cache's. */
void dgm_slot_give(struct dgm_slot_cache *cache, struct dgm_quota *quota, dgm_gfn_t gfn);

/* The slot stays charged to the quota for ever: what its guest made us lose
 * is that guest's loss. */
void dgm_slot_retire(struct dgm_slot_cache *cache, dgm_gfn_t gfn);

/* free + taken == usable of all blocks owned, and the bitmaps agree. O(window). */
void dgm_slot_cache_check(const struct dgm_slot_cache *cache);

#ifdef __cplusplus
}
#endif

#endif
