/* SPDX-License-Identifier: MIT */
/*
 * nvme: if these fail, a sound disk is not found, is described wrongly, or loses data. Faults of
 * disks are in test_nvme_faults.
 */
#include "nvme_rig.h"

static const uint64_t cap_plain = 63 | 1u << 16 | 2u << 24 | 1ull << 37;

/* Fails: the description that blkback and the operator get is not the disk's. */
static void describes_the_disk(void **state)
{
    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);

    const struct dgm_blkdev *device = nvme_device();

    assert_string_equal(device->name, "pci 00:02.0");
    assert_string_equal(device->serial, "X-17");
    assert_string_equal(device->model, "A simulated disk");
    assert_int_equal(device->blocks, 16384);
    assert_int_equal(device->block_bytes, 512);
    assert_true(device->write_cache);
    assert_false(device->read_only);
    assert_false(device->failed);
    assert_int_equal(device->tag.gap, 4096);
    assert_int_equal(device->tag.block_bytes, 512);
    assert_int_equal(device->tag.transfer_bytes_max, 1 << 20);
    assert_int_equal(device->tag.segments_max, 257);
    assert_int_equal(device->tag.window_count, 1);
    assert_int_equal(device->tag.mask, UINT64_MAX);
    assert_int_equal(nvme_rig.frames.taken, 4 + 63 / 2 + 1);      /* lists of half a frame */
    assert_int_equal(nvme_rig.invalidated + nvme_rig.cleaned, 0); /* it is coherent */
    assert_false(nvme_rig.cut);
    nvme_works();
    nvme_end();
}

/* Fails: the boot waits for a controller that is ready. */
static void attaches_quickly(void **state)
{
    nvme_start(&nvme_plain);

    const uint64_t start_ns = nvme_rig.now_ns;

    assert_int_equal(nvme_attach(), DGM_OK);
    assert_true(nvme_rig.now_ns - start_ns < MS); /* 100 register accesses */
    nvme_end();
}

struct variant {
    struct dgm_simnvme_config config;
    bool message, incoherent, left_enabled, admin_bogus;
    uint32_t transfer_bytes;
};

static const struct variant variants[] = {
    {.config = {.cap = 1 | 1ull << 37, .blocks = 4096, .block_shift = 9, .nsid = 1}},
    {.config = {.cap = 2 | 1ull << 37, .blocks = 4096, .block_shift = 9, .nsid = 1}},
    {.config = {.cap = 0xffff | 1ull << 37, .blocks = 4096, .block_shift = 9, .nsid = 1}},
    {.config = {.cap = cap_plain | 1ull << 32, .blocks = 4096, .block_shift = 9, .nsid = 1}},
    {.config = {.cap = cap_plain | 10ull << 32, .blocks = 4096, .block_shift = 9, .nsid = 1},
     .message = true},
    {.config = {.blocks = 1024, .block_shift = 12, .nsid = 1}},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 7, .format = 3, .shuffle = 5}},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 1, .version = 0x10000}},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 1, .mdts = 1}, .transfer_bytes = 8192},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 1, .mdts = 5, .shuffle = 9},
     .transfer_bytes = 131072},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 1, .mdts = 9}},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 1, .shuffle = 77}, .incoherent = true},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 1}, .left_enabled = true},
    {.config = {.blocks = 4096, .block_shift = 9, .nsid = 3}, .admin_bogus = true},
};

/*
 * Random I/O compared with a model disk: `depth` commands at a time, each in its own range of
 * blocks, until every one was used many times.
 */
static void random_io(unsigned rounds)
{
    const uint32_t block_bytes = nvme_device()->block_bytes;
    const uint32_t depth = nvme_rig.nvme.entry_count < 8 ? nvme_rig.nvme.entry_count : 8;
    const uint32_t range = (uint32_t)nvme_device()->blocks / 8;
    const uint32_t most = nvme_device()->tag.transfer_bytes_max / block_bytes < range
                              ? nvme_device()->tag.transfer_bytes_max / block_bytes
                              : range;
    const uint64_t disk_bytes = nvme_device()->blocks * block_bytes;
    uint8_t *model = calloc(1, disk_bytes);

    for (unsigned round = 0; round < rounds; round++) {
        const uint32_t count = 1 + (uint32_t)unit_below(depth);

        for (uint32_t i = 0; i < count; i++) {
            const uint32_t blocks = 1 + (uint32_t)unit_below(unit_chance(20) ? most : 16);
            const uint32_t in = blocks < range ? (uint32_t)unit_below(range - blocks + 1) : 0;
            const enum dgm_blk_op op = unit_chance(50) ? DGM_BLK_READ : DGM_BLK_WRITE;
            struct nvme_job *command =
                nvme_prepare(i, op, i * range + in, blocks < most ? blocks : most,
                             i * (DATA_FRAMES / 8), (uint32_t)unit_below(8) * 512);

            for (uint32_t b = 0; b < command->command.blocks * block_bytes; b++) {
                uint8_t *byte = nvme_byte(command, b);

                *byte = (uint8_t)unit_random();
                if (op == DGM_BLK_WRITE)
                    model[command->command.block * block_bytes + b] = *byte;
            }
            assert_int_equal(nvme_submit(command), DGM_OK);
        }
        nvme_kick();
        nvme_settle(SECOND);
        for (uint32_t i = 0; i < count; i++) {
            const struct nvme_job *command = &nvme_rig.commands[i];

            assert_int_equal(command->status, DGM_OK);
            for (uint32_t b = 0; b < command->command.blocks * block_bytes; b++)
                assert_int_equal(*nvme_byte(command, b),
                                 model[command->command.block * block_bytes + b]);
        }
    }
    assert_memory_equal(model, nvme_rig.disk, disk_bytes);
    free(model);
}

