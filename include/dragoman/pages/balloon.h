/* SPDX-License-Identifier: MIT */
/*
 * balloon: our own RAM given up for slots, where foreign frames appear
 *
 * For machines with few extended regions or none (Xen's ext_regions=0). The frames leave our p2m by
 * XENMEM_decrease_reservation and become slots. On a direct-mapped (1:1) Dom0 Xen keeps such a page
 * allocated to us, because it must be able to return the same page later, so NOTHING RETURNS TO
 * XEN: each slot costs a frame of real RAM. On another Dom0 (cache-coloured) the page becomes
 * Xen's, and a later return gets another page.
 *
 * Frames that Xen returned have undefined contents.
 */
#ifndef DRAGOMAN_PAGES_BALLOON_H
#define DRAGOMAN_PAGES_BALLOON_H

#include <dragoman/base/reactor.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/pages/slot.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Gives `range` up: it must be our own RAM, unused. Returns the number of frames that Xen took, the
 * first ones of the range; the rest is still RAM. Negative: Xen's error, and it took none.
 */
int64_t dgm_balloon_out(struct dgm_gfn_range range);

/*
 * A run of our RAM and a target: the number of its frames that shall be slots. A task of the
 * balloon moves towards the target, by one block of slots and one hypercall in each turn of the
 * reactor. A step that fails, because Xen refuses it or because all slots are in use, is retried
 * after 1 ms, then 2 ms, up to 32 s. Each frame of the run is RAM, or a slot, or belongs to the one
 * block that is moving: a frame of that block may be neither RAM nor a slot but held by Xen.
 *
 * The balloon owns the run permanently. The run lies in the window, so dgm_p2m_lookup() finds no
 * machine frame for RAM in it. Other rooms use `run`, `current`, `refusals`, `refused`; the rest is
 * pages' own.
 */
struct dgm_balloon {
    struct dgm_reactor *reactor;
    struct dgm_slots *slots;
    struct dgm_slot_cache *cache;
    struct dgm_gfn_range run;
    uint64_t *ballooned; /* a bit per block of the run: its frames are slots */
    uint64_t blocks_out, blocks_wanted;
    uint64_t moving;        /* the block that is moving */
    uint64_t moving_frames; /* its frames that Xen has, a bit each; 0: no block is moving */
    struct dgm_timer timer;
    uint64_t wait_ns; /* after the last refusal; 0: the last step succeeded */
    struct dgm_xen_logged logged;

    uint64_t target, current; /* frames that shall be slots, and that are slots */
    long refused;             /* Xen's result at the last refusal */
    uint64_t steps, refusals; /* blocks moved; attempts that failed or moved a part of a block */
};

/* Bytes for a balloon over a run of `frames`. */
size_t dgm_balloon_bytes(uint64_t frames);

/*
 * Makes a balloon over `run`: unused RAM of ours that is one part of `slots`' window, of which no
 * slot was added. `cache` is the cache of this reactor, which the balloon shrinks when it needs
 * slots back, or NULL. `memory`: dgm_balloon_bytes(run.count), 8-byte aligned; it belongs to the
 * balloon from now on. The target is 0 at first.
 */
void dgm_balloon_init(struct dgm_balloon *balloon, struct dgm_reactor *reactor,
                      struct dgm_slots *slots, struct dgm_slot_cache *cache,
                      struct dgm_gfn_range run, void *memory);

/* Sets the target: `frames`, rounded up to whole blocks, at most the run. The first step runs in
 * the reactor's next turn. */
void dgm_balloon_set_target(struct dgm_balloon *balloon, uint64_t frames);

/* For the start, before the reactor runs: makes steps until the target is reached or Xen has
 * refused DGM_XEN_TRIES of them, since a refusal may pass. The reactor's timer makes the missing
 * ones. */
void dgm_balloon_fill(struct dgm_balloon *balloon);

/* Asserts that the counts agree with the bitmaps. */
void dgm_balloon_check(const struct dgm_balloon *balloon);

#ifdef __cplusplus
}
#endif

#endif
