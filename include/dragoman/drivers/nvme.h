/* SPDX-License-Identifier: MIT */
/*
 * nvme: a disk behind an NVM Express controller
 *
 * One controller, its first active namespace, one pair of I/O queues with up to 63 commands under
 * way. The caller owns the structure; queues and PRP lists are taken from env->frames by
 * dgm_nvme_start() (36 frames), and nothing later.
 *
 * What a device may do, and what the driver does:
 *   answers with an error that may pass    the command is sent again, with growing pauses, for
 *   (not ready, format in progress, ...)   times.retry_ns; only then it ends with DGM_EIO
 *   answers with a media error             a few more tries unless the device forbids them (its "do
 *                                          not retry" bit), then DGM_EIO
 *   is slow                                nothing: a device that completes any command is alive
 *   completes nothing for times.stall_ns,  reset; the commands are sent again afterwards. A command
 *   or reports a fatal status              that was lost to three resets, with none completed in
 *                                          between, ends with DGM_ETIMEDOUT after times.retry_ns
 *   leaves the bus, or loses its           its queue waits for times.lost_ns; env->restore()
 *   configuration (a link that dropped)    brings it back, and it is reset as above
 *   comes back as another disk             device.failed: serial, namespace and size must be equal
 *   answers a flush with an error that     device.failed: written data may be lost, so no later
 *   stays                                  write may look well
 *   does not come back                     device.failed: every command ends with DGM_EIO
 *   completes what is not under way        counted (`bogus`) and ignored; the true command is still
 *                                          awaited
 *   raises no interrupt                    the completion is found by a look at the queue, and the
 *                                          next looks follow soon (`interrupts_lost`)
 *   raises a level interrupt and posts     the line is masked at the device, which is polled
 *   nothing, a hundred times in a row      (`interrupts_masked`)
 *
 * A command ends only when the controller cannot reach its memory any more: it was completed, or
 * the controller is disabled, or env->dma_stop has cut it off. All of it runs in the reactor's loop
 * and nothing blocks.
 */
#ifndef DRAGOMAN_DRIVERS_NVME_H
#define DRAGOMAN_DRIVERS_NVME_H

#include <dragoman/drivers/driver.h>

/* PCI: mass storage, non-volatile memory, NVM Express. */
#define DGM_NVME_PCI_CLASS 0x010802u

#ifdef __cplusplus
extern "C" {
#endif

#define DGM_NVME_DEPTH_MAX          64u        /* entries of 64 bytes in one frame */
#define DGM_NVME_TRANSFER_BYTES_MAX (1u << 20) /* 256 segments of blkif */

/* --- private: what follows is for the driver; it is here because the caller owns its memory --- */

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
    uint64_t failed_ns;  /* when it failed first, if `tries` > 0, ... */
    uint64_t failed_at;  /* ... and `completions` then */
    uint64_t due_ns;     /* parked: when it is sent again */
    uint64_t watched_ns; /* sent: when a look found it under way first; 0: none did */
    uint32_t sequence;   /* commands that were sent before this one */
    uint16_t cid;        /* entry number, and above it how often it was used */
    uint16_t next;       /* free list */
    uint8_t tries;       /* that failed */
    bool parked;         /* not with the controller: it is sent again when it is due */
};

/* What the controller says of itself, and of the namespace. */
struct dgm_nvme_identity {
    char serial[24], model[44], nguid[36];
    uint64_t blocks;
    uint32_t block_bytes, transfer_bytes_max;
    uint32_t nsid, second_nsid; /* the first active namespaces; 0: none */
    bool write_cache, read_only;
};

enum dgm_nvme_state {
    DGM_NVME_LOST,        /* does not answer, or could not be brought up: waits */
    DGM_NVME_DISABLING,   /* until it can reach no memory */
    DGM_NVME_ENABLING,    /* until it is ready for admin commands */
    DGM_NVME_CONFIGURING, /* an admin command is under way */
    DGM_NVME_LIVE,
    DGM_NVME_CLOSING, /* until it is shut down */
    DGM_NVME_CLOSED,
    DGM_NVME_FAILED,
};

struct dgm_nvme {
    struct dgm_blkdev device; /* what a backend uses */
    /* Counters beside those of `device`; for reports. */
    uint64_t doorbells, interrupts, interrupts_idle, interrupts_lost, interrupts_masked;
    uint64_t bogus, retries, resets, replays;
    uint16_t under_way_max;

    /* --- private --- */
    struct dgm_device_env *env;
    struct dgm_device_times times; /* with the defaults filled in */
    struct dgm_irq irq;
    struct dgm_timer timer; /* live: the next look; else the next step */
    enum dgm_nvme_state state;
    /* bringing it up */
    uint8_t step; /* of CONFIGURING */
    uint16_t admin_cid;
    uint8_t attempts;      /* that failed since it was live */
    bool known;            /* its limits were read */
    bool hopeless;         /* no further attempt */
    const char *cause;     /* of the last failed attempt */
    uint64_t entered_ns;   /* the state */
    uint64_t deadline_ns;  /* of the state or of the admin command */
    uint64_t give_up_ns;   /* of all attempts */
    uint64_t lost_till_ns; /* LOST: the pause before the next attempt */
    uint64_t ready_ns;     /* what CAP.TO grants for enabling and disabling */
    uint32_t version;
    struct dgm_nvme_identity found;
    /* the queues */
    struct dgm_nvme_queue admin, io;
    struct dgm_nvme_entry entries[DGM_NVME_DEPTH_MAX];
    uint32_t list_entries;
    uint16_t entry_count, free_first;
    uint16_t under_way; /* entries in use; of these ... */
    uint16_t sent;      /* ... the controller has, or gets with the next doorbell */
    uint32_t sequence, sequence_told;
    uint64_t completions; /* taken from the I/O queue */
    bool flush_failed;
    /* watching */
    bool progress; /* since the last look */
    uint64_t progress_ns;
    uint64_t look_pause_ns;
    uint64_t unannounced; /* `completions` when a look found one that no interrupt told of */
    uint32_t idle_run;    /* interrupts without a completion, in a row */
    bool irq_masked;
    uint32_t unmask_after, polls_fruitful;
    uint32_t resets_fruitless; /* in a row */
    /* log lines that came too fast */
    uint64_t log_next_ns, log_suppressed;
    uint64_t lost_said_ns;
    /* shutdown */
    bool closing, closing_flushed, closing_flush_sent;
    uint64_t closing_half_ns;
    struct dgm_blk_command closing_flush;
};

/* --- public again --- */

/*
 * Takes the memory that the driver needs, binds the interrupt and starts to bring the controller
 * up. DGM_OK: device.ready or device.failed follows, at once or minutes later, and env->changed is
 * called then. device.name is env->name until the caller gives a better one. `nvme` and `env` stay
 * where they are permanently, even after an error (the interrupt may be bound).
 * DGM_ENODEV: too few registers. DGM_ENOMEM, DGM_ERANGE: no frames, or out of its reach. Else what
 * env->irq_bind returned. Each makes device.failed true, with a log line.
 */
int dgm_nvme_start(struct dgm_nvme *nvme, struct dgm_device_env *env);

/* Walks the queue's book-keeping and asserts every invariant; for tests and the simulator. */
void dgm_nvme_check(const struct dgm_nvme *nvme);

extern const struct dgm_disk_driver dgm_nvme_driver;

#ifdef __cplusplus
}
#endif

#endif
