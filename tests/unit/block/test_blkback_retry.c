/* SPDX-License-Identifier: MIT */
/*
 * blkback when Xen refuses an op or returns GNTST_eagain, in every mode, and frontends that leave
 * with frames in flight. If these fail, a frame stays mapped (XSA-365, -371), or a request gets
 * another one's status.
 */
#include "guests_rig.h"

/* --- each op of a request --- */

/* The status of some ops of maps and copies, counted from script_status(). */
static struct {
    int16_t status;
    uint64_t from, count, seen;
    unsigned percent;
    bool (*only)(grant_ref_t ref); /* NULL: any */
} script;

static int16_t scripted_status(grant_ref_t ref)
{
    const uint64_t n = script.seen;

    if (script.only && !script.only(ref))
        return 0;
    script.seen++;
    if (script.percent)
        return unit_chance(script.percent) ? script.status : 0;
    return n >= script.from && n - script.from < script.count ? script.status : 0;
}

static int16_t status_of_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return scripted_status(op->ref);
}

static int16_t on_copy(void *context, uint64_t nth, const struct gnttab_copy *op)
{
    return scripted_status(op->flags & GNTCOPY_dest_gref ? op->dest.u.ref : op->source.u.ref);
}

#define PATIENCE_NS (DGM_XEN_PATIENCE_MS * 1000000ull + 1000000000) /* and a pause */

static void script_status(int16_t status, uint64_t from, uint64_t count)
{
    memset(&script, 0, sizeof script);
    script.status = status;
    script.from = from;
    script.count = count;
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = status_of_map, .copy = on_copy});
}

/* Each op of a request in turn is refused, or returns GNTST_eagain once or without end: the page of
 * segments, data, delivery, the second mapping of identity. */
static void any_op_of_a_request(void **state)
{
    struct part parts[14];

    FOR_EACH_VARIANT(v)
    {
        print_message("# %s\n", v->name);
        for (unsigned write = 0; write < 2; write++) {
            for (unsigned kind = 0; kind < 3; kind++) {
                const int16_t status = kind == 0 ? GNTST_general_error : GNTST_eagain;
                uint64_t ops = 1;

                guests_start(guests_everything, 1, v);
                for (uint64_t n = 0; n < ops; n++) {
                    int16_t result;

                    guests_make_parts(parts, 14, 1);
                    for (unsigned i = 0; i < 14; i++)
                        guests_fill(1, parts[i].gfn, (unsigned)n);
                    dgm_reach_connection_evict(
                        &guests.back[0].connection); /* no frame is mapped already */
                    script_status(status, n, kind == 2 ? 1000 : 1);

                    const unsigned index = guests_send(&guests.front[0], write, 100, parts, 14);

                    front_push(&guests.front[0]);
                    vbd_run();
                    vbd_pass(kind == 2 ? 2 * PATIENCE_NS : 6000000000);
                    if (kind < 2)
                        ops = script.seen > ops ? script.seen : ops;
                    else
                        ops = 40;
                    front_collect(&guests.front[0]);
                    result = front_status(&guests.front[0], index);
                    assert_true(result == BLKIF_RSP_OKAY || result == BLKIF_RSP_ERROR);
                    if (kind == 1)
                        assert_int_equal(result, BLKIF_RSP_OKAY);
                    if (kind == 2 && n == 0)
                        assert_int_equal(result, BLKIF_RSP_ERROR);
                    if (result == BLKIF_RSP_OKAY)
                        guests_expect_same(&guests.disk[0], 1, parts, 14, 100);
                }
                dgm_hv_set_faults(NULL);
                guests_transfer(write, 500, 30, 7);
                guests_stop();
            }
        }
    }
}

