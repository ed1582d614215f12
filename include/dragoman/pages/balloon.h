/* SPDX-License-Identifier: MIT */
/*
 * balloon: our own RAM given up, as slots for foreign frames
 *
 * For machines with few extended regions or none (Xen's ext_regions=0). The frames leave our p2m by
 * XENMEM_decrease_reservation and become slots. On a direct-mapped (1:1) Dom0 Xen keeps such a page
 * allocated to us, as it must be able to give the same one back, so NOTHING RETURNS TO XEN: each
 * slot costs a frame of real RAM. Elsewhere (a cache-coloured Dom0) the page is Xen's again, and
 * another one comes back.
 *
 * Frames that came back from Xen have undefined contents.
 */
#ifndef DRAGOMAN_PAGES_BALLOON_H
#define DRAGOMAN_PAGES_BALLOON_H

#include <dragoman/base/reactor.h>
#include <dragoman/pages/slot.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Gives up `range`, which must be our own RAM, unused. Returns the number of frames that Xen took:
 * they are the first ones of the range. The rest is still RAM. Negative: none was taken.
 */
int64_t dgm_balloon_out(struct dgm_gfn_range range);

/* Takes `range` back from Xen, contents undefined. Returns the number of frames restored, from the
 * first on. */
int64_t dgm_balloon_in(struct dgm_gfn_range range);

/*
 * A run of our RAM of which as much is slots as a target says. It goes there by itself, one block
 * of slots and one hypercall in a turn of the reactor. What Xen refuses is tried again, after 1 ms,
 * then 2 ms, up to 32 s; so are slots that are in use. Every frame of the run is RAM, a slot, or,
 * in the one block that is half-way, "in limbo": with Xen and no slot.
 *
 * The run is the balloon's for ever. As it lies in the window, dgm_p2m_lookup() finds no machine
 * frame for its RAM.
 */
struct dgm_balloon {
    struct dgm_reactor *reactor;
    struct dgm_slots *slots;
    struct dgm_slot_cache *cache;
    struct dgm_gfn_range run;
    uint64_t *out; /* a bit per block of the run: is slots */
    uint64_t blocks_out, blocks_wanted;
    uint64_t half;  /* the block half-way, */
    uint64_t limbo; /* its frames that Xen has, a bit each: 0: there is no such block */
    struct dgm_timer timer;
    uint64_t wait_ns; /* after the last refusal; 0: the last step went well */

    uint64_t target, current; /* frames that shall be slots, and that are */
    uint64_t steps, refusals; /* blocks that changed sides; tries that failed, or got half-way */
};

/* Bytes for a balloon over a run of `frames`. */
size_t dgm_balloon_bytes(uint64_t frames);

/*
 * A balloon over `run`: RAM of ours that nobody uses, and one part of `slots`' window, of which no
 * slot was added. `cache` (or NULL) is the one of this reactor, made to shrink when slots are
 * wanted back. `memory`: dgm_balloon_bytes(run.count), 8-byte aligned, stays ours. The target is 0.
 */
void dgm_balloon_init(struct dgm_balloon *balloon, struct dgm_reactor *reactor,
                      struct dgm_slots *slots, struct dgm_slot_cache *cache,
                      struct dgm_gfn_range run, void *memory);

/* So many frames shall be slots: rounded up to whole blocks, and at most the run. It begins in the
 * reactor's next turn. */
void dgm_balloon_set_target(struct dgm_balloon *balloon, uint64_t frames);

/* One step, without waiting for the reactor: for who starts up, in a loop. True: it went well, and
 * there is more to do. */
bool dgm_balloon_step(struct dgm_balloon *balloon);

/* The counts agree with the bitmaps. */
void dgm_balloon_check(const struct dgm_balloon *balloon);

#ifdef __cplusplus
}
#endif

#endif
