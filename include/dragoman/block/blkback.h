/* SPDX-License-Identifier: MIT */
/*
 * blkback: one disk shared with one guest over Xen's PV block protocol
 *
 * The way of a request: an event posts the device's task; it drains the ring up to a budget, each
 * entry copied out once and parsed by a pure function; all segments of the drain are reached by one
 * hypercall (a second one when requests are indirect), in the way that was chosen for this disk
 * (reach.h: mapped, kept mapped, copied, or mapped at their machine address); dma says what to tell
 * the disk; completions are gathered, their frames released by one hypercall, and only then
 * answered, with at most one event to the guest.
 *
 * Nothing the guest writes is read twice or believed. What it gets wrong is answered with an error,
 * counted by cause; a broken ring closes this device. A shortage (records, slots, bounce buffers,
 * queue entries of the disk) means that the ring is not drained further: it costs time, never an
 * I/O error. Everything short is queued for in order, so no disk starves another; a guest that has
 * used up its own share waits for itself, not in anybody's way.
 *
 * Letting go of a frontend is bounded: what the disk has not given back in time stays mapped and
 * counted (quarantined: without an IOMMU nothing else would be safe), and everything else of the
 * connection is released.
 *
 * Records come from a pool per reactor, never per ring; its sizes bound how many requests of all
 * guests are under way at once. Everything here runs in that reactor.
 *
 * Offered to guests: read, write, flush; up to 256 indirect segments; persistent grants if so
 * configured; no barriers, no discard, one ring of one page.
 */
#ifndef DRAGOMAN_BLOCK_BLKBACK_H
#define DRAGOMAN_BLOCK_BLKBACK_H

#include <dragoman/dma/dma.h>
#include <dragoman/reach/reach.h>
#include <dragoman/hyper/ring.h>
#include <dragoman/xenstore/xenbus.h>
#include <dragoman/drivers/blkdev.h>
#include <xen/io/blkif.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- why a request is refused --- */

enum dgm_blkback_refusal {
    DGM_BLKBACK_ACCEPTED,
    DGM_BLKBACK_OPERATION_UNKNOWN,
    DGM_BLKBACK_OPERATION_NOT_OFFERED, /* barrier, discard */
    DGM_BLKBACK_READ_ONLY,
    DGM_BLKBACK_SEGMENTS_NONE,
    DGM_BLKBACK_SEGMENTS_TOO_MANY,
    DGM_BLKBACK_SEGMENT_BOUNDS, /* first > last, or beyond the frame */
    DGM_BLKBACK_OUT_OF_RANGE,
    DGM_BLKBACK_UNALIGNED,
    DGM_BLKBACK_FLUSH_WITH_DATA,
    DGM_BLKBACK_BAD_GRANT, /* Xen refused a reference */
    DGM_BLKBACK_REFUSALS,
};

const char *dgm_blkback_refusal_name(enum dgm_blkback_refusal refusal);

struct dgm_blkback_counters {
    uint64_t reads, writes, flushes; /* requests answered OK */
    uint64_t indirect;               /* accepted requests whose segments lay in a page */
    uint64_t bytes_read, bytes_written;
    uint64_t segments;                      /* reached */
    uint64_t refused[DGM_BLKBACK_REFUSALS]; /* the guest's fault, answered with an error */
    uint64_t device_errors;                 /* requests failed by the disk */
    uint64_t dropped;        /* requests under way when the frontend left, not answered */
    uint64_t ring_overflows; /* rings stopped for a producer index beyond all bounds */
    uint64_t drains, waits;  /* runs that took a request; times that one had to wait */
    uint64_t events_sent;
    uint64_t quarantined; /* requests that the disk had not given back in time */
};

/* How long the disk may keep a request after its guest has gone. Drivers end their commands much
 * sooner, by resets if need be. */
#define DGM_BLKBACK_RELEASE_NS (60ull * 1000000000)

/* --- the pool of a reactor --- */

struct dgm_blkback_request; /* block/pool.h */
struct dgm_blkback_command;

/* Whoever is short stands in line; who is not first may not take. */
struct dgm_blkback_queue;
struct dgm_blkback_waiter {
    struct dgm_blkback_waiter *next;
    struct dgm_task *task;
    struct dgm_blkback_queue *line; /* NULL: not in line */
};
struct dgm_blkback_queue {
    struct dgm_blkback_waiter *first, *last;
};

/* Request records by how many segments they have room for. */
enum {
    DGM_BLKBACK_SMALL,  /* 11: direct requests */
    DGM_BLKBACK_MEDIUM, /* 32: what Linux asks for unless told otherwise */
    DGM_BLKBACK_LARGE,  /* 256 */
    DGM_BLKBACK_CLASSES,
};

struct dgm_blkback_class {
    struct dgm_blkback_request *free_first;
    struct dgm_blkback_queue line;
    uint16_t segments; /* room in each record */
    uint16_t total, free, free_min;
};

struct dgm_blkback_pool_sizes {
    uint16_t requests[DGM_BLKBACK_CLASSES]; /* records; at least 1 each */
    uint16_t commands;                      /* transfers that disks have at once; at least 1 */
};

/* 64 small, 64 medium, 8 large requests, 96 commands: about 300 KiB. */
extern const struct dgm_blkback_pool_sizes dgm_blkback_pool_sizes_default;

