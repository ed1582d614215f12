/* SPDX-License-Identifier: MIT */
/*
 * A xenbus device whose backend is a puppet: it counts the calls of its ops, and the test makes it
 * release. The test writes the frontend's nodes.
 */
#ifndef XENBUS_RIG_H
#define XENBUS_RIG_H

#include "unit.h"

#include <dragoman/xenstore/xenbus.h>

#define PUPPET_GUEST  3
#define PUPPET_NUMBER 51712
#define PUPPET_FRONT  "/local/domain/3/device/vbd/51712"
#define PUPPET_BACK   "/local/domain/0/backend/vbd/3/51712"
#define PUPPET_ERROR  "/local/domain/0/error/backend/vbd/3/51712"

extern struct puppet {
    struct dgm_reactor reactor;
    struct dgm_evtchn evtchn;
    struct dgm_xenstore *xs;
    void *xs_memory;
    struct dgm_log_limit log; /* of the guest */
    struct dgm_xenbus_device device;
    unsigned describes, offers, connects, disconnects; /* calls */
    int describe_status, offer_status, connect_status; /* what the ops return */
    bool holding;                                      /* connected, not yet released */
} puppet;

extern const struct dgm_xenbus_ops puppet_ops;

/* cmocka's setup and teardown, without and with the device; the teardown with the device checks
 * that no node of it is left. */
int puppet_start(void **state);
int puppet_stop(void **state);
int puppet_start_created(void **state);
int puppet_stop_created(void **state);

/* Runs until no task is posted. */
void puppet_run(void);
/* Ends the disconnect. */
void puppet_release(void);
/* Writes the frontend's state, and runs. */
void puppet_front(const char *state);
/* The frontend is Initialised, and the backend refuses it. */
void puppet_refuse(void);
/* An orderly frontend closes, starts again, and gets its device. */
void puppet_reconnect(void);
/* The value of a node; "(none)": there is no such node. */
const char *puppet_value(const char *path);

#define expect_back(state) assert_string_equal(puppet_value(PUPPET_BACK "/state"), state)

#endif
