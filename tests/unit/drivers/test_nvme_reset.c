/* SPDX-License-Identifier: MIT */
/*
 * nvme reset: if these fail, a disk that stops responding for some time causes an error of a guest,
 * loses data or corrupts memory, a disk that left the bus keeps its requests waiting, or another
 * disk in its place is written to.
 *
 * In every test the rig checks that DMA goes only to the memory of commands in flight.
 */
#include "nvme_rig.h"

/* Runs for `ns` while the controller executes no command. */
static void run_silent(uint64_t ns)
{
    const uint64_t end_ns = nvme_rig.now_ns + ns;

    while (nvme_rig.now_ns < end_ns) {
        nvme_turn();
        nvme_pass(5 * MS);
    }
}

/* Fills `count` jobs from `first` on with random bytes, writes them and submits. */
static void submit_writes(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        struct nvme_job *job = nvme_prepare(i, DGM_BLK_WRITE, i * 8, 8, i * 2, 512);

        for (unsigned b = 0; b < 4096; b++)
            *nvme_byte(job, b) = (uint8_t)unit_random();
        assert_int_equal(nvme_submit(job), DGM_OK);
    }
    nvme_kick();
}

static void check_written(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        assert_int_equal(nvme_rig.commands[i].status, DGM_OK);
        assert_int_equal(nvme_rig.commands[i].ended, 1);
        for (unsigned b = 0; b < 4096; b++)
            assert_int_equal(nvme_rig.disk[(size_t)i * 4096 + b],
                             *nvme_byte(&nvme_rig.commands[i], b));
    }
}

/* --- resets --- */

/* Fails: a command that never completes is lost, ends while the disk may still write to its memory
 * (the rig checks it), or the disk does not work again. */
static void silence_ends_in_a_reset(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_SILENT, 2);
    nvme_rig.sim.stops_after = 20;
    nvme_submit_many(0, 10, DGM_BLK_READ);

    const uint64_t start_ns = nvme_rig.now_ns;

    nvme_settle(29 * SECOND);
    assert_int_equal(nvme_count(0, 10, DGM_OK), 8);
    assert_int_equal(nvme_rig.in_flight, 2);
    while (nvme_rig.nvme.state == DGM_NVME_LIVE)
        nvme_settle(MS);
    assert_in_range(nvme_rig.now_ns - start_ns, 30 * SECOND, 33 * SECOND);

    /* The controller is being disabled, and still writes. */
    assert_int_equal(nvme_rig.in_flight, 2);
    assert_int_equal(nvme_submit(nvme_prepare(20, DGM_BLK_READ, 0, 8, 100, 0)), DGM_EAGAIN);
    nvme_kick();
    dgm_waiters_add(&nvme_device()->waiters, &nvme_rig.waiter);
    nvme_turn();
    assert_int_equal(nvme_rig.in_flight, 2);

    const uint64_t reads = nvme_rig.mmio_reads;

    nvme_turn();
    assert_true(nvme_rig.mmio_reads - reads < 20); /* no busy loop */
    nvme_settle(SECOND);
    assert_int_equal(nvme_count(0, 2, DGM_OK), 2);
    assert_int_equal(nvme_device()->timeouts, 0);
    assert_int_equal(nvme_device()->errors, 0);
    assert_int_equal(nvme_rig.nvme.resets, 1);
    assert_int_equal(nvme_rig.nvme.replays, 2);
    assert_int_equal(nvme_rig.nvme.state, DGM_NVME_LIVE);
    assert_int_equal(nvme_rig.woken, 1);
    assert_false(nvme_rig.cut);
    assert_int_equal(dgm_sim_logged("works again"), 1);
    nvme_works();
    nvme_end();
}

/* Fails: a fatal status is not detected, or fails a request. */
static void fatal_status_ends_in_a_reset(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_FATAL, 1);
    nvme_rig.sim.fault_from += 3;
    submit_writes(0, 10);
    nvme_settle(3 * SECOND);
    check_written(0, 10);
    assert_int_equal(nvme_rig.nvme.resets, 1);
    assert_int_equal(nvme_rig.nvme.replays, 7);
    nvme_works();
    nvme_end();
}

