/* SPDX-License-Identifier: MIT */
/* config_rig: see config_rig.h. */
#include "config_rig.h"

#include <port/env.h>

struct config config;

void config_start(void)
{
    tree_start();
    tree_begin("dragoman");
    tree_string("compatible", "dragoman,config");
}

void config_begin_guest(const char *name, uint32_t domid, const char *label)
{
    tree_begin(name);
    tree_cells("domid", domid);
    tree_string("label", label);
}

void config_start_guest(void)
{
    config_start();
    config_begin_guest("guest-1", 1, "web");
}

void config_begin_disk(const char *name, const char *vdev, const char *target, const char *access)
{
    tree_begin(name);
    if (vdev)
        tree_string("vdev", vdev);
    if (target)
        tree_string("target", target);
    if (access)
        tree_string("access", access);
}

void config_add_disk(const char *name, const char *vdev, const char *target, const char *access)
{
    config_begin_disk(name, vdev, target, access);
    tree_end();
}

void config_begin_vif(const char *name, const char *mac, const char *bridge)
{
    tree_begin(name);
    if (mac)
        tree_string("mac", mac);
    if (bridge)
        tree_string("bridge", bridge);
}

void config_add_vif(const char *name, const char *mac, const char *bridge)
{
    config_begin_vif(name, mac, bridge);
    tree_end();
}

/* Ends the node `dragoman` and reads it. */
void config_read_tree(void)
{
    tree_end();
    config_read(&config, tree_finish());
}

/* The last line on the console contains all of `words`. */
void config_said(const char *words)
{
    if (!strstr(dgm_sim_last_log(), words))
        fail_msg("config_said \"%s\", not \"%s\"", dgm_sim_last_log(), words);
}

/* So that an old line does not count. */
int config_forget(void **state)
{
    dgm_env_log("nothing");
    return 0;
}

void config_expect_disk(size_t i, uint16_t domid, const char *vdev, const char *target, bool write)
{
    assert_true(i < config.disk_count);
    assert_int_equal(config.disks[i].domid, domid);
    assert_string_equal(config.disks[i].vdev, vdev);
    assert_string_equal(config.disks[i].target, target);
    assert_int_equal(config.disks[i].writable, write);
}
