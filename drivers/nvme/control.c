/* SPDX-License-Identifier: MIT */
/*
 * nvme/control: a controller's states, at its start, through a reset, and at its end
 *
 * One state machine for all of them (NVMe 1.4, 7.3 and 7.6.1):
 *
 *   LOST         waits for a pause, then for the device to respond: env->restore(), registers that
 *                do not read as ones
 *   DISABLING    CC.EN = 0, until CSTS.RDY = 0: now the controller reaches no memory
 *   ENABLING     admin queues set, CC.EN = 1, until CSTS.RDY = 1
 *   CONFIGURING  admin commands, one at a time (configure.c)
 *   LIVE         commands are taken
 *   CLOSING      the shutdown (close.c); then CLOSED
 *   FAILED       permanently
 *
 *   start ------> LOST -> DISABLING -> ENABLING -> CONFIGURING -> LIVE --+-> CLOSING -> CLOSED
 *                  ^          |            |            |           |
 *                  +----------+------------+------------+-----------+
 *                    an attempt failed          stalled, fatal, gone
 *
 * Every attempt to reach LIVE begins with LOST, so the bus is restored before every attempt; the
 * first attempt starts without a pause. After a failed attempt another one follows, with growing
 * pauses, until `give_up_ns`: times.start_ns after the start, times.lost_ns (and the time in
 * CAP.TO) after the controller was last live. Each attempt waits longer for the controller than the
 * one before, because disabling a controller that is still starting makes it start again. A
 * permanent cause (`permanent_failure`) ends the attempts immediately: another disk, unless it may
 * be in another slot (env->reject); a namespace that cannot be used.
 *
 * The timer and interrupts take the steps; no code waits. Backends' commands stay in flight: in
 * DISABLING, as soon as no DMA can access their memory, they are parked, and they are sent again
 * when the controller is live. Only FAILED ends them, after env->dma_stop.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>
#include <port/arch.h>

#define STEP_PAUSE_MIN_NS 1000000ull /* between two steps without progress */
#define STEP_PAUSE_MAX_NS 100000000ull

static const struct dgm_pauses attempt_pauses = {.first_ns = 200000000, .last_ns = 5000000000};

static bool bringing_up(const struct dgm_nvme *nvme)
{
    return nvme->state < DGM_NVME_LIVE;
}

/* --- the steps --- */

/* The time that this attempt waits for CSTS.RDY. */
static uint64_t ready_limit_ns(const struct dgm_nvme *nvme)
{
    const uint64_t stall_ns = nvme->times.stall_ns << (nvme->attempts < 4 ? nvme->attempts : 4);

    return nvme->ready_ns > stall_ns ? nvme->ready_ns : stall_ns;
}

static int step_lost(struct dgm_nvme *nvme)
{
    int status = DGM_OK;

    if (dgm_env_now_ns() < nvme->lost_till_ns)
        return DGM_EAGAIN;
    if (nvme->env->restore)
        status = nvme->env->restore(nvme->env);
    if (status != DGM_OK)
        return DGM_EAGAIN; /* absent, or another device: the right one may return */
    if (dgm_nvme_read(nvme, NVME_CSTS) == NVME_CSTS_GONE)
        return DGM_EAGAIN;
    status = dgm_nvme_limits(nvme);
    if (status != DGM_OK) {
        nvme->permanent_failure |= !dgm_nvme_reject(nvme);
        return status;
    }
    dgm_nvme_enter(nvme, DGM_NVME_DISABLING, ready_limit_ns(nvme));
    dgm_nvme_write(nvme, NVME_CC, dgm_nvme_read(nvme, NVME_CC) & ~(NVME_CC_ENABLE | NVME_CC_SHN));
    return DGM_OK;
}

static void write64(struct dgm_nvme *nvme, uint32_t offset, uint64_t value)
{
    dgm_nvme_write(nvme, offset, (uint32_t)value);
    dgm_nvme_write(nvme, offset + 4, (uint32_t)(value >> 32));
}

