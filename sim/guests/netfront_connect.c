/* SPDX-License-Identifier: MIT */
/* netfront_connect: the frontend's life, from its start on. See netfront.h. */
#include <sim/guests/netfront.h>
#include <sim/guests/xenbus.h>
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <string.h>
#include <xen/io/xenbus.h>

void netfront_start(struct netfront *front, struct sim_guest *guest, uint64_t first_gfn)
{
    struct rng *rng = &guest->rng;

    front->guest = guest;
    front->first_gfn = first_gfn;
    peer_start(&front->peer, guest->domid);
    front->peer.hostile = guest->hostile;
    front->splits = rng_below(rng, 2);
    front->delay_us = rng_below(rng, 4) ? 20 : 5000;
    front->peer.takes_pieces = rng_below(rng, 4) > 0;
    front->peer.takes_blank4 = rng_below(rng, 3) > 0;
    front->peer.takes_blank6 = rng_below(rng, 3) > 0;
    front->peer.takes_large4 = front->peer.takes_pieces && front->peer.takes_blank4;
    front->peer.takes_large6 = front->peer.takes_pieces && front->peer.takes_blank6;
    for (uint16_t i = 0; i < NETFRONT_SEND_FRAMES; i++)
        front->free_frames[front->free_frame_count++] = i;
    for (uint16_t i = 0; i < NETFRONT_POST_FRAMES; i++)
        front->free_buffers[front->free_buffer_count++] = i;
}

static struct frontend frontend_of(const struct netfront *front)
{
    return (struct frontend){.guest = front->guest, .type = "vif", .number = 0};
}

void netfront_share_rings(struct netfront *front)
{
    struct sim_guest *guest = front->guest;
    netif_tx_sring_t *transmit = guest_page(guest, front->first_gfn);
    netif_rx_sring_t *receive = guest_page(guest, front->first_gfn + 1);

    memset(transmit, 0, DGM_FRAME_BYTES);
    memset(receive, 0, DGM_FRAME_BYTES);
    SHARED_RING_INIT(transmit);
    SHARED_RING_INIT(receive);
    FRONT_RING_INIT(&front->transmit, transmit, DGM_FRAME_BYTES);
    FRONT_RING_INIT(&front->receive, receive, DGM_FRAME_BYTES);
    front->ring_refs[0] = guest_grant(guest, front->first_gfn, false);
    front->ring_refs[1] = guest_grant(guest, front->first_gfn + 1, false);
    front->ports[0] = front->ports[1] = dgm_hv_guest_port(guest->domid);
    if (front->splits)
        front->ports[1] = dgm_hv_guest_port(guest->domid);
    front->event = false;
    watch_vif_begins(front);
}

static void close_channels(struct netfront *front)
{
    const domid_t domid = front->guest->domid;

    dgm_hv_guest_close(domid, front->ports[0]);
    if (front->ports[1] != front->ports[0])
        dgm_hv_guest_close(domid, front->ports[1]);
    front->ports[0] = front->ports[1] = 0;
}

void netfront_abandon_rings(struct netfront *front)
{
    struct sim_guest *guest = front->guest;

    for (unsigned i = 0; i < 2; i++) { /* references that are still mapped are never reused */
        if (dgm_hv_grant_end(guest->domid, front->ring_refs[i]))
            guest->free_refs[guest->free_ref_count++] = front->ring_refs[i];
        else
            dgm_hv_grant_revoke(guest->domid, front->ring_refs[i]);
    }
    close_channels(front);
}

/* Called after the connection has ended. */
static void unshare_rings(struct netfront *front)
{
    struct sim_guest *guest = front->guest;

    netfront_take_sent(front);
    netfront_take_packets(front);
    for (uint16_t i = 0; i < NETFRONT_ENTRIES; i++)
        if (front->entry[i].used)
            netfront_end_entry(front, i);
    for (; front->receive.rsp_cons != front->receive.req_prod_pvt; front->receive.rsp_cons++)
        netfront_end_buffer(front, (uint16_t)(front->receive.rsp_cons % NETFRONT_ENTRIES),
                            DGM_FRAME_BYTES);
    for (unsigned i = 0; i < 2; i++)
        (void)guest_ungrant(guest, front->ring_refs[i], NULL);
    close_channels(front);
}

