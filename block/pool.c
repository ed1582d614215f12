/* SPDX-License-Identifier: MIT */
/* pool: see pool.h */
#include <block/pool.h>

#include <dragoman/base/check.h>

static const uint16_t segments_of_class[DGM_BLKBACK_CLASSES] = {
    [DGM_BLKBACK_SMALL] = BLKIF_MAX_SEGMENTS_PER_REQUEST,
    [DGM_BLKBACK_MEDIUM] = DGM_BLKBACK_USUAL_SEGMENTS,
    [DGM_BLKBACK_LARGE] = DGM_BLKIF_SEGMENTS_MAX,
};

/* `parts`: the number of sets that all devices share, each as large as one busy device needs. */
static struct dgm_blkback_pool_sizes sizes_of(uint16_t devices, uint16_t parts)
{
    return (struct dgm_blkback_pool_sizes){
        .devices = devices,
        .each = {.requests =
                     {[DGM_BLKBACK_SMALL] = 4, [DGM_BLKBACK_MEDIUM] = 4, [DGM_BLKBACK_LARGE] = 1},
                 .commands = 4},
        .shared = {.requests = {[DGM_BLKBACK_SMALL] = (uint16_t)(64 * parts),
                                [DGM_BLKBACK_MEDIUM] = (uint16_t)(32 * parts),
                                [DGM_BLKBACK_LARGE] = (uint16_t)(4 * parts)},
                   .commands = (uint16_t)(64 * parts)},
    };
}

static uint64_t frames_for(uint64_t bytes)
{
    return (bytes + DGM_FRAME_BYTES - 1) / DGM_FRAME_BYTES;
}

uint64_t dgm_blkback_pool_frames(const struct dgm_blkback_pool_sizes *sizes)
{
    const uint64_t commands =
        sizes->shared.commands + (uint64_t)sizes->devices * sizes->each.commands;
    uint64_t frames = frames_for(commands * sizeof(struct dgm_blkback_command));

    for (unsigned class = 0; class < DGM_BLKBACK_CLASSES; class ++) {
        const uint64_t count =
            sizes->shared.requests[class] + (uint64_t)sizes->devices * sizes->each.requests[class];

        frames += frames_for(count * sizeof(struct dgm_blkback_request)) +
                  frames_for(count * segments_of_class[class] * sizeof(struct dgm_reach_frame)) +
                  frames_for(count * segments_of_class[class] * sizeof(struct dgm_dma_piece));
    }
    return frames;
}

/* By the rule of share.h each of n busy devices gets 1 / (n + 1) of the shared part. */
struct dgm_blkback_pool_sizes dgm_blkback_pool_sizes_for(struct dgm_blkback_pool_room room)
{
    uint16_t parts = (uint16_t)(room.devices > 1 ? room.devices + 1 : 2);
    struct dgm_blkback_pool_sizes sizes = sizes_of(room.devices, parts);

    while (parts > 2 && dgm_blkback_pool_frames(&sizes) > room.frames)
        sizes = sizes_of(room.devices, --parts);
    return sizes;
}

static uint16_t minimum_of(const struct dgm_blkback_pool *pool, unsigned resource)
{
    const struct dgm_blkback_records *each = &pool->sizes.each;

    return resource == DGM_BLKBACK_COMMANDS ? each->commands : each->requests[resource];
}

/* --- the pool --- */

static int init_class(struct dgm_blkback_pool *pool, uint8_t class, struct dgm_frames *frames)
{
    const size_t segments = segments_of_class[class], count = pool->resources[class].total;
    struct dgm_blkback_request *requests =
        dgm_frames_take_bytes(frames, count * sizeof requests[0]);
    struct dgm_reach_frame *reached =
        dgm_frames_take_bytes(frames, count * segments * sizeof reached[0]);
    struct dgm_dma_piece *pieces =
        dgm_frames_take_bytes(frames, count * segments * sizeof pieces[0]);

    if (!requests || !reached || !pieces)
        return DGM_ENOMEM;
    for (size_t i = count; i-- > 0;) {
        requests[i].class = class;
        requests[i].frames = reached + i * segments;
        requests[i].pieces = pieces + i * segments;
        requests[i].next = pool->requests_free[class];
        pool->requests_free[class] = &requests[i];
    }
    return DGM_OK;
}

static int init_commands(struct dgm_blkback_pool *pool, struct dgm_frames *frames)
{
    const size_t count = pool->resources[DGM_BLKBACK_COMMANDS].total;
    struct dgm_blkback_command *commands =
        dgm_frames_take_bytes(frames, count * sizeof commands[0]);

    if (!commands)
        return DGM_ENOMEM;
    for (size_t i = count; i-- > 0;) {
        commands[i].next = pool->commands_free;
        pool->commands_free = &commands[i];
    }
    return DGM_OK;
}

