/* SPDX-License-Identifier: MIT */
/*
 * config: if these fail, a guest gets a disk that the configuration does not give it, or an error
 * in the configuration is ignored silently, or one error costs other guests their disks.
 */
#include "config_rig.h"

#include <port/env.h>

static void reads_all_of_it(void **state)
{
    config_start();
    tree_string("when-idle", "poweroff");
    config_begin_guest("guest-1", 1, "web");
    config_add_disk("disk-a", "xvda", "nvme0", "w");
    config_add_disk("disk-b", "xvdb", "serial:S3EV NX0", "r");
    tree_end();
    config_begin_guest("guest-2", 2, "db");
    config_add_disk("disk-a", "xvda", "nvme1", "w");
    tree_end();
    config_begin_guest("guest-3", 0x7fef, "diskless");
    tree_end();
    config_read_tree();
    config_said("nothing");
    assert_true(config.poweroff_when_idle);
    assert_int_equal(config.guest_count, 3);
    assert_int_equal(config.disk_count, 3);
    config_expect_disk(0, 1, "xvda", "nvme0", true);
    config_expect_disk(1, 1, "xvdb", "serial:S3EV NX0", false);
    config_expect_disk(2, 2, "xvda", "nvme1", true);
    assert_string_equal(config_guest(&config, 1)->name, "web");
    assert_string_equal(config_guest(&config, 0x7fef)->name, "diskless");
    assert_null(config_guest(&config, 4));
}

static void no_node(void **state)
{
    tree_start();
    memset(&config, 0xff, sizeof config);
    config_read(&config, tree_finish());
    config_said("no node compatible with \"dragoman,config\"");
    assert_int_equal(config.guest_count, 0);
    assert_int_equal(config.disk_count, 0);
    assert_false(config.poweroff_when_idle);
}

/* The node is found by its compatible string, at any path. */
static void node_elsewhere(void **state)
{
    tree_start();
    tree_begin("chosen");
    tree_begin("our-config");
    tree_string("compatible", "dragoman,config");
    tree_string("when-idle", "stay");
    tree_end();
    config_read_tree();
    config_said("nothing");
    assert_false(config.poweroff_when_idle);
}

/* Fails: Xen does not maintain caches although configured, or does so although not configured. */
static void cache_maintenance(void **state)
{
    config_start();
    config_read_tree();
    assert_false(config.caches_by_xen);
    config_start();
    tree_string("cache-maintenance", "by-xen");
    config_read_tree();
    assert_true(config.caches_by_xen);
    config_start();
    tree_string("cache-maintenance", "never");
    config_read_tree();
    config_said("cache-maintenance is \"never\", must be \"by-address\" or \"by-xen\"; it is "
                "\"by-address\"");
    assert_false(config.caches_by_xen);
}

/* Fails: a time for disks is not the configured one, or a wrong one is taken for a time. */
static void disk_times(void **state)
{
    config_start();
    tree_cells("disk-stall-seconds", 45);
    tree_cells("disk-lost-seconds", 86400);
    config_read_tree();
    config_said("nothing");
    assert_int_equal(config.disk_times.stall_ns, 45000000000);
    assert_int_equal(config.disk_times.lost_ns, 86400000000000);
    assert_int_equal(config.disk_times.retry_ns + config.disk_times.start_ns, 0);

    config_start();
    tree_cells("disk-retry-seconds", 0);
    config_read_tree();
    config_said("disk-retry-seconds must be one cell, from 1 to 86400 seconds");
    assert_int_equal(config.disk_times.retry_ns, 0);

    config_start();
    tree_cells("disk-start-seconds", 0, 30);
    config_read_tree();
    config_said("disk-start-seconds must be one cell");
    assert_int_equal(config.disk_times.start_ns, 0);
}

/* Fails: a target's end is taken for the name of a disk, or a wrong one gives the whole disk. */
static void parts_of_disks(void **state)
{
    static const char *const wrong[] = {
        "nvme0:part=0", "sd0:label=", "partuuid:12", ":range=1+x",
        "sd:/a/path/that/is/longer/than/the/names/of/disks/are:part=1"};

    config_start_guest();
    config_add_disk("disk0", "xvda", "nvme0p2", "w");
    config_add_disk("disk1", "xvdb", "sd:/axi/mmc@ff170000:label=root", "r");
    config_add_disk("disk2", "xvdc", "partuuid:1234abcd-02", "w");
    config_add_disk("disk3", "xvdd", "serial:A0p2", "w");
    tree_end();
    config_read_tree();
    assert_int_equal(config.disk_count, 4);
    config_expect_disk(0, 1, "xvda", "nvme0", true);
    assert_string_equal(config.disks[0].part, "p2");
    config_expect_disk(1, 1, "xvdb", "sd:/axi/mmc@ff170000", false);
    assert_string_equal(config.disks[1].part, ":label=root");
    config_expect_disk(2, 1, "xvdc", "", true);
    assert_string_equal(config.disks[2].part, "partuuid:1234abcd-02");
    config_expect_disk(3, 1, "xvdd", "serial:A0p2", true);
    assert_string_equal(config.disks[3].part, "");
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        config_start_guest();
        config_add_disk("disk0", "xvda", wrong[i], "w");
        tree_end();
        config_read_tree();
        config_said("the name of a disk is too long, or what follows is none of");
        assert_int_equal(config.disk_count, 0);
    }
}

