/* SPDX-License-Identifier: MIT */
/*
 * store: see store.h. Outside a transaction nodes are created, changed and removed in place. Inside
 * one the same steps act on its shadows and flag them for the commit.
 */
#include "store.h"

#include <dragoman/base/check.h>

#include <string.h>

/* Like dgm_xs_transaction_walk(), in the store itself. */
static void walk_store(const struct dgm_xs_tree *tree, const char *path, struct dgm_xs_node **node,
                       const char **rest)
{
    struct dgm_xs_node *child;
    const char *name;
    size_t bytes;

    for (*node = tree->root, *rest = path + 1; dgm_xs_path_step(&path, &name, &bytes);) {
        child = dgm_xs_node_child(tree, *node, name, bytes);
        if (!child)
            return;
        *node = child;
        *rest = *path ? path + 1 : path;
    }
}

/* Finds the node; with DGM_ENOENT, `*node` is its nearest ancestor and `*rest` the missing part. */
static int find_nearest(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                        const char *path, unsigned rights, struct dgm_xs_node **node,
                        const char **rest)
{
    if (caller->transaction) {
        const int status = dgm_xs_transaction_walk(xs, caller->transaction, path, node, rest);

        if (status)
            return status;
    } else {
        walk_store(&xs->tree, path, node, rest);
    }
    if ((dgm_xs_rights(&(*node)->perms, caller->domid) & rights) != rights)
        return DGM_EACCES;
    return **rest ? DGM_ENOENT : DGM_OK;
}

int dgm_xs_store_find(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller, const char *path,
                      unsigned rights, struct dgm_xs_node **node)
{
    const char *rest;

    return find_nearest(xs, caller, path, rights, node, &rest);
}

/* Describes the change of a node of the store; `before`: its permissions before the change, or
 * NULL. */
static struct dgm_xs_change change_of(const struct dgm_xs_node *node,
                                      const struct dgm_xs_perms *before)
{
    return (struct dgm_xs_change){
        .node = node,
        .perms = {&node->perms, before, node->parent ? &node->parent->perms : NULL},
    };
}

/* Called after a request changed `node`, which it named: fires its watches, now or at the
 * transaction's commit. */
static void request_changed(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                            struct dgm_xs_node *node, const struct dgm_xs_perms *before)
{
    if (caller->transaction) {
        node->flags |= DGM_XS_NODE_DIRTY | DGM_XS_NODE_FIRE;
    } else {
        const struct dgm_xs_change change = change_of(node, before);

        dgm_xs_node_changed(&xs->tree, node);
        dgm_xs_watches_fire(xs, &change, false);
    }
}

/* True if there is memory to replace a value of `old_bytes` by one of `bytes`, and for `more`
 * cells. */
static bool value_fits(const struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                       size_t more, size_t bytes, size_t old_bytes)
{
    const size_t needed = more + dgm_xs_string_cells(bytes);
    const size_t returned = dgm_xs_string_cells(old_bytes);

    return needed <= returned || dgm_xs_heap_room(&xs->heap, caller->account, needed - returned);
}

/* Creates one missing node without a value; its parent exists. */
static struct dgm_xs_node *make_node(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                                     struct dgm_xs_node *parent, const char *name, size_t bytes)
{
    struct dgm_xs_node *node;

    if (caller->transaction) {
        node = dgm_xs_node_child(&xs->tree, parent, name, bytes);
        dgm_assert(node);
        node->flags |= DGM_XS_NODE_DIRTY | DGM_XS_NODE_READ;
        dgm_xs_string_clear(&xs->heap, node->account, &node->value);
    } else {
        node = dgm_xs_node_add(&xs->tree, parent, name, bytes,
                               caller->domid ? caller->account : parent->account);
        dgm_xs_node_changed(&xs->tree, node);
        dgm_xs_children_changed(&xs->tree, parent);
    }
    node->flags |= DGM_XS_NODE_EXISTS;
    node->perms = parent->perms;
    if (caller->domid)
        node->perms.entry[0].domid = caller->domid;
    dgm_xs_node_count(&xs->tree, node);
    return node;
}

/* Creates all nodes of `rest` below `*node`, if quota and memory suffice for all of them and for a
 * value; `*node` is the last of them then. */
static int make_missing(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                        struct dgm_xs_node **node, const char *rest, size_t value_bytes)
{
    const char *const start = rest, *name;
    size_t bytes, nodes = 0, cells = 0;

    while (dgm_xs_path_step(&rest, &name, &bytes)) {
        nodes++;
        if (!caller->transaction) /* a transaction already has them, as shadows */
            cells += 1 + dgm_xs_string_cells(bytes);
    }
    if (caller->domid && nodes + xs->heap.accounts[caller->account].nodes > xs->limits.nodes)
        return DGM_ENOSPC;
    if (!value_fits(xs, caller, cells, value_bytes, 0))
        return DGM_ENOSPC;
    for (rest = start; dgm_xs_path_step(&rest, &name, &bytes);)
        *node = make_node(xs, caller, *node, name, bytes);
    return DGM_OK;
}

int dgm_xs_store_write(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                       struct dgm_xs_entry entry, size_t bytes)
{
    struct dgm_xs_node *node;
    const char *rest;
    int status = find_nearest(xs, caller, entry.path, DGM_XS_WRITE, &node, &rest);

    if (status && status != DGM_ENOENT)
        return status;
    if (bytes > (caller->domid ? xs->limits.value_bytes : DGM_XS_VALUE_MAX))
        return DGM_ENOSPC;
    if (status == DGM_ENOENT)
        status = make_missing(xs, caller, &node, rest, bytes);
    else
        status = value_fits(xs, caller, 0, bytes, node->value.bytes) ? DGM_OK : DGM_ENOSPC;
    if (status)
        return status;
    dgm_xs_string_set(&xs->heap, node->account, &node->value, entry.value, bytes);
    request_changed(xs, caller, node, NULL);
    return DGM_OK;
}

