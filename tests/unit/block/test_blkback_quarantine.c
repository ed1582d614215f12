/* SPDX-License-Identifier: MIT */
/*
 * blkback and a disk that does not give back: letting go of a frontend ends in bounded time all the
 * same. If these fail, a guest cannot end because of a broken disk, or a frame that the disk may
 * still write is somebody else's, or is never released when the disk comes back after all.
 */
#include "blkback_rig.h"

static const struct variant {
    const char *name;
    enum dgm_reach_mode mode;
    bool persistent;
} variants[] = {
    {"map", DGM_REACH_MODE_MAP, false},
    {"kept", DGM_REACH_MODE_MAP, true},
    {"copy", DGM_REACH_MODE_COPY, false},
    {"identity", DGM_REACH_MODE_IDENTITY, false},
};

#define FOR_EACH_VARIANT(v)                                                                        \
    for (const struct variant *v = variants; v < variants + sizeof variants / sizeof variants[0];  \
         v++)

static struct model_disk disks[2];
static struct dgm_blkback backs[2];
static struct front fronts[2];
static bool gone[2];

/* Two guests, a disk each. */
static void start(const struct variant *v)
{
    rig_start((struct rig_options){.copies = 600, .persistent_frames = 900, .identities = 600});
    for (unsigned i = 0; i < 2; i++) {
        const domid_t domid = (domid_t)(i + 1);

        gone[i] = false;
        model_start(&disks[i], 8192, 512);
        guest_start(domid);
        front_init(&fronts[i], domid, "xvda");
        fronts[i].persistent = v->persistent;
        assert_int_equal(rig_share_by(&backs[i], domid, "xvda", &disks[i].dev, true, v->mode,
                                      v->persistent ? 300 : 0),
                         DGM_OK);
        front_connect(&fronts[i]);
    }
}

static void stop(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (back_state(&fronts[i]) == XenbusStateConnected && !gone[i])
            front_close(&fronts[i]);
        device_end(&backs[i]);
        model_stop(&disks[i]);
    }
    rig_stop();
}

/* `count` frames of guest f, written to the disk and read again. */
static void works(unsigned f, unsigned count)
{
    struct part parts[64];

    for (unsigned write = 2; write-- > 0;) {
        for (unsigned i = 0; i < count; i++) {
            parts[i] = (struct part){300 + i, 0, 7};
            memset(dgm_hv_page(fronts[f].domid, parts[i].gfn), write ? (int)(i + count) : 0,
                   DGM_FRAME_BYTES);
        }
        const unsigned index = count > 11
                                   ? front_rw_indirect(&fronts[f], write, 4096, parts, count, -1, 8)
                                   : front_rw(&fronts[f], write, 4096, parts, count, -1);

        front_go(&fronts[f]);
        assert_int_equal(front_answer(&fronts[f], index), BLKIF_RSP_OKAY);
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(*(uint8_t *)dgm_hv_page(fronts[f].domid, parts[i].gfn), i + count);
    }
}

/* Requests that the disk of guest 1 takes and keeps: 41 frames of data, one of segments. */
static void hold(void)
{
    struct part parts[40];

    for (unsigned i = 0; i < 40; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    disks[0].hold = true;
    front_rw_indirect(&fronts[0], false, 0, parts, 36, -1, 9);
    front_rw(&fronts[0], true, 512, parts + 36, 4, -1);
    front_rw(&fronts[0], false, 1024, &(struct part){200, 0, 7}, 1, -1);
    front_flush(&fronts[0]);
    front_push(&fronts[0]);
    rig_run();
    assert_int_equal(backs[0].live, 4);
    assert_true(disks[0].queued >= 4);
}

static void front_leaves(void)
{
    front_write_number(&fronts[0], "state", XenbusStateClosing);
    rig_run();
    front_write_number(&fronts[0], "state", XenbusStateClosed);
    rig_run();
}

static uint64_t frames_held(const struct variant *v)
{
    return v->mode == DGM_REACH_MODE_COPY ? rig.guests[1].copy_buffers.used : dgm_hv_stats()->live;
}

/* All but 42 frames is released: ring, channel, what was kept. */
static void expect_quarantine(const struct variant *v)
{
    assert_true(dgm_blkback_quarantined(&backs[0]));
    assert_false(dgm_blkback_idle(&backs[0]));
    assert_int_equal(backs[0].counters.quarantined, 4);
    assert_int_equal(dgm_hv_grant_pins(1, fronts[0].ring_ref), 0);
    assert_false(dgm_hv_guest_send(1, fronts[0].port));
    assert_int_equal(backs[0].live, 4);
    /* of guest 2 there is its ring's page, and what it keeps */
    assert_int_equal(frames_held(v) -
                         (v->mode == DGM_REACH_MODE_COPY ? 0 : 1 + backs[1].connection.owner.count),
                     42);
    for (unsigned i = 0; i < 41; i++) /* the disk may still write them */
        if (v->mode != DGM_REACH_MODE_COPY)
            assert_true(dgm_hv_may_dma(dgm_hv_mfn(1, i < 40 ? 100 + i : 200), false));
}

static void expect_released(const struct variant *v)
{
    assert_false(dgm_blkback_quarantined(&backs[0]));
    assert_true(dgm_blkback_idle(&backs[0]));
    assert_int_equal(backs[0].counters.dropped, 4);
    assert_int_equal(backs[0].live, 0);
    assert_int_equal(rig.guests[1].slots.used, 0);
    assert_int_equal(rig.guests[1].copy_buffers.used, 0);
}

/* Patience is exact, and only the disk's frames are held after it. */
static void a_disk_that_keeps_everything(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        print_message("# %s\n", v->name);
        start(v);
        works(0, 20);
        works(1, 7);
        hold();
        front_leaves();
        rig_pass(DGM_BLKBACK_RELEASE_NS - 1);
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
        assert_false(dgm_blkback_quarantined(&backs[0]));
        assert_int_equal(dgm_hv_grant_pins(1, fronts[0].ring_ref), 1);
        rig_pass(1);
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        expect_quarantine(v);
        works(1, 30); /* the other guest does not notice */
        expect_quarantine(v);

        model_release(&disks[0]);
        rig_run();
        expect_released(v);
        front_unshare(&fronts[0]);
        front_write_number(&fronts[0], "state", XenbusStateInitialising);
        front_connect(&fronts[0]);
        works(0, 20);
        stop();
    }
}

