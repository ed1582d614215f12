/* SPDX-License-Identifier: MIT */
/*
 * plan: the properties of a seed's machine: memory, the reach of devices, rates of faults
 */
#include <sim/machine/plan.h>

#include <string.h>

const char *const sim_fault_names[SIM_FAULTS] = {
    [FAULT_MAP] = "map",         [FAULT_UNMAP] = "unmap",         [FAULT_BATCH] = "batch",
    [FAULT_CHANNEL] = "channel", [FAULT_ERROR] = "error",         [FAULT_SILENCE] = "silence",
    [FAULT_FATAL] = "fatal",     [FAULT_GONE] = "gone",           [FAULT_LINE] = "line",
    [FAULT_DEATH] = "death",     [FAULT_RESTART] = "restart",     [FAULT_HOSTILE] = "hostile",
    [FAULT_CACHE] = "cache",     [FAULT_SCARCE] = "scarce",       [FAULT_COPY] = "copy",
    [FAULT_EAGAIN] = "again",    [FAULT_UNWRITTEN] = "unwritten", [FAULT_DISKS] = "disks",
    [FAULT_STALL] = "stall",     [FAULT_CALL] = "call",           [FAULT_NETWORK] = "network",
};

const char *const sim_mode_names[SIM_MODES] = {
    [MODE_DRAWN] = "drawn",       [MODE_MAP] = "map",   [MODE_COPY] = "copy",
    [MODE_IDENTITY] = "identity", [MODE_AUTO] = "auto", [MODE_PERSISTENT] = "persistent",
};

/* The highest rates that a seed may draw, per million;
 * each kind is off in about half of the seeds. */
static const uint32_t rate_max[SIM_FAULTS] = {
    [FAULT_MAP] = 3000,      [FAULT_UNMAP] = 60,        [FAULT_BATCH] = 2000,
    [FAULT_CHANNEL] = 60000, [FAULT_ERROR] = 20000,     [FAULT_SILENCE] = 600,
    [FAULT_FATAL] = 600,     [FAULT_GONE] = 150,        [FAULT_LINE] = 3000,
    [FAULT_DEATH] = 300000,  [FAULT_RESTART] = 600000,  [FAULT_HOSTILE] = 1000000,
    [FAULT_CACHE] = 1000000, [FAULT_SCARCE] = 1000000,  [FAULT_COPY] = 3000,
    [FAULT_EAGAIN] = 3000,   [FAULT_UNWRITTEN] = 10000, [FAULT_DISKS] = 1000000,
    [FAULT_STALL] = 1000000, [FAULT_CALL] = 60000,      [FAULT_NETWORK] = 1000000,
};

bool plan_draw_fault(struct rng *rng, const struct sim_plan *plan, enum sim_fault fault)
{
    return rng_chance(rng, plan->rate[fault]);
}

static void draw_modes(struct sim_plan *plan, const struct sim_options *options, struct rng *rng)
{
    static const enum dgm_reach_mode modes[SIM_MODES] = {[MODE_COPY] = DGM_REACH_MODE_COPY,
                                                         [MODE_IDENTITY] = DGM_REACH_MODE_IDENTITY,
                                                         [MODE_AUTO] = DGM_REACH_MODE_AUTO};

    struct rng guests_rng = rng_of(options->seed, "what a guest's copying costs");
    const enum sim_mode all = rng_below(rng, 4) == 0
                                  ? (enum sim_mode)rng_range(rng, MODE_MAP, MODE_PERSISTENT)
                                  : MODE_DRAWN; /* each guest has its own */

    for (unsigned i = 0; i < plan->front_count; i++) {
        struct front_plan *front = &plan->fronts[i];
        const enum sim_mode own = (enum sim_mode)rng_range(rng, MODE_MAP, MODE_PERSISTENT);
        const enum sim_mode drawn = all == MODE_DRAWN ? own : all;
        const enum sim_mode mode = options->mode == MODE_DRAWN ? drawn : options->mode;

        front->mode = modes[mode];
        front->persistent =
            mode == MODE_PERSISTENT || (mode == MODE_AUTO && rng_below(rng, 3) == 0);
        if (front->persistent && rng_below(rng, 3) == 0)
            front->mode = DGM_REACH_MODE_AUTO;
    }
    plan->costs.map = rng_range(rng, 500, 1500);
    plan->costs.copy = rng_range(rng, 500, 1500);
    /* Often less than what Xen's copying costs, as on every machine that is known. */
    plan->costs.guest_copy = plan->costs.copy * rng_range(&guests_rng, 1, 8) / 4;
}

static unsigned disks_of_guest_max(const struct sim_plan *plan)
{
    unsigned most = 1;

    for (unsigned i = 0; i < plan->guest_count; i++)
        if (plan_fronts_of(plan, i) > most)
            most = plan_fronts_of(plan, i);
    return most;
}

/* The sizes of the pools of reach. Each guest can have one request of the smallest size that is
 * offered, and lose a few slots. */
static void draw_pool_sizes(struct sim_plan *plan, const struct sim_options *options,
                            struct rng *rng, bool tight)
{
    const unsigned guests = plan->guest_count < 3 ? 3 : plan->guest_count;
    const uint64_t least = 26ull * guests * disks_of_guest_max(plan);

    plan->copy_frames = least > 256 ? (uint16_t)least : 256;
    plan->persistent_frames = 512;
    plan->identity_frames = 256;
    if (tight) {
        plan->copy_frames = (uint16_t)rng_range(rng, least, least + 60);
        plan->persistent_frames = (uint16_t)rng_range(rng, 1, rng_below(rng, 3) ? 80 : 6);
        plan->identity_frames = (uint16_t)rng_range(rng, 1, 40);
        if (rng_below(rng, 2))
            plan->slots = rng_range(rng, least, least + 60);
    }
}

