/* SPDX-License-Identifier: MIT */
/*
 * model: what a disk must hold, from its guest's point of view
 *
 * Every write has a stamp of its own, and every sector's bytes follow from (disk, sector, stamp),
 * so a sector read says by itself who wrote it and when. Per sector a short history is kept: which
 * stamps it may hold, and when each was surely overwritten. A read is right if it shows a stamp
 * that the sector may have held at some moment while the read was under way; so overlapping
 * requests under way are judged exactly as a disk is allowed to treat them, and nothing looser.
 *
 * Writes of one sector that overlap in time are a group: until the last of it has ended, and then
 * if there were several, each may be what stays. A write that failed or was never answered may have
 * happened or not.
 */
#ifndef SIM_MACHINE_MODEL_H
#define SIM_MACHINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR       512u
#define MODEL_STAMPS 12u

struct model_sector {
    struct {
        uint32_t stamp;
        uint64_t until; /* moment at which it was surely gone; UINT64_MAX: may be there */
        bool group;     /* of the writes that overlap now */
    } may[MODEL_STAMPS];
    uint8_t count;
    uint8_t writing; /* writes under way */
    bool alone;      /* the group has one write */
    bool any_done;   /* one of the group was answered OK */
};

struct model {
    uint32_t disk;
    uint64_t sectors;
    struct model_sector *sector;
    uint32_t stamp; /* the last one given */
    uint64_t moment;
};

void model_start(struct model *model, uint32_t disk, uint64_t sectors);

/* The bytes of one sector. */
void model_fill(uint32_t disk, uint64_t sector, uint32_t stamp, void *bytes);

/* Moments order everything: the guest asks for one at each submission and answer. */
uint64_t model_moment(struct model *model);

/* False: too many writes of these sectors overlap already; do not write there now. `oldest_read`:
 * when the oldest read under way began. */
bool model_may_write(const struct model *model, uint64_t sector, uint64_t count,
                     uint64_t oldest_read);
uint32_t model_write(struct model *model, uint64_t sector, uint64_t count);
/* `done`: answered OK. Else it may have happened. */
void model_written(struct model *model, uint64_t sector, uint64_t count, uint32_t stamp, bool done);

/* What a read that began at `since` found. NULL, or what is wrong with it. */
const char *model_judge(const struct model *model, uint64_t sector, const void *bytes,
                        uint64_t since);

/* Which disk's bytes these look like; UINT32_MAX: none's. */
uint32_t model_whose(const void *bytes);

#endif
