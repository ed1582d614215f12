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

#endif
