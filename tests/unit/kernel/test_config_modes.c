/* SPDX-License-Identifier: MIT */
/*
 * config: modes and persistent grants. If these fail, a disk is served in another mode than the
 * configured one, or an error here costs the disk.
 */
#include "config_rig.h"

#include <port/env.h>

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
    config_start_guest();
    config_begin_disk("disk-a", "xvda", "nvme0", "w");
    if (mode)
        tree_string(mode_key, mode);
    if (persistent)
        tree_string("persistent", persistent);
    tree_end();
    config_add_disk("disk-b", "xvdb", "nvme1", "r");
    tree_end();
    memset(&config, 0xff, sizeof config);
    config_read_tree();
    assert_int_equal(config.disk_count, 2);
    config_expect_disk(0, 1, "xvda", "nvme0", true);
    config_expect_disk(1, 1, "xvdb", "nvme1", false);
    assert_int_equal(config.disks[1].mode, DGM_REACH_MODE_AUTO);
    assert_true(config.disks[1].persistent);
}

static void assert_reach(enum dgm_reach_mode mode, bool persistent)
{
    assert_int_equal(config.disks[0].mode, mode);
    assert_int_equal(config.disks[0].persistent, persistent);
}

static void mode_and_persistent(void **state)
{
    read_reach(NULL, NULL);
    config_said("nothing");
    assert_reach(DGM_REACH_MODE_AUTO, true);
    read_reach(NULL, "yes");
    config_said("nothing");
    assert_reach(DGM_REACH_MODE_AUTO, true);
    read_reach(NULL, "no");
    config_said("nothing");
    assert_reach(DGM_REACH_MODE_AUTO, false);
    for (int mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_AUTO; mode++) {
        read_reach(mode_names[mode], NULL);
        config_said("nothing");
        assert_reach((enum dgm_reach_mode)mode, mode == DGM_REACH_MODE_AUTO);
        read_reach(mode_names[mode], "no");
        config_said("nothing");
        assert_reach((enum dgm_reach_mode)mode, false);
    }
    read_reach("map", "yes");
    config_said("nothing");
    assert_reach(DGM_REACH_MODE_MAP, true);
    read_reach("auto", "yes");
    config_said("nothing");
    assert_reach(DGM_REACH_MODE_AUTO, true);
}

/* Fails: an unknown word costs a guest its disk, or is ignored without a log line. */
static void mode_and_persistent_that_are_wrong(void **state)
{
    static const char *const bad[] = {"Map", "zero-copy", "cop", "copyy", "true", "1"};
    char words[160];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        read_reach(bad[i], "yes");
        snprintf(words, sizeof words,
                 "/dragoman/guest-1/disk-a: mode is \"%s\", must be \"map\", \"copy\", "
                 "\"identity\" or \"auto\"; it is \"auto\"",
                 bad[i]);
        config_said(words);
        assert_reach(DGM_REACH_MODE_AUTO, true);

        read_reach("copy", bad[i]);
        snprintf(words, sizeof words,
                 "/dragoman/guest-1/disk-a: persistent is \"%s\", must be \"yes\" or \"no\"; it is "
                 "\"no\"",
                 bad[i]);
        config_said(words);
        assert_reach(DGM_REACH_MODE_COPY, false);

        read_reach(NULL, bad[i]);
        config_said("must be \"yes\" or \"no\"; it is \"yes\"");
        assert_reach(DGM_REACH_MODE_AUTO, true);
    }
    read_reach("a mode of 16 ch.", NULL);
    config_said("/dragoman/guest-1/disk-a: \"mode\" must be one string of 1 to 15 characters");
    assert_reach(DGM_REACH_MODE_AUTO, true);
    read_reach("copy", "");
    config_said(
        "/dragoman/guest-1/disk-a: \"persistent\" must be one string of 1 to 15 characters");
    assert_reach(DGM_REACH_MODE_COPY, false);
}

/* Fails: a tree of an older mkboottree loses its modes,
 * or the former name wins over the new one. */
static void path_is_the_former_name_of_mode(void **state)
{
    mode_key = "path";
    read_reach("copy", NULL);
    config_said("nothing");
    assert_reach(DGM_REACH_MODE_COPY, false);
    read_reach("cop", NULL);
    config_said("/dragoman/guest-1/disk-a: path is \"cop\", must be");
    assert_reach(DGM_REACH_MODE_AUTO, true);
    mode_key = "mode";

    config_start_guest();
    config_begin_disk("disk-a", "xvda", "nvme0", "w");
    tree_string("path", "copy");
    tree_string("mode", "identity");
    tree_end();
    tree_end();
    config_read_tree();
    assert_reach(DGM_REACH_MODE_IDENTITY, false);
}

