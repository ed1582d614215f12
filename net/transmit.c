/* SPDX-License-Identifier: MIT */
/*
 * transmit: from the guest to the switch
 *
 * 1. Entries are taken from the ring, a whole chain at a time, until the work of the task's run is
 *    spent, or the batch is full.
 * 2. Each chain that is accepted gets a packet of ours and one copy for each piece (two where a
 *    piece crosses two of our frames).
 * 3. One hypercall does all copies.
 * 4. In the order of the ring, each packet gets its responses and is passed to the switch, or is
 *    refused. From then on Dragoman does not access the guest's memory. If ports have so much work
 *    with them (large packets are cut) that the work is spent once more, those left are taken again
 *    by the next run.
 *
 * The first packet whose copies are to be retried, and all behind it, are taken again after a
 * pause. Until then our own copies of their ring entries are kept, so no entry is read twice.
 */
#include <net/internal.h>
#include <net/vlan.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#define SENT_MAX 256u /* entries of the ring */

/* The first bytes of a packet that may go directly to another guest: more than Linux's headers. */
#define HEADER_BYTES 256u

/* Packets that go through our memory after a direct copy that Xen did not do (direct.c). */
#define WHOLE_PACKETS 64u

/* Adds a copy of bytes of a piece, from byte `done` of it up to `end`, to byte `at` of the packet,
 * as far as one frame of ours reaches. Returns its bytes. */
static uint32_t add_copy(const struct dgm_netback *netback, const struct dgm_netback_taken *taken,
                         const struct dgm_chain_piece *piece, uint32_t done, uint32_t end,
                         uint32_t at)
{
    const uint32_t room = DGM_FRAME_BYTES - at % DGM_FRAME_BYTES;
    const uint32_t bytes = end - done < room ? end - done : room;

    dgm_netback_copy_add(netback->env.shared, &(struct dgm_grantcopy_op){
                                                  .domid = netback->xenbus.domid,
                                                  .ref = piece->ref,
                                                  .local = dgm_packet_gfn(taken->packet, at),
                                                  .guest_offset = (uint16_t)(piece->offset + done),
                                                  .local_offset = (uint16_t)(at % DGM_FRAME_BYTES),
                                                  .bytes = (uint16_t)bytes});
    return bytes;
}

void dgm_netback_copy_in(const struct dgm_netback *netback, struct dgm_netback_taken *taken,
                         uint32_t end)
{
    const struct dgm_chain *chain = &taken->chain;
    uint32_t at = taken->packet->present, start = 0;

    for (uint16_t i = 0; i < chain->slots && at < end; i++) {
        const struct dgm_chain_piece *piece = &chain->pieces[i];
        const uint32_t piece_end = piece->bytes < end - start ? piece->bytes : end - start;

        while (at - start < piece_end)
            at += add_copy(netback, taken, piece, at - start, piece_end, at);
        start += piece->bytes;
    }
    dgm_assert(at == end);
    taken->packet->present = (uint16_t)end;
}

/* Takes the next entry: one that was returned, or one from the ring, as dgm_ring_take(). */
static int take_entry(struct dgm_netback_queue *queue, struct netif_tx_request *entry)
{
    uint64_t taken[2]; /* 12 bytes are used */

    if (queue->returned == 0) {
        const uint32_t place = queue->transmit.consumed % SENT_MAX;
        const int got = dgm_ring_take(&queue->transmit, taken, sizeof *entry);

        if (got != 1)
            return got;
        __builtin_memcpy(&queue->sent[place], taken, sizeof *entry);
        queue->returned = 1;
    }
    *entry = queue->sent[(queue->transmit.consumed - queue->returned) % SENT_MAX];
    queue->returned--;
    return 1;
}

/* Takes one chain. 1: taken; 0: there is none; DGM_EPROTO: the ring is broken. A chain must be
 * complete in the ring, as every frontend publishes it. */
