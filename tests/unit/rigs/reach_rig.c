/* SPDX-License-Identifier: MIT */
/* reach_rig: see reach_rig.h */
#include "reach_rig.h"

#include <dragoman/base/status.h>
#include <pages/identity_table.h>

#define RAM_FIRST  0x40000u
#define RAM_FRAMES 1024u

struct reach_rig reach_rig;

/* --- what Xen refuses --- */

static bool is_in_mask(uint64_t mask, uint64_t n)
{
    return n < 64 && (mask >> n & 1);
}

static int16_t by_plan(uint64_t bad, uint64_t again, uint64_t n)
{
    if (is_in_mask(bad, n) ||
        (reach_rig.plan.bad_percent && unit_chance(reach_rig.plan.bad_percent)))
        return GNTST_general_error;
    if (is_in_mask(again, n) ||
        (reach_rig.plan.again_percent && unit_chance(reach_rig.plan.again_percent)))
        return GNTST_eagain;
    return 0;
}

static int16_t status_of_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return by_plan(reach_rig.plan.map_bad, reach_rig.plan.map_again, reach_rig.plan.map_seen++);
}

static int16_t on_copy(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    return by_plan(reach_rig.plan.copy_bad, reach_rig.plan.copy_again, reach_rig.plan.copy_seen++);
}

static int16_t on_unmap(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    if (!is_in_mask(reach_rig.plan.unmap_bad, reach_rig.plan.unmap_seen++) &&
        !(reach_rig.plan.unmap_percent && unit_chance(reach_rig.plan.unmap_percent)))
        return 0;
    reach_rig.unmaps_refused++;
    return GNTST_general_error;
}

/* --- the machine --- */

static uint16_t count_or_default(uint16_t count)
{
    return count ? count : 64;
}

void reach_start(struct reach_options options)
{
    const struct dgm_gfn_range ram = {dgm_gfn(RAM_FIRST), RAM_FRAMES};
    const struct dgm_ram_bank bank = {ram.first, dgm_mfn(RAM_FIRST), RAM_FRAMES, NULL};
    const struct dgm_gfn_range anywhere = {dgm_gfn(0x100000), 0x4000000};
    const uint64_t slots = options.slots ? options.slots : 256;
    const struct dgm_window window =
        dgm_window((struct dgm_gfn_range){dgm_gfn(REACH_SLOTS_FIRST), slots});

    memset(&reach_rig.plan, 0, sizeof reach_rig.plan);
    reach_rig.unmaps_refused = 0;
    reach_rig.now_ns = 1000;
    dgm_sim_set_now_ns(reach_rig.now_ns);
    dgm_hv_start(ram.first, ram.count, dgm_mfn(RAM_FIRST));
    dgm_hv_set_faults(
        &(struct dgm_hv_faults){.map = status_of_map, .unmap = on_unmap, .copy = on_copy});
    dgm_reactor_init(&reach_rig.reactor);
    dgm_frames_init(&reach_rig.frames);
    assert_int_equal(dgm_frames_add(&reach_rig.frames, ram), DGM_OK);
    assert_int_equal(
        dgm_core_init(
            &reach_rig.core,
            &(struct dgm_core_config){
                .reactor = &reach_rig.reactor,
                .frames = &reach_rig.frames,
                .banks = &bank,
                .bank_count = 1,
                .window = &window,
                .bounce_frames = 8,
                .copy_frames = options.only_map ? 0 : count_or_default(options.copies),
                .persistent_frames =
                    options.only_map ? 0 : count_or_default(options.persistent_frames),
                .identity_frames = options.only_map ? 0 : count_or_default(options.identities),
                .places = options.place.count ? &options.place : &anywhere,
                .place_count = 1,
            }),
        DGM_OK);
    for (domid_t domid = 1; domid < REACH_GUESTS; domid++) {
        dgm_hv_domain_add(domid, REACH_GUEST_FRAMES);
        dgm_guest_account_init(
            &reach_rig.guests[domid], domid,
            &(struct dgm_guest_limits){.slots = options.quota ? options.quota : slots,
                                       .copy_buffers =
                                           options.copies_quota ? options.copies_quota : 64});
    }
}

void reach_run_to(uint64_t ns)
{
    reach_rig.now_ns = ns;
    dgm_sim_set_now_ns(ns);
    while (dgm_reactor_turn(&reach_rig.reactor))
        ;
}

void reach_settle(void)
{
    while (dgm_reactor_deadline_ns(&reach_rig.reactor) != UINT64_MAX)
        reach_run_to(dgm_reactor_deadline_ns(&reach_rig.reactor));
}

