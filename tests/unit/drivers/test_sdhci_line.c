/* SPDX-License-Identifier: MIT */
/*
 * sdhci: its interrupt line (watch.c). If these fail, a line that stays asserted is served without
 * end, and no other device and no guest is served; or a card behind a masked line stands still.
 */
#include "sdhci_rig.h"

#include <dragoman/base/status.h>

/* Fails: an interrupt of another device on the line, or one without a command, has an effect. */
static void stray_interrupts(void **state)
{
    sd_start_card(true, true);
    sd.irq->handle(sd.irq);
    assert_int_equal(sd_disk.interrupts_idle, 1);
    sd_raise(1u << 1);
    sd_run(0);
    assert_int_equal(sd_disk.bogus, 1);
    sd_block_works();
    sd_stop();
}

/* Fails: a controller whose status stays set takes more than four steps of one interrupt. */
static void a_status_that_stays(void **state)
{
    sd_start_card(true, true);
    sd.status_sticks = 100;
    sd_raise(1u << 1);
    sd.irq->handle(sd.irq);
    assert_int_equal(sd.status_sticks, 96);
    sd.irq->handle(sd.irq);
    assert_int_equal(sd.status_sticks, 92);
    sd.status_sticks = 0;
    sd.irq->handle(sd.irq);
    sd_run(0);
    sd_block_works();
    sd_stop();
}

/* Serves the line until it is masked; returns the number of interrupts. */
static uint64_t serve_until_masked(void)
{
    const uint64_t before = sd_disk.interrupts;

    for (unsigned turns = 0; !sd.masked && turns < 1000; turns++)
        sd_run(0);
    assert_true(sd.masked);
    return sd_disk.interrupts - before;
}

/* Fails: a line that stays asserted without a status is served without end, or its card is not
 * served any more. */
