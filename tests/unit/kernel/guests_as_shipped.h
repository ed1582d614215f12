/* SPDX-License-Identifier: MIT */
/*
 * guests_as_shipped: kernel/guests.c, rebuild.c and restart.c, with stand-ins for what they call
 *
 * For test_guests.c and test_rebuild.c. Three guests; the tests set what Xen reports of each.
 */
#ifndef TESTS_GUESTS_AS_SHIPPED_H
#define TESTS_GUESTS_AS_SHIPPED_H

#include "unit.h"

#include <dragoman/base/status.h>
#define guests_start kernel_guests_start /* a rig has one of that name */
#include <kernel/guests.h>
#include <xen/sched.h>

#define COUNT 3u
#define NONE  0xffu /* no shutdown reason: the domain runs */

static struct {
    struct guests guests;
    struct config config;
    struct disks disks;
    struct dgm_blkback_env env;
    struct dgm_reach reach;
    struct dgm_grant grant;
    struct dgm_slot_cache cache;
    struct dgm_slots slots;
    struct dgm_copy_buffers copy_buffers;
    struct dgm_dma dma;
    struct dgm_bounce bounce;
    struct dgm_reactor reactor;
    int info_result[COUNT + 1];
    uint8_t reason[COUNT + 1];
    bool dying[COUNT + 1], draining;
    int prepare_result[COUNT + 1], introduce_result[COUNT + 1], virq_result; /* 0: as usual */
    unsigned introduced[COUNT + 1], shared[COUNT + 1];
    unsigned destroyed[COUNT + 1], released[COUNT + 1], idle, gone;
    unsigned destroy_again; /* calls for which Xen has not finished yet, or fails: */
    int destroy_result;
    unsigned built, unpaused[COUNT + 1], opened, closed;
    int build_result, unpause_result; /* of the next build; of every unpause */
    uint64_t now_ns;
} rig;

static inline int fake_prepare(struct dgm_dom0less_guest *guest, domid_t domid, const char *name)
{
    if (domid > COUNT)
        return DGM_ESRCH;
    if (rig.prepare_result[domid])
        return rig.prepare_result[domid];
    guest->domid = domid;
    snprintf(guest->name, sizeof guest->name, "%s", name ? name : "");
    return DGM_OK;
}

static inline int fake_introduce(const struct dgm_dom0less_guest *guest)
{
    if (rig.introduce_result[guest->domid])
        return rig.introduce_result[guest->domid];
    rig.introduced[guest->domid]++;
    assert_int_equal(rig.shared[guest->domid], 1); /* it finds its disks */
    return DGM_OK;
}

static inline int fake_info(domid_t domid, struct dgm_domain_info *info)
{
    *info = (struct dgm_domain_info){.dying = rig.dying[domid],
                                     .shut_down = rig.reason[domid] != NONE,
                                     .shutdown_reason = rig.reason[domid]};
    return rig.info_result[domid];
}

static inline int fake_destroy(domid_t domid)
{
    rig.destroyed[domid]++;
    if (rig.destroy_again == 0)
        return DGM_OK;
    rig.destroy_again--;
    return rig.destroy_result;
}

static inline void fake_release(const struct dgm_dom0less_guest *guest)
{
    rig.released[guest->domid]++;
}

/* Builds at once. */
int builder_start(struct builder *builder, const struct config_guest *guest)
{
    rig.built++;
    builder->domid = guest->domid;
    if (rig.build_result == DGM_EAGAIN)
        return DGM_EAGAIN;
    if (rig.build_result == DGM_OK)
        rig.reason[guest->domid] = NONE;
    builder->done(builder, rig.build_result);
    return DGM_OK;
}

void guest_console_open(struct guest_console *console, const struct guest_console_env *env,
                        struct dgm_evtchn_remote remote)
{
    rig.opened++;
}

void guest_console_close(struct guest_console *console)
{
    rig.closed++;
}

static inline int fake_unpause(domid_t domid)
{
    assert_int_equal(rig.introduced[domid] > rig.unpaused[domid], true); /* its xenstore answers */
    if (rig.unpause_result == DGM_OK)
        rig.unpaused[domid]++;
    return rig.unpause_result;
}

#define dgm_domain_unpause(domid)                    fake_unpause(domid)
#define dgm_dom0less_prepare(guest, xs, domid, name) fake_prepare(guest, domid, name)
#define dgm_dom0less_introduce(guest, xs, slots)     fake_introduce(guest)
#define dgm_dom0less_release(guest, xs, slots)       fake_release(guest)
#define dgm_domain_info(domid, info)                 fake_info(domid, info)
#define dgm_domain_destroy(domid)                    fake_destroy(domid)
#define dgm_evtchn_bind_virq(evtchn, virq, task)     (rig.virq_result ? rig.virq_result : 1)
#define dgm_xs_domain_changed(xs)                    ((void)0)
#define dgm_xs_rm(xs, path)                          ((void)(path))
#define dgm_blkback_idle(back)                       (!rig.draining)
#define dgm_blkback_quarantined(back)                false
#define dgm_blkback_guest_gone(back)                 ((void)(rig.gone++))
#define dgm_blkback_destroy(back)                    ((void)(back))
#include <kernel/guests.c>
#include <kernel/rebuild.c>
#include <kernel/restart.c>

/* sharing.c: a disk for each guest. */
void guests_share_disks(struct guests *guests)
{
    for (size_t i = 0; i < guests->count; i++)
        if (rig.shared[guests->guest[i].base.domid]++ == 0)
            guests->disk[guests->disk_count++].guest = &guests->guest[i];
        else
            rig.shared[guests->guest[i].base.domid] = 1;
}

void guests_log_waiting(const struct guests *guests)
{
}

static inline void on_idle(void)
{
    rig.idle++;
}

static inline void run_for(uint64_t ns)
{
    rig.now_ns += ns;
    dgm_sim_set_now_ns(rig.now_ns);
    while (dgm_reactor_turn(&rig.reactor))
        ;
}

/* Xen sends VIRQ_DOM_EXC. */
static inline void report_domain_change(void)
{
    dgm_reactor_post(&rig.reactor, &rig.guests.domains_changed);
    run_for(0);
}

static inline int set_up(void **state)
{
    memset(&rig, 0, sizeof rig);
    memset(rig.reason, NONE, sizeof rig.reason);
    dgm_sim_set_now_ns(0);
    dgm_reactor_init(&rig.reactor);
    rig.slots.present = 3000;
    rig.copy_buffers.total = 600;
    rig.cache.slots = &rig.slots;
    rig.grant.slots = &rig.cache;
    rig.reach.grant = &rig.grant;
    rig.reach.copy_buffers = &rig.copy_buffers;
    rig.dma.bounce = &rig.bounce;
    rig.env =
        (struct dgm_blkback_env){.reactor = &rig.reactor, .reach = &rig.reach, .dma = &rig.dma};
    rig.config.guest_count = COUNT;
    for (unsigned i = 0; i < COUNT; i++) {
        rig.config.guests[i].domid = (uint16_t)(i + 1);
        snprintf(rig.config.guests[i].name, sizeof rig.config.guests[i].name, "g%u", i + 1);
    }
    guests_init(&rig.guests, &rig.config, &rig.disks, &rig.env, on_idle);
    return 0;
}

static inline int start(void **state)
{
    set_up(state);
    guests_start(&rig.guests);
    run_for(0);
    assert_int_equal(rig.guests.live, COUNT);
    return 0;
}

#endif
