/* SPDX-License-Identifier: MIT */
/*
 * places: the addresses of memory, and the part of it that devices reach
 *
 * Machine frames are assigned in short runs from several places: beside our own RAM (in the same
 * 128 MiB section), at numbers that are gfns of our slot window, and above 4 GiB; some runs
 * descend, and the runs of all guests are mixed. So adjacent gfns have distant mfns and vice versa,
 * and a gfn that is mistaken for an mfn always names memory in use.
 */
#include <sim/machine/plan.h>

void plan_places(struct sim_plan *plan, struct rng *rng)
{
    const uint64_t own_end = SIM_RAM_FIRST + plan->ram_frames + SIM_SLOTS_MAX;
    const struct dgm_gfn_range places[] = {
        {dgm_gfn(own_end), 0x80000 - own_end},
        {dgm_gfn(0x80000 + (plan->ballooned ? 0 : plan->slots)), 0x8000},
        {dgm_gfn(0x90000), 0x8000},
        {dgm_gfn(0xa00000), 0x8000},
    };

    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
        if (rng_below(rng, 4))
            plan->places[plan->place_count++] = places[i];
}

/* --- the reach of a disk's controller --- */

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
        tag->windows[0] = (struct dgm_dma_window){0x40000000, 0x20000000000, 0x40000000};
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

/* --- the machine frames of guests --- */

static uint64_t pick_base(struct rng *rng)
{
    switch (rng_below(rng, 4)) {
    case 0:
        return sim.plan.ram_mfn + sim.plan.ram_frames + SIM_SLOTS_MAX + 0x200 +
               rng_below(rng, 0x800); /* the section of our RAM */
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
