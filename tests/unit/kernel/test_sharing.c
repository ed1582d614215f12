/* SPDX-License-Identifier: MIT */
/*
 * disks and sharing: if these fail, a guest gets another guest's disk and writes to it, because
 * some controller failed, was late, or has the name of another one.
 *
 * kernel/sharing.c and kernel/disks.c as they ship, with drivers that fail in every way. The
 * reference is their result in a machine where all controllers work from the start: after any
 * failure no guest may get a disk that it does not get there.
 */
#include "sharing_rig.h"

#include <strings.h>

/* A machine: sometimes two controllers have the same serial number, or the same EUI. */
static void draw_models(void)
{
    static const char *const places[] = {"pci:00:01.0", "sd:/axi/mmc@ff170000", "pci:00:02.0/00.0",
                                         "pci:0001:00:02.0"};
    static const char *const serials[] = {"A1", "B2", "C3", "D4"};
    static const char *const euis[] = {"0011223344556677", "", "aabbccddeeff0011aabbccddeeff0011",
                                       "00000000000000aa"};
    const bool twins = unit_chance(30);

    for (unsigned i = 0; i < CONTROLLERS; i++)
        sharing.models[i] = (struct model){
            .driver = i == 1 ? &sharing_sd : &sharing_nvme,
            .place = places[i],
            .alias = i == 1 ? "mmc0" : "",
            .serial = serials[twins && i == 2 ? 0 : i],
            .eui = euis[twins && i == 3 ? 0 : i],
            .nsid = i == 1 ? 0 : (uint32_t)(1 + unit_below(2)),
        };
}

static void draw_config(void)
{
    static const char *const targets[] = {"nvme0",
                                          "nvme1",
                                          "nvme2",
                                          "sd0",
                                          "nvme00",
                                          "nvme0n1",
                                          "nvme1n2",
                                          "serial:A1",
                                          "serial:B2",
                                          "serial:C3",
                                          "serial:D4",
                                          "serial:",
                                          "pci:00:01.0",
                                          "sd:/axi/mmc@ff170000",
                                          "sd:/axi/mmc@ff17000",
                                          "mmc0",
                                          "mmc1",
                                          "pci:00:02.0/00.0",
                                          "pci:0001:00:02.0",
                                          "pci:00:01.0n1",
                                          "eui:0011223344556677",
                                          "eui:AABBCCDDEEFF0011AABBCCDDEEFF0011",
                                          "eui:00000000000000AA"};

    sharing.config.disk_count = WANTED;
    for (unsigned i = 0; i < WANTED; i++) {
        struct config_disk *wanted = &sharing.config.disks[i];

        memset(wanted, 0, sizeof *wanted);
        snprintf(wanted->vdev, sizeof wanted->vdev, "xvd%c", 'a' + i);
        snprintf(wanted->target, sizeof wanted->target, "%s",
                 targets[unit_below(sizeof targets / sizeof targets[0])]);
        wanted->domid = (uint16_t)(1 + unit_below(GUESTS));
        wanted->writable = unit_chance(70);
    }
}

/* Whether two controllers match `target` and one of them was never identified, so that no code can
 * detect it. */
static bool has_unknown_twin(const char *target)
{
    unsigned bearers = 0, unknown = 0;

    for (unsigned i = 0; i < CONTROLLERS; i++) {
        const struct model *model = &sharing.models[i];
        const bool bears = (!strncmp(target, "serial:", 7) && !strcmp(target + 7, model->serial)) ||
                           (!strncmp(target, "eui:", 4) && !strcasecmp(target + 4, model->eui));

        bearers += bears;
        unknown += bears && (model->fate == REFUSED || model->fate == UNUSABLE ||
                             model->fate == LATE_FAILURE || model->fate == ABSENT);
    }
    return bearers > 1 && unknown > 0;
}

static bool any_absent(void)
{
    for (unsigned i = 0; i < CONTROLLERS; i++)
        if (sharing.models[i].fate == ABSENT)
            return true;
    return false;
}

static bool is_usable(const struct model *model)
{
    return model->fate == WELL || model->fate == LATE;
}

static unsigned count_of(const struct dgm_disk_driver *driver, bool present)
{
    unsigned count = 0;

    for (unsigned i = 0; i < CONTROLLERS; i++)
        count +=
            sharing.models[i].driver == driver && (!present || sharing.models[i].fate != ABSENT);
    return count;
}

static const struct dgm_disk_driver *driver_of_position(const char *target)
{
    return !strncmp(target, "nvme", 4) ? &sharing_nvme
           : !strncmp(target, "sd", 2) ? &sharing_sd
                                       : NULL;
}

/* Whether controllers of the driver are absent, and the configuration neither states their number
 * nor names a position beyond the present ones, so that no code can detect it. */
