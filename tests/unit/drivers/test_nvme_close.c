/* SPDX-License-Identifier: MIT */
/*
 * nvme close: if these fail, a disk is not shut down before its power goes, loses written data, or
 * prevents the machine from switching off.
 */
#include "nvme_rig.h"

/* Shuts down as at the end of the machine, without interrupts and timers. Returns the time that it
 * took. */
static uint64_t shut_down(uint64_t limit_ns)
{
    const uint64_t start_ns = nvme_rig.now_ns;

    while (!nvme_device()->ops->shutdown(nvme_device(), start_ns + limit_ns) &&
           nvme_rig.now_ns < start_ns + limit_ns) {
        dgm_simnvme_run(&nvme_rig.sim, 1);
        nvme_pass(MS);
    }
    return nvme_rig.now_ns - start_ns;
}

/* Fails: the controller is not shut down, or before its cache is flushed. */
static void flushed_and_shut_down(void **state)
{
    nvme_attach_plain();
    nvme_works();
    assert_int_equal(nvme_rig.sim.flushes, 0);
    assert_true(shut_down(5 * SECOND) < 100 * MS);
    assert_int_equal(nvme_rig.sim.flushes, 1);
    assert_int_equal(nvme_rig.sim.closings, 1);
    assert_int_equal(nvme_rig.nvme.state, DGM_NVME_CLOSED);
    assert_int_equal(nvme_submit(nvme_prepare(5, DGM_BLK_READ, 0, 8, 100, 0)), DGM_EIO);
    assert_true(shut_down(5 * SECOND) == 0); /* once more changes nothing */
    assert_int_equal(nvme_rig.sim.closings, 1);
    nvme_end();
}

/* Fails: writes in flight are neither completed nor flushed. */
static void writes_in_flight_end_first(void **state)
{
    nvme_attach_plain();
    nvme_submit_many(0, 10, DGM_BLK_WRITE);
    shut_down(5 * SECOND);
    assert_int_equal(nvme_count(0, 10, DGM_OK), 10);
    assert_int_equal(nvme_rig.sim.flushes, 1);
    assert_int_equal(nvme_rig.sim.flushed_at, 11);
    assert_int_equal(nvme_rig.sim.closings, 1);
    nvme_end();
}

/* Fails: a disk without a cache is flushed. */
static void no_cache_no_flush(void **state)
{
    struct dgm_simnvme_config config = nvme_plain;

    config.write_cache = false;
    nvme_start(&config);
    assert_int_equal(nvme_attach(), DGM_OK);
    shut_down(5 * SECOND);
    assert_int_equal(nvme_rig.sim.flushes, 0);
    assert_int_equal(nvme_rig.sim.closings, 1);
    nvme_end();
}

/* Fails: a disk that does not respond prevents the machine from switching off, or is not shut down
 * at all. */
static void the_time_is_bounded(void **state)
{
    for (unsigned how = 0; how < 6; how++) {
        uint64_t took_ns;

        nvme_attach_plain();
        switch (how) {
        case 0: /* the flush gets no completion */
            nvme_fault(DGM_SIMNVME_SILENT, 100);
            break;
        case 1: /* the shutdown is not completed */
            nvme_rig.sim.never_closes = true;
            break;
        case 2:
            nvme_rig.sim.gone = true;
            break;
        case 3: /* the flush fails */
            nvme_fault(DGM_SIMNVME_ERROR, 100);
            break;
        case 4: /* the flush fails for now */
            nvme_rig.sim.status = 0x82;
            nvme_fault(DGM_SIMNVME_ERROR, 100);
            break;
        default: /* the device has left the bus */
            nvme_submit_many(0, 1, DGM_BLK_WRITE);
            nvme_drop_link();
            nvme_rig.absent = true;
            for (unsigned i = 0; i < 300; i++) {
                nvme_turn();
                nvme_pass(10 * MS);
            }
            break;
        }
        took_ns = shut_down(5 * SECOND);
        assert_true(took_ns < 5 * SECOND + 100 * MS);
        assert_int_equal(nvme_rig.sim.closings, how == 0 || how == 3 || how == 4);
        nvme_rig.in_flight = 0; /* the machine is off */
        nvme_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flushed_and_shut_down),
        cmocka_unit_test(writes_in_flight_end_first),
        cmocka_unit_test(no_cache_no_flush),
        cmocka_unit_test(the_time_is_bounded),
    };

    return cmocka_run_group_tests_name("nvme_close", tests, NULL, NULL);
}
