/* SPDX-License-Identifier: MIT */
/* tree_rig: see tree_rig.h. */
#include "tree_rig.h"

char tree_blob[1 << 16];
const char *tree_cause;

void tree_start_reserving(const uint64_t (*ranges)[2], size_t count)
{
    memset(tree_blob, 0, sizeof tree_blob);
    assert_int_equal(fdt_create(tree_blob, sizeof tree_blob), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fdt_add_reservemap_entry(tree_blob, ranges[i][0], ranges[i][1]), 0);
    assert_int_equal(fdt_finish_reservemap(tree_blob), 0);
    assert_int_equal(fdt_begin_node(tree_blob, ""), 0);
}

void tree_start(void)
{
    tree_start_reserving(NULL, 0);
}

void tree_begin(const char *name)
{
    assert_int_equal(fdt_begin_node(tree_blob, name), 0);
}

void tree_end(void)
{
    assert_int_equal(fdt_end_node(tree_blob), 0);
}

void tree_bytes(const char *name, const void *value, size_t bytes)
{
    assert_int_equal(fdt_property(tree_blob, name, value, (int)bytes), 0);
}

void tree_string(const char *name, const char *value)
{
    tree_bytes(name, value, strlen(value) + 1);
}

void tree_cells_at(const char *name, const uint32_t *cells, size_t count)
{
    fdt32_t value[128];

    assert_true(count <= 128);
    for (size_t i = 0; i < count; i++)
        value[i] = cpu_to_fdt32(cells[i]);
    tree_bytes(name, value, count * 4);
}

const void *tree_finish(void)
{
    tree_end();
    assert_int_equal(fdt_finish(tree_blob), 0);
    assert_int_equal(fdt_check_full(tree_blob, sizeof tree_blob), 0);
    return tree_blob;
}

void tree_compile(const char *path)
{
    char command[256];
    FILE *dtc;

    snprintf(command, sizeof command, "dtc -q -I dts -O dtb %s", path);
    memset(tree_blob, 0, sizeof tree_blob);
    dtc = popen(command, "r");
    assert_non_null(dtc);
    assert_true(fread(tree_blob, 1, sizeof tree_blob / 2, dtc) < sizeof tree_blob / 2);
    assert_int_equal(pclose(dtc), 0);
    assert_int_equal(fdt_open_into(tree_blob, tree_blob, sizeof tree_blob), 0);
}

void tree_panicked(const char *what)
{
    tree_cause = what;
    dgm_sim_on_panic(NULL);
    longjmp(unit_panic_return, 1);
}
