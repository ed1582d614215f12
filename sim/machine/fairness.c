/* SPDX-License-Identifier: MIT */
/*
 * fairness: checks that a request on a healthy disk is served, whatever other guests and their
 * disks do
 *
 * A request's time has three parts: until it is submitted to the disk, at the disk, and from the
 * disk's completion to the response. The disk determines the second part; the library determines
 * the others, which are bounded here in turns of the library's loop and in work (loads and stores),
 * so that the bound is the same on every machine:
 *
 *   1. While a device has requests without a response, and its disk has no command of it, at most
 *      FAIR_TURNS turns and FAIR_WORK loads and stores pass.
 *   2. While a device waits for an entry of a queue that it shares with other devices, its disk
 *      completes at most FAIR_COMPLETIONS commands for each of these.
 *   3. No turn takes more than FAIR_WORK loads and stores.
 *      No run of a vif's task, or of a network card's, takes more than FAIR_RUN_WORK (with a mirror
 *      FAIR_COPY_WORK more), and it moves at most FAIR_RUN_PACKETS packets.
 *   4. In a run that measures a neighbour, in which no disk fails, the library logs at most
 *      FAIR_LINES lines for each disk and guest.
 *   5. In any number of turns xenstore spends on guests at most DGM_XS_WORK_PER_TURN units for each
 *      turn, and FAIR_UNITS more.
 *
 * The disk must be sound (enum disk_kind) and the guest honest. A device whose request is parked,
 * because Xen returned GNTST_eagain, waits for Xen.
 *
 * This file wraps the driver's operations, so it sees all submissions and completions.
 */
#include <sim/machine/machine.h>
#include <sim/machine/nets.h>
#include <sim/machine/network.h>

#include <block/pool.h>
#include <dragoman/base/check.h>
#include <xenstore/store.h>

#include <stdio.h>

static struct {
    const struct dgm_blkdev_ops *driver;
    void (*done)(struct dgm_blk_command *command, int status);
    struct fair_device {
        uint32_t at_disk;    /* commands */
        bool waits;          /* for an entry of its disk's queue, */
        uint64_t since_wait; /* since so many completions of the disk */
        uint64_t turns;      /* since it has requests and the disk has none of them */
        uint64_t work;       /* the library's work at the start of that time */
    } device[CONFIG_DISKS_MAX];
    uint64_t completions[SIM_DISKS_MAX];
    uint64_t work_before; /* at the end of the last turn */
    struct {
        uint64_t turn, spent; /* units in the last turn in which guests were served */
        uint64_t excess;      /* beyond DGM_XS_WORK_PER_TURN, of the turns before */
    } xenstore;
    struct {
        struct dgm_task *task; /* NULL: free */
        void (*run)(struct dgm_task *task);
    } tasks[CONFIG_VIFS_MAX + 1]; /* of the network, by place in memory */
    struct fair_result result;
} fair;

/* --- commands between the library and its disks --- */

static unsigned disk_of(const struct dgm_blkdev *blkdev)
{
    unsigned i = 0;

    while (sim_disk(i) != blkdev)
        i++;
    return i;
}

static struct fair_device *device_of(struct dgm_blk_command *blk, unsigned *disk)
{
    const struct dgm_blkback_command *command = dgm_container(blk, struct dgm_blkback_command, blk);
    const struct dgm_blkback *back = command->request->owner;
    size_t i = 0;

    while (i < CONFIG_DISKS_MAX && &sim.kernel.disk[i].back != back)
        i++;
    SIM_CHECK(i < CONFIG_DISKS_MAX, "a command of no request passes between library and disk");
    *disk = disk_of(back->disk);
    return &fair.device[i];
}

static void command_completed(struct dgm_blk_command *blk, int status)
{
    unsigned disk;
    struct fair_device *device = device_of(blk, &disk);

    device->at_disk--;
    device->turns = 0;
    device->work = watch_work();
    fair.completions[disk]++;
    fair.done(blk, status);
}

static void wait_begins(struct fair_device *device, unsigned disk)
{
    if (!device->waits)
        device->since_wait = fair.completions[disk];
    device->waits = true;
}

static int measured_submit(struct dgm_blkdev *blkdev, struct dgm_blk_command *blk)
{
    unsigned disk;
    struct fair_device *device = device_of(blk, &disk);
    int status;

    fair.done = blk->done;
    blk->done = command_completed;
    status = fair.driver->submit(blkdev, blk);
    if (status == DGM_OK) {
        device->at_disk++;
        device->waits = false;
    } else if (status == DGM_EAGAIN) {
        wait_begins(device, disk);
    }
    return status;
}

static void measured_kick(struct dgm_blkdev *blkdev)
{
    fair.driver->kick(blkdev);
}

static bool measured_shutdown(struct dgm_blkdev *blkdev, uint64_t deadline_ns)
{
    return !fair.driver->shutdown || fair.driver->shutdown(blkdev, deadline_ns);
}

void fairness_attach(struct dgm_blkdev *blkdev)
{
    static const struct dgm_blkdev_ops ops = {
        .submit = measured_submit, .kick = measured_kick, .shutdown = measured_shutdown};

    fair.driver = blkdev->ops;
    blkdev->ops = &ops;
}

/* --- runs of the network's tasks --- */