/* Fails: commands that completed before the reset are sent again. */
static void completions_before_a_reset_count(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_FATAL, 1);
    nvme_rig.sim.fault_from += 3;
    nvme_submit_many(0, 5, DGM_BLK_WRITE);
    dgm_simnvme_run(&nvme_rig.sim, 10);
    nvme_pass(SECOND); /* the poll is before the interrupt */
    while (dgm_reactor_turn(&nvme_rig.reactor))
        ;
    nvme_settle(3 * SECOND);
    assert_int_equal(nvme_count(0, 5, DGM_OK), 5);
    assert_int_equal(nvme_rig.nvme.replays, 2);
    nvme_works();
    nvme_end();
}

/* Fails: commands that were queued and not yet announced are lost in a reset, or announced too
 * early. */
static void unkicked_commands_survive(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_FATAL, 1);
    submit_writes(0, 2);
    assert_int_equal(nvme_submit(nvme_prepare(5, DGM_BLK_READ, 0, 8, 100, 0)), DGM_OK);
    nvme_settle(3 * SECOND);
    check_written(0, 2);
    assert_int_equal(nvme_rig.commands[5].status, DGM_OK);
    assert_int_equal(nvme_rig.nvme.resets, 1);
    nvme_end();
}

/* Fails: a command that makes the controller fail each time causes resets without end, or fails
 * immediately; or the resets follow each other without a pause. */
static void a_poisonous_command_ends_after_all(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_FATAL, UINT32_MAX);
    nvme_submit_many(0, 1, DGM_BLK_WRITE);

    const uint64_t start_ns = nvme_rig.now_ns;

    while (nvme_rig.commands[0].status == 1 && nvme_rig.now_ns < start_ns + 1000 * SECOND)
        nvme_settle(SECOND);
    assert_int_equal(nvme_rig.commands[0].status, DGM_ETIMEDOUT);
    assert_in_range(nvme_rig.now_ns - start_ns, 180 * SECOND, 220 * SECOND);
    assert_in_range(nvme_rig.nvme.resets, 3, 60);
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    nvme_settle(10 * SECOND);
    nvme_works();
    nvme_end();
}

/* Fails: once the time for retries is over, a command for which the controller does nothing else is
 * sent again more than twice. */
static void a_command_ends_after_fruitless_resets(void **state)
{
    nvme_attach_plain();
    nvme_rig.nvme.times.retry_ns = 0;
    nvme_fault(DGM_SIMNVME_FATAL, UINT32_MAX);
    nvme_submit_many(0, 1, DGM_BLK_WRITE);
    for (unsigned i = 0; i < 400 && nvme_rig.commands[0].status == 1; i++)
        nvme_settle(SECOND);
    assert_int_equal(nvme_rig.commands[0].status, DGM_ETIMEDOUT);
    assert_int_equal(nvme_rig.nvme.replays, 2);
    nvme_fault(DGM_SIMNVME_SOUND, 0);
    nvme_settle(10 * SECOND);
    nvme_works();
    nvme_end();
}

/* --- a device that leaves the bus and returns --- */

/* Fails: a link that dropped for some seconds ends the disk, loses a write, or ends a command that
 * the disk may still execute. */
