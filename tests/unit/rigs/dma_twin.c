/* SPDX-License-Identifier: MIT */
#include "dma_twin.h"

#include <dma/internal.h>
#include <dragoman/base/status.h>

#define MAPS 4u

struct dma_twin dma_twin;
struct dma_twin_transfer dma_twin_transfer;

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("DRAGOMAN_SEED=%llu trial %u: %s", (unsigned long long)dma_twin.seed,         \
                     dma_twin.trial, #condition);                                                  \
    } while (0)

long dma_twin_refuse(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return op == __HYPERVISOR_grant_table_op && command == GNTTABOP_cache_flush &&
                   unit_chance(dma_twin.refused_percent)
               ? DGM_EINVAL
               : 0;
}

void dma_twin_begin(bool minimums)
{
    memset(dma_twin.shares, 0, sizeof dma_twin.shares);
    for (unsigned i = 0; i < SHARES; i++) {
        /* One more than the minimums: our own use has none. */
        const unsigned areas = minimums && dma_rig.bounce.total > SHARES ? DGM_BOUNCE_AREAS_ALL : 0;
        const int status = dgm_bounce_device_begin(&dma_rig.bounce, &dma_twin.devices[i],
                                                   &dma_twin.shares[i], areas);

        check(status == DGM_OK);
    }
}

/* --- the transfer --- */

void dma_twin_add_piece(dgm_gfn_t gfn, uint32_t offset, uint32_t bytes)
{
    struct dma_twin_transfer *t = &dma_twin_transfer;
    const uint64_t frame = dgm_mfn_address(dgm_p2m_lookup(&dma_rig.p2m, gfn));

    t->pieces[t->count++] = (struct dgm_dma_piece){gfn, (uint16_t)offset, (uint16_t)bytes};
    for (uint32_t i = 0; i < bytes; i++, t->bytes++) {
        t->machine[t->bytes] = frame + offset + i;
        t->gfn[t->bytes] = gfn;
        t->memory[t->bytes] = (unsigned char *)dgm_env_va(gfn) + offset + i;
        t->want[t->bytes] = *t->memory[t->bytes] = (unsigned char)unit_random();
    }
}

void dma_twin_fill_block(uint32_t block_bytes)
{
    while (dma_twin_transfer.bytes % block_bytes)
        dma_twin_add_piece(dgm_gfn(RAM + 90), 0,
                           block_bytes - dma_twin_transfer.bytes % block_bytes);
}

/* --- the device's rules --- */

static bool is_multiple(uint64_t gap, uint64_t address)
{
    return gap == 0 || address % gap == 0;
}

static void check_rules(const struct dgm_dma_tag *tag, const struct dgm_dma_map *map,
                        uint32_t bytes)
{
    uint32_t sum = 0;

    check(bytes > 0 && bytes % tag->block_bytes == 0 && bytes == map->bytes);
    check(!tag->transfer_bytes_max || bytes <= tag->transfer_bytes_max);
    check(map->segment_count >= 1 && map->segment_count <= tag->segments_max);
    for (uint32_t i = 0; i < map->segment_count; i++) {
        const uint64_t first = dgm_bus_address(map->segments[i].bus),
                       length = map->segments[i].bytes;

        check(length > 0 && (!tag->segment_bytes_max || length <= tag->segment_bytes_max));
        check(first + length - 1 <= tag->mask);
        check(!tag->boundary || first / tag->boundary == (first + length - 1) / tag->boundary);
        check(i == 0 || is_multiple(tag->gap, first));
        check(is_multiple(tag->alignment, first));
        check(i + 1 == map->segment_count || is_multiple(tag->gap, first + length));
        sum += map->segments[i].bytes;
    }
    check(sum == bytes);
}

