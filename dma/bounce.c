/* SPDX-License-Identifier: MIT */
/*
 * bounce: the pool: records of buffers, free lists, taking and giving. See dragoman/dma/bounce.h;
 * which share may take a buffer, and the queue, are in bounce_queue.c, invariants in
 * bounce_check.c.
 *
 * A buffer is known by its number. A free buffer's `next` links the free list of its area. A taken
 * buffer's `next` belongs to its user, which chains the buffers of one transfer. A buffer is taken
 * if it has an owner, so a buffer that is given twice asserts.
 */
#include <dma/internal.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <string.h>

static unsigned area_of_buffer(const struct dgm_bounce *bounce, uint16_t buffer)
{
    unsigned a = bounce->area_count - 1u;

    while (a && buffer < bounce->areas[a].first)
        a--;
    return a;
}

static void free_list_push(struct dgm_bounce *bounce, unsigned a, uint16_t buffer)
{
    bounce->buffers[buffer].next = bounce->areas[a].free_first;
    bounce->areas[a].free_first = buffer;
    bounce->areas[a].free++;
    bounce->free++;
}

static uint16_t free_list_pop(struct dgm_bounce *bounce, unsigned a)
{
    const uint16_t buffer = bounce->areas[a].free_first;

    bounce->areas[a].free_first = bounce->buffers[buffer].next;
    bounce->areas[a].free--;
    bounce->free--;
    return buffer;
}

/* --- the pool is filled --- */

size_t dgm_bounce_bytes(uint16_t buffers_max)
{
    return DGM_BOUNCE_AREAS_MAX * sizeof(struct dgm_bounce_area) +
           buffers_max * sizeof(struct dgm_bounce_buffer);
}

void dgm_bounce_init(struct dgm_bounce *bounce, struct dgm_reactor *reactor, uint16_t buffers_max,
                     void *memory)
{
    dgm_assert(buffers_max < DGM_BOUNCE_NONE);
    memset(bounce, 0, sizeof *bounce);
    memset(memory, 0, dgm_bounce_bytes(buffers_max));
    bounce->areas = memory;
    bounce->buffers = (struct dgm_bounce_buffer *)(bounce->areas + DGM_BOUNCE_AREAS_MAX);
    bounce->buffers_max = buffers_max;
    bounce->reactor = reactor;
    bounce->round_task.run = dgm_bounce_round;
    bounce->own.share = &bounce->own_share;
    bounce->own.minimum_area = DGM_BOUNCE_AREAS_MAX;
}

dgm_gfn_t dgm_bounce_gfn(const struct dgm_bounce *bounce, uint16_t buffer)
{
    dgm_assert(buffer < bounce->total);
    return bounce->buffers[buffer].gfn;
}

/* Begins an area, still empty, for the buffers from `first` on. False: the table of areas is
 * full. */
static bool area_begin(struct dgm_bounce *bounce, uint16_t first)
{
    uint8_t *const by_height = bounce->areas_by_height;
    uint8_t place = bounce->area_count;

    if (place == DGM_BOUNCE_AREAS_MAX)
        return false;
    while (place && dgm_gfn_below(bounce_area_gfn(bounce, by_height[place - 1]),
                                  bounce->buffers[first].gfn)) {
        by_height[place] = by_height[place - 1];
        place--;
    }
    by_height[place] = bounce->area_count;
    bounce->areas[bounce->area_count++] =
        (struct dgm_bounce_area){.first = first, .free_first = DGM_BOUNCE_NONE};
    return true;
}

/* Whether the frame of `buffer` is adjacent to that of the buffer before it. */
static bool is_next_frame(const struct dgm_bounce *bounce, uint16_t buffer)
{
    return dgm_gfn_equal(bounce->buffers[buffer].gfn,
                         dgm_gfn_add(bounce->buffers[buffer - 1].gfn, 1));
}

int dgm_bounce_add(struct dgm_bounce *bounce, struct dgm_frames *frames, uint16_t count)
{
    const uint16_t before = bounce->total;
    uint8_t area = bounce->area_count;
    int status = DGM_OK;

    dgm_assert(count <= bounce->buffers_max - before && bounce->free == before);
    for (uint16_t i = before; i < before + count; i++) {
        status = dgm_frames_take(frames, 1, &bounce->buffers[i].gfn);
        if (status == DGM_OK && (i == before || !is_next_frame(bounce, i)) &&
            !area_begin(bounce, i))
            status = DGM_ENOMEM;
        if (status != DGM_OK)
            break;
        bounce->areas[bounce->area_count - 1].total++;
        bounce->total++;
    }
    for (; area < bounce->area_count; area++) {
        const struct dgm_bounce_area *new = &bounce->areas[area];

        /* The lowest is pushed last, so that neighbours are taken in ascending order. */
        for (uint16_t i = new->total; i > 0; i--)
            free_list_push(bounce, area, (uint16_t)(new->first + i - 1));
    }
    bounce->free_min = bounce->free;
    return status;
}

