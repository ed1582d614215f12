/* SPDX-License-Identifier: MIT */
/*
 * grant, by the meaning of each status: if these fail, a guest gets an error for a shortage of
 * Xen's or for a status that no guest causes, or a request waits without end.
 */
#include "grant_rig.h"

#include <dragoman/base/status.h>
#include <port/env.h>

#include <limits.h>

static struct dgm_grant *const grant = &grant_rig.grant;
static struct dgm_slot_cache *const slots = &grant_rig.slots;

/* --- every status of an op --- */

static struct {
    int16_t status;
    unsigned times; /* that an op gets it */
} plan;

static int16_t give_status(void *context, uint64_t nth, const struct gnttab_map_grant_ref *op)
{
    if (plan.times == 0)
        return 0;
    plan.times--;
    return plan.status;
}

/* The op's status after its first attempt, and after the last one if Xen's never changes. */
static const struct {
    int16_t status;
    int first, last;
} expected[] = {
    {GNTST_general_error, DGM_EPERM, DGM_EPERM},
    {GNTST_bad_domain, DGM_EPERM, DGM_EPERM},
    {GNTST_bad_gntref, DGM_EPERM, DGM_EPERM},
    {GNTST_bad_handle, DGM_EAGAIN, DGM_EIO},
    {GNTST_bad_virt_addr, DGM_EAGAIN, DGM_EIO},
    {GNTST_bad_dev_addr, DGM_EAGAIN, DGM_EIO},
    {GNTST_no_device_space, DGM_EAGAIN, DGM_ENOSPC},
    {GNTST_permission_denied, DGM_EAGAIN, DGM_EIO},
    {GNTST_bad_page, DGM_EPERM, DGM_EPERM},
    {GNTST_bad_copy_arg, DGM_EAGAIN, DGM_EIO},
    {GNTST_address_too_big, DGM_EAGAIN, DGM_EIO},
    {GNTST_eagain, DGM_EAGAIN, DGM_EPERM},
    {GNTST_no_space, DGM_EAGAIN, DGM_ENOSPC},
    {GNTST_no_space - 1, DGM_EAGAIN, DGM_EIO}, /* of a newer Xen */
    {-1000, DGM_EAGAIN, DGM_EIO},
    {INT16_MIN, DGM_EAGAIN, DGM_EIO},
    {1, DGM_EAGAIN, DGM_EIO}, /* Xen has no positive status */
};

/* Fails: a temporary status is an error immediately; one that is the guest's fault is retried. */
static void every_status_once(void **state)
{
    dgm_hv_grant(GRANT_RIG_GUEST, 8, 1, false);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = give_status});
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct dgm_foreign foreign;

        plan.status = expected[i].status;
        plan.times = 1;
        grant_rig_map(&foreign, 8, false);
        assert_int_equal(foreign.status, expected[i].first);
        dgm_grant_map_retry(grant);
        assert_int_equal(foreign.status, expected[i].first == DGM_EAGAIN ? DGM_OK : DGM_EPERM);
        assert_int_equal(grant->map_parked, 0);
        if (foreign.status == DGM_OK)
            grant_rig_unmap(&foreign);
        grant_rig_check();
    }
}

/* Fails: an op that never succeeds is retried without end, or its slot is lost. */
static void every_status_always(void **state)
{
    dgm_hv_grant(GRANT_RIG_GUEST, 8, 1, false);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.map = give_status});
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct dgm_foreign foreign;
        unsigned tries = 0;

        plan.status = expected[i].status;
        plan.times = UINT_MAX;
        for (grant_rig_map(&foreign, 8, false); foreign.status == DGM_EAGAIN; tries++)
            grant_rig_retry();
        assert_int_equal(foreign.status, expected[i].last);
        if (expected[i].first == DGM_EAGAIN)
            assert_int_equal(tries, expected[i].last == DGM_ENOSPC ? DGM_GRANT_SHORT_TRIES
                                                                   : GRANT_RIG_RETRIES);
        assert_int_equal(grant->map_parked, 0);
        assert_false(grant->map_short);
        assert_true(dgm_gfn_is_none(foreign.gfn));
        assert_int_equal(slots->taken, 0);
        grant_rig_check();
    }
}