static void expect_refused_for_quarantine(void)
{
    char error[128];

    front_share(&fronts[0]);
    front_write_number(&fronts[0], "state", XenbusStateInitialised);
    rig_run();
    assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
    char path[128];

    snprintf(path, sizeof path, "/local/domain/0/error/backend/vbd/1/%u/error", fronts[0].number);
    assert_true(dgm_xs_read(rig.xs, path, error, sizeof error) > 0);
    assert_string_equal(error, "-16 the disk still holds frames of the connection before");
    assert_int_equal(dgm_hv_grant_pins(1, fronts[0].ring_ref), 0);
    front_write_number(&fronts[0], "state", XenbusStateClosed);
    rig_run();
    assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
    assert_true(dgm_hv_grant_end(1, fronts[0].ring_ref));
    dgm_hv_guest_close(1, fronts[0].port);
}

static void a_new_connection_waits_for_the_old_ones_frames(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        struct front before;

        start(v);
        hold();
        front_leaves();
        rig_pass(DGM_BLKBACK_RELEASE_NS);
        assert_true(dgm_hv_grant_end(1, fronts[0].ring_ref));
        dgm_hv_guest_close(1, fronts[0].port);
        before = fronts[0];
        memset(fronts[0].asked, 0, sizeof fronts[0].asked);
        memset(fronts[0].grants, 0, sizeof fronts[0].grants);
        for (unsigned tries = 0; tries < 3; tries++) {
            front_write_number(&fronts[0], "state", XenbusStateInitialising);
            rig_run();
            assert_int_equal(back_state(&fronts[0]), XenbusStateInitWait);
            expect_refused_for_quarantine();
        }
        model_release(&disks[0]);
        rig_run();
        expect_released(v);
        for (unsigned i = 0; i < FRONT_ASKED; i++)
            for (unsigned j = 0; before.asked[i].used && j < before.asked[i].ref_count; j++)
                assert_true(dgm_hv_grant_end(1, before.asked[i].refs[j]));
        front_write_number(&fronts[0], "state", XenbusStateInitialising);
        front_connect(&fronts[0]);
        works(0, 30);
        stop();
    }
}

/* The guest ends, or is ended while it is quarantined;
 * its frames live on until the disk is done. */
static void the_guest_ends(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned late = 0; late < 2; late++) {
            start(v);
            hold();
            gone[0] = true;
            if (late) {
                front_leaves();
                rig_pass(DGM_BLKBACK_RELEASE_NS);
                assert_true(dgm_blkback_quarantined(&backs[0]));
            }
            dgm_blkback_guest_gone(&backs[0]);
            rig_run();
            if (!late) {
                assert_false(dgm_blkback_quarantined(&backs[0]));
                rig_pass(DGM_BLKBACK_RELEASE_NS);
            }
            expect_quarantine(v);
            dgm_hv_domain_destroy(1);
            rig_pass(1000 * DGM_BLKBACK_RELEASE_NS);
            assert_true(dgm_blkback_quarantined(&backs[0]));
            works(1, 40);
            model_release(&disks[0]);
            rig_run();
            expect_released(v);
            stop();
        }
    }
}