static void measured_run(struct dgm_task *task)
{
    const uint64_t before = watch_work(), moved_before = network_moved(task);
    uint64_t work, moved;
    size_t i = 0;

    while (fair.tasks[i].task != task)
        i++;
    fair.tasks[i].run(task);
    work = watch_work() - before;
    moved = network_moved(task);
    moved = moved > moved_before ? moved - moved_before : 0; /* or the connection has ended */
    if (work > fair.result.run_work_max)
        fair.result.run_work_max = work;
    SIM_CHECK(work <= FAIR_RUN_WORK + (nets_any_mirror() ? FAIR_COPY_WORK : 0),
              "one run of a task of the network takes %llu loads and stores",
              (unsigned long long)work);
    SIM_CHECK(moved <= FAIR_RUN_PACKETS, "one run of a vif's task moves %llu packets",
              (unsigned long long)moved);
}

/* A vif that was plugged again has its own run. */
static void measure_task(struct dgm_task *task)
{
    size_t i = 0;

    if (task->run == measured_run)
        return;
    while (fair.tasks[i].task && fair.tasks[i].task != task)
        i++;
    fair.tasks[i].task = task;
    fair.tasks[i].run = task->run;
    task->run = measured_run;
}

/* --- the bounds --- */

static const struct front *front_of(const struct dgm_blkback *back)
{
    struct sim_guest *guest = sim_guest_of(back->xenbus.domid);
    const unsigned index = (unsigned)(back->vdev[3] - 'a');

    return guest && index < guest->front_count ? &guest->fronts[index] : NULL;
}

/* Whether the device has requests of an honest guest to a sound disk. */
static bool is_judged(const struct dgm_blkback *back, const struct front *front)
{
    return front && !front->guest->hostile && !front->guest->dead && front->connected &&
           back->connected && !back->disconnecting &&
           sim.plan.disks[front->disk].kind == DISK_SOUND && sim.options.nth_kind == NTH_NONE &&
           front->ring.sring->req_prod != front->ring.sring->rsp_prod;
}

static uint64_t devices_on(uint32_t disk)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < sim.plan.front_count; i++)
        count += sim.plan.fronts[i].disk == disk;
    return count;
}

/* The device waits for an entry of its disk's queue, while other devices may hold all entries. */
static void judge_wait(const struct fair_device *device, const struct front *front)
{
    const uint64_t completions = fair.completions[front->disk] - device->since_wait;

    if (devices_on(front->disk) == 1)
        return; /* all of them are its own, and a whole queue of them may be collected at once */

    if (completions > fair.result.wait_max)
        fair.result.wait_max = completions;
    SIM_CHECK(completions <= FAIR_COMPLETIONS * devices_on(front->disk),
              "guest %u waits for an entry of disk %u's queue while %llu commands complete",
              front->guest->domid, front->disk, (unsigned long long)completions);
}

static void judge_device(struct fair_device *device, const struct dgm_blkback *back,
                         const struct front *front)
{
    uint64_t work;

    if (back->disk_waiter.queue)
        wait_begins(device, front->disk);
    if (device->waits && disks_driver(front->disk)->in_flight) {
        judge_wait(device, front);
        device->turns = 0;
        return;
    }
    if (device->at_disk || back->parked.first || back->parked_releases.first) {
        device->turns = 0;
        return;
    }
    if (device->turns++ == 0)
        device->work = fair.work_before;
    work = watch_work() - device->work;
    if (device->turns > fair.result.turns_max)
        fair.result.turns_max = device->turns;
    if (work > fair.result.work_max)
        fair.result.work_max = work;
    SIM_CHECK(device->turns <= FAIR_TURNS && work <= FAIR_WORK,
              "guest %u: disk %u is healthy, and has none of the guest's requests for %llu turns, "
              "%llu loads and stores",
              front->guest->domid, front->disk, (unsigned long long)device->turns,
              (unsigned long long)work);
}

static void judge_xenstore(void)
{
    const struct dgm_xs_schedule *schedule = &sim.xs->schedule;
    const uint64_t turns = schedule->turn - fair.xenstore.turn;

    if (schedule->turn == UINT64_MAX)
        return;
    if (turns) {
        const uint64_t used = fair.xenstore.excess + fair.xenstore.spent;
        const uint64_t saved = turns * DGM_XS_WORK_PER_TURN;

        fair.xenstore.excess = used > saved ? used - saved : 0;
        fair.xenstore.turn = schedule->turn;
    }
    fair.xenstore.spent = schedule->spent;
    if (fair.xenstore.excess > fair.result.units_max)
        fair.result.units_max = fair.xenstore.excess;
    SIM_CHECK(fair.xenstore.excess <= FAIR_UNITS,
              "xenstore spends %llu units on guests beyond its budget",
              (unsigned long long)fair.xenstore.excess);
}

void fairness_step(void)
{
    const uint64_t turn = watch_work() - fair.work_before;

    network_tasks(measure_task);
    judge_xenstore();
    for (size_t i = 0; i < sim.kernel.disk_count; i++) {
        const struct dgm_blkback *back = &sim.kernel.disk[i].back;
        const struct front *front = sim.kernel.disk[i].guest ? front_of(back) : NULL;

        if (is_judged(back, front)) {
            judge_device(&fair.device[i], back, front);
        } else {
            fair.device[i].turns = 0;
            fair.device[i].waits = false;
        }
    }
    if (turn > fair.result.turn_work_max && sim_step > 1)
        fair.result.turn_work_max = turn;
    SIM_CHECK(turn <= FAIR_WORK || sim_step <= 1, "one turn takes %llu loads and stores",
              (unsigned long long)turn);
    fair.work_before = watch_work();
}

void fairness_end(void)
{
    const uint64_t most = (uint64_t)FAIR_LINES * (sim.plan.disk_count + sim.plan.guest_count);

    SIM_CHECK(sim.log_lines <= most, "%llu lines of the log", (unsigned long long)sim.log_lines);
}

struct fair_result fairness_result(void)
{
    return fair.result;
}
