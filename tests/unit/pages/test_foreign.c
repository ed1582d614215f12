/* SPDX-License-Identifier: MIT */
/* foreign: if these fail, a guest's xenstore page is not what the guest sees, or slots leak. */
#include "unit.h"

#include <dragoman/pages/foreign.h>
#include <dragoman/base/status.h>
#include <port/env.h>
#include <sim/hypervisor/hypervisor.h>

#define GUEST 2

static struct dgm_slots store;
static struct dgm_slot_cache slots;
static uint64_t store_memory[8], memory[8];

static int start(void **state)
{
    const struct dgm_window window = dgm_window((struct dgm_gfn_range){{0x1000}, 2});

    dgm_hv_start(dgm_gfn(0x40000), 16, dgm_mfn(0x40000));
    dgm_hv_domain_add(GUEST, 8);
    dgm_slots_init(&store, &window, true, store_memory);
    dgm_slot_cache_init(&slots, &store, memory);
    return 0;
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

static void maps_the_guests_page(void **state)
{
    dgm_gfn_t a, b, c;

    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(3), &a), DGM_OK);
    strcpy(dgm_hv_page(GUEST, 3), "request");
    assert_string_equal(dgm_env_va(a), "request");
    strcpy(dgm_env_va(a), "response");
    assert_string_equal(dgm_hv_page(GUEST, 3), "response");
    assert_false(dgm_hv_may_dma(dgm_hv_mfn(GUEST, 3), false)); /* not for devices */
    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(4), &b), DGM_OK);
    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(5), &c), DGM_EAGAIN);
    dgm_foreign_unmap(&slots, a);
    dgm_foreign_unmap(&slots, b);
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    assert_int_equal(slots.taken, 0);
    dgm_slot_cache_check(&slots);
}

static long says_nothing(unsigned op, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                         uint64_t a5)
{
    return 0; /* and Xen wrote no status */
}

/* Fails: a refusal, of one op or of the call, costs a slot. */
static void refusals_cost_no_slot(void **state)
{
    dgm_gfn_t gfn;

    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(100), &gfn), DGM_EINVAL);
    assert_int_equal(dgm_foreign_map(&slots, 9, dgm_gfn(3), &gfn), DGM_ESRCH);
    dgm_sim_attach(NULL); /* a Xen without the hypercall */
    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(3), &gfn), DGM_ENOSYS);
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = says_nothing});
    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(3), &gfn), DGM_EFAULT);
    assert_int_equal(slots.taken, 0);
    dgm_slot_cache_check(&slots);
}

static long refuse_call(void *context, uint64_t nth, unsigned op, unsigned command)
{
    return DGM_EINVAL;
}

/* Fails: a slot that still shows the page gets another use. */
static void unmap_refused(void **state)
{
    dgm_gfn_t gfn;

    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(3), &gfn), DGM_OK);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.call = refuse_call});
    dgm_foreign_unmap(&slots, gfn);
    assert_int_equal(slots.retired, 1);
    assert_int_equal(slots.taken, 0);
    dgm_slot_cache_check(&slots);
}

static long refuse_once(void *context, uint64_t nth, unsigned op, unsigned command)
{
    unsigned *times = context;

    return (*times)++ == 0 ? DGM_EAGAIN : 0;
}

/* Fails: an unmap that Xen did not do once costs a slot. */
static void unmap_is_retried(void **state)
{
    unsigned times = 0;
    dgm_gfn_t gfn;

    assert_int_equal(dgm_foreign_map(&slots, GUEST, dgm_gfn(3), &gfn), DGM_OK);
    dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &times, .call = refuse_once});
    dgm_foreign_unmap(&slots, gfn);
    assert_int_equal(times, 2);
    assert_int_equal(slots.retired, 0);
    assert_int_equal(dgm_hv_stats()->foreign, 0);
    dgm_slot_cache_check(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(maps_the_guests_page, start, stop),
        cmocka_unit_test_setup_teardown(refusals_cost_no_slot, start, stop),
        cmocka_unit_test_setup_teardown(unmap_refused, start, stop),
        cmocka_unit_test_setup_teardown(unmap_is_retried, start, stop),
    };

    return cmocka_run_group_tests_name("foreign", tests, NULL, NULL);
}
