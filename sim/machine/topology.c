/* SPDX-License-Identifier: MIT */
/*
 * topology: the guests and their disks, of a seed and of a run that measures a neighbour
 */
#include <sim/machine/plan.h>

unsigned plan_fronts_of(const struct sim_plan *plan, unsigned guest)
{
    unsigned count = 0;

    for (unsigned i = 0; i < plan->front_count; i++)
        count += plan->fronts[i].guest == guest;
    return count;
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
    if (plan->front_count < SIM_FRONTS_MAX && plan_fronts_of(plan, guest) < GUEST_FRONTS_MAX)
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

void plan_topology(struct sim_plan *plan, const struct sim_options *options)
{
    struct rng rng = rng_of(options->seed, "topology");
    struct rng habits = rng_of(options->seed, "habits");
    const bool stalls = plan_draw_fault(&rng, plan, FAULT_STALL);
    bool several = plan_draw_fault(&rng, plan, FAULT_DISKS);
    const bool sound = rng_below(&rng, 3) && options->nth_kind == NTH_NONE;

    plan->guest_count = options->guests ? options->guests : plan_guests(options->seed);
    several = several && plan->guest_count <= 8; /* each disk needs its own memory */
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
    [NEIGHBOUR_NONE] = "none",         [NEIGHBOUR_FLOOD] = "flood",
    [NEIGHBOUR_SLOW] = "slow disks",   [NEIGHBOUR_HUNG] = "hung disks",
    [NEIGHBOUR_SHARED] = "same disk",  [NEIGHBOUR_HOSTILE] = "hostile",
    [NEIGHBOUR_XENSTORE] = "xenstore", [NEIGHBOUR_RECONNECT] = "reconnects",
    [NEIGHBOUR_KEYS] = "refused keys", [NEIGHBOUR_EVENTS] = "events",
    [NEIGHBOUR_MIXED] = "mixed",
};

/* HABIT_EVERYTHING: the neighbour has none of the other habits. */
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

static void add_neighbour(struct sim_plan *plan, unsigned guest, enum sim_neighbour neighbour)
{
    static const enum disk_kind kinds[SIM_NEIGHBOURS] = {
        [NEIGHBOUR_SLOW] = DISK_SLOW, [NEIGHBOUR_HUNG] = DISK_HUNG};

    if (neighbour == NEIGHBOUR_SHARED) {
        add_front(plan, guest, 0, false);
        return;
    }
    plan->habit[guest] = habit_of(neighbour);
    plan->hostile[guest] = neighbour == NEIGHBOUR_HOSTILE || plan->habit[guest] != HABIT_EVERYTHING;
    add_neighbour_disk(plan, guest, kinds[neighbour]);
    if (plan->guest_count == 2 && !plan->hostile[guest])
        add_neighbour_disk(plan, guest, kinds[neighbour]);
}

/* The kind of the n-th of mixed neighbours: all but those that share the victim's disk. */
static enum sim_neighbour mixed_kind(unsigned n)
{
    static const enum sim_neighbour kinds[] = {
        NEIGHBOUR_FLOOD,    NEIGHBOUR_SLOW,      NEIGHBOUR_HUNG, NEIGHBOUR_HOSTILE,
        NEIGHBOUR_XENSTORE, NEIGHBOUR_RECONNECT, NEIGHBOUR_KEYS, NEIGHBOUR_EVENTS};

    return kinds[n % (sizeof kinds / sizeof kinds[0])];
}

void plan_neighbours(struct sim_plan *plan, enum sim_neighbour neighbour, unsigned count)
{
    *plan = (struct sim_plan){.identity = true,
                              .ram_mfn = SIM_RAM_FIRST,
                              .ram_frames = 4096,
                              .slots = SIM_SLOTS_MAX,
                              .bounce = 64,
                              .domctl = 0x17,
                              .guest_count = 1 + count};
    add_neighbour_disk(plan, 0, DISK_SOUND);
    plan->fronts[0].writable = neighbour != NEIGHBOUR_SHARED;
    if (neighbour == NEIGHBOUR_SHARED)
        plan->disks[0].queue_size = 8;
    for (unsigned i = 1; i <= count; i++)
        add_neighbour(plan, i, neighbour == NEIGHBOUR_MIXED ? mixed_kind(i) : neighbour);
    plan->pool = dgm_blkback_pool_sizes_for(
        (struct dgm_blkback_pool_room){.devices = (uint16_t)plan->front_count, .frames = 0});
    plan->costs = (struct dgm_reach_costs){.map = 1000, .copy = 1000};
}
