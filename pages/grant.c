/* SPDX-License-Identifier: MIT */
/*
 * grant: batches of map and unmap ops, each with its own status. See dragoman/pages/grant.h.
 *
 * The order follows from the contract of p2m.h:
 *   map:    take the slot, make the hypercall, publish, then set the status to DGM_OK;
 *   unmap:  unpublish when the op is added (which asserts that no DMA is in flight), make the
 *           hypercall, return the slot.
 *
 * Each status is preset to a value that Xen never writes, so a batch that fails as a whole, or
 * stops in the middle, is no special case: an op without a status was not done. A map op is then
 * retried as its hypercall's result suggests. An unmap needs no resource that could be short, and
 * the response that follows it announces to the guest that its frame is free. So it is retried
 * immediately: as long as each hypercall does at least one op, and DGM_XEN_TRIES times without
 * progress. After that it counts as refused.
 *
 * The order of parked ops while Xen is short. Let R be the oldest parked op. Every frame that is
 * mapped belongs to an op older than R, and requests add their ops one after another, so all
 * requests but R's are mapped as a whole or not at all. The mapped ones end and release their
 * frames, and R gets the room first. By induction every op is mapped, as long as one request needs
 * no more room than Xen has. (An op that was parked for another reason may break the order; then
 * DGM_GRANT_SHORT_TRIES bounds the wait.) A retry keeps the order: it takes each op from the head
 * of the list once, and maps it or appends it to the tail; after an op that finds Xen short it
 * appends the rest without trying them.
 *
 * A frame with DMA in flight is released when its disk completes the command or fails, which may
 * take minutes and is no fault of R's guest. So the bound applies only if no DMA is in flight: then
 * no disk will release anything. A DMA that is found at the bound starts the count again.
 *
 * Xen does not remember where a handle was mapped: an unmap with another host_addr returns
 * GNTST_okay and leaves the page visible at the old address. So the gfn is kept with the handle,
 * and every unmap names it.
 */
#include <pages/internal.h>
#include <dragoman/base/check.h>
#include <dragoman/pages/grant.h>
#include <dragoman/hyper/hypercall.h>
#include <pages/identity_table.h>
#include <dragoman/base/status.h>

#include <string.h>

static dgm_gfn_t gfn_of_address(uint64_t host_addr)
{
    return dgm_gfn(host_addr >> DGM_FRAME_SHIFT);
}

void dgm_grant_init(struct dgm_grant *grant, struct dgm_p2m *p2m, struct dgm_slot_cache *slots)
{
    memset(grant, 0, sizeof *grant);
    grant->p2m = p2m;
    grant->slots = slots;
}

/* --- map --- */

/* Adds the op of `foreign` to the batch, which has room. */
static void put_in_batch(struct dgm_grant *grant, struct dgm_foreign *foreign)
{
    grant->map[grant->map_count] = (struct gnttab_map_grant_ref){
        .host_addr = dgm_gfn_address(foreign->gfn),
        .flags = (uint32_t)GNTMAP_host_map | (foreign->readonly ? (uint32_t)GNTMAP_readonly : 0u),
        .ref = foreign->ref,
        .dom = foreign->domid,
    };
    grant->map_foreign[grant->map_count++] = foreign;
}

void dgm_grant_map_add(struct dgm_grant *grant, struct dgm_foreign *foreign,
                       struct dgm_quota *quota, struct dgm_guest_grant wanted)
{
    if (grant->map_count == DGM_GRANT_BATCH)
        dgm_grant_map_commit(grant);
    *foreign = (struct dgm_foreign){.gfn = dgm_slot_take(grant->slots),
                                    .mfn = DGM_MFN_NONE,
                                    .quota = quota,
                                    .status = DGM_EAGAIN,
                                    .ref = wanted.ref,
                                    .domid = wanted.domid,
                                    .readonly = wanted.readonly};
    put_in_batch(grant, foreign);
}

void dgm_grant_map_add_at(struct dgm_grant *grant, struct dgm_foreign *foreign, dgm_gfn_t gfn,
                          struct dgm_guest_grant wanted)
{
    dgm_assert(!dgm_p2m_is_slot(grant->p2m, gfn));
    if (grant->map_count == DGM_GRANT_BATCH)
        dgm_grant_map_commit(grant);
    *foreign = (struct dgm_foreign){.gfn = gfn,
                                    .mfn = DGM_MFN_NONE,
                                    .status = DGM_EAGAIN,
                                    .ref = wanted.ref,
                                    .domid = wanted.domid,
                                    .readonly = wanted.readonly};
    put_in_batch(grant, foreign);
}

