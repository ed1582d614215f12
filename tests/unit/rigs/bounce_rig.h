/* SPDX-License-Identifier: MIT */
/* bounce_rig: a pool of bounce buffers over simulated memory, for the tests of bounce */
#ifndef BOUNCE_RIG_H
#define BOUNCE_RIG_H

#include "unit.h"

#include <dragoman/base/frames.h>
#include <dragoman/base/reactor.h>
#include <dragoman/dma/bounce.h>

#define BOUNCE_RIG_FIRST       0x700u /* the gfn of the first frame */
#define BOUNCE_RIG_BUFFERS_MAX 1024

/* Bits of the areas of bounce_rig_two_areas(), by the order in which they are added. */
#define BOUNCE_RIG_LOW  1u
#define BOUNCE_RIG_HIGH 2u

extern struct bounce_rig {
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_bounce bounce;
} bounce_rig;

/* Setup and teardown of each test: frames without a pool. */
int bounce_rig_start(void **state);
int bounce_rig_stop(void **state);

/* A new pool of `count` of the frames: what dgm_bounce_add() returns. */
int bounce_rig_pool(uint16_t count);

/* A new pool of two areas, of `low` and `high` buffers. */
void bounce_rig_two_areas(uint16_t low, uint16_t high);

#define BOUNCE_RIG_TEST(name)                                                                      \
    cmocka_unit_test_setup_teardown(name, bounce_rig_start, bounce_rig_stop)

#endif
