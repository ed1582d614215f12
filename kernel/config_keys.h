/* SPDX-License-Identifier: MIT */
/*
 * config_keys: what the files that read the configuration share
 *
 *   config.c       the node /dragoman, its guests and their disks
 *   config_vif.c   the guests' network interfaces
 *   config_keys.c  properties
 *
 * `path` names the node in log lines.
 */
#ifndef KERNEL_CONFIG_KEYS_H
#define KERNEL_CONFIG_KEYS_H

#include "config.h"

/* A string property, complete and NUL-terminated, with room for it in `bytes` bytes. NULL: missing
 * or invalid, and logged. */
const char *config_string(const void *fdt, int node, const char *path, const char *name,
                          size_t bytes);

/* The values of a string property. */
struct config_choices {
    const char *words[4];
    size_t count;
    size_t usual;        /* the index of the default */
    const char *allowed; /* lists the words, for the log line about any other value */
};

/* The index in choices->words of an optional string property; a value that is none of them is
 * logged. */
size_t config_choice(const void *fdt, int node, const char *path, const char *name,
                     const struct config_choices *choices);

/* The length of DRIVER in "DRIVER-controllers"; 0: the key is another one. */
size_t config_kind_length(const char *key);

/* Logs each property whose name is not among the `count` in `known`. */
void config_warn_unknown(const void *fdt, int node, const char *path, const char *const *known,
                         size_t count);

/* Adds a vif of the guest, or logs why it is left out. */
void config_read_vif(struct config *config, const void *fdt, int node, const char *guest_path,
                     uint16_t domid);

/* Reads what is done at the guest's end, and what it is built from. */
void config_read_life(struct config_guest *guest, const void *fdt, int node, const char *path);

#endif
