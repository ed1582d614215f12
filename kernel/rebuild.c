/* SPDX-License-Identifier: MIT */
/* rebuild: building a guest again (see guests.h). */
#include "guests.h"

#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/hyper/create.h>
#include <port/env.h>

#include <string.h>

static struct guest *guest_of(struct guests *guests, domid_t domid)
{
    for (size_t i = 0; i < guests->count; i++)
        if (guests->guest[i].base.domid == domid)
            return &guests->guest[i];
    return NULL;
}

static bool can_build(const struct guests *guests, const struct guest *guest)
{
    const struct config_guest *configured = config_guest(guests->config, guest->base.domid);

    return guests->builder && configured && configured->can_build;
}

/* Frames that a disk has not returned keep a device of the former life, and the former domain. */
static bool is_released(const struct guests *guests, const struct guest *guest)
{
    for (size_t i = 0; i < guests->disk_count; i++)
        if (guests->disk[i].guest == guest)
            return false;
    return true;
}

void guests_end_life(struct guest *guest)
{
    guest->paused = false;
    guest->state = guest->next == CONFIG_RESTART ? GUEST_WAITING : GUEST_GONE;
}

/* --- a start --- */

static void give_up(struct guest *guest)
{
    guest->state = GUEST_GONE;
    dgm_env_log("guest %u (%s): it is given up; \"create %u\" at the monitor tries again",
                guest->base.domid, guest->base.name, guest->base.domid);
}

static void try_again(struct guest *guest, bool waiting)
{
    guest->state = GUEST_WAITING;
    if (!restart_again(&guest->restart, waiting, dgm_env_now_ns()))
        give_up(guest);
}

static void begin_build(struct guests *guests, struct guest *guest)
{
    const struct config_guest *configured = config_guest(guests->config, guest->base.domid);
    int result = is_released(guests, guest) ? DGM_OK : DGM_EAGAIN;

    guest->state = GUEST_BUILDING;
    if (result == DGM_OK)
        result = builder_start(guests->builder, configured);
    if (result == DGM_EAGAIN)
        try_again(guest, true);
    else if (result != DGM_OK)
        give_up(guest);
}

bool guests_rebuild(struct guests *guests)
{
    const uint64_t now_ns = dgm_env_now_ns();
    uint64_t due_ns = UINT64_MAX;
    bool any = false;

    for (size_t i = 0; i < guests->count; i++) {
        struct guest *guest = &guests->guest[i];

        if (guest->state == GUEST_WAITING && guest->restart.due_ns <= now_ns && guests->builder &&
            builder_is_idle(guests->builder))
            begin_build(guests, guest);
        any = any || guest->state == GUEST_WAITING || guest->state == GUEST_BUILDING;
        /* One that is due while another is built is begun when that one is done. */
        if (guest->state == GUEST_WAITING && guest->restart.due_ns > now_ns &&
            guest->restart.due_ns < due_ns)
            due_ns = guest->restart.due_ns;
    }
    if (due_ns != UINT64_MAX)
        dgm_timer_arm(guests->env->reactor, &guests->restart_timer, due_ns);
    return any;
}

/* --- a new life --- */

/* The guest's disks are shared again as if they had not been decided. */
static void forget_disks(struct guests *guests, domid_t domid)
{
    for (size_t i = 0; i < guests->config->disk_count; i++)
        if (guests->config->disks[i].domid == domid)
            guests->decided[i] = false;
}

static void begin_life(struct guests *guests, struct guest *guest)
{
    const struct guest_console_env env = {.reactor = guests->env->reactor,
                                          .evtchn = guests->env->evtchn,
                                          .slots = guests->env->reach->grant->slots};
    const struct config_guest *configured = config_guest(guests->config, guest->base.domid);
    const int result =
        dgm_dom0less_prepare(&guest->base, guests->env->xs, configured->domid, configured->name);

    if (result != DGM_OK) {
        dgm_env_log("guest %u (%s): its xenstore cannot be prepared (error %d)", configured->domid,
                    configured->name, result);
        (void)dgm_domain_destroy(configured->domid);
        try_again(guest, false);
        return;
    }
    guest_console_open(&guest->console, &env,
                       (struct dgm_evtchn_remote){.domid = configured->domid,
                                                  .port = guests->builder->console_port});
    guests_start_quotas(guests, guest);
    guest->in_xen = guest->to_introduce = guest->paused = true;
    guest->unclear = guest->given = false;
    guest->destroy_refused = 0;
    guest->state = GUEST_LIVE;
    guest->restart.failures = 0;
    guest->restart.starts++;
    guests->live++;
    forget_disks(guests, configured->domid);
    guests_share_disks(guests);
}

static void on_built(struct builder *builder, int result)
{
    struct guests *guests = builder->context;
    struct guest *guest = guest_of(guests, builder->domid);

    if (result == DGM_OK)
        begin_life(guests, guest);
    else
        try_again(guest, result == DGM_EEXIST);
    guests_look(guests);
}

bool guests_unpause(struct guests *guests)
{
    bool all = true;

    for (size_t i = 0; i < guests->count; i++) {
        struct guest *guest = &guests->guest[i];

        if (!guest->paused || guest->state != GUEST_LIVE || guest->to_introduce)
            continue;
        const int result = dgm_domain_unpause(guest->base.domid);
        guest->paused = result != DGM_OK;
        all = all && !guest->paused;
        if (guest->paused)
            continue;
        guest->restart.started_ns = dgm_env_now_ns();
        dgm_env_log("guest %u (%s): restart %u: its kernel starts", guest->base.domid,
                    guest->base.name, (unsigned)guest->restart.starts);
    }
    return all;
}

static void on_restart_timer(struct dgm_timer *timer)
{
    guests_look(dgm_container(timer, struct guests, restart_timer));
}

void guests_init_rebuilds(struct guests *guests)
{
    guests->restart_timer.fire = on_restart_timer;
}

void guests_set_builder(struct guests *guests, struct builder *builder)
{
    guests->builder = builder;
    builder->done = on_built;
    builder->context = guests;
}

int guests_create(struct guests *guests, domid_t domid)
{
    struct guest *guest = guest_of(guests, domid);

    if (!guest || guest->state != GUEST_GONE)
        return DGM_ESRCH;
    if (!can_build(guests, guest))
        return DGM_ENOSYS;
    guest->restart = (struct restart){.starts = guest->restart.starts};
    guest->state = GUEST_WAITING;
    guests_look(guests);
    return DGM_OK;
}
