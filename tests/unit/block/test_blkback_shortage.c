/* SPDX-License-Identifier: MIT */
/*
 * blkback with shortages of all resources: records, commands, slots, bounce buffers, queue entries.
 * If these fail, a shortage becomes an I/O error or a deadlock, or one disk starves another.
 */
#include "guests_rig.h"

/* --- too little of a resource --- */

/* Requests of all sizes on every disk, written and read back; every response must be OK. */
static void all_sizes(void)
{
    static struct part parts[GUESTS_DISKS][32][64];
    unsigned index[GUESTS_DISKS][32];

    for (unsigned write = 2; write-- > 0;) {
        for (unsigned n = 0; n < 24; n++) {
            /* 1 to 64 segments, the same on every disk */
            const unsigned count = 1 + (n * 23 + 7) % 64;

            for (unsigned f = 0; f < guests.used; f++) {
                for (unsigned i = 0; i < count; i++) {
                    const uint8_t first = (uint8_t)((n + i) % 3);
                    uint8_t *page = dgm_hv_page(guests.front[f].domid, 100 + n * 64 + i);

                    parts[f][n][i] = (struct part){100 + n * 64 + i, first, (uint8_t)(first + 3)};
                    memset(page, write ? (int)(f * 50 + n * 7 + i) : 0, DGM_FRAME_BYTES);
                }
                const unsigned even = count & ~1u ? count & ~1u : 2; /* whole blocks of 4096 */
                index[f][n] = even > 11
                                  ? front_rw_indirect(&guests.front[f], write, n * 512, parts[f][n],
                                                      even, 2020 + n)
                                  : front_rw(&guests.front[f], write, n * 512, parts[f][n], even);
                front_push(&guests.front[f]);
            }
        }
        vbd_run();
        for (unsigned f = 0; f < guests.used; f++) {
            front_collect(&guests.front[f]);
            for (unsigned n = 0; n < 24; n++) {
                assert_int_equal(front_status(&guests.front[f], index[f][n]), BLKIF_RSP_OKAY);
                const unsigned count = 1 + (n * 23 + 7) % 64;
                const unsigned even = count & ~1u ? count & ~1u : 2;
                const uint8_t *at = guests.disk[f].bytes + n * 512 * 512;
                for (unsigned i = 0; i < even; i++) {
                    const uint8_t *page = dgm_hv_page(guests.front[f].domid, parts[f][n][i].gfn);
                    assert_memory_equal(at, page + parts[f][n][i].first * 512, 2048);
                    assert_int_equal(*at, (uint8_t)(f * 50 + n * 7 + i));
                    at += 2048;
                }
            }
        }
    }
}

static uint64_t count_waits(void)
{
    uint64_t sum = 0;

    for (unsigned f = 0; f < guests.used; f++)
        sum += guests.back[f].counters.waits;
    return sum;
}

static void one_record_and_one_command(void **state)
{
    guests_start_plain((struct vbd_options){.sizes = &guests_one_of_each}, 4, 512);
    all_sizes();
    assert_true(count_waits() > 100);
    guests_stop();
}

static void one_bounce_buffer_each(void **state)
{
    guests_start_plain((struct vbd_options){.bounce = 3}, 3, 4096);
    all_sizes();
    assert_true(vbd.core.bounce.waits > 10);
    guests_stop();
}

static void one_queue_entry(void **state)
{
    guests_start_plain((struct vbd_options){0}, 3, 512);
    for (unsigned f = 0; f < 3; f++)
        guests.disk[f].depth = 1;
    all_sizes();
    assert_true(guests.disk[0].queue_full > 10);
    guests_stop();
}

static void few_slots(void **state)
{
    guests_start_plain((struct vbd_options){.slots = 280}, 4, 512); /* 70 segments are offered */
    assert_int_equal(front_key_number(&guests.front[0], true, "feature-max-indirect-segments"), 70);
    all_sizes();
    assert_true(count_waits() > 10);
    assert_true(vbd.core.cache.taken_max > 250);
    guests_stop();
}

static void little_of_everything(void **state)
{
    guests_start_plain(
        (struct vbd_options){.sizes = &guests_one_of_each, .bounce = 4, .slots = 280}, 4, 4096);
    for (unsigned f = 0; f < 4; f++)
        guests.disk[f].depth = 1;
    all_sizes();
    guests_stop();
}

