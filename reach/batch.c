/* SPDX-License-Identifier: MIT */
/*
 * reach/batch: frames on their way in and out. See dragoman/reach/reach.h.
 *
 * Most frames need no step after the commit of their batch, so only those that do (to be kept, to
 * be mapped at their mfn) are on the pending list.
 */
#include "internal.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

/* --- in --- */

static void add_copy(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame)
{
    struct dgm_reach *reach = connection->reach;
    const uint16_t buffer = dgm_bounce_take(reach->buffers, NULL, DGM_BOUNCE_AREAS_ALL);
    const dgm_gfn_t gfn = reach->buffers->gfn[buffer];

    reach->buffers_reserved--;
    frame->held = DGM_REACH_HELD_COPIED;
    frame->entry = buffer;
    frame->foreign = (struct dgm_foreign){.gfn = gfn, .mfn = DGM_MFN_NONE, .status = DGM_OK};
    if (frame->to_device)
        dgm_grantcopy_add(reach->copy,
                          &(struct dgm_grantcopy_op){.domid = connection->guest->domid,
                                                     .ref = frame->ref,
                                                     .local = gfn,
                                                     .offset = frame->offset,
                                                     .bytes = frame->bytes},
                          &frame->foreign.status);
    else /* what the device leaves unwritten must not be what another guest left there */
        memset((char *)dgm_env_va(gfn) + frame->offset, 0, frame->bytes);
}

static bool find_kept(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame)
{
    struct dgm_persistent *kept = connection->reach->persistent;

    frame->entry = dgm_persistent_use(kept, &connection->owner, frame->ref);
    if (frame->entry == DGM_PERSISTENT_NONE)
        return false;
    frame->held = DGM_REACH_HELD_PERSISTENT;
    frame->foreign = kept->entries[frame->entry].foreign;
    dgm_reach_unreserve(connection, 1);
    return true;
}

void dgm_reach_add(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                   grant_ref_t ref, uint16_t offset, uint16_t bytes, bool to_device)
{
    struct dgm_reach *reach = connection->reach;

    dgm_assert(frame->held == DGM_REACH_NOT_HELD);
    frame->connection = connection;
    frame->ref = ref;
    frame->offset = offset;
    frame->bytes = bytes;
    frame->to_device = to_device;
    if (connection->mode == DGM_REACH_MODE_COPY) {
        add_copy(connection, frame);
    } else if (!connection->persistent || !find_kept(connection, frame)) {
        frame->held = DGM_REACH_HELD_MAPPED;
        dgm_grant_map_add(reach->grant, &frame->foreign, &connection->guest->slots,
                          connection->guest->domid, ref, to_device && !connection->persistent);
        if (connection->persistent || connection->mode == DGM_REACH_MODE_IDENTITY) {
            frame->next = reach->pending;
            reach->pending = frame;
        }
    }
    reach->frames[frame->held]++;
}

/* A mapped frame of a persistent connection is kept if there is room, and half of all slots is left
 * to those who come and go: else guests could wait for what nobody gives back. */
static void keep(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    if ((uint64_t)(reach->persistent->total - reach->persistent->free) >=
        dgm_reach_slots_there(reach) / 2)
        return;
    frame->entry = dgm_persistent_add(reach->persistent, &frame->connection->owner, frame->ref,
                                      &frame->foreign);
    if (frame->entry != DGM_PERSISTENT_NONE)
        frame->held = DGM_REACH_HELD_PERSISTENT;
}

/* What is to be done with frames whose first mapping has been answered. */
static void follow_up(struct dgm_reach *reach)
{
    struct dgm_reach_frame **link = &reach->pending;
    bool identity = false;

    while (*link) {
        struct dgm_reach_frame *frame = *link;

        if (frame->held == DGM_REACH_HELD_MAPPED && frame->foreign.status == DGM_OK) {
            if (frame->connection->persistent)
                keep(reach, frame);
            else if (dgm_reach_identity_begin(reach, frame))
                frame->held = DGM_REACH_HELD_IDENTITY;
        }
        identity |= frame->held == DGM_REACH_HELD_IDENTITY;
        if (frame->held == DGM_REACH_HELD_IDENTITY || frame->foreign.status == DGM_EAGAIN)
            link = &frame->next;
        else
            *link = frame->next;
    }
    if (!identity)
        return;
    dgm_grant_map_commit(reach->grant);
    for (link = &reach->pending; *link;) {
        struct dgm_reach_frame *frame = *link;

        if (frame->held == DGM_REACH_HELD_IDENTITY && dgm_reach_identity_end(reach, frame))
            *link = frame->next;
        else
            link = &frame->next;
    }
    dgm_grant_unmap_commit(reach->grant);
}

void dgm_reach_commit(struct dgm_reach *reach)
{
    dgm_grant_map_commit(reach->grant);
    if (reach->pending)
        follow_up(reach);
    dgm_grantcopy_commit(reach->copy);
    dgm_reach_look_again(reach);
}

/* --- and out --- */

static void release_buffer(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    dgm_bounce_give(reach->buffers, frame->entry);
    frame->connection->guest->buffers.used--;
    frame->held = DGM_REACH_NOT_HELD;
}

static void release_copy(struct dgm_reach *reach, struct dgm_reach_frame *frame, bool deliver)
{
    const struct dgm_grantcopy_op op = {.domid = frame->connection->guest->domid,
                                        .ref = frame->ref,
                                        .local = frame->foreign.gfn,
                                        .offset = frame->offset,
                                        .bytes = frame->bytes,
                                        .to_guest = true};

    if (!deliver || frame->to_device || frame->foreign.status != DGM_OK) {
        release_buffer(reach, frame);
        return;
    }
    dgm_grantcopy_add(reach->copy, &op, &frame->foreign.status);
    frame->next = reach->delivering;
    reach->delivering = frame;
}

void dgm_reach_release_add(struct dgm_reach_frame *frame, bool deliver)
{
    if (frame->held == DGM_REACH_NOT_HELD)
        return;

    struct dgm_reach *reach = frame->connection->reach;
    const int status = frame->foreign.status;

    dgm_assert(status != DGM_EAGAIN);
    switch (frame->held) {
    case DGM_REACH_HELD_COPIED:
        release_copy(reach, frame, deliver);
        return;
    case DGM_REACH_HELD_PERSISTENT:
        dgm_persistent_unuse(reach->persistent, frame->entry);
        break;
    case DGM_REACH_HELD_IDENTITY:
        dgm_reach_identity_release(reach, frame);
        break;
    default:
        if (status == DGM_OK)
            dgm_grant_unmap_add(reach->grant, &frame->foreign);
        break;
    }
    frame->held = DGM_REACH_NOT_HELD;
    frame->foreign.status = status;
}

void dgm_reach_release_commit(struct dgm_reach *reach)
{
    struct dgm_reach_frame **link = &reach->delivering;

    dgm_grant_unmap_commit(reach->grant);
    dgm_grantcopy_commit(reach->copy);
    while (*link) {
        struct dgm_reach_frame *frame = *link;

        if (frame->foreign.status == DGM_EAGAIN) {
            link = &frame->next;
        } else {
            *link = frame->next;
            release_buffer(reach, frame);
        }
    }
    dgm_reach_look_again(reach);
}
