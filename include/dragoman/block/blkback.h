/* SPDX-License-Identifier: MIT */
/*
 * blkback: one disk shared with one guest over Xen's PV block protocol
 *
 * A request takes these steps. An event of the guest posts the device's task. The task drains the
 * ring up to a budget: it copies each entry out of shared memory once, and a pure function parses
 * the copy. One hypercall reaches all segments of the drain in the disk's mode (reach.h); indirect
 * requests need a second one. dma turns the segments into what the disk is given. Completions are
 * collected, one hypercall releases their frames, and only then are the responses written, with at
 * most one event to the guest.
 *
 * The guest's memory is read once and never trusted. A request that breaks the protocol gets an
 * error response and is counted by cause; a broken ring closes this device only. A shortage
 * (records, slots, copy buffers, bounce buffers, the disk's queue entries) stops the draining of
 * the ring until it ends: it costs latency and is never an I/O error. Every device has a minimum of
 * everything scarce for itself, and devices share the rest by a fair rule (block/share.h): whatever
 * a guest and its disks hold, a request on another, healthy disk finds a record, a command and room
 * for its frames. Devices that share one disk take turns at its queue.
 *
 * The end of a connection takes bounded time. Frames that the disk has not returned by then stay
 * mapped and counted (quarantined: without an IOMMU nothing else is safe); everything else of the
 * connection is released.
 *
 * Request records come from one pool per reactor, not from a pool per ring; the pool's sizes bound
 * how many requests of all guests are in flight. Everything runs in that reactor.
 *
 * Guests are offered: read, write, flush; up to 256 indirect segments; persistent grants if
 * configured; no barriers, no discard; one ring of up to 4 pages (128 requests), where the guest's
 * slots allow it.
 */
#ifndef DRAGOMAN_BLOCK_BLKBACK_H
#define DRAGOMAN_BLOCK_BLKBACK_H

#include <dragoman/dma/dma.h>
#include <dragoman/reach/reach.h>
#include <dragoman/hyper/binder.h>
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

struct dgm_blkback_counters {
    uint64_t reads, writes, flushes; /* requests that succeeded */
    uint64_t indirect;               /* accepted requests whose segments lay in a page */
    uint64_t bytes_read, bytes_written;
    uint64_t segments;                      /* reached */
    uint64_t refused[DGM_BLKBACK_REFUSALS]; /* the guest's fault, error responses */
    uint64_t device_errors;                 /* requests that the disk failed, error responses */
    uint64_t dropped;        /* in flight when the frontend left: no response was written */
    uint64_t ring_overflows; /* connections closed for a producer index beyond the ring */
    uint64_t connects[DGM_REACH_HELD_IDENTITY + 1]; /* by how frames are then held */
    uint64_t drains;                                /* runs of the task that took a request */
    uint64_t waits; /* times that a request had to wait for something scarce */
    uint64_t events_sent;
    uint64_t quarantined;      /* requests that the disk had not returned in time */
    uint64_t flush_retries;    /* flushes that the disk failed and that were submitted again */
    uint64_t flushes_given_up; /* times that a device gave up flushing */
    uint64_t flushes_without_response; /* flushes that got no response after that */
};

/* The time for which the disk may keep a request after its guest has left. Drivers end their
 * commands much sooner, by resets if necessary. */
#define DGM_BLKBACK_RELEASE_NS (60ull * 1000000000)

/*
 * The time for which a flush that the disk fails is retried. A failed flush never gets an error
 * response: Linux's blkfront would take it for "flush is not supported", report success to fsync,
 * and never flush again. When the time is over, the device gives up: its flushes get no response,
 * and its writes fail, until the frontend connects again. So no fsync returns success without
 * durability.
 */
#define DGM_BLKBACK_FLUSH_RETRY_NS (30ull * 1000000000)

/* --- the pool of a reactor --- */

/* Classes of request records, by the segments for which they have room. */
enum {
    DGM_BLKBACK_SMALL,  /* 11: direct requests */
    DGM_BLKBACK_MEDIUM, /* 32: Linux's default */
    DGM_BLKBACK_LARGE,  /* 256 */
    DGM_BLKBACK_CLASSES,
};

/* Numbers of records. */
struct dgm_blkback_records {
    uint16_t requests[DGM_BLKBACK_CLASSES];
    uint16_t commands; /* one for each transfer that a disk has */
};

#define DGM_BLKBACK_DEVICES_MAX 64u

