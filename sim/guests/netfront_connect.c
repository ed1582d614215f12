/* SPDX-License-Identifier: MIT */
/* netfront_connect: the frontend's life, from its start on. See netfront.h. */
#include <sim/guests/netfront.h>
#include <sim/guests/xenbus.h>
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <stdio.h>
#include <string.h>
#include <xen/io/xenbus.h>

void netfront_start(struct netfront *front, struct sim_guest *guest, uint64_t first_gfn)
{
    struct rng *rng = &guest->rng;

    front->guest = guest;
    front->first_gfn = first_gfn;
    peer_start(&front->peer, guest->domid);
    front->peer.hostile = guest->hostile;
    front->queue_max = front->queue_count = (unsigned)rng_range(rng, 1, NETFRONT_QUEUES_MAX);
    for (unsigned i = 0; i < NETFRONT_QUEUES_MAX; i++) {
        front->queue[i].front = front;
        front->queue[i].number = i;
    }
    front->splits = rng_below(rng, 2);
    front->delay_us = rng_below(rng, 4) ? 20 : 5000;
    front->burst = rng_below(rng, 3) ? 5 : NETFRONT_SEND_FRAMES;
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

static void share_queue(struct netfront_queue *queue)
{
    struct sim_guest *guest = queue->front->guest;
    const uint64_t gfn = queue->front->first_gfn + 2 * queue->number;
    netif_tx_sring_t *transmit = guest_page(guest, gfn);
    netif_rx_sring_t *receive = guest_page(guest, gfn + 1);

    memset(transmit, 0, DGM_FRAME_BYTES);
    memset(receive, 0, DGM_FRAME_BYTES);
    SHARED_RING_INIT(transmit);
    SHARED_RING_INIT(receive);
    FRONT_RING_INIT(&queue->transmit, transmit, DGM_FRAME_BYTES);
    FRONT_RING_INIT(&queue->receive, receive, DGM_FRAME_BYTES);
    queue->ring_refs[0] = guest_grant(guest, gfn, false);
    queue->ring_refs[1] = guest_grant(guest, gfn + 1, false);
    queue->ports[0] = queue->ports[1] = dgm_hv_guest_port(guest->domid);
    if (queue->front->splits)
        queue->ports[1] = dgm_hv_guest_port(guest->domid);
    queue->event = false;
    queue->judged = 0;
}

void netfront_share_rings(struct netfront *front)
{
    front->queue_count = (unsigned)rng_range(&front->guest->rng, 1, front->queue_max);
    front->salt = (uint32_t)rng_next(&front->guest->rng);
    for (unsigned i = 0; i < front->queue_count; i++)
        share_queue(&front->queue[i]);
    watch_vif_begins(front);
}

static void close_channels(struct netfront_queue *queue)
{
    const domid_t domid = queue->front->guest->domid;

    dgm_hv_guest_close(domid, queue->ports[0]);
    if (queue->ports[1] != queue->ports[0])
        dgm_hv_guest_close(domid, queue->ports[1]);
    queue->ports[0] = queue->ports[1] = 0;
}

void netfront_abandon_rings(struct netfront *front)
{
    struct sim_guest *guest = front->guest;

    for (unsigned i = 0; i < 2 * front->queue_count; i++) {
        const grant_ref_t ref = front->queue[i / 2].ring_refs[i % 2];

        if (dgm_hv_grant_end(guest->domid, ref)) /* others are still mapped, and never reused */
            guest->free_refs[guest->free_ref_count++] = ref;
        else
            dgm_hv_grant_revoke(guest->domid, ref);
    }
    for (unsigned i = 0; i < front->queue_count; i++)
        close_channels(&front->queue[i]);
}

static void unshare_queue(struct netfront_queue *queue)
{
    netfront_take_sent(queue);
    netfront_take_packets(queue);
    for (uint16_t i = 0; i < NETFRONT_ENTRIES; i++)
        if (queue->entry[i].used)
            netfront_end_entry(queue, i);
    for (; queue->receive.rsp_cons != queue->receive.req_prod_pvt; queue->receive.rsp_cons++)
        netfront_end_buffer(queue, (uint16_t)(queue->receive.rsp_cons % NETFRONT_ENTRIES),
                            DGM_FRAME_BYTES);
    for (unsigned i = 0; i < 2; i++)
        (void)guest_ungrant(queue->front->guest, queue->ring_refs[i], NULL);
    close_channels(queue);
}

/* Called after the connection has ended. */
static void unshare_rings(struct netfront *front)
{
    for (unsigned i = 0; i < front->queue_count; i++)
        unshare_queue(&front->queue[i]);
}

/* Adds the queue's keys, whose names are written to `names`. Returns their number. */
static size_t queue_keys(const struct netfront_queue *queue, char (*names)[40],
                         struct frontend_key *keys)
{
    const struct netfront *front = queue->front;
    const struct frontend_key all[] = {
        {"tx-ring-ref", queue->ring_refs[0], NULL},
        {"rx-ring-ref", queue->ring_refs[1], NULL},
        {front->splits ? "event-channel-tx" : "event-channel", queue->ports[0], NULL},
        {"event-channel-rx", queue->ports[1], NULL},
    };
    const size_t count = front->splits ? 4 : 3;

    for (size_t i = 0; i < count; i++) {
        if (front->queue_count > 1)
            snprintf(names[i], sizeof names[i], "queue-%u/%s", queue->number, all[i].name);
        else
            snprintf(names[i], sizeof names[i], "%s", all[i].name);
        keys[i] = (struct frontend_key){names[i], all[i].number, NULL};
    }
    return count;
}

/* As Linux: the number of queues, also of one, and the keys of each. */
static bool write_details(struct netfront *front)
{
    const struct frontend frontend = frontend_of(front);
    const struct frontend_key common[] = {
        {"multi-queue-num-queues", front->queue_count, NULL},
        {"request-rx-copy", 1, NULL},
        {"feature-rx-notify", 1, NULL},
        {"feature-sg", front->peer.takes_pieces, NULL},
        {"feature-no-csum-offload", !front->peer.takes_blank4, NULL},
        {"feature-ipv6-csum-offload", front->peer.takes_blank6, NULL},
        {"feature-gso-tcpv4", front->peer.takes_large4, NULL},
        {"feature-gso-tcpv6", front->peer.takes_large6, NULL},
    };
    const size_t count = sizeof common / sizeof common[0];
    struct frontend_key keys[sizeof common / sizeof common[0] + 4 * NETFRONT_QUEUES_MAX];
    char names[4 * NETFRONT_QUEUES_MAX][40];
    size_t written = 0;

    for (unsigned i = 0; i < front->queue_count; i++)
        written += queue_keys(&front->queue[i], names + written, keys + written);
    memcpy(keys + written, common, sizeof common);
    return frontend_write_keys(&frontend, keys, written + count);
}

bool netfront_connect(struct netfront *front)
{
    struct sim_guest *guest = front->guest;
    const struct frontend frontend = frontend_of(front);
    const uint64_t faults = guest->faults;

    guest->doing = "waits for its vif's InitWait";
    (void)frontend_wait_state(&frontend, XenbusStateInitWait, XenbusStateInitWait,
                              network_patience_ns());
    SIM_CHECK(frontend_read_key(&frontend, true, "multi-queue-max-queues") == front->queue_max,
              "guest %u: its vif offers another number of queues", guest->domid);
    netfront_share_rings(front);
    for (unsigned i = 0; i < front->queue_count; i++)
        netfront_post_buffers(&front->queue[i]);
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
    NOTE("guest %llu: its vif is connected, %llu queues", guest->domid, front->queue_count);
    for (unsigned i = 0; i < front->queue_count; i++)
        netfront_poke(&front->queue[i]);
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
