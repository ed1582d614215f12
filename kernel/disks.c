/* SPDX-License-Identifier: MIT */
/* disks: see disks.h. */
#include "disks.h"
#include "partitions.h"

#include <dragoman/base/status.h>
#include <dragoman/base/text.h>
#include <port/env.h>

#include <stdio.h>
#include <string.h>

static uint32_t count_present(const struct disks *disks, const struct dgm_disk_driver *driver)
{
    uint32_t count = 0;

    for (size_t i = 0; i < disks->count; i++)
        count += disks->disk[i].driver == driver;
    return count;
}

/* Starts the disk and returns the driver's state; NULL: it cannot be used. */
static struct dgm_blkdev *start_disk(const struct disks_entry *disk, struct dgm_device_env *env)
{
    struct dgm_blkdev *blkdev = dgm_frames_take_bytes(env->frames, disk->driver->state_bytes);

    if (!blkdev) {
        dgm_env_log("%s: too little memory for %s: raise dom0_mem=", env->name, disk->name);
        return NULL;
    }
    if (disk->driver->start(blkdev, env) != DGM_OK) {
        if (!blkdev->serial[0])
            return NULL;
        blkdev->ready = false; /* it is identified: its serial number still names it */
        blkdev->failed = true;
    }
    memcpy(blkdev->name, disk->name, sizeof disk->name);
    return blkdev;
}

bool disks_add(struct disks *disks, const struct dgm_disk_driver *driver,
               struct dgm_device_env *env, struct disks_place place)
{
    if (disks->count == DISKS_MAX) {
        dgm_env_log("%s: more than the %u disks that fit; it is left out", place.place, DISKS_MAX);
        return false;
    }
    const uint32_t position = count_present(disks, driver);
    struct disks_entry *disk = &disks->disk[disks->count++];

    *disk = (struct disks_entry){.driver = driver, .position = position};
    snprintf(disk->name, sizeof disk->name, "%.11s%u", driver->name, position);
    snprintf(disk->place, sizeof disk->place, "%s", place.place);
    snprintf(disk->alias, sizeof disk->alias, "%s", place.alias);
    if (!env)
        return false;
    disk->interrupt = !env->irq_bind     ? ""
                      : env->irq_message ? ", MSI-X"
                      : env->compatible  ? ", SPI"
                                         : ", INTx";
    disk->blkdev = start_disk(disk, env);
    if (disk->blkdev && disks->tables.dma)
        partitions_prepare(disk, env->frames);
    return disk->blkdev && !disk->blkdev->failed;
}

void disks_add_deviceless(struct disks *disks, const struct disks_options *options)
{
    for (size_t i = 0; i < options->driver_count; i++) {
        const struct dgm_disk_driver *driver = options->drivers[i];

        if (driver->pci_class_mask || driver->compatible)
            continue;
        struct dgm_device_env *env = dgm_frames_take_bytes(options->common.frames, sizeof *env);
        if (env) {
            *env = options->common;
            env->tag = (struct dgm_dma_tag){.mask = UINT64_MAX, .coherent = true};
            snprintf(env->name, sizeof env->name, "%s", driver->name);
        }
        disks_add(disks, driver, env, (struct disks_place){"", ""});
    }
}

bool disks_is_settled(const struct disks_entry *disk)
{
    return !disk->blkdev ||
           (disk->blkdev->ready ? partitions_are_settled(disk) : disk->blkdev->failed);
}

bool disks_is_usable(const struct disks_entry *disk)
{
    return disk->blkdev && disk->blkdev->ready;
}

static const char *place_of(const struct disks_entry *disk)
{
    return disk->place[0] ? disk->place : "without a device";
}

/* Logs a disk that is settled. */
static void log_disk(const struct disks_entry *disk)
{
    const struct dgm_blkdev *blkdev = disk->blkdev;

    if (!disks_is_usable(disk)) {
        dgm_env_log("%s (%s) cannot be used; no other disk takes its name", disk->name,
                    place_of(disk));
        return;
    }
    dgm_env_log("%s is %s: %s, serial %s%s%s, %llu blocks of %u bytes%s", disk->name,
                place_of(disk), blkdev->model, blkdev->serial, blkdev->nguid[0] ? ", eui " : "",
                blkdev->nguid, (unsigned long long)blkdev->blocks, blkdev->block_bytes,
                disk->interrupt);
    partitions_log(disk);
}

void disks_update(struct disks *disks)
{
    for (size_t i = 0; i < disks->count; i++) {
        struct disks_entry *disk = &disks->disk[i];

        if (disks_is_usable(disk))
            partitions_read(disk, &disks->tables);
        if (disk->logged || !disks_is_settled(disk))
            continue;
        disk->logged = true;
        log_disk(disk);
    }
}

