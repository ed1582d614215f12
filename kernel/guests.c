/* SPDX-License-Identifier: MIT */
/* guests: see guests.h. */
#include "guests.h"

#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/hyper/xen_status.h>
#include <port/env.h>

#include <stdio.h>
#include <string.h>

#define DRAIN_POLL_NS 1000000ull /* while devices of an ended guest drain */

/* Pauses between retries of operations that Xen refused without a guest's fault. */
#define RETRY_PAUSE_FIRST_NS 100000000ull
#define RETRY_PAUSE_LAST_NS  60000000000ull

/* Xen numbers dom0less guests from 1; holes are guests that it refused to make. */
#define DOMID_HOLES_MAX 8u

static struct dgm_slot_cache *slots_of(const struct dgm_blkback_env *env)
{
    return env->reach->grant->slots;
}

/* One guest's equal share of `all`. */
static uint64_t share_of(const struct guests *guests, uint64_t all)
{
    return all / (guests->config->guest_count ? guests->config->guest_count : 1);
}

void guests_start_quotas(struct guests *guests, struct guest *guest)
{
    const struct dgm_reach *reach = guests->env->reach;
    const struct dgm_guest_limits limits = {
        .slots = share_of(guests, slots_of(guests->env)->slots->present),
        .copy_buffers = reach->copy_buffers ? share_of(guests, reach->copy_buffers->total) : 0,
        .vif_slots = guests->others ? guests->others->slots(guests->others, guest) : 0,
    };

    dgm_guest_account_init(&guest->account, guest->base.domid, &limits);
}

static void warn_missing_guests(const struct guests *guests)
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

static bool is_drained(const struct guests *guests, const struct guest *guest)
{
    for (size_t i = 0; i < guests->disk_count; i++)
        if (guests->disk[i].guest == guest && !dgm_blkback_idle(&guests->disk[i].back) &&
            !dgm_blkback_quarantined(&guests->disk[i].back))
            return false;
    return !guests->others || guests->others->drained(guests->others, guest);
}

static void begin_end(struct guests *guests, struct guest *guest)
{
    guest->state = GUEST_ENDING;
    for (size_t i = 0; i < guests->disk_count; i++)
        if (guests->disk[i].guest == guest)
            dgm_blkback_guest_gone(&guests->disk[i].back);
    if (guests->others)
        guests->others->end(guests->others, guest);
    dgm_xs_domain_changed(guests->env->xs);
}

/* Removes the directory above the backends of its devices. */
static void remove_backends(struct guests *guests, domid_t domid)
{
    char path[64];

    snprintf(path, sizeof path, "/local/domain/0/backend/vbd/%u", domid);
    dgm_xs_rm(guests->env->xs, path);
    if (!guests->others)
        return;
    snprintf(path, sizeof path, "/local/domain/0/backend/%s/%u", guests->others->type, domid);
    dgm_xs_rm(guests->env->xs, path);
}

/* False: Xen has not finished, or failed for a cause that may pass, so this is called again. */
static bool destroy_domain(struct guest *guest)
{
    const int result = dgm_domain_destroy(guest->base.domid);

    switch (dgm_xen_call_meaning(DGM_XEN_CALL_DOMAIN, result)) {
    case DGM_XEN_OK:
    case DGM_XEN_NO_DOMAIN:
        return true;
    case DGM_XEN_RETRY:
        return false;
    default:
        if (++guest->destroy_refused < DGM_XEN_TRIES)
            return false;
        dgm_env_log("guest %u (%s): Xen does not destroy it (error %d)", guest->base.domid,
                    guest->base.name, result);
        return true;
    }
}

/*
 * Called when the guest's devices are drained: they hold only frames that a disk has not returned,
 * and a device with such frames stays. False: Xen has not finished destroying the domain, so this
 * is called again.
 */
static bool finish_end(struct guests *guests, struct guest *guest)
{
    for (size_t i = 0; i < guests->disk_count; i++)
        if (guests->disk[i].guest == guest && dgm_blkback_idle(&guests->disk[i].back)) {
            dgm_blkback_destroy(&guests->disk[i].back);
            guests->disk[i].guest = NULL;
        }
    if (guests->others)
        guests->others->remove(guests->others, guest);
    remove_backends(guests, guest->base.domid);
    if (guest->account.bounce.taken == 0)
        dgm_bounce_share_end(guests->env->dma->bounce, &guest->account.bounce);
    dgm_dom0less_release(&guest->base, guests->env->xs, slots_of(guests->env));
    guest_console_close(&guest->console);
    if (guest->in_xen && guest->next != CONFIG_PRESERVE && !destroy_domain(guest))
        return false;
    guests->live--;
    dgm_env_log("guest %u (%s): all its resources are released", guest->base.domid,
                guest->base.name);
    guests_end_life(guest);
    return true;
}

