/* SPDX-License-Identifier: MIT */
/*
 * xenbus: the backends' half of the handshake with a frontend
 *
 * Every PV device, disk or network card, is introduced in the same way: two directories in
 * xenstore that point at each other, and two `state` nodes that walk in step (xen/io/xenbus.h,
 * 1 Initialising ... 6 Closed). This module owns the directories and the walk; the backend behind
 * it says what its device is like (describe), what it can do (offer), and takes hold of and lets go
 * of what the frontend shares (connect, disconnect).
 *
 *   frontend 3 or 4   while we wait (2)    connect, then 4
 *   frontend 5        while we wait or are connected: 5; I/O goes on until the frontend has closed
 *   frontend 6, or its state gone or garbled: disconnect, then 6
 *   frontend 1        after 6: offer again, then 2 (another driver, or the next kernel)
 *   frontend back to 1 or 3 while connected, without a word: disconnect, then 2
 *
 * Disconnecting takes as long as the I/O in flight: whatever the frontend does meanwhile is looked
 * at when the backend says dgm_xenbus_released(), so a storm of state changes costs one step each
 * and never meets half a connection. A failure is told as Linux tells it: a node `error`, and state
 * 5; the frontend may close and begin anew.
 *
 * All that stands in the frontend's directory is the guest's: numbers are parsed strictly. Runs in
 * the reactor that owns the store; a few dozen devices; a step costs a few lookups in the store.
 */
#ifndef DRAGOMAN_XENSTORE_XENBUS_H
#define DRAGOMAN_XENSTORE_XENBUS_H

#include <dragoman/xenstore/xenstore.h>
#include <xen/io/xenbus.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_xenbus_device;

struct dgm_xenbus_ops {
    /* Once, before the guest can see the device: writes the keys that say what it is, with
     * dgm_xenbus_write(). */
    int (*describe)(struct dgm_xenbus_device *device);
    /* Before each InitWait: writes the features to the backend's directory. */
    int (*offer)(struct dgm_xenbus_device *device);
    /*
     * Takes hold of what the frontend shares and writes what it waits for; Connected follows. On an
     * error nothing is held and *why says what was wrong; the device fails. DGM_EAGAIN: something
     * is scarce; the backend calls dgm_xenbus_update() when it may be there.
     */
    int (*connect)(struct dgm_xenbus_device *device, const char **why);
    /* Begins to let go of it all; dgm_xenbus_released() follows, later, never from inside. */
    void (*disconnect)(struct dgm_xenbus_device *device);
};

/* The caller's from create to destroy; read only but through the functions below. */
struct dgm_xenbus_device {
    struct dgm_xenstore *xs;
    const struct dgm_xenbus_ops *ops;
    const char *type; /* "vbd", "vif" */
    domid_t domid;
    uint32_t number; /* the device's name under its type: a vdev's number, a vif's handle */
    char frontend[64], backend[64]; /* directories */
    enum xenbus_state ours, theirs; /* ours as published, theirs as last read */
    bool connected;                 /* connect succeeded, disconnect has not begun */
    bool releasing;                 /* disconnect has begun, released has not come */
    bool restart;                   /* the frontend has begun anew: offer when released */
    bool settled;                   /* it was seen Connected since we connected */
    bool failed;                    /* dgm_xenbus_fail() since the last offer */
    bool gone;                      /* the guest is no more */
    struct dgm_xs_watch watch;      /* on the frontend's state */
    uint64_t connects, failures;
};

enum dgm_xenbus_end {
    DGM_XENBUS_FRONTEND,
    DGM_XENBUS_BACKEND,
};

/* A key and its value: `text`, or `number` in decimal when text is NULL. */
struct dgm_xenbus_key {
    const char *key;
    const char *text;
    uint64_t number;
};

/*
 * Creates both directories and goes to InitWait. The guest's home (/local/domain/N) must be there;
 * the frontend's directory is made the guest's. An error (the store's, or describe's or
 * offer's): no node is left behind.
 */
int dgm_xenbus_create(struct dgm_xenbus_device *device, struct dgm_xenstore *xs,
                      const struct dgm_xenbus_ops *ops, const char *type, domid_t domid,
                      uint32_t number);

/* Writes keys in one directory. The first error of the store, with the later keys not written. */
int dgm_xenbus_write(struct dgm_xenbus_device *device, enum dgm_xenbus_end end,
                     const struct dgm_xenbus_key *keys, size_t count);

/* Reads a key that the frontend wrote. Length; DGM_ENOENT; DGM_ERANGE: longer than fits. */
int dgm_xenbus_read(struct dgm_xenbus_device *device, const char *key, char *value, size_t bytes);

/* The same as a decimal number up to `max`. DGM_OK, DGM_ENOENT, or DGM_EINVAL: it is no such
 * number. */
int dgm_xenbus_read_number(struct dgm_xenbus_device *device, const char *key, uint64_t max,
                           uint64_t *number);

/* Reads the frontend's state again and acts on it. */
void dgm_xenbus_update(struct dgm_xenbus_device *device);

/* The backend gives this connection up: says so (log, node `error`), goes to Closing,
 * disconnects. */
void dgm_xenbus_fail(struct dgm_xenbus_device *device, int status, const char *why);

/* The backend holds nothing of the frontend's any more: the end of a disconnect. */
void dgm_xenbus_released(struct dgm_xenbus_device *device);

/* The guest is no more: disconnects if need be, and does not listen to the frontend again. */
void dgm_xenbus_guest_gone(struct dgm_xenbus_device *device);

/* Nothing is held of the frontend's. */
bool dgm_xenbus_idle(const struct dgm_xenbus_device *device);

/* Removes the nodes. Asserts: idle. */
void dgm_xenbus_destroy(struct dgm_xenbus_device *device);

#ifdef __cplusplus
}
#endif

#endif
