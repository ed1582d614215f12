/* SPDX-License-Identifier: MIT */
/* guests: see guests.h. */
#include "guests.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>

#include <stdio.h>
#include <string.h>

#define DRAIN_LOOK_NS 1000000ull /* between looks at devices that drain */

/* Xen numbers dom0less guests from 1; holes are guests that it refused to make. */
#define DOMID_LAST_HOLE 8u

/* Two guests on one disk are safe only if neither writes: two kernels with one file system would
 * destroy it. */
static bool may_share(const struct guests *guests, const struct dgm_blkdev *device, bool writable)
{
    for (size_t i = 0; i < guests->disk_count; i++) {
        const struct dgm_blkback *other = &guests->disk[i].back;

        if (other->disk == device && (writable || other->writable))
            return false;
    }
    return true;
}

static struct dgm_slot_cache *slots_of(const struct dgm_blkback_env *env)
{
    return env->reach->grant->slots;
}

/* An equal share of what all guests have together. */
static uint64_t share_of(const struct guests *guests, uint64_t all)
{
    return all / (guests->config->guest_count ? guests->config->guest_count : 1);
}

static void start_sharing(struct guests *guests, struct guest *guest)
{
    const struct dgm_reach *reach = guests->env->reach;

    const struct dgm_guest_limits limits = {
        .slots = share_of(guests, slots_of(guests->env)->slots->present),
        .copy_buffers = reach->copy_buffers ? share_of(guests, reach->copy_buffers->total) : 0,
    };

    dgm_guest_account_init(&guest->account, guest->base.domid, &limits);
}

static struct dgm_blkback_options
options_of(const struct guests *guests, const struct config_disk *disk, struct dgm_blkdev *device)
{
    const struct dgm_reach *reach = guests->env->reach;
    struct dgm_blkback_options options = {
        .vdev = disk->vdev, .disk = device, .writable = disk->writable, .mode = disk->mode};

    if (disk->persistent && reach->persistent)
        options.persistent_frames =
            (uint16_t)(reach->persistent->total / guests->config->disk_count);
    return options;
}

static void add_disks(struct guests *guests, struct guest *guest, struct disks *disks)
{
    const domid_t domid = guest->base.domid;

    for (size_t i = 0; i < guests->config->disk_count; i++) {
        const struct config_disk *disk = &guests->config->disks[i];

        if (disk->domid != domid)
            continue;
        struct dgm_blkdev *device = disks_find(disks, disk->target);
        if (!device) {
            dgm_env_log("guest %u (%s): disk %s: there is no %s here; the guest goes without it",
                        domid, guest->base.name, disk->vdev, disk->target);
            continue;
        }
        if (!may_share(guests, device, disk->writable)) {
            dgm_env_log("guest %u (%s): disk %s: %s is given to another already, and one of them "
                        "would write to it; the guest goes without it",
                        domid, guest->base.name, disk->vdev, disk->target);
            continue;
        }
        const struct dgm_blkback_options options = options_of(guests, disk, device);
        const int result = dgm_blkback_create(&guests->disk[guests->disk_count].back, guests->env,
                                              &guest->account, &options);
        if (result != DGM_OK) {
            dgm_env_log("guest %u (%s): disk %s: cannot be offered (error %d)", domid,
                        guest->base.name, disk->vdev, result);
            continue;
        }
        dgm_env_log("guest %u (%s): %s is %s (%s), %llu MiB, %s", domid, guest->base.name,
                    disk->vdev, device->name, device->serial,
                    (unsigned long long)(device->blocks * device->block_bytes >> 20),
                    disk->writable && !device->read_only ? "read-write" : "read-only");
        guests->disk[guests->disk_count++].guest = guest;
    }
}

static void check_configured(const struct guests *guests)
{
    for (size_t i = 0; i < guests->config->guest_count; i++) {
        const struct config_guest *wanted = &guests->config->guests[i];
        bool found = false;

        for (size_t g = 0; g < guests->count; g++)
            found = found || guests->guest[g].base.domid == wanted->domid;
        if (!found)
            dgm_env_log("guest %u (%s): Xen made no such guest, or it is not \"xen,enhanced\"; "
                        "it is left out",
                        wanted->domid, wanted->name);
    }
}

static bool drained(const struct guests *guests, const struct guest *guest)
{
    for (size_t i = 0; i < guests->disk_count; i++)
        if (guests->disk[i].guest == guest && !dgm_blkback_idle(&guests->disk[i].back) &&
            !dgm_blkback_quarantined(&guests->disk[i].back))
            return false;
    return true;
}

static void begin_end(struct guests *guests, struct guest *guest)
{
    guest->state = GUEST_ENDING;
    for (size_t i = 0; i < guests->disk_count; i++)
        if (guests->disk[i].guest == guest)
            dgm_blkback_guest_gone(&guests->disk[i].back);
    dgm_xs_domain_changed(guests->env->xs);
}

/* The directory that its devices' backends had in common. */
static void remove_backends(struct guests *guests, domid_t domid)
{
    char path[64];

    snprintf(path, sizeof path, "/local/domain/0/backend/vbd/%u", domid);
    dgm_xs_rm(guests->env->xs, path);
}

