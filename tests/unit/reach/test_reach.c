/* SPDX-License-Identifier: MIT */
/*
 * reach: bytes arrive in every mode, and reservations. If these fail, a device gets another guest's
 * bytes or none, or a request waits for room that is never released.
 */
#include "reach_rig.h"

#include <dragoman/base/status.h>
#include <port/env.h>

static struct dgm_reach *const reach = &reach_rig.core.reach;

/* --- bytes arrive --- */

static void bytes_arrive(struct dgm_reach_connection *connection, enum dgm_reach_held held)
{
    static const uint16_t parts[][2] = {{0, 4096}, {512, 512}, {3584, 512}, {0, 512}, {8, 4000}};
    struct dgm_reach_frame frame = {0};
    uint8_t before[DGM_FRAME_BYTES];

    for (unsigned n = 0; n < sizeof parts / sizeof parts[0]; n++) {
        const uint16_t offset = parts[n][0], bytes = parts[n][1];

        /* from the guest, by a reference that is good for reading only if that will do */
        grant_ref_t ref = dgm_hv_grant_any(1, 5 + n, !connection->persistent);
        reach_fill(1, 5 + n, (uint8_t)n);
        assert_int_equal(dgm_reach_reserve(connection, 1), DGM_OK);
        reach_add_piece(connection, &frame,
                        (struct dgm_reach_piece){ref, offset, bytes, DGM_REACH_FROM_GUEST});
        dgm_reach_commit(reach);
        assert_int_equal(frame.held, held);
        assert_memory_equal(reach_device_at(&frame, false) + offset,
                            reach_guest_page(1, 5 + n) + offset, bytes);
        assert_memory_equal((uint8_t *)dgm_env_va(frame.foreign.gfn) + offset,
                            reach_guest_page(1, 5 + n) + offset, bytes);
        reach_release_frame(&frame, DGM_REACH_DISCARD);
        assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
        assert_int_equal(frame.foreign.status, DGM_OK);
        dgm_reach_connection_evict(connection);
        assert_true(dgm_hv_grant_end(1, ref));

        /* to the guest */
        ref = dgm_hv_grant_any(1, 20 + n, false);
        reach_fill(1, 20 + n, (uint8_t)n);
        memcpy(before, reach_guest_page(1, 20 + n), sizeof before);
        assert_int_equal(dgm_reach_reserve(connection, 1), DGM_OK);
        reach_add_piece(connection, &frame,
                        (struct dgm_reach_piece){ref, offset, bytes, DGM_REACH_TO_GUEST});
        dgm_reach_commit(reach);
        assert_int_equal(frame.held, held);
        memset(reach_device_at(&frame, true) + offset, 0xc0 + (int)n, bytes);
        memset(before + offset, 0xc0 + (int)n, bytes);
        reach_release_frame(&frame, DGM_REACH_DELIVER);
        assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
        assert_int_equal(frame.foreign.status, DGM_OK);
        assert_memory_equal(before, reach_guest_page(1, 20 + n), sizeof before);
        dgm_reach_connection_evict(connection);
        assert_true(dgm_hv_grant_end(1, ref));
    }
}

static void bytes_arrive_in_every_mode(void **state)
{
    reach_start((struct reach_options){0});
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        struct dgm_reach_connection connection = reach_connect(1, mode);

        bytes_arrive(&connection, reach_held_in[mode]);
        reach_expect_nothing_held();
    }
    struct dgm_reach_connection persistent;

    dgm_reach_connection_init(&persistent, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 16);
    bytes_arrive(&persistent, DGM_REACH_HELD_PERSISTENT);
    reach_stop();
}

