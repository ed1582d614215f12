/* SPDX-License-Identifier: MIT */
/*
 * plan: what a seed's machine is like: where memory lies, what devices reach, which faults happen
 *
 * Machine frames are assigned in short runs from several places: beside our own RAM (in the same
 * 128 MiB section), at numbers that are gfns of our slot window, and above 4 GiB; some runs
 * descend, and the runs of all guests are mixed. So adjacent gfns have distant mfns and the
 * reverse, and a gfn that is mistaken for an mfn always hits memory in use.
 */
#include <sim/machine/machine.h>

#include <string.h>

const char *const sim_fault_names[SIM_FAULTS] = {
    [FAULT_MAP] = "map",         [FAULT_UNMAP] = "unmap",         [FAULT_BATCH] = "batch",
    [FAULT_CHANNEL] = "channel", [FAULT_ERROR] = "error",         [FAULT_SILENCE] = "silence",
    [FAULT_FATAL] = "fatal",     [FAULT_GONE] = "gone",           [FAULT_LINE] = "line",
    [FAULT_DEATH] = "death",     [FAULT_RESTART] = "restart",     [FAULT_HOSTILE] = "hostile",
    [FAULT_CACHE] = "cache",     [FAULT_SCARCE] = "scarce",       [FAULT_COPY] = "copy",
    [FAULT_EAGAIN] = "again",    [FAULT_UNWRITTEN] = "unwritten", [FAULT_DISKS] = "disks",
    [FAULT_STALL] = "stall",
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
    [FAULT_STALL] = 1000000,
};

/* Whether a fault of the whole run happens in this one. */
static bool draw(struct rng *rng, const struct sim_plan *plan, enum sim_fault fault)
{
    return rng_chance(rng, plan->rate[fault]);
}

static void draw_modes(struct sim_plan *plan, const struct sim_options *options, struct rng *rng)
{
    static const enum dgm_reach_mode modes[SIM_MODES] = {[MODE_COPY] = DGM_REACH_MODE_COPY,
                                                         [MODE_IDENTITY] = DGM_REACH_MODE_IDENTITY,
                                                         [MODE_AUTO] = DGM_REACH_MODE_AUTO};

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
    plan->costs = (struct dgm_reach_costs){rng_range(rng, 500, 1500), rng_range(rng, 500, 1500)};
}

/* Where Xen can map a frame at gfn == mfn: neither over our RAM nor over the slots. */
static void draw_places(struct sim_plan *plan, struct rng *rng)
{
    const struct dgm_gfn_range places[] = {
        {dgm_gfn(0x42000), 0x80000 - 0x42000},
        {dgm_gfn(0x80000 + (plan->ballooned ? 0 : plan->slots)), 0x8000},
        {dgm_gfn(0x90000), 0x8000},
        {dgm_gfn(0xa00000), 0x8000},
    };

    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
        if (rng_below(rng, 4))
            plan->places[plan->place_count++] = places[i];
}

static unsigned fronts_of(const struct sim_plan *plan, unsigned guest)
{
    unsigned count = 0;

    for (unsigned i = 0; i < plan->front_count; i++)
        count += plan->fronts[i].guest == guest;
    return count;
}

static unsigned disks_of_guest_max(const struct sim_plan *plan)
{
    unsigned most = 1;

    for (unsigned i = 0; i < plan->guest_count; i++)
        if (fronts_of(plan, i) > most)
            most = fronts_of(plan, i);
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
    /* Xen's room has no shares: a disk that hangs would keep it from all. */
    for (unsigned i = 0; i < plan->disk_count; i++)
        if (plan->disks[i].kind == DISK_SLOW || plan->disks[i].kind == DISK_HUNG)
            return;
    for (unsigned i = 0; i < plan->front_count; i++)
        identity = identity || plan->fronts[i].mode == DGM_REACH_MODE_IDENTITY;
    plan->maptrack =
        (identity ? 2 : 1) * request + plan->front_count + SIM_LOST_MAX + rng_range(&rng, 0, 16);
}

/* --- guests and their disks --- */

unsigned plan_guests(uint64_t seed)
{
    struct rng rng = rng_of(seed, "guests");
    const uint64_t kind = rng_below(&rng, 20);

    if (kind == 0)
        return (unsigned)rng_range(&rng, 9, SIM_GUESTS_MAX);
    return kind < 6 ? (unsigned)rng_range(&rng, 2, 8) : 3;
}