/* Persistent, fresh and indirect requests in one batch with any of their ops refused (XSA-365). */
static void errors_mixed_in_one_batch(void **state)
{
    print_message("# seed %llu\n", (unsigned long long)unit_seed());
    FOR_EACH_VARIANT(v)
    {
        static struct part parts[20][40];

        guests_start(guests_everything, 1, v);
        for (unsigned round = 0; round < 12; round++) {
            unsigned index[20], count[20], bad[20], outcomes[2] = {0};

            script_status(unit_chance(50) ? GNTST_eagain : GNTST_general_error, 0, 0);
            script.percent = 5;
            for (unsigned n = 0; n < 20; n++) {
                const bool write = n % 2;

                count[n] = n % 3 ? 1 + (unsigned)unit_below(11) : 12 + (unsigned)unit_below(28);
                bad[n] = unit_chance(20);
                for (unsigned i = 0; i < count[n]; i++)
                    parts[n][i] = (struct part){100 + n * 40 + i, 0, 7};
                for (unsigned i = 0; i < count[n]; i++)
                    guests_fill(1, parts[n][i].gfn, round);
                if (bad[n])
                    parts[n][count[n] / 2].gfn = FRONT_GFN_BAD;
                index[n] = count[n] > 11
                               ? front_rw_indirect(&guests.front[0], write, n * 400, parts[n],
                                                   count[n], 1000 + n)
                               : front_rw(&guests.front[0], write, n * 400, parts[n], count[n]);
            }
            front_exchange(&guests.front[0]);
            vbd_pass(3000000000);
            front_collect(&guests.front[0]);
            for (unsigned n = 0; n < 20; n++) {
                const int16_t status = front_status(&guests.front[0], index[n]);

                outcomes[status == BLKIF_RSP_OKAY]++;
                if (status == BLKIF_RSP_OKAY)
                    guests_expect_same(&guests.disk[0], 1, parts[n], count[n], n * 400);
                if (bad[n])
                    assert_int_equal(status, BLKIF_RSP_ERROR);
            }
            assert_int_equal(outcomes[0] + outcomes[1], 20);
        }
        dgm_hv_set_faults(NULL);
        guests_transfer(true, 500, 30, 7);
        guests_stop();
    }
}

/* --- the ring's page --- */

static bool is_ring(grant_ref_t ref)
{
    return ref == guests.front[0].ring_refs[0];
}

/* The frontend is Initialised, and Xen returns GNTST_eagain for the ring's page `times` times. */
static void start_connecting(const struct guests_variant *v, uint64_t times)
{
    vbd_start(guests_everything);
    guests.used = 0;
    front_guest_start(1);
    guests_share(1, "xvda", v);
    vbd_run();
    front_share(&guests.front[0]);
    script_status(GNTST_eagain, 0, times);
    script.only = is_ring;
    front_write_number(&guests.front[0], "state", XenbusStateInitialised);
    vbd_run();
    assert_int_equal(back_state(&guests.front[0]), XenbusStateInitWait);
}

static void the_ring_is_retried(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        start_connecting(v, 3);
        vbd_pass(20000000);
        assert_int_equal(back_state(&guests.front[0]), XenbusStateConnected);
        front_write_number(&guests.front[0], "state", XenbusStateConnected);
        vbd_run();
        guests_transfer(true, 0, 20, 1);
        guests_stop();
    }
}

static void the_ring_is_retried_in_vain(void **state)
{
    start_connecting(&guests_variants[0], 100000);
    vbd_pass(33000000000); /* as long as Linux tries */
    assert_int_equal(back_state(&guests.front[0]), XenbusStateInitWait);
    vbd_pass(PATIENCE_NS);
    assert_true(script.seen > DGM_XEN_TRIES && script.seen < 1000);
    assert_int_equal(back_state(&guests.front[0]), XenbusStateClosing);
    front_write_number(&guests.front[0], "state", XenbusStateClosed);
    vbd_run();
    front_unshare(&guests.front[0]);
    front_write_number(&guests.front[0], "state", XenbusStateInitialising);
    dgm_hv_set_faults(NULL);
    front_connect(&guests.front[0]);
    guests_transfer(true, 0, 20, 1);
    guests_stop();
}

