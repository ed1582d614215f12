/* SPDX-License-Identifier: MIT */
/*
 * frames: local frames handed out while the domain starts
 *
 * Rings, queues, bounce buffers and ballooned-out slots all need whole frames of our own RAM. They
 * are taken from here during initialisation and kept for ever; dgm_frames_lock() ends that time,
 * after which taking is a programmer error. Taking is linear in the frames taken:
 * they are zeroed.
 */
#ifndef DRAGOMAN_BASE_FRAMES_H
#define DRAGOMAN_BASE_FRAMES_H

#include <dragoman/base/addr.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_FRAMES_RANGES_MAX 16

struct dgm_frames {
    struct dgm_gfn_range ranges[DGM_FRAMES_RANGES_MAX]; /* what is left of each */
    size_t range_count;
    uint64_t taken; /* frames */
    bool locked;
};

void dgm_frames_init(struct dgm_frames *frames);

/* Gives free local RAM to the pool. DGM_ENOSPC: more ranges than the pool keeps; the range is not
 * used. */
int dgm_frames_add(struct dgm_frames *frames, struct dgm_gfn_range range);

/* `count` neighbouring frames, zeroed. DGM_ENOMEM: no range has so many left. */
int dgm_frames_take(struct dgm_frames *frames, uint64_t count, dgm_gfn_t *first);

/* `bytes` of zeroed memory, frame aligned, as neighbouring frames *and* neighbouring addresses;
 * NULL if none. */
void *dgm_frames_take_bytes(struct dgm_frames *frames, size_t bytes);

/* Frames that could still be taken. */
uint64_t dgm_frames_left(const struct dgm_frames *frames);

/* No frame is given or taken from now on. */
void dgm_frames_lock(struct dgm_frames *frames);

#ifdef __cplusplus
}
#endif

#endif
