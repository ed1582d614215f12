/* SPDX-License-Identifier: MIT */
/*
 * selfgrant: batches of our own frames, granted to ourselves. See dragoman/reach/selfgrant.h.
 *
 * A batch of frames is granted, then mapped and unmapped any number of times, then ended. If Xen
 * refuses an unmap, it still marks the grant's entry as in use. Such an entry is not reused: Xen
 * would map the old frame for a new grant in that entry.
 *
 * No refusal is about a guest, so each hypercall is repeated DGM_XEN_TRIES times: what is not
 * learnt here stops the start.
 */
#include <dragoman/base/check.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/reach/selfgrant.h>
#include <dragoman/base/status.h>
#include <port/arch.h>
#include <port/env.h>

#include <string.h>

#define BATCH    32u
#define ENTRIES  (DGM_FRAME_BYTES / sizeof(struct grant_entry_v1))
#define RESERVED 8u /* GNTTAB_NR_RESERVED_ENTRIES */
#define ROUNDS   8u

struct batch {
    const struct dgm_selfgrant *self;
    size_t count;
    grant_ref_t ref[BATCH];
    struct gnttab_map_grant_ref map[BATCH];
};

/* --- granting --- */

/* Grants `frame` as the batch's next one. False: no entry of the table is free. */
static bool grant_frame(struct batch *batch, dgm_gfn_t frame, uint16_t readonly)
{
    struct grant_entry_v1 *const table = batch->self->table;
    grant_ref_t ref = batch->count ? batch->ref[batch->count - 1] + 1 : RESERVED;

    dgm_assert(dgm_gfn_number(frame) <= UINT32_MAX);
    while (ref < ENTRIES && table[ref].flags != 0)
        ref++;
    if (ref == ENTRIES)
        return false;
    table[ref].domid = batch->self->self;
    table[ref].frame = (uint32_t)dgm_gfn_number(frame);
    dgm_arch_wmb(); /* the flags make the rest valid */
    table[ref].flags = (uint16_t)(GTF_permit_access | readonly);
    batch->ref[batch->count++] = ref;
    return true;
}

static void end_grants(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct grant_entry_v1 *entry = &batch->self->table[batch->ref[i]];

        if (!(entry->flags & (GTF_reading | GTF_writing)))
            entry->flags = 0;
    }
}

/* --- mapping --- */

/* Unmaps what is mapped of the batch, by one hypercall. Returns how much Xen refused. */
static size_t unmap_once(struct batch *batch)
{
    struct gnttab_unmap_grant_ref ops[BATCH];
    size_t of[BATCH], count = 0, refused = 0;

    for (size_t i = 0; i < batch->count; i++) {
        if (batch->map[i].status != GNTST_okay)
            continue;
        of[count] = i;
        ops[count++] = (struct gnttab_unmap_grant_ref){.host_addr = batch->map[i].host_addr,
                                                       .handle = batch->map[i].handle,
                                                       .status = DGM_XEN_NOT_WRITTEN};
    }
    if (count)
        (void)dgm_grant_table_op(GNTTABOP_unmap_grant_ref, ops, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        if (ops[i].status != GNTST_okay) {
            refused++;
            continue;
        }
        dgm_slot_give(batch->self->slots, NULL, dgm_gfn(ops[i].host_addr >> DGM_FRAME_SHIFT));
        batch->map[of[i]].status = DGM_XEN_NOT_WRITTEN;
    }
    return refused;
}

/* Unmaps the mapped frames of the batch. DGM_EPERM: Xen refused one, and its slot is retired. */
static int unmap_batch(struct batch *batch)
{
    for (unsigned tries = 0; tries < DGM_XEN_TRIES; tries++)
        if (unmap_once(batch) == 0)
            return DGM_OK;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->map[i].status == GNTST_okay)
            dgm_slot_retire(batch->self->slots,
                            dgm_gfn(batch->map[i].host_addr >> DGM_FRAME_SHIFT));
    return DGM_EPERM;
}

/* Maps the batch by one hypercall, all or nothing. */
static int map_once(struct batch *batch, uint32_t readonly)
{
    struct dgm_slot_cache *slots = batch->self->slots;
    size_t refused = 0;

    if (dgm_slot_reserve(slots, NULL, batch->count) != DGM_OK) {
        dgm_slot_cache_shrink(slots);
        return DGM_EAGAIN;
    }
    for (size_t i = 0; i < batch->count; i++)
        batch->map[i] = (struct gnttab_map_grant_ref){
            .host_addr = dgm_gfn_address(dgm_slot_take(slots)),
            .flags = (uint32_t)GNTMAP_host_map | readonly,
            .ref = batch->ref[i],
            .dom = batch->self->self,
            .status = DGM_XEN_NOT_WRITTEN,
        };
    (void)dgm_grant_table_op(GNTTABOP_map_grant_ref, batch->map, (unsigned)batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->map[i].status != GNTST_okay) {
            dgm_slot_give(slots, NULL, dgm_gfn(batch->map[i].host_addr >> DGM_FRAME_SHIFT));
            refused++;
        }
    }
    if (refused == 0)
        return DGM_OK;
    return unmap_batch(batch) == DGM_OK ? DGM_EPERM : DGM_EIO;
}