int dgm_xs_store_mkdir(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                       const char *path)
{
    struct dgm_xs_node *node;
    const char *rest;
    int status = find_nearest(xs, caller, path, DGM_XS_WRITE, &node, &rest);

    if (status != DGM_ENOENT)
        return status;
    status = make_missing(xs, caller, &node, rest, 0);
    if (!status)
        request_changed(xs, caller, node, NULL);
    return status;
}

void dgm_xs_store_remove(struct dgm_xenstore *xs, struct dgm_xs_node *top, bool fire_top)
{
    for (struct dgm_xs_node *node = top; node; node = dgm_xs_node_after(node, top)) {
        const struct dgm_xs_change change = change_of(node, NULL);

        dgm_xs_work(&xs->heap, 1);
        /* Watches above the top fire only for the top, those in the subtree for their own node. */
        if (node != top || fire_top)
            dgm_xs_watches_fire(xs, &change, node != top);
    }
    dgm_xs_children_changed(&xs->tree, top->parent);
    dgm_xs_node_drop(&xs->tree, top);
}

int dgm_xs_store_rm(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller, const char *path)
{
    struct dgm_xs_node *node;
    const int status = dgm_xs_store_find(xs, caller, path, DGM_XS_WRITE, &node);

    if (status)
        return status;
    if (!node->parent)
        return DGM_EINVAL;
    if (caller->transaction) {
        dgm_xs_transaction_remove(node);
        node->flags |= DGM_XS_NODE_FIRE;
    } else {
        dgm_xs_store_remove(xs, node, true);
    }
    return DGM_OK;
}

int dgm_xs_store_set_perms(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                           const char *path, const struct dgm_xs_perms *perms)
{
    struct dgm_xs_perms before;
    struct dgm_xs_node *node;
    int status = dgm_xs_store_find(xs, caller, path, DGM_XS_WRITE | DGM_XS_OWN, &node);

    if (status)
        return status;
    before = node->perms;
    if (before.entry[0].domid != perms->entry[0].domid) {
        if (caller->domid)
            return DGM_EPERM;
        status = dgm_xs_account_open(&xs->heap, perms->entry[0].domid);
        if (status < 0)
            return status;
        dgm_xs_node_transfer(&xs->tree, node, (uint8_t)status);
    }
    node->perms = *perms;
    request_changed(xs, caller, node, &before);
    return DGM_OK;
}

struct dgm_xs_node *dgm_xs_store_node(struct dgm_xenstore *xs, const char *path)
{
    struct dgm_xs_node *node;
    const char *rest;

    walk_store(&xs->tree, path, &node, &rest);
    return *rest ? NULL : node;
}

/* The store's node whose children are included in a listing of the shadow; NULL: none. */
static struct dgm_xs_node *node_behind(struct dgm_xenstore *xs, const struct dgm_xs_node *shadow)
{
    for (const struct dgm_xs_node *n = shadow; n; n = n->parent)
        if ((n->flags & DGM_XS_NODE_OPAQUE) || !n->generation)
            return NULL;
    dgm_xs_work(&xs->heap, 1 + dgm_xs_string_cells(dgm_xs_node_path(shadow, xs->walk)));
    return dgm_xs_store_node(xs, xs->walk);
}

/* Adds one name to the listing; `*skip`: bytes of the whole list that still precede the part. */
static void listing_add(struct dgm_xenstore *xs, struct dgm_xs_listing *listing, uint64_t *skip,
                        const struct dgm_xs_node *node)
{
    char name[DGM_XS_PATH_MAX];
    const size_t bytes = node->name.bytes + 1u;
    size_t from;

    dgm_xs_work(&xs->heap, 1);
    if (*skip >= bytes) {
        *skip -= bytes;
        return;
    }
    from = (size_t)*skip;
    *skip = 0;
    if (bytes - from > listing->room - listing->bytes) {
        listing->cut = true;
        return;
    }
    name[dgm_xs_string_get(&node->name, name)] = '\0';
    dgm_xs_work(&xs->heap, 1 + dgm_xs_string_cells(bytes));
    memcpy(listing->names + listing->bytes, name + from, bytes - from);
    listing->bytes += bytes - from;
}

void dgm_xs_store_list(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                       struct dgm_xs_node *node, struct dgm_xs_listing *listing)
{
    struct dgm_xs_node *const base = caller->transaction ? node_behind(xs, node) : NULL;
    uint64_t skip = listing->offset;

    listing->bytes = 0;
    listing->cut = false;
    if (base) {
        node->flags |= DGM_XS_NODE_LISTED;
        for (struct dgm_xs_node *child = base->first; child && !listing->cut; child = child->next) {
            const struct dgm_xs_node *const shadow = dgm_xs_node_twin(&xs->tree, node, child);

            if (!shadow || (shadow->flags & DGM_XS_NODE_EXISTS))
                listing_add(xs, listing, &skip, child);
        }
    }
    for (struct dgm_xs_node *child = node->first; child && !listing->cut; child = child->next)
        if ((child->flags & DGM_XS_NODE_EXISTS) &&
            !(base && dgm_xs_node_twin(&xs->tree, base, child)))
            listing_add(xs, listing, &skip, child);
}
