/* SPDX-License-Identifier: MIT */
/*
 * nvme watch: if these fail, a slow disk is taken for a dead one, a dead one for a slow one, a lost
 * interrupt costs a second each time, or one stuck interrupt line starves every other device.
 */
#include "nvme_rig.h"

/* --- slow is not dead --- */

/*
 * `depth` commands for a disk that completes one every `pause_ns`. No command may fail. There is no
 * reset unless the disk pauses longer than times.stall_ns; even then no command fails.
 */
static void run_slow_disk(unsigned depth, uint64_t pause_ns)
{
    const bool stalls = pause_ns > 32 * SECOND;
    const uint64_t look_ns = pause_ns / 10 < 500 * MS ? pause_ns / 10 : 500 * MS;
    uint64_t due_ns;

    nvme_attach_plain();
    nvme_submit_many(0, depth, DGM_BLK_WRITE);
    due_ns = nvme_rig.now_ns + pause_ns;
    for (unsigned looks = 0; nvme_rig.in_flight && looks < 1000000; looks++) {
        if (nvme_rig.now_ns >= due_ns) {
            dgm_simnvme_run(&nvme_rig.sim, 1);
            due_ns = nvme_rig.now_ns + pause_ns;
        }
        nvme_turn();
        nvme_pass(look_ns);
    }
    assert_int_equal(nvme_count(0, depth, DGM_OK), depth);
    assert_int_equal(nvme_device()->errors, 0);
    assert_int_equal(nvme_rig.sim.io_commands, depth);
    assert_true(stalls ? nvme_rig.nvme.resets > 0 : nvme_rig.nvme.resets == 0);
    nvme_end();
}

/* Fails: a command fails because others completed first, or a slow disk is reset. */
static void progress_keeps_it_alive(void **state)
{
    static const uint64_t pauses[] = {100 * MS, SECOND, 3 * SECOND, 9 * SECOND, 25 * SECOND};
    static const unsigned depths[] = {1, 2, 7, 20, 63};

    for (size_t p = 0; p < sizeof pauses / sizeof pauses[0]; p++)
        for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++)
            run_slow_disk(depths[d], pauses[p]);
}

/* Fails: a stall of two minutes causes an error of a guest. */
static void stalls_cost_no_errors(void **state)
{
    run_slow_disk(1, 60 * SECOND);
    run_slow_disk(20, 45 * SECOND);
    run_slow_disk(2, 120 * SECOND);
}

/* Fails: a stall at any depth, with some commands completed before it, loses or fails one. */
static void stalls_after_progress(void **state)
{
    static const uint64_t stalls[] = {MS * 100,    SECOND,      10 * SECOND,
                                      29 * SECOND, 40 * SECOND, 90 * SECOND};

    for (size_t s = 0; s < sizeof stalls / sizeof stalls[0]; s++) {
        for (unsigned ended = 0; ended < 20; ended += 5) {
            nvme_attach_plain();
            nvme_submit_many(0, 20, DGM_BLK_WRITE);
            dgm_simnvme_run(&nvme_rig.sim, ended);
            for (uint64_t passed = 0; passed < stalls[s]; passed += 50 * MS) {
                nvme_turn();
                nvme_pass(50 * MS);
            }
            assert_int_equal(nvme_rig.nvme.resets, stalls[s] / (32 * SECOND));
            nvme_settle(10 * SECOND);
            assert_int_equal(nvme_count(0, 20, DGM_OK), 20);
            assert_int_equal(nvme_device()->errors, 0);
            nvme_works();
            nvme_end();
        }
    }
}

/* Fails: one command that the disk has forgotten waits permanently, because others complete. */
static void forgotten_commands_are_found(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_SILENT, 1);
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    dgm_simnvme_run(&nvme_rig.sim, 1);
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    for (unsigned i = 0; i < 2000 && nvme_rig.commands[0].status == 1; i++) {
        nvme_submit_many(1, 1, DGM_BLK_READ);
        nvme_settle(50 * MS);
    }
    assert_int_equal(nvme_rig.commands[0].status, DGM_OK);
    assert_int_equal(nvme_rig.nvme.resets, 1);
    assert_int_equal(nvme_device()->errors, 0);
    nvme_end();
}

/* Fails: a command that merely waits longer than others causes a reset. */
static void overtaken_is_not_forgotten(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_SILENT, 1);
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    dgm_simnvme_run(&nvme_rig.sim, 1);
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    for (unsigned i = 0; i < 100; i++) { /* for 50 s, 100 others complete */
        nvme_submit_many(1, 1, DGM_BLK_READ);
        nvme_settle(500 * MS);
    }
    assert_int_equal(nvme_rig.nvme.resets, 0);
    nvme_settle(60 * SECOND);
    assert_int_equal(nvme_rig.commands[0].status, DGM_OK);
    nvme_end();
}

/* --- interrupts --- */

/* Fails: a lost interrupt delays its completion for long. */
static void lost_interrupts_are_found(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_NO_INTERRUPT, 100);
    nvme_submit_many(0, 5, DGM_BLK_WRITE);
    nvme_settle(4 * SECOND);
    assert_int_equal(nvme_count(0, 5, DGM_OK), 5);
    assert_int_equal(nvme_rig.nvme.interrupts_lost, 5);
    assert_int_equal(nvme_rig.nvme.resets, 0);
    assert_int_equal(dgm_sim_logged("came without their interrupt"), 1);
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    nvme_works();
    nvme_end();
}

