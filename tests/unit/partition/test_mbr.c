/* SPDX-License-Identifier: MIT */
/*
 * partition/mbr and selector: if these fail, a guest gets blocks of another guest's partition or of
 * the table, a chain of logical partitions is read without end, or a target means another part.
 */
#include "partition_rig.h"

#include <dragoman/partition/selector.h>

#define EXTENDED 2000u

static int start(void **state)
{
    unit_seed();
    partition_rig_start((struct dgm_partition_disk){RIG_BLOCKS, 512});
    partition_rig_mbr(0);
    partition_rig_mbr_add(0, 0, 0x0c, 64, 100);
    partition_rig_mbr_add(0, 2, 0x83, 164, 1000);
    partition_rig_block(0)[446] = 0x80; /* active */
    return 0;
}

static int stop(void **state)
{
    partition_rig_stop();
    return 0;
}

/* An extended partition with three logical ones. */
static void add_logical(void)
{
    partition_rig_mbr_add(0, 3, 0x05, EXTENDED, 1000);
    for (unsigned i = 0; i < 3; i++) {
        partition_rig_mbr(EXTENDED + 100 * i);
        partition_rig_mbr_add(EXTENDED + 100 * i, 0, 0x83, 2, 50);
        if (i < 2)
            partition_rig_mbr_add(EXTENDED + 100 * i, 1, 0x05, 100 * (i + 1), 100);
    }
}

static void expect_partition(unsigned number, uint64_t first, uint64_t blocks)
{
    const struct dgm_partition *partition = partition_rig_find(number);

    assert_non_null(partition);
    assert_int_equal(partition->extent.first, first);
    assert_int_equal(partition->extent.blocks, blocks);
}

static void expect_refused(const char *what)
{
    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_REFUSED);
    if (!strstr(partition_rig.table.fault.what, what))
        fail_msg("refused because of '%s', not of '%s'", partition_rig.table.fault.what, what);
}

static void primary_partitions(void **state)
{
    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_READY);
    assert_false(partition_rig.table.gpt);
    assert_int_equal(partition_rig.table.count, 2);
    expect_partition(1, 64, 100);
    expect_partition(3, 164, 1000);
    assert_string_equal(partition_rig_find(3)->uuid, "1234abcd-03");
    assert_string_equal(partition_rig_find(3)->label, "");
    partition_rig_put(partition_rig_block(0) + 440, 4, 0);
    partition_rig_run();
    assert_string_equal(partition_rig_find(3)->uuid, "");
}

static void logical_partitions(void **state)
{
    add_logical();
    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_READY);
    assert_null(partition_rig_find(4)); /* the extended one is none */
    expect_partition(5, EXTENDED + 2, 50);
    expect_partition(6, EXTENDED + 102, 50);
    expect_partition(7, EXTENDED + 202, 50);
    assert_null(partition_rig_find(8));
    assert_string_equal(partition_rig_find(7)->uuid, "1234abcd-07");
}

static void no_table(void **state)
{
    memset(partition_rig_block(0), 0, 512);
    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_NONE);
    partition_rig_mbr(0);
    partition_rig_block(0)[446 + 16] = 'F'; /* a file system's first block */
    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_NONE);
    for (uint64_t blocks = 0; blocks < 2; blocks++) {
        dgm_partition_begin(&partition_rig.table, (struct dgm_partition_disk){blocks, 512});
        assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_NONE);
        assert_false(
            dgm_partition_wants(&partition_rig.table, &(struct dgm_partition_extent){0, 0}));
    }
}

static void wrong_places(void **state)
{
    static const struct {
        uint32_t first, blocks;
        const char *what;
    } wrong[] = {{0, 64, "outside"},
                 {RIG_BLOCKS, 1, "outside"},
                 {RIG_BLOCKS - 1, 2, "outside"},
                 {2000, UINT32_MAX, "outside"},
                 {UINT32_MAX, UINT32_MAX, "outside"},
                 {163, 1, "overlap"},
                 {1163, 1, "overlap"},
                 {1, RIG_BLOCKS - 1, "overlap"}};

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        partition_rig_mbr_add(0, 3, 0x83, wrong[i].first, wrong[i].blocks);
        expect_refused(wrong[i].what);
        partition_rig_mbr_add(0, 3, 0x0f, wrong[i].first, wrong[i].blocks);
        expect_refused(wrong[i].what);
    }
    partition_rig_mbr_add(0, 3, 0x83, RIG_BLOCKS - 1, 1);
    partition_rig_run();
    expect_partition(4, RIG_BLOCKS - 1, 1);
}

