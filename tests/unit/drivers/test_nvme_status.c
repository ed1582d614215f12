/* SPDX-License-Identifier: MIT */
/*
 * nvme status: if these fail, a temporary error reaches a guest, a permanent one is retried without
 * end or too often, or a guest takes its data for durable after a failed flush.
 */
#include "nvme_rig.h"

#include <drivers/nvme/internal.h>

/* The word of a completion with this status. */
static uint32_t completion_word(unsigned type, unsigned code, bool do_not_retry)
{
    return type << 25 | code << 17 | (do_not_retry ? NVME_STATUS_DO_NOT_RETRY : 0);
}

/*
 * What the specification says, written from its tables and not from the driver's: for each type a
 * letter for each code. p: may pass; m: the medium; r: the command is refused; u: defined, and a
 * few tries find out; S: success. A code that is not named is unknown.
 */
static const struct {
    uint8_t type, first;
    const char *codes;
} specified[] = {
    /* 00 */ {0, 0x00, "Srruuppppuururrr"},
    /* 10 */ {0, 0x10, "rrrrrrrUrprpmprr"},
    /* 20 */ {0, 0x20, "rpprp"},
    /* 80 */ {0, 0x80, "rmprp"},
    {1, 0x00, "rrr"},
    {1, 0x08, "r"},
    {1, 0x0d, "rrr"},
    {1, 0x80, "rrrr"},
    {2, 0x80, "mmmmmmrmm"},
    {3, 0x00, "prpp"},
    {3, 0x60, "p"},
    {3, 0x70, "pp"},
};

static char specified_letter(unsigned type, unsigned code)
{
    for (size_t i = 0; i < sizeof specified / sizeof specified[0]; i++)
        if (specified[i].type == type && code >= specified[i].first &&
            code - specified[i].first < strlen(specified[i].codes))
            return specified[i].codes[code - specified[i].first];
    return 'U';
}

static const enum nvme_verdict verdicts[128] = {
    ['S'] = NVME_SUCCESS, ['p'] = NVME_PASSING, ['m'] = NVME_MEDIA,
    ['r'] = NVME_REFUSED, ['u'] = NVME_UNKNOWN, ['U'] = NVME_UNKNOWN};

/* Fails: a status has another meaning than the specification gives it, or has no row. */
static void every_status_has_a_verdict(void **state)
{
    for (unsigned status = 0; status < 2048; status++) {
        const char letter = specified_letter(status >> 8, status & 0xff);
        const char *text = NULL, *final_text = NULL;
        const enum nvme_verdict verdict =
            dgm_nvme_verdict(completion_word(status >> 8, status & 0xff, false), &text);

        if (verdict != verdicts[(unsigned char)letter] ||
            (letter == 'U') != !strcmp(text, "unknown status"))
            fail_msg("status %03x: verdict %d, \"%s\"", status, (int)verdict, text);
        assert_int_equal(
            dgm_nvme_verdict(completion_word(status >> 8, status & 0xff, true), &final_text),
            status ? NVME_REFUSED : NVME_SUCCESS);
        assert_string_equal(text, final_text);
    }
}

/* `status` as the simulated controller has it: type << 8 | code, bit 14 do not retry. */
static struct nvme_job *meet_status(uint16_t status, uint64_t count, enum dgm_blk_op op)
{
    struct nvme_job *job;

    nvme_attach_plain();
    nvme_rig.sim.status = status;
    nvme_fault(DGM_SIMNVME_ERROR, count);
    job = op == DGM_BLK_FLUSH ? nvme_prepare(0, op, 0, 0, 0, 0) : nvme_prepare(0, op, 8, 8, 0, 512);
    assert_int_equal(nvme_submit(job), DGM_OK);
    nvme_kick();
    return job;
}

/* Fails: a disk that is internally busy for a minute causes an error of a guest. */
static void temporary_errors_are_waited_for(void **state)
{
    static const uint16_t statuses[] = {0x05, 0x06, 0x07, 0x08, 0x1d,
                                        0x21, 0x22, 0x82, 0x84, 0x302};

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        for (enum dgm_blk_op op = DGM_BLK_READ; op <= DGM_BLK_FLUSH; op++) {
            struct nvme_job *job = meet_status(statuses[i], UINT32_MAX, op);

            nvme_settle(60 * SECOND);
            assert_int_equal(job->status, 1);
            assert_in_range(nvme_rig.nvme.retries, 10, 30); /* pauses grow */
            nvme_fault(DGM_SIMNVME_SOUND, 0);
            nvme_settle(10 * SECOND);
            assert_int_equal(job->status, DGM_OK);
            assert_int_equal(nvme_device()->errors, 0);
            assert_int_equal(nvme_rig.nvme.resets, 0);
            nvme_works();
            nvme_end();
        }
    }
}

/* Fails: a command is retried without end, or another command's wait shortens its own. */
static void the_wait_has_an_end(void **state)
{
    struct nvme_job *job = meet_status(0x82, UINT32_MAX, DGM_BLK_WRITE);
    const uint64_t start_ns = nvme_rig.now_ns;

    while (job->status == 1 && nvme_rig.now_ns < start_ns + 1000 * SECOND)
        nvme_settle(SECOND);
    assert_int_equal(job->status, DGM_EIO);
    assert_in_range(nvme_rig.now_ns - start_ns, 180 * SECOND, 190 * SECOND);
    nvme_end();

    job = meet_status(0x82, UINT32_MAX, DGM_BLK_WRITE);
    nvme_rig.nvme.times.retry_ns = 30 * SECOND;
    nvme_settle(29 * SECOND);
    assert_int_equal(job->status, 1);
    nvme_settle(10 * SECOND);
    assert_int_equal(job->status, DGM_EIO);
    nvme_end();
}