/* Fails: a disk whose interrupts are all lost completes one command a second. */
static void lost_interrupts_make_it_poll_soon(void **state)
{
    uint64_t start_ns;

    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_NO_INTERRUPT, 1000);
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    nvme_settle(4 * SECOND);
    start_ns = nvme_rig.now_ns;
    for (unsigned i = 0; i < 50; i++) {
        nvme_submit_many(0, 1, DGM_BLK_WRITE);
        nvme_settle(SECOND);
        assert_int_equal(nvme_rig.commands[0].status, DGM_OK);
    }
    assert_true(nvme_rig.now_ns - start_ns < 50 * 20 * MS);
    assert_int_equal(dgm_sim_logged("came without their interrupt"), 1); /* said once a minute */

    /* Without the fault the polls become rare. */
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    for (unsigned i = 0; i < 3000; i++) {
        nvme_turn();
        nvme_pass(MS);
    }
    assert_int_equal(nvme_rig.nvme.poll_pause_ns, SECOND);
    nvme_settle(SECOND);
    assert_int_equal(nvme_rig.commands[0].status, DGM_OK);
    nvme_end();
}

/* Fails: an interrupt that is pending when a poll finds the completion counts as lost. */
static void late_interrupts_are_not_lost(void **state)
{
    nvme_attach_plain();
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    nvme_pass(SECOND);
    assert_int_equal(dgm_simnvme_run(&nvme_rig.sim, 1), 1);
    while (dgm_reactor_turn(&nvme_rig.reactor)) /* the poll runs first */
        ;
    nvme_turn();
    assert_int_equal(nvme_rig.commands[0].status, DGM_OK);
    assert_int_equal(nvme_rig.nvme.interrupts_lost, 0);
    nvme_end();
}

/* Fails: a line that stays asserted keeps the CPU from all other tasks. */
static void a_stuck_line_is_masked(void **state)
{
    unsigned handled = 0;

    nvme_attach_plain();
    nvme_submit_many(0, 3, DGM_BLK_WRITE);
    nvme_rig.sim.stuck_line = true; /* as QEMU 7.2's after a reset */
    while (!nvme_rig.masked && handled < 1000) {
        nvme_turn();
        handled++;
    }
    assert_in_range(handled, 50, 200);
    assert_int_equal(nvme_rig.nvme.line.maskings, 1);
    assert_int_equal(dgm_sim_logged("masked"), 1);

    const uint64_t interrupts = nvme_rig.nvme.interrupts;

    for (unsigned i = 0; i < 100; i++)
        nvme_turn();
    assert_int_equal(nvme_rig.nvme.interrupts, interrupts);

    /* It works while polled; QEMU lowers the line when a completion is taken. */
    nvme_settle(SECOND);
    assert_int_equal(nvme_count(0, 3, DGM_OK), 3);
    assert_false(nvme_rig.masked);
    nvme_works();
    assert_true(nvme_rig.nvme.interrupts > interrupts);
    assert_int_equal(nvme_rig.nvme.line.maskings, 1);
    nvme_end();
}

/* Fails: a line that another device asserts is masked at this device, whose own interrupts are
 * lost. */
static void a_neighbours_line_is_left_alone(void **state)
{
    nvme_attach_plain();
    for (unsigned i = 0; i < 1000; i++)
        nvme_rig.irq->handle(nvme_rig.irq);
    assert_false(nvme_rig.masked);
    assert_int_equal(nvme_rig.nvme.line.maskings, 0);
    assert_int_equal(nvme_rig.nvme.interrupts_idle, 1000);
    nvme_works();
    nvme_end();
}

/* Fails: a line that gets stuck repeatedly is unmasked as often. */
static void a_line_that_stays_stuck(void **state)
{
    nvme_attach_plain();
    for (unsigned i = 0; i < 200; i++) {
        nvme_submit_many(0, 1, DGM_BLK_WRITE);
        nvme_rig.sim.stuck_line = true;
        for (unsigned turns = 0; turns < 150; turns++)
            nvme_turn();
        nvme_settle(SECOND);
        assert_int_equal(nvme_rig.commands[0].status, DGM_OK);
    }
    assert_in_range(nvme_rig.nvme.line.maskings, 2, 12);
    assert_true(nvme_rig.nvme.interrupts < 2000);
    nvme_end();
}

/* Fails: a reset leaves the line asserted, as with QEMU 7.2, and it is not masked. */
static void resets_leave_no_storm(void **state)
{
    nvme_attach_plain();
    nvme_rig.sim.keeps_line = true;
    nvme_submit_many(0, 10, DGM_BLK_WRITE);
    nvme_rig.sim.stuck_line = true;
    nvme_fault(DGM_SIMNVME_FATAL, 1);
    dgm_simnvme_run(&nvme_rig.sim, 1);
    for (unsigned turns = 0; turns < 400; turns++) {
        nvme_turn();
        nvme_pass(10 * MS);
    }
    nvme_settle(5 * SECOND);
    assert_int_equal(nvme_count(0, 10, DGM_OK), 10);
    assert_true(nvme_rig.nvme.interrupts < 600);
    nvme_works();
    nvme_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progress_keeps_it_alive),
        cmocka_unit_test(stalls_cost_no_errors),
        cmocka_unit_test(stalls_after_progress),
        cmocka_unit_test(forgotten_commands_are_found),
        cmocka_unit_test(overtaken_is_not_forgotten),
        cmocka_unit_test(lost_interrupts_are_found),
        cmocka_unit_test(lost_interrupts_make_it_poll_soon),
        cmocka_unit_test(late_interrupts_are_not_lost),
        cmocka_unit_test(a_stuck_line_is_masked),
        cmocka_unit_test(a_neighbours_line_is_left_alone),
        cmocka_unit_test(a_line_that_stays_stuck),
        cmocka_unit_test(resets_leave_no_storm),
    };

    return cmocka_run_group_tests_name("nvme_watch", tests, NULL, NULL);
}
