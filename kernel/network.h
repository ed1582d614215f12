/* SPDX-License-Identifier: MIT */
/*
 * network: the switch, its cards, and the guests' vifs
 *
 * No part of it exists, and it takes no memory, unless the configuration gives a guest a vif. The
 * vifs with one name of a bridge are ports of one switch. The first card that a driver serves is a
 * port of the switch NETWORK_CARD_BRIDGE, or of the first one if none has that name; other cards
 * are not used. A guest gets its vifs when it is introduced, whether there is a card or not.
 */
#ifndef KERNEL_NETWORK_H
#define KERNEL_NETWORK_H

#include "guests.h"

#include <dragoman/drivers/pci.h>
#include <dragoman/net/card.h>
#include <dragoman/net/netback.h>

#define NETWORK_CARD_BRIDGE "xenbr0"

struct network {
    struct guests_devices devices;               /* for guests_init() */
    struct dgm_switch *nets[CONFIG_BRIDGES_MAX]; /* by config_bridge(); NULL: free */
    struct dgm_packets packets;
    struct dgm_netback_env env;
    struct {
        struct dgm_netback back;
        struct dgm_netback_queue *queues; /* of the configured number */
        struct guest *guest;              /* NULL: free */
        uint64_t
            unplug_end_ns; /* being unplugged: when it is destroyed in any case; 0: it is not */
    } vif[CONFIG_VIFS_MAX];
    struct dgm_timer unplug_timer; /* while a vif is being unplugged */
    struct dgm_net_card card;
    struct dgm_nicdev *nic; /* NULL: there is none */
    const struct dgm_switch *card_net;
    bool logged; /* its readiness or failure was logged */
    char place[64];
    const struct config *config;
    const struct dgm_nic_driver *const *drivers; /* of the image */
    size_t driver_count;
    struct dgm_device_env common; /* the members that all cards have in common */
};

/* A vif of the configuration: its guest, and its number there, from 0. */
struct network_vif {
    domid_t domid;
    uint32_t handle;
};

/* `network` is zeroed except for the members `config`, `drivers`, `driver_count` and `common`.
 * Takes memory; panics if there is too little. */
void network_init(struct network *network);

/* The driver for a PCI function, or NULL. */
const struct dgm_nic_driver *network_driver(const struct network *network,
                                            const struct dgm_pci_device *device);

/* Adds a card that `driver` serves. False: it is not used, and the caller must keep it from
 * accessing memory. */
bool network_add_card(struct network *network, const struct dgm_nic_driver *driver,
                      struct dgm_device_env *env, const char *place);

/*
 * Withdraws a vif from a running guest, and gives it again. A vif has left when the guest has
 * closed it, or after a time. DGM_ENOENT: there is no such vif, or, to plug, no such vif in the
 * configuration. DGM_EBUSY: it is already leaving. To plug: results as of dgm_netback_create().
 */
int network_unplug(struct network *network, struct network_vif vif);
int network_plug(struct network *network, struct guest *guest, uint32_t handle);

/* Called before the guests are introduced: `env` has the backends' parts. */
void network_start(struct network *network, const struct dgm_blkback_env *env);

#endif