/* --- every error of the hypercall --- */

static long fail_grant_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    const long *error = context;

    return *error;
}

/* Fails: an error that no guest causes counts as a guest's fault. */
static void every_error_of_the_hypercall(void **state)
{
    dgm_hv_grant(GRANT_RIG_GUEST, 8, 1, false);
    for (long error = -1; error >= -130; error--) {
        struct dgm_foreign foreign;
        const bool is_short = error == DGM_ENOMEM || error == DGM_ENOSPC;
        const bool passes = error == DGM_EAGAIN || error == DGM_EBUSY;

        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &error, .call = fail_grant_call});
        grant_rig_map(&foreign, 8, false);
        assert_int_equal(foreign.status, DGM_EAGAIN);
        dgm_hv_set_faults(NULL);
        dgm_grant_map_retry(grant);
        assert_int_equal(foreign.status, DGM_OK);
        grant_rig_unmap(&foreign);

        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &error, .call = fail_grant_call});
        for (grant_rig_map(&foreign, 8, false); foreign.status == DGM_EAGAIN;)
            grant_rig_retry();
        assert_int_equal(foreign.status, is_short ? DGM_ENOSPC : passes ? DGM_EPERM : DGM_EIO);
        dgm_hv_set_faults(NULL);
        grant_rig_check();
    }
}

/* --- a full maptrack table --- */

#define REQUESTS 5u
#define FRAMES   4u /* of each request */
#define ROOM     6u /* in Xen: one request and a half */

static struct dgm_foreign request[REQUESTS][FRAMES];

static unsigned mapped_frames(unsigned r)
{
    unsigned count = 0;

    for (unsigned i = 0; i < FRAMES; i++)
        count += request[r][i].status == DGM_OK;
    return count;
}

static void add_requests(unsigned first, unsigned last)
{
    for (unsigned r = first; r <= last; r++)
        for (unsigned i = 0; i < FRAMES; i++)
            grant_rig_add(&request[r][i], GRANT_RIG_GUEST, 8 + r * FRAMES + i, false);
    dgm_grant_map_commit(grant);
}

static void grant_all(void)
{
    for (unsigned i = 0; i < REQUESTS * FRAMES; i++)
        dgm_hv_grant(GRANT_RIG_GUEST, 8 + i, i, false);
}

/*
 * Fails: a full table is the guest's error; or two requests each hold a part of the room and wait
 * for each other; or a later request gets the room first.
 */
static void short_of_maptrack(void **state)
{
    const uint64_t lines = dgm_sim_log_lines();

    grant_all();
    dgm_hv_set_maptrack(ROOM);
    add_requests(0, 2);
    assert_int_equal(mapped_frames(0), FRAMES);
    assert_int_equal(mapped_frames(1), ROOM - FRAMES);
    assert_int_equal(mapped_frames(2), 0);
    assert_true(grant->map_short);
    assert_int_equal(dgm_sim_log_lines(), lines + 1);
    assert_non_null(strstr(dgm_sim_last_log(), "gnttab_max_maptrack_frames"));
    for (unsigned r = 0; r < REQUESTS; r++) {
        assert_int_equal(mapped_frames(r), FRAMES);
        grant_rig_unmap_all(request[r], FRAMES);
        if (r == 0)
            add_requests(3, 4); /* Xen has room now, but for the older requests */
        if (r + 2 < REQUESTS)
            assert_int_equal(mapped_frames(r + 2), 0);
        dgm_grant_map_retry(grant);
    }
    assert_int_equal(grant->map_parked, 0);
    assert_false(grant->map_short);
    assert_int_equal(grant->map_refused, 0);
    assert_int_equal(grant->mapped, REQUESTS * FRAMES);
    assert_int_equal(dgm_sim_log_lines(), lines + 1); /* said once */
    grant_rig_check();
}

