/* SPDX-License-Identifier: MIT */
/*
 * blkback with a part of a disk: if these fail, a guest reads or writes bytes of the disk that are
 * not its own, or sees the size of the whole disk.
 */
#include "vbd_rig.h"

#define BLOCKS 4096u
#define FIRST  1000u
#define COUNT  104u

static struct model_disk disk;
static struct dgm_blkback back[2];
static struct front front[2];

/* Guests 1 and 2 have adjacent parts, in blocks of the disk. */
static void start_parts(uint32_t block_bytes)
{
    vbd_start((struct vbd_options){0});
    model_start(&disk, BLOCKS, block_bytes);
    for (unsigned i = 0; i < 2; i++) {
        front_guest_start((domid_t)(1 + i));
        assert_int_equal(vbd_share(&back[i], (domid_t)(1 + i),
                                   &(struct dgm_blkback_options){.vdev = "xvda",
                                                                 .disk = &disk.dev,
                                                                 .first_block = FIRST + i * COUNT,
                                                                 .blocks = i ? 0 : COUNT,
                                                                 .writable = true,
                                                                 .mode = DGM_REACH_MODE_MAP}),
                         DGM_OK);
        front_init(&front[i], (domid_t)(1 + i), "xvda");
        front_connect(&front[i]);
    }
}

static void stop_parts(void)
{
    for (unsigned i = 0; i < 2; i++) {
        front_close(&front[i]);
        vbd_end(&back[i]);
    }
    model_stop(&disk);
    vbd_stop();
}

static int16_t transfer(unsigned guest, bool write, uint64_t sector, unsigned sectors)
{
    const struct part part = {FRONT_DATA_GFN, 0, (uint8_t)(sectors - 1)};
    const unsigned index = front_rw(&front[guest], write, sector, &part, 1);

    front_exchange(&front[guest]);
    return front_status(&front[guest], index);
}

/* Every block of a guest's part, with the first beyond each end. */
static void check_part(uint32_t block_bytes)
{
    const unsigned per_block = block_bytes / 512;
    uint8_t *before;

    start_parts(block_bytes);
    before = malloc(disk.bytes_total);
    for (uint64_t i = 0; i < disk.bytes_total; i++)
        disk.bytes[i] = (uint8_t)(i * 7 + (i >> 9));
    memcpy(before, disk.bytes, disk.bytes_total);
    assert_int_equal(front_key_number(&front[0], true, "sectors"), COUNT * per_block);
    assert_int_equal(front_key_number(&front[1], true, "sectors"),
                     (BLOCKS - FIRST - COUNT) * per_block);
    for (uint64_t block = 0; block < COUNT; block++) {
        uint8_t *page = dgm_hv_page(1, FRONT_DATA_GFN);
        uint8_t *at = before + (FIRST + block) * block_bytes;

        assert_int_equal(transfer(0, false, block * per_block, per_block), BLKIF_RSP_OKAY);
        assert_memory_equal(page, at, block_bytes);
        memset(page, (int)(block ^ 0x5a), block_bytes);
        memset(at, (int)(block ^ 0x5a), block_bytes);
        assert_int_equal(transfer(0, true, block * per_block, per_block), BLKIF_RSP_OKAY);
    }
    assert_memory_equal(disk.bytes, before, disk.bytes_total);
    assert_int_equal(transfer(0, true, COUNT * per_block, per_block), BLKIF_RSP_ERROR);
    assert_int_equal(transfer(0, true, UINT64_MAX - FIRST * per_block + 1, per_block),
                     BLKIF_RSP_ERROR);
    assert_int_equal(transfer(1, true, (BLOCKS - FIRST - COUNT) * per_block, per_block),
                     BLKIF_RSP_ERROR);
    assert_memory_equal(disk.bytes, before, disk.bytes_total);
    free(before);
    stop_parts();
}

static void blocks_of_512_bytes(void **state)
{
    check_part(512);
}

static void blocks_of_4096_bytes(void **state)
{
    check_part(4096);
}

/* A part beyond the disk is a fault of the caller. */
static void a_part_lies_within_the_disk(void **state)
{
    static const struct dgm_blkback_options wrong[] = {
        {.vdev = "xvda", .disk = &disk.dev, .first_block = BLOCKS + 1},
        {.vdev = "xvda", .disk = &disk.dev, .first_block = 1, .blocks = BLOCKS},
        {.vdev = "xvda", .disk = &disk.dev, .first_block = 1, .blocks = UINT64_MAX}};

    start_parts(512);
    for (unsigned i = 0; i < 3; i++)
        expect_panic((void)vbd_share(&back[0], 3, &wrong[i]));
    stop_parts();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_of_512_bytes),
        cmocka_unit_test(blocks_of_4096_bytes),
        cmocka_unit_test(a_part_lies_within_the_disk),
    };

    return cmocka_run_group_tests_name("blkback_part", tests, NULL, NULL);
}
