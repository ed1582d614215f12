/* SPDX-License-Identifier: MIT */
/*
 * card: see dragoman/net/card.h.
 *
 * A task passes the queued packets to the card, so that one doorbell serves all packets of a turn.
 * It sends until its work is spent, because each cut packet is copied and summed. It runs again
 * when the card returns a packet, which frees an entry and a frame of the pool.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/net/card.h>
#include <net/switch.h>

enum {
    IP6_BYTES = 40,
    TCP_FLAGS = 13, /* offset in the TCP header */
    TCP_CWR = 0x80,
};

_Static_assert(DGM_PACKET_FRAMES_MAX == DGM_NIC_FRAMES_MAX, "a card gets all of a large packet");

static struct dgm_net_card *card_of_client(struct dgm_nic_client *client)
{
    return dgm_container(client, struct dgm_net_card, client);
}

static struct dgm_packet *packet_of(struct dgm_nic_frame *frame)
{
    return dgm_container(frame, struct dgm_packet, nic);
}

/* --- to the card --- */

static void discharge_source(const struct dgm_packet *packet)
{
    struct dgm_switch_port *source = packet->source;

    dgm_assert(source->charged >= packet->charge);
    source->charged -= packet->charge;
    if (source->discharged)
        source->discharged(source);
}

static void fill_checksum(struct dgm_net_card *card, struct dgm_packet *packet)
{
    const int status = dgm_packet_fill_checksum(packet);

    dgm_assert(status == DGM_OK); /* deliver_to_card() refuses what has no checksum */
    dgm_reactor_work(card->reactor, dgm_packet_bytes_work(packet->length));
    card->counters.checksums++;
}

/* Whether the card cuts this large packet itself. Of several packets only the first may have CWR,
 * and cards disagree about tags and extension headers. */
static bool is_cut_by_card(const struct dgm_net_card *card, const struct dgm_packet *packet)
{
    const struct dgm_packet_headers *headers = &packet->headers;
    const uint8_t *tcp;

    if (!(headers->ip == 4 ? card->nic->cuts_ip4 : card->nic->cuts_ip6) ||
        headers->network != DGM_PACKET_BYTES_MIN ||
        (headers->ip == 6 && headers->transport != headers->network + IP6_BYTES))
        return false;
    tcp = dgm_packet_at(packet, headers->transport);
    return !(tcp[TCP_FLAGS] & TCP_CWR);
}

/* The memory that the packet takes, or the turns at the card, whichever is more. */
static uint16_t charge_of(const struct dgm_packet *packet)
{
    const uint32_t cuts = packet->mss ? dgm_packet_cut_count(packet) : 1;

    return (uint16_t)(cuts > packet->frame_count ? cuts : packet->frame_count);
}

static bool deliver_to_card(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    struct dgm_net_card *card = dgm_container(port, struct dgm_net_card, port);
    struct dgm_net_card_counters *counters = &card->counters;
    const uint32_t bytes = packet->mss ? dgm_packet_cut_bytes(packet) : packet->length;

    if (bytes > card->nic->bytes_max) {
        counters->dropped_too_long++;
        return false;
    }
    if (card->queue_count == DGM_NET_CARD_QUEUE) {
        counters->dropped_queue_full++;
        return false;
    }
    if (packet->checksum_blank && packet->headers.transport == 0) {
        counters->dropped_checksum++;
        return false;
    }
    if (packet->checksum_blank && !packet->mss && !card->nic->fills_checksums)
        fill_checksum(card, packet);
    dgm_packet_hold(packet);
    packet->charge = charge_of(packet);
    packet->source->charged += packet->charge;
    card->queue[(card->queue_first + card->queue_count++) % DGM_NET_CARD_QUEUE] = packet;
    dgm_reactor_post(card->reactor, &card->task);
    return true;
}

/* Removes the oldest packet from the queue. */
static void queue_remove(struct dgm_net_card *card)
{
    card->queue_first = (card->queue_first + 1) % DGM_NET_CARD_QUEUE;
    card->queue_count--;
    card->done = 0;
}

/*
 * Gives a packet to the card, which is its user then. DGM_EAGAIN: the card is full. A blank
 * checksum is left to the card if it can fill it in and the packet has no other user: one that
 * fills it in while the card reads it would spoil it. No user fills in that of a large packet.
 */
static int card_transmit(struct dgm_net_card *card, struct dgm_packet *packet)
{
    if (packet->checksum_blank && !packet->mss &&
        !(card->nic->fills_checksums && packet->users == 1))
        fill_checksum(card, packet);
    dgm_reactor_work(card->reactor, dgm_packet_work(packet->frame_count));
    packet->nic.bytes = packet->length;
    packet->nic.checksum_start = packet->headers.transport;
    packet->nic.checksum_at = packet->checksum_blank ? packet->headers.checksum : 0;
    packet->nic.mss = packet->mss;
    packet->nic.header_bytes = packet->headers.payload;
    packet->nic.ip = packet->headers.ip;
    packet->nic.count = (uint8_t)packet->frame_count;
    packet->nic.frames = packet->frames;
    packet->nic.base = packet->pool->first;
    return card->nic->ops->transmit(card->nic, &packet->nic);
}

