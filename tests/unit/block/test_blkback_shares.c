/* SPDX-License-Identifier: MIT */
/*
 * The resources that one guest and its disks hold never keep another device from its healthy disk.
 * If these fail, a guest with a slow, hung or dead disk, or one that floods, stops the disks of all
 * others, or a guest's dead disk stops its other disks.
 *
 * In each test hogs take all that they can get; then a victim is served within a number of the
 * reactor's turns that does not depend on the hogs. The model disk completes a command in the turn
 * after the kick, so an undisturbed request takes three turns.
 */
#include "guests_rig.h"

#define TURNS 6u /* for one request of a victim */

static const struct guests_variant map = {.name = "map", .mode = DGM_REACH_MODE_MAP};

static void start_pool(struct vbd_options options)
{
    guests.sectors = 4096;
    guests.used = 0;
    vbd_start(options);
}

/* One more guest with `disks` disks. Returns the index of its first disk. */
static unsigned add_guest(domid_t domid, unsigned disks, const struct guests_variant *v)
{
    const unsigned first = guests.used;

    front_guest_start(domid);
    for (unsigned i = 0; i < disks; i++) {
        const char vdev[] = {'x', 'v', 'd', (char)('a' + i), 0};

        guests_share(domid, vdev, v);
        front_connect(&guests.front[first + i]);
    }
    return first;
}

/* Requests of `count` segments, until the ring is full; of large ones 10, more than there are
 * records. */
static void fill_ring(unsigned f, unsigned count)
{
    const unsigned requests = count > 32 ? 10 : 32;
    struct part parts[256];

    for (unsigned i = 0; i < count; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    while (guests.front[f].outstanding < requests)
        (void)guests_send(&guests.front[f], false, 0, parts, count);
    front_push(&guests.front[f]);
}

static void collect_all_ok(unsigned f)
{
    front_collect(&guests.front[f]);
    for (unsigned i = 0; i < FRONT_SENT_MAX; i++) {
        if (guests.front[f].sent[i].used && guests.front[f].sent[i].responded)
            assert_int_equal(front_status(&guests.front[f], i), BLKIF_RSP_OKAY);
    }
}

/* One read of `count` segments is served within `turns`; `hog`, if any,
 * fills its ring each turn. */
static void served_within(unsigned turns, unsigned f, unsigned count, void (*hog)(void))
{
    struct part parts[256];

    for (unsigned i = 0; i < count; i++) {
        parts[i] = (struct part){700 + i, 0, 7};
        memset(dgm_hv_page(guests.front[f].domid, parts[i].gfn), 0, DGM_FRAME_BYTES);
    }
    const unsigned index = guests_send(&guests.front[f], false, 8, parts, count);

    front_push(&guests.front[f]);
    for (unsigned turn = 0; !guests.front[f].sent[index].responded; turn++) {
        if (turn == turns)
            fail_msg("a read of %u segments is not served within %u turns", count, turns);
        if (hog)
            hog();
        (void)vbd_turn();
        front_collect(&guests.front[f]);
    }
    assert_int_equal(front_status(&guests.front[f], index), BLKIF_RSP_OKAY);
    guests_expect_same(&guests.disk[f], guests.front[f].domid, parts, count, 8);
}

/* All sizes that device f offers. */
static void victim_is_served(unsigned f, void (*hog)(void))
{
    const unsigned most = guests.back[f].segments_max;

    served_within(TURNS, f, 1, hog);
    served_within(TURNS, f, 11, hog);
    if (most >= 32)
        served_within(TURNS, f, 32, hog);
    served_within(TURNS, f, most > 11 ? most : 11, hog);
}

/* All requests complete, and all devices end. */
static void end_all(void)
{
    for (unsigned f = 0; f < guests.used; f++) {
        guests.disk[f].rate = 0;
        model_resume(&guests.disk[f]);
    }
    vbd_run();
    for (unsigned f = 0; f < guests.used; f++) {
        if (guests.gone[f])
            continue;
        collect_all_ok(f);
        assert_int_equal(guests.front[f].outstanding, 0);
    }
    guests_stop();
}

static void stall_disks(unsigned first, unsigned count)
{
    for (unsigned f = first; f < first + count; f++)
        guests.disk[f].stalled = true;
}

/* --- disks that hang --- */

static void two_hung_disks_with_full_rings(void **state)
{
    static const unsigned sizes[] = {1, 11, 32, 33, 256};

    for (unsigned n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
        start_pool((struct vbd_options){.slots = 32768, .quota = 16384, .guest_disks = 2});
        add_guest(1, 2, &map);
        const unsigned victim = add_guest(2, 1, &map);

        stall_disks(0, 2);
        fill_ring(0, sizes[n]);
        fill_ring(1, sizes[n]);
        vbd_run();
        assert_int_equal(guests.back[0].counters.waits > 0, sizes[n] > 32);
        victim_is_served(victim, NULL);
        end_all();
    }
}

/* Hung disks of all classes at once, as many as one guest has. */
static void six_hung_disks_of_one_guest(void **state)
{
    start_pool((struct vbd_options){.slots = 32768, .quota = 16384, .guest_disks = 6});
    add_guest(1, 6, &map);
    const unsigned victim = add_guest(2, 1, &map);

    stall_disks(0, 6);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned f = 0; f < 6; f++)
            fill_ring(f, (unsigned[]){1, 32, 256}[(f + round) % 3]);
        vbd_run();
        victim_is_served(victim, NULL);
    }
    end_all();
}

