/* SPDX-License-Identifier: MIT */
/*
 * config: if these fail, a guest gets a disk that nobody gave it, or a mistake in the configuration
 * is swallowed without a word, or one mistake costs the others their disks.
 */
#include "tree_rig.h"

#include <kernel/config.h>
#include <port/env.h>

static struct config config;

static void start_config(void)
{
    tree_start();
    tree_begin("dragoman");
    tree_string("compatible", "dragoman,config");
}

static void begin_guest(const char *name, uint32_t domid, const char *label)
{
    tree_begin(name);
    tree_cells("domid", domid);
    tree_string("label", label);
}

static void add_disk(const char *name, const char *vdev, const char *target, const char *access)
{
    tree_begin(name);
    if (vdev)
        tree_string("vdev", vdev);
    if (target)
        tree_string("target", target);
    if (access)
        tree_string("access", access);
    tree_end();
}

/* Ends the node `dragoman` and reads it. */
static void read_it(void)
{
    tree_end();
    config_read(&config, tree_finish());
}

/* The last line on the console contains all of `words`. */
static void said(const char *words)
{
    if (!strstr(dgm_sim_last_log(), words))
        fail_msg("said \"%s\", not \"%s\"", dgm_sim_last_log(), words);
}

/* So that an old line does not count. */
static int forget(void **state)
{
    dgm_env_log("nothing");
    return 0;
}

static void assert_disk(size_t i, uint16_t domid, const char *vdev, const char *target, bool write)
{
    assert_true(i < config.disk_count);
    assert_int_equal(config.disks[i].domid, domid);
    assert_string_equal(config.disks[i].vdev, vdev);
    assert_string_equal(config.disks[i].target, target);
    assert_int_equal(config.disks[i].writable, write);
}

static void reads_all_of_it(void **state)
{
    start_config();
    tree_string("when-idle", "poweroff");
    begin_guest("guest-1", 1, "web");
    add_disk("disk-a", "xvda", "nvme0", "w");
    add_disk("disk-b", "xvdb", "serial:S3EV NX0", "r");
    tree_end();
    begin_guest("guest-2", 2, "db");
    add_disk("disk-a", "xvda", "nvme1", "w");
    tree_end();
    begin_guest("guest-3", 0x7fef, "diskless");
    tree_end();
    read_it();
    said("nothing");
    assert_true(config.poweroff_when_idle);
    assert_int_equal(config.guest_count, 3);
    assert_int_equal(config.disk_count, 3);
    assert_disk(0, 1, "xvda", "nvme0", true);
    assert_disk(1, 1, "xvdb", "serial:S3EV NX0", false);
    assert_disk(2, 2, "xvda", "nvme1", true);
    assert_string_equal(config_guest(&config, 1)->name, "web");
    assert_string_equal(config_guest(&config, 0x7fef)->name, "diskless");
    assert_null(config_guest(&config, 4));
}

static void no_node(void **state)
{
    tree_start();
    memset(&config, 0xff, sizeof config);
    config_read(&config, tree_finish());
    said("no node compatible with \"dragoman,config\"");
    assert_int_equal(config.guest_count, 0);
    assert_int_equal(config.disk_count, 0);
    assert_false(config.poweroff_when_idle);
}

/* The node is found by what it is compatible with, wherever it is. */
static void node_elsewhere(void **state)
{
    tree_start();
    tree_begin("chosen");
    tree_begin("our-config");
    tree_string("compatible", "dragoman,config");
    tree_string("when-idle", "stay");
    tree_end();
    read_it();
    said("nothing");
    assert_false(config.poweroff_when_idle);
}

/* Fails: who wants Xen to maintain caches does not get it, or everyone does. */
static void cache_maintenance(void **state)
{
    start_config();
    read_it();
    assert_false(config.caches_by_xen);
    start_config();
    tree_string("cache-maintenance", "by-xen");
    read_it();
    assert_true(config.caches_by_xen);
    start_config();
    tree_string("cache-maintenance", "never");
    read_it();
    said("cache-maintenance is \"never\", must be \"by-address\" or \"by-xen\"; it is "
         "\"by-address\"");
    assert_false(config.caches_by_xen);
}

