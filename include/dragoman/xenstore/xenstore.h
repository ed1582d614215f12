/* SPDX-License-Identifier: MIT */
/*
 * xenstore: the store itself, its server for guests, and our own access to it
 *
 * One tree of nodes in memory that the caller gives at init; bounded: nothing grows beyond it, and
 * each guest has quotas. Whatever the others take, a 64th of the memory is kept for each guest and
 * an eighth for domain 0. Guests speak the wire protocol over their shared page (xen/io/xs_wire.h,
 * docs/misc/xenstore.txt); Dragoman's own backends call the functions below, which act as domain 0:
 * they pass every permission check and no quota. Watches of ours fire from the reactor, never from
 * inside the call that caused them.
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

#define DGM_XS_PATH_MAX                                                                            \
    1024 /* xs_wire.h XENSTORE_REL_PATH_MAX 2048 is for relative, ABS 3072; ours is less */
#define DGM_XS_VALUE_MAX   4096
#define DGM_XS_DOMAINS_MAX 32

struct dgm_xenstore;

struct dgm_xs_limits {
    uint32_t nodes, watches, transactions; /* per guest */
    uint32_t value_bytes;                  /* of one node */
};

extern const struct dgm_xs_limits
    dgm_xs_limits_default; /* 1000 nodes, 128 watches, 10 transactions, 2048 bytes */

/*
 * `memory` (8-byte aligned, at least 256 KiB) is the caller's and stays ours. NULL: too small. A
 * guest's connection takes 4 KiB and all of them a quarter at most: 256 KiB serve 15 guests, 1 MiB
 * all of DGM_XS_DOMAINS_MAX and about 5,000 nodes.
 */
struct dgm_xenstore *dgm_xenstore_init(void *memory, size_t bytes, struct dgm_reactor *reactor,
                                       struct dgm_evtchn *evtchn,
                                       const struct dgm_xs_limits *limits);

/* --- our own access, as domain 0; paths are absolute (DGM_EINVAL: not one) --- */

/* Copies the value, NUL-terminated. Its length, or DGM_ENOENT, DGM_ERANGE (does not fit in `bytes`
 * with the NUL). */
int dgm_xs_read(struct dgm_xenstore *xs, const char *path, char *value, size_t bytes);
/* Creates missing parents (owner and permissions as their parent's). DGM_ENOSPC:
 * the store is full. */
int dgm_xs_write(struct dgm_xenstore *xs, const char *path, const char *value);
/* The same, in decimal. */
int dgm_xs_write_number(struct dgm_xenstore *xs, const char *path, uint64_t number);
/* Removes the subtree. DGM_ENOENT. */
int dgm_xs_rm(struct dgm_xenstore *xs, const char *path);
/* The owner (all rights), whether everybody else may read, and one more domain that may read.
 * DGM_ENOENT: no such node. */
int dgm_xs_set_owner(struct dgm_xenstore *xs, const char *path, domid_t owner, bool others_read,
                     domid_t reader);

struct dgm_xs_watch {
    char path[DGM_XS_PATH_MAX];
    void (*fire)(struct dgm_xs_watch *watch); /* something at or below `path` changed; coalesced */
    struct dgm_task task;                     /* the store's from here on */
    struct dgm_xenstore *xs;
    struct dgm_xs_watch *next;
};

/* Fires once at once, as xenstore watches do, then at each change. The watch is the caller's until
 * unwatch. */
void dgm_xs_watch(struct dgm_xenstore *xs, struct dgm_xs_watch *watch);
void dgm_xs_unwatch(struct dgm_xenstore *xs, struct dgm_xs_watch *watch);

/* --- guests --- */

/*
 * Serves `domid` over its mapped page, told of messages by the event channel `remote` of the guest.
 * Binds the channel, resets the ring, marks it connected (if the guest side waits for that) and
 * kicks. DGM_EEXIST: already introduced; DGM_ENOSPC: too many domains. Fires @introduceDomain.
 */
int dgm_xs_introduce(struct dgm_xenstore *xs, domid_t domid, void *page, evtchn_port_t remote);
/* Stops serving: closes the channel, drops its watches and transactions. The page may be unmapped
 * after. */
void dgm_xs_release(struct dgm_xenstore *xs, domid_t domid);
/* Fires @releaseDomain: a domain has shut down or is gone. */
void dgm_xs_domain_changed(struct dgm_xenstore *xs);

struct dgm_xs_counters {
    uint64_t requests, errors, protocol_errors, quota_refusals, watch_events, nodes, memory_used,
        memory_bytes;
};
void dgm_xs_counters(const struct dgm_xenstore *xs, struct dgm_xs_counters *counters);

/* Asserts the tree's invariants; for tests and fuzzers. */
void dgm_xs_check(const struct dgm_xenstore *xs);

#ifdef __cplusplus
}
#endif

#endif
