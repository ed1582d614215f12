/* SPDX-License-Identifier: MIT */
/*
 * xen_status: if these fail, an error of Xen ends a guest or its request without the guest's fault,
 * or a guest's fault is retried in vain.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <dragoman/hyper/xen_status.h>
#include <hyper/internal.h>
#include <xen/xen.h>
#include <xen/grant_table.h>

/* Fails: a status has another meaning than Xen gives it. Every 16-bit number. */
static void grant_statuses(void **state)
{
    for (int status = INT16_MIN; status <= INT16_MAX; status++) {
        enum dgm_xen_meaning expected = DGM_XEN_UNKNOWN;

        switch (status) {
        case GNTST_okay:
            expected = DGM_XEN_OK;
            break;
        case GNTST_eagain:
            expected = DGM_XEN_RETRY;
            break;
        case GNTST_no_space:
        case GNTST_no_device_space:
            expected = DGM_XEN_SHORT;
            break;
        case GNTST_bad_domain:
            expected = DGM_XEN_NO_DOMAIN;
            break;
        case GNTST_general_error:
        case GNTST_bad_gntref:
        case GNTST_bad_page:
            expected = DGM_XEN_REFUSED;
            break;
        }
        assert_int_equal(dgm_xen_grant_meaning((int16_t)status), expected);
        assert_int_equal(!dgm_xen_grant_status_name((int16_t)status), status > 0 || status < -13);
    }
    assert_string_equal(dgm_xen_grant_status_name(GNTST_no_space), "GNTST_no_space");
    assert_string_equal(dgm_xen_grant_status_name(GNTST_bad_dev_addr), "GNTST_bad_dev_addr");
}

/* Fails: another error than "no such domain" is taken for a guest's end, or an error that no guest
 * causes for a guest's fault. Every errno of every hypercall, and more. */
static void errors_of_hypercalls(void **state)
{
    static const enum dgm_xen_meaning everywhere[200] = {
        [-DGM_EAGAIN] = DGM_XEN_RETRY,
        [-DGM_EBUSY] = DGM_XEN_RETRY,
        [-DGM_ENOMEM] = DGM_XEN_SHORT,
        [-DGM_ENOSPC] = DGM_XEN_SHORT,
    };
    static const struct {
        enum dgm_xen_meaning no_domain, invalid;
    } of_call[DGM_XEN_CALLS] = {
        [DGM_XEN_CALL_GRANT] = {DGM_XEN_UNKNOWN, DGM_XEN_UNKNOWN},
        [DGM_XEN_CALL_BIND] = {DGM_XEN_NO_DOMAIN, DGM_XEN_REFUSED},
        [DGM_XEN_CALL_FOREIGN] = {DGM_XEN_NO_DOMAIN, DGM_XEN_REFUSED},
        [DGM_XEN_CALL_DOMAIN] = {DGM_XEN_NO_DOMAIN, DGM_XEN_UNKNOWN},
        [DGM_XEN_CALL_OWN] = {DGM_XEN_UNKNOWN, DGM_XEN_UNKNOWN},
    };

    for (enum dgm_xen_call call = 0; call < DGM_XEN_CALLS; call++) {
        assert_int_equal(dgm_xen_call_meaning(call, 0), DGM_XEN_OK);
        assert_int_equal(dgm_xen_call_meaning(call, 7), DGM_XEN_OK);
        assert_int_equal(dgm_xen_call_meaning(call, -4096), DGM_XEN_UNKNOWN);
        for (int error = 1; error < 200; error++) {
            enum dgm_xen_meaning expected = everywhere[error] ? everywhere[error] : DGM_XEN_UNKNOWN;

            if (error == -DGM_ESRCH)
                expected = of_call[call].no_domain;
            else if (error == -DGM_EINVAL)
                expected = of_call[call].invalid;
            assert_int_equal(dgm_xen_call_meaning(call, -error), expected);
        }
    }
}

