/* SPDX-License-Identifier: MIT */
/* log_limit: if these fail, a guest fills the log and its serial port,
 * or a line is lost silently. */
#include "unit.h"

#include <dragoman/base/log_limit.h>
#include <port/env.h>

#define SECOND_NS 1000000000u
#define START_NS  (1000 * (uint64_t)SECOND_NS)

static struct dgm_log_limit limit;

static int start(void **state)
{
    memset(&limit, 0, sizeof limit);
    dgm_sim_set_now_ns(START_NS);
    return 0;
}

/* How many of `count` lines are written. */
static unsigned write_lines(unsigned count)
{
    unsigned written = 0;

    for (unsigned i = 0; i < count; i++) {
        const uint64_t before = dgm_sim_log_lines();

        dgm_log_limited(&limit, "line %u", i);
        written += dgm_sim_log_lines() != before;
    }
    return written;
}

static void a_burst_then_nothing(void **state)
{
    assert_int_equal(write_lines(1000), DGM_LOG_LIMIT_BURST);
    assert_int_equal(limit.suppressed_total, 1000 - DGM_LOG_LIMIT_BURST);
    dgm_sim_set_now_ns(START_NS + DGM_LOG_LIMIT_REFILL_NS - 1);
    assert_int_equal(write_lines(10), 0);
}

static void suppressed_lines_are_counted_aloud(void **state)
{
    write_lines(DGM_LOG_LIMIT_BURST + 37);
    dgm_sim_set_now_ns(START_NS + DGM_LOG_LIMIT_REFILL_NS);
    assert_true(dgm_log_limit_take(&limit));
    assert_string_equal(dgm_sim_last_log(), "37 log lines like the next one were suppressed");
    dgm_sim_set_now_ns(START_NS + 2 * (uint64_t)DGM_LOG_LIMIT_REFILL_NS);
    dgm_log_limited(&limit, "the next");
    assert_string_equal(dgm_sim_last_log(), "the next");
    assert_int_equal(limit.suppressed, 0);
    assert_int_equal(limit.suppressed_total, 37);
}

/* For any passing of time, no more than the burst and one line per refill. */
static void bounded_over_time(void **state)
{
    uint64_t now_ns = START_NS, written = 0;

    unit_seed();
    for (unsigned i = 0; i < 20000; i++) {
        now_ns += unit_below(SECOND_NS);
        dgm_sim_set_now_ns(now_ns);
        written += write_lines((unsigned)unit_below(4));
    }
    const uint64_t refills = (now_ns - START_NS) / DGM_LOG_LIMIT_REFILL_NS;
    assert_in_range(written, refills, refills + DGM_LOG_LIMIT_BURST);
}

static void full_again_after_a_pause(void **state)
{
    write_lines(100);
    dgm_sim_set_now_ns(START_NS + 1000 * (uint64_t)DGM_LOG_LIMIT_REFILL_NS);
    assert_int_equal(write_lines(100), DGM_LOG_LIMIT_BURST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_burst_then_nothing, start),
        cmocka_unit_test_setup(suppressed_lines_are_counted_aloud, start),
        cmocka_unit_test_setup(bounded_over_time, start),
        cmocka_unit_test_setup(full_again_after_a_pause, start),
    };

    return cmocka_run_group_tests_name("log_limit", tests, NULL, NULL);
}
