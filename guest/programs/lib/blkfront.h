/* SPDX-License-Identifier: MIT */
/*
 * blkfront: the guest's half of a disk, simulated in user space
 *
 * For frontends other than Linux's (frontends.c) and for guests that exhaust shared resources
 * (neighbour.c). One disk at a time, with one ring and one event channel, which each connection
 * initialises again.
 */
#ifndef BLKFRONT_H
#define BLKFRONT_H

#include <stdbool.h>
#include <stdint.h>

#define BLKFRONT_DISKS_MAX 8

struct blkfront {
    unsigned disk_count, disks[BLKFRONT_DISKS_MAX]; /* numbers: 51712, ... */
    uint32_t ring_ref, port;                        /* of the ring */
    uint8_t *page[2]; /* the pages that transfer_block() writes and reads */
};

extern struct blkfront blkfront;

void blkfront_start(void); /* finds the disks; xen_open() was called */

void new_ring(void);
/* The keys of that ring, and the state Initialised; without waiting. */
void blkfront_write_keys(void);
/* Reads or writes 8 sectors by one request; the response and an event must come. */
void transfer_block(bool to_disk, uint64_t sector);
/* Sends a request without segments, and returns the status in its response. */
int empty_request(uint8_t operation, uint64_t sector);
/* Fills the ring with reads, and waits for their responses, which it does not take: each is
 * overwritten by the next request. It asks for no event. */
void fill_ring(void);

#endif
