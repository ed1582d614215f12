/* SPDX-License-Identifier: MIT */
/*
 * tree: see tree.h. Siblings are a list in order of creation, the order in which a directory is
 * listed. A lookup uses the hash table, never the list. No function recurses: a walk returns by the
 * parent pointers, and the length of a path bounds the depth.
 */
#include "tree.h"

#include <dragoman/base/check.h>

#include <string.h>

_Static_assert(sizeof(struct dgm_xs_node) <= DGM_XS_CELL_BYTES, "a node is a cell");

void dgm_xs_tree_init(struct dgm_xs_tree *tree, struct dgm_xs_heap *heap,
                      struct dgm_xs_node **buckets, uint32_t bucket_count)
{
    *tree = (struct dgm_xs_tree){
        .heap = heap,
        .buckets = buckets,
        .bucket_mask = bucket_count - 1,
        .key = dgm_xs_hash_key_draw(),
    };
    tree->root = dgm_xs_node_add(tree, NULL, "", 0, 0);
    tree->root->flags = DGM_XS_NODE_EXISTS;
    tree->root->perms.count = 1;
    dgm_xs_node_count(tree, tree->root);
    dgm_xs_node_changed(tree, tree->root);
    dgm_xs_children_changed(tree, tree->root);
}

unsigned dgm_xs_rights(const struct dgm_xs_perms *perms, domid_t domid)
{
    if (domid == 0 || perms->entry[0].domid == domid)
        return DGM_XS_READ | DGM_XS_WRITE | DGM_XS_OWN;
    for (unsigned i = 1; i < perms->count; i++)
        if (perms->entry[i].domid == domid)
            return perms->entry[i].rights;
    return perms->entry[0].rights;
}

bool dgm_xs_path_step(const char **path, const char **name, size_t *bytes)
{
    const char *end = *path;

    while (*end == '/')
        end++;
    *name = end;
    while (*end && *end != '/')
        end++;
    *bytes = (size_t)(end - *name);
    *path = end;
    return *bytes != 0;
}

static uint32_t child_hash(const struct dgm_xs_tree *tree, const struct dgm_xs_node *parent,
                           const char *name, size_t bytes)
{
    return dgm_xs_hash(tree->key, dgm_xs_cell_offset(tree->heap, parent), name, bytes);
}

uint32_t dgm_xs_path_hash(const struct dgm_xs_tree *tree, uint32_t parent_hash, const char *name,
                          size_t bytes)
{
    return dgm_xs_hash(tree->key, 1ull << 63 | parent_hash, name, bytes);
}

struct dgm_xs_node *dgm_xs_node_child(const struct dgm_xs_tree *tree,
                                      const struct dgm_xs_node *parent, const char *name,
                                      size_t bytes)
{
    const uint32_t value = child_hash(tree, parent, name, bytes);
    struct dgm_xs_node *node = tree->buckets[value & tree->bucket_mask];

    dgm_xs_work(tree->heap, 1 + dgm_xs_string_cells(bytes));
    while (node && !(node->hash == value && node->parent == parent &&
                     dgm_xs_string_equal(&node->name, name, bytes))) {
        dgm_xs_work(tree->heap, 1);
        node = node->hash_next;
    }
    return node;
}

struct dgm_xs_node *dgm_xs_node_twin(const struct dgm_xs_tree *tree,
                                     const struct dgm_xs_node *parent,
                                     const struct dgm_xs_node *node)
{
    char name[DGM_XS_PATH_MAX];

    return dgm_xs_node_child(tree, parent, name, dgm_xs_string_get(&node->name, name));
}

