/* SPDX-License-Identifier: MIT */
/* network: see network.h. */
#include <sim/machine/machine.h>
#include <sim/machine/nets.h>
#include <sim/machine/network.h>

#include <dragoman/base/status.h>
#include <kernel/network.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CARD_FRAMES_MAX 64u
/* Longer than the card takes for all packets that the switch has given to it. */
#define CARD_DELAY_NS (20 * MS)

/* The driver's state, and the card. */
struct card {
    struct dgm_nicdev nic;
    struct {
        struct dgm_nic_frame *frame[CARD_FRAMES_MAX]; /* oldest first */
        unsigned count, max;
    } transmit, supply;
    unsigned completed; /* of the oldest to send */
    bool completing;    /* an event is due for the oldest that is not completed */
    bool link_changed;
    struct {
        uint8_t bytes[DGM_NIC_FRAME_BYTES_MAX];
        struct sent_packet packet;
    } arriving[16]; /* from the outside, oldest first */
    unsigned arriving_count;
};

static struct {
    struct rng rng;
    struct network kernel;
    struct card *card;
    struct peer outside;
    struct dgm_device_env env;
    uint64_t plugged_ns[SIM_GUESTS_MAX + 1]; /* by domid: when its vif was plugged last; 0: never */
} network;

struct netfront *network_front(unsigned number)
{
    return number >= 1 && number <= sim.guest_count ? sim.guests[number - 1]->vif : NULL;
}

/* Xen may return GNTST_eagain, or no channel, several times to a connection. */
uint64_t network_delay_ns(void)
{
    return sim.plan.rate[FAULT_EAGAIN] || sim.plan.rate[FAULT_CHANNEL] ? 30 * SECOND
                                                                       : SECOND * 9 / 10;
}

bool network_waits_for_xen(void)
{
    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++) {
        const struct dgm_netback *back = &network.kernel.vif[i].back;

        for (unsigned q = 0; network.kernel.vif[i].guest && q < back->queue_count; q++)
            if (back->queues[q].transmit_wait.timer.armed ||
                back->queues[q].receive_wait.timer.armed)
                return true;
    }
    return false;
}

/* Xen may return GNTST_eagain to several packets in turn, for DGM_XEN_PATIENCE_MS to each; and it
 * may refuse to bind each of eight event channels several times, with pauses of up to a second. */
uint64_t network_patience_ns(void)
{
    return network_delay_ns() + (sim.plan.rate[FAULT_EAGAIN] ? 300 * SECOND : 0) +
           (sim.plan.rate[FAULT_CALL] ? 30 * SECOND : 0);
}

uint64_t network_abandoned(void)
{
    uint64_t abandoned = 0;

    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        if (network.kernel.vif[i].guest)
            abandoned += network.kernel.vif[i].back.counters.not_direct;
    return abandoned;
}

const struct dgm_netback *network_back(const struct netfront *front)
{
    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        if (network.kernel.vif[i].guest &&
            network.kernel.vif[i].guest->base.domid == front->guest->domid)
            return &network.kernel.vif[i].back;
    return NULL;
}

bool network_has_port(uint16_t vlan, unsigned number)
{
    const struct netfront *front = network_front(number);

    return front && !front->peer.apart && nets_member(&front->peer, vlan) && network_back(front) &&
           (!network.plugged_ns[number] || sim_now() - network.plugged_ns[number] > CARD_DELAY_NS);
}

uint64_t network_moved(const struct dgm_task *task)
{
    const struct dgm_netback *back = dgm_container(task, const struct dgm_netback, task);
    uint64_t moved = 0;

    if (task == &network.kernel.card.task)
        return 0;
    for (unsigned q = 0; q < back->queue_count; q++)
        moved += back->queues[q].packets_from + back->queues[q].packets_to;
    for (unsigned cause = 0; cause < DGM_NETBACK_REFUSALS; cause++)
        moved += back->counters.refused[cause];
    return moved + back->counters.dropped_bad_grant;
}

void network_tasks(void (*act)(struct dgm_task *task))
{
    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        if (network.kernel.vif[i].guest)
            act(&network.kernel.vif[i].back.task);
    if (network.card)
        act(&network.kernel.card.task);
}

/* --- the operator --- */

static struct guest *kernel_guest(domid_t domid)
{
    for (size_t i = 0; i < sim.kernel.count; i++)
        if (sim.kernel.guest[i].base.domid == domid)
            return &sim.kernel.guest[i];
    return NULL;
}

static void network_plugged(const struct netfront *front)
{
    const domid_t domid = front->guest->domid;
    const struct config_vif *vif = &sim.config.vifs[domid - 1]; /* each guest has one */

    network.plugged_ns[domid] = sim_now();
    rates_start(domid, vif->rate_bytes, vif->rate_us);
}