/* The frontend closes, shares another page, or dies, while the ring's page is parked. */
static void leaving_while_the_ring_is_parked(void **state)
{
    for (unsigned end = 0; end < 4; end++) {
        for (uint64_t times = 2; times <= 12; times += 5) {
            start_connecting(&guests_variants[0], times);
            if (end == 0) { /* closes */
                front_write_number(&guests.front[0], "state", XenbusStateClosed);
                vbd_run();
                vbd_pass(3000000000);
                assert_int_equal(back_state(&guests.front[0]), XenbusStateClosed);
                front_unshare(&guests.front[0]);
                front_write_number(&guests.front[0], "state", XenbusStateInitialising);
                dgm_hv_set_faults(NULL);
                front_connect(&guests.front[0]);
            } else if (end == 1) { /* closes, and shares another page at once */
                const grant_ref_t old = guests.front[0].ring_refs[0];

                front_write_number(&guests.front[0], "state", XenbusStateClosed);
                vbd_run();
                front_write_number(&guests.front[0], "state", XenbusStateInitialising);
                vbd_run();
                dgm_hv_guest_close(1, guests.front[0].port);
                front_share(&guests.front[0]);
                assert_int_not_equal(guests.front[0].ring_refs[0], old);
                front_write_number(&guests.front[0], "state", XenbusStateInitialised);
                vbd_run();
                vbd_pass(3000000000);
                assert_int_equal(back_state(&guests.front[0]), XenbusStateConnected);
                assert_true(dgm_hv_grant_end(1, old));
                front_write_number(&guests.front[0], "state", XenbusStateConnected);
                vbd_run();
            } else if (end == 2) { /* the guest dies */
                dgm_hv_domain_destroy(1);
                dgm_blkback_guest_gone(&guests.back[0]);
                vbd_run();
                assert_false(dgm_blkback_idle(&guests.back[0]));
                vbd_pass(3000000000);
                assert_true(dgm_blkback_idle(&guests.back[0]));
            } else { /* closes when Xen has mapped the page and the device has not run */
                vbd.now_ns += 3000000000;
                front_write_number(&guests.front[0], "state", XenbusStateClosed);
                dgm_sim_set_now_ns(vbd.now_ns);
                vbd_pass(3000000000);
                assert_int_equal(back_state(&guests.front[0]), XenbusStateClosed);
                front_unshare(&guests.front[0]);
            }
            if (end < 2)
                guests_transfer(true, 0, 5, 1);
            guests_stop();
        }
    }
}

/* --- closing with requests in flight --- */

/* The frontend closes while the disk has its frames, persistent ones, too (XSA-371). */
static void closing_with_frames_in_flight(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned dies = 0; dies < 2; dies++) {
            struct part parts[256];

            guests_start(guests_everything, 1, v);
            guests_transfer(false, 0, 40, 1); /* some persistent frames are idle */
            guests.disk[0].stalled = true;
            guests_make_parts(parts, 256, 3);
            for (unsigned i = 0; i < 256; i++)
                guests_fill(1, parts[i].gfn, 2);
            guests_send(&guests.front[0], true, 10, parts, 30);
            guests_send(&guests.front[0], false, 100, parts + 30, 100);
            guests_send(&guests.front[0], false, 1000, parts + 30, 3);
            front_push(&guests.front[0]);
            vbd_run();
            assert_true(guests.disk[0].queued > 2);
            guests.gone[0] = dies;
            if (dies) {
                dgm_blkback_guest_gone(&guests.back[0]);
            } else {
                front_write_number(&guests.front[0], "state", XenbusStateClosing);
                vbd_run();
                front_write_number(&guests.front[0], "state", XenbusStateClosed);
            }
            vbd_run();
            assert_false(dgm_blkback_idle(&guests.back[0]));
            if (v->mode != DGM_REACH_MODE_COPY)
                assert_false(dgm_hv_stats()->live == 0);
            model_resume(&guests.disk[0]);
            vbd_run();
            assert_true(dies ? dgm_blkback_idle(&guests.back[0])
                             : back_state(&guests.front[0]) == XenbusStateClosed);
            assert_int_equal(dgm_hv_stats()->live, 0);
            assert_int_equal(guests.back[0].counters.dropped, 3);
            front_unshare(&guests.front[0]);
            if (v->mode == DGM_REACH_MODE_COPY) { /* a guest that has left is given nothing */
                uint8_t now[DGM_FRAME_BYTES];

                memcpy(now, dgm_hv_page(1, parts[35].gfn), sizeof now);
                guests_fill(1, parts[35].gfn, 2);
                assert_memory_equal(now, dgm_hv_page(1, parts[35].gfn), sizeof now);
            }
            guests_stop();
        }
    }
}