static int take_chain(struct dgm_netback_queue *queue, struct dgm_chain *chain)
{
    struct netif_tx_request entry;

    *chain = (struct dgm_chain){0};
    do {
        const int got = take_entry(queue, &entry);

        if (got < 0)
            return got;
        if (got == 0)
            return chain->slots ? DGM_EPROTO : 0;
        dgm_chain_add(chain, &entry);
    } while (chain->expects < DGM_CHAIN_END);
    return chain->expects == DGM_CHAIN_END ? 1 : DGM_EPROTO;
}

/* The bytes of the packet that are copied before its destination is known: all, or the headers if
 * it probably goes directly to another guest, as the one before, and two copies of the rest would
 * cost more than one copy more. */
static uint32_t bytes_before(const struct dgm_netback_queue *queue, const struct dgm_chain *chain)
{
    if (!queue->neighbour || queue->whole || chain->slots == 1 ||
        chain->length <= DGM_FRAME_BYTES || !dgm_direct_fits(chain))
        return chain->length;
    return chain->pieces[0].bytes < HEADER_BYTES ? chain->pieces[0].bytes : HEADER_BYTES;
}

/* Checks the chain, and adds its copies to the batch. */
static void accept_chain(const struct dgm_netback_queue *queue, struct dgm_netback_taken *taken)
{
    const struct dgm_netback *netback = queue->netback;
    const struct dgm_grantcopy *copy = &netback->env.shared->copy;

    taken->packet = NULL;
    taken->to = NULL;
    taken->settled = false;
    taken->first = (uint32_t)copy->count;
    taken->copies = 0;
    taken->status = DGM_OK;
    taken->refusal = dgm_chain_check(&taken->chain);
    if (taken->refusal != DGM_NETBACK_ACCEPTED)
        return;
    taken->packet = dgm_packet_take(netback->env.packets, taken->chain.length);
    if (!taken->packet) {
        taken->refusal = DGM_NETBACK_NO_MEMORY;
        return;
    }
    taken->packet->present = 0;
    dgm_netback_copy_in(netback, taken, bytes_before(queue, &taken->chain));
    taken->copies = (uint32_t)copy->count - taken->first;
}

void dgm_netback_settle(struct dgm_netback_taken *taken)
{
    struct dgm_packet *packet = taken->packet;

    taken->settled = true;
    packet->checksum_blank = taken->chain.flags & NETTXF_csum_blank;
    packet->checksum_valid = packet->checksum_blank || (taken->chain.flags & NETTXF_data_validated);
    dgm_packet_read_headers(packet);
    if (packet->checksum_blank && packet->headers.transport == 0)
        taken->refusal = DGM_NETBACK_CHECKSUM_UNKNOWN;
    else if (taken->chain.large_ip &&
             dgm_packet_set_large(packet, taken->chain.large_ip, taken->chain.mss) != DGM_OK)
        taken->refusal = DGM_NETBACK_BAD_LARGE;
}

static void respond_packet(struct dgm_netback_queue *queue, const struct dgm_netback_taken *taken)
{
    const int16_t status =
        taken->refusal == DGM_NETBACK_ACCEPTED ? NETIF_RSP_OKAY : NETIF_RSP_ERROR;
    union {
        struct netif_tx_response response;
        uint64_t aligned;
    } to = {{0}};

    for (uint16_t i = 0; i < taken->chain.slots; i++) {
        to.response.id = taken->chain.ids[i];
        to.response.status = status;
        dgm_ring_respond(&queue->transmit, &to, sizeof to.response);
        for (uint16_t extra = 0; i == 0 && extra < taken->chain.extras; extra++) {
            to.response.status = NETIF_RSP_NULL;
            dgm_ring_respond(&queue->transmit, &to, sizeof to.response);
        }
    }
}

