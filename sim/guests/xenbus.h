/* SPDX-License-Identifier: MIT */
/*
 * xenbus: what an honest guest's frontends of every type do in xenstore, in Linux's order
 *
 * All functions are called in the guest's coroutine.
 */
#ifndef SIM_GUESTS_XENBUS_H
#define SIM_GUESTS_XENBUS_H

#include <sim/guests/guest.h>

/* A frontend's name in xenstore. */
struct frontend {
    struct sim_guest *guest;
    const char *type; /* "vbd" or "vif" */
    uint32_t number;
};

struct frontend_key {
    const char *name;
    uint64_t number;
    const char *text; /* NULL: the number */
};

/* The path of one of the frontend's keys or, `backend`, of its backend's; 128 bytes. */
void frontend_path(const struct frontend *frontend, bool backend, const char *key, char *path);
/* -1: there is no such key. */
long long frontend_read_key(const struct frontend *frontend, bool backend, const char *key);
/* Sets the state as Linux does, in a transaction that reads the state first; repeated while other
 * writes conflict. False: xenstore starts no transaction. */
bool frontend_set_state(const struct frontend *frontend, uint64_t state);
/* Until the backend's state is `a` or `b`; true: it is `a`. Later than `patience_ns` is a failure
 * of the run. */
bool frontend_wait_state(const struct frontend *frontend, long long a, long long b,
                         uint64_t patience_ns);
/* Writes one key, or all keys of a transaction of their own. */
void frontend_write_key(const struct frontend *frontend, uint32_t tx,
                        const struct frontend_key *key);
bool frontend_write_keys(const struct frontend *frontend, const struct frontend_key *keys,
                         size_t count);

#endif
