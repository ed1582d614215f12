/* SPDX-License-Identifier: MIT */
/*
 * nvme faults: if these fail, a faulty disk stops Dragoman or corrupts a guest's memory, a request
 * is lost or completes with OK without its I/O, or a disk that could work again does not.
 *
 * In every test the rig checks that DMA goes only to the memory of commands in flight.
 */
#include "nvme_rig.h"

/* --- single commands --- */

/* Fails: a disk's error becomes OK, affects other commands, or floods the console. */
static void errors_hit_their_command_only(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_ERROR, 3);
    nvme_rig.sim.fault_from += 4;
    nvme_submit_many(0, 10, DGM_BLK_READ);
    nvme_settle(SECOND);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(nvme_rig.commands[i].status, i >= 4 && i < 7 ? DGM_EIO : DGM_OK);
    assert_int_equal(nvme_device()->errors, 3);
    assert_int_equal(nvme_rig.nvme.resets, 0);
    assert_int_equal(nvme_rig.nvme.log_suppressed, 2);
    assert_non_null(strstr(dgm_sim_last_log(), "read of 8 blocks at 32"));
    assert_non_null(strstr(dgm_sim_last_log(), "type 2 code 0x81"));
    assert_int_equal(nvme_rig.nvme.retries, 0); /* "do not retry" is obeyed */
    nvme_works();
    nvme_end();
}

/* --- completions without a command --- */

/* Fails: a completion of no command in flight ends a command. */
static void bogus_completions_are_ignored(void **state)
{
    static const enum dgm_simnvme_fault kinds[] = {DGM_SIMNVME_BAD_CID, DGM_SIMNVME_OLD_CID,
                                                   DGM_SIMNVME_BAD_QUEUE};

    for (unsigned k = 0; k < 3; k++) {
        nvme_attach_plain();
        nvme_fault(kinds[k], 2);
        nvme_submit_many(0, 6, DGM_BLK_READ);
        nvme_settle(5 * SECOND);
        assert_int_equal(nvme_count(0, 2, 1), 2);
        assert_int_equal(nvme_count(2, 4, DGM_OK), 4);
        assert_int_equal(nvme_rig.nvme.bogus, 2);
        nvme_settle(40 * SECOND); /* a reset, and they are sent again */
        assert_int_equal(nvme_count(0, 2, DGM_OK), 2);
        assert_int_equal(nvme_rig.nvme.replays, 2);
        nvme_works();
        nvme_end();
    }
}

/* Fails: a duplicate completion ends the next command of the same entry, whose data is not yet
 * transferred. */
static void second_completions_are_ignored(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_TWICE, 1);
    nvme_submit_many(0, 1, DGM_BLK_READ);
    nvme_rig.commands[0].then = NULL;
    assert_int_equal(dgm_simnvme_run(&nvme_rig.sim, 1), 1);

    /* Both completions are posted; the first frees the entry, and done() uses it again. */
    nvme_turn();
    assert_int_equal(nvme_rig.commands[0].status, DGM_OK);
    assert_int_equal(nvme_rig.nvme.bogus, 1);

    nvme_fault(DGM_SIMNVME_TWICE, 1);
    nvme_submit_many(2, 1, DGM_BLK_READ);
    assert_int_equal(dgm_simnvme_run(&nvme_rig.sim, 1), 1);
    nvme_works();
    assert_int_equal(nvme_rig.nvme.bogus, 2);
    nvme_end();
}

static void reuse_identifier(struct nvme_job *command)
{
    struct nvme_job *next = nvme_prepare(40, DGM_BLK_READ, 0, 8, 90, 0);

    assert_int_equal(nvme_submit(next), DGM_OK);
    nvme_kick();
}

