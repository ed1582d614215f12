/* SPDX-License-Identifier: MIT */
/* network: see network.h. */
#include "network.h"
#include "shortage.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <port/env.h>

#include <stdio.h>
#include <string.h>

/*
 * Frames of the pool: the queues of each vif, the packets that wait for the card (each vif may
 * exceed its share by less than one packet), packets cut for the card, its receive buffers, one
 * batch, and a packet whose tag the switch changes. The sum is reserved, so no vif and no card ever
 * takes frames of another.
 */
#define QUEUES_FRAMES    1024u /* that wait for all vifs together, */
#define QUEUE_FRAMES_MAX 96u   /* of one: at most, */
#define QUEUE_FRAMES_MIN 32u   /* at least */
#define CARD_SEND        160u  /* of packets that wait for the card, shared by the vifs */
#define CARD_RECEIVE     128u

static struct network *network_of(const struct guests_devices *devices)
{
    return dgm_container(devices, struct network, devices);
}

/* --- guests --- */

/* The vifs of a guest are numbered in the order of the configuration. */
static uint32_t handle_of(const struct network *network, size_t index)
{
    uint32_t handle = 0;

    for (size_t i = 0; i < index; i++)
        handle += network->config->vifs[i].domid == network->config->vifs[index].domid;
    return handle;
}

static int give_vif(struct network *network, size_t index, struct guest *guest)
{
    const struct config_vif *wanted = &network->config->vifs[index];
    const struct dgm_netback_options options = {.handle = handle_of(network, index),
                                                .mac = wanted->mac,
                                                .bridge = wanted->bridge,
                                                .rate_bytes = wanted->rate_bytes,
                                                .rate_us = wanted->rate_us,
                                                .sources = wanted->sources,
                                                .vlans = wanted->vlans,
                                                .group = wanted->group,
                                                .mirror = wanted->mirror,
                                                .queues = network->vif[index].queues,
                                                .queue_max = wanted->queues};
    const int result =
        dgm_netback_create(&network->vif[index].back, &network->env, &guest->account,
                           network->nets[config_bridge(network->config, wanted->bridge)], &options);

    if (result != DGM_OK) {
        dgm_env_log("guest %u (%s): vif %u cannot be offered (error %d)", guest->base.domid,
                    guest->base.name, options.handle, result);
        return result;
    }
    network->vif[index].guest = guest;
    network->vif[index].unplug_end_ns = 0;
    dgm_env_log("guest %u (%s): vif %u is %s on %s", guest->base.domid, guest->base.name,
                options.handle, network->vif[index].back.mac, wanted->bridge);
    return DGM_OK;
}

static uint64_t slots_of_vifs(const struct guests_devices *devices, const struct guest *guest)
{
    const struct network *network = network_of(devices);
    uint64_t slots = 0;

    for (size_t i = 0; i < network->config->vif_count; i++)
        if (network->config->vifs[i].domid == guest->base.domid)
            slots += DGM_NETBACK_QUEUE_SLOTS * network->config->vifs[i].queues;
    return slots;
}

static void give_vifs(const struct guests_devices *devices, struct guest *guest)
{
    struct network *network = network_of(devices);

    for (size_t i = 0; i < network->config->vif_count; i++)
        if (network->config->vifs[i].domid == guest->base.domid)
            (void)give_vif(network, i, guest);
}

static void guest_ends(const struct guests_devices *devices, struct guest *guest)
{
    struct network *network = network_of(devices);

    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        if (network->vif[i].guest == guest)
            dgm_netback_guest_gone(&network->vif[i].back);
}

static bool is_drained(const struct guests_devices *devices, const struct guest *guest)
{
    const struct network *network = network_of(devices);

    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        if (network->vif[i].guest == guest && !dgm_netback_idle(&network->vif[i].back))
            return false;
    return true;
}

static void remove_vifs(const struct guests_devices *devices, struct guest *guest)
{
    struct network *network = network_of(devices);

    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++) {
        if (network->vif[i].guest != guest)
            continue;
        dgm_netback_destroy(&network->vif[i].back);
        network->vif[i].guest = NULL;
    }
}

/* --- plugging --- */

#define UNPLUG_POLL_NS 20000000ull
#define UNPLUG_MAX_NS  10000000000ull /* for a guest to close its vif, as xl waits */

