/* SPDX-License-Identifier: MIT */
/*
 * issue: from requests whose frames are reached to the disk, and back to responses
 *
 * A request is submitted in as many commands as dma needs to map it, each a prefix of the remaining
 * bytes; several commands may be in flight. It ends when the last of them has completed. After the
 * first failed command no further one is submitted, and the request fails once.
 *
 * A device keeps its command record while it waits for bounce buffers. If it returned the record,
 * the first waiter for bounce buffers could wait for a command while the first waiter for commands
 * waits for bounce buffers, as long as the disk is busy. A device that waits for an entry of the
 * disk's queue has no record: the disk wakes it, and the waiters take turns (pool.h). The first
 * waiter keeps its turn while it waits for a command or for bounce buffers: it has a minimum of
 * both, so it waits only for its own commands, which the same disk completes.
 *
 * At the end of a connection, requests that are not at the disk end immediately, and the others end
 * when the disk returns them; neither gets a response. Frames are released after the last command
 * that may access them and before the response is visible.
 */
#include <block/internal.h>

#include <dragoman/base/check.h>

void dgm_blkback_note_refusal(struct dgm_blkback *blkback, const struct dgm_blkif_request *parsed,
                              enum dgm_blkback_refusal refusal)
{
    blkback->counters.refused[refusal]++;
    dgm_log_limited(blkback->xenbus.log,
                    "vbd %u/%s: request refused: %s (operation %u, sector %llu, %u segments)",
                    blkback->xenbus.domid, blkback->vdev, dgm_blkback_refusal_name(refusal),
                    parsed->operation, (unsigned long long)parsed->sector, parsed->segment_count);
}

void dgm_blkback_respond(struct dgm_blkback *blkback, const struct dgm_blkif_request *parsed,
                         int16_t status)
{
    union { /* the padding is zeroed too */
        struct blkif_response response;
        uint64_t words[sizeof(struct blkif_response) / 8];
    } entry = {.words = {0}};

    entry.response.id = parsed->id;
    entry.response.operation = parsed->operation;
    entry.response.status = status;
    dgm_ring_respond(&blkback->ring, &entry, sizeof entry);
}

/* --- to the disk --- */

static bool has_data(const struct dgm_blkback_request *request)
{
    return request->parsed.bytes != 0;
}

static void command_done(struct dgm_blk_command *blk, int status)
{
    struct dgm_blkback_command *command = dgm_container(blk, struct dgm_blkback_command, blk);
    struct dgm_blkback_request *request = command->request;
    struct dgm_blkback *blkback = request->owner;

    dgm_assert(request->commands > 0);
    if (has_data(request) &&
        dgm_dma_unmap(blkback->env.dma, &command->map, status == DGM_OK) != DGM_OK)
        status = DGM_EIO;
    dgm_blkback_command_give(blkback, command, blkback->task.posted);
    request->commands--;
    /* First, so that no write of after that counts as lost. */
    if (blkback->power_losses != blkback->disk->power_losses)
        dgm_blkback_power_lost(blkback);
    if (has_data(request)) {
        blkback->written += status == DGM_OK && request->parsed.operation == BLKIF_OP_WRITE;
        request->failed |= status != DGM_OK;
    } else if (status == DGM_OK) {
        request->failed = !dgm_blkback_flush_succeeded(blkback, request);
    } else if (dgm_blkback_flush_failed(blkback, request)) {
        return;
    } else {
        request->failed = true;
    }
    if (request->commands == 0 && !request->in_issuing) {
        dgm_blkback_append(&blkback->finished, request);
        dgm_reactor_post(blkback->env.reactor, &blkback->task);
    }
}

/* Maps a prefix of the remaining bytes. Returns its length (0 for a flush), or an error.
 * DGM_EAGAIN: the task is posted when bounce buffers may be available. */
static int map_prefix(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                      struct dgm_blkback_command *command)
{
    if (!has_data(request))
        return 0;

    const struct dgm_dma_transfer transfer = {
        .tag = &blkback->tag,
        .pieces = request->pieces,
        .piece_count = request->parsed.segment_count,
        .skip_bytes = request->issued,
        .direction =
            request->parsed.operation == BLKIF_OP_READ ? DGM_DMA_FROM_DEVICE : DGM_DMA_TO_DEVICE,
        .device = &blkback->bounce,
        .pages = dgm_blkback_is_whole_frames(request) && blkback->disk->takes_pages ? command->pages
                                                                                    : NULL,
        .held = request->used != 0, /* until release_frames() */
    };
    const int bytes = dgm_dma_map(blkback->env.dma, &transfer, command->segments, &command->map);

    if (bytes == DGM_EAGAIN)
        dgm_waiters_add(&blkback->env.dma->bounce->waiters, &blkback->task);
    return bytes;
}

