/* SPDX-License-Identifier: MIT */
/*
 * nvme faults: if these fail, a disk that breaks takes Dragoman or a guest's memory with it, a
 * request is lost or answered OK without its I/O, or a disk that could work again does not.
 *
 * The rig's own rule is half of every test: no DMA but to the memory of commands under way.
 */
#include "nvme_rig.h"

static void attach_plain(void)
{
    unit_seed();
    rig_start(&rig_plain);
    assert_int_equal(rig_attach(), DGM_OK);
}

/* The next `count` I/O commands are in for `fault`. */
static void fault(enum dgm_simnvme_fault kind, uint64_t count)
{
    rig.sim.fault = kind;
    rig.sim.fault_from = rig.sim.io_commands;
    rig.sim.fault_count = count;
}

/* Commands [first, first + count) of 4 KiB, submitted and kicked. */
static void submit_many(unsigned first, unsigned count, enum dgm_blk_op op)
{
    for (unsigned i = first; i < first + count; i++)
        assert_int_equal(rig_submit(rig_prepare(i, op, i * 8, 8, i * 2, 512)), DGM_OK);
    rig_kick();
}

static unsigned count_status(unsigned first, unsigned count, int status)
{
    unsigned found = 0;

    for (unsigned i = first; i < first + count; i++)
        found += rig.commands[i].status == status;
    return found;
}

/* --- attaching --- */

struct refusal {
    struct dgm_simnvme_config config;
    bool gone, never_ready, never_stops;
    uint8_t admin_error, admin_silent;
    size_t mmio_bytes;
    uint64_t frames_left; /* 0: enough */
    uint64_t mask;
    int bind_status;
    int status;
    const char *log;
};

#define GOOD .blocks = 4096, .block_shift = 9, .nsid = 1

static const struct refusal refusals[] = {
    {.config = {GOOD}, .gone = true, .status = DGM_ENODEV, .log = "no registers"},
    {.config = {GOOD, .cap = 63 | 1ull << 43}, .status = DGM_EOPNOTSUPP, .log = "command set"},
    {.config = {GOOD, .cap = 63 | 1ull << 37 | 1ull << 48},
     .status = DGM_EOPNOTSUPP,
     .log = "pages of 4 KiB"},
    {.config = {GOOD, .cap = 1ull << 37}, .status = DGM_ENODEV, .log = "MQES"},
    {.config = {GOOD, .cap = 63 | 1ull << 37 | 15ull << 32},
     .mmio_bytes = 0x4000,
     .status = DGM_ENODEV,
     .log = "doorbells"},
    {.config = {GOOD}, .mmio_bytes = 0x1000, .status = DGM_ENODEV, .log = "too few registers"},
    {.config = {GOOD}, .frames_left = 1, .status = DGM_ENOMEM, .log = "frames"},
    {.config = {GOOD}, .frames_left = 4, .status = DGM_ENOMEM, .log = "frames"},
    {.config = {GOOD}, .mask = 0xffffffff, .status = DGM_ERANGE, .log = "reach"},
    {.config = {GOOD}, .bind_status = DGM_ENODEV, .status = DGM_ENODEV, .log = "interrupt"},
    {.config = {GOOD}, .never_ready = true, .status = DGM_ETIMEDOUT, .log = "does not start"},
    {.config = {GOOD}, .never_stops = true, .status = DGM_ETIMEDOUT, .log = "does not stop"},
    {.config = {GOOD, .metadata_bytes = 8}, .status = DGM_EOPNOTSUPP, .log = "8 bytes of metadata"},
    {.config = {.blocks = 64, .block_shift = 13, .nsid = 1},
     .status = DGM_EOPNOTSUPP,
     .log = "2^13"},
    {.config = {.blocks = 64, .block_shift = 8, .nsid = 1}, .status = DGM_EOPNOTSUPP},
    {.config = {.blocks = 64, .block_shift = 255, .nsid = 1}, .status = DGM_EOPNOTSUPP},
    {.config = {.blocks = 64, .block_shift = 9, .nsid = 0},
     .status = DGM_ENODEV,
     .log = "no active namespace"},
    {.config = {.blocks = 0, .block_shift = 9, .nsid = 1}, .status = DGM_ENODEV},
    {.config = {.blocks = UINT64_MAX, .block_shift = 9, .nsid = 1}, .status = DGM_ENODEV},
    {.config = {GOOD}, .admin_error = 0x06, .status = DGM_EIO},
    {.config = {GOOD}, .admin_error = 0x09, .status = DGM_EIO},
    {.config = {GOOD}, .admin_error = 0x05, .status = DGM_EIO, .log = "create completion queue"},
    {.config = {GOOD}, .admin_error = 0x01, .status = DGM_EIO},
    {.config = {GOOD}, .admin_silent = 0x06, .status = DGM_ETIMEDOUT},
    {.config = {GOOD}, .admin_silent = 0x09, .status = DGM_ETIMEDOUT},
    {.config = {GOOD}, .admin_silent = 0x05, .status = DGM_ETIMEDOUT},
    {.config = {GOOD}, .admin_silent = 0x01, .status = DGM_ETIMEDOUT},
};

