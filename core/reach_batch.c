/* SPDX-License-Identifier: MIT */
/*
 * reach_batch: frames on their way in and out. See dragoman/reach.h.
 *
 * Most frames need no step after the commit of their batch, so only those that do (to be kept, to
 * be mapped at their mfn) are on the pending list.
 */
#include "reach_internal.h"

#include <dragoman/check.h>
#include <dragoman/status.h>

#include <string.h>

/* --- in --- */

static void add_copy(struct dgm_way *way, struct dgm_reached *frame)
{
    struct dgm_reach *reach = way->reach;
    const uint16_t buffer = dgm_bounce_take(reach->buffers, NULL, DGM_BOUNCE_AREAS_ALL);
    const dgm_gfn_t gfn = reach->buffers->gfn[buffer];

    reach->buffers_reserved--;
    frame->how = DGM_REACH_COPY;
    frame->entry = buffer;
    frame->foreign = (struct dgm_foreign){.gfn = gfn, .mfn = DGM_MFN_NONE, .status = DGM_OK};
    if (frame->to_device)
        dgm_grantcopy_add(reach->copy,
                          &(struct dgm_grantcopy_op){.domid = way->guest->domid,
                                                     .ref = frame->ref,
                                                     .local = gfn,
                                                     .offset = frame->offset,
                                                     .bytes = frame->bytes},
                          &frame->foreign.status);
    else /* what the device leaves unwritten must not be what another guest left there */
        memset((char *)dgm_env_va(gfn) + frame->offset, 0, frame->bytes);
}

static bool find_kept(struct dgm_way *way, struct dgm_reached *frame)
{
    struct dgm_grantcache *kept = way->reach->kept;

    frame->entry = dgm_grantcache_use(kept, &way->owner, frame->ref);
    if (frame->entry == DGM_GRANTCACHE_NONE)
        return false;
    frame->how = DGM_REACH_KEPT;
    frame->foreign = kept->entries[frame->entry].foreign;
    dgm_reach_unreserve(way, 1);
    return true;
}

void dgm_reach_add(struct dgm_way *way, struct dgm_reached *frame, grant_ref_t ref, uint16_t offset,
                   uint16_t bytes, bool to_device)
{
    struct dgm_reach *reach = way->reach;

    dgm_assert(frame->how == DGM_REACH_NOT);
    frame->way = way;
    frame->ref = ref;
    frame->offset = offset;
    frame->bytes = bytes;
    frame->to_device = to_device;
    if (way->path == DGM_PATH_COPY) {
        add_copy(way, frame);
    } else if (!way->persistent || !find_kept(way, frame)) {
        frame->how = DGM_REACH_SLOT;
        dgm_grant_map_add(reach->grant, &frame->foreign, &way->guest->slots, way->guest->domid, ref,
                          to_device && !way->persistent);
        if (way->persistent || way->path == DGM_PATH_IDENTITY) {
            frame->next = reach->pending;
            reach->pending = frame;
        }
    }
    reach->frames[frame->how]++;
}

/* A mapped frame of a persistent connection is kept if there is room, and half of all slots is left
 * to those who come and go: else guests could wait for what nobody gives back. */
static void keep(struct dgm_reach *reach, struct dgm_reached *frame)
{
    if ((uint64_t)(reach->kept->total - reach->kept->free) >= dgm_reach_slots_there(reach) / 2)
        return;
    frame->entry = dgm_grantcache_add(reach->kept, &frame->way->owner, frame->ref, &frame->foreign);
    if (frame->entry != DGM_GRANTCACHE_NONE)
        frame->how = DGM_REACH_KEPT;
}

/* What is to be done with frames whose first mapping has been answered. */
static void follow_up(struct dgm_reach *reach)
{
    struct dgm_reached **link = &reach->pending;
    bool identity = false;

    while (*link) {
        struct dgm_reached *frame = *link;

        if (frame->how == DGM_REACH_SLOT && frame->foreign.status == DGM_OK) {
            if (frame->way->persistent)
                keep(reach, frame);
            else if (dgm_reach_identity_begin(reach, frame))
                frame->how = DGM_REACH_IDENTITY;
        }
        identity |= frame->how == DGM_REACH_IDENTITY;
        if (frame->how == DGM_REACH_IDENTITY || frame->foreign.status == DGM_EAGAIN)
            link = &frame->next;
        else
            *link = frame->next;
    }
    if (!identity)
        return;
    dgm_grant_map_commit(reach->grant);
    for (link = &reach->pending; *link;) {
        struct dgm_reached *frame = *link;

        if (frame->how == DGM_REACH_IDENTITY && dgm_reach_identity_end(reach, frame))
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

static void release_buffer(struct dgm_reach *reach, struct dgm_reached *frame)
{
    dgm_bounce_give(reach->buffers, frame->entry);
    frame->way->guest->buffers.used--;
    frame->how = DGM_REACH_NOT;
}

static void release_copy(struct dgm_reach *reach, struct dgm_reached *frame, bool deliver)
{
    const struct dgm_grantcopy_op op = {.domid = frame->way->guest->domid,
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

void dgm_reach_release_add(struct dgm_reached *frame, bool deliver)
{
    if (frame->how == DGM_REACH_NOT)
        return;

    struct dgm_reach *reach = frame->way->reach;
    const int status = frame->foreign.status;

    dgm_assert(status != DGM_EAGAIN);
    switch (frame->how) {
    case DGM_REACH_COPY:
        release_copy(reach, frame, deliver);
        return;
    case DGM_REACH_KEPT:
        dgm_grantcache_unuse(reach->kept, frame->entry);
        break;
    case DGM_REACH_IDENTITY:
        dgm_reach_identity_release(reach, frame);
        break;
    default:
        if (status == DGM_OK)
            dgm_grant_unmap_add(reach->grant, &frame->foreign);
        break;
    }
    frame->how = DGM_REACH_NOT;
    frame->foreign.status = status;
}

void dgm_reach_release_commit(struct dgm_reach *reach)
{
    struct dgm_reached **link = &reach->delivering;

    dgm_grant_unmap_commit(reach->grant);
    dgm_grantcopy_commit(reach->copy);
    while (*link) {
        struct dgm_reached *frame = *link;

        if (frame->foreign.status == DGM_EAGAIN) {
            link = &frame->next;
        } else {
            *link = frame->next;
            release_buffer(reach, frame);
        }
    }
    dgm_reach_look_again(reach);
}
