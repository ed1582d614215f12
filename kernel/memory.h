/* SPDX-License-Identifier: MIT */
/*
 * memory: the domain's RAM and its slots, set up once
 *
 * Maps all RAM, gives what is free to the frame pool, makes the slot window of the extended regions
 * (and, where these are few or none, of RAM that is ballooned out) and starts the foreign-page path
 * on it.
 */
#ifndef KERNEL_MEMORY_H
#define KERNEL_MEMORY_H

#include "devtree.h"

#include <dragoman/pages/balloon.h>
#include <dragoman/core/core.h>

struct memory {
    struct dgm_frames frames;
    struct dgm_core *core;
    struct dgm_balloon balloon;        /* of its run is nothing if the regions are enough */
    uint64_t slots_unpopulated;        /* in extended regions; the others are balloon.current */
    uint64_t *mfns[DEVTREE_BANKS_MAX]; /* of each bank's frames; NULL: Xen mapped it 1:1 */
};

/* What the disks' paths need. */
struct memory_wants {
    uint16_t copy_frames, persistent_frames, identity_frames; /* see dgm_core_config */
    bool costs;                                               /* of mapping and copying */
    bool flush; /* caches maintained by Xen, where a device does not see them */
};

/* First: page tables can be made. */
void memory_init_early(struct memory *memory);
/* Then, with the device tree read: everything. Panics when Dom0 has too little memory to live. */
void memory_init(struct memory *memory, const struct devtree *tree, struct dgm_reactor *reactor,
                 const struct memory_wants *wants);

/* Last, before a device is told any address: learns from Xen what it takes, by grants to ourselves.
 * The grant window is mapped, and its second frame unused. */
void memory_learn(struct memory *memory, const struct devtree *tree,
                  const struct memory_wants *wants);

/* `bytes` of zeroed memory, for good; panics when there is too little. Only while starting. */
void *memory_take(struct memory *memory, size_t bytes);

/* The slots that there are, and what they are, in words. */
uint64_t memory_slots(const struct memory *memory);
const char *memory_slots_are(const struct memory *memory);

#endif
