/* SPDX-License-Identifier: MIT */
/* config_rig: trees with a node /dragoman, and what kernel/config.c reads from them. */
#ifndef CONFIG_RIG_H
#define CONFIG_RIG_H

#include "tree_rig.h"

#include <kernel/config.h>

/* What config_read_tree() read. */
extern struct config config;

void config_start(void);
void config_begin_guest(const char *name, uint32_t domid, const char *label);
/* The first guest's node, with nothing before it. */
void config_start_guest(void);
/* NULL: the property is missing. The test may add others before it ends the node. */
void config_begin_disk(const char *name, const char *vdev, const char *target, const char *access);
void config_begin_vif(const char *name, const char *mac, const char *bridge);
/* A whole node. */
void config_add_disk(const char *name, const char *vdev, const char *target, const char *access);
void config_add_vif(const char *name, const char *mac, const char *bridge);

/* Ends the node `dragoman` and reads it. */
void config_read_tree(void);

/* The last line on the console contains all of `words`. */
void config_said(const char *words);

/* A test's set-up: an old line does not count. */
int config_forget(void **state);

void config_expect_disk(size_t i, uint16_t domid, const char *vdev, const char *target, bool write);

#endif
