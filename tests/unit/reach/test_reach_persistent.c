/* SPDX-License-Identifier: MIT */
/*
 * reach: persistent grants. If these fail, a frame is mapped twice, one stays mapped when its room
 * is needed, or a refused frame is kept.
 */
#include "reach_rig.h"

#include <dragoman/base/status.h>

static struct dgm_reach *const reach = &reach_rig.core.reach;

static void persistent_frames_need_no_hypercall(void **state)
{
    struct dgm_reach_frame frame = {0};
    struct dgm_reach_connection connection;
    uint64_t calls;

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    dgm_reach_connection_init(&connection, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 4);
    reach_frame(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.held, DGM_REACH_HELD_PERSISTENT);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    calls = dgm_hv_stats()->calls;
    for (unsigned i = 0; i < 5; i++) {
        /* read or written: it is mapped for both */
        reach_frame(&connection, &frame, 8, i % 2 ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST);
        reach_device_at(&frame, true)[1] = (uint8_t)i;
        assert_int_equal(reach_guest_page(1, 0)[1], i);
        reach_release_frame(&frame, DGM_REACH_DELIVER);
    }
    assert_int_equal(dgm_hv_stats()->calls, calls);
    assert_int_equal(connection.owner.hits, 5);
    assert_int_equal(connection.owner.misses, 1);
    assert_int_equal(dgm_hv_stats()->live, 1);
    assert_int_equal(reach_rig.guests[1].slots.used, 1);
    reach_end_connection(&connection);
    reach_stop();
}

/* Frames beyond the quota, and the second of one reference in a batch,
 * are mapped for one request. */
static void some_frames_do_not_become_persistent(void **state)
{
    struct dgm_reach_frame many[REACH_MANY] = {0};
    struct dgm_reach_connection connection;

    reach_start((struct reach_options){0});
    reach_grant_all(1);
    dgm_reach_connection_init(&connection, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 4);
    for (unsigned i = 0; i < REACH_MANY; i++)
        reach_begin(&connection, &many[i], 8 + i / 2,
                    i % 3 ? DGM_REACH_FROM_GUEST : DGM_REACH_TO_GUEST);
    dgm_reach_commit(reach);
    assert_int_equal(connection.owner.count, 4);
    for (unsigned i = 0; i < REACH_MANY; i++) {
        reach_device_at(&many[i], true)[i] = (uint8_t)(i + 1);
        assert_int_equal(reach_guest_page(1, i / 2)[i], i + 1);
    }
    for (unsigned i = 0; i < REACH_MANY; i++)
        dgm_reach_release_add(&many[i], 1, DGM_REACH_DELIVER);
    dgm_reach_release_commit(reach);
    assert_int_equal(dgm_hv_stats()->live, 4);
    reach_end_connection(&connection);
    reach_stop();
}

/* With any number of persistent frames, half of all slots is left for frames of single requests.
 * The core makes no larger table; an embedder may, and retired slots make the half smaller. Fails:
 * a guest waits for slots that no guest ever releases. */
static void half_of_the_slots_are_for_single_requests(void **state)
{
    static uint64_t entries[512];
    struct dgm_reach_frame frames[7] = {0};
    struct dgm_reach_connection connections[2];

    reach_start((struct reach_options){.slots = 8});
    assert_true(dgm_persistent_bytes(8) <= sizeof entries);
    dgm_persistent_init(reach->persistent, 8, entries);
    reach_grant_all(1);
    for (unsigned i = 0; i < 2; i++)
        dgm_reach_connection_init(&connections[i], reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP,
                                  4);
    for (unsigned i = 0; i < 7; i++) {
        reach_frame(&connections[i % 2], &frames[i], 8 + i, DGM_REACH_FROM_GUEST);
        assert_int_equal(frames[i].held, i < 4 ? DGM_REACH_HELD_PERSISTENT : DGM_REACH_HELD_MAPPED);
    }
    for (unsigned i = 0; i < 7; i++)
        reach_release_frame(&frames[i], DGM_REACH_DISCARD);
    for (unsigned i = 0; i < 2; i++)
        reach_end_connection(&connections[i]);
    reach_stop();
}

