/* SPDX-License-Identifier: MIT */
/*
 * sharing of parts of disks: if these fail, two guests write to the same bytes by two names, or a
 * guest gets a part that its target does not mean.
 *
 * kernel/sharing.c, kernel/partitions.c and kernel/disks.c as they ship. The rig checks that no
 * bytes have a writer beside another user.
 */
#include "sharing_rig.h"

#include <dragoman/base/status.h>

#define UUID(n) "a3a2a1a0-a5a4-a7a6-a8a9-aaabacadae0" #n

/* Partition 1: 100..199, 2: 200..599, 7: 600..600. */
static struct dgm_partition_table three, other;

static void add(struct dgm_partition_table *table, uint16_t number, uint64_t first, uint64_t blocks,
                const char *label)
{
    struct dgm_partition *partition = &table->partitions[table->count++];

    *partition = (struct dgm_partition){.extent = {first, blocks}, .number = number};
    snprintf(partition->label, sizeof partition->label, "%s", label);
    snprintf(partition->uuid, sizeof partition->uuid, UUID(0));
    partition->uuid[35] = (char)('0' + number);
}

static void start_disks_with_tables(void)
{
    static const struct model models[CONTROLLERS] = {
        {&sharing_nvme, "pci:00:01.0", "", "A1", "", 1, WELL},
        {&sharing_nvme, "pci:00:02.0", "", "B2", "", 1, WELL},
        {&sharing_nvme, "pci:00:03.0", "", "C3", "", 1, WELL},
        {&sharing_sd, "sd:/axi/mmc@ff170000", "mmc0", "D4", "", 0, WELL},
    };

    sharing_start();
    sharing.config.disk_count = sharing.config.kind_count = 0;
    memcpy(sharing.models, models, sizeof models);
    memset(&three, 0, sizeof three);
    three.state = DGM_PARTITIONS_READY;
    add(&three, 1, 100, 100, "boot");
    add(&three, 2, 200, 400, "root");
    add(&three, 7, 600, 1, "root");
    memset(&other, 0, sizeof other);
    other.state = DGM_PARTITIONS_NONE;
    for (unsigned i = 0; i < CONTROLLERS; i++)
        sharing.tables[i] = i == 3 ? &three : &other;
}

static void expect_part(unsigned index, uint64_t first, uint64_t blocks)
{
    assert_ptr_equal(sharing.given[index], &sharing.models[3]);
    assert_int_equal(sharing.extents[index].first, first);
    assert_int_equal(sharing.extents[index].blocks, blocks);
}

static void every_name_of_a_partition_means_it(void **state)
{
    static const char *const names[] = {"sd0p2",
                                        "mmc0p2",
                                        "sd:/axi/mmc@ff170000:part=2",
                                        "serial:D4:part=2",
                                        "sd0:uuid=" UUID(2),
                                        "partuuid:" UUID(2),
                                        "mmc0:range=102400+200K"};

    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        for (unsigned j = 0; j < sizeof names / sizeof names[0]; j++) {
            start_disks_with_tables();
            sharing_want(0, 1, names[i], true);
            sharing_want(1, 2, names[j], false);
            sharing_want(2, 2, "sd0:label=boot", true);
            sharing_want(3, 1, "sd0p7", true);
            sharing_run();
            expect_part(0, 200, 400);
            assert_null(sharing.given[1]);
            expect_part(2, 100, 100);
            expect_part(3, 600, 1);
        }
}

/* What a target means by text, but not on this disk. */
static void what_there_is_not(void **state)
{
    static const struct {
        const char *target, *line;
    } wrong[] = {{"sd0p3", "sd0 has no such partition"},
                 {"sd0:label=Boot", "has no such partition"},
                 {"sd0:label=root", "has several such partitions"},
                 {"nvme0p1", "nvme0 has no such partition"},
                 {"sd0:uuid=" UUID(3), "has no such partition"},
                 {"partuuid:" UUID(3), "there is no partuuid:" UUID(3) " here"},
                 {"sd0:range=0+1", "no such range of whole blocks"},
                 {"sd0:range=256+512", "no such range of whole blocks"},
                 {"sd0:range=0+512512", "no such range of whole blocks"},
                 {"sd0:range=512000+512", "no such range of whole blocks"},
                 {"sd0:range=512+9223372036854774784", "no such range of whole blocks"}};

    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        start_disks_with_tables();
        sharing_want(0, 1, wrong[i].target, true);
        sharing_run();
        assert_null(sharing.given[0]);
        if (!strstr(dgm_sim_last_log(), wrong[i].line))
            fail_msg("%s: '%s'", wrong[i].target, dgm_sim_last_log());
    }
    sharing_want(0, 1, "sd0:range=511488+512", true);
    sharing_run();
    expect_part(0, 999, 1);
}

static void a_partition_on_two_disks_is_refused(void **state)
{
    start_disks_with_tables();
    sharing.tables[1] = &three;
    sharing_want(0, 1, "partuuid:" UUID(2), true);
    sharing_want(1, 1, "sd0p1", true);
    sharing_run();
    assert_null(sharing.given[0]);
    expect_part(1, 100, 100);
}

