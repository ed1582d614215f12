/* SPDX-License-Identifier: MIT */
/* guest: see guest.h. Coroutines by ucontext, each with its stack. */
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <sim/hypervisor/domctl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xen/hvm/params.h>
#include <xen/sched.h>

#define STACK_BYTES (256u << 10)

static struct sim_guest *starting;

/* --- coroutine --- */

static void resume_guest(struct sim_guest *guest)
{
    if (guest->dead || guest->finished || guest->running)
        return;
    guest->running = true;
    swapcontext(&guest->back, &guest->context);
    guest->running = false;
}

static void wake_event(void *context, uint64_t serial)
{
    struct sim_guest *guest = context;

    if (serial == guest->sleep_serial)
        resume_guest(guest);
}

/* A guest is resumed by an event, so that none runs inside another or inside the library. */
void guest_poke(struct sim_guest *guest)
{
    sim_later(rng_range(&guest->rng, 1, 10) * US, wake_event, guest, guest->sleep_serial);
}

void guest_pause(struct sim_guest *guest)
{
    guest->sleep_serial++;
    swapcontext(&guest->context, &guest->back);
}

void guest_sleep(struct sim_guest *guest, uint64_t ns)
{
    const uint64_t serial = ++guest->sleep_serial;

    sim_later(ns, wake_event, guest, serial);
    swapcontext(&guest->context, &guest->back);
    sim_forget(wake_event, guest, serial); /* if an event of the guest woke it */
}

/* --- memory and grants --- */

uint64_t guest_frame_count(void)
{
    return GUEST_FRAMES + (sim.plan.network ? NETFRONT_FRAMES : 0);
}

void *guest_page(const struct sim_guest *guest, uint64_t gfn)
{
    if (gfn < guest_frame_count())
        return guest->memory + gfn * DGM_FRAME_BYTES;
    return dgm_hv_page(guest->domid, gfn);
}

grant_ref_t guest_grant(struct sim_guest *guest, uint64_t gfn, bool readonly)
{
    grant_ref_t ref;

    SIM_CHECK(guest->free_ref_count, "guest %u has no grant references left", guest->domid);
    ref = guest->free_refs[--guest->free_ref_count];
    dgm_hv_grant(guest->domid, ref, gfn, readonly);
    return ref;
}

/* Whether the last connection ended without its disk having returned all frames (quarantine). */
static bool disk_kept_frames(const struct front *front)
{
    return front->left_ns && sim_now() - front->left_ns >= DGM_BLKBACK_RELEASE_NS;
}

bool guest_ungrant(struct sim_guest *guest, grant_ref_t ref, const struct front *front)
{
    guest->ref_user[ref] = 0;
    if (dgm_hv_grant_end(guest->domid, ref)) {
        guest->free_refs[guest->free_ref_count++] = ref;
        return true;
    }
    SIM_CHECK(guest->ref_lost[ref] || (front && disk_kept_frames(front)),
              "guest %u: reference %u is still mapped after the response", guest->domid, ref);
    return false;
}

/* --- persistent grants --- */

grant_ref_t guest_pool_ref(struct sim_guest *guest, uint64_t gfn)
{
    if (!guest->pool_ref[gfn])
        guest->pool_ref[gfn] = guest_grant(guest, gfn, false);
    return guest->pool_ref[gfn];
}

void guest_pool_put(struct front *front, uint64_t gfn)
{
    struct sim_guest *guest = front->guest;
    const grant_ref_t ref = guest->pool_ref[gfn];
    const unsigned pins = dgm_hv_grant_pins(guest->domid, ref);

    guest->ref_user[ref] = 0;
    SIM_CHECK(pins <= 1 + guest->ref_lost[ref],
              "guest %u: persistent reference %u is mapped %u times after the response",
              guest->domid, ref, pins);
    if (pins || !front->ends_grants)
        return;
    (void)guest_ungrant(guest, ref, front);
    guest->pool_ref[gfn] = 0;
}

