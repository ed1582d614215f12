/* SPDX-License-Identifier: MIT */
/*
 * blkback and a disk that does not return requests: the end of a connection still takes bounded
 * time. If these fail, a guest cannot end because of a broken disk, or a frame that the disk may
 * still write is given to another guest, or is never released when the disk does return it.
 */
#include "vbd_rig.h"

static const struct variant {
    const char *name;
    enum dgm_reach_mode mode;
    bool persistent;
} variants[] = {
    {"map", DGM_REACH_MODE_MAP, false},
    {"persistent", DGM_REACH_MODE_MAP, true},
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
static void start_two_guests(const struct variant *v)
{
    vbd_start((struct vbd_options){.copies = 600, .persistent_frames = 900, .identities = 600});
    for (unsigned i = 0; i < 2; i++) {
        const domid_t domid = (domid_t)(i + 1);

        gone[i] = false;
        model_start(&disks[i], 8192, 512);
        front_guest_start(domid);
        front_init(&fronts[i], domid, "xvda");
        fronts[i].persistent = v->persistent;
        assert_int_equal(
            vbd_share(&backs[i], domid,
                      &(struct dgm_blkback_options){.vdev = "xvda",
                                                    .disk = &disks[i].dev,
                                                    .writable = true,
                                                    .mode = v->mode,
                                                    .persistent_frames = v->persistent ? 300 : 0}),
            DGM_OK);
        front_connect(&fronts[i]);
    }
}

static void stop_two_guests(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (back_state(&fronts[i]) == XenbusStateConnected && !gone[i])
            front_close(&fronts[i]);
        vbd_end(&backs[i]);
        model_stop(&disks[i]);
    }
    vbd_stop();
}

/* `count` frames of guest f, written to the disk and read again. */
static void write_and_read(unsigned f, unsigned count)
{
    struct part parts[64];

    for (unsigned write = 2; write-- > 0;) {
        for (unsigned i = 0; i < count; i++) {
            parts[i] = (struct part){300 + i, 0, 7};
            memset(dgm_hv_page(fronts[f].domid, parts[i].gfn), write ? (int)(i + count) : 0,
                   DGM_FRAME_BYTES);
        }
        const unsigned index = count > 11
                                   ? front_rw_indirect(&fronts[f], write, 4096, parts, count, 8)
                                   : front_rw(&fronts[f], write, 4096, parts, count);

        front_exchange(&fronts[f]);
        assert_int_equal(front_status(&fronts[f], index), BLKIF_RSP_OKAY);
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(*(uint8_t *)dgm_hv_page(fronts[f].domid, parts[i].gfn), i + count);
    }
}

/* Requests that the stalled disk of guest 1 takes: 41 frames of data, one of segments. */
static void send_to_stalled_disk(void)
{
    struct part parts[40];

    for (unsigned i = 0; i < 40; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    disks[0].stalled = true;
    front_rw_indirect(&fronts[0], false, 0, parts, 36, 9);
    front_rw(&fronts[0], true, 512, parts + 36, 4);
    front_rw(&fronts[0], false, 1024, &(struct part){200, 0, 7}, 1);
    front_flush(&fronts[0]);
    front_push(&fronts[0]);
    vbd_run();
    assert_int_equal(backs[0].records_used, 4);
    assert_true(disks[0].queued >= 4);
}

static void front_leaves(void)
{
    front_write_number(&fronts[0], "state", XenbusStateClosing);
    vbd_run();
    front_write_number(&fronts[0], "state", XenbusStateClosed);
    vbd_run();
}

static uint64_t frames_held(const struct variant *v)
{
    return v->mode == DGM_REACH_MODE_COPY ? vbd.guests[1].copy_buffers.used : dgm_hv_stats()->live;
}

/* All is released except 42 frames: ring, channel, idle persistent frames. */
static void expect_quarantine(const struct variant *v)
{
    assert_true(dgm_blkback_quarantined(&backs[0]));
    assert_false(dgm_blkback_idle(&backs[0]));
    assert_int_equal(backs[0].counters.quarantined, 4);
    assert_int_equal(dgm_hv_grant_pins(1, fronts[0].ring_refs[0]), 0);
    assert_false(dgm_hv_guest_send(1, fronts[0].port));
    assert_int_equal(backs[0].records_used, 4);
    /* guest 2 has its ring's page and its persistent frames */
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
    assert_int_equal(backs[0].records_used, 0);
    assert_int_equal(vbd.guests[1].slots.used, 0);
    assert_int_equal(vbd.guests[1].copy_buffers.used, 0);
}

/* The time limit is exact, and only the disk's frames are held after it. */
static void a_disk_that_keeps_everything(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        print_message("# %s\n", v->name);
        start_two_guests(v);
        write_and_read(0, 20);
        write_and_read(1, 7);
        send_to_stalled_disk();
        front_leaves();
        vbd_pass(DGM_BLKBACK_RELEASE_NS - 1);
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
        assert_false(dgm_blkback_quarantined(&backs[0]));
        assert_int_equal(dgm_hv_grant_pins(1, fronts[0].ring_refs[0]), 1);
        vbd_pass(1);
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        expect_quarantine(v);
        write_and_read(1, 30); /* the other guest is not affected */
        expect_quarantine(v);

        model_resume(&disks[0]);
        vbd_run();
        expect_released(v);
        front_unshare(&fronts[0]);
        front_write_number(&fronts[0], "state", XenbusStateInitialising);
        front_connect(&fronts[0]);
        write_and_read(0, 20);
        stop_two_guests();
    }
}

