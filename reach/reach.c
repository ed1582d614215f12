/* SPDX-License-Identifier: MIT */
/*
 * reach: see dragoman/reach/reach.h
 *
 *   reach.c            what a reactor and a connection have; promises of room; asking again
 *   batch.c      the way of a frame: added, committed, released
 *   identity.c   frames at gfn == mfn
 */
#include "internal.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

#define AGAIN_FIRST_NS 1000000ull
#define AGAIN_LAST_NS  (256 * AGAIN_FIRST_NS)

const char *dgm_reach_mode_name(enum dgm_reach_mode mode)
{
    static const char *const names[] = {[DGM_REACH_MODE_MAP] = "map",
                                        [DGM_REACH_MODE_COPY] = "copy",
                                        [DGM_REACH_MODE_IDENTITY] = "identity",
                                        [DGM_REACH_MODE_AUTO] = "auto"};

    return names[mode];
}

static bool asks_again(const struct dgm_reach *reach)
{
    return reach->grant->map_parked || reach->copy->parked;
}

void dgm_reach_look_again(struct dgm_reach *reach)
{
    if (!asks_again(reach)) {
        reach->again_ns = 0;
    } else if (!reach->again.armed) {
        reach->again_ns = reach->again_ns ? reach->again_ns * 2 : AGAIN_FIRST_NS;
        if (reach->again_ns > AGAIN_LAST_NS)
            reach->again_ns = AGAIN_LAST_NS;
        dgm_timer_arm(reach->reactor, &reach->again, dgm_env_now_ns() + reach->again_ns);
    }
}

static void again(struct dgm_timer *timer)
{
    struct dgm_reach *reach = dgm_container(timer, struct dgm_reach, again);

    dgm_grant_map_retry(reach->grant);
    dgm_grantcopy_retry(reach->copy);
    dgm_reach_commit(reach);
    dgm_reach_release_commit(reach);
    dgm_waiters_wake(&reach->waiters, reach->reactor);
}

void dgm_reach_init(struct dgm_reach *reach, const struct dgm_reach_parts *parts)
{
    memset(reach, 0, sizeof *reach);
    reach->reactor = parts->reactor;
    reach->grant = parts->grant;
    reach->copy = parts->copy;
    reach->buffers = parts->buffers;
    reach->identity = parts->identity;
    reach->persistent = parts->persistent;
    reach->again.fire = again;
}

void dgm_reach_set_costs(struct dgm_reach *reach, const struct dgm_reach_costs *costs)
{
    reach->cheapest =
        reach->buffers && costs->copy < costs->map ? DGM_REACH_MODE_COPY : DGM_REACH_MODE_MAP;
}

bool dgm_reach_offers(const struct dgm_reach *reach, enum dgm_reach_mode mode)
{
    switch (mode) {
    case DGM_REACH_MODE_COPY:
        return reach->buffers;
    case DGM_REACH_MODE_IDENTITY:
        return reach->identity;
    default:
        return true;
    }
}

void dgm_reach_guest_init(struct dgm_reach_guest *guest, domid_t domid, uint64_t slots,
                          uint64_t buffers)
{
    *guest = (struct dgm_reach_guest){
        .domid = domid, .slots = {.max = slots}, .buffers = {.max = buffers}};
}

void dgm_reach_connection_init(struct dgm_reach_connection *connection, struct dgm_reach *reach,
                               struct dgm_reach_guest *guest, enum dgm_reach_mode mode,
                               uint16_t keep)
{
    if (mode == DGM_REACH_MODE_AUTO)
        mode = keep ? DGM_REACH_MODE_MAP : reach->cheapest;
    dgm_assert(dgm_reach_offers(reach, mode));
    dgm_assert(keep == 0 || (mode == DGM_REACH_MODE_MAP && reach->persistent));
    *connection = (struct dgm_reach_connection){
        .reach = reach, .guest = guest, .mode = mode, .persistent = keep != 0};
    dgm_persistent_owner_init(&connection->owner, keep);
    if (keep) {
        connection->next = guest->persistent;
        guest->persistent = connection;
    }
}

