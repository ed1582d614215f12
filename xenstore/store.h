/* SPDX-License-Identifier: MIT */
/*
 * store: what can be done to the tree, by whom, and struct dgm_xenstore itself
 *
 * The functions here are what requests come down to, whoever asks: a guest (server.c) or domain 0
 * (local.c), inside a transaction or not. They decide permissions, quotas and room before they
 * change anything, and fire watches after.
 *
 * Permissions are xenstored's: domain 0 and the owner may do everything; others what their own
 * entry says, or else the first one. A node that is missing is DGM_ENOENT to those who have the
 * right in question on its nearest existing ancestor, DGM_EACCES to everyone else. A new node has
 * its parent's permissions; one that a guest makes belongs to that guest. Its owner's account pays
 * for it.
 */
#ifndef XENSTORE_STORE_H
#define XENSTORE_STORE_H

#include "connection.h"
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
    struct dgm_xs_domain *domains; /* connections, used or not */
    size_t domain_count;
    struct dgm_xs_counters counters; /* those that only grow */

    /* Scratch, each used by one kind of step and empty between calls. */
    char path[DGM_XS_PATH_MAX];       /* the request's */
    char walk[DGM_XS_PATH_MAX];       /* of a node whose watches fire */
    char value[XENSTORE_PAYLOAD_MAX]; /* being copied between nodes */
    char reply[XENSTORE_PAYLOAD_MAX]; /* being built */
};

/* On whose behalf, and in which transaction (NULL: none). */
struct dgm_xs_who {
    domid_t domid;
    uint8_t account;
    struct dgm_xs_transaction *transaction;
};

/* Domain 0 passes every check. */
#define DGM_XS_DOM0 ((const struct dgm_xs_who){.domid = 0})

/* The node at `path` if `who` has `rights` there: DGM_OK, DGM_ENOENT, DGM_EACCES, DGM_ENOSPC. */
int dgm_xs_store_find(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path,
                      unsigned rights, struct dgm_xs_node **node);

/* Writes a value; makes the node and its parents where they are missing. Also DGM_ENOSPC. */
int dgm_xs_store_write(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path,
                       const char *value, size_t bytes);
/* Makes a node; nothing if it exists. */
int dgm_xs_store_mkdir(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path);
/* DGM_EINVAL: the root. */
int dgm_xs_store_rm(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path);
/* DGM_EPERM: a guest names another owner. */
int dgm_xs_store_set_perms(struct dgm_xenstore *xs, const struct dgm_xs_who *who, const char *path,
                           const struct dgm_xs_perms *perms);

/*
 * Names of children, each NUL-terminated, from byte `offset` of the whole list on: whole names as
 * they fit into `room`. The bytes written; `*complete`: up to the end of the list.
 */
size_t dgm_xs_store_list(struct dgm_xenstore *xs, const struct dgm_xs_who *who,
                         struct dgm_xs_node *node, uint64_t offset, char *names, size_t room,
                         bool *complete);

/* --- for transaction.c, when it commits --- */

/* Removes a subtree of the store and fires its watches. */
void dgm_xs_store_remove(struct dgm_xenstore *xs, struct dgm_xs_node *top);
/* Fires the watches of a node of the store that has changed; `before`: its permissions till now. */
void dgm_xs_store_fire(struct dgm_xenstore *xs, const struct dgm_xs_node *node,
                       const struct dgm_xs_perms *before);

#endif
