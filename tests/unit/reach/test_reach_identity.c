/* SPDX-License-Identifier: MIT */
/*
 * reach: frames at gfn == mfn. If these fail, one guest's mapping is used for another reference or
 * with other rights, or a mapping is undone while a request uses it.
 */
#include "reach_rig.h"

#include <dragoman/base/status.h>
#include <pages/identity_table.h>
#include <port/env.h>

static struct dgm_reach *const reach = &reach_rig.core.reach;

/* --- identity --- */

static uint64_t guests_mfn(uint64_t gfn)
{
    return dgm_mfn_number(dgm_hv_mfn(1, gfn));
}

static void identity_is_shared(void **state)
{
    for (unsigned order = 0; order < 2; order++) {
        for (unsigned together = 0; together < 2; together++) {
            struct dgm_reach_frame two[2] = {0};

            reach_start((struct reach_options){0});
            reach_grant_all(1);
            struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_IDENTITY);

            for (unsigned i = 0; i < 2; i++) {
                reach_begin(&connection, &two[i], 8 + 7, DGM_REACH_TO_GUEST);
                if (!together)
                    dgm_reach_commit(reach);
            }
            dgm_reach_commit(reach);
            for (unsigned i = 0; i < 2; i++) {
                assert_int_equal(two[i].held, DGM_REACH_HELD_IDENTITY);
                assert_int_equal(dgm_gfn_number(two[i].foreign.gfn), guests_mfn(7));
            }
            assert_int_equal(reach_rig.core.reach.identity_mapped, 1);
            assert_int_equal(reach_rig.core.reach.identity_shared, 1);
            assert_int_equal(dgm_hv_stats()->live, 1);
            reach_release_frame(&two[order], DGM_REACH_DELIVER);
            reach_device_at(&two[1 - order], true)[9] = 9; /* the other one's is still there */
            assert_int_equal(((uint8_t *)dgm_env_va(two[1 - order].foreign.gfn))[9], 9);
            reach_release_frame(&two[1 - order], DGM_REACH_DELIVER);
            assert_true(
                dgm_mfn_is_none(dgm_p2m_lookup(&reach_rig.core.p2m, dgm_gfn(guests_mfn(7)))));
            assert_true(dgm_hv_grant_end(1, 8 + 7));
            reach_stop();
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

                reach_start((struct reach_options){0});
                reach_grant_all(1);
                dgm_hv_grant(1, 4000, 7, false);
                struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_IDENTITY);

                reach_begin(&connection, &two[0], 8 + 7, DGM_REACH_TO_GUEST);
                if (!together)
                    dgm_reach_commit(reach);
                reach_begin(&connection, &two[1], others[n].ref, others[n].direction);
                dgm_reach_commit(reach);
                assert_int_equal((two[0].held == DGM_REACH_HELD_IDENTITY) +
                                     (two[1].held == DGM_REACH_HELD_IDENTITY),
                                 1);
                assert_int_equal(reach_rig.core.reach.identity_at_slot, 1);
                assert_int_equal(reach_rig.core.reach.identity_shared, 0);
                reach_release_frame(&two[order], DGM_REACH_DISCARD);
                if (order == 1) /* the first may be written */
                    reach_device_at(&two[0], true)[9] = 9;
                else
                    reach_device_at(&two[1], others[n].direction == DGM_REACH_TO_GUEST);
                reach_release_frame(&two[1 - order], DGM_REACH_DISCARD);
                reach_stop();
            }
        }
    }
}

/* A write by the CPU through a read-only mapping would end the test: both are as they should be. */
static void identity_has_the_requested_rights(void **state)
{
    struct dgm_reach_frame frame = {0};

    reach_start((struct reach_options){0});
    dgm_hv_grant(1, 8, 0, true);
    dgm_hv_grant(1, 9, 1, false);
    struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_IDENTITY);

    reach_frame(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.held, DGM_REACH_HELD_IDENTITY);
    assert_true(dgm_hv_may_dma(dgm_hv_mfn(1, 0), false));
    assert_false(dgm_hv_may_dma(dgm_hv_mfn(1, 0), true));
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    reach_frame(&connection, &frame, 8, DGM_REACH_TO_GUEST); /* granted read-only */
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    reach_release_frame(&frame, DGM_REACH_DELIVER);
    reach_frame(&connection, &frame, 9, DGM_REACH_TO_GUEST);
    assert_int_equal(frame.held, DGM_REACH_HELD_IDENTITY);
    *(uint8_t *)dgm_env_va(frame.foreign.gfn) = 1;
    reach_release_frame(&frame, DGM_REACH_DELIVER);
    reach_stop();
}