/* One hypercall for each connection in use; identity: three. */
static void hypercalls_are_few(void **state)
{
    static const unsigned to_reach[] = {1, 1, 3}, to_release[] = {1, 1, 1};

    reach_start((struct reach_options){0});
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        struct dgm_reach_connection connection = reach_connect(2, mode);
        struct dgm_reach_frame many[32] = {0};
        uint64_t calls = dgm_hv_stats()->calls;

        for (unsigned i = 0; i < 32; i++)
            reach_begin(&connection, &many[i], dgm_hv_grant_any(2, i, mode == DGM_REACH_MODE_MAP),
                        mode != DGM_REACH_MODE_IDENTITY ? DGM_REACH_FROM_GUEST
                                                        : DGM_REACH_TO_GUEST);
        dgm_reach_commit(reach);
        assert_int_equal(dgm_hv_stats()->calls - calls, to_reach[mode]);
        calls = dgm_hv_stats()->calls;
        for (unsigned i = 0; i < 32; i++) {
            assert_int_equal(many[i].foreign.status, DGM_OK);
            if (mode == DGM_REACH_MODE_COPY) /* all of them deliver */
                many[i].piece.direction = DGM_REACH_TO_GUEST;
            dgm_reach_release_add(&many[i], 1, DGM_REACH_DELIVER);
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
    reach_stop();
}

/* --- copy --- */

/* Bytes that the device leaves unwritten are zero, not another guest's. */
static void a_buffer_is_cleared(void **state)
{
    struct dgm_reach_frame frame = {0};

    reach_start((struct reach_options){.copies = 1});
    reach_grant_all(1);
    reach_grant_all(2);
    struct dgm_reach_connection one = reach_connect(1, DGM_REACH_MODE_COPY),
                                two = reach_connect(2, DGM_REACH_MODE_COPY);

    memset(reach_guest_page(1, 0), 's', DGM_FRAME_BYTES); /* secret */
    memset(reach_guest_page(2, 0), 'x', DGM_FRAME_BYTES);
    reach_frame(&one, &frame, 8, DGM_REACH_FROM_GUEST);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    assert_int_equal(dgm_reach_reserve(&two, 1), DGM_OK);
    reach_add_piece(&two, &frame, (struct dgm_reach_piece){8, 1024, 2048, DGM_REACH_TO_GUEST});
    dgm_reach_commit(reach);
    memset(reach_device_at(&frame, true) + 1024, 'd', 512); /* writes less than the whole piece */
    reach_release_frame(&frame, DGM_REACH_DELIVER);
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        assert_int_equal(reach_guest_page(2, 0)[i],
                         i < 1024 || i >= 3072 ? 'x' : (i < 1536 ? 'd' : 0));
    reach_stop();
}

/* What the guest `connection` serves sees of a buffer in which the device writes nothing. */
static void expect_zeroes(struct dgm_reach_connection *connection, domid_t domid)
{
    struct dgm_reach_frame frame = {0};

    memset(reach_guest_page(domid, 0), 'x', DGM_FRAME_BYTES);
    reach_frame(connection, &frame, 8, DGM_REACH_TO_GUEST);
    reach_release_frame(&frame, DGM_REACH_DELIVER);
    for (unsigned i = 0; i < DGM_FRAME_BYTES; i++)
        assert_int_equal(reach_guest_page(domid, 0)[i], 0);
}

/* Fails: a buffer is taken for the guest's own because it filled a part of it, or because its
 * domain number was another guest's before. */
static void a_buffer_is_cleared_as_a_whole(void **state)
{
    struct dgm_reach_frame frame = {0};

    reach_start((struct reach_options){.copies = 1});
    reach_grant_all(1);
    reach_grant_all(2);
    struct dgm_reach_connection one = reach_connect(1, DGM_REACH_MODE_COPY),
                                two = reach_connect(2, DGM_REACH_MODE_COPY), three;

    memset(reach_guest_page(1, 0), 's', DGM_FRAME_BYTES); /* secret */
    reach_frame(&one, &frame, 8, DGM_REACH_FROM_GUEST);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    assert_int_equal(dgm_reach_reserve(&two, 1), DGM_OK);
    reach_add_piece(&two, &frame, (struct dgm_reach_piece){8, 512, 512, DGM_REACH_FROM_GUEST});
    dgm_reach_commit(reach);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    expect_zeroes(&two, 2);

    reach_frame(&one, &frame, 8, DGM_REACH_FROM_GUEST);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    three = reach_connect(1, DGM_REACH_MODE_COPY);
    expect_zeroes(&three, 1);
    reach_stop();
}

static void a_failed_read_delivers_nothing(void **state)
{
    struct dgm_reach_frame frame = {0};
    uint8_t before[DGM_FRAME_BYTES];

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_COPY);

    reach_fill(1, 0, 0);
    memcpy(before, reach_guest_page(1, 0), sizeof before);
    reach_frame(&connection, &frame, 8, DGM_REACH_TO_GUEST);
    memset(reach_device_at(&frame, true), 0xee, DGM_FRAME_BYTES);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    assert_memory_equal(before, reach_guest_page(1, 0), sizeof before);
    assert_int_equal(dgm_hv_stats()->copy_ops, 0);
    reach_stop();
}

