/* SPDX-License-Identifier: MIT */
/*
 * internal: the declarations that the files of the parser share
 *
 *   table.c      its steps, and the list of partitions
 *   mbr.c, gpt.c the two kinds of tables
 *   selector.c   which partition a target means
 *   reader.c     reads the blocks that the parser wants
 */
#ifndef PARTITION_INTERNAL_H
#define PARTITION_INTERNAL_H

#include <partition/parser.h>

#include <dragoman/base/little_endian.h>

#include <stddef.h>

#define DGM_PARTITION_CHUNK_BYTES 4096u

void dgm_partition_refuse(struct dgm_partition_table *table, struct dgm_partition_fault fault);
void dgm_partition_accept(struct dgm_partition_table *table, bool gpt);

/*
 * Appends a partition, or a block of the table (number 0). NULL: it is outside of `within` or over
 * another one, or there are too many; `*fault` has the cause.
 */
struct dgm_partition *dgm_partition_add(struct dgm_partition_table *table, uint16_t number,
                                        struct dgm_partition_extent extent,
                                        struct dgm_partition_extent within,
                                        struct dgm_partition_fault *fault);

/* Writes `number` in `digits` hexadecimal digits; the place after them. */
char *dgm_partition_hex(char *at, uint32_t number, unsigned digits);

/* The steps: `block` is NULL if it cannot be read. */
void dgm_mbr_read(struct dgm_partition_table *table, const uint8_t *block);
void dgm_mbr_read_chain(struct dgm_partition_table *table, const uint8_t *block);
void dgm_gpt_begin(struct dgm_partition_table *table, bool backup);
void dgm_gpt_probe(struct dgm_partition_table *table, const uint8_t *block);
void dgm_gpt_read_header(struct dgm_partition_table *table, const uint8_t *block);
void dgm_gpt_read_entries(struct dgm_partition_table *table, const uint8_t *bytes);
/* The blocks of the entries that were not read yet, one chunk at most. */
struct dgm_partition_extent dgm_gpt_next_entries(const struct dgm_partition_table *table);

#endif
