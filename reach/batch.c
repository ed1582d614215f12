/* SPDX-License-Identifier: MIT */
/*
 * reach/batch: the life of a frame, from its addition to its release. See dragoman/reach/reach.h.
 *
 * Most frames are done when the batch of mappings is committed. Only the frames that need a further
 * step (to become persistent, to be mapped at their mfn) are in reach->pending.
 */
#include "internal.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

/* --- adding --- */

static void add_copied(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame)
{
    struct dgm_reach *reach = connection->reach;

    frame->held = DGM_REACH_HELD_COPIED;
    frame->entry = dgm_copy_buffers_take(reach->copy_buffers);
    frame->foreign = (struct dgm_foreign){
        .gfn = reach->copy_buffers->gfn[frame->entry], .mfn = DGM_MFN_NONE, .status = DGM_OK};
    if (frame->piece.direction == DGM_REACH_TO_GUEST) { /* bytes that the device does not write must
                                                           not show another guest's data */
        dgm_copy_buffers_clear_for(reach->copy_buffers, frame->entry, connection->copy_user);
    } else {
        dgm_copy_buffers_fill_for(reach->copy_buffers, frame->entry, connection->copy_user);
        dgm_reach_copy_add(reach, frame);
    }
}

/* Reaches the frames that the connection has mapped already, and leaves the others. Returns how
 * many it has reached. A loop of its own: almost always these are all frames of a request. */
static uint32_t add_persistent(struct dgm_reach_connection *connection,
                               struct dgm_reach_frame *frames, uint32_t count)
{
    struct dgm_persistent *persistent = connection->reach->persistent;
    uint32_t found = 0;

    for (struct dgm_reach_frame *frame = frames; frame != frames + count; frame++) {
        dgm_assert(frame->held == DGM_REACH_NOT_HELD);
        frame->entry = dgm_persistent_use(persistent, &connection->owner, frame->piece.ref);
        if (frame->entry == DGM_PERSISTENT_NONE)
            continue;
        frame->connection = connection;
        frame->held = DGM_REACH_HELD_PERSISTENT;
        frame->foreign.gfn = persistent->entries[frame->entry].foreign.gfn;
        frame->foreign.status = DGM_OK;
        found++;
    }
    connection->owner.hits += found;
    connection->owner.misses += count - found;
    return found;
}

static void add_mapped(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame)
{
    struct dgm_reach *reach = connection->reach;
    const struct dgm_guest_grant wanted = {
        .ref = frame->piece.ref,
        .domid = connection->guest->domid,
        .readonly = frame->piece.direction == DGM_REACH_FROM_GUEST && !connection->persistent};

    frame->held = DGM_REACH_HELD_MAPPED;
    dgm_grant_map_add(reach->grant, &frame->foreign, &connection->guest->slots, wanted);
    if (connection->persistent || connection->mode == DGM_REACH_MODE_IDENTITY) {
        frame->next = reach->pending;
        reach->pending = frame;
    }
}

uint32_t dgm_reach_add(struct dgm_reach_connection *connection, struct dgm_reach_frame *frames,
                       uint32_t count)
{
    struct dgm_reach *reach = connection->reach;
    const bool copies = connection->mode == DGM_REACH_MODE_COPY;
    uint32_t found = 0;

    if (connection->persistent) {
        found = add_persistent(connection, frames, count);
        reach->frames[DGM_REACH_HELD_PERSISTENT] += found;
        if (found == count)
            return found;
    }
    for (struct dgm_reach_frame *frame = frames; frame != frames + count; frame++) {
        if (found && frame->held == DGM_REACH_HELD_PERSISTENT)
            continue;
        dgm_assert(frame->held == DGM_REACH_NOT_HELD);
        frame->connection = connection;
        if (copies)
            add_copied(connection, frame);
        else
            add_mapped(connection, frame);
    }
    reach->frames[copies ? DGM_REACH_HELD_COPIED : DGM_REACH_HELD_MAPPED] += count - found;
    return found;
}

/* --- committing --- */

/*
 * Makes a frame persistent that was just mapped for a persistent connection, if there is room. Half
 * of all slots is left for mappings that end with their request: otherwise guests could wait for
 * slots that no guest ever releases. While Xen has no room for mappings, no frame becomes
 * persistent.
 */
