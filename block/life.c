/* SPDX-License-Identifier: MIT */
/*
 * life: a device's only task, the end of a connection, creation and destruction
 *
 * The task runs after an event of the guest, a completed command, or the end of a shortage. Each
 * run does all work that is possible, and releases before it takes.
 *
 * The end of a connection takes these steps. `disconnecting` is set, and no request is taken or
 * issued any longer. When the last record has been returned, or the release timer fires, the
 * persistent frames and the ring's pages are unmapped, the channel is closed, and xenbus is
 * notified. Requests that the disk still has are quarantined: their frames stay mapped and charged
 * to the guest, and are released when the disk returns them.
 */
#include <block/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/text.h>
#include <string.h>

#define KICK_RUNS 4u /* of a full ring of small requests */

/* --- the task --- */

/* Releases all of the connection except the requests that the disk has. */
static void end_connection(struct dgm_blkback *blkback)
{
    dgm_timer_disarm(blkback->env.reactor, &blkback->release_timer);
    dgm_timer_disarm(blkback->env.reactor, &blkback->flush_timer);
    dgm_evtchn_close(blkback->env.evtchn, blkback->port);
    dgm_blkback_unmap_pages(blkback);
    dgm_reach_connection_evict(&blkback->connection);
    blkback->connected = false;
    blkback->disconnecting = false;
    blkback->quarantined = blkback->records_used != 0;
    if (!blkback->quarantined)
        dgm_reach_connection_end(&blkback->connection);
    /* Closing the channel withdrew the task, which may also have been posted for another cause. */
    dgm_reactor_post(blkback->env.reactor, &blkback->task);
    dgm_xenbus_released(&blkback->xenbus);
}

static void release_timed_out(struct dgm_timer *timer)
{
    struct dgm_blkback *blkback = dgm_container(timer, struct dgm_blkback, release_timer);

    blkback->counters.quarantined += blkback->records_used;
    dgm_log_limited(
        blkback->xenbus.log,
        "vbd %u/%s: %s has not returned %u requests of a connection that has ended: their "
        "frames stay quarantined until it does",
        blkback->xenbus.domid, blkback->vdev, blkback->disk->name, blkback->records_used);
    end_connection(blkback);
}

/* Called when the disk has returned the last request of a connection that has ended. */
static void end_quarantine(struct dgm_blkback *blkback)
{
    dgm_reach_connection_evict(&blkback->connection);
    dgm_reach_connection_end(&blkback->connection);
    blkback->quarantined = false;
    dgm_log_limited(blkback->xenbus.log, "vbd %u/%s: %s has returned all quarantined requests",
                    blkback->xenbus.domid, blkback->vdev, blkback->disk->name);
    if (blkback->connect_pending)
        dgm_reactor_post(blkback->env.reactor, &blkback->task);
}

/* Makes responses visible, and sends the frontend an event if it wants one. */
static void publish_responses(struct dgm_blkback *blkback)
{
    bool event = blkback->first_event_due;

    blkback->first_event_due = false;
    if (blkback->ring.responded != blkback->ring.published)
        event |= dgm_ring_publish(&blkback->ring);
    if (!event)
        return;
    dgm_evtchn_send(blkback->env.evtchn, blkback->port);
    blkback->counters.events_sent++;
}

/*
 * Releases what parked requests hold while Xen has no room for another mapping. An indirect page
 * was copied when it was read, so it is of no further use; without its release the pages of a few
 * dozen requests could take all the room, and no request would get its frames.
 */
static void make_way(struct dgm_blkback *blkback)
{
    struct dgm_reach *reach = blkback->env.reach;

    if (!reach->grant->map_short)
        return;
    for (struct dgm_blkback_request *r = blkback->parked.first; r; r = r->next)
        if (r->parsed.indirect && r->segments_known)
            dgm_reach_release_add(&r->indirect, 1, DGM_REACH_DISCARD);
    dgm_reach_release_commit(reach);
    for (struct dgm_blkback_request *r = blkback->parked.first; r; r = r->next)
        dgm_reach_make_way(&blkback->connection, r->frames, r->added);
}

/* Continues the requests whose parked frames may have been retried. */
static void continue_parked(struct dgm_blkback *blkback)
{
    struct dgm_blkback_list parked = blkback->parked;

    if (!parked.first)
        return;
    blkback->parked = (struct dgm_blkback_list){0};
    dgm_blkback_reach(blkback, &parked);
    make_way(blkback);
}