/* Fails: a controller that cannot be used is used, hangs the boot, or is left running. */
static void refuses_what_it_cannot_use(void **state)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *refusal = &refusals[i];
        dgm_gfn_t taken;

        rig_start(&refusal->config);
        rig.sim.gone = refusal->gone;
        rig.sim.never_ready = refusal->never_ready;
        if (refusal->never_stops)
            rig.sim.csts = rig.sim.cc = 1;
        rig.sim.never_stops = refusal->never_stops;
        rig.sim.admin_error = refusal->admin_error;
        rig.sim.admin_silent = refusal->admin_silent;
        if (refusal->mmio_bytes)
            rig.env.mmio_bytes = refusal->mmio_bytes;
        if (refusal->mask)
            rig.env.tag.mask = refusal->mask;
        if (refusal->frames_left)
            dgm_frames_take(&rig.frames, QUEUE_FRAMES - refusal->frames_left, &taken);
        rig.bind_status = refusal->bind_status;

        const uint64_t start_ns = rig.now_ns;

        if (rig_attach() != refusal->status)
            fail_msg("refusal %zu: not refused as it should be", i);
        if (refusal->log && !strstr(dgm_sim_last_log(), refusal->log))
            fail_msg("refusal %zu: \"%s\"", i, dgm_sim_last_log());
        assert_true(rig.now_ns - start_ns < 7 * SECOND);
        assert_true(rig_device()->failed);
        assert_int_equal(rig.sim.cc & 1, 0);
        if (rig.irq) { /* a neighbour on the line interrupts: nothing happens */
            rig.irq->handle(rig.irq);
            rig_pass(20 * SECOND);
            rig_turn();
        }
        rig_end();
    }
}

/* --- single commands --- */

/* Fails: an error of the disk is answered OK, hurts its neighbours, or floods the console. */
static void errors_hit_their_command_only(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_ERROR, 3);
    rig.sim.fault_from += 4;
    submit_many(0, 10, DGM_BLK_READ);
    rig_settle(SECOND);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(rig.commands[i].status, i >= 4 && i < 7 ? DGM_EIO : DGM_OK);
    assert_int_equal(rig_device()->errors, 3);
    assert_int_equal(rig.nvme.resets, 0);
    assert_int_equal(rig.nvme.log_kept_back, 2);
    assert_non_null(strstr(dgm_sim_last_log(), "read of 8 blocks at 32"));
    assert_non_null(strstr(dgm_sim_last_log(), "type 2 code 0x81"));
    rig_works();
    rig_end();
}

/* Fails: an interrupt that is lost costs more than a moment. */
static void lost_interrupts_are_found(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_NO_INTERRUPT, 100);
    submit_many(0, 5, DGM_BLK_WRITE);
    rig_settle(4 * SECOND);
    assert_int_equal(count_status(0, 5, DGM_OK), 5);
    assert_int_equal(rig.nvme.interrupts_lost, 5);
    assert_int_equal(rig.nvme.resets, 0);
    fault(DGM_SIMNVME_SOUND, 0);
    rig_works();
    rig_end();
}

