/* SPDX-License-Identifier: MIT */
/*
 * nvme time: if these fail, a disk that is slow in one thing only is taken for a dead one, a
 * command that hangs is hidden by others, or a machine that was paused loses its disk.
 */
#include "nvme_rig.h"

#define JUMP (600 * SECOND)

/* Lets the disk work for `ns`, and judges as often as on a machine that runs. */
static void run_for(uint64_t ns)
{
    const uint64_t end_ns = nvme_rig.now_ns + ns;

    while (nvme_rig.now_ns < end_ns) {
        dgm_simnvme_run(&nvme_rig.sim, 1000);
        nvme_turn();
        nvme_pass(100 * MS);
    }
}

static void expect_no_errors(unsigned jobs)
{
    assert_int_equal(nvme_count(0, jobs, DGM_OK), jobs);
    assert_int_equal(nvme_device()->errors, 0);
    assert_int_equal(nvme_device()->timeouts, 0);
    assert_false(nvme_device()->failed);
    nvme_works();
    nvme_end();
}

/* --- the clock jumps: the machine was paused --- */

/* Fails: a pause while commands are in flight counts as a stall of the disk. */
static void a_jump_is_no_stall(void **state)
{
    for (unsigned ended = 0; ended <= 8; ended += 4) {
        for (unsigned poll_first = 0; poll_first < 2; poll_first++) {
            nvme_attach_plain();
            nvme_submit_many(0, 8, DGM_BLK_WRITE);
            nvme_turn();
            dgm_simnvme_run(&nvme_rig.sim, ended);
            nvme_pass(JUMP);
            while (poll_first && dgm_reactor_turn(&nvme_rig.reactor))
                ;
            nvme_turn();
            assert_int_equal(nvme_rig.nvme.resets, 0);
            run_for(5 * SECOND);
            assert_int_equal(nvme_rig.nvme.resets, 0);
            expect_no_errors(8);
        }
    }
}

/* Fails: after a jump a disk that completes nothing is never reset. */
static void a_jump_hides_no_stall(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_SILENT, 8);
    nvme_submit_many(0, 8, DGM_BLK_WRITE);
    run_for(10 * SECOND);
    nvme_pass(JUMP);
    run_for(15 * SECOND);
    assert_int_equal(nvme_rig.nvme.resets, 0);
    run_for(10 * SECOND);
    assert_int_equal(nvme_rig.nvme.resets, 1);
    expect_no_errors(8);
}

/* Fails: a pause at any moment of a reset ends its time, and gives the disk up; also if the
 * interrupt of another device on the line comes before the timer. */
static void a_jump_at_each_step_of_a_reset(void **state)
{
    for (unsigned step = 0; step < 60; step++) {
        nvme_attach_plain();
        nvme_rig.sim.stops_after = nvme_rig.sim.ready_after = 20;
        nvme_fault(DGM_SIMNVME_FATAL, 1);
        nvme_submit_many(0, 8, DGM_BLK_WRITE);
        dgm_simnvme_run(&nvme_rig.sim, 1);
        nvme_pass(SECOND);
        for (unsigned turn = 0; turn < step; turn++) {
            nvme_turn();
            nvme_pass(2 * MS);
        }
        nvme_pass(JUMP);
        if (step % 2)
            nvme_rig.irq->handle(nvme_rig.irq);
        run_for(10 * SECOND);
        assert_int_equal(nvme_rig.nvme.resets, 1);
        expect_no_errors(8);
    }
}

/* Fails: a pause during the start gives up a disk that becomes ready late. */
static void a_jump_at_the_start(void **state)
{
    unit_seed();
    nvme_start(&nvme_plain);
    nvme_rig.sim.ready_after = 300; /* about 30 s */
    assert_int_equal(dgm_nvme_start(&nvme_rig.nvme, &nvme_rig.env), DGM_OK);
    for (unsigned second = 0; second < 20; second++) {
        run_for(SECOND);
        nvme_pass(JUMP);
    }
    run_for(60 * SECOND);
    assert_true(nvme_device()->ready);
    expect_no_errors(0);
}

/* Fails: a pause between the tries of a temporary error ends them. */
static void a_jump_between_tries(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_ERROR, 4);
    nvme_rig.sim.status = 0x82; /* the namespace is not ready */
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    for (unsigned tries = 0; tries < 6; tries++) {
        dgm_simnvme_run(&nvme_rig.sim, 1);
        nvme_turn();
        nvme_pass(JUMP);
        nvme_turn();
    }
    run_for(10 * SECOND);
    nvme_rig.sim.fault = DGM_SIMNVME_SOUND;
    expect_no_errors(1);
}

/* --- slow in one thing --- */

/* Fails: one completion just before each time limit is not enough. */
static void just_in_time(void **state)
{
    nvme_attach_plain();
    nvme_submit_many(0, 32, DGM_BLK_WRITE);
    for (unsigned i = 0; i < 32; i++) {
        for (unsigned tenths = 0; tenths < 289; tenths++) {
            nvme_turn();
            nvme_pass(100 * MS);
        }
        dgm_simnvme_run(&nvme_rig.sim, 1);
    }
    nvme_turn();
    assert_int_equal(nvme_rig.nvme.resets, 0);
    expect_no_errors(32);
}

