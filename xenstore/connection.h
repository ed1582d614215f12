/* SPDX-License-Identifier: MIT */
/*
 * connection: one guest's ring
 *
 * A page shared with the guest: two rings of 1,024 bytes, in which messages of up to 4,112 bytes
 * come and go in pieces. The guest may write anything into it at any time, so the indices that are
 * ours are kept here and only shown there, those that are the guest's are read once and checked
 * before use, and every byte of a message is read once, into `message`.
 *
 * There is one buffer: a request is gathered in it, and the reply takes its place. So nothing more
 * is taken from a guest until it has made room for all of the reply, and a guest that does not read
 * stops itself and nobody else. Events go out between requests.
 *
 * Notifications: Linux sends an event only when it thinks that we had caught up (or that the ring
 * of replies had been full), so after each change of an index of ours the guest's is read again
 * before the task rests; and the guest is notified once per run of the task in which anything
 * moved.
 */
#ifndef XENSTORE_CONNECTION_H
#define XENSTORE_CONNECTION_H

#include "transaction.h"
#include "watch.h"

#include <dragoman/base/reactor.h>
#include <xen/io/xs_wire.h>

#define DGM_XS_MESSAGES_PER_RUN 16

struct dgm_xs_domain {
    struct dgm_xenstore *xs;
    volatile struct xenstore_domain_interface *page; /* NULL: not in use */
    struct dgm_task task;                            /* the channel's, and ours */
    evtchn_port_t port;
    domid_t domid;
    uint8_t account;
    bool stopped; /* broke the protocol; not served any more */
    bool sending; /* `message` goes out; else one is coming in */
    bool changed; /* the guest has to be notified */
    uint8_t events_in_row;
    uint32_t request_consumed, response_produced; /* ring indices that are ours */
    size_t done, length;     /* of `message`: bytes moved; when sending, all of them */
    uint32_t transaction_id; /* the last one given */
    struct dgm_xs_transaction *transactions;
    struct dgm_xs_guest_watch *watches;
    struct dgm_xs_event_queue events;
    struct {
        struct xsd_sockmsg header;
        char payload[XENSTORE_PAYLOAD_MAX];
    } message;
};

/* Takes a free connection into use; the ring is reset and the guest told. Status as introduce(). */
int dgm_xs_connection_open(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, domid_t domid,
                           void *page, evtchn_port_t remote);
/* Closes the channel and forgets all that the guest has asked for. */
void dgm_xs_connection_close(struct dgm_xs_domain *domain);

/* Drops watches, events and transactions. */
void dgm_xs_connection_reset(struct dgm_xs_domain *domain);

/* server.c: carries out the request in `message` and puts the reply in its place,
 * header and all. */
void dgm_xs_serve(struct dgm_xs_domain *domain);

#endif
