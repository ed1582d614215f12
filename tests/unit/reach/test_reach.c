/* SPDX-License-Identifier: MIT */
/*
 * reach: every connection to a guest's frame, over the whole core and the simulated Xen. If these
 * fail, a device gets another guest's bytes or none, a guest's frame stays mapped after its
 * request, or a request waits for something that nobody gives back.
 */
#include "unit.h"

#include <pages/identity_table.h>

#include <dragoman/base/check.h>
#include <dragoman/core/core.h>
#include <dragoman/base/status.h>
#include <sim/hypervisor/hypervisor.h>

#define RAM_FIRST    0x40000u
#define RAM_FRAMES   1024u
#define SLOTS_FIRST  0x80000u
#define GUESTS       4 /* domids 1 to 3 */
#define GUEST_FRAMES 64
#define MANY         8

static struct dgm_reactor reactor;
static struct dgm_frames frames;
static struct dgm_core core;
static struct dgm_guest_account guests[GUESTS];
static struct dgm_reach *const reach = &core.reach;
static uint64_t now_ns;

/* --- what Xen is made to say --- */

/* Bit n: the n-th op of that kind from now on. */
static struct {
    uint64_t map_bad, unmap_bad, copy_bad, map_again, copy_again;
    uint64_t map_seen, unmap_seen, copy_seen;
    unsigned bad_percent, again_percent; /* of maps and copies, at random */
    unsigned unmap_percent;
} plan;

static uint64_t unmaps_refused;

static bool bit(uint64_t mask, uint64_t n)
{
    return n < 64 && (mask >> n & 1);
}

static int16_t by_plan(uint64_t bad, uint64_t again, uint64_t n)
{
    if (bit(bad, n) || (plan.bad_percent && unit_chance(plan.bad_percent)))
        return GNTST_general_error;
    if (bit(again, n) || (plan.again_percent && unit_chance(plan.again_percent)))
        return GNTST_eagain;
    return 0;
}

static int16_t on_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return by_plan(plan.map_bad, plan.map_again, plan.map_seen++);
}

static int16_t on_copy(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    return by_plan(plan.copy_bad, plan.copy_again, plan.copy_seen++);
}

static int16_t on_unmap(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    if (!bit(plan.unmap_bad, plan.unmap_seen++) &&
        !(plan.unmap_percent && unit_chance(plan.unmap_percent)))
        return 0;
    unmaps_refused++;
    return GNTST_general_error;
}

/* --- the machine --- */

struct options {
    uint64_t slots;                     /* 0: 256 */
    uint64_t quota;                     /* slots of a guest; 0: all */
    uint16_t copies, persistent_frames; /* 0: 64 */
    uint64_t copies_quota;              /* 0: all */
    uint16_t identities;                /* 0: 64 */
    struct dgm_gfn_range place;         /* empty: all of the guests' machine memory */
    bool only_map;
};

static uint16_t or_64(uint16_t count)
{
    return count ? count : 64;
}

static void start(struct options options)
{
    const struct dgm_gfn_range ram = {dgm_gfn(RAM_FIRST), RAM_FRAMES};
    const struct dgm_ram_bank bank = {ram.first, dgm_mfn(RAM_FIRST), RAM_FRAMES, NULL};
    const struct dgm_gfn_range anywhere = {dgm_gfn(0x100000), 0x4000000};
    const uint64_t slots = options.slots ? options.slots : 256;
    const struct dgm_window window =
        dgm_window((struct dgm_gfn_range){dgm_gfn(SLOTS_FIRST), slots});

    memset(&plan, 0, sizeof plan);
    unmaps_refused = 0;
    now_ns = 1000;
    dgm_sim_set_now_ns(now_ns);
    dgm_hv_start(ram.first, ram.count, dgm_mfn(RAM_FIRST));
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = on_map, .unmap = on_unmap, .copy = on_copy});
    dgm_reactor_init(&reactor);
    dgm_frames_init(&frames);
    assert_int_equal(dgm_frames_add(&frames, ram), DGM_OK);
    assert_int_equal(
        dgm_core_init(
            &core,
            &(struct dgm_core_config){
                .reactor = &reactor,
                .frames = &frames,
                .banks = &bank,
                .bank_count = 1,
                .window = &window,
                .bounce_frames = 8,
                .copy_frames = options.only_map ? 0 : or_64(options.copies),
                .persistent_frames = options.only_map ? 0 : or_64(options.persistent_frames),
                .identity_frames = options.only_map ? 0 : or_64(options.identities),
                .places = options.place.count ? &options.place : &anywhere,
                .place_count = 1,
            }),
        DGM_OK);
    for (domid_t domid = 1; domid < GUESTS; domid++) {
        dgm_hv_domain_add(domid, GUEST_FRAMES);
        dgm_guest_account_init(
            &guests[domid], domid,
            &(struct dgm_guest_limits){.slots = options.quota ? options.quota : slots,
                                       .copy_buffers =
                                           options.copies_quota ? options.copies_quota : 64});
    }
}

/* Lets time pass up to a moment. */
static void run_to(uint64_t ns)
{
    now_ns = ns;
    dgm_sim_set_now_ns(ns);
    while (dgm_reactor_turn(&reactor))
        ;
}

/* Whatever Xen was asked again for is settled. */
static void settle(void)
{
    while (dgm_reactor_deadline_ns(&reactor) != UINT64_MAX)
        run_to(dgm_reactor_deadline_ns(&reactor));
}

/* Nothing is held but what Xen refused to unmap: then `lost_slots` slots of it. */
static void expect_nothing_held(void)
{
    const struct dgm_hv_stats *stats = dgm_hv_stats();
    uint64_t used = 0, lost = 0;

    dgm_core_check(&core);
    for (domid_t domid = 1; domid < GUESTS; domid++) {
        used += guests[domid].slots.used;
        assert_int_equal(guests[domid].copy_buffers.used, 0);
    }
    for (uint16_t i = 0; core.identity && i < core.identity->total; i++)
        lost += core.identity->entries[i].state == DGM_IDENTITY_LOST;
    assert_int_equal(core.grant->unmap_refused, unmaps_refused);
    assert_int_equal(core.cache.retired + lost, unmaps_refused);
    assert_int_equal(core.cache.retired, used); /* whose guest made us lose it has one less */
    assert_int_equal(core.grant->live, unmaps_refused);
    assert_int_equal(stats->live, unmaps_refused);
    assert_int_equal(stats->stale, 0);
    assert_int_equal(stats->over, 0);
    assert_int_equal(core.cache.taken, 0);
    assert_int_equal(core.cache.reserved, 0);
    assert_int_equal(core.p2m.live, 0);
    assert_int_equal(core.copy_buffers ? core.copy_buffers->reserved : 0, 0);
    assert_int_equal(reach->waiters.count, 0);
    if (core.copy_buffers)
        assert_int_equal(core.copy_buffers->free, core.copy_buffers->total);
    if (core.identity)
        assert_int_equal(core.identity->used, lost);
}

