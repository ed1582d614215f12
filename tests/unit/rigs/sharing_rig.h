/* SPDX-License-Identifier: MIT */
/*
 * sharing_rig: kernel/sharing.c and kernel/disks.c as they ship, with controllers of two drivers
 * that fail in every way
 *
 * A test sets `sharing.models` (the controllers, each with its fate) and `sharing.config` (the
 * disks that guests want), calls sharing_run(), and reads in `sharing.given` the controller whose
 * disk was shared for each wanted disk, and in `sharing.extents` which blocks of it. The rig checks
 * that a disk is shared as configured, and only once, and that no bytes have a writer and another
 * user.
 */
#ifndef SHARING_RIG_H
#define SHARING_RIG_H

#include "unit.h"

#include <kernel/guests.h>

#include <dragoman/partition/table.h>

#define RAM         0x40000ull
#define BLOCKS      1000u /* of each disk */
#define CONTROLLERS 4u
#define WANTED      5u
#define GUESTS      3u

enum fate {
    WELL,               /* ready when it was started */
    LATE,               /* ready later */
    REFUSED,            /* its start fails, before it is identified */
    UNUSABLE,           /* the bus has no room for it */
    BAD_NAMESPACE,      /* identified, then its start fails */
    LATE_FAILURE,       /* fails later, before it is identified */
    LATE_BAD_NAMESPACE, /* identified later, and fails */
    ABSENT,             /* it has left the bus: the scan does not find it */
    FATES,
};

/* A controller, and its fate in this run. */
struct model {
    const struct dgm_disk_driver *driver;
    const char *place, *alias, *serial, *eui;
    uint32_t nsid;
    enum fate fate;
};

struct state {
    struct dgm_blkdev blkdev;
    const struct model *model;
};

extern struct sharing_rig {
    struct model models[CONTROLLERS];
    /* The disk's partition table; NULL: it is not read. */
    const struct dgm_partition_table *tables[CONTROLLERS];
    struct dgm_partition_reader readers[CONTROLLERS];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env envs[CONTROLLERS];
    struct disks disks;
    struct guests guests;
    struct config config;
    struct dgm_reach reach;
    struct dgm_blkback_env env;
    struct state *states[CONTROLLERS];
    const struct model *given[WANTED], *reference[WANTED]; /* NULL: none */
    struct dgm_partition_extent extents[WANTED];
} sharing;

/* The drivers of the models. */
extern const struct dgm_disk_driver sharing_nvme, sharing_sd;

void sharing_start(void);

/* Runs from the search for controllers until each wanted disk is decided; late controllers become
 * ready in any order. */
void sharing_run(void);

/* The wanted disk `index`, and none after it; `target` as a configuration has it. */
void sharing_want(unsigned index, uint16_t domid, const char *target, bool writable);

/* The configuration states the number of the driver's controllers. */
void sharing_expect(const char *driver, uint32_t count);

#endif
