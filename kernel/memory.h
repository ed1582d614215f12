/* SPDX-License-Identifier: MIT */
/*
 * memory: the domain's RAM and its slots, set up once
 *
 * Maps all RAM, gives what is free to the frame pool, chooses the slot window (the largest extended
 * region; without one, RAM that is ballooned out) and starts the foreign-page path on it.
 */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include "devtree.h"

#include <dragoman/grant.h>

struct memory {
    struct dgm_frames frames;
    struct dgm_p2m p2m;
    struct dgm_slots slots;
    struct dgm_bounce bounce;
    struct dgm_dma dma;
    struct dgm_grant *grant;
    bool slots_ballooned;
};

/* First: page tables can be made. */
void memory_init_early(struct memory *memory);
/* Then, with the device tree read: everything. Panics when Dom0 has too little memory to live. */
void memory_init(struct memory *memory, const struct devtree *tree, struct dgm_reactor *reactor);

#endif
