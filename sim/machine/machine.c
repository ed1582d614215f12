/* SPDX-License-Identifier: MIT */
/* machine: see machine.h. The library's loop as in kernel/main.c, and the end. */
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <port/sim/sim.h>

#include <stdio.h>
#include <xen/hvm/params.h>

struct sim_machine sim;

static bool woken, in_barrier;

void sim_wake(void)
{
    woken = true;
}

bool sim_fault_strikes(enum sim_fault fault)
{
    return !sim.settling && sim.options.nth_kind == NTH_NONE &&
           rng_chance(&sim.fault_rng, sim.plan.rate[fault]);
}

/* A disk that hangs delays a request by half a minute, one that left the bus by up to a minute, and
 * both may happen several times to a command. A slow disk has a hundred commands before this one, a
 * second or more each. */
uint64_t sim_patience_ns(const struct front *front)
{
    const bool faulty = sim.plan.disks[front->disk].kind == DISK_FAULTY;

    if (sim.options.nth_kind != NTH_NONE || disks_stalls(front->disk))
        return 400 * SECOND;
    if (faulty && (sim.options.power || sim.plan.rate[FAULT_SILENCE] || sim.plan.rate[FAULT_GONE] ||
                   sim.plan.rate[FAULT_FATAL]))
        return 400 * SECOND;
    if (sim.plan.rate[FAULT_EAGAIN]) /* DGM_XEN_PATIENCE_MS for each of three kinds of operations */
        return 150 * SECOND;
    return faulty && sim.plan.rate[FAULT_LINE] ? 30 * SECOND : SECOND * 9 / 10;
}

uint64_t sim_xs_patience_ns(void)
{
    return SECOND / 2;
}

const struct dgm_blkback *sim_back_of(const struct front *front)
{
    for (size_t i = 0; i < sim.kernel.disk_count; i++) {
        const struct dgm_blkback *back = &sim.kernel.disk[i].back;

        if (sim.kernel.disk[i].guest && back->xenbus.domid == front->guest->domid &&
            back->vdev[3] == (char)('a' + front->index))
            return back;
    }
    return NULL;
}

/* --- the loop --- */

/* Its flushes get no response any more, and no event says so: the frontend stops. */
static bool waits_for_nothing(const struct front *front)
{
    const struct dgm_blkback *back = front->connected && front->left ? sim_back_of(front) : NULL;

    return back && back->flush_given_up;
}

/* Guests handle events a little later than these are sent. */
void sim_guests_hear(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++) {
        struct sim_guest *guest = sim.guests[i];

        if (guest->dead)
            continue;
        if (dgm_hv_guest_events(guest->domid,
                                (evtchn_port_t)dgm_hv_param(guest->domid, HVM_PARAM_STORE_EVTCHN)))
            guest_poke(guest);
        for (unsigned f = 0; f < guest->front_count; f++) {
            struct front *front = &guest->fronts[f];

            if (front->port && dgm_hv_guest_events(guest->domid, front->port)) {
                front->event = true;
                front_poke(front);
            }
            if (waits_for_nothing(front))
                front_poke(front);
        }
        for (unsigned c = 0; c < 2 * NETFRONT_QUEUES_MAX && guest->vif; c++) {
            struct netfront_queue *queue = &guest->vif->queue[c / 2];

            if (queue->ports[c % 2] && dgm_hv_guest_events(guest->domid, queue->ports[c % 2]))
                netfront_poke(queue);
        }
    }
}

void sim_guest_acts(struct sim_guest *guest)
{
    if (in_barrier || guest->dead)
        return;
    in_barrier = true;
    if (guest->hostile) {
        hostile_meddle(guest);
    } else if (guest->vif && rng_below(&sim.rng, 2)) {
        netfront_act(guest->vif);
    } else {
        struct front *front = &guest->fronts[rng_below(&sim.rng, guest->front_count)];

        if (front->connected)
            front_tick(front);
    }
    in_barrier = false;
}

/* Runs a guest at this moment, as if on another CPU. */
static void run_guest_at_barrier(void)
{
    if (rng_below(&sim.rng, 8) == 0)
        sim_guest_acts(sim.guests[rng_below(&sim.rng, sim.guest_count)]);
}

static void library_runs(void)
{
    bool more = true;
    unsigned turns = 0;

    while (more || woken) {
        woken = false;
        (void)disks_poll();
        network_poll();
        (void)dgm_hv_interrupt();
        dgm_evtchn_dispatch(&sim.evtchn);
        more = dgm_reactor_turn(&sim.reactor);
        sim_step++;
        sim.ending |= sim.options.neighbour && sim_now() >= sim.options.neighbour_ns;
        /* With neighbours that never pause the library may be busy until the run ends. */
        turns = sim.options.neighbour && !sim.ending ? 0 : turns + 1;
        SIM_CHECK(turns < 200000, "the library never becomes idle");
        oracle_step();
        if (sim_step % 64 == 0)
            oracle_walk();
        memory_disturb();
        sim_pass(rng_range(&sim.rng, 200, 3000));
        sim_guests_hear();
        sim_run_due();
        woken |= dgm_hv_interrupt() || disks_pending() || network_pending();
    }
}