/* mkboottree refuses this; a tree from another tool may contain it. */
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
        config_said(words);
        assert_reach(modes[i], false);
    }
}

/* Fails: a vif is lost, has another address, or a wrong one is ignored silently. */
static void vifs_are_read(void **state)
{
    static const char *const wrong[] = {"00:16:3e:01:02:0",  "00:16:3e:01:02:034",
                                        "01:16:3e:01:02:03", "00:00:00:00:00:00",
                                        "00-16-3e-01-02-03", "0g:16:3e:01:02:03"};

    config_start();
    config_begin_guest("guest1", 1, "a");
    config_add_vif("vif0", "00:16:3E:01:02:ff", "xenbr0");
    config_add_disk("disk0", "xvda", "nvme0", "w");
    tree_end();
    config_begin_guest("guest2", 2, "b");
    config_add_vif("vif0", "00:16:3e:01:02:00", "xenbr0");
    tree_end();
    config_read_tree();
    config_said("nothing");
    assert_int_equal(config.vif_count, 2);
    assert_int_equal(config.disk_count, 1);
    assert_true(config.vifs[0].mac == 0x00163e0102ffull && config.vifs[0].domid == 1);
    assert_true(config.vifs[1].mac == 0x00163e010200ull && config.vifs[1].domid == 2);
    assert_string_equal(config.vifs[1].bridge, "xenbr0");
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        config_forget(NULL);
        config_start();
        config_begin_guest("guest1", 1, "a");
        config_add_vif("vif0", wrong[i], "xenbr0");
        tree_end();
        config_read_tree();
        config_said(i == 1 ? "vif0: \"mac\" must be one string"
                           : "vif0: \"mac\" must be the address");
        assert_int_equal(config.vif_count, 0);
    }
}

/* Fails: two guests get one address, or a bridge two mirrors. */
static void vifs_that_disagree(void **state)
{
    for (unsigned mirror = 0; mirror < 2; mirror++) {
        config_start();
        config_begin_guest("guest1", 1, "a");
        for (unsigned i = 0; i < 2; i++) {
            config_begin_vif(i ? "vif1" : "vif0",
                             mirror && i ? "00:16:3e:01:02:04" : "00:16:3e:01:02:03", "xenbr0");
            if (mirror)
                tree_bytes("mirror", "", 0);
            tree_end();
        }
        tree_end();
        config_read_tree();
        config_said(mirror ? "vif1: another vif of this bridge is its mirror; it is left out"
                           : "vif1: another vif has this \"mac\"; it is left out");
        assert_int_equal(config.vif_count, 1);
    }
}

/* Fails: guests of two bridges are on one switch, or a ninth bridge overruns the switches. */
static void bridges(void **state)
{
    char name[8] = "vif0", mac[18] = "00:16:3e:01:02:00", bridge[8] = "br0";

    config_start();
    config_begin_guest("guest1", 1, "a");
    for (unsigned i = 0; i < CONFIG_BRIDGES_MAX + 1; i++) {
        name[3] = mac[16] = bridge[2] = (char)('0' + i);
        config_add_vif(name, mac, bridge);
    }
    config_add_vif("vifa", "00:16:3e:01:02:0a", "br2");
    tree_end();
    config_read_tree();
    config_said("vif8: more bridges than fit");
    assert_int_equal(config.vif_count, CONFIG_BRIDGES_MAX + 1);
    assert_int_equal(config_bridge(&config, "br2"), 2);
    assert_int_equal(config_bridge(&config, "br7"), 7);
    assert_int_equal(config_bridge(&config, "other"), CONFIG_BRIDGES_MAX);
}