/*
 * Xen's room for our mappings. In some plans it is little more than one request needs: its frames
 * (dgm_reach_request_frames_max()), each mapped twice in mode identity, beside the rings' pages and
 * the few mappings that Xen then refuses to undo.
 */
static void draw_maptrack(struct sim_plan *plan, const struct sim_options *options)
{
    struct rng rng = rng_of(options->seed, "maptrack");
    const uint64_t request = plan->slots / 4 < 257 ? plan->slots / 4 : 257;
    bool identity = false;

    if (rng_below(&rng, 3) || options->without >> FAULT_SCARCE & 1)
        return;
    /* Xen's room has no shares: a disk that hangs could block it for all. */
    for (unsigned i = 0; i < plan->disk_count; i++)
        if (plan->disks[i].kind == DISK_SLOW || plan->disks[i].kind == DISK_HUNG)
            return;
    for (unsigned i = 0; i < plan->front_count; i++)
        identity = identity || plan->fronts[i].mode == DGM_REACH_MODE_IDENTITY;
    plan->maptrack =
        (identity ? 2 : 1) * request + plan->front_count + SIM_LOST_MAX + rng_range(&rng, 0, 16);
}

/* --- a steady load, for counting --- */

/* As plan_neighbours() without one; pools are as large as the domain makes them. */
static void plan_steady(struct sim_plan *plan, const struct sim_options *options)
{
    plan_neighbours(plan, NEIGHBOUR_NONE, 0);
    plan->copy_frames = 512;
    plan->persistent_frames = 1056;
    plan->fronts[0].mode = options->mode == MODE_COPY ? DGM_REACH_MODE_COPY : DGM_REACH_MODE_MAP;
    plan->fronts[0].persistent = options->mode == MODE_PERSISTENT;
}

/* --- all of it --- */

/* As dom0_mem=16M, or 24M where many guests have a vif and a controller of their own each. */
static uint64_t ram_frames_of(const struct sim_plan *plan)
{
    return plan->network && plan->guest_count > 16 ? 6144 : 4096;
}

void plan_draw(struct sim_plan *plan, const struct sim_options *options)
{
    struct rng ways = rng_of(options->seed, "ways"), calls = rng_of(options->seed, "calls");
    struct rng rng = rng_of(options->seed, "plan");
    bool scarce;

    if (options->neighbour)
        plan_neighbours(plan, options->neighbour, options->neighbour_count);
    else if (options->steady_depth)
        plan_steady(plan, options);
    if (options->neighbour || options->steady_depth) {
        plan->network = options->network;
        return;
    }
    memset(plan, 0, sizeof *plan);
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        struct rng *from = i <= FAULT_SCARCE ? &rng : i < FAULT_CALL ? &ways : &calls;
        const uint32_t rate = rng_below(from, 2) ? (uint32_t)rng_below(from, rate_max[i]) : 0;

        if (!(options->without >> i & 1))
            plan->rate[i] = rate;
    }
    if (!(options->without >> FAULT_HOSTILE & 1))
        plan->rate[FAULT_HOSTILE] = 1000000;
    /* The n-th call of the network is tested by `--network`. */
    plan->network = options->network ||
                    (options->nth_kind == NTH_NONE && plan_draw_fault(&calls, plan, FAULT_NETWORK));
    plan->identity = rng_below(&rng, 3) > 0;
    plan->ram_mfn = plan->identity ? SIM_RAM_FIRST : 0x48000;
    plan->domctl = (uint32_t)rng_range(&rng, 0x15, 0x18);
    plan_topology(plan, options);
    plan->ram_frames = ram_frames_of(plan);
    for (unsigned i = 0; i < plan->disk_count; i++) {
        plan->disks[i].incoherent = rng_below(&rng, 2) && !(options->without >> FAULT_CACHE & 1);
        plan->disks[i].blocks4k = rng_below(&rng, 3) == 0;
    }
    plan->slots = SIM_SLOTS_MAX;
    /* A boot that cannot balloon out its slots ends there, so it tests no later failed call. */
    plan->ballooned = rng_below(&rng, 4) == 0 && options->nth_kind == NTH_NONE;
    plan->bounce = 128;
    plan->pool = dgm_blkback_pool_sizes_for(
        (struct dgm_blkback_pool_room){.devices = (uint16_t)plan->front_count, .frames = 0});
    scarce = plan_draw_fault(&rng, plan, FAULT_SCARCE) || rng_below(&rng, 4) == 0;
    if (scarce && !(options->without >> FAULT_SCARCE & 1)) {
        plan->slots = rng_range(&rng, 300, 1200) + 70ull * plan->front_count;
        plan->bounce = (uint16_t)(plan->front_count + rng_range(&rng, 0, 12));
        plan->pool = (struct dgm_blkback_pool_sizes){
            .devices = (uint16_t)plan->front_count,
            .each = {.requests = {1, 1, 1}, .commands = 1},
        };
        plan->pool.shared.requests[0] = (uint16_t)rng_range(&rng, 1, 15);
        plan->pool.shared.requests[1] = (uint16_t)rng_range(&rng, 0, 7);
        plan->pool.shared.requests[2] = (uint16_t)rng_range(&rng, 0, 1);
        plan->pool.shared.commands = (uint16_t)rng_range(&rng, 1, 23);
    }
    draw_modes(plan, options, &ways);
    draw_pool_sizes(plan, options, &ways,
                    rng_below(&ways, 2) && !(options->without >> FAULT_SCARCE & 1));
    plan_places(plan, &ways);
    ways = rng_of(options->seed, "flush");
    plan->flush = rng_below(&ways, 2);
    draw_maptrack(plan, options);
}
