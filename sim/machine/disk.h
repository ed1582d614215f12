/* SPDX-License-Identifier: MIT */
/*
 * disk: one disk of the machine, as disks.c (how it is attached) and disk_work.c (what it does by
 * itself) share it
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
    uint64_t back_at;   /* the link that dropped is up again */
    uint64_t paused_to; /* it carries out nothing */
    bool working;       /* an event is on the agenda */
    bool irq_masked;    /* at the device: its line stays low */
    bool failed;        /* permanently */
};

/* It carries out commands after a while, if it has any and does not already intend to. */
void disk_work_later(struct disk *disk);

/* For struct dgm_simnvme_config: the device, whose context is the disk, has chosen its next
 * command, and is about to carry it out. */
void disk_command_chosen(void *context, const uint32_t *command, enum dgm_simnvme_fault fault);

#endif