static void a_stuck_line_is_masked(void **state)
{
    static struct sd_job jobs[3];
    uint64_t interrupts;

    sd_start_card(true, true);
    for (unsigned i = 0; i < 3; i++)
        sd_submit_block(&jobs[i], DGM_BLK_WRITE, i);
    sd.irq_stuck = true;
    assert_in_range(serve_until_masked(), 50, 200);
    assert_int_equal(dgm_sim_logged("masked"), 1);

    interrupts = sd_disk.interrupts;
    for (unsigned i = 0; i < 100; i++)
        sd_run(0);
    assert_int_equal(sd_disk.interrupts, interrupts);
    sd.irq_stuck = false; /* as a transfer's end lowers it */
    sd_run_card(1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(jobs[i].status, DGM_OK);
    assert_false(sd.masked);
    assert_int_equal(sd_disk.interrupts_lost, 0);
    sd_block_works();
    assert_true(sd_disk.interrupts > interrupts);
    assert_int_equal(sd_disk.line.maskings, 1);
    sd_stop();
}

/* Fails: a status that cannot be cleared, with nothing in flight, is served without end. */
static void a_status_that_stays_is_masked(void **state)
{
    static const uint32_t status[] = {1u << 1 /* transfer complete */, 1u << 20 /* time out */};

    for (size_t i = 0; i < sizeof status / sizeof status[0]; i++) {
        sd_start_card(true, true);
        sd.status_stays = status[i];
        sd_raise(status[i]);
        assert_in_range(serve_until_masked(), 50, 200);
        assert_int_equal(sd_disk.recoveries, 0);
        sd_stop();
    }
}

/* Fails: a card whose removal is reported without end, although it is in its slot, holds the
 * reactor; or it is not served when the reports end. */
static void a_removal_that_stays_is_masked(void **state)
{
    static struct sd_job job;

    sd_start_card(true, true);
    sd.status_stays = 1u << 7;
    sd_raise(1u << 7);
    for (unsigned i = 0; i < 2000 && !sd.masked; i++)
        sd_run(10 * MS);
    assert_true(sd.masked);
    assert_true(sd_disk.interrupts < 200);
    sd.status_stays = 0;
    sd_submit_block(&job, DGM_BLK_READ, 0);
    sd_run_card(20);
    assert_int_equal(job.status, DGM_OK);
    assert_false(sd.masked);
    sd_stop();
}

/* Fails: a line that another device asserts is masked at this device. */
static void a_neighbours_line_is_left_alone(void **state)
{
    sd_start_card(true, true);
    for (unsigned i = 0; i < 1000; i++)
        sd.irq->handle(sd.irq);
    assert_false(sd.masked);
    assert_int_equal(sd_disk.line.maskings, 0);
    assert_int_equal(sd_disk.interrupts_idle, 1000);
    sd_block_works();
    sd_stop();
}

/* Fails: errors that end in success mask a line that is not stuck. */
static void errors_are_not_a_stuck_line(void **state)
{
    static struct sd_job job;

    sd_start_card(true, true);
    for (unsigned i = 0; i < 300; i++) {
        sd.fault = SD_DATA_CRC;
        sd.fault_index = 18;
        sd_submit_block(&job, DGM_BLK_READ, 0);
        sd_run_card(1);
        assert_int_equal(job.status, DGM_OK);
    }
    assert_int_equal(sd_disk.line.maskings, 0);
    sd_stop();
}

/* Fails: the line is stuck while the controller is reset, and is served without end. */
static void a_line_stuck_without_a_card(void **state)
{
    static struct sd_job job;

    sd_start_card(true, true);
    sd_drop_link();
    sd.absent = true;
    sd_submit_block(&job, DGM_BLK_READ, 0);
    sd_run(2 * SECOND);
    sd.irq_stuck = true;
    assert_in_range(serve_until_masked(), 50, 200);
    sd.absent = false;
    sd_run_card(10); /* still stuck: polled */
    assert_int_equal(job.status, DGM_OK);
    sd.irq_stuck = false;
    for (unsigned i = 0; i < 4; i++) {
        sd_submit_block(&job, DGM_BLK_READ, 0);
        sd_run_card(1);
        assert_int_equal(job.status, DGM_OK);
    }
    assert_false(sd.masked);
    sd_block_works();
    sd_stop();
}

/* Fails: a line that gets stuck repeatedly is unmasked as often. */
static void a_line_that_stays_stuck(void **state)
{
    static struct sd_job job;

    sd_start_card(true, true);
    sd.irq_stuck = true;
    for (unsigned i = 0; i < 200; i++) {
        sd_submit_block(&job, DGM_BLK_WRITE, i);
        for (unsigned turns = 0; turns < 150; turns++)
            sd_run(0);
        sd_run_card(1);
        assert_int_equal(job.status, DGM_OK);
    }
    assert_in_range(sd_disk.line.maskings, 2, 12);
    assert_true(sd_disk.interrupts < 2000);
    assert_int_equal(dgm_sim_logged("masked"), 1);
    sd_stop();
}

/* Fails: a device without irq_mask, or one whose line cannot be masked, stops working. */
static void a_line_that_cannot_be_masked(void **state)
{
    sd_start_card(true, true);
    sd_env.irq_mask = NULL;
    sd.irq_stuck = true;
    for (unsigned i = 0; i < 300; i++)
        sd_run(0);
    assert_int_equal(sd_disk.line.maskings, 0);
    sd_block_works();
    sd_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stray_interrupts),
        cmocka_unit_test(a_status_that_stays),
        cmocka_unit_test(a_stuck_line_is_masked),
        cmocka_unit_test(a_status_that_stays_is_masked),
        cmocka_unit_test(a_removal_that_stays_is_masked),
        cmocka_unit_test(a_neighbours_line_is_left_alone),
        cmocka_unit_test(errors_are_not_a_stuck_line),
        cmocka_unit_test(a_line_stuck_without_a_card),
        cmocka_unit_test(a_line_that_stays_stuck),
        cmocka_unit_test(a_line_that_cannot_be_masked),
    };

    return cmocka_run_group_tests_name("sdhci_line", tests, NULL, NULL);
}
