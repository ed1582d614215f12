/* SPDX-License-Identifier: MIT */
/*
 * reach/copied: the frames of mode copy whose bytes Xen copies. See internal.h.
 *
 * A frame is in reach->copying from the addition of its op to the commit, and in
 * reach->parked_copies while it waits for a retry. Each has a copy buffer of its own, so there is
 * no bound to the ops that may be parked but that of the buffers.
 */
#include "internal.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

static void push(struct dgm_reach_frame **list, struct dgm_reach_frame *frame)
{
    frame->next = *list;
    *list = frame;
}

static struct dgm_reach_frame *pop(struct dgm_reach_frame **list)
{
    struct dgm_reach_frame *frame = *list;

    *list = frame->next;
    return frame;
}

static bool is_to_guest(const struct dgm_reach_frame *frame)
{
    return frame->piece.direction == DGM_REACH_TO_GUEST;
}

void dgm_reach_copy_release(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    dgm_copy_buffers_give(reach->copy_buffers, &frame->connection->guest->copy_buffers,
                          frame->entry);
    frame->held = DGM_REACH_NOT_HELD;
}

void dgm_reach_copy_add(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    const struct dgm_grantcopy_op op = {.domid = frame->connection->guest->domid,
                                        .ref = frame->piece.ref,
                                        .local = frame->foreign.gfn,
                                        .guest_offset = frame->piece.offset,
                                        .local_offset = frame->piece.offset,
                                        .bytes = frame->piece.bytes,
                                        .to_guest = is_to_guest(frame)};

    dgm_grantcopy_add(reach->copy, &op, &frame->foreign.status);
    push(&reach->copying, frame);
}

/* Judges the frame's op after its commit. True: the frame's status is final. */
static bool judge_copy(struct dgm_reach_frame *frame)
{
    struct dgm_foreign *foreign = &frame->foreign;

    if (!dgm_grantcopy_may_succeed(foreign->status))
        return true;
    if (!dgm_xen_patience_ends(&foreign->patience)) {
        foreign->status = DGM_EAGAIN;
        return false;
    }
    if (foreign->status == DGM_EAGAIN)
        foreign->status = DGM_EPERM;
    return true;
}

void dgm_reach_copy_commit(struct dgm_reach *reach)
{
    dgm_grantcopy_commit(reach->copy);
    while (reach->copying) {
        struct dgm_reach_frame *frame = pop(&reach->copying);

        if (!judge_copy(frame))
            push(&reach->parked_copies, frame);
        else if (is_to_guest(frame))
            dgm_reach_copy_release(reach, frame);
    }
}

void dgm_reach_copy_retry(struct dgm_reach *reach)
{
    struct dgm_reach_frame *parked = reach->parked_copies;

    reach->parked_copies = NULL;
    while (parked)
        dgm_reach_copy_add(reach, pop(&parked));
    dgm_reach_copy_commit(reach);
}