struct dgm_blkback_pool {
    struct dgm_reactor *reactor;
    struct dgm_blkback_class classes[DGM_BLKBACK_CLASSES];
    struct dgm_blkback_command *commands_free;
    struct dgm_blkback_queue commands_line;
    uint16_t commands_total, commands_left, commands_left_min;
    struct dgm_blkback_queue slots_line, buffers_line; /* room for frames; buffers: path copy */
    struct blkif_request_segment scratch[256];         /* an indirect page, copied out */
};

/* Takes the records from `frames`. sizes NULL: the default. DGM_ENOMEM; DGM_EINVAL: a size of 0. */
int dgm_blkback_pool_init(struct dgm_blkback_pool *pool, struct dgm_reactor *reactor,
                          struct dgm_frames *frames, const struct dgm_blkback_pool_sizes *sizes);

/* All records are free and nobody waits: so it must be when no guest is connected. */
bool dgm_blkback_pool_idle(const struct dgm_blkback_pool *pool);

/* --- one device --- */

/* What a device works with; all of one reactor. Kept by value, what it points to stays. */
struct dgm_blkback_env {
    struct dgm_reactor *reactor;
    struct dgm_xenstore *xs;
    struct dgm_evtchn *evtchn;
    struct dgm_reach *reach;
    struct dgm_dma *dma;
    struct dgm_blkback_pool *pool;
};

/* What is shared, and how. */
struct dgm_blkback_options {
    const char *vdev; /* "xvda" */
    struct dgm_blkdev *disk;
    bool writable; /* a read-only disk is shared read-only whatever this says */
    enum dgm_reach_mode mode;
    uint16_t persistent_frames; /* mapped for persistent grants, if the frontend has them; only in
                                   mode map; 0: persistent grants are not offered */
};

struct dgm_blkback_list {
    struct dgm_blkback_request *first, *last;
};

/* The caller's from create to destroy; opaque but for `counters`. */
struct dgm_blkback {
    struct dgm_blkback_counters counters;
    struct dgm_xenbus_device xenbus;
    struct dgm_blkback_env env;
    struct dgm_blkdev *disk;
    struct dgm_dma_tag tag; /* the disk's, narrowed to our command records */
    char vdev[12];
    bool writable;
    uint16_t segments_max;      /* offered */
    uint16_t persistent_frames; /* as asked for */
    enum dgm_reach_mode mode;
    struct dgm_guest_account *guest;
    struct dgm_task task; /* everything happens here */
    /* the connection */
    struct dgm_reach_connection connection;
    struct dgm_reach_connection page_connection; /* the ring is mapped, whatever the path */
    struct dgm_reach_frame page;                 /* the ring's */
    struct dgm_timer release;                    /* the end of patience with the disk */
    struct dgm_ring ring;
    evtchn_port_t port;
    bool holding;          /* ring mapped and channel bound */
    bool closing;          /* letting go: nothing is taken, issued or answered any more */
    bool greet;            /* tell the frontend once that we are here */
    bool quarantine;       /* let go of but for what the disk has not given back */
    bool unkicked;         /* commands submitted since the last kick */
    bool wants_to_connect; /* no slot was free for the ring */
    /* requests */
    struct dgm_blkback_list reaching;    /* Xen is to be asked again for some frame */
    struct dgm_blkback_list waiting;     /* reached, some part not yet submitted; oldest first */
    struct dgm_blkback_list finished;    /* to be released and answered */
    struct dgm_blkback_list releasing;   /* the same, and Xen is to be asked again */
    uint32_t live;                       /* records held */
    struct dgm_blkback_waiter record;    /* in line for a request record */
    struct dgm_blkback_waiter slots;     /* in line for slots, or for buffers */
    struct dgm_blkback_waiter command;   /* in line for a command record */
    struct dgm_blkback_command *in_hand; /* one, while it waits for a bounce buffer */
    bool parked;
    uint8_t parked_entry[112]; /* a request that was taken and has no record yet */
    uint32_t complaints;       /* logged on this connection */
};

/*
 * Shares options->disk with `guest`: creates the nodes and goes to InitWait. `guest` and the disk
 * stay until it is destroyed. DGM_EINVAL: no such vdev name; DGM_ENOSPC: too few slots or buffers,
 * or the store is full; DGM_EOPNOTSUPP: the path is not offered here.
 */
int dgm_blkback_create(struct dgm_blkback *blkback, const struct dgm_blkback_env *env,
                       struct dgm_guest_account *guest, const struct dgm_blkback_options *options);

/* The guest is no more: begins to let go of everything; then wait until it is idle. */
void dgm_blkback_guest_gone(struct dgm_blkback *blkback);

/* Nothing of the guest's is held: no grant, no event channel, no request. */
bool dgm_blkback_idle(const struct dgm_blkback *blkback);

/* All is released but what the disk still has: that guest can be ended (Xen keeps those of its
 * frames). It becomes idle when the disk gives them back, if ever. */
bool dgm_blkback_quarantined(const struct dgm_blkback *blkback);

/* Removes the nodes; the memory is the caller's again. Asserts: idle. */
void dgm_blkback_destroy(struct dgm_blkback *blkback);

/*
 * A virtual device's number from its name: "xvda", "xvdb3", "xvdaa". Disks below xvdq with up to 15
 * partitions have the old numbers (202 << 8 | disk << 4 | partition), others the extended ones (1
 * << 28 | disk << 8 | partition). DGM_EINVAL: no such name.
 */
int dgm_blkback_vdev_number(const char *vdev, uint32_t *number);

#ifdef __cplusplus
}
#endif

#endif