/* Fails: a missing controller is not detected, or a wrong number is accepted. */
static void counts_of_controllers(void **state)
{
    config_start();
    tree_cells("nvme-controllers", 3);
    tree_cells("sd-controllers", 0);
    config_read_tree();
    config_said("nothing");
    assert_int_equal(config_kind(&config, "nvme")->controllers, 3);
    assert_int_equal(config_kind(&config, "sd")->controllers, 0);
    assert_null(config_kind(&config, "ram"));

    config_start();
    tree_cells("nvme-controllers", 3, 4);
    config_read_tree();
    config_said("nvme-controllers must be one cell");
    assert_null(config_kind(&config, "nvme"));

    config_start();
    tree_cells("-controllers", 3);
    config_read_tree();
    config_said("unknown key \"-controllers\" is ignored");
}

static void when_idle(void **state)
{
    config_start();
    tree_string("when-idle", "reboot");
    config_read_tree();
    config_said("when-idle is \"reboot\", must be \"poweroff\" or \"stay\"; it is \"stay\"");
    assert_false(config.poweroff_when_idle);

    config_start();
    tree_bytes("when-idle", "poweroff", 8); /* no NUL */
    config_read_tree();
    config_said("/dragoman: \"when-idle\" must be one string of 1 to 15 characters");
    assert_false(config.poweroff_when_idle);
}

/* Unknown keys are named with their path, and change nothing. */
static void unknown_keys(void **state)
{
    config_start();
    tree_string("when-idel", "poweroff");
    config_read_tree();
    config_said("/dragoman: unknown key \"when-idel\" is ignored");
    assert_false(config.poweroff_when_idle);

    config_start_guest();
    tree_cells("memorie", 64);
    config_add_disk("disk-a", "xvda", "nvme0", "w");
    tree_end();
    config_read_tree();
    config_said("/dragoman/guest-1: unknown key \"memorie\" is ignored");
    assert_int_equal(config.disk_count, 1);

    config_start_guest();
    tree_begin("disk-a");
    tree_string("vdev", "xvda");
    tree_string("target", "nvme0");
    tree_string("acces", "r");
    tree_string("access", "w");
    tree_cells("phandle", 7); /* dtc's own */
    tree_end();
    tree_end();
    config_read_tree();
    config_said("/dragoman/guest-1/disk-a: unknown key \"acces\" is ignored");
    config_expect_disk(0, 1, "xvda", "nvme0", true);
}

/* A disk that lacks a key is left out; the one after it is not. */
static void missing_keys(void **state)
{
    static const char *const keys[] = {"vdev", "target", "access"};

    for (int missing = 0; missing < 3; missing++) {
        char words[80];

        config_start_guest();
        config_add_disk("disk-a", missing == 0 ? NULL : "xvda", missing == 1 ? NULL : "nvme0",
                        missing == 2 ? NULL : "w");
        config_add_disk("disk-b", "xvdb", "nvme1", "r");
        tree_end();
        config_read_tree();
        snprintf(words, sizeof words, "/dragoman/guest-1/disk-a has no \"%s\"; it is left out",
                 keys[missing]);
        config_said(words);
        assert_int_equal(config.disk_count, 1);
        config_expect_disk(0, 1, "xvdb", "nvme1", false);
    }
}

static void guests_that_are_wrong(void **state)
{
    static const uint32_t bad[] = {0, 0x7ff0, 0x10001, UINT32_MAX};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        config_start();
        config_begin_guest("guest-1", bad[i], "web");
        config_add_disk("disk-a", "xvda", "nvme0", "w");
        tree_end();
        config_begin_guest("guest-2", 2, "db");
        tree_end();
        config_read_tree();
        config_said("/dragoman/guest-1: \"domid\" must be one number");
        assert_int_equal(config.guest_count, 1);
        assert_int_equal(config.disk_count, 0);
        assert_non_null(config_guest(&config, 2));
    }

    config_start();
    tree_begin("guest-1");
    tree_cells("domid", 0, 1); /* two cells are not one number */
    tree_string("label", "web");
    tree_end();
    config_read_tree();
    config_said("\"domid\" must be one number");

    config_start();
    tree_begin("guest-1");
    tree_string("label", "web");
    tree_end();
    config_read_tree();
    config_said("\"domid\" must be one number");

    config_start();
    tree_begin("guest-1");
    tree_cells("domid", 1);
    tree_end();
    config_read_tree();
    config_said("/dragoman/guest-1 has no \"label\"; it is left out");
    assert_int_equal(config.guest_count, 0);

    config_start();
    config_begin_guest("guest-1", 1, "a name of 32 characters is one...");
    tree_end();
    config_read_tree();
    config_said("\"label\" must be one string of 1 to 31 characters");
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
        config_start_guest();
        tree_begin("disk-a");
        tree_bytes("vdev", bad[i].bytes, bad[i].count);
        tree_string("target", "nvme0");
        tree_string("access", "w");
        tree_end();
        tree_end();
        config_read_tree();
        config_said("/dragoman/guest-1/disk-a: \"vdev\" must be one string of 1 to 15 characters");
        assert_int_equal(config.disk_count, 0);
        assert_int_equal(config.guest_count, 1);
    }
}

