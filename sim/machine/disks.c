/* SPDX-License-Identifier: MIT */
/*
 * disks: NVMe controllers (sim/devices/nvme.c) in the machine: their registers, their interrupt,
 * their access to memory. Their activity is in disk_work.c.
 */
#include <sim/machine/board.h>
#include <sim/machine/disk.h>

#include <stdio.h>
#include <stdlib.h>

#define MMIO_BASE  0x700000000000ull
#define MMIO_BYTES 0x10000ull
#define DISK_BYTES (2u << 20)

static struct disk *disks[SIM_DISKS_MAX];
static unsigned disk_count;

static void *disk_memory(void *context, uint64_t bus, uint32_t bytes, bool write)
{
    struct disk *disk = context;

    return memory_dma(&disk->master, bus, bytes, write);
}

static bool mask_irq(struct dgm_device_env *env, bool mask)
{
    struct disk *disk = (struct disk *)env;

    if (mask && !dgm_simnvme_line(&disk->device))
        return false;
    disk->irq_masked = mask;
    return true;
}

static int bind_irq(struct dgm_device_env *env, struct dgm_irq *irq)
{
    struct disk *disk = (struct disk *)env; /* its first member */

    disk->irq = irq;
    return 0;
}

/* Guests get no event for a flush that is given up: they find out some time later. */
static void guests_notice(void *context, uint64_t argument)
{
    const struct disk *disk = context;

    (void)argument;
    for (unsigned i = 0; i < sim.guest_count; i++)
        for (unsigned f = 0; f < sim.guests[i]->front_count; f++)
            if (sim.guests[i]->fronts[f].disk == disk->number)
                front_poke(&sim.guests[i]->fronts[f]);
}

static void stop_dma(struct dgm_device_env *env)
{
    struct disk *disk = (struct disk *)env;

    NOTE("disk %llu is taken off the bus", disk->number);
    disk->failed = true;
    disk->master.stopped = true;
    sim_later(SECOND, guests_notice, disk, 0);
    disk->device.gone = true;
}

/* Restores the state that a dropped link has cleared; the device responds again when the link is
 * up. */
static int restore_device(struct dgm_device_env *env)
{
    struct disk *disk = (struct disk *)env;

    if (disk->failed || sim_now() < disk->back_at)
        return DGM_EAGAIN;
    if (disk->back_at)
        disk->device.gone = false;
    disk->back_at = 0;
    return DGM_OK;
}

/* --- registers and interrupts --- */

static struct disk *disk_at(uintptr_t address)
{
    const uint64_t index = (address - MMIO_BASE) / MMIO_BYTES;

    SIM_CHECK(address >= MMIO_BASE && index < disk_count, "no register at 0x%llx",
              (unsigned long long)address);
    return disks[index];
}

uint64_t disks_mmio_read(uintptr_t address, unsigned bytes)
{
    struct disk *disk = disk_at(address);

    sim_pass(200);
    return dgm_simnvme_read(&disk->device, (address - MMIO_BASE) % MMIO_BYTES, bytes);
}

void disks_mmio_write(uintptr_t address, uint64_t value, unsigned bytes)
{
    struct disk *disk = disk_at(address);
    const uint64_t offset = (address - MMIO_BASE) % MMIO_BYTES;

    sim_pass(100);
    if (offset == 0x14 && !(value & 1)) {
        NOTE("disk %llu is disabled", disk->number);
        if (sim.options.nth_kind == NTH_RESET && sim.options.permanently)
            /* Resets without end: all commands fail in the end. */
            faults_on_whole_disk(disk->number);
    }
    dgm_simnvme_write(&disk->device, offset, value, bytes);
    if (offset >= 0x1000)
        disk_work_later(disk);
}

static bool has_interrupt(const struct disk *disk)
{
    if (disk->device.gone) /* and its interrupt line with it */
        return false;
    if (disk->env.irq_message)
        return disk->irq && disk->device.messages != disk->messages_seen;
    return disk->irq && !disk->irq_masked && dgm_simnvme_line(&disk->device);
}

bool disks_pending(void)
{
    for (unsigned i = 0; i < disk_count; i++)
        if (has_interrupt(disks[i]))
            return true;
    return false;
}

bool disks_poll(void)
{
    bool any = false;

    for (unsigned i = 0; i < disk_count; i++) {
        struct disk *disk = disks[i];

        if (!has_interrupt(disk))
            continue;
        disk->messages_seen = disk->device.messages;
        disk->irq->handle(disk->irq);
        any = true;
    }
    return any;
}

/* --- boot --- */

