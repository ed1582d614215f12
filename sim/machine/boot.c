/* SPDX-License-Identifier: MIT */
/* boot: builds the machine of the plan, up to the library's first turn */
#include <sim/machine/machine.h>
#include <sim/machine/network.h>

#include <dragoman/pages/balloon.h>
#include <port/sim/sim.h>
#include <sim/hypervisor/domctl.h>

#include <stdio.h>
#include <stdlib.h>

#define RAM_FIRST   SIM_RAM_FIRST
#define SLOTS_FIRST 0x80000u
#define XS_BYTES    (1u << 20)

static void when_idle(void)
{
    sim.idle = true;
}

static uint64_t ram_frames(void)
{
    return sim.plan.ram_frames + (sim.plan.ballooned ? sim.plan.slots : 0);
}

static void boot_memory(void)
{
    const struct dgm_ram_bank bank = {dgm_gfn(RAM_FIRST), dgm_mfn(sim.plan.ram_mfn), ram_frames(),
                                      NULL};
    const struct dgm_gfn_range ram = {dgm_gfn(RAM_FIRST), sim.plan.ram_frames};
    const struct dgm_gfn_range holes = {
        dgm_gfn(sim.plan.ballooned ? RAM_FIRST + sim.plan.ram_frames : SLOTS_FIRST),
        sim.plan.slots};
    const struct dgm_window window = dgm_window(holes);

    dgm_reactor_init(&sim.reactor);
    dgm_frames_init(&sim.frames);
    (void)dgm_frames_add(&sim.frames, ram);
    SIM_CHECK(dgm_core_init(&sim.core,
                            &(struct dgm_core_config){
                                .reactor = &sim.reactor,
                                .frames = &sim.frames,
                                .banks = &bank,
                                .bank_count = 1,
                                .window = &window,
                                .bounce_frames = sim.plan.bounce,
                                .copy_frames = sim.plan.copy_frames,
                                .persistent_frames = sim.plan.persistent_frames,
                                .identity_frames = sim.plan.identity_frames,
                                .places = sim.plan.places,
                                .place_count = sim.plan.place_count,
                            }) == DGM_OK,
              "no core");
    if (sim.plan.flush) {
        if (dgm_cacheflush_probe(&sim.flush) == DGM_OK)
            sim.core.dma.flush = &sim.flush;
        else /* as in kernel/memory.c */
            SIM_CHECK(sim.options.nth_kind == NTH_HYPERCALL,
                      "Xen has no hypercall for cache maintenance");
    }
    dgm_reach_set_costs(&sim.core.reach, &sim.plan.costs);
    dgm_evtchn_init(&sim.evtchn, &sim.reactor, dgm_hv_shared_info(),
                    &dgm_hv_shared_info()->vcpu_info[0]);
    if (sim.plan.ballooned)
        SIM_CHECK(dgm_balloon_out(holes) == (int64_t)holes.count, "our RAM is not ballooned out");
    memory_start(sim.options.seed, (struct dgm_gfn_range){ram.first, ram_frames()},
                 dgm_mfn(sim.plan.ram_mfn), &sim.core.bounce, sim.core.copy_buffers);
}

static void boot_front(const struct front_plan *plan)
{
    struct sim_guest *guest = sim.guests[plan->guest];
    struct config_disk *disk = &sim.config.disks[sim.config.disk_count++];
    const unsigned index = guest->front_count;

    front_start(guest, index, plan->disk, plan->writable);
    snprintf(disk->vdev, sizeof disk->vdev, "xvd%c", (char)('a' + index));
    snprintf(disk->target, sizeof disk->target, "nvme%u", plan->disk);
    disk->writable = plan->writable;
    disk->mode = plan->mode;
    disk->persistent = plan->persistent;
    disk->domid = guest->domid;
}

static void boot_guests(void)
{
    sim.guest_count = sim.plan.guest_count;
    for (unsigned i = 0; i < sim.guest_count; i++) {
        sim.guests[i] = calloc(1, sizeof *sim.guests[i]);
        guest_start(sim.guests[i], sim.options.seed, (domid_t)(i + 1), sim.plan.hostile[i]);
        sim.guests[i]->habit = sim.plan.habit[i];
        snprintf(sim.config.guests[i].name, sizeof sim.config.guests[i].name, "guest%u", i + 1);
        sim.config.guests[sim.config.guest_count++].domid = (uint16_t)(i + 1);
    }
    /* After all domains exist, because a new domain has its frames at fixed places. */
    for (unsigned i = 0; i < sim.guest_count; i++)
        plan_scatter((domid_t)(i + 1), guest_frame_count());
    for (unsigned i = 0; i < sim.plan.front_count; i++)
        boot_front(&sim.plan.fronts[i]);
}

static void boot_models(void)
{
    for (unsigned i = 0; i < sim.guest_count; i++)
        for (unsigned f = 0; f < sim.guests[i]->front_count; f++) {
            struct front *front = &sim.guests[i]->fronts[f];
            const struct dgm_blkdev *disk = sim_disk(front->disk);

            model_start(&front->model, front->disk, disk->blocks * disk->block_bytes / SECTOR);
        }
}

void sim_boot(void)
{
    plan_draw(&sim.plan, &sim.options);
    sim.rng = rng_of(sim.options.seed, "machine");
    sim.fault_rng = rng_of(sim.options.seed, "faults");
    sim.call_rng = rng_of(sim.options.seed, "refused calls");
    dgm_hv_start(dgm_gfn(RAM_FIRST), ram_frames(), dgm_mfn(sim.plan.ram_mfn));
    dgm_sim_attach(&(struct dgm_sim_machine){.hypercall = faults_hypercall,
                                             .mmio_read = disks_mmio_read,
                                             .mmio_write = disks_mmio_write,
                                             .cache_clean = memory_clean,
                                             .cache_clean_invalidate = memory_clean_invalidate});
    dgm_hv_set_domctl(sim.plan.domctl);
    dgm_hv_set_maptrack(sim.plan.maptrack);
    boot_memory();
    boot_guests();
    disks_boot();
    boot_models();
    sim.xs = dgm_xenstore_init(dgm_frames_take_bytes(&sim.frames, XS_BYTES), XS_BYTES, &sim.reactor,
                               &sim.evtchn, &dgm_xs_limits_default);
    SIM_CHECK(sim.xs, "no xenstore");
    SIM_CHECK(dgm_blkback_pool_init(&sim.pool, &sim.reactor, &sim.frames, &sim.plan.pool) == 0,
              "no pool");
    if (sim.plan.network)
        network_boot();
    dgm_frames_lock(&sim.frames);
    sim.env = (struct dgm_blkback_env){&sim.reactor,    sim.xs,        &sim.evtchn,
                                       &sim.core.reach, &sim.core.dma, &sim.pool};
    faults_start();
    watch_start();
    disks_list(&sim.disks);
    guests_init(&sim.kernel, &sim.config, &sim.disks, &sim.env, when_idle);
    if (sim.plan.network)
        network_give();
    guests_start(&sim.kernel);
}
