/* SPDX-License-Identifier: MIT */
/*
 * disks: NVMe controllers (sim/devices/nvme.c) in the machine: their registers, their interrupt,
 * their time, their access to memory, and their faults
 *
 * A disk works by itself: some microseconds after a write to its doorbell it carries out a few
 * commands, in an order of its own. It writes the completions to memory at that moment; the library
 * learns of them when its loop polls the interrupt.
 */
#include <sim/machine/machine.h>

#include <sim/devices/nvme.h>

#include <stdio.h>
#include <stdlib.h>

#define MMIO_BASE  0x700000000000ull
#define MMIO_BYTES 0x10000ull
#define DISK_BYTES (2u << 20)

struct disk {
    struct dgm_device_env env;
    struct dgm_nvme driver;
    struct dgm_simnvme device;
    struct sim_master master;
    struct dgm_irq *irq;
    uint8_t *bytes;
    char name[16];
    uint64_t messages_seen;
    uint32_t number;
    uint64_t back_at;   /* the link that dropped is up again */
    uint64_t paused_to; /* it carries out nothing */
    bool working;       /* an event is on the agenda */
    bool irq_masked;    /* at the device: its line stays low */
    bool failed;        /* permanently */
};

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

/* Guests get no event for a flush that is given up: they notice some time later. */
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

/* What a link that dropped has cleared; the device answers again when the link is up. */
static int restore(struct dgm_device_env *env)
{
    struct disk *disk = (struct disk *)env;

    if (disk->failed || sim_now() < disk->back_at)
        return DGM_EAGAIN;
    if (disk->back_at)
        disk->device.gone = false;
    disk->back_at = 0;
    return DGM_OK;
}

/* --- the device's time --- */

/* It is pulled out, begins a reset that never ends, or its link drops for a while. */
static void go_away(struct disk *disk)
{
    struct dgm_simnvme *device = &disk->device;
    const uint64_t how = rng_below(&sim.fault_rng, 6);

    if (disk->failed || disk->back_at)
        return;
    if (how > 2) {
        disk->back_at = sim_now() + rng_below(&sim.fault_rng, 40 * SECOND);
        device->gone = true;
        NOTE("the link of disk %llu drops until %llu", disk->number, disk->back_at);
        return;
    }
    NOTE("disk %llu fails permanently (%llu)", disk->number, how);
    disk->failed = true;
    device->gone = how == 0;
    device->never_stops = how == 1;
    device->never_ready = how == 2;
    if (how > 0)
        device->fault = DGM_SIMNVME_FATAL;
}

/* Errors that pass with time, one that the driver tries again, and one that is final. */
static uint16_t choose_status(void)
{
    static const uint16_t statuses[] = {0x06, 0x07, 0x21, 0x82, 0x84, 0x281, 0x4281, 0x4281};

    return statuses[rng_below(&sim.fault_rng, sizeof statuses / sizeof statuses[0])];
}

/* A guest's request may fail for it: the medium's error, which the device says not to try again. */
static bool is_final(uint16_t status)
{
    return status & 0x4000;
}

/* The disk pauses, for a tenth of a second up to two minutes. */
static void pause_disk(struct disk *disk)
{
    disk->paused_to = sim_now() + (100 * MS << rng_below(&sim.fault_rng, 11));
    NOTE("disk %llu pauses until %llu", disk->number, disk->paused_to);
}

static void choose_fault(struct disk *disk)
{
    static const enum dgm_simnvme_fault silences[] = {DGM_SIMNVME_SILENT, DGM_SIMNVME_BAD_CID,
                                                      DGM_SIMNVME_OLD_CID, DGM_SIMNVME_BAD_QUEUE};
    struct dgm_simnvme *device = &disk->device;

    device->fault = DGM_SIMNVME_SOUND;
    device->fault_from = device->io_commands;
    device->fault_count = 1;
    if (sim.options.nth_kind == NTH_COMMAND || sim.options.nth_kind == NTH_RESET) {
        const uint64_t nth = sim.nth_seen + 1;

        if (sim.options.nth &&
            (nth == sim.options.nth || (sim.options.permanently && nth > sim.options.nth)))
            device->fault = sim.options.nth_kind == NTH_COMMAND ? DGM_SIMNVME_ERROR
                            : sim.options.nth % 2               ? DGM_SIMNVME_FATAL
                                                                : DGM_SIMNVME_SILENT;
        return;
    }
    if (sim.plan.disks[disk->number].kind != DISK_FAULTY)
        return;
    if (sim_fault_strikes(FAULT_GONE)) {
        go_away(disk);
    } else if (sim_fault_strikes(FAULT_ERROR)) {
        device->fault = DGM_SIMNVME_ERROR;
        device->status = choose_status();
    } else if (sim_fault_strikes(FAULT_SILENCE)) {
        if (rng_below(&sim.fault_rng, 2))
            pause_disk(disk);
        else
            device->fault = silences[rng_below(&sim.fault_rng, 4)];
    } else if (sim_fault_strikes(FAULT_FATAL))
        device->fault = DGM_SIMNVME_FATAL;
    else if (sim_fault_strikes(FAULT_UNWRITTEN))
        device->fault = DGM_SIMNVME_UNWRITTEN;
    else if (sim_fault_strikes(FAULT_LINE))
        device->fault = rng_below(&sim.fault_rng, 2) ? DGM_SIMNVME_NO_INTERRUPT : DGM_SIMNVME_TWICE;
    if (device->fault == DGM_SIMNVME_TWICE && device->held_count > 20)
        device->fault = DGM_SIMNVME_SOUND;
}

