/* SPDX-License-Identifier: MIT */
/*
 * connect: a vif's operations for xenbus: describe, offer, connect, disconnect
 *
 * netfront shares for each queue two rings of one page each, and one event channel for each of them
 * or one for both. It goes from Initialising to Connected directly, with its buffers posted.
 */
#include <net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RETRY_NS     20000000ull

void dgm_netback_retry_later(struct dgm_netback *netback)
{
    dgm_timer_arm(netback->env.reactor, &netback->retry, dgm_env_now_ns() + RETRY_NS);
}

static struct dgm_netback *netback_of(struct dgm_xenbus_device *xenbus)
{
    return dgm_container(xenbus, struct dgm_netback, xenbus);
}

static int netback_describe(struct dgm_xenbus_device *xenbus)
{
    const struct dgm_netback *netback = netback_of(xenbus);
    const struct dgm_xenbus_key back[] = {
        {"handle", NULL, xenbus->number},
        {"mac", netback->mac, 0},
        {"bridge", netback->bridge, 0},
        {"rate", netback->rate_text, 0},
    };
    const size_t back_count = COUNT(back) - (netback->rate_text[0] == 0);
    const struct dgm_xenbus_key front[] = {
        {"handle", NULL, xenbus->number},
        {"mac", netback->mac, 0},
    };
    const int status = dgm_xenbus_write(xenbus, DGM_XENBUS_BACKEND, back, back_count);

    return status < 0 ? status : dgm_xenbus_write(xenbus, DGM_XENBUS_FRONTEND, front, COUNT(front));
}

/* Each key that is written stands for a complete feature; netback.h lists the features that are not
 * offered. */
static int netback_offer(struct dgm_xenbus_device *xenbus)
{
    const struct dgm_xenbus_key features[] = {
        {"feature-rx-copy", NULL, 1},
        {"feature-sg", NULL, 1},
        {"feature-gso-tcpv4", NULL, 1},
        {"feature-gso-tcpv6", NULL, 1},
        {"feature-ipv6-csum-offload", NULL, 1},
        {"feature-split-event-channels", NULL, 1},
        {"multi-queue-max-queues", NULL, netback_of(xenbus)->queue_max},
    };

    return dgm_xenbus_write(xenbus, DGM_XENBUS_BACKEND, features, COUNT(features));
}

/* --- the rings' pages --- */

bool dgm_netback_holds_no_page(const struct dgm_netback *netback)
{
    for (unsigned i = 0; i < netback->queue_max; i++) {
        const struct dgm_reach_frame *pages = netback->queues[i].pages;

        if (pages[0].held != DGM_REACH_NOT_HELD || pages[1].held != DGM_REACH_NOT_HELD)
            return false;
    }
    return true;
}

bool dgm_netback_unmap_pages(struct dgm_netback *netback)
{
    for (unsigned i = 0; i < 2u * netback->queue_max; i++) {
        struct dgm_reach_frame *page = &netback->queues[i / 2].pages[i % 2];

        if (page->held != DGM_REACH_NOT_HELD && page->foreign.status != DGM_EAGAIN)
            dgm_reach_release_add(page, 1, DGM_REACH_DISCARD);
    }
    dgm_reach_release_commit(netback->env.reach);
    dgm_waiters_wake(&netback->guest->waiters, netback->env.reactor);
    return dgm_netback_holds_no_page(netback);
}

/* True if the pages of exactly these rings are held. Some may be left of an earlier attempt. */
static bool holds_pages(const struct dgm_netback *netback, const struct dgm_netback_keys *keys)
{
    for (unsigned i = 0; i < 2u * netback->queue_max; i++) {
        const struct dgm_reach_frame *page = &netback->queues[i / 2].pages[i % 2];

        if ((page->held != DGM_REACH_NOT_HELD) != (i / 2 < keys->count) ||
            (i / 2 < keys->count && page->piece.ref != keys->queue[i / 2].refs[i % 2]))
            return false;
    }
    return true;
}

/* Begins to map the pages. DGM_EAGAIN: there is no room yet. */
static int add_pages(struct dgm_netback *netback, const struct dgm_netback_keys *keys)
{
    if (dgm_reach_reserve(&netback->connection, 2 * keys->count) != DGM_OK)
        return DGM_EAGAIN;
    for (unsigned i = 0; i < 2 * keys->count; i++) {
        struct dgm_reach_frame *page = &netback->queues[i / 2].pages[i % 2];

        page->piece = (struct dgm_reach_piece){.ref = (grant_ref_t)keys->queue[i / 2].refs[i % 2],
                                               .bytes = DGM_FRAME_BYTES,
                                               .direction = DGM_REACH_TO_GUEST};
        dgm_reach_add(&netback->connection, page, 1);
    }
    dgm_reach_commit(netback->env.reach);
    return DGM_OK;
}

