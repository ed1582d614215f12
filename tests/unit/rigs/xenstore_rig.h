/* SPDX-License-Identifier: MIT */
/*
 * A store, a few guests and their pages, without a Xen: the rig implements the hypercalls for event
 * channels. A guest is a client that moves bytes and notifies exactly as Linux's xenbus_comms.c
 * does. In particular it notifies only when Linux would, so a server that becomes idle while work
 * is left hangs, and the test reports it.
 */
#ifndef XENSTORE_RIG_H
#define XENSTORE_RIG_H

#include "unit.h"

#include <dragoman/xenstore/xenstore.h>
#include <xen/io/xs_wire.h>
#include <xenstore/store.h>

#define XS_GUESTS_MAX 40

struct xs_message {
    struct xsd_sockmsg header;
    char payload[XENSTORE_PAYLOAD_MAX + 1];
};

struct xs_guest {
    domid_t domid;
    struct xenstore_domain_interface *page;
    evtchn_port_t port; /* Dragoman's end */
    unsigned notified;  /* events from Dragoman */
    bool lazy;          /* never reads its replies */
    uint32_t request_id;
    struct xs_message in; /* being gathered */
    size_t in_bytes;
    struct xs_message reply;
    bool replied;
    char events[256][128]; /* "path token" */
    unsigned event_count;
};

extern struct xs_rig {
    void *memory;
    struct dgm_xenstore *xs;
    struct dgm_reactor reactor;
    struct dgm_evtchn evtchn;
    struct shared_info shared;
    struct vcpu_info vcpu;
    struct xs_guest guests[XS_GUESTS_MAX];
    unsigned guest_count;
    evtchn_port_t next_port;
    int bind_fails; /* status of the next bind */
} xs_rig;

/* --- the store --- */

void xs_rig_start_with(size_t bytes, const struct dgm_xs_limits *limits);
/* Answers the hypercalls of event channels. */
long xs_rig_hypercall(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
/* cmocka's setup, with 1 MiB and the default limits, and its teardown. */
int xs_rig_start(void **state);
int xs_rig_stop(void **state);

/* Runs until no task is posted; a server that never becomes idle fails here. Checks all
 * invariants. */
void xs_rig_run(void);
/* Bytes of the store in use. */
uint64_t xs_rig_used(void);

/* --- a guest's bytes --- */

/* Creates the guest's home as domain 0, and connects it. */
struct xs_guest *xs_guest_start(domid_t domid);
void xs_guest_kick(struct xs_guest *guest);
/* One turn of the loop of Linux's xb_write(), of xb_read(): how many bytes moved. */
size_t xs_guest_put(struct xs_guest *guest, const char *bytes, size_t count);
size_t xs_guest_get(struct xs_guest *guest, char *bytes, size_t count);

/* --- a guest's messages --- */

/* Reads the available bytes; true if there were any. */
bool xs_guest_listen(struct xs_guest *guest);
/* Sends all of it, in pieces of at most `piece` bytes, and reads meanwhile. */
void xs_guest_send_in_pieces(struct xs_guest *guest, const struct xs_message *message,
                             size_t piece);
void xs_guest_make(struct xs_guest *guest, struct xs_message *message, uint32_t type, uint32_t tx,
                   const void *payload, size_t bytes);
/* A request and its reply, which is in guest->reply then. */
void xs_guest_call(struct xs_guest *guest, uint32_t type, uint32_t tx, const void *payload,
                   size_t bytes);
/* The reply as text: an error's name after a '!'; '|' for NUL. */
const char *xs_guest_reply(struct xs_guest *guest);
/* The events so far, in the order of arrival, as "path token;path token;"; drops them. */
const char *xs_guest_events(struct xs_guest *guest);

/* Sends a request and waits for the reply, without a check of the whole store; no other guest acts
 * meanwhile. The error's name, or "". */
const char *xs_quick(struct xs_guest *guest, uint32_t type, uint32_t tx, const void *payload,
                     size_t bytes);

/* A request and its reply as text; '|' for NUL in both. */
const char *xs_ask_in(struct xs_guest *guest, uint32_t tx, uint32_t type, const char *payload);
const char *xs_ask(struct xs_guest *guest, uint32_t type, const char *payload);
uint32_t xs_start_transaction(struct xs_guest *guest);
const char *xs_end_transaction(struct xs_guest *guest, uint32_t tx, const char *verdict);

#define assert_reply(guest, type, payload, expected)                                               \
    assert_string_equal(xs_ask(guest, type, payload), expected)
#define assert_reply_in(guest, tx, type, payload, expected)                                        \
    assert_string_equal(xs_ask_in(guest, tx, type, payload), expected)
#define assert_events(guest, expected) assert_string_equal(xs_guest_events(guest), expected)

#endif
