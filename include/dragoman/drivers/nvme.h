/* SPDX-License-Identifier: MIT */
/*
 * nvme: a disk behind an NVM Express controller
 *
 * One controller, its first active namespace, one pair of I/O queues with up to 63 commands under
 * way. The caller owns the structure; the queues and PRP lists are taken from env->frames while
 * attaching (4 frames, and 16 to 32 for the lists), nothing later.
 *
 * What a device may do, and what comes of it:
 *   answers with an error          the command ends with DGM_EIO, one line a second at most
 *   completes what it was not told counted (`bogus`) and ignored; the true command is still awaited
 *   forgets an interrupt           the tick finds the completion (`interrupts_lost`)
 *   says nothing for ten seconds,  reset: disabled, its commands end with DGM_ETIMEDOUT once it
 *   or reports a fatal status      cannot reach memory any more, brought up again
 *   does not come back             device.failed: every command ends with DGM_EIO, for good
 *
 * All of it runs in the reactor's loop. Nothing blocks after dgm_nvme_start(), which polls with
 * deadlines; a controller that answers takes well under a millisecond of that.
 */
#ifndef DRAGOMAN_DRIVERS_NVME_H
#define DRAGOMAN_DRIVERS_NVME_H

#include <dragoman/drivers/driver.h>

#ifdef __cplusplus
extern "C" {
#endif

/* PCI: mass storage, non-volatile memory, NVM Express. */
#define DGM_NVME_PCI_CLASS 0x010802u

#define DGM_NVME_DEPTH_MAX          64u          /* entries of 64 bytes in one frame */
#define DGM_NVME_TRANSFER_BYTES_MAX (1u << 20)   /* 256 segments of blkif */
#define DGM_NVME_TICK_NS            1000000000ul /* while commands are under way */
#define DGM_NVME_LATE_TICKS         10u

struct dgm_nvme_queue {
    void *sq, *cq; /* a frame each */
    dgm_bus_t sq_bus, cq_bus;
    uint32_t sq_doorbell, cq_doorbell; /* register offsets */
    uint16_t depth;
    uint16_t tail, tail_told; /* of the submission queue */
    uint16_t head;            /* of the completion queue */
    bool phase;               /* of a new completion at `head` */
};

struct dgm_nvme_entry {
    struct dgm_blk_command *command; /* NULL: free */
    uint64_t *list;                  /* PRP list */
    dgm_bus_t list_bus;
    uint32_t sequence; /* submissions before this one */
    uint32_t tick;     /* when it was submitted */
    uint16_t cid;      /* entry number, and above it how often it was used */
    uint16_t next;     /* free list */
};

enum dgm_nvme_state {
    DGM_NVME_DISABLING, /* until it can reach no memory */
    DGM_NVME_ENABLING,
    DGM_NVME_CONFIGURING, /* an admin command is under way */
    DGM_NVME_LIVE,
    DGM_NVME_FAILED,
};

struct dgm_nvme {
    struct dgm_blkdev device; /* what blkback gets */
    struct dgm_device_env *env;
    struct dgm_irq irq;
    struct dgm_timer timer; /* live: the tick; while resetting: the next look */
    enum dgm_nvme_state state;
    bool attaching;
    uint8_t step; /* of configuring */
    uint16_t admin_cid;
    uint64_t deadline_ns; /* of the state or of the admin command */
    uint64_t ready_ns;    /* what CAP.TO grants for enabling and disabling */
    uint32_t version, nsid;
    struct dgm_nvme_queue admin, io;
    struct dgm_nvme_entry entries[DGM_NVME_DEPTH_MAX];
    uint32_t list_entries;
    uint16_t entry_count, free_first, under_way;
    uint32_t sequence, sequence_told;
    uint32_t tick;
    uint64_t log_next_ns;
    uint64_t log_kept_back;
    /* counters, beside those of `device` */
    uint64_t doorbells, interrupts, interrupts_idle, interrupts_lost, bogus, resets;
    uint16_t under_way_max;
};

/*
 * Takes the memory that the driver needs, binds the interrupt and starts to bring the controller
 * up. DGM_OK: device.ready or device.failed follows, at once or minutes later, and env->changed is
 * called then. device.name is env->name until the caller gives a better one. `nvme` and `env` stay
 * where they are permanently, even after an error (the interrupt is bound).
 * DGM_ENODEV: no NVMe controller, no usable namespace. DGM_EOPNOTSUPP: it needs what this driver
 * has not. DGM_ENOMEM, DGM_ERANGE: no frames, or out of its reach. DGM_ETIMEDOUT, DGM_EIO: it did
 * not answer, or with an error. A line says which and why.
 */
int dgm_nvme_start(struct dgm_nvme *nvme, struct dgm_device_env *env);

/* Walks the queue's book-keeping and asserts every invariant; for tests and the simulator. */
void dgm_nvme_check(const struct dgm_nvme *nvme);

extern const struct dgm_disk_driver dgm_nvme_driver;

#ifdef __cplusplus
}
#endif

#endif
