/* SPDX-License-Identifier: MIT */
/*
 * main: starts everything, in order, then runs the reactor
 *
 * One vCPU, one reactor. Interrupts stay masked: the loop polls the interrupt controller, runs the
 * posted tasks, and waits for the next interrupt when no task is left. It never spins.
 */
#include <kernel/arm64/clock.h>
#include "console.h"
#include "devtree.h"
#include "builder.h"
#include "guests.h"
#include "images.h"
#include "memory.h"
#include "network.h"
#include "ports.h"
#include "partitions.h"
#include "pci.h"
#include "platform.h"
#include <kernel/arm64/image.h>
#include <kernel/arm64/mmu.h>
#include "monitor.h"
#include "report.h"
#include "shortage.h"
#include "xen.h"

#include <dragoman/hyper/hypercall.h>
#include <dragoman/base/check.h>
#include <dragoman/base/status.h>
#include <dragoman/base/version.h>
#include <port/arch.h>
#include <port/env.h>

#include <xen/sched.h>

#define XENSTORE_BYTES    (1u << 20)
#define SHUTDOWN_NS       10000000000ull /* for all disks together */
#define COPY_FRAMES       512u           /* 2 MiB: two of the largest requests, or 46 direct ones */
#define COPY_FRAMES_DISK  66u            /* two requests of Linux's usual size */
#define COPY_PART         8u             /* with more disks, at most 1 / 8 of the RAM */
#define IDENTITY_FRAMES   1024u          /* the most that are mapped */
#define POOL_PART         8u             /* at most 1 / 8 of the free memory is for requests */
#define PERSISTENT_FRAMES 1056u /* of each disk: as many as a Linux guest uses with one ring */

/* Large structures are not part of the image: memory_take() allocates them. */
static struct devtree *tree;
static struct memory memory;
static struct dgm_reactor reactor;
static struct dgm_evtchn *evtchn;
static struct dgm_irq event_irq, timer_irq;
static struct config *config;
static struct disks *disks;
static struct dgm_blkback_pool *pool;
static struct dgm_blkback_env backend_env;
static struct guests *guests;
static struct network *network; /* NULL: no guest has a vif */

static void on_event_irq(struct dgm_irq *irq)
{
    dgm_evtchn_dispatch(evtchn);
}

static void on_timer_irq(struct dgm_irq *irq)
{
    clock_alarm(UINT64_MAX); /* the timer has ended WFI; the reactor checks its deadlines itself */
}

/* Xen's shared page goes to the grant-table window: free guest-physical space that a backend does
 * not use otherwise. */
static void start_events(void)
{
    struct shared_info *shared;

    /* The second frame is for our own grant table (memory_learn.c). */
    mmu_map((struct mmu_range){.address = tree->grant_window.base, .bytes = 2 * DGM_FRAME_BYTES},
            MMU_NORMAL);
    shared = xen_shared_info(dgm_gfn(tree->grant_window.base >> DGM_FRAME_SHIFT));
    dgm_evtchn_init(evtchn, &reactor, shared, &shared->vcpu_info[0]);

    mmu_map(
        (struct mmu_range){.address = tree->gic.distributor, .bytes = tree->gic.distributor_bytes},
        MMU_DEVICE);
    mmu_map((struct mmu_range){.address = tree->gic.second, .bytes = tree->gic.second_bytes},
            MMU_DEVICE);
    if (tree->gic.message)
        mmu_map((struct mmu_range){.address = tree->gic.message, .bytes = 0x1000}, MMU_DEVICE);
    gic_init(&tree->gic);
    event_irq.handle = on_event_irq;
    timer_irq.handle = on_timer_irq;
    if (gic_bind(tree->events.intid, tree->events.edge, &event_irq) != DGM_OK ||
        gic_bind(tree->timer.intid, tree->timer.edge, &timer_irq) != DGM_OK)
        dgm_assert(false); /* two lines, and none was bound before */
}