static void finish_packet(struct dgm_netback_queue *queue, struct dgm_netback_taken *taken,
                          int status)
{
    struct dgm_netback *netback = queue->netback;

    if (taken->packet && taken->refusal == DGM_NETBACK_ACCEPTED && status != DGM_OK)
        taken->refusal = DGM_NETBACK_BAD_GRANT;
    else if (taken->packet && !taken->settled)
        dgm_netback_settle(taken);
    queue->whole -= queue->whole > 0;
    respond_packet(queue, taken);
    if (taken->refusal == DGM_NETBACK_ACCEPTED) {
        queue->packets_from++;
        netback->counters.large_from += taken->packet->mss != 0;
        dgm_reactor_work(netback->env.reactor, dgm_switch_input(&netback->port, taken->packet));
        return;
    }
    if (taken->packet)
        dgm_packet_release(taken->packet);
    if (netback->counters.refused[taken->refusal]++ == 0)
        dgm_log_limited(netback->xenbus.log, "vif %u/%u: a packet is refused: %s",
                        netback->xenbus.domid, netback->xenbus.number,
                        dgm_netback_refusal_name(taken->refusal));
}

/* Returns the last `count` packets that were taken, from `taken` on: their entries are taken again,
 * from our own memory. */
static void return_packets(struct dgm_netback_queue *queue, const struct dgm_netback_taken *taken,
                           uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct dgm_chain *chain = &taken[i].chain;

        queue->returned += (uint32_t)chain->slots + chain->extras;
        dgm_rate_untake(&queue->netback->rate, chain->length);
        queue->netback->counters.not_direct += taken[i].to != NULL;
        if (taken[i].packet)
            dgm_packet_release(taken[i].packet);
    }
}

/* Executes the copies of the batch; each packet has its status. */
static void execute_copies(struct dgm_netback_shared *shared, uint32_t count)
{
    dgm_grantcopy_commit(&shared->copy);
    for (uint32_t i = 0; i < count; i++) {
        struct dgm_netback_taken *taken = &shared->taken[i];

        if (taken->copies)
            taken->status = dgm_netback_copy_status(shared, taken->first, taken->copies);
    }
}

/* Finishes the planned packets in their order, and returns the others. False: one of them waits for
 * Xen, and all behind it. */
static bool finish_planned(struct dgm_netback_queue *queue, uint32_t count, uint32_t planned,
                           uint32_t start)
{
    const struct dgm_reactor *reactor = queue->netback->env.reactor;
    struct dgm_netback_taken *taken = queue->netback->env.shared->taken;

    for (uint32_t i = 0; i < count; i++) {
        const bool fails = taken[i].to && taken[i].status != DGM_OK;
        const bool again =
            i >= planned || fails || (i > 0 && !taken[i].to && dgm_reactor_spent(reactor, start));
        const int status =
            again ? DGM_EAGAIN : dgm_netback_wait_judge(&queue->transmit_wait, taken[i].status);

        if (status == DGM_EAGAIN) {
            queue->whole = fails ? WHOLE_PACKETS : queue->whole;
            return_packets(queue, &taken[i], count - i);
            return again;
        }
        finish_packet(queue, &taken[i], status);
    }
    return true;
}

/* Executes the copies of the `count` packets that were taken, and finishes the packets. False: one
 * of them waits for Xen, and all behind it. */
static bool finish_packets(struct dgm_netback_queue *queue, uint32_t count)
{
    struct dgm_netback_shared *shared = queue->netback->env.shared;
    const uint32_t start = dgm_reactor_worked(queue->netback->env.reactor);
    uint32_t planned;
    bool finished;

    execute_copies(shared, count);
    planned = dgm_direct_plan(queue, count);
    execute_copies(shared, planned);
    finished = finish_planned(queue, count, planned, start);
    dgm_direct_end(shared);
    return finished;
}

/* Whether the batch has room for another chain of any length. */
static bool batch_has_room(const struct dgm_netback *netback, uint32_t count, uint32_t frames)
{
    return count < DGM_NETBACK_PACKETS && !dgm_reactor_spent(netback->env.reactor, 0) &&
           frames + DGM_PACKET_FRAMES_MAX <= DGM_NETBACK_BATCH_FRAMES &&
           dgm_grantcopy_room(&netback->env.shared->copy) >= DGM_CHAIN_COPIES_MAX;
}

