/* SPDX-License-Identifier: MIT */
/*
 * dma beside a naive twin: thousands of random transfers on random devices
 *
 * The twin knows for each byte of the transfer the machine byte that is meant. Every byte of every
 * bus segment must be that byte, or lie in a bounce buffer; the device's rules must hold; what the
 * device reads, or writes, must be what is meant, whichever way it went; nothing may be held after.
 * On devices that reach everything the twin also knows how long the prefix must be: it tries every
 * length from the longest down, building segments byte by byte. Three guests' shares, and our own,
 * take turns; Xen may refuse to maintain caches; devices may sit behind an IOMMU.
 *
 * If it fails: corrupt data, a device driver given an impossible list, or needless cuts and copies.
 */
#include "dma_rig.h"

#include <dragoman/base/status.h>

#define GUEST_FRAMES 256u
#define PIECES_MAX   48u
#define BYTES_MAX    (PIECES_MAX * 4096u)
#define SEGMENTS_MAX 64u
#define MAPS         4u
#define SHARES       3u

static dgm_gfn_t slot[GUEST_FRAMES]; /* every guest frame, mapped for the whole run */
static uint64_t seed;
static unsigned trial;
static bool blocks; /* all pieces are multiples of 512 bytes */
static struct dgm_bounce_share shares[SHARES];
static struct dgm_cacheflush flush;
static unsigned refused_percent; /* of the hypercalls for maintenance */

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("DRAGOMAN_SEED=%llu trial %u: %s", (unsigned long long)seed, trial,           \
                     #condition);                                                                  \
    } while (0)

/* --- the machine: runs of machine frames up and down, near and far --- */

static long refuse(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return op == __HYPERVISOR_grant_table_op && command == GNTTABOP_cache_flush &&
                   unit_chance(refused_percent)
               ? DGM_EINVAL
               : 0;
}

static void start(void)
{
    uint64_t mfn = 0x50000;

    memset(shares, 0, sizeof shares);
    rig_start(unit_chance(50) ? 0x777 : 0, (uint16_t)(1 + unit_below(40)));
    for (unsigned i = 0; i < GUEST_FRAMES; i++) {
        const unsigned how = (unsigned)unit_below(4);

        if (how == 0)
            mfn = 0x50000 + unit_below(0x8000);
        else
            mfn += how == 1 ? 1 : how == 2 ? -1u : 2;
        while (dgm_hv_machine(dgm_mfn(mfn)))
            mfn = 0x50000 + unit_below(0x8000);
        slot[i] = rig_foreign(i, mfn);
    }
}

/* --- devices --- */

static uint32_t one_of(const uint32_t *values, size_t count)
{
    return values[unit_below(count)];
}

