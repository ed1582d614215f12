/* SPDX-License-Identifier: MIT */
/*
 * connect: a vif's operations for xenbus: describe, offer, connect, disconnect
 *
 * netfront shares two rings of one page each, and one event channel for each of them or one for
 * both. It goes from Initialising to Connected directly, with its buffers posted.
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
        {"feature-rx-copy", NULL, 1},           {"feature-sg", NULL, 1},
        {"feature-gso-tcpv4", NULL, 1},         {"feature-gso-tcpv6", NULL, 1},
        {"feature-ipv6-csum-offload", NULL, 1}, {"feature-split-event-channels", NULL, 1},
    };

    return dgm_xenbus_write(xenbus, DGM_XENBUS_BACKEND, features, COUNT(features));
}

/* --- the keys of the frontend --- */

struct shared_keys {
    uint64_t refs[2], ports[2];
};

/* Reads an optional number of the frontend; 0 if it is absent or invalid. */
static uint64_t read_flag(struct dgm_xenbus_device *xenbus, const char *key)
{
    uint64_t number;

    return dgm_xenbus_read_number(xenbus, key, UINT32_MAX, &number) == DGM_OK ? number : 0;
}

static int read_channels(struct dgm_xenbus_device *xenbus, struct shared_keys *keys)
{
    int status = dgm_xenbus_read_number(xenbus, "event-channel-tx", UINT32_MAX, &keys->ports[0]);

    if (status == DGM_OK)
        return dgm_xenbus_read_number(xenbus, "event-channel-rx", UINT32_MAX, &keys->ports[1]);
    if (status != DGM_ENOENT)
        return status;
    status = dgm_xenbus_read_number(xenbus, "event-channel", UINT32_MAX, &keys->ports[0]);
    keys->ports[1] = keys->ports[0];
    return status;
}

static int read_keys(struct dgm_netback *netback, struct shared_keys *keys, const char **why)
{
    struct dgm_xenbus_device *xenbus = &netback->xenbus;
    int status = dgm_xenbus_read_number(xenbus, "tx-ring-ref", UINT32_MAX, &keys->refs[0]);

    if (status == DGM_OK)
        status = dgm_xenbus_read_number(xenbus, "rx-ring-ref", UINT32_MAX, &keys->refs[1]);
    if (status == DGM_OK)
        status = read_channels(xenbus, keys);
    if (status != DGM_OK) {
        *why = xenbus->reason;
        return DGM_EINVAL;
    }
    *why = "request-rx-copy: must be 1, packets are copied";
    if (read_flag(xenbus, "request-rx-copy") != 1)
        return DGM_EOPNOTSUPP;
    *why = "multi-queue-num-queues: more than one queue was not offered";
    if (read_flag(xenbus, "multi-queue-num-queues") > 1)
        return DGM_EOPNOTSUPP;
    netback->takes_pieces = read_flag(xenbus, "feature-sg") != 0;
    netback->takes_blank_ip4 = read_flag(xenbus, "feature-no-csum-offload") == 0;
    netback->takes_blank_ip6 = read_flag(xenbus, "feature-ipv6-csum-offload") != 0;
    netback->takes_large_ip4 = netback->takes_pieces && netback->takes_blank_ip4 &&
                               read_flag(xenbus, "feature-gso-tcpv4") != 0;
    netback->takes_large_ip6 = netback->takes_pieces && netback->takes_blank_ip6 &&
                               read_flag(xenbus, "feature-gso-tcpv6") != 0;
    return DGM_OK;
}

/* --- the rings' pages --- */

bool dgm_netback_unmap_pages(struct dgm_netback *netback)
{
    struct dgm_reach_frame *pages = netback->pages;

    for (unsigned i = 0; i < 2; i++) {
        if (pages[i].held != DGM_REACH_NOT_HELD && pages[i].foreign.status != DGM_EAGAIN)
            dgm_reach_release_add(&pages[i], 1, DGM_REACH_DISCARD);
    }
    dgm_reach_release_commit(netback->env.reach);
    dgm_waiters_wake(&netback->guest->waiters, netback->env.reactor);
    return pages[0].held == DGM_REACH_NOT_HELD && pages[1].held == DGM_REACH_NOT_HELD;
}

static bool holds_other_pages(const struct dgm_netback *netback, const struct shared_keys *keys)
{
    for (unsigned i = 0; i < 2; i++)
        if (netback->pages[i].held != DGM_REACH_NOT_HELD &&
            netback->pages[i].piece.ref != keys->refs[i])
            return true;
    return false;
}

/* DGM_OK: both pages are mapped. DGM_EAGAIN: there is no room yet, or the op is parked. DGM_EFAULT:
 * Xen refuses a reference; nothing is held. */
static int map_pages(struct dgm_netback *netback, const struct shared_keys *keys)
{
    struct dgm_reach_frame *pages = netback->pages;

    if (holds_other_pages(netback, keys) && !dgm_netback_unmap_pages(netback))
        return DGM_EAGAIN; /* of an earlier attempt */
    if (pages[0].held == DGM_REACH_NOT_HELD && pages[1].held == DGM_REACH_NOT_HELD) {
        if (dgm_reach_reserve(&netback->connection, 2) != DGM_OK)
            return DGM_EAGAIN;
        for (unsigned i = 0; i < 2; i++)
            pages[i].piece = (struct dgm_reach_piece){.ref = (grant_ref_t)keys->refs[i],
                                                      .bytes = DGM_FRAME_BYTES,
                                                      .direction = DGM_REACH_TO_GUEST};
        dgm_reach_add(&netback->connection, pages, 2);
        dgm_reach_commit(netback->env.reach);
    }
    if (pages[0].foreign.status == DGM_EAGAIN || pages[1].foreign.status == DGM_EAGAIN)
        return DGM_EAGAIN;
    if (pages[0].foreign.status == DGM_OK && pages[1].foreign.status == DGM_OK)
        return DGM_OK;
    return dgm_netback_unmap_pages(netback) ? DGM_EFAULT : DGM_EAGAIN;
}

/* --- connecting --- */

static int bind_channels(struct dgm_netback *netback, const struct shared_keys *keys)
{
    const domid_t domid = netback->xenbus.domid;
    const struct dgm_evtchn_remote remote[2] = {
        {.domid = domid, .port = (evtchn_port_t)keys->ports[0]},
        {.domid = domid, .port = (evtchn_port_t)keys->ports[1]},
    };
    const bool common = keys->ports[0] == keys->ports[1];
    const int status = dgm_evtchn_binder_bind(&netback->binder, remote, netback->ports,
                                              common ? 1 : 2, netback->xenbus.log);

    if (common)
        netback->ports[1] = netback->ports[0];
    return status;
}

static int netback_connect(struct dgm_xenbus_device *xenbus, const char **why)
{
    struct dgm_netback *netback = netback_of(xenbus);
    struct shared_keys keys;
    int status = read_keys(netback, &keys, why);

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
    dgm_ring_init(&netback->transmit, dgm_env_va(netback->pages[0].foreign.gfn),
                  sizeof(struct netif_tx_request));
    dgm_ring_init(&netback->receive, dgm_env_va(netback->pages[1].foreign.gfn),
                  sizeof(struct netif_rx_request));
    netback->posted_first = netback->posted_count = 0;
    netback->returned = 0;
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
