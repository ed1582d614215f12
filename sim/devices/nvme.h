/* SPDX-License-Identifier: MIT */
/*
 * nvme: a simulated NVM Express controller
 *
 * Registers and queues as in the NVM Express Base Specification 1.4, with one or more namespaces of
 * which the first active one is backed by memory. It reads queues and PRP lists and transfers data
 * through `memory`, by bus address, a run of bytes within one page at a time. That callback sees
 * every DMA; there a test or the simulator decides which memory may be accessed.
 *
 * The caller controls time: admin commands are executed when their doorbell rings, I/O commands by
 * dgm_simnvme_run(), in the order of arrival or shuffled. For a slow or stalled disk the caller
 * calls it rarely. Interrupts are a line (dgm_simnvme_line) and a count of messages; the caller
 * delivers them.
 *
 * Assertions check that the driver obeys the specification: aligned 32-bit registers, doorbells
 * that stay within their queue and do not overtake, no doorbell while not ready, commands that are
 * complete, identifiers that are not in use, PRP entries on page boundaries, blocks within the
 * disk, a shutdown that is requested only when no I/O command is in flight.
 *
 * Each fault has a name.
 */
#ifndef SIM_DEVICES_NVME_H
#define SIM_DEVICES_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens to an I/O command instead of its execution and completion. */
enum dgm_simnvme_fault {
    DGM_SIMNVME_SOUND,
    DGM_SIMNVME_ERROR,        /* not executed, completed with `status` */
    DGM_SIMNVME_SILENT,       /* held: never completed; its DMA happens late */
    DGM_SIMNVME_FATAL,        /* held, and CSTS.CFS is set */
    DGM_SIMNVME_NO_INTERRUPT, /* completed without an interrupt */
    DGM_SIMNVME_BAD_CID,      /* completed under an identifier whose entry is beyond the queue */
    DGM_SIMNVME_OLD_CID,      /* completed under the identifier of the entry's use before */
    DGM_SIMNVME_BAD_QUEUE,    /* completed as if from another submission queue */
    DGM_SIMNVME_TWICE,        /* completed twice */
    DGM_SIMNVME_FLOOD, /* completed, followed by `flood_entries` invalid completions, even without
                          room */
    DGM_SIMNVME_UNWRITTEN, /* a read completed with success, although no data was written */
};

struct dgm_simnvme_config {
    uint64_t cap;     /* 0: 64 entries, 1 s, doorbells of 4 bytes, NVM commands, pages from 4 KiB */
    uint32_t version; /* 0: 1.4 */
    const char *serial, *model;
    uint8_t mdts;
    bool write_cache, write_protected;
    uint64_t power_cycles; /* changes when the test switches it off and on */
    uint32_t nsid;         /* of the first active namespace; 0: none */
    uint32_t second_nsid;
    uint8_t nguid[16];
    uint64_t blocks;
    uint8_t block_shift;
    uint16_t metadata_bytes;
    uint8_t format;   /* which of the 16 LBA formats is in use */
    uint64_t shuffle; /* seed of the order of execution; 0: the order of arrival */
    /* The bytes at `bus`, all in one page, or NULL: an abort on the bus. */
    void *(*memory)(void *context, uint64_t bus, uint32_t bytes, bool write);
    /* Called before a command is executed, with its fault; may be NULL. */
    void (*on_execute)(void *context, const uint32_t *command, enum dgm_simnvme_fault fault);
    void *context;
};

struct dgm_simnvme_queue {
    uint64_t sq, cq; /* bus addresses; 0: not created */
    uint32_t sq_size, cq_size;
    uint32_t sq_head, sq_tail, cq_head, cq_tail;
    bool phase, interrupts;
};

#define DGM_SIMNVME_HELD_MAX 256

struct dgm_simnvme {
    struct dgm_simnvme_config config;
    uint8_t *disk; /* config.blocks << config.block_shift bytes, the caller's */
    /* faults: set by the test at any time */
    enum dgm_simnvme_fault fault;
    uint64_t fault_from, fault_count; /* which I/O commands, by number since the start */
    uint16_t status;                  /* of ERROR: type << 8 | code, and bit 14: do not retry */
    unsigned flood_entries;
    bool gone;            /* every read returns ones, writes are lost */
    bool never_ready;     /* CSTS.RDY stays 0 */
    unsigned ready_after; /* reads of CSTS until RDY rises */
    bool never_stops;     /* CSTS.RDY stays 1 after CC.EN = 0 */
    unsigned stops_after; /* reads of CSTS until RDY falls; held DMA happens meanwhile */
    uint8_t admin_error,
        admin_silent;  /* the opcode that is completed with an error, or not at all */
    bool mute_writes;  /* no write is completed */
    bool admin_bogus;  /* each completion follows one of another command */
    bool never_closes; /* the shutdown is not completed */
    bool keeps_line;   /* as QEMU 7.2: a reset with completions that were not taken leaves
                        * the interrupt line asserted until the next one is taken */
    /* state */
    uint32_t cc, csts, aqa;
    uint64_t asq, acq;
    struct dgm_simnvme_queue queues[2];      /* admin, I/O */
    uint32_t held[DGM_SIMNVME_HELD_MAX][16]; /* commands that were fetched and not completed */
    bool stuck[DGM_SIMNVME_HELD_MAX];        /* and never will be completed */
    size_t held_count;
    unsigned stopping, starting;
    bool stuck_line;
    uint64_t messages; /* the interrupts that a message-signalled device would send */
    bool muted;        /* the line does not show the posted completions (NO_INTERRUPT) */
    bool overrun;      /* FLOOD: the completion queue is corrupt until a reset */
    uint64_t doorbells, io_commands, flushes, resets, closings;
    uint64_t flushed_at; /* io_commands when the last flush was executed */
};

/* `disk` may be NULL if the test does no I/O. */
void dgm_simnvme_init(struct dgm_simnvme *nvme, const struct dgm_simnvme_config *config,
                      uint8_t *disk);

/* Register accesses; `offset` from the start of BAR 0. */
uint64_t dgm_simnvme_read(struct dgm_simnvme *nvme, uint64_t offset, unsigned bytes);
void dgm_simnvme_write(struct dgm_simnvme *nvme, uint64_t offset, uint64_t value, unsigned bytes);

/* Fetches the queued commands, executes and completes up to `most` I/O commands. Returns how
 * many. */
unsigned dgm_simnvme_run(struct dgm_simnvme *nvme, unsigned most);

/* True if dgm_simnvme_run() could execute a fetched command. */
bool dgm_simnvme_ready(const struct dgm_simnvme *nvme);

/* The level-triggered interrupt line. */
bool dgm_simnvme_line(const struct dgm_simnvme *nvme);

/* Does the DMA of every held command, although it is never completed. */
void dgm_simnvme_late_dma(struct dgm_simnvme *nvme);

#endif
