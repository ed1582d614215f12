/* SPDX-License-Identifier: MIT */
/*
 * sdhci faults: if these fail, a temporary error fails a guest's request, a permanent one is
 * retried without end, or a command ends while its memory is still written.
 */
#include "sdhci_rig.h"

#include <dragoman/base/status.h>
#include <drivers/sdhci/internal.h>

static char letter_of(enum sdhci_verdict verdict, const char *text)
{
    if (!strcmp(text, "an unknown error"))
        return verdict == SDHCI_UNKNOWN ? 'U' : '?';
    return "pmur"[verdict];
}

/*
 * For each bit from 31 to 0 a letter, written from the specifications and not from the driver's
 * tables. p: may pass; m: the medium; r: the command is refused; u: named, and a few tries find
 * out; U: unknown; a point: no error. Fails: a bit has another meaning, or has no row.
 */
static void every_bit_has_a_verdict(void **state)
{
    static const char *const controller = "UUUUUUupuppppppp";
    static const char *const card = "rrr..r....mmm..................."; /* SD 4.10.1 */
    const char *text;

    for (unsigned i = 0; i < 16; i++) {
        const enum sdhci_verdict verdict = dgm_sdhci_controller_verdict(1u << (31 - i), &text);

        assert_int_equal(letter_of(verdict, text), controller[i]);
    }
    for (unsigned i = 0; i < 32; i++) {
        const enum sdhci_verdict verdict = dgm_sdhci_card_verdict(1u << (31 - i), &text);

        assert_int_equal(letter_of(verdict, text), card[i] == '.' ? 'U' : card[i]);
        assert_int_equal(SD_STATUS_ERRORS >> (31 - i) & 1, card[i] != '.');
    }
    /* Several bits: errors of the lines, and what no retry changes, come first. */
    assert_int_equal(dgm_sdhci_controller_verdict(1u << 25 | 1u << 21, &text), SDHCI_PASSING);
    assert_int_equal(dgm_sdhci_card_verdict(1u << 26 | 1u << 19, &text), SDHCI_REFUSED);
}

/* Three jobs, of which the first meets the fault, `again` times more. */
static void meet_fault(struct sd_job jobs[3], enum dgm_blk_op op, enum sd_fault fault,
                       uint32_t again)
{
    for (unsigned i = 0; i < 3; i++)
        sd_submit_block(&jobs[i], op, i);
    sd.fault = fault;
    sd.fault_index = op == DGM_BLK_READ ? 18 : 25;
    sd.fault_again = again;
}

/* Fails: an error is taken for success, reaches the guest although it is temporary, affects the
 * next command, or leaves the card unusable. */
static void one_error_costs_nothing(void **state)
{
    static const enum sd_fault faults[] = {SD_SILENT, SD_CRC,        SD_DATA_SILENT, SD_DATA_CRC,
                                           SD_ADMA,   SD_CARD_ERROR, SD_STOP_ERROR};
    static struct sd_job jobs[3];

    sd_start_card(true, true);
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        for (enum dgm_blk_op op = DGM_BLK_READ; op <= DGM_BLK_WRITE; op++) {
            const uint64_t recoveries = sd_disk.recoveries;

            meet_fault(jobs, op, faults[f], 0);
            sd_run_card(3);
            for (unsigned i = 0; i < 3; i++)
                assert_int_equal(jobs[i].status, DGM_OK);
            assert_int_equal(sd_disk.recoveries - recoveries, 1);
            assert_int_equal(sd_disk.state, DGM_SDHCI_LIVE);
            assert_int_equal(sd_disk.interrupts_idle, 0); /* none while recovering */
            sd_block_works();
        }
    }
    assert_int_equal(sd.resets, 1); /* the lines were enough each time */
    meet_fault(jobs, DGM_BLK_READ, SD_STOP_BEYOND, 0);
    sd_run_card(2);
    assert_int_equal(jobs[0].status, DGM_OK);
    assert_int_equal(sd_disk.device.errors, 0);
    assert_int_equal(sd_disk.recoveries, 14);
    sd_stop();
}

