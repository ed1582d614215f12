/* SPDX-License-Identifier: MIT */
/*
 * internal: the declarations that blkback's files share
 *
 *   connect.c   a disk's operations for xenbus: describe, offer, connect, disconnect
 *   shared.c    the frontend's keys, in every dialect
 *   life.c      the device's only task, run_device(); the end of a connection; create, destroy
 *   drain.c     from the ring to requests whose frames are reached
 *   segments.c  from a request's segments to the pieces of its transfer
 *   issue.c     from those to the disk, and back to responses
 *   flush.c     flushes that the disk fails
 *   waiting.c   the end of waiting for something scarce
 *
 * All code runs from that task or from xenbus, in one reactor.
 */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include <block/pool.h>
#include <block/request.h>

extern const struct dgm_xenbus_ops dgm_blkback_ops;

/* The keys of a frontend. */
struct dgm_blkback_shared {
    uint64_t ring_refs[DGM_RING_PAGES_MAX];
    unsigned ring_order; /* 1 << ring_order pages */
    uint64_t port;
    bool persistent; /* the frontend reuses its grants */
};

/*
 * The number of a virtual disk, from its name: "xvda", "xvdb3", "xvdaa". Disks up to xvdp with
 * partitions up to 15 have the old numbers (202 << 8 | disk << 4 | partition), all others the
 * extended ones (1 << 28 | disk << 8 | partition). DGM_EINVAL: no such name.
 */
int dgm_blkback_vdev_number(const char *vdev, uint32_t *number);

/* Reads the frontend's keys. After an error *why names the key and the fault. */
int dgm_blkback_read_shared(struct dgm_blkback *blkback, struct dgm_blkback_shared *shared,
                            const char **why);

/* Releases the ring's pages that are mapped. A page whose map is parked stays so. */
void dgm_blkback_unmap_pages(struct dgm_blkback *blkback);
/* True if a page of a ring is mapped, or its map is parked. */
bool dgm_blkback_holds_pages(const struct dgm_blkback *blkback);

/* Leaves the queues in which a drain waits. */
void dgm_blkback_stop_draining(struct dgm_blkback *blkback);
/* Leaves every queue and list of waiters, except those for retries, and posts the device's task. */
void dgm_blkback_stop_waiting(struct dgm_blkback *blkback);

/*
 * A run of a device's task begins requests until its work is spent, 8 of 4 KiB or 2 of 128 KiB, and
 * ends requests until it is spent once more; the rest waits for the next run, behind the tasks of
 * others.
 */
static inline uint32_t dgm_blkback_work_of(const struct dgm_blkif_request *parsed)
{
    return 10u + parsed->segment_count; /* beside its frames, a request costs as much as 10 */
}

/* The limits for the check of a request to the device. */
static inline struct dgm_blkif_limits dgm_blkback_limits_of(const struct dgm_blkback *blkback)
{
    return (struct dgm_blkif_limits){
        .sectors = blkback->blocks * (blkback->disk->block_bytes / DGM_BLKIF_SECTOR_BYTES),
        .block_bytes = blkback->disk->block_bytes,
        .segments_max = blkback->segments_max,
        .writable = blkback->writable,
    };
}

/* Copies and checks the segments of an indirect request, whose page is at `page`. */
void dgm_blkback_read_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                               dgm_gfn_t page);

/* Reaches the segments of a request, which were checked: at once, if the connection has all of
 * them mapped already; otherwise adds them to the batch. True: no commit is needed for them. */
bool dgm_blkback_reach_segments(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                                const struct blkif_request_segment *segments);

/* Takes up to a budget of requests from the ring and reaches their frames. */
void dgm_blkback_drain(struct dgm_blkback *blkback);

/* Continues the requests of `list`, whose frames were added. Each leaves it for `issuing`, for
 * `finished` (Xen refused a reference) or for `parked` (a frame waits for a retry). */
void dgm_blkback_reach(struct dgm_blkback *blkback, struct dgm_blkback_list *list);

/* Submits requests of `issuing`, oldest first, until all are submitted or a resource is short. */
void dgm_blkback_issue(struct dgm_blkback *blkback);

/* Releases the frames of finished requests, up to a budget, in one batch, writes their responses,
 * and returns their records. */
void dgm_blkback_finish(struct dgm_blkback *blkback);

/* Writes one response, which the frontend does not see before the ring is published. */
void dgm_blkback_respond(struct dgm_blkback *blkback, const struct dgm_blkif_request *parsed,
                         int16_t status);

/* Whether the frontend is connected and takes responses. */
static inline bool dgm_blkback_may_respond(const struct dgm_blkback *blkback)
{
    return blkback->connected && !blkback->disconnecting;
}

/* Enables flushing again, for a new connection. */
void dgm_blkback_flush_begin(struct dgm_blkback *blkback);
/* Handles a flush that the disk failed. True: it is parked for a retry. False: the device has given
 * up flushing, or the connection has ended, and the request ends without a response. */
bool dgm_blkback_flush_failed(struct dgm_blkback *blkback, struct dgm_blkback_request *request);
/* Handles a flush that the disk completed. False: the device has given up flushing, and the request
 * ends without a response. */
bool dgm_blkback_flush_succeeded(struct dgm_blkback *blkback,
                                 const struct dgm_blkback_request *request);
/* Gives up flushing if the disk has lost writes with its power. */
void dgm_blkback_power_lost(struct dgm_blkback *blkback);
/* Moves parked flushes to `issuing` when their pause is over, or when the connection has ended,
 * which ends them. */
void dgm_blkback_flush_retry(struct dgm_blkback *blkback);
void dgm_blkback_flush_timer(struct dgm_timer *timer);

/* Counts a refusal, and logs it within the device's limit. */
void dgm_blkback_note_refusal(struct dgm_blkback *blkback, const struct dgm_blkif_request *parsed,
                              enum dgm_blkback_refusal refusal);

/* Whether every segment is a whole frame: none is longer. */
static inline bool dgm_blkback_is_whole_frames(const struct dgm_blkback_request *request)
{
    return request->parsed.bytes == request->parsed.segment_count * DGM_FRAME_BYTES;
}

static inline void dgm_blkback_append(struct dgm_blkback_list *list,
                                      struct dgm_blkback_request *request)
{
    request->next = NULL;
    if (list->first)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

/* The list's first request, or NULL if the list is empty. */
static inline struct dgm_blkback_request *dgm_blkback_pop(struct dgm_blkback_list *list)
{
    struct dgm_blkback_request *request = list->first;

    if (request)
        list->first = request->next;
    return request;
}

#endif
