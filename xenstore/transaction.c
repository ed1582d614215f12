/* SPDX-License-Identifier: MIT */
/*
 * transaction: see transaction.h.
 *
 * Why a commit cannot stop in the middle: it makes two passes over the shadow tree, parents first.
 *   1. The first pass only compares, and checks that each node to be written will have its parent.
 *   2. The memory for all new nodes is checked, within the guest's own share.
 *   3. The second pass applies the changes. Only its new nodes take cells. Watches on nodes that it
 *      removes fire during the pass: each for its own path, an event that needs no cell.
 *   4. All other watches of the changed nodes fire after it, in bounded pieces: a commit of many
 *      nodes below a path with many watches takes many turns. Until then the shadows stay; their
 *      names are the paths, and they hold the permissions from before the commit.
 *
 * Why HIDDEN: a shadow created below a removed directory was not copied from the store, so it is
 * not compared with the store. One created before the removal was copied, and is still compared.
 */
#include "store.h"

#include <dragoman/base/check.h>

#include <string.h>

_Static_assert(sizeof(struct dgm_xs_transaction) <= DGM_XS_CELL_BYTES, "a transaction is a cell");

/* Adds a shadow of `base`, or of an absent node of that name. */
static struct dgm_xs_node *shadow_add(struct dgm_xenstore *xs, struct dgm_xs_transaction *ta,
                                      struct dgm_xs_node *parent, const char *name, size_t bytes,
                                      const struct dgm_xs_node *base)
{
    const size_t value_bytes = base ? base->value.bytes : 0;
    struct dgm_xs_node *shadow;
    char *const value = xs->value;

    if (ta->touched == DGM_XS_TRANSACTION_NODES ||
        !dgm_xs_heap_room(&xs->heap, ta->account,
                          1 + dgm_xs_string_cells(bytes) + dgm_xs_string_cells(value_bytes)))
        return NULL;
    ta->touched++;
    shadow = dgm_xs_node_add(&xs->tree, parent, name, bytes, ta->account);
    if (base) {
        dgm_xs_string_get(&base->value, value);
        dgm_xs_work(&xs->heap, 1 + dgm_xs_string_cells(value_bytes));
        dgm_xs_string_set(&xs->heap, ta->account, &shadow->value, value, value_bytes);
        shadow->perms = base->perms;
        shadow->generation = base->generation;
        shadow->children_generation = base->children_generation;
        shadow->flags = DGM_XS_NODE_EXISTS;
    }
    return shadow;
}

struct dgm_xs_transaction *dgm_xs_transaction_begin(struct dgm_xenstore *xs,
                                                    const struct dgm_xs_domain *domain)
{
    const uint8_t account = domain->account;
    struct dgm_xs_transaction *ta;

    if (!dgm_xs_heap_room(&xs->heap, account, 2 + dgm_xs_string_cells(xs->tree.root->value.bytes)))
        return NULL;
    ta = dgm_xs_cell_take(&xs->heap, account);
    ta->id = domain->transaction_id;
    ta->account = account;
    ta->root = shadow_add(xs, ta, NULL, "", 0, xs->tree.root);
    return ta;
}

int dgm_xs_transaction_walk(struct dgm_xenstore *xs, struct dgm_xs_transaction *ta,
                            const char *path, struct dgm_xs_node **node, const char **rest)
{
    struct dgm_xs_node *shadow = ta->root, *base = xs->tree.root, *child;
    bool hidden = false;
    const char *name;
    size_t bytes;

    for (*node = shadow, *rest = path + 1; dgm_xs_path_step(&path, &name, &bytes);) {
        hidden = hidden || (shadow->flags & DGM_XS_NODE_OPAQUE);
        base = base && !hidden ? dgm_xs_node_child(&xs->tree, base, name, bytes) : NULL;
        child = dgm_xs_node_child(&xs->tree, shadow, name, bytes);
        if (!child) {
            child = shadow_add(xs, ta, shadow, name, bytes, base);
            if (!child)
                return DGM_ENOSPC;
            if (hidden)
                child->flags |= DGM_XS_NODE_HIDDEN;
        }
        shadow = child;
        if (shadow->flags & DGM_XS_NODE_EXISTS) {
            *node = shadow;
            *rest = *path ? path + 1 : path;
        }
    }
    /* The reply depends on the node at `path` and, if that is missing, on the nearest ancestor. */
    shadow->flags |= DGM_XS_NODE_READ;
    (*node)->flags |= DGM_XS_NODE_READ;
    return DGM_OK;
}

