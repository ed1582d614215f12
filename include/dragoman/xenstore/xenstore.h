/* SPDX-License-Identifier: MIT */
/*
 * xenstore: the store, its server for guests, and Dragoman's own access to it
 *
 * The store is one tree of nodes in memory that the caller provides at init. The store never uses
 * more than that memory, and each guest has quotas. A 64th of the memory is reserved for each guest
 * and an eighth for domain 0; the rest is shared. Guests use the wire protocol over their shared
 * page (xen/io/xs_wire.h, docs/misc/xenstore.txt). Dragoman's own backends call the functions
 * below, which act as domain 0: every permission check passes and no quota applies. A local watch
 * fires from the reactor, never from inside the call that caused the change.
 *
 * Guests share the server's work as they share its memory. The store counts units of work: a unit
 * is a node, watch, event or cell that is visited, taken, copied or returned, or 64 bytes moved
 * through a ring. In each turn of the reactor the server spends DGM_XS_WORK_PER_TURN units on all
 * guests together and DGM_XS_WORK_PER_GUEST on one; a guest with more work is queued behind all
 * others.
 *
 * A request is never interrupted, so its cost is bounded too:
 *
 *   most requests               linear in the names of the path and in the bytes of the message:
 *                               some hundred units
 *   RM, commit, RESET_WATCHES   linear in the nodes removed or written, and in the watches removed
 *   DIRECTORY, DIRECTORY_PART   linear in the children
 *   the events of any change    each watch and each waiting event is visited at most once. A commit
 *                               costs this for each node, in pieces of DGM_XS_WORK_PER_GUEST
 *
 * The sum is below dgm_xs_work_request_bound(). A turn costs less than that bound and
 * DGM_XS_WORK_PER_TURN together; the following turns have so much less to spend. So a guest's
 * request waits for at most one request of each other guest.
 *
 * One reactor owns the store; nothing here blocks.
 */
#ifndef DRAGOMAN_XENSTORE_XENSTORE_H
#define DRAGOMAN_XENSTORE_XENSTORE_H

#include <dragoman/hyper/evtchn.h>
#include <dragoman/base/reactor.h>
#include <dragoman/base/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A path with its NUL. xs_wire.h allows more: 2,048 relative, 3,072 absolute. */
#define DGM_XS_PATH_MAX    1024
#define DGM_XS_LEVELS_MAX  32 /* names in a path */
#define DGM_XS_VALUE_MAX   4096
#define DGM_XS_DOMAINS_MAX 32

/* Units of work, see above: for all guests in one turn, and for one guest when it is served. */
#define DGM_XS_WORK_PER_TURN  512
#define DGM_XS_WORK_PER_GUEST 256

struct dgm_xenstore;

struct dgm_xs_limits {
    uint32_t nodes, watches, transactions; /* per guest */
    uint32_t value_bytes;                  /* of one node */
};

/* 1,000 nodes, 128 watches, 10 transactions, 2,048 bytes. */
extern const struct dgm_xs_limits dgm_xs_limits_default;

/*
 * The store uses `memory` (8-byte aligned, at least 256 KiB) permanently. NULL: `bytes` is too
 * small. A guest's connection takes 4 KiB and all connections a quarter at most: 256 KiB serve 15
 * guests, 1 MiB serve DGM_XS_DOMAINS_MAX guests and about 5,000 nodes.
 */
struct dgm_xenstore *dgm_xenstore_init(void *memory, size_t bytes, struct dgm_reactor *reactor,
                                       struct dgm_evtchn *evtchn,
                                       const struct dgm_xs_limits *limits);

/* --- access as domain 0; DGM_EINVAL: the path is not absolute or not valid --- */

/* Copies the value, NUL-terminated. Returns its length, DGM_ENOENT, or DGM_ERANGE: value and NUL
 * exceed `bytes`. */
int dgm_xs_read(struct dgm_xenstore *xs, const char *path, char *value, size_t bytes);
/* A node and its value. */
struct dgm_xs_entry {
    const char *path, *value;
};
/* Also creates missing parents; a new node has its parent's owner and permissions. DGM_ENOSPC: the
 * store is full. */
int dgm_xs_write(struct dgm_xenstore *xs, struct dgm_xs_entry entry);
/* Writes `number` in decimal. */
int dgm_xs_write_number(struct dgm_xenstore *xs, const char *path, uint64_t number);
/* Removes the subtree. DGM_ENOENT. */
int dgm_xs_rm(struct dgm_xenstore *xs, const char *path);

/* The domains that may use a node. */
struct dgm_xs_access {
    domid_t owner;    /* may do everything */
    domid_t reader;   /* another domain that may read */
    bool others_read; /* every domain may read */
};

/* DGM_ENOENT: no such node. DGM_ENOSPC: no account is free for the owner. */
int dgm_xs_set_access(struct dgm_xenstore *xs, const char *path, struct dgm_xs_access access);

/* Its owner sets `path` and `fire`; the rest is xenstore's own. */
struct dgm_xs_watch {
    char path[DGM_XS_PATH_MAX];
    void (*fire)(struct dgm_xs_watch *watch); /* once for all changes at or below `path` */
    struct dgm_task task;
    struct dgm_xenstore *xs;
    struct dgm_xs_watch *next;
};

/* Fires once at first, as every xenstore watch does, then after changes. The caller keeps the watch
 * alive and unchanged until unwatch. */
void dgm_xs_watch(struct dgm_xenstore *xs, struct dgm_xs_watch *watch);
void dgm_xs_unwatch(struct dgm_xenstore *xs, struct dgm_xs_watch *watch);

/* --- guests --- */

/*
 * Serves `domid` over its mapped page; the guest's event channel `remote` announces messages.
 * Binds the channel, resets the ring, marks it connected if the guest waits for that, and notifies
 * the guest. Fires @introduceDomain. DGM_EEXIST: already introduced; DGM_ENOSPC: too many domains;
 * or Xen's error for the channel.
 */
int dgm_xs_introduce(struct dgm_xenstore *xs, domid_t domid, void *page, evtchn_port_t remote);
/* Ends the service: closes the channel, removes the guest's watches and transactions. The caller
 * may unmap the page after it. */
void dgm_xs_release(struct dgm_xenstore *xs, domid_t domid);
/* Fires @releaseDomain: a domain has shut down or no longer exists. */
void dgm_xs_domain_changed(struct dgm_xenstore *xs);

struct dgm_xs_counters {
    uint64_t requests, errors, protocol_errors, quota_refusals, watch_events, nodes, memory_used,
        memory_bytes;
    uint64_t work;             /* units, see above */
    uint64_t work_request_max; /* the most of one request */
    uint64_t work_turn_max;    /* the most for guests in one turn of the reactor */
};
void dgm_xs_counters(const struct dgm_xenstore *xs, struct dgm_xs_counters *counters);
/* Asserts all invariants of the store; for tests, fuzzers and the simulator. */
void dgm_xs_check(const struct dgm_xenstore *xs);

#ifdef __cplusplus
}
#endif

#endif
