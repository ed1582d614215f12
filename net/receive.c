/* SPDX-License-Identifier: MIT */
/*
 * receive: from the switch to the guest
 *
 * A packet waits in the vif's queue of its flow until the guest has posted buffers there for all of
 * it. There is one
 * response per buffer, in the order in which the guest posted them: netfront finds a response's
 * buffer by its position in the ring and ignores its id. A large packet needs one more: its `mss`
 * takes the place of the second response, and netfront posts that buffer again. All responses of a
 * packet become visible together, because netfront drops a packet whose last response is missing.
 * The first packet whose copies are to be retried, and all behind it, stay in the queue.
 */
#include <net/flow.h>
#include <net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#define POSTED_MAX  256u
#define WAITING_MAX 256u

struct dgm_netback *dgm_netback_of_port(struct dgm_switch_port *port)
{
    return dgm_container(port, struct dgm_netback, port);
}

/* Entries of the ring that the packet needs. */
static uint32_t entries_of(const struct dgm_packet *packet)
{
    return packet->frame_count + (packet->mss != 0);
}

struct dgm_netback_queue *dgm_netback_queue_of(const struct dgm_netback *netback,
                                               const struct dgm_packet *packet)
{
    if (netback->queue_count == 1)
        return &netback->queues[0];
    return &netback->queues[dgm_flow_queue(&packet->headers, dgm_packet_at(packet, 0),
                                           netback->queue_count)];
}

/* Frames for which a queue has room. One of several has at most half of the vif's. */
static uint32_t room_of(const struct dgm_netback_queue *queue)
{
    const struct dgm_netback *netback = queue->netback;
    const uint32_t all = netback->env.queue_frames;
    const uint32_t most = netback->queue_count > 1 ? all / 2 : all;
    const uint32_t own = most - queue->waiting_frames, left = all - netback->queue_frames;

    return own < left ? own : left;
}

/* Admits a packet of `bytes` to the queue. False: the guest does not take it, or the queue has no
 * room; the packet counts as dropped for that cause. */
static bool admit_packet(struct dgm_netback_queue *queue, uint32_t bytes)
{
    struct dgm_netback *netback = queue->netback;
    const uint32_t frames = (bytes + DGM_FRAME_BYTES - 1) / DGM_FRAME_BYTES;

    if (frames > 1 && !netback->takes_pieces) {
        netback->counters.dropped_too_long++;
        return false;
    }
    if (queue->waiting_count == WAITING_MAX || frames > room_of(queue)) {
        netback->counters.dropped_queue_full++;
        return false;
    }
    return true;
}

/* Puts the packet into the queue, which has room, and becomes a user of it. */
static void queue_add(struct dgm_netback_queue *queue, struct dgm_packet *packet)
{
    struct dgm_netback *netback = queue->netback;

    queue->waiting[(queue->waiting_first + queue->waiting_count++) % WAITING_MAX] = packet;
    queue->waiting_frames += packet->frame_count;
    netback->queue_frames += packet->frame_count;
    netback->counters.large_to += packet->mss != 0;
    dgm_reactor_post(netback->env.reactor, &netback->task);
}

/* Puts a large packet into the queue in ordinary ones, as many as there is room for. */
static bool queue_cut(struct dgm_netback_queue *queue, const struct dgm_packet *large)
{
    struct dgm_netback_counters *counters = &queue->netback->counters;
    uint32_t done = 0;

    while (!dgm_packet_is_cut(large, done)) {
        struct dgm_packet *packet;

        if (!admit_packet(queue, dgm_packet_cut_bytes(large)))
            break;
        packet = dgm_packet_cut(large, &done);
        if (!packet) {
            counters->dropped_queue_full++;
            break;
        }
        counters->cut++;
        dgm_reactor_work(queue->netback->env.reactor, 1 + dgm_packet_bytes_work(packet->length));
        queue_add(queue, packet);
    }
    return done > 0;
}

static bool takes_blank(const struct dgm_netback *netback, const struct dgm_packet *packet)
{
    return packet->headers.ip == 4 ? netback->takes_blank_ip4 : netback->takes_blank_ip6;
}

static bool takes_large(const struct dgm_netback *netback, const struct dgm_packet *packet)
{
    return packet->headers.ip == 4 ? netback->takes_large_ip4 : netback->takes_large_ip6;
}

bool dgm_netback_accepts(const struct dgm_netback *netback, const struct dgm_packet *packet,
                         uint32_t buffers)
{
    return (buffers == 1 || netback->takes_pieces) &&
           (!packet->checksum_blank || takes_blank(netback, packet)) &&
           (!packet->mss || takes_large(netback, packet));
}

