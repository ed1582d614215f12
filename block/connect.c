/* SPDX-License-Identifier: MIT */
/*
 * connect: a device's life, and its one task
 *
 * xenbus.c walks the states; here is what they mean for a disk. Connecting reads what the frontend
 * shares (a ring of one page, an event channel), maps and binds it, and writes the disk's size.
 * Letting go is in steps, because the disk may have commands: `closing` is set, nothing new is
 * taken or issued, and when the last record is back, or patience is at its end, what was kept and
 * the page are unmapped, the channel closed, and xenbus told. What the disk has still then stays
 * quarantined: mapped, charged to its guest, and released when the disk gives it back.
 *
 * The task runs after an event of the guest, a completed command, or the end of a shortage. It
 * always does everything there is to do, in an order that gives back before it takes.
 */
#include <block/internal.h>

#include <dragoman/check.h>
#include <dragoman/text.h>
#include <string.h>
#include <xen/io/protocols.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct dgm_blkback *of_xenbus(struct dgm_xenbus_device *xenbus)
{
    return dgm_container(xenbus, struct dgm_blkback, xenbus);
}

/* --- what xenbus asks for --- */

static int blkback_describe(struct dgm_xenbus_device *xenbus)
{
    const struct dgm_blkback *blkback = of_xenbus(xenbus);
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
    const struct dgm_blkback *blkback = of_xenbus(xenbus);
    const struct dgm_xenbus_key features[] = {
        {"feature-barrier", NULL, 0},
        {"feature-flush-cache", NULL, 1},
        {"feature-discard", NULL, 0},
        {"feature-persistent", NULL, blkback->keep != 0},
        {"feature-max-indirect-segments", NULL, blkback->segments_max},
        {"max-ring-page-order", NULL, 0},
    };

    return dgm_xenbus_write(xenbus, DGM_XENBUS_BACKEND, features, COUNT(features));
}

/* What Linux waits for before it makes its disk. `sectors` counts 512 bytes, as Linux's own two
 * ends do, whatever sector-size says. */
static int write_disk(struct dgm_blkback *blkback)
{
    const struct dgm_blkdev *disk = blkback->disk;
    const struct dgm_xenbus_key keys[] = {
        {"sectors", NULL, disk->blocks * (disk->block_bytes / DGM_BLKIF_SECTOR_BYTES)},
        {"info", NULL, blkback->writable ? 0 : VDISK_READONLY},
        {"sector-size", NULL, disk->block_bytes},
        {"physical-sector-size", NULL, disk->block_bytes},
    };

    return dgm_xenbus_write(&blkback->xenbus, DGM_XENBUS_BACKEND, keys, COUNT(keys));
}

struct shared {
    uint64_t ref, port;
    bool persistent; /* its grants are reused */
};

/* A key that may be missing, but if it is there must be `expected`. */
static bool absent_or(struct dgm_xenbus_device *xenbus, const char *key, uint64_t expected)
{
    uint64_t number;
    const int status = dgm_xenbus_read_number(xenbus, key, UINT32_MAX, &number);

    return status == DGM_ENOENT || (status == DGM_OK && number == expected);
}

static bool protocol_known(struct dgm_xenbus_device *xenbus)
{
    char protocol[16]; /* longer than any that we know */
    const int length = dgm_xenbus_read(xenbus, "protocol", protocol, sizeof protocol);

    if (length == DGM_ENOENT)
        return true; /* ours */
    /* All 64-bit layouts are one, and 32-bit Arm has the same. */
    return length >= 0 && (dgm_text_equal(protocol, XEN_IO_PROTO_ABI_ARM) ||
                           dgm_text_equal(protocol, XEN_IO_PROTO_ABI_X86_64));
}

static int read_shared(struct dgm_xenbus_device *xenbus, struct shared *shared, const char **why)
{
    *why = "no ring-ref, or no number";
    int status = dgm_xenbus_read_number(xenbus, "ring-ref", UINT32_MAX, &shared->ref);

    if (status < 0)
        return status;
    *why = "no event-channel, or no number";
    status = dgm_xenbus_read_number(xenbus, "event-channel", UINT32_MAX, &shared->port);
    if (status < 0)
        return status;
    shared->persistent = !absent_or(xenbus, "feature-persistent", 0);
    *why = "protocol not known";
    if (!protocol_known(xenbus))
        return DGM_EINVAL;
    *why = "more rings or ring pages than offered";
    if (!absent_or(xenbus, "ring-page-order", 0) || !absent_or(xenbus, "multi-queue-num-queues", 1))
        return DGM_EINVAL;
    return DGM_OK;
}