/* --- silence and resets --- */

/* Fails: a command that is never answered is never ended, is ended while the disk may still write
 * to its memory (the rig looks), or the disk does not come back. */
static void silence_ends_in_a_reset(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_SILENT, 2);
    rig.sim.stops_after = 20;
    submit_many(0, 10, DGM_BLK_READ);

    const uint64_t start_ns = rig.now_ns;

    rig_settle(9 * SECOND);
    assert_int_equal(count_status(0, 10, DGM_OK), 8);
    assert_int_equal(rig.under_way, 2);
    while (rig.nvme.state == DGM_NVME_LIVE)
        rig_settle(MS);
    assert_in_range(rig.now_ns - start_ns, 10 * SECOND, 12 * SECOND);

    /* It is being disabled, and still writes. */
    assert_int_equal(rig.under_way, 2);
    assert_int_equal(rig_submit(rig_prepare(20, DGM_BLK_READ, 0, 8, 100, 0)), DGM_EAGAIN);
    rig_kick();
    dgm_waiters_add(&rig_device()->waiters, &rig.waiter);
    rig_turn();
    assert_int_equal(rig.under_way, 2);

    const uint64_t reads = rig.mmio_reads;

    rig_turn();
    assert_true(rig.mmio_reads - reads < 20); /* nobody spins */
    rig_settle(SECOND);
    assert_int_equal(count_status(0, 2, DGM_ETIMEDOUT), 2);
    assert_int_equal(rig_device()->timeouts, 2);
    assert_int_equal(rig.nvme.resets, 1);
    assert_int_equal(rig.nvme.state, DGM_NVME_LIVE);
    assert_int_equal(rig.woken, 1);
    assert_false(rig.cut);
    assert_non_null(strstr(dgm_sim_last_log(), "works again"));
    rig_works();
    rig_end();
}

/* Fails: a fatal status goes unnoticed, or ends otherwise than silence. */
static void fatal_status_ends_in_a_reset(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_FATAL, 1);
    rig.sim.fault_from += 3;
    submit_many(0, 10, DGM_BLK_WRITE);
    rig_settle(3 * SECOND);
    assert_int_equal(count_status(0, 3, DGM_OK), 3);
    assert_int_equal(count_status(3, 7, DGM_ETIMEDOUT), 7);
    assert_int_equal(rig.nvme.resets, 1);
    rig_works();
    rig_end();
}

/* Fails: what was answered before the reset is taken for unanswered. */
static void answers_before_a_reset_count(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_FATAL, 1);
    rig.sim.fault_from += 3;
    submit_many(0, 5, DGM_BLK_WRITE);
    dgm_simnvme_run(&rig.sim, 10);
    rig_pass(SECOND); /* the tick comes before the interrupt */
    while (dgm_reactor_turn(&rig.reactor))
        ;
    rig_settle(3 * SECOND);
    assert_int_equal(count_status(0, 3, DGM_OK), 3);
    assert_int_equal(count_status(3, 2, DGM_ETIMEDOUT), 2);
    rig_works();
    rig_end();
}

static void stays_failed(void)
{
    assert_int_equal(rig.nvme.state, DGM_NVME_FAILED);
    assert_true(rig_device()->failed);
    assert_true(rig.cut);
    assert_int_equal(rig.under_way, 0);
    assert_int_equal(rig_submit(rig_prepare(70, DGM_BLK_READ, 0, 8, 200, 0)), DGM_EIO);
    rig_kick();
    rig_pass(100 * SECOND);
    rig_turn();
    assert_true(dgm_reactor_deadline_ns(&rig.reactor) == UINT64_MAX);
}

static void cut_first(struct rig_command *command)
{
    assert_true(rig.cut);
}