/* DGM_OK: all pages are mapped. DGM_EAGAIN: there is no room yet, or an op is parked. DGM_EFAULT:
 * Xen refuses a reference; nothing is held. */
static int map_pages(struct dgm_netback *netback, const struct dgm_netback_keys *keys)
{
    int status = DGM_OK;

    if (!holds_pages(netback, keys)) {
        if (!dgm_netback_unmap_pages(netback))
            return DGM_EAGAIN; /* of an earlier attempt */
        status = add_pages(netback, keys);
    }
    for (unsigned i = 0; i < 2 * keys->count && status != DGM_EAGAIN; i++) {
        const int one = netback->queues[i / 2].pages[i % 2].foreign.status;

        if (one != DGM_OK)
            status = one == DGM_EAGAIN ? one : DGM_EFAULT;
    }
    if (status == DGM_EFAULT && !dgm_netback_unmap_pages(netback))
        return DGM_EAGAIN;
    return status;
}

/* --- connecting --- */

static int bind_channels(struct dgm_netback *netback, const struct dgm_netback_keys *keys)
{
    struct dgm_evtchn_remote remote[2 * DGM_NETBACK_QUEUES_MAX];
    evtchn_port_t bound[2 * DGM_NETBACK_QUEUES_MAX];
    unsigned count = 0;
    int status;

    for (unsigned i = 0; i < 2 * keys->count; i++) {
        const uint64_t *ports = keys->queue[i / 2].ports;

        if (i % 2 == 0 || ports[0] != ports[1])
            remote[count++] = (struct dgm_evtchn_remote){.domid = netback->xenbus.domid,
                                                         .port = (evtchn_port_t)ports[i % 2]};
    }
    status = dgm_evtchn_binder_bind(&netback->binder, remote, bound, count, netback->xenbus.log);
    if (status != DGM_OK)
        return status;
    count = 0;
    for (unsigned i = 0; i < 2 * keys->count; i++) {
        const uint64_t *ports = keys->queue[i / 2].ports;

        netback->queues[i / 2].ports[i % 2] =
            i % 2 == 0 || ports[0] != ports[1] ? bound[count++] : bound[count - 1];
    }
    return DGM_OK;
}

static void start_queue(struct dgm_netback_queue *queue)
{
    const struct dgm_ring_pages transmit = {.at = {dgm_env_va(queue->pages[0].foreign.gfn)}};
    const struct dgm_ring_pages receive = {.at = {dgm_env_va(queue->pages[1].foreign.gfn)}};

    dgm_ring_init(&queue->transmit, &transmit, sizeof(struct netif_tx_request));
    dgm_ring_init(&queue->receive, &receive, sizeof(struct netif_rx_request));
    queue->posted_first = queue->posted_count = 0;
    queue->returned = 0;
    queue->packets_from = queue->packets_to = 0;
}

static int netback_connect(struct dgm_xenbus_device *xenbus, const char **why)
{
    struct dgm_netback *netback = netback_of(xenbus);
    struct dgm_netback_keys keys;
    int status = dgm_netback_read_keys(netback, &keys, why);

    dgm_assert(!netback->connected);
    netback->connect_pending = false;
    if (status < 0)
        return status;
    *why = "tx-ring-ref or rx-ring-ref: Xen refuses this reference";
    status = map_pages(netback, &keys);
    if (status == DGM_EAGAIN) {
        netback->connect_pending = true;
        dgm_netback_retry_later(netback);
    }
    if (status < 0)
        return status;
    *why = "event-channel: Xen refuses to bind this port";
    status = bind_channels(netback, &keys);
    if (status == DGM_EAGAIN) { /* the rings' pages stay mapped */
        netback->connect_pending = true;
        return status;
    }
    if (status < 0) {
        if (!dgm_netback_unmap_pages(netback))
            dgm_reactor_post(netback->env.reactor, &netback->task);
        return status;
    }
    for (unsigned i = 0; i < keys.count; i++)
        start_queue(&netback->queues[i]);
    netback->queue_count = (uint16_t)keys.count;
    netback->queue_next = 0;
    netback->connected = true;
    netback->disconnecting = false;
    dgm_reactor_post(netback->env.reactor, &netback->task);
    return DGM_OK;
}

static void netback_disconnect(struct dgm_xenbus_device *xenbus)
{
    struct dgm_netback *netback = netback_of(xenbus);

    netback->disconnecting = true;
    netback->connect_pending = false;
    dgm_reactor_post(netback->env.reactor, &netback->task);
}

const struct dgm_xenbus_ops dgm_netback_ops = {
    .describe = netback_describe,
    .offer = netback_offer,
    .connect = netback_connect,
    .disconnect = netback_disconnect,
};