static void dropped_links_are_restored(void **state)
{
    static const uint64_t seconds[] = {0, 1, 3, 20, 55};

    for (unsigned how = 0; how < 3; how++) {
        for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
            struct nvme_job *flush;

            nvme_attach_plain();
            submit_writes(0, 20);
            flush = nvme_prepare(30, DGM_BLK_FLUSH, 0, 0, 0, 0);
            assert_int_equal(nvme_submit(flush), DGM_OK);
            nvme_submit_many(40, 10, DGM_BLK_READ);
            dgm_simnvme_run(&nvme_rig.sim, 4);
            nvme_drop_link();
            nvme_rig.absent = how == 0;
            nvme_rig.other = how == 1;
            run_silent(seconds[i] * SECOND + SECOND);
            assert_false(nvme_device()->failed);
            if (seconds[i] > 1)
                assert_int_equal(nvme_rig.in_flight, 31 - 4);
            nvme_rig.absent = nvme_rig.other = false;
            nvme_settle(20 * SECOND);
            check_written(0, 20);
            assert_int_equal(flush->status, DGM_OK);
            assert_true(nvme_rig.sim.flushes > 0);
            assert_int_equal(nvme_count(40, 10, DGM_OK), 10);
            assert_int_equal(nvme_device()->errors, 0);
            assert_true(nvme_rig.restores >= 2);
            assert_false(nvme_rig.cut);
            nvme_works();
            nvme_end();
        }
    }
}

/* Fails: a disk that left the bus keeps its requests waiting without end. */
static void removal_fails_in_the_end(void **state)
{
    nvme_attach_plain();
    nvme_submit_many(0, 10, DGM_BLK_WRITE);
    nvme_drop_link();
    nvme_rig.absent = true;
    run_silent(58 * SECOND);
    assert_int_equal(nvme_rig.in_flight, 10);
    run_silent(10 * SECOND);
    assert_int_equal(nvme_count(0, 10, DGM_EIO), 10);
    assert_int_equal(dgm_sim_logged("given up: the controller does not come back; 10 commands"), 1);
    nvme_stays_failed();
    nvme_end();
}

/* Fails: another disk in the place of the former one is written to. */
static void another_disk_is_never_written_to(void **state)
{
    for (unsigned what = 0; what < 6; what++) {
        struct dgm_simnvme_config *config = &nvme_rig.sim.config;

        nvme_attach_plain();
        submit_writes(0, 10);
        nvme_drop_link();
        nvme_rig.absent = true;
        run_silent(3 * SECOND);
        memset(nvme_rig.disk, 0x77, (size_t)config->blocks * 512);
        switch (what) {
        case 0:
            config->serial = "X-18";
            break;
        case 1:
            config->blocks -= 8;
            break;
        case 2:
            config->blocks /= 8;
            config->block_shift = 12;
            break;
        case 3:
            config->nsid = 2;
            break;
        case 4:
            config->nguid[3] = 1;
            break;
        default:
            config->mdts = 2;
            break;
        }
        nvme_rig.sim.csts = nvme_rig.sim.cc = 0;
        nvme_rig.absent = false;
        nvme_settle(10 * SECOND);
        assert_int_equal(nvme_count(0, 10, DGM_EIO), 10);
        for (size_t i = 0; i < 16384 * 512u; i++)
            assert_int_equal(nvme_rig.disk[i], 0x77);
        nvme_stays_failed();
        nvme_end();
    }
}

/* Fails: another disk that came into a slot ends the search for the right one, or is written to, or
 * the right one is not found after it. */
static void the_right_disk_is_looked_for(void **state)
{
    for (unsigned what = 0; what < 5; what++) {
        struct dgm_simnvme_config *config = &nvme_rig.sim.config, right;

        nvme_attach_plain();
        nvme_rig.env.reject = nvme_reject;
        right = *config;
        submit_writes(0, 10);
        nvme_drop_link();
        nvme_rig.absent = true;
        run_silent(3 * SECOND);
        config->blocks -= what == 1 ? 8 : 0;
        config->nguid[3] = (uint8_t)(what == 2 ? 1 : config->nguid[3]);
        config->cap = what == 3 ? 7 | 2ull << 24 | 1ull << 37 : config->cap; /* shorter queues */
        config->nsid = what == 4 ? 2 : config->nsid;
        config->serial = what == 0 ? "X-18" : config->serial;
        nvme_rig.sim.csts = nvme_rig.sim.cc = 0;
        nvme_rig.absent = false;
        run_silent(6 * SECOND);
        assert_int_equal(nvme_rig.rejects, 1);
        assert_int_equal(nvme_rig.in_flight, 10);
        assert_false(nvme_device()->failed || nvme_rig.cut);

        *config = right;
        nvme_rig.sim.csts = nvme_rig.sim.cc = 0;
        nvme_rig.absent = false;
        nvme_settle(20 * SECOND);
        assert_int_equal(nvme_count(0, 10, DGM_OK), 10);
        assert_int_equal(nvme_rig.rejects, 1);
        nvme_end();
    }
}