/* No slot is free for the ring's page: the connection waits until there is one. */
static void no_slot_for_the_ring(void **state)
{
    struct dgm_foreign taken[80];
    grant_ref_t refs[80];
    unsigned count = 0;

    vbd_start((struct vbd_options){.slots = 64});
    guests.used = 2;
    for (unsigned i = 0; i < 2; i++) {
        model_start(&guests.disk[i], 4096, 512);
        front_guest_start((domid_t)(i + 1));
        front_init(&guests.front[i], (domid_t)(i + 1), "xvda");
        assert_int_equal(
            vbd_share_plain(&guests.back[i], (domid_t)(i + 1), "xvda", &guests.disk[i].dev, true),
            DGM_OK);
    }
    front_connect(&guests.front[0]);
    while (vbd.core.cache.free) {
        refs[count] = dgm_hv_grant_any(2, 20 + count, false);
        assert_int_equal(dgm_slot_reserve(&vbd.core.cache, NULL, 1), DGM_OK);
        dgm_grant_map_add(vbd.core.grant, &taken[count], NULL,
                          (struct dgm_guest_grant){.ref = refs[count], .domid = 2});
        count++;
    }
    dgm_grant_map_commit(vbd.core.grant);
    front_share(&guests.front[1]);
    front_write_number(&guests.front[1], "state", XenbusStateInitialised);
    vbd_run();
    assert_int_equal(back_state(&guests.front[1]), XenbusStateInitWait);
    front_close(&guests.front[0]); /* its ring's slot becomes free */
    vbd_run();
    assert_int_equal(back_state(&guests.front[1]), XenbusStateConnected);
    assert_int_equal(vbd.core.cache.free, 0);
    for (unsigned i = 0; i < count; i++)
        dgm_grant_unmap_add(vbd.core.grant, &taken[i]);
    dgm_grant_unmap_commit(vbd.core.grant);
    guests_stop();
}

/* A device without requests in flight waits for slots that another device has. */
static void slots_held_by_another(void **state)
{
    struct part parts[16];
    unsigned index;

    for (unsigned i = 0; i < 16; i++)
        parts[i] = (struct part){300 + i, 0, 7};
    guests_start_plain((struct vbd_options){.slots = 64}, 2, 512);
    guests.disk[0].stalled = true;
    for (unsigned i = 0; i < 3; i++)
        (void)front_rw_indirect(&guests.front[0], false, 0, parts, 16, 9);
    front_exchange(&guests.front[0]);
    index = front_rw_indirect(&guests.front[1], false, 0, parts, 16, 9);
    front_exchange(&guests.front[1]);
    assert_int_equal(guests.front[1].outstanding, 1);
    model_resume(&guests.disk[0]);
    vbd_run();
    front_collect(&guests.front[1]);
    assert_int_equal(front_status(&guests.front[1], index), BLKIF_RSP_OKAY);
    front_collect(&guests.front[0]);
    assert_int_equal(guests.front[0].outstanding, 0);
    guests_stop();
}

/* Each disk has its own small record and one more is shared; all are in use, and two devices wait.
 * The first waiter's task is posted for the shared one, and its guest dies before it runs: the next
 * waiter gets the record. */
static void the_first_waiter_dies(void **state)
{
    static const struct dgm_blkback_pool_sizes sizes = {
        .devices = 3,
        .each = {.requests = {1, 1, 1}, .commands = 2},
        .shared = {.requests = {1, 0, 0}},
    };
    const struct part part = {200, 0, 7};
    const struct dgm_blkback_resource *small = &vbd.pool.resources[DGM_BLKBACK_SMALL];

    guests_start_plain((struct vbd_options){.sizes = &sizes}, 3, 512);
    for (unsigned f = 0; f < 3; f++) {
        guests.disk[f].stalled = true;
        for (unsigned n = 0; n < 2; n++)
            (void)front_rw(&guests.front[f], false, 0, &part, 1);
        front_exchange(&guests.front[f]);
    }
    assert_int_equal(small->used, 4);
    assert_int_equal(guests.back[0].records_used, 2);
    assert_ptr_equal(small->queue.first, &guests.back[1].shares[DGM_BLKBACK_SMALL].waiter);
    model_resume(&guests.disk[0]);
    while (!guests.back[1].task.posted)
        assert_true(vbd_turn());
    dgm_hv_domain_destroy(2);
    dgm_blkback_guest_gone(&guests.back[1]);
    vbd_run();
    assert_int_equal(guests.back[2].records_used, 2);
    model_resume(&guests.disk[1]);
    model_resume(&guests.disk[2]);
    vbd_run();
    front_collect(&guests.front[2]);
    assert_int_equal(guests.front[2].outstanding, 0);
    for (unsigned f = 0; f < 3; f++) {
        vbd_end(&guests.back[f]);
        model_stop(&guests.disk[f]);
    }
    vbd_stop();
}

