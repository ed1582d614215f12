/* SPDX-License-Identifier: MIT */
/*
 * disks and sharing: if these fail, a guest gets another guest's disk and writes to it, because
 * some controller failed, came late, or bears the name of another one.
 *
 * kernel/sharing.c and kernel/disks.c as they ship, with drivers that fail in every way. What they
 * do in a machine where all controllers are well from the start is the reference: whatever fails,
 * no guest may get a disk that it does not get there.
 */
#include "unit.h"

#include <strings.h>

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <kernel/guests.h>

/* What sharing.c calls of blkback. */
static int share_with(struct dgm_blkback *back, const struct dgm_blkback_options *options,
                      domid_t domid);
#define dgm_blkback_create(back, env, account, options) share_with(back, options, (account)->domid)
#include <kernel/sharing.c>

#define RAM         0x40000ull
#define CONTROLLERS 4u
#define WANTED      5u
#define GUESTS      3u

enum fate {
    WELL,               /* ready when it was started */
    LATE,               /* ready later */
    REFUSED,            /* its start fails, before it is identified */
    UNUSABLE,           /* the bus has no room for it */
    BAD_NAMESPACE,      /* identified, then its start fails */
    LATE_FAILURE,       /* fails later, before it is identified */
    LATE_BAD_NAMESPACE, /* identified later, and fails */
    ABSENT,             /* it has left the bus: the scan does not find it */
    FATES,
};

/* A controller as it is sold, and its fate in this run. */
struct model {
    const struct dgm_disk_driver *driver;
    const char *place, *alias, *serial, *eui;
    uint32_t nsid;
    enum fate fate;
};

struct state {
    struct dgm_blkdev blkdev;
    const struct model *model;
};

static struct {
    struct model models[CONTROLLERS];
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env envs[CONTROLLERS];
    struct disks disks;
    struct guests guests;
    struct config config;
    struct dgm_reach reach;
    struct dgm_blkback_env env;
    struct state *states[CONTROLLERS];
    const struct model *given[WANTED], *reference[WANTED]; /* NULL: none */
} rig;

/* --- drivers --- */

static void identify(struct state *state)
{
    snprintf(state->blkdev.serial, sizeof state->blkdev.serial, "%s", state->model->serial);
    snprintf(state->blkdev.nguid, sizeof state->blkdev.nguid, "%s", state->model->eui);
    state->blkdev.nsid = state->model->nsid;
}

static void make_ready(struct state *state)
{
    identify(state);
    state->blkdev.blocks = 1000;
    state->blkdev.block_bytes = 512;
    state->blkdev.ready = true;
}

static int start_disk_of(void *memory, struct dgm_device_env *env)
{
    struct state *state = memory;
    const size_t index = (size_t)(env - rig.envs);

    state->model = &rig.models[index];
    rig.states[index] = state;
    switch (state->model->fate) {
    case WELL:
        make_ready(state);
        return DGM_OK;
    case REFUSED:
        return DGM_ENODEV;
    case BAD_NAMESPACE:
        identify(state);
        return DGM_EOPNOTSUPP;
    default:
        return DGM_OK;
    }
}

static const struct dgm_disk_driver nvme = {.name = "nvme",
                                            .pci_class_mask = 1,
                                            .state_bytes = sizeof(struct state),
                                            .start = start_disk_of};
static const char *const sd_nodes[] = {"arasan,sdhci-8.9a", NULL};
static const struct dgm_disk_driver sd = {.name = "sd",
                                          .compatible = sd_nodes,
                                          .state_bytes = sizeof(struct state),
                                          .start = start_disk_of};

static void carry_on(size_t index)
{
    struct state *state = rig.states[index];

    if (rig.models[index].fate == LATE) {
        make_ready(state);
    } else if (rig.models[index].fate == LATE_FAILURE) {
        state->blkdev.failed = true;
    } else if (rig.models[index].fate == LATE_BAD_NAMESPACE) {
        identify(state);
        state->blkdev.failed = true;
    } else {
        return;
    }
    disks_log_changes(&rig.disks);
    guests_share_disks(&rig.guests);
}

/* --- blkback --- */

static int share_with(struct dgm_blkback *back, const struct dgm_blkback_options *options,
                      domid_t domid)
{
    for (size_t i = 0; i < rig.config.disk_count; i++) {
        const struct config_disk *wanted = &rig.config.disks[i];

        if (wanted->domid != domid || strcmp(wanted->vdev, options->vdev) != 0)
            continue;
        assert_true(options->disk->ready && !options->disk->failed);
        assert_int_equal(options->writable, wanted->writable);
        assert_null(rig.given[i]);
        rig.given[i] = dgm_container(options->disk, struct state, blkdev)->model;
        return DGM_OK;
    }
    fail_msg("a disk that is not in the configuration is shared");
    return DGM_EINVAL;
}

