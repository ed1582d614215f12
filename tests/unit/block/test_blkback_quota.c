/* SPDX-License-Identifier: MIT */
/*
 * Quotas of slots and copy buffers, in every mode. If these fail, a guest that has used up its own
 * quota stops another one, or a device that waits for room is not woken when there is some.
 */
#include "guests_rig.h"

/* Two guests with a disk each; the first one's stalls. */
static void connect_two_guests(const struct guests_variant *v)
{
    guests.used = 0;
    for (domid_t domid = 1; domid <= 2; domid++) {
        front_guest_start(domid);
        guests_share(domid, "xvda", v);
        front_connect(&guests.front[domid - 1]);
    }
    guests.disk[0].stalled = true;
}

/* One guest has used up its quota on a stalled disk; the other is served. */
static void a_full_quota_blocks_no_other_guest(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        struct part parts[24];
        unsigned index[9];
        struct vbd_options options = guests_everything;

        options.quota = 50; /* 24 segments are offered */
        vbd_start(options);
        connect_two_guests(v);
        for (unsigned n = 0; n < 9; n++) {
            for (unsigned i = 0; i < 8; i++)
                parts[i] = (struct part){100 + n * 8 + i, 0, 7};
            index[n] = front_rw(&guests.front[0], n % 2, n * 64, parts, 8);
        }
        front_push(&guests.front[0]);
        vbd_run();
        assert_true(guests.back[0].counters.waits > 0);
        assert_null(vbd.pool.slots_queue.first);
        assert_true(guests.disk[0].queued < 9);
        for (unsigned n = 0; n < 4; n++) {
            for (unsigned i = 0; i < 20; i++)
                parts[i] = (struct part){100 + i, 0, 7};
            const unsigned other = front_rw_indirect(&guests.front[1], n % 2, 0, parts, 20, 8);

            front_exchange(&guests.front[1]);
            assert_int_equal(front_status(&guests.front[1], other), BLKIF_RSP_OKAY);
        }
        model_resume(&guests.disk[0]);
        vbd_run();
        front_collect(&guests.front[0]);
        for (unsigned n = 0; n < 9; n++)
            assert_int_equal(front_status(&guests.front[0], index[n]), BLKIF_RSP_OKAY);
        guests_stop();
    }
}

/* A guest's first disk uses up the quota for persistent frames; its second disk is served. */
static void two_disks_and_one_quota(void **state)
{
    const struct guests_variant persistent = {"persistent", DGM_REACH_MODE_MAP, 600, true,
                                              DGM_REACH_HELD_PERSISTENT};
    struct vbd_options options = guests_everything;
    struct part parts[20];

    options.quota = 44;
    options.guest_disks = 2;
    vbd_start(options);
    guests.used = 0;
    front_guest_start(1);
    guests_share(1, "xvda", &persistent);
    front_connect(&guests.front[0]);
    for (unsigned n = 0; n < 3; n++) {
        guests_transfer(true, 100 * n, 20, n);
        guests_transfer(false, 100 * n, 11, n);
    }
    assert_true(vbd.guests[1].slots.used >
                44 - 21); /* too little is left for a request of the other disk */
    guests_share(1, "xvdb", &persistent);
    front_connect(&guests.front[1]); /* there is room for its ring's page, too */
    for (unsigned n = 0; n < 6; n++) {
        for (unsigned i = 0; i < 20; i++)
            parts[i] = (struct part){200 + n + i, 0, 7};
        for (unsigned f = 0; f < 2; f++) {
            const unsigned index = front_rw_indirect(&guests.front[f], true, 64, parts, 20, 9);

            front_exchange(&guests.front[f]);
            assert_int_equal(front_status(&guests.front[f], index), BLKIF_RSP_OKAY);
        }
    }
    guests_stop();
}