/* Fails: a disk that left the bus leaves its requests waiting. */
static void removal_fails_for_good(void **state)
{
    attach_plain();
    submit_many(0, 10, DGM_BLK_WRITE);
    for (unsigned i = 0; i < 10; i++)
        rig.commands[i].then = cut_first;
    rig.sim.gone = true;
    rig_settle(3 * SECOND / 2); /* the next tick */
    assert_int_equal(count_status(0, 10, DGM_EIO), 10);
    stays_failed();
    rig_end();
}

/* Fails: a disk that cannot be stopped is still able to write when its requests are answered. */
static void cut_off_when_it_does_not_stop(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_SILENT, 4);
    submit_many(0, 4, DGM_BLK_READ);
    for (unsigned i = 0; i < 4; i++)
        rig.commands[i].then = cut_first;
    dgm_waiters_add(&rig_device()->waiters, &rig.waiter);
    rig.sim.never_stops = true;
    rig_settle(11 * SECOND);
    assert_int_equal(rig.under_way, 4);
    dgm_simnvme_late_dma(&rig.sim);
    rig_settle(3 * SECOND); /* CAP.TO and a half second */
    assert_int_equal(count_status(0, 4, DGM_EIO), 4);
    assert_int_equal(rig.woken, 1);
    stays_failed();
    rig_end();
}

/* Fails: a reset that stops half way leaves requests waiting for ever. */
static void resets_that_fail(void **state)
{
    for (unsigned way = 0; way < 8; way++) {
        static const uint8_t opcodes[] = {0x09, 0x05, 0x01};

        attach_plain();
        fault(DGM_SIMNVME_SILENT, 4);
        submit_many(0, 4, DGM_BLK_READ);
        dgm_waiters_add(&rig_device()->waiters, &rig.waiter);
        if (way < 3)
            rig.sim.admin_error = opcodes[way];
        else if (way < 6)
            rig.sim.admin_silent = opcodes[way - 3];
        else if (way == 6)
            rig.sim.never_ready = true;
        rig_settle(11 * SECOND);
        if (way == 7) {
            rig.sim.gone = true; /* after a reset that went well */
            assert_int_equal(rig.nvme.state, DGM_NVME_LIVE);
            submit_many(10, 1, DGM_BLK_READ);
        }
        rig_settle(8 * SECOND);
        if (way == 7)
            rig_settle(2 * SECOND);
        assert_int_equal(count_status(0, 4, DGM_ETIMEDOUT), 4);
        assert_int_equal(rig.woken, 1);
        stays_failed();
        rig_end();
    }
}

/* --- nonsense --- */

/* Fails: a completion that answers nothing is taken for one that does. */
static void bogus_completions_are_ignored(void **state)
{
    static const enum dgm_simnvme_fault kinds[] = {DGM_SIMNVME_BAD_CID, DGM_SIMNVME_OLD_CID,
                                                   DGM_SIMNVME_BAD_QUEUE};

    for (unsigned k = 0; k < 3; k++) {
        attach_plain();
        fault(kinds[k], 2);
        submit_many(0, 6, DGM_BLK_READ);
        rig_settle(5 * SECOND);
        assert_int_equal(count_status(0, 2, 1), 2);
        assert_int_equal(count_status(2, 4, DGM_OK), 4);
        assert_int_equal(rig.nvme.bogus, 2);
        rig_settle(10 * SECOND);
        assert_int_equal(count_status(0, 2, DGM_ETIMEDOUT), 2);
        rig_works();
        rig_end();
    }
}

/* Fails: a second answer ends the next command of the same entry, whose data is not there yet. */
static void second_answers_are_ignored(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_TWICE, 1);
    submit_many(0, 1, DGM_BLK_READ);
    rig.commands[0].then = NULL;
    assert_int_equal(dgm_simnvme_run(&rig.sim, 1), 1);

    /* Both answers are there; the first frees the entry, and done() uses it again. */
    rig_turn();
    assert_int_equal(rig.commands[0].status, DGM_OK);
    assert_int_equal(rig.nvme.bogus, 1);

    fault(DGM_SIMNVME_TWICE, 1);
    submit_many(2, 1, DGM_BLK_READ);
    assert_int_equal(dgm_simnvme_run(&rig.sim, 1), 1);
    rig_works();
    assert_int_equal(rig.nvme.bogus, 2);
    rig_end();
}