/* Fails: a time for disks is not the configured one, or a wrong one is taken for a time. */
static void disk_times(void **state)
{
    start_config();
    tree_cells("disk-stall-seconds", 45);
    tree_cells("disk-lost-seconds", 86400);
    read_it();
    said("nothing");
    assert_int_equal(config.disk_times.stall_ns, 45000000000);
    assert_int_equal(config.disk_times.lost_ns, 86400000000000);
    assert_int_equal(config.disk_times.retry_ns + config.disk_times.start_ns, 0);

    start_config();
    tree_cells("disk-retry-seconds", 0);
    read_it();
    said("disk-retry-seconds must be one cell, from 1 to 86400 seconds");
    assert_int_equal(config.disk_times.retry_ns, 0);

    start_config();
    tree_cells("disk-start-seconds", 0, 30);
    read_it();
    said("disk-start-seconds must be one cell");
    assert_int_equal(config.disk_times.start_ns, 0);
}

static void when_idle(void **state)
{
    start_config();
    tree_string("when-idle", "reboot");
    read_it();
    said("when-idle is \"reboot\", must be \"poweroff\" or \"stay\"; it is \"stay\"");
    assert_false(config.poweroff_when_idle);

    start_config();
    tree_bytes("when-idle", "poweroff", 8); /* no NUL */
    read_it();
    said("/dragoman: \"when-idle\" must be one string of 1 to 15 characters");
    assert_false(config.poweroff_when_idle);
}

/* Unknown keys are named with their path, and change nothing. */
static void unknown_keys(void **state)
{
    start_config();
    tree_string("when-idel", "poweroff");
    read_it();
    said("/dragoman: unknown key \"when-idel\" is ignored");
    assert_false(config.poweroff_when_idle);

    start_config();
    begin_guest("guest-1", 1, "web");
    tree_cells("memory", 64);
    add_disk("disk-a", "xvda", "nvme0", "w");
    tree_end();
    read_it();
    said("/dragoman/guest-1: unknown key \"memory\" is ignored");
    assert_int_equal(config.disk_count, 1);

    start_config();
    begin_guest("guest-1", 1, "web");
    tree_begin("disk-a");
    tree_string("vdev", "xvda");
    tree_string("target", "nvme0");
    tree_string("acces", "r");
    tree_string("access", "w");
    tree_cells("phandle", 7); /* dtc's own */
    tree_end();
    tree_end();
    read_it();
    said("/dragoman/guest-1/disk-a: unknown key \"acces\" is ignored");
    assert_disk(0, 1, "xvda", "nvme0", true);
}

/* A disk that lacks a key is left out; the one after it is not. */
static void missing_keys(void **state)
{
    static const char *const keys[] = {"vdev", "target", "access"};

    for (int missing = 0; missing < 3; missing++) {
        char words[80];

        start_config();
        begin_guest("guest-1", 1, "web");
        add_disk("disk-a", missing == 0 ? NULL : "xvda", missing == 1 ? NULL : "nvme0",
                 missing == 2 ? NULL : "w");
        add_disk("disk-b", "xvdb", "nvme1", "r");
        tree_end();
        read_it();
        snprintf(words, sizeof words, "/dragoman/guest-1/disk-a has no \"%s\"; it is left out",
                 keys[missing]);
        said(words);
        assert_int_equal(config.disk_count, 1);
        assert_disk(0, 1, "xvdb", "nvme1", false);
    }
}