static void stop(void)
{
    settle();
    expect_nothing_held();
    dgm_hv_stop();
}

/* --- a request's frames --- */

static struct dgm_reach_connection way_of(domid_t domid, enum dgm_reach_mode mode)
{
    struct dgm_reach_connection connection;

    dgm_reach_connection_init(&connection, reach, &guests[domid], mode, 0);
    return connection; /* one that keeps nothing may move */
}

static void end_connection(struct dgm_reach_connection *connection)
{
    dgm_reach_connection_evict(connection);
    dgm_reach_connection_end(connection);
}

static void add_whole(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                      grant_ref_t ref, enum dgm_reach_direction direction)
{
    dgm_reach_add(connection, frame, &(struct dgm_reach_piece){ref, 0, DGM_FRAME_BYTES, direction});
}

static void begin(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                  grant_ref_t ref, enum dgm_reach_direction direction)
{
    assert_int_equal(dgm_reach_reserve(connection, 1), DGM_OK);
    add_whole(connection, frame, ref, direction);
}

static void reach_one(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                      grant_ref_t ref, enum dgm_reach_direction direction)
{
    begin(connection, frame, ref, direction);
    dgm_reach_commit(reach);
}

static void release_one(struct dgm_reach_frame *frame, enum dgm_reach_release release)
{
    dgm_reach_release_add(frame, release);
    dgm_reach_release_commit(reach);
}

/* What a device finds at the frame, of which it is told by p2m. */
static uint8_t *device_at(const struct dgm_reach_frame *frame, bool write)
{
    const dgm_mfn_t mfn = dgm_p2m_lookup(&core.p2m, frame->foreign.gfn);

    assert_int_equal(frame->foreign.status, DGM_OK);
    assert_false(dgm_mfn_is_none(mfn));
    assert_true(dgm_hv_may_dma(mfn, write));
    return dgm_hv_machine(mfn);
}

static uint8_t *guest_page(domid_t domid, uint64_t gfn)
{
    return dgm_hv_page(domid, gfn);
}

static void fill(domid_t domid, uint64_t gfn, uint8_t salt)
{
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        guest_page(domid, gfn)[i] = (uint8_t)(i * 7 + (i >> 8) + gfn * 31 + domid * 101 + salt);
}

static const enum dgm_reach_held how_of[] = {[DGM_REACH_MODE_MAP] = DGM_REACH_HELD_MAPPED,
                                             [DGM_REACH_MODE_COPY] = DGM_REACH_HELD_COPIED,
                                             [DGM_REACH_MODE_IDENTITY] = DGM_REACH_HELD_IDENTITY};

/* --- bytes arrive --- */

static void bytes_arrive(struct dgm_reach_connection *connection, enum dgm_reach_held how)
{
    static const uint16_t parts[][2] = {{0, 4096}, {512, 512}, {3584, 512}, {0, 512}, {8, 4000}};
    struct dgm_reach_frame frame = {0};
    uint8_t before[DGM_FRAME_BYTES];

    for (unsigned n = 0; n < sizeof parts / sizeof parts[0]; n++) {
        const uint16_t offset = parts[n][0], bytes = parts[n][1];

        /* from the guest, by a reference that is good for reading only if that will do */
        grant_ref_t ref = dgm_hv_grant_any(1, 5 + n, !connection->persistent);
        fill(1, 5 + n, (uint8_t)n);
        assert_int_equal(dgm_reach_reserve(connection, 1), DGM_OK);
        dgm_reach_add(connection, &frame,
                      &(struct dgm_reach_piece){ref, offset, bytes, DGM_REACH_FROM_GUEST});
        dgm_reach_commit(reach);
        assert_int_equal(frame.held, how);
        assert_memory_equal(device_at(&frame, false) + offset, guest_page(1, 5 + n) + offset,
                            bytes);
        assert_memory_equal((uint8_t *)dgm_env_va(frame.foreign.gfn) + offset,
                            guest_page(1, 5 + n) + offset, bytes);
        release_one(&frame, DGM_REACH_DISCARD);
        assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
        assert_int_equal(frame.foreign.status, DGM_OK);
        dgm_reach_connection_evict(connection);
        assert_true(dgm_hv_grant_end(1, ref));

        /* to the guest */
        ref = dgm_hv_grant_any(1, 20 + n, false);
        fill(1, 20 + n, (uint8_t)n);
        memcpy(before, guest_page(1, 20 + n), sizeof before);
        assert_int_equal(dgm_reach_reserve(connection, 1), DGM_OK);
        dgm_reach_add(connection, &frame,
                      &(struct dgm_reach_piece){ref, offset, bytes, DGM_REACH_TO_GUEST});
        dgm_reach_commit(reach);
        assert_int_equal(frame.held, how);
        memset(device_at(&frame, true) + offset, 0xc0 + (int)n, bytes);
        memset(before + offset, 0xc0 + (int)n, bytes);
        release_one(&frame, DGM_REACH_DELIVER);
        assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
        assert_int_equal(frame.foreign.status, DGM_OK);
        assert_memory_equal(before, guest_page(1, 20 + n), sizeof before);
        dgm_reach_connection_evict(connection);
        assert_true(dgm_hv_grant_end(1, ref));
    }
}

static void bytes_arrive_by_every_path(void **state)
{
    start((struct options){0});
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        struct dgm_reach_connection connection = way_of(1, mode);

        bytes_arrive(&connection, how_of[mode]);
        expect_nothing_held();
    }
    struct dgm_reach_connection keeping;

    dgm_reach_connection_init(&keeping, reach, &guests[1], DGM_REACH_MODE_MAP, 16);
    bytes_arrive(&keeping, DGM_REACH_HELD_PERSISTENT);
    stop();
}