/* Fails: a disk that never comes back is looked for without end, or its DMA is not stopped. */
static void the_search_ends(void **state)
{
    nvme_attach_plain();
    nvme_rig.env.reject = nvme_reject;
    submit_writes(0, 10);
    nvme_drop_link();
    nvme_rig.sim.config.serial = "X-18";
    nvme_rig.sim.csts = nvme_rig.sim.cc = 0;
    nvme_settle(120 * SECOND);
    assert_int_equal(nvme_rig.rejects, 1);
    assert_int_equal(nvme_count(0, 10, DGM_EIO), 10);
    assert_true(nvme_rig.cut);
    nvme_stays_failed();
    nvme_end();
}

/* Fails: the same disk, unplugged and plugged in again, is not recognised. */
static void the_same_disk_is_known_again(void **state)
{
    struct dgm_simnvme_config config;

    nvme_attach_plain();
    submit_writes(0, 10);
    nvme_drop_link();
    nvme_rig.absent = true;
    run_silent(20 * SECOND);
    config = nvme_rig.sim.config;
    dgm_simnvme_init(&nvme_rig.sim, &config, nvme_rig.disk);
    nvme_drop_link();
    nvme_rig.absent = false;
    nvme_settle(10 * SECOND);
    check_written(0, 10);
    nvme_works();
    nvme_end();
}

/* Fails: a disk whose write cache is on after it returned (its setting did not survive, or its
 * firmware is another one) is never flushed. */
static void a_cache_that_is_on_later(void **state)
{
    struct dgm_simnvme_config config = nvme_plain;
    struct nvme_job *flush;

    config.write_cache = false;
    nvme_start(&config);
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_false(nvme_device()->write_cache);
    nvme_drop_link();
    nvme_rig.sim.config.write_cache = true;
    submit_writes(0, 1);
    run_silent(5 * SECOND);
    nvme_settle(10 * SECOND);
    check_written(0, 1);
    assert_true(nvme_device()->write_cache); /* blkback answers flushes itself without one */
    flush = nvme_prepare(30, DGM_BLK_FLUSH, 0, 0, 0, 0);
    assert_int_equal(nvme_submit(flush), DGM_OK);
    nvme_device()->ops->kick(nvme_device());
    nvme_settle(SECOND);
    assert_int_equal(flush->status, DGM_OK);
    assert_true(nvme_rig.sim.flushes > 0);
    nvme_end();
}

/* --- the end --- */

/* Four reads that the controller does not complete, so that it is reset. */
static void start_silent_reads(void)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_SILENT, 4);
    nvme_submit_many(0, 4, DGM_BLK_READ);
}

enum { BREAK_READY = 6, BREAK_OTHER = 7, BREAKS = 8 };

/* Makes a reset stop: an admin command gets an error (0 to 2) or no completion (3 to 5), the
 * controller does not become ready (6), or the caller's way (7). */
static void break_reset(unsigned way, const uint8_t opcodes[3])
{
    if (way < 3)
        nvme_rig.sim.admin_error = opcodes[way];
    else if (way < BREAK_READY)
        nvme_rig.sim.admin_silent = opcodes[way - 3];
    else if (way == BREAK_READY)
        nvme_rig.sim.never_ready = true;
}

static void cut_first(struct nvme_job *job)
{
    assert_true(nvme_rig.cut);
}