/* Fails: a guest waits for a permanent error, or a command with an error is tried only once. */
static void the_others_end_soon(void **state)
{
    static const struct {
        uint16_t status;
        unsigned tries;
    } cases[] = {
        {0x281, 5},  {0x280, 5}, {0x712, 5}, {0x4281, 1},
        {0x4082, 1}, {0x80, 1},  {0x20, 1},  {0x02, 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nvme_job *job = meet_status(cases[i].status, UINT32_MAX, DGM_BLK_READ);
        const uint64_t commands = nvme_rig.sim.io_commands;

        nvme_settle(10 * SECOND);
        assert_int_equal(job->status, DGM_EIO);
        assert_int_equal(nvme_rig.sim.io_commands - commands, cases[i].tries);
        assert_int_equal(nvme_device()->errors, 1);
        assert_false(nvme_device()->failed);
        nvme_fault(DGM_SIMNVME_SOUND, 0);
        nvme_works();
        nvme_end();

        job = meet_status(cases[i].status, cases[i].tries - 1, DGM_BLK_READ);
        nvme_settle(10 * SECOND);
        assert_int_equal(job->status, DGM_OK);
        nvme_end();
    }
}

/* Fails: one command's retry delays the others, or one of many is lost. */
static void the_others_go_on_meanwhile(void **state)
{
    nvme_attach_plain();
    nvme_rig.sim.status = 0x82;
    nvme_fault(DGM_SIMNVME_ERROR, 20);
    nvme_submit_many(0, 20, DGM_BLK_WRITE);
    dgm_simnvme_run(&nvme_rig.sim, 20);
    nvme_turn();
    assert_int_equal(nvme_rig.in_flight, 20);
    nvme_submit_many(20, 43, DGM_BLK_WRITE);
    dgm_simnvme_run(&nvme_rig.sim, 100);
    nvme_turn();
    assert_int_equal(nvme_count(20, 43, DGM_OK), 43);
    nvme_settle(SECOND);
    assert_int_equal(nvme_count(0, 20, DGM_OK), 20);
    nvme_end();
}

/* Fails: a controller is reset, or its commands are lost, because all of them wait for a retry. */
static void waiting_is_no_stall(void **state)
{
    struct nvme_job *job = meet_status(0x84, UINT32_MAX, DGM_BLK_READ);

    nvme_settle(150 * SECOND);
    assert_int_equal(job->status, 1);
    assert_int_equal(nvme_rig.nvme.resets, 0);
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    nvme_settle(10 * SECOND);
    assert_int_equal(job->status, DGM_OK);
    nvme_end();
}

/* Fails: a retry is lost in a reset, or sent to a controller that is not live. */
static void retries_survive_resets(void **state)
{
    struct nvme_job *job = meet_status(0x82, 3, DGM_BLK_WRITE);

    nvme_settle(10 * MS);
    assert_int_equal(nvme_rig.nvme.retries, 1);
    nvme_drop_link();
    nvme_rig.absent = true;
    for (unsigned i = 0; i < 1000; i++) {
        nvme_turn();
        nvme_pass(10 * MS);
    }
    assert_int_equal(nvme_rig.nvme.resets, 1);
    nvme_rig.absent = false;
    nvme_settle(30 * SECOND);
    assert_int_equal(job->status, DGM_OK);
    nvme_end();
}

/* Fails: a guest whose flush failed permanently continues as if its data were durable. */
static void a_failed_flush_fails_the_disk(void **state)
{
    for (unsigned i = 0; i < 3; i++) {
        struct nvme_job *flush = meet_status(i == 0   ? 0x280
                                             : i == 1 ? 0x4006
                                                      : 0x02,
                                             UINT32_MAX, DGM_BLK_FLUSH);

        nvme_submit_many(5, 3, DGM_BLK_WRITE);
        nvme_rig.sim.fault_count =
            i == 0 ? 8 : 1; /* the writes get the error three times at most */
        nvme_settle(20 * SECOND);
        if (i == 0 && flush->status == DGM_OK) { /* it took its turn after the fault */
            nvme_end();
            continue;
        }
        assert_int_equal(flush->status, DGM_EIO);
        assert_int_equal(dgm_sim_logged("given up: a flush has failed"), 1);
        nvme_stays_failed();
        nvme_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_verdict),
        cmocka_unit_test(temporary_errors_are_waited_for),
        cmocka_unit_test(the_wait_has_an_end),
        cmocka_unit_test(the_others_end_soon),
        cmocka_unit_test(the_others_go_on_meanwhile),
        cmocka_unit_test(waiting_is_no_stall),
        cmocka_unit_test(retries_survive_resets),
        cmocka_unit_test(a_failed_flush_fails_the_disk),
    };

    return cmocka_run_group_tests_name("nvme_status", tests, NULL, NULL);
}