static bool is_silently_short(const struct dgm_disk_driver *driver)
{
    const unsigned present = count_of(driver, true);

    if (sharing.config.kind_count || present == count_of(driver, false))
        return false;
    for (unsigned i = 0; i < WANTED; i++) {
        const char *target = sharing.config.disks[i].target;

        if (driver_of_position(target) == driver &&
            (unsigned)atoi(target + strlen(driver->name)) >= present)
            return present == 0; /* then no disk of that kind is found */
    }
    return true;
}

static void check_run(void)
{
    for (unsigned i = 0; i < WANTED; i++) {
        const struct config_disk *wanted = &sharing.config.disks[i];
        const bool short_now = is_silently_short(&sharing_nvme) || is_silently_short(&sharing_sd);

        if (sharing.given[i] && sharing.given[i] != sharing.reference[i] && !short_now &&
            !has_unknown_twin(wanted->target))
            fail_msg("guest %u's %s (%s) is %s, which it does not get when all is well",
                     wanted->domid, wanted->vdev, wanted->target, sharing.given[i]->place);
        /* Nor may a disk without a fault be refused. */
        if (sharing.reference[i] && is_usable(sharing.reference[i]) && !sharing.given[i] &&
            !any_absent())
            fail_msg("guest %u goes without %s (%s)", wanted->domid, wanted->vdev, wanted->target);
        for (unsigned j = 0; j < i; j++)
            if (sharing.given[i] && sharing.given[i] == sharing.given[j])
                assert_false(wanted->writable || sharing.config.disks[j].writable);
    }
}

/* Fails: because of a fault or a delay a guest gets another guest's disk, or does not get its
 * own. */
static void every_fate_of_every_controller(void **state)
{
    unsigned combinations = 1;

    sharing_start();
    for (unsigned i = 0; i < CONTROLLERS; i++)
        combinations *= FATES;
    for (unsigned round = 0; round < 24; round++) {
        draw_models();
        draw_config();
        sharing.config.kind_count = 0;
        if (round % 2) {
            sharing_expect("nvme", 3);
            sharing_expect("sd", 1);
        }
        sharing_run();
        memcpy(sharing.reference, sharing.given, sizeof sharing.reference);
        for (unsigned combination = 0; combination < combinations; combination++) {
            unsigned rest = combination;

            for (unsigned i = 0; i < CONTROLLERS; i++, rest /= FATES)
                sharing.models[i].fate = (enum fate)(rest % FATES);
            sharing_run();
            check_run();
        }
    }
}

/* --- one case after another --- */

static void three_disks(void)
{
    static const struct model models[CONTROLLERS] = {
        {&sharing_nvme, "pci:00:01.0", "", "A1", "", 1, WELL},
        {&sharing_nvme, "pci:00:02.0", "", "B2", "", 1, WELL},
        {&sharing_nvme, "pci:00:03.0", "", "B2", "", 1, WELL},
        {&sharing_sd, "sd:/axi/mmc@ff170000", "mmc0", "D4", "", 0, WELL},
    };

    sharing_start();
    sharing.config.disk_count = sharing.config.kind_count = 0;
    memcpy(sharing.models, models, sizeof models);
}

/* The first disk has blocks of 8 KiB. Fails: the next disk gets its number, and guest 1 gets guest
 * 2's disk. */
static void unusable_disk_keeps_its_number(void **state)
{
    three_disks();
    sharing.models[0].fate = BAD_NAMESPACE;
    sharing_want(0, 1, "nvme0", true);
    sharing_want(1, 2, "nvme1", true);
    sharing_run();
    assert_null(sharing.given[0]);
    assert_ptr_equal(sharing.given[1], &sharing.models[1]);
}

/* Fails: of two disks with one serial number the first one is taken, or the line names one. */
static void ambiguous_serial_is_refused_with_both_places(void **state)
{
    three_disks();
    sharing_want(0, 1, "serial:B2", true);
    sharing_run();
    assert_null(sharing.given[0]);
    assert_non_null(strstr(dgm_sim_last_log(), "pci:00:02.0"));
    assert_non_null(strstr(dgm_sim_last_log(), "pci:00:03.0"));
}

/* The first controller has left the bus. Fails: guest 1 gets guest 2's disk, because it is now the
 * first one; or a guest that named its disk by a stable name does not get it. */
static void a_missing_controller_shifts_no_name(void **state)
{
    for (unsigned expected = 0; expected < 2; expected++) {
        three_disks();
        sharing.models[2].serial = "C3";
        sharing.models[0].fate = ABSENT;
        sharing_want(0, 1, "nvme0", true);
        sharing_want(1, 2, expected ? "nvme1" : "nvme2",
                     true); /* without the count, a missing position */
        sharing_want(2, 3, "pci:00:03.0", true);
        sharing_want(3, 3, "sd0", true);
        if (expected)
            sharing_expect("nvme", 3);
        sharing_run();
        assert_null(sharing.given[0]);
        assert_null(sharing.given[1]);
        assert_null(sharing.given[2]); /* "nvme1", or "nvme2", is this disk in the full set */
        assert_ptr_equal(sharing.given[3], &sharing.models[3]);
        sharing_want(0, 1, "serial:A1", true);
        sharing_want(1, 2, "serial:B2", true);
        sharing_want(2, 3, "pci:00:03.0", true);
        sharing_run();
        assert_null(sharing.given[0]);
        assert_ptr_equal(sharing.given[1], &sharing.models[1]);
        assert_ptr_equal(sharing.given[2], &sharing.models[2]);
        sharing.config.kind_count = 0;
    }
}

