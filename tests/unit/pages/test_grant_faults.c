/* SPDX-License-Identifier: MIT */
/*
 * grant, with failures of Xen: if these fail, a failed map is used as if it had succeeded, or slots
 * leak (XSA-361, XSA-365, XSA-371).
 */
#include "grant_rig.h"

#include <dragoman/base/status.h>
#include <port/env.h>

#define NOT_WRITTEN 99 /* a value that is no status of ours */

static struct dgm_grant *const grant = &grant_rig.grant;
static struct dgm_slot_cache *const slots = &grant_rig.slots;
static struct dgm_p2m *const p2m = &grant_rig.p2m;

/* --- every subset of a batch fails --- */

#define BATCH 8u

static int16_t refuse_map(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    const unsigned *subset = context;

    return *subset >> (op->ref - 8) & 1 ? GNTST_general_error : 0;
}

static void fill_batch(struct dgm_foreign *foreign)
{
    for (unsigned i = 0; i < BATCH; i++) {
        foreign[i].status = NOT_WRITTEN;
        grant_rig_add(&foreign[i], GRANT_RIG_GUEST, 8 + i, false);
    }
}

/* Fails: XSA-361: errors in a map batch are ignored; or successes beside them leak. */
static void fail_every_subset_of_a_map_batch(void **state)
{
    for (unsigned i = 0; i < BATCH; i++)
        dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
    for (unsigned subset = 0; subset < 1u << BATCH; subset++) {
        struct dgm_foreign foreign[BATCH];

        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &subset, .map = refuse_map});
        fill_batch(foreign);
        dgm_grant_map_commit(grant);
        assert_int_equal(grant->live, BATCH - (unsigned)__builtin_popcount(subset));
        for (unsigned i = 0; i < BATCH; i++) {
            const bool failed = subset >> i & 1;

            assert_int_equal(foreign[i].status, failed ? DGM_EPERM : DGM_OK);
            assert_int_equal(dgm_hv_grant_pins(GRANT_RIG_GUEST, 8 + i), !failed);
            if (!failed)
                assert_ptr_equal(dgm_hv_machine(dgm_p2m_lookup(p2m, foreign[i].gfn)),
                                 dgm_hv_page(GRANT_RIG_GUEST, i));
        }
        grant_rig_check();
        grant_rig_unmap_all(foreign, BATCH);
        assert_int_equal(grant->live, 0);
        grant_rig_check();
    }
}

static int16_t refuse_unmap(void *context, uint64_t nth, const struct gnttab_unmap_grant_ref *op)
{
    const unsigned *subset = context;

    return *subset >> (nth % 4) & 1 ? GNTST_bad_handle : 0;
}

/* Fails: a slot whose unmap was refused is reused while it still shows a guest's page. */
static void fail_every_subset_of_an_unmap_batch(void **state)
{
    for (unsigned subset = 0; subset < 16; subset++) {
        struct dgm_foreign foreign[4];
        dgm_gfn_t gfn[4];

        grant_rig_start(NULL);
        for (unsigned i = 0; i < 4; i++) {
            dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
            grant_rig_map(&foreign[i], 8 + i, false);
            gfn[i] = foreign[i].gfn;
        }
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &subset, .unmap = refuse_unmap});
        grant_rig_unmap_all(foreign, 4);
        assert_int_equal(slots->retired, __builtin_popcount(subset));
        assert_int_equal(grant->unmap_refused, __builtin_popcount(subset));
        assert_int_equal(grant->live, __builtin_popcount(subset)); /* they are still mapped */
        for (unsigned i = 0; i < 4; i++)
            assert_true(dgm_mfn_is_none(dgm_p2m_lookup(p2m, gfn[i]))); /* no device reaches them */
        grant_rig_check();
        for (unsigned i = 0; i < GRANT_RIG_SLOTS - slots->retired;
             i++) { /* none of the retired slots is served */
            dgm_gfn_t slot;

            assert_int_equal(dgm_slot_reserve(slots, NULL, 1), DGM_OK);
            slot = dgm_slot_take(slots);
            for (unsigned j = 0; j < 4; j++)
                assert_false((subset >> j & 1) && dgm_gfn_equal(slot, gfn[j]));
        }
    }
}

/* --- a hypercall fails as a whole, or stops in the middle --- */

static long refuse_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return op == __HYPERVISOR_grant_table_op ? DGM_ENOSYS : 0;
}

static bool cut_at_op(void *context, uint64_t nth)
{
    const uint64_t *at = context;

    return nth == *at;
}

