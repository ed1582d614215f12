/* SPDX-License-Identifier: MIT */
/*
 * sdhci/control: the states of controller and card, at their start, after an error, at their end
 *
 * One state machine for all of them:
 *
 *   LOST         waits for a pause, then for the device to respond: env->restore(), registers that
 *                do not read as ones
 *   RESETTING    the whole controller; when it is done it reaches no memory
 *   CLOCKING     power and clock requested, until the clock is stable
 *   SETTLING     the card's time after power-on (SD 6.4.1: 1 ms, and 74 clocks)
 *   IDENTIFYING  one command after another (identify.c)
 *   CLEARING     after an error: CMD and DAT lines are being reset, and DMA with them (SDHC 2.2.14)
 *   STOPPING     CMD12, then CMD13 until the card is ready for the next transfer (SDHC 3.10)
 *   LIVE         commands are taken from the queue
 *   FAILED       permanently
 *
 *   start -> LOST -> RESETTING -> CLOCKING -> SETTLING -> IDENTIFYING -> LIVE
 *   LIVE --(a transfer fails)--> CLEARING -> STOPPING -> LIVE
 *
 * After a failure in CLEARING or STOPPING the state is LOST, without a pause. Attempts that fail
 * from there on are repeated with growing pauses, until `give_up_ns`: times.start_ns after the
 * start, times.lost_ns after the device was last live. At the start a slot without a card, or a
 * card that cannot be used, ends the attempts (`permanent_failure`): more of them would only delay
 * the start.
 *
 * The timer takes the steps, so the reactor never waits. Interrupts are off except in LIVE.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>

#define STEP_PAUSE_NS     1000000ull /* between two steps without progress */
#define STEP_PAUSE_MAX_NS 100000000ull
#define START_ATTEMPTS    3u /* of a card that seems unusable */
#define RESET_NS          100000000ull
#define IDENTIFY_NS       2000000000ull /* of which SD 4.2.3 gives one second to ACMD41 */
#define STOP_NS           1000000000ull
#define STOP_ASKED        0 /* steps of STOPPING */
#define STOP_POLLING      1

static const struct dgm_pauses attempt_pauses = {.first_ns = 200000000, .last_ns = 5000000000};

static bool bringing_up(const struct dgm_sdhci *sdhci)
{
    return sdhci->state < DGM_SDHCI_LIVE;
}

/* --- the controller: reset, power, clock --- */

static int step_lost(struct dgm_sdhci *sdhci)
{
    int status = DGM_OK;

    if (dgm_env_now_ns() < sdhci->lost_till_ns)
        return DGM_EAGAIN;
    if (sdhci->env->restore)
        status = sdhci->env->restore(sdhci->env);
    if (status != DGM_OK || dgm_sdhci_read(sdhci, SDHCI_PRESENT) == SDHCI_PRESENT_GONE) {
        sdhci->left = true;
        return DGM_EAGAIN;
    }
    if (!sdhci->known) {
        status = dgm_sdhci_capabilities(sdhci);
        sdhci->permanent_failure |= status != DGM_OK;
        if (status != DGM_OK)
            return status;
    }
    sdhci->command_sent = false;
    dgm_sdhci_write8(sdhci, SDHCI_RESET, SDHCI_RESET_ALL);
    dgm_sdhci_enter(sdhci, DGM_SDHCI_RESETTING, RESET_NS);
    return DGM_OK;
}

static void power_on(struct dgm_sdhci *sdhci)
{
    dgm_sdhci_write8(sdhci, SDHCI_CONTROL, sdhci->adma ? SDHCI_CONTROL_ADMA2 : 0);
    dgm_sdhci_write8(sdhci, SDHCI_POWER, sdhci->power);
    dgm_sdhci_write8(sdhci, SDHCI_TIMEOUT, SDHCI_TIMEOUT_LONGEST);
    dgm_sdhci_write(sdhci, SDHCI_SIGNAL, 0);
    dgm_sdhci_write(sdhci, SDHCI_ENABLE, SDHCI_STATUS_LIVE | SDHCI_STATUS_COMMAND);
    dgm_sdhci_identify_start(sdhci);
}

