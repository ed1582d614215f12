/* SPDX-License-Identifier: MIT */
/* balloon: if these fail, a domain without extended regions has no slots, or slots over live RAM.
 */
#include "unit.h"

#include <dragoman/balloon.h>
#include <dragoman/grant.h>
#include <dragoman/status.h>
#include <port/env.h>
#include <sim/hypervisor.h>

#define FIRST 0x40000u
#define RAM   1024u

static int start(void **state)
{
    dgm_hv_start(dgm_gfn(FIRST), RAM, dgm_mfn(FIRST));
    return 0;
}

static int stop(void **state)
{
    dgm_hv_stop();
    return 0;
}

static struct dgm_gfn_range range(uint64_t from, uint64_t count)
{
    return (struct dgm_gfn_range){dgm_gfn(FIRST + from), count};
}

/* Fails: a run that is no multiple of the hypercall's list is given up wrongly. */
static void out_and_in(void **state)
{
    static const uint64_t counts[] = {0, 1, 127, 128, 129, 700};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        strcpy(dgm_env_va(dgm_gfn(FIRST + 9)), "below");
        assert_int_equal(dgm_balloon_out(range(10, counts[i])), counts[i]);
        assert_int_equal(dgm_hv_stats()->ballooned, counts[i]);
        assert_string_equal(dgm_env_va(dgm_gfn(FIRST + 9)), "below");
        assert_true(dgm_hv_may_dma(dgm_mfn(FIRST + 10 + counts[i]), true));
        if (counts[i])
            assert_false(dgm_hv_may_dma(dgm_mfn(FIRST + 10), true));
        assert_int_equal(dgm_balloon_in(range(10, counts[i])), counts[i]);
        assert_int_equal(dgm_hv_stats()->ballooned, 0);
        memset(dgm_env_va(dgm_gfn(FIRST + 10)), 1, DGM_FRAME_BYTES);
    }
}

/* Fails: frames that Xen did not take are used as slots, over RAM that is still there. */
static void only_what_xen_took(void **state)
{
    assert_int_equal(dgm_balloon_out(range(300, 1)), 1); /* already gone when we come by */
    assert_int_equal(dgm_balloon_out(range(0, 512)), 300);
    assert_int_equal(dgm_balloon_out(range(300, 5)), 0);
    assert_int_equal(dgm_hv_stats()->ballooned, 301);
    assert_int_equal(dgm_balloon_in(range(0, 512)), 301);
}

static long refuse(void *context, uint64_t nth, unsigned op, unsigned command)
{
    const uint64_t *from = context;

    return nth >= *from ? DGM_EPERM : 0;
}

/* Fails: Xen's refusal is taken for a count, first time or later. */
static void refusals(void **state)
{
    uint64_t from = 0;

    dgm_hv_set_faults(&(struct dgm_hv_faults){.context = &from, .call = refuse});
    assert_int_equal(dgm_balloon_out(range(0, 512)), DGM_EPERM);
    from = 2;
    assert_int_equal(dgm_balloon_out(range(0, 512)), 128); /* call 1 went through, call 2 not */
    assert_int_equal(dgm_hv_stats()->ballooned, 128);
}

/* Fails: with ext_regions=0 a guest's frame cannot be mapped where our RAM was. */
static void a_grant_in_a_ballooned_slot(void **state)
{
    const struct dgm_ram_bank bank = {{FIRST}, {FIRST}, RAM};
    static uint64_t p2m_memory[64], slot_memory[8];
    static struct dgm_grant grant;
    struct dgm_p2m p2m;
    struct dgm_slots slots;
    struct dgm_foreign foreign;

    dgm_hv_domain_add(1, 4);
    dgm_hv_grant(1, 8, 2, false);
    assert_int_equal(dgm_balloon_out(range(100, 16)), 16);
    assert_int_equal(dgm_p2m_init(&p2m, &bank, 1, range(100, 16), p2m_memory), DGM_OK);
    assert_int_equal(dgm_slots_init(&slots, range(100, 16), slot_memory), DGM_OK);
    dgm_grant_init(&grant, &p2m, &slots);
    assert_int_equal(dgm_grant_map_add(&grant, &foreign, 1, 8, false), DGM_OK);
    dgm_grant_map_commit(&grant);
    assert_int_equal(foreign.status, DGM_OK);
    assert_int_equal(foreign.gfn.n, FIRST + 100);
    strcpy(dgm_hv_page(1, 2), "guest");
    assert_string_equal(dgm_env_va(foreign.gfn), "guest");
    assert_int_equal(dgm_p2m_lookup(&p2m, foreign.gfn).n, dgm_hv_mfn(1, 2).n);
    dgm_grant_unmap_add(&grant, &foreign);
    dgm_grant_unmap_commit(&grant);
    dgm_grant_check(&grant);
    assert_int_equal(dgm_hv_stats()->over, 0);
    assert_int_equal(dgm_hv_stats()->live, 0);
    assert_int_equal(dgm_balloon_in(range(100, 16)), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(out_and_in, start, stop),
        cmocka_unit_test_setup_teardown(only_what_xen_took, start, stop),
        cmocka_unit_test_setup_teardown(refusals, start, stop),
        cmocka_unit_test_setup_teardown(a_grant_in_a_ballooned_slot, start, stop),
    };

    return cmocka_run_group_tests_name("balloon", tests, NULL, NULL);
}