static void plug_event(void *context, uint64_t plug)
{
    const struct netfront *front = context;
    const domid_t domid = front->guest->domid;
    const int status = plug ? network_plug(&network.kernel, kernel_guest(domid), 0)
                            : network_unplug(&network.kernel, (struct network_vif){.domid = domid});

    SIM_CHECK(front->guest->hostile || status == DGM_OK, "guest %u: its vif cannot be %s: %d",
              domid, plug ? "plugged" : "unplugged", status);
    if (plug && status == DGM_OK)
        network_plugged(front);
    sim_wake();
}

void network_plug_later(struct netfront *front, bool plug)
{
    sim_later(rng_range(&network.rng, 1, 100) * US, plug_event, front, plug);
}

/* A hostile guest's vif leaves and comes, whatever its frontend does. */
static void annoy_event(void *context, uint64_t plug)
{
    plug_event(context, plug);
    if (!sim.ending)
        sim_later(rng_range(&network.rng, 1, 15000) * MS, annoy_event, context, !plug);
}

/* --- the card --- */

static struct card *card_of(struct dgm_nicdev *nic)
{
    return dgm_container(nic, struct card, nic);
}

static void complete_event(void *context, uint64_t argument);

static void complete_later(struct card *card)
{
    if (card->completing || card->completed == card->transmit.count)
        return;
    card->completing = true;
    sim_later(rng_range(&network.rng, 1, 30) * US, complete_event, card, 0);
}

static void outside_sends(struct card *card)
{
    const size_t room = sizeof card->arriving / sizeof card->arriving[0];

    if (sim.ending || network.outside.sent_count > sim.options.requests ||
        card->arriving_count == room)
        return;
    card->arriving[card->arriving_count].packet = peer_draw_packet(
        &network.outside, &network.rng, 1514, false, card->arriving[card->arriving_count].bytes);
    nets_tag(&network.outside, &card->arriving[card->arriving_count].packet, &network.rng,
             card->arriving[card->arriving_count].bytes);
    card->arriving_count++;
}

static void complete_event(void *context, uint64_t argument)
{
    struct card *card = context;

    card->completing = false;
    if (card->completed < card->transmit.count && card->nic.link) {
        nets_leave(&network.outside, &card->nic, card->transmit.frame[card->completed++]);
    }
    if (rng_below(&network.rng, 2))
        outside_sends(card);
    complete_later(card);
    sim_wake();
}

static void link_event(void *context, uint64_t up)
{
    struct card *card = context;

    card->nic.link = up;
    card->link_changed = true;
    card->completed = up ? card->completed : card->transmit.count; /* they are lost */
    if (!sim.ending || !up)
        sim_later(rng_range(&network.rng, up ? 100 : 1, up ? 3000 : 50) * MS, link_event, card,
                  !up);
    sim_wake();
}

static int card_transmit(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    struct card *card = card_of(nic);

    SIM_CHECK(frame->bytes >= 14 && (frame->bytes <= nic->bytes_max || frame->mss),
              "the card gets %u bytes", frame->bytes);
    if (!nic->link)
        return DGM_EIO;
    if (card->transmit.count == card->transmit.max)
        return DGM_EAGAIN;
    card->transmit.frame[card->transmit.count++] = frame;
    return DGM_OK;
}

static int card_supply(struct dgm_nicdev *nic, struct dgm_nic_frame *frame)
{
    struct card *card = card_of(nic);

    if (card->supply.count == card->supply.max)
        return DGM_EAGAIN;
    card->supply.frame[card->supply.count++] = frame;
    return DGM_OK;
}

static void card_kick(struct dgm_nicdev *nic)
{
    complete_later(card_of(nic));
}

static int card_start(void *state, struct dgm_device_env *env)
{
    static const struct dgm_nicdev_ops ops = {
        .transmit = card_transmit, .supply = card_supply, .kick = card_kick};
    struct card *card = state;

    network.card = card;
    card->nic.ops = &ops;
    card->nic.model = "a simulated card";
    card->nic.bytes_max = DGM_NIC_FRAME_BYTES_MAX;
    card->transmit.max = card->nic.transmit_max =
        (uint16_t)rng_range(&network.rng, 1, rng_below(&network.rng, 2) ? 4 : CARD_FRAMES_MAX);
    card->supply.max = card->nic.supply_max = (uint16_t)rng_range(&network.rng, 2, CARD_FRAMES_MAX);
    card->nic.cuts_ip4 = rng_below(&network.rng, 2);
    card->nic.cuts_ip6 = rng_below(&network.rng, 2);
    network.outside.takes_large4 = network.outside.takes_blank4 = card->nic.cuts_ip4;
    network.outside.takes_large6 = network.outside.takes_blank6 = card->nic.cuts_ip6;
    card->nic.ready = card->nic.link = true;
    if (rng_below(&network.rng, 2))
        sim_later(rng_range(&network.rng, 1, 100) * MS, link_event, card, 0);
    dgm_nicdev_tell_all(&card->nic, env);
    return DGM_OK;
}

