/* SPDX-License-Identifier: MIT */
/*
 * partition/reader: if these fail, a table is not read although the disk has one, or a reader never
 * ends, or bytes that no device wrote are taken for a table.
 */
#include "partition_rig.h"
#include "vbd_rig.h"

#include <dragoman/partition/reader.h>

static struct model_disk disk;
static struct dgm_partition_reader reader;
static struct dgm_task changed;
static unsigned changes;

/* The last frame of our RAM, which the rig's machine does not take. */
#define FRAME dgm_gfn(VBD_RAM_FIRST + VBD_RAM_FRAMES - 1)

static void on_changed(struct dgm_task *task)
{
    changes++;
}

/* A disk with a GPT of two partitions. */
static void start_disk(uint32_t block_bytes)
{
    vbd_start((struct vbd_options){.bounce = 4});
    model_start(&disk, RIG_BLOCKS, block_bytes);
    partition_rig_start((struct dgm_partition_disk){RIG_BLOCKS, block_bytes});
    partition_rig_gpt();
    partition_rig_gpt_add(1, 64, 100, "boot");
    partition_rig_gpt_add(2, 200, 1000, "root");
    memcpy(disk.bytes, partition_rig.bytes, disk.bytes_total);
    assert_true(dgm_frames_available(&vbd.frames) > 0);
    disk.dev.ready = true;
    changed.run = on_changed;
    changes = 0;
}

static void read_table(void)
{
    uint64_t passed = 0;

    changes = 0;
    memset(dgm_env_va(FRAME), 0xee, DGM_FRAME_BYTES);
    dgm_partition_reader_start(
        &reader, &(struct dgm_partition_reader_env){&vbd.reactor, &vbd.core.dma, FRAME, &changed},
        &disk.dev);
    for (; changes == 0 && passed < 100; passed++) {
        vbd_run();
        vbd_pass(10000000);
    }
    assert_int_equal(changes, 1);
    assert_true(reader.table.state != DGM_PARTITIONS_READING);
}

static void expect_two(void)
{
    assert_int_equal(reader.table.state, DGM_PARTITIONS_READY);
    assert_int_equal(reader.table.count, 2);
    assert_int_equal(reader.table.partitions[1].extent.first, 200);
    assert_string_equal(reader.table.partitions[1].label, "root");
}

static void stop_disk(void)
{
    partition_rig_stop();
    model_stop(&disk);
    vbd_stop();
}

static void two_partitions(void **state)
{
    for (unsigned block_bytes = 512; block_bytes <= 4096; block_bytes *= 8) {
        start_disk(block_bytes);
        read_table();
        expect_two();
        stop_disk();
    }
}

/* A device that takes one block in a segment, and one that reaches none of our memory. */
static void narrow_devices(void **state)
{
    start_disk(512);
    disk.dev.tag.segment_bytes_max = 512;
    disk.dev.tag.segments_max = 2;
    read_table();
    expect_two();
    disk.dev.tag.transfer_bytes_max = 512;
    read_table();
    expect_two();
    disk.dev.tag.mask = 4095;
    read_table();
    assert_int_equal(reader.table.state, DGM_PARTITIONS_REFUSED);
    assert_non_null(strstr(reader.table.fault.what, "block 0 cannot be read"));
    stop_disk();
}

/* The n-th command fails, for each n. */
static void every_command_fails(void **state)
{
    uint64_t commands;

    start_disk(512);
    read_table();
    commands = disk.number;
    for (uint64_t n = 0; n < commands; n++) {
        disk.fail_from = (int64_t)(disk.number + n);
        disk.fail_count = 1;
        read_table();
        if (n == 0)
            assert_int_equal(reader.table.state, DGM_PARTITIONS_REFUSED);
        else
            expect_two();
        assert_int_equal(reader.table.primary.what != NULL, n > 0);
    }
    disk.fail_from = 0;
    disk.fail_count = UINT64_MAX;
    read_table();
    assert_int_equal(reader.table.state, DGM_PARTITIONS_REFUSED);
    disk.refuse = true;
    read_table();
    assert_int_equal(reader.table.state, DGM_PARTITIONS_REFUSED);
    stop_disk();
}

/* The disk's queue is full at first. */
static void a_full_queue(void **state)
{
    start_disk(512);
    disk.depth = 0;
    dgm_partition_reader_start(
        &reader, &(struct dgm_partition_reader_env){&vbd.reactor, &vbd.core.dma, FRAME, &changed},
        &disk.dev);
    vbd_run();
    vbd_pass(100000000);
    assert_int_equal(changes, 0);
    assert_int_equal(vbd.core.dma.bounce->free, vbd.core.dma.bounce->total);
    disk.depth = 1;
    for (unsigned i = 0; i < 100 && changes == 0; i++) {
        vbd_pass(10000000);
        vbd_run();
    }
    assert_int_equal(changes, 1);
    expect_two();
    stop_disk();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_partitions),
        cmocka_unit_test(narrow_devices),
        cmocka_unit_test(every_command_fails),
        cmocka_unit_test(a_full_queue),
    };

    return cmocka_run_group_tests_name("partition_reader", tests, NULL, NULL);
}
