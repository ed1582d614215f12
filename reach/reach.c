/* SPDX-License-Identifier: MIT */
/*
 * reach: see dragoman/reach/reach.h
 *
 *   reach.c      the reach of a reactor, its connections, reservations, retries
 *   batch.c      the life of a frame: added, committed, released
 *   copied.c     frames that Xen copies
 *   identity.c   frames at gfn == mfn
 */
#include "internal.h"

#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

static const struct dgm_pauses retry_pauses = {.first_ns = 1000000, .last_ns = 256000000};

const char *dgm_reach_mode_name(enum dgm_reach_mode mode)
{
    static const char *const names[] = {[DGM_REACH_MODE_MAP] = "map",
                                        [DGM_REACH_MODE_COPY] = "copy",
                                        [DGM_REACH_MODE_IDENTITY] = "identity",
                                        [DGM_REACH_MODE_AUTO] = "auto"};

    return names[mode];
}

/* --- retries --- */

void dgm_reach_schedule_retry(struct dgm_reach *reach)
{
    if (!reach->grant->map_parked && !reach->parked_copies) {
        reach->retry_pause_ns = 0;
    } else if (!reach->retry.armed) {
        reach->retry_pause_ns = dgm_pause_next_ns(retry_pauses, reach->retry_pause_ns);
        dgm_timer_arm(reach->reactor, &reach->retry, dgm_env_now_ns() + reach->retry_pause_ns);
    }
}

/* Unmaps all persistent frames that no request uses, because Xen has no room for mappings. */
static void evict_all_idle(struct dgm_reach *reach)
{
    struct dgm_persistent *persistent = reach->persistent;
    struct dgm_foreign foreign;

    for (uint16_t i = 0; persistent && i < persistent->total; i++) {
        struct dgm_persistent_owner *owner = persistent->entries[i].owner;

        if (!owner)
            continue;
        while (dgm_persistent_evict(persistent, owner, &foreign))
            dgm_grant_unmap_add(reach->grant, &foreign);
    }
    dgm_grant_unmap_commit(reach->grant);
}

static void retry_parked(struct dgm_timer *timer)
{
    struct dgm_reach *reach = dgm_container(timer, struct dgm_reach, retry);

    if (reach->grant->map_short)
        evict_all_idle(reach);
    dgm_grant_map_retry(reach->grant);
    dgm_reach_copy_retry(reach);
    dgm_reach_commit(reach);
    dgm_reach_release_commit(reach);
    dgm_waiters_wake(&reach->waiters, reach->reactor);
}

/* --- making way --- */

/* Whether the frame's mapping can be undone now: it is complete and has no other user. */
static bool can_unmap(const struct dgm_reach *reach, const struct dgm_reach_frame *frame)
{
    if (frame->foreign.status != DGM_OK)
        return false;
    return frame->held == DGM_REACH_HELD_MAPPED || frame->held == DGM_REACH_HELD_IDENTITY ||
           (frame->held == DGM_REACH_HELD_PERSISTENT &&
            reach->persistent->entries[frame->entry].users == 1);
}

void dgm_reach_make_way(struct dgm_reach_connection *connection, struct dgm_reach_frame *frames,
                        uint32_t count)
{
    struct dgm_reach *reach = connection->reach;
    const struct dgm_grant *grant = reach->grant;
    uint32_t unmapped = 0;

    if (!grant->map_short || grant->short_tries < DGM_GRANT_STUCK_TRIES)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (&frames[i].foreign == grant->parked_first)
            return;
    for (uint32_t i = 0; i < count; i++) {
        if (!can_unmap(reach, &frames[i]))
            continue;
        dgm_reach_release_add(&frames[i], 1, DGM_REACH_DISCARD);
        unmapped++;
    }
    if (unmapped == 0)
        return;
    dgm_reach_release_commit(reach);
    evict_all_idle(reach);
    reach->unmapped_for_others += unmapped;
    const bool room = dgm_reach_reserve(connection, unmapped) == DGM_OK;

    for (uint32_t i = 0; i < count; i++) {
        if (frames[i].held != DGM_REACH_NOT_HELD || frames[i].foreign.status != DGM_OK)
            continue;
        frames[i].foreign.status = DGM_ENOSPC;
        if (room)
            dgm_reach_unreserve(connection, dgm_reach_add(connection, &frames[i], 1));
    }
    dgm_reach_commit(reach);
}