static void unmap_page(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;

    dgm_reach_release_add(&blkback->page, false);
    dgm_reach_release_commit(blkback->env.reach);
    dgm_blkback_line_wake(pool, &pool->slots_line);
    dgm_waiters_wake(&blkback->guest->waiters, blkback->env.reactor);
}

/* Room for the ring's page. False: the device waits, and its task looks again. */
static bool reserve_page(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    const int status = dgm_blkback_line_free(&pool->slots_line, &blkback->slots)
                           ? dgm_reach_reserve(&blkback->page_way, 1)
                           : DGM_EAGAIN;

    if (status == DGM_OK) {
        dgm_blkback_line_leave(pool, &blkback->slots);
        return true;
    }
    blkback->counters.waits++;
    if (status == DGM_EAGAIN)
        dgm_blkback_line_join(&pool->slots_line, &blkback->slots);
    else
        dgm_waiters_add(&blkback->guest->waiters, &blkback->task);
    return false;
}

/* DGM_EAGAIN: no room yet, or Xen is to be asked again; the device's task looks again. */
static int map_page(struct dgm_blkback *blkback, grant_ref_t ref)
{
    struct dgm_reached *page = &blkback->page;

    blkback->wants_to_connect = true;
    if (page->how == DGM_REACH_NOT) {
        if (!reserve_page(blkback))
            return DGM_EAGAIN;
        dgm_reach_add(&blkback->page_way, page, ref, 0, DGM_FRAME_BYTES, false);
        dgm_reach_commit(blkback->env.reach);
    }
    if (page->foreign.status == DGM_EAGAIN) {
        dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
        return DGM_EAGAIN;
    }
    if (page->foreign.status == DGM_OK && page->ref == ref) {
        blkback->wants_to_connect = false;
        return DGM_OK;
    }
    const bool other = page->ref != ref; /* an earlier one, answered late */

    unmap_page(blkback);
    if (other)
        return map_page(blkback, ref);
    blkback->wants_to_connect = false;
    return DGM_EFAULT;
}

static int blkback_connect(struct dgm_xenbus_device *xenbus, const char **why)
{
    struct dgm_blkback *blkback = of_xenbus(xenbus);
    struct shared shared;
    int status = read_shared(xenbus, &shared, why);

    dgm_assert(!blkback->holding);
    if (status < 0)
        return status;
    *why = "the disk still holds frames of the connection before";
    if (blkback->quarantine)
        return DGM_EBUSY;
    *why = "ring-ref refused by Xen";
    status = map_page(blkback, (grant_ref_t)shared.ref);
    if (status < 0)
        return status;
    *why = "event-channel refused by Xen";
    status = dgm_evtchn_bind_interdomain(blkback->env.evtchn, xenbus->domid,
                                         (evtchn_port_t)shared.port, &blkback->task);
    if (status < 0) {
        unmap_page(blkback);
        return status;
    }
    blkback->port = (evtchn_port_t)status;
    *why = "size not written";
    status = write_disk(blkback);
    if (status < 0) {
        dgm_evtchn_close(blkback->env.evtchn, blkback->port);
        unmap_page(blkback);
        return status;
    }
    dgm_ring_init(&blkback->ring, dgm_env_va(blkback->page.foreign.gfn), DGM_BLKIF_ENTRY_BYTES);
    dgm_way_init(&blkback->way, blkback->env.reach, blkback->guest, blkback->path,
                 shared.persistent ? blkback->keep : 0);
    blkback->holding = true;
    blkback->closing = false;
    blkback->greet = true;
    blkback->complaints = 0;
    dgm_reactor_post(blkback->env.reactor, &blkback->task);
    return DGM_OK;
}

