/* SPDX-License-Identifier: MIT */
/*
 * config: a guest's ends and what it is built from. If these fail, a guest restarts that should
 * not, or is built from other memory than the boot tree names.
 */
#include "config_rig.h"

#include <libfdt.h>

static const char *const keys[] = {"on-poweroff", "on-reboot", "on-crash", "on-watchdog"};
static const char *const actions[] = {"destroy", "restart", "preserve"};

static void add_number(const char *name, uint64_t value, uint64_t second)
{
    const fdt64_t cells[2] = {cpu_to_fdt64(value), cpu_to_fdt64(second)};

    tree_bytes(name, cells, strcmp(name, "memory") ? sizeof cells : sizeof cells[0]);
}

/* Fails: without the keys a guest's reboot is its end, or its power-off is not. */
static void the_defaults(void **state)
{
    config_start_guest();
    tree_end();
    config_read_tree();
    assert_int_equal(config.guests[0].on[CONFIG_POWEROFF], CONFIG_DESTROY);
    assert_int_equal(config.guests[0].on[CONFIG_REBOOT], CONFIG_RESTART);
    assert_int_equal(config.guests[0].on[CONFIG_CRASH], CONFIG_RESTART);
    assert_int_equal(config.guests[0].on[CONFIG_WATCHDOG], CONFIG_RESTART);
    assert_false(config.guests[0].can_build);
}

/* Fails: a word is taken for another one, or of another end. */
static void each_end_and_action(void **state)
{
    for (unsigned end = 0; end < CONFIG_ENDS; end++)
        for (unsigned action = 0; action < 3; action++) {
            config_start_guest();
            tree_string(keys[end], actions[action]);
            tree_end();
            config_read_tree();
            assert_int_equal(config.guests[0].on[end], action);
        }
    config_start_guest();
    tree_string("on-reboot", "rename-restart");
    tree_end();
    config_read_tree();
    config_said("on-reboot is \"rename-restart\", must be \"destroy\", \"restart\" or "
                "\"preserve\"; it is \"restart\"");
    assert_int_equal(config.guests[0].on[CONFIG_REBOOT], CONFIG_RESTART);
}

static void what_it_is_built_from(void **state)
{
    config_start_guest();
    add_number("memory", 262144, 0);
    tree_cells("vcpus", 3);
    tree_string("bootargs", "console=ttyAMA0");
    add_number("kernel", 0x48000000, 5000);
    add_number("ramdisk", 0x4a000000, 700);
    tree_end();
    config_read_tree();
    const struct config_build *build = &config.guests[0].build;

    assert_true(config.guests[0].can_build);
    assert_int_equal(build->frames, 65536);
    assert_int_equal(build->vcpus, 3);
    assert_string_equal(build->arguments, "console=ttyAMA0");
    assert_int_equal(build->kernel.base, 0x48000000);
    assert_int_equal(build->kernel.bytes, 5000);
    assert_int_equal(build->ramdisk.base, 0x4a000000);
    assert_int_equal(build->ramdisk.bytes, 700);
}

/* Fails: a guest is built from a range that wraps, or with no vCPU. */
static void wrong_values_build_nothing(void **state)
{
    static const struct {
        uint32_t vcpus;
        uint64_t base, bytes;
    } cases[] = {{0, 0x48000000, 5000},
                 {CONFIG_VCPUS_MAX + 1, 0x48000000, 5000},
                 {1, UINT64_MAX - 4000, 5000},
                 {1, 0x48000000, 0}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        config_start_guest();
        add_number("memory", 262144, 0);
        tree_cells("vcpus", cases[i].vcpus);
        add_number("kernel", cases[i].base, cases[i].bytes);
        tree_end();
        config_read_tree();
        assert_false(config.guests[0].can_build);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_defaults, config_forget),
        cmocka_unit_test_setup(each_end_and_action, config_forget),
        cmocka_unit_test_setup(what_it_is_built_from, config_forget),
        cmocka_unit_test_setup(wrong_values_build_nothing, config_forget),
    };

    return cmocka_run_group_tests_name("config_life", tests, NULL, NULL);
}