/* Fails: a controller of another kind (queue depth, doorbell stride, MDTS, version, block size,
 * interrupts, caches, left running by firmware) loses or mixes up data. */
static void works_on_every_kind(void **state)
{
    unit_seed();
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        const struct variant *variant = &variants[i];

        nvme_start(&variant->config);
        nvme_rig.env.irq_message = variant->message;
        nvme_rig.sim.admin_bogus = variant->admin_bogus;
        nvme_rig.env.tag.coherent = !variant->incoherent;
        if (variant->left_enabled) {
            dgm_simnvme_write(&nvme_rig.sim, 0x28, (uint32_t)BUS_BASE, 4);
            dgm_simnvme_write(&nvme_rig.sim, 0x2c, BUS_BASE >> 32, 4);
            dgm_simnvme_write(&nvme_rig.sim, 0x30, (uint32_t)BUS_BASE, 4);
            dgm_simnvme_write(&nvme_rig.sim, 0x34, BUS_BASE >> 32, 4);
            nvme_rig.sim.stops_after = 5;
            dgm_simnvme_write(&nvme_rig.sim, 0x14, 0x460001, 4);
        }
        assert_int_equal(nvme_attach(), DGM_OK);
        if (variant->transfer_bytes)
            assert_int_equal(nvme_device()->tag.transfer_bytes_max, variant->transfer_bytes);
        random_io(40);
        assert_int_equal(nvme_rig.nvme.bogus, variant->admin_bogus ? 6 : 0);
        assert_int_equal(nvme_rig.nvme.resets + nvme_rig.nvme.interrupts_lost, 0);
        assert_int_equal(nvme_device()->errors, 0);
        assert_true(variant->incoherent == (nvme_rig.cleaned > 0 && nvme_rig.invalidated > 0));
        nvme_end();
    }
}

/* Fails: a queue that is full drops commands, or no waiter is woken when it has room again. */
static void full_queue_waits(void **state)
{
    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);
    for (unsigned i = 0; i < 63; i++)
        assert_int_equal(nvme_submit(nvme_prepare(i, DGM_BLK_WRITE, i * 8, 8, i * 2, 512)), DGM_OK);
    for (unsigned i = 63; i < 66; i++)
        assert_int_equal(nvme_submit(nvme_prepare(i, DGM_BLK_WRITE, i * 8, 8, i * 2, 512)),
                         DGM_EAGAIN);
    dgm_waiters_add(&nvme_device()->waiters, &nvme_rig.waiter);

    const uint64_t doorbells = nvme_rig.sim.doorbells;

    nvme_turn();
    assert_int_equal(nvme_rig.sim.doorbells, doorbells); /* nothing before the kick */
    nvme_kick();
    nvme_kick(); /* changes nothing */
    assert_int_equal(nvme_rig.sim.doorbells, doorbells + 1);
    assert_int_equal(dgm_simnvme_run(&nvme_rig.sim, 2), 2);
    assert_int_equal(nvme_rig.woken, 0);
    nvme_turn();
    assert_int_equal(nvme_rig.woken, 1);
    assert_int_equal(nvme_rig.ended, 2);
    assert_int_equal(nvme_submit(nvme_prepare(63, DGM_BLK_WRITE, 63 * 8, 8, 126, 512)), DGM_OK);
    assert_int_equal(nvme_submit(nvme_prepare(64, DGM_BLK_WRITE, 64 * 8, 8, 128, 512)), DGM_OK);
    assert_int_equal(nvme_submit(nvme_prepare(65, DGM_BLK_WRITE, 65 * 8, 8, 130, 512)), DGM_EAGAIN);
    nvme_kick();
    nvme_settle(SECOND);
    assert_int_equal(nvme_rig.ended, 65);
    assert_int_equal(nvme_rig.nvme.in_flight_max, 63);
    assert_int_equal(nvme_device()->commands, 65);
    nvme_end();
}

