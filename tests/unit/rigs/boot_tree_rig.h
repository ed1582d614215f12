/* SPDX-License-Identifier: MIT */
/*
 * boot_tree_rig: makes a boot tree, and checks it against the board's tree and the guests
 *
 * The check reads the finished tree as Xen does, and shares no code with tools/: every file lies in
 * memory, and neither it nor a page of it is in what is reserved, below the base, or in another
 * file; the tree and the load plan say the same; guests and disks are those of the configuration,
 * in its order. A refusal must name a file and say what to do.
 */
#ifndef TESTS_BOOT_TREE_RIG_H
#define TESTS_BOOT_TREE_RIG_H

#include <tools/boot_tree.h>

struct boot_tree_case {
    const void *board; /* accepted by fdt_check_full() */
    size_t board_bytes;
    struct machine_config machine; /* board_path is "board.dtb" */
    const struct guest_config *guests;
    size_t guest_count;
    /* the result */
    void *tree; /* until the next case; NULL: refused, tool_env_message() says why */
    struct load_plan plan;
};

void boot_tree_rig_make(struct boot_tree_case *made);

#endif