static int step_clocking(struct dgm_sdhci *sdhci)
{
    const uint16_t clock = dgm_sdhci_read16(sdhci, SDHCI_CLOCK);

    if (!(clock & SDHCI_CLOCK_STABLE))
        return DGM_EAGAIN;
    dgm_sdhci_write16(sdhci, SDHCI_CLOCK, clock | SDHCI_CLOCK_CARD);
    sdhci->settled_ns = dgm_env_now_ns() + dgm_sdhci_settle_ns(sdhci);
    dgm_sdhci_enter(sdhci, DGM_SDHCI_SETTLING, IDENTIFY_NS);
    return DGM_OK;
}

/* Finds out whether there is a card. The switch bounces, so its state is used only when the
 * controller reports it as stable. */
static int step_settling(struct dgm_sdhci *sdhci, uint32_t present)
{
    if (dgm_env_now_ns() < sdhci->settled_ns)
        return DGM_EAGAIN;
    if (!sdhci->undetected) {
        if (!(present & SDHCI_PRESENT_STABLE))
            return DGM_EAGAIN;
        if (!(present & SDHCI_PRESENT_CARD))
            return dgm_sdhci_refuse(sdhci, DGM_ENODEV, "there is no card in the slot");
    }
    /* The switch is only a wish that the host honours, so a card that returns must have it off. */
    if (sdhci->device.ready && !sdhci->device.read_only && !sdhci->unprotected &&
        !(present & SDHCI_PRESENT_WRITABLE))
        return dgm_sdhci_refuse(sdhci, DGM_EIO, "the card's write-protect switch is on now");
    dgm_sdhci_enter(sdhci, DGM_SDHCI_IDENTIFYING, IDENTIFY_NS);
    return DGM_OK;
}

/* --- after an error --- */

static int step_clearing(struct dgm_sdhci *sdhci)
{
    if (!dgm_sdhci_idle(sdhci))
        return DGM_EAGAIN;
    dgm_sdhci_stopped(sdhci);
    if (sdhci->reset_wanted)
        return DGM_EIO; /* the card is initialised again */
    dgm_sdhci_ask(sdhci,
                  (struct sdhci_command){.index = SD_STOP,
                                         .flags = SDHCI_RSP_48_CHECKED | SDHCI_COMMAND_ABORT});
    sdhci->step = STOP_ASKED;
    dgm_sdhci_enter(sdhci, DGM_SDHCI_STOPPING, STOP_NS);
    return DGM_OK;
}

/* A card that has already stopped does not respond to CMD12; its response to CMD13 decides. */
static int step_stopping(struct dgm_sdhci *sdhci)
{
    int status;

    if (sdhci->command_sent) {
        status = dgm_sdhci_poll_response(sdhci);
        if (status == DGM_EAGAIN)
            return DGM_EAGAIN;
        if (sdhci->step == STOP_POLLING) {
            const uint32_t r1 = dgm_sdhci_read(sdhci, SDHCI_RESPONSE);

            if (status != DGM_OK)
                return dgm_sdhci_refuse(sdhci, status, "the card does not respond");
            if (SD_STATUS_STATE(r1) == SD_STATE_TRANSFER && (r1 & SD_STATUS_READY)) {
                sdhci->state = DGM_SDHCI_LIVE;
                return DGM_OK;
            }
            sdhci->step = STOP_ASKED; /* polled again later */
            return DGM_EAGAIN;
        }
    }
    if (!dgm_sdhci_idle(sdhci))
        return DGM_EAGAIN;
    dgm_sdhci_ask(sdhci, (struct sdhci_command){.index = SD_SEND_STATUS,
                                                .flags = SDHCI_RSP_48_CHECKED,
                                                .argument = (uint32_t)sdhci->rca << 16});
    sdhci->step = STOP_POLLING;
    return DGM_OK;
}

/* --- the steps --- */

static int step_resetting(struct dgm_sdhci *sdhci)
{
    if (dgm_sdhci_read8(sdhci, SDHCI_RESET) & SDHCI_RESET_ALL)
        return DGM_EAGAIN;
    dgm_sdhci_stopped(sdhci);
    power_on(sdhci);
    return DGM_OK;
}

