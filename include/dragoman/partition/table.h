/* SPDX-License-Identifier: MIT */
/*
 * table: the partition table of a disk, GPT or MBR
 *
 * The bytes are hostile: a guest that has the whole disk writes them. A table is used only if all
 * of it is correct: every partition within the disk, none over another or over the table itself.
 * Otherwise the whole table is refused, because a table with one wrong entry may be wrong in others
 * too, and a wrong partition is another guest's file system. The number of reads is bounded, also
 * for a chain of logical partitions that is a loop.
 *
 * A GPT has a backup at the end of the disk. It is used if the primary one cannot be read or has a
 * wrong checksum; `primary` then has the cause. It is not used where the primary one is undamaged
 * and wrong (partitions that overlap): then it was made so.
 *
 * UEFI Specification 2.10, chapter 5 (GPT, and the protective MBR). MBR: up to four partitions, one
 * of which may be extended: a chain of blocks, each with one logical partition. Numbers are those
 * of Linux: logical partitions are numbered from 5.
 */
#ifndef DRAGOMAN_PARTITION_TABLE_H
#define DRAGOMAN_PARTITION_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Partitions in use, and blocks of the chain of logical partitions. */
#define DGM_PARTITIONS_MAX 128u

/* A run of a disk's blocks. */
struct dgm_partition_extent {
    uint64_t first, blocks;
};

/* True if the two have a block in common. */
static inline bool dgm_partition_overlaps(struct dgm_partition_extent a,
                                          struct dgm_partition_extent b)
{
    return a.first <= b.first ? b.first - a.first < a.blocks : a.first - b.first < b.blocks;
}

struct dgm_partition {
    struct dgm_partition_extent extent;
    uint16_t number; /* from 1; 0: a block of the table itself, between partitions */
    char uuid[37];   /* lower case; of an MBR's partition "12345678-02"; empty: none */
    char label[109]; /* UTF-8; GPT only */
};

/* Why a table is not used. */
struct dgm_partition_fault {
    const char *what;    /* NULL: no fault */
    uint16_t one, other; /* the numbers of the partitions that are meant; 0: none */
};

enum dgm_partition_state {
    DGM_PARTITIONS_READING,
    DGM_PARTITIONS_NONE,    /* the disk has no partition table */
    DGM_PARTITIONS_READY,   /* a correct one */
    DGM_PARTITIONS_REFUSED, /* `fault` has the cause */
};

/* The parser's own. */
enum dgm_partition_step {
    DGM_PARTITION_STEP_MBR,
    DGM_PARTITION_STEP_CHAIN,   /* a block of the extended partition */
    DGM_PARTITION_STEP_PROBE,   /* there is no MBR: is there a GPT nevertheless? */
    DGM_PARTITION_STEP_HEADER,  /* of the GPT */
    DGM_PARTITION_STEP_ENTRIES, /* likewise */
    DGM_PARTITION_STEP_END,
};

/* Other rooms use `state`, `gpt`, `fault`, `primary`, `count` and `partitions`; the rest is
 * partition's own. */
struct dgm_partition_table {
    enum dgm_partition_state state;
    bool gpt;                           /* READY: not an MBR */
    struct dgm_partition_fault fault;   /* REFUSED */
    struct dgm_partition_fault primary; /* of a GPT whose backup was read */
    uint32_t count;
    struct dgm_partition partitions[DGM_PARTITIONS_MAX];

    uint64_t disk_blocks;
    uint32_t block_bytes;
    enum dgm_partition_step step;
    bool backup;
    uint32_t signature; /* of an MBR */
    struct dgm_partition_extent extended;
    uint64_t chain_block; /* the next block of the chain */
    uint16_t logical;     /* the next logical partition's number */
    struct {
        uint64_t first_usable, last_usable, entries_block;
        uint32_t entry_count, entry_bytes, checksum;
    } header;
    uint64_t entries_read; /* bytes */
    uint32_t checksum;     /* of them */
    struct dgm_partition_fault entry_fault;
};

#ifdef __cplusplus
}
#endif

#endif