/* Fails: an op that Xen did not reach counts as done, or as a guest's fault. */
static void ops_without_a_status(void **state)
{
    for (long result = 1; result >= -200; result--) {
        const enum dgm_xen_meaning whole = dgm_xen_call_meaning(DGM_XEN_CALL_GRANT, result);
        const enum dgm_xen_meaning op =
            dgm_xen_op_meaning((struct dgm_xen_outcome){DGM_XEN_NOT_WRITTEN, result});

        assert_int_equal(op, whole == DGM_XEN_RETRY || whole == DGM_XEN_SHORT ? whole
                                                                              : DGM_XEN_UNKNOWN);
        /* a status that Xen wrote is used, whatever happened to the other ops */
        assert_int_equal(dgm_xen_op_meaning((struct dgm_xen_outcome){GNTST_okay, result}),
                         DGM_XEN_OK);
        assert_int_equal(dgm_xen_op_meaning((struct dgm_xen_outcome){GNTST_bad_gntref, result}),
                         DGM_XEN_REFUSED);
    }
}

/* Fails: a repeated status fills the log, or one hides another. */
static void logged_once(void **state)
{
    struct dgm_xen_logged logged = {0};
    uint64_t lines = dgm_sim_log_lines();

    for (unsigned times = 0; times < 2; times++) {
        dgm_xen_log_unknown(&logged, "mapping a grant",
                            (struct dgm_xen_outcome){GNTST_bad_virt_addr, 0});
        dgm_xen_log_unknown(&logged, "mapping a grant", (struct dgm_xen_outcome){-77, 0});
        dgm_xen_log_unknown(&logged, "mapping a grant",
                            (struct dgm_xen_outcome){DGM_XEN_NOT_WRITTEN, DGM_ENOSYS});
    }
    assert_int_equal(dgm_sim_log_lines() - lines, 3);
    assert_non_null(strstr(dgm_sim_last_log(), "-38"));
    lines = dgm_sim_log_lines();
    dgm_xen_log_unknown(&logged, "mapping a grant",
                        (struct dgm_xen_outcome){GNTST_permission_denied, 0});
    assert_int_equal(dgm_sim_log_lines() - lines, 1);
    assert_non_null(strstr(dgm_sim_last_log(), "GNTST_permission_denied"));
}

/* --- how long an operation is retried --- */

#define MS 1000000ull

static bool fails_at(struct dgm_xen_patience *patience, uint64_t ms)
{
    dgm_sim_set_now_ns(ms * MS);
    return dgm_xen_patience_ends(patience);
}

/* Fails: an operation is given up before Linux would (32.6 s), or after a long pause at once, or
 * never. The second start lets the milliseconds wrap. */
static void patience_is_a_time_and_some_tries(void **state)
{
    const uint64_t starts[] = {0, (1ull << 32) - 20000};

    for (unsigned i = 0; i < 2; i++) {
        struct dgm_xen_patience patience = {0};
        const uint64_t start = starts[i];

        for (unsigned tries = 0; tries < 1000; tries++)
            assert_false(fails_at(&patience, start));
        assert_false(fails_at(&patience, start + 33000));
        assert_false(fails_at(&patience, start + DGM_XEN_PATIENCE_MS - 1));
        assert_true(fails_at(&patience, start + DGM_XEN_PATIENCE_MS));
        patience = (struct dgm_xen_patience){0};
        for (unsigned tries = 1; tries < DGM_XEN_TRIES; tries++)
            assert_false(fails_at(&patience, start + tries * DGM_XEN_PATIENCE_MS));
        assert_true(fails_at(&patience, start + DGM_XEN_TRIES * DGM_XEN_PATIENCE_MS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grant_statuses),
        cmocka_unit_test(errors_of_hypercalls),
        cmocka_unit_test(ops_without_a_status),
        cmocka_unit_test(logged_once),
        cmocka_unit_test(patience_is_a_time_and_some_tries),
    };

    return cmocka_run_group_tests_name("xen_status", tests, NULL, NULL);
}