/* The guest's other disk is served too, in every mode, even with a small quota. */
static void a_hung_disk_and_its_guests_other_disk(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (uint64_t quota = 60; quota <= 600; quota *= 10) {
            struct vbd_options options = guests_everything;

            print_message("# %s, a quota of %llu\n", v->name, (unsigned long long)quota);
            options.copies = options.identities = 1000;
            options.quota = quota;
            options.guest_disks = 2;
            start_pool(options);
            add_guest(1, 2, v);
            stall_disks(0, 1);
            fill_ring(0, 11);
            vbd_run();
            victim_is_served(1, NULL);
            fill_ring(0, guests.back[0].segments_max);
            vbd_run();
            victim_is_served(1, NULL);
            end_all();
        }
    }
}

/* Thirty-two guests: the disks of all but one hang. */
static void one_healthy_disk_among_32(void **state)
{
    const struct dgm_blkback_pool_sizes sizes =
        dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){32, 0});

    start_pool((struct vbd_options){.slots = 32768, .quota = 1024, .sizes = &sizes});
    for (domid_t domid = 1; domid <= 32; domid++)
        add_guest(domid, 1, &map);
    stall_disks(0, 31);
    for (unsigned f = 0; f < 31; f++)
        fill_ring(f, (unsigned[]){1, 32, 256}[f % 3]);
    vbd_run();
    victim_is_served(31, NULL);
    end_all();
}

/* A dead disk keeps its records although its guest has ended and is quarantined. */
static void a_dead_disk_of_a_guest_that_ended(void **state)
{
    start_pool((struct vbd_options){.slots = 4096, .quota = 1024});
    add_guest(1, 1, &map);
    const unsigned victim = add_guest(2, 1, &map);

    stall_disks(0, 1);
    fill_ring(0, 32);
    vbd_run();
    guests.gone[0] = true;
    dgm_blkback_guest_gone(&guests.back[0]);
    vbd_pass(DGM_BLKBACK_RELEASE_NS);
    assert_true(dgm_blkback_quarantined(&guests.back[0]));
    victim_is_served(victim, NULL);
    end_all();
}

/* --- disks that are slow --- */

/* Two disks that complete one command each in 50 turns, with full rings all the time. */
static void fill_throttled_rings(void)
{
    static unsigned turn;

    for (unsigned f = 0; f < 2; f++) {
        fill_ring(f, f ? 32 : 1);
        if (turn++ % 50 == 0 && guests.disk[f].kicked)
            model_complete_one(&guests.disk[f]);
        collect_all_ok(f);
    }
}

