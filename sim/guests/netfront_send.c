/* SPDX-License-Identifier: MIT */
/* netfront_send: packets into the transmit ring, and their responses. See netfront.h. */
#include <sim/guests/netfront.h>
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <string.h>

static uint64_t send_gfn(const struct netfront *front, uint16_t frame)
{
    return front->first_gfn + 2 + frame;
}

/* --- sending --- */

/* The most bytes that fit into one ordinary packet now. */
static uint32_t bytes_possible(const struct netfront *front)
{
    const uint32_t most = front->free_frame_count < NETFRONT_PIECES_MAX ? front->free_frame_count
                                                                        : NETFRONT_PIECES_MAX;

    return most < 2 ? 0 : most * 2048;
}

static netif_tx_request_t *next_entry(struct netfront *front, uint16_t *id)
{
    *id = (uint16_t)(front->transmit.req_prod_pvt % NETFRONT_ENTRIES);
    SIM_CHECK(!front->entry[*id].used, "guest %u: an entry of its ring has had no response",
              front->guest->domid);
    front->entry[*id].used = true;
    front->entry[*id].extra = front->entry[*id].head = false;
    front->entry[*id].number = front->peer.sent_count - 1;
    front->entry[*id].sent_ns = sim_now();
    return RING_GET_REQUEST(&front->transmit, front->transmit.req_prod_pvt++);
}

/* Puts `bytes` bytes into a frame, and its entry into the ring. `size`: of the whole packet, in its
 * first entry; 0: this is another one. */
static void put_piece(struct netfront *front, const uint8_t *from, uint32_t bytes, uint32_t size,
                      uint16_t flags)
{
    struct sim_guest *guest = front->guest;
    const uint16_t frame = front->free_frames[--front->free_frame_count];
    const uint32_t offset = (uint32_t)rng_below(&guest->rng, DGM_FRAME_BYTES - bytes + 1);
    uint16_t id;
    netif_tx_request_t *request = next_entry(front, &id);

    memset(guest_page(guest, send_gfn(front, frame)), NETFRONT_POISON, DGM_FRAME_BYTES);
    memcpy((uint8_t *)guest_page(guest, send_gfn(front, frame)) + offset, from, bytes);
    front->entry[id].frame = frame;
    front->entry[id].head = size != 0;
    front->entry[id].ref = guest_grant(guest, send_gfn(front, frame), true);
    *request = (netif_tx_request_t){.gref = front->entry[id].ref,
                                    .offset = (uint16_t)offset,
                                    .flags = flags,
                                    .id = id,
                                    .size = (uint16_t)(size ? size : bytes)};
}

static void put_large_extra(struct netfront *front, const struct sent_packet *packet)
{
    const netif_extra_info_t extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO,
                                      .u.gso = {.size = packet->mss,
                                                .type = packet->form == PACKET_TCP6
                                                            ? XEN_NETIF_GSO_TYPE_TCPV6
                                                            : XEN_NETIF_GSO_TYPE_TCPV4}};
    uint16_t id;
    void *to = next_entry(front, &id);

    front->entry[id].extra = true;
    memcpy(to, &extra, sizeof extra);
}

/* The packet in as many pieces as it needs, or more; the first one has its headers. */
static void put_packet(struct netfront *front, const struct sent_packet *packet,
                       const uint8_t *bytes)
{
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
            front, bytes + done, count, i ? 0 : packet->length,
            (uint16_t)((after ? NETTXF_more_data : 0) |
                       (i == 0 && packet->blank ? NETTXF_csum_blank | NETTXF_data_validated : 0) |
                       (i == 0 && packet->mss ? NETTXF_extra_info : 0)));
        if (i == 0 && packet->mss)
            put_large_extra(front, packet);
        done += count;
    }
}