static void add_front(struct sim_plan *plan, unsigned guest, unsigned disk, bool writable)
{
    if (plan->front_count < SIM_FRONTS_MAX && fronts_of(plan, guest) < GUEST_FRONTS_MAX)
        plan->fronts[plan->front_count++] = (struct front_plan){
            .guest = (uint8_t)guest, .disk = (uint8_t)disk, .writable = writable};
}

/* A disk that one guest reads and writes. The first guest's are never slow and never hang. */
static void add_disk(struct sim_plan *plan, struct rng *rng, unsigned guest, bool stalls,
                     bool sound)
{
    struct disk_plan *disk = &plan->disks[plan->disk_count];

    disk->kind = sound && rng_below(rng, 2) ? DISK_SOUND : DISK_FAULTY;
    if (stalls && guest && rng_below(rng, 3) == 0)
        disk->kind = rng_below(rng, 3) ? DISK_SLOW : DISK_HUNG;
    disk->commands = rng_below(rng, 60);
    add_front(plan, guest, plan->disk_count++, true);
}

static void draw_topology(struct sim_plan *plan, const struct sim_options *options)
{
    struct rng rng = rng_of(options->seed, "topology");
    struct rng habits = rng_of(options->seed, "habits");
    const bool stalls = draw(&rng, plan, FAULT_STALL);
    bool several = draw(&rng, plan, FAULT_DISKS);
    const bool sound = rng_below(&rng, 3) && options->nth_kind == NTH_NONE;

    plan->guest_count = options->guests ? options->guests : plan_guests(options->seed);
    several = several && plan->guest_count <= 8; /* each disk needs memory of its own */
    for (unsigned i = 0; i < plan->guest_count; i++) {
        const bool hostile = i == 1 || (i > 3 && rng_below(&rng, 6) == 0);
        unsigned disks = several && !hostile && rng_below(&rng, 2) ? 2 + rng_below(&rng, 2) : 1;

        plan->hostile[i] =
            hostile && plan->guest_count > 1 && !(options->without >> FAULT_HOSTILE & 1);
        if (disks > SIM_DISKS_MAX - plan->disk_count - (plan->guest_count - i - 1))
            disks = 1;
        while (disks--)
            add_disk(plan, &rng, i, stalls, sound);
    }
    for (unsigned i = 4; i < plan->guest_count; i++)
        if (plan->hostile[i])
            plan->habit[i] = (enum hostile_habit)rng_below(&habits, HABITS);
    if (!several || plan->guest_count < 3 || plan->disk_count == SIM_DISKS_MAX)
        return;
    if (rng_below(&habits, 3))
        plan->disks[plan->disk_count].queue_size = (uint8_t)rng_range(&habits, 2, 6);
    plan->disks[plan->disk_count].kind = sound ? DISK_SOUND : DISK_FAULTY;
    for (unsigned i = 0; i < plan->guest_count; i++)
        if (!plan->hostile[i] && rng_below(&rng, 2))
            add_front(plan, i, plan->disk_count, false);
    plan->disk_count++;
}

/* --- a victim and its neighbour --- */

const char *const sim_neighbour_names[SIM_NEIGHBOURS] = {
    [NEIGHBOUR_NONE] = "none",
    [NEIGHBOUR_FLOOD] = "flood",
    [NEIGHBOUR_SLOW] = "slow disks",
    [NEIGHBOUR_HUNG] = "hung disks",
    [NEIGHBOUR_SHARED] = "same disk",
    [NEIGHBOUR_HOSTILE] = "hostile",
    [NEIGHBOUR_MANY] = "31 guests",
    [NEIGHBOUR_XENSTORE] = "xenstore",
    [NEIGHBOUR_RECONNECT] = "reconnects",
    [NEIGHBOUR_KEYS] = "refused keys",
    [NEIGHBOUR_EVENTS] = "events",
};

/* HABIT_EVERYTHING: the neighbour has none of the others. */
static enum hostile_habit habit_of(enum sim_neighbour neighbour)
{
    static const enum hostile_habit habits[SIM_NEIGHBOURS] = {
        [NEIGHBOUR_XENSTORE] = HABIT_XENSTORE,
        [NEIGHBOUR_RECONNECT] = HABIT_RECONNECT,
        [NEIGHBOUR_KEYS] = HABIT_KEYS,
        [NEIGHBOUR_EVENTS] = HABIT_EVENTS,
    };