static void make_persistent(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    const uint64_t mapped = (uint64_t)(reach->persistent->total - reach->persistent->free);

    if (mapped >= dgm_reach_slot_count(reach) / 2 || reach->grant->map_short)
        return;
    frame->entry = dgm_persistent_add(reach->persistent, &frame->connection->owner,
                                      frame->piece.ref, &frame->foreign);
    if (frame->entry != DGM_PERSISTENT_NONE)
        frame->held = DGM_REACH_HELD_PERSISTENT;
}

/* The step after the mapping at a slot. Frames that are parked or still have to be mapped at their
 * mfn stay in reach->pending. True if there are frames of the second kind. */
static bool finish_first_mappings(struct dgm_reach *reach)
{
    struct dgm_reach_frame **link = &reach->pending;
    bool identity = false;

    while (*link) {
        struct dgm_reach_frame *frame = *link;

        if (frame->held == DGM_REACH_HELD_MAPPED && frame->foreign.status == DGM_OK) {
            if (frame->connection->persistent)
                make_persistent(reach, frame);
            else if (dgm_reach_identity_begin(reach, frame))
                frame->held = DGM_REACH_HELD_IDENTITY;
        }
        identity |= frame->held == DGM_REACH_HELD_IDENTITY;
        if (frame->held == DGM_REACH_HELD_IDENTITY || frame->foreign.status == DGM_EAGAIN)
            link = &frame->next;
        else
            *link = frame->next;
    }
    return identity;
}

/* The step after the mapping at gfn == mfn. */
static void finish_identity_mappings(struct dgm_reach *reach)
{
    struct dgm_reach_frame **link = &reach->pending;

    while (*link) {
        struct dgm_reach_frame *frame = *link;

        if (frame->held == DGM_REACH_HELD_IDENTITY && dgm_reach_identity_end(reach, frame))
            *link = frame->next;
        else
            link = &frame->next;
    }
}

void dgm_reach_commit(struct dgm_reach *reach)
{
    dgm_grant_map_commit(reach->grant);
    if (reach->pending && finish_first_mappings(reach)) {
        dgm_grant_map_commit(reach->grant);
        finish_identity_mappings(reach);
        dgm_grant_unmap_commit(reach->grant);
    }
    dgm_reach_copy_commit(reach);
    dgm_reach_schedule_retry(reach);
}

/* --- releasing --- */

/* True: the bytes in the frame's buffer must be delivered. */
static bool release_copied(struct dgm_reach *reach, struct dgm_reach_frame *frame,
                           enum dgm_reach_release release)
{
    if (release == DGM_REACH_DISCARD || frame->piece.direction != DGM_REACH_TO_GUEST ||
        frame->foreign.status != DGM_OK) {
        dgm_reach_copy_release(reach, frame);
        return false;
    }
    dgm_reach_copy_add(reach, frame);
    return true;
}

static void release_mapped(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    const int status = frame->foreign.status;

    if (frame->held == DGM_REACH_HELD_IDENTITY)
        dgm_reach_identity_release(reach, frame);
    else if (status == DGM_OK)
        dgm_grant_unmap_add(reach->grant, &frame->foreign);
    frame->held = DGM_REACH_NOT_HELD;
    frame->foreign.status = status;
}

bool dgm_reach_release_add(struct dgm_reach_frame *frames, uint32_t count,
                           enum dgm_reach_release release)
{
    bool delivers = false;

    for (uint32_t i = 0; i < count; i++) {
        struct dgm_reach_frame *frame = &frames[i];

        if (frame->held == DGM_REACH_NOT_HELD)
            continue;

        struct dgm_reach *reach = frame->connection->reach;

        if (frame->held == DGM_REACH_HELD_PERSISTENT) {
            dgm_persistent_unuse(reach->persistent, frame->entry);
            frame->held = DGM_REACH_NOT_HELD;
            continue;
        }
        dgm_assert(frame->foreign.status != DGM_EAGAIN);
        if (frame->held == DGM_REACH_HELD_COPIED)
            delivers |= release_copied(reach, frame, release);
        else
            release_mapped(reach, frame);
    }
    return delivers;
}

void dgm_reach_release_commit(struct dgm_reach *reach)
{
    const uint64_t unmapped = reach->grant->unmapped;

    dgm_grant_unmap_commit(reach->grant);
    if (reach->grant->map_short && reach->grant->unmapped != unmapped)
        dgm_timer_arm(reach->reactor, &reach->retry, dgm_env_now_ns()); /* there is room now */
    dgm_reach_copy_commit(reach);
    dgm_reach_schedule_retry(reach);
}