static void a_read_only_grant_is_not_written(void **state)
{
    struct dgm_reach_frame frame = {0};

    reach_start((struct reach_options){0});
    dgm_hv_grant(1, 8, 0, true);
    struct dgm_reach_connection connection = reach_connect(1, DGM_REACH_MODE_COPY);

    reach_fill(1, 0, 0);
    reach_frame(&connection, &frame, 8, DGM_REACH_TO_GUEST);
    memset(reach_device_at(&frame, true), 0xee, DGM_FRAME_BYTES);
    reach_release_frame(&frame, DGM_REACH_DELIVER);
    assert_int_equal(frame.held, DGM_REACH_NOT_HELD);
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    assert_int_not_equal(reach_guest_page(1, 0)[17], 0xee);
    reach_stop();
}

/* --- reserving --- */

static void all_or_nothing(void **state)
{
    reach_start((struct reach_options){.slots = 16, .copies = 16, .quota = 12, .copies_quota = 12});
    for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_IDENTITY; mode++) {
        struct dgm_reach_connection one = reach_connect(1, mode), two = reach_connect(2, mode);
        struct dgm_quota *quota = mode == DGM_REACH_MODE_COPY ? &reach_rig.guests[1].copy_buffers
                                                              : &reach_rig.guests[1].slots;

        assert_int_equal(dgm_reach_reserve(&one, 0), DGM_OK);
        assert_int_equal(dgm_reach_reserve(&one, 13), DGM_EDQUOT);
        assert_int_equal(quota->used, 0);
        assert_int_equal(dgm_reach_reserve(&one, 12), DGM_OK);
        assert_int_equal(quota->used, 12);
        assert_int_equal(dgm_reach_reserve(&one, 1), DGM_EDQUOT);
        /* Too little for both reasons: the guest waits for its own quota, and blocks no other. */
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
        reach_expect_nothing_held();
    }
    reach_stop();
}

/* Fails: a reactor that waits for slots keeps free ones, which would be enough for another one. */
static void a_wait_keeps_no_free_slots(void **state)
{
    struct dgm_reach_connection connection;

    reach_start((struct reach_options){.slots = 2 * DGM_SLOT_BLOCK, .quota = UINT64_MAX});
    connection = reach_connect(1, DGM_REACH_MODE_MAP);
    assert_int_equal(dgm_reach_reserve(&connection, 2 * DGM_SLOT_BLOCK + 1), DGM_EAGAIN);
    assert_int_equal(reach_rig.core.cache.free, 0);
    assert_int_equal(reach_rig.core.slots.blocks_free, 2);
    reach_stop();
}

/* A request of the maximum is served as long as no other guest uses frames; and several fit. */
static void a_request_of_the_maximum_fits(void **state)
{
    static const uint64_t quotas[][2] = {{24, 64}, {64, 24}, {48, 48}, {256, 64}};

    for (unsigned n = 0; n < 4; n++) {
        for (enum dgm_reach_mode mode = DGM_REACH_MODE_MAP; mode <= DGM_REACH_MODE_AUTO; mode++) {
            for (unsigned cheap = 0; cheap < 2; cheap++) {
                struct dgm_reach_connection connection;
                uint64_t frames_max;

                reach_start(
                    (struct reach_options){.quota = quotas[n][0], .copies_quota = quotas[n][1]});
                frames_max = dgm_reach_request_frames_max(reach, &reach_rig.guests[1], mode);
                assert_true(frames_max > 0);
                dgm_reach_set_costs(reach, &(struct dgm_reach_costs){.map = 10 * cheap, .copy = 5});
                connection = reach_connect(1, mode);
                assert_int_equal(dgm_reach_reserve(&connection, (uint32_t)frames_max), DGM_OK);
                assert_int_equal(dgm_reach_reserve(&connection, (uint32_t)frames_max), DGM_OK);
                dgm_reach_unreserve(&connection, (uint32_t)(2 * frames_max));
                reach_stop();
            }
        }
    }
}