/* A device that waits for slots does not block a device in mode copy, which needs none. */
static void slots_and_copy_buffers_have_queues_of_their_own(void **state)
{
    const struct guests_variant map = {.mode = DGM_REACH_MODE_MAP},
                                copy = {.mode = DGM_REACH_MODE_COPY};
    struct part parts[11];
    unsigned index[7];

    for (unsigned i = 0; i < 11; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    vbd_start((struct vbd_options){.slots = 64, .copies = 64, .quota = 200});
    guests.used = 0;
    for (domid_t domid = 1; domid <= 2; domid++) {
        front_guest_start(domid);
        guests_share(domid, "xvda", domid == 1 ? &map : &copy);
        front_connect(&guests.front[domid - 1]);
    }
    guests.disk[0].stalled = true;
    for (unsigned n = 0; n < 7; n++)
        index[n] = front_rw(&guests.front[0], true, n * 88, parts, 11);
    front_push(&guests.front[0]);
    vbd_run();
    assert_non_null(vbd.pool.slots_queue.first);
    for (unsigned n = 0; n < 3; n++) {
        const unsigned other = front_rw(&guests.front[1], false, 0, parts, 11);

        front_exchange(&guests.front[1]);
        assert_int_equal(front_status(&guests.front[1], other), BLKIF_RSP_OKAY);
    }
    model_resume(&guests.disk[0]);
    front_exchange(&guests.front[0]);
    for (unsigned n = 0; n < 7; n++)
        assert_int_equal(front_status(&guests.front[0], index[n]), BLKIF_RSP_OKAY);
    guests_stop();
}

/* One disk has nearly all room (five requests), or less than it needs (seven), and returns it: the
 * waiting device is woken. */
static void return_room(unsigned count)
{
    FOR_EACH_VARIANT(v)
    {
        struct part parts[11];
        unsigned index[7], other;

        if (v->mode == DGM_REACH_MODE_IDENTITY)
            continue; /* needs its slots only for a moment */
        vbd_start((struct vbd_options){
            .slots = 64, .copies = 64, .persistent_frames = 8, .identities = 64, .quota = 200});
        connect_two_guests(v);
        for (unsigned n = 0; n < count; n++) {
            for (unsigned i = 0; i < 11; i++) /* none is mapped by an earlier run */
                parts[i] = (struct part){100 + n * 11 + i, 0, 7};
            index[n] = front_rw(&guests.front[0], n % 2, n * 88, parts, 11);
        }
        front_push(&guests.front[0]);
        vbd_run();
        other = front_rw(&guests.front[1], false, 0, parts, 11);
        front_push(&guests.front[1]);
        vbd_run();
        assert_true(guests.back[1].counters.waits > 0 &&
                    (guests.back[0].counters.waits > 0) == (count == 7));
        model_resume(&guests.disk[0]);
        vbd_run();
        front_collect(&guests.front[0]);
        front_collect(&guests.front[1]);
        for (unsigned n = 0; n < count; n++)
            assert_int_equal(front_status(&guests.front[0], index[n]), BLKIF_RSP_OKAY);
        assert_int_equal(front_status(&guests.front[1], other), BLKIF_RSP_OKAY);
        guests_stop();
    }
}

static void room_returns_to_the_device_that_waits(void **state)
{
    return_room(5);
    return_room(7);
}

/* A frontend whose device is queued for its ring's page, and that closes. */
static void leaving_the_queue_before_connecting(void **state)
{
    struct part parts[9];
    unsigned index[7];

    for (unsigned i = 0; i < 9; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    for (unsigned restart = 0; restart < 2; restart++) {
        guests_start((struct vbd_options){.slots = 64}, 1, &guests_variants[0]);
        front_guest_start(2);
        guests_share(2, "xvda", &guests_variants[0]);
        guests.disk[0].stalled = true;
        for (unsigned n = 0; n < 7; n++) /* all slots but that of the ring's page */
            index[n] = front_rw(&guests.front[0], true, n * 88, parts, 9);
        front_push(&guests.front[0]);
        vbd_run();
        assert_int_equal(vbd.core.cache.taken, 64);
        front_share(&guests.front[1]);
        front_write_number(&guests.front[1], "state", XenbusStateInitialised);
        vbd_run();
        assert_int_equal(back_state(&guests.front[1]), XenbusStateInitWait);
        assert_non_null(vbd.pool.slots_queue.first);
        front_write_number(&guests.front[1], "state", XenbusStateClosed);
        vbd_run();
        front_unshare(&guests.front[1]);
        if (restart)
            front_write_number(&guests.front[1], "state", XenbusStateInitialising);
        model_resume(&guests.disk[0]);
        front_exchange(&guests.front[0]);
        for (unsigned n = 0; n < 7; n++)
            assert_int_equal(front_status(&guests.front[0], index[n]), BLKIF_RSP_OKAY);
        guests_transfer(true, 0, 11, 1); /* the queue is free */
        if (restart)
            front_connect(&guests.front[1]);
        guests_stop();
    }
}

static unsigned send_segments(unsigned f, unsigned count)
{
    struct part parts[256];

    for (unsigned i = 0; i < count; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    const unsigned index = guests_send(&guests.front[f], true, 0, parts, count);

    front_push(&guests.front[f]);
    vbd_run();
    return index;
}

/* A device is the first waiter for a record, and then its guest's other disk uses up their quota:
 * it leaves the queue, and another guest gets the record. */
static void a_full_quota_leaves_the_queue_for_records(void **state)
{
    static const struct dgm_blkback_pool_sizes few = {
        .devices = 3,
        .each = {.requests = {1, 1, 1}, .commands = 16},
        .shared = {.requests = {0, 1, 0}, .commands = 16},
    };
    const struct dgm_blkback_waiter *waiter = &guests.back[1].shares[DGM_BLKBACK_MEDIUM].waiter;

    vbd_start((struct vbd_options){.quota = 600, .sizes = &few, .guest_disks = 2});
    guests.used = 0;
    for (unsigned f = 0; f < 3; f++) {
        if (f != 1)
            front_guest_start((domid_t)(f / 2 + 1));
        guests_share((domid_t)(f / 2 + 1), f == 1 ? "xvdb" : "xvda", &guests_variants[0]);
        front_connect(&guests.front[f]);
        guests.disk[f].stalled = true;
    }
    assert_int_equal(guests.back[1].segments_max, 256);
    (void)send_segments(2, 20); /* guest 2's own medium record, */
    (void)send_segments(2, 20); /* and the shared one */
    (void)send_segments(1, 256);
    (void)send_segments(1, 12); /* the device's own medium record */
    (void)send_segments(1, 32);
    assert_ptr_equal(vbd.pool.resources[DGM_BLKBACK_MEDIUM].queue.first, waiter);
    (void)send_segments(0, 256);
    (void)send_segments(0, 29); /* now the device's next request has no room in the quota */
    model_resume(&guests.disk[2]);
    vbd_run();
    front_collect(&guests.front[2]);
    assert_int_equal(guests.front[2].outstanding, 0);
    assert_null(waiter->queue);
    guests.disk[2].stalled = true;
    (void)send_segments(2, 20);
    (void)send_segments(2, 20);
    assert_int_equal(guests.back[2].records_used, 2);
    for (unsigned f = 0; f < 3; f++)
        model_resume(&guests.disk[f]);
    vbd_run();
    for (unsigned f = 0; f < 3; f++) {
        front_collect(&guests.front[f]);
        assert_int_equal(guests.front[f].outstanding, 0);
        for (unsigned i = 0; i < FRONT_SENT_MAX; i++) {
            if (guests.front[f].sent[i].used)
                assert_int_equal(front_status(&guests.front[f], i), BLKIF_RSP_OKAY);
        }
    }
    guests_stop();
}

/* Too little of everything, three guests, each in another mode: every request is served. */
static void shortage_in_every_mode(void **state)
{
    static struct part parts[3][16][40];
    const size_t variants = sizeof guests_variants / sizeof guests_variants[0];

    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    for (size_t first = 0; first < variants; first++) {
        vbd_start((struct vbd_options){.slots = 180,
                                       .bounce = 3,
                                       .copies = 96,
                                       .persistent_frames = 90,
                                       .identities = 7,
                                       .quota = 90});
        guests.used = 0;
        for (unsigned f = 0; f < 3; f++) {
            front_guest_start((domid_t)(f + 1));
            guests_share((domid_t)(f + 1), "xvda", &guests_variants[(first + f * 4) % variants]);
            guests.disk[f].dev.tag.gap = f == 1 ? 0 : DGM_FRAME_BYTES;
            guests.disk[f].backwards = f == 2;
            front_connect(&guests.front[f]);
        }
        for (unsigned round = 0; round < 6; round++) {
            unsigned index[3][16], count[3][16];

            for (unsigned n = 0; n < 16; n++) {
                for (unsigned f = 0; f < 3; f++) {
                    count[f][n] = 1 + (unsigned)unit_below(n % 2 ? 40 : 11);
                    for (unsigned i = 0; i < count[f][n]; i++) {
                        parts[f][n][i] = (struct part){100 + n * 40 + i, 0, (uint8_t)unit_below(8)};
                        guests_fill((domid_t)(f + 1), parts[f][n][i].gfn, round);
                    }
                    index[f][n] = count[f][n] > 11
                                      ? front_rw_indirect(&guests.front[f], n % 3 == 0, n * 320,
                                                          parts[f][n], count[f][n], 1000 + n)
                                      : front_rw(&guests.front[f], n % 3 == 0, n * 320, parts[f][n],
                                                 count[f][n]);
                    front_push(&guests.front[f]);
                }
            }
            vbd_run();
            for (unsigned f = 0; f < 3; f++) {
                front_collect(&guests.front[f]);
                for (unsigned n = 0; n < 16; n++) {
                    assert_int_equal(front_status(&guests.front[f], index[f][n]), BLKIF_RSP_OKAY);
                    guests_expect_same(&guests.disk[f], guests.front[f].domid, parts[f][n],
                                       count[f][n], n * 320);
                }
            }
        }
        assert_true(guests.back[0].counters.waits + guests.back[1].counters.waits +
                    guests.back[2].counters.waits);
        guests_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_quota_blocks_no_other_guest),
        cmocka_unit_test(two_disks_and_one_quota),
        cmocka_unit_test(slots_and_copy_buffers_have_queues_of_their_own),
        cmocka_unit_test(room_returns_to_the_device_that_waits),
        cmocka_unit_test(leaving_the_queue_before_connecting),
        cmocka_unit_test(a_full_quota_leaves_the_queue_for_records),
        cmocka_unit_test(shortage_in_every_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