void dgm_xs_transaction_remove(struct dgm_xs_node *top)
{
    for (struct dgm_xs_node *node = top; node; node = dgm_xs_node_after(node, top)) {
        node->flags &= (uint8_t)~DGM_XS_NODE_EXISTS;
        node->flags |= DGM_XS_NODE_DIRTY;
    }
    top->flags |= DGM_XS_NODE_OPAQUE;
}

/* Finds the store's node from which a shadow was copied; that of its parent is known. */
static void shadow_find_base(struct dgm_xenstore *xs, struct dgm_xs_node *shadow)
{
    dgm_xs_work(&xs->heap, 1);
    if (!shadow->parent)
        shadow->base = xs->tree.root;
    else if (!shadow->parent->base)
        shadow->base = NULL;
    else
        shadow->base = dgm_xs_node_twin(&xs->tree, shadow->parent->base, shadow);
}

static bool shadow_is_current(const struct dgm_xs_node *shadow)
{
    const struct dgm_xs_node *const base = shadow->base;

    if (shadow->flags & DGM_XS_NODE_HIDDEN)
        return true;
    if ((shadow->flags & DGM_XS_NODE_READ) && shadow->generation != (base ? base->generation : 0))
        return false;
    if ((shadow->flags & DGM_XS_NODE_LISTED) && shadow->generation &&
        !(base && shadow->children_generation == base->children_generation))
        return false;
    return true;
}

/* True if the store will have this node after the commit. */
static bool shadow_will_exist(const struct dgm_xs_node *shadow)
{
    if (shadow->flags & DGM_XS_NODE_DIRTY)
        return shadow->flags & DGM_XS_NODE_EXISTS;
    return shadow->base && !(shadow->flags & DGM_XS_NODE_HIDDEN);
}

/* True if the commit creates the shadow's node. */
static bool shadow_is_new(const struct dgm_xs_node *shadow)
{
    for (const struct dgm_xs_node *n = shadow; n; n = n->parent)
        if (n->flags & DGM_XS_NODE_OPAQUE)
            return true;
    return !shadow->base;
}

/* Removes the node behind an opaque shadow. Its own watches fire with the others of the commit. */
static void shadow_remove_base(struct dgm_xenstore *xs, struct dgm_xs_node *shadow,
                               struct dgm_xs_perms *before)
{
    *before = shadow->base->perms;
    dgm_xs_store_remove(xs, shadow->base, false);
    shadow->base = NULL;
}

static void shadow_add_base(struct dgm_xenstore *xs, struct dgm_xs_node *shadow)
{
    const size_t length = dgm_xs_string_get(&shadow->name, xs->value);

    dgm_assert(shadow->parent->base);
    shadow->base =
        dgm_xs_node_add(&xs->tree, shadow->parent->base, xs->value, length, shadow->account);
    shadow->base->flags = DGM_XS_NODE_EXISTS;
    shadow->base->perms = shadow->perms;
    dgm_xs_node_count(&xs->tree, shadow->base);
    dgm_xs_children_changed(&xs->tree, shadow->parent->base);
}

/* Applies one shadow's change to the store. Afterwards shadow->perms are those before the commit,
 * and FIRE is set if the change is announced. */
