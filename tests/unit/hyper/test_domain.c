/* SPDX-License-Identifier: MIT */
/*
 * domain: if these fail, Dragoman does not detect that a guest has ended, takes one guest for
 * another, or uses a domctl version that this Xen does not support.
 */
#include "unit.h"

#include <dragoman/hyper/domain.h>
#include <dragoman/hyper/hypercall.h>
#include <dragoman/hyper/xen_status.h>
#include <dragoman/base/status.h>
#include <sim/hypervisor/domctl.h>
#include <sim/hypervisor/hypervisor.h>

#include <xen/memory.h>
#include <xen/sched.h>

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(0x40000), 16, dgm_mfn(0x40000));
    dgm_hv_domain_add(3, 8);
    return 0;
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

/* The version is found once per program, so the first test has a Xen that supports none of ours. */
static void no_version_suits(void **state)
{
    struct dgm_domain_info info;

    dgm_hv_set_domctl((enum dgm_hv_domctl)0x99);
    assert_int_equal(dgm_domain_info(3, &info), DGM_EACCES);
    assert_int_equal(dgm_domain_set_pages_max(3, 4), DGM_EACCES);
    assert_int_equal(dgm_hv_pages_max(3), 8);
}

static long refuse_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return *(const long *)context;
}

/* Fails: an error that says nothing about the version settles it, and each later call fails. Before
 * any test that finds the version. */
static void an_error_before_the_version_is_known(void **state)
{
    struct dgm_domain_info info;

    for (long error = -1; error > -200; error--) {
        if (error == DGM_ESRCH)
            continue;
        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &error, .call = refuse_call});
        assert_int_equal(dgm_domain_info(3, &info), error);
    }
    dgm_hv_set_faults(NULL);
}

/* Xen 4.17 has the oldest version that we know, and for a missing domain returns the next one. */
static void the_oldest_xen(void **state)
{
    struct dgm_domain_info info;
    uint64_t calls;

    dgm_hv_set_domctl(DGM_HV_DOMCTL_4_17);
    assert_int_equal(dgm_domain_info(3, &info), DGM_OK);
    assert_int_equal(info.pages, 8);
    assert_int_equal(info.pages_max, 8);
    assert_int_equal(info.vcpus, 1);
    assert_false(info.dying || info.shut_down);
    assert_int_equal(dgm_domain_info(2, &info), DGM_ESRCH); /* not guest 3's */
    assert_int_equal(dgm_domain_info(4, &info), DGM_ESRCH);

    calls = dgm_hypercall_total();
    assert_int_equal(dgm_domain_set_pages_max(3, 4), DGM_OK);
    assert_int_equal(dgm_hypercall_total() - calls, 1); /* the version is known now */
    assert_int_equal(dgm_hv_pages_max(3), 4);
}

/* A version that was found is kept, even if Xen later refuses a call with the same error. */
static void a_version_that_changes(void **state)
{
    struct dgm_domain_info info;

    dgm_hv_set_domctl(DGM_HV_DOMCTL_4_20);
    assert_int_equal(dgm_domain_info(3, &info), DGM_EACCES);
    dgm_hv_set_domctl(DGM_HV_DOMCTL_4_17);
    assert_int_equal(dgm_domain_info(3, &info), DGM_OK);
}

static void the_end_of_a_guest(void **state)
{
    struct dgm_domain_info info;

    dgm_hv_set_domctl(DGM_HV_DOMCTL_4_17);
    dgm_hv_domain_shutdown(3, SHUTDOWN_crash);
    assert_int_equal(dgm_domain_info(3, &info), DGM_OK);
    assert_true(info.shut_down);
    assert_int_equal(info.shutdown_reason, SHUTDOWN_crash);
    assert_int_equal(dgm_domain_destroy(3), DGM_OK);
    assert_int_equal(dgm_domain_info(3, &info), DGM_ESRCH);
    assert_int_equal(dgm_domain_destroy(3), DGM_ESRCH);
}

static long refuse_maps(void *context, uint64_t nth, unsigned op, unsigned command)
{
    unsigned *refusals = context;

    if (op != __HYPERVISOR_memory_op || command != XENMEM_add_to_physmap || *refusals == 0)
        return 0;
    --*refusals;
    return DGM_ENOMEM;
}

/* Fails: one refusal of Xen stops the start; or one that stays is retried without end, or taken for
 * a success. */
static void a_refused_map_of_our_own(void **state)
{
    for (unsigned count = 0; count <= DGM_XEN_TRIES + 3; count++) {
        unsigned refusals = count;

        dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &refusals, .call = refuse_maps});
        assert_int_equal(dgm_domain_map_own(XENMAPSPACE_grant_table, dgm_gfn(0x80000 + count)),
                         count < DGM_XEN_TRIES ? DGM_OK : DGM_ENOMEM);
        assert_int_equal(refusals, count < DGM_XEN_TRIES ? 0 : count - DGM_XEN_TRIES);
        stop(state);
        start(state);
    }
    dgm_hv_set_faults(NULL);
}

static void reasons_in_words(void **state)
{
    assert_string_equal(dgm_domain_reason(SHUTDOWN_poweroff), "powered off");
    assert_string_equal(dgm_domain_reason(SHUTDOWN_crash), "crashed");
    assert_string_equal(dgm_domain_reason(SHUTDOWN_soft_reset), "reset itself");
    assert_string_equal(dgm_domain_reason(SHUTDOWN_soft_reset + 1), "stopped");
    assert_string_equal(dgm_domain_reason(255), "stopped");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_version_suits, start, stop),
        cmocka_unit_test_setup_teardown(an_error_before_the_version_is_known, start, stop),
        cmocka_unit_test_setup_teardown(the_oldest_xen, start, stop),
        cmocka_unit_test_setup_teardown(a_version_that_changes, start, stop),
        cmocka_unit_test_setup_teardown(the_end_of_a_guest, start, stop),
        cmocka_unit_test_setup_teardown(a_refused_map_of_our_own, start, stop),
        cmocka_unit_test(reasons_in_words),
    };

    return cmocka_run_group_tests_name("domain", tests, NULL, NULL);
}
