/* SPDX-License-Identifier: MIT */
/* netfront_send: packets into the transmit ring, and their responses. See netfront.h. */
#include <sim/guests/netfront.h>
#include <sim/machine/machine.h>
#include <sim/machine/nets.h>
#include <sim/machine/network.h>

#include <string.h>

static uint64_t send_gfn(const struct netfront *front, uint16_t frame)
{
    return front->first_gfn + NETFRONT_RING_FRAMES + frame;
}

/* --- sending --- */

/* The most bytes that fit into one ordinary packet now. */
static uint32_t bytes_possible(const struct netfront *front)
{
    const uint32_t most = front->free_frame_count < NETFRONT_PIECES_MAX ? front->free_frame_count
                                                                        : NETFRONT_PIECES_MAX;

    return most < 2 ? 0 : most * 2048;
}

static netif_tx_request_t *next_entry(struct netfront_queue *queue, uint16_t *id)
{
    const struct netfront *front = queue->front;

    *id = (uint16_t)(queue->transmit.req_prod_pvt % NETFRONT_ENTRIES);
    SIM_CHECK(!queue->entry[*id].used, "guest %u: an entry of its ring has had no response",
              front->guest->domid);
    queue->entry[*id].used = true;
    queue->entry[*id].extra = queue->entry[*id].head = false;
    queue->entry[*id].number = front->peer.sent_count - 1;
    queue->entry[*id].sent_ns = sim_now();
    return RING_GET_REQUEST(&queue->transmit, queue->transmit.req_prod_pvt++);
}

/* Puts `bytes` bytes into a frame, and its entry into the ring. `size`: of the whole packet, in its
 * first entry; 0: this is another one. */
static void put_piece(struct netfront_queue *queue, const uint8_t *from, uint32_t bytes,
                      uint32_t size, uint16_t flags)
{
    struct netfront *front = queue->front;
    struct sim_guest *guest = front->guest;
    const uint16_t frame = front->free_frames[--front->free_frame_count];
    const uint32_t offset = (uint32_t)rng_below(&guest->rng, DGM_FRAME_BYTES - bytes + 1);
    uint16_t id;
    netif_tx_request_t *request = next_entry(queue, &id);

    memset(guest_page(guest, send_gfn(front, frame)), NETFRONT_POISON, DGM_FRAME_BYTES);
    memcpy((uint8_t *)guest_page(guest, send_gfn(front, frame)) + offset, from, bytes);
    queue->entry[id].frame = frame;
    queue->entry[id].head = size != 0;
    queue->entry[id].ref = guest_grant(guest, send_gfn(front, frame), true);
    *request = (netif_tx_request_t){.gref = queue->entry[id].ref,
                                    .offset = (uint16_t)offset,
                                    .flags = flags,
                                    .id = id,
                                    .size = (uint16_t)(size ? size : bytes)};
}

static void put_large_extra(struct netfront_queue *queue, const struct sent_packet *packet)
{
    const netif_extra_info_t extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO,
                                      .u.gso = {.size = packet->mss,
                                                .type = packet->form == PACKET_TCP6
                                                            ? XEN_NETIF_GSO_TYPE_TCPV6
                                                            : XEN_NETIF_GSO_TYPE_TCPV4}};
    uint16_t id;
    void *to = next_entry(queue, &id);

    queue->entry[id].extra = true;
    memcpy(to, &extra, sizeof extra);
}

/* The packet in as many pieces as it needs, or more; the first one has its headers. */
static void put_packet(struct netfront_queue *queue, const struct sent_packet *packet,
                       const uint8_t *bytes)
{
    const struct netfront *front = queue->front;
    struct rng *rng = &front->guest->rng;
    const uint32_t most = front->free_frame_count < NETFRONT_PIECES_MAX ? front->free_frame_count
                                                                        : NETFRONT_PIECES_MAX;
    uint32_t pieces = (packet->length + DGM_FRAME_BYTES - 1) / DGM_FRAME_BYTES, done = 0;

    if (pieces < most && packet->length > 200)
        pieces = (uint32_t)rng_range(rng, pieces, most < pieces + 3 ? most : pieces + 3);
    for (uint32_t i = 0; i < pieces; i++) {
        const uint32_t after = pieces - i - 1; /* each of which takes at most a frame */
        const uint32_t left = packet->length - done;
        uint32_t low = left > after * DGM_FRAME_BYTES ? left - after * DGM_FRAME_BYTES : 1;
        uint32_t high = left - after < DGM_FRAME_BYTES ? left - after : DGM_FRAME_BYTES;
        uint32_t count;

        if (i == 0 && low < 80)
            low = high < 80 ? high : 80;
        count = after ? (uint32_t)rng_range(rng, low, high) : left;
        put_piece(
            queue, bytes + done, count, i ? 0 : packet->length,
            (uint16_t)((after ? NETTXF_more_data : 0) |
                       (i == 0 && packet->blank ? NETTXF_csum_blank | NETTXF_data_validated : 0) |
                       (i == 0 && packet->mss ? NETTXF_extra_info : 0)));
        if (i == 0 && packet->mss)
            put_large_extra(queue, packet);
        done += count;
    }
}