/* --- which connection --- */

static void auto_takes_the_cheaper_mode(void **state)
{
    const struct dgm_reach_costs copy_is_cheap = {.map = 10, .copy = 9},
                                 map_is_cheap = {.map = 9, .copy = 9},
                                 guest_copy_is_dear = {.map = 9, .copy = 12, .guest_copy = 10};
    struct dgm_reach_connection connection;

    reach_start((struct reach_options){0});
    assert_int_equal(reach_connect(1, DGM_REACH_MODE_AUTO).mode,
                     DGM_REACH_MODE_MAP); /* not yet known */
    dgm_reach_set_costs(reach, &copy_is_cheap);
    assert_int_equal(reach_connect(1, DGM_REACH_MODE_AUTO).mode, DGM_REACH_MODE_COPY);
    assert_int_equal(reach_connect(1, DGM_REACH_MODE_MAP).mode, DGM_REACH_MODE_MAP);
    dgm_reach_connection_init(&connection, reach, &reach_rig.guests[1], DGM_REACH_MODE_AUTO, 4);
    assert_int_equal(connection.mode, DGM_REACH_MODE_MAP);
    assert_true(connection.persistent);
    dgm_reach_set_costs(reach, &map_is_cheap);
    assert_int_equal(reach_connect(1, DGM_REACH_MODE_AUTO).mode, DGM_REACH_MODE_MAP);

    assert_true(dgm_reach_offers_persistent(reach, DGM_REACH_MODE_AUTO));
    dgm_reach_set_costs(reach, &guest_copy_is_dear);
    assert_false(dgm_reach_offers_persistent(reach, DGM_REACH_MODE_AUTO));
    assert_true(dgm_reach_offers_persistent(reach, DGM_REACH_MODE_MAP)); /* as configured */
    assert_false(dgm_reach_offers_persistent(reach, DGM_REACH_MODE_COPY));
    assert_false(dgm_reach_offers_persistent(reach, DGM_REACH_MODE_IDENTITY));
    reach_stop();

    reach_start((struct reach_options){.only_map = true});
    assert_false(dgm_reach_offers_persistent(reach, DGM_REACH_MODE_AUTO));
    dgm_reach_set_costs(reach, &copy_is_cheap); /* but there are no buffers */
    assert_int_equal(reach_connect(1, DGM_REACH_MODE_AUTO).mode, DGM_REACH_MODE_MAP);
    expect_panic(reach_connect(1, DGM_REACH_MODE_COPY));
    expect_panic(reach_connect(1, DGM_REACH_MODE_IDENTITY));
    expect_panic(
        dgm_reach_connection_init(&connection, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 1));
    reach_stop();
}

static void modes_have_names(void **state)
{
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_MAP), "map");
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_COPY), "copy");
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_IDENTITY), "identity");
    assert_string_equal(dgm_reach_mode_name(DGM_REACH_MODE_AUTO), "auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_in_every_mode),
        cmocka_unit_test(hypercalls_are_few),
        cmocka_unit_test(a_buffer_is_cleared),
        cmocka_unit_test(a_buffer_is_cleared_as_a_whole),
        cmocka_unit_test(a_failed_read_delivers_nothing),
        cmocka_unit_test(a_read_only_grant_is_not_written),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(a_wait_keeps_no_free_slots),
        cmocka_unit_test(a_request_of_the_maximum_fits),
        cmocka_unit_test(auto_takes_the_cheaper_mode),
        cmocka_unit_test(modes_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