/* Fails: a permanent error is retried without end, or given up immediately. */
static void errors_that_stay(void **state)
{
    static const struct {
        enum sd_fault fault;
        int status;
        bool passing;
    } cases[] = {
        {SD_SILENT, DGM_ETIMEDOUT, true},
        {SD_CRC, DGM_EIO, true},
        {SD_DATA_SILENT, DGM_ETIMEDOUT, true},
        {SD_DATA_CRC, DGM_EIO, true},
        {SD_ADMA, DGM_EIO, false},
        {SD_CARD_ERROR, DGM_EIO, false},
        {SD_STOP_ERROR, DGM_EIO, false},
    };
    static struct sd_job jobs[3];

    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        sd_start_card(true, true);
        meet_fault(jobs, DGM_BLK_WRITE, cases[c].fault, UINT32_MAX);
        sd_run_card(20);
        assert_int_equal(jobs[0].status, cases[c].passing ? 1 : cases[c].status);
        if (cases[c].passing) {
            sd_run_card(170);
            assert_int_equal(jobs[0].status, cases[c].status);
            assert_true(sd_disk.recoveries > 20);
        }
        assert_in_range(sd_disk.device.errors, 1, 3);
        assert_false(sd_disk.device.failed);
        assert_true(sd.resets > 1); /* the lines alone were not enough: the card was reset */
        sd.fault = SD_NO_FAULT;
        sd_run_card(5);
        sd_block_works();
        sd_stop();
    }
}

/* Fails: a card that no longer works at the full clock does not get a slower one. */
static void damaged_data_slows_the_clock(void **state)
{
    static struct sd_job jobs[3];

    sd_start_card(true, true);
    meet_fault(jobs, DGM_BLK_READ, SD_DATA_CRC, 4);
    sd_run_card(10);
    assert_int_equal(jobs[0].status, DGM_OK);
    assert_in_range(sd_disk.transfer_khz, 3000, 12500);
    assert_int_equal(sd_disk.device.errors, 0);
    sd_stop();
}

/* Fails: a card that pauses is taken for a dead one. */
static void stalls_are_waited_for(void **state)
{
    static struct sd_job jobs[3];
    static const unsigned seconds[] = {1, 9, 29, 50, 120};

    for (size_t s = 0; s < sizeof seconds / sizeof seconds[0]; s++) {
        sd_start_card(true, true);
        for (unsigned i = 0; i < 3; i++)
            sd_submit_block(&jobs[i], DGM_BLK_WRITE, i);
        for (unsigned i = 0; i < seconds[s]; i++)
            sd_run(SECOND);
        assert_in_range(sd_disk.recoveries, seconds[s] / 33, seconds[s] / 30);
        sd_run_card(5);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(jobs[i].status, DGM_OK);
        assert_int_equal(sd_disk.device.errors, 0);
        sd_stop();
    }
}

/* Fails: each lost interrupt delays its command by a second, or hangs it. */
static void lost_interrupts_make_it_poll_soon(void **state)
{
    static struct sd_job job;
    uint64_t start_ns;

    sd_start_card(true, true);
    sd.fault = SD_NO_INTERRUPT;
    sd.fault_index = 18;
    sd.fault_again = UINT32_MAX;
    sd_submit_block(&job, DGM_BLK_READ, 0);
    sd_run_card(2);
    assert_int_equal(job.status, DGM_OK);
    assert_int_equal(sd_disk.interrupts_lost, 1);
    start_ns = sd.now_ns;
    for (unsigned i = 0; i < 20; i++) {
        sd_submit_block(&job, DGM_BLK_READ, 0);
        for (unsigned looks = 0; job.status == 1 && looks < 1000; looks++) {
            sd_run(MS);
            sd_transfer();
        }
        assert_int_equal(job.status, DGM_OK);
    }
    assert_int_equal(sd_disk.interrupts_lost, 21);
    assert_true(sd.now_ns - start_ns < 20 * 20 * MS);
    sd_stop();
}

