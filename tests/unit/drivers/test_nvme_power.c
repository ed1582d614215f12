/* SPDX-License-Identifier: MIT */
/*
 * nvme power: whether a disk that returns was switched off meanwhile. If this fails, completed
 * writes that were only in its cache are lost without a trace (block/flush.c), or a link that
 * dropped is taken for such a loss, and a guest's writes fail without a cause.
 */
#include "nvme_rig.h"

static void attach(uint64_t power_cycles, bool write_cache)
{
    struct dgm_simnvme_config config = nvme_plain;

    config.power_cycles = power_cycles;
    config.write_cache = write_cache;
    nvme_start(&config);
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_int_equal(nvme_device()->power_losses, 0);
}

/* The disk leaves with writes in flight, and returns with this number of power cycles. */
static void leave_and_return(uint64_t power_cycles)
{
    nvme_submit_many(0, 4, DGM_BLK_WRITE);
    nvme_drop_link();
    nvme_rig.sim.config.power_cycles = power_cycles;
    nvme_settle(20 * SECOND);
    assert_int_equal(nvme_count(0, 4, DGM_OK), 4); /* submitted again */
    nvme_works();
}

static void each_loss_is_counted(void **state)
{
    attach(7, true);
    leave_and_return(7); /* the link dropped */
    assert_int_equal(nvme_device()->power_losses, 0);
    leave_and_return(8);
    assert_int_equal(nvme_device()->power_losses, 1);
    leave_and_return(8);
    leave_and_return(11);
    assert_int_equal(nvme_device()->power_losses, 2);
    assert_int_equal(dgm_sim_logged("its power was off"), 2);
    nvme_end();
}

/* Fails: a number that cannot be right, smaller than before or none any more, is taken for a loss,
 * and a guest's writes fail without a cause; or it hides a loss later. */
static void a_smaller_number_is_not_believed(void **state)
{
    static const uint64_t wrong[] = {0, 1, 6};

    for (unsigned i = 0; i < 3; i++) {
        attach(7, true);
        leave_and_return(wrong[i]);
        leave_and_return(wrong[i]);
        assert_int_equal(dgm_sim_logged("it is not believed"), 1);
        leave_and_return(7);
        assert_int_equal(nvme_device()->power_losses, 0);
        leave_and_return(8);
        assert_int_equal(nvme_device()->power_losses, 1);
        nvme_end();
    }
}

/* Without a cache nothing is lost, and the disk is not asked. */
static void nothing_is_lost_without_a_cache(void **state)
{
    attach(7, false);
    leave_and_return(8);
    assert_int_equal(nvme_device()->power_losses, 0);
    nvme_end();
}

/* A disk that does not say how often it was switched on, at first, for a time or at all. */
static void unknown_is_no_loss(void **state)
{
    attach(0, true);
    leave_and_return(0);
    leave_and_return(5);
    assert_int_equal(nvme_device()->power_losses, 0);
    nvme_rig.sim.admin_error = 0x02;
    leave_and_return(5);
    nvme_rig.sim.admin_error = 0;
    leave_and_return(5);
    assert_int_equal(nvme_device()->power_losses, 0);
    leave_and_return(6);
    assert_int_equal(nvme_device()->power_losses, 1);
    nvme_end();
}

/* Fails: a disk without health information is not used. */
static void works_without_health_information(void **state)
{
    nvme_start(&nvme_plain);
    nvme_rig.sim.admin_error = 0x02;
    assert_int_equal(nvme_attach(), DGM_OK);
    nvme_works();
    nvme_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_loss_is_counted),
        cmocka_unit_test(a_smaller_number_is_not_believed),
        cmocka_unit_test(nothing_is_lost_without_a_cache),
        cmocka_unit_test(unknown_is_no_loss),
        cmocka_unit_test(works_without_health_information),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