    return habits[neighbour];
}

static void add_neighbour_disk(struct sim_plan *plan, unsigned guest, enum disk_kind kind)
{
    plan->disks[plan->disk_count].kind = kind;
    plan->disks[plan->disk_count].commands = 8;
    add_front(plan, guest, plan->disk_count++, true);
}

static void plan_neighbour(struct sim_plan *plan, enum sim_neighbour neighbour)
{
    static const enum disk_kind kinds[SIM_NEIGHBOURS] = {
        [NEIGHBOUR_SLOW] = DISK_SLOW, [NEIGHBOUR_HUNG] = DISK_HUNG};

    *plan = (struct sim_plan){.identity = true,
                              .ram_mfn = 0x40000,
                              .slots = 4096,
                              .bounce = 64,
                              .domctl = 0x17,
                              .guest_count = neighbour == NEIGHBOUR_NONE   ? 1
                                             : neighbour == NEIGHBOUR_MANY ? SIM_GUESTS_MAX
                                                                           : 2};
    add_neighbour_disk(plan, 0, DISK_SOUND);
    plan->fronts[0].writable = neighbour != NEIGHBOUR_SHARED;
    if (neighbour == NEIGHBOUR_SHARED) {
        plan->disks[0].queue_size = 8;
        add_front(plan, 1, 0, false);
    }
    for (unsigned i = 1; i < plan->guest_count && neighbour != NEIGHBOUR_SHARED; i++) {
        plan->habit[i] = habit_of(neighbour);
        plan->hostile[i] = neighbour == NEIGHBOUR_HOSTILE || plan->habit[i] != HABIT_EVERYTHING;
        add_neighbour_disk(plan, i, kinds[neighbour]);
        if (plan->guest_count == 2 && !plan->hostile[1])
            add_neighbour_disk(plan, i, kinds[neighbour]);
    }
    plan->pool = dgm_blkback_pool_sizes_for((uint16_t)plan->front_count, 0);
    plan->costs = (struct dgm_reach_costs){1000, 1000};
}

/* --- a steady load, for counting --- */

/* As plan_neighbour() without one; pools are as large as the domain makes them. */
static void plan_steady(struct sim_plan *plan, const struct sim_options *options)
{
    plan_neighbour(plan, NEIGHBOUR_NONE);
    plan->copy_frames = 512;
    plan->persistent_frames = 1056;
    plan->fronts[0].mode = options->mode == MODE_COPY ? DGM_REACH_MODE_COPY : DGM_REACH_MODE_MAP;
    plan->fronts[0].persistent = options->mode == MODE_PERSISTENT;
}

/* --- all of it --- */

void plan_draw(struct sim_plan *plan, const struct sim_options *options)
{
    struct rng ways = rng_of(options->seed, "ways");
    struct rng rng = rng_of(options->seed, "plan");
    bool scarce;

    if (options->neighbour) {
        plan_neighbour(plan, options->neighbour);
        return;
    }
    if (options->steady_depth) {
        plan_steady(plan, options);
        return;
    }
    memset(plan, 0, sizeof *plan);
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        struct rng *from = i <= FAULT_SCARCE ? &rng : &ways;
        const uint32_t rate = rng_below(from, 2) ? (uint32_t)rng_below(from, rate_max[i]) : 0;

        if (!(options->without >> i & 1))
            plan->rate[i] = rate;
    }
    if (!(options->without >> FAULT_HOSTILE & 1))
        plan->rate[FAULT_HOSTILE] = 1000000;
    plan->identity = rng_below(&rng, 3) > 0;
    plan->ram_mfn = plan->identity ? 0x40000 : 0x48000;
    plan->domctl = (uint32_t)rng_range(&rng, 0x15, 0x18);
    draw_topology(plan, options);
    for (unsigned i = 0; i < plan->disk_count; i++) {
        plan->disks[i].incoherent = rng_below(&rng, 2) && !(options->without >> FAULT_CACHE & 1);
        plan->disks[i].blocks4k = rng_below(&rng, 3) == 0;
    }
    plan->slots = 4096;
    /* A boot that cannot balloon out its slots ends there, and shows nothing of a failed call. */
    plan->ballooned = rng_below(&rng, 4) == 0 && options->nth_kind == NTH_NONE;
    plan->bounce = 128;
    plan->pool = dgm_blkback_pool_sizes_for((uint16_t)plan->front_count, 0);
    scarce = draw(&rng, plan, FAULT_SCARCE) || rng_below(&rng, 4) == 0;
    if (scarce && !(options->without >> FAULT_SCARCE & 1)) {
        plan->slots = rng_range(&rng, 300, 1200) + 70ull * plan->front_count;
        plan->bounce = (uint16_t)(plan->front_count + rng_range(&rng, 0, 12));
        plan->pool = (struct dgm_blkback_pool_sizes){
            .devices = (uint16_t)plan->front_count,
            .each = {.requests = {1, 1, 1}, .commands = 1},
            .shared = {.requests = {(uint16_t)rng_range(&rng, 1, 15),
                                    (uint16_t)rng_range(&rng, 0, 7),
                                    (uint16_t)rng_range(&rng, 0, 1)},
                       .commands = (uint16_t)rng_range(&rng, 1, 23)},
        };
    }
    draw_modes(plan, options, &ways);
    draw_pool_sizes(plan, options, &ways,
                    rng_below(&ways, 2) && !(options->without >> FAULT_SCARCE & 1));
    draw_places(plan, &ways);
    ways = rng_of(options->seed, "flush");
    plan->flush = rng_below(&ways, 2);
    draw_maptrack(plan, options);
}