static void respond_buffers(struct dgm_netback_queue *queue, const struct dgm_packet *packet,
                            int status);

/* Ends the way of a packet that is in reserved buffers of the port (direct.c). */
static void deliver_direct(const struct dgm_netback *netback, const struct dgm_packet *packet)
{
    struct dgm_netback_queue *queue = packet->direct->to;
    const uint32_t entries = packet->direct->buffers + (packet->mss != 0);

    dgm_assert(queue->netback == netback && queue->reserved >= entries);
    queue->reserved -= entries;
    queue->netback->counters.direct++;
    queue->netback->counters.large_to += packet->mss != 0;
    respond_buffers(queue, packet, DGM_OK);
}

bool dgm_netback_deliver(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    struct dgm_netback *netback = dgm_netback_of_port(port);
    struct dgm_netback_queue *queue;

    dgm_reactor_work(netback->env.reactor, 1);
    if (packet->direct) {
        deliver_direct(netback, packet);
        return true;
    }
    if (!netback->connected || netback->disconnecting) {
        netback->counters.dropped_not_connected++;
        return false;
    }
    queue = dgm_netback_queue_of(netback, packet);
    if (packet->mss && !takes_large(netback, packet))
        return queue_cut(queue, packet);
    if (!admit_packet(queue, packet->length))
        return false;
    dgm_packet_hold(packet);
    queue_add(queue, packet);
    return true;
}

static struct dgm_packet *oldest_packet(const struct dgm_netback_queue *queue)
{
    return queue->waiting_count ? queue->waiting[queue->waiting_first] : NULL;
}

static void drop_oldest(struct dgm_netback_queue *queue)
{
    struct dgm_packet *packet = oldest_packet(queue);

    queue->waiting_first = (queue->waiting_first + 1) % WAITING_MAX;
    queue->waiting_count--;
    queue->waiting_frames -= packet->frame_count;
    queue->netback->queue_frames -= packet->frame_count;
    dgm_packet_release(packet);
}

void dgm_netback_drop_waiting(struct dgm_netback_queue *queue)
{
    while (queue->waiting_count) {
        queue->netback->counters.dropped_not_connected++;
        drop_oldest(queue);
    }
}

int dgm_netback_take_posted(struct dgm_netback_queue *queue)
{
    uint64_t entry;
    int got = 1;

    _Static_assert(sizeof(struct netif_rx_request) == 8, "xen/io/netif.h");
    while (queue->posted_count < POSTED_MAX) {
        got = dgm_ring_take(&queue->receive, &entry, sizeof entry);
        if (got != 1)
            break;
        const uint32_t at = (queue->posted_first + queue->posted_count++) % POSTED_MAX;
        __builtin_memcpy(&queue->posted[at], &entry, sizeof entry);
    }
    return got < 0 ? got : DGM_OK;
}

/* Fills in a blank checksum if the frontend does not accept it. */
static void fill_unaccepted_checksum(struct dgm_netback *netback, struct dgm_packet *packet)
{
    if (!packet->checksum_blank || takes_blank(netback, packet))
        return;
    dgm_packet_fill_checksum(packet);
    dgm_reactor_work(netback->env.reactor, dgm_packet_bytes_work(packet->length));
    netback->counters.checksums++;
}

static uint16_t bytes_of_slot(const struct dgm_packet *packet, uint32_t slot)
{
    const uint32_t left = packet->length - slot * DGM_FRAME_BYTES;

    return (uint16_t)(left < DGM_FRAME_BYTES ? left : DGM_FRAME_BYTES);
}

/* The bytes in buffer number `slot` of the packet. */
static uint16_t bytes_of_buffer(const struct dgm_packet *packet, uint32_t slot)
{
    return packet->direct && packet->direct->in_pieces ? packet->direct->chain.pieces[slot].bytes
                                                       : bytes_of_slot(packet, slot);
}

static uint32_t buffers_of(const struct dgm_packet *packet)
{
    return packet->direct ? packet->direct->buffers : packet->frame_count;
}

const struct netif_rx_request *dgm_netback_posted(const struct dgm_netback_queue *queue,
                                                  const struct dgm_packet *packet, uint32_t number)
{
    const uint32_t entry = number ? number + (packet->mss != 0) : 0;

    return &queue->posted[(queue->posted_first + queue->reserved + entry) % POSTED_MAX];
}

void dgm_netback_copy_out(const struct dgm_netback_queue *queue, const struct dgm_packet *packet)
{
    uint32_t number = 0;

    for (uint32_t at = 0; at < packet->present; at += DGM_FRAME_BYTES) {
        const uint32_t left = packet->present - at;

        dgm_netback_copy_add(
            queue->netback->env.shared,
            &(struct dgm_grantcopy_op){
                .domid = queue->netback->xenbus.domid,
                .ref = dgm_netback_posted(queue, packet, number++)->gref,
                .local = dgm_packet_gfn(packet, at),
                .bytes = (uint16_t)(left < DGM_FRAME_BYTES ? left : DGM_FRAME_BYTES),
                .to_guest = true});
    }
}