#define ONE_OF(...)                                                                                \
    one_of((const uint32_t[]){__VA_ARGS__},                                                        \
           sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static struct dgm_dma_tag random_tag(bool reaches_all)
{
    struct dgm_dma_tag tag = {
        .mask = UINT64_MAX,
        .gap = ONE_OF(0, 4096, 4096, 512),
        .segments_max = ONE_OF(1, 2, 5, SEGMENTS_MAX, SEGMENTS_MAX),
        .block_bytes = ONE_OF(512, 512, 4096),
        .coherent = true,
    };

    if (unit_chance(30))
        tag.alignment = ONE_OF(1, 4, 64, 512, 1024, 4096);
    if (unit_chance(30))
        tag.transfer_bytes_max = ONE_OF(4096, 8192, 65536, 5000);
    if (unit_chance(30))
        tag.segment_bytes_max = ONE_OF(4096, 6144, 65536);
    if (unit_chance(30))
        tag.boundary = ONE_OF(4096, 8192, 65536);
    if (reaches_all)
        return tag;
    tag.coherent = unit_chance(60);
    if (unit_chance(20)) { /* the slots within reach, some of them, or none */
        tag.space = DGM_DMA_GUEST_PHYSICAL;
        if (unit_chance(60))
            tag.mask = unit_chance(30)
                           ? UINT32_MAX
                           : (SLOT + unit_below(GUEST_FRAMES)) * 4096 + unit_below(4096);
        return tag;
    }
    if (unit_chance(50))
        tag.mask =
            dgm_p2m_lookup(&rig.p2m, slot[unit_below(GUEST_FRAMES)]).n * 4096 + unit_below(4096);
    if (unit_chance(60)) { /* RAM low; two windows over parts of the guest's frames */
        tag.window_count = 3;
        tag.windows[0] = (struct dgm_dma_window){0x40000000, 0x200000000, 0x8000000};
        tag.windows[1] = (struct dgm_dma_window){
            0x50000000, 0x30000000, (unit_below(0x3000) + 1) * 4096 + unit_below(4096)};
        tag.windows[2] =
            (struct dgm_dma_window){0x54000000, 0x54000000, (unit_below(0x3000) + 1) * 4096};
        if (tag.mask != UINT64_MAX)
            tag.mask = 0x208000000;
    }
    return tag;
}

/* --- transfers --- */

struct transfer {
    struct dgm_dma_piece pieces[PIECES_MAX];
    size_t count;
    uint32_t bytes;
    uint64_t machine[BYTES_MAX];      /* per byte: what is meant */
    dgm_gfn_t gfn[BYTES_MAX];         /* and the frame of ours that it is in */
    unsigned char *memory[BYTES_MAX]; /* the same, for us */
    unsigned char want[BYTES_MAX];    /* what must be there in the end */
};

static void add_piece(struct transfer *t, dgm_gfn_t gfn, uint32_t offset, uint32_t bytes)
{
    const uint64_t frame = dgm_p2m_lookup(&rig.p2m, gfn).n * DGM_FRAME_BYTES;

    t->pieces[t->count++] = (struct dgm_dma_piece){gfn, (uint16_t)offset, (uint16_t)bytes};
    for (uint32_t i = 0; i < bytes; i++, t->bytes++) {
        t->machine[t->bytes] = frame + offset + i;
        t->gfn[t->bytes] = gfn;
        t->memory[t->bytes] = (unsigned char *)dgm_env_va(gfn) + offset + i;
        t->want[t->bytes] = *t->memory[t->bytes] = (unsigned char)unit_random();
    }
}

/*
 * Pieces do not overlap: frames are taken in order, from a random one on, with leaps. `unit`: all
 * lengths and offsets are its multiples.
 */
static void random_transfer(struct transfer *t, uint32_t unit, uint32_t block)
{
    const bool whole = unit_chance(30); /* mostly whole frames, as big I/O has */
    unsigned frame = (unsigned)unit_below(GUEST_FRAMES / 2);
    const size_t count = 1 + unit_below(unit_chance(50) ? 4 : PIECES_MAX - 8);

    t->count = 0;
    t->bytes = 0;
    while (t->count < count && frame < GUEST_FRAMES) {
        const dgm_gfn_t gfn = unit_chance(15) ? dgm_gfn(RAM + frame / 4) : slot[frame];
        uint32_t offset = whole && t->count ? 0 : (uint32_t)unit_below(4096 / unit) * unit;

        while (offset < 4096 && t->count < count) {
            const uint32_t left = 4096 - offset;
            const uint32_t bytes = (whole && unit_chance(90)) || unit_chance(30)
                                       ? left
                                       : (uint32_t)(1 + unit_below(left / unit)) * unit;

            add_piece(t, gfn, offset, bytes);
            offset += bytes + (unit_chance(50) ? 0 : unit);
            if (unit_chance(60))
                break;
        }
        /* leaps of 4 and more, so that no local frame comes twice */
        frame +=
            unit_chance(50) && !dgm_p2m_is_slot(&rig.p2m, gfn) ? 4 : 1 + (unsigned)unit_below(3);
        if (!dgm_p2m_is_slot(&rig.p2m, gfn))
            frame += 4;
    }
    while (t->bytes % block) { /* fill up to whole blocks, from a frame that nobody has */
        const uint32_t left = block - t->bytes % block;

        add_piece(t, dgm_gfn(RAM + 90), 0, left);
    }
}

/* --- the device's rules --- */

static bool on(uint64_t gap, uint64_t address)
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
        const uint64_t first = map->segments[i].bus.n, length = map->segments[i].bytes;

        check(length > 0 && (!tag->segment_bytes_max || length <= tag->segment_bytes_max));
        check(first + length - 1 <= tag->mask);
        check(!tag->boundary || first / tag->boundary == (first + length - 1) / tag->boundary);
        check(i == 0 || on(tag->gap, first));
        check(on(tag->alignment, first));
        check(i + 1 == map->segment_count || on(tag->gap, first + length));
        sum += map->segments[i].bytes;
    }
    check(sum == bytes);
}

