/* SPDX-License-Identifier: MIT */
/*
 * store: see store.h. Outside a transaction nodes are made, changed and removed in place. Inside
 * one the same steps act on its shadows, which are flagged for the commit; that is all the
 * difference.
 */
#include "store.h"

#include <dragoman/base/check.h>

#include <string.h>

/* As dgm_xs_transaction_reach(), in the store itself. */
static void reach(const struct dgm_xs_tree *tree, const char *path, struct dgm_xs_node **node,
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

/* Finds the node, or with DGM_ENOENT its nearest ancestor in `*node` and what is missing below. */
static int find(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path,
                unsigned rights, struct dgm_xs_node **node, const char **rest)
{
    if (who->transaction) {
        const int status = dgm_xs_transaction_reach(xs, who->transaction, path, node, rest);

        if (status)
            return status;
    } else {
        reach(&xs->tree, path, node, rest);
    }
    if ((dgm_xs_rights(&(*node)->perms, who->domid) & rights) != rights)
        return DGM_EACCES;
    return **rest ? DGM_ENOENT : DGM_OK;
}

int dgm_xs_store_find(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path,
                      unsigned rights, struct dgm_xs_node **node)
{
    const char *rest;

    return find(xs, who, path, rights, node, &rest);
}

void dgm_xs_store_fire(struct dgm_xenstore *xs, const struct dgm_xs_node *node,
                       const struct dgm_xs_perms *before)
{
    const size_t length = dgm_xs_node_path(node, xs->walk);

    dgm_xs_watches_fire(xs, xs->walk, length, node, before, false);
}

/* `node` has been changed by a request that named it: now, or when the transaction commits. */
static void changed(struct dgm_xenstore *xs, const struct dgm_xs_who *who, struct dgm_xs_node *node,
                    const struct dgm_xs_perms *before)
{
    if (who->transaction) {
        node->flags |= DGM_XS_NODE_DIRTY | DGM_XS_NODE_FIRE;
    } else {
        dgm_xs_node_changed(&xs->tree, node);
        dgm_xs_store_fire(xs, node, before);
    }
}

/* Is there room to replace `old_bytes` by `bytes`, and for `more` cells? */
static bool room_for(const struct dgm_xenstore *xs, const struct dgm_xs_who *who, size_t more,
                     size_t bytes, size_t old_bytes)
{
    const size_t needed = more + dgm_xs_string_cells(bytes);
    const size_t given = dgm_xs_string_cells(old_bytes);

    return needed <= given || dgm_xs_heap_room(&xs->heap, who->account, needed - given);
}

/* One missing node, empty; its parent exists. */
static struct dgm_xs_node *make(struct dgm_xenstore *xs, const struct dgm_xs_who *who,
                                struct dgm_xs_node *parent, const char *name, size_t bytes)
{
    struct dgm_xs_node *node;

    if (who->transaction) {
        node = dgm_xs_node_child(&xs->tree, parent, name, bytes);
        dgm_assert(node);
        node->flags |= DGM_XS_NODE_DIRTY | DGM_XS_NODE_READ;
        dgm_xs_string_clear(&xs->heap, node->account, &node->value);
    } else {
        node = dgm_xs_node_add(&xs->tree, parent, name, bytes,
                               who->domid ? who->account : parent->account);
        dgm_xs_node_changed(&xs->tree, node);
        dgm_xs_children_changed(&xs->tree, parent);
    }
    node->flags |= DGM_XS_NODE_EXISTS;
    node->perms = parent->perms;
    if (who->domid)
        node->perms.entry[0].domid = who->domid;
    dgm_xs_node_count(&xs->tree, node);
    return node;
}

/* Makes all of `rest` below `node`, if quota and room allow all of it, and `bytes` of value. */
static int create(struct dgm_xenstore *xs, const struct dgm_xs_who *who, struct dgm_xs_node **node,
                  const char *rest, size_t value_bytes)
{
    const char *const start = rest, *name;
    size_t bytes, nodes = 0, cells = 0;

    while (dgm_xs_path_step(&rest, &name, &bytes)) {
        nodes++;
        if (!who->transaction) /* it has them already, as shadows */
            cells += 1 + dgm_xs_string_cells(bytes);
    }
    if (who->domid && nodes + xs->heap.accounts[who->account].nodes > xs->limits.nodes)
        return DGM_ENOSPC;
    if (!room_for(xs, who, cells, value_bytes, 0))
        return DGM_ENOSPC;
    for (rest = start; dgm_xs_path_step(&rest, &name, &bytes);)
        *node = make(xs, who, *node, name, bytes);
    return DGM_OK;
}

int dgm_xs_store_write(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path,
                       const char *value, size_t bytes)
{
    struct dgm_xs_node *node;
    const char *rest;
    int status = find(xs, who, path, DGM_XS_WRITE, &node, &rest);

    if (status && status != DGM_ENOENT)
        return status;
    if (bytes > (who->domid ? xs->limits.value_bytes : DGM_XS_VALUE_MAX))
        return DGM_ENOSPC;
    if (status == DGM_ENOENT)
        status = create(xs, who, &node, rest, bytes);
    else
        status = room_for(xs, who, 0, bytes, node->value.bytes) ? DGM_OK : DGM_ENOSPC;
    if (status)
        return status;
    dgm_xs_string_set(&xs->heap, node->account, &node->value, value, bytes);
    changed(xs, who, node, NULL);
    return DGM_OK;
}

int dgm_xs_store_mkdir(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path)
{
    struct dgm_xs_node *node;
    const char *rest;
    int status = find(xs, who, path, DGM_XS_WRITE, &node, &rest);

    if (status != DGM_ENOENT)
        return status;
    status = create(xs, who, &node, rest, 0);
    if (!status)
        changed(xs, who, node, NULL);
    return status;
}

void dgm_xs_store_remove(struct dgm_xenstore *xs, struct dgm_xs_node *top)
{
    for (struct dgm_xs_node *node = top; node; node = dgm_xs_node_after(node, top)) {
        const size_t length = dgm_xs_node_path(node, xs->walk);

        /* Watches above hear of the top alone, watches on what goes with it each of their own. */
        dgm_xs_watches_fire(xs, xs->walk, length, node, NULL, node != top);
    }
    dgm_xs_children_changed(&xs->tree, top->parent);
    dgm_xs_node_drop(&xs->tree, top);
}

int dgm_xs_store_rm(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path)
{
    struct dgm_xs_node *node;
    const int status = dgm_xs_store_find(xs, who, path, DGM_XS_WRITE, &node);

    if (status)
        return status;
    if (!node->parent)
        return DGM_EINVAL;
    if (who->transaction) {
        dgm_xs_transaction_remove(node);
        node->flags |= DGM_XS_NODE_FIRE;
    } else {
        dgm_xs_store_remove(xs, node);
    }
    return DGM_OK;
}

int dgm_xs_store_set_perms(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path,
                           const struct dgm_xs_perms *perms)
{
    struct dgm_xs_perms before;
    struct dgm_xs_node *node;
    int status = dgm_xs_store_find(xs, who, path, DGM_XS_WRITE | DGM_XS_OWN, &node);

    if (status)
        return status;
    before = node->perms;
    if (before.entry[0].domid != perms->entry[0].domid) {
        if (who->domid)
            return DGM_EPERM;
        status = dgm_xs_account_open(&xs->heap, perms->entry[0].domid);
        if (status < 0)
            return status;
        dgm_xs_node_transfer(&xs->tree, node, (uint8_t)status);
    }
    node->perms = *perms;
    changed(xs, who, node, &before);
    return DGM_OK;
}

/* The store's node behind a shadow, as far as it shines through. */
static struct dgm_xs_node *behind(struct dgm_xenstore *xs, const struct dgm_xs_node *shadow)
{
    struct dgm_xs_node *base;
    const char *rest;

    for (const struct dgm_xs_node *n = shadow; n; n = n->parent)
        if ((n->flags & DGM_XS_NODE_OPAQUE) || !n->generation)
            return NULL;
    dgm_xs_node_path(shadow, xs->walk);
    reach(&xs->tree, xs->walk, &base, &rest);
    return *rest ? NULL : base;
}

/* A list of names of which a window is wanted. */
struct window {
    uint64_t skip; /* bytes still before it */
    char *names;
    size_t room, done;
    bool full;
};

static void window_add(struct window *window, const struct dgm_xs_node *node)
{
    char name[DGM_XS_PATH_MAX];
    const size_t bytes = dgm_xs_string_get(&node->name, name) + 1;
    size_t from;

    if (window->full)
        return;
    if (window->skip >= bytes) {
        window->skip -= bytes;
        return;
    }
    from = (size_t)window->skip;
    window->skip = 0;
    name[bytes - 1] = '\0';
    if (bytes - from > window->room - window->done) {
        window->full = true;
        return;
    }
    memcpy(window->names + window->done, name + from, bytes - from);
    window->done += bytes - from;
}

size_t dgm_xs_store_list(struct dgm_xenstore *xs, const struct dgm_xs_who *who,
                         struct dgm_xs_node *node, uint64_t offset, char *names, size_t room,
                         bool *complete)
{
    struct window window = {.skip = offset, .names = names, .room = room};
    struct dgm_xs_node *const base = who->transaction ? behind(xs, node) : NULL;

    if (base) {
        node->flags |= DGM_XS_NODE_LISTED;
        for (struct dgm_xs_node *child = base->first; child; child = child->next) {
            const struct dgm_xs_node *const shadow = dgm_xs_node_twin(&xs->tree, node, child);

            if (!shadow || (shadow->flags & DGM_XS_NODE_EXISTS))
                window_add(&window, child);
        }
    }
    for (struct dgm_xs_node *child = node->first; child; child = child->next)
        if ((child->flags & DGM_XS_NODE_EXISTS) &&
            !(base && dgm_xs_node_twin(&xs->tree, base, child)))
            window_add(&window, child);
    *complete = !window.full;
    return window.done;
}