/* Fails: a status that Xen did not write counts as success (0 is GNTST_okay). */
static void a_batch_that_stops_in_the_middle(void **state)
{
    for (uint64_t done = 0; done <= BATCH; done++) {
        struct dgm_foreign foreign[BATCH];

        grant_rig_start(NULL);
        for (unsigned i = 0; i < BATCH; i++)
            dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &done, .cut = cut_at_op});
        fill_batch(foreign);
        dgm_grant_map_commit(grant);
        for (unsigned i = 0; i < BATCH; i++)
            assert_int_equal(foreign[i].status, i < done ? DGM_OK : DGM_EAGAIN);
        assert_int_equal(grant->map_parked, BATCH - done);
        dgm_hv_set_faults(NULL);
        dgm_grant_map_retry(grant);
        for (unsigned i = 0; i < BATCH; i++)
            assert_int_equal(foreign[i].status, DGM_OK);
        grant_rig_check();
        done += dgm_hv_stats()->map_ops; /* all ops so far */
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &done, .cut = cut_at_op});
        grant_rig_unmap_all(foreign, BATCH);
        done -= dgm_hv_stats()->map_ops;
        assert_int_equal(grant->live, 0);
        assert_int_equal(slots->retired,
                         0); /* the hypercall was not made, so Xen refused nothing */
        grant_rig_check();
    }
}

/* Fails: a slot is lost, or unmapped twice, because Xen stops anywhere in each unmap. */
static bool cut_often(void *context, uint64_t nth)
{
    return unit_chance(30);
}

static void unmaps_that_stop_often(void **state)
{
    for (unsigned round = 0; round < 200; round++) {
        struct dgm_foreign foreign[BATCH];

        grant_rig_start(NULL);
        for (unsigned i = 0; i < BATCH; i++)
            dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
        fill_batch(foreign);
        dgm_grant_map_commit(grant);
        dgm_hv_set_faults(&(struct dgm_hv_faults){.cut = cut_often});
        grant_rig_unmap_all(foreign, BATCH);
        assert_int_equal(grant->live, 0);
        assert_int_equal(slots->retired, 0);
        grant_rig_check();
    }
}

static void a_hypercall_that_fails(void **state)
{
    const struct dgm_hv_faults faults = {.call = refuse_call};
    struct dgm_foreign foreign[BATCH];

    for (unsigned i = 0; i < BATCH; i++)
        dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
    dgm_hv_set_faults(&faults);
    fill_batch(foreign);
    dgm_grant_map_commit(grant);
    for (unsigned tries = 0; tries < GRANT_RIG_RETRIES; tries++) {
        for (unsigned i = 0; i < BATCH; i++)
            assert_int_equal(foreign[i].status, DGM_EAGAIN);
        grant_rig_retry();
    }
    assert_int_equal(grant->map_parked, 0);
    for (unsigned i = 0; i < BATCH; i++)
        assert_int_equal(foreign[i].status, DGM_EIO); /* no guest's fault */
    grant_rig_check();
    dgm_hv_set_faults(NULL);
    fill_batch(foreign);
    dgm_grant_map_commit(grant);
    assert_int_equal(grant->live, BATCH);
    dgm_hv_set_faults(&faults);
    grant_rig_unmap_all(foreign, BATCH);
    assert_int_equal(slots->retired, BATCH);
    grant_rig_check();
}

/* --- GNTST_eagain --- */

#define TRIES (GRANT_RIG_RETRIES + 1)

static unsigned eagain_times;

static int16_t eagain_for_odd(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    unsigned *times = context; /* per reference */

    return (op->ref & 1) && times[op->ref - 8]++ < eagain_times ? GNTST_eagain : 0;
}

static void check_retries(struct dgm_foreign *foreign, unsigned tries)
{
    for (unsigned i = 0; i < BATCH; i++) {
        const bool parked = (i & 1) && tries <= eagain_times;
        const bool refused = (i & 1) && eagain_times >= TRIES && tries == TRIES;

        assert_int_equal(foreign[i].status, refused ? DGM_EPERM : parked ? DGM_EAGAIN : DGM_OK);
        if (foreign[i].status == DGM_OK)
            assert_ptr_equal(dgm_hv_machine(dgm_p2m_lookup(p2m, foreign[i].gfn)),
                             dgm_hv_page(GRANT_RIG_GUEST, i));
    }
}

/* Fails: a paged-out frame is an I/O error immediately, or is retried without end, or delays
 * others. */