/* Whether a device reaches all of a frame, computed window by window. */
static bool twin_reaches(const struct dgm_dma_tag *tag, uint64_t machine, dgm_gfn_t gfn)
{
    const uint64_t frame =
        tag->space == DGM_DMA_GUEST_PHYSICAL ? dgm_gfn_address(gfn) : machine / 4096 * 4096;

    for (size_t i = 0; i < tag->window_count; i++)
        if (frame >= tag->windows[i].machine_base &&
            frame < tag->windows[i].machine_base + tag->windows[i].length)
            return frame - tag->windows[i].machine_base + tag->windows[i].bus_base + 4095 <=
                   tag->mask;
    return tag->window_count == 0 && frame + 4095 <= tag->mask;
}

/* Nothing but reach can make this device bounce, as long as dma_twin.blocks is set. */
static bool bounces_for_reach_only(const struct dgm_dma_tag *tag)
{
    return dma_twin.blocks && tag->alignment <= 512 && (tag->coherent || !dma_rig.dma.flush) &&
           tag->block_bytes == 512 && tag->gap == 0 && !tag->segment_bytes_max && !tag->boundary &&
           tag->segments_max == SEGMENTS_MAX;
}

/* Each byte is the right one, or in a buffer with the same value. Returns how many are bounced. */
static uint32_t check_bytes(const struct dgm_dma_tag *tag, const struct dgm_dma_map *map,
                            const struct dma_twin_transfer *t, uint32_t at)
{
    uint32_t bounced = 0;

    for (uint32_t i = 0; i < map->segment_count; i++) {
        for (uint32_t b = 0; b < map->segments[i].bytes; b++, at++) {
            const uint64_t bus = dgm_bus_address(map->segments[i].bus) + b;
            const uint64_t machine = dma_rig_machine(tag, bus);

            if (machine != t->machine[at]) {
                check(dma_rig_is_buffer(machine));
                check(!bounces_for_reach_only(tag) ||
                      !twin_reaches(tag, t->machine[at], t->gfn[at]));
                bounced++;
            }
            check(*dma_rig_byte(tag, bus, true) == *t->memory[at]);
        }
    }
    return bounced;
}

/* The device writes some of the bytes, or none: the others must keep their values. */
static void device_writes(const struct dgm_dma_tag *tag, const struct dgm_dma_map *map,
                          struct dma_twin_transfer *t, uint32_t at)
{
    const unsigned percent = (unsigned)unit_below(101);

    for (uint32_t i = 0; i < map->segment_count; i++)
        for (uint32_t b = 0; b < map->segments[i].bytes; b++, at++)
            if (unit_chance(percent))
                t->want[at] = *dma_rig_byte(tag, dgm_bus_address(map->segments[i].bus) + b, true) =
                    (unsigned char)unit_random();
}

/* --- how long the prefix must be, if everything is within reach --- */

static bool twin_expressible(const struct dgm_dma_tag *tag, const uint64_t *bus, uint32_t bytes)
{
    uint32_t segments = 1;

    for (uint32_t i = 1; i < bytes; i++) {
        if (bus[i] == bus[i - 1] + 1)
            continue;
        if (!is_multiple(tag->alignment, bus[i]))
            return false;
        if (!is_multiple(tag->gap, bus[i - 1] + 1) || !is_multiple(tag->gap, bus[i]))
            return false;
        if (++segments > tag->segments_max)
            return false;
    }
    return true;
}

/* 0: not even a block is expressible, so it must be gathered. */
static uint32_t twin_prefix(const struct dgm_dma_tag *tag, const struct dma_twin_transfer *t,
                            uint32_t at)
{
    uint32_t bytes = t->bytes - at;

    if (tag->transfer_bytes_max && bytes > tag->transfer_bytes_max)
        bytes = tag->transfer_bytes_max / tag->block_bytes * tag->block_bytes;
    while (bytes && !twin_expressible(tag, &t->machine[at], bytes))
        bytes -= tag->block_bytes;
    return bytes;
}

/* --- the runs --- */

static uint64_t count_bytes(void)
{
    return dma_rig.dma.bytes_local + dma_rig.dma.bytes_foreign + dma_rig.dma.bytes_bounced_reach +
           dma_rig.dma.bytes_bounced_gap + dma_rig.dma.bytes_bounced_line +
           dma_rig.dma.bytes_bounced_flush;
}