/* Puts an entry of 8 bytes into the ring, for the oldest posted buffer. */
static void respond_entry(struct dgm_netback_queue *queue, const void *entry)
{
    uint64_t to;

    __builtin_memcpy(&to, entry, sizeof to);
    dgm_ring_respond(&queue->receive, &to, sizeof to);
    queue->posted_first = (queue->posted_first + 1) % POSTED_MAX;
    queue->posted_count--;
}

static void respond_large(struct dgm_netback_queue *queue, const struct dgm_packet *packet)
{
    const struct netif_extra_info extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO,
                                           .u.gso = {.size = packet->mss,
                                                     .type = packet->headers.ip == 4
                                                                 ? XEN_NETIF_GSO_TYPE_TCPV4
                                                                 : XEN_NETIF_GSO_TYPE_TCPV6}};

    _Static_assert(sizeof extra == 8, "xen/io/netif.h");
    respond_entry(queue, &extra);
}

static void respond_buffers(struct dgm_netback_queue *queue, const struct dgm_packet *packet,
                            int status)
{
    uint16_t flags = packet->checksum_valid ? NETRXF_data_validated : 0;
    const uint32_t buffers = buffers_of(packet);

    _Static_assert(sizeof(struct netif_rx_response) == 8, "xen/io/netif.h");
    if (packet->checksum_blank)
        flags |= NETRXF_csum_blank | NETRXF_data_validated;
    if (packet->mss)
        flags |= NETRXF_extra_info;
    for (uint32_t slot = 0; slot < buffers; slot++) {
        const bool last = slot + 1u == buffers;
        const struct netif_rx_response response = {
            .id = queue->posted[queue->posted_first].id,
            .flags = (uint16_t)((slot ? 0 : flags) | (last ? 0 : NETRXF_more_data)),
            .status = status == DGM_OK ? (int16_t)bytes_of_buffer(packet, slot)
                                       : (int16_t)NETIF_RSP_ERROR,
        };

        respond_entry(queue, &response);
        if (slot == 0 && packet->mss)
            respond_large(queue, packet);
    }
    queue->netback->counters.dropped_bad_grant += status != DGM_OK;
    queue->packets_to += status == DGM_OK;
}

/* Adds copies of the oldest packets, as many as have posted buffers. Returns their number. */
static uint32_t add_waiting(struct dgm_netback_queue *queue)
{
    const struct dgm_netback_shared *shared = queue->netback->env.shared;
    uint32_t count = 0;

    dgm_assert(queue->reserved == 0);
    while (count < queue->waiting_count && !dgm_reactor_spent(queue->netback->env.reactor, 0)) {
        struct dgm_packet *packet = queue->waiting[(queue->waiting_first + count) % WAITING_MAX];

        if (entries_of(packet) > queue->posted_count - queue->reserved ||
            packet->frame_count > dgm_grantcopy_room(&shared->copy))
            break;
        dgm_reactor_work(queue->netback->env.reactor, dgm_packet_work(packet->frame_count));
        fill_unaccepted_checksum(queue->netback, packet);
        dgm_netback_copy_out(queue, packet);
        queue->reserved += entries_of(packet);
        count++;
    }
    queue->reserved = 0; /* the run answers for them now */
    return count;
}

int dgm_netback_receive(struct dgm_netback_queue *queue)
{
    struct dgm_netback *netback = queue->netback;
    struct dgm_netback_shared *shared = netback->env.shared;
    uint32_t count;

    if (queue->receive_wait.timer.armed)
        return 0;
    dgm_assert(shared->copy.count == 0);
    count = add_waiting(queue);
    dgm_grantcopy_commit(&shared->copy);
    for (uint32_t i = 0, copies = 0; i < count; i++) {
        const struct dgm_packet *packet = oldest_packet(queue);
        const int status = dgm_netback_wait_judge(
            &queue->receive_wait, dgm_netback_copy_status(shared, copies, packet->frame_count));

        if (status == DGM_EAGAIN)
            return (int)i;
        copies += packet->frame_count;
        respond_buffers(queue, packet, status);
        drop_oldest(queue);
    }
    if (queue->waiting_count && (entries_of(oldest_packet(queue)) <= queue->posted_count ||
                                 dgm_ring_final_check(&queue->receive)))
        dgm_reactor_post(netback->env.reactor, &netback->task);
    return (int)count;
}
