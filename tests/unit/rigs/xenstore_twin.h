/* SPDX-License-Identifier: MIT */
/*
 * A naive xenstore to compare the real one with: a flat list of paths, searched from end to end. A
 * transaction is a list of the same kind, of the paths that it has used.
 */
#ifndef XENSTORE_TWIN_H
#define XENSTORE_TWIN_H

#include "unit.h"

#include <xenstore/store.h>

#define XS_TWIN_PATHS 400

struct xs_twin_entry {
    char path[64];
    char value[16];
    bool exists;
    struct dgm_xs_perms perms;
    unsigned generation; /* of the store's; in a transaction, when first touched, 0: none */
    unsigned children;   /* generation of the set of children */
    bool read, listed, dirty, opaque, hidden; /* in a transaction */
};

struct xs_twin_list {
    struct xs_twin_entry entries[XS_TWIN_PATHS];
    unsigned count;
};

/* The store itself; any other list is a transaction. */
extern struct xs_twin_list xs_twin_store;

struct xs_twin_entry *xs_twin_find(struct xs_twin_list *list, const char *path);
struct xs_twin_entry *xs_twin_add(struct xs_twin_list *list, const char *path);
/* `parent` may be `path` itself. */
void xs_twin_parent(const char *path, char *parent);
/* Copies a path, name by name, into a transaction. */
void xs_twin_touch(struct xs_twin_list *list, const char *path);
/* Draws a new generation for the entry, if the list is the store. */
void xs_twin_changed(struct xs_twin_list *list, const char *path);
/* Gives each entry of the store its first generations. */
void xs_twin_stamp(void);

/* What the server replies to a request that needs `right` on `path`: "OK|", "!ENOENT",
 * "!EACCES". */
const char *xs_twin_status(struct xs_twin_list *list, domid_t domid, const char *path,
                           unsigned right);
/* Creates `path` and its missing parents. */
void xs_twin_create(struct xs_twin_list *list, domid_t domid, const char *path);
void xs_twin_remove(struct xs_twin_list *list, const char *path);
/* The children's names, each followed by '|'. */
void xs_twin_list(struct xs_twin_list *list, const char *path, char *names);
/* Applies a transaction to the store: "OK|" or "!EAGAIN". */
const char *xs_twin_commit(struct xs_twin_list *list);

#endif