struct flight {
    struct dgm_dma_segment segments[SEGMENTS_MAX];
    struct dgm_dma_map map;
};

static struct flight flights[MAPS];

/* The memory is coherent here, so a refusal at the end loses nothing. */
static void unmap_flight(struct flight *f)
{
    const bool may_fail = dma_twin.refused_percent && dma_rig.dma.flush && !f->map.coherent &&
                          f->map.direction == DGM_DMA_FROM_DEVICE;
    const int status = dgm_dma_unmap(&dma_rig.dma, &f->map, true);

    check(status == DGM_OK || (may_fail && status == DGM_EIO));
}

/* Buffers that are left for minimums. */
static unsigned count_unmet(void)
{
    unsigned sum = 0;

    for (unsigned a = 0; a < dma_rig.bounce.area_count; a++)
        sum += dma_rig.bounce.areas[a].unmet;
    return sum;
}

void dma_twin_run(const struct dgm_dma_tag *tag, enum dgm_dma_direction direction)
{
    const bool plain = tag->window_count == 0 && tag->mask == UINT64_MAX &&
                       tag->segment_bytes_max == 0 && tag->boundary == 0 && tag->alignment <= 1 &&
                       tag->space == DGM_DMA_MACHINE && tag->coherent;
    struct dma_twin_transfer *t = &dma_twin_transfer;
    unsigned flying = 0, in_vain = 0, whose = 0;
    uint32_t at = 0;

    while (at < t->bytes || flying) {
        const uint64_t before = count_bytes();
        int bytes = DGM_EAGAIN;

        if (at < t->bytes && flying < MAPS) {
            struct flight *f = &flights[flying];

            struct dgm_bounce_device *device;
            const bool none_waited = !dma_rig.bounce.queue;

            if (in_vain == 0 || unit_chance(30)) /* a waiter mostly retries */
                whose = (unsigned)unit_below(SHARES + 1);
            device = whose == SHARES ? NULL : &dma_twin.devices[whose];
            bytes = dgm_dma_map(&dma_rig.dma,
                                &(struct dgm_dma_transfer){.tag = tag,
                                                           .pieces = t->pieces,
                                                           .piece_count = t->count,
                                                           .skip_bytes = at,
                                                           .direction = direction,
                                                           .device = device},
                                f->segments, &f->map);
            check(bytes > 0 || bytes == DGM_EAGAIN);
            check(bytes > 0 || dma_rig.bounce.free <= count_unmet() || !none_waited);
            /* Waiters that no longer want a buffer do not block this one. */
            in_vain = bytes > 0 || flying ? 0 : in_vain + 1;
            check(in_vain < 4 * (SHARES + 1));
            check(count_bytes() - before == (bytes > 0 ? (unsigned)bytes : 0));
        }
        if (bytes > 0) {
            struct flight *f = &flights[flying++];

            check_rules(tag, &f->map, (uint32_t)bytes);
            check(check_bytes(tag, &f->map, t, at) == f->map.bytes_bounced);
            if (plain) {
                const uint32_t prefix = twin_prefix(tag, t, at);

                check(prefix ? f->map.bytes == prefix && f->map.bytes_bounced == 0
                             : f->map.bytes_bounced == f->map.bytes);
            }
            if (direction == DGM_DMA_FROM_DEVICE)
                device_writes(tag, &f->map, t, at);
            at += (uint32_t)bytes;
        }
        (void)dgm_reactor_turn(&dma_rig.reactor); /* rounds of the queue */
        if (flying && (bytes <= 0 || unit_chance(40))) {
            const unsigned i = (unsigned)unit_below(flying);

            unmap_flight(&flights[i]);
            flights[i] = flights[--flying];
            flights[i].map.segments = flights[i].segments;
        }
    }
    for (uint32_t i = 0; i < t->bytes; i++)
        check(*t->memory[i] == t->want[i]);
}