/* --- starting --- */

void dgm_reach_init(struct dgm_reach *reach, const struct dgm_reach_parts *parts)
{
    memset(reach, 0, sizeof *reach);
    reach->reactor = parts->reactor;
    reach->grant = parts->grant;
    reach->copy = parts->copy;
    reach->copy_buffers = parts->copy_buffers;
    reach->identity = parts->identity;
    reach->persistent = parts->persistent;
    reach->retry.fire = retry_parked;
}

void dgm_reach_set_costs(struct dgm_reach *reach, const struct dgm_reach_costs *costs)
{
    reach->cheapest =
        reach->copy_buffers && costs->copy < costs->map ? DGM_REACH_MODE_COPY : DGM_REACH_MODE_MAP;
    reach->persistent_costs_more = costs->map < costs->guest_copy;
}

bool dgm_reach_offers(const struct dgm_reach *reach, enum dgm_reach_mode mode)
{
    switch (mode) {
    case DGM_REACH_MODE_COPY:
        return reach->copy_buffers;
    case DGM_REACH_MODE_IDENTITY:
        return reach->identity;
    default:
        return true;
    }
}

bool dgm_reach_offers_persistent(const struct dgm_reach *reach, enum dgm_reach_mode mode)
{
    if (mode == DGM_REACH_MODE_AUTO)
        return reach->persistent && !reach->persistent_costs_more;
    return reach->persistent && mode == DGM_REACH_MODE_MAP;
}

void dgm_guest_account_init(struct dgm_guest_account *account, domid_t domid,
                            const struct dgm_guest_limits *limits)
{
    *account = (struct dgm_guest_account){.domid = domid,
                                          .slots = {.max = limits->slots},
                                          .copy_buffers = {.max = limits->copy_buffers},
                                          .vif_slots = limits->vif_slots};
}

/* --- connections --- */

void dgm_reach_connection_init(struct dgm_reach_connection *connection, struct dgm_reach *reach,
                               struct dgm_guest_account *guest, enum dgm_reach_mode mode,
                               uint16_t persistent_frames)
{
    const bool persistent = persistent_frames != 0;

    if (mode == DGM_REACH_MODE_AUTO)
        mode = persistent ? DGM_REACH_MODE_MAP : reach->cheapest;
    dgm_assert(dgm_reach_offers(reach, mode));
    dgm_assert(!persistent || (mode == DGM_REACH_MODE_MAP && reach->persistent));
    *connection = (struct dgm_reach_connection){.reach = reach,
                                                .guest = guest,
                                                .mode = mode,
                                                .persistent = persistent,
                                                .copy_user = {++reach->connections}};
    if (persistent) {
        dgm_persistent_owner_init(reach->persistent, &connection->owner, persistent_frames);
        connection->next = guest->persistent;
        guest->persistent = connection;
    }
}

/* Adds up to `count` idle persistent frames of the connection to the batch of unmaps. Returns how
 * many. */
static uint32_t evict_idle(struct dgm_reach_connection *connection, uint32_t count)
{
    struct dgm_reach *reach = connection->reach;
    struct dgm_foreign foreign;
    uint32_t evicted = 0;

    while (evicted < count && connection->persistent &&
           dgm_persistent_evict(reach->persistent, &connection->owner, &foreign)) {
        dgm_grant_unmap_add(reach->grant, &foreign);
        evicted++;
    }
    return evicted;
}