void disks_print(const struct disks *disks)
{
    for (size_t i = 0; i < disks->count; i++) {
        const struct disks_entry *disk = &disks->disk[i];
        const struct dgm_blkdev *blkdev = disk->blkdev;

        dgm_env_log("%s (%s): %s%s%s", disk->name, place_of(disk),
                    !disks_is_settled(disk)                    ? "not ready yet"
                    : disks_is_usable(disk) && !blkdev->failed ? "ready"
                                                               : "cannot be used",
                    blkdev && blkdev->serial[0] ? ", serial " : "",
                    blkdev && blkdev->serial[0] ? blkdev->serial : "");
    }
}

static char lower_case(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Compares hexadecimal digits, ignoring case. */
static bool same_digits(const char *a, const char *b)
{
    while (*a && lower_case(*a) == lower_case(*b)) {
        a++;
        b++;
    }
    return *a == 0 && *b == 0;
}

/* Whether `target` is "NAME", or "NAMEnN"; the namespace N is stored in `*nsid` (0: none). */
static bool is_named(const char *target, const char *name, uint32_t *nsid)
{
    const size_t length = strlen(name);
    uint64_t number = 0;

    *nsid = 0;
    if (length == 0 || strncmp(target, name, length))
        return false;
    if (target[length] == 0)
        return true;
    if (target[length] != 'n' || target[length + 1] == '0' ||
        !dgm_text_number(target + length + 1, strlen(target + length + 1), &number, UINT32_MAX - 1))
        return false;
    *nsid = (uint32_t)number;
    return true;
}

bool disks_are_one(const struct disks_entry *a, const struct disks_entry *b)
{
    return a == b || (a->blkdev && b->blkdev && a->blkdev->nguid[0] &&
                      same_digits(a->blkdev->nguid, b->blkdev->nguid));
}

static enum disks_meaning meaning_of_identity(const struct disks_entry *disk, bool known, bool same)
{
    if (disk->blkdev && known)
        return same ? DISKS_MEANT : DISKS_NOT;
    return disks_is_settled(disk) ? DISKS_NOT : DISKS_PERHAPS;
}

enum disks_meaning disks_meaning(const struct disks_entry *disk, const char *target)
{
    static const char by_serial[] = "serial:", by_eui[] = "eui:";
    const struct dgm_blkdev *blkdev = disk->blkdev;
    uint32_t nsid;

    if (dgm_text_starts(target, by_serial))
        return meaning_of_identity(
            disk, blkdev && blkdev->serial[0],
            blkdev && dgm_text_equal(target + sizeof by_serial - 1, blkdev->serial));
    if (dgm_text_starts(target, by_eui))
        return meaning_of_identity(disk, blkdev && blkdev->nguid[0],
                                   blkdev &&
                                       same_digits(target + sizeof by_eui - 1, blkdev->nguid));
    if (!is_named(target, disk->name, &nsid) && !is_named(target, disk->place, &nsid) &&
        !is_named(target, disk->alias, &nsid))
        return DISKS_NOT;
    if (nsid == 0)
        return DISKS_MEANT;
    return meaning_of_identity(disk, blkdev && blkdev->ready, blkdev && blkdev->nsid == nsid);
}

bool disks_position(const struct disks *disks, const char *target, struct disks_position *position)
{
    for (size_t i = 0; i < disks->count; i++) {
        const struct dgm_disk_driver *driver = disks->disk[i].driver;
        const size_t length = strlen(driver->name);
        size_t digits = 0;
        uint64_t number;

        if (strncmp(target, driver->name, length) != 0)
            continue;
        while (target[length + digits] >= '0' && target[length + digits] <= '9')
            digits++;
        if (!dgm_text_number(target + length, digits, &number, UINT32_MAX))
            continue;
        *position = (struct disks_position){driver, (uint32_t)number, count_present(disks, driver)};
        return true;
    }
    return false;
}

enum disks_found disks_find(struct disks *disks, const char *target, struct disks_entry *found[2])
{
    size_t count = 0;
    bool wait = false;

    for (size_t i = 0; i < disks->count; i++) {
        const enum disks_meaning meaning = disks_meaning(&disks->disk[i], target);

        if (meaning == DISKS_PERHAPS)
            wait = true;
        else if (meaning == DISKS_MEANT && count < 2)
            found[count++] = &disks->disk[i];
    }
    if (count == 2)
        return DISKS_SEVERAL;
    if (wait)
        return DISKS_WAIT;
    if (count == 0)
        return DISKS_NONE;
    if (!disks_is_settled(found[0]))
        return DISKS_WAIT;
    return disks_is_usable(found[0]) ? DISKS_READY : DISKS_FAILED;
}

void disks_shutdown(struct disks *disks, uint64_t deadline_ns)
{
    bool done[DISKS_MAX] = {false};
    size_t left;

    do {
        left = 0;
        for (size_t i = 0; i < disks->count; i++) {
            struct dgm_blkdev *blkdev = disks->disk[i].blkdev;

            if (!done[i])
                done[i] =
                    !blkdev || !blkdev->ops->shutdown || blkdev->ops->shutdown(blkdev, deadline_ns);
            left += !done[i];
        }
    } while (left && dgm_env_now_ns() < deadline_ns);
    if (left)
        dgm_env_log("%u disks did not shut down in time", (unsigned)left);
}