int dgm_blkback_pool_init(struct dgm_blkback_pool *pool, struct dgm_reactor *reactor,
                          struct dgm_frames *frames, const struct dgm_blkback_pool_sizes *sizes)
{
    *pool = (struct dgm_blkback_pool){.reactor = reactor, .sizes = *sizes};
    if (sizes->devices > DGM_BLKBACK_DEVICES_MAX)
        return DGM_EINVAL;
    for (unsigned i = 0; i < DGM_BLKBACK_RESOURCES; i++) {
        const uint32_t shared =
            i == DGM_BLKBACK_COMMANDS ? sizes->shared.commands : sizes->shared.requests[i];

        if (minimum_of(pool, i) == 0)
            return DGM_EINVAL;
        dgm_blkback_resource_init(&pool->resources[i], reactor,
                                  shared + (uint32_t)sizes->devices * minimum_of(pool, i));
    }
    for (uint8_t class = 0; class < DGM_BLKBACK_CLASSES; class ++) {
        const int status = init_class(pool, class, frames);

        if (status != DGM_OK)
            return status;
    }
    return init_commands(pool, frames);
}

bool dgm_blkback_pool_idle(const struct dgm_blkback_pool *pool)
{
    for (unsigned i = 0; i < DGM_BLKBACK_RESOURCES; i++) {
        if (!dgm_blkback_resource_idle(&pool->resources[i]))
            return false;
    }
    for (unsigned i = 0; i < DGM_BLKBACK_DEVICES_MAX; i++) {
        if (pool->disks[i].queue.first || !dgm_blkback_resource_idle(&pool->guests[i].slots) ||
            !dgm_blkback_resource_idle(&pool->guests[i].copy_buffers))
            return false;
    }
    return !pool->slots_queue.first && !pool->copy_buffers_queue.first;
}

/* --- a device's shares --- */

/* The slots that the guest's disks have together: its vifs hold the others. */
static uint64_t disk_slots(const struct dgm_guest_account *guest)
{
    return guest->slots.max > guest->vif_slots ? guest->slots.max - guest->vif_slots : 0;
}

uint8_t dgm_blkback_ring_order_max(const struct dgm_guest_account *guest, uint16_t guest_disks)
{
    const uint64_t pages = disk_slots(guest) / guest_disks / 128;
    uint8_t order = 0;

    while (order < DGM_RING_ORDER_MAX && 2u << order <= pages)
        order++;
    return order;
}

uint64_t dgm_blkback_segments_max(const struct dgm_reach *reach,
                                  const struct dgm_guest_account *guest, enum dgm_reach_mode mode,
                                  uint16_t guest_disks)
{
    const bool copies =
        mode == DGM_REACH_MODE_COPY || (mode == DGM_REACH_MODE_AUTO && reach->copy_buffers);
    uint64_t frames = dgm_reach_request_frames_max(reach, guest, mode), part;

    /* In addition to the segments a request needs its page of segments, and each disk its ring's
     * pages. */
    const uint64_t others = 1 + (1u << dgm_blkback_ring_order_max(guest, guest_disks));

    part = disk_slots(guest) / guest_disks;
    if (mode != DGM_REACH_MODE_COPY && (part < others || part - others < frames))
        frames = part < others ? 0 : part - others;
    part = guest->copy_buffers.max / guest_disks;
    if (copies && (part < 1 || part - 1 < frames))
        frames = part < 1 ? 0 : part - 1;
    return frames < DGM_BLKIF_SEGMENTS_MAX ? frames : DGM_BLKIF_SEGMENTS_MAX;
}

/* The entry of `account` among the guests, or a new one: there are as many as devices. */
static struct dgm_blkback_guest *guest_of(struct dgm_blkback_pool *pool,
                                          struct dgm_guest_account *account, uint16_t disks)
{
    struct dgm_blkback_guest *fresh = NULL;

    for (unsigned i = 0; i < DGM_BLKBACK_DEVICES_MAX; i++) {
        if (pool->guests[i].account == account)
            return &pool->guests[i];
        if (!fresh && !pool->guests[i].account)
            fresh = &pool->guests[i];
    }
    dgm_assert(fresh);

    const uint64_t slots = disk_slots(account), buffers = account->copy_buffers.max;
    const uint64_t pages = (uint64_t)disks << dgm_blkback_ring_order_max(account, disks);

    *fresh = (struct dgm_blkback_guest){.account = account};
    /* The rings' pages are reserved separately and not counted. */
    dgm_blkback_resource_init(&fresh->slots, pool->reactor,
                              slots > pages ? (uint32_t)(slots - pages) : 0);
    dgm_blkback_resource_init(&fresh->copy_buffers, pool->reactor, (uint32_t)buffers);
    return fresh;
}

