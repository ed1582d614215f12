/* SPDX-License-Identifier: MIT */
/*
 * vbd_rig: a machine for the tests of blkback
 *
 * The simulated Xen of sim/, the whole core, the real xenstore, and the pools of one reactor. Disks
 * are RAM disks (model_disk.h), guests are simple frontends (front.h).
 *
 * vbd_stop() checks the invariants after every test: every mapping was unmapped, no grant is live,
 * all slots, records and bounce buffers are free, no translation is stale, and no DMA accessed a
 * frame that was not granted.
 */
#ifndef VBD_RIG_H
#define VBD_RIG_H

#include "unit.h"

#include <dragoman/block/blkback.h>
#include <dragoman/base/check.h>
#include <dragoman/core/core.h>
#include <dragoman/base/text.h>
#include <dragoman/xenstore/xenstore.h>
#include <port/sim/sim.h>
#include <sim/hypervisor/hypervisor.h>

#include "front.h"
#include "model_disk.h"

#define VBD_RAM_FIRST   0x40000u
#define VBD_RAM_FRAMES  2048u
#define VBD_SLOTS_FIRST 0x80000u
#define VBD_XS_BYTES    (1u << 20)
#define VBD_GUESTS      40u
#define VBD_DEVICES     8u /* the pool's default size */

struct vbd_rig {
    struct dgm_reactor reactor;
    struct dgm_frames frames;
    struct dgm_core core;
    struct dgm_evtchn evtchn;
    struct dgm_xenstore *xs;
    struct dgm_blkback_pool pool;
    struct dgm_blkback_env env;
    void *xs_memory;
    struct dgm_guest_account guests[VBD_GUESTS]; /* by domid */
    uint64_t unmaps_refused;                     /* expected, by a test that injects them */
    uint64_t now_ns;
    uint16_t guest_disks; /* of each guest, for vbd_share() */
};

extern struct vbd_rig vbd;

struct vbd_options {
    uint64_t slots;                             /* 0: 2048 */
    uint16_t bounce;                            /* bounce buffers; 0: 64 */
    const struct dgm_blkback_pool_sizes *sizes; /* NULL: default */
    uint16_t copies;                            /* copy buffers; 0: no mode copy */
    uint16_t persistent_frames;                 /* that stay mapped, of all connections */
    uint16_t identities;                        /* identity mappings; 0: no mode identity */
    uint64_t quota;                             /* slots, or copy buffers, of a guest; 0: all */
    uint16_t guest_disks;                       /* of each guest; 0: 1 */
};

void vbd_start(struct vbd_options options);

/* Shares a disk with `domid`, a guest with vbd.guest_disks disks. The result of
 * dgm_blkback_create(). */
int vbd_share(struct dgm_blkback *back, domid_t domid, const struct dgm_blkback_options *options);

/* The same in mode map, without persistent grants. */
int vbd_share_plain(struct dgm_blkback *back, domid_t domid, const char *vdev,
                    struct dgm_blkdev *disk, bool writable);

/* One turn of the main loop. True: there is more to do. */
bool vbd_turn(void);

/* Runs until no task is posted; fails if that never happens. */
void vbd_run(void);

/* Lets time pass, from one timer to the next. */
void vbd_pass(uint64_t ns);

/* The end of a device whose frontend has closed or whose guest has ended. */
void vbd_end(struct dgm_blkback *blkback);

void vbd_stop(void);

#endif