static void guests_that_are_wrong(void **state)
{
    static const uint32_t bad[] = {0, 0x7ff0, 0x10001, UINT32_MAX};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start_config();
        begin_guest("guest-1", bad[i], "web");
        add_disk("disk-a", "xvda", "nvme0", "w");
        tree_end();
        begin_guest("guest-2", 2, "db");
        tree_end();
        read_it();
        said("/dragoman/guest-1: \"domid\" must be one number");
        assert_int_equal(config.guest_count, 1);
        assert_int_equal(config.disk_count, 0);
        assert_non_null(config_guest(&config, 2));
    }

    start_config();
    tree_begin("guest-1");
    tree_cells("domid", 0, 1); /* two cells are not one number */
    tree_string("label", "web");
    tree_end();
    read_it();
    said("\"domid\" must be one number");

    start_config();
    tree_begin("guest-1");
    tree_string("label", "web");
    tree_end();
    read_it();
    said("\"domid\" must be one number");

    start_config();
    tree_begin("guest-1");
    tree_cells("domid", 1);
    tree_end();
    read_it();
    said("/dragoman/guest-1 has no \"label\"; it is left out");
    assert_int_equal(config.guest_count, 0);

    start_config();
    begin_guest("guest-1", 1, "a name of 32 characters is one...");
    tree_end();
    read_it();
    said("\"label\" must be one string of 1 to 31 characters");
    assert_int_equal(config.guest_count, 0);
}

static void strings_that_are_wrong(void **state)
{
    static const struct {
        const char *bytes;
        size_t count;
    } bad[] = {
        {"", 0},                  /* nothing */
        {"", 1},                  /* empty */
        {"xvda", 4},              /* no NUL */
        {"xvda\0xvdb", 10},       /* two strings */
        {"xvda\0", 6},            /* a NUL too many */
        {"a-name-of-16-ch!", 17}, /* one more than fits */
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        start_config();
        begin_guest("guest-1", 1, "web");
        tree_begin("disk-a");
        tree_bytes("vdev", bad[i].bytes, bad[i].count);
        tree_string("target", "nvme0");
        tree_string("access", "w");
        tree_end();
        tree_end();
        read_it();
        said("/dragoman/guest-1/disk-a: \"vdev\" must be one string of 1 to 15 characters");
        assert_int_equal(config.disk_count, 0);
        assert_int_equal(config.guest_count, 1);
    }
}

/* Fails: what was meant to be read-only is written. */
static void access_is_r_or_w(void **state)
{
    static const char *const bad[] = {"rw", "ro", "R", "W", "x"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char words[80];

        start_config();
        begin_guest("guest-1", 1, "web");
        add_disk("disk-a", "xvda", "nvme0", bad[i]);
        tree_end();
        read_it();
        snprintf(words, sizeof words, "access is \"%s\", must be \"r\" or \"w\"", bad[i]);
        said(words);
        assert_int_equal(config.disk_count, 0);
    }
}

static const char *const mode_names[] = {
    [DGM_REACH_MODE_MAP] = "map",
    [DGM_REACH_MODE_COPY] = "copy",
    [DGM_REACH_MODE_IDENTITY] = "identity",
    [DGM_REACH_MODE_AUTO] = "auto",
};

/* The property that read_reach() writes: "mode", or its former name "path". */
static const char *mode_key = "mode";

/* Reads one guest with disk-a, which has these two properties where they are given, and disk-b. */
static void read_reach(const char *mode, const char *persistent)
{
    dgm_env_log("nothing");
    start_config();
    begin_guest("guest-1", 1, "web");
    tree_begin("disk-a");
    tree_string("vdev", "xvda");
    tree_string("target", "nvme0");
    tree_string("access", "w");
    if (mode)
        tree_string(mode_key, mode);
    if (persistent)
        tree_string("persistent", persistent);
    tree_end();
    add_disk("disk-b", "xvdb", "nvme1", "r");
    tree_end();
    memset(&config, 0xff, sizeof config);
    read_it();
    assert_int_equal(config.disk_count, 2);
    assert_disk(0, 1, "xvda", "nvme0", true);
    assert_disk(1, 1, "xvdb", "nvme1", false);
    assert_int_equal(config.disks[1].mode, DGM_REACH_MODE_MAP);
    assert_false(config.disks[1].persistent);
}