/* --- reserving --- */

static int reserve_buffers(struct dgm_reach_connection *connection, uint32_t count)
{
    struct dgm_reach *reach = connection->reach;
    struct dgm_quota *quota = &connection->guest->buffers;

    if (count > quota->max - quota->used) {
        quota->refusals++;
        return DGM_EDQUOT;
    }
    if (count > reach->buffers->free - reach->buffers_reserved)
        return DGM_EAGAIN;
    reach->buffers_reserved += count;
    quota->used += count;
    if (quota->used > quota->used_max)
        quota->used_max = quota->used;
    return DGM_OK;
}

/* Unmaps up to `count` frames of `connection` that are kept and idle, longest idle first.
 * How many. */
static uint32_t evict_of(struct dgm_reach_connection *connection, uint32_t count)
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

/* The same of all the guest's connections, `connection` first. False: there was none. */
static bool evict(struct dgm_reach_connection *connection, uint32_t count)
{
    uint32_t evicted = evict_of(connection, count);

    for (struct dgm_reach_connection *other = connection->guest->persistent; other;
         other = other->next)
        evicted += evict_of(other, count - evicted);
    dgm_grant_unmap_commit(connection->reach->grant);
    return evicted != 0;
}

int dgm_reach_reserve(struct dgm_reach_connection *connection, uint32_t count)
{
    int status;

    if (connection->mode == DGM_REACH_MODE_COPY)
        return reserve_buffers(connection, count);
    do
        status =
            dgm_slot_reserve(connection->reach->grant->slots, &connection->guest->slots, count);
    while (status != DGM_OK && evict(connection, count));
    return status;
}

void dgm_reach_unreserve(struct dgm_reach_connection *connection, uint32_t count)
{
    if (connection->mode == DGM_REACH_MODE_COPY) {
        dgm_assert(count <= connection->reach->buffers_reserved &&
                   count <= connection->guest->buffers.used);
        connection->reach->buffers_reserved -= count;
        connection->guest->buffers.used -= count;
    } else {
        dgm_slot_unreserve(connection->reach->grant->slots, &connection->guest->slots, count);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t dgm_reach_slots_there(const struct dgm_reach *reach)
{
    return __atomic_load_n(&reach->grant->slots->slots->present, __ATOMIC_RELAXED);
}

uint64_t dgm_reach_most(const struct dgm_reach *reach, const struct dgm_reach_guest *guest,
                        enum dgm_reach_mode mode)
{
    uint64_t most = UINT64_MAX;

    if (mode != DGM_REACH_MODE_COPY)
        most = least(dgm_reach_slots_there(reach) / 4, guest->slots.max / 2);
    if (mode == DGM_REACH_MODE_COPY || (mode == DGM_REACH_MODE_AUTO && reach->buffers))
        most = least(most, least(reach->buffers->total / 2, guest->buffers.max / 2));
    return most;
}

void dgm_reach_connection_evict(struct dgm_reach_connection *connection)
{
    struct dgm_reach_connection **link = &connection->guest->persistent;

    while (*link && *link != connection)
        link = &(*link)->next;
    if (*link)
        *link = connection->next;
    (void)evict_of(connection, UINT32_MAX);
    dgm_grant_unmap_commit(connection->reach->grant);
}

void dgm_reach_check(const struct dgm_reach *reach)
{
    uint64_t taken = 0;

    dgm_assert(!reach->pending && !reach->delivering && reach->copy->count == 0);
    dgm_grant_check(reach->grant);
    dgm_slot_cache_check(reach->grant->slots);
    if (reach->buffers) {
        taken = (uint64_t)reach->buffers->total - reach->buffers->free;
        dgm_bounce_check(reach->buffers);
        dgm_assert(reach->buffers_reserved <= (uint64_t)reach->buffers->total - taken);
    }
    if (reach->identity)
        dgm_identity_check(reach->identity);
    if (reach->persistent)
        dgm_persistent_check(reach->persistent);
}
