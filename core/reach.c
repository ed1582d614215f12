/* SPDX-License-Identifier: MIT */
/*
 * reach: see dragoman/reach.h
 *
 * Most frames need no step after the commit of their batch, so only those that do (to be kept, to
 * be mapped at their mfn) are on the pending list.
 *
 * Identity takes three batches: the frame is mapped at a slot, which tells its mfn; it is mapped at
 * gfn == mfn; the slot is given back. Whatever goes wrong on the way leaves it at the slot, where
 * it is as good.
 */
#include <dragoman/check.h>
#include <dragoman/reach.h>
#include <dragoman/status.h>

#include <string.h>

#define AGAIN_FIRST_NS 1000000ull
#define AGAIN_LAST_NS  (256 * AGAIN_FIRST_NS)

const char *dgm_path_name(enum dgm_path path)
{
    static const char *const names[] = {[DGM_PATH_MAP] = "map",
                                        [DGM_PATH_COPY] = "copy",
                                        [DGM_PATH_IDENTITY] = "identity",
                                        [DGM_PATH_AUTO] = "auto"};

    return names[path];
}

static bool asks_again(const struct dgm_reach *reach)
{
    return reach->grant->map_parked || reach->copy->parked;
}

/* After every commit: is there something to be asked again, and when? */
static void look_again(struct dgm_reach *reach)
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
    reach->kept = parts->kept;
    reach->again.fire = again;
}

void dgm_reach_costs(struct dgm_reach *reach, const struct dgm_path_costs *costs)
{
    reach->cheapest = reach->buffers && costs->copy < costs->map ? DGM_PATH_COPY : DGM_PATH_MAP;
}

