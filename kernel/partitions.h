/* SPDX-License-Identifier: MIT */
/*
 * partitions: which blocks of a disk a target means
 *
 * Tables are read if a target of the configuration names a partition: then that of every disk,
 * before the disk counts as ready. So the overlap of two targets is decided when the first of them
 * is, whatever the order in which disks become ready.
 */
#ifndef KERNEL_PARTITIONS_H
#define KERNEL_PARTITIONS_H

#include "config.h"
#include "disks.h"

#include <dragoman/partition/selector.h>

/* True if a target of the configuration names a partition. */
bool partitions_are_wanted(const struct config *config);

/* Gives the disk what it needs for its table, during disks_add(). */
void partitions_prepare(struct disks_entry *disk, struct dgm_frames *frames);

/* Starts to read the table, once the disk is ready. */
void partitions_read(struct disks_entry *disk, const struct disks_tables *tables);

/* False while the table is being read. */
bool partitions_are_settled(const struct disks_entry *disk);

/* Logs the state of a table that was read. */
void partitions_log(const struct disks_entry *disk);

enum partitions_found {
    PARTITIONS_FOUND,
    PARTITIONS_NONE,    /* the disk has no such partition */
    PARTITIONS_SEVERAL, /* more than one */
    PARTITIONS_REFUSED, /* its table is refused, or was not read */
    PARTITIONS_OUTSIDE, /* a range that is not one of whole blocks of the disk */
};

/* What of a disk is shared. */
struct partitions_part {
    struct dgm_partition_extent extent;
    uint16_t number; /* of the partition; 0: it is none */
};

/* What `selector` means of a ready disk. */
enum partitions_found partitions_find(const struct disks_entry *disk,
                                      const struct dgm_partition_selector *selector,
                                      struct partitions_part *part);

/* The disk with the partition, for a target that names no disk; as disks_find(). */
enum disks_found partitions_find_disk(struct disks *disks,
                                      const struct dgm_partition_selector *selector,
                                      struct disks_entry *found[2]);

/* Whether `selector` can mean one of the blocks. A table that is refused can mean any. */
bool partitions_may_touch(const struct disks_entry *disk,
                          const struct dgm_partition_selector *selector,
                          struct dgm_partition_extent extent);

#endif