/*
 * Asks Xen for the guest's state, notes it, and logs an end. True: the guest has ended. It has
 * ended only if Xen has no such domain, or the domain is shut down or dying. Any other error of the
 * hypercall changes nothing; the query is repeated later, because the event that announced an end
 * is not sent again.
 */
static bool notice_end(const struct guests *guests, struct guest *guest)
{
    const struct config_guest *configured = config_guest(guests->config, guest->base.domid);
    struct dgm_domain_info info = {0};
    const int result = dgm_domain_info(guest->base.domid, &info);
    const char *how = "was destroyed";
    char next[96] = "it does not restart by itself";

    if (result != DGM_OK &&
        dgm_xen_call_meaning(DGM_XEN_CALL_DOMAIN, result) != DGM_XEN_NO_DOMAIN) {
        if (!guest->unclear)
            dgm_env_log(
                "guest %u (%s): Xen does not report its state (error %d); it is assumed to live",
                guest->base.domid, guest->base.name, result);
        guest->unclear = true;
        return false;
    }
    guest->unclear = false;
    if (result == DGM_OK && !info.shut_down && !info.dying)
        return false;
    guest->in_xen = result == DGM_OK;
    guest->next = CONFIG_DESTROY;
    if (guest->in_xen && info.shut_down && !info.dying) {
        how = dgm_domain_reason(info.shutdown_reason);
        guest->next = restart_decide(
            &guest->restart, configured,
            (struct restart_end){.reason = info.shutdown_reason, .now_ns = dgm_env_now_ns()}, next);
    } else if (guest->in_xen && info.shut_down) {
        how = dgm_domain_reason(info.shutdown_reason);
    }
    dgm_env_log("guest %u (%s) %s; %s", guest->base.domid, guest->base.name, how, next);
    return true;
}

/* Prepares xenstore for the guest, if Xen made it. Returns the result of dgm_dom0less_prepare(). */
static int find_guest(struct guests *guests, domid_t domid)
{
    struct guest *guest = &guests->guest[guests->count];
    const struct config_guest *named = config_guest(guests->config, domid);
    const int result =
        dgm_dom0less_prepare(&guest->base, guests->env->xs, domid, named ? named->name : NULL);

    guests->unprepared &= ~(1ull << domid);
    if (result == DGM_OK) {
        guests->count++;
        guests->live++;
        guest->in_xen = true;
        guest->to_introduce = true;
        guests_start_quotas(guests, guest);
        guest->restart.started_ns = dgm_env_now_ns();
    } else if (result == DGM_EAGAIN) {
        guests->unprepared |= 1ull << domid;
    } else if (result != DGM_ESRCH) {
        dgm_env_log("guest %u: %s (error %d); it is left alone", domid,
                    result == DGM_ENODEV ? "not \"xen,enhanced\", so it has no xenstore"
                                         : "its xenstore nodes cannot be written",
                    result);
    }
    return result;
}

/* Continues the search from guests->next_domid. */
static void find_guests(struct guests *guests)
{
    for (unsigned holes = 0; holes < DOMID_HOLES_MAX && guests->next_domid < GUESTS_DOMIDS &&
                             guests->count < CONFIG_GUESTS_MAX;
         guests->next_domid++) {
        const int result = find_guest(guests, guests->next_domid);

        /* Errors of other kinds count as holes, so that the search ends. */
        holes = result == DGM_OK || result == DGM_ENODEV ? 0 : holes + 1;
    }
    if (guests->unprepared)
        dgm_env_log("Xen does not report which guests it made; the query is repeated");
}

/* A guest finds all of its devices when its xenstore begins to respond. */
static void introduce_guest(const struct guests *guests, struct guest *guest)
{
    if (guests->others && !guest->given)
        guests->others->give(guests->others, guest);
    guest->given = true;
    guest->to_introduce =
        dgm_dom0less_introduce(&guest->base, guests->env->xs, slots_of(guests->env)) == DGM_EAGAIN;
}

static void introduce_guests(struct guests *guests)
{
    for (size_t i = 0; i < guests->count; i++)
        if (guests->guest[i].to_introduce && guests->guest[i].state == GUEST_LIVE)
            introduce_guest(guests, &guests->guest[i]);
}

static bool is_introduced(const struct guests *guests)
{
    for (size_t i = 0; i < guests->count; i++)
        if (guests->guest[i].to_introduce && guests->guest[i].state == GUEST_LIVE)
            return false;
    return true;
}

static void watch_domains(struct guests *guests)
{
    const int port =
        dgm_evtchn_bind_virq(guests->env->evtchn, VIRQ_DOM_EXC, &guests->domains_changed);

    if (port < 0 && !guests->unwatched)
        dgm_env_log("Xen does not report the ends of guests (error %d): it is queried, "
                    "and the binding is retried",
                    port);
    guests->unwatched = port < 0;
}

