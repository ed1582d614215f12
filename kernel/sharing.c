/* SPDX-License-Identifier: MIT */
/*
 * sharing: which guest gets which disk
 *
 * Each disk of the configuration is decided once: the guest gets it, or the cause is logged. The
 * decision waits until its target is known (disks.h); the others are made meanwhile.
 *
 * A target may mean a part of a disk (partitions.h). Bytes that one guest writes are only for that
 * guest: two kernels with one file system would destroy it. A whole disk excludes each of its
 * parts, and parts exclude each other if they overlap. The rule depends on the configuration, not
 * on the disks that are already shared: of two entries that can mean the same disk, one of them
 * writable, the first is used and the second is refused, even if the first guest does not exist or
 * the second entry's disk became ready first. So no fault and no delay gives a guest a disk that it
 * would not have otherwise.
 *
 * A disk with two ports has two controllers, each with a name. They are one disk if their namespace
 * has one NGUID or EUI-64; then the rule holds for both names. If the controller of a later entry
 * is ready first, that entry has the disk.
 *
 * A controller that has left the bus shifts the positions of those after it: "nvme1" would be the
 * disk of "nvme2". This is detected if the configuration states the number of controllers, or names
 * a position that no controller has. Then every target by position of that driver is refused, and
 * until the set is complete again such a target also excludes every disk that it could mean in the
 * full set.
 */
#include "guests.h"
#include "partitions.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <port/env.h>

#include <stdio.h>

static struct guest *live_guest(struct guests *guests, domid_t domid)
{
    for (size_t i = 0; i < guests->count; i++)
        if (guests->guest[i].base.domid == domid && guests->guest[i].state == GUEST_LIVE)
            return &guests->guest[i];
    return NULL;
}

/* --- controllers that are missing, or more than expected --- */

/* The number of the driver's controllers in the full set, if the configuration states it. */
static uint32_t full_count(const struct guests *guests, const struct disks_position *of)
{
    const struct config_kind *kind = config_kind(guests->config, of->driver->name);
    uint32_t count = of->present;

    if (kind)
        return kind->controllers;
    for (size_t i = 0; i < guests->config->disk_count; i++) {
        struct disks_position named;

        if (disks_position(guests->disks, guests->config->disks[i].target, &named) &&
            named.driver == of->driver && named.position >= count)
            count = named.position == UINT32_MAX ? UINT32_MAX : named.position + 1;
    }
    return count;
}

/* Whether `target` is a position of a driver whose set of controllers is not complete. */
static bool is_shifted(const struct guests *guests, const char *target, struct disks_position *of,
                       uint32_t *full)
{
    if (!disks_position(guests->disks, target, of))
        return false;
    *full = full_count(guests, of);
    return *full != of->present;
}

/* In the full set `target` may be `disk`, though it is not that here: each missing controller
 * before a disk has lowered its position by one. */
static bool may_be_shifted(const struct guests *guests, const char *target,
                           const struct disks_entry *disk)
{
    struct disks_position of;
    uint32_t full;

    if (!is_shifted(guests, target, &of, &full) || of.driver != disk->driver)
        return false;
    return full > of.present ? of.position >= disk->position : of.position <= disk->position;
}

/* --- parts of disks --- */

/* The configuration was read, so its parts are valid. */
static struct dgm_partition_selector part_of(const struct config_disk *wanted)
{
    struct dgm_partition_selector selector;

    (void)dgm_partition_select(wanted->part, &selector);
    return selector;
}

static bool names_disk(const struct config_disk *wanted)
{
    return wanted->target[0] != '\0';
}

/*
 * Whether `other` can mean bytes of the part of `disk` that `wanted` means. A guest that has a
 * whole disk writes its partition table, so there a partition that another entry names on this disk
 * counts even if it does not exist now.
 */
static bool may_touch(const struct config_disk *other, const struct config_disk *wanted,
                      const struct disks_entry *disk, struct dgm_partition_extent extent)
{
    const struct dgm_partition_selector selector = part_of(other);

    return (names_disk(other) && wanted->part[0] == '\0' &&
            selector.by != DGM_PARTITION_BY_RANGE) ||
           partitions_may_touch(disk, &selector, extent);
}

/* Whether `other` can mean the medium of `disk`, by any of its controllers. */
static bool may_mean(const struct guests *guests, const struct config_disk *other,
                     const struct disks_entry *disk)
{
    if (!names_disk(other) || may_be_shifted(guests, other->target, disk))
        return true;
    for (size_t i = 0; i < guests->disks->count; i++)
        if (disks_are_one(&guests->disks->disk[i], disk) &&
            disks_meaning(&guests->disks->disk[i], other->target) != DISKS_NOT)
            return true;
    return false;
}

