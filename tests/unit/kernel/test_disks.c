/* SPDX-License-Identifier: MIT */
/*
 * disks: if these fail, the machine is switched off before completed writes are durable, or a disk
 * that does not respond keeps it on. test_sharing tests which guest gets which disk.
 */
#include "unit.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <kernel/disks.h>

#define RAM    0x40000ull
#define FRAMES 256u
#define MS     1000000ull

struct state {
    struct dgm_blkdev blkdev;
    unsigned calls, needs; /* calls of shutdown until it is done */
};

static struct {
    struct dgm_frames frames;
    struct dgm_reactor reactor;
    struct dgm_device_env env;
    struct disks disks;
    uint64_t now_ns, deadline_ns;
} rig;

static bool shut_down(struct dgm_blkdev *blkdev, uint64_t deadline_ns)
{
    struct state *state = dgm_container(blkdev, struct state, blkdev);

    assert_int_equal(deadline_ns, rig.deadline_ns);
    assert_true(state->calls < state->needs); /* not again when it is done */
    rig.now_ns += MS;
    dgm_sim_set_now_ns(rig.now_ns);
    return ++state->calls == state->needs;
}

static const struct dgm_blkdev_ops with_shutdown = {.shutdown = shut_down},
                                   without = {.submit = NULL};

static int start_disk_of(void *memory, struct dgm_device_env *env)
{
    struct state *state = memory;

    state->blkdev.ops = &with_shutdown;
    state->blkdev.ready = true;
    return DGM_OK;
}

static const struct dgm_disk_driver driver = {.name = "nvme",
                                              .pci_class_mask = 1,
                                              .state_bytes = sizeof(struct state),
                                              .start = start_disk_of};

static struct state *add_disk(unsigned needs)
{
    struct state *state;

    assert_true(disks_add(&rig.disks, &driver, &rig.env, (struct disks_place){"pci:00:01.0", ""}));
    state = dgm_container(rig.disks.disk[rig.disks.count - 1].blkdev, struct state, blkdev);
    state->needs = needs;
    if (needs == 0)
        state->blkdev.ops = &without;
    return state;
}

static int start(void **state)
{
    memset(&rig, 0, sizeof rig);
    dgm_sim_memory(dgm_gfn(RAM), FRAMES);
    dgm_frames_init(&rig.frames);
    assert_int_equal(dgm_frames_add(&rig.frames, (struct dgm_gfn_range){dgm_gfn(RAM), FRAMES}), 0);
    dgm_reactor_init(&rig.reactor);
    rig.env = (struct dgm_device_env){.frames = &rig.frames, .reactor = &rig.reactor};
    rig.now_ns = 5000 * MS;
    dgm_sim_set_now_ns(rig.now_ns);
    rig.deadline_ns = rig.now_ns + 1000 * MS;
    return 0;
}

static void all_are_shut_down_in_turn(void **state)
{
    const struct state *slow = add_disk(90), *quick = add_disk(1);

    add_disk(0);
    disks_add(&rig.disks, &driver, NULL, (struct disks_place){"pci:00:02.0", ""}); /* not usable */
    disks_shutdown(&rig.disks, rig.deadline_ns);
    assert_int_equal(slow->calls, 90);
    assert_int_equal(quick->calls, 1);
    assert_true(rig.now_ns < rig.deadline_ns);
}

static void deadline_ends_it(void **state)
{
    const struct state *silent = add_disk(5000), *quick = add_disk(3);

    disks_shutdown(&rig.disks, rig.deadline_ns);
    assert_true(silent->calls > 900);
    assert_int_equal(quick->calls, 3);
    assert_in_range(rig.now_ns, rig.deadline_ns, rig.deadline_ns + 2 * MS);
    assert_non_null(strstr(dgm_sim_last_log(), "1 disks did not shut down"));
}

/* Fails: a disk beyond the limit is written beyond the list. */
static void list_is_full(void **state)
{
    for (unsigned i = 0; i < DISKS_MAX; i++)
        add_disk(0);
    assert_string_equal(rig.disks.disk[DISKS_MAX - 1].name, "nvme63");
    assert_false(disks_add(&rig.disks, &driver, &rig.env, (struct disks_place){"pci:00:1f.0", ""}));
    assert_non_null(strstr(dgm_sim_last_log(), "pci:00:1f.0"));
    assert_int_equal(rig.disks.count, DISKS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_are_shut_down_in_turn, start),
        cmocka_unit_test_setup(deadline_ends_it, start),
        cmocka_unit_test_setup(list_is_full, start),
    };

    return cmocka_run_group_tests_name("disks", tests, NULL, NULL);
}