static void assert_reach(enum dgm_reach_mode mode, bool persistent)
{
    assert_int_equal(config.disks[0].mode, mode);
    assert_int_equal(config.disks[0].persistent, persistent);
}

static void mode_and_persistent(void **state)
{
    read_reach(NULL, NULL);
    said("nothing");
    assert_reach(DGM_REACH_MODE_MAP, false);
    read_reach(NULL, "yes");
    said("nothing");
    assert_reach(DGM_REACH_MODE_MAP, true);
    for (int mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_AUTO; mode++) {
        read_reach(mode_names[mode], NULL);
        said("nothing");
        assert_reach((enum dgm_reach_mode)mode, false);
        read_reach(mode_names[mode], "no");
        said("nothing");
        assert_reach((enum dgm_reach_mode)mode, false);
    }
    read_reach("map", "yes");
    said("nothing");
    assert_reach(DGM_REACH_MODE_MAP, true);
    read_reach("auto", "yes");
    said("nothing");
    assert_reach(DGM_REACH_MODE_AUTO, true);
}

/* Fails: a word that we do not know costs a guest its disk, or is swallowed without a line. */
static void mode_and_persistent_that_are_wrong(void **state)
{
    static const char *const bad[] = {"Map", "zero-copy", "cop", "copyy", "true", "1"};
    char words[160];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        read_reach(bad[i], "yes");
        snprintf(words, sizeof words,
                 "/dragoman/guest-1/disk-a: mode is \"%s\", must be \"map\", \"copy\", "
                 "\"identity\" or \"auto\"; it is \"map\"",
                 bad[i]);
        said(words);
        assert_reach(DGM_REACH_MODE_MAP, true);

        read_reach("copy", bad[i]);
        snprintf(words, sizeof words,
                 "/dragoman/guest-1/disk-a: persistent is \"%s\", must be \"yes\" or \"no\"; it is "
                 "\"no\"",
                 bad[i]);
        said(words);
        assert_reach(DGM_REACH_MODE_COPY, false);
    }
    read_reach("a mode of 16 ch.", NULL);
    said("/dragoman/guest-1/disk-a: \"mode\" must be one string of 1 to 15 characters");
    assert_reach(DGM_REACH_MODE_MAP, false);
    read_reach("copy", "");
    said("/dragoman/guest-1/disk-a: \"persistent\" must be one string of 1 to 15 characters");
    assert_reach(DGM_REACH_MODE_COPY, false);
}

/* Fails: a tree of an older mkboottree loses its modes,
 * or the former name wins over the new one. */
static void path_is_the_former_name_of_mode(void **state)
{
    mode_key = "path";
    read_reach("copy", NULL);
    said("nothing");
    assert_reach(DGM_REACH_MODE_COPY, false);
    read_reach("cop", NULL);
    said("/dragoman/guest-1/disk-a: path is \"cop\", must be");
    assert_reach(DGM_REACH_MODE_MAP, false);
    mode_key = "mode";

    start_config();
    begin_guest("guest-1", 1, "web");
    tree_begin("disk-a");
    tree_string("vdev", "xvda");
    tree_string("target", "nvme0");
    tree_string("access", "w");
    tree_string("path", "copy");
    tree_string("mode", "identity");
    tree_end();
    tree_end();
    read_it();
    assert_reach(DGM_REACH_MODE_IDENTITY, false);
}