/* The index of a guest's vif in the configuration, or CONFIG_VIFS_MAX. */
static size_t find_vif(const struct network *network, struct network_vif vif)
{
    for (size_t i = 0; i < network->config->vif_count; i++)
        if (network->config->vifs[i].domid == vif.domid && handle_of(network, i) == vif.handle)
            return i;
    return CONFIG_VIFS_MAX;
}

/* True if the vif is still being unplugged. */
static bool continue_unplug(struct network *network, size_t index)
{
    struct dgm_netback *vif = &network->vif[index].back;

    if (!dgm_netback_unplugged(vif)) {
        if (dgm_env_now_ns() >= network->vif[index].unplug_end_ns)
            dgm_netback_guest_gone(vif); /* and so it is unplugged soon */
        return true;
    }
    dgm_env_log("guest %u (%s): vif %u is unplugged", vif->xenbus.domid,
                network->vif[index].guest->base.name, vif->xenbus.number);
    dgm_netback_destroy(vif);
    network->vif[index].guest = NULL;
    return false;
}

static void on_unplug_timer(struct dgm_timer *timer)
{
    struct network *network = dgm_container(timer, struct network, unplug_timer);
    bool again = false;

    for (size_t i = 0; i < CONFIG_VIFS_MAX; i++)
        if (network->vif[i].guest && network->vif[i].unplug_end_ns)
            again = continue_unplug(network, i) || again;
    if (again)
        dgm_timer_arm(network->env.reactor, timer, dgm_env_now_ns() + UNPLUG_POLL_NS);
}

int network_unplug(struct network *network, struct network_vif vif)
{
    const size_t index = find_vif(network, vif);

    if (index == CONFIG_VIFS_MAX || !network->vif[index].guest ||
        network->vif[index].guest->state != GUEST_LIVE)
        return DGM_ENOENT;
    if (network->vif[index].unplug_end_ns)
        return DGM_EBUSY;
    network->vif[index].unplug_end_ns = dgm_env_now_ns() + UNPLUG_MAX_NS;
    dgm_netback_unplug(&network->vif[index].back);
    dgm_timer_arm(network->env.reactor, &network->unplug_timer, dgm_env_now_ns() + UNPLUG_POLL_NS);
    return DGM_OK;
}

int network_plug(struct network *network, struct guest *guest, uint32_t handle)
{
    const size_t index =
        find_vif(network, (struct network_vif){.domid = guest->base.domid, .handle = handle});

    if (index == CONFIG_VIFS_MAX || guest->state != GUEST_LIVE || !guest->given)
        return DGM_ENOENT;
    return network->vif[index].guest ? DGM_EEXIST : give_vif(network, index, guest);
}

/* --- the card --- */

const struct dgm_nic_driver *network_driver(const struct network *network,
                                            const struct dgm_pci_device *device)
{
    for (size_t i = 0; i < network->driver_count; i++) {
        const struct dgm_nic_driver *driver = network->drivers[i];

        if (driver->vendor != device->vendor)
            continue;
        for (size_t k = 0; k < sizeof driver->ids / sizeof driver->ids[0] && driver->ids[k]; k++)
            if (driver->ids[k] == device->id)
                return driver;
    }
    return NULL;
}

static void on_card_changed(struct dgm_device_env *env)
{
    struct network *network = dgm_container(env->owner, struct network, devices);
    const struct dgm_nicdev *nic = network->nic;

    if (network->logged || !nic || (!nic->ready && !nic->failed))
        return;
    network->logged = true;
    dgm_env_log("%s is %s: %s, %02x:%02x:%02x:%02x:%02x:%02x, link %s%s", nic->name, network->place,
                nic->model, (unsigned)(nic->mac >> 40) & 0xff, (unsigned)(nic->mac >> 32) & 0xff,
                (unsigned)(nic->mac >> 24) & 0xff, (unsigned)(nic->mac >> 16) & 0xff,
                (unsigned)(nic->mac >> 8) & 0xff, (unsigned)nic->mac & 0xff,
                nic->link ? "up" : "down", env->irq_message ? ", MSI-X" : ", INTx");
}

/* The switch that has the card. */
static struct dgm_switch *card_switch(const struct network *network)
{
    const size_t index = config_bridge(network->config, NETWORK_CARD_BRIDGE);

    return network->nets[index < CONFIG_BRIDGES_MAX && network->nets[index] ? index : 0];
}

bool network_add_card(struct network *network, const struct dgm_nic_driver *driver,
                      struct dgm_device_env *env, const char *place)
{
    struct dgm_nicdev *nic;

