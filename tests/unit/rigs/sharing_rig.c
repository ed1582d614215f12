/* SPDX-License-Identifier: MIT */
/* sharing_rig: see sharing_rig.h. */
#include "sharing_rig.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

/* The functions of blkback that sharing.c calls. */
static int share_with(struct dgm_blkback *back, const struct dgm_blkback_options *options,
                      domid_t domid);
#define dgm_blkback_create(back, env, account, options) share_with(back, options, (account)->domid)
#include <kernel/sharing.c>

struct sharing_rig sharing;

/* --- drivers --- */

static void identify_disk(struct state *state)
{
    snprintf(state->blkdev.serial, sizeof state->blkdev.serial, "%s", state->model->serial);
    snprintf(state->blkdev.nguid, sizeof state->blkdev.nguid, "%s", state->model->eui);
    state->blkdev.nsid = state->model->nsid;
}

static void make_ready(struct state *state)
{
    identify_disk(state);
    state->blkdev.blocks = BLOCKS;
    state->blkdev.block_bytes = 512;
    state->blkdev.ready = true;
}

static int start_disk_of(void *memory, struct dgm_device_env *env)
{
    struct state *state = memory;
    const size_t index = (size_t)(env - sharing.envs);

    state->model = &sharing.models[index];
    sharing.states[index] = state;
    switch (state->model->fate) {
    case WELL:
        make_ready(state);
        return DGM_OK;
    case REFUSED:
        return DGM_ENODEV;
    case BAD_NAMESPACE:
        identify_disk(state);
        return DGM_EOPNOTSUPP;
    default:
        return DGM_OK;
    }
}

const struct dgm_disk_driver sharing_nvme = {.name = "nvme",
                                             .pci_class_mask = 1,
                                             .state_bytes = sizeof(struct state),
                                             .start = start_disk_of};
static const char *const sd_nodes[] = {"arasan,sdhci-8.9a", NULL};
const struct dgm_disk_driver sharing_sd = {.name = "sd",
                                           .compatible = sd_nodes,
                                           .state_bytes = sizeof(struct state),
                                           .start = start_disk_of};

static void carry_on(size_t index)
{
    struct state *state = sharing.states[index];

    if (sharing.models[index].fate == LATE) {
        make_ready(state);
    } else if (sharing.models[index].fate == LATE_FAILURE) {
        state->blkdev.failed = true;
    } else if (sharing.models[index].fate == LATE_BAD_NAMESPACE) {
        identify_disk(state);
        state->blkdev.failed = true;
    } else {
        return;
    }
    disks_update(&sharing.disks);
    guests_share_disks(&sharing.guests);
}

/* --- blkback --- */

/* No other wanted disk has bytes of this one, unless both only read them. */
static void check_alone(size_t wanted)
{
    for (size_t i = 0; i < sharing.config.disk_count; i++)
        if (i != wanted && sharing.given[i] == sharing.given[wanted] &&
            dgm_partition_overlaps(sharing.extents[i], sharing.extents[wanted]))
            assert_false(sharing.config.disks[i].writable || sharing.config.disks[wanted].writable);
}

static int share_with(struct dgm_blkback *back, const struct dgm_blkback_options *options,
                      domid_t domid)
{
    for (size_t i = 0; i < sharing.config.disk_count; i++) {
        const struct config_disk *wanted = &sharing.config.disks[i];

        if (wanted->domid != domid || strcmp(wanted->vdev, options->vdev) != 0)
            continue;
        assert_true(options->disk->ready && !options->disk->failed);
        assert_int_equal(options->writable, wanted->writable);
        assert_null(sharing.given[i]);
        sharing.extents[i] = (struct dgm_partition_extent){options->first_block, options->blocks};
        assert_true(options->blocks > 0 && options->first_block <= BLOCKS &&
                    options->blocks <= BLOCKS - options->first_block);
        sharing.given[i] = dgm_container(options->disk, struct state, blkdev)->model;
        check_alone(i);
        return DGM_OK;
    }
    fail_msg("a disk that is not in the configuration is shared");
    return DGM_EINVAL;
}

/* --- a machine --- */

/* The table was read when the disk became ready. */
static void put_table(unsigned index)
{
    struct disks_entry *disk = &sharing.disks.disk[sharing.disks.count - 1];

    if (!sharing.tables[index] || !disk->blkdev)
        return;
    sharing.readers[index].table = *sharing.tables[index];
    disk->reader = &sharing.readers[index];
    disk->table_read = true;
}

void sharing_run(void)
{
    unsigned order[CONTROLLERS];

    memset(&sharing.disks, 0, sizeof sharing.disks);
    memset(&sharing.guests, 0, sizeof sharing.guests);
    memset(sharing.given, 0, sizeof sharing.given);
    dgm_frames_init(&sharing.frames);
    assert_int_equal(dgm_frames_add(&sharing.frames, (struct dgm_gfn_range){dgm_gfn(RAM), 64}), 0);
    sharing.env.reach = &sharing.reach;
    sharing.guests.config = &sharing.config;
    sharing.guests.disks = &sharing.disks;
    sharing.guests.env = &sharing.env;
    sharing.guests.count = sharing.guests.live = GUESTS;
    for (unsigned i = 0; i < GUESTS; i++)
        sharing.guests.guest[i].base.domid = sharing.guests.guest[i].account.domid =
            (domid_t)(i + 1);
    for (unsigned i = 0; i < CONTROLLERS; i++) {
        const struct model *model = &sharing.models[i];

        order[i] = i;
        sharing.states[i] = NULL;
        if (model->fate == ABSENT)
            continue;
        sharing.envs[i] =
            (struct dgm_device_env){.frames = &sharing.frames, .reactor = &sharing.reactor};
        disks_add(&sharing.disks, model->driver, model->fate == UNUSABLE ? NULL : &sharing.envs[i],
                  (struct disks_place){model->place, model->alias});
        put_table(i);
    }
    disks_update(&sharing.disks);
    guests_share_disks(&sharing.guests);
    for (unsigned i = CONTROLLERS; i > 0; i--) { /* late controllers become ready in any order */
        const unsigned at = (unsigned)unit_below(i), index = order[at];

        order[at] = order[i - 1];
        carry_on(index);
    }
    for (size_t i = 0; i < sharing.config.disk_count; i++)
        assert_true(sharing.guests.decided[i]);
}

void sharing_expect(const char *driver, uint32_t count)
{
    struct config_kind *kind = &sharing.config.kinds[sharing.config.kind_count++];

    snprintf(kind->driver, sizeof kind->driver, "%s", driver);
    kind->controllers = count;
}

void sharing_start(void)
{
    unit_seed();
    memset(sharing.tables, 0, sizeof sharing.tables);
    dgm_sim_memory(dgm_gfn(RAM), 64);
    dgm_reactor_init(&sharing.reactor);
}

void sharing_want(unsigned index, uint16_t domid, const char *target, bool writable)
{
    struct config_disk *wanted = &sharing.config.disks[index];

    memset(wanted, 0, sizeof *wanted);
    snprintf(wanted->vdev, sizeof wanted->vdev, "xvd%c", 'a' + index);
    snprintf(wanted->target, sizeof wanted->target, "%.*s", (int)dgm_partition_split(target),
             target);
    snprintf(wanted->part, sizeof wanted->part, "%s", target + dgm_partition_split(target));
    wanted->domid = domid;
    wanted->writable = writable;
    sharing.config.disk_count = index + 1;
}
