/* SPDX-License-Identifier: MIT */
/*
 * reach/identity: a frame at gfn == mfn, in three batches
 *
 *   1. The frame is mapped at a slot, and Xen reports its mfn.
 *   2. It is mapped at gfn == mfn.
 *   3. The mapping at the slot is undone.
 *
 * If step 2 is impossible or refused, the frame stays at its slot: the device reaches it there too,
 * at the address from the p2m. So it does while Xen has no room for another mapping: otherwise the
 * first mappings of many frames could take the room that each needs for its second one.
 */
#include "internal.h"

#include <pages/identity_table.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

static struct dgm_guest_grant grant_of(const struct dgm_reach_frame *frame)
{
    return (struct dgm_guest_grant){.ref = frame->piece.ref,
                                    .domid = frame->connection->guest->domid,
                                    .readonly = frame->piece.direction == DGM_REACH_FROM_GUEST};
}

/* True if the mapping of `entry` serves `frame` too: it was made for the same reference, with the
 * same rights. */
static bool can_share(const struct dgm_identity_entry *entry, const struct dgm_reach_frame *frame)
{
    const struct dgm_guest_grant wanted = grant_of(frame);

    return entry->users && entry->users < UINT16_MAX && entry->ref == wanted.ref &&
           entry->domid == wanted.domid && entry->readonly == wanted.readonly;
}

/* True if gfn == mfn can be mapped: it lies in one of the places, and is neither a slot nor our
 * RAM. */
static bool is_free_place(const struct dgm_reach *reach, dgm_mfn_t mfn)
{
    const struct dgm_p2m *p2m = reach->grant->p2m;

    return dgm_identity_possible(reach->identity, mfn) &&
           !dgm_p2m_is_slot(p2m, dgm_identity_gfn(mfn)) &&
           dgm_mfn_is_none(dgm_p2m_lookup(p2m, dgm_identity_gfn(mfn)));
}

bool dgm_reach_identity_begin(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    const dgm_gfn_t gfn = dgm_identity_gfn(frame->foreign.mfn);
    struct dgm_identity_entry *entry = dgm_identity_find(reach->identity, gfn);

    if (entry && can_share(entry, frame)) {
        entry->users++;
        reach->identity_shared++;
        return true;
    }
    if (!entry && !reach->grant->map_short && is_free_place(reach, frame->foreign.mfn))
        entry = dgm_identity_add(reach->identity, gfn, grant_of(frame));
    else
        entry = NULL;
    if (!entry) {
        reach->identity_at_slot++;
        return false;
    }
    dgm_grant_map_add_at(reach->grant, &entry->foreign, gfn, grant_of(frame));
    return true;
}

/* Removes a user of a mapping that Xen refused. */
static void unuse_refused_entry(struct dgm_reach *reach, struct dgm_identity_entry *entry)
{
    if (--entry->users == 0)
        dgm_identity_remove(reach->identity, entry->gfn);
}

bool dgm_reach_identity_end(struct dgm_reach *reach, struct dgm_reach_frame *frame)
{
    struct dgm_identity_entry *entry =
        dgm_identity_find(reach->identity, dgm_identity_gfn(frame->foreign.mfn));

    frame->foreign.status = DGM_OK; /* the mapping at its slot is used */
    if (entry->foreign.status == DGM_EAGAIN) {
        frame->foreign.status = DGM_EAGAIN;
        return false;
    }
    if (entry->foreign.status != DGM_OK) {
        frame->held = DGM_REACH_HELD_MAPPED;
        reach->identity_at_slot++;
        unuse_refused_entry(reach, entry);
        return true;
    }
    if (entry->state != DGM_IDENTITY_LIVE)
        reach->identity_mapped++;
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