static void reuse(struct rig_command *command)
{
    struct rig_command *next = rig_prepare(40, DGM_BLK_READ, 0, 8, 90, 0);

    assert_int_equal(rig_submit(next), DGM_OK);
    rig_kick();
}

/* The same, with the entry in use again between the two answers. */
static void second_answers_meet_the_next_command(void **state)
{
    attach_plain();
    fault(DGM_SIMNVME_TWICE, 1);
    submit_many(0, 1, DGM_BLK_READ);
    rig.commands[0].then = reuse;
    assert_int_equal(dgm_simnvme_run(&rig.sim, 1), 1);
    rig_turn();
    assert_int_equal(rig.commands[40].status, 1); /* not ended by the second answer */
    assert_int_equal(rig.nvme.bogus, 1);
    rig_settle(SECOND);
    assert_int_equal(rig.commands[40].status, DGM_OK);
    rig_end();
}

/* Fails: a command is ended that the controller has not even been told of. */
static void unkicked_commands_cannot_end(void **state)
{
    attach_plain();
    submit_many(0, 1, DGM_BLK_READ);
    rig_settle(SECOND);

    struct rig_command *queued = rig_prepare(1, DGM_BLK_READ, 0, 8, 10, 0);
    const struct dgm_nvme_entry *entry = NULL;
    uint32_t *cq = rig.nvme.io.cq;

    assert_int_equal(rig_submit(queued), DGM_OK);
    for (unsigned i = 0; i < rig.nvme.entry_count; i++) {
        if (rig.nvme.entries[i].command)
            entry = &rig.nvme.entries[i];
    }
    cq[4 * rig.nvme.io.head + 2] = 1u << 16;
    cq[4 * rig.nvme.io.head + 3] = entry->cid | (uint32_t)rig.nvme.io.phase << 16;
    rig.sim.overrun = true; /* for the sake of the doorbell */
    rig.irq->handle(rig.irq);
    assert_int_equal(queued->status, 1);
    assert_int_equal(rig.nvme.bogus, 1);
    rig_kick();
    rig_settle(20 * SECOND);
    assert_int_not_equal(queued->status, 1);
    rig_end();
}

static unsigned forged;

/* Submits again, and has the answer there at once: what a controller at war with us could do. */
static void forge(struct rig_command *command)
{
    struct dgm_nvme_queue *io = &rig.nvme.io;
    struct rig_command *again =
        rig_prepare((unsigned)(command - rig.commands), DGM_BLK_READ, 0, 8, command->frame, 0);
    uint32_t *entry = (uint32_t *)io->cq + 4 * io->head;

    again->then = forge;
    assert_int_equal(rig_submit(again), DGM_OK);
    rig_kick();
    entry[2] = 1u << 16;
    entry[3] = rig.nvme.entries[0].cid | (uint32_t)io->phase << 16;
    if (++forged > 1000)
        fail_msg("one interrupt has taken %u completions", forged);
}

/* Fails: completions that never end keep the reactor from everything else. */
static void one_interrupt_takes_a_queue_at_most(void **state)
{
    attach_plain();
    forged = 0;
    submit_many(0, 1, DGM_BLK_READ);
    rig.commands[0].then = forge;
    assert_int_equal(dgm_simnvme_run(&rig.sim, 1), 1);
    rig.sim.overrun = true;
    rig.irq->handle(rig.irq);
    assert_int_equal(forged, 63);
    rig.commands[0].then = NULL;
    rig.sim.never_stops = true;
    rig_settle(30 * SECOND);
    rig_end();
}

/* Fails: a controller that overruns the completion queue keeps the reactor busy for ever, or brings
 * Dragoman down. */
static void overrun_queues_are_survived(void **state)
{
    static const unsigned sizes[] = {1, 43, 44, 62, 63, 64, 65, 100, 1000};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        attach_plain();
        rig.sim.flood_entries = sizes[i];
        fault(DGM_SIMNVME_FLOOD, 1);
        submit_many(0, 20, DGM_BLK_READ);
        rig_settle(15 * SECOND);
        assert_true(rig.nvme.bogus > 0 || rig.nvme.resets > 0);
        assert_int_equal(rig.under_way, 0);
        assert_int_equal(rig.nvme.state, DGM_NVME_LIVE);
        rig_works();
        rig_end();
    }
}