/* The device has chosen its next command, and is about to carry it out. */
static void command_chosen(void *context, const uint32_t *command, enum dgm_simnvme_fault fault)
{
    static const uint8_t operations[] = {BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_WRITE, BLKIF_OP_READ};
    struct disk *disk = context;
    const uint64_t block = command[10] | (uint64_t)command[11] << 32;
    const uint32_t blocks = (command[12] & 0xffff) + 1;
    const uint8_t opcode = command[0] & 0xff;

    if (sim.options.nth_kind == NTH_COMMAND || sim.options.nth_kind == NTH_RESET)
        sim.nth_seen++;
    NOTE("disk %llu: opcode %llu block %llu, %llu blocks, fault %llu", disk->number, opcode, block,
         blocks, fault);
    if (fault == DGM_SIMNVME_UNWRITTEN && opcode == 2)
        faults_unwritten(disk->number, block, blocks);
    if (fault != DGM_SIMNVME_ERROR)
        return; /* whatever else happens to a command, it is sent again */
    /* A flush that fails for good is the end of the disk: rarely. */
    if (opcode == 0 && is_final(disk->device.status) && sim.options.nth_kind == NTH_NONE &&
        rng_below(&sim.fault_rng, 20) > 0)
        disk->device.status = 0x82;
    if (is_final(disk->device.status))
        faults_on_disk(disk->number, block, blocks, operations[opcode % 3]);
}

static bool is_slow(const struct disk *disk)
{
    return sim.plan.disks[disk->number].kind == DISK_SLOW && !sim.ending;
}

/* The driver resets it, in vain, and in the end may fail it. */
static bool hangs(struct disk *disk)
{
    const struct disk_plan *plan = &sim.plan.disks[disk->number];

    if (plan->kind != DISK_HUNG || sim.ending || disk->device.io_commands < plan->commands)
        return false;
    if (!disk->failed)
        NOTE("disk %llu hangs", disk->number);
    disk->failed = true;
    return true;
}

static void work_later(struct disk *disk);

static void work(void *context, uint64_t argument)
{
    struct disk *disk = context;
    struct dgm_simnvme *device = &disk->device;
    unsigned most = (unsigned)rng_range(&sim.rng, 1, 4);

    (void)argument;
    disk->working = false;
    if (sim_now() < disk->paused_to) {
        disk->working = true;
        sim_later(disk->paused_to - sim_now(), work, disk, 0);
        return;
    }
    if (hangs(disk))
        return;
    if (is_slow(disk))
        most = 1;
    if (sim.options.steady_depth)
        most = RING_ENTRIES;
    while (most--) {
        choose_fault(disk);
        if (sim_now() < disk->paused_to || dgm_simnvme_run(device, 1) == 0)
            break;
    }
    if (device->queues[1].sq_head != device->queues[1].sq_tail || dgm_simnvme_ready(device))
        work_later(disk);
    sim_wake();
}

static void work_later(struct disk *disk)
{
    if (disk->working)
        return;
    disk->working = true;
    sim_later(is_slow(disk) ? rng_range(&sim.rng, 300, 1200) * MS
                            : rng_range(&sim.rng, 2, 120) * US,
              work, disk, 0);
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
            faults_on_whole_disk(disk->number); /* resets without end: all fail in time */
    }
    dgm_simnvme_write(&disk->device, offset, value, bytes);
    if (offset >= 0x1000)
        work_later(disk);
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
        .mdts = (uint8_t)rng_range(&sim.rng, sim.options.steady_depth ? 7 : 3, 8),
        .write_cache = rng_below(&sim.rng, 3) > 0,
        .nsid = 1,
        .blocks = DISK_BYTES >> shift,
        .block_shift = shift,
        .shuffle = rng_next(&sim.rng) | 1,
        .memory = disk_memory,
        .context = disk,
        .told = command_chosen,
    };

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
    disk->device.stops_after = (unsigned)rng_below(&sim.rng, 4);
    snprintf(disk->env.name, sizeof disk->env.name, "nvme%u", i);
    disk->env.mmio = (volatile void *)(MMIO_BASE + i * MMIO_BYTES);
    disk->env.mmio_bytes = MMIO_BYTES;
    disk->env.tag = disk->master.tag;
    disk->env.reactor = &sim.reactor;
    disk->env.frames = &sim.frames;
    disk->env.p2m = &sim.core.p2m;
    disk->env.irq_message = rng_below(&sim.rng, 2);
    disk->env.irq_bind = bind_irq;
    disk->env.irq_mask = mask_irq;
    disk->env.dma_stop = stop_dma;
    disk->env.restore = restore;
    if (sim.options.permanently) /* else each request takes minutes */
        disk->env.times = (struct dgm_device_times){
            .stall_ns = 3 * SECOND, .retry_ns = 10 * SECOND, .lost_ns = 10 * SECOND};
}

void disks_boot(void)
{
    for (unsigned i = 0; i < sim.plan.disk_count; i++) {
        const dgm_gfn_t first = sim.frames.ranges[0].first;
        int status;

        disk_make(i);
        /* Devices may access what the driver takes for its queues. */
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
        work_later(disks[i]);
    done = true;
}

bool disks_idle(void)
{
    for (unsigned i = 0; i < disk_count; i++)
        if (disks[i]->driver.under_way)
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