static bool write_details(struct netfront *front)
{
    const struct frontend frontend = frontend_of(front);
    const struct frontend_key keys[] = {
        {"tx-ring-ref", front->ring_refs[0], NULL},
        {"rx-ring-ref", front->ring_refs[1], NULL},
        {front->splits ? "event-channel-tx" : "event-channel", front->ports[0], NULL},
        {front->splits ? "event-channel-rx" : "request-rx-copy",
         front->splits ? front->ports[1] : 1, NULL},
        {"request-rx-copy", 1, NULL},
        {"feature-rx-notify", 1, NULL},
        {"feature-sg", front->peer.takes_pieces, NULL},
        {"feature-no-csum-offload", !front->peer.takes_blank4, NULL},
        {"feature-ipv6-csum-offload", front->peer.takes_blank6, NULL},
        {"feature-gso-tcpv4", front->peer.takes_large4, NULL},
        {"feature-gso-tcpv6", front->peer.takes_large6, NULL},
    };

    return frontend_write_keys(&frontend, keys, sizeof keys / sizeof keys[0]);
}

bool netfront_connect(struct netfront *front)
{
    struct sim_guest *guest = front->guest;
    const struct frontend frontend = frontend_of(front);
    const uint64_t faults = guest->faults;

    guest->doing = "waits for its vif's InitWait";
    (void)frontend_wait_state(&frontend, XenbusStateInitWait, XenbusStateInitWait,
                              network_patience_ns());
    netfront_share_rings(front);
    netfront_post_buffers(front);
    if (!write_details(front))
        return false;
    frontend_set_state(&frontend, XenbusStateConnected);
    guest->doing = "waits for its vif's Connected";
    if (!frontend_wait_state(&frontend, XenbusStateConnected, XenbusStateClosing,
                             network_patience_ns())) {
        SIM_CHECK(guest->faults != faults, "guest %u: its vif's backend closes for no reason",
                  guest->domid);
        guest->failed_attempts++;
        frontend_set_state(&frontend, XenbusStateClosed);
        (void)frontend_wait_state(&frontend, XenbusStateClosed, XenbusStateClosed,
                                  network_patience_ns());
        unshare_rings(front);
        frontend_set_state(&frontend, XenbusStateInitialising);
        return false;
    }
    front->connected = true;
    front->connected_ns = sim_now();
    front->left = rng_range(&guest->rng, 2, sim.options.requests / 3 + 2);
    NOTE("guest %llu: its vif is connected, channels %llu and %llu", guest->domid, front->ports[0],
         front->ports[1]);
    netfront_poke(front);
    return true;
}

void netfront_close(struct netfront *front)
{
    const struct frontend frontend = frontend_of(front);

    front->guest->doing = "closes its vif";
    frontend_set_state(&frontend, XenbusStateClosing);
    (void)frontend_wait_state(&frontend, XenbusStateClosing, XenbusStateClosing,
                              network_patience_ns());
    front->connected = false;
    frontend_set_state(&frontend, XenbusStateClosed);
    (void)frontend_wait_state(&frontend, XenbusStateClosed, XenbusStateClosed,
                              network_patience_ns());
    unshare_rings(front);
    frontend_set_state(&frontend, XenbusStateInitialising);
}

/* Waits until the vif's directory is there, or gone. */
static void wait_for_directory(struct netfront *front, bool present)
{
    const struct frontend frontend = frontend_of(front);
    const uint64_t deadline_ns = sim_now() + network_patience_ns();

    while ((frontend_read_key(&frontend, false, "state") >= 0) != present) {
        SIM_CHECK(sim_now() <= deadline_ns, "guest %u: the directory of its vif %s",
                  front->guest->domid, present ? "does not appear" : "stays");
        guest_sleep(front->guest, MS);
    }
}

void netfront_unplug(struct netfront *front)
{
    const struct frontend frontend = frontend_of(front);

    front->guest->doing = "sees its vif leave";
    network_plug_later(front, false);
    (void)frontend_wait_state(&frontend, XenbusStateClosing, XenbusStateClosing,
                              network_patience_ns());
    SIM_CHECK(frontend_read_key(&frontend, true, "online") == 0,
              "guest %u: a vif that leaves is online", front->guest->domid);
    front->connected = false;
    frontend_set_state(&frontend, XenbusStateClosed);
    wait_for_directory(front, false);
    unshare_rings(front);
    front->to_it = front->peer.arrived; /* what was dropped is forgotten with the vif */
    guest_sleep(front->guest, rng_range(&front->guest->rng, 1, 3000) * US);
    network_plug_later(front, true);
    wait_for_directory(front, true);
}

void netfront_restart(struct netfront *front)
{
    const struct frontend frontend = frontend_of(front);

    front->guest->doing = "restarts its vif";
    front->connected = false;
    frontend_set_state(&frontend, XenbusStateInitialising);
    (void)frontend_wait_state(&frontend, XenbusStateInitWait, XenbusStateInitWait,
                              network_patience_ns());
    unshare_rings(front);
}
