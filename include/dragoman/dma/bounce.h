/* SPDX-License-Identifier: MIT */
/*
 * bounce: local memory that stands in where a device cannot reach, or cannot express, the memory
 * that was meant
 *
 * Buffers are single local frames (4 KiB, so an in-frame offset is preserved). A buffer that was
 * another user's is never shown: what a device may leave unwritten was first copied in. Too few
 * buffers means waiting, never an I/O error. One pool per reactor.
 *
 * Areas. Devices differ in what they reach (a Raspberry Pi's see the lowest GiB), so a pool is made
 * of up to four areas, runs of neighbouring frames. Who takes says which areas will do, and gets a
 * buffer of the highest of them: low frames are for those who have no choice.
 *
 * Shares. Every guest has a share, so that one that floods its disk cannot starve another. While
 * nobody waits anyone may take the last buffer. Who found none waits, in one line, in the order of
 * arrival, those first who hold less than their part of the area (its buffers divided by the guests
 * that hold or want some, rounded up). A buffer may be taken only if one remains for everybody who
 * stands before. So a guest below its part waits for at most as many buffers to come back as there
 * are guests. A transfer needs no second buffer to make progress (see dma.h), so waiting never
 * becomes a deadlock. Whoever was woken and does not ask again has lost interest, and is taken out
 * of the line: he cannot block it.
 *
 * Taking and giving cost O(1) while nobody waits, else they are linear in the guests that wait.
 */
#ifndef DRAGOMAN_DMA_BOUNCE_H
#define DRAGOMAN_DMA_BOUNCE_H

#include <dragoman/base/frames.h>
#include <dragoman/base/reactor.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_BOUNCE_MAX       1024u
#define DGM_BOUNCE_NONE      UINT16_MAX
#define DGM_BOUNCE_AREAS_MAX 4u
#define DGM_BOUNCE_AREAS_ALL ((1u << DGM_BOUNCE_AREAS_MAX) - 1)

/* What one guest holds and wants of a pool. The caller's, zeroed before its first use; only the
 * counters are for reading. */
struct dgm_bounce_share {
    uint16_t held[DGM_BOUNCE_AREAS_MAX];
    uint16_t taken, taken_max; /* buffers; now, and high-water mark */
    uint64_t waits;            /* times that it had to wait */
    uint8_t areas;             /* that it waits for, a bit each; 0: it does not wait */
    bool asked;                /* since it was last woken */
    struct dgm_bounce_share *next;
};

/* Buffers [first, first + total), neighbouring frames. */
struct dgm_bounce_area {
    uint16_t first, total, free;
    uint16_t free_first; /* list */
    uint16_t users;      /* shares that hold a buffer of it, or wait for one */
};

struct dgm_bounce {
    dgm_gfn_t gfn[DGM_BOUNCE_MAX];
    uint16_t next[DGM_BOUNCE_MAX]; /* free list, or the owner's chain */
    struct dgm_bounce_share *owner[DGM_BOUNCE_MAX];
    uint64_t taken[DGM_BOUNCE_MAX / 64]; /* a bit per buffer */
    struct dgm_bounce_area areas[DGM_BOUNCE_AREAS_MAX];
    uint8_t order[DGM_BOUNCE_AREAS_MAX]; /* of areas, highest gfn first */
    uint8_t area_count;
    uint16_t total, free, free_min; /* buffers; free_min: low-water mark */
    struct dgm_bounce_share own;    /* of who has none: our own use */
    struct dgm_bounce_share *line;  /* who waits, in the order of arrival */
    struct dgm_waiters waiters;     /* their tasks */
    struct dgm_task round;          /* looks after the line, behind the tasks that were woken */
    struct dgm_reactor *reactor;
    uint64_t waits; /* times that someone had to wait */
};

/* A pool of `count` frames (at most DGM_BOUNCE_MAX) from `frames`, as with dgm_bounce_add(). */
int dgm_bounce_init(struct dgm_bounce *bounce, struct dgm_reactor *reactor,
                    struct dgm_frames *frames, uint16_t count);

/*
 * Adds `count` frames from `frames` to the pool, while the domain starts: before dgm_dma_init().
 * Every run of neighbours becomes an area. DGM_ENOMEM: fewer were there, or they lay in more runs
 * than there can be areas; those that fit are used.
 */
int dgm_bounce_add(struct dgm_bounce *bounce, struct dgm_frames *frames, uint16_t count);

/*
 * A buffer of one of `areas` (a bit per area), or DGM_BOUNCE_NONE: none is free, or all that are
 * free are for those who stand before in the line. `share`: NULL is our own.
 */
uint16_t dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_share *share, unsigned areas);

/*
 * Puts `share`, which found no buffer in `areas`, into the line, for dgm_dma_map(). Who is told to
 * wait then adds his task: dgm_waiters_add(&bounce->waiters, task). He keeps his place until he has
 * taken a buffer, as long as he asks again whenever he is woken.
 */
void dgm_bounce_wait(struct dgm_bounce *bounce, struct dgm_bounce_share *share, unsigned areas);

/* Gives a buffer back and wakes those who wait. */
void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer);

/* Before `share`, which holds nothing, goes away. Whose task waits takes it out of
 * bounce->waiters. */
void dgm_bounce_share_end(struct dgm_bounce *bounce, struct dgm_bounce_share *share);

/* Asserts every invariant. Quadratic in the buffers that are taken. */
void dgm_bounce_check(const struct dgm_bounce *bounce);

#ifdef __cplusplus
}
#endif

#endif
