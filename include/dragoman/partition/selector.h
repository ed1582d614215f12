/* SPDX-License-Identifier: MIT */
/*
 * selector: the end of a target, which names a part of a disk
 *
 *     nvme0p2               partition 2 (not after "serial:" and "sd:/", whose names may end so)
 *     serial:XYZ:part=2     the same
 *     sd0:label=root        the GPT partition with that label
 *     nvme0:uuid=UUID       the partition with that UUID ("12345678-02" in an MBR)
 *     partuuid:UUID         the same, on any disk
 *     nvme0:range=1M+64M    64 MiB from 1 MiB on, whatever the partition table says
 *
 * Pure functions, also used by mkboottree.
 */
#ifndef DRAGOMAN_PARTITION_SELECTOR_H
#define DRAGOMAN_PARTITION_SELECTOR_H

#include <dragoman/partition/table.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum dgm_partition_by {
    DGM_PARTITION_WHOLE, /* the whole disk */
    DGM_PARTITION_BY_NUMBER,
    DGM_PARTITION_BY_LABEL,
    DGM_PARTITION_BY_UUID,
    DGM_PARTITION_BY_RANGE, /* no partition: a range of bytes */
};

struct dgm_partition_selector {
    enum dgm_partition_by by;
    uint32_t number;
    const char *text;           /* label or UUID, within the given string */
    uint64_t first_byte, bytes; /* of a range; neither is 0 and their sum does not wrap, except
                                   that first_byte may be 0 */
};

/* How many characters of `target` name the disk; the rest selects a part of it. 0: any disk. */
size_t dgm_partition_split(const char *target);

/* Reads the rest, as split off. False: it is none of the above. */
bool dgm_partition_select(const char *rest, struct dgm_partition_selector *selector);

/* True if the selector, by number, label or UUID, means this partition. */
bool dgm_partition_is_selected(const struct dgm_partition_selector *selector,
                               const struct dgm_partition *partition);

#ifdef __cplusplus
}
#endif

#endif