/* The entry of `disk` among the disks, or a new one: there are as many as devices. */
static struct dgm_blkback_disk *disk_of(struct dgm_blkback_pool *pool, struct dgm_blkdev *disk)
{
    struct dgm_blkback_disk *fresh = NULL;

    for (unsigned i = 0; i < DGM_BLKBACK_DEVICES_MAX; i++) {
        if (pool->disks[i].disk == disk)
            return &pool->disks[i];
        if (!fresh && !pool->disks[i].disk)
            fresh = &pool->disks[i];
    }
    dgm_assert(fresh);
    *fresh = (struct dgm_blkback_disk){.disk = disk};
    return fresh;
}

static int init_shares(struct dgm_blkback *blkback)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_guest *guest = blkback->shared_guest;
    const uint32_t frames = blkback->segments_max + 1u;
    int status = DGM_OK;

    for (unsigned i = 0; i < DGM_BLKBACK_RESOURCES && status == DGM_OK; i++)
        status = dgm_blkback_share_init(&blkback->shares[i], &pool->resources[i],
                                        minimum_of(pool, i), &guest->extra[i], &blkback->task);
    if (status == DGM_OK && blkback->mode != DGM_REACH_MODE_COPY)
        status =
            dgm_blkback_share_init(&blkback->slots, &guest->slots, frames, NULL, &blkback->task);
    if (status == DGM_OK && blkback->env.reach->copy_buffers &&
        (blkback->mode == DGM_REACH_MODE_COPY || blkback->mode == DGM_REACH_MODE_AUTO))
        status = dgm_blkback_share_init(&blkback->copy_buffers, &guest->copy_buffers, frames, NULL,
                                        &blkback->task);
    return status;
}

int dgm_blkback_pool_join(struct dgm_blkback *blkback, uint16_t guest_disks)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    struct dgm_blkback_guest *guest;
    struct dgm_blkback_disk *disk;
    int status;

    if (pool->devices == pool->sizes.devices)
        return DGM_ENOSPC;
    guest = guest_of(pool, blkback->guest, guest_disks);
    disk = disk_of(pool, blkback->disk);
    blkback->shared_guest = guest;
    blkback->shared_disk = disk;
    blkback->frames_waiter.task = blkback->disk_waiter.task = &blkback->task;
    pool->devices++;
    guest->devices++;
    disk->devices++;
    status = init_shares(blkback);
    if (status != DGM_OK)
        dgm_blkback_pool_leave(blkback);
    return status;
}

void dgm_blkback_pool_leave(struct dgm_blkback *blkback)
{
    struct dgm_blkback_guest *guest = blkback->shared_guest;
    struct dgm_blkback_disk *disk = blkback->shared_disk;

    for (unsigned i = 0; i < DGM_BLKBACK_RESOURCES; i++)
        dgm_blkback_share_end(&blkback->shares[i]);
    dgm_blkback_share_end(&blkback->slots);
    dgm_blkback_share_end(&blkback->copy_buffers);
    if (--guest->devices == 0)
        guest->account = NULL;
    if (--disk->devices == 0)
        disk->disk = NULL;
    blkback->env.pool->devices--;
}

/* --- records --- */

static inline uint8_t class_of(uint16_t segments)
{
    uint8_t class = DGM_BLKBACK_SMALL;

    while (segments > segments_of_class[class])
        class ++;
    return class;
}

/* The device waits for a record of `class` only. */
static __attribute__((noinline)) void leave_other_records(struct dgm_blkback *blkback,
                                                          uint8_t class)
{
    for (uint8_t other = 0; other < DGM_BLKBACK_CLASSES; other++) {
        if (other != class)
            dgm_blkback_share_leave(&blkback->shares[other]);
    }
}

struct dgm_blkback_request *dgm_blkback_request_take(struct dgm_blkback *blkback, uint16_t segments)
{
    struct dgm_blkback_pool *pool = blkback->env.pool;
    const uint8_t class = class_of(segments);
    struct dgm_blkback_request *request;

    if (!dgm_blkback_share_take(&blkback->shares[class], 1)) {
        leave_other_records(blkback, class);
        return NULL;
    }
    request = pool->requests_free[class];
    pool->requests_free[class] = request->next;
    request->next = NULL;
    request->owner = blkback;
    return request;
}

void dgm_blkback_leave_records(struct dgm_blkback *blkback)
{
    for (unsigned class = 0; class < DGM_BLKBACK_CLASSES; class ++)
        dgm_blkback_share_leave(&blkback->shares[class]);
}
