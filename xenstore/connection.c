/* SPDX-License-Identifier: MIT */
/* connection: see connection.h. The order of accesses is that of docs/misc/xenstore-ring.txt. */
#include "store.h"

#include <dragoman/base/check.h>
#include <port/arch.h>

#include <string.h>

#define RING_BYTES     ((uint32_t)XENSTORE_RING_SIZE)
#define EVENTS_IN_ROW  8 /* sent between two requests, if both wait */
#define HEADER_BYTES   sizeof(struct xsd_sockmsg)
#define WORK_PER_STEP  4  /* indices, barriers and the notification */
#define BYTES_PER_UNIT 64 /* moved through the ring */
#define RECHECK_NS     1000000u

/* Only these two functions access the rings' bytes, each byte once. */
static void shared_read(char *to, const volatile char *ring, uint32_t index, size_t bytes)
{
    while (bytes--)
        *to++ = ring[MASK_XENSTORE_IDX(index++)];
}

static void shared_write(volatile char *ring, uint32_t index, const char *from, size_t bytes)
{
    while (bytes--)
        ring[MASK_XENSTORE_IDX(index++)] = *from++;
}

void dgm_xs_connection_reset(struct dgm_xs_domain *domain)
{
    struct dgm_xenstore *const xs = domain->xs;

    dgm_xs_watches_remove_all(xs, domain);
    while (domain->transactions) {
        struct dgm_xs_transaction *const transaction = domain->transactions;

        domain->transactions = transaction->next;
        dgm_xs_transaction_end(xs, transaction);
        xs->heap.accounts[domain->account].transactions--;
    }
}

/* Ends the service: the guest broke the protocol, so its messages can no longer be separated. */
static void connection_stop(struct dgm_xs_domain *domain, uint32_t error, const char *why)
{
    domain->stopped = true;
    domain->page->error = error;
    domain->xs->counters.protocol_errors++;
    dgm_xs_connection_reset(domain);
    dgm_env_log("xenstore: domain %u: %s; it is no longer served", domain->domid, why);
}

/* Bytes between the two indices of a ring, one of them the guest's. More than a ring: ends the
 * service. */
static uint32_t ring_distance(struct dgm_xs_domain *domain, uint32_t produced, uint32_t consumed)
{
    if (produced - consumed <= RING_BYTES)
        return produced - consumed;
    connection_stop(domain, XENSTORE_ERROR_RINGIDX, "bad ring index");
    return 0;
}

/* Takes up to `bytes` of a request from the ring; returns how many. */
static size_t ring_take(struct dgm_xs_domain *domain, char *to, size_t bytes)
{
    const uint32_t waiting =
        ring_distance(domain, domain->page->req_prod, domain->request_consumed);

    if (bytes > waiting)
        bytes = waiting;
    if (!bytes)
        return 0;
    dgm_xs_work(&domain->xs->heap, 1 + bytes / BYTES_PER_UNIT);
    dgm_arch_rmb(); /* reads the index before the bytes that it announces */
    shared_read(to, domain->page->req, domain->request_consumed, bytes);
    dgm_arch_mb(); /* reads the bytes before the index releases their room */
    domain->request_consumed += (uint32_t)bytes;
    domain->page->req_cons = domain->request_consumed;
    dgm_arch_mb(); /* writes our index before the guest's is read again */
    domain->changed = true;
    return bytes;
}

/* Gathers a request. True when it is complete. */
static bool message_receive(struct dgm_xs_domain *domain)
{
    char *const bytes = (char *)&domain->message;
    size_t wanted, got;

    for (;;) {
        wanted = HEADER_BYTES;
        if (domain->done >= HEADER_BYTES) {
            if (domain->message.header.len > XENSTORE_PAYLOAD_MAX) {
                connection_stop(domain, XENSTORE_ERROR_PROTO, "message too long");
                return false;
            }
            wanted += domain->message.header.len;
            if (domain->done == wanted)
                return true;
        }
        got = ring_take(domain, bytes + domain->done, wanted - domain->done);
        if (!got)
            return false;
        domain->done += got;
    }
}

/* Writes the message to the ring. True when all of it is written. */
static bool message_send(struct dgm_xs_domain *domain)
{
    const char *const bytes = (const char *)&domain->message;

    while (domain->done < domain->length) {
        const uint32_t used =
            ring_distance(domain, domain->response_produced, domain->page->rsp_cons);
        size_t part = RING_BYTES - used;

        if (part > domain->length - domain->done)
            part = domain->length - domain->done;
        if (!part || domain->stopped)
            return false; /* full: the guest notifies us when it has read */
        dgm_xs_work(&domain->xs->heap, 1 + part / BYTES_PER_UNIT);
        dgm_arch_mb(); /* reads the guest's index before these bytes are overwritten */
        shared_write(domain->page->rsp, domain->response_produced, bytes + domain->done, part);
        dgm_arch_wmb(); /* writes the bytes before the index that announces them */
        domain->done += part;
        domain->response_produced += (uint32_t)part;
        domain->page->rsp_prod = domain->response_produced;
        dgm_arch_mb(); /* writes our index before the guest's is read again */
        domain->changed = true;
    }
    domain->sending = false;
    domain->done = 0;
    return true;
}

