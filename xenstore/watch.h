/* SPDX-License-Identifier: MIT */
/*
 * watch: who wants to know of which paths, and what they have not been told yet
 *
 * A guest's watches are found by a hash of their path: a change looks up each prefix of its own
 * path, so its cost grows with its depth and not with the number of watches. Ours (struct
 * dgm_xs_watch) are a short list.
 *
 * A guest is told of a change if it may read the node, or might until now, or may read its parent.
 *
 * What a guest has not been told yet waits in a queue of its own. An event that waits already is
 * not queued again. A guest may have DGM_XS_EVENTS_MAX events waiting; beyond that, or when it has
 * no memory left, an event collapses into "something at or below the watched path changed": the
 * watch's own event, which needs no memory and waits at most once per watch. So whoever does not
 * read keeps a bounded queue, and is told at the end that he should look.
 */
#ifndef XENSTORE_WATCH_H
#define XENSTORE_WATCH_H

#include "tree.h"

#define DGM_XS_EVENTS_MAX    64
#define DGM_XS_WATCH_BUCKETS 256

struct dgm_xs_domain;
struct dgm_xs_guest_watch;

struct dgm_xs_event {
    struct dgm_xs_event *next;
    struct dgm_xs_guest_watch *watch;
    struct dgm_xs_string below; /* the path, from the watch's on; empty: that itself */
};

struct dgm_xs_guest_watch {
    struct dgm_xs_guest_watch *next; /* of the same guest */
    struct dgm_xs_guest_watch *hash_next;
    struct dgm_xs_domain *domain;
    struct dgm_xs_event own; /* "at or below": waits when `own_waits` */
    uint32_t hash;
    uint16_t hidden; /* bytes of the path that a relative watch does not name */
    bool own_waits;
    struct dgm_xs_string path, token;
};

/* A queue of events and what else a guest's watches need; a member of its connection. */
struct dgm_xs_event_queue {
    struct dgm_xs_event *first, *last;
    uint32_t cells; /* events that are not a watch's own */
};

struct dgm_xs_watches {
    struct dgm_xs_guest_watch *buckets[DGM_XS_WATCH_BUCKETS];
    struct dgm_xs_watch *local;
};

/*
 * Sets a guest's watch and queues its first event. `path` is absolute; `hidden`: how much of it the
 * guest did not name. DGM_EEXIST; DGM_E2BIG: too many; DGM_ENOSPC: no memory.
 */
int dgm_xs_watches_add(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                       size_t hidden, const char *token);
/* DGM_ENOENT. What waits of it is forgotten. */
int dgm_xs_watches_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                          const char *token);
void dgm_xs_watches_remove_all(struct dgm_xenstore *xs, struct dgm_xs_domain *domain);

/*
 * Something happened at `path`: tells the watches on it and, unless `exact`, on everything above
 * it. `node`: the store's, for its permissions (NULL: a special path, for domain 0 only); `before`:
 * those it had, or NULL.
 */
void dgm_xs_watches_fire(struct dgm_xenstore *xs, const char *path, size_t length,
                         const struct dgm_xs_node *node, const struct dgm_xs_perms *before,
                         bool exact);

/* Takes the oldest event that waits: "path\0token\0" into `payload`; its bytes, 0 if none waits. */
size_t dgm_xs_event_take(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, char *payload);

#endif
