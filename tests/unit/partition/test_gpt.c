/* SPDX-License-Identifier: MIT */
/*
 * partition/gpt: if these fail, a guest gets blocks that are another guest's partition or the
 * table itself, or no guest gets a disk whose primary table is damaged.
 */
#include "partition_rig.h"

static int start(void **state)
{
    unit_seed();
    partition_rig_start((struct dgm_partition_disk){RIG_BLOCKS, 512});
    partition_rig_gpt();
    partition_rig_gpt_add(1, 64, 100, "boot");
    partition_rig_gpt_add(2, 200, 1000, "root");
    partition_rig_gpt_add(40, 1200, 1, "one block");
    return 0;
}

static int stop(void **state)
{
    partition_rig_stop();
    return 0;
}

static void expect_three(void)
{
    const struct dgm_partition *root;

    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_READY);
    assert_true(partition_rig.table.gpt);
    assert_int_equal(partition_rig.table.count, 3);
    root = partition_rig_find(2);
    assert_non_null(root);
    assert_int_equal(root->extent.first, 200);
    assert_int_equal(root->extent.blocks, 1000);
    assert_string_equal(root->label, "root");
    assert_string_equal(root->uuid, "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae02");
    assert_int_equal(partition_rig_find(1)->extent.first, 64);
    assert_int_equal(partition_rig_find(40)->extent.blocks, 1);
    assert_null(partition_rig_find(3));
}

static void expect_refused(const char *what, unsigned one, unsigned other)
{
    const struct dgm_partition_fault *fault = &partition_rig.table.fault;

    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_REFUSED);
    if (!strstr(fault->what, what))
        fail_msg("refused because of '%s', not of '%s'", fault->what, what);
    assert_int_equal(fault->one, one);
    assert_int_equal(fault->other, other);
    assert_int_equal(partition_rig.table.count, 0);
}

static void expect_backup(const char *primary)
{
    partition_rig_run();
    expect_three();
    assert_true(partition_rig.table.backup);
    if (!partition_rig.table.primary.what || !strstr(partition_rig.table.primary.what, primary))
        fail_msg("the primary table is damaged by '%s', not '%s'",
                 partition_rig.table.primary.what ? partition_rig.table.primary.what : "nothing",
                 primary);
}

static void three_partitions(void **state)
{
    partition_rig_run();
    expect_three();
    assert_null(partition_rig.table.primary.what);
}

static void blocks_of_4096_bytes(void **state)
{
    partition_rig_stop();
    partition_rig_start((struct dgm_partition_disk){RIG_BLOCKS, 4096});
    partition_rig_gpt();
    partition_rig_gpt_add(1, 64, 100, "boot");
    partition_rig_gpt_add(2, 200, 1000, "root");
    partition_rig_gpt_add(40, 1200, 1, "one block");
    partition_rig_run();
    expect_three();
}

/* The first and the last usable block; all 128 entries in use. */
static void a_full_table(void **state)
{
    for (unsigned i = 1; i <= 128; i++)
        partition_rig_gpt_add(i, i == 128 ? RIG_BLOCKS - 34 : 33 + i, 1, "");
    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_READY);
    assert_int_equal(partition_rig.table.count, 128);
    assert_int_equal(partition_rig_find(1)->extent.first, 34);
    assert_int_equal(partition_rig_find(128)->extent.first, RIG_BLOCKS - 34);
}

static void labels_in_utf_8(void **state)
{
    static const uint16_t units[] = {'z', 0xe4, 0x20ac, 0xd83d, 0xde00, 0xdc00, 0xd800, 0};
    char longest[109];

    for (unsigned copy = 0; copy < 2; copy++) {
        for (unsigned i = 0; i < 8; i++)
            partition_rig_put(partition_rig_entry(1, copy) + 56 + 2 * i, 2, units[i]);
        for (unsigned i = 0; i < 36; i++)
            partition_rig_put(partition_rig_entry(2, copy) + 56 + 2 * i, 2, 0x20ac);
        partition_rig_seal(copy);
    }
    for (unsigned i = 0; i < 108; i++)
        longest[i] = "\xe2\x82\xac"[i % 3];
    longest[108] = '\0';
    partition_rig_run();
    assert_string_equal(partition_rig_find(1)->label,
                        "z\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(partition_rig_find(2)->label, longest);
}

/* --- a damaged primary table --- */

static void damaged_primary(void **state)
{
    partition_rig_header(false)[40] ^= 1;
    expect_backup("header's checksum");
    memset(partition_rig_header(false), 0, 512);
    expect_backup("no header");
    partition_rig.unreadable[0] = 1;
    expect_backup("header cannot be read");
}

static void damaged_entries(void **state)
{
    partition_rig_entry(2, false)[33] ^= 1;
    expect_backup("checksum of the entries");
    partition_rig.unreadable[0] = 2 + 3;
    expect_backup("entries cannot be read");
}

/* Also one that would be refused if its checksum were right. */
static void damaged_into_an_overlap(void **state)
{
    partition_rig_put(partition_rig_entry(2, false) + 32, 8, 64);
    expect_backup("checksum of the entries");
}

static void a_header_elsewhere(void **state)
{
    partition_rig_put(partition_rig_header(false) + 24, 8, 7);
    partition_rig_seal(false);
    expect_backup("another block");
}

static void both_damaged(void **state)
{
    partition_rig_header(false)[16] ^= 1;
    partition_rig_entry(1, true)[0] ^= 1;
    expect_refused("checksum of the entries", 0, 0);
    assert_non_null(strstr(partition_rig.table.primary.what, "header's checksum"));
    partition_rig.unreadable[0] = RIG_BLOCKS - 1;
    expect_refused("header cannot be read", 0, 0);
}

/* Each byte of both headers and of the used entries, one at a time: never another result. */
static void every_byte(void **state)
{
    for (unsigned i = 0; i < 92 + 256; i++) {
        uint8_t *at =
            i < 92 ? partition_rig_header(false) + i : partition_rig_entry(1, false) + (i - 92);

        *at ^= (uint8_t)(1u << unit_below(8));
        partition_rig_run();
        expect_three();
        assert_true(partition_rig.table.backup);
        memcpy(partition_rig_block(2), partition_rig_block(RIG_BLOCKS - 33), RIG_ENTRIES_BYTES);
        partition_rig_gpt(); /* both headers, sealed */
    }
}

/* --- wrong tables with a right checksum --- */

static void set_in_both(unsigned number, unsigned at, uint64_t value)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        partition_rig_put(partition_rig_entry(number, copy) + at, 8, value);
        partition_rig_seal(copy);
    }
}