/* The frontend closes while data, or a delivery, waits for a retry. */
static void closing_while_parked(void **state)
{
    FOR_EACH_VARIANT(v)
    {
        for (unsigned from = 0; from < 30; from += 3) {
            struct part parts[14];

            guests_start(guests_everything, 1, v);
            guests_make_parts(parts, 14, 1);
            script_status(GNTST_eagain, from, 7);
            guests_send(&guests.front[0], false, 0, parts, 14);
            front_push(&guests.front[0]);
            vbd_run();
            front_write_number(&guests.front[0], "state", XenbusStateClosing);
            vbd_run();
            front_write_number(&guests.front[0], "state", XenbusStateClosed);
            vbd_run();
            vbd_pass(3000000000);
            assert_int_equal(back_state(&guests.front[0]), XenbusStateClosed);
            front_unshare(&guests.front[0]);
            guests_stop();
        }
    }
}

/* A device whose delivery waits for a retry is the first waiter for copy buffers: as long as it
 * returned none, it does not wake itself. */
static void a_parked_release_wakes_no_waiter(void **state)
{
    const struct guests_variant copy = {.name = "copy", .mode = DGM_REACH_MODE_COPY};
    struct part parts[11];
    unsigned index[2];

    guests_start((struct vbd_options){.copies = 64, .quota = 200}, 2, &copy);
    for (unsigned i = 0; i < 11; i++)
        parts[i] = (struct part){100 + i, 0, 7};
    guests.disk[1].stalled = true;
    for (unsigned n = 0; n < 4; n++) /* 44 of the 64 buffers */
        (void)front_rw(&guests.front[1], true, n * 88, parts, 11);
    front_exchange(&guests.front[1]);
    script_status(GNTST_eagain, 0, 11);
    for (unsigned n = 0; n < 2; n++)
        index[n] = front_rw(&guests.front[0], false, n * 88, parts, 11);
    front_push(&guests.front[0]);
    vbd_run(); /* fails if it does not become idle */
    assert_non_null(guests.back[0].parked_releases.first);
    assert_ptr_equal(vbd.pool.copy_buffers_queue.first, &guests.back[0].frames_waiter);
    vbd_pass(3000000000);
    front_collect(&guests.front[0]);
    for (unsigned n = 0; n < 2; n++)
        assert_int_equal(front_status(&guests.front[0], index[n]), BLKIF_RSP_OKAY);
    model_resume(&guests.disk[1]);
    vbd_run();
    front_collect(&guests.front[1]);
    guests_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_op_of_a_request),
        cmocka_unit_test(errors_mixed_in_one_batch),
        cmocka_unit_test(the_ring_is_retried),
        cmocka_unit_test(the_ring_is_retried_in_vain),
        cmocka_unit_test(leaving_while_the_ring_is_parked),
        cmocka_unit_test(closing_with_frames_in_flight),
        cmocka_unit_test(closing_while_parked),
        cmocka_unit_test(a_parked_release_wakes_no_waiter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
