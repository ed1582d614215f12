/* SPDX-License-Identifier: MIT */
/*
 * issue: from requests whose frames are reached to the disk, and back to answers
 *
 * A request goes to the disk in as many commands as dma's prefixes make, several at a time; it ends
 * when the last has come back. The first that fails stops the issuing of further ones, and the
 * request fails once. A command is held while the disk has it, and while the device waits for a
 * bounce buffer: were it given back, those first in line for buffers and those first in line for
 * commands could refuse each other for as long as the disk is busy. When queue entries are short it
 * is given back, and the device waits on whoever has them.
 *
 * When the device lets go of its frontend, what is not with the disk ends at once, and nothing is
 * answered; what is with the disk ends when the disk says so. Frames are released after the last
 * command that may touch them, and before the answer is visible.
 */
#include <block/internal.h>

#include <dragoman/base/check.h>

#define COMPLAINTS_LOGGED 4u /* per connection */

void dgm_blkback_append(struct dgm_blkback_list *list, struct dgm_blkback_request *request)
{
    request->next = NULL;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

struct dgm_blkback_request *dgm_blkback_pop(struct dgm_blkback_list *list)
{
    struct dgm_blkback_request *request = list->first;

    if (!request)
        return NULL;
    list->first = request->next;
    if (!list->first)
        list->last = NULL;
    request->next = NULL;
    return request;
}

void dgm_blkback_complain(struct dgm_blkback *blkback, const struct dgm_blkif_request *asked,
                          enum dgm_blkback_refusal refusal)
{
    blkback->counters.refused[refusal]++;
    if (blkback->complaints >= COMPLAINTS_LOGGED)
        return;
    blkback->complaints++;
    dgm_env_log("vbd %u/%s: request refused: %s (operation %u, sector %llu, %u segments)%s",
                blkback->xenbus.domid, blkback->vdev, dgm_blkback_refusal_name(refusal),
                asked->operation, (unsigned long long)asked->sector, asked->segment_count,
                blkback->complaints == COMPLAINTS_LOGGED ? "; further ones only counted" : "");
}

void dgm_blkback_answer(struct dgm_blkback *blkback, const struct dgm_blkif_request *asked,
                        int16_t status)
{
    union { /* no byte of padding is left as it was */
        struct blkif_response response;
        uint64_t words[sizeof(struct blkif_response) / 8];
    } answer = {.words = {0}};

    answer.response.id = asked->id;
    answer.response.operation = asked->operation;
    answer.response.status = status;
    dgm_ring_respond(&blkback->ring, &answer, sizeof answer);
}

/* The frontend is still there. */
static bool answers(const struct dgm_blkback *blkback)
{
    return blkback->holding && !blkback->closing;
}

/* --- to the disk --- */

static bool has_data(const struct dgm_blkback_request *request)
{
    return request->asked.bytes != 0;
}

static void ended(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    dgm_blkback_append(&blkback->finished, request);
    dgm_reactor_post(blkback->env.reactor, &blkback->task);
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
    dgm_blkback_command_give(blkback->env.pool, command);
    request->commands--;
    if (status != DGM_OK)
        request->failed = true;
    if (request->commands == 0 && !request->waiting)
        ended(blkback, request);
}

/* Maps a prefix of what remains. Bytes, 0 for a flush, or an error; on DGM_EAGAIN we shall be
 * woken. */
static int map_prefix(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                      struct dgm_blkback_command *command)
{
    if (!has_data(request))
        return 0;

    const struct dgm_dma_transfer transfer = {
        .tag = &blkback->tag,
        .pieces = request->pieces,
        .piece_count = request->asked.segment_count,
        .skip_bytes = request->issued,
        .direction =
            request->asked.operation == BLKIF_OP_READ ? DGM_DMA_FROM_DEVICE : DGM_DMA_TO_DEVICE,
        .share = &blkback->guest->bounce,
    };
    const int bytes = dgm_dma_map(blkback->env.dma, &transfer, command->segments, &command->map);

    if (bytes == DGM_EAGAIN)
        dgm_waiters_add(&blkback->env.dma->bounce->waiters, &blkback->task);
    return bytes;
}

static int submit(struct dgm_blkback *blkback, struct dgm_blkback_request *request,
                  struct dgm_blkback_command *command, uint32_t bytes)
{
    const uint32_t block_bytes = blkback->disk->block_bytes;
    const uint64_t sector = request->asked.sector + request->issued / DGM_BLKIF_SECTOR_BYTES;

    command->request = request;
    command->blk = (struct dgm_blk_command){.op = DGM_BLK_FLUSH, .done = command_done};
    if (has_data(request)) {
        command->blk.op = request->asked.operation == BLKIF_OP_READ ? DGM_BLK_READ : DGM_BLK_WRITE;
        command->blk.block = sector / (block_bytes / DGM_BLKIF_SECTOR_BYTES);
        command->blk.blocks = bytes / block_bytes;
        command->blk.segments = command->map.segments;
        command->blk.segment_count = command->map.segment_count;
    }

    const int status = blkback->disk->ops->submit(blkback->disk, &command->blk);

    if (status == DGM_EAGAIN)
        dgm_waiters_add(&blkback->disk->waiters, &blkback->task);
    if (status < 0 && has_data(request))
        dgm_dma_unmap(blkback->env.dma, &command->map, false);
    return status;
}

static void put_back(struct dgm_blkback *blkback)
{
    if (blkback->in_hand)
        dgm_blkback_command_give(blkback->env.pool, blkback->in_hand);
    blkback->in_hand = NULL;
}

/* Gives the disk one more piece of `request`. DGM_OK, DGM_EAGAIN (we shall be woken),
 * or an error. */
static int issue_piece(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    if (!blkback->in_hand)
        blkback->in_hand = dgm_blkback_command_take(blkback->env.pool, &blkback->command);
    if (!blkback->in_hand)
        return DGM_EAGAIN;

    const int bytes = map_prefix(blkback, request, blkback->in_hand);

    if (bytes == DGM_EAGAIN)
        return bytes;

    const int status =
        bytes < 0 ? bytes : submit(blkback, request, blkback->in_hand, (uint32_t)bytes);

    if (status < 0) {
        put_back(blkback);
        return status;
    }
    blkback->in_hand = NULL;
    request->issued += (uint32_t)bytes;
    request->whole = request->issued == request->asked.bytes;
    request->commands++;
    blkback->unkicked = true;
    return DGM_OK;
}

void dgm_blkback_issue(struct dgm_blkback *blkback)
{
    for (struct dgm_blkback_request *r; (r = blkback->waiting.first);) {
        while (!r->whole && !r->failed && answers(blkback)) {
            const int status = issue_piece(blkback, r);

            if (status == DGM_EAGAIN) {
                blkback->counters.waits++;
                return;
            }
            if (status < 0)
                r->failed = true;
        }
        dgm_blkback_pop(&blkback->waiting);
        r->waiting = false;
        if (r->commands == 0)
            dgm_blkback_append(&blkback->finished, r);
    }
    /* Nothing waits for a command any more: do not keep the line from others. */
    put_back(blkback);
    dgm_blkback_queue_leave(blkback->env.pool, &blkback->command);
}

/* --- and back --- */

/* A read that went well is given to the guest, where that takes a copy. */
static void release_frames(struct dgm_blkback_request *request)
{
    const bool deliver =
        !request->failed && request->refusal == DGM_BLKBACK_ACCEPTED && answers(request->owner);
    const enum dgm_reach_release release = deliver ? DGM_REACH_DELIVER : DGM_REACH_DISCARD;

    for (uint16_t i = 0; i < request->added; i++)
        dgm_reach_release_add(&request->frames[i], release);
    if (request->asked.indirect)
        dgm_reach_release_add(&request->indirect, DGM_REACH_DISCARD);
}

/* All is released, and said whether the guest has its bytes. */
static bool released(struct dgm_blkback_request *request)
{
    for (uint16_t i = 0; i < request->added; i++) {
        if (request->frames[i].held != DGM_REACH_NOT_HELD)
            return false;
        if (request->frames[i].foreign.status == DGM_EPERM)
            request->refusal = DGM_BLKBACK_BAD_GRANT;
    }
    return true;
}

static void count_ok(struct dgm_blkback_counters *counters, const struct dgm_blkif_request *asked)
{
    switch (asked->operation) {
    case BLKIF_OP_READ:
        counters->reads++;
        counters->bytes_read += asked->bytes;
        break;
    case BLKIF_OP_WRITE:
        counters->writes++;
        counters->bytes_written += asked->bytes;
        break;
    default:
        counters->flushes++;
        break;
    }
}

static void conclude(struct dgm_blkback *blkback, struct dgm_blkback_request *request)
{
    int16_t status = dgm_blkif_status(request->refusal);

    if (request->failed) {
        blkback->counters.device_errors++;
        status = BLKIF_RSP_ERROR;
    }
    if (!answers(blkback)) {
        blkback->counters.dropped++;
    } else {
        if (status == BLKIF_RSP_OKAY)
            count_ok(&blkback->counters, &request->asked);
        dgm_blkback_answer(blkback, &request->asked, status);
    }
    blkback->live--;
    dgm_blkback_request_give(blkback->env.pool, request);
}

void dgm_blkback_finish(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_list ending = blkback->releasing;
    bool freed = blkback->finished.first; /* else a wake-up would find all as it was */
    struct dgm_blkback_request *r;

    if (!blkback->finished.first && !ending.first)
        return;
    blkback->releasing = (struct dgm_blkback_list){0};
    while ((r = dgm_blkback_pop(&blkback->finished))) {
        release_frames(r);
        dgm_blkback_append(&ending, r);
    }
    dgm_reach_release_commit(blkback->env.reach);
    while ((r = dgm_blkback_pop(&ending))) {
        const enum dgm_blkback_refusal before = r->refusal;

        if (!released(r)) {
            dgm_blkback_append(&blkback->releasing, r);
            dgm_waiters_add(&blkback->env.reach->waiters, &blkback->task);
            continue;
        }
        if (r->refusal != before)
            dgm_blkback_complain(blkback, &r->asked, r->refusal);
        conclude(blkback, r);
        freed = true;
    }
    if (!freed)
        return;
    dgm_blkback_queue_wake(pool, &pool->slots_line);
    dgm_blkback_queue_wake(pool, &pool->buffers_line);
    dgm_waiters_wake(&blkback->guest->waiters, blkback->env.reactor);
}
