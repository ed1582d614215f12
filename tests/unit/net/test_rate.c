/* SPDX-License-Identifier: MIT */
/* rate: if these fail, a guest sends more than its limit, or less, or waits without end. */
#include "vif_rig.h"

#include <net/rate.h>

#define PERIOD_NS 1000u

static struct dgm_rate rate;

static int start(void **state)
{
    dgm_sim_set_now_ns(50 * PERIOD_NS);
    dgm_rate_init(&rate, (struct dgm_rate){.amount = 100, .period_ns = PERIOD_NS});
    return 0;
}

/* What passes at `now_ns`, in portions. */
static unsigned pass_time(uint64_t now_ns, unsigned portion)
{
    unsigned passed = 0;

    dgm_sim_set_now_ns(now_ns);
    dgm_rate_replenish(&rate);
    while (dgm_rate_allows(&rate)) {
        dgm_rate_take(&rate, portion);
        passed += portion;
    }
    return passed;
}

/* Fails: a period has another amount, or an idle time is saved up. */
static void replenishes(void **state)
{
    assert_int_equal(pass_time(50 * PERIOD_NS, 10), 100);
    assert_int_equal(dgm_rate_next_ns(&rate), 51 * PERIOD_NS);
    assert_int_equal(pass_time(51 * PERIOD_NS - 1, 10), 0);
    assert_int_equal(pass_time(51 * PERIOD_NS, 10), 100);
    assert_int_equal(pass_time(90 * PERIOD_NS, 10), 100);
    assert_int_equal(pass_time(UINT64_MAX, 10), 100);
}

/* Fails: a packet beyond the amount never passes, or is not paid back. */
static void pays_back(void **state)
{
    assert_int_equal(pass_time(50 * PERIOD_NS, 350), 350);
    assert_int_equal(dgm_rate_next_ns(&rate), 53 * PERIOD_NS);
    assert_int_equal(pass_time(53 * PERIOD_NS - 1, 350), 0);
    assert_int_equal(pass_time(53 * PERIOD_NS, 350), 350);
    assert_int_equal(dgm_rate_next_ns(&rate), 57 * PERIOD_NS); /* 300 of debt, and 1 */
}

/* Fails: over a long time another amount passes than the limit says. */
static void is_exact(void **state)
{
    uint64_t passed = 0, now_ns = 50 * PERIOD_NS;

    for (unsigned i = 0; i < 1000; i++) {
        passed += pass_time(now_ns, 14 + (unsigned)unit_below(1500));
        now_ns = dgm_rate_next_ns(&rate);
    }
    assert_in_range(passed, (now_ns / PERIOD_NS - 50) * 100 - 100,
                    (now_ns / PERIOD_NS - 50) * 100 + 100);
}

/* Fails: what has no limit waits. */
static void unlimited(void **state)
{
    dgm_rate_init(&rate, (struct dgm_rate){0});
    for (unsigned i = 0; i < 100; i++) {
        dgm_rate_take(&rate, UINT32_MAX / 2);
        dgm_rate_replenish(&rate);
        assert_true(dgm_rate_allows(&rate));
    }
}

/* --- a vif with a limit --- */

#define VIF_RATE_US 20000u

static int start_vifs(void **state)
{
    unit_seed();
    vif_start_with(&(struct dgm_netback_options){
        .bridge = "xenbr0", .rate_bytes = 1000, .rate_us = VIF_RATE_US});
    for (domid_t domid = 1; domid <= VIF_GUESTS; domid++)
        vif_connect(domid, 200);
    return 0;
}

static int stop_vifs(void **state)
{
    vif_stop();
    return 0;
}

/* Fails: a guest exceeds its rate, loses a packet by it, or is never drained again; or another
 * guest waits with it. */
static void limits_a_guest(void **state)
{
    uint8_t packet[500];
    char text[32];

    assert_true(dgm_xs_read(vbd.xs, "/local/domain/0/backend/vif/1/0/rate", text, sizeof text) > 0);
    assert_string_equal(text, "1000,20000");
    for (unsigned i = 0; i < 20; i++) {
        vif_make(packet, sizeof packet, 1, 2);
        vif_send(1, packet, sizeof packet, 1, 0);
    }
    for (unsigned period = 0; period < 10; period++) {
        vif_push(1);
        assert_int_equal(vif.front[2].packets, 2 + 2 * period);
        assert_false(vif.front[1].transmit.rsp_cons > 2 + 2 * period);
        vif_make(packet, sizeof packet, 3, 1);
        vif_send(3, packet, sizeof packet, 1, 0);
        vif_push(3);
        assert_int_equal(vif.front[1].packets, 1 + period);
        vbd_pass(VIF_RATE_US * 1000ull);
    }
    assert_true(vif.back[1].counters.rate_limited > 0);
    assert_int_equal(vif.back[3].counters.rate_limited, 0);
}

/* Fails: a vif without a guest is drained, or keeps a timer. */
static void ends_while_it_waits(void **state)
{
    uint8_t packet[1500];

    for (unsigned i = 0; i < 3; i++) {
        vif_make(packet, sizeof packet, 1, 2);
        vif_send(1, packet, sizeof packet, 1, 0);
    }
    vif_push(1);
    assert_int_equal(vif.front[2].packets, 1);
    vif_close(1);
    vbd_pass(VIF_RATE_US * 10000ull);
    assert_int_equal(vif.front[2].packets, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(replenishes, start),
        cmocka_unit_test_setup(pays_back, start),
        cmocka_unit_test_setup(is_exact, start),
        cmocka_unit_test_setup(unlimited, start),
        cmocka_unit_test_setup_teardown(limits_a_guest, start_vifs, stop_vifs),
        cmocka_unit_test_setup_teardown(ends_while_it_waits, start_vifs, stop_vifs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