/*
 * Its devices hold nothing any more, but for what a disk has not given back: that stays with them,
 * and they with it. False: Xen is not done with the domain, look again.
 */
static bool finish_end(struct guests *guests, struct guest *guest)
{
    for (size_t i = 0; i < guests->disk_count; i++)
        if (guests->disk[i].guest == guest && dgm_blkback_idle(&guests->disk[i].back)) {
            dgm_blkback_destroy(&guests->disk[i].back);
            guests->disk[i].guest = NULL;
        }
    remove_backends(guests, guest->base.domid);
    if (guest->account.bounce.taken == 0)
        dgm_bounce_share_end(guests->env->dma->bounce, &guest->account.bounce);
    dgm_dom0less_release(&guest->base, guests->env->xs, slots_of(guests->env));
    if (guest->in_xen) {
        const int result = dgm_domain_destroy(guest->base.domid);

        if (result == DGM_EAGAIN)
            return false;
        if (result != DGM_OK && result != DGM_ESRCH)
            dgm_env_log("guest %u (%s): Xen does not destroy it (error %d)", guest->base.domid,
                        guest->base.name, result);
    }
    guest->state = GUEST_GONE;
    guests->live--;
    dgm_env_log("guest %u (%s): everything of it is released", guest->base.domid, guest->base.name);
    return true;
}

static void look(struct guests *guests)
{
    bool draining = false;

    for (size_t i = 0; i < guests->count; i++) {
        struct guest *guest = &guests->guest[i];
        struct dgm_domain_info info = {0};

        if (guest->state == GUEST_LIVE) {
            const int result = dgm_domain_info(guest->base.domid, &info);

            if (result == DGM_OK && !info.shut_down && !info.dying)
                continue;
            guest->in_xen = result == DGM_OK;
            dgm_env_log("guest %u (%s) %s", guest->base.domid, guest->base.name,
                        result == DGM_OK && info.shut_down ? dgm_domain_reason(info.shutdown_reason)
                                                           : "was destroyed");
            begin_end(guests, guest);
        }
        if (guest->state == GUEST_ENDING && (!drained(guests, guest) || !finish_end(guests, guest)))
            draining = true;
    }
    if (draining)
        dgm_timer_arm(guests->env->reactor, &guests->timer, dgm_env_now_ns() + DRAIN_LOOK_NS);
    else if (guests->live == 0)
        guests->idle();
}

static void look_on_event(struct dgm_task *task)
{
    look(dgm_container(task, struct guests, task));
}

static void look_on_timer(struct dgm_timer *timer)
{
    look(dgm_container(timer, struct guests, timer));
}

void guests_start(struct guests *guests, const struct config *config, struct disks *disks,
                  const struct dgm_blkback_env *env, void (*idle)(void))
{
    unsigned holes = 0;

    guests->config = config;
    guests->env = env;
    guests->idle = idle;
    guests->task.run = look_on_event;
    guests->timer.fire = look_on_timer;
    for (domid_t domid = 1; holes < DOMID_LAST_HOLE && guests->count < CONFIG_GUESTS_MAX; domid++) {
        struct guest *guest = &guests->guest[guests->count];
        const struct config_guest *named = config_guest(config, domid);
        const int result =
            dgm_dom0less_prepare(&guest->base, env->xs, domid, named ? named->name : NULL);

        /* An answer of another kind must not keep the search going for ever. */
        holes = result == DGM_OK || result == DGM_ENODEV ? 0 : holes + 1;
        if (result == DGM_OK) {
            guests->count++;
            guests->live++;
            guest->in_xen = true;
            start_sharing(guests, guest);
            add_disks(guests, guest, disks);
        } else if (result != DGM_ESRCH) {
            dgm_env_log("guest %u: %s (error %d); it is left alone", domid,
                        result == DGM_ENODEV ? "not \"xen,enhanced\", so it has no xenstore"
                                             : "its xenstore nodes cannot be written",
                        result);
        }
    }
    check_configured(guests);
    for (size_t i = 0; i < guests->count; i++)
        dgm_dom0less_introduce(&guests->guest[i].base, env->xs, slots_of(env));
    const int port = dgm_evtchn_bind_virq(env->evtchn, VIRQ_DOM_EXC, &guests->task);
    if (port < 0)
        dgm_env_log("Xen does not tell of guests' ends (error %d)", port);
    if (guests->count == 0)
        dgm_env_log("there is no guest to serve");
    dgm_reactor_post(env->reactor, &guests->task); /* one may be gone already */
}

int guests_destroy(struct guests *guests, domid_t domid)
{
    for (size_t i = 0; i < guests->count; i++) {
        struct guest *guest = &guests->guest[i];

        if (guest->base.domid != domid || guest->state != GUEST_LIVE)
            continue;
        /* Dying at once; Xen keeps it until our mappings are gone, which the event then sees to. */
        const int result = dgm_domain_destroy(domid);
        dgm_reactor_post(guests->env->reactor, &guests->task);
        return result == DGM_EAGAIN ? DGM_OK : result;
    }
    return DGM_ESRCH;
}
