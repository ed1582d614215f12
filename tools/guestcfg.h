/* SPDX-License-Identifier: MIT */
/*
 * guestcfg.h: a guest's configuration file, in the syntax of xl.cfg(5).
 *
 * Reads the file with Xen's own parser (libxlutil), so quoting, lists and the disk syntax are as
 * users of xl know them. Only keys that Xen's dom0less boot and Dragoman honour are accepted; any
 * other key is named in a warning. An error ends the tool with file, line, cause and cure. A
 * machine has a handful of guests; nothing here is freed before the tool ends.
 */
#ifndef DRAGOMAN_TOOLS_GUESTCFG_H
#define DRAGOMAN_TOOLS_GUESTCFG_H

#include <stdbool.h>
#include <stddef.h>

/* The limits of the domain (docs/configuration.md), which refuses a tree that exceeds them. */
enum {
    GUEST_COUNT_MAX = 32,
    DISK_COUNT_MAX = 64,
    GUEST_NAME_LENGTH_MAX = 31,
    /* Xen's BOOTMOD_MAX_CMDLINE, its terminating zero byte taken off. */
    COMMAND_LINE_LENGTH_MAX = 1023,
};

struct disk_config {
    const char *vdev;   /* "xvda" */
    const char *target; /* "nvmeN", "sdN" or "serial:XYZ" */
    bool writable;
    const char *mode;       /* "map", "copy", "identity" or "auto"; NULL when not given */
    const char *persistent; /* "yes" or "no"; NULL when not given */
    int line;
};

struct guest_config {
    const char *file; /* the configuration's own path, for messages */
    const char *name;
    const char *kernel;  /* a path that can be opened from here */
    const char *ramdisk; /* NULL when there is none */
    const char *command_line;
    long memory_mib;
    long vcpus;
    struct disk_config disks[DISK_COUNT_MAX];
    size_t disk_count;
};

/* Fills *guest from the file at path, or dies. */
void guest_config_read(struct guest_config *guest, const char *path);

/* The checks across guests: names, totals, a disk that two guests could both write. */
void guest_configs_check(const struct guest_config *guests, size_t count);

#endif
