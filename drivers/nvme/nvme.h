/* SPDX-License-Identifier: MIT */
/*
 * nvme: the state of one NVMe controller and of its queues
 *
 * Every file of the driver works on it; the driver's tests and the simulator's oracles read it. The
 * embedder provides its memory (dgm_nvme_driver.state_bytes) and sees only its `device`.
 */
#ifndef DRIVERS_NVME_NVME_H
#define DRIVERS_NVME_NVME_H

#include <dragoman/drivers/nvme.h>

/* PCI: mass storage, non-volatile memory, NVM Express. */
#define DGM_NVME_PCI_CLASS 0x010802u

#define DGM_NVME_DEPTH_MAX          64u        /* entries of 64 bytes in one frame */
#define DGM_NVME_TRANSFER_BYTES_MAX (1u << 20) /* 256 segments of blkif */

struct dgm_nvme_queue {
    void *sq, *cq; /* a frame each */
    dgm_bus_t sq_bus, cq_bus;
    uint32_t sq_doorbell, cq_doorbell; /* register offsets */
    uint16_t depth;
    uint16_t tail, tail_announced; /* of the submission queue */
    uint16_t head;                 /* of the completion queue */
    bool phase;                    /* of a new completion at `head` */
};

struct dgm_nvme_entry {
    struct dgm_blk_command *command; /* NULL: free */
    uint64_t *list;                  /* PRP list */
    dgm_bus_t list_bus;
    uint64_t failed_ns;  /* time of the first failure, if `tries` > 0, ... */
    uint64_t failed_at;  /* ... and `completions` at that time */
    uint64_t due_ns;     /* parked: when it is sent again */
    uint64_t watched_ns; /* sent: when a poll first found it in flight; 0: no poll did */
    uint32_t sequence;   /* commands that were sent before this one */
    uint16_t cid;        /* entry number, and above it how often it was used */
    uint16_t next;       /* free list */
    uint8_t tries;       /* that failed */
    bool parked;         /* not at the controller: it is sent again when it is due */
};

/* What the controller reports about itself and the namespace. */
struct dgm_nvme_identity {
    char serial[24], model[44], nguid[36];
    uint64_t blocks;
    uint32_t block_bytes, transfer_bytes_max;
    uint32_t nsid, second_nsid; /* the first active namespaces; 0: none */
    bool write_cache, read_only;
};

enum dgm_nvme_state {
    DGM_NVME_LOST,        /* does not respond, or could not be initialised: waits */
    DGM_NVME_DISABLING,   /* until it can no longer access memory */
    DGM_NVME_ENABLING,    /* until it is ready for admin commands */
    DGM_NVME_CONFIGURING, /* an admin command is in flight */
    DGM_NVME_LIVE,
    DGM_NVME_CLOSING, /* until it is shut down */
    DGM_NVME_CLOSED,
    DGM_NVME_FAILED,
};

struct dgm_nvme {
    struct dgm_blkdev device; /* what a backend uses */
    /* Counters in addition to those of `device`; for reports. */
    uint64_t doorbells, interrupts, interrupts_idle, interrupts_lost;
    uint64_t bogus, retries, resets, replays;
    uint16_t in_flight_max;

    struct dgm_device_env *env;
    struct dgm_device_times times; /* with the defaults filled in */
    struct dgm_irq irq;
    struct dgm_timer timer; /* live: the next poll; otherwise the next step */
    enum dgm_nvme_state state;
    /* initialisation */
    uint8_t step; /* of CONFIGURING */
    uint16_t admin_cid;
    uint8_t attempts;       /* failed attempts since it was last live */
    bool known;             /* its limits were read */
    bool permanent_failure; /* no further attempt */
    const char *cause;      /* of the last failed attempt */
    uint64_t entered_ns;    /* the state */
    uint64_t deadline_ns;   /* of the state or of the admin command */
    uint64_t give_up_ns;    /* of all attempts */
    uint64_t lost_till_ns;  /* LOST: the pause before the next attempt */
    uint64_t ready_ns;      /* what CAP.TO grants for enabling and disabling */
    uint32_t version;
    struct dgm_nvme_identity found;
    uint64_t power_cycles; /* 0: the disk does not say */
    bool power_doubted;    /* it has said a smaller number since */
    /* the queues */
    struct dgm_nvme_queue admin, io;
    struct dgm_nvme_entry entries[DGM_NVME_DEPTH_MAX];
    uint32_t list_entries;
    uint16_t entry_count, free_first;
    uint16_t in_flight; /* entries in use, of which ... */
    uint16_t sent;      /* ... these are at the controller, or will be with the next doorbell */
    uint32_t sequence, sequence_announced;
    uint64_t completions; /* taken from the I/O queue */
    bool flush_failed;
    /* supervision */
    bool progress; /* since the last poll */
    uint64_t progress_ns;
    uint64_t poll_pause_ns;
    uint64_t unannounced; /* `completions` when a poll found one without an interrupt */
    struct dgm_device_line line;
    uint32_t resets_fruitless; /* in a row */
    /* limit of log lines */
    uint64_t log_next_ns, log_suppressed;
    uint64_t lost_said_ns;
    /* shutdown */
    bool closing, closing_flushed, closing_flush_sent;
    uint64_t closing_half_ns;
    struct dgm_blk_command closing_flush;
};

/* dgm_nvme_driver.start, for one controller: the public header has the contract. */
int dgm_nvme_start(struct dgm_nvme *nvme, struct dgm_device_env *env);

/* Asserts every invariant of the queue; for tests and the simulator. */
void dgm_nvme_check(const struct dgm_nvme *nvme);

#endif