/* A whole disk and its partition, ranges that overlap by a block. */
static void overlaps_are_refused(void **state)
{
    static const struct {
        const char *one, *two;
        bool overlap;
    } pairs[] = {{"sd0", "sd0p1", true},
                 {"sd0p1", "sd0", true},
                 {"sd0", "partuuid:" UUID(7), true},
                 {"partuuid:" UUID(7), "serial:D4", true},
                 {"sd0p9", "sd0", true}, /* a partition that the second guest could make */
                 {"sd0:label=none", "mmc0", true},
                 {"nvme0", "partuuid:" UUID(7), false},
                 {"partuuid:" UUID(7), "nvme0", false},
                 {"sd0p1", "sd0p2", false},
                 {"sd0:range=0+51200", "sd0p1", false},
                 {"sd0:range=0+51201", "sd0p1", true},
                 {"sd0:range=0+51712", "sd0p1", true},
                 {"sd0p1", "sd0:range=102400+512", false},
                 {"sd0p1", "sd0:range=101888+512", true},
                 {"sd0:range=0+512", "sd0:range=512+512", false},
                 {"sd0:range=0+1024", "mmc0:range=512+512", true},
                 {"sd0", "sd0:range=511488+512", true},
                 {"sd0:range=511488+512", "sd0", true}};

    for (unsigned i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        for (unsigned writers = 0; writers < 4; writers++) {
            start_disks_with_tables();
            sharing_want(0, 1, pairs[i].one, writers & 1);
            sharing_want(1, 2, pairs[i].two, writers & 2);
            sharing_run();
            if ((sharing.given[1] == NULL) != (pairs[i].overlap && writers))
                fail_msg("%s and %s, writers %u", pairs[i].one, pairs[i].two, writers);
        }
}

/* A damaged table gives no guest what it does not get with a good one. */
static void a_refused_table_excludes_what_it_may_have(void **state)
{
    start_disks_with_tables();
    sharing.tables[3] = &other;
    other.state = DGM_PARTITIONS_REFUSED;
    sharing.tables[0] = sharing.tables[1] = sharing.tables[2] = NULL;
    sharing_want(0, 1, "partuuid:" UUID(2), true);
    sharing_want(1, 2, "sd0:range=0+512", true);
    sharing_want(2, 2, "sd0", true);
    sharing_want(3, 3, "sd0p1", true);
    sharing_run();
    for (unsigned i = 0; i < 4; i++)
        assert_null(sharing.given[i]);
}

/* A target that names no disk waits until every table is read. */
static void a_uuid_waits_for_every_disk(void **state)
{
    start_disks_with_tables();
    sharing.models[0].fate = LATE;
    sharing.models[3].fate = LATE;
    sharing.tables[0] = &three;
    sharing_want(0, 1, "partuuid:" UUID(1), true);
    sharing_want(1, 1, "sd0:range=0+512", true);
    sharing_run();
    assert_null(sharing.given[0]); /* on two disks */
    expect_part(1, 0, 1);
    sharing.tables[0] = &other;
    sharing_run();
    expect_part(0, 100, 100);
}

/* Random entries, fates and tables: the rig's check is the oracle. */
static void everything_at_random(void **state)
{
    static const char *const targets[] = {"sd0",
                                          "sd0p1",
                                          "sd0p2",
                                          "mmc0:label=boot",
                                          "partuuid:" UUID(1),
                                          "partuuid:" UUID(7),
                                          "serial:D4",
                                          "sd0:range=0+60000",
                                          "sd0:range=100K+1K",
                                          "serial:D4:part=7",
                                          "nvme0",
                                          "nvme1p1",
                                          "nvme0:range=0+512",
                                          "nvme2p2",
                                          "nvme1:uuid=" UUID(1),
                                          "serial:B2"};
    unsigned given = 0;

    for (unsigned i = 0; i < 3000; i++) {
        start_disks_with_tables();
        for (unsigned c = 0; c < CONTROLLERS; c++) {
            sharing.models[c].fate = unit_chance(70) ? WELL : (enum fate)unit_below(FATES);
            if (unit_chance(30))
                sharing.tables[c] = &three;
        }
        unit_random_state = i * 77 + 1;
        for (unsigned w = 0; w < WANTED; w++) {
            const uint16_t domid = (uint16_t)(1 + unit_below(GUESTS));
            const char *target = targets[unit_below(sizeof targets / sizeof targets[0])];

            sharing_want(w, domid, target, unit_chance(70));
        }
        sharing_run();
        for (unsigned w = 0; w < WANTED; w++)
            given += sharing.given[w] != NULL;
    }
    assert_true(given > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_of_a_partition_means_it),
        cmocka_unit_test(what_there_is_not),
        cmocka_unit_test(a_partition_on_two_disks_is_refused),
        cmocka_unit_test(overlaps_are_refused),
        cmocka_unit_test(a_refused_table_excludes_what_it_may_have),
        cmocka_unit_test(a_uuid_waits_for_every_disk),
        cmocka_unit_test(everything_at_random),
    };

    return cmocka_run_group_tests_name("sharing_parts", tests, NULL, NULL);
}