/* A frontend that starts meanwhile waits, and is told so; it may leave again. */
static void expect_to_wait(void)
{
    front_share(&fronts[0]);
    dgm_sim_log_clear();
    front_write_number(&fronts[0], "state", XenbusStateInitialised);
    vbd_run();
    vbd_pass(DGM_BLKBACK_RELEASE_NS);
    assert_int_equal(back_state(&fronts[0]), XenbusStateInitWait);
    assert_int_equal(dgm_sim_logged("still has requests of the last connection"), 1);
    assert_int_equal(dgm_hv_grant_pins(1, fronts[0].ring_refs[0]), 0);
    assert_true(dgm_blkback_quarantined(&backs[0]));
}

static void stop_waiting(void)
{
    front_write_number(&fronts[0], "state", XenbusStateClosed);
    vbd_run();
    assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
    assert_true(dgm_hv_grant_end(1, fronts[0].ring_refs[0]));
    dgm_hv_guest_close(1, fronts[0].port);
}

static void a_new_connection_waits_for_the_old_ones_frames(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        struct front before;

        start_two_guests(v);
        send_to_stalled_disk();
        front_leaves();
        vbd_pass(DGM_BLKBACK_RELEASE_NS);
        assert_true(dgm_hv_grant_end(1, fronts[0].ring_refs[0]));
        dgm_hv_guest_close(1, fronts[0].port);
        before = fronts[0];
        memset(fronts[0].sent, 0, sizeof fronts[0].sent);
        memset(fronts[0].grants, 0, sizeof fronts[0].grants);
        for (unsigned tries = 0; tries < 3; tries++) {
            front_write_number(&fronts[0], "state", XenbusStateInitialising);
            vbd_run();
            assert_int_equal(back_state(&fronts[0]), XenbusStateInitWait);
            expect_to_wait();
            if (tries < 2)
                stop_waiting();
        }
        model_resume(&disks[0]);
        vbd_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateConnected);
        assert_false(backs[0].quarantined);
        for (unsigned i = 0; i < FRONT_SENT_MAX; i++)
            for (unsigned j = 0; before.sent[i].used && j < before.sent[i].ref_count; j++)
                assert_true(dgm_hv_grant_end(1, before.sent[i].refs[j]));
        front_write_number(&fronts[0], "state", XenbusStateConnected);
        vbd_run();
        write_and_read(0, 30);
        stop_two_guests();
    }
}

/* The guest ends, or is destroyed while quarantined; its frames stay until the disk is done. */
static void the_guest_ends(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned late = 0; late < 2; late++) {
            start_two_guests(v);
            send_to_stalled_disk();
            gone[0] = true;
            if (late) {
                front_leaves();
                vbd_pass(DGM_BLKBACK_RELEASE_NS);
                assert_true(dgm_blkback_quarantined(&backs[0]));
            }
            dgm_blkback_guest_gone(&backs[0]);
            vbd_run();
            if (!late) {
                assert_false(dgm_blkback_quarantined(&backs[0]));
                vbd_pass(DGM_BLKBACK_RELEASE_NS);
            }
            expect_quarantine(v);
            dgm_hv_domain_destroy(1);
            vbd_pass(1000 * DGM_BLKBACK_RELEASE_NS);
            assert_true(dgm_blkback_quarantined(&backs[0]));
            write_and_read(1, 40);
            model_resume(&disks[0]);
            vbd_run();
            expect_released(v);
            stop_two_guests();
        }
    }
}

/* The disk returns one command after the other, some with errors, before and after the limit. */
static void returned_one_by_one(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned before = 0; before < 4; before++) {
            start_two_guests(v);
            send_to_stalled_disk();
            disks[0].fail_from = 1;
            disks[0].fail_count = 2;
            front_leaves();
            for (unsigned i = 0; i < before; i++) {
                model_complete_one(&disks[0]);
                vbd_run();
            }
            vbd_pass(DGM_BLKBACK_RELEASE_NS);
            assert_true(dgm_blkback_quarantined(&backs[0]));
            while (disks[0].queued) {
                assert_false(dgm_blkback_idle(&backs[0]));
                model_complete_one(&disks[0]);
                vbd_run();
            }
            expect_released(v);
            front_unshare(&fronts[0]);
            stop_two_guests();
        }
    }
}