/* Removes the oldest frame. */
static struct dgm_nic_frame *shift_frame(struct dgm_nic_frame **frames, unsigned *count)
{
    struct dgm_nic_frame *frame = frames[0];

    memmove(frames, frames + 1, --*count * sizeof *frames);
    return frame;
}

static void deliver_arriving(struct card *card)
{
    struct dgm_nic_frame *frame;
    const struct sent_packet packet = card->arriving[0].packet;
    const int status = rng_below(&network.rng, 50) ? DGM_OK : DGM_EIO;

    if (card->supply.count) {
        frame = shift_frame(card->supply.frame, &card->supply.count);
        frame->bytes = (uint16_t)(packet.length + (packet.tagged ? NETS_TAG_BYTES : 0));
        memcpy(dgm_env_va(frame->gfn), card->arriving[0].bytes, frame->bytes);
        if (status == DGM_OK)
            nets_count_accepted(&network.outside, &packet, sim_now());
        card->nic.client->received(card->nic.client, frame, status);
    }
    memmove(card->arriving, card->arriving + 1, --card->arriving_count * sizeof card->arriving[0]);
}

bool network_pending(void)
{
    return network.card &&
           (network.card->completed || network.card->arriving_count || network.card->link_changed);
}

void network_poll(void)
{
    struct card *card = network.card;

    if (!network_pending())
        return;
    for (; card->completed; card->completed--)
        card->nic.client->sent(card->nic.client,
                               shift_frame(card->transmit.frame, &card->transmit.count));
    while (card->arriving_count)
        deliver_arriving(card);
    card->link_changed = false;
    card->nic.client->changed(card->nic.client);
    complete_later(card);
}

/* --- start, checks --- */

void network_boot(void)
{
    static const struct dgm_nic_driver driver = {
        .name = "sim", .state_bytes = sizeof(struct card), .start = card_start};

    network.rng = rng_of(sim.options.seed, "network");
    peer_start(&network.outside, 0);
    network.outside.tags = NETS_ALL_TAGS;
    for (unsigned i = 0; i < sim.guest_count; i++) {
        struct sim_guest *guest = sim.guests[i];
        struct config_vif *vif = &sim.config.vifs[sim.config.vif_count++];

        guest->vif = calloc(1, sizeof *guest->vif);
        netfront_start(guest->vif, guest, GUEST_VIF_GFN);
        vif->mac = guest->vif->peer.mac;
        vif->domid = guest->domid;
        vif->queues = (uint16_t)guest->vif->queue_max;
        nets_draw(&guest->vif->peer, vif);
        rates_start(guest->domid, vif->rate_bytes, vif->rate_us);
        if (guest->hostile)
            sim_later(rng_range(&network.rng, 1, 500) * MS, annoy_event, guest->vif, false);
    }
    network.kernel.config = &sim.config;
    network.kernel.common.frames = &sim.frames;
    network_init(&network.kernel);
    network.env = (struct dgm_device_env){.frames = &sim.frames, .reactor = &sim.reactor};
    SIM_CHECK(network_add_card(&network.kernel, &driver, &network.env, "the simulator"),
              "the network card is not used");
}

void network_give(void)
{
    network_start(&network.kernel, &sim.env);
    sim.kernel.others = &network.kernel.devices;
}

void network_check(void)
{
    dgm_packets_check(&network.kernel.packets);
}

void network_check_losses(const struct netfront *front)
{
    const struct dgm_netback *back = network_back(front);
    uint64_t dropped;

    if (!back)
        return;
    dropped = back->counters.dropped_not_connected + back->counters.dropped_queue_full +
              back->counters.dropped_too_long + back->counters.dropped_bad_grant +
              network.kernel.card.counters.dropped_no_memory;
    SIM_CHECK(front->peer.arrived + dropped >= front->to_it,
              "guest %u: %llu packets were sent to it, %llu arrived, %llu were dropped",
              front->guest->domid, (unsigned long long)front->to_it,
              (unsigned long long)front->peer.arrived, (unsigned long long)dropped);
}

void network_end(void)
{
    network_check();
    SIM_CHECK(network.kernel.packets.free_frame_count + network.card->supply.count ==
                  network.kernel.packets.total,
              "%u of %u frames of packets are free at the end, and the card has %u",
              network.kernel.packets.free_frame_count, network.kernel.packets.total,
              network.card->supply.count);
}