/* Rings the disk's doorbell once for all commands of the ring, whose requests several runs take;
 * but not later than after a few runs, so a guest cannot hold commands back from the disk. */
static void kick_disk(struct dgm_blkback *blkback)
{
    if (!blkback->kick_due || (blkback->task.posted && ++blkback->kick_runs < KICK_RUNS))
        return;
    blkback->disk->ops->kick(blkback->disk);
    blkback->kick_due = false;
    blkback->kick_runs = 0;
}

/* Runs while there is no connection: releases requests and pages of a former one that return
 * late. */
static void run_disconnected(struct dgm_blkback *blkback)
{
    if (!blkback->connect_pending && dgm_blkback_holds_pages(blkback)) {
        dgm_blkback_unmap_pages(blkback);
        if (dgm_blkback_holds_pages(blkback)) /* a map is parked */
            dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
    }
    /* The frontend left while the device waited for the ring's slots, or for a channel. */
    if (!blkback->connect_pending) {
        dgm_blkback_queue_leave(blkback->env.reactor, &blkback->frames_waiter);
        dgm_evtchn_binder_cancel(&blkback->binder);
    }
    continue_parked(blkback);
    dgm_blkback_flush_retry(blkback);
    dgm_blkback_issue(blkback);
    kick_disk(blkback);
    dgm_blkback_finish(blkback);
    dgm_blkback_give_kept(blkback);
    if (blkback->quarantined && blkback->records_used == 0)
        end_quarantine(blkback);
}

static void run_device(struct dgm_task *task)
{
    struct dgm_blkback *blkback = dgm_container(task, struct dgm_blkback, task);

    if (blkback->connect_pending && !blkback->quarantined) {
        blkback->connect_pending = false;
        dgm_xenbus_update(&blkback->xenbus);
    }
    if (!blkback->connected) {
        run_disconnected(blkback);
        return;
    }
    dgm_blkback_finish(blkback);
    continue_parked(blkback);
    dgm_blkback_flush_retry(blkback);
    dgm_blkback_issue(blkback);
    if (!blkback->disconnecting && !blkback->issuing.first) {
        dgm_blkback_drain(blkback);
        dgm_blkback_issue(blkback);
    }
    /* A device that is queued for a resource that it cannot use now would block others. */
    if (!blkback->entry_pending || blkback->issuing.first)
        dgm_blkback_stop_draining(blkback);
    kick_disk(blkback);
    dgm_blkback_finish(blkback); /* requests that were refused or needed no disk */
    dgm_blkback_give_kept(blkback);

    if (!blkback->disconnecting)
        publish_responses(blkback);
    else if (blkback->records_used == 0)
        end_connection(blkback);
}

/* --- create and destroy --- */

/* The mode of a disk for which `wanted` is configured. Auto stays only where copying costs less
 * than mapping and the guest's copy buffers have room for requests of Linux's usual size; a
 * frontend that uses persistent grants is then served in mode map, any other in mode copy. */
static enum dgm_reach_mode mode_for(const struct dgm_reach *reach,
                                    const struct dgm_guest_account *guest,
                                    enum dgm_reach_mode wanted, uint16_t guest_disks)
{
    if (wanted != DGM_REACH_MODE_AUTO ||
        (reach->cheapest == DGM_REACH_MODE_COPY &&
         dgm_blkback_segments_max(reach, guest, DGM_REACH_MODE_COPY, guest_disks) >=
             DGM_BLKBACK_USUAL_SEGMENTS))
        return wanted;
    return DGM_REACH_MODE_MAP;
}

int dgm_blkback_create(struct dgm_blkback *blkback, const struct dgm_blkback_env *env,
                       struct dgm_guest_account *guest, const struct dgm_blkback_options *options)
{
    struct dgm_blkdev *disk = options->disk;
    const uint16_t guest_disks = options->guest_disks ? options->guest_disks : 1;
    enum dgm_reach_mode mode;
    uint64_t segments;
    uint32_t number;
    int status;
    struct dgm_text name;

