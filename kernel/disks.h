/* SPDX-License-Identifier: MIT */
/*
 * disks: the disks of the machine, and the targets that name them
 *
 * Every controller that a driver serves has an entry, in the order of the tree and of the bus, even
 * if it cannot be used. So its name and its place mean the same controller at every boot, even if
 * others fail, are late or are duplicated. A controller that has left the bus shifts the positions
 * of those after it; where sharing.c can detect that, it refuses them. A serial number or an EUI
 * can belong to any controller, so such a target waits until each controller is identified or has
 * failed, and is refused if two have it.
 *
 * This module knows no bus and no machine: platform.c and pci.c find controllers and call
 * disks_add(). A disk becomes ready immediately or minutes later; its environment's `changed` is
 * called then. All code runs in the reactor.
 *
 * Targets (docs/configuration.md): "nvme0", "nvme0n1", "pci:00:02.0", "sd:/axi/mmc@ff170000",
 * "mmc0", "serial:...", "eui:...".
 */
#ifndef KERNEL_DISKS_H
#define KERNEL_DISKS_H

#include <dragoman/drivers/driver.h>
#include <dragoman/partition/reader.h>

#define DISKS_MAX 64

struct disks_entry {
    const struct dgm_disk_driver *driver;
    struct dgm_blkdev *blkdev; /* NULL: it cannot be used, and is not identified */
    uint32_t position;         /* among the controllers of its driver, from 0 */
    char name[16];             /* "nvme0" */
    char place[64];            /* "pci:00:02.0", "sd:/axi/mmc@ff170000"; empty: it has none */
    char alias[16];            /* of its node in the device tree, "mmc0"; empty: it has none */
    const char *interrupt;     /* its kind, for the log line about the disk: ", MSI-X" */
    bool logged;               /* its readiness or failure was logged */
    struct dgm_partition_reader *reader; /* of its partition table; NULL: it is not read */
    dgm_gfn_t table_frame;               /* the reader's */
    bool table_read;                     /* the reader was started */
};

/* What readers of partition tables work with. */
struct disks_tables {
    struct dgm_reactor *reactor;
    struct dgm_dma *dma;      /* NULL: no table is read */
    struct dgm_task *changed; /* posted when a table was read */
};

struct disks {
    struct disks_entry disk[DISKS_MAX];
    size_t count;
    struct disks_tables tables; /* set before the first disk is added */
};

/* The kernel's input for each driver. */
struct disks_options {
    const struct dgm_disk_driver *const *drivers; /* of the image */
    size_t driver_count;
    struct dgm_device_env common; /* for all devices: reactor, frames, p2m, changed */
};

/* The place of a controller, as targets name it. */
struct disks_place {
    const char *place, *alias; /* of struct disks_entry; empty: none */
};

/*
 * Adds the next controller of `driver`, found at `place`, and starts its disk with a state taken
 * from env->frames. `env` NULL: the bus could not enable it. False: it is not used, and the caller
 * must keep it from accessing memory; the cause was logged.
 */
bool disks_add(struct disks *disks, const struct dgm_disk_driver *driver,
               struct dgm_device_env *env, struct disks_place place);

/* Adds the disks of drivers that need no device. */
void disks_add_deviceless(struct disks *disks, const struct disks_options *options);

/* Starts to read the tables of disks that have become ready, if tables are read, and logs each disk
 * that has become ready, table included, or has failed since the last call. */
void disks_update(struct disks *disks);

/* Neither will change: it is ready, its table read, or it has failed. */
bool disks_is_settled(const struct disks_entry *disk);
bool disks_is_usable(const struct disks_entry *disk);

enum disks_meaning {
    DISKS_NOT,
    DISKS_MEANT,
    DISKS_PERHAPS, /* it is not identified yet */
};

/* Prints one line for each disk: its name, its place and its state. */
void disks_print(const struct disks *disks);

/* Does `target` mean `disk`? */
enum disks_meaning disks_meaning(const struct disks_entry *disk, const char *target);

/* A target that counts controllers: "nvme1", "nvme1n2". */
struct disks_position {
    const struct dgm_disk_driver *driver;
    uint32_t position;
    uint32_t present; /* controllers of the driver */
};

/* False: `target` is none, or no controller of such a driver is present. */
bool disks_position(const struct disks *disks, const char *target, struct disks_position *position);

enum disks_found {
    DISKS_READY,   /* found[0] */
    DISKS_WAIT,    /* some disk must first become ready, or be identified */
    DISKS_NONE,    /* no disk of this machine */
    DISKS_SEVERAL, /* more than one: at least found[0] and found[1] */
    DISKS_FAILED,  /* found[0], which cannot be used */
};

/* The disk that `target` means now. DISKS_WAIT changes to another result later; the others are
 * final. */
/* True for two controllers of one namespace (a disk with two ports): they have one NGUID or EUI-64,
 * as far as they are identified. Also for an entry and itself. */
bool disks_are_one(const struct disks_entry *a, const struct disks_entry *b);

enum disks_found disks_find(struct disks *disks, const char *target, struct disks_entry *found[2]);

/* Called before the machine is switched off: makes completed writes durable and shuts each device
 * down. Returns when all are shut down, or at `deadline_ns`. From now on no disk takes a
 * command. */
void disks_shutdown(struct disks *disks, uint64_t deadline_ns);

#endif
