/* SPDX-License-Identifier: MIT */
/*
 * transaction: a guest's changes, kept separate from the store until one commit applies them all
 *
 * A transaction has a small tree that shadows the store. A path is copied into it, name by name,
 * when a request first uses it; from then on the transaction uses its own copy, whatever other
 * guests change. Each copy records the generation of its original (0: there was no such node). At
 * commit every node that was read or written must still have that generation, and every listed
 * directory the same children; otherwise no change is made and the reply is EAGAIN. Nodes that were
 * only on the path to another are not compared, so siblings do not conflict.
 *
 * A directory is listed by merging: the store's present children, without those removed in the
 * transaction, with those created in it.
 *
 * Cost: a copied path takes a cell per name, charged to the guest; a commit is linear in the copied
 * nodes (at most DGM_XS_TRANSACTION_NODES), plus those that it removes. The events that it causes
 * are queued afterwards, in pieces: dgm_xs_transaction_announce().
 */
#ifndef XENSTORE_TRANSACTION_H
#define XENSTORE_TRANSACTION_H

#include "tree.h"

#define DGM_XS_TRANSACTION_NODES 1024 /* copied nodes of one transaction */

struct dgm_xenstore;

struct dgm_xs_domain;

struct dgm_xs_transaction {
    struct dgm_xs_transaction *next; /* of the same guest */
    struct dgm_xs_node *root;
    struct dgm_xs_node *announced; /* after the commit: the next shadow to announce; NULL: none */
    uint32_t id;                   /* never 0 */
    uint32_t touched;
    uint8_t account;
};

/* The transaction domain->transaction_id of `domain`. NULL: no memory. */
struct dgm_xs_transaction *dgm_xs_transaction_begin(struct dgm_xenstore *xs,
                                                    const struct dgm_xs_domain *domain);

/*
 * Walks to `path`: `*node` is the deepest node on it that exists for this transaction, `*rest` the
 * part of the path below that node ("" if it is `path` itself). DGM_ENOSPC: no memory.
 */
int dgm_xs_transaction_walk(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction,
                            const char *path, struct dgm_xs_node **node, const char **rest);

/* Removes the node and all below it, within this transaction. */
void dgm_xs_transaction_remove(struct dgm_xs_node *node);

/* DGM_OK; DGM_EAGAIN: another request changed what this transaction has read; DGM_ENOSPC. Only
 * DGM_OK changes the store; the caller then announces the changes. The caller ends the transaction
 * in each case. */
int dgm_xs_transaction_commit(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction);
/* After a commit: fires the watches of the changed nodes, until `work` units are spent; the last
 * node may exceed them. True when all have fired. */
bool dgm_xs_transaction_announce(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction,
                                 uint64_t work);
/* Frees all its memory. */
void dgm_xs_transaction_end(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction);

#endif