/* Fails: a read-only disk is written. */
static void access_is_r_or_w(void **state)
{
    static const char *const bad[] = {"rw", "ro", "R", "W", "x"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char words[80];

        config_start_guest();
        config_add_disk("disk-a", "xvda", "nvme0", bad[i]);
        tree_end();
        config_read_tree();
        snprintf(words, sizeof words, "access is \"%s\", must be \"r\" or \"w\"", bad[i]);
        config_said(words);
        assert_int_equal(config.disk_count, 0);
    }
}

static void names_are_used_once(void **state)
{
    config_start_guest();
    config_add_disk("disk-a", "xvda", "nvme0", "w");
    config_add_disk("disk-b", "xvda", "nvme1", "w");
    tree_end();
    config_read_tree();
    config_said("/dragoman/guest-1/disk-b: the guest already has a disk xvda; it is left out");
    assert_int_equal(config.disk_count, 1);
    config_expect_disk(0, 1, "xvda", "nvme0", true);

    config_start();
    config_begin_guest("guest-1", 3, "web");
    config_add_disk("disk-a", "xvda", "nvme0", "w");
    tree_end();
    config_begin_guest("guest-2", 3, "db");
    config_add_disk("disk-a", "xvda", "nvme1", "w");
    tree_end();
    config_read_tree();
    config_said("/dragoman/guest-2: domid 3 occurs twice; it is left out");
    assert_int_equal(config.guest_count, 1);
    assert_int_equal(config.disk_count, 1);
    assert_string_equal(config_guest(&config, 3)->name, "web");
}

static void too_many(void **state)
{
    char name[32];

    config_start();
    for (uint32_t i = 1; i <= CONFIG_GUESTS_MAX + 1; i++) {
        snprintf(name, sizeof name, "guest-%u", i);
        config_begin_guest(name, i, "one");
        tree_end();
    }
    config_read_tree();
    config_said("/dragoman/guest-33 is more than the 32 guests that fit; it is left out");
    assert_int_equal(config.guest_count, CONFIG_GUESTS_MAX);

    config_start_guest();
    for (uint32_t i = 0; i <= CONFIG_DISKS_MAX; i++) {
        snprintf(name, sizeof name, "xvd%u", i);
        config_add_disk(name, name, "nvme0", "r");
    }
    tree_end();
    config_read_tree();
    config_said("/dragoman/guest-1/xvd64 is more than the 64 disks that fit; it is left out");
    assert_int_equal(config.disk_count, CONFIG_DISKS_MAX);
}

/* A node's name can have any length; in the log it is truncated. */
static void long_names(void **state)
{
    char name[512];

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    config_start();
    config_begin_guest(name, 1, "web");
    config_add_disk(name, NULL, "nvme0", "r");
    tree_end();
    config_read_tree();
    config_said("nnn has no \"vdev\"; it is left out");
    assert_true(strlen(dgm_sim_last_log()) < 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_all_of_it, config_forget),
        cmocka_unit_test_setup(no_node, config_forget),
        cmocka_unit_test_setup(node_elsewhere, config_forget),
        cmocka_unit_test_setup(cache_maintenance, config_forget),
        cmocka_unit_test_setup(disk_times, config_forget),
        cmocka_unit_test_setup(parts_of_disks, config_forget),
        cmocka_unit_test_setup(counts_of_controllers, config_forget),
        cmocka_unit_test_setup(when_idle, config_forget),
        cmocka_unit_test_setup(unknown_keys, config_forget),
        cmocka_unit_test_setup(missing_keys, config_forget),
        cmocka_unit_test_setup(guests_that_are_wrong, config_forget),
        cmocka_unit_test_setup(strings_that_are_wrong, config_forget),
        cmocka_unit_test_setup(access_is_r_or_w, config_forget),
        cmocka_unit_test_setup(names_are_used_once, config_forget),
        cmocka_unit_test_setup(too_many, config_forget),
        cmocka_unit_test_setup(long_names, config_forget),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