/* Fails: a vif is in a VLAN or group that is not its own. */
static void vlans_and_groups(void **state)
{
    static const struct {
        const char *key;
        uint32_t cells[4];
        size_t count;
    } cases[] = {{"vlan", {10}, 1},           {"vlan", {0}, 1},
                 {"vlan", {4095}, 1},         {"vlan", {1, 2}, 2},
                 {"tagged-vlans", {5}, 1},    {"tagged-vlans", {5, 4}, 2},
                 {"tagged-vlans", {0, 4}, 2}, {"tagged-vlans", {4, 4095}, 2},
                 {"group", {0}, 1},           {"group", {65536}, 1},
                 {"group", {1, 2}, 2}};

    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        config_forget(NULL);
        config_start();
        config_begin_guest("guest1", 1, "a");
        config_begin_vif("vif0", "00:16:3e:01:02:03", "xenbr0");
        tree_cells_at(cases[i].key, cases[i].cells, cases[i].count);
        tree_end();
        config_begin_vif("vif1", "00:16:3e:01:02:04", "xenbr0");
        tree_cells("tagged-vlans", 20, 21, 4094, 4094);
        tree_cells("group", 7);
        tree_bytes("mirror", "", 0);
        tree_end();
        tree_end();
        config_read_tree();
        config_said(i == 0  ? "nothing"
                    : i < 8 ? "vif0: \"vlan\" must be one cell"
                            : "vif0: \"group\"");
        assert_int_equal(config.vif_count, i ? 1 : 2);
        const struct config_vif *last = &config.vifs[config.vif_count - 1];
        assert_true(last->vlans.tagged_only && last->mirror && last->group == 7);
        assert_true(last->vlans.tagged.words[0] == 3ull << 20);
        assert_true(last->vlans.tagged.words[63] == 1ull << 62);
    }
}

/* Fails: a vif's limit is lost, or a vif with a wrong one has none. */
static void vif_rates(void **state)
{
    static const uint32_t rates[][3] = {{200000, 20000}, {0, 20000}, {200000, 0}, {1, 2, 3}};

    for (unsigned i = 0; i < 4; i++) {
        config_forget(NULL);
        config_start();
        config_begin_guest("guest1", 1, "a");
        config_begin_vif("vif0", "00:16:3e:01:02:03", "xenbr0");
        tree_cells_at("rate", rates[i], i == 3 ? 3 : 2);
        tree_end();
        tree_end();
        config_read_tree();
        config_said(i ? "vif0: \"rate\" must be two cells" : "nothing");
        assert_int_equal(config.vif_count, i == 0);
        assert_int_equal(config.vifs[0].rate_bytes, i ? 0 : 200000);
        assert_int_equal(config.vifs[0].rate_us, i ? 0 : 20000);
    }
}

/* Fails: a guest may send from addresses that it was not given. */
static void vif_addresses(void **state)
{
    static const uint8_t records[2][18] = {{4, 32, 10, 0, 0, 5}, {6, 64, 0xfd, 1}};

    for (unsigned wrong = 0; wrong < 4; wrong++) {
        uint8_t ip[36];

        memcpy(ip, records, sizeof ip);
        ip[0] = wrong == 1 ? 5 : 4;
        ip[1] = wrong == 2 ? 33 : 32;
        config_forget(NULL);
        config_start();
        config_begin_guest("guest1", 1, "a");
        config_begin_vif("vif0", "00:16:3e:01:02:03", "xenbr0");
        tree_bytes("ip", ip, wrong == 3 ? 35 : 36);
        tree_end();
        tree_end();
        config_read_tree();
        config_said(wrong ? "vif0: \"ip\" must" : "nothing");
        assert_int_equal(config.vif_count, wrong == 0);
        if (wrong)
            continue;
        assert_int_equal(config.vifs[0].sources.count, 2);
        assert_int_equal(config.vifs[0].sources.prefixes[1].bits, 64);
        assert_memory_equal(config.vifs[0].sources.prefixes[0].address, "\x0a\0\0\5", 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(vifs_are_read, config_forget),
        cmocka_unit_test_setup(vifs_that_disagree, config_forget),
        cmocka_unit_test_setup(vif_rates, config_forget),
        cmocka_unit_test_setup(bridges, config_forget),
        cmocka_unit_test_setup(vif_addresses, config_forget),
        cmocka_unit_test_setup(vlans_and_groups, config_forget),
        cmocka_unit_test_setup(mode_and_persistent, config_forget),
        cmocka_unit_test_setup(mode_and_persistent_that_are_wrong, config_forget),
        cmocka_unit_test_setup(path_is_the_former_name_of_mode, config_forget),
        cmocka_unit_test_setup(persistent_needs_mappings, config_forget),
    };

    return cmocka_run_group_tests_name("config_modes", tests, NULL, NULL);
}