/* Fails: a batch costs more than one doorbell in each direction. */
static void one_doorbell_per_batch(void **state)
{
    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);

    const uint64_t doorbells = nvme_rig.sim.doorbells;

    for (unsigned i = 0; i < 63; i++)
        assert_int_equal(nvme_submit(nvme_prepare(i, DGM_BLK_READ, i, 1, i, 0)), DGM_OK);
    nvme_kick();
    assert_int_equal(dgm_simnvme_run(&nvme_rig.sim, 63), 63);
    nvme_turn();
    assert_int_equal(nvme_rig.ended, 63);
    assert_int_equal(nvme_rig.sim.doorbells, doorbells + 2);
    nvme_end();
}

static void submit_again(struct nvme_job *command)
{
    if (nvme_rig.ended < 1000) {
        struct nvme_job *again = nvme_prepare((unsigned)(command - nvme_rig.commands), DGM_BLK_READ,
                                              0, 8, command->frame, 0);

        again->then = submit_again;
        assert_int_equal(nvme_submit(again), DGM_OK);
        nvme_kick();
    }
}

/* Fails: done() cannot submit and kick directly. */
static void done_may_submit(void **state)
{
    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);
    for (unsigned i = 0; i < 63; i++) {
        nvme_prepare(i, DGM_BLK_READ, 0, 8, i * 2, 0)->then = submit_again;
        assert_int_equal(nvme_submit(&nvme_rig.commands[i]), DGM_OK);
    }
    nvme_kick();
    nvme_settle(10 * SECOND);
    assert_in_range(nvme_rig.ended, 1000, 1063);
    assert_int_equal(nvme_rig.nvme.bogus, 0);
    nvme_end();
}

/* Fails: a flush completes without reaching the disk. */
static void a_flush_of_the_cache(void **state)
{
    struct nvme_job *flush;

    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);
    flush = nvme_prepare(0, DGM_BLK_FLUSH, 0, 0, 0, 0);
    assert_int_equal(nvme_do(flush), DGM_OK);
    assert_int_equal(nvme_rig.sim.flushes, 1);
    nvme_end();
}

/* Fails: an idle disk keeps a timer armed, and the domain wakes up without need. */
static void idle_is_silent(void **state)
{
    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_true(dgm_reactor_deadline_ns(&nvme_rig.reactor) == UINT64_MAX);
    nvme_works();
    nvme_pass(2 * SECOND);
    nvme_turn();
    assert_true(dgm_reactor_deadline_ns(&nvme_rig.reactor) == UINT64_MAX);
    nvme_end();
}

/* Fails: a write-protected namespace is taken for a writable one. */
static void write_protected(void **state)
{
    struct dgm_simnvme_config config = nvme_plain;

    config.write_protected = true;
    nvme_start(&config);
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_true(nvme_device()->read_only);
    nvme_end();
}

/* Fails: the bus's limits are lost when the controller's are set. */
static void keeps_the_bus_limits(void **state)
{
    nvme_start(&nvme_plain);
    nvme_rig.env.tag.transfer_bytes_max = 70000;
    nvme_rig.env.tag.segments_max = 4;
    nvme_rig.env.tag.boundary = 1 << 16;
    assert_int_equal(nvme_attach(), DGM_OK);
    assert_int_equal(nvme_device()->tag.transfer_bytes_max, 69632);
    assert_int_equal(nvme_device()->tag.segments_max, 4);
    assert_int_equal(nvme_device()->tag.boundary, 1 << 16);
    nvme_end();
}

/* Fails: a command beyond the disk, or of another length than its segments, reaches the device. */
static void asserts_the_contract_of_blkback(void **state)
{
    struct nvme_job *command;

    nvme_start(&nvme_plain);
    assert_int_equal(nvme_attach(), DGM_OK);
    command = nvme_prepare(0, DGM_BLK_READ, 16384, 1, 0, 0);
    expect_panic(nvme_submit(command));
    command = nvme_prepare(0, DGM_BLK_READ, 16380, 5, 0, 0);
    expect_panic(nvme_submit(command));
    command = nvme_prepare(0, DGM_BLK_READ, UINT64_MAX, 2, 0, 0);
    expect_panic(nvme_submit(command));
    command = nvme_prepare(0, DGM_BLK_READ, 0, 8, 0, 0);
    command->command.blocks = 7;
    expect_panic(nvme_submit(command));
    command->command.blocks = 0;
    expect_panic(nvme_submit(command));
    nvme_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(describes_the_disk),
        cmocka_unit_test(attaches_quickly),
        cmocka_unit_test(works_on_every_kind),
        cmocka_unit_test(full_queue_waits),
        cmocka_unit_test(one_doorbell_per_batch),
        cmocka_unit_test(done_may_submit),
        cmocka_unit_test(a_flush_of_the_cache),
        cmocka_unit_test(idle_is_silent),
        cmocka_unit_test(write_protected),
        cmocka_unit_test(keeps_the_bus_limits),
        cmocka_unit_test(asserts_the_contract_of_blkback),
    };

    return cmocka_run_group_tests_name("nvme", tests, NULL, NULL);
}