struct dgm_xs_node *dgm_xs_node_add(struct dgm_xs_tree *tree, struct dgm_xs_node *parent,
                                    const char *name, size_t bytes, uint8_t account)
{
    struct dgm_xs_node *const node = dgm_xs_cell_take(tree->heap, account);
    struct dgm_xs_node **bucket;

    node->account = account;
    node->parent = parent;
    dgm_xs_string_set(tree->heap, account, &node->name, name, bytes);
    node->previous = node;
    if (!parent)
        return node;

    node->hash = child_hash(tree, parent, name, bytes);
    node->path_hash = dgm_xs_path_hash(tree, parent->path_hash, name, bytes);
    bucket = &tree->buckets[node->hash & tree->bucket_mask];
    node->hash_next = *bucket;
    *bucket = node;
    if (parent->first) {
        node->previous = parent->first->previous;
        node->previous->next = node;
        parent->first->previous = node;
    } else {
        parent->first = node;
    }
    return node;
}

static void node_unlink(struct dgm_xs_tree *tree, struct dgm_xs_node *node)
{
    struct dgm_xs_node **link = &tree->buckets[node->hash & tree->bucket_mask];
    struct dgm_xs_node *const parent = node->parent;

    while (*link != node) {
        dgm_xs_work(tree->heap, 1);
        link = &(*link)->hash_next;
    }
    *link = node->hash_next;

    if (node->next)
        node->next->previous = node->previous;
    else
        parent->first->previous = node->previous; /* no effect on an only child */
    if (parent->first == node)
        parent->first = node->next;
    else
        node->previous->next = node->next;
}

void dgm_xs_node_drop(struct dgm_xs_tree *tree, struct dgm_xs_node *top)
{
    struct dgm_xs_node *node = top, *parent;
    bool last;

    do {
        while (node->first)
            node = node->first;
        parent = node->parent;
        last = node == top;
        if (parent)
            node_unlink(tree, node);
        if (node->flags & DGM_XS_NODE_COUNTED)
            tree->heap->accounts[node->account].nodes--;
        dgm_xs_string_clear(tree->heap, node->account, &node->name);
        dgm_xs_string_clear(tree->heap, node->account, &node->value);
        dgm_xs_cell_give(tree->heap, node->account, node);
        node = parent;
    } while (!last);
}

void dgm_xs_node_count(struct dgm_xs_tree *tree, struct dgm_xs_node *node)
{
    if (!(node->flags & DGM_XS_NODE_COUNTED))
        tree->heap->accounts[node->account].nodes++;
    node->flags |= DGM_XS_NODE_COUNTED;
}

void dgm_xs_node_transfer(struct dgm_xs_tree *tree, struct dgm_xs_node *node, uint8_t account)
{
    dgm_xs_cells_transfer(tree->heap, (struct dgm_xs_transfer){
                                          .from = node->account,
                                          .to = account,
                                          .cells = 1 + dgm_xs_string_cells(node->name.bytes) +
                                                   dgm_xs_string_cells(node->value.bytes),
                                      });
    if (node->flags & DGM_XS_NODE_COUNTED) {
        tree->heap->accounts[node->account].nodes--;
        tree->heap->accounts[account].nodes++;
    }
    node->account = account;
}

void dgm_xs_node_changed(struct dgm_xs_tree *tree, struct dgm_xs_node *node)
{
    node->generation = ++tree->generation;
}

void dgm_xs_children_changed(struct dgm_xs_tree *tree, struct dgm_xs_node *parent)
{
    parent->children_generation = ++tree->generation;
}

struct dgm_xs_node *dgm_xs_node_after(const struct dgm_xs_node *node, const struct dgm_xs_node *top)
{
    if (node->first)
        return node->first;
    while (node != top && !node->next)
        node = node->parent;
    return node == top ? NULL : node->next;
}

size_t dgm_xs_node_path(const struct dgm_xs_node *node, char *path)
{
    size_t length = 0, end;

    for (const struct dgm_xs_node *n = node; n->parent; n = n->parent)
        length += 1u + n->name.bytes;
    dgm_assert(length < DGM_XS_PATH_MAX);
    if (!length) {
        memcpy(path, "/", 2);
        return 1;
    }
    end = length;
    path[end] = '\0';
    for (const struct dgm_xs_node *n = node; n->parent; n = n->parent) {
        end -= n->name.bytes;
        dgm_xs_string_get(&n->name, path + end);
        path[--end] = '/';
    }
    return length;
}
