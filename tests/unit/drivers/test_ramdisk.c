/* SPDX-License-Identifier: MIT */
/*
 * ramdisk: if these fail, the example driver loses data, or breaks the contract of blkdev.h, and
 * drivers modelled on it do so too.
 */
#include "unit.h"

#include <dragoman/base/status.h>
#include <port/env.h>

#include <examples/ramdisk/ramdisk.c>

#define RAM    0x40000ull
#define FRAMES 1100u
#define PIECES 40u

static struct {
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct ramdisk disk;
    struct dgm_task waiter;
    unsigned changes, ended, woken;
    bool submitting;
} rig;

static void note_change(struct dgm_device_env *env)
{
    assert_ptr_equal(env, &rig.env);
    rig.changes++;
}

static void command_done(struct dgm_blk_command *command, int status)
{
    assert_false(rig.submitting);
    assert_int_equal(status, DGM_OK);
    rig.ended++;
}

static void count_wake(struct dgm_task *task)
{
    rig.woken++;
}

static void start_disk(uint64_t frames)
{
    memset(&rig, 0, sizeof rig);
    dgm_sim_memory(dgm_gfn(RAM), FRAMES);
    dgm_frames_init(&rig.frames);
    assert_int_equal(dgm_frames_add(&rig.frames, (struct dgm_gfn_range){dgm_gfn(RAM), frames}),
                     DGM_OK);
    dgm_reactor_init(&rig.reactor);
    rig.waiter.run = count_wake;
    rig.env = (struct dgm_device_env){.name = "ram",
                                      .reactor = &rig.reactor,
                                      .frames = &rig.frames,
                                      .changed = note_change,
                                      .tag = {.mask = UINT64_MAX, .coherent = true}};
}

static int setup(void **state)
{
    unit_seed();
    start_disk(1024);
    assert_int_equal(ramdisk_driver.start(&rig.disk, &rig.env), DGM_OK);
    assert_true(rig.disk.device.ready);
    assert_int_equal(rig.changes, 1);
    return 0;
}

static int teardown(void **state)
{
    dgm_sim_memory(dgm_gfn(RAM), 0);
    return 0;
}

static int submit_one(struct dgm_blk_command *command)
{
    rig.submitting = true;
    command->done = command_done;
    const int status = rig.disk.device.ops->submit(&rig.disk.device, command);
    rig.submitting = false;
    return status;
}

static void run_disk(void)
{
    rig.disk.device.ops->kick(&rig.disk.device);
    while (dgm_reactor_turn(&rig.reactor))
        ;
}

/* Random pieces for `bytes` bytes after `skip` bytes, in the frames behind those of the disk, in
 * random order: adjacent pieces are not adjacent in memory. */
static size_t make_pieces(struct dgm_dma_piece *pieces, uint64_t bytes)
{
    size_t count = 0;
    uint64_t sum = 0;

    for (; sum < bytes; count++) {
        assert_true(count < PIECES);
        const uint16_t offset = (uint16_t)(unit_below(8) * 512);
        const uint64_t rest = 4096ull - offset;
        const uint64_t room = rest < bytes - sum ? rest : bytes - sum;
        const uint16_t length = (uint16_t)((unit_below(room / 512) + 1) * 512);

        pieces[count] = (struct dgm_dma_piece){
            dgm_gfn(RAM + 1024 + (count * 37 + 11) % (FRAMES - 1024)), offset, length};
        sum += length;
    }
    return count;
}

static uint8_t *byte_of(const struct dgm_dma_piece *pieces, uint64_t at)
{
    while (at >= pieces->bytes)
        at -= pieces++->bytes;
    return (uint8_t *)dgm_env_va(pieces->gfn) + pieces->offset + at;
}

/* Fails: a byte is copied to a wrong place of the disk or of memory, or an adjacent one changes. */
static void bytes_arrive(void **state)
{
    static uint8_t model[DISK_BYTES];
    struct dgm_dma_piece pieces[PIECES];

    for (unsigned round = 0; round < 3000; round++) {
        const uint32_t blocks = 1 + (uint32_t)unit_below(20);
        const uint64_t skip = unit_below(4) * 512;
        const bool read = unit_chance(50);
        struct dgm_blk_command command = {
            .op = read ? DGM_BLK_READ : DGM_BLK_WRITE,
            .block = unit_below(DISK_BYTES / 512 - blocks + 1),
            .blocks = blocks,
            .pieces = pieces,
            .skip_bytes = skip,
        };
        uint8_t *at = model + command.block * 512;

        make_pieces(pieces, skip + blocks * 512ull);
        for (uint64_t i = 0; i < skip + blocks * 512ull; i++)
            *byte_of(pieces, i) = (uint8_t)unit_random();
        if (command.op == DGM_BLK_WRITE)
            for (uint64_t i = 0; i < blocks * 512ull; i++)
                at[i] = *byte_of(pieces, skip + i);
        assert_int_equal(submit_one(&command), DGM_OK);
        run_disk();
        assert_int_equal(rig.ended, round + 1);
        for (uint64_t i = 0; i < blocks * 512ull; i++)
            assert_int_equal(*byte_of(pieces, skip + i), at[i]);
    }
    assert_memory_equal(rig.disk.bytes, model, DISK_BYTES);
}

/* Fails: a full queue loses a command, or a waiter is never woken. */
static void full_queue_wakes_its_waiter(void **state)
{
    struct dgm_blk_command commands[QUEUE_LENGTH + 1];

    for (unsigned i = 0; i <= QUEUE_LENGTH; i++)
        commands[i] = (struct dgm_blk_command){.op = DGM_BLK_FLUSH};
    for (unsigned i = 0; i < QUEUE_LENGTH; i++)
        assert_int_equal(submit_one(&commands[i]), DGM_OK);
    assert_int_equal(submit_one(&commands[QUEUE_LENGTH]), DGM_EAGAIN);
    dgm_waiters_add(&rig.disk.device.waiters, &rig.waiter);
    run_disk();
    assert_int_equal(rig.ended, QUEUE_LENGTH);
    assert_int_equal(rig.woken, 1);
    assert_int_equal(submit_one(&commands[QUEUE_LENGTH]), DGM_OK);
    run_disk();
    assert_int_equal(rig.ended, QUEUE_LENGTH + 1);
}

/* Fails: one disk with a long queue delays all others: a turn executes one command. */
static void turn_is_short(void **state)
{
    struct dgm_blk_command commands[3];

    for (unsigned i = 0; i < 3; i++) {
        commands[i] = (struct dgm_blk_command){.op = DGM_BLK_FLUSH};
        assert_int_equal(submit_one(&commands[i]), DGM_OK);
    }
    rig.disk.device.ops->kick(&rig.disk.device);
    for (unsigned i = 1; i <= 3; i++) {
        dgm_reactor_turn(&rig.reactor);
        assert_int_equal(rig.ended, i);
    }
}

/* Fails: a lack of memory is not logged, or stops the domain. */
static void too_little_memory(void **state)
{
    start_disk(1000);
    assert_int_equal(ramdisk_driver.start(&rig.disk, &rig.env), DGM_ENOMEM);
    assert_non_null(strstr(dgm_sim_last_log(), "raise dom0_mem="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_arrive, setup, teardown),
        cmocka_unit_test_setup_teardown(full_queue_wakes_its_waiter, setup, teardown),
        cmocka_unit_test_setup_teardown(turn_is_short, setup, teardown),
        cmocka_unit_test_setup_teardown(too_little_memory, setup, teardown),
    };

    return cmocka_run_group_tests_name("ramdisk", tests, NULL, NULL);
}
