/* SPDX-License-Identifier: MIT */
/*
 * bounce: local memory that stands in where a device cannot reach, or cannot express, the memory
 * that was meant
 *
 * Buffers are single local frames (4 KiB, so an in-frame offset is preserved), taken and given in
 * O(1). A buffer that was another user's is never shown: what a device may leave unwritten was
 * first copied in. Too few buffers means waiting, never an I/O error. One pool per reactor.
 */
#ifndef DRAGOMAN_BOUNCE_H
#define DRAGOMAN_BOUNCE_H

#include <dragoman/frames.h>
#include <dragoman/reactor.h>

#define DGM_BOUNCE_MAX  1024u
#define DGM_BOUNCE_NONE UINT16_MAX

struct dgm_bounce {
    dgm_gfn_t gfn[DGM_BOUNCE_MAX];
    uint16_t next[DGM_BOUNCE_MAX];       /* free list, or the owner's chain */
    uint64_t taken[DGM_BOUNCE_MAX / 64]; /* a bit per buffer */
    uint16_t free_first;
    uint16_t total, free, free_min; /* buffers; free_min: low-water mark */
    struct dgm_waiters waiters;
    struct dgm_reactor *reactor;
    uint64_t waits; /* times that someone had to wait; counted by who waits */
};

/* `count` frames (at most DGM_BOUNCE_MAX) from `frames`. DGM_ENOMEM: fewer were there; those are
 * used. */
int dgm_bounce_init(struct dgm_bounce *bounce, struct dgm_reactor *reactor,
                    struct dgm_frames *frames, uint16_t count);

/* A buffer's number, or DGM_BOUNCE_NONE when all are taken: then wait with
 * dgm_waiters_add(&bounce->waiters). */
uint16_t dgm_bounce_take(struct dgm_bounce *bounce);

/* Gives a buffer back and wakes those who wait. */
void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer);

void dgm_bounce_check(const struct dgm_bounce *bounce);

#endif