/* The obvious way to ask whether a device reaches all of a frame. */
static bool twin_reaches(const struct dgm_dma_tag *tag, uint64_t machine, dgm_gfn_t gfn)
{
    const uint64_t frame =
        tag->space == DGM_DMA_GUEST_PHYSICAL ? gfn.n * 4096 : machine / 4096 * 4096;

    for (size_t i = 0; i < tag->window_count; i++)
        if (frame >= tag->windows[i].machine_base &&
            frame < tag->windows[i].machine_base + tag->windows[i].length)
            return frame - tag->windows[i].machine_base + tag->windows[i].bus_base + 4095 <=
                   tag->mask;
    return tag->window_count == 0 && frame + 4095 <= tag->mask;
}

/* Nothing but reach can make this device bounce, as long as pieces are blocks. */
static bool bounces_for_reach_only(const struct dgm_dma_tag *tag)
{
    return blocks && tag->alignment <= 512 && (tag->coherent || !rig.dma.flush) &&
           tag->block_bytes == 512 && tag->gap == 0 && !tag->segment_bytes_max && !tag->boundary &&
           tag->segments_max == SEGMENTS_MAX;
}

/* Each byte is the one that is meant, or in a buffer with the same contents. Counts the latter. */
static uint32_t check_bytes(const struct dgm_dma_tag *tag, const struct dgm_dma_map *map,
                            const struct transfer *t, uint32_t at)
{
    uint32_t bounced = 0;

    for (uint32_t i = 0; i < map->segment_count; i++) {
        for (uint32_t b = 0; b < map->segments[i].bytes; b++, at++) {
            const uint64_t bus = map->segments[i].bus.n + b;
            const uint64_t machine = rig_machine(tag, bus);

            if (machine != t->machine[at]) {
                check(rig_is_buffer(machine));
                check(!bounces_for_reach_only(tag) ||
                      !twin_reaches(tag, t->machine[at], t->gfn[at]));
                bounced++;
            }
            check(*rig_byte(tag, bus, true) == *t->memory[at]);
        }
    }
    return bounced;
}

/* The device writes some of the bytes, or none: what it leaves must come back as it was. */
static void device_writes(const struct dgm_dma_tag *tag, const struct dgm_dma_map *map,
                          struct transfer *t, uint32_t at)
{
    const unsigned percent = (unsigned)unit_below(101);

    for (uint32_t i = 0; i < map->segment_count; i++)
        for (uint32_t b = 0; b < map->segments[i].bytes; b++, at++)
            if (unit_chance(percent))
                t->want[at] = *rig_byte(tag, map->segments[i].bus.n + b, true) =
                    (unsigned char)unit_random();
}

/* --- how long the prefix must be, if everything is within reach --- */

static bool twin_expressible(const struct dgm_dma_tag *tag, const uint64_t *bus, uint32_t bytes)
{
    uint32_t segments = 1;

    for (uint32_t i = 1; i < bytes; i++) {
        if (bus[i] == bus[i - 1] + 1)
            continue;
        if (!on(tag->alignment, bus[i]))
            return false;
        if (!on(tag->gap, bus[i - 1] + 1) || !on(tag->gap, bus[i]))
            return false;
        if (++segments > tag->segments_max)
            return false;
    }
    return true;
}

/* 0: not even a block, so that must be gathered. */
static uint32_t twin_prefix(const struct dgm_dma_tag *tag, const struct transfer *t, uint32_t at)
{
    uint32_t bytes = t->bytes - at;

    if (tag->transfer_bytes_max && bytes > tag->transfer_bytes_max)
        bytes = tag->transfer_bytes_max / tag->block_bytes * tag->block_bytes;
    while (bytes && !twin_expressible(tag, &t->machine[at], bytes))
        bytes -= tag->block_bytes;
    return bytes;
}

/* --- the runs --- */

static uint64_t counted(void)
{
    return rig.dma.bytes_local + rig.dma.bytes_foreign + rig.dma.bytes_bounced_reach +
           rig.dma.bytes_bounced_gap + rig.dma.bytes_bounced_line + rig.dma.bytes_bounced_flush;
}