/* Cuts the next packet from a large one, and gives it to the card. DGM_EAGAIN: later. */
static int transmit_cut(struct dgm_net_card *card, const struct dgm_packet *large)
{
    uint32_t done = card->done;
    struct dgm_packet *packet;
    int status;

    if (card->cut_count == DGM_NET_CARD_CUT_MAX)
        return DGM_EAGAIN;
    packet = dgm_packet_cut(large, &done);
    if (!packet)
        return DGM_EAGAIN;
    dgm_reactor_work(card->reactor, dgm_packet_bytes_work(packet->length));
    status = card_transmit(card, packet);
    if (status != DGM_OK) {
        dgm_packet_release(packet);
        return status;
    }
    card->cut_count++;
    card->counters.cut++;
    card->done = done;
    return DGM_OK;
}

/* Sends the oldest packet, or the next part of it. DGM_EAGAIN: the card, or the pool, is full. */
static int send_oldest(struct dgm_net_card *card)
{
    struct dgm_packet *packet = card->queue[card->queue_first];
    const bool cut = packet->mss && !is_cut_by_card(card, packet);
    const int status = cut ? transmit_cut(card, packet) : card_transmit(card, packet);

    if (status == DGM_EAGAIN)
        return status;
    if (status == DGM_OK && cut && !dgm_packet_is_cut(packet, card->done))
        return DGM_OK;
    queue_remove(card);
    if (status == DGM_OK && !cut) {
        card->counters.large += packet->mss != 0;
        return DGM_OK; /* on_sent() ends its use */
    }
    card->counters.dropped_no_link += status != DGM_OK;
    discharge_source(packet);
    dgm_packet_release(packet);
    return DGM_OK;
}

static void send_to_card(struct dgm_task *task)
{
    struct dgm_net_card *card = dgm_container(task, struct dgm_net_card, task);

    while (card->queue_count && !dgm_reactor_spent(card->reactor, 0))
        if (send_oldest(card) != DGM_OK)
            break;
    card->nic->ops->kick(card->nic);
    if (dgm_reactor_spent(card->reactor, 0))
        dgm_reactor_post(card->reactor, &card->task);
}

static void on_sent(struct dgm_nic_client *client, struct dgm_nic_frame *frame)
{
    struct dgm_net_card *card = card_of_client(client);
    struct dgm_packet *packet = packet_of(frame);

    dgm_reactor_work(card->reactor, 1);
    if (packet->source)
        discharge_source(packet);
    else
        card->cut_count--;
    dgm_packet_release(packet);
    if (card->queue_count)
        dgm_reactor_post(card->reactor, &card->task);
}

/* --- from the card --- */

/* Lends a buffer; if the card does not take it, the packet returns to the pool. */
static bool supply_buffer(struct dgm_net_card *card, struct dgm_packet *packet)
{
    if (card->nic->ops->supply(card->nic, &packet->nic) == DGM_OK)
        return true;
    dgm_packet_release(packet);
    return false;
}

static void on_received(struct dgm_nic_client *client, struct dgm_nic_frame *frame, int status)
{
    struct dgm_net_card *card = card_of_client(client);
    struct dgm_packet *packet = packet_of(frame), *other = packet;

    dgm_reactor_post(card->reactor, &card->task);
    dgm_reactor_work(card->reactor, dgm_packet_work(1));
    if (status == DGM_OK) {
        other = dgm_packet_take(card->packets, DGM_NIC_BUFFER_BYTES);
        card->counters.dropped_no_memory += other == NULL;
    }
    if (!other || other == packet) {
        supply_buffer(card, packet);
        return;
    }
    supply_buffer(card, other);
    packet->length = packet->present = frame->bytes;
    packet->headers_read = packet->inspected = false;
    packet->checksum_blank = packet->checksum_valid = false;
    dgm_reactor_work(card->reactor, dgm_switch_input(&card->port, packet));
}

static void supply_all(struct dgm_net_card *card)
{
    struct dgm_packet *packet;

    while ((packet = dgm_packet_take(card->packets, DGM_NIC_BUFFER_BYTES)) != NULL) {
        if (!supply_buffer(card, packet))
            break;
    }
}

static void on_changed(struct dgm_nic_client *client)
{
    struct dgm_net_card *card = card_of_client(client);

    if (card->nic->ready && !card->nic->failed)
        supply_all(card);
    dgm_reactor_post(card->reactor, &card->task);
}

int dgm_net_card_attach(struct dgm_net_card *card, struct dgm_nicdev *nic, struct dgm_switch *net,
                        struct dgm_packets *packets, struct dgm_reactor *reactor)
{
    *card = (struct dgm_net_card){
        .port = {.name = nic->name, .deliver = deliver_to_card},
        .nic = nic,
        .packets = packets,
        .reactor = reactor,
        .client = {.sent = on_sent, .received = on_received, .changed = on_changed},
        .task = {.run = send_to_card},
    };
    /* In a switch with VLANs it is a trunk of all of them. */
    for (uint32_t vlan = 1; vlan <= DGM_VLAN_MAX; vlan++)
        card->port.vlans.tagged.words[vlan / 64] |= 1ull << vlan % 64;
    nic->client = &card->client;
    return dgm_switch_add(net, &card->port);
}