/* Maps the batch, all or nothing. */
static int map_batch(struct batch *batch, uint32_t readonly)
{
    int status = DGM_EPERM;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES && status == DGM_EPERM; tries++)
        status = map_once(batch, readonly);
    return status == DGM_EIO ? DGM_EPERM : status;
}

/* --- copying --- */

/* Copies each granted frame into the next one of the batch, by one hypercall. */
static int copy_once(const struct batch *batch, const dgm_gfn_t *frames)
{
    struct gnttab_copy ops[BATCH];
    int status = DGM_OK;

    for (size_t i = 0; i < batch->count; i++) {
        ops[i] = (struct gnttab_copy){
            .len = DGM_FRAME_BYTES, .flags = GNTCOPY_source_gref, .status = DGM_XEN_NOT_WRITTEN};
        ops[i].source.u.ref = batch->ref[i];
        ops[i].source.domid = batch->self->self;
        ops[i].dest.u.gmfn = dgm_gfn_number(frames[(i + 1) % batch->count]);
        ops[i].dest.domid = DOMID_SELF;
    }
    (void)dgm_grant_table_op(GNTTABOP_copy, ops, (unsigned)batch->count);
    for (size_t i = 0; i < batch->count; i++)
        if (ops[i].status != GNTST_okay)
            status = DGM_EPERM;
    return status;
}

static int copy_batch(const struct batch *batch, const dgm_gfn_t *frames)
{
    int status = DGM_EPERM;

    for (unsigned tries = 0; tries < DGM_XEN_TRIES && status != DGM_OK; tries++)
        status = copy_once(batch, frames);
    return status;
}

/* --- measuring and learning --- */

static void lower_to(uint64_t *minimum, uint64_t value)
{
    if (value < *minimum)
        *minimum = value;
}

/* Copies each frame into the next one of the batch as a guest does: without Xen. */
static void copy_as_guest(const dgm_gfn_t *frames, size_t count)
{
    for (size_t i = 0; i < count; i++)
        memcpy(dgm_env_va(frames[(i + 1) % count]), dgm_env_va(frames[i]), DGM_FRAME_BYTES);
}

/* One round of mapping and copying. `best`: nanoseconds for the batch, lowered if this round took
 * less. */
static int measure_round(struct batch *batch, const dgm_gfn_t *frames, struct dgm_reach_costs *best)
{
    const uint64_t start_ns = dgm_env_now_ns();
    uint64_t mapped_ns, copied_ns;
    int status = map_batch(batch, 0);

    if (status == DGM_OK)
        status = unmap_batch(batch);
    mapped_ns = dgm_env_now_ns();
    if (status == DGM_OK)
        status = copy_batch(batch, frames);
    if (status != DGM_OK)
        return status;
    copied_ns = dgm_env_now_ns();
    copy_as_guest(frames, batch->count);
    lower_to(&best->map, mapped_ns - start_ns);
    lower_to(&best->copy, copied_ns - mapped_ns);
    lower_to(&best->guest_copy, dgm_env_now_ns() - copied_ns);
    return DGM_OK;
}

int dgm_selfgrant_measure(const struct dgm_selfgrant *self, const dgm_gfn_t *frames, size_t count,
                          struct dgm_reach_costs *costs)
{
    struct batch batch = {.self = self};
    struct dgm_reach_costs best = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    int status = DGM_OK;

    dgm_assert(count >= 2 && count <= BATCH);
    for (size_t i = 0; i < count && status == DGM_OK; i++)
        status = grant_frame(&batch, frames[i], 0) ? DGM_OK : DGM_EPERM;
    for (unsigned i = 0; i < ROUNDS && status == DGM_OK; i++)
        status = measure_round(&batch, frames, &best);
    end_grants(&batch);
    if (status == DGM_OK)
        *costs = (struct dgm_reach_costs){.map = best.map * 1024 / count,
                                          .copy = best.copy * 1024 / count,
                                          .guest_copy = best.guest_copy * 1024 / count};
    return status;
}

/* Learns up to a batch of frames of `range`, from its frame `done` on. Returns their number, or
 * DGM_EPERM or DGM_EAGAIN. */
static int learn_batch(const struct dgm_selfgrant *self, struct dgm_gfn_range range, uint64_t done,
                       uint64_t *mfns)
{
    struct batch batch = {.self = self};
    int status = DGM_EPERM;

    while (batch.count < BATCH && done + batch.count < range.count)
        if (!grant_frame(&batch, dgm_gfn_add(range.first, done + batch.count), GTF_readonly))
            break;
    if (batch.count)
        status = map_batch(&batch, GNTMAP_readonly);
    if (status == DGM_OK)
        status = unmap_batch(&batch);
    end_grants(&batch);
    for (size_t i = 0; i < batch.count && status == DGM_OK; i++)
        mfns[done + i] = batch.map[i].dev_bus_addr >> DGM_FRAME_SHIFT;
    return status == DGM_OK ? (int)batch.count : status;
}

int dgm_selfgrant_learn(const struct dgm_selfgrant *self, struct dgm_gfn_range range,
                        uint64_t *mfns)
{
    for (uint64_t done = 0; done < range.count;) {
        const int learnt = learn_batch(self, range, done, mfns);

        if (learnt < 0)
            return learnt;
        done += (uint64_t)learnt;
    }
    return DGM_OK;
}
