/* SPDX-License-Identifier: MIT */
/*
 * direct: a packet from one guest straight into another guest's buffers
 *
 * Most packets between guests have one destination, whose guest has posted buffers already. Such a
 * packet is not queued: the run that took it copies it into those buffers, and Xen copies what
 * the sender's frames still hold of it from reference to reference. Its headers are always copied
 * from our own memory, where they were checked, so no guest can change them afterwards.
 *
 * 1. Each packet of the batch is planned, in its order: buffers of its destination are reserved,
 *    and the copies are added. What cannot go directly, and is not all in our memory, is completed
 *    there by the same hypercall.
 * 2. After the hypercall the switch delivers each packet as always, and the vif writes the
 *    responses of the reserved buffers.
 *
 * No packet overtakes another of its queue: nothing goes directly to a queue where packets wait, or
 * behind a packet of the same batch that will wait there. Reservations end with the run, so between
 * two runs nothing refers to a guest's frame.
 *
 * A copy between two guests that Xen does not do says nothing about which of them is wrong. Then
 * nothing is answered, and the packet and some after it are copied through our memory, where each
 * side answers for itself.
 */
#include <net/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

/* Linux's netfront takes one buffer more if the first one has at most so many bytes. */
#define BUFFERS_MAX 17u
#define FIRST_BYTES 256u
/* Buffers that a packet may take in addition to those that its bytes need. */
#define BUFFERS_EXTRA 2u

bool dgm_direct_fits(const struct dgm_chain *chain)
{
    const uint32_t frames = (chain->length + DGM_FRAME_BYTES - 1u) / DGM_FRAME_BYTES;

    return chain->slots <= BUFFERS_MAX + (chain->pieces[0].bytes <= FIRST_BYTES) &&
           chain->slots <= frames + BUFFERS_EXTRA;
}

/* --- the destination's queue --- */

/* Remembers that this run has to do with the queue. */
static void touch_queue(struct dgm_netback_shared *shared, struct dgm_netback_queue *queue)
{
    if (queue->touched)
        return;
    queue->touched = true;
    queue->next_touched = shared->touched;
    shared->touched = queue;
}

/* Whether the queue has so many posted buffers that are not reserved, after it took more. */
static bool find_posted(struct dgm_netback_queue *queue, uint32_t entries)
{
    if (entries <= queue->posted_count - queue->reserved)
        return true;
    return dgm_netback_take_posted(queue) == DGM_OK && /* else its own task finds the error */
           entries <= queue->posted_count - queue->reserved;
}

/* A piece of the sender's into the posted buffer number `buffer`, from byte `skip` on. */
static void add_between(const struct dgm_netback_queue *from, const struct dgm_netback_taken *taken,
                        uint16_t buffer, uint16_t skip)
{
    const struct dgm_chain_piece *piece = &taken->chain.pieces[buffer];

    if (piece->bytes == skip)
        return;
    dgm_netback_copy_between(
        from->netback->env.shared,
        &(struct dgm_grantcopy_between){
            .from = {.domid = from->netback->xenbus.domid,
                     .ref = piece->ref,
                     .offset = (uint16_t)(piece->offset + skip)},
            .to = {.domid = taken->to->netback->xenbus.domid,
                   .ref = dgm_netback_posted(taken->to, taken->packet, buffer)->gref,
                   .offset = skip},
            .bytes = (uint16_t)(piece->bytes - skip)});
}

static void add_direct(const struct dgm_netback_queue *from, const struct dgm_netback_taken *taken)
{
    dgm_netback_copy_out(taken->to, taken->packet);
    for (uint16_t i = 0; taken->in_pieces && i < taken->chain.slots; i++)
        add_between(from, taken, i, i ? 0 : taken->packet->present);
}