/* The disk gives back one command after the other, some of them with errors, at any time. */
static void given_back_bit_by_bit(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned before = 0; before < 4; before++) {
            start(v);
            hold();
            disks[0].fail_from = 1;
            disks[0].fail_count = 2;
            front_leaves();
            for (unsigned i = 0; i < before; i++) {
                model_complete_one(&disks[0]);
                rig_run();
            }
            rig_pass(DGM_BLKBACK_RELEASE_NS);
            assert_true(dgm_blkback_quarantined(&backs[0]));
            while (disks[0].queued) {
                assert_false(dgm_blkback_idle(&backs[0]));
                model_complete_one(&disks[0]);
                rig_run();
            }
            expect_released(v);
            front_unshare(&fronts[0]);
            stop();
        }
    }
}

/* The ring breaks while the disk holds: the frontend's Closing stays, and patience ends as ever. */
static void a_broken_ring(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start(v);
        hold();
        fronts[0].ring.sring->req_prod += 1000;
        assert_true(dgm_hv_guest_send(1, fronts[0].port));
        rig_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
        rig_pass(DGM_BLKBACK_RELEASE_NS);
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
        expect_quarantine(v);
        front_write_number(&fronts[0], "state", XenbusStateClosed);
        rig_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        model_release(&disks[0]);
        rig_run();
        expect_released(v);
        front_unshare(&fronts[0]);
        stop();
    }
}

static int16_t say_again(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return GNTST_eagain;
}

static int16_t copy_again(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    return GNTST_eagain;
}

/* We were not run for more than a minute, so that patience ends while Xen is still to be asked
 * again for frames of another request. */
static void patience_ends_while_frames_are_parked(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned indirect = 0; indirect < 2; indirect++) {
            for (unsigned refused = 0; refused < 2; refused++) {
                struct part parts[20];

                start(v);
                hold();
                for (unsigned i = 0; i < 20; i++)
                    parts[i] = (struct part){500 + i, 0, 7};
                dgm_hv_set_faults(&(struct dgm_hv_faults){.map = say_again, .copy = copy_again});
                if (indirect)
                    front_rw_indirect(&fronts[0], true, 0, parts, 20, -1, 10);
                else
                    front_rw(&fronts[0], true, 0, parts, 10, -1);
                front_push(&fronts[0]);
                rig_run();
                front_leaves();
                rig.now_ns += 2 * DGM_BLKBACK_RELEASE_NS;
                dgm_sim_set_now_ns(rig.now_ns);
                rig_run();
                assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
                assert_int_equal(backs[0].counters.quarantined, 5);
                if (!refused)
                    dgm_hv_set_faults(NULL);
                const unsigned queued = disks[0].queued;

                rig_pass(5000000000);
                assert_int_equal(disks[0].queued, queued); /* the disk is given nothing more */
                assert_int_equal(backs[0].live, 4);
                dgm_hv_set_faults(NULL);
                model_release(&disks[0]);
                rig_run();
                assert_true(dgm_blkback_idle(&backs[0]));
                assert_int_equal(backs[0].counters.dropped, 5);
                front_unshare(&fronts[0]);
                stop();
            }
        }
    }
}

/* The disk's last word comes in the very turn in which patience ends. */
static void patience_ends_beside_the_last_completion(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start(v);
        hold();
        front_leaves();
        while (disks[0].queued)
            model_complete_one(&disks[0]);
        rig.now_ns += DGM_BLKBACK_RELEASE_NS;
        dgm_sim_set_now_ns(rig.now_ns);
        rig_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        expect_released(v);
        front_unshare(&fronts[0]);
        stop();
    }
}

/* All done in time: nothing is quarantined, and the timer is gone. */
static void patience_is_not_needed(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start(v);
        hold();
        front_leaves();
        rig_pass(DGM_BLKBACK_RELEASE_NS - 1);
        model_release(&disks[0]);
        rig_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        assert_int_equal(dgm_reactor_deadline_ns(&rig.reactor), UINT64_MAX);
        assert_int_equal(backs[0].counters.quarantined, 0);
        expect_released(v);
        front_unshare(&fronts[0]);
        front_write_number(&fronts[0], "state", XenbusStateInitialising);
        front_connect(&fronts[0]);
        rig_pass(2 * DGM_BLKBACK_RELEASE_NS);
        works(0, 12);
        stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_keeps_everything),
        cmocka_unit_test(a_new_connection_waits_for_the_old_ones_frames),
        cmocka_unit_test(the_guest_ends),
        cmocka_unit_test(given_back_bit_by_bit),
        cmocka_unit_test(a_broken_ring),
        cmocka_unit_test(patience_ends_while_frames_are_parked),
        cmocka_unit_test(patience_ends_beside_the_last_completion),
        cmocka_unit_test(patience_is_not_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