/* All disks want the few records, or the one command, without end: each gets a fair share. */
static void fair_shares(const struct dgm_blkback_pool_sizes *sizes)
{
    const struct part small[] = {{200, 0, 7}};
    unsigned most = 0, least = UINT32_MAX;

    guests_start_plain((struct vbd_options){.sizes = sizes}, 4, 512);
    for (unsigned turn = 0; turn < 3000; turn++) {
        for (unsigned f = 0; f < 4; f++) {
            while (guests.front[f].outstanding < 16) {
                (void)front_rw(&guests.front[f], false, 8 * f, small, 1);
                front_push(&guests.front[f]);
            }
        }
        (void)vbd_turn();
        for (unsigned f = 0; f < 4; f++) {
            front_collect(&guests.front[f]);
            for (unsigned i = 0; i < FRONT_SENT_MAX; i++) {
                if (guests.front[f].sent[i].used && guests.front[f].sent[i].responded)
                    assert_int_equal(front_status(&guests.front[f], i), BLKIF_RSP_OKAY);
            }
        }
    }
    vbd_run();
    for (unsigned f = 0; f < 4; f++) {
        front_collect(&guests.front[f]);
        if (guests.front[f].responses > most)
            most = guests.front[f].responses;
        if (guests.front[f].responses < least)
            least = guests.front[f].responses;
    }
    print_message("# from %u to %u responses\n", least, most);
    assert_true(least > 100);
    assert_true(most - least < most / 10 + 20);
    guests_stop();
}

static void no_device_starves(void **state)
{
    static const struct dgm_blkback_pool_sizes one_shared = {
        .devices = 4,
        .each = {.requests = {1, 1, 1}, .commands = 1},
        .shared = {.requests = {1, 1, 1}, .commands = 1},
    };
    static const struct dgm_blkback_pool_sizes few_commands = {
        .devices = 4,
        .each = {.requests = {16, 1, 1}, .commands = 1},
        .shared = {.commands = 1},
    };

    fair_shares(&guests_one_of_each);
    fair_shares(&one_shared);
    fair_shares(&few_commands);
}

/* A large request gets its record while small ones never stop. */
static void large_among_small(void **state)
{
    static const struct dgm_blkback_pool_sizes sizes = {
        .devices = 3,
        .each = {.requests = {1, 1, 1}, .commands = 1},
        .shared = {.requests = {1}, .commands = 1},
    };
    const struct part small[] = {{200, 0, 7}};
    struct part many[200];

    for (unsigned i = 0; i < 200; i++)
        many[i] = (struct part){300 + i * 2, 0, 7};
    guests_start_plain((struct vbd_options){.sizes = &sizes}, 3, 512);
    for (unsigned round = 0; round < 5; round++) {
        const unsigned large = front_rw_indirect(&guests.front[0], false, 0, many, 200, 9);

        front_push(&guests.front[0]);
        for (unsigned turn = 0; !guests.front[0].sent[large].responded; turn++) {
            assert_true(turn < 500);
            for (unsigned f = 1; f < 3; f++) {
                while (guests.front[f].outstanding < 16) {
                    (void)front_rw(&guests.front[f], false, 0, small, 1);
                    front_push(&guests.front[f]);
                }
            }
            (void)vbd_turn();
            for (unsigned f = 0; f < 3; f++) {
                front_collect(&guests.front[f]);
                for (unsigned i = 0; f && i < FRONT_SENT_MAX; i++) {
                    if (guests.front[f].sent[i].used && guests.front[f].sent[i].responded)
                        assert_int_equal(front_status(&guests.front[f], i), BLKIF_RSP_OKAY);
                }
            }
        }
        assert_int_equal(front_status(&guests.front[0], large), BLKIF_RSP_OKAY);
    }
    vbd_run();
    guests_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_record_and_one_command),
        cmocka_unit_test(one_bounce_buffer_each),
        cmocka_unit_test(one_queue_entry),
        cmocka_unit_test(few_slots),
        cmocka_unit_test(little_of_everything),
        cmocka_unit_test(no_slot_for_the_ring),
        cmocka_unit_test(slots_held_by_another),
        cmocka_unit_test(the_first_waiter_dies),
        cmocka_unit_test(no_device_starves),
        cmocka_unit_test(large_among_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