/* --- everything at once --- */

/*
 * Random faults hit random I/O. Fails: some command ends twice or never (rig_done, the end), ends
 * OK without its data, memory is touched that is no command's, the book-keeping breaks, or the disk
 * does not work again once it is sound.
 */
static void random_faults(void **state)
{
    const uint64_t first = unit_seed();

    for (uint64_t seed = first; seed < first + 60; seed++) {
        struct dgm_simnvme_config config = rig_plain;
        unsigned submitted = 0;

        unit_random_state = seed;
        config.shuffle = seed;
        rig_start(&config);
        rig.env.irq_message = unit_chance(50);
        rig.sim.stops_after = (unsigned)unit_below(10);
        rig.sim.flood_entries = (unsigned)unit_below(130);
        assert_int_equal(rig_attach(), DGM_OK);
        memset(rig.disk, 0xd5, (size_t)config.blocks << config.block_shift);
        for (unsigned step = 0; step < 400; step++) {
            const unsigned index = (unsigned)unit_below(70);

            if (unit_chance(4)) {
                const enum dgm_simnvme_fault drawn =
                    (enum dgm_simnvme_fault)unit_below(DGM_SIMNVME_FLOOD + 1);

                if (drawn != DGM_SIMNVME_UNWRITTEN) /* no driver can see that */
                    fault(drawn, unit_below(4));
            }
            if (rig.commands[index].status != 1) {
                struct rig_command *command = rig_prepare(index, DGM_BLK_READ, unit_below(16000),
                                                          1 + (uint32_t)unit_below(32), index * 6,
                                                          (uint32_t)unit_below(8) * 512);

                *rig_byte(command, 0) = 0;
                submitted += rig_submit(command) == DGM_OK;
            }
            if (unit_chance(40))
                rig_kick();
            if (unit_chance(50))
                dgm_simnvme_run(&rig.sim, 1 + (unsigned)unit_below(20));
            if (unit_chance(50))
                rig_turn();
            rig_pass(unit_below(unit_chance(5) ? 100 * MS : MS));
        }
        fault(DGM_SIMNVME_SOUND, 0);
        rig_kick();
        rig_settle(40 * SECOND);
        if (rig.under_way || rig.ended != submitted)
            fail_msg("seed %llu: %u of %u commands ended", (unsigned long long)seed, rig.ended,
                     submitted);
        for (unsigned i = 0; i < 70; i++) {
            const struct rig_command *command = &rig.commands[i];

            if (command->ended && command->status == DGM_OK)
                assert_int_equal(*rig_byte(command, 0), 0xd5);
        }
        assert_int_equal(rig.nvme.state, DGM_NVME_LIVE);
        rig_works();
        rig_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_it_cannot_use),
        cmocka_unit_test(errors_hit_their_command_only),
        cmocka_unit_test(lost_interrupts_are_found),
        cmocka_unit_test(silence_ends_in_a_reset),
        cmocka_unit_test(fatal_status_ends_in_a_reset),
        cmocka_unit_test(answers_before_a_reset_count),
        cmocka_unit_test(removal_fails_for_good),
        cmocka_unit_test(cut_off_when_it_does_not_stop),
        cmocka_unit_test(resets_that_fail),
        cmocka_unit_test(bogus_completions_are_ignored),
        cmocka_unit_test(second_answers_are_ignored),
        cmocka_unit_test(second_answers_meet_the_next_command),
        cmocka_unit_test(unkicked_commands_cannot_end),
        cmocka_unit_test(one_interrupt_takes_a_queue_at_most),
        cmocka_unit_test(overrun_queues_are_survived),
        cmocka_unit_test(random_faults),
    };

    return cmocka_run_group_tests_name("nvme_faults", tests, NULL, NULL);
}
