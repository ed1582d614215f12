/* SPDX-License-Identifier: MIT */
/* must_tree.c: see must_tree.h. */
#include "must_tree.h"

#include <libfdt.h>
#include <stdio.h>

#include "message.h"

int must_fdt(int result, const char *what)
{
    if (result == -FDT_ERR_NOSPACE)
        die("the boot tree would have more than the %d bytes that Xen takes: use fewer guests, "
            "disks or VLANs",
            XEN_TREE_BYTES_MAX);
    if (result < 0)
        die("device tree: %s: %s", what, fdt_strerror(result));
    return result;
}

int add_node(void *tree, int parent, const char *name)
{
    return must_fdt(fdt_add_subnode(tree, parent, name), name);
}

int add_numbered_node(void *tree, int parent, const char *prefix, size_t number)
{
    char name[40];
    snprintf(name, sizeof name, "%s%zu", prefix, number);
    return add_node(tree, parent, name);
}

void set_string(void *tree, int node, const char *name, const char *value)
{
    must_fdt(fdt_setprop_string(tree, node, name, value), name);
}

void set_cell(void *tree, int node, const char *name, uint32_t value)
{
    must_fdt(fdt_setprop_u32(tree, node, name, value), name);
}

void set_empty(void *tree, int node, const char *name)
{
    must_fdt(fdt_setprop(tree, node, name, NULL, 0), name);
}
