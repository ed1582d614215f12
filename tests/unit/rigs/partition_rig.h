/* SPDX-License-Identifier: MIT */
/*
 * partition_rig: a disk's bytes with a partition table that a test makes, and the parser run on
 * them
 *
 * The GPT is written from the specification with its own checksum code, so that parser and rig do
 * not share a fault. A test changes single bytes afterwards and, if the change is to have a right
 * checksum, calls partition_rig_seal().
 */
#ifndef PARTITION_RIG_H
#define PARTITION_RIG_H

#include "unit.h"

#include <partition/parser.h>

#define RIG_BLOCKS        4096u /* of most disks */
#define RIG_ENTRIES       128u  /* of the GPT */
#define RIG_UNREADABLE    8u
#define RIG_ENTRIES_BYTES (RIG_ENTRIES * 128u)

extern struct partition_rig {
    uint8_t *bytes; /* of the disk */
    uint32_t block_bytes;
    uint64_t blocks;
    uint64_t unreadable[RIG_UNREADABLE]; /* blocks, from 1 up; 0: none */
    bool first_unreadable;               /* block 0 */
    unsigned reads;
    struct dgm_partition_table table; /* the result */
} partition_rig;

/* An empty disk. */
void partition_rig_start(struct dgm_partition_disk disk);
void partition_rig_stop(void);

uint8_t *partition_rig_block(uint64_t block);
void partition_rig_put(uint8_t *at, unsigned bytes, uint64_t value);

/* Both copies of a GPT without entries, and the protective MBR. */
void partition_rig_gpt(void);
/* The entry in that copy, from 1; `backup` as usual. */
uint8_t *partition_rig_entry(unsigned number, bool backup);
uint8_t *partition_rig_header(bool backup);
/* Sets the entry in that copy, with the label and a UUID that ends in the number, and leaves the
 * checksums as they are. */
void partition_rig_set(unsigned number, bool backup, struct dgm_partition_extent extent,
                       const char *label);
/* The same in both copies, with right checksums. */
void partition_rig_gpt_add(unsigned number, uint64_t first, uint64_t blocks, const char *label);
/* Makes the checksums of a copy right. */
void partition_rig_seal(bool backup);

/* An MBR, or a block of the chain of logical partitions. */
void partition_rig_mbr(uint64_t block);
void partition_rig_mbr_add(uint64_t block, unsigned index, uint8_t type, uint32_t first,
                           uint32_t blocks);

/* Runs the parser, which is given each block in memory of its exact size. */
void partition_rig_run(void);

/* The partition of that number, or NULL. */
const struct dgm_partition *partition_rig_find(unsigned number);

#endif