static void enable_controller(struct dgm_nvme *nvme)
{
    dgm_nvme_queue_clear(nvme, &nvme->admin);
    dgm_nvme_queue_clear(nvme, &nvme->io);
    dgm_nvme_write(nvme, NVME_AQA, (NVME_ADMIN_DEPTH - 1) << 16 | (NVME_ADMIN_DEPTH - 1));
    write64(nvme, NVME_ASQ, dgm_bus_address(nvme->admin.sq_bus));
    write64(nvme, NVME_ACQ, dgm_bus_address(nvme->admin.cq_bus));
    dgm_arch_dma_wmb();

    /* NVM command set, pages of 4 KiB, round robin: all zero. */
    dgm_nvme_write(nvme, NVME_CC, NVME_CC_IOCQES | NVME_CC_IOSQES | NVME_CC_ENABLE);
    dgm_nvme_enter(nvme, DGM_NVME_ENABLING, ready_limit_ns(nvme));
}

static int step_disabling(struct dgm_nvme *nvme, uint32_t csts)
{
    if (csts & NVME_CSTS_READY)
        return DGM_EAGAIN;
    if (!dgm_nvme_io_stopped(nvme)) {
        nvme->permanent_failure = true;
        return DGM_EIO;
    }
    enable_controller(nvme);
    return DGM_OK;
}

static int step_enabling(struct dgm_nvme *nvme, uint32_t csts)
{
    if (!(csts & NVME_CSTS_READY))
        return DGM_EAGAIN;
    dgm_nvme_configure_start(nvme);
    return DGM_OK;
}

/* DGM_OK: the state has changed. DGM_EAGAIN: not yet. Otherwise the attempt has failed, and the
 * cause was logged. */
static int take_step(struct dgm_nvme *nvme)
{
    static const char *const late[] = {
        [DGM_NVME_LOST] = "the controller does not come back",
        [DGM_NVME_DISABLING] = "the controller does not stop (CSTS.RDY)",
        [DGM_NVME_ENABLING] = "the controller does not start (CSTS.RDY)",
        [DGM_NVME_CONFIGURING] = "the controller does not respond to an admin command",
    };
    int status = DGM_EAGAIN;

    if (nvme->state == DGM_NVME_LOST) {
        status = step_lost(nvme);
    } else {
        const uint32_t csts = dgm_nvme_read(nvme, NVME_CSTS);

        if (csts == NVME_CSTS_GONE)
            return dgm_nvme_refuse(nvme, DGM_EIO, "the controller has left the bus again");
        if ((csts & NVME_CSTS_FATAL) && nvme->state != DGM_NVME_DISABLING)
            return dgm_nvme_refuse(nvme, DGM_EIO, "the controller reports a fatal status");
        status = nvme->state == DGM_NVME_DISABLING  ? step_disabling(nvme, csts)
                 : nvme->state == DGM_NVME_ENABLING ? step_enabling(nvme, csts)
                                                    : dgm_nvme_configure(nvme);
    }
    if (status != DGM_EAGAIN)
        return status;

    const uint64_t now_ns = dgm_env_now_ns();

    if (now_ns > nvme->give_up_ns)
        nvme->permanent_failure = true;
    else if (now_ns <= nvme->deadline_ns)
        return DGM_EAGAIN;
    return dgm_nvme_refuse(nvme, DGM_ETIMEDOUT, late[nvme->state]);
}

/* --- attempts --- */

/* Waits for the device, at first for a pause that grows with the failures in a row. */
static void lose_controller(struct dgm_nvme *nvme, uint32_t failures)
{
    dgm_nvme_enter(nvme, DGM_NVME_LOST, UINT64_MAX);
    nvme->lost_till_ns = nvme->entered_ns;
    if (failures)
        nvme->lost_till_ns += dgm_pause_after_ns(attempt_pauses, failures);
}

static void became_live(struct dgm_nvme *nvme)
{
    const bool first = !nvme->device.ready;

    nvme->attempts = 0;
    nvme->cause = NULL;
    if (first) {
        dgm_nvme_adopt(nvme);
        nvme->device.ready = true;
    } else {
        dgm_env_log("%s: NVMe: works again", nvme->device.name);
    }
    dgm_timer_disarm(nvme->env->reactor, &nvme->timer);
    dgm_nvme_watch_start(nvme);
    dgm_waiters_wake(&nvme->device.waiters, nvme->env->reactor);
    if (first && nvme->env->changed)
        nvme->env->changed(nvme->env);
}