static void eagain_is_retried(void **state)
{
    for (eagain_times = 0; eagain_times <= TRIES; eagain_times++) {
        struct dgm_foreign foreign[BATCH], other;
        unsigned times[BATCH] = {0};

        grant_rig_start(NULL);
        for (unsigned i = 0; i < BATCH; i++)
            dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = times, .map = eagain_for_odd});
        fill_batch(foreign);
        dgm_grant_map_commit(grant);
        check_retries(foreign, 1);
        grant_rig_map(&other, 8, false); /* a commit of other ops does not retry */
        assert_int_equal(other.status, DGM_OK);
        check_retries(foreign, 1);
        grant_rig_unmap(&other);
        for (unsigned tries = 2; tries <= TRIES; tries++) {
            grant_rig_retry();
            check_retries(foreign, tries);
        }
        assert_int_equal(grant->map_parked, 0);
        grant_rig_check();
        grant_rig_unmap_all(foreign, BATCH);
        grant_rig_check();
        grant_rig_stop(NULL);
    }
    grant_rig_start(NULL);
}

static int16_t eagain_always(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return GNTST_eagain;
}

/* Fails: a batch full of parked ops cannot take another op. */
static void a_batch_full_of_eagain(void **state)
{
    static struct dgm_foreign foreign[DGM_GRANT_BATCH + 1];

    for (unsigned i = 0; i < 40; i++)
        dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = eagain_always});
    for (unsigned i = 0; i <= DGM_GRANT_BATCH; i++)
        grant_rig_add(&foreign[i], GRANT_RIG_GUEST, 8 + i % 40, false);
    dgm_grant_map_commit(grant);
    assert_int_equal(grant->map_parked, DGM_GRANT_BATCH + 1);
    for (unsigned i = 0; i <= DGM_GRANT_BATCH; i++)
        assert_int_equal(foreign[i].status, DGM_EAGAIN);
    dgm_hv_set_faults(NULL);
    dgm_grant_map_retry(grant);
    for (unsigned i = 0; i <= DGM_GRANT_BATCH; i++)
        assert_int_equal(foreign[i].status, DGM_OK);
    grant_rig_unmap_all(foreign, DGM_GRANT_BATCH + 1);
    grant_rig_check();
}

/* --- random histories with random failures --- */

static int16_t refuse_some_maps(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    return unit_chance(10) ? (int16_t)(-1 - (int)unit_below(13)) : 0;
}

static int16_t refuse_some_unmaps(void *context, uint64_t nth,
                                  const struct gnttab_unmap_grant_ref *op)
{
    return unit_below(2000) == 0 ? GNTST_general_error : 0;
}

/* Fails: after some failure a frame, a slot or a published entry is lost. */
static void no_failure_loses_anything(void **state)
{
    static struct dgm_foreign foreign[300];

    unit_seed();
    for (unsigned i = 0; i < 64; i++)
        dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, unit_chance(30));
    dgm_hv_set_faults(
        &(struct dgm_hv_faults){.map = refuse_some_maps, .unmap = refuse_some_unmaps});
    for (unsigned i = 0; i < 300; i++)
        foreign[i].status = DGM_EPERM;
    for (unsigned step = 0; step < 2000; step++) {
        for (unsigned i = 0; i < 300; i++) {
            if (foreign[i].status == DGM_OK && unit_chance(50))
                dgm_grant_unmap_add(grant, &foreign[i]);
        }
        dgm_grant_unmap_commit(grant);
        grant_rig_check();
        for (unsigned i = 0; i < 300; i++)
            if (foreign[i].status != DGM_OK && unit_chance(20)) {
                const grant_ref_t ref = (grant_ref_t)(8 + unit_below(70));

                grant_rig_add(&foreign[i], GRANT_RIG_GUEST, ref, unit_chance(50));
            }
        dgm_grant_map_commit(grant);
        while (grant->map_parked)
            dgm_grant_map_retry(grant);
        grant_rig_check();
    }
    assert_true(grant->mapped > 10000 && grant->map_refused > 1000 && grant->map_shorts > 100 &&
                grant->unmap_refused > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, grant_rig_start, grant_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fail_every_subset_of_a_map_batch), TEST(fail_every_subset_of_an_unmap_batch),
        TEST(unmaps_that_stop_often),           TEST(a_batch_that_stops_in_the_middle),
        TEST(a_hypercall_that_fails),           TEST(eagain_is_retried),
        TEST(a_batch_full_of_eagain),           TEST(no_failure_loses_anything),
    };

    return cmocka_run_group_tests_name("grant, faults", tests, NULL, NULL);
}
