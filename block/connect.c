/* SPDX-License-Identifier: MIT */
/*
 * connect: a device's life, and its one task
 *
 * xenbus.c walks the states; here is what they mean for a disk. Connecting reads what the frontend
 * shares (a ring of one page, an event channel), maps and binds it, and writes the disk's size.
 * Letting go is in steps, because the disk may have commands: `closing` is set, nothing new is
 * taken or issued, and when the last record is back the page is unmapped, the channel closed, and
 * xenbus told.
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
    const struct dgm_xenbus_key features[] = {
        {"feature-barrier", NULL, 0},
        {"feature-flush-cache", NULL, 1},
        {"feature-discard", NULL, 0},
        {"feature-persistent", NULL, 0},
        {"feature-max-indirect-segments", NULL, of_xenbus(xenbus)->segments_max},
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

    dgm_grant_unmap_add(blkback->env.grant, &blkback->page);
    dgm_grant_unmap_commit(blkback->env.grant);
    dgm_blkback_line_wake(pool, &pool->slots_line);
}

/* DGM_EAGAIN: no slot; the device stands in line, and its task looks again. */
static int map_page(struct dgm_blkback *blkback, grant_ref_t ref)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    const int status = dgm_blkback_line_free(&pool->slots_line, &blkback->slots)
                           ? dgm_grant_map_add(blkback->env.grant, &blkback->page,
                                               blkback->xenbus.domid, ref, false)
                           : DGM_EAGAIN;

    blkback->wants_to_connect = status == DGM_EAGAIN;
    if (status == DGM_EAGAIN) {
        blkback->counters.waits++;
        dgm_blkback_line_join(&pool->slots_line, &blkback->slots);
        return DGM_EAGAIN;
    }
    dgm_blkback_line_leave(pool, &blkback->slots);
    dgm_grant_map_commit(blkback->env.grant);
    return blkback->page.status == DGM_OK ? DGM_OK : DGM_EFAULT;
}

static int blkback_connect(struct dgm_xenbus_device *xenbus, const char **why)
{
    struct dgm_blkback *blkback = of_xenbus(xenbus);
    struct shared shared;
    int status = read_shared(xenbus, &shared, why);

    dgm_assert(!blkback->holding && blkback->live == 0);
    if (status < 0)
        return status;
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
    dgm_ring_init(&blkback->ring, dgm_env_va(blkback->page.gfn), DGM_BLKIF_ENTRY_BYTES);
    blkback->holding = true;
    blkback->closing = false;
    blkback->greet = true;
    blkback->complaints = 0;
    dgm_reactor_post(blkback->env.reactor, &blkback->task);
    return DGM_OK;
}

/* Out of every line and list of waiters: nothing is wanted any more. */
static void stop_waiting(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;

    dgm_blkback_line_leave(pool, &blkback->record);
    dgm_blkback_line_leave(pool, &blkback->slots);
    dgm_blkback_line_leave(pool, &blkback->command);
    dgm_waiters_remove(&blkback->env.dma->bounce->waiters, &blkback->task);
    dgm_waiters_remove(&blkback->disk->waiters, &blkback->task);
    blkback->wants_to_connect = false;
}

static void blkback_disconnect(struct dgm_xenbus_device *xenbus)
{
    struct dgm_blkback *blkback = of_xenbus(xenbus);

    blkback->closing = true;
    stop_waiting(blkback);
    if (blkback->parked)
        blkback->counters.dropped++;
    blkback->parked = false;
    dgm_reactor_post(blkback->env.reactor, &blkback->task);
}

static const struct dgm_xenbus_ops blkback_ops = {
    .describe = blkback_describe,
    .offer = blkback_offer,
    .connect = blkback_connect,
    .disconnect = blkback_disconnect,
};

/* --- the task --- */

static void let_go(struct dgm_blkback *blkback)
{
    dgm_evtchn_close(blkback->env.evtchn, blkback->port);
    unmap_page(blkback);
    blkback->holding = false;
    blkback->closing = false;
    dgm_xenbus_released(&blkback->xenbus);
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

static void blkback_run(struct dgm_task *task)
{
    struct dgm_blkback *blkback = dgm_container(task, struct dgm_blkback, task);

    if (blkback->wants_to_connect) {
        blkback->wants_to_connect = false;
        dgm_xenbus_look(&blkback->xenbus);
    }
    if (!blkback->holding)
        return;

    dgm_blkback_finish(blkback);
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

/* As many segments as can be mapped at once without taking more than a quarter of all slots. */
static uint16_t offered_segments(const struct dgm_blkback_env *env)
{
    const uint64_t quarter = env->grant->slots->window.count / 4;

    return (uint16_t)(quarter < DGM_BLKIF_SEGMENTS_MAX ? quarter : DGM_BLKIF_SEGMENTS_MAX);
}

int dgm_blkback_create(struct dgm_blkback *blkback, const struct dgm_blkback_env *env,
                       domid_t domid, const char *vdev, struct dgm_blkdev *disk, bool writable)
{
    uint32_t number;
    struct dgm_text name;

    if (dgm_blkback_vdev_number(vdev, &number) != DGM_OK)
        return DGM_EINVAL;
    if (offered_segments(env) < BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return DGM_ENOSPC;

    memset(blkback, 0, sizeof *blkback);
    blkback->env = *env;
    blkback->disk = disk;
    blkback->writable = writable && !disk->read_only;
    blkback->segments_max = offered_segments(env);
    blkback->tag = disk->tag;
    if (blkback->tag.segments_max == 0 || blkback->tag.segments_max > DGM_BLKBACK_COMMAND_SEGMENTS)
        blkback->tag.segments_max = DGM_BLKBACK_COMMAND_SEGMENTS;
    blkback->task.run = blkback_run;
    blkback->record.task = blkback->slots.task = blkback->command.task = &blkback->task;
    name = dgm_text(blkback->vdev, sizeof blkback->vdev);
    dgm_text_add(&name, vdev);
    return dgm_xenbus_create(&blkback->xenbus, env->xs, &blkback_ops, "vbd", domid, number);
}

void dgm_blkback_guest_gone(struct dgm_blkback *blkback)
{
    stop_waiting(blkback);
    dgm_xenbus_guest_gone(&blkback->xenbus);
}

bool dgm_blkback_idle(const struct dgm_blkback *blkback)
{
    return dgm_xenbus_idle(&blkback->xenbus) && !blkback->holding && blkback->live == 0;
}

void dgm_blkback_destroy(struct dgm_blkback *blkback)
{
    dgm_assert(dgm_blkback_idle(blkback));
    stop_waiting(blkback);
    dgm_reactor_withdraw(blkback->env.reactor, &blkback->task);
    dgm_xenbus_destroy(&blkback->xenbus);
}