/* One hypercall for each connection in use; identity: three. */
static void hypercalls_are_few(void **state)
{
    static const unsigned to_reach[] = {1, 1, 3}, to_release[] = {1, 1, 1};

    start((struct options){0});
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        struct dgm_reach_connection connection = way_of(2, mode);
        struct dgm_reach_frame many[32] = {0};
        uint64_t calls = dgm_hv_stats()->calls;

        for (unsigned i = 0; i < 32; i++)
            begin(&connection, &many[i], dgm_hv_grant_any(2, i, mode == DGM_REACH_MODE_MAP),
                  mode != DGM_REACH_MODE_IDENTITY ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST);
        dgm_reach_commit(reach);
        assert_int_equal(dgm_hv_stats()->calls - calls, to_reach[mode]);
        calls = dgm_hv_stats()->calls;
        for (unsigned i = 0; i < 32; i++) {
            assert_int_equal(many[i].foreign.status, DGM_OK);
            if (mode == DGM_REACH_MODE_COPY) /* all of them deliver */
                many[i].piece.direction = DGM_REACH_TO_GUEST;
            dgm_reach_release_add(&many[i], DGM_REACH_DELIVER);
        }
        dgm_reach_release_commit(reach);
        if (mode != DGM_REACH_MODE_COPY)
            assert_int_equal(dgm_hv_stats()->calls - calls, to_release[mode]);
    }
    dgm_reach_commit(reach); /* nothing to do: no hypercall */
    const uint64_t calls = dgm_hv_stats()->calls;

    dgm_reach_commit(reach);
    dgm_reach_release_commit(reach);
    assert_int_equal(dgm_hv_stats()->calls, calls);
    stop();
}

/* --- Xen refuses --- */

/* `count` frames of guest 1, half read and half written, reached and released. */
static void one_round(enum dgm_reach_mode mode, unsigned count, unsigned *reached)
{
    struct dgm_reach_connection connection = way_of(1, mode);
    struct dgm_reach_frame many[MANY] = {0};

    *reached = 0;
    assert_int_equal(dgm_reach_reserve(&connection, count), DGM_OK);
    for (unsigned i = 0; i < count; i++) {
        fill(1, i, 9);
        add_whole(&connection, &many[i], 8 + i,
                  i % 2 == 0 ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST);
    }
    dgm_reach_commit(reach);
    for (unsigned i = 0; i < count; i++) {
        assert_true(many[i].foreign.status == DGM_OK || many[i].foreign.status == DGM_EPERM);
        if (many[i].foreign.status != DGM_OK)
            continue;
        ++*reached;
        if (i % 2 == 0)
            assert_memory_equal(device_at(&many[i], false), guest_page(1, i), DGM_FRAME_BYTES);
        else
            memset(device_at(&many[i], true), 0x3c, DGM_FRAME_BYTES);
    }
    for (unsigned i = 0; i < count; i++)
        dgm_reach_release_add(&many[i], DGM_REACH_DELIVER);
    dgm_reach_release_commit(reach);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(many[i].held, DGM_REACH_NOT_HELD);
        assert_true(many[i].foreign.status == DGM_OK || many[i].foreign.status == DGM_EPERM);
        if (i % 2 && many[i].foreign.status == DGM_OK)
            assert_int_equal(guest_page(1, i)[77], 0x3c);
    }
}

static void grant_all(domid_t domid)
{
    for (unsigned i = 0; i < GUEST_FRAMES; i++)
        dgm_hv_grant(domid, 8 + i, i, false);
}

static void any_maps_are_refused(void **state)
{
    unsigned reached;

    start((struct options){0});
    grant_all(1);
    for (uint64_t mask = 0; mask < 32; mask++) {
        memset(&plan, 0, sizeof plan);
        plan.map_bad = mask;
        one_round(DGM_REACH_MODE_MAP, 5, &reached);
        assert_int_equal(reached, 5 - __builtin_popcountll(mask));
        expect_nothing_held();
    }
    stop();
}

static void any_copies_are_refused(void **state)
{
    unsigned reached;

    start((struct options){0});
    grant_all(1);
    for (uint64_t mask = 0; mask < 64; mask++) { /* three in, then up to three out */
        memset(&plan, 0, sizeof plan);
        plan.copy_bad = mask;
        one_round(DGM_REACH_MODE_COPY, 6, &reached);
        assert_int_equal(reached, 6 - __builtin_popcountll(mask & 7));
        expect_nothing_held();
    }
    stop();
}

/* The first mapping refused: no frame. The second: the frame stays at its slot. */
static void any_maps_of_identity_are_refused(void **state)
{
    unsigned reached;

    start((struct options){0});
    grant_all(1);
    for (uint64_t mask = 0; mask < 256; mask++) {
        const uint64_t at_slot = core.identity->at_slot, mapped = core.identity->mapped;
        const unsigned there = 4 - (unsigned)__builtin_popcountll(mask & 15);
        const uint64_t second = mask >> 4 & ((1u << there) - 1);

        memset(&plan, 0, sizeof plan);
        plan.map_bad = (mask & 15) | second << 4;
        one_round(DGM_REACH_MODE_IDENTITY, 4, &reached);
        assert_int_equal(reached, there);
        assert_int_equal(core.identity->at_slot - at_slot, __builtin_popcountll(second));
        assert_int_equal(core.identity->mapped - mapped,
                         there - (unsigned)__builtin_popcountll(second));
        expect_nothing_held();
    }
    stop();
}

/* What cannot be unmapped is lost, and nothing else: slots retire, entries are never used again. */
static void any_unmaps_are_refused(void **state)
{
    unsigned reached;

    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        for (uint64_t mask = 1; mask < (mode == DGM_REACH_MODE_MAP ? 8 : 64); mask++) {
            if (mode == DGM_REACH_MODE_COPY)
                continue;
            start((struct options){.slots = 64});
            grant_all(1);
            plan.unmap_bad = mask;
            one_round(mode, 3, &reached);
            assert_int_equal(reached, 3);
            assert_int_equal(unmaps_refused, __builtin_popcountll(mask));
            expect_nothing_held();
            one_round(mode, 3, &reached); /* and it goes on */
            assert_int_equal(reached, 3);
            stop();
        }
    }
}

/* --- Xen wants to be asked again --- */

static unsigned woken;

static void wake(struct dgm_task *task)
{
    woken++;
}