    if (network->nic) {
        dgm_env_log("%s: a second network card; only the first is used", place);
        return false;
    }
    nic = dgm_frames_take_bytes(env->frames, driver->state_bytes);
    if (!nic) {
        dgm_env_log("%s: too little memory for a network card: raise dom0_mem=", place);
        return false;
    }
    snprintf(nic->name, sizeof nic->name, "%.11s0", driver->name);
    snprintf(network->place, sizeof network->place, "%s", place);
    env->owner = &network->devices;
    env->changed = on_card_changed;
    network->nic = nic;
    network->card_net = card_switch(network);
    if (dgm_net_card_attach(&network->card, nic, card_switch(network), &network->packets,
                            env->reactor) == DGM_OK &&
        driver->start(nic, env) == DGM_OK)
        return true;
    dgm_env_log("%s (%s) cannot be used", nic->name, place);
    return false;
}

/* --- start --- */

static uint16_t queue_frames_of(size_t vifs)
{
    const size_t each = QUEUES_FRAMES / vifs;

    return (uint16_t)(each > QUEUE_FRAMES_MAX   ? QUEUE_FRAMES_MAX
                      : each < QUEUE_FRAMES_MIN ? QUEUE_FRAMES_MIN
                                                : each);
}

/* A switch has VLANs if one of its vifs has. */
static void init_switches(struct network *network)
{
    for (size_t i = 0; i < network->config->vif_count; i++) {
        const struct config_vif *vif = &network->config->vifs[i];
        struct dgm_switch **net = &network->nets[config_bridge(network->config, vif->bridge)];

        if (!*net) {
            *net = dgm_frames_take_bytes(network->common.frames, sizeof **net);
            if (!*net)
                shortage(network->common.frames, sizeof **net, "the state of a switch");
            dgm_switch_init(*net);
        }
        (*net)->vlans |= vif->vlans.untagged != 0 || vif->vlans.tagged_only;
    }
}

static uint16_t pool_frames_of(const struct network *network)
{
    const size_t each = network->env.queue_frames + DGM_PACKET_FRAMES_MAX - 1;

    return (uint16_t)(network->config->vif_count * each + CARD_SEND + DGM_NET_CARD_CUT_MAX +
                      CARD_RECEIVE + DGM_NETBACK_BATCH_FRAMES + DGM_PACKET_FRAMES_MAX);
}

/* Takes the records of queues, as many as the configuration has. False: there is too little memory.
 * `*bytes`: what they need. */
static bool take_queues(struct network *network, size_t *bytes)
{
    struct dgm_netback_queue *queue;
    size_t total = 0;

    for (size_t i = 0; i < network->config->vif_count; i++)
        total += network->config->vifs[i].queues;
    *bytes = total * sizeof *queue;
    queue = dgm_frames_take_bytes(network->common.frames, *bytes);
    for (size_t i = 0; queue && i < network->config->vif_count; i++) {
        network->vif[i].queues = queue;
        queue += network->config->vifs[i].queues;
    }
    return queue != NULL;
}

void network_init(struct network *network)
{
    const size_t vifs = network->config->vif_count;
    struct dgm_frames *frames = network->common.frames;

    dgm_assert(vifs > 0);
    network->devices = (struct guests_devices){.type = "vif",
                                               .slots = slots_of_vifs,
                                               .give = give_vifs,
                                               .end = guest_ends,
                                               .drained = is_drained,
                                               .remove = remove_vifs};
    init_switches(network);
    network->env.queue_frames = queue_frames_of(vifs);
    network->env.card_frames = (uint16_t)(CARD_SEND / vifs);
    network->env.packets = &network->packets;
    network->env.shared = dgm_netback_shared_take(frames);
    network->unplug_timer.fire = on_unplug_timer;
    const uint16_t count = pool_frames_of(network);
    size_t bytes;

    if (take_queues(network, &bytes) && network->env.shared &&
        dgm_packets_init(&network->packets, frames, count) == DGM_OK)
        return;
    snprintf(network->place, sizeof network->place, "the packets of %zu vifs: they", vifs);
    shortage(frames, (uint64_t)count * DGM_FRAME_BYTES + bytes, network->place);
}

void network_start(struct network *network, const struct dgm_blkback_env *env)
{
    network->env.reactor = env->reactor;
    network->env.xs = env->xs;
    network->env.evtchn = env->evtchn;
    network->env.reach = env->reach;
    if (!network->nic)
        dgm_env_log("there is no network card that can be used: guests can reach only each other");
}