/* Fails: a flush that takes two minutes, while nothing else is asked for, costs an error. */
static void a_slow_flush(void **state)
{
    nvme_attach_plain();
    assert_int_equal(nvme_do(nvme_prepare(1, DGM_BLK_WRITE, 8, 8, 2, 0)), DGM_OK);
    nvme_submit(nvme_prepare(0, DGM_BLK_FLUSH, 0, 0, 0, 0));
    nvme_kick();
    for (unsigned tenths = 0; tenths < 1200; tenths++) {
        nvme_turn();
        nvme_pass(100 * MS);
    }
    run_for(10 * SECOND);
    assert_true(nvme_rig.sim.flushes > 0);
    expect_no_errors(2);
}

/* Fails: a disk that is slow again, in the reset that follows the reset, is given up. */
static void a_stall_in_the_second_reset(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_FATAL, 1);
    nvme_submit_many(0, 8, DGM_BLK_WRITE);
    run_for(2 * SECOND);
    nvme_fault(DGM_SIMNVME_FATAL, 1);
    nvme_submit_many(8, 8, DGM_BLK_WRITE);
    nvme_rig.sim.stops_after = 250; /* about 25 s each */
    nvme_rig.sim.ready_after = 250;
    run_for(70 * SECOND);
    assert_int_equal(nvme_rig.nvme.resets, 2);
    expect_no_errors(16);
}

/* Fails: a disk that does not answer an admin command of the reset for 40 s is given up. */
static void a_stall_in_identify(void **state)
{
    static const uint8_t opcodes[] = {0x06, 0x09, 0x05, 0x01}; /* identify, features, queues */

    for (size_t i = 0; i < sizeof opcodes; i++) {
        nvme_attach_plain();
        nvme_rig.sim.admin_silent = opcodes[i];
        nvme_fault(DGM_SIMNVME_FATAL, 1);
        nvme_submit_many(0, 8, DGM_BLK_WRITE);
        run_for(40 * SECOND);
        nvme_rig.sim.admin_silent = 0;
        run_for(40 * SECOND);
        expect_no_errors(8);
    }
}

/* Fails: a command that hangs is hidden by few others that complete, one in ten seconds. */
static void rare_commands_hide_no_hang(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_SILENT, 1);
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    dgm_simnvme_run(&nvme_rig.sim, 1);
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    for (unsigned i = 0; i < 40 && nvme_rig.commands[0].status == 1; i++) {
        nvme_submit_many(1, 1, DGM_BLK_READ);
        run_for(10 * SECOND);
    }
    assert_int_equal(nvme_rig.nvme.resets, 1);
    expect_no_errors(2);
}

/* Fails: writes that never end hold up reads, which do, or fail them; or they wait for ever, where
 * Linux fails them after two timeouts. A write may wait for half an hour, but not in vain while the
 * disk may still do it. */
static void writes_that_never_end_beside_reads(void **state)
{
    unsigned reads = 0;

    for (unsigned minutes = 2; minutes <= 60; minutes += 58) {
        nvme_attach_plain();
        nvme_rig.sim.mute_writes = true;
        nvme_submit_many(0, 16, DGM_BLK_WRITE);
        for (unsigned second = 0; second < 60 * minutes; second++) {
            nvme_submit_many(16, 16, DGM_BLK_READ);
            run_for(SECOND);
            if (nvme_count(16, 16, DGM_OK) < 16) /* a reset */
                run_for(5 * SECOND);
            assert_int_equal(nvme_count(16, 16, DGM_OK), 16);
            reads += 16;
        }
        nvme_rig.sim.mute_writes = false;
        run_for(60 * SECOND);
        assert_int_equal(nvme_count(0, 16, minutes == 2 ? DGM_OK : DGM_ETIMEDOUT), 16);
        assert_false(nvme_device()->failed);
        assert_in_range(nvme_rig.nvme.resets, minutes == 2 ? 1 : 30, minutes == 2 ? 5 : 34);
        nvme_works();
        nvme_end();
    }
    assert_true(reads > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jump_is_no_stall),
        cmocka_unit_test(a_jump_hides_no_stall),
        cmocka_unit_test(a_jump_at_each_step_of_a_reset),
        cmocka_unit_test(a_jump_at_the_start),
        cmocka_unit_test(a_jump_between_tries),
        cmocka_unit_test(just_in_time),
        cmocka_unit_test(a_slow_flush),
        cmocka_unit_test(a_stall_in_the_second_reset),
        cmocka_unit_test(a_stall_in_identify),
        cmocka_unit_test(rare_commands_hide_no_hang),
        cmocka_unit_test(writes_that_never_end_beside_reads),
    };

    return cmocka_run_group_tests_name("nvme_time", tests, NULL, NULL);
}