/* The queue of the packet's flow. */
static struct netfront_queue *queue_for(struct netfront *front, const struct sent_packet *packet)
{
    const uint64_t flow = (uint64_t)front->salt << 16 | packet->to << 8 | packet->form;

    return &front->queue[mix64(flow) % front->queue_count];
}

static void push_entries(struct netfront *front)
{
    for (unsigned i = 0; i < front->queue_count; i++) {
        struct netfront_queue *queue = &front->queue[i];
        int notify;

        RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&queue->transmit, notify);
        if (notify)
            dgm_hv_guest_send(front->guest->domid, queue->ports[0]);
    }
}

/* Whether each queue has room for any packet. */
static bool rings_have_room(const struct netfront *front)
{
    for (unsigned i = 0; i < front->queue_count; i++)
        if (RING_FREE_REQUESTS(&front->queue[i].transmit) < NETFRONT_PIECES_MAX + 1)
            return false;
    return true;
}

void netfront_send(struct netfront *front)
{
    static uint8_t bytes[PACKET_BYTES_MAX + NETS_TAG_BYTES];
    struct rng *rng = &front->guest->rng;

    for (uint64_t n = rng_below(rng, front->burst + 1); n && front->left; n--) {
        const uint32_t possible = bytes_possible(front);
        const bool whole = front->free_frame_count >= NETFRONT_PIECES_MAX && rng_below(rng, 4) == 0;

        if (!possible || !rings_have_room(front))
            break;
        struct sent_packet packet = peer_draw_packet(&front->peer, rng,
                                                     possible < 1514     ? possible
                                                     : rng_below(rng, 4) ? 1514
                                                                         : possible,
                                                     whole, bytes);

        nets_tag(&front->peer, &packet, rng, bytes);
        packet.length += packet.tagged ? NETS_TAG_BYTES : 0; /* on the wire */
        front->left--;
        put_packet(queue_for(front, &packet), &packet, bytes);
        NOTE("guest %llu: packet %llu for %llu, form %llu, %llu bytes, mss %llu",
             front->guest->domid, packet.number, packet.to, packet.form, packet.length, packet.mss);
    }
    push_entries(front);
}

/* --- responses to what was sent --- */

void netfront_end_entry(struct netfront_queue *queue, uint16_t id)
{
    struct netfront *front = queue->front;

    queue->entry[id].used = false;
    if (queue->entry[id].extra)
        return;
    (void)guest_ungrant(front->guest, queue->entry[id].ref, NULL);
    front->free_frames[front->free_frame_count++] = queue->entry[id].frame;
}

static void check_sent(const struct netfront_queue *queue, const netif_tx_response_t *response)
{
    const struct netfront *front = queue->front;
    struct sim_guest *guest = front->guest;
    const struct sent_packet *packet;
    const bool extra = queue->entry[response->id % NETFRONT_ENTRIES].extra;

    SIM_CHECK(response->id < NETFRONT_ENTRIES && queue->entry[response->id].used,
              "guest %u: a response to entry %u of its transmit ring, which has none in flight",
              guest->domid, response->id);
    packet = &front->peer.sent[queue->entry[response->id].number];
    NOTE("guest %llu: response to packet %llu, entry %llu, is %lld", guest->domid, packet->number,
         response->id, (uint64_t)(int64_t)response->status);
    SIM_CHECK(!extra && (response->status == NETIF_RSP_OKAY || response->status == NETIF_RSP_ERROR),
              "guest %u: packet %u has the response %d", guest->domid, packet->number,
              response->status);
    SIM_CHECK(response->status == NETIF_RSP_OKAY || packet->may_fail,
              "guest %u: packet %u is refused without a cause", guest->domid, packet->number);
}

/* Counts an accepted packet for the guests that get it, unless one connected only after the packet
 * was sent: its vif may have been another one before. */
static void count_accepted(const struct netfront_queue *queue, const netif_tx_response_t *response)
{
    const struct sent_packet *packet = &queue->front->peer.sent[queue->entry[response->id].number];

    if (queue->entry[response->id].head && response->status == NETIF_RSP_OKAY)
        nets_count_accepted(&queue->front->peer, packet, queue->entry[response->id].sent_ns);
}

void netfront_take_sent(struct netfront_queue *queue)
{
    int more;

    do {
        const RING_IDX end = queue->transmit.sring->rsp_prod;

        xen_rmb();
        for (RING_IDX i = queue->transmit.rsp_cons; i != end; i++) {
            netif_tx_response_t response;

            memcpy(&response, RING_GET_RESPONSE(&queue->transmit, i), sizeof response);
            queue->transmit.rsp_cons = i + 1;
            if (response.status == NETIF_RSP_NULL) { /* of an extra: its id is not set */
                SIM_CHECK(queue->entry[i % NETFRONT_ENTRIES].extra,
                          "guest %u: a response without a status", queue->front->guest->domid);
                netfront_end_entry(queue, (uint16_t)(i % NETFRONT_ENTRIES));
                continue;
            }
            check_sent(queue, &response);
            count_accepted(queue, &response);
            netfront_end_entry(queue, response.id);
        }
        RING_FINAL_CHECK_FOR_RESPONSES(&queue->transmit, more);
    } while (more);
}