static void message_start_sending(struct dgm_xs_domain *domain)
{
    domain->sending = true;
    domain->done = 0;
    domain->length = HEADER_BYTES + domain->message.header.len;
}

/* Moves the oldest event into the buffer, unless that holds a part of a request. */
static bool message_next_event(struct dgm_xs_domain *domain)
{
    if (domain->done || !domain->events.first)
        return false;
    memset(&domain->message.header, 0, sizeof domain->message.header);
    domain->message.header.type = XS_WATCH_EVENT;
    domain->message.header.len =
        (uint32_t)dgm_xs_event_take(domain->xs, domain, domain->message.payload);
    domain->events_in_row++;
    message_start_sending(domain);
    return true;
}

/* Queues a part of a commit's events. */
static void commit_announce(struct dgm_xs_domain *domain, uint64_t work)
{
    struct dgm_xenstore *const xs = domain->xs;
    struct dgm_xs_transaction *const transaction = domain->announcing;

    if (!dgm_xs_transaction_announce(xs, transaction, work))
        return;
    domain->announcing = NULL;
    dgm_xs_transaction_end(xs, transaction);
    xs->heap.accounts[domain->account].transactions--;
}

/* Moves a message in or out, or queues at most `work` units of a commit's events. False: the next
 * step is the guest's. */
static bool connection_step(struct dgm_xs_domain *domain, uint64_t work)
{
    dgm_xs_work(&domain->xs->heap, WORK_PER_STEP);
    if (domain->announcing) {
        commit_announce(domain, work);
        return true;
    }
    if (domain->sending)
        return message_send(domain);
    if (domain->events_in_row < EVENTS_IN_ROW && message_next_event(domain))
        return true;
    domain->events_in_row = 0;
    if (message_receive(domain)) {
        dgm_xs_serve(domain);
        message_start_sending(domain);
        return true;
    }
    return !domain->stopped && message_next_event(domain);
}

/*
 * The guest's indices are read once more a moment after ours have changed. Linux (6.12) has no
 * barrier between the write of its index and its read of ours, so its write may still be in a store
 * buffer when it finds that we have not caught up, and sends no event; and our read
 * of its index, after the write of ours, misses it too. Both would wait permanently.
 */
static void recheck_indices(struct dgm_timer *timer)
{
    struct dgm_xs_domain *const domain = dgm_container(timer, struct dgm_xs_domain, recheck);

    dgm_reactor_post(domain->xs->reactor, &domain->task);
}

bool dgm_xs_connection_serve(struct dgm_xs_domain *domain, uint64_t work)
{
    const uint64_t end = domain->xs->heap.work + work;
    bool more = !domain->stopped;

    while (more && domain->xs->heap.work < end)
        more = connection_step(domain, end - domain->xs->heap.work) && !domain->stopped;
    if (domain->changed) {
        dgm_evtchn_send(domain->xs->evtchn, domain->port);
        dgm_timer_arm(domain->xs->reactor, &domain->recheck, dgm_env_now_ns() + RECHECK_NS);
    }
    domain->changed = false;
    return more;
}

static void connection_run(struct dgm_task *task)
{
    struct dgm_xs_domain *const domain = dgm_container(task, struct dgm_xs_domain, task);

    dgm_xs_schedule_ready(domain->xs, domain);
}

int dgm_xs_connection_open(struct dgm_xenstore *xs, struct dgm_xs_domain *domain, domid_t domid,
                           void *page, evtchn_port_t remote)
{
    const int account = dgm_xs_account_open(&xs->heap, domid);
    int port;

    if (account < 0)
        return account;
    memset(domain, 0, offsetof(struct dgm_xs_domain, message));
    domain->task.run = connection_run;
    domain->recheck.fire = recheck_indices;
    port = dgm_evtchn_bind_interdomain(
        xs->evtchn, (struct dgm_evtchn_remote){.domid = domid, .port = remote}, &domain->task);
    if (port < 0)
        return port;
    domain->xs = xs;
    domain->page = page;
    domain->port = (evtchn_port_t)port;
    domain->domid = domid;
    domain->account = (uint8_t)account;
    xs->heap.accounts[account].served = true;

    domain->page->req_cons = domain->page->req_prod = 0;
    domain->page->rsp_cons = domain->page->rsp_prod = 0;
    if (domain->page->connection == XENSTORE_RECONNECT)
        domain->page->connection = XENSTORE_CONNECTED;
    dgm_arch_mb();
    dgm_evtchn_send(xs->evtchn, domain->port); /* a Linux that waits connects after this event */
    return DGM_OK;
}

void dgm_xs_connection_close(struct dgm_xs_domain *domain)
{
    struct dgm_xenstore *const xs = domain->xs;

    if (domain->announcing)
        dgm_xs_schedule_orphan(xs, domain->announcing);
    dgm_xs_connection_reset(domain);
    dgm_xs_schedule_remove(xs, domain);
    dgm_evtchn_close(xs->evtchn, domain->port);
    dgm_timer_disarm(xs->reactor, &domain->recheck);
    dgm_reactor_withdraw(xs->reactor, &domain->task);
    xs->heap.accounts[domain->account].served = false;
    domain->page = NULL;
}