/* --- a machine --- */

static void run_machine(void)
{
    unsigned order[CONTROLLERS];

    memset(&rig.disks, 0, sizeof rig.disks);
    memset(&rig.guests, 0, sizeof rig.guests);
    memset(rig.given, 0, sizeof rig.given);
    dgm_frames_init(&rig.frames);
    assert_int_equal(dgm_frames_add(&rig.frames, (struct dgm_gfn_range){dgm_gfn(RAM), 64}), 0);
    rig.env.reach = &rig.reach;
    rig.guests.config = &rig.config;
    rig.guests.disks = &rig.disks;
    rig.guests.env = &rig.env;
    rig.guests.count = rig.guests.live = GUESTS;
    for (unsigned i = 0; i < GUESTS; i++)
        rig.guests.guest[i].base.domid = rig.guests.guest[i].account.domid = (domid_t)(i + 1);
    for (unsigned i = 0; i < CONTROLLERS; i++) {
        const struct model *model = &rig.models[i];

        order[i] = i;
        rig.states[i] = NULL;
        if (model->fate == ABSENT)
            continue;
        rig.envs[i] = (struct dgm_device_env){.frames = &rig.frames, .reactor = &rig.reactor};
        disks_add(&rig.disks, model->driver, model->fate == UNUSABLE ? NULL : &rig.envs[i],
                  (struct disks_place){model->place, model->alias});
    }
    disks_log_changes(&rig.disks);
    guests_share_disks(&rig.guests);
    for (unsigned i = CONTROLLERS; i > 0; i--) { /* what comes late comes in any order */
        const unsigned at = (unsigned)unit_below(i), index = order[at];

        order[at] = order[i - 1];
        carry_on(index);
    }
    for (size_t i = 0; i < rig.config.disk_count; i++)
        assert_true(rig.guests.decided[i]);
}