/* The ring breaks while the disk stalls: the time limit applies as well. */
static void a_broken_ring(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start_two_guests(v);
        send_to_stalled_disk();
        fronts[0].ring.sring->req_prod += 1000;
        assert_true(dgm_hv_guest_send(1, fronts[0].port));
        vbd_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
        vbd_pass(DGM_BLKBACK_RELEASE_NS);
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosing);
        expect_quarantine(v);
        front_write_number(&fronts[0], "state", XenbusStateClosed);
        vbd_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        model_resume(&disks[0]);
        vbd_run();
        expect_released(v);
        front_unshare(&fronts[0]);
        stop_two_guests();
    }
}

static int16_t map_eagain(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return GNTST_eagain;
}

static int16_t copy_eagain(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    return GNTST_eagain;
}

/* Dragoman did not run for more than a minute, so that the limit is reached while frames of another
 * request wait for a retry. */
static void time_runs_out_while_frames_are_parked(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned indirect = 0; indirect < 2; indirect++) {
            for (unsigned refused = 0; refused < 2; refused++) {
                struct part parts[20];

                start_two_guests(v);
                send_to_stalled_disk();
                for (unsigned i = 0; i < 20; i++)
                    parts[i] = (struct part){500 + i, 0, 7};
                dgm_hv_set_faults(&(struct dgm_hv_faults){.map = map_eagain, .copy = copy_eagain});
                if (indirect)
                    front_rw_indirect(&fronts[0], true, 0, parts, 20, 10);
                else
                    front_rw(&fronts[0], true, 0, parts, 10);
                front_push(&fronts[0]);
                vbd_run();
                front_leaves();
                vbd.now_ns += 2 * DGM_BLKBACK_RELEASE_NS;
                dgm_sim_set_now_ns(vbd.now_ns);
                vbd_run();
                assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
                assert_int_equal(backs[0].counters.quarantined, 5);
                if (!refused)
                    dgm_hv_set_faults(NULL);
                const unsigned queued = disks[0].queued;

                vbd_pass(5000000000);
                assert_int_equal(disks[0].queued, queued); /* the disk gets nothing more */
                assert_int_equal(backs[0].records_used, 4);
                dgm_hv_set_faults(NULL);
                model_resume(&disks[0]);
                vbd_run();
                assert_true(dgm_blkback_idle(&backs[0]));
                assert_int_equal(backs[0].counters.dropped, 5);
                front_unshare(&fronts[0]);
                stop_two_guests();
            }
        }
    }
}

/* The last completion comes in the turn in which the limit is reached. */
static void time_runs_out_beside_the_last_completion(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start_two_guests(v);
        send_to_stalled_disk();
        front_leaves();
        while (disks[0].queued)
            model_complete_one(&disks[0]);
        vbd.now_ns += DGM_BLKBACK_RELEASE_NS;
        dgm_sim_set_now_ns(vbd.now_ns);
        vbd_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        expect_released(v);
        front_unshare(&fronts[0]);
        stop_two_guests();
    }
}

/* All requests are returned in time: none is quarantined, and the timer is disarmed. */
static void returned_in_time(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start_two_guests(v);
        send_to_stalled_disk();
        front_leaves();
        vbd_pass(DGM_BLKBACK_RELEASE_NS - 1);
        model_resume(&disks[0]);
        vbd_run();
        assert_int_equal(back_state(&fronts[0]), XenbusStateClosed);
        assert_int_equal(dgm_reactor_deadline_ns(&vbd.reactor), UINT64_MAX);
        assert_int_equal(backs[0].counters.quarantined, 0);
        expect_released(v);
        front_unshare(&fronts[0]);
        front_write_number(&fronts[0], "state", XenbusStateInitialising);
        front_connect(&fronts[0]);
        vbd_pass(2 * DGM_BLKBACK_RELEASE_NS);
        write_and_read(0, 12);
        stop_two_guests();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_keeps_everything),
        cmocka_unit_test(a_new_connection_waits_for_the_old_ones_frames),
        cmocka_unit_test(the_guest_ends),
        cmocka_unit_test(returned_one_by_one),
        cmocka_unit_test(a_broken_ring),
        cmocka_unit_test(time_runs_out_while_frames_are_parked),
        cmocka_unit_test(time_runs_out_beside_the_last_completion),
        cmocka_unit_test(returned_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