/* Out of every line and list of waiters but Xen's: nothing is wanted any more. */
static void stop_waiting(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;

    dgm_blkback_line_leave(pool, &blkback->record);
    dgm_blkback_line_leave(pool, &blkback->slots);
    dgm_blkback_line_leave(pool, &blkback->command);
    dgm_waiters_remove(&blkback->env.dma->bounce->waiters, &blkback->task);
    dgm_waiters_remove(&blkback->disk->waiters, &blkback->task);
    dgm_waiters_remove(&blkback->guest->waiters, &blkback->task);
    blkback->wants_to_connect = false;
    dgm_reactor_post(blkback->env.reactor, &blkback->task); /* a ring's page may be left over */
}

static void blkback_disconnect(struct dgm_xenbus_device *xenbus)
{
    struct dgm_blkback *blkback = of_xenbus(xenbus);

    blkback->closing = true;
    stop_waiting(blkback);
    if (blkback->parked)
        blkback->counters.dropped++;
    blkback->parked = false;
    dgm_timer_arm(blkback->env.reactor, &blkback->release,
                  dgm_env_now_ns() + DGM_BLKBACK_RELEASE_NS);
}

static const struct dgm_xenbus_ops blkback_ops = {
    .describe = blkback_describe,
    .offer = blkback_offer,
    .connect = blkback_connect,
    .disconnect = blkback_disconnect,
};

/* --- the task --- */

/* All of the connection is released, but for requests that are with the disk. */
static void let_go(struct dgm_blkback *blkback)
{
    dgm_timer_disarm(blkback->env.reactor, &blkback->release);
    dgm_evtchn_close(blkback->env.evtchn, blkback->port);
    unmap_page(blkback);
    dgm_way_evict(&blkback->way);
    blkback->holding = false;
    blkback->closing = false;
    blkback->quarantine = blkback->live != 0;
    /* Closing the channel took the task back, whatever else it was posted for. */
    dgm_reactor_post(blkback->env.reactor, &blkback->task);
    dgm_xenbus_released(&blkback->xenbus);
}

static void patience_ends(struct dgm_timer *timer)
{
    struct dgm_blkback *blkback = dgm_container(timer, struct dgm_blkback, release);

    blkback->counters.quarantined += blkback->live;
    dgm_env_log("vbd %u/%s: %s has not given back %u requests of a guest that has gone: their "
                "frames stay quarantined until it does",
                blkback->xenbus.domid, blkback->vdev, blkback->disk->name, blkback->live);
    let_go(blkback);
}

/* The disk has given back the last request of a connection that was let go of. */
static void end_quarantine(struct dgm_blkback *blkback)
{
    dgm_way_evict(&blkback->way);
    blkback->quarantine = false;
    dgm_env_log("vbd %u/%s: %s has given everything back", blkback->xenbus.domid, blkback->vdev,
                blkback->disk->name);
}

static void publish(struct dgm_blkback *blkback)
{
    bool event = blkback->greet;

    blkback->greet = false;
    if (blkback->ring.answered != blkback->ring.published)
        event |= dgm_ring_publish(&blkback->ring);
    if (!event)
        return;
    dgm_evtchn_send(blkback->env.evtchn, blkback->port);
    blkback->counters.events_sent++;
}

/* Requests of which Xen was to be asked again for some frame, and now was. */
static void reach_again(struct dgm_blkback *blkback)
{
    struct dgm_blkback_list again = blkback->reaching;

    if (!again.first)
        return;
    blkback->reaching = (struct dgm_blkback_list){0};
    dgm_blkback_reach(blkback, &again);
}

/* With no connection: what is late of one that was, or never came to be. */
static void clear_up(struct dgm_blkback *blkback)
{
    if (blkback->page.how != DGM_REACH_NOT && !blkback->wants_to_connect) {
        if (blkback->page.foreign.status == DGM_EAGAIN)
            dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
        else
            unmap_page(blkback);
    }
    if (!blkback->wants_to_connect) /* a frontend that left before it had its ring's page */
        dgm_blkback_line_leave(blkback->env.pool, &blkback->slots);
    reach_again(blkback);
    dgm_blkback_issue(blkback);
    dgm_blkback_finish(blkback);
    if (blkback->quarantine && blkback->live == 0)
        end_quarantine(blkback);
}