bool dgm_reach_offers(const struct dgm_reach *reach, enum dgm_path path)
{
    switch (path) {
    case DGM_PATH_COPY:
        return reach->buffers;
    case DGM_PATH_IDENTITY:
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

void dgm_way_init(struct dgm_way *way, struct dgm_reach *reach, struct dgm_reach_guest *guest,
                  enum dgm_path path, uint16_t keep)
{
    if (path == DGM_PATH_AUTO)
        path = keep ? DGM_PATH_MAP : reach->cheapest;
    dgm_assert(dgm_reach_offers(reach, path));
    dgm_assert(keep == 0 || (path == DGM_PATH_MAP && reach->kept));
    *way = (struct dgm_way){.reach = reach, .guest = guest, .path = path, .persistent = keep != 0};
    dgm_grantcache_owner_init(&way->owner, keep);
    if (keep) {
        way->next = guest->keeping;
        guest->keeping = way;
    }
}

/* --- reserving --- */

static int reserve_buffers(struct dgm_way *way, uint32_t count)
{
    struct dgm_reach *reach = way->reach;
    struct dgm_slot_quota *quota = &way->guest->buffers;

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

/* Unmaps up to `count` frames of `way` that are kept and idle, longest idle first. How many. */
static uint32_t evict_of(struct dgm_way *way, uint32_t count)
{
    struct dgm_reach *reach = way->reach;
    struct dgm_foreign foreign;
    uint32_t evicted = 0;

    while (evicted < count && way->persistent &&
           dgm_grantcache_evict(reach->kept, &way->owner, &foreign)) {
        dgm_grant_unmap_add(reach->grant, &foreign);
        evicted++;
    }
    return evicted;
}

/* The same of all the guest's ways, `way` first. False: there was none. */
static bool evict(struct dgm_way *way, uint32_t count)
{
    uint32_t evicted = evict_of(way, count);

    for (struct dgm_way *other = way->guest->keeping; other; other = other->next)
        evicted += evict_of(other, count - evicted);
    dgm_grant_unmap_commit(way->reach->grant);
    return evicted != 0;
}

int dgm_reach_reserve(struct dgm_way *way, uint32_t count)
{
    int status;

    if (way->path == DGM_PATH_COPY)
        return reserve_buffers(way, count);
    do
        status = dgm_slot_reserve(way->reach->grant->slots, &way->guest->slots, count);
    while (status != DGM_OK && evict(way, count));
    return status;
}

void dgm_reach_unreserve(struct dgm_way *way, uint32_t count)
{
    if (way->path == DGM_PATH_COPY) {
        dgm_assert(count <= way->reach->buffers_reserved && count <= way->guest->buffers.used);
        way->reach->buffers_reserved -= count;
        way->guest->buffers.used -= count;
    } else {
        dgm_slot_unreserve(way->reach->grant->slots, &way->guest->slots, count);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t slots_there(const struct dgm_reach *reach)
{
    return __atomic_load_n(&reach->grant->slots->slots->there, __ATOMIC_RELAXED);
}

uint64_t dgm_reach_most(const struct dgm_reach *reach, const struct dgm_reach_guest *guest,
                        enum dgm_path path)
{
    uint64_t most = UINT64_MAX;

    if (path != DGM_PATH_COPY)
        most = least(slots_there(reach) / 4, guest->slots.max / 2);
    if (path == DGM_PATH_COPY || (path == DGM_PATH_AUTO && reach->buffers))
        most = least(most, least(reach->buffers->total / 2, guest->buffers.max / 2));
    return most;
}

/* --- reaching --- */

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
    if ((uint64_t)(reach->kept->total - reach->kept->free) >= slots_there(reach) / 2)
        return;
    frame->entry = dgm_grantcache_add(reach->kept, &frame->way->owner, frame->ref, &frame->foreign);
    if (frame->entry != DGM_GRANTCACHE_NONE)
        frame->how = DGM_REACH_KEPT;
}

static bool shares(const struct dgm_identity_entry *entry, const struct dgm_reached *frame)
{
    return entry->users && entry->users < UINT16_MAX && entry->ref == frame->ref &&
           entry->domid == frame->way->guest->domid && entry->readonly == frame->to_device;
}

/* The frame's own number is a place for it: none of our slots, none of our RAM. */
static bool has_place(const struct dgm_reach *reach, dgm_mfn_t mfn)
{
    const struct dgm_p2m *p2m = reach->grant->p2m;

    return dgm_identity_possible(reach->identity, mfn) && !dgm_p2m_is_slot(p2m, dgm_gfn(mfn.n)) &&
           dgm_mfn_is_none(dgm_p2m_lookup(p2m, dgm_gfn(mfn.n)));
}

/* Finds or begins the frame's mapping at its mfn. False: it stays at its slot. */
static bool begin_identity(struct dgm_reach *reach, struct dgm_reached *frame)
{
    const dgm_gfn_t gfn = dgm_gfn(frame->foreign.mfn.n);
    struct dgm_identity_entry *entry = dgm_identity_find(reach->identity, gfn);

    if (entry && shares(entry, frame)) {
        entry->users++;
        reach->identity->shared++;
        return true;
    }
    if (!entry && has_place(reach, frame->foreign.mfn))
        entry = dgm_identity_add(reach->identity, gfn, frame->way->guest->domid, frame->ref,
                                 frame->to_device);
    else
        entry = NULL;
    if (!entry) {
        reach->identity->elsewhere++;
        return false;
    }
    dgm_grant_map_add_at(reach->grant, &entry->foreign, gfn, frame->way->guest->domid, frame->ref,
                         frame->to_device);
    return true;
}

static void leave_entry(struct dgm_reach *reach, struct dgm_identity_entry *entry)
{
    if (--entry->users == 0)
        dgm_identity_remove(reach->identity, dgm_gfn(entry->frame));
}

/* The second mapping was asked for. False: Xen wants to be asked again. */
static bool end_identity(struct dgm_reach *reach, struct dgm_reached *frame)
{
    struct dgm_identity_entry *entry =
        dgm_identity_find(reach->identity, dgm_gfn(frame->foreign.mfn.n));

    frame->foreign.status = DGM_OK; /* at its slot it is reached in any case */
    if (entry->foreign.status == DGM_EAGAIN) {
        frame->foreign.status = DGM_EAGAIN;
        return false;
    }
    if (entry->foreign.status != DGM_OK) {
        frame->how = DGM_REACH_SLOT;
        reach->identity->elsewhere++;
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
            else if (begin_identity(reach, frame))
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

        if (frame->how == DGM_REACH_IDENTITY && end_identity(reach, frame))
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
    look_again(reach);
}

/* --- and back --- */

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

static void release_identity(struct dgm_reach *reach, struct dgm_reached *frame)
{
    struct dgm_identity_entry *entry = dgm_identity_find(reach->identity, frame->foreign.gfn);

    frame->how = DGM_REACH_NOT;
    if (--entry->users)
        return;
    dgm_assert(entry->in_flight == 0);
    entry->state = DGM_IDENTITY_LEAVING;
    dgm_grant_unmap_add(reach->grant, &entry->foreign);
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
        release_identity(reach, frame);
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
    look_again(reach);
}

void dgm_way_evict(struct dgm_way *way)
{
    struct dgm_way **link = &way->guest->keeping;

    while (*link && *link != way)
        link = &(*link)->next;
    if (*link)
        *link = way->next;
    (void)evict_of(way, UINT32_MAX);
    dgm_grant_unmap_commit(way->reach->grant);
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
    if (reach->kept)
        dgm_grantcache_check(reach->kept);
}
