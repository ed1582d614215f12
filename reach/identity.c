/* SPDX-License-Identifier: MIT */
/*
 * reach/identity: a frame at gfn == mfn, in three batches
 *
 * It is mapped at a slot, which tells its mfn; it is mapped at gfn == mfn; the slot is given back.
 * Whatever goes wrong on the way leaves it at the slot, where it is as good.
 */
#include "internal.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

static bool shares(const struct dgm_identity_entry *entry, const struct dgm_reach_frame *frame)
{
    return entry->users && entry->users < UINT16_MAX && entry->ref == frame->ref &&
           entry->domid == frame->connection->guest->domid && entry->readonly == frame->to_device;
}

/* The frame's own number is a place for it: none of our slots, none of our RAM. */
static bool has_place(const struct dgm_reach *reach, dgm_mfn_t mfn)
{
    const struct dgm_p2m *p2m = reach->grant->p2m;

    return dgm_identity_possible(reach->identity, mfn) && !dgm_p2m_is_slot(p2m, dgm_gfn(mfn.n)) &&
           dgm_mfn_is_none(dgm_p2m_lookup(p2m, dgm_gfn(mfn.n)));
}

bool dgm_reach_identity_begin(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    const dgm_gfn_t gfn = dgm_gfn(frame->foreign.mfn.n);
    struct dgm_identity_entry *entry = dgm_identity_find(reach->identity, gfn);

    if (entry && shares(entry, frame)) {
        entry->users++;
        reach->identity->shared++;
        return true;
    }
    if (!entry && has_place(reach, frame->foreign.mfn))
        entry = dgm_identity_add(reach->identity, gfn, frame->connection->guest->domid, frame->ref,
                                 frame->to_device);
    else
        entry = NULL;
    if (!entry) {
        reach->identity->at_slot++;
        return false;
    }
    dgm_grant_map_add_at(reach->grant, &entry->foreign, gfn, frame->connection->guest->domid,
                         frame->ref, frame->to_device);
    return true;
}

static void leave_entry(struct dgm_reach *reach, struct dgm_identity_entry *entry)
{
    if (--entry->users == 0)
        dgm_identity_remove(reach->identity, dgm_gfn(entry->frame));
}

bool dgm_reach_identity_end(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    struct dgm_identity_entry *entry =
        dgm_identity_find(reach->identity, dgm_gfn(frame->foreign.mfn.n));

    frame->foreign.status = DGM_OK; /* at its slot it is reached in any case */
    if (entry->foreign.status == DGM_EAGAIN) {
        frame->foreign.status = DGM_EAGAIN;
        return false;
    }
    if (entry->foreign.status != DGM_OK) {
        frame->held = DGM_REACH_HELD_MAPPED;
        reach->identity->at_slot++;
        leave_entry(reach, entry);
        return true;
    }
    if (entry->state != DGM_IDENTITY_LIVE)
        reach->identity->mapped++;
    entry->state = DGM_IDENTITY_LIVE;
    dgm_grant_unmap_add(reach->grant, &frame->foreign);
    frame->foreign = entry->foreign;
    return true;
}

void dgm_reach_identity_release(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    struct dgm_identity_entry *entry = dgm_identity_find(reach->identity, frame->foreign.gfn);

    frame->held = DGM_REACH_NOT_HELD;
    if (--entry->users)
        return;
    dgm_assert(entry->in_flight == 0);
    entry->state = DGM_IDENTITY_LEAVING;
    dgm_grant_unmap_add(reach->grant, &entry->foreign);
}