bool dgm_netback_hold_back(struct dgm_netback *netback)
{
    if (netback->port.charged >= netback->env.card_frames) {
        netback->counters.held_back++;
        netback->waits_for_card = true; /* on_port_discharged() posts the task */
        return true;
    }
    dgm_rate_replenish(&netback->rate);
    if (dgm_rate_allows(&netback->rate))
        return false;
    netback->counters.rate_limited++;
    dgm_timer_arm(netback->env.reactor, &netback->refill, dgm_rate_next_ns(&netback->rate));
    return true;
}

/* Frames that the packet takes at most, also where it leaves with a tag. */
static uint32_t frames_of(const struct dgm_packet *packet)
{
    return packet ? (packet->length + DGM_VLAN_TAG_BYTES + DGM_FRAME_BYTES - 1) / DGM_FRAME_BYTES
                  : 0;
}

/* The work of a chain, refused or not, before its delivery. */
static uint32_t work_of(const struct dgm_netback_taken *taken)
{
    const uint32_t frames = frames_of(taken->packet);

    return dgm_packet_work(frames ? frames : 1) + taken->chain.slots / 4u;
}

/* What a card charges for the packet at most, before its headers are known (card.c). */
static uint32_t charge_of(const struct dgm_netback_taken *taken)
{
    const struct dgm_chain *chain = &taken->chain;
    const uint32_t frames = frames_of(taken->packet);
    const uint32_t cuts =
        chain->large_ip && chain->mss ? (chain->length + chain->mss - 1u) / chain->mss : 1;

    return cuts > frames ? cuts : frames;
}

int dgm_netback_transmit(struct dgm_netback_queue *queue)
{
    struct dgm_netback *netback = queue->netback;
    struct dgm_netback_shared *shared = netback->env.shared;
    uint32_t count = 0, frames = 0, charge = 0;
    int got = 1;
    bool finished;

    if (queue->transmit_wait.timer.armed)
        return 0;
    dgm_assert(shared->copy.count == 0);
    while (batch_has_room(netback, count, frames) &&
           charge < netback->env.card_frames - netback->port.charged &&
           dgm_rate_allows(&netback->rate)) {
        got = take_chain(queue, &shared->taken[count].chain);
        if (got == 0 && dgm_ring_final_check(&queue->transmit)) {
            got = 1;
            break; /* the next turn takes it */
        }
        if (got <= 0)
            break;
        dgm_rate_take(&netback->rate, shared->taken[count].chain.length);
        accept_chain(queue, &shared->taken[count]);
        frames += frames_of(shared->taken[count].packet);
        dgm_reactor_work(netback->env.reactor, work_of(&shared->taken[count]));
        charge += charge_of(&shared->taken[count]);
        count++;
    }
    finished = finish_packets(queue, count);
    netback->counters.drains += count > 0;
    if ((got == 1 || queue->returned) && finished)
        dgm_reactor_post(netback->env.reactor, &netback->task);
    return got < 0 ? got : (int)count;
}

const char *dgm_netback_refusal_name(enum dgm_netback_refusal refusal)
{
    static const char *const names[] = {
        [DGM_NETBACK_ACCEPTED] = "accepted",
        [DGM_NETBACK_SLOTS_TOO_MANY] = "more than 18 ring entries",
        [DGM_NETBACK_EXTRA_NOT_OFFERED] = "an extra that was not offered",
        [DGM_NETBACK_BAD_LARGE] =
            "a large packet that is no TCP, is for a group, or has a bad segment size",
        [DGM_NETBACK_TOO_SHORT] = "shorter than an Ethernet header",
        [DGM_NETBACK_SIZES_DISAGREE] = "its entries' sizes disagree",
        [DGM_NETBACK_PIECE_BOUNDS] = "a piece that is empty or beyond its frame",
        [DGM_NETBACK_BAD_GRANT] = "Xen refuses a reference",
        [DGM_NETBACK_CHECKSUM_UNKNOWN] = "a blank checksum in what is neither TCP nor UDP",
        [DGM_NETBACK_NO_MEMORY] = "no memory for it",
    };

    return refusal < DGM_NETBACK_REFUSALS ? names[refusal] : "unknown";
}