/* Submits the mapped prefix, or the flush. DGM_EAGAIN: the disk's queue is full. On any error
 * nothing stays mapped. */
static int submit_command(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                          struct dgm_blkback_command *command, uint32_t bytes)
{
    const uint32_t block_bytes = blkback->disk->block_bytes;
    const uint64_t sector = request->parsed.sector + request->issued / DGM_BLKIF_SECTOR_BYTES;

    command->request = request;
    command->blk = (struct dgm_blk_command){.op = DGM_BLK_FLUSH, .done = command_done};
    if (has_data(request)) {
        command->blk.op = request->parsed.operation == BLKIF_OP_READ ? DGM_BLK_READ : DGM_BLK_WRITE;
        command->blk.block = blkback->first_block + sector / (block_bytes / DGM_BLKIF_SECTOR_BYTES);
        command->blk.blocks = bytes / block_bytes;
        command->blk.segments = command->map.segments;
        command->blk.segment_count = command->map.segment_count;
        command->blk.pages = command->pages;
        command->blk.page_count = command->map.page_count;
        command->blk.pieces = request->pieces;
        command->blk.skip_bytes = request->issued;
    }

    if (!has_data(request))
        request->covers = blkback->written;

    const int status = blkback->disk->ops->submit(blkback->disk, &command->blk);

    if (status < 0 && has_data(request))
        dgm_dma_unmap(blkback->env.dma, &command->map, false);
    return status;
}

/* If the device waits, it waits for the disk. In the queue for commands, the return of its own
 * command would wake it without end. */
static void return_next_command(struct dgm_blkback *blkback)
{
    dgm_blkback_share_leave(&blkback->shares[DGM_BLKBACK_COMMANDS]);
    if (blkback->next_command)
        dgm_blkback_command_give(blkback, blkback->next_command, false);
    blkback->next_command = NULL;
}

/* Ends the device's turn, after the disk took its command or if it has none: the next waiter is
 * woken, if this one was queued. */
static void end_turn(struct dgm_blkback *blkback)
{
    dgm_blkback_queue_leave(blkback->env.reactor, &blkback->disk_waiter);
}

/* Submits the next prefix of `request`. DGM_OK; DGM_EAGAIN: a resource is short, and the task is
 * posted when it may be available; or an error. */
static int issue_prefix(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    if (!dgm_blkback_queue_admits(&blkback->shared_disk->queue, &blkback->disk_waiter)) {
        return_next_command(blkback);
        dgm_blkback_queue_join(&blkback->shared_disk->queue, &blkback->disk_waiter);
        return DGM_EAGAIN;
    }
    if (!blkback->next_command)
        blkback->next_command = dgm_blkback_command_take(blkback);
    if (!blkback->next_command)
        return DGM_EAGAIN;

    const int bytes = map_prefix(blkback, request, blkback->next_command);

    if (bytes == DGM_EAGAIN)
        return bytes;

    const int status =
        bytes < 0 ? bytes
                  : submit_command(blkback, request, blkback->next_command, (uint32_t)bytes);

    if (status < 0) {
        return_next_command(blkback);
        if (status == DGM_EAGAIN) {
            dgm_blkback_queue_join(&blkback->shared_disk->queue, &blkback->disk_waiter);
            dgm_waiters_add(&blkback->disk->waiters, &blkback->task);
        }
        return status;
    }
    end_turn(blkback);
    blkback->next_command = NULL;
    request->issued += (uint32_t)bytes;
    request->fully_issued = request->issued == request->parsed.bytes;
    request->commands++;
    blkback->kick_due = true;
    return DGM_OK;
}

void dgm_blkback_issue(struct dgm_blkback *blkback)
{
    for (struct dgm_blkback_request *r; (r = blkback->issuing.first);) {
        while (!r->fully_issued && !r->failed && dgm_blkback_may_respond(blkback)) {
            const int status = issue_prefix(blkback, r);

            if (status == DGM_EAGAIN) {
                blkback->counters.waits++;
                return;
            }
            if (status < 0)
                r->failed = true;
        }
        dgm_blkback_pop(&blkback->issuing);
        r->in_issuing = false;
        if (r->failed && !has_data(r) && dgm_blkback_flush_failed(blkback, r)) {
            r->failed = false;
            continue;
        }
        if (r->commands == 0)
            dgm_blkback_append(&blkback->finished, r);
    }
    /* No request needs a command or the disk any longer, so the device must not block others. */
    return_next_command(blkback);
    end_turn(blkback);
}

