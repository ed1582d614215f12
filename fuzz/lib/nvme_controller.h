/* SPDX-License-Identifier: MIT */
/*
 * nvme_controller: an NVMe controller whose behaviour comes from a fuzzer's input
 *
 * Unless the input changes it, the controller behaves correctly: it becomes ready, identifies
 * itself, takes commands. `wild` is how often the input changes the value of a register, the
 * Identify data and the status of an admin command. Commands of the I/O queue are only recorded:
 * the target completes them.
 */
#ifndef FUZZ_LIB_NVME_CONTROLLER_H
#define FUZZ_LIB_NVME_CONTROLLER_H

#include "feed.h"

#define CONTROLLER_RAM    0x40000u /* first frame of the memory that it reaches */
#define CONTROLLER_FRAMES 64u
#define CONTROLLER_BASE   0x10000000u /* its registers */

struct queue {
    uint64_t sq, cq; /* bus addresses; 0: none */
    uint32_t depth, head, tail;
    bool phase;
};

extern struct controller {
    struct feed *feed;
    size_t mmio_bytes;
    uint64_t cap;
    struct queue admin, io;
    uint32_t cc, csts, csts_or; /* csts_or: bits that CSTS shows in any case */
    bool csts_gone;             /* CSTS reads as ones */
    bool cut_off;               /* it cannot reach memory any more */
    bool misled;                /* it has shown another stride of its doorbells than it has */
    bool shown_ready;           /* the last read of CSTS had RDY */
    uint8_t wild;               /* in 256, of reads and completions */
    uint16_t fetched[64];       /* I/O commands that were fetched and are not completed */
    unsigned fetched_count;
    void (*fetch)(uint16_t cid); /* the target's: a doorbell has announced this I/O command */
    void (*forget)(void);        /* the target's: the controller was disabled, and lost all */
} controller;

/* The registers, for struct dgm_sim_machine: in 32 bits and within the device. */
uint64_t controller_read(uintptr_t address, unsigned bytes);
void controller_write(uintptr_t address, uint64_t value, unsigned bytes);

/* Its memory at a bus address. */
void *controller_memory(uint64_t bus);

/* Writes a completion, if the queue exists and the controller is not cut off. */
void controller_post(struct queue *queue, uint16_t sq_id, uint16_t cid, uint32_t status);

#endif