static void park_last(struct dgm_grant *grant, struct dgm_foreign *foreign)
{
    foreign->next_parked = NULL;
    if (grant->parked_last)
        grant->parked_last->next_parked = foreign;
    else
        grant->parked_first = foreign;
    grant->parked_last = foreign;
    grant->map_parked++;
}

static struct dgm_foreign *unpark_first(struct dgm_grant *grant)
{
    struct dgm_foreign *const foreign = grant->parked_first;

    grant->parked_first = foreign->next_parked;
    if (!grant->parked_first)
        grant->parked_last = NULL;
    foreign->next_parked = NULL;
    grant->map_parked--;
    return foreign;
}

static void finish_map(struct dgm_grant *grant, const struct gnttab_map_grant_ref *op,
                       struct dgm_foreign *foreign)
{
    foreign->mfn = dgm_mfn(op->dev_bus_addr >> DGM_FRAME_SHIFT);
    foreign->handle = op->handle;
    if (dgm_p2m_is_slot(grant->p2m, foreign->gfn))
        dgm_p2m_publish(grant->p2m, foreign->gfn, foreign->mfn);
    foreign->status = DGM_OK;
    grant->mapped++;
    grant->live++;
    if (grant->live > grant->live_max)
        grant->live_max = grant->live;
}

static void refuse_map(struct dgm_grant *grant, struct dgm_foreign *foreign, int status)
{
    if (dgm_p2m_is_slot(grant->p2m, foreign->gfn))
        dgm_slot_give(grant->slots, foreign->quota, foreign->gfn);
    foreign->gfn = DGM_GFN_NONE;
    foreign->status = status;
    grant->map_refused++;
}

/* Xen has no room for the op of `foreign`: it, and each op after it, waits for our releases. */
static void park_for_room(struct dgm_grant *grant, struct dgm_foreign *foreign)
{
    const uint64_t progress = grant->mapped + grant->unmapped;

    grant->map_shorts++;
    if (!grant->map_short) { /* the first op of this attempt */
        grant->map_short = true;
        if (progress != grant->short_progress)
            grant->short_tries = 0;
        grant->short_progress = progress;
        if (grant->short_tries == DGM_GRANT_SHORT_TRIES) {
            if (!dgm_p2m_in_flight(grant->p2m)) {
                refuse_map(grant, foreign, DGM_ENOSPC);
                return;
            }
            grant->short_tries = DGM_GRANT_STUCK_TRIES;
        }
        grant->short_tries++;
        if (!grant->short_logged)
            dgm_env_log(
                "Xen has no room for another grant mapping of ours: requests wait for "
                "earlier ones. For more room give Xen a larger gnttab_max_maptrack_frames=");
        grant->short_logged = true;
    }
    park_last(grant, foreign);
}

static void judge_map(struct dgm_grant *grant, const struct gnttab_map_grant_ref *op,
                      struct dgm_foreign *foreign, long result)
{
    const struct dgm_xen_outcome outcome = {.status = op->status, .result = result};
    const enum dgm_xen_meaning meaning = dgm_xen_op_meaning(outcome);

    switch (meaning) {
    case DGM_XEN_OK:
        finish_map(grant, op, foreign);
        return;
    case DGM_XEN_SHORT:
        park_for_room(grant, foreign);
        return;
    case DGM_XEN_NO_DOMAIN:
    case DGM_XEN_REFUSED:
        refuse_map(grant, foreign, DGM_EPERM);
        return;
    case DGM_XEN_UNKNOWN:
        dgm_xen_log_unknown(&grant->map_logged, "mapping a grant", outcome);
        break;
    case DGM_XEN_RETRY:
        break;
    }
    if (dgm_xen_patience_ends(&foreign->patience)) {
        refuse_map(grant, foreign, meaning == DGM_XEN_RETRY ? DGM_EPERM : DGM_EIO);
    } else {
        grant->map_retries++;
        park_last(grant, foreign);
    }
}

/* Maps the ops of the batch, by one hypercall. */
static void map_batch(struct dgm_grant *grant)
{
    const size_t count = grant->map_count;
    long result;

    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        grant->map[i].status = DGM_XEN_NOT_WRITTEN;
    grant->batches++;
    result = dgm_grant_table_op(GNTTABOP_map_grant_ref, grant->map, (unsigned)count);
    for (size_t i = 0; i < count; i++)
        judge_map(grant, &grant->map[i], grant->map_foreign[i], result);
    grant->map_count = 0;
    if (grant->map_parked == 0) {
        grant->map_short = false;
        grant->short_tries = 0;
    }
}

