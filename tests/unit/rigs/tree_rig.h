/* SPDX-License-Identifier: MIT */
/*
 * tree_rig: a device tree written node by node, in order, and a reader whose panic is expected to
 * say why. Built with libfdt's sequential writer, so that what is tested is what real tools make.
 */
#ifndef TREE_RIG_H
#define TREE_RIG_H

#include "unit.h"

#include <libfdt.h>

static char tree_blob[1 << 16];

static inline void tree_start(void)
{
    memset(tree_blob, 0, sizeof tree_blob);
    assert_int_equal(fdt_create(tree_blob, sizeof tree_blob), 0);
    assert_int_equal(fdt_finish_reservemap(tree_blob), 0);
    assert_int_equal(fdt_begin_node(tree_blob, ""), 0);
}

static inline void tree_begin(const char *name)
{
    assert_int_equal(fdt_begin_node(tree_blob, name), 0);
}

static inline void tree_end(void)
{
    assert_int_equal(fdt_end_node(tree_blob), 0);
}

static inline void tree_bytes(const char *name, const void *value, size_t bytes)
{
    assert_int_equal(fdt_property(tree_blob, name, value, (int)bytes), 0);
}

static inline void tree_string(const char *name, const char *value)
{
    tree_bytes(name, value, strlen(value) + 1);
}

static inline void tree_cells_at(const char *name, const uint32_t *cells, size_t count)
{
    fdt32_t value[128];

    assert_true(count <= 128);
    for (size_t i = 0; i < count; i++)
        value[i] = cpu_to_fdt32(cells[i]);
    tree_bytes(name, value, count * 4);
}

/* Cells as they stand in a source: tree_cells("reg", 0, 0x4000, 0, 0x1000). */
#define tree_cells(name, ...)                                                                      \
    tree_cells_at(name, (const uint32_t[]){__VA_ARGS__},                                           \
                  sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* Ends the root; the blob is whole. */
static inline const void *tree_finish(void)
{
    tree_end();
    assert_int_equal(fdt_finish(tree_blob), 0);
    assert_int_equal(fdt_check_full(tree_blob, sizeof tree_blob), 0);
    return tree_blob;
}

/* --- panics with a cause --- */

static const char *tree_cause;

__attribute__((unused)) static void tree_panicked(const char *what)
{
    tree_cause = what;
    dgm_sim_on_panic(NULL);
    longjmp(unit_panic_return, 1);
}

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
