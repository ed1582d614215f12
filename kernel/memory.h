/* SPDX-License-Identifier: MIT */
/*
 * memory: the domain's RAM and its slots, set up once
 *
 * Maps all RAM, gives free RAM to the frame pool, makes the slot window of the extended regions
 * (and, where these are few or none, of RAM that is ballooned out) and initialises the foreign-page
 * path.
 *
 *   memory.c         RAM, the slot window, the core
 *   memory_learn.c   machine frames and costs, learnt by grants to ourselves
 */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include "devtree.h"

#include <dragoman/pages/balloon.h>
#include <dragoman/core/core.h>

struct memory {
    struct dgm_frames frames;
    struct dgm_core *core;
    struct dgm_balloon balloon;        /* its run is empty if the extended regions suffice */
    uint64_t slots_max;                /* no more than Xen has room to map frames at */
    uint64_t slots_unpopulated;        /* in extended regions; the others are balloon.current */
    uint64_t *mfns[DEVTREE_BANKS_MAX]; /* of each bank's frames; NULL: Xen mapped it 1:1 */
};

/* The requirements of the disks' modes. */
struct memory_wants {
    uint16_t copy_frames, persistent_frames, identity_frames; /* see dgm_core_config */
    bool costs;                                               /* of mapping and copying */
    bool flush; /* Xen maintains the caches for devices that do not see them */
};

/* Called first: afterwards page tables can be made, and memory_take() has the rest of the image's 2
 * MiB. */
void memory_init_early(struct memory *memory);
/* Called when the device tree was read: panics if the tree is not for the memory in which the image
 * runs. */
void memory_check_image(const struct devtree *tree);
/* Called next: sets up all the rest. Panics if Dom0 has too little
 * memory. */
void memory_init(struct memory *memory, const struct devtree *tree, struct dgm_reactor *reactor,
                 const struct memory_wants *wants);

/* Called last, before any device gets an address: learns machine frames and costs if `wants` or
 * Xen's mapping of Dom0 require it. The grant window is mapped, and its second frame unused. */
void memory_learn(struct memory *memory, const struct devtree *tree,
                  const struct memory_wants *wants);

/* Allocates `bytes` of zeroed memory permanently; panics if there is too little. Only during the
 * start. */
void *memory_take(struct memory *memory, size_t bytes);

/* The number of slots, and a text for their kind. */
uint64_t memory_slots(const struct memory *memory);
const char *memory_slots_are(const struct memory *memory);

#endif
