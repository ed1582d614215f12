/* SPDX-License-Identifier: MIT */
/*
 * card: see dragoman/net/card.h.
 *
 * The card is kicked from a task, so that one doorbell serves all packets of a turn.
 */
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/net/card.h>

static struct dgm_net_card *card_of_client(struct dgm_nic_client *client)
{
    return dgm_container(client, struct dgm_net_card, client);
}

static struct dgm_packet *packet_of(struct dgm_nic_frame *frame)
{
    return dgm_container(frame, struct dgm_packet, nic);
}

/* --- to the card --- */

static bool deliver_to_card(struct dgm_switch_port *port, struct dgm_packet *packet)
{
    struct dgm_net_card *card = dgm_container(port, struct dgm_net_card, port);
    struct dgm_net_card_counters *counters = &card->counters;
    int status;

    if (packet->length > DGM_NIC_FRAME_BYTES_MAX) {
        counters->dropped_too_long++;
        return false;
    }
    if (packet->checksum_blank) {
        if (dgm_packet_fill_checksum(packet) != DGM_OK) {
            counters->dropped_checksum++;
            return false;
        }
        counters->checksums++;
    }
    packet->nic.bytes = packet->length;
    status = card->nic->ops->transmit(card->nic, &packet->nic);
    if (status != DGM_OK) {
        *(status == DGM_EAGAIN ? &counters->dropped_queue_full : &counters->dropped_no_link) += 1;
        return false;
    }
    dgm_packet_hold(packet);
    packet->source->charged++;
    dgm_reactor_post(card->reactor, &card->task);
    return true;
}

static void on_sent(struct dgm_nic_client *client, struct dgm_nic_frame *frame)
{
    struct dgm_packet *packet = packet_of(frame);
    struct dgm_switch_port *source = packet->source;

    dgm_assert(source->charged > 0);
    source->charged--;
    if (source->discharged)
        source->discharged(source);
    dgm_packet_release(packet);
}

/* --- from the card --- */

/* Lends a buffer; if the card does not take it, the packet returns to the pool. */
static bool supply(struct dgm_net_card *card, struct dgm_packet *packet)
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
    if (status == DGM_OK) {
        other = dgm_packet_take(card->packets, DGM_NIC_BUFFER_BYTES);
        card->counters.dropped_no_memory += other == NULL;
    }
    if (!other || other == packet) {
        supply(card, packet);
        return;
    }
    supply(card, other);
    packet->length = frame->bytes;
    packet->checksum_blank = packet->checksum_valid = false;
    dgm_switch_input(&card->port, packet);
}

static void supply_all(struct dgm_net_card *card)
{
    struct dgm_packet *packet;

    while ((packet = dgm_packet_take(card->packets, DGM_NIC_BUFFER_BYTES)) != NULL) {
        if (!supply(card, packet))
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

static void kick_card(struct dgm_task *task)
{
    struct dgm_net_card *card = dgm_container(task, struct dgm_net_card, task);

    card->nic->ops->kick(card->nic);
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
        .task = {.run = kick_card},
    };
    nic->client = &card->client;
    return dgm_switch_add(net, &card->port);
}
