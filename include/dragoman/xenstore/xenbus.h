/* SPDX-License-Identifier: MIT */
/*
 * xenbus: the backends' half of the handshake with a frontend
 *
 * Every PV device, disk or network card, is introduced in the same way: two directories in
 * xenstore that name each other, each with a `state` node (xen/io/xenbus.h: Initialising 1,
 * InitWait 2, Initialised 3, Connected 4, Closing 5, Closed 6). This module owns the directories
 * and our state. Its ops describe the device (describe), publish its features (offer), and connect
 * to and disconnect from what the frontend shares.
 *
 *   frontend's state              our state              what happens
 *   Initialised or Connected      any but Connected      connect, then Connected; after a failure
 *                                                        the frontend must close first
 *   Closing                       InitWait or Connected  Closing; I/O continues until Closed
 *   Closed, missing or invalid    any                    disconnect, then Closed
 *   Initialising                  Closing or Closed      offer, then InitWait: another driver, or
 *                                                        the next kernel
 *   Initialising, or Initialised  Connected              disconnect, offer, then InitWait: the
 *   after Connected                                      frontend restarted without closing
 *   InitWait, Reconfiguring,      any                    none
 *   Reconfigured
 *
 * A disconnect takes as long as the I/O in flight. The frontend's state is not read before the
 * backend calls dgm_xenbus_released(), so each of many state changes costs one step and never finds
 * a connection that is half released. A failure is reported as Linux reports it: a node `error`,
 * and state Closing; the frontend may close and start again. A state that is missing, invalid or
 * without effect is reported in the same way, in the log and in the node, so the reason why a
 * frontend waits can always be read. The lines of one guest are limited (log_limit.h).
 *
 * Unplugging. The backend withdraws a device while its guest runs (dgm_xenbus_unplug()): Closing, a
 * frontend that is connected closes, disconnect, Closed. Only then are the directories removed: a
 * Linux guest that sees Closing keeps its interface until its directory is gone. From Closing on
 * the device offers and connects nothing.
 *
 * The frontend's directory belongs to the guest. Numbers are read as Linux's backends read them, by
 * sscanf(): blanks before the digits and text after them are accepted. Runs in the reactor that
 * owns the store; a few dozen devices; a step costs a few lookups in the store.
 */
#ifndef DRAGOMAN_XENSTORE_XENBUS_H
#define DRAGOMAN_XENSTORE_XENBUS_H

#include <dragoman/base/log_limit.h>
#include <dragoman/xenstore/xenstore.h>
#include <xen/io/xenbus.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgm_xenbus_device;

struct dgm_xenbus_ops {
    /* Called once, before the guest can see the device: writes the keys that describe the device,
     * with dgm_xenbus_write(). */
    int (*describe)(struct dgm_xenbus_device *device);
    /* Called before each InitWait: writes the features to the backend's directory. */
    int (*offer)(struct dgm_xenbus_device *device);
    /*
     * Maps and binds what the frontend shares and writes the keys for which the frontend waits;
     * Connected follows. On an error nothing is held, *why states the cause, and the device fails.
     * DGM_EAGAIN: a resource is short; the backend calls dgm_xenbus_update() when it may be
     * available.
     */
    int (*connect)(struct dgm_xenbus_device *device, const char **why);
    /* Begins the release of all that connect took. The backend calls dgm_xenbus_released() later,
     * never from inside this call. */
    void (*disconnect)(struct dgm_xenbus_device *device);
};

/* The name of a device: its guest, type and number. */
struct dgm_xenbus_name {
    const char *type; /* "vbd", "vif" */
    domid_t domid;
    uint32_t number;           /* under its type: a vdev's number, a vif's handle */
    struct dgm_log_limit *log; /* of that guest, for all its devices; outlives the device */
};

/* The caller's memory from create to destroy. Other rooms use `domid`, `number`, `log`, `reason`,
 * `connects`; the rest is xenstore's own. */