static void a_flood_of_two_throttled_disks(void **state)
{
    start_pool((struct vbd_options){.slots = 32768, .quota = 16384, .guest_disks = 2});
    add_guest(1, 2, &map);
    const unsigned victim = add_guest(2, 1, &map);

    stall_disks(0, 2);
    for (unsigned round = 0; round < 100; round++)
        victim_is_served(victim, fill_throttled_rings);
    end_all();
}

/* --- one disk for several --- */

static unsigned shared_hogs;

static void fill_shared_rings(void)
{
    for (unsigned f = 0; f < shared_hogs; f++) {
        collect_all_ok(f);
        fill_ring(f, 1);
    }
}

/* A victim waits for one turn of each device that was queued before it, whatever these still have
 * to submit. */
static void several_guests_share_a_disk(void **state)
{
    for (shared_hogs = 1; shared_hogs <= 5; shared_hogs += 2) {
        for (unsigned depth = 1; depth <= 8; depth *= 2) {
            start_pool((struct vbd_options){.slots = 4096, .quota = 256});
            for (domid_t domid = 1; domid <= shared_hogs + 1; domid++) {
                const unsigned f = guests.used++;

                front_guest_start(domid);
                if (f == 0)
                    model_start(&guests.disk[0], 4096, 512);
                front_init(&guests.front[f], domid, "xvda");
                assert_int_equal(
                    vbd_share_plain(&guests.back[f], domid, "xvda", &guests.disk[0].dev, false),
                    DGM_OK);
                front_connect(&guests.front[f]);
            }
            guests.disk[0].depth = depth;
            guests.disk[0].rate = 1;
            for (unsigned n = 0; n < 200; n++) {
                fill_shared_rings();
                (void)vbd_turn();
            }
            assert_true(guests.disk[0].queue_full > 0);
            guests.disk[shared_hogs].bytes = guests.disk[0].bytes; /* to compare with */
            for (unsigned n = 0; n < 20; n++) /* two turns for each command before its own */
                served_within(2 * (depth + shared_hogs) + TURNS, shared_hogs, 1, fill_shared_rings);
            guests.disk[0].rate = 0;
            vbd_run();
            for (unsigned f = 0; f <= shared_hogs; f++) {
                collect_all_ok(f);
                front_close(&guests.front[f]);
                vbd_end(&guests.back[f]);
            }
            model_stop(&guests.disk[0]);
            guests.sectors = 0;
            vbd_stop();
        }
    }
}

/* A device waits for a second command when its disk's queue is full. If this fails, returning the
 * first one wakes the device itself, which takes it again: it spins until the disk has room. */
static void a_full_disk_and_its_only_command(void **state)
{
    struct dgm_blkback_pool_sizes sizes =
        dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){1, 0});
    const struct part part = {300, 0, 7};

    sizes.each.commands = 1;
    sizes.shared.commands = 0;
    start_pool((struct vbd_options){.sizes = &sizes});
    add_guest(1, 1, &map);
    stall_disks(0, 1);
    for (unsigned i = 0; i < 2; i++)
        (void)guests_send(&guests.front[0], false, 8 * i, &part, 1);
    front_push(&guests.front[0]);
    vbd_run();
    assert_int_equal(guests.disk[0].queued, 1);
    const unsigned depth = guests.disk[0].depth;
    guests.disk[0].depth = 0;
    model_complete_one(&guests.disk[0]);
    vbd_run();
    assert_int_equal(guests.disk[0].queued, 0);
    guests.disk[0].depth = depth;
    dgm_waiters_wake(&guests.disk[0].dev.waiters, &vbd.reactor);
    model_resume(&guests.disk[0]);
    vbd_run();
    collect_all_ok(0);
    assert_int_equal(guests.front[0].outstanding, 0);
    guests_stop();
}

