/* SPDX-License-Identifier: MIT */
/*
 * nvme_rig: a machine with one NVMe controller (sim/nvme) for the driver's tests
 *
 * Our RAM's machine frames differ from its gfns, and the device's bus addresses from both, so a
 * driver that confuses any two of them reaches nothing. The first frames are for queues, the others
 * for data. The rig checks every DMA and fails the test if
 *   a data frame is accessed that belongs to no command in flight, or in the wrong direction, any
 *   memory is accessed while the controller is disabled or after dma_stop.
 * Time passes with every register access (10 us), and by nvme_pass().
 */
#ifndef NVME_RIG_H
#define NVME_RIG_H

#include "unit.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <drivers/nvme/nvme.h>
#include <port/env.h>
#include <sim/devices/nvme.h>

#define RAM          0x40000ull
#define QUEUE_FRAMES 64u
#define DATA_FRAMES  1040u
#define COLOUR       0x1230ull /* mfn - gfn */
#define BUS_BASE     0x700000000ull
#define MMIO         0x80000000ull
#define MMIO_BYTES   0x100000u
#define COMMANDS     80u
#define SEGMENTS     258u
#define MS           1000000ull
#define SECOND       (1000 * MS)

struct nvme_job {
    struct dgm_blk_command command;
    struct dgm_dma_segment segments[SEGMENTS];
    uint32_t frame, frames, offset; /* of its data, in the data area; pages in descending order */
    int status;                     /* 1: in flight */
    unsigned ended;
    void (*then)(struct nvme_job *job); /* called at the end of done */
};

extern struct nvme_rig {
    struct dgm_p2m p2m;
    uint64_t p2m_memory[64];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct dgm_simnvme sim;
    struct dgm_nvme nvme;
    uint8_t *disk;
    uint64_t now_ns, mmio_reads, messages_seen;
    struct dgm_irq *irq;
    int bind_status;
    bool cut; /* dma_stop was called */
    /* the bus */
    bool absent;  /* configuration space does not respond */
    bool other;   /* another kind of device is there */
    bool cleared; /* configuration was lost: the registers read as ones until it is restored */
    bool masked;  /* the level interrupt, at the device */
    unsigned restores, changes;
    unsigned rejects; /* of env.reject, which a test may set to nvme_reject */
    struct nvme_job commands[COMMANDS];
    struct nvme_job *owner[DATA_FRAMES];
    struct dgm_task waiter;
    unsigned woken, in_flight, ended;
    uint64_t cleaned, invalidated; /* bytes */
} nvme_rig;

struct dgm_blkdev *nvme_device(void);

/* For env.reject: the function's DMA is cut off until the next restore, in another slot. */
bool nvme_reject(struct dgm_device_env *env);

void nvme_pass(uint64_t ns);

/* The disk of most tests: 512-byte blocks, 8 MiB. */
extern const struct dgm_simnvme_config nvme_plain;

/* The machine; the driver is not yet started. */
void nvme_start(const struct dgm_simnvme_config *config);

/* Starts the driver and waits until the disk is ready or has failed, which gives DGM_EIO. */
int nvme_attach(void);

/* The machine with nvme_plain, attached; random numbers from the seed. */
void nvme_attach_plain(void);

void nvme_end(void);

/* The next `count` I/O commands meet the fault. */
void nvme_fault(enum dgm_simnvme_fault kind, uint64_t count);

/* Jobs [first, first + count) of 4 KiB, submitted and kicked. */
void nvme_submit_many(unsigned first, unsigned count, enum dgm_blk_op op);

/* The number of these jobs that have `status`. */
unsigned nvme_count(unsigned first, unsigned count, int status);

/* The link drops: configuration is cleared, and commands in flight are lost. */
void nvme_drop_link(void);

/* Fails unless the disk has failed, was cut off, and stays so. */
void nvme_stays_failed(void);

/* The byte `at` of the command's data, from the CPU's view. */
uint8_t *nvme_byte(const struct nvme_job *command, uint32_t at);

/*
 * Prepares command `index` with data from data frame `frame` on, `offset` bytes into its first
 * page; pages lie in descending order, so each is a segment.
 */
struct nvme_job *nvme_prepare(unsigned index, enum dgm_blk_op op, uint64_t block, uint32_t blocks,
                              uint32_t frame, uint32_t offset);

int nvme_submit(struct nvme_job *command);

void nvme_kick(void);

/* Delivers a pending interrupt, and fires due timers. */
void nvme_turn(void);

/* Lets the controller work, and time pass, until no command is in flight and the controller is live
 * or has failed, or `limit_ns` is over. */
void nvme_settle(uint64_t limit_ns);

/* Submits one command and waits for its end. */
int nvme_do(struct nvme_job *command);

/* A write and a read of other memory come back with the same bytes. */
void nvme_works(void);

#endif