/* --- from the disk to the ring --- */

/* Adds all frames to the batch of releases. The bytes of a successful read in mode copy are
 * delivered. */
static void release_frames(struct dgm_blkback_request *request)
{
    /* So no device has a frame any longer, and none of those that dma leaves to us to hold. */
    dgm_assert(request->commands == 0);
    if (request->parsed.indirect && request->indirect.held != DGM_REACH_NOT_HELD)
        dgm_reach_release_add(&request->indirect, 1, DGM_REACH_DISCARD);
    request->delivers = false;
    if (request->used) {
        dgm_reach_unuse(&request->owner->connection, request->frames, request->used);
        return;
    }

    const bool deliver = !request->failed && request->refusal == DGM_BLKBACK_ACCEPTED &&
                         dgm_blkback_may_respond(request->owner);
    const enum dgm_reach_release release = deliver ? DGM_REACH_DELIVER : DGM_REACH_DISCARD;

    request->delivers = dgm_reach_release_add(request->frames, request->added, release);
}

/* DGM_OK: all frames are released. DGM_EAGAIN: some frame waits for a retry of its delivery.
 * Otherwise some frame could not be delivered to the guest. */
static int release_status(const struct dgm_blkback_request *request)
{
    int result = DGM_OK;

    for (uint16_t i = 0; request->delivers && i < request->added; i++) {
        if (request->frames[i].held != DGM_REACH_NOT_HELD)
            return DGM_EAGAIN;
        if (request->frames[i].foreign.status != DGM_OK)
            result = request->frames[i].foreign.status;
    }
    return result;
}

static void count_success(struct dgm_blkback_counters *counters,
                          const struct dgm_blkif_request *parsed)
{
    switch (parsed->operation) {
    case BLKIF_OP_READ:
        counters->reads++;
        counters->bytes_read += parsed->bytes;
        break;
    case BLKIF_OP_WRITE:
        counters->writes++;
        counters->bytes_written += parsed->bytes;
        break;
    default:
        counters->flushes++;
        break;
    }
}

/* Writes the response, if the frontend is still connected, and returns the record. */
static void end_request(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    int16_t status = dgm_blkif_status(request->refusal);

    if (request->failed) {
        blkback->counters.device_errors++;
        status = BLKIF_RSP_ERROR;
    }
    if (!dgm_blkback_may_respond(blkback)) {
        blkback->counters.dropped++;
    } else if (request->failed && !has_data(request)) {
        blkback->counters.flushes_without_response++; /* see flush.c */
    } else {
        if (status == BLKIF_RSP_OKAY)
            count_success(&blkback->counters, &request->parsed);
        dgm_blkback_respond(blkback, &request->parsed, status);
    }
    blkback->records_used--;
    dgm_blkback_share_give(dgm_blkback_frames_share(blkback), dgm_blkif_frames(&request->parsed));
    dgm_blkback_request_give(request);
}

void dgm_blkback_finish(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_list ending = blkback->parked_releases;
    struct dgm_reactor *reactor = blkback->env.reactor;
    const uint32_t start = dgm_reactor_worked(reactor);
    /* Otherwise nothing was released that others wait for. */
    bool frames_freed = blkback->finished.first;
    struct dgm_blkback_request *r;

    if (!blkback->finished.first && !ending.first)
        return;
    blkback->parked_releases = (struct dgm_blkback_list){0};
    while (!dgm_reactor_spent(reactor, start)) {
        r = dgm_blkback_pop(&blkback->finished);
        if (!r)
            break;
        dgm_reactor_work(reactor, dgm_blkback_work_of(&r->parsed));
        release_frames(r);
        dgm_blkback_append(&ending, r);
    }
    if (blkback->finished.first)
        dgm_reactor_post(blkback->env.reactor, &blkback->task);
    dgm_reach_release_commit(blkback->env.reach);
    while ((r = dgm_blkback_pop(&ending))) {
        const int status = release_status(r);

        if (status == DGM_EAGAIN) {
            dgm_blkback_append(&blkback->parked_releases, r);
            dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
            continue;
        }
        if (status != DGM_OK) {
            r->refusal = DGM_BLKBACK_BAD_GRANT;
            dgm_blkback_note_refusal(blkback, &r->parsed, r->refusal);
        }
        end_request(blkback, r);
        frames_freed = true;
    }
    if (!frames_freed)
        return;
    dgm_blkback_queue_wake(pool->reactor, &pool->slots_queue);
    dgm_blkback_queue_wake(pool->reactor, &pool->copy_buffers_queue);
    dgm_waiters_wake(&blkback->guest->waiters, blkback->env.reactor);
}