void dgm_nvme_advance(struct dgm_nvme *nvme)
{
    int status = DGM_OK;

    while (bringing_up(nvme) && status == DGM_OK) {
        status = take_step(nvme);
        if (status == DGM_OK || status == DGM_EAGAIN)
            continue;
        if (nvme->permanent_failure || dgm_env_now_ns() >= nvme->give_up_ns) {
            dgm_nvme_fail(nvme);
            return;
        }
        if (nvme->attempts < UINT8_MAX)
            nvme->attempts++;
        lose_controller(nvme, nvme->attempts);
        status = DGM_OK;
    }
    if (!bringing_up(nvme)) {
        became_live(nvme);
        return;
    }

    /* The pause grows with the time that the state has lasted. */
    const uint64_t now_ns = dgm_env_now_ns();
    uint64_t pause_ns = (now_ns - nvme->entered_ns) / 8;

    if (pause_ns < STEP_PAUSE_MIN_NS)
        pause_ns = STEP_PAUSE_MIN_NS;
    if (pause_ns > STEP_PAUSE_MAX_NS)
        pause_ns = STEP_PAUSE_MAX_NS;
    dgm_timer_arm(nvme->env->reactor, &nvme->timer, now_ns + pause_ns);
}

/* Resets the controller, or waits for it if it has left the bus, because of `cause`. Continues as
 * far as is possible without waiting. */
static void reset_controller(struct dgm_nvme *nvme, const char *cause)
{
    dgm_env_log("%s: NVMe: %s (%u in flight): reset", nvme->device.name, cause, nvme->in_flight);
    nvme->resets++;
    /* Posted completions are valid. Also, a controller that is disabled before its completions are
     * taken may assert its interrupt line permanently (QEMU 7.2 does). */
    dgm_nvme_drain(nvme);
    if (nvme->state != DGM_NVME_LIVE)
        return; /* a flush among them has failed permanently, and with it the device */
    nvme->give_up_ns = dgm_env_now_ns() + nvme->times.lost_ns + nvme->ready_ns;
    lose_controller(nvme, nvme->resets_fruitless++);
    dgm_nvme_advance(nvme);
}

void dgm_nvme_supervise(struct dgm_nvme *nvme)
{
    const char *cause = dgm_nvme_watch(nvme);

    if (cause)
        reset_controller(nvme, cause);
}

static void excuse_absence(struct dgm_timer *timer, uint64_t absence_ns)
{
    struct dgm_nvme *nvme = dgm_container(timer, struct dgm_nvme, timer);

    dgm_device_extend(&nvme->deadline_ns, absence_ns);
    dgm_device_extend(&nvme->give_up_ns, absence_ns);
    dgm_device_excuse(&nvme->progress_ns, absence_ns);
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        dgm_device_excuse(&nvme->entries[i].failed_ns, absence_ns);
        dgm_device_excuse(&nvme->entries[i].watched_ns, absence_ns);
    }
}

void dgm_nvme_timer(struct dgm_timer *timer)
{
    struct dgm_nvme *nvme = dgm_container(timer, struct dgm_nvme, timer);

    dgm_device_notice_absence(timer, true, nvme->env->reactor, excuse_absence);
    if (bringing_up(nvme))
        dgm_nvme_advance(nvme);
    else if (nvme->state == DGM_NVME_LIVE)
        dgm_nvme_supervise(nvme);
}

void dgm_nvme_irq(struct dgm_irq *irq)
{
    struct dgm_nvme *nvme = dgm_container(irq, struct dgm_nvme, irq);

    nvme->interrupts++;
    dgm_device_notice_absence(&nvme->timer, false, nvme->env->reactor, excuse_absence);
    if (nvme->state == DGM_NVME_LIVE && dgm_nvme_drain(nvme) > 0) {
        dgm_device_line_served(&nvme->line);
        return;
    }
    if (bringing_up(nvme)) {
        const enum dgm_nvme_state state = nvme->state;
        const uint8_t at = nvme->step;

        dgm_nvme_advance(nvme); /* an admin command has completed */
        if (nvme->state != state || nvme->step != at)
            return;
    }
    dgm_nvme_interrupt_idle(nvme);
}
