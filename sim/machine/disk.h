/* SPDX-License-Identifier: MIT */
/*
 * disk: one disk of the machine, shared by disks.c (its attachment) and disk_work.c (its activity)
 */
#ifndef SIM_MACHINE_DISK_H
#define SIM_MACHINE_DISK_H

#include <sim/machine/machine.h>

#include <sim/devices/nvme.h>

struct disk {
    struct dgm_device_env env;
    struct dgm_nvme driver;
    struct dgm_simnvme device;
    struct sim_master master;
    struct dgm_irq *irq;
    uint8_t *bytes;
    char name[16];
    uint64_t messages_seen;
    uint32_t number;
    uint64_t back_at;   /* the time at which the dropped link is up again */
    uint64_t paused_to; /* until then it executes no command */
    bool working;       /* an event is on the agenda */
    bool irq_masked;    /* at the device: its line stays low */
    bool failed;        /* permanently */
    /* with --power and a volatile cache; by sector (power.c) */
    uint32_t *durable; /* the stamp that it has again when the power is lost; NULL: no such disk */
    bool *reverted;    /* it has lost a write, and was not written since */
    uint64_t sectors;
    struct rng power_rng;
};

/* Schedules the disk's work, if it has commands and no work is scheduled. */
void disk_work_later(struct disk *disk);

/* power.c: the disk has executed a flush, or is about to write sectors; it loses its power. */
void power_start(struct disk *disk, uint64_t bytes);
void power_flushed(struct disk *disk);
void power_written(struct disk *disk, uint64_t sector, uint64_t count);
void power_lost(struct disk *disk);
/* NULL: there is no such disk. */
const struct disk *disks_of(uint32_t number);

/* For struct dgm_simnvme_config: called when the device, whose context is the disk, has chosen its
 * next command and is about to execute it. */
void disk_command_chosen(void *context, const uint32_t *command, enum dgm_simnvme_fault fault);

#endif
