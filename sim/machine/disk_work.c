/* SPDX-License-Identifier: MIT */
/*
 * disk_work: the activity of a disk: its timing and its faults
 *
 * Some microseconds after a write to its doorbell a disk executes a few commands, in its own order.
 * It writes the completions to memory at that moment; the library finds them when its loop polls
 * the interrupt.
 */
#include <sim/machine/disk.h>

/* Removes the disk, begins a reset that never ends, or drops its link for some time. */
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

/* Draws temporary errors, one that the driver retries, and one that is final. */
static uint16_t choose_status(void)
{
    static const uint16_t statuses[] = {0x06, 0x07, 0x21, 0x82, 0x84, 0x281, 0x4281, 0x4281};

    return statuses[rng_below(&sim.fault_rng, sizeof statuses / sizeof statuses[0])];
}

/* Whether a guest's request may fail: a medium error with "do not retry". */
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

/* For seconds. True: it has no power now. */
static bool power_goes_off(struct disk *disk)
{
    if (!disk->durable || disk->failed || disk->back_at || sim.settling || sim.ending ||
        rng_below(&disk->power_rng, 400))
        return false;
    disk->back_at = sim_now() + rng_below(&disk->power_rng, 3 * SECOND);
    disk->device.gone = true;
    power_lost(disk);
    return true;
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
    if (power_goes_off(disk))
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

void disk_command_chosen(void *context, const uint32_t *command, enum dgm_simnvme_fault fault)
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
    if (opcode == 0 && fault != DGM_SIMNVME_ERROR)
        power_flushed(disk);
    if (opcode == 1)
        power_written(disk, block << (disk->device.config.block_shift - 9),
                      (uint64_t)blocks << (disk->device.config.block_shift - 9));
    if (fault == DGM_SIMNVME_UNWRITTEN && opcode == 2)
        faults_unwritten(disk->number, block, blocks);
    if (fault != DGM_SIMNVME_ERROR)
        return; /* after any other fault the command is sent again */
    /* A flush that fails permanently ends the disk, so this is rare. */
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

/* Lets the disk hang: the driver's resets do not help, and in the end it may fail the disk. */
static bool disk_hangs(struct disk *disk)
{
    const struct disk_plan *plan = &sim.plan.disks[disk->number];

    if (plan->kind != DISK_HUNG || sim.ending || disk->device.io_commands < plan->commands)
        return false;
    if (!disk->failed)
        NOTE("disk %llu hangs", disk->number);
    disk->failed = true;
    return true;
}

static void work_at_disk(void *context, uint64_t argument)
{
    struct disk *disk = context;
    struct dgm_simnvme *device = &disk->device;
    unsigned most = (unsigned)rng_range(&sim.rng, 1, 4);

    (void)argument;
    disk->working = false;
    if (sim_now() < disk->paused_to) {
        disk->working = true;
        sim_later(disk->paused_to - sim_now(), work_at_disk, disk, 0);
        return;
    }
    if (disk_hangs(disk))
        return;
    if (is_slow(disk))
        most = 1;
    if (sim.options.steady_depth)
        most = FRONT_REQUESTS;
    while (most--) {
        choose_fault(disk);
        if (sim_now() < disk->paused_to || dgm_simnvme_run(device, 1) == 0)
            break;
    }
    if (device->queues[1].sq_head != device->queues[1].sq_tail || dgm_simnvme_ready(device))
        disk_work_later(disk);
    sim_wake();
}

void disk_work_later(struct disk *disk)
{
    if (disk->working)
        return;
    disk->working = true;
    sim_later(is_slow(disk) ? rng_range(&sim.rng, 300, 1200) * MS
                            : rng_range(&sim.rng, 2, 120) * US,
              work_at_disk, disk, 0);
}
