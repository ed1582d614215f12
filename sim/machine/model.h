/* SPDX-License-Identifier: MIT */
/*
 * model: the possible contents of a disk, from its guests' view
 *
 * Each write has its own stamp, and a sector's bytes follow from (disk, sector, stamp), so the data
 * of a sector identify the write. For each sector the model has a short history: the stamps that it
 * may hold, and the moment at which each was certainly overwritten. A read is correct if it finds a
 * stamp that the sector may have held at some moment while the read was in flight. So overlapping
 * requests are checked exactly as a disk may execute them.
 *
 * Writes of one sector that overlap in time form a group. The data of any write of a group may
 * remain. A write that failed, or had no response, may have been executed or not.
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
        uint64_t until; /* moment from which it is certainly overwritten; UINT64_MAX: it may be
                           present */
        bool group;     /* it is one of the writes that overlap now */
    } may[MODEL_STAMPS];
    uint8_t count;
    uint8_t writing;  /* writes in flight */
    bool alone;       /* the group has one write */
    bool any_done;    /* one of the group succeeded */
    uint64_t done_at; /* moment of the last success; 0: none; and its stamp */
    uint32_t done_stamp;
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

/* The next moment. Moments order requests: each submission and each response gets one. */
uint64_t model_moment(struct model *model);

/* False: too many writes of these sectors already overlap. `oldest_read`: the moment of the oldest
 * read in flight. */
bool model_may_write(const struct model *model, uint64_t sector, uint64_t count,
                     uint64_t oldest_read);
uint32_t model_write(struct model *model, uint64_t sector, uint64_t count);
/* The write has ended. `done`: it succeeded; else it may have happened or not. */
void model_written(struct model *model, uint64_t sector, uint64_t count, uint32_t stamp, bool done);

/* The sector may have this stamp again, which it had before: its later writes are lost. False: the
 * stamp is no longer known, so the sector cannot be checked with it. */
bool model_revert(struct model *model, uint64_t sector, uint32_t stamp);

/* Checks the bytes that a read which began at `since` found. NULL, or a text for the error. */
const char *model_judge(const struct model *model, uint64_t sector, const void *bytes,
                        uint64_t since);

/* Whether `word` may be word `index` of some sector of this disk, as it was at some time. Other
 * data is taken for such a word with a chance of 1 to 2^20. */
bool model_has_word(const struct model *model, size_t index, uint64_t word);

/* The disk whose data these bytes are, by their mark; UINT32_MAX: none. */
uint32_t model_disk_of(const void *bytes);

#endif
