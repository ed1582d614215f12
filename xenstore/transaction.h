/* SPDX-License-Identifier: MIT */
/*
 * transaction: a guest's changes, apart from the store until they are committed as one
 *
 * A transaction keeps a small tree that shadows the store. A path is copied into it, name by name,
 * when it is first touched; from then on the transaction sees its own copy, whatever others do.
 * Each copy remembers the generation that it was made of (0: there was no such node). At commit
 * every node that was read or written must still have that generation, every listed directory the
 * same children, or nothing is done and the answer is EAGAIN. What was only passed on the way to a
 * node is not compared, so neighbours do not disturb each other.
 *
 * Directories are listed by merging: the store's children as they are now, less what was removed
 * here, plus what was made here.
 *
 * Cost: a touched path takes a cell per name, charged to the guest; a commit is linear in the nodes
 * touched (at most DGM_XS_TRANSACTION_NODES), plus those that it removes.
 */
#ifndef XENSTORE_TRANSACTION_H
#define XENSTORE_TRANSACTION_H

#include "tree.h"

#define DGM_XS_TRANSACTION_NODES 1024 /* touched, in one transaction */

struct dgm_xenstore;

struct dgm_xs_transaction {
    struct dgm_xs_transaction *next; /* of the same guest */
    struct dgm_xs_node *root;
    uint32_t id; /* never 0 */
    uint32_t touched;
    uint8_t account;
};

/* NULL: no room for it. */
struct dgm_xs_transaction *dgm_xs_transaction_begin(struct dgm_xenstore *xs, uint8_t account,
                                                    uint32_t id);

/*
 * Walks to `path`: `*node` is the deepest node on the way that exists in this transaction's eyes,
 * and
 * `*rest` what of the path lies below it ("" if the node itself was found). DGM_ENOSPC: no room.
 */
int dgm_xs_transaction_reach(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction,
                             const char *path, struct dgm_xs_node **node, const char **rest);

/* The node and all below it are gone, in this transaction's eyes. */
void dgm_xs_transaction_remove(struct dgm_xs_node *node);

/* DGM_OK; DGM_EAGAIN: others were faster; DGM_ENOSPC. Nothing is changed unless OK. Then end it. */
int dgm_xs_transaction_commit(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction);
/* Forgets it and gives back its memory. */
void dgm_xs_transaction_end(struct dgm_xenstore *xs, struct dgm_xs_transaction *transaction);

#endif