/* Fails: a machine that was paused for ten minutes, at any moment after a link dropped or an error,
 * loses its card. */
static void a_jump_of_the_clock(void **state)
{
    static struct sd_job jobs[3];

    for (unsigned turns = 0; turns < 40; turns++) {
        sd_start_card(true, true);
        meet_fault(jobs, DGM_BLK_WRITE, SD_SILENT, 3);
        sd_run(0);
        if (turns % 2)
            sd_drop_link();
        sd.absent = turns % 2;
        for (unsigned i = 0; i < turns; i++)
            sd_run(MS);
        sd_run(600 * SECOND);
        sd.absent = false;
        sd_run_card(60);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(jobs[i].status, DGM_OK);
        assert_int_equal(sd_disk.device.errors, 0);
        assert_false(sd.cut_off);
        sd_block_works();
        sd_stop();
    }
}

/* Fails: the machine is switched off in the middle of a write, or never. */
static void shutdown_waits_for_the_transfer(void **state)
{
    static struct sd_job jobs[2];
    struct dgm_blkdev *disk = &sd_disk.device;

    sd_start_card(true, true);
    sd_submit_block(&jobs[0], DGM_BLK_WRITE, 0);
    sd_submit_block(&jobs[1], DGM_BLK_WRITE, 1);
    sd_run(0);
    assert_false(disk->ops->shutdown(disk, sd.now_ns + SECOND));
    assert_int_equal(sd_submit_block(&jobs[0], DGM_BLK_WRITE, 0), DGM_EIO);
    jobs[0].status = 1;
    sd_stop();

    sd_start_card(true, true);
    sd_submit_block(&jobs[0], DGM_BLK_WRITE, 0);
    sd_submit_block(&jobs[1], DGM_BLK_WRITE, 1);
    sd_run(0);
    for (unsigned i = 0; !disk->ops->shutdown(disk, 100 * SECOND); i++) {
        assert_true(i < 1000);
        sd_transfer();
    }
    assert_int_equal(jobs[0].status, DGM_OK);
    assert_int_equal(jobs[1].status, DGM_OK);
    sd_stop();

    sd_start_card(true, true);
    sd_submit_block(&jobs[0], DGM_BLK_WRITE, 0);
    sd_run(0);
    assert_true(disk->ops->shutdown(disk, sd.now_ns)); /* the time is over */
    sd_stop();
}

/* Fails: lines that cannot be reset, or a card that does not stop, fail the disk. */
static void whole_reset_when_lines_are_not_enough(void **state)
{
    for (unsigned how = 0; how < 3; how++) {
        static struct sd_job jobs[2];

        sd_start_card(true, true);
        sd_submit_block(&jobs[0], DGM_BLK_WRITE, 0);
        sd_submit_block(&jobs[1], DGM_BLK_READ, 1);
        sd.reset_sticks = how == 0;
        sd.stays_busy = how == 1;
        sd.mute = how == 2;
        sd.fault = SD_DATA_CRC;
        sd.fault_index = 25;
        sd_run(0);
        sd_transfer();
        sd_run(0);
        if (how == 0)
            sd_raise(1u << 20); /* another error meanwhile: interrupts are off */
        sd_run(3 * SECOND);
        assert_int_equal(jobs[0].status, 1);
        assert_int_equal(sd_disk.interrupts_idle, 0);
        sd.reset_sticks = sd.stays_busy = sd.mute = false;
        for (unsigned i = 0; i < 20; i++) {
            sd_run(SECOND);
            sd_let_work();
        }
        assert_int_equal(jobs[0].status, DGM_OK);
        assert_int_equal(jobs[1].status, DGM_OK);
        assert_int_equal(sd_disk.resets, 1);
        assert_true(sd.resets >= 2);
        assert_int_equal(sd_disk.device.errors, 0);
        sd_block_works();
        sd_stop();
    }
}