static void disk_make(unsigned i)
{
    struct disk *disk = calloc(1, sizeof *disk);
    const bool big = sim.plan.disks[i].blocks4k;
    const uint8_t shift = big ? 12 : 9;
    char *serial = malloc(8);
    struct dgm_simnvme_config config = {
        .serial = serial,
        .model = "Simulated disk",
        .nsid = 1,
        .blocks = DISK_BYTES >> shift,
        .block_shift = shift,
        .memory = disk_memory,
        .context = disk,
        .on_execute = disk_command_chosen,
    };

    config.mdts = (uint8_t)rng_range(&sim.rng, sim.options.steady_depth ? 7 : 3, 8);
    config.write_cache = rng_below(&sim.rng, 3) > 0;
    config.shuffle = rng_next(&sim.rng) | 1;
    snprintf(serial, 8, "SIM%u", i);
    if (sim.plan.disks[i].queue_size) /* as in nvme.c, but for MQES */
        config.cap = (sim.plan.disks[i].queue_size - 1u) | 1u << 16 | 2u << 24 | 1ull << 37;
    disks[disk_count++] = disk;
    disk->number = i;
    snprintf(disk->name, sizeof disk->name, "disk %u", i);
    disk->master.name = disk->name;
    plan_master(i, &disk->master);
    disk->bytes = malloc(DISK_BYTES);
    for (uint64_t s = 0; s < DISK_BYTES / SECTOR; s++)
        model_fill(i, s, 0, disk->bytes + s * SECTOR);
    dgm_simnvme_init(&disk->device, &config, disk->bytes);
    if (config.write_cache) {
        disk->power_rng = rng_of(sim.options.seed, disk->name);
        power_start(disk, DISK_BYTES);
    }
    disk->device.stops_after = (unsigned)rng_below(&sim.rng, 4);
    snprintf(disk->env.name, sizeof disk->env.name, "nvme%u", i);
    board_attach(&disk->env, &disk->master.tag, MMIO_BASE + i * MMIO_BYTES, MMIO_BYTES);
    disk->env.reactor = &sim.reactor;
    disk->env.frames = &sim.frames;
    disk->env.p2m = &sim.core.p2m;
    disk->env.irq_message = rng_below(&sim.rng, 2);
    disk->env.irq_bind = bind_irq;
    disk->env.irq_mask = mask_irq;
    disk->env.dma_stop = stop_dma;
    disk->env.restore = restore_device;
    if (sim.options.permanently) /* otherwise each request takes minutes */
        disk->env.times = (struct dgm_device_times){
            .stall_ns = 3 * SECOND, .retry_ns = 10 * SECOND, .lost_ns = 10 * SECOND};
}

void disks_boot(void)
{
    for (unsigned i = 0; i < sim.plan.disk_count; i++) {
        const dgm_gfn_t first = sim.frames.ranges[0].first;
        int status;

        disk_make(i);
        /* Devices may access the frames that the driver takes for its queues. */
        memory_lend(
            first, dgm_frames_available(&sim.frames) < 64 ? dgm_frames_available(&sim.frames) : 64);
        status = dgm_nvme_start(&disks[i]->driver, &disks[i]->env);
        memory_unlend(sim.frames.ranges[0].first, 64);
        SIM_CHECK(status == 0, "the driver of disk %u does not start: %d", i, status);
        fairness_attach(&disks[i]->driver.device);
    }
}

void disks_list(struct disks *list)
{
    for (unsigned i = 0; i < disk_count; i++) {
        struct disks_entry *entry = &list->disk[list->count++];

        entry->driver = &dgm_nvme_driver;
        entry->blkdev = &disks[i]->driver.device;
        snprintf(entry->name, sizeof entry->name, "nvme%u", i);
    }
}

const struct disk *disks_of(uint32_t number)
{
    return number < disk_count ? disks[number] : NULL;
}

struct dgm_blkdev *sim_disk(unsigned disk)
{
    return disk < disk_count ? &disks[disk]->driver.device : NULL;
}

struct dgm_nvme *disks_driver(unsigned disk)
{
    return &disks[disk]->driver;
}

const void *disks_bytes(unsigned disk)
{
    return disks[disk]->bytes;
}

bool disks_failed(unsigned disk)
{
    return disks[disk]->failed;
}

bool disks_stalls(unsigned disk)
{
    return sim.plan.disks[disk].kind == DISK_SLOW || sim.plan.disks[disk].kind == DISK_HUNG;
}

void disks_recover(void)
{
    static bool done;

    for (unsigned i = 0; i < disk_count && !done; i++)
        disk_work_later(disks[i]);
    done = true;
}

bool disks_idle(void)
{
    for (unsigned i = 0; i < disk_count; i++)
        if (disks[i]->driver.in_flight)
            return false;
    return true;
}

uint64_t disks_resets(void)
{
    uint64_t resets = 0;

    for (unsigned i = 0; i < disk_count; i++)
        resets += disks[i]->driver.resets;
    return resets;
}