static void pool_end_frames(const struct front *front, uint64_t first, uint64_t count)
{
    struct sim_guest *guest = front->guest;

    for (uint64_t gfn = first; gfn < first + count; gfn++) {
        if (guest->pool_ref[gfn] && !guest_ungrant(guest, guest->pool_ref[gfn], front) &&
            gfn >= GUEST_DATA_GFN)
            guest->lost[gfn - GUEST_DATA_GFN] = 1;
        guest->pool_ref[gfn] = 0;
    }
}

void guest_pool_end(struct front *front)
{
    pool_end_frames(front, front_indirect_gfn(front, 0), FRONT_REQUESTS);
    pool_end_frames(front, GUEST_DATA_GFN + front->frames_first, front->frames_count);
}

struct request *guest_ref_request(struct sim_guest *guest, grant_ref_t ref)
{
    const uint64_t user = guest->ref_user[ref];

    return user ? &guest->fronts[(user - 1) / FRONT_REQUESTS].requests[(user - 1) % FRONT_REQUESTS]
                : NULL;
}

void guest_die(struct sim_guest *guest, bool destroyed)
{
    NOTE("guest %llu ends (destroyed: %llu)", guest->domid, destroyed);
    guest->dead = true;
    for (unsigned i = 0; i < guest->front_count; i++)
        guest->fronts[i].connected = false;
    if (guest->vif)
        guest->vif->connected = false;
    if (destroyed)
        dgm_hv_domain_destroy(guest->domid);
    else
        dgm_hv_domain_shutdown(guest->domid, (uint8_t)rng_below(&guest->rng, 4));
    dgm_hv_raise_virq(VIRQ_DOM_EXC);
}

/* --- lives --- */

static void greet_xenstore(struct sim_guest *guest)
{
    char path[128];

    (void)xs_wait_connected(guest);
    guest->doing = "greets xenstore";
    (void)xs_read_number(guest, 0, "control/platform-feature-xs_reset_watches");
    (void)xs_call(guest, XS_RESET_WATCHES, 0, "", 1);
    (void)xs_call(guest, XS_DIRECTORY, 0, "device", 7);
    (void)xs_call(guest, XS_DIRECTORY, 0, "device/vbd", 11);
    for (unsigned i = 0; i < guest->front_count; i++) {
        front_path(&guest->fronts[i], true, "state", path);
        (void)xs_watch(guest, path, "state");
    }
    if (guest->vif) {
        snprintf(path, sizeof path, "/local/domain/0/backend/vif/%u/0/state", guest->domid);
        (void)xs_watch(guest, path, "state");
    }
}

/* Draws whether the session ends in the middle of its I/O, and whether by the guest's death. */
static bool draw_sudden_end(struct sim_guest *guest, bool *dies)
{
    unsigned honest = 0;

    for (unsigned i = 0; i < sim.guest_count; i++)
        honest += !sim.guests[i]->hostile && !sim.guests[i]->doomed;
    *dies = guest->doomed = honest > 1 && sim_fault_strikes(FAULT_DEATH);
    return *dies || sim_fault_strikes(FAULT_RESTART);
}

/* Connects the frontends that can be connected, and draws the I/O of each. False: none is
 * connected. */
static bool session_begin(struct sim_guest *guest, bool *dies, bool *suddenly)
{
    const uint64_t share = sim.options.requests / 3 + 2;
    bool any = false;

    for (unsigned i = 0; i < guest->front_count; i++)
        any |= front_connect(&guest->fronts[i]);
    if (guest->vif && !guest->vif->connected)
        (void)netfront_connect(guest->vif);
    if (!any)
        return false;
    *suddenly = draw_sudden_end(guest, dies);
    if (sim.options.nth_kind != NTH_NONE) { /* closes, restarts, and dies in the third session */
        *suddenly = guest->sessions > 1;
        *dies = guest->sessions > 2;
    }
    for (unsigned i = 0; i < guest->front_count; i++) {
        struct front *front = &guest->fronts[i];

        front->left = rng_range(&guest->rng, 2, share);
        if (sim.options.steady_depth)
            front->left = UINT64_MAX;
        if (sim.options.nth_kind != NTH_NONE)
            front->left = share;
        front->leave_at = *suddenly ? rng_below(&guest->rng, front->left) : 0;
        front->suddenly = *suddenly;
    }
    return true;
}