/* --- what a disk's controller can reach --- */

void plan_master(unsigned disk, struct sim_master *master)
{
    struct rng rng = rng_of(sim.options.seed, "masters");
    struct dgm_dma_tag *tag = &master->tag;

    for (unsigned i = 0; i < disk; i++)
        (void)rng_next(&rng);
    rng = (struct rng){rng_next(&rng)};
    *tag = (struct dgm_dma_tag){
        .mask = UINT64_MAX, .block_bytes = 512, .coherent = !sim.plan.disks[disk].incoherent};
    if (sim.options.steady_depth) /* as Xen's machines have them */
        return;
    switch (rng_below(&rng, 6)) {
    case 0: /* a 32-bit device */
        tag->mask = UINT32_MAX;
        break;
    case 1: /* one window of 1 GiB, at bus address 3 GiB, as on a Raspberry Pi 4 */
        tag->mask = UINT32_MAX;
        tag->window_count = 1;
        tag->windows[0] = (struct dgm_dma_window){0x40000000, 0xc0000000, 0x40000000};
        break;
    case 2: /* two windows, the higher one at the lower bus address */
        tag->window_count = 2;
        tag->windows[0] = (struct dgm_dma_window){0x40000000, 0x400000000, 0x40000000};
        tag->windows[1] = (struct dgm_dma_window){0x80000000, 0x0, 0x10000000000};
        break;
    case 3: /* a window that ends among the guests' frames */
        tag->window_count = 1;
        tag->windows[0] = (struct dgm_dma_window){0x40000000, 0x40000000, 0xa280000};
        break;
    default:
        break;
    }
    if (rng_below(&rng, 4) == 0)
        tag->boundary = 0x10000;
    if (rng_below(&rng, 4) == 0)
        tag->segment_bytes_max = 0x8000;
}

/* --- where a guest's frames lie --- */

static uint64_t pick_base(struct rng *rng)
{
    switch (rng_below(rng, 4)) {
    case 0:
        return sim.plan.ram_mfn + 0x2200 + rng_below(rng, 0x800); /* the section of our RAM */
    case 1:
        return 0x80000 + rng_below(rng, 0x1000); /* gfns of our slots */
    case 2:
        return 0x90000 + rng_below(rng, 0x2000);
    default:
        return 0xa00000 + rng_below(rng, 0x4000); /* beyond 4 GiB */
    }
}

void plan_scatter(domid_t domid, uint64_t frames)
{
    struct rng rng = rng_of(sim.options.seed + domid, "scatter");
    uint64_t base = 0, run = 0;
    int64_t stride = 1;

    for (uint64_t gfn = 0; gfn < frames; gfn++) {
        for (;;) {
            if (run == 0) {
                base = pick_base(&rng);
                run = rng_range(&rng, 1, 24);
                stride = rng_below(&rng, 4) == 0 ? -1 : 1;
            }
            run--;
            base = (uint64_t)((int64_t)base + stride);
            if (!dgm_hv_machine(dgm_mfn(base)))
                break;
            run = 0;
        }
        dgm_hv_set_mfn(domid, gfn, dgm_mfn(base));
    }
}