/* Reserves buffers of the packet's destination, if it has enough. */
static void reserve_buffers(struct dgm_netback *to, struct dgm_netback_taken *taken)
{
    const struct dgm_packet *packet = taken->packet;
    const bool in_pieces = packet->present < packet->length;
    struct dgm_netback_queue *queue;
    uint32_t buffers = in_pieces ? taken->chain.slots : packet->frame_count;

    if (!to->connected || to->disconnecting)
        return;
    queue = dgm_netback_queue_of(to, packet);
    touch_queue(to->env.shared, queue);
    if (queue->overtaken || queue->waiting_count || !dgm_netback_accepts(to, packet, buffers) ||
        !find_posted(queue, buffers + (packet->mss != 0))) {
        queue->overtaken = true; /* by any packet that would go directly now */
        return;
    }
    taken->to = queue;
    taken->buffers = (uint16_t)buffers;
    taken->in_pieces = in_pieces;
}

/* --- planning a batch --- */

/* Reads the headers. False: not all of them are in our memory, so not all checks can be made. */
static bool read_all_headers(struct dgm_packet *packet)
{
    return packet->present == packet->length ||
           (dgm_packet_read_headers(packet) && packet->headers.payload != 0);
}

/* Reserves buffers for the packet, if it can go directly. A packet that waits in a queue that is
 * not known here ends that for the batch: later ones could overtake it. */
static void find_buffers(struct dgm_netback_queue *from, struct dgm_netback_taken *taken)
{
    struct dgm_netback_shared *shared = from->netback->env.shared;
    struct dgm_switch_port *port;

    if (from->whole || shared->direct_ended)
        return;
    if (!read_all_headers(taken->packet)) {
        shared->direct_ended = true;
        return;
    }
    dgm_netback_settle(taken);
    if (taken->refusal != DGM_NETBACK_ACCEPTED)
        return;
    port = dgm_switch_only_port(&from->netback->port, taken->packet);
    if (port && port->deliver == dgm_netback_deliver)
        reserve_buffers(dgm_netback_of_port(port), taken);
    else
        shared->direct_ended = from->netback->port.owner->vlans; /* it may need another tag */
}

static void plan_packet(struct dgm_netback_queue *from, struct dgm_netback_taken *taken)
{
    struct dgm_netback_shared *shared = from->netback->env.shared;
    struct dgm_packet *packet = taken->packet;

    find_buffers(from, taken);
    taken->first = (uint32_t)shared->copy.count;
    if (taken->to) {
        add_direct(from, taken);
        taken->to->reserved += taken->buffers + (packet->mss != 0);
        packet->direct = taken;
        dgm_reactor_work(from->netback->env.reactor, dgm_packet_work(taken->buffers));
    } else if (taken->refusal == DGM_NETBACK_ACCEPTED && packet->present < packet->length) {
        dgm_netback_copy_in(from->netback, taken, packet->length);
    }
    taken->copies = (uint32_t)shared->copy.count - taken->first;
    from->neighbour = taken->to != NULL;
}

uint32_t dgm_direct_plan(struct dgm_netback_queue *from, uint32_t count)
{
    struct dgm_netback_shared *shared = from->netback->env.shared;
    const uint32_t start = dgm_reactor_worked(from->netback->env.reactor);

    for (uint32_t i = 0; i < count; i++) {
        struct dgm_netback_taken *taken = &shared->taken[i];

        if ((i > 0 && dgm_reactor_spent(from->netback->env.reactor, start)) ||
            dgm_grantcopy_room(&shared->copy) < DGM_CHAIN_COPIES_MAX)
            return i;
        taken->copies = 0;
        if (taken->packet && taken->refusal == DGM_NETBACK_ACCEPTED && taken->status == DGM_OK)
            plan_packet(from, taken);
    }
    return count;
}

void dgm_direct_end(struct dgm_netback_shared *shared)
{
    shared->direct_ended = false;
    while (shared->touched) {
        struct dgm_netback_queue *queue = shared->touched;

        shared->touched = queue->next_touched;
        queue->touched = queue->overtaken = false;
        queue->reserved = 0;
        dgm_netback_publish(queue);
    }
}
