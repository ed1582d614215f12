/* SPDX-License-Identifier: MIT */
/*
 * store: the operations on the tree with their permission checks, and struct dgm_xenstore itself
 *
 * Every request ends in a function of this file, whether a guest (server.c) or domain 0 (local.c)
 * makes it, inside a transaction or not. Each checks permissions, quotas and memory before it
 * changes anything, and fires watches after the change.
 *
 * Permissions are xenstored's: domain 0 and the owner may do everything; another domain has the
 * rights of its own entry, or else of the first one. A missing node is DGM_ENOENT to a domain that
 * has the right in question on the nearest existing ancestor, DGM_EACCES to any other. A new node
 * has its parent's permissions; the guest that creates a node owns it. The owner's account is
 * charged.
 */
#ifndef XENSTORE_STORE_H
#define XENSTORE_STORE_H

#include "connection.h"
#include "schedule.h"
#include "transaction.h"
#include "tree.h"
#include "watch.h"
#include "wire.h"

struct dgm_xenstore {
    struct dgm_reactor *reactor;
    struct dgm_evtchn *evtchn;
    struct dgm_xs_limits limits;
    struct dgm_xs_heap heap;
    struct dgm_xs_tree tree;
    struct dgm_xs_watches watches;
    struct dgm_xs_schedule schedule;
    struct dgm_xs_domain *domains; /* connections, used or not */
    size_t domain_count;
    struct dgm_xs_counters counters; /* the cumulative ones */

    /* Scratch buffers; each is used by one kind of step and holds no data between calls. */
    char path[DGM_XS_PATH_MAX];       /* of the request */
    char walk[DGM_XS_PATH_MAX];       /* of the node whose watches fire */
    char value[XENSTORE_PAYLOAD_MAX]; /* copied from node to node */
    char reply[XENSTORE_PAYLOAD_MAX]; /* under construction */
};

/* No request of a guest costs more units than this, whatever the store holds. */
uint64_t dgm_xs_work_request_bound(const struct dgm_xenstore *xs);

/* The domain that makes a request, and its transaction (NULL: none). */
struct dgm_xs_caller {
    domid_t domid;
    uint8_t account;
    struct dgm_xs_transaction *transaction;
};

/* Domain 0 passes every check. */
#define DGM_XS_DOM0 ((const struct dgm_xs_caller){.domid = 0})

/* The node at `path`, if the caller has `rights` on it: DGM_OK, DGM_ENOENT, DGM_EACCES,
 * DGM_ENOSPC. */
int dgm_xs_store_find(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller, const char *path,
                      unsigned rights, struct dgm_xs_node **node);

/* Writes a value of `bytes` bytes, which need not end with a NUL; creates the node and its parents
 * if they are missing. Also DGM_ENOSPC. */
int dgm_xs_store_write(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                       struct dgm_xs_entry entry, size_t bytes);
/* Creates a node and its missing parents; no effect if it exists. */
int dgm_xs_store_mkdir(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                       const char *path);
/* DGM_EINVAL: the root. */
int dgm_xs_store_rm(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller, const char *path);
/* DGM_EPERM: a guest names another owner. */
int dgm_xs_store_set_perms(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                           const char *path, const struct dgm_xs_perms *perms);

/* A part of the list of a node's children: their names, each NUL-terminated. */
struct dgm_xs_listing {
    uint64_t offset; /* bytes of the whole list before this part */
    char *names;     /* the buffer for the part */
    size_t room;     /* its size in bytes */
    size_t bytes;    /* result: bytes written; only whole names */
    bool cut;        /* result: more names follow */
};

/* Fills `listing` with the children of `node`, from its offset on. */
void dgm_xs_store_list(struct dgm_xenstore *xs, const struct dgm_xs_caller *caller,
                       struct dgm_xs_node *node, struct dgm_xs_listing *listing);

/* --- for transaction.c, when it commits --- */

/* Removes a subtree of the store and fires the watches in it; with `fire_top` also those on the top
 * and on the nodes above it. */
void dgm_xs_store_remove(struct dgm_xenstore *xs, struct dgm_xs_node *top, bool fire_top);
/* The node at an absolute path; NULL: none. */
struct dgm_xs_node *dgm_xs_store_node(struct dgm_xenstore *xs, const char *path);

#endif