struct flight {
    struct dgm_dma_segment segments[SEGMENTS_MAX];
    struct dgm_dma_map map;
};

static struct transfer transfer;
static struct flight flights[MAPS];

/* The memory is coherent here, so a refusal at the end loses nothing. */
static void unmap(struct flight *f)
{
    const bool may_fail = refused_percent && rig.dma.flush && !f->map.coherent &&
                          f->map.direction == DGM_DMA_FROM_DEVICE;
    const int status = dgm_dma_unmap(&rig.dma, &f->map, true);

    check(status == DGM_OK || (may_fail && status == DGM_EIO));
}

/* Maps all of the transfer, several maps in flight, ending them in any order. */
static void run(const struct dgm_dma_tag *tag, enum dgm_dma_direction direction)
{
    const bool plain = tag->window_count == 0 && tag->mask == UINT64_MAX &&
                       tag->segment_bytes_max == 0 && tag->boundary == 0 && tag->alignment <= 1 &&
                       tag->space == DGM_DMA_MACHINE && tag->coherent;
    struct transfer *t = &transfer;
    unsigned flying = 0, in_vain = 0, whose = 0;
    uint32_t at = 0;

    while (at < t->bytes || flying) {
        const uint64_t before = counted();
        int bytes = DGM_EAGAIN;

        if (at < t->bytes && flying < MAPS) {
            struct flight *f = &flights[flying];

            struct dgm_bounce_share *share;
            const bool none_waited = !rig.bounce.queue;

            if (in_vain == 0 || unit_chance(30)) /* who waits mostly asks again */
                whose = (unsigned)unit_below(SHARES + 1);
            share = whose == SHARES ? NULL : &shares[whose];
            bytes = dgm_dma_map(
                &rig.dma,
                &(struct dgm_dma_transfer){tag, t->pieces, t->count, at, direction, share},
                f->segments, &f->map);
            check(bytes > 0 || bytes == DGM_EAGAIN);
            check(bytes > 0 || rig.bounce.free == 0 || !none_waited);
            /* Who waits is not held up by those who lost interest. */
            in_vain = bytes > 0 || flying ? 0 : in_vain + 1;
            check(in_vain < 4 * (SHARES + 1));
            check(counted() - before == (bytes > 0 ? (unsigned)bytes : 0));
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
        (void)dgm_reactor_turn(&rig.reactor); /* rounds of the line */
        if (flying && (bytes <= 0 || unit_chance(40))) {
            const unsigned i = (unsigned)unit_below(flying);

            unmap(&flights[i]);
            flights[i] = flights[--flying];
            flights[i].map.segments = flights[i].segments;
        }
    }
    for (uint32_t i = 0; i < t->bytes; i++)
        check(*t->memory[i] == t->want[i]);
}

static void trials(bool reaches_all, uint32_t unit)
{
    seed = unit_seed();
    blocks = unit == 512;
    for (trial = 0; trial < 2000; trial++) {
        struct dgm_dma_tag tag;

        if (trial % 100 == 0) {
            if (trial)
                rig_stop();
            start();
            dgm_hv_set_faults(&(struct dgm_hv_faults){.call = refuse});
        }
        tag = random_tag(reaches_all);
        rig.dma.flush = unit_chance(30) ? &flush : NULL;
        refused_percent = unit_chance(30) ? (unsigned)unit_below(100) : 0;
        random_transfer(&transfer, unit, tag.block_bytes);
        run(&tag, unit_chance(50) ? DGM_DMA_TO_DEVICE : DGM_DMA_FROM_DEVICE);
        if (trial % 10 == 0)
            rig_check_idle();
    }
    rig_stop();
}

static void devices_that_reach_everything(void **state)
{
    trials(true, 512);
}

static void narrow_devices(void **state)
{
    trials(false, 512);
}

/* As no disk has them, but the contract allows: any lengths and offsets whose sum is whole. */
static void pieces_of_any_length(void **state)
{
    trials(false, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_that_reach_everything),
        cmocka_unit_test(narrow_devices),
        cmocka_unit_test(pieces_of_any_length),
    };

    return cmocka_run_group_tests_name("dma twin", tests, NULL, NULL);
}