/* --- devices --- */

int dgm_bounce_device_begin(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                            struct dgm_bounce_share *share, unsigned areas)
{
    unsigned most = 0;

    *device = (struct dgm_bounce_device){.share = share, .minimum_area = DGM_BOUNCE_AREAS_MAX};
    /* The area with the most buffers beyond the minimums; of equal ones the highest. */
    for (unsigned i = 0; i < bounce->area_count; i++) {
        const uint8_t a = bounce->areas_by_height[i];
        const unsigned room = bounce->areas[a].total - bounce->areas[a].minimums;

        if (areas >> a & 1 && room > most) {
            most = room;
            device->minimum_area = a;
        }
    }
    if (device->minimum_area == DGM_BOUNCE_AREAS_MAX)
        return areas ? DGM_ENOSPC : DGM_OK;
    bounce->areas[device->minimum_area].minimums++;
    bounce->areas[device->minimum_area].unmet++;
    return DGM_OK;
}

void dgm_bounce_device_end(struct dgm_bounce *bounce, struct dgm_bounce_device *device)
{
    for (unsigned a = 0; a < DGM_BOUNCE_AREAS_MAX; a++)
        dgm_assert(device->held[a] == 0);
    if (device->minimum_area == DGM_BOUNCE_AREAS_MAX)
        return;
    bounce->areas[device->minimum_area].minimums--;
    bounce->areas[device->minimum_area].unmet--;
    device->minimum_area = DGM_BOUNCE_AREAS_MAX;
    dgm_bounce_wake(bounce); /* other devices may now take its minimum */
}

/* --- taking and giving --- */

/* The area from which `device` may take: the highest of `areas`; DGM_BOUNCE_AREAS_MAX: none. */
static unsigned area_to_take(const struct dgm_bounce *bounce,
                             const struct dgm_bounce_device *device, unsigned areas)
{
    for (unsigned i = 0; i < bounce->area_count; i++) {
        const unsigned a = bounce->areas_by_height[i];

        if (areas >> a & 1 && dgm_bounce_may_take(bounce, device->share, a))
            return a;
    }
    for (unsigned a = 0; a < bounce->area_count; a++)
        if (areas >> a & 1 && bounce_lacks_minimum(device, a) && bounce->areas[a].free)
            return a;
    return DGM_BOUNCE_AREAS_MAX;
}

uint16_t dgm_bounce_take(struct dgm_bounce *bounce, struct dgm_bounce_device *device,
                         unsigned areas)
{
    struct dgm_bounce_share *share;
    uint16_t buffer;
    unsigned a;

    if (!device)
        device = &bounce->own;
    share = device->share;
    a = area_to_take(bounce, device, areas);
    if (a == DGM_BOUNCE_AREAS_MAX)
        return DGM_BOUNCE_NONE;

    /* A minimum does not come from the queue: the share keeps its place there for other buffers. */
    if (bounce_lacks_minimum(device, a))
        bounce->areas[a].unmet--;
    else
        dgm_bounce_queue_remove(bounce, share);
    buffer = free_list_pop(bounce, a);
    bounce->buffers[buffer].next = DGM_BOUNCE_NONE;
    bounce->buffers[buffer].owner = device;
    if (bounce->free < bounce->free_min)
        bounce->free_min = bounce->free;
    bounce->areas[a].users += !bounce_uses_area(share, a);
    device->held[a]++;
    share->held[a]++;
    share->taken++;
    if (share->taken > share->taken_max)
        share->taken_max = share->taken;
    return buffer;
}

void dgm_bounce_give(struct dgm_bounce *bounce, uint16_t buffer)
{
    struct dgm_bounce_device *device;
    struct dgm_bounce_share *share;
    unsigned a;

    dgm_assert(buffer < bounce->total && bounce_is_taken(bounce, buffer));
    a = area_of_buffer(bounce, buffer);
    device = bounce->buffers[buffer].owner;
    share = device->share;
    bounce->buffers[buffer].owner = NULL;
    device->held[a]--;
    bounce->areas[a].unmet += bounce_lacks_minimum(device, a);
    share->held[a]--;
    share->taken--;
    bounce->areas[a].users -= !bounce_uses_area(share, a);
    free_list_push(bounce, a, buffer);
    dgm_bounce_wake(bounce);
}
