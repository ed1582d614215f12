/* SPDX-License-Identifier: MIT */
/*
 * guest_config.h: a guest's configuration file, in the syntax of xl.cfg(5).
 *
 * Reads the file with Xen's own parser (libxlutil), so quoting, lists and the disk syntax are as
 * users of xl know them. guest_keys.h has the keys that are not supported. An error ends the tool
 * with file, line, cause and remedy. A machine has a handful of guests; nothing here is freed
 * before the tool ends.
 */
#ifndef DRAGOMAN_TOOLS_GUEST_CONFIG_H
#define DRAGOMAN_TOOLS_GUEST_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk_config.h"
#include "kernel_image.h"
#include "vif_config.h"

/* The limits of the domain (docs/configuration.md), which refuses a tree that exceeds them. */
enum {
    GUEST_COUNT_MAX = 32,
    DISK_COUNT_MAX = 64,
    VIF_COUNT_MAX = 32,
    BRIDGE_COUNT_MAX = 8, /* of the domain, kernel/config.h */
    GUEST_NAME_LENGTH_MAX = 31,
    /* Xen's BOOTMOD_MAX_CMDLINE, its terminating zero byte taken off. */
    COMMAND_LINE_LENGTH_MAX = 1023,
};

/* How a guest ends; the keys of xl.cfg(5) are on_poweroff and so on. */
enum guest_end { GUEST_POWEROFF, GUEST_REBOOT, GUEST_CRASH, GUEST_WATCHDOG, GUEST_END_COUNT };

/* What follows it. */
enum guest_action { GUEST_DESTROY, GUEST_RESTART, GUEST_PRESERVE, GUEST_ACTION_COUNT };

static inline const char *guest_action_name(enum guest_action action)
{
    static const char *const names[GUEST_ACTION_COUNT] = {"destroy", "restart", "preserve"};
    return names[action];
}

struct guest_config {
    const char *file; /* the configuration's own path, for messages */
    const char *name;
    const char *kernel; /* a path that can be opened from here */
    int kernel_line;
    const char *ramdisk; /* NULL when there is none */
    uint64_t ramdisk_bytes;
    const char *command_line;
    struct kernel_image image; /* the kernel's */
    long memory_mib;
    int memory_line;
    long vcpus;
    int vcpus_line;
    struct disk_config disks[DISK_COUNT_MAX];
    size_t disk_count;
    struct vif_config vifs[VIF_COUNT_MAX];
    size_t vif_count;
    enum guest_action on[GUEST_END_COUNT];
};

/* Some end of the guest is followed by its restart. */
static inline bool guest_config_restarts(const struct guest_config *guest)
{
    for (size_t end = 0; end < GUEST_END_COUNT; end++)
        if (guest->on[end] == GUEST_RESTART)
            return true;
    return false;
}

/* Fills *guest from the file at path, or ends the tool. */
void guest_config_read(struct guest_config *guest, const char *path);

/* The checks across guests: names, totals, a disk that two guests could both write, addresses. */
void guest_configs_check(const struct guest_config *guests, size_t count);

/* Checks that no disk is named by a position of `kind` that a machine with `count` controllers does
 * not have. */
void guest_configs_check_positions(const struct guest_config *guests, size_t count,
                                   const char *kind, unsigned controllers);

#endif