/* Waits for an interrupt, as WFI does: time advances to the next event. */
static bool wait_for_interrupt(void)
{
    uint64_t next = sim_next_event();
    const uint64_t deadline = dgm_reactor_deadline_ns(&sim.reactor);

    if (deadline < next)
        next = deadline;
    if (next == UINT64_MAX)
        return false;
    if (next > sim_now())
        sim_pass(next - sim_now());
    sim_run_due();
    woken |= dgm_hv_interrupt() || disks_pending() || network_pending() || sim_now() >= deadline;
    sim_guests_hear();
    return true;
}

static bool honest_ready(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++)
        if (!sim.guests[i]->hostile && !sim.guests[i]->dead && !sim.guests[i]->ready_to_end)
            return false;
    return true;
}

static void print_guests(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++) {
        const struct sim_guest *guest = sim.guests[i];

        printf("guest %u: %s%s\n", guest->domid, guest->dead ? "dead, was: " : "",
               guest->doing ? guest->doing : "?");
        for (unsigned f = 0; f < guest->front_count; f++)
            printf("  disk %u: %u requests in flight, %llu left\n", guest->fronts[f].disk,
                   guest->fronts[f].in_flight, (unsigned long long)guest->fronts[f].left);
    }
}

/* Runs until `done`. A machine without further events is stuck. */
static void run_until(bool (*done)(void), uint64_t limit_ns, const char *what)
{
    const uint64_t end = sim_now() + limit_ns;

    while (!done()) {
        if (woken)
            library_runs();
        sim.ending |= sim.responses >= sim.options.requests;
        if (sim.ending)
            disks_recover();
        if (done())
            return;
        if (!wait_for_interrupt() || sim_now() > end) {
            if (sim.options.nth_kind == NTH_HYPERCALL && !sim.settling)
                return; /* without that hypercall a guest may wait permanently */
            print_guests();
            sim_fail("%s", what);
        }
        if (sim_step % 16 == 0)
            for (unsigned i = 0; i < sim.guest_count; i++)
                oracle_guest(sim.guests[i]);
    }
}

static bool run_may_end(void)
{
    return sim.ending && honest_ready();
}

/* Frames that a disk still holds when its guest has ended are quarantined until the disk returns
 * them. */
static bool all_guests_gone(void)
{
    return sim.idle && disks_idle();
}

void sim_run(const struct sim_options *options, struct sim_result *result)
{
    sim.options = *options;
    sim_base_start(options->seed, options->verbose);
    dgm_sim_log(options->verbose);
    sim_boot();
    dgm_sim_at_barrier(run_guest_at_barrier);
    woken = true;
    /* A guest whose only disk is slow has a request in a second or more. */
    run_until(run_may_end, options->nth_kind == NTH_HYPERCALL ? 30 * SECOND : 20000 * SECOND,
              "the guests never get their requests done");
    sim.settling = true;
    sim.victim_reads = sim.guests[0]->fronts[0].reads;
    sim.log_lines = dgm_sim_log_lines();
    if (options->neighbour)
        fairness_end();
    oracle_secrets();
    for (unsigned i = 0; i < sim.guest_count; i++) {
        sim.guests[i]->may_end = true;
        if (options->nth_kind != NTH_NONE && !sim.guests[i]->dead)
            guest_die(sim.guests[i], false);
    }
    if (options->nth_kind == NTH_HYPERCALL) {
        /* In case its event is not bound. */
        dgm_reactor_post(&sim.reactor, &sim.kernel.domains_changed);
        library_runs();
        /* Xen recovers: the ends of guests must be detected, although it reported none before. */
        sim.options.permanently = false;
    }
    woken = true;
    run_until(all_guests_gone, 600 * SECOND, "the guests are never released");
    library_runs();
    oracle_end();
    *result = (struct sim_result){
        .requests = sim.responses,
        .failed = sim.failed,
        .steps = sim_step,
        .digest = sim_digest(),
        .now_ns = sim_now(),
        .bounced = sim.core.dma.bytes_bounced_gap + sim.core.dma.bytes_bounced_reach +
                   sim.core.dma.bytes_bounced_line,
        .resets = disks_resets(),
        .nth_seen = sim.nth_seen,
        .fair = fairness_result(),
        .victim_reads = sim.victim_reads,
        .log_lines = sim.log_lines,
    };
    for (size_t i = 0; i < sim.kernel.disk_count; i++)
        for (unsigned r = 0; r < DGM_BLKBACK_REFUSALS; r++)
            result->refused += sim.kernel.disk[i].back.counters.refused[r];
}