void reach_expect_nothing_held(void)
{
    const struct dgm_hv_stats *stats = dgm_hv_stats();
    uint64_t used = 0, lost = 0;

    dgm_core_check(&reach_rig.core);
    for (domid_t domid = 1; domid < REACH_GUESTS; domid++) {
        used += reach_rig.guests[domid].slots.used;
        assert_int_equal(reach_rig.guests[domid].copy_buffers.used, 0);
    }
    for (uint16_t i = 0; reach_rig.core.identity && i < reach_rig.core.identity->total; i++)
        lost += reach_rig.core.identity->entries[i].state == DGM_IDENTITY_LOST;
    assert_int_equal(reach_rig.core.grant->unmap_refused, reach_rig.unmaps_refused);
    assert_int_equal(reach_rig.core.cache.retired + lost, reach_rig.unmaps_refused);
    assert_int_equal(reach_rig.core.cache.retired, used); /* charged to the guest permanently */
    assert_int_equal(reach_rig.core.grant->live, reach_rig.unmaps_refused);
    assert_int_equal(stats->live, reach_rig.unmaps_refused);
    assert_int_equal(stats->stale, 0);
    assert_int_equal(stats->over, 0);
    assert_int_equal(reach_rig.core.cache.taken, 0);
    assert_int_equal(reach_rig.core.cache.reserved, 0);
    assert_int_equal(reach_rig.core.p2m.live, 0);
    assert_int_equal(reach_rig.core.copy_buffers ? reach_rig.core.copy_buffers->reserved : 0, 0);
    assert_int_equal(reach_rig.core.reach.waiters.count, 0);
    if (reach_rig.core.copy_buffers)
        assert_int_equal(reach_rig.core.copy_buffers->free, reach_rig.core.copy_buffers->total);
    if (reach_rig.core.identity)
        assert_int_equal(reach_rig.core.identity->used, lost);
}

void reach_stop(void)
{
    reach_settle();
    reach_expect_nothing_held();
    dgm_hv_stop();
}

/* --- a request's frames --- */

struct dgm_reach_connection reach_connect(domid_t domid, enum dgm_reach_mode mode)
{
    struct dgm_reach_connection connection;

    dgm_reach_connection_init(&connection, &reach_rig.core.reach, &reach_rig.guests[domid], mode,
                              0);
    return connection; /* it may move: it is not persistent */
}

void reach_end_connection(struct dgm_reach_connection *connection)
{
    dgm_reach_connection_evict(connection);
    dgm_reach_connection_end(connection);
}

void reach_add_piece(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                     struct dgm_reach_piece piece)
{
    frame->piece = piece;
    dgm_reach_unreserve(connection, dgm_reach_add(connection, frame, 1));
}

void reach_add_frame(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                     grant_ref_t ref, enum dgm_reach_direction direction)
{
    reach_add_piece(connection, frame,
                    (struct dgm_reach_piece){ref, 0, DGM_FRAME_BYTES, direction});
}

void reach_begin(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                 grant_ref_t ref, enum dgm_reach_direction direction)
{
    assert_int_equal(dgm_reach_reserve(connection, 1), DGM_OK);
    reach_add_frame(connection, frame, ref, direction);
}

void reach_frame(struct dgm_reach_connection *connection, struct dgm_reach_frame *frame,
                 grant_ref_t ref, enum dgm_reach_direction direction)
{
    reach_begin(connection, frame, ref, direction);
    dgm_reach_commit(&reach_rig.core.reach);
}

void reach_release_frame(struct dgm_reach_frame *frame, enum dgm_reach_release release)
{
    dgm_reach_release_add(frame, 1, release);
    dgm_reach_release_commit(&reach_rig.core.reach);
}

uint8_t *reach_device_at(const struct dgm_reach_frame *frame, bool write)
{
    const dgm_mfn_t mfn = dgm_p2m_lookup(&reach_rig.core.p2m, frame->foreign.gfn);

    assert_int_equal(frame->foreign.status, DGM_OK);
    assert_false(dgm_mfn_is_none(mfn));
    assert_true(dgm_hv_may_dma(mfn, write));
    return dgm_hv_machine(mfn);
}

uint8_t *reach_guest_page(domid_t domid, uint64_t gfn)
{
    return dgm_hv_page(domid, gfn);
}

void reach_fill(domid_t domid, uint64_t gfn, uint8_t salt)
{
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        reach_guest_page(domid, gfn)[i] =
            (uint8_t)(i * 7 + (i >> 8) + gfn * 31 + domid * 101 + salt);
}

const enum dgm_reach_held reach_held_in[] = {[DGM_REACH_MODE_MAP] = DGM_REACH_HELD_MAPPED,
                                             [DGM_REACH_MODE_COPY] = DGM_REACH_HELD_COPIED,
                                             [DGM_REACH_MODE_IDENTITY] = DGM_REACH_HELD_IDENTITY};

void reach_grant_all(domid_t domid)
{
    for (unsigned i = 0; i < REACH_GUEST_FRAMES; i++)
        dgm_hv_grant(domid, 8 + i, i, false);
}