/* Fails: commands to a dead, missing or exchanged card never end, end with success, or end while
 * their memory can still be written. */
static void the_end_is_an_error_for_all(void **state)
{
    for (unsigned how = 0; how < 6; how++) {
        static struct sd_job jobs[5];

        sd_start_card(true, true);
        for (unsigned i = 0; i < 5; i++)
            sd_submit_block(&jobs[i], i == 3 ? DGM_BLK_FLUSH : DGM_BLK_READ, i);
        sd_run(0);
        assert_true(sd.transfer);
        switch (how) {
        case 0: /* taken out */
            sd.inserted = false;
            sd_raise(1u << 7);
            break;
        case 1: /* taken out, without an interrupt */
            sd.inserted = false;
            sd.struck = SD_NOTHING;
            break;
        case 2: /* another in its place */
            sd.card_state = 0;
            sd.rca = 0;
            sd.mute = true;
            sd_put(sd.cid, 24, 32, 1);
            sd_raise(1u << 7);
            break;
        case 3: /* the controller left the bus */
            sd.gone = true;
            break;
        case 4: /* nothing can be reset */
            sd.reset_sticks = sd.all_sticks = true;
            sd_raise(1u << 21);
            break;
        case 5: /* the card does not return */
            sd.never_ready = sd.mute = true;
            sd_raise(1u << 21);
            break;
        }
        for (unsigned i = 0; i < 25; i++)
            sd_run(SECOND);
        assert_false(sd_disk.device.failed); /* it may still return */
        for (unsigned i = 0; i < 100; i++)
            sd_run(SECOND);
        assert_true(sd_disk.device.failed);
        assert_true(sd.cut_off);
        for (unsigned i = 0; i < 5; i++)
            assert_true(jobs[i].status == DGM_EIO || (i == 0 && jobs[i].status == DGM_ETIMEDOUT));
        assert_int_equal(sd_submit_block(&jobs[0], DGM_BLK_READ, 0), DGM_EIO);
        assert_int_equal(sd_disk.device.waiters.count, 0);
        sd_stop();
    }
}

/* Fails: a command is sent to a busy card, or a busy card is waited for without end. */
static void a_busy_card_is_waited_for(void **state)
{
    static struct sd_job job;

    sd_start_card(true, true);
    sd.busy_looks = 20;
    sd_submit_block(&job, DGM_BLK_WRITE, 1);
    sd_run(0);
    assert_false(sd.transfer);
    sd_run(200 * MS);
    sd_transfer();
    sd_run(0);
    assert_int_equal(job.status, DGM_OK);

    sd.busy_looks = UINT32_MAX;
    sd_submit_block(&job, DGM_BLK_WRITE, 1);
    for (unsigned i = 0; i < 60; i++)
        sd_run(SECOND);
    assert_int_equal(job.status, 1);
    for (unsigned i = 0; i < 400; i++)
        sd_run(SECOND);
    assert_int_equal(job.status, DGM_ETIMEDOUT);
    sd.busy_looks = 0;
    sd_block_works();
    sd_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_has_a_verdict),
        cmocka_unit_test(one_error_costs_nothing),
        cmocka_unit_test(errors_that_stay),
        cmocka_unit_test(damaged_data_slows_the_clock),
        cmocka_unit_test(stalls_are_waited_for),
        cmocka_unit_test(lost_interrupts_make_it_poll_soon),
        cmocka_unit_test(a_jump_of_the_clock),
        cmocka_unit_test(shutdown_waits_for_the_transfer),
        cmocka_unit_test(whole_reset_when_lines_are_not_enough),
        cmocka_unit_test(the_end_is_an_error_for_all),
        cmocka_unit_test(a_busy_card_is_waited_for),
    };

    return cmocka_run_group_tests_name("sdhci_faults", tests, NULL, NULL);
}