static void asked_again_until_it_is_there(void **state)
{
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        for (unsigned times = 1; times <= 12; times++) {
            struct dgm_task task = {.run = wake};
            struct dgm_reach_frame frame = {0}, other = {0};
            uint64_t pause = 0, asked_ns;

            start((struct options){0});
            grant_all(1);
            struct dgm_reach_connection connection = way_of(1, mode);

            fill(1, 3, 1);
            plan.map_again = plan.copy_again = (1u << times) - 1;
            reach_one(&connection, &frame, 8 + 3, DGM_REACH_FROM_GUEST);
            reach_one(&connection, &other, 8 + 4,
                      DGM_REACH_FROM_GUEST); /* is not held up, nor retries the first */
            plan.map_again = plan.copy_again = 0;
            for (unsigned i = 1; i <= 12 && frame.foreign.status == DGM_EAGAIN; i++) {
                plan.map_again = plan.copy_again = i < times;
                plan.map_seen = plan.copy_seen = 0;
                dgm_waiters_add(&reach->waiters, &task);
                woken = 0;
                asked_ns = now_ns;
                run_to(dgm_reactor_deadline_ns(&reactor) - 1);
                assert_int_equal(woken, 0);
                run_to(dgm_reactor_deadline_ns(&reactor));
                assert_int_equal(woken, 1);
                assert_int_equal(reach->waiters.count, 0);
                if (pause)
                    assert_int_equal(now_ns - asked_ns,
                                     pause * 2 < 256000000 ? pause * 2 : 256000000);
                pause = now_ns - asked_ns;
            }
            assert_int_equal(frame.foreign.status, times < 12 ? DGM_OK : DGM_EPERM);
            if (times < 12)
                assert_memory_equal(device_at(&frame, false), guest_page(1, 3), DGM_FRAME_BYTES);
            assert_int_equal(dgm_reactor_deadline_ns(&reactor), UINT64_MAX);
            settle();
            release_one(&frame, DGM_REACH_DISCARD);
            release_one(&other, DGM_REACH_DISCARD);
            stop();
        }
    }
}

/* The second mapping of identity is asked again too; meanwhile another comes to share it. */
static void identity_asked_again(void **state)
{
    for (unsigned end = 0; end < 2; end++) {
        struct dgm_reach_frame one = {0}, two = {0};

        start((struct options){0});
        grant_all(1);
        struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_IDENTITY);

        plan.map_again = 2;
        reach_one(&connection, &one, 8, DGM_REACH_TO_GUEST);
        assert_int_equal(one.foreign.status, DGM_EAGAIN);
        reach_one(&connection, &two, 8, DGM_REACH_TO_GUEST);
        assert_int_equal(two.foreign.status, DGM_EAGAIN);
        plan.map_seen = 0;
        plan.map_again = 0;
        plan.map_bad = end;
        settle();
        assert_int_equal(one.held, end ? DGM_REACH_HELD_MAPPED : DGM_REACH_HELD_IDENTITY);
        assert_int_equal(two.held, end ? DGM_REACH_HELD_MAPPED : DGM_REACH_HELD_IDENTITY);
        device_at(&one, true)[0] = 5;
        assert_int_equal(device_at(&two, true)[0], 5);
        release_one(&two, DGM_REACH_DELIVER);
        assert_int_equal(device_at(&one, true)[0], 5);
        release_one(&one, DGM_REACH_DELIVER);
        stop();
    }
}

/* A delivery that Xen wants to be asked for again ends well, or is refused. */
static void deliveries_asked_again(void **state)
{
    for (unsigned times = 1; times <= 12; times++) {
        struct dgm_reach_frame frame = {0};

        start((struct options){0});
        grant_all(1);
        struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_COPY);

        fill(1, 0, 0);
        reach_one(&connection, &frame, 8, DGM_REACH_TO_GUEST);
        memset(device_at(&frame, true), 0x77, DGM_FRAME_BYTES);
        plan.copy_again = (1u << times) - 1;
        release_one(&frame, DGM_REACH_DELIVER);
        assert_int_equal(frame.held, DGM_REACH_HELD_COPIED);
        assert_int_equal(frame.foreign.status, DGM_EAGAIN);
        settle();
        assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
        assert_int_equal(frame.foreign.status, times < 12 ? DGM_OK : DGM_EPERM);
        if (times < 12)
            assert_int_equal(guest_page(1, 0)[4000], 0x77);
        stop();
    }
}

/* After a quiet time the pauses start small again. */
static void pauses_start_anew(void **state)
{
    struct dgm_reach_frame frame = {0};

    start((struct options){0});
    grant_all(1);
    struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_MAP);

    for (unsigned round = 0; round < 3; round++) {
        memset(&plan, 0, sizeof plan);
        plan.map_again = 7;
        reach_one(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
        assert_int_equal(dgm_reactor_deadline_ns(&reactor) - now_ns, 1000000);
        settle();
        assert_int_equal(frame.foreign.status, DGM_OK);
        release_one(&frame, DGM_REACH_DISCARD);
    }
    stop();
}

/* --- identity --- */

static uint64_t mfn_of(uint64_t gfn)
{
    return dgm_hv_mfn(1, gfn).n;
}

static void identity_is_shared(void **state)
{
    for (unsigned order = 0; order < 2; order++) {
        for (unsigned together = 0; together < 2; together++) {
            struct dgm_reach_frame two[2] = {0};

            start((struct options){0});
            grant_all(1);
            struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_IDENTITY);

            for (unsigned i = 0; i < 2; i++) {
                begin(&connection, &two[i], 8 + 7, DGM_REACH_TO_GUEST);
                if (!together)
                    dgm_reach_commit(reach);
            }
            dgm_reach_commit(reach);
            for (unsigned i = 0; i < 2; i++) {
                assert_int_equal(two[i].held, DGM_REACH_HELD_IDENTITY);
                assert_int_equal(two[i].foreign.gfn.n, mfn_of(7));
            }
            assert_int_equal(core.identity->mapped, 1);
            assert_int_equal(core.identity->shared, 1);
            assert_int_equal(dgm_hv_stats()->live, 1);
            release_one(&two[order], DGM_REACH_DELIVER);
            device_at(&two[1 - order], true)[9] = 9; /* the other one's is still there */
            assert_int_equal(((uint8_t *)dgm_env_va(two[1 - order].foreign.gfn))[9], 9);
            release_one(&two[1 - order], DGM_REACH_DELIVER);
            assert_true(dgm_mfn_is_none(dgm_p2m_lookup(&core.p2m, dgm_gfn(mfn_of(7)))));
            assert_true(dgm_hv_grant_end(1, 8 + 7));
            stop();
        }
    }
}

/* By another reference, or with other rights, the frame is reached at a slot. */
static void identity_is_shared_only_by_the_same(void **state)
{
    static const struct {
        grant_ref_t ref;
        enum dgm_reach_direction direction;
    } others[] = {
        {4000, DGM_REACH_TO_GUEST}, {8 + 7, DGM_REACH_FROM_GUEST}, {4000, DGM_REACH_FROM_GUEST}};

    for (unsigned n = 0; n < 3; n++) {
        for (unsigned order = 0; order < 2; order++) {
            for (unsigned together = 0; together < 2; together++) {
                struct dgm_reach_frame two[2] = {0};

                start((struct options){0});
                grant_all(1);
                dgm_hv_grant(1, 4000, 7, false);
                struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_IDENTITY);

                begin(&connection, &two[0], 8 + 7, DGM_REACH_TO_GUEST);
                if (!together)
                    dgm_reach_commit(reach);
                begin(&connection, &two[1], others[n].ref, others[n].direction);
                dgm_reach_commit(reach);
                assert_int_equal((two[0].held == DGM_REACH_HELD_IDENTITY) +
                                     (two[1].held == DGM_REACH_HELD_IDENTITY),
                                 1);
                assert_int_equal(core.identity->at_slot, 1);
                assert_int_equal(core.identity->shared, 0);
                release_one(&two[order], DGM_REACH_DISCARD);
                if (order == 1) /* the first may be written */
                    device_at(&two[0], true)[9] = 9;
                else
                    device_at(&two[1], others[n].direction == DGM_REACH_TO_GUEST);
                release_one(&two[1 - order], DGM_REACH_DISCARD);
                stop();
            }
        }
    }
}