/* The same, with the entry in use again between the two completions. */
static void duplicate_completions_end_no_other_command(void **state)
{
    nvme_attach_plain();
    nvme_fault(DGM_SIMNVME_TWICE, 1);
    nvme_submit_many(0, 1, DGM_BLK_READ);
    nvme_rig.commands[0].then = reuse_identifier;
    assert_int_equal(dgm_simnvme_run(&nvme_rig.sim, 1), 1);
    nvme_turn();
    assert_int_equal(nvme_rig.commands[40].status, 1); /* the second completion does not end it */
    assert_int_equal(nvme_rig.nvme.bogus, 1);
    nvme_settle(SECOND);
    assert_int_equal(nvme_rig.commands[40].status, DGM_OK);
    nvme_end();
}

/* Fails: a command ends before its doorbell was rung. */
static void unkicked_commands_cannot_end(void **state)
{
    nvme_attach_plain();
    nvme_submit_many(0, 1, DGM_BLK_READ);
    nvme_settle(SECOND);

    struct nvme_job *queued = nvme_prepare(1, DGM_BLK_READ, 0, 8, 10, 0);
    const struct dgm_nvme_entry *entry = NULL;
    uint32_t *cq = nvme_rig.nvme.io.cq;

    assert_int_equal(nvme_submit(queued), DGM_OK);
    for (unsigned i = 0; i < nvme_rig.nvme.entry_count; i++) {
        if (nvme_rig.nvme.entries[i].command)
            entry = &nvme_rig.nvme.entries[i];
    }
    cq[4 * nvme_rig.nvme.io.head + 2] = 1u << 16;
    cq[4 * nvme_rig.nvme.io.head + 3] = entry->cid | (uint32_t)nvme_rig.nvme.io.phase << 16;
    nvme_rig.sim.overrun = true; /* so that the doorbell is rung */
    nvme_rig.irq->handle(nvme_rig.irq);
    assert_int_equal(queued->status, 1);
    assert_int_equal(nvme_rig.nvme.bogus, 1);
    nvme_kick();
    nvme_settle(40 * SECOND);
    assert_int_not_equal(queued->status, 1);
    nvme_end();
}

static unsigned forged;

/* Submits again, and the completion is posted immediately, as a hostile controller could do. */
static void forge_completions(struct nvme_job *command)
{
    struct dgm_nvme_queue *io = &nvme_rig.nvme.io;
    struct nvme_job *again = nvme_prepare((unsigned)(command - nvme_rig.commands), DGM_BLK_READ, 0,
                                          8, command->frame, 0);
    uint32_t *entry = (uint32_t *)io->cq + 4 * io->head;

    again->then = forge_completions;
    assert_int_equal(nvme_submit(again), DGM_OK);
    nvme_kick();
    entry[2] = 1u << 16;
    entry[3] = nvme_rig.nvme.entries[0].cid | (uint32_t)io->phase << 16;
    if (++forged > 1000)
        fail_msg("one interrupt has taken %u completions", forged);
}

/* Fails: completions without end keep the reactor from all other tasks. */
static void one_interrupt_takes_a_queue_at_most(void **state)
{
    nvme_attach_plain();
    forged = 0;
    nvme_submit_many(0, 1, DGM_BLK_READ);
    nvme_rig.commands[0].then = forge_completions;
    assert_int_equal(dgm_simnvme_run(&nvme_rig.sim, 1), 1);
    nvme_rig.sim.overrun = true;
    nvme_rig.irq->handle(nvme_rig.irq);
    assert_int_equal(forged, 63);
    nvme_rig.commands[0].then = NULL;
    nvme_rig.sim.never_stops = true;
    nvme_settle(300 * SECOND);
    nvme_end();
}

/* Fails: a controller that overruns the completion queue keeps the reactor busy permanently, or
 * stops Dragoman. */