static void some_frames_cannot_be_mapped_at_their_mfn(void **state)
{
    const struct dgm_gfn_range place = {dgm_gfn(REACH_SLOTS_FIRST - 16),
                                        0x100000}; /* over the window */
    static const struct {
        uint64_t mfn;
        enum dgm_reach_held held;
    } where[] = {{REACH_SLOTS_FIRST - 17, DGM_REACH_HELD_MAPPED},
                 {REACH_SLOTS_FIRST - 16, DGM_REACH_HELD_IDENTITY},
                 {REACH_SLOTS_FIRST - 1, DGM_REACH_HELD_IDENTITY},
                 {REACH_SLOTS_FIRST, DGM_REACH_HELD_MAPPED},
                 {REACH_SLOTS_FIRST + 255, DGM_REACH_HELD_MAPPED},
                 {REACH_SLOTS_FIRST + 256, DGM_REACH_HELD_IDENTITY},
                 {0x90000000, DGM_REACH_HELD_MAPPED}};

    reach_start((struct reach_options){.place = place});
    reach_grant_all(1);
    struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_IDENTITY);

    for (unsigned i = 0; i < sizeof where / sizeof where[0]; i++) {
        struct dgm_reach_frame frame = {0};

        dgm_hv_set_mfn(1, i, dgm_mfn(where[i].mfn));
        reach_frame(&connection, &frame, 8 + i, DGM_REACH_TO_GUEST);
        assert_int_equal(frame.held, where[i].held);
        reach_device_at(&frame, true)[1] = 7;
        assert_int_equal(reach_guest_page(1, i)[1], 7);
        reach_release_frame(&frame, DGM_REACH_DELIVER);
    }
    reach_stop();
}

static void a_full_table_leaves_frames_at_their_slots(void **state)
{
    struct dgm_reach_frame many[REACH_MANY] = {0};

    reach_start((struct reach_options){.identities = 3});
    reach_grant_all(1);
    struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_IDENTITY);

    for (unsigned i = 0; i < REACH_MANY; i++)
        reach_begin(&connection, &many[i], 8 + i, DGM_REACH_TO_GUEST);
    dgm_reach_commit(reach);
    assert_int_equal(reach_rig.core.reach.identity_mapped, 3);
    assert_int_equal(reach_rig.core.reach.identity_at_slot, REACH_MANY - 3);
    for (unsigned i = 0; i < REACH_MANY; i++)
        reach_device_at(&many[i], true);
    for (unsigned i = 0; i < REACH_MANY; i++)
        dgm_reach_release_add(&many[i], 1, DGM_REACH_DELIVER);
    dgm_reach_release_commit(reach);
    reach_stop();
}

static void a_lost_place_is_never_used_again(void **state)
{
    struct dgm_reach_frame frame = {0};

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_IDENTITY);

    reach_frame(&connection, &frame, 8 + 5, DGM_REACH_TO_GUEST);
    reach_rig.plan.unmap_seen = 0;
    reach_rig.plan.unmap_bad = 1;
    reach_release_frame(&frame, DGM_REACH_DELIVER);
    assert_int_equal(dgm_identity_find(reach_rig.core.identity, dgm_gfn(guests_mfn(5)))->state,
                     DGM_IDENTITY_LOST);
    for (unsigned i = 0; i < 3; i++) {
        reach_frame(&connection, &frame, 8 + 5, DGM_REACH_TO_GUEST);
        assert_int_equal(frame.held, DGM_REACH_HELD_MAPPED);
        reach_device_at(&frame, true);
        reach_release_frame(&frame, DGM_REACH_DELIVER);
    }
    reach_stop();
}

/* Two guests' frames with the same reference are two frames. */
static void guests_share_no_mapping(void **state)
{
    struct dgm_reach_frame a = {0}, b = {0};

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    reach_grant_all(2);
    struct dgm_reach_connection one = reach_connect(1, DGM_REACH_MODE_IDENTITY),
                                two = reach_connect(2, DGM_REACH_MODE_IDENTITY);

    reach_fill(1, 0, 0);
    reach_fill(2, 0, 0);
    reach_begin(&one, &a, 8, DGM_REACH_FROM_GUEST);
    reach_begin(&two, &b, 8, DGM_REACH_FROM_GUEST);
    dgm_reach_commit(reach);
    assert_memory_equal(reach_device_at(&a, false), reach_guest_page(1, 0), DGM_FRAME_BYTES);
    assert_memory_equal(reach_device_at(&b, false), reach_guest_page(2, 0), DGM_FRAME_BYTES);
    assert_int_equal(reach_rig.core.reach.identity_shared, 0);
    reach_release_frame(&a, DGM_REACH_DISCARD);
    reach_release_frame(&b, DGM_REACH_DISCARD);
    reach_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_is_shared),
        cmocka_unit_test(identity_is_shared_only_by_the_same),
        cmocka_unit_test(identity_has_the_requested_rights),
        cmocka_unit_test(some_frames_cannot_be_mapped_at_their_mfn),
        cmocka_unit_test(a_full_table_leaves_frames_at_their_slots),
        cmocka_unit_test(a_lost_place_is_never_used_again),
        cmocka_unit_test(guests_share_no_mapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