/* A write by the CPU through a read-only mapping would end the test: both are as they should be. */
static void identity_has_the_rights_that_were_asked_for(void **state)
{
    struct dgm_reach_frame frame = {0};

    start((struct options){0});
    dgm_hv_grant(1, 8, 0, true);
    dgm_hv_grant(1, 9, 1, false);
    struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_IDENTITY);

    reach_one(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.held, DGM_REACH_HELD_IDENTITY);
    assert_true(dgm_hv_may_dma(dgm_hv_mfn(1, 0), false));
    assert_false(dgm_hv_may_dma(dgm_hv_mfn(1, 0), true));
    release_one(&frame, DGM_REACH_DISCARD);
    reach_one(&connection, &frame, 8, DGM_REACH_TO_GUEST); /* granted read-only */
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    release_one(&frame, DGM_REACH_DELIVER);
    reach_one(&connection, &frame, 9, DGM_REACH_TO_GUEST);
    assert_int_equal(frame.held, DGM_REACH_HELD_IDENTITY);
    *(uint8_t *)dgm_env_va(frame.foreign.gfn) = 1;
    release_one(&frame, DGM_REACH_DELIVER);
    stop();
}

static void some_frames_cannot_be_at_their_number(void **state)
{
    const struct dgm_gfn_range place = {dgm_gfn(SLOTS_FIRST - 16), 0x100000}; /* over the window */
    static const struct {
        uint64_t mfn;
        enum dgm_reach_held held;
    } where[] = {
        {SLOTS_FIRST - 17, DGM_REACH_HELD_MAPPED},  {SLOTS_FIRST - 16, DGM_REACH_HELD_IDENTITY},
        {SLOTS_FIRST - 1, DGM_REACH_HELD_IDENTITY}, {SLOTS_FIRST, DGM_REACH_HELD_MAPPED},
        {SLOTS_FIRST + 255, DGM_REACH_HELD_MAPPED}, {SLOTS_FIRST + 256, DGM_REACH_HELD_IDENTITY},
        {0x90000000, DGM_REACH_HELD_MAPPED}};

    start((struct options){.place = place});
    grant_all(1);
    struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_IDENTITY);

    for (unsigned i = 0; i < sizeof where / sizeof where[0]; i++) {
        struct dgm_reach_frame frame = {0};

        dgm_hv_set_mfn(1, i, dgm_mfn(where[i].mfn));
        reach_one(&connection, &frame, 8 + i, DGM_REACH_TO_GUEST);
        assert_int_equal(frame.held, where[i].held);
        device_at(&frame, true)[1] = 7;
        assert_int_equal(guest_page(1, i)[1], 7);
        release_one(&frame, DGM_REACH_DELIVER);
    }
    stop();
}

static void a_full_table_leaves_frames_at_their_slots(void **state)
{
    struct dgm_reach_frame many[MANY] = {0};

    start((struct options){.identities = 3});
    grant_all(1);
    struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_IDENTITY);

    for (unsigned i = 0; i < MANY; i++)
        begin(&connection, &many[i], 8 + i, DGM_REACH_TO_GUEST);
    dgm_reach_commit(reach);
    assert_int_equal(core.identity->mapped, 3);
    assert_int_equal(core.identity->at_slot, MANY - 3);
    for (unsigned i = 0; i < MANY; i++)
        device_at(&many[i], true);
    for (unsigned i = 0; i < MANY; i++)
        dgm_reach_release_add(&many[i], DGM_REACH_DELIVER);
    dgm_reach_release_commit(reach);
    stop();
}

static void a_lost_place_is_never_used_again(void **state)
{
    struct dgm_reach_frame frame = {0};

    start((struct options){0});
    grant_all(1);
    struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_IDENTITY);

    reach_one(&connection, &frame, 8 + 5, DGM_REACH_TO_GUEST);
    plan.unmap_seen = 0;
    plan.unmap_bad = 1;
    release_one(&frame, DGM_REACH_DELIVER);
    assert_int_equal(dgm_identity_find(core.identity, dgm_gfn(mfn_of(5)))->state,
                     DGM_IDENTITY_LOST);
    for (unsigned i = 0; i < 3; i++) {
        reach_one(&connection, &frame, 8 + 5, DGM_REACH_TO_GUEST);
        assert_int_equal(frame.held, DGM_REACH_HELD_MAPPED);
        device_at(&frame, true);
        release_one(&frame, DGM_REACH_DELIVER);
    }
    stop();
}

/* Two guests' frames with the same reference are two frames. */
static void guests_do_not_share(void **state)
{
    struct dgm_reach_frame a = {0}, b = {0};

    start((struct options){0});
    grant_all(1);
    grant_all(2);
    struct dgm_reach_connection one = way_of(1, DGM_REACH_MODE_IDENTITY),
                                two = way_of(2, DGM_REACH_MODE_IDENTITY);

    fill(1, 0, 0);
    fill(2, 0, 0);
    begin(&one, &a, 8, DGM_REACH_FROM_GUEST);
    begin(&two, &b, 8, DGM_REACH_FROM_GUEST);
    dgm_reach_commit(reach);
    assert_memory_equal(device_at(&a, false), guest_page(1, 0), DGM_FRAME_BYTES);
    assert_memory_equal(device_at(&b, false), guest_page(2, 0), DGM_FRAME_BYTES);
    assert_int_equal(core.identity->shared, 0);
    release_one(&a, DGM_REACH_DISCARD);
    release_one(&b, DGM_REACH_DISCARD);
    stop();
}

/* --- kept --- */

