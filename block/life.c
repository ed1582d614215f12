/* SPDX-License-Identifier: MIT */
/*
 * life: a device's one task, the end of a connection, creation and destruction
 *
 * The task runs after an event of the guest, a completed command, or the end of a shortage. It
 * always does everything there is to do, in an order that gives back before it takes.
 *
 * When a connection ends, `closing` is set, nothing new is taken or issued, and when the last
 * record is back, or patience is at its end, what was kept and the page are unmapped, the channel
 * closed, and xenbus told. What the disk has still then stays quarantined: mapped, charged to its
 * guest, and released when the disk gives it back.
 */
#include <block/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/text.h>
#include <string.h>

void dgm_blkback_stop_waiting(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;

    dgm_blkback_queue_leave(pool, &blkback->record);
    dgm_blkback_queue_leave(pool, &blkback->slots);
    dgm_blkback_queue_leave(pool, &blkback->command);
    dgm_waiters_remove(&blkback->env.dma->bounce->waiters, &blkback->task);
    dgm_waiters_remove(&blkback->disk->waiters, &blkback->task);
    dgm_waiters_remove(&blkback->guest->waiters, &blkback->task);
    blkback->wants_to_connect = false;
    dgm_reactor_post(blkback->env.reactor, &blkback->task); /* a ring's page may be left over */
}

/* --- the task --- */

/* All of the connection is released, but for requests that are with the disk. */
static void let_go(struct dgm_blkback *blkback)
{
    dgm_timer_disarm(blkback->env.reactor, &blkback->release);
    dgm_evtchn_close(blkback->env.evtchn, blkback->port);
    dgm_blkback_unmap_page(blkback);
    dgm_reach_connection_evict(&blkback->connection);
    blkback->holding = false;
    blkback->closing = false;
    blkback->quarantine = blkback->live != 0;
    if (!blkback->quarantine)
        dgm_reach_connection_end(&blkback->connection);
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
    dgm_reach_connection_evict(&blkback->connection);
    dgm_reach_connection_end(&blkback->connection);
    blkback->quarantine = false;
    dgm_env_log("vbd %u/%s: %s has given everything back", blkback->xenbus.domid, blkback->vdev,
                blkback->disk->name);
}

static void publish(struct dgm_blkback *blkback)
{
    bool event = blkback->greet;

    blkback->greet = false;
    if (blkback->ring.responded != blkback->ring.published)
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
    if (blkback->page.held != DGM_REACH_NOT_HELD && !blkback->wants_to_connect) {
        if (blkback->page.foreign.status == DGM_EAGAIN)
            dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
        else
            dgm_blkback_unmap_page(blkback);
    }
    if (!blkback->wants_to_connect) /* a frontend that left before it had its ring's page */
        dgm_blkback_queue_leave(blkback->env.pool, &blkback->slots);
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
        dgm_xenbus_update(&blkback->xenbus);
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
                       struct dgm_guest_account *guest, const struct dgm_blkback_options *options)
{
    struct dgm_blkdev *disk = options->disk;
    uint64_t segments;
    uint32_t number;
    struct dgm_text name;

    if (dgm_blkback_vdev_number(options->vdev, &number) != DGM_OK)
        return DGM_EINVAL;
    if (!dgm_reach_offers(env->reach, options->mode))
        return DGM_EOPNOTSUPP;
    segments = dgm_reach_request_frames_max(env->reach, guest, options->mode);
    if (segments < BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return DGM_ENOSPC;

    memset(blkback, 0, sizeof *blkback);
    blkback->env = *env;
    blkback->disk = disk;
    blkback->writable = options->writable && !disk->read_only;
    blkback->segments_max =
        (uint16_t)(segments < DGM_BLKIF_SEGMENTS_MAX ? segments : DGM_BLKIF_SEGMENTS_MAX);
    blkback->mode = options->mode;
    blkback->persistent_frames = env->reach->persistent && (options->mode == DGM_REACH_MODE_MAP ||
                                                            options->mode == DGM_REACH_MODE_AUTO)
                                     ? options->persistent_frames
                                     : 0;
    blkback->guest = guest;
    dgm_reach_connection_init(&blkback->page_connection, env->reach, guest, DGM_REACH_MODE_MAP, 0);
    blkback->tag = disk->tag;
    if (blkback->tag.segments_max == 0 || blkback->tag.segments_max > DGM_BLKBACK_COMMAND_SEGMENTS)
        blkback->tag.segments_max = DGM_BLKBACK_COMMAND_SEGMENTS;
    blkback->task.run = blkback_run;
    blkback->release.fire = patience_ends;
    blkback->record.task = blkback->slots.task = blkback->command.task = &blkback->task;
    name = dgm_text(blkback->vdev, sizeof blkback->vdev);
    dgm_text_add(&name, options->vdev);
    return dgm_xenbus_create(&blkback->xenbus, env->xs, &dgm_blkback_ops, "vbd", guest->domid,
                             number);
}

void dgm_blkback_guest_gone(struct dgm_blkback *blkback)
{
    dgm_blkback_stop_waiting(blkback);
    dgm_xenbus_guest_gone(&blkback->xenbus);
}

bool dgm_blkback_idle(const struct dgm_blkback *blkback)
{
    return dgm_xenbus_idle(&blkback->xenbus) && !blkback->holding && !blkback->quarantine &&
           blkback->live == 0 && blkback->page.held == DGM_REACH_NOT_HELD;
}

bool dgm_blkback_quarantined(const struct dgm_blkback *blkback)
{
    return dgm_xenbus_idle(&blkback->xenbus) && blkback->quarantine;
}

void dgm_blkback_destroy(struct dgm_blkback *blkback)
{
    dgm_assert(dgm_blkback_idle(blkback));
    dgm_blkback_stop_waiting(blkback);
    dgm_waiters_remove(&blkback->env.reach->waiters, &blkback->task);
    dgm_reactor_withdraw(blkback->env.reactor, &blkback->task);
    dgm_xenbus_destroy(&blkback->xenbus);
}
