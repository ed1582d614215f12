/* SPDX-License-Identifier: MIT */
/*
 * disk_config.h: one disk of a guest: a string of the configuration's list `disk`.
 *
 * The syntax is that of xl-disk-configuration(5), read by Xen's own parser, with Dragoman's targets
 * and keys (docs/configuration.md). A part of the string that Dragoman does not support is never
 * ignored silently: it is an error if it would change what the guest gets, and a warning names it
 * otherwise.
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
    const char *file;       /* the file that configures it */
    int line;
};

/* Fills *disk from the string, or ends the tool with a message that names file and line. */
void disk_config_read(struct disk_config *disk, const struct config_text *text, const char *spec);

/*
 * True if two targets can mean the same disk by their text: they are equal, or one has a namespace
 * and one has none. Names of different kinds (a number, a place, a serial number) cannot be
 * compared here; the domain compares the disks themselves at boot.
 */
bool disk_targets_may_be_same(const char *one, const char *other);

/* True: `target` is a position of `kind` ("nvme1", "nvme1n2"), stored in *position. */
bool disk_target_position(const char *target, const char *kind, unsigned *position);

/* The kind of the name: 's'erial, 'e'ui, 'p'ci, or 'n'vme, a position that may be any of these. 0:
 * that of an SD card, which can have only a place in common with an NVMe disk. */
char disk_target_kind(const char *target);

#endif