    dgm_assert(options->first_block <= disk->blocks &&
               options->blocks <= disk->blocks - options->first_block);
    if (dgm_blkback_vdev_number(options->vdev, &number) != DGM_OK)
        return DGM_EINVAL;
    if (!dgm_reach_offers(env->reach, options->mode))
        return DGM_EOPNOTSUPP;
    mode = mode_for(env->reach, guest, options->mode, guest_disks);
    segments = dgm_blkback_segments_max(env->reach, guest, mode, guest_disks);
    if (segments < BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return DGM_ENOSPC;

    memset(blkback, 0, sizeof *blkback);
    blkback->env = *env;
    blkback->disk = disk;
    blkback->first_block = options->first_block;
    blkback->blocks = options->blocks ? options->blocks : disk->blocks - options->first_block;
    blkback->writable = options->writable && !disk->read_only;
    blkback->segments_max = (uint16_t)segments;
    blkback->ring_order_max = dgm_blkback_ring_order_max(guest, guest_disks);
    blkback->mode = mode;
    blkback->persistent_frames =
        dgm_reach_offers_persistent(env->reach, options->mode) ? options->persistent_frames : 0;
    blkback->guest = guest;
    dgm_reach_connection_init(&blkback->page_connection, env->reach, guest, DGM_REACH_MODE_MAP, 0);
    blkback->tag = disk->tag;
    if (blkback->tag.segments_max == 0 || blkback->tag.segments_max > DGM_BLKBACK_COMMAND_SEGMENTS)
        blkback->tag.segments_max = DGM_BLKBACK_COMMAND_SEGMENTS;
    blkback->task.run = run_device;
    blkback->release_timer.fire = release_timed_out;
    blkback->flush_timer.fire = dgm_blkback_flush_timer;
    dgm_evtchn_binder_init(&blkback->binder, env->evtchn, &blkback->task);
    name = dgm_text(blkback->vdev, sizeof blkback->vdev);
    dgm_text_add(&name, options->vdev);
    status = dgm_blkback_pool_join(blkback, guest_disks);
    if (status != DGM_OK)
        return status;
    status = dgm_dma_device_begin(env->dma, &blkback->bounce, &guest->bounce, &blkback->tag);
    if (status == DGM_OK) {
        status = dgm_xenbus_create(
            &blkback->xenbus, env->xs, &dgm_blkback_ops,
            (struct dgm_xenbus_name){
                .type = "vbd", .domid = guest->domid, .number = number, .log = &guest->log});
        if (status != DGM_OK)
            dgm_bounce_device_end(env->dma->bounce, &blkback->bounce);
    }
    if (status != DGM_OK)
        dgm_blkback_pool_leave(blkback);
    return status;
}

void dgm_blkback_guest_gone(struct dgm_blkback *blkback)
{
    dgm_blkback_stop_waiting(blkback);
    dgm_xenbus_guest_gone(&blkback->xenbus);
}

bool dgm_blkback_idle(const struct dgm_blkback *blkback)
{
    return dgm_xenbus_idle(&blkback->xenbus) && !blkback->connected && !blkback->quarantined &&
           blkback->records_used == 0 && !dgm_blkback_holds_pages(blkback);
}

bool dgm_blkback_quarantined(const struct dgm_blkback *blkback)
{
    return dgm_xenbus_idle(&blkback->xenbus) && blkback->quarantined;
}

static uint32_t list_length(const struct dgm_blkback_list *list)
{
    uint32_t length = 0;

    for (const struct dgm_blkback_request *request = list->first; request; request = request->next)
        length++;
    return length;
}

bool dgm_blkback_progress(const struct dgm_blkback *blkback, struct dgm_blkback_progress *progress)
{
    if (!blkback->connected)
        return false;
    *progress = (struct dgm_blkback_progress){
        .page = dgm_ring_indices(&blkback->ring),
        .taken = blkback->ring.consumed,
        .responded = blkback->ring.responded,
        .records = blkback->records_used,
        .parked = list_length(&blkback->parked) + list_length(&blkback->parked_releases),
        .to_submit = list_length(&blkback->issuing),
        .posted = blkback->task.posted,
        .port = blkback->port,
        .event = dgm_evtchn_bits(blkback->env.evtchn, blkback->port),
    };
    return true;
}

void dgm_blkback_destroy(struct dgm_blkback *blkback)
{
    dgm_assert(dgm_blkback_idle(blkback));
    dgm_blkback_stop_waiting(blkback);
    dgm_waiters_remove(&blkback->env.reach->waiters, &blkback->task);
    dgm_reactor_withdraw(blkback->env.reactor, &blkback->task);
    dgm_xenbus_destroy(&blkback->xenbus);
    dgm_bounce_device_end(blkback->env.dma->bounce, &blkback->bounce);
    dgm_blkback_pool_leave(blkback);
}