/* Whether `other` has got the medium of `disk`, whose other controller became ready first. */
static bool has_got(const struct guests *guests, const struct config_disk *other,
                    const struct disks_entry *disk)
{
    const struct disks_entry *given = guests->given[other - guests->config->disks];

    return given && given != disk && disks_are_one(given, disk);
}

/* The entry that excludes `wanted`, or NULL: one before it, or one that has got its disk. `disk` is
 * ready, so it is identified. */
static const struct config_disk *rival_of(const struct guests *guests,
                                          const struct config_disk *wanted,
                                          const struct disks_entry *disk,
                                          struct dgm_partition_extent extent)
{
    const struct config_disk *const end = guests->config->disks + guests->config->disk_count;

    for (const struct config_disk *other = guests->config->disks; other < end; other++)
        if ((other->writable || wanted->writable) &&
            (other < wanted ? may_mean(guests, other, disk) : has_got(guests, other, disk)) &&
            may_touch(other, wanted, disk, extent))
            return other;
    return NULL;
}

static uint16_t disks_of(const struct config *config, domid_t domid)
{
    uint16_t count = 0;

    for (size_t i = 0; i < config->disk_count; i++)
        count += config->disks[i].domid == domid;
    return count;
}

static size_t persistent_disks(const struct config *config)
{
    size_t count = 0;

    for (size_t i = 0; i < config->disk_count; i++)
        count += config->disks[i].persistent;
    return count;
}

static struct dgm_blkback_options options_of(const struct guests *guests,
                                             const struct config_disk *wanted,
                                             struct dgm_blkdev *blkdev,
                                             struct dgm_partition_extent extent)
{
    const struct dgm_reach *reach = guests->env->reach;
    struct dgm_blkback_options options = {.vdev = wanted->vdev,
                                          .disk = blkdev,
                                          .first_block = extent.first,
                                          .blocks = extent.blocks,
                                          .writable = wanted->writable,
                                          .mode = wanted->mode,
                                          .guest_disks = disks_of(guests->config, wanted->domid)};

    if (wanted->persistent && reach->persistent)
        options.persistent_frames =
            (uint16_t)(reach->persistent->total / persistent_disks(guests->config));
    return options;
}

/* Of a device that is gone, or a new one. Each disk of the configuration has one at most. */
static size_t free_entry(const struct guests *guests)
{
    size_t entry = 0;

    while (entry < guests->disk_count && guests->disk[entry].guest)
        entry++;
    dgm_assert(entry < CONFIG_DISKS_MAX);
    return entry;
}

static void share_disk(struct guests *guests, struct guest *guest, const struct config_disk *wanted,
                       const struct disks_entry *disk, const struct partitions_part *part)
{
    struct dgm_blkdev *blkdev = disk->blkdev;
    const struct dgm_blkback_options options = options_of(guests, wanted, blkdev, part->extent);
    const size_t entry = free_entry(guests);
    char number[8] = "";
    const int result =
        dgm_blkback_create(&guests->disk[entry].back, guests->env, &guest->account, &options);

    if (result != DGM_OK) {
        dgm_env_log("guest %u (%s): disk %s: cannot be offered (error %d)", guest->base.domid,
                    guest->base.name, wanted->vdev, result);
        return;
    }
    guests->disk[entry].guest = guest;
    if (entry == guests->disk_count)
        guests->disk_count++;
    guests->given[wanted - guests->config->disks] = disk;
    if (part->number)
        snprintf(number, sizeof number, "p%u", part->number);
    dgm_env_log("guest %u (%s): %s is %s%s (%s), %llu MiB, %s", guest->base.domid, guest->base.name,
                wanted->vdev, disk->name, number, blkdev->serial,
                (unsigned long long)(part->extent.blocks * blkdev->block_bytes >> 20),
                wanted->writable && !blkdev->read_only ? "read-write" : "read-only");
}