/* Enough for Linux's usual requests of `copying` disks, as far as the RAM allows. */
static uint16_t copy_frames_for(uint64_t copying)
{
    uint64_t frames = 0;

    for (size_t i = 0; i < tree->bank_count; i++)
        frames += tree->banks[i].bytes >> DGM_FRAME_SHIFT;
    frames /= COPY_PART;
    if (frames > copying * COPY_FRAMES_DISK)
        frames = copying * COPY_FRAMES_DISK;
    if (frames > DGM_COPY_BUFFERS_MAX)
        frames = DGM_COPY_BUFFERS_MAX;
    return frames > COPY_FRAMES ? (uint16_t)frames : COPY_FRAMES;
}

static struct memory_wants wants_of(const struct config *what)
{
    struct memory_wants wants = {.flush = what->caches_by_xen};
    uint64_t copying = 0;

    for (size_t i = 0; i < what->disk_count; i++) {
        const struct config_disk *disk = &what->disks[i];

        if (disk->mode == DGM_REACH_MODE_COPY || disk->mode == DGM_REACH_MODE_AUTO)
            wants.copy_frames = copy_frames_for(++copying);
        if (disk->mode == DGM_REACH_MODE_IDENTITY)
            wants.identity_frames = IDENTITY_FRAMES;
        if (disk->persistent && wants.persistent_frames <= DGM_PERSISTENT_MAX - PERSISTENT_FRAMES)
            wants.persistent_frames = (uint16_t)(wants.persistent_frames + PERSISTENT_FRAMES);
        wants.costs = wants.costs || disk->mode == DGM_REACH_MODE_AUTO;
    }
    return wants;
}

static void print_machine(void)
{
    uint64_t frames = 0;
    char version[48];

    xen_version(version, sizeof version);
    for (size_t i = 0; i < tree->bank_count; i++)
        frames += tree->banks[i].bytes >> DGM_FRAME_SHIFT;
    dgm_env_log("version " DGM_VERSION " on Xen %s, GICv%u, %llu MiB of RAM, %llu slots (%s)",
                version, tree->gic.version, (unsigned long long)(frames >> 8),
                (unsigned long long)memory_slots(&memory), memory_slots_are(&memory));
}

static void print_counters(void)
{
    report_print(&memory, guests, backend_env.xs, disks);
    if (network)
        report_network(network);
}

static void print_ports(void)
{
    if (network)
        ports_print(network);
    else
        dgm_env_log("no guest has a vif");
}

static int plug_vif(struct network_vif vif, bool plug)
{
    if (!network)
        return DGM_ENOENT;
    if (!plug)
        return network_unplug(network, vif);
    for (size_t i = 0; i < guests->count; i++)
        if (guests->guest[i].base.domid == vif.domid)
            return network_plug(network, &guests->guest[i], vif.handle);
    return DGM_ENOENT;
}

/* Disks are shut down first, so that completed writes are durable; a disk that does not respond
 * delays this at most until the deadline. */
static _Noreturn void end_machine(unsigned reason, const char *word)
{
    struct sched_shutdown shutdown = {.reason = reason};

    disks_shutdown(disks, dgm_env_now_ns() + SHUTDOWN_NS);
    print_counters();
    dgm_env_log("end %s", word);
    for (;;)
        dgm_sched_op(SCHEDOP_shutdown, &shutdown);
}

static void power_off(void)
{
    end_machine(SHUTDOWN_poweroff, "poweroff");
}

static void reboot_machine(void)
{
    end_machine(SHUTDOWN_reboot, "reboot");
}

static void when_idle(void)
{
    if (config->poweroff_when_idle)
        power_off();
}

static void on_disk_changed(struct dgm_device_env *env)
{
    dgm_reactor_post(&reactor, &guests->disks_changed);
}

/* Takes no memory unless a guest has a vif. */
static void init_network(void)
{
    if (config->vif_count == 0)
        return;
    network = memory_take(&memory, sizeof *network);
    network->config = config;
    network->drivers = nic_drivers;
    network->driver_count = (size_t)(nic_drivers_end - nic_drivers);
    network->common = (struct dgm_device_env){
        .reactor = &reactor, .frames = &memory.frames, .p2m = &memory.core->p2m};
    network_init(network);
}

/* Takes no memory unless a guest can be built. */
static void init_builder(void)
{
    struct builder *builder = NULL;

    for (size_t i = 0; i < config->guest_count && !builder; i++)
        if (config->guests[i].can_build)
            builder = memory_take(&memory, sizeof *builder);
    if (!builder)
        return;
    builder_init(builder, &reactor, &memory.core->cache, tree->gic.version);
    guests_set_builder(guests, builder);
}