static void kept_frames_need_no_hypercall(void **state)
{
    struct dgm_reach_frame frame = {0};
    struct dgm_reach_connection connection;
    uint64_t calls;

    start((struct options){0});
    grant_all(1);
    dgm_reach_connection_init(&connection, reach, &guests[1], DGM_REACH_MODE_MAP, 4);
    reach_one(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.held, DGM_REACH_HELD_PERSISTENT);
    release_one(&frame, DGM_REACH_DISCARD);
    calls = dgm_hv_stats()->calls;
    for (unsigned i = 0; i < 5; i++) {
        /* read or written: it is mapped for both */
        reach_one(&connection, &frame, 8, i % 2 ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST);
        device_at(&frame, true)[1] = (uint8_t)i;
        assert_int_equal(guest_page(1, 0)[1], i);
        release_one(&frame, DGM_REACH_DELIVER);
    }
    assert_int_equal(dgm_hv_stats()->calls, calls);
    assert_int_equal(connection.owner.hits, 5);
    assert_int_equal(dgm_hv_stats()->live, 1);
    assert_int_equal(guests[1].slots.used, 1);
    end_connection(&connection);
    stop();
}

/* Beyond what may be kept, and one reference twice in a batch: mapped for that time only. */
static void not_everything_is_kept(void **state)
{
    struct dgm_reach_frame many[MANY] = {0};
    struct dgm_reach_connection connection;

    start((struct options){0});
    grant_all(1);
    dgm_reach_connection_init(&connection, reach, &guests[1], DGM_REACH_MODE_MAP, 4);
    for (unsigned i = 0; i < MANY; i++)
        begin(&connection, &many[i], 8 + i / 2, i % 3 ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST);
    dgm_reach_commit(reach);
    assert_int_equal(connection.owner.count, 4);
    for (unsigned i = 0; i < MANY; i++) {
        device_at(&many[i], true)[i] = (uint8_t)(i + 1);
        assert_int_equal(guest_page(1, i / 2)[i], i + 1);
    }
    for (unsigned i = 0; i < MANY; i++)
        dgm_reach_release_add(&many[i], DGM_REACH_DELIVER);
    dgm_reach_release_commit(reach);
    assert_int_equal(dgm_hv_stats()->live, 4);
    end_connection(&connection);
    stop();
}

/* Where slots are short what is idle goes, the longest idle first, and what is in use stays. */
static void what_is_idle_makes_room(void **state)
{
    struct dgm_reach_frame used[2] = {0}, many[MANY] = {0}, frame = {0};
    struct dgm_reach_connection connection;

    start((struct options){.slots = 8, .persistent_frames = 4});
    grant_all(1);
    dgm_reach_connection_init(&connection, reach, &guests[1], DGM_REACH_MODE_MAP, 4);
    assert_int_equal(dgm_reach_reserve(&connection, 2), DGM_OK);
    for (unsigned i = 0; i < 2; i++)
        add_whole(&connection, &used[i], 8 + i, DGM_REACH_FROM_GUEST);
    for (unsigned i = 2; i < 4; i++)
        begin(&connection, &many[i], 8 + i, DGM_REACH_FROM_GUEST);
    dgm_reach_commit(reach);
    release_one(&many[2], DGM_REACH_DISCARD);
    release_one(&many[3], DGM_REACH_DISCARD);
    /* four are kept, two of them in use: four slots are free */
    assert_int_equal(connection.owner.idle, 2);
    assert_int_equal(dgm_reach_reserve(&connection, 4), DGM_OK);
    assert_int_equal(connection.owner.evictions, 0);
    dgm_reach_unreserve(&connection, 4);
    assert_int_equal(dgm_reach_reserve(&connection, 7), DGM_EDQUOT); /* and two make no seven */
    assert_int_equal(guests[1].slots.used, 2);
    assert_int_equal(connection.owner.evictions, 2);
    for (unsigned i = 0; i < 2; i++)
        device_at(&used[i], true);
    assert_int_equal(dgm_reach_reserve(&connection, 6), DGM_OK);
    dgm_reach_unreserve(&connection, 6);
    for (unsigned i = 0; i < 2; i++)
        release_one(&used[i], DGM_REACH_DISCARD);
    reach_one(&connection, &frame, 8, DGM_REACH_FROM_GUEST); /* 9 is idle longest now */
    release_one(&frame, DGM_REACH_DISCARD);
    assert_int_equal(dgm_reach_reserve(&connection, 7), DGM_OK);
    dgm_reach_unreserve(&connection, 7);
    assert_true(dgm_hv_grant_end(1, 9));
    end_connection(&connection);
    stop();
}

/* One of a guest's disks does not starve for what another keeps and does not use. */
static void a_guests_other_way_makes_room(void **state)
{
    struct dgm_reach_frame many[MANY] = {0}, frame = {0};
    struct dgm_reach_connection keeps, wants;

    start((struct options){.quota = 6});
    grant_all(1);
    dgm_reach_connection_init(&keeps, reach, &guests[1], DGM_REACH_MODE_MAP, 6);
    dgm_reach_connection_init(&wants, reach, &guests[1], DGM_REACH_MODE_MAP, 6);
    for (unsigned i = 0; i < 6; i++)
        begin(&keeps, &many[i], 8 + i, DGM_REACH_FROM_GUEST);
    dgm_reach_commit(reach);
    assert_int_equal(dgm_reach_reserve(&wants, 1), DGM_EDQUOT); /* all are in use */
    for (unsigned i = 0; i < 6; i++)
        dgm_reach_release_add(&many[i], DGM_REACH_DISCARD);
    dgm_reach_release_commit(reach);
    assert_int_equal(dgm_reach_reserve(&wants, 2), DGM_OK);
    add_whole(&wants, &frame, 8, DGM_REACH_FROM_GUEST);
    dgm_reach_unreserve(&wants, 1);
    dgm_reach_commit(reach);
    device_at(&frame, true);
    release_one(&frame, DGM_REACH_DISCARD);
    end_connection(&wants);
    end_connection(&keeps);
    stop();
}

