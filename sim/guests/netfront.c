/* SPDX-License-Identifier: MIT */
/* netfront: what arrives, and events. See netfront.h. */
#include <sim/guests/netfront.h>
#include <sim/machine/machine.h>
#include <sim/machine/nets.h>
#include <sim/machine/network.h>

#include <string.h>

static uint64_t buffer_gfn(const struct netfront *front, uint16_t frame)
{
    return front->first_gfn + NETFRONT_RING_FRAMES + NETFRONT_SEND_FRAMES + frame;
}

/* --- what arrives --- */

void netfront_post_buffers(struct netfront_queue *queue)
{
    struct netfront *front = queue->front;
    struct sim_guest *guest = front->guest;
    int notify;

    while (front->free_buffer_count &&
           queue->posted_count < NETFRONT_POST_FRAMES / front->queue_count) {
        const uint16_t frame = front->free_buffers[--front->free_buffer_count];
        const uint16_t place = (uint16_t)(queue->receive.req_prod_pvt % NETFRONT_ENTRIES);

        memset(guest_page(guest, buffer_gfn(front, frame)), NETFRONT_POISON, DGM_FRAME_BYTES);
        queue->posted_count++;
        queue->posted[place].frame = frame;
        queue->posted[place].faulted = false;
        queue->posted[place].abandoned = network_abandoned();
        queue->posted[place].ref = guest_grant(guest, buffer_gfn(front, frame), false);
        *RING_GET_REQUEST(&queue->receive, queue->receive.req_prod_pvt++) =
            (netif_rx_request_t){.id = place, .gref = queue->posted[place].ref};
    }
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&queue->receive, notify);
    if (notify)
        dgm_hv_guest_send(guest->domid, queue->ports[1]);
}

void netfront_end_buffer(struct netfront_queue *queue, uint16_t place, uint32_t bytes)
{
    struct netfront *front = queue->front;
    const uint16_t frame = queue->posted[place].frame;
    const uint8_t *page = guest_page(front->guest, buffer_gfn(front, frame));

    /* A direct copy that was in vain leaves bytes of another packet for this guest. */
    SIM_CHECK(bytes == DGM_FRAME_BYTES || queue->posted[place].abandoned != network_abandoned() ||
                  (page[bytes] == NETFRONT_POISON &&
                   memcmp(page + bytes, page + bytes + 1, DGM_FRAME_BYTES - bytes - 1) == 0),
              "guest %u: a buffer changed behind the packet", front->guest->domid);
    (void)guest_ungrant(front->guest, queue->posted[place].ref, NULL);
    queue->posted_count--;
    front->free_buffers[front->free_buffer_count++] = frame;
}

static netif_rx_response_t received_at(const struct netfront_queue *queue, RING_IDX at)
{
    netif_rx_response_t response;

    memcpy(&response, RING_GET_RESPONSE(&queue->receive, at), sizeof response);
    return response;
}

/* Takes the packet whose responses begin at `at`. Returns the place behind them. */
static RING_IDX take_packet(struct netfront_queue *queue, RING_IDX at, RING_IDX end)
{
    struct netfront *front = queue->front;
    static uint8_t bytes[PACKET_BYTES_MAX + DGM_FRAME_BYTES];
    struct arrival arrival = {.bytes = bytes};
    bool more = true, failed = false, faulted = false;

    for (unsigned slot = 0; more; slot++, at++) {
        const uint16_t place = (uint16_t)(at % NETFRONT_ENTRIES);
        netif_rx_response_t response;

        SIM_CHECK(at != end, "guest %u: the last responses of a packet are missing",
                  front->guest->domid);
        response = received_at(queue, at);
        SIM_CHECK(response.id == place && slot < NETFRONT_PIECES_MAX && response.offset == 0,
                  "guest %u: response %u, offset %u, for the buffer at %u", front->guest->domid,
                  response.id, response.offset, place);
        more = response.flags & NETRXF_more_data;
        failed |= response.status < 0;
        faulted |= queue->posted[place].faulted;
        if (response.status > 0 && !failed)
            memcpy(bytes + arrival.length,
                   guest_page(front->guest, buffer_gfn(front, queue->posted[place].frame)),
                   (size_t)response.status);
        SIM_CHECK(response.status <= (int)DGM_FRAME_BYTES, "guest %u: %d bytes in a buffer",
                  front->guest->domid, response.status);
        arrival.length += failed ? 0 : (uint32_t)response.status;
        /* After a refused copy the guest cannot know what was copied before. */
        netfront_end_buffer(queue, place, failed ? DGM_FRAME_BYTES : (uint32_t)response.status);
        arrival.in_pieces |= slot > 0;
        if (slot == 0)
            arrival.blank = response.flags & NETRXF_csum_blank;
        if (slot == 0 && response.flags & NETRXF_extra_info) {
            netif_extra_info_t extra;
            const uint16_t unused = (uint16_t)(++at % NETFRONT_ENTRIES);

            SIM_CHECK(at != end, "guest %u: the extra of a packet is missing", front->guest->domid);
            memcpy(&extra, RING_GET_RESPONSE(&queue->receive, at), sizeof(netif_rx_response_t));
            SIM_CHECK(extra.type == XEN_NETIF_EXTRA_TYPE_GSO && extra.flags == 0,
                      "guest %u: an extra of type %u", front->guest->domid, extra.type);
            arrival.mss = extra.u.gso.size;
            arrival.large_ip = extra.u.gso.type == XEN_NETIF_GSO_TYPE_TCPV6 ? 6 : 4;
            netfront_end_buffer(queue, unused, 0);
        }
    }
    SIM_CHECK(!failed || faulted, "guest %u: a buffer has an error response without a cause",
              front->guest->domid);
    if (!failed)
        nets_check_arrival(&front->peer, &arrival);
    return at;
}

