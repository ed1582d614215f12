/* SPDX-License-Identifier: MIT */
/*
 * connection: one guest's ring
 *
 * The guest shares a page with two rings of 1,024 bytes; messages of up to 4,112 bytes pass through
 * them in pieces. The guest may write anything into the page at any time. So our indices are kept
 * here and only published in the page, the guest's indices are read once and checked before use,
 * and each byte of a message is read once, into `message`.
 *
 * There is one buffer: it gathers a request, then holds the reply. So the next request is taken
 * only after the guest has made room for the whole reply, and a guest that does not read stops only
 * its own service. Events are sent between requests. After a commit the reply waits until the
 * events of the commit are queued, which may take several turns.
 *
 * Notifications: Linux sends an event only when its view of our index says that we had caught up
 * (or that the ring of replies was full). So after each change of our index the guest's is read
 * again before the task ends, and by a timer (connection.c). The guest is notified once per run of
 * the task in which an index changed.
 */
#ifndef XENSTORE_CONNECTION_H
#define XENSTORE_CONNECTION_H

#include "transaction.h"
#include "watch.h"

#include <dragoman/base/reactor.h>
#include <xen/io/xs_wire.h>

struct dgm_xs_domain {
    struct dgm_xenstore *xs;
    volatile struct xenstore_domain_interface *page; /* NULL: not in use */
    struct dgm_task task;                            /* posted by the channel and by this module */
    struct dgm_timer recheck;                        /* of the guest's indices */
    evtchn_port_t port;
    domid_t domid;
    uint8_t account;
    bool stopped; /* the guest broke the protocol; no longer served */
    bool sending; /* `message` is being sent; otherwise a request is being received */
    bool changed; /* notify the guest */
    bool queued;  /* in the schedule's queue */
    uint8_t events_in_row;
    struct dgm_xs_domain *queue_next;
    uint64_t turn;  /* of the reactor, when last served */
    int64_t budget; /* units of work left in that turn; negative: a debt */
    uint32_t request_consumed, response_produced; /* our ring indices */
    size_t done, length;     /* of `message`: bytes moved; when sending, all bytes */
    uint32_t transaction_id; /* the last one that was used */
    struct dgm_xs_transaction *transactions;
    struct dgm_xs_transaction *announcing; /* committed; its events are being queued */
    struct dgm_xs_guest_watch *watches;
    struct dgm_xs_event_queue events;
    struct {
        struct xsd_sockmsg header;
        char payload[XENSTORE_PAYLOAD_MAX];
    } message;
};

/* Takes a free connection into use: resets the ring, notifies the guest. Status as
 * dgm_xs_introduce(). */
int dgm_xs_connection_open(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, domid_t domid,
                           void *page, evtchn_port_t remote);
/* Closes the channel; drops watches, events and transactions. */
void dgm_xs_connection_close(struct dgm_xs_domain *domain);

/* Moves messages until `work` units are spent; the last step may exceed them. True: there is more
 * work. False: the next step is the guest's, or needs an event. */
bool dgm_xs_connection_serve(struct dgm_xs_domain *domain, uint64_t work);

/* Drops watches, events and transactions. */
void dgm_xs_connection_reset(struct dgm_xs_domain *domain);

/* server.c: executes the request in `message` and replaces it with the reply. */
void dgm_xs_serve(struct dgm_xs_domain *domain);

#endif