/* Fails: while Xen has no room, an op that lacked nothing is parked permanently. */
static void short_and_refused_ops(void **state)
{
    struct dgm_foreign bad, good;

    grant_all();
    dgm_hv_set_maptrack(FRAMES);
    add_requests(0, 1);
    grant_rig_add(&bad, GRANT_RIG_GUEST, 4000, false);
    grant_rig_add(&good, GRANT_RIG_GUEST, 8, false);
    dgm_grant_map_commit(grant);
    assert_int_equal(bad.status, DGM_EAGAIN); /* behind the second request */
    grant_rig_unmap_all(request[0], FRAMES);
    dgm_grant_map_retry(grant);
    assert_int_equal(mapped_frames(1), FRAMES);
    grant_rig_unmap_all(request[1], FRAMES);
    dgm_grant_map_retry(grant);
    assert_int_equal(bad.status, DGM_EPERM);
    assert_int_equal(good.status, DGM_OK);
    grant_rig_unmap(&good);
    grant_rig_check();
}

/* Fails: a request that needs more than Xen has blocks all others permanently. */
static void more_than_xen_has(void **state)
{
    unsigned retries = 0;

    grant_all();
    dgm_hv_set_maptrack(FRAMES - 1);
    add_requests(0, 0);
    add_requests(1, 1);
    while (request[0][FRAMES - 1].status == DGM_EAGAIN) {
        dgm_grant_map_retry(grant);
        retries++;
    }
    assert_int_equal(request[0][FRAMES - 1].status, DGM_ENOSPC);
    assert_int_equal(retries, DGM_GRANT_SHORT_TRIES);
    assert_int_equal(mapped_frames(1), 0);
    dgm_hv_set_maptrack(FRAMES);
    grant_rig_unmap_all(request[0], FRAMES); /* the request fails, and releases what it has */
    dgm_grant_map_retry(grant);
    assert_int_equal(mapped_frames(1), FRAMES);
    grant_rig_unmap_all(request[1], FRAMES);
    grant_rig_check();
}

/* Fails: a request gets an error because the disk of another one is slow; or after that disk has
 * completed its command a request that needs more than Xen has waits without end. */
static void a_slow_disk_is_waited_for(void **state)
{
    grant_all();
    dgm_hv_set_maptrack(FRAMES);
    add_requests(0, 2);
    dgm_p2m_hold(&grant_rig.p2m, request[0][FRAMES - 1].gfn);
    for (unsigned i = 0; i < 5 * DGM_GRANT_SHORT_TRIES; i++) {
        dgm_grant_map_retry(grant);
        assert_int_equal(request[1][0].status, DGM_EAGAIN);
    }
    dgm_p2m_release(&grant_rig.p2m, request[0][FRAMES - 1].gfn);
    grant_rig_unmap_all(request[0], FRAMES);
    dgm_hv_set_maptrack(FRAMES - 1);
    for (unsigned i = 0; request[1][FRAMES - 1].status == DGM_EAGAIN; i++) {
        assert_true(i <= DGM_GRANT_SHORT_TRIES + 1);
        dgm_grant_map_retry(grant);
    }
    assert_int_equal(request[1][FRAMES - 1].status, DGM_ENOSPC);
    dgm_hv_set_maptrack(FRAMES);
    grant_rig_unmap_all(request[1], FRAMES);
    dgm_grant_map_retry(grant);
    assert_int_equal(mapped_frames(2), FRAMES);
    grant_rig_unmap_all(request[2], FRAMES);
    grant_rig_check();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, grant_rig_start, grant_rig_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_status_once),
        TEST(every_status_always),
        TEST(every_error_of_the_hypercall),
        TEST(short_of_maptrack),
        TEST(short_and_refused_ops),
        TEST(more_than_xen_has),
        TEST(a_slow_disk_is_waited_for),
    };

    return cmocka_run_group_tests_name("grant, statuses", tests, NULL, NULL);
}