struct dgm_xenbus_device {
    struct dgm_xenstore *xs;
    const struct dgm_xenbus_ops *ops;
    const char *type; /* these four as in struct dgm_xenbus_name */
    domid_t domid;
    uint32_t number;
    struct dgm_log_limit *log;      /* of the guest: for all lines that it can cause */
    char frontend[64], backend[64]; /* directories */
    enum xenbus_state ours, theirs; /* ours as published, theirs as last read */
    bool connected;                 /* connect succeeded, disconnect has not begun */
    bool releasing;                 /* disconnect has begun, released has not come */
    bool restart;                   /* the frontend restarted: offer when released */
    bool settled;                   /* the frontend was Connected since we connected */
    bool failed;                    /* dgm_xenbus_fail() since the last offer */
    bool gone;                      /* the guest has ended, or the device does not wait for it */
    bool unplugging;                /* dgm_xenbus_unplug() */
    bool reported;                  /* the frontend's present state was reported as wrong */
    struct dgm_xs_watch watch;      /* on the frontend's state */
    char reason[96];                /* by dgm_xenbus_set_reason() */
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
 * Creates both directories and enters InitWait. The guest's home (/local/domain/N) must exist; the
 * guest owns the frontend's directory. An error (of the store, of describe or of offer) leaves no
 * node.
 */
int dgm_xenbus_create(struct dgm_xenbus_device *device, struct dgm_xenstore *xs,
                      const struct dgm_xenbus_ops *ops, struct dgm_xenbus_name name);

/* Writes keys in one directory. Returns the store's first error;
 * later keys are not written then. */
int dgm_xenbus_write(struct dgm_xenbus_device *device, enum dgm_xenbus_end end,
                     const struct dgm_xenbus_key *keys, size_t count);

/*
 * Reads a key as a decimal number up to `max`: blanks, a plus sign, leading zeros and text after
 * the digits are accepted. DGM_OK, DGM_ENOENT, DGM_EINVAL: empty or not a number, or
 * DGM_ERANGE: too large.
 * After an error device->reason names the key, its value and the fault, as a text for connect's
 * *why.
 */
int dgm_xenbus_read_number(struct dgm_xenbus_device *device, const char *key, uint64_t max,
                           uint64_t *number);

/*
 * Reads the first word of a key, like sscanf() with "%s": without the blanks around it, cut to
 * `bytes` with its NUL. Returns its length, DGM_ENOENT: no such key, or no word, or DGM_ERANGE: 256
 * characters and more.
 */
int dgm_xenbus_read_word(const struct dgm_xenbus_device *device, const char *key, char *word,
                         size_t bytes);

/* Sets device->reason: the key, its value if that is a text, and what is wrong with it, as in " is
 * too large". */
void dgm_xenbus_set_reason(struct dgm_xenbus_device *device, struct dgm_xenbus_key key,
                           const char *wrong);

/* Reads the frontend's state and acts on it. */
void dgm_xenbus_update(struct dgm_xenbus_device *device);

/* The backend ends this connection: reports `why` (log, node `error`), enters Closing,
 * disconnects. */
void dgm_xenbus_fail(struct dgm_xenbus_device *device, int status, const char *why);

/* Ends a disconnect: the backend holds nothing of the frontend. */
void dgm_xenbus_released(struct dgm_xenbus_device *device);

/* Withdraws the device from a running guest: `online` 0, then Closing until the frontend closes. */
void dgm_xenbus_unplug(struct dgm_xenbus_device *device);

/* True when the frontend has closed after that and nothing of it is held: the device can be
 * destroyed. */
bool dgm_xenbus_unplugged(const struct dgm_xenbus_device *device);

/* The guest has ended, or does not close a device that is unplugged: disconnects if connected, and
 * never reads the frontend's state again. */
void dgm_xenbus_guest_gone(struct dgm_xenbus_device *device);

/* True when nothing of the frontend is held. */
bool dgm_xenbus_idle(const struct dgm_xenbus_device *device);

/* Removes the nodes. Asserts: idle. */
void dgm_xenbus_destroy(struct dgm_xenbus_device *device);

#ifdef __cplusplus
}
#endif

#endif