static int step_in_state(struct dgm_sdhci *sdhci, uint32_t present)
{
    switch (sdhci->state) {
    case DGM_SDHCI_RESETTING:
        return step_resetting(sdhci);
    case DGM_SDHCI_CLOCKING:
        return step_clocking(sdhci);
    case DGM_SDHCI_SETTLING:
        return step_settling(sdhci, present);
    case DGM_SDHCI_IDENTIFYING:
        return dgm_sdhci_identify(sdhci);
    case DGM_SDHCI_CLEARING:
        return step_clearing(sdhci);
    default:
        return step_stopping(sdhci);
    }
}

/* DGM_OK: the state has changed. DGM_EAGAIN: not yet. Otherwise the attempt has failed, and the
 * cause was logged. */
static int take_step(struct dgm_sdhci *sdhci)
{
    static const char *const late[] = {
        [DGM_SDHCI_LOST] = "the controller does not come back",
        [DGM_SDHCI_RESETTING] = "the controller does not come out of reset",
        [DGM_SDHCI_CLOCKING] = "the controller's clock does not become stable",
        [DGM_SDHCI_SETTLING] = "the slot does not say whether a card is in it",
        [DGM_SDHCI_IDENTIFYING] = "the card does not become ready",
        [DGM_SDHCI_CLEARING] = "the lines cannot be reset",
        [DGM_SDHCI_STOPPING] = "the card does not stop",
    };
    const enum dgm_sdhci_state state = sdhci->state;
    int status;

    if (state == DGM_SDHCI_LOST) {
        status = step_lost(sdhci);
    } else {
        const uint32_t present = dgm_sdhci_read(sdhci, SDHCI_PRESENT);

        if (present == SDHCI_PRESENT_GONE)
            return dgm_sdhci_refuse(sdhci, DGM_EIO, "the controller has left the bus");
        status = step_in_state(sdhci, present);
    }
    if (status != DGM_EAGAIN)
        return status;

    const uint64_t now_ns = dgm_env_now_ns();

    if (now_ns > sdhci->give_up_ns)
        sdhci->permanent_failure = true;
    else if (now_ns <= sdhci->deadline_ns)
        return DGM_EAGAIN;
    return dgm_sdhci_refuse(sdhci, DGM_ETIMEDOUT, late[state]);
}

/* --- attempts --- */

/* Waits for the device, at first for a pause that grows with the failures in a row. */
static void wait_lost(struct dgm_sdhci *sdhci)
{
    dgm_sdhci_enter(sdhci, DGM_SDHCI_LOST, UINT64_MAX);
    sdhci->lost_till_ns = sdhci->entered_ns;
    if (sdhci->attempts)
        sdhci->lost_till_ns += dgm_pause_after_ns(attempt_pauses, sdhci->attempts);
}

static void became_live(struct dgm_sdhci *sdhci)
{
    const bool first = !sdhci->device.ready;

    if (sdhci->attempts && !first)
        dgm_env_log("%s: SD: works again", sdhci->device.name);
    sdhci->attempts = 0;
    sdhci->cause = NULL;
    sdhci->reset_wanted = sdhci->left = false;
    if (first) {
        dgm_sdhci_adopt(sdhci);
        sdhci->device.ready = true;
    }
    dgm_timer_disarm(sdhci->env->reactor, &sdhci->timer);
    dgm_sdhci_write(sdhci, SDHCI_STATUS, UINT32_MAX);
    dgm_sdhci_write(sdhci, SDHCI_SIGNAL, SDHCI_STATUS_LIVE);
    dgm_reactor_post(sdhci->env->reactor, &sdhci->task);
    if (first) {
        dgm_waiters_wake(&sdhci->device.waiters, sdhci->env->reactor);
        if (sdhci->env->changed)
            sdhci->env->changed(sdhci->env);
    }
}

/* The attempt has failed with `status`. False: it was the last one. */
static bool next_attempt(struct dgm_sdhci *sdhci, int status)
{
    const bool was_live = sdhci->state == DGM_SDHCI_CLEARING || sdhci->state == DGM_SDHCI_STOPPING;

    if (was_live) {
        sdhci->give_up_ns = dgm_env_now_ns() + sdhci->times.lost_ns;
        sdhci->resets++;
        wait_lost(sdhci);
        return true;
    }
    if (sdhci->attempts < UINT8_MAX)
        sdhci->attempts++;
    if (!sdhci->device.ready && sdhci->attempts >= START_ATTEMPTS)
        sdhci->permanent_failure |= status == DGM_ENODEV || status == DGM_EOPNOTSUPP;
    if (sdhci->permanent_failure || dgm_env_now_ns() >= sdhci->give_up_ns)
        return false;
    wait_lost(sdhci);
    return true;
}