/* Fails: a controller that was added before a guest's one gives the guest another disk. */
static void an_added_controller_shifts_no_name(void **state)
{
    three_disks();
    sharing_want(0, 1, "nvme1", true);
    sharing_want(1, 2, "serial:A1", true);
    sharing_expect("nvme", 2);
    sharing_run();
    assert_null(sharing.given[0]);
    assert_ptr_equal(sharing.given[1], &sharing.models[0]);
    sharing.config.kind_count = 0;
}

/* Fails: the namespace of a name is ignored, or a namespace that is not served means another
 * disk. */
static void namespace_is_part_of_the_name(void **state)
{
    three_disks();
    sharing.models[0].nsid = 2;
    sharing_want(0, 1, "nvme0n1", true);
    sharing_want(1, 1, "nvme1n1", true);
    sharing_want(2, 1, "pci:00:01.0n2", true);
    sharing_run();
    assert_null(sharing.given[0]);
    assert_ptr_equal(sharing.given[1], &sharing.models[1]);
    assert_ptr_equal(sharing.given[2], &sharing.models[0]);
}

/* Fails: two guests write to one disk, or one reads what another one writes; two readers may. */
static void writer_is_alone(void **state)
{
    for (unsigned writers = 0; writers < 4; writers++) {
        three_disks();
        sharing_want(0, 1, "nvme0", writers & 1);
        sharing_want(1, 2, "serial:A1", writers & 2);
        sharing_run();
        assert_ptr_equal(sharing.given[0], &sharing.models[0]);
        if (writers)
            assert_null(sharing.given[1]);
        else
            assert_ptr_equal(sharing.given[1], &sharing.models[0]);
    }
}

/* Two controllers of one namespace. Fails: two guests write to one disk by its two names, whichever
 * controller is ready first; or two readers are refused. */
static void a_disk_with_two_ports(void **state)
{
    for (unsigned row = 0; row < 8; row++) {
        const bool first = row & 1, second = row & 2;

        three_disks();
        sharing.models[0].eui = "0123456789abcdef";
        sharing.models[1].eui = "0123456789ABCDEF";
        sharing.models[2].eui = "0123456789abcdee";
        sharing.models[0].fate = row & 4 ? LATE : WELL;
        sharing_want(0, 1, "nvme0", first);
        sharing_want(1, 2, "pci:00:02.0", second);
        sharing_want(2, 3, "nvme2", true);
        sharing_run();
        assert_int_equal(!!sharing.given[0] + !!sharing.given[1], first || second ? 1 : 2);
        assert_ptr_equal(sharing.given[2], &sharing.models[2]);
    }
}

/* Fails: a name of a card does not mean it, or two guests write to it by two of its names. */
static void every_name_of_a_card_means_it(void **state)
{
    static const char *const names[] = {"sd0", "sd:/axi/mmc@ff170000", "mmc0", "serial:D4"};
    static const char *const others[] = {"mmc", "mmc1", "sd:/axi/mmc@ff17000", "sd:/mmc@ff170000"};

    for (unsigned i = 0; i < 4; i++) {
        three_disks();
        sharing_want(0, 1, names[i], true);
        sharing_want(1, 2, names[(i + 1) % 4], true);
        sharing_want(2, 1, others[i], true);
        sharing_run();
        assert_ptr_equal(sharing.given[0], &sharing.models[3]);
        assert_null(sharing.given[1]);
        assert_null(sharing.given[2]);
    }
}

/* Fails: the entry that is decided first gets the disk, instead of the first entry. */
static void waiting_entry_keeps_its_disk(void **state)
{
    three_disks();
    sharing.models[1].fate = LATE; /* so "serial:A1" waits, and "nvme0" does not */
    sharing_want(0, 1, "serial:A1", true);
    sharing_want(1, 2, "nvme0", true);
    sharing_run();
    assert_ptr_equal(sharing.given[0], &sharing.models[0]);
    assert_null(sharing.given[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fate_of_every_controller),
        cmocka_unit_test(unusable_disk_keeps_its_number),
        cmocka_unit_test(a_missing_controller_shifts_no_name),
        cmocka_unit_test(an_added_controller_shifts_no_name),
        cmocka_unit_test(ambiguous_serial_is_refused_with_both_places),
        cmocka_unit_test(namespace_is_part_of_the_name),
        cmocka_unit_test(writer_is_alone),
        cmocka_unit_test(a_disk_with_two_ports),
        cmocka_unit_test(every_name_of_a_card_means_it),
        cmocka_unit_test(waiting_entry_keeps_its_disk),
    };

    return cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
}