void netfront_take_packets(struct netfront_queue *queue)
{
    int more;

    do {
        const RING_IDX end = queue->receive.sring->rsp_prod;

        xen_rmb();
        SIM_CHECK(end - queue->receive.rsp_cons <=
                      queue->receive.req_prod_pvt - queue->receive.rsp_cons,
                  "guest %u: more responses than posted buffers", queue->front->guest->domid);
        while (queue->receive.rsp_cons != end)
            queue->receive.rsp_cons = take_packet(queue, queue->receive.rsp_cons, end);
        RING_FINAL_CHECK_FOR_RESPONSES(&queue->receive, more);
    } while (more);
}

/* --- events --- */

static void tick_event(void *context, uint64_t argument);

static void tick_later(struct netfront *front, uint64_t delay_ns)
{
    if (front->ticking)
        return;
    front->ticking = true;
    sim_later(delay_ns, tick_event, front, 0);
}

void netfront_act(struct netfront *front)
{
    if (!front->connected || front->guest->dead)
        return;
    for (unsigned i = 0; i < front->queue_count; i++) {
        struct netfront_queue *queue = &front->queue[i];

        if (!queue->event)
            continue;
        queue->event = false;
        netfront_take_sent(queue);
        netfront_take_packets(queue);
        netfront_post_buffers(queue);
    }
    if (sim.ending || !front->left)
        return;
    netfront_send(front);
    tick_later(front, rng_range(&front->guest->rng, 1, 400) * US);
}

static void tick_event(void *context, uint64_t argument)
{
    struct netfront *front = context;

    (void)argument;
    front->ticking = false;
    netfront_act(front);
}

void netfront_poke(struct netfront_queue *queue)
{
    struct netfront *front = queue->front;

    queue->event = true;
    if (front->connected)
        tick_later(front, rng_range(&front->guest->rng, 1, front->delay_us) * US);
}

void netfront_fault(struct netfront *front, grant_ref_t ref)
{
    for (unsigned i = 0; i < NETFRONT_QUEUES_MAX * NETFRONT_ENTRIES; i++) {
        struct netfront_queue *queue = &front->queue[i / NETFRONT_ENTRIES];
        const unsigned at = i % NETFRONT_ENTRIES;

        if (queue->entry[at].used && !queue->entry[at].extra && queue->entry[at].ref == ref)
            front->peer.sent[queue->entry[at].number].may_fail = true;
        if (queue->posted[at].ref == ref)
            queue->posted[at].faulted = true;
    }
}

void netfront_check_progress(const struct netfront *front)
{
    for (unsigned i = 0; front->connected && i < front->queue_count * NETFRONT_ENTRIES; i++) {
        const struct netfront_queue *queue = &front->queue[i / NETFRONT_ENTRIES];
        const unsigned at = i % NETFRONT_ENTRIES;

        SIM_CHECK(
            !queue->entry[at].used || sim_now() <= queue->entry[at].sent_ns + network_patience_ns(),
            "guest %u: packet %u gets no response", front->guest->domid, queue->entry[at].number);
    }
}