void dgm_reach_connection_evict(struct dgm_reach_connection *connection)
{
    (void)evict_idle(connection, UINT32_MAX);
    dgm_grant_unmap_commit(connection->reach->grant);
}

void dgm_reach_connection_end(struct dgm_reach_connection *connection)
{
    struct dgm_reach_connection **link = &connection->guest->persistent;

    if (!connection->persistent)
        return;
    dgm_assert(connection->owner.count == 0);
    while (*link && *link != connection)
        link = &(*link)->next;
    dgm_assert(*link);
    *link = connection->next;
    connection->persistent = false;
}

/* --- reservations --- */

/* Unmaps up to `count` idle persistent frames of the guest, those of `connection` first. Returns
 * how many. */
static uint32_t evict_for(struct dgm_reach_connection *connection, uint32_t count)
{
    uint32_t evicted = evict_idle(connection, count);

    for (struct dgm_reach_connection *other = connection->guest->persistent; other;
         other = other->next)
        evicted += evict_idle(other, count - evicted);
    dgm_grant_unmap_commit(connection->reach->grant);
    return evicted;
}

int dgm_reach_reserve(struct dgm_reach_connection *connection, uint32_t count)
{
    struct dgm_reach *reach = connection->reach;
    struct dgm_guest_account *guest = connection->guest;
    int status;

    if (connection->mode == DGM_REACH_MODE_COPY)
        return dgm_copy_buffers_reserve(reach->copy_buffers, &guest->copy_buffers, count);
    status = dgm_slot_reserve(reach->grant->slots, &guest->slots, count);
    while (status != DGM_OK) {
        const uint32_t evicted = evict_for(connection, count);

        if (evicted == 0)
            break;
        status = dgm_slot_reserve(reach->grant->slots, &guest->slots, count);
    }
    if (status == DGM_EAGAIN) /* the blocks that it claimed may be enough for another reactor */
        dgm_slot_cache_shrink(reach->grant->slots);
    return status;
}

void dgm_reach_unreserve(struct dgm_reach_connection *connection, uint32_t count)
{
    const struct dgm_reach *reach = connection->reach;
    struct dgm_guest_account *guest = connection->guest;

    if (connection->mode == DGM_REACH_MODE_COPY)
        dgm_copy_buffers_unreserve(reach->copy_buffers, &guest->copy_buffers, count);
    else
        dgm_slot_unreserve(reach->grant->slots, &guest->slots, count);
}

uint64_t dgm_reach_slot_count(const struct dgm_reach *reach)
{
    return __atomic_load_n(&reach->grant->slots->slots->present, __ATOMIC_RELAXED);
}

static uint64_t smaller_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t dgm_reach_request_frames_max(const struct dgm_reach *reach,
                                      const struct dgm_guest_account *guest,
                                      enum dgm_reach_mode mode)
{
    const bool may_copy =
        mode == DGM_REACH_MODE_COPY || (mode == DGM_REACH_MODE_AUTO && reach->copy_buffers);
    uint64_t frames = UINT64_MAX;

    if (mode != DGM_REACH_MODE_COPY)
        frames = smaller_of(dgm_reach_slot_count(reach) / 4, guest->slots.max / 2);
    if (may_copy)
        frames = smaller_of(
            frames, smaller_of(reach->copy_buffers->total / 2, guest->copy_buffers.max / 2));
    return frames;
}

void dgm_reach_check(const struct dgm_reach *reach)
{
    dgm_assert(!reach->pending && !reach->copying && !reach->parked_copies &&
               reach->copy->count == 0);
    dgm_grant_check(reach->grant);
    dgm_slot_cache_check(reach->grant->slots);
    if (reach->copy_buffers)
        dgm_copy_buffers_check(reach->copy_buffers);
    if (reach->identity)
        dgm_identity_check(reach->identity);
    if (reach->persistent)
        dgm_persistent_check(reach->persistent);
}