static void wrong_chains(void **state)
{
    add_logical();
    partition_rig_mbr_add(EXTENDED + 200, 1, 0x05, 100, 100); /* back to the second */
    expect_refused("overlap");
    partition_rig_mbr_add(EXTENDED + 200, 1, 0x05, 0, 100); /* to the first */
    expect_refused("overlap");
    partition_rig_mbr_add(EXTENDED + 200, 1, 0x05, 1000, 100);
    expect_refused("leaves the extended");
    partition_rig_mbr_add(EXTENDED + 200, 1, 0x05, UINT32_MAX, 100);
    expect_refused("leaves the extended");
    partition_rig_mbr_add(EXTENDED + 200, 1, 0x05, 300, 100);
    expect_refused("no partition table");
    partition_rig_mbr_add(EXTENDED + 200, 1, 0, 0, 0);
    partition_rig.unreadable[0] = EXTENDED + 100;
    expect_refused("cannot be read");
    partition_rig.unreadable[0] = 0;
    partition_rig_mbr_add(EXTENDED, 0, 0x83, 2, 99); /* over the chain's second block */
    expect_refused("overlap");
    partition_rig_mbr_add(EXTENDED, 0, 0x83, 0, 50); /* over its own */
    expect_refused("overlap");
    partition_rig_mbr_add(EXTENDED, 0, 0x83, 2, 999);
    expect_refused("outside");
    partition_rig_mbr_add(EXTENDED, 0, 0x83, UINT32_MAX, UINT32_MAX);
    expect_refused("outside");
    partition_rig_mbr_add(EXTENDED, 0, 0x83, 2, 50);
    partition_rig_mbr_add(0, 1, 0x0f, 3100, 100);
    expect_refused("two extended");
}

/* As long as the chain may be, and one block longer. */
static void long_chains(void **state)
{
    partition_rig_mbr_add(0, 3, 0x05, EXTENDED, 1000);
    for (unsigned i = 0; i < 64; i++) {
        partition_rig_mbr(EXTENDED + 2 * i);
        partition_rig_mbr_add(EXTENDED + 2 * i, 0, 0x83, 1, 1);
        partition_rig_mbr_add(EXTENDED + 2 * i, 1, 0x05, 2 * (i + 1), 2);
    }
    expect_refused("more than 128");
    partition_rig_mbr_add(EXTENDED + 2 * 62, 1, 0, 0, 0);
    partition_rig_run();
    assert_int_equal(partition_rig.table.state, DGM_PARTITIONS_READY);
    expect_partition(67, EXTENDED + 125, 1);
}

/* --- targets --- */

static void split_targets(void **state)
{
    static const struct {
        const char *target, *rest;
    } targets[] = {
        {"nvme0", ""},
        {"nvme0p2", "p2"},
        {"nvme0n1p12", "p12"},
        {"mmc1p1", "p1"},
        {"pci:00:02.0p3", "p3"},
        {"pci:00:02.0n1p3", "p3"},
        {"nvme0p0", ""},
        {"nvme0p02", ""},
        {"nvmep2", ""},
        {"p2", ""},
        {"0p2", "p2"},
        {"serial:A0p2", ""},
        {"serial:A0p2:part=3", ":part=3"},
        {"sd:/soc/mmc@0p2", ""},
        {"sd:/soc/mmc@0p2:label=a:uuid=b", ":label=a:uuid=b"},
        {"eui:0011223344556677p2", "p2"},
        {"partuuid:1234abcd-01", "partuuid:1234abcd-01"},
        {"sd0:range=1M+2M", ":range=1M+2M"},
        {":part=1", ":part=1"},
    };

    for (unsigned i = 0; i < sizeof targets / sizeof targets[0]; i++)
        assert_string_equal(targets[i].target + dgm_partition_split(targets[i].target),
                            targets[i].rest);
}