/* A machine as it is sold: sometimes two controllers have one serial number, or one EUI. */
static void draw_models(void)
{
    static const char *const places[] = {"pci:00:01.0", "sd:/axi/mmc@ff170000", "pci:00:02.0/00.0",
                                         "pci:0001:00:02.0"};
    static const char *const serials[] = {"A1", "B2", "C3", "D4"};
    static const char *const euis[] = {"0011223344556677", "", "aabbccddeeff0011aabbccddeeff0011",
                                       "00000000000000aa"};
    const bool twins = unit_chance(30);

    for (unsigned i = 0; i < CONTROLLERS; i++)
        rig.models[i] = (struct model){
            .driver = i == 1 ? &sd : &nvme,
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

    rig.config.disk_count = WANTED;
    for (unsigned i = 0; i < WANTED; i++) {
        struct config_disk *wanted = &rig.config.disks[i];

        memset(wanted, 0, sizeof *wanted);
        snprintf(wanted->vdev, sizeof wanted->vdev, "xvd%c", 'a' + i);
        snprintf(wanted->target, sizeof wanted->target, "%s",
                 targets[unit_below(sizeof targets / sizeof targets[0])]);
        wanted->domid = (uint16_t)(1 + unit_below(GUESTS));
        wanted->writable = unit_chance(70);
    }
}

/* Whether `target` is borne by two controllers of which one never told its identity: nothing can
 * know of that one. */
static bool has_unknown_twin(const char *target)
{
    unsigned bearers = 0, unknown = 0;

    for (unsigned i = 0; i < CONTROLLERS; i++) {
        const struct model *model = &rig.models[i];
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
        if (rig.models[i].fate == ABSENT)
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
        count += rig.models[i].driver == driver && (!present || rig.models[i].fate != ABSENT);
    return count;
}

static const struct dgm_disk_driver *driver_of_position(const char *target)
{
    return !strncmp(target, "nvme", 4) ? &nvme : !strncmp(target, "sd", 2) ? &sd : NULL;
}

/* Controllers of the driver are absent, and the configuration neither says how many there are nor
 * names a position beyond those that are here: nothing can know of that. */
static bool is_silently_short(const struct dgm_disk_driver *driver)
{
    const unsigned present = count_of(driver, true);

    if (rig.config.kind_count || present == count_of(driver, false))
        return false;
    for (unsigned i = 0; i < WANTED; i++) {
        const char *target = rig.config.disks[i].target;

        if (driver_of_position(target) == driver &&
            (unsigned)atoi(target + strlen(driver->name)) >= present)
            return present == 0; /* then none is found at all */
    }
    return true;
}

static void check_run(void)
{
    for (unsigned i = 0; i < WANTED; i++) {
        const struct config_disk *wanted = &rig.config.disks[i];
        const bool short_now = is_silently_short(&nvme) || is_silently_short(&sd);

        if (rig.given[i] && rig.given[i] != rig.reference[i] && !short_now &&
            !has_unknown_twin(wanted->target))
            fail_msg("guest %u's %s (%s) is %s, which it does not get when all is well",
                     wanted->domid, wanted->vdev, wanted->target, rig.given[i]->place);
        /* Nor is a disk withheld that nothing is wrong with. */
        if (rig.reference[i] && is_usable(rig.reference[i]) && !rig.given[i] && !any_absent())
            fail_msg("guest %u goes without %s (%s)", wanted->domid, wanted->vdev, wanted->target);
        for (unsigned j = 0; j < i; j++)
            if (rig.given[i] && rig.given[i] == rig.given[j])
                assert_false(wanted->writable || rig.config.disks[j].writable);
    }
}

static void expect_controllers(const char *driver, uint32_t count)
{
    struct config_kind *kind = &rig.config.kinds[rig.config.kind_count++];

    snprintf(kind->driver, sizeof kind->driver, "%s", driver);
    kind->controllers = count;
}

static void start_rig(void)
{
    unit_seed();
    dgm_sim_memory(dgm_gfn(RAM), 64);
    dgm_reactor_init(&rig.reactor);
}

/* Fails: a fault or a delay gives a guest a disk that is not its own, or takes its own away. */
static void every_fate_of_every_controller(void **state)
{
    unsigned combinations = 1;

    start_rig();
    for (unsigned i = 0; i < CONTROLLERS; i++)
        combinations *= FATES;
    for (unsigned round = 0; round < 24; round++) {
        draw_models();
        draw_config();
        rig.config.kind_count = 0;
        if (round % 2) {
            expect_controllers("nvme", 3);
            expect_controllers("sd", 1);
        }
        run_machine();
        memcpy(rig.reference, rig.given, sizeof rig.reference);
        for (unsigned combination = 0; combination < combinations; combination++) {
            unsigned rest = combination;

            for (unsigned i = 0; i < CONTROLLERS; i++, rest /= FATES)
                rig.models[i].fate = (enum fate)(rest % FATES);
            run_machine();
            check_run();
        }
    }
}

/* --- one case after another --- */

static void want(unsigned index, uint16_t domid, const char *target, bool writable)
{
    struct config_disk *wanted = &rig.config.disks[index];

    memset(wanted, 0, sizeof *wanted);
    snprintf(wanted->vdev, sizeof wanted->vdev, "xvd%c", 'a' + index);
    snprintf(wanted->target, sizeof wanted->target, "%s", target);
    wanted->domid = domid;
    wanted->writable = writable;
    rig.config.disk_count = index + 1;
}

static void three_disks(void)
{
    static const struct model models[CONTROLLERS] = {
        {&nvme, "pci:00:01.0", "", "A1", "", 1, WELL},
        {&nvme, "pci:00:02.0", "", "B2", "", 1, WELL},
        {&nvme, "pci:00:03.0", "", "B2", "", 1, WELL},
        {&sd, "sd:/axi/mmc@ff170000", "mmc0", "D4", "", 0, WELL},
    };

    start_rig();
    rig.config.disk_count = rig.config.kind_count = 0;
    memcpy(rig.models, models, sizeof models);
}

/* The first disk has blocks of 8 KiB. Fails: it gives its number away,
 * and guest 1 gets guest 2's. */
static void unusable_disk_keeps_its_number(void **state)
{
    three_disks();
    rig.models[0].fate = BAD_NAMESPACE;
    want(0, 1, "nvme0", true);
    want(1, 2, "nvme1", true);
    run_machine();
    assert_null(rig.given[0]);
    assert_ptr_equal(rig.given[1], &rig.models[1]);
}

/* Fails: of two disks with one serial number the first one is taken, or the line names one. */
static void ambiguous_serial_is_refused_with_both_places(void **state)
{
    three_disks();
    want(0, 1, "serial:B2", true);
    run_machine();
    assert_null(rig.given[0]);
    assert_non_null(strstr(dgm_sim_last_log(), "pci:00:02.0"));
    assert_non_null(strstr(dgm_sim_last_log(), "pci:00:03.0"));
}

/* The first controller has left the bus. Fails: guest 1 gets guest 2's disk, because it is now the
 * first one; or a guest that named its disk by what does not shift goes without it. */
static void a_missing_controller_shifts_no_name(void **state)
{
    for (unsigned expected = 0; expected < 2; expected++) {
        three_disks();
        rig.models[2].serial = "C3";
        rig.models[0].fate = ABSENT;
        want(0, 1, "nvme0", true);
        want(1, 2, expected ? "nvme1" : "nvme2", true); /* without the count, a missing position */
        want(2, 3, "pci:00:03.0", true);
        want(3, 3, "sd0", true);
        if (expected)
            expect_controllers("nvme", 3);
        run_machine();
        assert_null(rig.given[0]);
        assert_null(rig.given[1]);
        assert_null(rig.given[2]); /* "nvme1", or "nvme2", is this disk in the full set */
        assert_ptr_equal(rig.given[3], &rig.models[3]);
        want(0, 1, "serial:A1", true);
        want(1, 2, "serial:B2", true);
        want(2, 3, "pci:00:03.0", true);
        run_machine();
        assert_null(rig.given[0]);
        assert_ptr_equal(rig.given[1], &rig.models[1]);
        assert_ptr_equal(rig.given[2], &rig.models[2]);
        rig.config.kind_count = 0;
    }
}

/* Fails: a controller that was added before a guest's one gives the guest another disk. */
static void an_added_controller_shifts_no_name(void **state)
{
    three_disks();
    want(0, 1, "nvme1", true);
    want(1, 2, "serial:A1", true);
    expect_controllers("nvme", 2);
    run_machine();
    assert_null(rig.given[0]);
    assert_ptr_equal(rig.given[1], &rig.models[0]);
    rig.config.kind_count = 0;
}

/* Fails: the namespace of a name is not looked at, or one that is not served is another disk. */
static void namespace_is_part_of_the_name(void **state)
{
    three_disks();
    rig.models[0].nsid = 2;
    want(0, 1, "nvme0n1", true);
    want(1, 1, "nvme1n1", true);
    want(2, 1, "pci:00:01.0n2", true);
    run_machine();
    assert_null(rig.given[0]);
    assert_ptr_equal(rig.given[1], &rig.models[1]);
    assert_ptr_equal(rig.given[2], &rig.models[0]);
}

/* Fails: two guests write to one disk, or one reads what another one writes; two readers may. */
static void writer_is_alone(void **state)
{
    for (unsigned writers = 0; writers < 4; writers++) {
        three_disks();
        want(0, 1, "nvme0", writers & 1);
        want(1, 2, "serial:A1", writers & 2);
        run_machine();
        assert_ptr_equal(rig.given[0], &rig.models[0]);
        if (writers)
            assert_null(rig.given[1]);
        else
            assert_ptr_equal(rig.given[1], &rig.models[0]);
    }
}

/* Fails: a card has names that do not mean it, or two guests write to it by two of them. */
static void every_name_of_a_card_means_it(void **state)
{
    static const char *const names[] = {"sd0", "sd:/axi/mmc@ff170000", "mmc0", "serial:D4"};
    static const char *const others[] = {"mmc", "mmc1", "sd:/axi/mmc@ff17000", "sd:/mmc@ff170000"};

    for (unsigned i = 0; i < 4; i++) {
        three_disks();
        want(0, 1, names[i], true);
        want(1, 2, names[(i + 1) % 4], true);
        want(2, 1, others[i], true);
        run_machine();
        assert_ptr_equal(rig.given[0], &rig.models[3]);
        assert_null(rig.given[1]);
        assert_null(rig.given[2]);
    }
}

/* Fails: the disk goes to whichever entry is decided first, not to the first entry. */
static void waiting_entry_keeps_its_disk(void **state)
{
    three_disks();
    rig.models[1].fate = LATE; /* so "serial:A1" waits, and "nvme0" does not */
    want(0, 1, "serial:A1", true);
    want(1, 2, "nvme0", true);
    run_machine();
    assert_ptr_equal(rig.given[0], &rig.models[0]);
    assert_null(rig.given[1]);
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
        cmocka_unit_test(every_name_of_a_card_means_it),
        cmocka_unit_test(waiting_entry_keeps_its_disk),
    };

    return cmocka_run_group_tests_name("sharing", tests, NULL, NULL);
}