struct dgm_blkback_pool_sizes {
    uint16_t devices;                  /* the maximum number; up to DGM_BLKBACK_DEVICES_MAX */
    struct dgm_blkback_records each;   /* minimum of each device; at least 1 of each kind */
    struct dgm_blkback_records shared; /* beyond the minimums, for all devices (share.h) */
};

/* What a pool is for, and may take. */
struct dgm_blkback_pool_room {
    uint16_t devices;
    uint64_t frames; /* of memory */
};

/*
 * The default sizes for `devices` devices. The minimum of each device is 4 small, 4 medium and 1
 * large request, and 4 commands. The shared part consists of sets of 64 small, 32 medium and 4
 * large requests and 64 commands, one set for each device and one more, so that all devices can
 * have 64 small requests, as many as an NVMe queue takes, in flight at the same time. Where
 * `frames` frames of memory do not suffice there are fewer sets, but at least two (about 670 KiB,
 * and 47 KiB for each device).
 */
struct dgm_blkback_pool_sizes dgm_blkback_pool_sizes_for(struct dgm_blkback_pool_room room);

struct dgm_blkback_pool;

/* Takes the records from `frames`. DGM_ENOMEM; DGM_EINVAL: a size is out of its bounds. */
int dgm_blkback_pool_init(struct dgm_blkback_pool *pool, struct dgm_reactor *reactor,
                          struct dgm_frames *frames, const struct dgm_blkback_pool_sizes *sizes);

/* True if all records are free and no device waits: always so while no guest is connected. */
bool dgm_blkback_pool_idle(const struct dgm_blkback_pool *pool);

/* --- one device --- */

/* What a device works with; all of it belongs to one reactor. Copied; what it points to stays the
 * caller's and outlives the device. */
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
    /* The part of the disk that is shared, in its blocks: a partition. 0 blocks: the whole disk. */
    uint64_t first_block, blocks;
    bool writable; /* ignored for a read-only disk, which is always shared read-only */
    enum dgm_reach_mode mode;
    uint16_t persistent_frames; /* the most frames that stay mapped for persistent grants; used in
                                   mode map, if the frontend has them; 0: they are not offered */
    uint16_t guest_disks;       /* how many disks the guest will have, this one included: each gets
                                   an equal part of the guest's quotas for itself; 0: one */
};

/* The caller's memory from create to destroy. The caller may read `counters`, `disk`, `vdev`,
 * `writable` and what xenbus.h offers of `xenbus`; layout.h has the rest. */
struct dgm_blkback;

/*
 * Shares options->disk with `guest`: creates the nodes and goes to InitWait. `guest` and the disk
 * outlive the device. The caller answers for parts of a disk that overlap: blkback does not compare
 * devices. DGM_EINVAL: vdev is not the name of a virtual disk. Asserts: the part lies within the
 * disk. DGM_ENOSPC: the guest has
 * too few slots or copy buffers, the pool or the bounce buffers are for fewer devices, or the store
 * is full. DGM_EOPNOTSUPP: the mode is not available.
 */
int dgm_blkback_create(struct dgm_blkback *blkback, const struct dgm_blkback_env *env,
                       struct dgm_guest_account *guest, const struct dgm_blkback_options *options);

/* The guest has ended: begins to release all that the device holds of it. The caller then waits
 * until the device is idle or quarantined. */
void dgm_blkback_guest_gone(struct dgm_blkback *blkback);

/* True if nothing of the guest is held: no grant, no event channel, no request. */
bool dgm_blkback_idle(const struct dgm_blkback *blkback);

/* True if only requests that the disk still has are held. The guest can be destroyed; Xen keeps
 * those of its frames. The device becomes idle when the disk returns the requests, if ever. */
bool dgm_blkback_quarantined(const struct dgm_blkback *blkback);

/* The progress of a connected device, for reports. If every request has a response and the guest
 * got an event for it, the next step is the guest's. */
struct dgm_blkback_progress {
    struct dgm_ring_indices page; /* as the guest sees the ring */
    uint32_t taken, responded;    /* requests, in the ring's count */
    uint32_t records;             /* requests without a response */
    uint32_t parked, to_submit;   /* of these: waiting for a retry; not yet completely submitted */
    bool posted;                  /* the device's task will run */
    evtchn_port_t port;
    struct dgm_evtchn_bits event;
};

/* False: not connected. */
bool dgm_blkback_progress(const struct dgm_blkback *blkback, struct dgm_blkback_progress *progress);

/* Removes the nodes. Afterwards the caller may reuse the memory. Asserts: idle. */
void dgm_blkback_destroy(struct dgm_blkback *blkback);

#ifdef __cplusplus
}
#endif

#include <dragoman/block/layout.h>

#endif
