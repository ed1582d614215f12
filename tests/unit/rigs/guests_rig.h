/* SPDX-License-Identifier: MIT */
/*
 * guests_rig: several guests with disks, on top of vbd_rig
 *
 * guests_start() starts the machine and connects guests with a disk each, in any mode;
 * guests_stop() ends them all and checks the machine.
 */
#ifndef GUESTS_RIG_H
#define GUESTS_RIG_H

#include "vbd_rig.h"

#define GUESTS_DISKS 34u

/* The options of a disk and of its frontend. */
struct guests_variant {
    const char *name;
    enum dgm_reach_mode mode;
    uint16_t persistent_frames;
    bool persistent; /* the frontend reuses its grants */
    enum dgm_reach_held held;
};

extern const struct guests_variant guests_variants[11];

#define FOR_EACH_VARIANT(v)                                                                        \
    for (const struct guests_variant *v = guests_variants;                                         \
         v < guests_variants + sizeof guests_variants / sizeof guests_variants[0]; v++)

/* Enough resources for every variant. */
extern const struct vbd_options guests_everything;

/* A pool with one record of each size, and one command, for each device. */
extern const struct dgm_blkback_pool_sizes guests_one_of_each;

struct guests {
    struct model_disk disk[GUESTS_DISKS];
    struct dgm_blkback back[GUESTS_DISKS];
    struct front front[GUESTS_DISKS];
    bool gone[GUESTS_DISKS]; /* its guest ended before the frontend had closed */
    unsigned used;
    uint64_t sectors; /* of the next disks; 0: 8192 */
};

extern struct guests guests;

/* Shares one more disk with `domid`. */
void guests_share(domid_t domid, const char *vdev, const struct guests_variant *v);

/* Starts the machine, and `count` guests (domid 1, 2, ...) with a disk each, connected. */
void guests_start(struct vbd_options options, unsigned count, const struct guests_variant *v);

/* The same with disks of 16 MiB in blocks of `block_bytes`, in mode map. */
void guests_start_plain(struct vbd_options options, unsigned count, uint32_t block_bytes);

/* Ends all devices: closes those that are still connected. */
void guests_stop(void);

/* --- data --- */

/* Fills a frame with bytes that depend on its gfn and `salt`. */
void guests_fill(domid_t domid, uint64_t gfn, unsigned salt);

/* `count` parts in frames that are not adjacent, unaligned at both ends. */
void guests_make_parts(struct part *parts, unsigned count, unsigned salt);

/* Sends a read or write, indirect if it needs to be. */
unsigned guests_send(struct front *front, bool write, uint64_t sector, const struct part *parts,
                     unsigned count);

/* The parts hold what the disk holds from `sector` on. */
void guests_expect_same(const struct model_disk *disk, domid_t domid, const struct part *parts,
                        unsigned count, uint64_t sector);

/* One read or write of guest 1's first disk: the data is correct, and no other byte changed. */
void guests_transfer(bool write, uint64_t sector, unsigned count, unsigned salt);

#endif