/* Shares the part of a ready disk that `wanted` means, or logs why not. */
static void share_found_part(struct guests *guests, struct guest *guest,
                             const struct config_disk *wanted, const struct disks_entry *disk)
{
    static const char *const why[] = {
        [PARTITIONS_NONE] = "has no such partition",
        [PARTITIONS_SEVERAL] = "has several such partitions",
        [PARTITIONS_REFUSED] = "has a partition table that cannot be used",
        [PARTITIONS_OUTSIDE] = "has no such range of whole blocks",
    };
    const struct dgm_partition_selector selector = part_of(wanted);
    struct partitions_part part;
    const enum partitions_found result = partitions_find(disk, &selector, &part);
    const struct config_disk *rival;

    if (result != PARTITIONS_FOUND) {
        dgm_env_log("guest %u (%s): disk %s: %s%s: %s %s; the guest goes without it",
                    guest->base.domid, guest->base.name, wanted->vdev, wanted->target, wanted->part,
                    disk->name, why[result]);
        return;
    }
    rival = rival_of(guests, wanted, disk, part.extent);
    if (!rival) {
        share_disk(guests, guest, wanted, disk, &part);
        return;
    }
    const bool same = names_disk(rival) && disks_meaning(disk, rival->target) != DISKS_NOT;

    dgm_env_log("guest %u (%s): disk %s: %s%s %s %s of guest %u, %s%s, and one of them would write "
                "to it; the guest goes without it",
                guest->base.domid, guest->base.name, wanted->vdev, wanted->target, wanted->part,
                !same                               ? "may be"
                : wanted->part[0] || rival->part[0] ? "overlaps"
                                                    : "is",
                rival->vdev, rival->domid, rival->target, rival->part);
}

/* Shares the disk that was found for `wanted`, or logs why not. */
static void share_found_disk(struct guests *guests, struct guest *guest,
                             const struct config_disk *wanted, enum disks_found result,
                             struct disks_entry *const found[2])
{
    switch (result) {
    case DISKS_NONE:
        dgm_env_log("guest %u (%s): disk %s: there is no %s%s here; the guest goes without it",
                    guest->base.domid, guest->base.name, wanted->vdev, wanted->target,
                    names_disk(wanted) ? "" : wanted->part);
        return;
    case DISKS_FAILED:
        dgm_env_log(
            "guest %u (%s): disk %s: %s is %s, which cannot be used; the guest goes without "
            "it",
            guest->base.domid, guest->base.name, wanted->vdev, wanted->target, found[0]->place);
        return;
    case DISKS_SEVERAL:
        dgm_env_log("guest %u (%s): disk %s: %s means both %s (%s) and %s (%s); the guest goes "
                    "without it",
                    guest->base.domid, guest->base.name, wanted->vdev,
                    names_disk(wanted) ? wanted->target : wanted->part, found[0]->name,
                    found[0]->place, found[1]->name, found[1]->place);
        return;
    case DISKS_READY:
        share_found_part(guests, guest, wanted, found[0]);
        return;
    case DISKS_WAIT:
        break;
    }
}

/* A line if the controllers that are present give positions another meaning. True: refused. */
static bool refuse_shifted(const struct guests *guests, const struct guest *guest,
                           const struct config_disk *wanted)
{
    struct disks_position of;
    uint32_t full;

    if (!is_shifted(guests, wanted->target, &of, &full))
        return false;
    dgm_env_log(
        "guest %u (%s): disk %s: %s may be another disk now: %u controllers of %s are here, "
        "and the configuration has %u; the guest goes without it. Name disks by serial:, "
        "eui: or pci:, or correct %s-controllers",
        guest->base.domid, guest->base.name, wanted->vdev, wanted->target, of.present,
        of.driver->name, full, of.driver->name);
    return true;
}

static enum disks_found find_disk(const struct guests *guests, const struct config_disk *wanted,
                                  struct disks_entry *found[2])
{
    const struct dgm_partition_selector selector = part_of(wanted);

    return names_disk(wanted) ? disks_find(guests->disks, wanted->target, found)
                              : partitions_find_disk(guests->disks, &selector, found);
}

void guests_share_disks(struct guests *guests)
{
    for (size_t i = 0; i < guests->config->disk_count; i++) {
        const struct config_disk *wanted = &guests->config->disks[i];
        struct guest *guest = live_guest(guests, wanted->domid);
        struct disks_entry *found[2];

        if (guests->decided[i])
            continue;
        const enum disks_found result = find_disk(guests, wanted, found);

        if (guest ? result == DISKS_WAIT : guests_may_come(guests, wanted->domid))
            continue;
        guests->decided[i] = true;
        if (guest && !refuse_shifted(guests, guest, wanted))
            share_found_disk(guests, guest, wanted, result, found);
    }
}

void guests_log_waiting(const struct guests *guests)
{
    for (size_t i = 0; i < guests->config->disk_count; i++)
        if (!guests->decided[i])
            dgm_env_log("guest %u: disk %s waits for %s%s", guests->config->disks[i].domid,
                        guests->config->disks[i].vdev, guests->config->disks[i].target,
                        guests->config->disks[i].part);
}
