/* SPDX-License-Identifier: MIT */
/*
 * dom0less, every step refused: if these fail, a guest that could not be introduced costs slots,
 * mappings, channels or nodes permanently.
 */
#include "dom0less_rig.h"

static int call_of_step; /* since introduce began */

/* Introduces with the n-th hypercall refused; n counts from introduce on. */
static int introduce_refused(int n, long result)
{
    dom0less_prepare();
    call_of_step = dom0less_rig.call_count;
    dom0less_rig.refuse = n < 0 ? -1 : dom0less_rig.call_count + n;
    dom0less_rig.result = result;
    const int status =
        dgm_dom0less_introduce(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots);
    dom0less_rig.refuse = -1;
    return status;
}

/* Each step by name: a refusal leaves nothing held, and the log names the step. */
static void steps_refused(void **state)
{
    static const struct {
        unsigned op, command;
        long result;
        int status;
        const char *says;
    } steps[] = {
        {__HYPERVISOR_domctl, XEN_DOMCTL_max_mem, -22, DGM_EAGAIN, "no xenstore page"},
        {__HYPERVISOR_memory_op, XENMEM_populate_physmap, 0, DGM_EAGAIN, "no xenstore page"},
        {__HYPERVISOR_memory_op, XENMEM_add_to_physmap_batch, -22, DGM_EINVAL, "cannot be mapped"},
        {__HYPERVISOR_hvm_op, HVMOP_set_param, -22, DGM_EAGAIN, "Xen refuses to publish"},
        {__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, -28, DGM_EAGAIN,
         "channel cannot be bound"},
    };

    assert_int_equal(introduce_refused(-1, 0), DGM_OK);
    const int begin = call_of_step;
    int nth[5];
    for (size_t i = 0; i < 5; i++) {
        nth[i] = dom0less_find_call(steps[i].op, steps[i].command) - begin;
        assert_true(nth[i] >= 0);
    }
    dom0less_rig_stop(NULL);
    for (size_t i = 0; i < 5; i++) {
        dom0less_rig_start(NULL);
        /* The first domctl of a process may cost probes; the library knows the version by now. */
        assert_int_equal(introduce_refused(nth[i], steps[i].result), steps[i].status);
        assert_int_equal(dom0less_rig.calls[call_of_step + nth[i]].op, steps[i].op);
        assert_int_equal(dom0less_rig.calls[call_of_step + nth[i]].command, steps[i].command);
        assert_non_null(strstr(dgm_sim_last_log(), steps[i].says));
        dom0less_rig_check_idle();
        if (steps[i].status == DGM_EAGAIN) { /* no step was refused */
            assert_int_equal(
                dgm_dom0less_introduce(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots),
                DGM_OK);
            assert_non_null(strstr(dgm_sim_last_log(), "is served now"));
        }
        dom0less_release();
        if (i < 4)
            dom0less_rig_stop(NULL);
    }
}

/* Any one hypercall fails once: nothing is held, or the guest is served. */
static void any_call_refused(void **state)
{
    bool clean = false;

    for (int n = 0; !clean; n++) {
        if (n)
            dom0less_rig_start(NULL);
        const int status = introduce_refused(n, -14);
        clean = dom0less_rig.call_count - call_of_step <= n; /* it needed fewer */
        if (status != DGM_OK) {
            assert_int_equal(status, DGM_EAGAIN);
            dom0less_rig_check_idle();
            assert_int_equal(
                dgm_dom0less_introduce(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots),
                DGM_OK);
        }
        assert_int_equal(dom0less_rig.slots.taken, 1);
        dom0less_release();
        assert_true(n < 40);
        if (!clean)
            dom0less_rig_stop(NULL);
    }
}

/* If it fails, a guest that gets no slot is half introduced. */
static void no_slot(void **state)
{
    dgm_gfn_t taken[4];

    assert_int_equal(dgm_slot_reserve(&dom0less_rig.slots, NULL, 4), DGM_OK);
    for (int i = 0; i < 4; i++)
        taken[i] = dgm_slot_take(&dom0less_rig.slots);
    dom0less_prepare();
    assert_int_equal(
        dgm_dom0less_introduce(&dom0less_rig.guest, dom0less_rig.xs, &dom0less_rig.slots),
        DGM_EAGAIN);
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    assert_true(dgm_gfn_is_none(dom0less_rig.guest.page));
    for (int i = 0; i < 4; i++)
        dgm_slot_give(&dom0less_rig.slots, NULL, taken[i]);
    dom0less_release();
}

/* If it fails, a full store keeps half of a guest's nodes permanently. */
static void store_is_full(void **state)
{
    char path[64];
    int status = DGM_OK;
    struct dgm_xs_counters before, after;

    assert_int_equal(dgm_xs_write(dom0less_rig.xs, (struct dgm_xs_entry){"/local/domain", ""}),
                     DGM_OK);
    for (int i = 0; status == DGM_OK; i++) {
        snprintf(path, sizeof path, "/fill/%d", i);
        status = dgm_xs_write(dom0less_rig.xs, (struct dgm_xs_entry){path, ""});
        assert_true(i < 100000);
    }
    for (int i = 0; i < 15; i++) { /* room for a few, not for all */
        snprintf(path, sizeof path, "/fill/%d", i);
        assert_int_equal(dgm_xs_rm(dom0less_rig.xs, path), DGM_OK);
    }
    dgm_xs_counters(dom0less_rig.xs, &before);
    assert_int_equal(
        dgm_dom0less_prepare(&dom0less_rig.guest, dom0less_rig.xs, DOM0LESS_GUEST, "web"),
        DGM_ENOSPC);
    dgm_xs_counters(dom0less_rig.xs, &after);
    assert_int_equal(before.nodes, after.nodes);
    assert_int_equal(before.memory_used, after.memory_used);
}

static int test_one_xen(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(steps_refused, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(any_call_refused, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(no_slot, dom0less_rig_start, dom0less_rig_stop),
        cmocka_unit_test_setup_teardown(store_is_full, dom0less_rig_start, dom0less_rig_stop),
    };

    return cmocka_run_group_tests_name("dom0less refused", tests, NULL, NULL);
}

int main(void)
{
    return dom0less_each_xen(test_one_xen);
}