void netfront_send(struct netfront *front)
{
    static uint8_t bytes[PACKET_BYTES_MAX];
    struct rng *rng = &front->guest->rng;
    int notify;

    for (uint64_t n = rng_below(rng, 6); n && front->left; n--) {
        const uint32_t possible = bytes_possible(front);
        const bool whole = front->free_frame_count >= NETFRONT_PIECES_MAX && rng_below(rng, 4) == 0;

        if (!possible || RING_FREE_REQUESTS(&front->transmit) < NETFRONT_PIECES_MAX + 1)
            break;
        const struct sent_packet packet = peer_draw_packet(&front->peer, rng,
                                                           possible < 1514     ? possible
                                                           : rng_below(rng, 4) ? 1514
                                                                               : possible,
                                                           whole, bytes);

        front->left--;
        put_packet(front, &packet, bytes);
        NOTE("guest %llu: packet %llu for %llu, form %llu, %llu bytes, mss %llu",
             front->guest->domid, packet.number, packet.to, packet.form, packet.length, packet.mss);
    }
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&front->transmit, notify);
    if (notify)
        dgm_hv_guest_send(front->guest->domid, front->ports[0]);
}

/* --- responses to what was sent --- */

void netfront_end_entry(struct netfront *front, uint16_t id)
{
    front->entry[id].used = false;
    if (front->entry[id].extra)
        return;
    (void)guest_ungrant(front->guest, front->entry[id].ref, NULL);
    front->free_frames[front->free_frame_count++] = front->entry[id].frame;
}

static void check_sent(struct netfront *front, const netif_tx_response_t *response)
{
    struct sim_guest *guest = front->guest;
    const struct sent_packet *packet;
    const bool extra = front->entry[response->id % NETFRONT_ENTRIES].extra;

    SIM_CHECK(response->id < NETFRONT_ENTRIES && front->entry[response->id].used,
              "guest %u: a response to entry %u of its transmit ring, which has none in flight",
              guest->domid, response->id);
    packet = &front->peer.sent[front->entry[response->id].number];
    NOTE("guest %llu: response to packet %llu, entry %llu, is %lld", guest->domid, packet->number,
         response->id, (uint64_t)(int64_t)response->status);
    SIM_CHECK(!extra && (response->status == NETIF_RSP_OKAY || response->status == NETIF_RSP_ERROR),
              "guest %u: packet %u has the response %d", guest->domid, packet->number,
              response->status);
    SIM_CHECK(response->status == NETIF_RSP_OKAY || packet->may_fail,
              "guest %u: packet %u is refused without a cause", guest->domid, packet->number);
}

/* Counts an accepted packet for the guest that it is for, unless that connected only after the
 * packet was sent: its vif may have been another one before. */
static void count_accepted(const struct netfront *front, const netif_tx_response_t *response)
{
    const struct sent_packet *packet = &front->peer.sent[front->entry[response->id].number];
    struct netfront *to = network_front(packet->to);

    if (!front->entry[response->id].head || response->status != NETIF_RSP_OKAY)
        return;
    if (to && to->connected && to->connected_ns <= front->entry[response->id].sent_ns)
        to->to_it++;
}

void netfront_take_sent(struct netfront *front)
{
    int more;

    do {
        const RING_IDX end = front->transmit.sring->rsp_prod;

        xen_rmb();
        for (RING_IDX i = front->transmit.rsp_cons; i != end; i++) {
            netif_tx_response_t response;

            memcpy(&response, RING_GET_RESPONSE(&front->transmit, i), sizeof response);
            front->transmit.rsp_cons = i + 1;
            if (response.status == NETIF_RSP_NULL) { /* of an extra: its id is not set */
                SIM_CHECK(front->entry[i % NETFRONT_ENTRIES].extra,
                          "guest %u: a response without a status", front->guest->domid);
                netfront_end_entry(front, (uint16_t)(i % NETFRONT_ENTRIES));
                continue;
            }
            check_sent(front, &response);
            count_accepted(front, &response);
            netfront_end_entry(front, response.id);
        }
        RING_FINAL_CHECK_FOR_RESPONSES(&front->transmit, more);
    } while (more);
}
