/* SPDX-License-Identifier: MIT */
/* must_tree.h: changes to a device tree that succeed, or end the tool (must.h). */
#ifndef DRAGOMAN_TOOLS_MUST_TREE_H
#define DRAGOMAN_TOOLS_MUST_TREE_H

#include <stddef.h>
#include <stdint.h>

enum {
    /* Xen's MAX_FDT_SIZE. */
    XEN_TREE_BYTES_MAX = 2 * 1024 * 1024,
};

/* Returns the result of a libfdt call, or ends the tool if it failed: the buffer is larger than a
 * tree that Xen takes. */
int must_fdt(int result, const char *what);

int add_node(void *tree, int parent, const char *name);
int add_numbered_node(void *tree, int parent, const char *prefix, size_t number);
void set_string(void *tree, int node, const char *name, const char *value);
void set_cell(void *tree, int node, const char *name, uint32_t value);
void set_empty(void *tree, int node, const char *name);

#endif