static void wrong_selectors(void **state)
{
    static const char *const wrong[] = {"p",
                                        "p0",
                                        "p1025",
                                        "p99999999999999999999",
                                        "p1x",
                                        ":part=",
                                        ":part=0",
                                        ":part=-1",
                                        ":label=",
                                        ":uuid=",
                                        ":uuid=1234abcd",
                                        ":uuid=1234abcd-0",
                                        ":uuid=1234abcd-012",
                                        ":uuid=1234abcg-01",
                                        ":uuid=a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae0",
                                        ":uuid=a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae022",
                                        ":uuid=a3a2a1a0a5a4-a7a6-a8a9-aaabacadae0200",
                                        "partuuid:",
                                        ":range=",
                                        ":range=1M",
                                        ":range=1M+",
                                        ":range=1M+0",
                                        ":range=+1M",
                                        ":range=1M+1T",
                                        ":range=1M+1Mx",
                                        ":range=1MM+1M",
                                        ":range=9223372036854775807+1",
                                        ":range=9223372036854775808+1",
                                        ":range=8589934592G+1",
                                        ":range=1+18446744073709551615",
                                        "other"};
    char label[120] = ":label=";
    struct dgm_partition_selector selector;

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (dgm_partition_select(wrong[i], &selector))
            fail_msg("'%s' is accepted", wrong[i]);
    memset(label + 7, 'a', 109);
    assert_false(dgm_partition_select(label, &selector));
    label[7 + 108] = '\0';
    assert_true(dgm_partition_select(label, &selector));
}

static bool selects(const char *rest, const struct dgm_partition *partition)
{
    struct dgm_partition_selector selector;

    assert_true(dgm_partition_select(rest, &selector));
    return dgm_partition_is_selected(&selector, partition);
}

static void selectors(void **state)
{
    static const struct dgm_partition root = {.number = 2,
                                              .uuid = "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae02",
                                              .label = "root"},
                                      plain = {.number = 12, .uuid = "1234abcd-0c"},
                                      of_table = {.number = 0};
    struct dgm_partition_selector selector;

    assert_true(selects("p2", &root) && selects(":part=2", &root) && !selects("p12", &root));
    assert_true(selects("p12", &plain) && !selects("p1", &plain) && !selects("p2", &plain));
    assert_true(selects(":label=root", &root) && !selects(":label=Root", &root) &&
                !selects(":label=roo", &root) && !selects(":label=root2", &root));
    assert_true(selects(":uuid=A3A2A1A0-a5a4-a7a6-a8a9-aaabacadae02", &root));
    assert_true(selects("partuuid:a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae02", &root));
    assert_false(selects("partuuid:a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae03", &root));
    assert_true(selects("partuuid:1234ABCD-0c", &plain) &&
                !selects("partuuid:1234abcd-02", &plain));
    assert_false(selects("", &root) || selects(":range=0+512", &root) || selects("p1", &of_table));
    assert_true(dgm_partition_select(":range=1M+3G", &selector));
    assert_int_equal(selector.first_byte, 1 << 20);
    assert_int_equal(selector.bytes, 3ull << 30);
    assert_true(dgm_partition_select(":range=0+9223372036854775807", &selector));
}

static struct dgm_partition_extent random_extent(void)
{
    struct dgm_partition_extent extent = {.first = unit_below(20)};

    extent.blocks = 1 + unit_below(10);
    return extent;
}

static void overlaps(void **state)
{
    for (unsigned i = 0; i < 10000; i++) {
        const struct dgm_partition_extent a = random_extent(), b = random_extent();
        bool common = false;

        for (uint64_t at = a.first; at < a.first + a.blocks; at++)
            common |= at >= b.first && at < b.first + b.blocks;
        assert_int_equal(dgm_partition_overlaps(a, b), common);
    }
    assert_true(dgm_partition_overlaps((struct dgm_partition_extent){0, UINT64_MAX},
                                       (struct dgm_partition_extent){UINT64_MAX - 1, 1}));
    assert_false(dgm_partition_overlaps((struct dgm_partition_extent){UINT64_MAX, 1},
                                        (struct dgm_partition_extent){0, 10}));
}

int main(void)
{
#define MBR_TEST(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        MBR_TEST(primary_partitions),
        MBR_TEST(logical_partitions),
        MBR_TEST(no_table),
        MBR_TEST(wrong_places),
        MBR_TEST(wrong_chains),
        MBR_TEST(long_chains),
        cmocka_unit_test(split_targets),
        cmocka_unit_test(wrong_selectors),
        cmocka_unit_test(selectors),
        cmocka_unit_test(overlaps),
    };

    return cmocka_run_group_tests_name("mbr", tests, NULL, NULL);
}
