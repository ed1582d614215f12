/* SPDX-License-Identifier: MIT */
/*
 * watch: watches, and the events that wait for their guests
 *
 * A guest's watches are found by a hash of their path: a change looks up each prefix of its own
 * path, so its cost grows with its depth and not with the number of watches. Local watches (struct
 * dgm_xs_watch) are a short list.
 *
 * A change is an event for a guest that may read the node, could read it before the change, or may
 * read its parent.
 *
 * Events wait in a queue per guest. An event that already waits is not queued again. A guest may
 * have DGM_XS_EVENTS_MAX events waiting; beyond that, or without memory, an event collapses into
 * "something at or below the watched path changed": the watch's own event, which needs no memory
 * and waits at most once per watch. So the queue of a guest that does not read stays bounded, and
 * the guest still learns in the end which of its watches have fired.
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
    struct dgm_xs_string below; /* the changed path after the watch's; empty: the watch's own */
};

struct dgm_xs_guest_watch {
    struct dgm_xs_guest_watch *next; /* of the same guest */
    struct dgm_xs_guest_watch *hash_next;
    struct dgm_xs_domain *domain;
    struct dgm_xs_event own; /* "at or below"; in the queue when `own_waits` */
    uint32_t hash;
    uint16_t hidden; /* leading bytes of the path that a relative watch does not name */
    bool own_waits;
    struct dgm_xs_string path, token;
};

/* The queue of a guest's events; a member of its connection. */
struct dgm_xs_event_queue {
    struct dgm_xs_event *first, *last;
    uint32_t cells; /* events that are not a watch's own: each takes a cell */
};

struct dgm_xs_watches {
    struct dgm_xs_guest_watch *buckets[DGM_XS_WATCH_BUCKETS];
    struct dgm_xs_watch *local;
};

/*
 * Sets a guest's watch and queues its first event. `path` is absolute; `hidden`: its leading bytes
 * that the guest did not name. DGM_EEXIST; DGM_E2BIG: too many; DGM_ENOSPC: no memory.
 */
int dgm_xs_watches_add(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                       size_t hidden, const char *token);
/* Also drops its waiting events. DGM_ENOENT. */
int dgm_xs_watches_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                          const char *token);
void dgm_xs_watches_remove_all(struct dgm_xenstore *xs, struct dgm_xs_domain *domain);

/*
 * `path` has changed: fires the watches on it and, unless `exact`, on each node above it. `node`:
 * the store's, for its permissions (NULL: a special path, for domain 0 only); `before`: its
 * permissions before the change, or NULL.
 */
void dgm_xs_watches_fire(struct dgm_xenstore *xs, const char *path, size_t length,
                         const struct dgm_xs_node *node, const struct dgm_xs_perms *before,
                         bool exact);

/* Takes the oldest event off the queue: "path\0token\0" into `payload`. Returns the bytes; 0: the
 * queue is empty. */
size_t dgm_xs_event_take(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, char *payload);

#endif
