/* SPDX-License-Identifier: MIT */
/*
 * frames: the allocator of local frames, for the start of the domain only
 *
 * Rings, queues, bounce buffers and ballooned-out slots all need whole frames of our own RAM. They
 * are taken from this pool during initialisation and never returned. dgm_frames_lock() ends the
 * initialisation; taking a frame after it is a programmer error. The cost of taking is linear in
 * the frames taken, because they are zeroed.
 */
#ifndef DRAGOMAN_BASE_FRAMES_H
#define DRAGOMAN_BASE_FRAMES_H

#include <dragoman/base/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_FRAMES_RANGES_MAX 16

/* All of it is base's own. */
struct dgm_frames {
    struct dgm_gfn_range ranges[DGM_FRAMES_RANGES_MAX]; /* the free rest of each */
    size_t range_count;
    uint64_t taken; /* frames */
    bool locked;
};

void dgm_frames_init(struct dgm_frames *frames);

/* Adds free local RAM to the pool. DGM_ENOSPC: the table of ranges is full;
 * the range is not used. */
int dgm_frames_add(struct dgm_frames *frames, struct dgm_gfn_range range);

/* Takes `count` frames with adjacent gfns, zeroed. DGM_ENOMEM: no range has so many free. */
int dgm_frames_take(struct dgm_frames *frames, uint64_t count, dgm_gfn_t *first);

/* Takes `bytes` of zeroed memory, frame aligned: frames with adjacent gfns *and* adjacent
 * addresses. NULL: there is no such run. */
void *dgm_frames_take_bytes(struct dgm_frames *frames, size_t bytes);

/* The number of free frames. */
uint64_t dgm_frames_available(const struct dgm_frames *frames);

/* Ends the initialisation: adding to the pool and taking from it assert from now on. */
void dgm_frames_lock(struct dgm_frames *frames);

#ifdef __cplusplus
}
#endif

#endif
