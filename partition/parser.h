/* SPDX-License-Identifier: MIT */
/*
 * parser: from a disk's blocks to its partition table (table.h)
 *
 * The parser reads no disk: it names the blocks that it needs next, the caller supplies them. So it
 * is a pure function of the disk's bytes, and needs room for 4 KiB of them at a time.
 *
 *     dgm_partition_begin(table, disk);
 *     while (dgm_partition_wants(table, &wanted))
 *         dgm_partition_supply(table, the bytes of those blocks, or NULL if they cannot be read);
 */
#ifndef PARTITION_PARSER_H
#define PARTITION_PARSER_H

#include <dragoman/partition/table.h>

/* A disk's size. */
struct dgm_partition_disk {
    uint64_t blocks;
    uint32_t block_bytes; /* 512 or 4096 */
};

void dgm_partition_begin(struct dgm_partition_table *table, struct dgm_partition_disk disk);

/* True: the parser needs these blocks, at most 4096 bytes. False: it has ended. */
bool dgm_partition_wants(const struct dgm_partition_table *table,
                         struct dgm_partition_extent *wanted);

/* Continues with the blocks that are wanted. NULL: they cannot be read. */
void dgm_partition_supply(struct dgm_partition_table *table, const void *bytes);

#endif