/* Fails: a disk that cannot be stopped can still write when its requests get their responses. */
static void cut_off_when_it_does_not_stop(void **state)
{
    start_silent_reads();
    for (unsigned i = 0; i < 4; i++)
        nvme_rig.commands[i].then = cut_first;
    nvme_rig.sim.never_stops = true;
    nvme_settle(31 * SECOND);
    dgm_waiters_add(&nvme_device()->waiters, &nvme_rig.waiter);
    assert_int_equal(nvme_rig.in_flight, 4);
    dgm_simnvme_late_dma(&nvme_rig.sim);
    nvme_settle(70 * SECOND);
    assert_int_equal(nvme_count(0, 4, DGM_EIO), 4);
    assert_int_equal(nvme_rig.woken, 1);
    nvme_stays_failed();
    nvme_end();
}

/* Fails: a reset that stops in the middle leaves requests waiting, or is given up too early. */
static void resets_that_fail(void **state)
{
    for (unsigned way = 0; way < BREAKS; way++) {
        static const uint8_t opcodes[] = {0x09, 0x05, 0x01};

        start_silent_reads();
        break_reset(way, opcodes);
        nvme_rig.sim.gone = way == BREAK_OTHER;
        /* 30 without progress, and most of the 60; a device that left the bus is detected
         * immediately */
        nvme_settle((way == BREAK_OTHER ? 50 : 80) * SECOND);
        assert_int_equal(nvme_rig.in_flight, 4);
        dgm_waiters_add(&nvme_device()->waiters, &nvme_rig.waiter);
        nvme_settle(60 * SECOND);
        if (nvme_count(0, 4, DGM_EIO) != 4)
            fail_msg("way %u: %u in flight", way, nvme_rig.in_flight);
        assert_int_equal(nvme_rig.woken, 1);
        assert_true(dgm_sim_logged("NVMe") < 12);
        nvme_stays_failed();
        nvme_end();
    }
}

/* Fails: a reset that fails once or twice fails the disk. */
static void resets_that_work_later(void **state)
{
    for (unsigned way = 0; way < BREAKS; way++) {
        static const uint8_t opcodes[] = {0x06, 0x05, 0x01};

        nvme_attach_plain();
        nvme_fault(DGM_SIMNVME_FATAL, 1);
        submit_writes(0, 20);
        break_reset(way, opcodes);
        nvme_rig.sim.never_stops = way == BREAK_OTHER;
        nvme_settle(20 * SECOND);
        assert_int_equal(nvme_rig.in_flight, 20);
        nvme_rig.sim.admin_error = nvme_rig.sim.admin_silent = 0;
        nvme_rig.sim.never_ready = nvme_rig.sim.never_stops = false;
        nvme_rig.sim.stopping = way == BREAK_OTHER;
        nvme_settle(30 * SECOND);
        check_written(0, 20);
        assert_int_equal(nvme_device()->errors, 0);
        nvme_works();
        nvme_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_ends_in_a_reset),
        cmocka_unit_test(fatal_status_ends_in_a_reset),
        cmocka_unit_test(completions_before_a_reset_count),
        cmocka_unit_test(unkicked_commands_survive),
        cmocka_unit_test(a_poisonous_command_ends_after_all),
        cmocka_unit_test(a_command_ends_after_fruitless_resets),
        cmocka_unit_test(dropped_links_are_restored),
        cmocka_unit_test(removal_fails_in_the_end),
        cmocka_unit_test(another_disk_is_never_written_to),
        cmocka_unit_test(the_right_disk_is_looked_for),
        cmocka_unit_test(the_search_ends),
        cmocka_unit_test(the_same_disk_is_known_again),
        cmocka_unit_test(a_cache_that_is_on_later),
        cmocka_unit_test(cut_off_when_it_does_not_stop),
        cmocka_unit_test(resets_that_fail),
        cmocka_unit_test(resets_that_work_later),
    };

    return cmocka_run_group_tests_name("nvme_reset", tests, NULL, NULL);
}