static void a_refused_frame_is_not_kept(void **state)
{
    struct dgm_reach_frame frame = {0};
    struct dgm_reach_connection connection;

    start((struct options){0});
    dgm_hv_grant(1, 8, 0, true); /* a frontend that reuses its grants makes all of them writable */
    dgm_reach_connection_init(&connection, reach, &guests[1], DGM_REACH_MODE_MAP, 4);
    reach_one(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    release_one(&frame, DGM_REACH_DISCARD);
    reach_one(&connection, &frame, 99, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    release_one(&frame, DGM_REACH_DISCARD);
    assert_int_equal(connection.owner.count, 0);
    stop();
}

/* --- copy --- */

/* What the device leaves unwritten is nobody's old bytes. */
static void a_buffer_is_cleared(void **state)
{
    struct dgm_reach_frame frame = {0};

    start((struct options){.copies = 1});
    grant_all(1);
    grant_all(2);
    struct dgm_reach_connection one = way_of(1, DGM_REACH_MODE_COPY),
                                two = way_of(2, DGM_REACH_MODE_COPY);

    memset(guest_page(1, 0), 's', DGM_FRAME_BYTES); /* secret */
    memset(guest_page(2, 0), 'x', DGM_FRAME_BYTES);
    reach_one(&one, &frame, 8, DGM_REACH_FROM_GUEST);
    release_one(&frame, DGM_REACH_DISCARD);
    assert_int_equal(dgm_reach_reserve(&two, 1), DGM_OK);
    dgm_reach_add(&two, &frame, &(struct dgm_reach_piece){8, 1024, 2048, DGM_REACH_TO_GUEST});
    dgm_reach_commit(reach);
    memset(device_at(&frame, true) + 1024, 'd', 512); /* writes less than it was asked for */
    release_one(&frame, DGM_REACH_DELIVER);
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        assert_int_equal(guest_page(2, 0)[i], i < 1024 || i >= 3072 ? 'x' : (i < 1536 ? 'd' : 0));
    stop();
}

static void a_failed_read_delivers_nothing(void **state)
{
    struct dgm_reach_frame frame = {0};
    uint8_t before[DGM_FRAME_BYTES];

    start((struct options){0});
    grant_all(1);
    struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_COPY);

    fill(1, 0, 0);
    memcpy(before, guest_page(1, 0), sizeof before);
    reach_one(&connection, &frame, 8, DGM_REACH_TO_GUEST);
    memset(device_at(&frame, true), 0xee, DGM_FRAME_BYTES);
    release_one(&frame, DGM_REACH_DISCARD);
    assert_memory_equal(before, guest_page(1, 0), sizeof before);
    assert_int_equal(dgm_hv_stats()->copy_ops, 0);
    stop();
}

static void a_read_only_grant_is_not_written(void **state)
{
    struct dgm_reach_frame frame = {0};

    start((struct options){0});
    dgm_hv_grant(1, 8, 0, true);
    struct dgm_reach_connection connection = way_of(1, DGM_REACH_MODE_COPY);

    fill(1, 0, 0);
    reach_one(&connection, &frame, 8, DGM_REACH_TO_GUEST);
    memset(device_at(&frame, true), 0xee, DGM_FRAME_BYTES);
    release_one(&frame, DGM_REACH_DELIVER);
    assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    assert_int_not_equal(guest_page(1, 0)[17], 0xee);
    stop();
}

/* --- reserving --- */

static void all_or_nothing(void **state)
{
    start((struct options){.slots = 16, .copies = 16, .quota = 12, .copies_quota = 12});
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        struct dgm_reach_connection one = way_of(1, mode), two = way_of(2, mode);
        struct dgm_quota *quota =
            mode == DGM_REACH_MODE_COPY ? &guests[1].copy_buffers : &guests[1].slots;

        assert_int_equal(dgm_reach_reserve(&one, 0), DGM_OK);
        assert_int_equal(dgm_reach_reserve(&one, 13), DGM_EDQUOT);
        assert_int_equal(quota->used, 0);
        assert_int_equal(dgm_reach_reserve(&one, 12), DGM_OK);
        assert_int_equal(quota->used, 12);
        assert_int_equal(dgm_reach_reserve(&one, 1), DGM_EDQUOT);
        /* Too little for both reasons: it is its own share that it waits for, and in nobody's
         * connection. */
        assert_int_equal(dgm_reach_reserve(&one, 5), DGM_EDQUOT);
        assert_int_equal(dgm_reach_reserve(&two, 5), DGM_EAGAIN);
        assert_int_equal(dgm_reach_reserve(&two, 4), DGM_OK);
        assert_int_equal(dgm_reach_reserve(&two, 1), DGM_EAGAIN);
        dgm_reach_unreserve(&one, 1);
        assert_int_equal(dgm_reach_reserve(&two, 2), DGM_EAGAIN);
        assert_int_equal(dgm_reach_reserve(&two, 1), DGM_OK);
        dgm_reach_unreserve(&two, 5);
        dgm_reach_unreserve(&one, 11);
        assert_true(quota->refusals >= 3);
        assert_int_equal(quota->used_max, 12);
        expect_nothing_held();
    }
    stop();
}

/* Who asks for that many gets it, when he waits for no one but himself; and several fit. */
static void the_most_always_fits(void **state)
{
    static const uint64_t quotas[][2] = {{24, 64}, {64, 24}, {48, 48}, {256, 64}};

    for (unsigned n = 0; n < 4; n++) {
        for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_AUTO; mode++) {
            for (unsigned cheap = 0; cheap < 2; cheap++) {
                struct dgm_reach_connection connection;
                uint64_t most;

                start((struct options){.quota = quotas[n][0], .copies_quota = quotas[n][1]});
                most = dgm_reach_request_frames_max(reach, &guests[1], mode);
                assert_true(most > 0);
                dgm_reach_set_costs(reach, &(struct dgm_reach_costs){.map = 10 * cheap, .copy = 5});
                connection = way_of(1, mode);
                assert_int_equal(dgm_reach_reserve(&connection, (uint32_t)most), DGM_OK);
                assert_int_equal(dgm_reach_reserve(&connection, (uint32_t)most), DGM_OK);
                dgm_reach_unreserve(&connection, (uint32_t)(2 * most));
                stop();
            }
        }
    }
}

/* --- which connection --- */

static void auto_is_what_costs_less(void **state)
{
    const struct dgm_reach_costs copy_is_cheap = {.map = 10, .copy = 9},
                                 map_is_cheap = {.map = 9, .copy = 9};
    struct dgm_reach_connection connection;

    start((struct options){0});
    assert_int_equal(way_of(1, DGM_REACH_MODE_AUTO).mode, DGM_REACH_MODE_MAP); /* not yet known */
    dgm_reach_set_costs(reach, &copy_is_cheap);
    assert_int_equal(way_of(1, DGM_REACH_MODE_AUTO).mode, DGM_REACH_MODE_COPY);
    assert_int_equal(way_of(1, DGM_REACH_MODE_MAP).mode, DGM_REACH_MODE_MAP);
    dgm_reach_connection_init(&connection, reach, &guests[1], DGM_REACH_MODE_AUTO, 4);
    assert_int_equal(connection.mode, DGM_REACH_MODE_MAP);
    assert_true(connection.persistent);
    dgm_reach_set_costs(reach, &map_is_cheap);
    assert_int_equal(way_of(1, DGM_REACH_MODE_AUTO).mode, DGM_REACH_MODE_MAP);
    stop();

    start((struct options){.only_map = true});
    dgm_reach_set_costs(reach, &copy_is_cheap); /* but there are no buffers */
    assert_int_equal(way_of(1, DGM_REACH_MODE_AUTO).mode, DGM_REACH_MODE_MAP);
    expect_panic(way_of(1, DGM_REACH_MODE_COPY));
    expect_panic(way_of(1, DGM_REACH_MODE_IDENTITY));
    expect_panic(dgm_reach_connection_init(&connection, reach, &guests[1], DGM_REACH_MODE_MAP, 1));
    stop();
}