static void shadow_apply(struct dgm_xenstore *xs, struct dgm_xs_node *shadow)
{
    struct dgm_xs_perms before = shadow->perms;
    const bool removed = (shadow->flags & DGM_XS_NODE_OPAQUE) && shadow->base;
    struct dgm_xs_node *base;

    if (removed)
        shadow_remove_base(xs, shadow, &before);
    if (!(shadow->flags & DGM_XS_NODE_EXISTS)) {
        if (!removed)
            shadow->flags &= (uint8_t)~DGM_XS_NODE_FIRE;
        shadow->perms = before;
        return;
    }
    if (!shadow->base)
        shadow_add_base(xs, shadow);
    base = shadow->base;
    if (!removed)
        before = base->perms;
    base->perms = shadow->perms;
    dgm_xs_string_clear(&xs->heap, base->account, &base->value);
    dgm_xs_cells_transfer(&xs->heap, (struct dgm_xs_transfer){
                                         .from = shadow->account,
                                         .to = base->account,
                                         .cells = dgm_xs_string_cells(shadow->value.bytes),
                                     });
    base->value = shadow->value;
    shadow->value = (struct dgm_xs_string){0};
    dgm_xs_node_changed(&xs->tree, base);
    shadow->perms = before;
}

/* Compares all nodes on which the transaction depends; on success `*cells` is the number of cells
 * that the commit takes. */
static int commit_compare(struct dgm_xenstore *xs, struct dgm_xs_transaction *ta, size_t *cells)
{
    *cells = 0;
    for (struct dgm_xs_node *n = ta->root; n; n = dgm_xs_node_after(n, ta->root)) {
        shadow_find_base(xs, n);
        if (!shadow_is_current(n))
            return DGM_EAGAIN;
        if (!(n->flags & DGM_XS_NODE_DIRTY) || !(n->flags & DGM_XS_NODE_EXISTS))
            continue;
        if (n->parent && !shadow_will_exist(n->parent))
            return DGM_EAGAIN;
        if (shadow_is_new(n))
            *cells += 1 + dgm_xs_string_cells(n->name.bytes);
    }
    return DGM_OK;
}

int dgm_xs_transaction_commit(struct dgm_xenstore *xs, struct dgm_xs_transaction *ta)
{
    size_t cells;
    const int status = commit_compare(xs, ta, &cells);

    if (status)
        return status;
    if (!dgm_xs_heap_room(&xs->heap, ta->account, cells))
        return DGM_ENOSPC;
    for (struct dgm_xs_node *n = ta->root; n; n = dgm_xs_node_after(n, ta->root)) {
        shadow_find_base(xs, n);
        if (n->flags & DGM_XS_NODE_DIRTY)
            shadow_apply(xs, n);
    }
    ta->announced = ta->root;
    return DGM_OK;
}

/* Fires the watches of one committed change. The store may have changed since the commit. */
static void shadow_announce(struct dgm_xenstore *xs, const struct dgm_xs_node *shadow)
{
    struct dgm_xs_change change = {.node = shadow, .perms = {&shadow->perms}};
    const struct dgm_xs_node *node;

    dgm_xs_work(&xs->heap, 1 + dgm_xs_string_cells(dgm_xs_node_path(shadow, xs->walk)));
    node = dgm_xs_store_node(xs, xs->walk);
    if (node) {
        change.perms[1] = &node->perms;
        node = node->parent;
    } else {
        dgm_xs_node_path(shadow->parent, xs->walk);
        node = dgm_xs_store_node(xs, xs->walk);
    }
    if (node)
        change.perms[2] = &node->perms;
    dgm_xs_watches_fire(xs, &change, false);
}

bool dgm_xs_transaction_announce(struct dgm_xenstore *xs, struct dgm_xs_transaction *ta,
                                 uint64_t work)
{
    const uint64_t start = xs->heap.work;

    while (ta->announced && xs->heap.work - start < work) {
        dgm_xs_work(&xs->heap, 1);
        if (ta->announced->flags & DGM_XS_NODE_FIRE)
            shadow_announce(xs, ta->announced);
        ta->announced = dgm_xs_node_after(ta->announced, ta->root);
    }
    return !ta->announced;
}

void dgm_xs_transaction_end(struct dgm_xenstore *xs, struct dgm_xs_transaction *ta)
{
    dgm_xs_node_drop(&xs->tree, ta->root);
    dgm_xs_cell_give(&xs->heap, ta->account, ta);
}