/* --- creating --- */

/* A device that could not have its minimum is not created. */
static void minimums_that_do_not_fit(void **state)
{
    static struct dgm_blkback back;
    const struct dgm_blkback_pool_sizes two =
        dgm_blkback_pool_sizes_for((struct dgm_blkback_pool_room){2, 0});

    start_pool((struct vbd_options){.slots = 4096, .quota = 1024, .sizes = &two});
    add_guest(1, 1, &map);
    add_guest(2, 1, &map);
    front_guest_start(3);
    assert_int_equal(vbd_share_plain(&back, 3, "xvda", &guests.disk[0].dev, false), DGM_ENOSPC);
    front_close(&guests.front[0]);
    vbd_end(&guests.back[0]);
    assert_int_equal(vbd_share_plain(&back, 3, "xvda", &guests.disk[0].dev, false), DGM_OK);
    vbd_end(&back);
    guests_share(1, "xvdb", &map); /* in place of the first disk's */
    vbd_end(&guests.back[2]);
    model_stop(&guests.disk[2]);
    model_stop(&guests.disk[0]);
    front_close(&guests.front[1]);
    vbd_end(&guests.back[1]);
    model_stop(&guests.disk[1]);
    guests.sectors = 0;
    vbd_stop();

    start_pool(
        (struct vbd_options){.slots = 4096, .quota = 600}); /* one disk has the whole quota */
    add_guest(1, 1, &map);
    assert_int_equal(guests.back[0].segments_max, 256);
    assert_int_equal(vbd_share_plain(&back, 1, "xvdb", &guests.disk[0].dev, false), DGM_OK);
    vbd_end(&back);
    guests_stop();
    start_pool((struct vbd_options){.slots = 4096, .quota = 500});
    add_guest(1, 1, &map);
    assert_int_equal(vbd_share_plain(&back, 1, "xvdb", &guests.disk[0].dev, false), DGM_ENOSPC);
    guests_stop();
}

/* Refused requests on all disks of a guest. Fails: each disk has a share of the log, so a guest
 * with many disks has many; or a guest has the share of another one. */
static void a_guest_has_one_share_of_the_log(void **state)
{
    const uint64_t beyond = 1ull << 40;
    const struct part part = {100, 0, 7};

    start_pool((struct vbd_options){.slots = 4096, .quota = 2048});
    add_guest(1, 3, &map);
    const unsigned other = add_guest(2, 1, &map);
    const uint64_t lines = dgm_sim_log_lines();

    for (unsigned i = 0; i < 60; i++) {
        const unsigned index = guests_send(&guests.front[i % 3], false, beyond, &part, 1);

        front_exchange(&guests.front[i % 3]);
        assert_int_equal(front_status(&guests.front[i % 3], index), BLKIF_RSP_ERROR);
    }
    assert_int_equal(dgm_sim_log_lines() - lines, DGM_LOG_LIMIT_BURST);
    const unsigned index = guests_send(&guests.front[other], false, beyond, &part, 1);

    front_exchange(&guests.front[other]);
    assert_int_equal(front_status(&guests.front[other], index), BLKIF_RSP_ERROR);
    assert_int_equal(dgm_sim_log_lines() - lines, DGM_LOG_LIMIT_BURST + 1);
    end_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_hung_disks_with_full_rings),
        cmocka_unit_test(six_hung_disks_of_one_guest),
        cmocka_unit_test(a_hung_disk_and_its_guests_other_disk),
        cmocka_unit_test(one_healthy_disk_among_32),
        cmocka_unit_test(a_dead_disk_of_a_guest_that_ended),
        cmocka_unit_test(a_flood_of_two_throttled_disks),
        cmocka_unit_test(several_guests_share_a_disk),
        cmocka_unit_test(a_full_disk_and_its_only_command),
        cmocka_unit_test(minimums_that_do_not_fit),
        cmocka_unit_test(a_guest_has_one_share_of_the_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