/* mkboottree refuses this; a tree from elsewhere may hold it. */
static void persistent_needs_mappings(void **state)
{
    static const enum dgm_reach_mode modes[] = {DGM_REACH_MODE_COPY, DGM_REACH_MODE_IDENTITY};
    char words[160];

    for (size_t i = 0; i < 2; i++) {
        read_reach(mode_names[modes[i]], "yes");
        snprintf(
            words, sizeof words,
            "/dragoman/guest-1/disk-a: persistent grants are mappings: mode must be \"map\" or "
            "\"auto\", not \"%s\"; persistent is \"no\"",
            mode_names[modes[i]]);
        said(words);
        assert_reach(modes[i], false);
    }
}

static void duplicates(void **state)
{
    start_config();
    begin_guest("guest-1", 1, "web");
    add_disk("disk-a", "xvda", "nvme0", "w");
    add_disk("disk-b", "xvda", "nvme1", "w");
    tree_end();
    read_it();
    said("/dragoman/guest-1/disk-b: the guest already has a disk xvda; it is left out");
    assert_int_equal(config.disk_count, 1);
    assert_disk(0, 1, "xvda", "nvme0", true);

    start_config();
    begin_guest("guest-1", 3, "web");
    add_disk("disk-a", "xvda", "nvme0", "w");
    tree_end();
    begin_guest("guest-2", 3, "db");
    add_disk("disk-a", "xvda", "nvme1", "w");
    tree_end();
    read_it();
    said("/dragoman/guest-2: domid 3 is there twice; it is left out");
    assert_int_equal(config.guest_count, 1);
    assert_int_equal(config.disk_count, 1);
    assert_string_equal(config_guest(&config, 3)->name, "web");
}

static void too_many(void **state)
{
    char name[32];

    start_config();
    for (uint32_t i = 1; i <= CONFIG_GUESTS_MAX + 1; i++) {
        snprintf(name, sizeof name, "guest-%u", i);
        begin_guest(name, i, "one");
        tree_end();
    }
    read_it();
    said("/dragoman/guest-33 is more than the 32 guests that fit; it is left out");
    assert_int_equal(config.guest_count, CONFIG_GUESTS_MAX);

    start_config();
    begin_guest("guest-1", 1, "web");
    for (uint32_t i = 0; i <= CONFIG_DISKS_MAX; i++) {
        snprintf(name, sizeof name, "xvd%u", i);
        add_disk(name, name, "nvme0", "r");
    }
    tree_end();
    read_it();
    said("/dragoman/guest-1/xvd64 is more than the 64 disks that fit; it is left out");
    assert_int_equal(config.disk_count, CONFIG_DISKS_MAX);
}

/* A node's name is of any length; what is said of it is not. */
static void long_names(void **state)
{
    char name[512];

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    start_config();
    begin_guest(name, 1, "web");
    add_disk(name, NULL, "nvme0", "r");
    tree_end();
    read_it();
    said("nnn has no \"vdev\"; it is left out");
    assert_true(strlen(dgm_sim_last_log()) < 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_all_of_it, forget),
        cmocka_unit_test_setup(no_node, forget),
        cmocka_unit_test_setup(node_elsewhere, forget),
        cmocka_unit_test_setup(cache_maintenance, forget),
        cmocka_unit_test_setup(disk_times, forget),
        cmocka_unit_test_setup(when_idle, forget),
        cmocka_unit_test_setup(unknown_keys, forget),
        cmocka_unit_test_setup(missing_keys, forget),
        cmocka_unit_test_setup(guests_that_are_wrong, forget),
        cmocka_unit_test_setup(strings_that_are_wrong, forget),
        cmocka_unit_test_setup(access_is_r_or_w, forget),
        cmocka_unit_test_setup(mode_and_persistent, forget),
        cmocka_unit_test_setup(mode_and_persistent_that_are_wrong, forget),
        cmocka_unit_test_setup(path_is_the_former_name_of_mode, forget),
        cmocka_unit_test_setup(persistent_needs_mappings, forget),
        cmocka_unit_test_setup(duplicates, forget),
        cmocka_unit_test_setup(too_many, forget),
        cmocka_unit_test_setup(long_names, forget),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