/* If slots are short, idle frames are evicted, and those in use stay. */
static void idle_frames_make_room(void **state)
{
    struct dgm_reach_frame used[2] = {0}, many[REACH_MANY] = {0}, frame = {0};
    struct dgm_reach_connection connection;

    reach_start((struct reach_options){.slots = 8, .persistent_frames = 4});
    reach_grant_all(1);
    dgm_reach_connection_init(&connection, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 4);
    assert_int_equal(dgm_reach_reserve(&connection, 2), DGM_OK);
    for (unsigned i = 0; i < 2; i++)
        reach_add_frame(&connection, &used[i], 8 + i, DGM_REACH_FROM_GUEST);
    for (unsigned i = 2; i < 4; i++)
        reach_begin(&connection, &many[i], 8 + i, DGM_REACH_FROM_GUEST);
    dgm_reach_commit(reach);
    reach_release_frame(&many[2], DGM_REACH_DISCARD);
    reach_release_frame(&many[3], DGM_REACH_DISCARD);
    /* four are persistent, two of them in use: four slots are free */
    assert_int_equal(connection.owner.idle, 2);
    assert_int_equal(dgm_reach_reserve(&connection, 4), DGM_OK);
    assert_int_equal(connection.owner.evictions, 0);
    dgm_reach_unreserve(&connection, 4);
    assert_int_equal(dgm_reach_reserve(&connection, 7), DGM_EDQUOT); /* and two make no seven */
    assert_int_equal(reach_rig.guests[1].slots.used, 2);
    assert_int_equal(connection.owner.evictions, 2);
    for (unsigned i = 0; i < 2; i++)
        reach_device_at(&used[i], true);
    assert_int_equal(dgm_reach_reserve(&connection, 6), DGM_OK);
    dgm_reach_unreserve(&connection, 6);
    for (unsigned i = 0; i < 2; i++)
        reach_release_frame(&used[i], DGM_REACH_DISCARD);
    reach_frame(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    assert_int_equal(dgm_reach_reserve(&connection, 7), DGM_OK);
    dgm_reach_unreserve(&connection, 7);
    assert_true(dgm_hv_grant_end(1, 9));
    reach_end_connection(&connection);
    reach_stop();
}

/* One disk of a guest does not wait for slots that another one keeps mapped and does not use. */
static void another_connection_of_the_guest_makes_room(void **state)
{
    struct dgm_reach_frame many[REACH_MANY] = {0}, frame = {0};
    struct dgm_reach_connection idle, wants;

    reach_start((struct reach_options){.quota = 6});
    reach_grant_all(1);
    dgm_reach_connection_init(&idle, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 6);
    dgm_reach_connection_init(&wants, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 6);
    for (unsigned i = 0; i < 6; i++)
        reach_begin(&idle, &many[i], 8 + i, DGM_REACH_FROM_GUEST);
    dgm_reach_commit(reach);
    assert_int_equal(dgm_reach_reserve(&wants, 1), DGM_EDQUOT); /* all are in use */
    for (unsigned i = 0; i < 6; i++)
        dgm_reach_release_add(&many[i], 1, DGM_REACH_DISCARD);
    dgm_reach_release_commit(reach);
    assert_int_equal(dgm_reach_reserve(&wants, 2), DGM_OK);
    reach_add_frame(&wants, &frame, 8, DGM_REACH_FROM_GUEST);
    dgm_reach_unreserve(&wants, 1);
    dgm_reach_commit(reach);
    reach_device_at(&frame, true);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    reach_end_connection(&wants);
    reach_end_connection(&idle);
    reach_stop();
}

static void a_refused_frame_does_not_become_persistent(void **state)
{
    struct dgm_reach_frame frame = {0};
    struct dgm_reach_connection connection;

    reach_start((struct reach_options){0});
    dgm_hv_grant(1, 8, 0, true); /* a frontend that reuses its grants makes all of them writable */
    dgm_reach_connection_init(&connection, reach, &reach_rig.guests[1], DGM_REACH_MODE_MAP, 4);
    reach_frame(&connection, &frame, 8, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    reach_frame(&connection, &frame, 99, DGM_REACH_FROM_GUEST);
    assert_int_equal(frame.foreign.status, DGM_EPERM);
    reach_release_frame(&frame, DGM_REACH_DISCARD);
    assert_int_equal(connection.owner.count, 0);
    reach_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(persistent_frames_need_no_hypercall),
        cmocka_unit_test(some_frames_do_not_become_persistent),
        cmocka_unit_test(half_of_the_slots_are_for_single_requests),
        cmocka_unit_test(idle_frames_make_room),
        cmocka_unit_test(another_connection_of_the_guest_makes_room),
        cmocka_unit_test(a_refused_frame_does_not_become_persistent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