void dgm_sdhci_advance(struct dgm_sdhci *sdhci)
{
    int status = DGM_OK;

    while (bringing_up(sdhci) && status == DGM_OK) {
        status = take_step(sdhci);
        if (status == DGM_OK || status == DGM_EAGAIN)
            continue;
        if (!next_attempt(sdhci, status)) {
            dgm_sdhci_fail(sdhci);
            return;
        }
        status = DGM_OK;
    }
    if (!bringing_up(sdhci)) {
        became_live(sdhci);
        return;
    }

    /* The pause grows with the time that the state has lasted. */
    const uint64_t now_ns = dgm_env_now_ns();
    uint64_t pause_ns = (now_ns - sdhci->entered_ns) / 8;

    if (pause_ns < STEP_PAUSE_NS)
        pause_ns = STEP_PAUSE_NS;
    if (pause_ns > STEP_PAUSE_MAX_NS)
        pause_ns = STEP_PAUSE_MAX_NS;
    dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, now_ns + pause_ns);
}

void dgm_sdhci_lose(struct dgm_sdhci *sdhci, const char *cause)
{
    dgm_sdhci_refuse(sdhci, DGM_EIO, cause);
    dgm_sdhci_interrupted(sdhci);
    sdhci->resets++;
    sdhci->give_up_ns = dgm_env_now_ns() + sdhci->times.lost_ns;
    wait_lost(sdhci);
    dgm_sdhci_advance(sdhci);
}

void dgm_sdhci_fail(struct dgm_sdhci *sdhci)
{
    const unsigned count = sdhci->queue_count;

    sdhci->state = DGM_SDHCI_FAILED;
    sdhci->device.failed = true;
    dgm_timer_disarm(sdhci->env->reactor, &sdhci->timer);
    dgm_sdhci_write(sdhci, SDHCI_SIGNAL, 0);
    dgm_sdhci_write8(sdhci, SDHCI_RESET, SDHCI_RESET_ALL);
    if (sdhci->env->dma_stop)
        sdhci->env->dma_stop(sdhci->env);
    dgm_env_log("%s: SD: given up: %s; %u commands end with errors", sdhci->device.name,
                sdhci->cause ? sdhci->cause : "the card cannot be used", count);
    while (sdhci->queue_count)
        /* The client cannot add commands in done(): the device has failed. */
        dgm_sdhci_end_oldest(sdhci, DGM_EIO);
    dgm_waiters_wake(&sdhci->device.waiters, sdhci->env->reactor);
    if (sdhci->env->changed)
        sdhci->env->changed(sdhci->env);
}

static void excuse_absence(struct dgm_timer *timer, uint64_t absence_ns)
{
    struct dgm_sdhci *sdhci = dgm_container(timer, struct dgm_sdhci, timer);

    dgm_device_extend(&sdhci->deadline_ns, absence_ns);
    dgm_device_extend(&sdhci->give_up_ns, absence_ns);
    if (sdhci->late_ns)
        dgm_device_extend(&sdhci->late_ns, absence_ns);
    dgm_device_excuse(&sdhci->failed_ns, absence_ns);
}

void dgm_sdhci_timer(struct dgm_timer *timer)
{
    struct dgm_sdhci *sdhci = dgm_container(timer, struct dgm_sdhci, timer);

    dgm_device_notice_absence(timer, true, sdhci->env->reactor, excuse_absence);
    if (sdhci->state == DGM_SDHCI_LIVE)
        dgm_sdhci_watch(sdhci);
    else if (bringing_up(sdhci))
        dgm_sdhci_advance(sdhci);
}

void dgm_sdhci_irq(struct dgm_irq *irq)
{
    struct dgm_sdhci *sdhci = dgm_container(irq, struct dgm_sdhci, irq);

    sdhci->interrupts++;
    dgm_device_notice_absence(&sdhci->timer, false, sdhci->env->reactor, excuse_absence);
    dgm_sdhci_interrupt(sdhci);
}
