/* SPDX-License-Identifier: MIT */
/*
 * connect: a disk's operations for xenbus: describe, offer, connect, disconnect
 *
 * xenbus.c owns the states; this file has their effect on a disk. Connecting reads what the
 * frontend shares (the ring's pages, an event channel), maps and binds it, and writes the disk's
 * size. Disconnecting only begins here, because the disk may have commands; life.c ends it.
 */
#include <block/internal.h>

#include <dragoman/base/check.h>
#include <xen/io/protocols.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct dgm_blkback *blkback_of(struct dgm_xenbus_device *xenbus)
{
    return dgm_container(xenbus, struct dgm_blkback, xenbus);
}

/* --- the keys for the frontend --- */

static int blkback_describe(struct dgm_xenbus_device *xenbus)
{
    const struct dgm_blkback *blkback = blkback_of(xenbus);
    const struct dgm_xenbus_key back[] = {
        {"dev", blkback->vdev, 0},
        {"type", "phy", 0},
        {"device-type", "disk", 0},
        {"params", blkback->disk->name, 0},
        {"mode", blkback->writable ? "w" : "r", 0},
        {"removable", NULL, 0},
        {"bootable", NULL, 1},
    };
    const struct dgm_xenbus_key front[] = {
        {"virtual-device", NULL, xenbus->number},
        {"device-type", "disk", 0},
    };
    const int status = dgm_xenbus_write(xenbus, DGM_XENBUS_BACKEND, back, COUNT(back));

    return status < 0 ? status : dgm_xenbus_write(xenbus, DGM_XENBUS_FRONTEND, front, COUNT(front));
}

static int blkback_offer(struct dgm_xenbus_device *xenbus)
{
    const struct dgm_blkback *blkback = blkback_of(xenbus);
    const struct dgm_xenbus_key features[] = {
        {"feature-barrier", NULL, 0},
        {"feature-flush-cache", NULL, 1},
        {"feature-discard", NULL, 0},
        {"feature-persistent", NULL, blkback->persistent_frames != 0},
        {"feature-max-indirect-segments", NULL, blkback->segments_max},
        {"max-ring-page-order", NULL, blkback->ring_order_max},
    };

    return dgm_xenbus_write(xenbus, DGM_XENBUS_BACKEND, features, COUNT(features));
}

/* Writes the keys for which Linux waits before it creates its disk. `sectors` counts units of 512
 * bytes, as in both of Linux's drivers, independent of sector-size. */
static int write_size(struct dgm_blkback *blkback)
{
    const struct dgm_blkdev *disk = blkback->disk;
    const struct dgm_xenbus_key keys[] = {
        {"sectors", NULL, blkback->blocks * (disk->block_bytes / DGM_BLKIF_SECTOR_BYTES)},
        {"info", NULL, blkback->writable ? 0 : VDISK_READONLY},
        {"sector-size", NULL, disk->block_bytes},
        {"physical-sector-size", NULL, disk->block_bytes},
    };

    return dgm_xenbus_write(&blkback->xenbus, DGM_XENBUS_BACKEND, keys, COUNT(keys));
}

bool dgm_blkback_holds_pages(const struct dgm_blkback *blkback)
{
    for (unsigned i = 0; i < DGM_RING_PAGES_MAX; i++)
        if (blkback->pages[i].held != DGM_REACH_NOT_HELD)
            return true;
    return false;
}

void dgm_blkback_unmap_pages(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;

    for (unsigned i = 0; i < DGM_RING_PAGES_MAX; i++)
        if (blkback->pages[i].held != DGM_REACH_NOT_HELD &&
            blkback->pages[i].foreign.status != DGM_EAGAIN)
            dgm_reach_release_add(&blkback->pages[i], 1, DGM_REACH_DISCARD);
    dgm_reach_release_commit(blkback->env.reach);
    dgm_blkback_queue_wake(pool->reactor, &pool->slots_queue);
    dgm_waiters_wake(&blkback->guest->waiters, blkback->env.reactor);
}

/* --- connecting --- */

/* Reserves room for the ring's pages. False: the device waits for it; its task tries again. */
static bool reserve_pages(struct dgm_blkback *blkback, uint32_t count)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    const int status = dgm_blkback_queue_admits(&pool->slots_queue, &blkback->frames_waiter)
                           ? dgm_reach_reserve(&blkback->page_connection, count)
                           : DGM_EAGAIN;

    if (status == DGM_OK) {
        dgm_blkback_queue_leave(pool->reactor, &blkback->frames_waiter);
        return true;
    }
    blkback->counters.waits++;
    if (status == DGM_EAGAIN)
        dgm_blkback_queue_join(&pool->slots_queue, &blkback->frames_waiter);
    else
        dgm_waiters_add(&blkback->guest->waiters, &blkback->task);
    return false;
}

/* True if exactly the ring's pages are held. Others may be left of an earlier connection, of which
 * they were mapped too late. */
static bool holds_ring(const struct dgm_blkback *blkback, const struct dgm_blkback_shared *shared)
{
    for (unsigned i = 0; i < DGM_RING_PAGES_MAX; i++) {
        const struct dgm_reach_frame *page = &blkback->pages[i];
        const bool wanted = i < 1u << shared->ring_order;

        if ((page->held != DGM_REACH_NOT_HELD) != wanted ||
            (wanted && page->piece.ref != shared->ring_refs[i]))
            return false;
    }
    return true;
}