void dgm_grant_map_commit(struct dgm_grant *grant)
{
    if (!grant->map_short) {
        map_batch(grant);
        return;
    }
    for (size_t i = 0; i < grant->map_count; i++)
        park_last(grant, grant->map_foreign[i]);
    grant->map_count = 0;
}

void dgm_grant_map_retry(struct dgm_grant *grant)
{
    size_t left;

    dgm_grant_map_commit(grant);
    grant->map_short = false;
    for (left = grant->map_parked; left > 0 && !grant->map_short;) {
        for (; left > 0 && grant->map_count < DGM_GRANT_BATCH; left--)
            put_in_batch(grant, unpark_first(grant));
        map_batch(grant);
    }
    for (; left > 0; left--)
        park_last(grant, unpark_first(grant));
}

/* --- unmap --- */

void dgm_grant_unmap_add(struct dgm_grant *grant, struct dgm_foreign *foreign)
{
    dgm_assert(foreign->status == DGM_OK);
    if (grant->unmap_count == DGM_GRANT_BATCH)
        dgm_grant_unmap_commit(grant);
    if (dgm_p2m_is_slot(grant->p2m, foreign->gfn))
        dgm_p2m_unpublish(grant->p2m, foreign->gfn);
    grant->unmap_quota[grant->unmap_count] = foreign->quota;
    grant->unmap[grant->unmap_count++] = (struct gnttab_unmap_grant_ref){
        .host_addr = dgm_gfn_address(foreign->gfn),
        .dev_bus_addr = 0, /* only for mappings made with GNTMAP_device_map */
        .handle = foreign->handle,
    };
    *foreign = (struct dgm_foreign){.gfn = DGM_GFN_NONE, .mfn = DGM_MFN_NONE, .status = DGM_EAGAIN};
}

static void finish_unmap(struct dgm_grant *grant, const struct gnttab_unmap_grant_ref *op,
                         struct dgm_quota *quota, long result)
{
    const dgm_gfn_t gfn = gfn_of_address(op->host_addr);
    const struct dgm_xen_outcome outcome = {.status = op->status, .result = result};
    const bool done = dgm_xen_op_meaning(outcome) == DGM_XEN_OK;

    if (done) {
        grant->unmapped++;
        grant->live--;
    } else {
        grant->unmap_refused++;
        dgm_xen_log_unknown(&grant->unmap_logged, "unmapping a grant", outcome);
    }
    if (!dgm_p2m_is_slot(grant->p2m, gfn))
        dgm_identity_unmapped(grant->p2m->identity, gfn, done);
    else if (done)
        dgm_slot_give(grant->slots, quota, gfn);
    else
        dgm_slot_retire(grant->slots, gfn);
}

/* One hypercall for what is in the batch. The ops that it did not reach stay there; `give_up`: they
 * count as refused. Returns how many it reached. */
static size_t unmap_batch(struct dgm_grant *grant, bool give_up)
{
    const size_t count = grant->unmap_count;
    long result;

    for (size_t i = 0; i < count; i++)
        grant->unmap[i].status = DGM_XEN_NOT_WRITTEN;
    grant->batches++;
    result = dgm_grant_table_op(GNTTABOP_unmap_grant_ref, grant->unmap, (unsigned)count);
    grant->unmap_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (grant->unmap[i].status != DGM_XEN_NOT_WRITTEN || give_up) {
            finish_unmap(grant, &grant->unmap[i], grant->unmap_quota[i], result);
            continue;
        }
        grant->unmap[grant->unmap_count] = grant->unmap[i];
        grant->unmap_quota[grant->unmap_count++] = grant->unmap_quota[i];
    }
    return count - grant->unmap_count;
}

void dgm_grant_unmap_commit(struct dgm_grant *grant)
{
    unsigned tries = 0;

    while (grant->unmap_count != 0) {
        tries++;
        if (unmap_batch(grant, tries == DGM_XEN_TRIES) > 0)
            tries = 0;
        else
            grant->unmap_retries++;
    }
}

void dgm_grant_check(const struct dgm_grant *grant)
{
    dgm_assert(grant->map_count == 0 && grant->unmap_count == 0);
    dgm_assert((grant->map_parked == 0) == (grant->parked_first == NULL));
    dgm_assert(!grant->map_short || grant->map_parked > 0);
    dgm_assert(grant->mapped - grant->unmapped == grant->live);
    dgm_assert(grant->unmap_refused <= grant->live && grant->live <= grant->live_max);
}