/* Retries the steps of the start that Xen refused without a guest's fault. True: all are done. */
static bool start_rest(struct guests *guests)
{
    const uint64_t unprepared = guests->unprepared;
    const size_t count = guests->count;

    for (domid_t domid = 1; domid < GUESTS_DOMIDS && guests->count < CONFIG_GUESTS_MAX; domid++)
        if (unprepared >> domid & 1)
            (void)find_guest(guests, domid);
    if (guests->count > count)
        find_guests(guests); /* continues the search, which had stopped */
    if (guests->unprepared != unprepared) {
        if (guests->unprepared == 0)
            warn_missing_guests(guests);
        guests_share_disks(guests);
    }
    introduce_guests(guests);
    if (guests->unwatched)
        watch_domains(guests);
    return guests_unpause(guests) && guests->unprepared == 0 && !guests->unwatched &&
           is_introduced(guests);
}

static void retry_later(struct guests *guests)
{
    uint64_t *pause_ns = &guests->retry_pause_ns;

    *pause_ns = dgm_pause_next_ns(
        (struct dgm_pauses){.first_ns = RETRY_PAUSE_FIRST_NS, .last_ns = RETRY_PAUSE_LAST_NS},
        *pause_ns);
    dgm_timer_arm(guests->env->reactor, &guests->retry_timer, dgm_env_now_ns() + *pause_ns);
}

static void update_guests(struct guests *guests)
{
    bool draining = false, retry = !start_rest(guests);

    for (size_t i = 0; i < guests->count; i++) {
        struct guest *guest = &guests->guest[i];

        if (guest->state == GUEST_LIVE && notice_end(guests, guest))
            begin_end(guests, guest);
        retry = retry || (guest->state == GUEST_LIVE && guest->unclear);
        if (guest->state == GUEST_ENDING &&
            (!is_drained(guests, guest) || !finish_end(guests, guest)))
            draining = true;
    }
    const bool comes = guests_rebuild(guests);

    if (!retry)
        guests->retry_pause_ns = 0;
    else if (!guests->retry_timer.armed)
        retry_later(guests);
    if (draining)
        dgm_timer_arm(guests->env->reactor, &guests->drain_timer, dgm_env_now_ns() + DRAIN_POLL_NS);
    else if (guests->live == 0 && guests->unprepared == 0 && !comes)
        guests->idle();
}

static void on_domain_event(struct dgm_task *task)
{
    update_guests(dgm_container(task, struct guests, domains_changed));
}

static void on_drain_timer(struct dgm_timer *timer)
{
    update_guests(dgm_container(timer, struct guests, drain_timer));
}

static void on_retry_timer(struct dgm_timer *timer)
{
    update_guests(dgm_container(timer, struct guests, retry_timer));
}

static void on_disk_event(struct dgm_task *task)
{
    struct guests *guests = dgm_container(task, struct guests, disks_changed);

    disks_update(guests->disks);
    if (guests->started)
        guests_share_disks(guests);
}

void guests_init(struct guests *guests, const struct config *config, struct disks *disks,
                 const struct dgm_blkback_env *env, void (*idle)(void))
{
    guests->config = config;
    guests->disks = disks;
    guests->env = env;
    guests->idle = idle;
    guests->next_domid = 1;
    guests->domains_changed.run = on_domain_event;
    guests->disks_changed.run = on_disk_event;
    guests->drain_timer.fire = on_drain_timer;
    guests->retry_timer.fire = on_retry_timer;
    guests_init_rebuilds(guests);
}

void guests_start(struct guests *guests)
{
    find_guests(guests);
    if (guests->unprepared == 0)
        warn_missing_guests(guests);
    guests->started = true;
    guests_share_disks(guests);
    guests_log_waiting(guests);
    introduce_guests(guests);
    watch_domains(guests);
    if (guests->count == 0 && guests->unprepared == 0)
        dgm_env_log("there is no guest to serve");
    /* One may have ended already. */
    dgm_reactor_post(guests->env->reactor, &guests->domains_changed);
}

void guests_look(struct guests *guests)
{
    dgm_reactor_post(guests->env->reactor, &guests->domains_changed);
}

int guests_destroy(struct guests *guests, domid_t domid)
{
    for (size_t i = 0; i < guests->count; i++) {
        struct guest *guest = &guests->guest[i];

        if (guest->base.domid == domid && guest->state == GUEST_WAITING) {
            guest->state = GUEST_GONE;
            guests_look(guests);
            return DGM_OK;
        }
        if (guest->base.domid != domid || guest->state != GUEST_LIVE)
            continue;
        /* The domain is dying immediately, and Xen keeps it until our mappings are gone: the posted
         * task releases them. */
        const int result = dgm_domain_destroy(domid);
        dgm_reactor_post(guests->env->reactor, &guests->domains_changed);
        return result == DGM_EAGAIN ? DGM_OK : result;
    }
    return DGM_ESRCH;
}