static void start_disks(void)
{
    const struct disks_options options = {
        .drivers = disk_drivers,
        .driver_count = (size_t)(disk_drivers_end - disk_drivers),
        .common = {.reactor = &reactor,
                   .frames = &memory.frames,
                   .p2m = &memory.core->p2m,
                   .changed = on_disk_changed,
                   .times = config->disk_times},
    };

    disks = memory_take(&memory, sizeof *disks);
    guests = memory_take(&memory, sizeof *guests);
    guests_init(guests, config, disks, &backend_env, when_idle);
    init_builder();
    if (partitions_are_wanted(config))
        disks->tables = (struct disks_tables){
            .reactor = &reactor, .dma = &memory.core->dma, .changed = &guests->disks_changed};
    platform_start(disks, tree, &options);
    pci_start(disks, network, tree, &options);
    disks_add_deviceless(disks, &options);
    if (disks->count == 0)
        dgm_env_log("there is no disk to share");
    disks_update(disks);
}

static void start_backends(void)
{
    struct dgm_xenstore *xs =
        dgm_xenstore_init(memory_take(&memory, XENSTORE_BYTES), XENSTORE_BYTES, &reactor, evtchn,
                          &dgm_xs_limits_default);

    dgm_assert(xs);
    pool = memory_take(&memory, sizeof *pool);
    const struct dgm_blkback_pool_sizes sizes = dgm_blkback_pool_sizes_for(
        (struct dgm_blkback_pool_room){.devices = (uint16_t)config->disk_count,
                                       .frames = dgm_frames_available(&memory.frames) / POOL_PART});
    if (dgm_blkback_pool_init(pool, &reactor, &memory.frames, &sizes) != DGM_OK)
        shortage(&memory.frames, 0, "the records of requests do not fit");
    backend_env = (struct dgm_blkback_env){
        .reactor = &reactor,
        .xs = xs,
        .evtchn = evtchn,
        .reach = &memory.core->reach,
        .dma = &memory.core->dma,
        .pool = pool,
    };
    if (network) {
        network_start(network, &backend_env);
        guests->others = &network->devices;
    }
    guests_start(guests);
}

static _Noreturn void run_main_loop(void)
{
    for (;;) {
        gic_poll();
        dgm_evtchn_dispatch(evtchn);
        if (dgm_reactor_turn(&reactor))
            continue;
        const uint64_t deadline_ns = dgm_reactor_deadline_ns(&reactor);
        if (deadline_ns != UINT64_MAX)
            clock_alarm(deadline_ns);
        /* An interrupt that arrived after the poll is pending, so WFI ends immediately. */
        __asm__ volatile("dsb sy\n\twfi" ::: "memory");
    }
}

_Noreturn void kernel_main(uint64_t device_tree, uint64_t entry_ticks)
{
    clock_init();
    memory_init_early(&memory);
    tree = memory_take(&memory, sizeof *tree);
    config = memory_take(&memory, sizeof *config);
    evtchn = memory_take(&memory, sizeof *evtchn);
    devtree_read(tree, (const void *)(uintptr_t)device_tree);
    dgm_reactor_init(&reactor);
    config_read(config, tree->fdt);
    const struct memory_wants wants = wants_of(config);
    memory_check_image(tree);
    memory_init(&memory, tree, &reactor, &wants);
    images_map(config, tree);
    print_machine();
    start_events();
    memory_learn(&memory, tree, &wants);
    init_network();
    start_disks();
    start_backends();
    dgm_env_log("ready %llu us after entry; %llu KiB of RAM free",
                (unsigned long long)((dgm_env_now_ns() - clock_ticks_to_ns(entry_ticks)) / 1000),
                (unsigned long long)dgm_frames_available(&memory.frames) * 4);
    monitor_start(&reactor, evtchn, guests,
                  (struct monitor_actions){.power_off = power_off,
                                           .reboot = reboot_machine,
                                           .print_counters = print_counters,
                                           .print_ports = print_ports,
                                           .plug_vif = plug_vif});
    dgm_frames_lock(&memory.frames);
    run_main_loop();
}
