/* SPDX-License-Identifier: MIT */
/*
 * disk_config.h: one disk of a guest: a string of the configuration's list `disk`.
 *
 * The syntax is that of xl-disk-configuration(5), read by Xen's own parser, with Dragoman's targets
 * and keys (docs/configuration.md). A part of the string that Dragoman does not honour is never
 * dropped in silence: it is an error when it would change what the guest gets, and named in a
 * warning otherwise.
 */
#ifndef DRAGOMAN_TOOLS_DISK_CONFIG_H
#define DRAGOMAN_TOOLS_DISK_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "config_text.h"

struct disk_config {
    const char *vdev;   /* "xvda" */
    const char *target; /* "nvme0", "pci:00:01.0", "serial:XYZ"... */
    bool writable;
    const char *mode;       /* "map", "copy", "identity" or "auto"; NULL when not given */
    const char *persistent; /* "yes" or "no"; NULL when not given */
    const char *file;       /* where it was configured */
    int line;
};

/* Fills *disk from the string, or ends the tool with a message that names file and line. */
void disk_config_read(struct disk_config *disk, const struct config_text *text, const char *spec);

/*
 * True when two targets can mean the same disk by what they say: equal, or one with a namespace and
 * one without. Names of different kinds (a number, a place, a serial number) cannot be compared
 * here; the domain compares the disks themselves at boot.
 */
bool disk_targets_may_be_same(const char *one, const char *other);

/* True: `target` is a position of `kind` ("nvme1", "nvme1n2"), stored in *position. */
bool disk_target_position(const char *target, const char *kind, unsigned *position);

/* What the name says of the disk: 's'erial, 'e'ui, 'p'ci, or 'n'vme, a position that may be any of
 * these. 0: an SD card's, which has no name in common with an NVMe disk but its place. */
char disk_target_kind(const char *target);

#endif