static void overrun_queues_are_survived(void **state)
{
    static const unsigned sizes[] = {1, 43, 44, 62, 63, 64, 65, 100, 1000};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        nvme_attach_plain();
        nvme_rig.sim.flood_entries = sizes[i];
        nvme_fault(DGM_SIMNVME_FLOOD, 1);
        nvme_submit_many(0, 20, DGM_BLK_READ);
        nvme_settle(45 * SECOND);
        assert_true(nvme_rig.nvme.bogus > 0 || nvme_rig.nvme.resets > 0);
        assert_int_equal(nvme_rig.in_flight, 0);
        assert_int_equal(nvme_rig.nvme.state, DGM_NVME_LIVE);
        nvme_works();
        nvme_end();
    }
}

/* --- all of it mixed --- */

/*
 * Random faults hit random I/O. Fails: some command ends twice or never (nvme_done, the end), ends
 * OK without its data, memory of no command is accessed, the queue's records are wrong, or the disk
 * does not work again after the faults end.
 */
static void random_faults(void **state)
{
    const uint64_t first = unit_seed();

    for (uint64_t seed = first; seed < first + 60; seed++) {
        struct dgm_simnvme_config config = nvme_plain;
        unsigned submitted = 0;

        unit_random_state = seed;
        config.shuffle = seed;
        nvme_start(&config);
        nvme_rig.env.irq_message = unit_chance(50);
        nvme_rig.sim.stops_after = (unsigned)unit_below(10);
        nvme_rig.sim.flood_entries = (unsigned)unit_below(130);
        assert_int_equal(nvme_attach(), DGM_OK);
        memset(nvme_rig.disk, 0xd5, (size_t)config.blocks << config.block_shift);
        for (unsigned step = 0; step < 400; step++) {
            const unsigned index = (unsigned)unit_below(70);

            if (unit_chance(4)) {
                const enum dgm_simnvme_fault drawn =
                    (enum dgm_simnvme_fault)unit_below(DGM_SIMNVME_FLOOD + 1);

                if (drawn != DGM_SIMNVME_UNWRITTEN) /* no driver can see that */
                    nvme_fault(drawn, unit_below(4));
            }
            if (nvme_rig.commands[index].status != 1) {
                const uint64_t block = unit_below(16000);
                const uint32_t blocks = 1 + (uint32_t)unit_below(32);
                struct nvme_job *command = nvme_prepare(index, DGM_BLK_READ, block, blocks,
                                                        index * 6, (uint32_t)unit_below(8) * 512);

                *nvme_byte(command, 0) = 0;
                submitted += nvme_submit(command) == DGM_OK;
            }
            if (unit_chance(40))
                nvme_kick();
            if (unit_chance(50))
                dgm_simnvme_run(&nvme_rig.sim, 1 + (unsigned)unit_below(20));
            if (unit_chance(50))
                nvme_turn();
            nvme_pass(unit_below(unit_chance(5) ? 100 * MS : MS));
        }
        nvme_fault(DGM_SIMNVME_SOUND, 0);
        nvme_kick();
        nvme_settle(400 * SECOND);
        if (nvme_rig.in_flight || nvme_rig.ended != submitted)
            fail_msg("seed %llu: %u of %u commands ended", (unsigned long long)seed, nvme_rig.ended,
                     submitted);
        for (unsigned i = 0; i < 70; i++) {
            const struct nvme_job *command = &nvme_rig.commands[i];

            if (command->ended && command->status == DGM_OK)
                assert_int_equal(*nvme_byte(command, 0), 0xd5);
        }
        assert_int_equal(nvme_rig.nvme.state, DGM_NVME_LIVE);
        nvme_works();
        nvme_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_hit_their_command_only),
        cmocka_unit_test(bogus_completions_are_ignored),
        cmocka_unit_test(second_completions_are_ignored),
        cmocka_unit_test(duplicate_completions_end_no_other_command),
        cmocka_unit_test(unkicked_commands_cannot_end),
        cmocka_unit_test(one_interrupt_takes_a_queue_at_most),
        cmocka_unit_test(overrun_queues_are_survived),
        cmocka_unit_test(random_faults),
    };

    return cmocka_run_group_tests_name("nvme_faults", tests, NULL, NULL);
}