static void blkback_run(struct dgm_task *task)
{
    struct dgm_blkback *blkback = dgm_container(task, struct dgm_blkback, task);

    if (blkback->wants_to_connect) {
        blkback->wants_to_connect = false;
        dgm_xenbus_look(&blkback->xenbus);
    }
    if (!blkback->holding) {
        clear_up(blkback);
        return;
    }
    dgm_blkback_finish(blkback);
    reach_again(blkback);
    dgm_blkback_issue(blkback);
    if (!blkback->closing && !blkback->waiting.first) {
        dgm_blkback_drain(blkback);
        dgm_blkback_issue(blkback);
    }
    if (blkback->unkicked)
        blkback->disk->ops->kick(blkback->disk);
    blkback->unkicked = false;
    dgm_blkback_finish(blkback); /* what was refused, or needed no disk */

    if (!blkback->closing)
        publish(blkback);
    else if (blkback->live == 0)
        let_go(blkback);
}

/* --- create and destroy --- */

int dgm_blkback_create(struct dgm_blkback *blkback, const struct dgm_blkback_env *env,
                       struct dgm_reach_guest *guest, const struct dgm_blkback_options *options)
{
    struct dgm_blkdev *disk = options->disk;
    uint64_t segments;
    uint32_t number;
    struct dgm_text name;

    if (dgm_blkback_vdev_number(options->vdev, &number) != DGM_OK)
        return DGM_EINVAL;
    if (!dgm_reach_offers(env->reach, options->path))
        return DGM_EOPNOTSUPP;
    segments = dgm_reach_most(env->reach, guest, options->path);
    if (segments < BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return DGM_ENOSPC;

    memset(blkback, 0, sizeof *blkback);
    blkback->env = *env;
    blkback->disk = disk;
    blkback->writable = options->writable && !disk->read_only;
    blkback->segments_max =
        (uint16_t)(segments < DGM_BLKIF_SEGMENTS_MAX ? segments : DGM_BLKIF_SEGMENTS_MAX);
    blkback->path = options->path;
    blkback->keep =
        env->reach->kept && (options->path == DGM_PATH_MAP || options->path == DGM_PATH_AUTO)
            ? options->keep
            : 0;
    blkback->guest = guest;
    dgm_way_init(&blkback->page_way, env->reach, guest, DGM_PATH_MAP, 0);
    blkback->tag = disk->tag;
    if (blkback->tag.segments_max == 0 || blkback->tag.segments_max > DGM_BLKBACK_COMMAND_SEGMENTS)
        blkback->tag.segments_max = DGM_BLKBACK_COMMAND_SEGMENTS;
    blkback->task.run = blkback_run;
    blkback->release.fire = patience_ends;
    blkback->record.task = blkback->slots.task = blkback->command.task = &blkback->task;
    name = dgm_text(blkback->vdev, sizeof blkback->vdev);
    dgm_text_add(&name, options->vdev);
    return dgm_xenbus_create(&blkback->xenbus, env->xs, &blkback_ops, "vbd", guest->domid, number);
}

void dgm_blkback_guest_gone(struct dgm_blkback *blkback)
{
    stop_waiting(blkback);
    dgm_xenbus_guest_gone(&blkback->xenbus);
}

bool dgm_blkback_idle(const struct dgm_blkback *blkback)
{
    return dgm_xenbus_idle(&blkback->xenbus) && !blkback->holding && !blkback->quarantine &&
           blkback->live == 0 && blkback->page.how == DGM_REACH_NOT;
}

bool dgm_blkback_quarantined(const struct dgm_blkback *blkback)
{
    return dgm_xenbus_idle(&blkback->xenbus) && blkback->quarantine;
}

void dgm_blkback_destroy(struct dgm_blkback *blkback)
{
    dgm_assert(dgm_blkback_idle(blkback));
    stop_waiting(blkback);
    dgm_waiters_remove(&blkback->env.reach->waiters, &blkback->task);
    dgm_reactor_withdraw(blkback->env.reactor, &blkback->task);
    dgm_xenbus_destroy(&blkback->xenbus);
}