static void one_session(struct sim_guest *guest)
{
    bool dies, suddenly;

    if (!session_begin(guest, &dies, &suddenly))
        return;
    guest->sessions++;
    fronts_io(guest);
    if (sim.ending)
        return;
    if (dies)
        guest_die(guest, rng_below(&guest->rng, 2));
    sim.ending |= dies && sim.options.nth_kind != NTH_NONE;
    if (guest->dead)
        guest_pause(guest); /* permanently */
    for (unsigned i = 0; i < guest->front_count; i++) {
        if (!guest->fronts[i].connected)
            continue;
        if (suddenly)
            front_restart(&guest->fronts[i]);
        else
            front_close(&guest->fronts[i]);
        if (!suddenly) {
            guest_sleep(guest, rng_range(&guest->rng, 1, 3000) * US);
            front_reopen(&guest->fronts[i]);
        }
    }
    if (!guest->vif || !guest->vif->connected || rng_below(&guest->rng, 2))
        return; /* it stays connected */
    if (suddenly)
        netfront_restart(guest->vif);
    else if (rng_below(&guest->rng, 2))
        netfront_unplug(guest->vif);
    else
        netfront_close(guest->vif);
}

static void honest_life(struct sim_guest *guest)
{
    greet_xenstore(guest);
    while (!sim.ending)
        one_session(guest);
    guest->doing = "is done";
    guest->ready_to_end = true;
    while (!guest->may_end)
        guest_sleep(guest, 2 * MS);
    for (unsigned i = 0; i < guest->front_count; i++)
        if (guest->fronts[i].connected && rng_below(&guest->rng, 2))
            front_close(&guest->fronts[i]);
    if (guest->vif && guest->vif->connected) {
        uint64_t all_arrived_ns = sim_now() + network_delay_ns();

        while (sim_now() < all_arrived_ns) {
            guest_sleep(guest, 10 * MS);
            if (network_waits_for_xen() && all_arrived_ns < sim_now() + SECOND)
                all_arrived_ns = sim_now() + SECOND;
        }
        network_check_losses(guest->vif);
        if (rng_below(&guest->rng, 2))
            netfront_close(guest->vif);
    }
    guest_die(guest, rng_below(&guest->rng, 3) == 0);
    guest_pause(guest);
}

static void run_starting_guest(void)
{
    struct sim_guest *guest = starting;

    guest->context.uc_link = NULL;
    swapcontext(&guest->context, &guest->back);
    if (guest->hostile)
        hostile_life(guest);
    else
        honest_life(guest);
    guest->finished = true;
    for (;;)
        guest_pause(guest);
}

void guest_start(struct sim_guest *guest, uint64_t seed, domid_t domid, bool hostile)
{
    char purpose[24];

    snprintf(purpose, sizeof purpose, "guest %u", domid);
    guest->domid = domid;
    guest->hostile = hostile;
    guest->rng = rng_of(seed, purpose);
    dgm_hv_domain_add(domid, guest_frame_count());
    guest->memory = dgm_hv_page(domid, 0);
    dgm_hv_set_param(domid, HVM_PARAM_STORE_EVTCHN, dgm_hv_guest_port(domid));
    dgm_hv_set_param(domid, HVM_PARAM_STORE_PFN, UINT64_MAX);
    guest->expected = calloc(GUEST_DATA_FRAMES, sizeof guest->expected[0]);
    for (unsigned i = 0; i < GUEST_REFS; i++)
        guest->free_refs[guest->free_ref_count++] = (grant_ref_t)(8 + GUEST_REFS - 1 - i);
    guest->stack = malloc(STACK_BYTES);
    getcontext(&guest->context);
    guest->context.uc_stack.ss_sp = guest->stack;
    guest->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&guest->context, run_starting_guest, 0);
    starting = guest;
    swapcontext(&guest->back, &guest->context); /* run_starting_guest() takes `starting` */
    guest_poke(guest);
}
