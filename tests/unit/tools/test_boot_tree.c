/* SPDX-License-Identifier: MIT */
/*
 * boot_tree: if these fail, Xen finds another machine in the boot tree than the board and the
 * configurations have: a kernel over firmware, a guest with another guest's disk, no memory.
 */
#include "boot_tree_rig.h"
#include "tool_env.h"
#include "unit.h"

#include <libfdt.h>

#define MIB 1048576ull

static char board[8192];
static struct guest_config guests[3];
static struct boot_tree_case made;

/* A board with two banks, a reserved range in each list, and what an earlier boot left. */
static void make_board(void)
{
    static const uint32_t memory[] = {0, 0x40000000, 0, 0x20000000, 1, 0, 0, 0x40000000};
    static const uint32_t firmware[] = {0, 0x49200000, 0, 0x1000};
    fdt32_t cells[8];

    fdt_create(board, sizeof board);
    fdt_add_reservemap_entry(board, 0x49000fff, 1);
    fdt_finish_reservemap(board);
    fdt_begin_node(board, "");
    fdt_property_u32(board, "#address-cells", 2);
    fdt_property_u32(board, "#size-cells", 2);
    fdt_begin_node(board, "memory@40000000");
    fdt_property_string(board, "device_type", "memory");
    for (size_t i = 0; i < 8; i++)
        cells[i] = cpu_to_fdt32(memory[i]);
    fdt_property(board, "reg", cells, sizeof memory);
    fdt_end_node(board);
    fdt_begin_node(board, "chosen");
    fdt_property_u32(board, "linux,initrd-start", 0x48000000);
    fdt_end_node(board);
    fdt_begin_node(board, "reserved-memory");
    fdt_property_u32(board, "#address-cells", 2);
    fdt_property_u32(board, "#size-cells", 2);
    fdt_begin_node(board, "firmware@49200000");
    for (size_t i = 0; i < 4; i++)
        cells[i] = cpu_to_fdt32(firmware[i]);
    fdt_property(board, "reg", cells, sizeof firmware);
    fdt_end_node(board);
    fdt_end_node(board);
    fdt_end_node(board);
    assert_int_equal(fdt_finish(board), 0);
    assert_int_equal(fdt_check_full(board, sizeof board), 0);
}

static int start(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    static const char *const files[] = {"a.cfg", "b.cfg", "c.cfg"};
    static const char *const targets[] = {"nvme0", "nvme1", "nvme2"};

    make_board();
    made = (struct boot_tree_case){
        .board = board,
        .board_bytes = sizeof board,
        .machine = {.board_path = "board.dtb",
                    .domain_path = "domain.bin",
                    .domain_bytes = MIB,
                    .xen_args = "dom0_mem=16M",
                    .domain_args = "",
                    .when_idle = "stay"},
        .guests = guests,
        .guest_count = 3,
    };
    memset(guests, 0, sizeof guests);
    for (size_t i = 0; i < 3; i++) {
        guests[i].file = files[i];
        guests[i].name = names[i];
        guests[i].kernel = "Image";
        guests[i].kernel_line = 2;
        guests[i].image.packed_bytes = guests[i].image.memory_bytes = 5 * MIB;
        guests[i].command_line = "";
        guests[i].memory_mib = 64;
        guests[i].memory_line = 3;
        guests[i].vcpus = 1;
        guests[i].on[GUEST_REBOOT] = i == 0 ? GUEST_DESTROY : GUEST_RESTART;
        guests[i].disks[0] = (struct disk_config){.vdev = "xvda", .target = targets[i]};
        guests[i].disk_count = 1;
    }
    return 0;
}

static int stop(void **state)
{
    tool_env_end();
    return 0;
}

static void files_avoid_what_is_reserved(void **state)
{
    boot_tree_rig_make(&made);
    assert_non_null(made.tree);
    assert_int_equal(made.plan.module_count, 2); /* the guests share their kernel */
    assert_int_equal(made.plan.modules[0].address, 0x49400000);
}

static void options_are_honoured(void **state)
{
    made.machine.avoid.ranges[0] = (struct memory_range){0x49400000, 1};
    made.machine.avoid.count = 1;
    guests[1].ramdisk = "ramdisk";
    guests[1].ramdisk_bytes = 3 * MIB;
    boot_tree_rig_make(&made);
    assert_non_null(made.tree);
    made.machine.memory.ranges[0] = (struct memory_range){0x80000000, 512 * MIB};
    made.machine.memory.ranges[1] = (struct memory_range){0x200000000, 512 * MIB};
    made.machine.memory.count = 2;
    boot_tree_rig_make(&made);
    assert_non_null(made.tree);
    assert_int_equal(made.plan.modules[0].address, 0x89000000);
    made.machine.base_address = 0x200001000;
    boot_tree_rig_make(&made);
    assert_non_null(made.tree);
    assert_int_equal(made.plan.modules[0].address, 0x200200000);
}

static void expect_refusal(const char *text)
{
    boot_tree_rig_make(&made);
    assert_null(made.tree);
    if (!strstr(tool_env_message(), text))
        fail_msg("said: %s", tool_env_message());
}

static void refusals_name_file_and_line(void **state)
{
    guests[1].memory_mib = 5;
    expect_refusal("b.cfg:3: memory = 5 is too little");
    guests[1].memory_mib = 900000;
    expect_refusal("b.cfg:3: memory = 900000 is too much");
    guests[1].memory_mib = 64;
    guests[2].kernel = "domain.bin";
    expect_refusal("c.cfg:2: kernel 'domain.bin' is Dragoman's own image");
    guests[2].kernel = "Image";
    made.machine.xen_args = "dom0_mem=3M";
    expect_refusal("dom0_mem= gives Dragoman 3 MiB");
    made.machine.xen_args = "dom0_mem=16M";
    guests[0].kernel = "large";
    guests[0].image.packed_bytes = 2048 * MIB;
    expect_refusal("large: its 2147483648 bytes do not fit");
    guests[0].image.packed_bytes = 5 * MIB;
    made.machine.base_address = 0x100;
    expect_refusal("board.dtb: no memory at --base 0x100");
}

/* Fails: the operator reads an error of libfdt. */
static void too_large_a_tree_is_refused(void **state)
{
    static char text[3u << 20];

    memset(text, 'x', sizeof text - 1);
    guests[2].command_line = text;
    expect_refusal("the boot tree would have more than the 2097152 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_avoid_what_is_reserved, start, stop),
        cmocka_unit_test_setup_teardown(options_are_honoured, start, stop),
        cmocka_unit_test_setup_teardown(refusals_name_file_and_line, start, stop),
        cmocka_unit_test_setup_teardown(too_large_a_tree_is_refused, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