/* Begins to map the ring's pages. False: there is no room yet. */
static bool add_pages(struct dgm_blkback *blkback, const struct dgm_blkback_shared *shared)
{
    const uint32_t count = 1u << shared->ring_order;

    if (!reserve_pages(blkback, count))
        return false;
    for (unsigned i = 0; i < count; i++)
        blkback->pages[i].piece = (struct dgm_reach_piece){.ref = (grant_ref_t)shared->ring_refs[i],
                                                           .bytes = DGM_FRAME_BYTES,
                                                           .direction = DGM_REACH_TO_GUEST};
    dgm_reach_add(&blkback->page_connection, blkback->pages, count);
    dgm_reach_commit(blkback->env.reach);
    return true;
}

/* Of the pages held. DGM_EAGAIN: some page's map is parked. DGM_EFAULT: Xen refuses a reference. */
static int status_of_pages(const struct dgm_blkback *blkback)
{
    int status = DGM_OK;

    for (unsigned i = 0; i < DGM_RING_PAGES_MAX; i++) {
        const struct dgm_reach_frame *page = &blkback->pages[i];

        if (page->held == DGM_REACH_NOT_HELD || page->foreign.status == DGM_OK)
            continue;
        if (page->foreign.status == DGM_EAGAIN)
            return DGM_EAGAIN;
        status = DGM_EFAULT;
    }
    return status;
}

/* DGM_OK: the ring's pages are mapped. DGM_EAGAIN: there is no room yet, or a page waits for a
 * retry; the device's task tries again. DGM_EFAULT: Xen refuses a reference; none is mapped. */
static int map_pages(struct dgm_blkback *blkback, const struct dgm_blkback_shared *shared)
{
    int status;

    blkback->connect_pending = true;
    if (!holds_ring(blkback, shared)) {
        dgm_blkback_unmap_pages(blkback);
        if (!dgm_blkback_holds_pages(blkback) && !add_pages(blkback, shared))
            return DGM_EAGAIN;
    }
    status = status_of_pages(blkback);
    if (status == DGM_EAGAIN) {
        dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
        return DGM_EAGAIN;
    }
    blkback->connect_pending = false;
    if (status != DGM_OK)
        dgm_blkback_unmap_pages(blkback);
    return status;
}

static void start_ring(struct dgm_blkback *blkback, unsigned order)
{
    struct dgm_ring_pages pages = {.order = order};

    for (unsigned i = 0; i < 1u << order; i++)
        pages.at[i] = dgm_env_va(blkback->pages[i].foreign.gfn);
    dgm_ring_init(&blkback->ring, &pages, sizeof(union dgm_blkif_entry));
}

/* How the connection holds the frames of its requests. */
static enum dgm_reach_held held_by(const struct dgm_reach_connection *connection)
{
    switch (connection->mode) {
    case DGM_REACH_MODE_COPY:
        return DGM_REACH_HELD_COPIED;
    case DGM_REACH_MODE_IDENTITY:
        return DGM_REACH_HELD_IDENTITY;
    default:
        return connection->persistent ? DGM_REACH_HELD_PERSISTENT : DGM_REACH_HELD_MAPPED;
    }
}

static int blkback_connect(struct dgm_xenbus_device *xenbus, const char **why)
{
    struct dgm_blkback *blkback = blkback_of(xenbus);
    struct dgm_blkback_shared shared;
    int status = dgm_blkback_read_shared(blkback, &shared, why);

    dgm_assert(!blkback->connected);
    if (status < 0)
        return status;
    if (blkback->quarantined) { /* the disk is slow or hangs: end_quarantine() continues */
        blkback->connect_pending = true;
        dgm_log_limited(xenbus->log,
                        "vbd %u/%s: waits: %s still has requests of the last connection",
                        xenbus->domid, blkback->vdev, blkback->disk->name);
        return DGM_EAGAIN;
    }
    *why = shared.ring_order ? "ring-ref0 and the following: Xen refuses one of these references"
                             : "ring-ref: Xen refuses this reference";
    status = map_pages(blkback, &shared);
    if (status < 0)
        return status;
    *why = "event-channel: Xen refuses to bind this port";
    status = dgm_evtchn_binder_bind(
        &blkback->binder,
        &(struct dgm_evtchn_remote){.domid = xenbus->domid, .port = (evtchn_port_t)shared.port},
        &blkback->port, 1, xenbus->log);
    if (status == DGM_EAGAIN) { /* the ring's pages stay mapped */
        blkback->connect_pending = true;
        return status;
    }
    if (status < 0) {
        dgm_blkback_unmap_pages(blkback);
        return status;
    }
    *why = "the disk's size could not be written";
    status = write_size(blkback);
    if (status < 0) {
        dgm_evtchn_close(blkback->env.evtchn, blkback->port);
        dgm_blkback_unmap_pages(blkback);
        return status;
    }
    start_ring(blkback, shared.ring_order);
    dgm_reach_connection_init(&blkback->connection, blkback->env.reach, blkback->guest,
                              blkback->mode, shared.persistent ? blkback->persistent_frames : 0);
    blkback->counters.connects[held_by(&blkback->connection)]++;
    blkback->connected = true;
    blkback->disconnecting = false;
    blkback->first_event_due = true;
    dgm_blkback_flush_begin(blkback);
    dgm_reactor_post(blkback->env.reactor, &blkback->task);
    return DGM_OK;
}

static void blkback_disconnect(struct dgm_xenbus_device *xenbus)
{
    struct dgm_blkback *blkback = blkback_of(xenbus);

    blkback->disconnecting = true;
    dgm_blkback_stop_waiting(blkback);
    if (blkback->entry_pending)
        blkback->counters.dropped++;
    blkback->entry_pending = false;
    dgm_timer_arm(blkback->env.reactor, &blkback->release_timer,
                  dgm_env_now_ns() + DGM_BLKBACK_RELEASE_NS);
}

const struct dgm_xenbus_ops dgm_blkback_ops = {
    .describe = blkback_describe,
    .offer = blkback_offer,
    .connect = blkback_connect,
    .disconnect = blkback_disconnect,
};
