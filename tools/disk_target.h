/* SPDX-License-Identifier: MIT */
/*
 * disk_target.h: the names of disks and of their parts, compared by their text
 *
 * What can be compared only when the disks and their partition tables are known, the domain
 * compares at boot.
 */
#ifndef DRAGOMAN_TOOLS_DISK_TARGET_H
#define DRAGOMAN_TOOLS_DISK_TARGET_H

#include <stdbool.h>

bool disk_target_is_valid(const char *target);

/* Gives the target the letters that the domain compares. */
void disk_target_normalise(char *target);

/* True if two targets can mean the same bytes by their text: the disk is the same, or one has a
 * namespace and one has none, and the parts are the same, or one is the whole disk, or both are
 * ranges that overlap. */
bool disk_targets_overlap(const char *one, const char *other);

/* True if they do not overlap by their text, but can mean the same bytes: names of different kinds
 * (a number, a place, a serial number; a partition's number, label, UUID). */
bool disk_targets_are_unclear(const char *one, const char *other);

/* True: `target` is a position of `kind` ("nvme1", "nvme1n2p1"), stored in *position. */
bool disk_target_position(const char *target, const char *kind, unsigned *position);

#endif
