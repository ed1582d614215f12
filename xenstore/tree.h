/* SPDX-License-Identifier: MIT */
/*
 * tree: nodes: name, value, permissions, children, generations
 *
 * One tree is the store. Each open transaction has its own small tree that shadows the paths it has
 * used (transaction.h). Both consist of the same nodes and share one hash table from (parent, name)
 * to node, so a step down a path costs the same with one sibling and with a thousand. The depth is
 * bounded (DGM_XS_LEVELS_MAX), and so is a walk along a path.
 *
 * A generation never repeats: each change draws a new one, so equal generations mean the same node,
 * unchanged. A node has one generation for itself (creation, value, permissions) and one for the
 * set of its children.
 */
#ifndef XENSTORE_TREE_H
#define XENSTORE_TREE_H

#include "cells.h"
#include "hash.h"

#define DGM_XS_PERMS_MAX 5 /* per node, as xenstored's quota */

enum dgm_xs_rights {
    DGM_XS_NONE = 0,
    DGM_XS_READ = 1,
    DGM_XS_WRITE = 2,
    DGM_XS_OWN = 4,
};

/* entry[0]: the owner, which may do everything, and the rights of domains that no later entry
 * names. */
struct dgm_xs_perms {
    struct {
        domid_t domid;
        uint16_t rights;
    } entry[DGM_XS_PERMS_MAX];
    uint16_t count;
};

enum dgm_xs_node_flags {
    DGM_XS_NODE_EXISTS = 1,
    DGM_XS_NODE_COUNTED = 2, /* in its account's quota of nodes */
    /* in a transaction only: */
    DGM_XS_NODE_READ = 4,    /* must be unchanged at commit */
    DGM_XS_NODE_LISTED = 8,  /* its children must be unchanged at commit */
    DGM_XS_NODE_DIRTY = 16,  /* written at commit */
    DGM_XS_NODE_FIRE = 32,   /* a request named it: its watches fire at commit */
    DGM_XS_NODE_OPAQUE = 64, /* removed here: hides all of the store below it */
    DGM_XS_NODE_HIDDEN = 128 /* first used below an opaque node */
};

struct dgm_xs_node {
    struct dgm_xs_node *parent;
    struct dgm_xs_node *first;    /* child */
    struct dgm_xs_node *next;     /* sibling; NULL at the last */
    struct dgm_xs_node *previous; /* sibling; the first one's is the last */
    struct dgm_xs_node *hash_next;
    struct dgm_xs_node *base; /* in a commit: the store's node that this one shadows */
    uint64_t generation;      /* in a transaction: the store's at the first use; 0: absent */
    uint64_t children_generation;
    struct dgm_xs_perms perms;
    uint8_t account; /* the cells are charged to it */
    uint8_t flags;
    uint32_t hash;      /* of parent and name: its chain in the tree's table */
    uint32_t path_hash; /* of the whole path: the chain of its watches */
    struct dgm_xs_string name, value;
};

struct dgm_xs_tree {
    struct dgm_xs_heap *heap;
    struct dgm_xs_node **buckets;
    uint32_t bucket_mask;
    struct dgm_xs_hash_key key;
    struct dgm_xs_node *root;
    uint64_t generation; /* the last one that was drawn */
};

/* `buckets`: a zeroed array, its size a power of two. Creates the root, which domain 0 owns and no
 * other domain may use. */
void dgm_xs_tree_init(struct dgm_xs_tree *tree, struct dgm_xs_heap *heap,
                      struct dgm_xs_node **buckets, uint32_t bucket_count);

/* The hash of a child's path, from that of its parent's path; the root's is 0. */
uint32_t dgm_xs_path_hash(const struct dgm_xs_tree *tree, uint32_t parent_hash, const char *name,
                          size_t bytes);

/* The rights of `domid` by these permissions. */
unsigned dgm_xs_rights(const struct dgm_xs_perms *perms, domid_t domid);

/* Takes the next name from an absolute path. False at its end. */
bool dgm_xs_path_step(const char **path, const char **name, size_t *bytes);

struct dgm_xs_node *dgm_xs_node_child(const struct dgm_xs_tree *tree,
                                      const struct dgm_xs_node *parent, const char *name,
                                      size_t bytes);
/* The child of `parent` with the name of `node`, which belongs to another tree. */
struct dgm_xs_node *dgm_xs_node_twin(const struct dgm_xs_tree *tree,
                                     const struct dgm_xs_node *parent,
                                     const struct dgm_xs_node *node);

/* Adds a child after its siblings; without a parent, a root. Takes 1 + string_cells(bytes). */
struct dgm_xs_node *dgm_xs_node_add(struct dgm_xs_tree *tree, struct dgm_xs_node *parent,
                                    const char *name, size_t bytes, uint8_t account);
/* Removes a node and all below it; no watch fires. */
void dgm_xs_node_drop(struct dgm_xs_tree *tree, struct dgm_xs_node *top);
/* Charges it to its account's quota; dgm_xs_node_drop() discharges it. */
void dgm_xs_node_count(struct dgm_xs_tree *tree, struct dgm_xs_node *node);
/* Charges all its cells to another account. */
void dgm_xs_node_transfer(struct dgm_xs_tree *tree, struct dgm_xs_node *node, uint8_t account);

/* Set a new generation: of the node; of the set of its children. */
void dgm_xs_node_changed(struct dgm_xs_tree *tree, struct dgm_xs_node *node);
void dgm_xs_children_changed(struct dgm_xs_tree *tree, struct dgm_xs_node *parent);

/* The next node of the subtree `top`, parents before children; NULL after the last. */
struct dgm_xs_node *dgm_xs_node_after(const struct dgm_xs_node *node,
                                      const struct dgm_xs_node *top);

/* Its absolute path, NUL-terminated, into DGM_XS_PATH_MAX bytes; the length. */
size_t dgm_xs_node_path(const struct dgm_xs_node *node, char *path);

#endif
