/* SPDX-License-Identifier: MIT */
/*
 * front: a guest's blkfront
 *
 * It ends its grants when it gets the response. A grant that is still in use then fails the test;
 * Linux would stop using the disk.
 */
#ifndef FRONT_H
#define FRONT_H

#include "unit.h"

#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)

#include <dragoman/block/blkback.h>
#include <xen/io/protocols.h>

#define FRONT_RING_GFN 1900
#define FRONT_DATA_GFN 16
#define FRONT_FRAMES   2048
#define FRONT_GFN_BAD  UINT64_MAX
#define FRONT_SENT_MAX 128

/* A request that was sent, by its index (the low bits of the id). */
struct front_request {
    bool used, responded;
    uint64_t id;
    uint8_t operation; /* that the response must echo */
    int16_t status;
    unsigned ref_count;
    grant_ref_t refs[260];
};

struct front {
    domid_t domid;
    uint32_t number;
    unsigned ring_order; /* set before it shares: a ring of 1 << ring_order pages */
    grant_ref_t ring_refs[DGM_RING_PAGES_MAX];
    evtchn_port_t port;
    blkif_front_ring_t ring;
    struct front_request sent[FRONT_SENT_MAX];
    unsigned outstanding, responses, next;
    uint64_t events;
    bool persistent;                  /* set before it shares: it reuses its grants, */
    grant_ref_t grants[FRONT_FRAMES]; /* one for each frame; 0: none yet */
};

/* Part of a frame of the guest. */
struct part {
    uint64_t gfn;        /* FRONT_GFN_BAD: the request gets an invalid reference */
    uint8_t first, last; /* sectors */
};

/* Creates a guest with its home in xenstore, as the kernel does. */
void front_guest_start(domid_t domid);

void front_init(struct front *front, domid_t domid, const char *vdev);

/* --- xenstore --- */

/* The path of a key of the frontend, or of the backend. 128 bytes. */
void front_path(const struct front *front, bool backend, const char *key, char *path);
void front_write(const struct front *front, const char *key, const char *value);
void front_write_number(const struct front *front, const char *key, uint64_t number);
/* A key of either end; -1: it does not exist. */
long long front_key_number(const struct front *front, bool backend, const char *key);
#define back_state(front) front_key_number(front, true, "state")

/* --- a connection --- */

/* Makes a new ring and channel, and writes their keys. */
void front_share(struct front *front);
/* Ends ring, channel and all grants, after the backend has closed. */
void front_unshare(struct front *front);
/* As Linux does: waits for InitWait, shares, 3, waits for 4, reads the size, 4. */
void front_connect(struct front *front);
void front_close(struct front *front);

/* --- requests --- */

/* Records a request that will be sent, and chooses its id. */
struct front_request *front_prepare(struct front *front, uint8_t operation, uint64_t *id);
/* Puts a raw entry into the ring. */
void front_put(struct front *front, const void *entry, size_t bytes);
/* Read or write of up to 11 parts. Returns the request's index. */
unsigned front_rw(struct front *front, bool write, uint64_t sector, const struct part *parts,
                  unsigned count);
/* The same for up to 256 parts. The page of segments is the guest's frame `page_gfn`. */
unsigned front_rw_indirect(struct front *front, bool write, uint64_t sector,
                           const struct part *parts, unsigned count, uint64_t page_gfn);
unsigned front_flush(struct front *front);

/* Shows the requests to the backend, with an event if it wants one. */
void front_push(struct front *front);
/* Takes the responses: checks that each is for a request in flight and echoes it, and ends the
 * grants. */
void front_collect(struct front *front);
/* Pushes, runs the machine, collects. */
void front_exchange(struct front *front);
/* The status of a request that was responded to; its entry is free again. */
int16_t front_status(struct front *front, unsigned index);

#endif
