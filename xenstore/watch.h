/* SPDX-License-Identifier: MIT */
/*
 * watch: watches, and the events that wait for their guests
 *
 * Watches are found by a hash of their path. A change looks up the path of the node and of each
 * node above it, so its cost grows with its depth and with the watches on these paths, not with the
 * number of all watches. Those of domain 0 (struct dgm_xs_watch) have their own small table.
 *
 * A change causes an event for a guest that may read the node, could read it before the change, or
 * may read its parent.
 *
 * Events wait in a queue per guest. An event that already waits is not queued again; each watch has
 * a list of its events, so the search does not walk the whole queue. A guest may have
 * DGM_XS_EVENTS_MAX events waiting; beyond that, or without memory, an event collapses into
 * "something at or below the watched path changed": the watch's own event, which needs no memory
 * and waits at most once per watch. So the queue of a guest that does not read stays bounded, and
 * the guest still learns which of its watches have fired.
 *
 * Work: a change visits each watch at most once and each waiting event at most once.
 */
#ifndef XENSTORE_WATCH_H
#define XENSTORE_WATCH_H

#include "tree.h"

#define DGM_XS_EVENTS_MAX          64
#define DGM_XS_WATCH_BUCKETS       1024
#define DGM_XS_LOCAL_WATCH_BUCKETS 64

struct dgm_xs_domain;
struct dgm_xs_guest_watch;

/* An entry of a guest's queue: a watch's own event, or a part of struct dgm_xs_event. */
struct dgm_xs_waiting {
    struct dgm_xs_waiting *next, *previous;
    struct dgm_xs_guest_watch *watch;
};

struct dgm_xs_event {
    struct dgm_xs_waiting waiting; /* the first member */
    struct dgm_xs_event *next;     /* of the same watch, younger */
    uint32_t hash;                 /* of the changed path */
    struct dgm_xs_string below;    /* the changed path after the watch's; never empty */
};

struct dgm_xs_guest_watch {
    struct dgm_xs_guest_watch *next; /* of the same guest */
    struct dgm_xs_guest_watch *hash_next;
    struct dgm_xs_guest_watch **hash_link; /* what points to this one in its chain */
    struct dgm_xs_domain *domain;
    struct dgm_xs_waiting own;   /* "at or below"; in the queue when `own_waits` */
    struct dgm_xs_event *events; /* the waiting ones, oldest first */
    uint32_t hash;
    uint16_t hidden; /* leading bytes of the path that a relative watch does not name */
    bool own_waits;
    struct dgm_xs_string path, token;
};

/* The queue of a guest's events; a member of its connection. */
struct dgm_xs_event_queue {
    struct dgm_xs_waiting *first, *last;
    uint32_t cells; /* events that are not a watch's own: each takes a cell */
};

struct dgm_xs_watches {
    struct dgm_xs_guest_watch *buckets[DGM_XS_WATCH_BUCKETS];
    struct dgm_xs_watch *local[DGM_XS_LOCAL_WATCH_BUCKETS];
};

/* A node that has changed. Its ancestors form the path. A guest that may read by one of `perms`
 * (NULL: none) gets the event. */
struct dgm_xs_change {
    const struct dgm_xs_node *node;
    const struct dgm_xs_perms *perms[3];
};

/*
 * Sets a guest's watch and queues its first event. `path` is absolute; `hidden`: the length of the
 * prefix that the guest did not name. DGM_EEXIST; DGM_E2BIG: too many; DGM_ENOSPC: no memory.
 */
int dgm_xs_watches_add(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                       size_t hidden, const char *token);
/* Also drops its waiting events. DGM_ENOENT. */
int dgm_xs_watches_remove(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, const char *path,
                          const char *token);
void dgm_xs_watches_remove_all(struct dgm_xenstore *xs, struct dgm_xs_domain *domain);

void dgm_xs_watches_add_local(struct dgm_xenstore *xs, struct dgm_xs_watch *watch);
void dgm_xs_watches_remove_local(struct dgm_xenstore *xs, struct dgm_xs_watch *watch);

/* Fires the watches on the node and, unless `exact`, on each node above it. */
void dgm_xs_watches_fire(struct dgm_xenstore *xs, const struct dgm_xs_change *change, bool exact);
/* Fires the local watches on a special path (@introduceDomain). */
void dgm_xs_watches_fire_special(struct dgm_xenstore *xs, const char *path);

/* Takes the oldest event from the queue: "path\0token\0" into `payload`. Returns the bytes; 0: the
 * queue is empty. */
size_t dgm_xs_event_take(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, char *payload);

#endif