static void paths_have_names(void **state)
{
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_MAP), "map");
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_COPY), "copy");
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_IDENTITY), "identity");
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_AUTO), "auto");
}

/* --- any history --- */

#define WAYS     8
#define REQUESTS 24

struct request {
    struct dgm_reach_connection *connection;
    unsigned count;
    enum dgm_reach_direction direction;
    bool releasing;
    struct dgm_reach_frame many[MANY];
};

static struct dgm_reach_connection ways[WAYS];
static struct request requests[REQUESTS];

static void begin_any(struct request *request)
{
    request->connection = &ways[unit_below(WAYS)];
    request->count = 1 + (unsigned)unit_below(MANY);
    request->direction = unit_chance(50) ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST;
    if (dgm_reach_reserve(request->connection, request->count) != DGM_OK) {
        request->count = 0;
        return;
    }
    for (unsigned i = 0; i < request->count; i++) { /* one half is read, the other written */
        const unsigned gfn =
            (unsigned)unit_below(8) + (request->direction == DGM_REACH_FROM_GUEST ? 0 : 8);

        add_whole(request->connection, &request->many[i], unit_chance(95) ? 8 + gfn : 4000,
                  request->direction);
    }
}

static bool in_the_air(const struct request *request)
{
    for (unsigned i = 0; i < request->count; i++)
        if (request->many[i].held != DGM_REACH_NOT_HELD &&
            request->many[i].foreign.status == DGM_EAGAIN)
            return true;
    return false;
}

/* Every frame that was reached shows the guest's bytes, or can take them. */
static void look_at(struct request *request)
{
    for (unsigned i = 0; i < request->count; i++) {
        struct dgm_reach_frame *frame = &request->many[i];
        const uint64_t gfn = frame->piece.ref - 8;

        if (frame->foreign.status != DGM_OK)
            continue;
        if (frame->held == DGM_REACH_HELD_COPIED && request->direction == DGM_REACH_TO_GUEST)
            continue; /* Xen has not seen that reference yet */
        assert_true(gfn < 16);
        if (request->direction == DGM_REACH_FROM_GUEST)
            assert_memory_equal(device_at(frame, false),
                                guest_page(frame->connection->guest->domid, gfn), 64);
        else
            device_at(frame, true)[100 + i] = 1;
    }
}

static void go_on(struct request *request)
{
    if (request->count == 0) {
        begin_any(request);
    } else if (request->releasing) {
        for (unsigned i = 0; i < request->count; i++)
            if (request->many[i].held != DGM_REACH_NOT_HELD)
                return;
        request->releasing = false;
        request->count = 0;
    } else if (!in_the_air(request)) {
        look_at(request);
        for (unsigned i = 0; i < request->count; i++)
            dgm_reach_release_add(&request->many[i],
                                  unit_chance(80) ? DGM_REACH_DELIVER : DGM_REACH_DISCARD);
        request->releasing = true;
    }
}

static void any_history(void **state)
{
    uint64_t seed = unit_seed();

    print_message("# seed %llu\n", (unsigned long long)seed);
    for (unsigned round = 0; round < 30; round++) {
        start((struct options){.slots = 64,
                               .copies = 20,
                               .persistent_frames = 12,
                               .identities = 8,
                               .quota = round % 3 ? 64 : 24,
                               .copies_quota = 12});
        memset(requests, 0, sizeof requests);
        for (domid_t domid = 1; domid < GUESTS; domid++) {
            for (unsigned i = 0; i < 16; i++) {
                dgm_hv_grant(domid, 8 + i, i, i % 5 == 4);
                fill(domid, i, 0);
            }
        }
        for (unsigned i = 0; i < WAYS; i++)
            dgm_reach_connection_init(&ways[i], reach, &guests[1 + i % 3],
                                      i < 4 ? i % 4 % 3 : DGM_REACH_MODE_MAP, i < 4 ? 0 : 5);
        plan.bad_percent = round % 4 == 1 ? 15 : 0;
        plan.again_percent = round % 4 >= 2 ? 30 : 0;
        plan.unmap_percent = round % 5 == 4 ? 1 : 0;
        for (unsigned step = 0; step < 300; step++) {
            for (unsigned n = 0; n < 4; n++)
                go_on(&requests[unit_below(REQUESTS)]);
            dgm_reach_commit(reach);
            dgm_reach_release_commit(reach);
            if (unit_chance(60))
                run_to(now_ns + unit_below(40000000));
        }
        plan.again_percent = 0;
        settle();
        for (unsigned n = 0; n < REQUESTS; n++) {
            while (requests[n].count) {
                go_on(&requests[n]);
                dgm_reach_release_commit(reach);
            }
        }
        for (unsigned i = 0; i < WAYS; i++)
            end_connection(&ways[i]);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_by_every_path),
        cmocka_unit_test(hypercalls_are_few),
        cmocka_unit_test(any_maps_are_refused),
        cmocka_unit_test(any_copies_are_refused),
        cmocka_unit_test(any_maps_of_identity_are_refused),
        cmocka_unit_test(any_unmaps_are_refused),
        cmocka_unit_test(asked_again_until_it_is_there),
        cmocka_unit_test(identity_asked_again),
        cmocka_unit_test(deliveries_asked_again),
        cmocka_unit_test(pauses_start_anew),
        cmocka_unit_test(identity_is_shared),
        cmocka_unit_test(identity_is_shared_only_by_the_same),
        cmocka_unit_test(identity_has_the_rights_that_were_asked_for),
        cmocka_unit_test(some_frames_cannot_be_at_their_number),
        cmocka_unit_test(a_full_table_leaves_frames_at_their_slots),
        cmocka_unit_test(a_lost_place_is_never_used_again),
        cmocka_unit_test(guests_do_not_share),
        cmocka_unit_test(kept_frames_need_no_hypercall),
        cmocka_unit_test(not_everything_is_kept),
        cmocka_unit_test(what_is_idle_makes_room),
        cmocka_unit_test(a_guests_other_way_makes_room),
        cmocka_unit_test(a_refused_frame_is_not_kept),
        cmocka_unit_test(a_buffer_is_cleared),
        cmocka_unit_test(a_failed_read_delivers_nothing),
        cmocka_unit_test(a_read_only_grant_is_not_written),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(the_most_always_fits),
        cmocka_unit_test(auto_is_what_costs_less),
        cmocka_unit_test(paths_have_names),
        cmocka_unit_test(any_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
