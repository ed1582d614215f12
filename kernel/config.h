/* SPDX-License-Identifier: MIT */
/*
 * config: which guest gets which disk, from the boot device tree
 *
 * The node /dragoman (compatible "dragoman,config"); docs/configuration.md is its manual. Each
 * error is logged with the path of its node, and the rest of the configuration is used.
 */
#ifndef KERNEL_CONFIG_H
#define KERNEL_CONFIG_H

#include <dragoman/drivers/device_env.h>
#include <dragoman/net/netback.h>
#include <dragoman/reach/reach.h>

#include "ranges.h"

#define CONFIG_GUESTS_MAX  32
#define CONFIG_DISKS_MAX   64
#define CONFIG_VIFS_MAX    32
#define CONFIG_BRIDGES_MAX 8
#define CONFIG_KINDS_MAX   4
#define CONFIG_VCPUS_MAX   128 /* of a guest: what Xen has, GUEST_MAX_VCPUS */

struct config_disk {
    char vdev[16];
    char target[48]; /* the disk; disks.h lists the kinds. Empty: any that has the partition */
    char part[120];  /* the rest of the target: what of the disk (selector.h); empty: all of it */
    bool writable;
    bool persistent; /* offer persistent grants; only with mode map or auto */
    enum dgm_reach_mode mode;
    uint16_t domid;
};

struct config_vif {
    uint64_t mac;    /* 48 bits, the first byte highest */
    char bridge[16]; /* the switch's name */
    struct dgm_ip_sources sources;
    struct dgm_vlan_port vlans;
    uint16_t group;               /* of isolation; 0: none */
    bool mirror;                  /* it gets all packets of its switch */
    uint16_t queues;              /* that it offers: 1 to DGM_NETBACK_QUEUES_MAX */
    uint32_t rate_bytes, rate_us; /* what the guest may send, and in which time; 0: no limit */
    uint16_t domid;
};

/* What Dragoman makes a guest of when it starts again. */
struct config_build {
    uint64_t frames; /* of RAM */
    uint32_t vcpus;
    const char *arguments;        /* of its kernel; in the tree, which stays */
    struct range kernel, ramdisk; /* in the machine's memory; ramdisk.bytes 0: none */
};

/* How a guest ended, and what follows: xl.cfg(5), on_poweroff= and the others. */
enum config_end { CONFIG_POWEROFF, CONFIG_REBOOT, CONFIG_CRASH, CONFIG_WATCHDOG, CONFIG_ENDS };

enum config_action {
    CONFIG_DESTROY,
    CONFIG_RESTART,
    CONFIG_PRESERVE, /* the domain stays, without its devices */
};

struct config_guest {
    uint16_t domid;
    char name[32];
    enum config_action on[CONFIG_ENDS];
    bool can_build;
    struct config_build build; /* if can_build */
};

/* "nvme-controllers = <2>": how many controllers a driver finds when all are there. */
struct config_kind {
    char driver[12];
    uint32_t controllers;
};

struct config {
    struct config_guest guests[CONFIG_GUESTS_MAX];
    size_t guest_count;
    struct config_disk disks[CONFIG_DISKS_MAX]; /* by guest, in the order of the tree */
    size_t disk_count;
    struct config_vif vifs[CONFIG_VIFS_MAX]; /* by guest, in the order of the tree */
    size_t vif_count;
    struct config_kind kinds[CONFIG_KINDS_MAX];
    size_t kind_count;
    bool poweroff_when_idle;
    bool caches_by_xen; /* Xen maintains the caches for devices that do not see them */
    struct dgm_device_times disk_times; /* 0 in a member: the driver's default */
};

/* Without the node no guest gets a disk, which is logged. */
void config_read(struct config *config, const void *fdt);

/* The index of a vif's bridge among the different ones, in the order of the vifs. */
size_t config_bridge(const struct config *config, const char *bridge);

/* What is expected of a driver, or NULL. */
const struct config_kind *config_kind(const struct config *config, const char *driver);

/* The guest's entry, or NULL. */
const struct config_guest *config_guest(const struct config *config, uint16_t domid);

#endif