static void overlapping_partitions(void **state)
{
    set_in_both(1, 40, 200);
    expect_refused("overlap", 1, 2);
    set_in_both(1, 40, 199);
    partition_rig_run();
    expect_three();
}

/* The backup would be used if the primary were damaged. */
static void an_overlap_is_no_damage(void **state)
{
    partition_rig_put(partition_rig_entry(40, false) + 32, 8, 300);
    partition_rig_put(partition_rig_entry(40, false) + 40, 8, 300);
    partition_rig_seal(false);
    expect_refused("overlap", 2, 40);
}

static void outside_of_the_usable_blocks(void **state)
{
    static const struct {
        uint64_t first, last;
    } wrong[] = {{33, 40},
                 {0, 40},
                 {1, 1},
                 {2000, 1999},
                 {2000, 0},
                 {2000, RIG_BLOCKS - 33},
                 {5000, 5001},
                 {2000, UINT64_MAX},
                 {UINT64_MAX, UINT64_MAX},
                 {UINT64_MAX, 2000},
                 {0, UINT64_MAX}};

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        partition_rig_gpt_add(2, 200, 1000, "root");
        set_in_both(40, 32, wrong[i].first);
        set_in_both(40, 40, wrong[i].last);
        expect_refused("outside", 40, 0);
    }
}

/* The field of both headers; the primary's checksum is right, so the table says it. */
static void expect_header_refused(unsigned at, unsigned bytes, uint64_t value, const char *what)
{
    for (unsigned copy = 0; copy < 2; copy++) {
        partition_rig_put(partition_rig_header(copy) + at, bytes, value);
        partition_rig_seal(copy);
    }
    expect_refused(what, 0, 0);
    assert_non_null(strstr(partition_rig.table.primary.what, what));
    partition_rig_gpt();
}

static void wrong_headers(void **state)
{
    expect_header_refused(40, 8, 1, "usable");
    expect_header_refused(40, 8, 4000000, "usable");
    expect_header_refused(48, 8, RIG_BLOCKS - 1, "usable");
    expect_header_refused(48, 8, UINT64_MAX, "usable");
    expect_header_refused(80, 4, 0, "entries");
    expect_header_refused(80, 4, 1025, "1024");
    expect_header_refused(80, 4, UINT32_MAX, "1024");
    expect_header_refused(84, 4, 0, "size of an entry");
    expect_header_refused(84, 4, 64, "size of an entry");
    expect_header_refused(84, 4, 129, "size of an entry");
    expect_header_refused(84, 4, 192, "size of an entry");
    expect_header_refused(84, 4, 8192, "size of an entry");
    expect_header_refused(84, 4, 0x80000000, "size of an entry");
    expect_header_refused(72, 8, 0, "entries are not");
    expect_header_refused(72, 8, 1, "entries are not");
    expect_header_refused(72, 8, 3, "entries are not"); /* over the first usable blocks */
    expect_header_refused(72, 8, 1000, "entries are not");
    expect_header_refused(72, 8, RIG_BLOCKS - 31, "entries are not");
    expect_header_refused(72, 8, UINT64_MAX, "entries are not");
    partition_rig_run();
    expect_three();
}

/* The size of the header is below its checksum, so the rig's seal does not cover it. */
static void wrong_header_sizes(void **state)
{
    static const uint32_t sizes[] = {0, 1, 19, 20, 91, 513, 4096, UINT32_MAX};

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        partition_rig_put(partition_rig_header(false) + 12, 4, sizes[i]);
        partition_rig_seal(false);
        expect_backup("header's checksum");
    }
}

static void without_its_mbr(void **state)
{
    memset(partition_rig_block(0), 0, 512);
    expect_refused("protective MBR", 0, 0);
    partition_rig.unreadable[0] = 1;
    expect_refused("block 1 cannot be read", 0, 0);
    partition_rig.first_unreadable = true;
    expect_refused("block 0 cannot be read", 0, 0);
}

int main(void)
{
#define GPT_TEST(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        GPT_TEST(three_partitions),
        GPT_TEST(blocks_of_4096_bytes),
        GPT_TEST(a_full_table),
        GPT_TEST(labels_in_utf_8),
        GPT_TEST(damaged_primary),
        GPT_TEST(damaged_entries),
        GPT_TEST(damaged_into_an_overlap),
        GPT_TEST(a_header_elsewhere),
        GPT_TEST(both_damaged),
        GPT_TEST(every_byte),
        GPT_TEST(overlapping_partitions),
        GPT_TEST(an_overlap_is_no_damage),
        GPT_TEST(outside_of_the_usable_blocks),
        GPT_TEST(wrong_headers),
        GPT_TEST(wrong_header_sizes),
        GPT_TEST(without_its_mbr),
    };

    return cmocka_run_group_tests_name("gpt", tests, NULL, NULL);
}
