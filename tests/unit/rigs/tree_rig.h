/* SPDX-License-Identifier: MIT */
/*
 * tree_rig: a device tree written node by node, in order, and a reader whose panic is expected to
 * state the cause. Built with libfdt's sequential writer, so that the tests use trees as real tools
 * make them.
 */
#ifndef TREE_RIG_H
#define TREE_RIG_H

#include "unit.h"

#include <libfdt.h>

extern char tree_blob[1 << 16];

void tree_start(void);
/* Before the first node, in place of tree_start(): with reserved ranges in the header. */
void tree_start_reserving(const uint64_t (*ranges)[2], size_t count);
void tree_begin(const char *name);
void tree_end(void);
void tree_bytes(const char *name, const void *value, size_t bytes);
void tree_string(const char *name, const char *value);
void tree_cells_at(const char *name, const uint32_t *cells, size_t count);

/* Cells as they stand in a source: tree_cells("reg", 0, 0x4000, 0, 0x1000). */
#define tree_cells(name, ...)                                                                      \
    tree_cells_at(name, (const uint32_t[]){__VA_ARGS__},                                           \
                  sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* Ends the root; the blob is complete. */
const void *tree_finish(void);

/* In place of all that: the tree of a source, by dtc, with room for changes. `path` is from the top
 * directory, where tests run. */
void tree_compile(const char *path);

/* --- panics with a cause --- */

extern const char *tree_cause;
void tree_panicked(const char *what);

/* Fails unless `statement` panics and the cause contains `words`. */
#define expect_panic_saying(words, statement)                                                      \
    do {                                                                                           \
        dgm_sim_on_panic(tree_panicked);                                                           \
        if (setjmp(unit_panic_return) == 0) {                                                      \
            statement;                                                                             \
            dgm_sim_on_panic(NULL);                                                                \
            fail_msg("no panic: %s", words);                                                       \
        }                                                                                          \
        if (!strstr(tree_cause, words))                                                            \
            fail_msg("panic says \"%s\", not \"%s\"", tree_cause, words);                          \
    } while (0)

#endif
