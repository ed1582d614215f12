/* SPDX-License-Identifier: MIT */
/*
 * sdhci/control: bringing controller and card up, at boot and after an error
 *
 * One state machine for all of it:
 *
 *   RESETTING     the whole controller; when it is done it reaches no memory
 *   CLOCKING      power and clock asked for, until the clock is stable
 *   SETTLING      the card's time after power-on (SD 6.4.1: 1 ms, and 74 clocks)
 *   IDENTIFYING   one command after another (identify.c)
 *   LIVE          commands are taken from the queue
 *   CLEARING      after an error: CMD and DAT lines are being reset, and DMA with them
 * (SDHC 2.2.14) STOPPING      CMD12, then CMD13 until the card is ready for the next transfer
 * (SDHC 3.10) FAILED        for good
 *
 * What fails in CLEARING or STOPPING goes to RESETTING; what fails from there on goes to FAILED.
 * dgm_sdhci_start() calls dgm_sdhci_step() in a loop; after an error the timer does so every
 * millisecond, so the reactor never waits. Interrupts are off except in LIVE.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/check.h>
#include <port/arch.h>

#define LOOK_NS      1000000ull /* between two looks, unless attaching */
#define CLEAR_NS     100000000ull
#define RESET_NS     100000000ull
#define CLOCK_NS     150000000ull
#define IDENTIFY_NS  2000000000ull /* of which SD 4.2.3 gives one second to ACMD41 */
#define STOP_NS      1000000000ull
#define STOP_ASKED   0 /* steps of STOPPING */
#define STOP_LOOKING 1

uint32_t dgm_sdhci_read(const struct dgm_sdhci *sdhci, uint32_t offset)
{
    return dgm_arch_mmio_read32((const volatile char *)sdhci->env->mmio + offset);
}

void dgm_sdhci_write(struct dgm_sdhci *sdhci, uint32_t offset, uint32_t value)
{
    dgm_arch_mmio_write32((volatile char *)sdhci->env->mmio + offset, value);
}

uint16_t dgm_sdhci_read16(const struct dgm_sdhci *sdhci, uint32_t offset)
{
    return dgm_arch_mmio_read16((const volatile char *)sdhci->env->mmio + offset);
}

void dgm_sdhci_write16(struct dgm_sdhci *sdhci, uint32_t offset, uint16_t value)
{
    dgm_arch_mmio_write16((volatile char *)sdhci->env->mmio + offset, value);
}

uint8_t dgm_sdhci_read8(const struct dgm_sdhci *sdhci, uint32_t offset)
{
    return dgm_arch_mmio_read8((const volatile char *)sdhci->env->mmio + offset);
}

void dgm_sdhci_write8(struct dgm_sdhci *sdhci, uint32_t offset, uint8_t value)
{
    dgm_arch_mmio_write8((volatile char *)sdhci->env->mmio + offset, value);
}

int dgm_sdhci_refuse(const struct dgm_sdhci *sdhci, int status, const char *cause)
{
    dgm_env_log("%s: SD: %s", sdhci->device.name, cause);
    return status;
}

/* The state ends at the latest `after_ns` from now. */
static void enter(struct dgm_sdhci *sdhci, enum dgm_sdhci_state state, uint64_t after_ns)
{
    sdhci->state = state;
    sdhci->deadline_ns = dgm_env_now_ns() + after_ns;
}

/* --- control commands: no data, no interrupt --- */

void dgm_sdhci_ask(struct dgm_sdhci *sdhci, uint32_t command, uint32_t flags, uint32_t argument)
{
    dgm_sdhci_write(sdhci, SDHCI_STATUS, UINT32_MAX);
    dgm_sdhci_write(sdhci, SDHCI_ARGUMENT, argument);
    dgm_sdhci_write(sdhci, SDHCI_COMMAND, command << SDHCI_COMMAND_INDEX | flags);
    sdhci->asked = true;
}

/* Errors first: a controller may say "command complete" along with them. */
int dgm_sdhci_answer(struct dgm_sdhci *sdhci)
{
    const uint32_t status = dgm_sdhci_read(sdhci, SDHCI_STATUS);

    if (status & SDHCI_STATUS_ERRORS) {
        dgm_sdhci_write8(sdhci, SDHCI_RESET, SDHCI_RESET_LINES);
        sdhci->asked = false;
        return status & SDHCI_STATUS_COMMAND_TIMEOUT ? DGM_ETIMEDOUT : DGM_EIO;
    }
    if (!(status & SDHCI_STATUS_COMMAND))
        return DGM_EAGAIN;
    sdhci->asked = false;
    return DGM_OK;
}

bool dgm_sdhci_idle(const struct dgm_sdhci *sdhci)
{
    return dgm_sdhci_read8(sdhci, SDHCI_RESET) == 0 &&
           !(dgm_sdhci_read(sdhci, SDHCI_PRESENT) & SDHCI_PRESENT_CMD_INHIBIT);
}

/* --- the controller: reset, power, clock --- */

void dgm_sdhci_reset(struct dgm_sdhci *sdhci)
{
    sdhci->asked = false;
    dgm_sdhci_write8(sdhci, SDHCI_RESET, SDHCI_RESET_ALL);
    enter(sdhci, DGM_SDHCI_RESETTING, RESET_NS);
}

/*
 * The divisor is 2 * n; powers of two serve all versions (SDHC 2.2.12): 8 bits before 3.00, 10 bits
 * in two parts since.
 */
void dgm_sdhci_clock(struct dgm_sdhci *sdhci, uint32_t khz)
{
    const uint32_t most = sdhci->version >= 2 ? 512 : 128;
    const uint32_t base_khz = sdhci->base_mhz * 1000;
    uint32_t n = 0;

    while (n < most && base_khz > khz * (n ? 2 * n : 1))
        n = n ? 2 * n : 1;
    dgm_sdhci_write16(sdhci, SDHCI_CLOCK, 0);
    dgm_sdhci_write16(sdhci, SDHCI_CLOCK,
                      (uint16_t)((n & 0xff) << 8 | (n >> 8 & 3) << 6 | SDHCI_CLOCK_ON));
    enter(sdhci, DGM_SDHCI_CLOCKING, CLOCK_NS);
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

static int clocking(struct dgm_sdhci *sdhci)
{
    const uint16_t clock = dgm_sdhci_read16(sdhci, SDHCI_CLOCK);

    if (!(clock & SDHCI_CLOCK_STABLE))
        return DGM_EAGAIN;
    dgm_sdhci_write16(sdhci, SDHCI_CLOCK, clock | SDHCI_CLOCK_CARD);
    sdhci->settled_ns = dgm_env_now_ns() + dgm_sdhci_settle_ns(sdhci);
    enter(sdhci, DGM_SDHCI_SETTLING, IDENTIFY_NS);
    return DGM_OK;
}

/* Is there a card? A switch bounces: what it says counts when the controller calls it stable. */
static int settling(struct dgm_sdhci *sdhci, uint32_t present)
{
    if (dgm_env_now_ns() < sdhci->settled_ns)
        return DGM_EAGAIN;
    if (!sdhci->embedded) {
        if (!(present & SDHCI_PRESENT_STABLE))
            return DGM_EAGAIN;
        if (!(present & SDHCI_PRESENT_CARD))
            return dgm_sdhci_refuse(sdhci, DGM_ENODEV, "there is no card in the slot");
    }
    enter(sdhci, DGM_SDHCI_IDENTIFYING, IDENTIFY_NS);
    return DGM_OK;
}

/* --- after an error --- */

static int clearing(struct dgm_sdhci *sdhci)
{
    if (!dgm_sdhci_idle(sdhci))
        return DGM_EAGAIN;
    dgm_sdhci_io_end(sdhci, sdhci->status);
    dgm_sdhci_ask(sdhci, SD_STOP, SDHCI_RSP_48_CHECKED | SDHCI_COMMAND_ABORT, 0);
    sdhci->step = STOP_ASKED;
    enter(sdhci, DGM_SDHCI_STOPPING, STOP_NS);
    return DGM_OK;
}

/* A card that had stopped by itself does not answer CMD12; that it answers CMD13 is what counts. */
static int stopping(struct dgm_sdhci *sdhci)
{
    int status;

    if (sdhci->asked) {
        status = dgm_sdhci_answer(sdhci);
        if (status == DGM_EAGAIN)
            return DGM_EAGAIN;
        if (sdhci->step == STOP_LOOKING) {
            const uint32_t r1 = dgm_sdhci_read(sdhci, SDHCI_RESPONSE);

            if (status != DGM_OK)
                return dgm_sdhci_refuse(sdhci, status, "the card does not answer");
            if (SD_STATUS_STATE(r1) == SD_STATE_TRANSFER && (r1 & SD_STATUS_READY)) {
                sdhci->state = DGM_SDHCI_LIVE;
                return DGM_OK;
            }
            sdhci->step = STOP_ASKED; /* and look again, later */
            return DGM_EAGAIN;
        }
    }
    if (!dgm_sdhci_idle(sdhci))
        return DGM_EAGAIN;
    dgm_sdhci_ask(sdhci, SD_SEND_STATUS, SDHCI_RSP_48_CHECKED, (uint32_t)sdhci->rca << 16);
    sdhci->step = STOP_LOOKING;
    return DGM_OK;
}

/* --- all together --- */

static const char *const late[] = {
    [DGM_SDHCI_RESETTING] = "the controller does not come out of reset",
    [DGM_SDHCI_CLOCKING] = "the controller's clock does not become stable",
    [DGM_SDHCI_SETTLING] = "the slot does not say whether a card is in it",
    [DGM_SDHCI_IDENTIFYING] = "the card does not become ready",
    [DGM_SDHCI_CLEARING] = "the lines cannot be reset",
    [DGM_SDHCI_STOPPING] = "the card does not stop",
};

int dgm_sdhci_step(struct dgm_sdhci *sdhci)
{
    const uint32_t present = dgm_sdhci_read(sdhci, SDHCI_PRESENT);
    int status = DGM_EAGAIN;

    if (present == SDHCI_PRESENT_GONE)
        return dgm_sdhci_refuse(sdhci, DGM_EIO, "the controller does not answer (removed?)");

    switch (sdhci->state) {
    case DGM_SDHCI_RESETTING:
        if (!(dgm_sdhci_read8(sdhci, SDHCI_RESET) & SDHCI_RESET_ALL)) {
            dgm_sdhci_io_end(sdhci, sdhci->status);
            power_on(sdhci);
            status = DGM_OK;
        }
        break;
    case DGM_SDHCI_CLOCKING:
        status = clocking(sdhci);
        break;
    case DGM_SDHCI_SETTLING:
        status = settling(sdhci, present);
        break;
    case DGM_SDHCI_IDENTIFYING:
        status = dgm_sdhci_identify(sdhci);
        break;
    case DGM_SDHCI_CLEARING:
        status = clearing(sdhci);
        break;
    default:
        status = stopping(sdhci);
        break;
    }
    if (status != DGM_EAGAIN || dgm_env_now_ns() <= sdhci->deadline_ns)
        return status;
    return dgm_sdhci_refuse(sdhci, DGM_ETIMEDOUT, late[sdhci->state]);
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
    dgm_env_log("%s: SD: given up; %u commands end with errors", sdhci->device.name, count);
    dgm_sdhci_io_end_all(sdhci, DGM_EIO);
    dgm_waiters_wake(&sdhci->device.waiters, sdhci->env->reactor);
}

static void live(struct dgm_sdhci *sdhci)
{
    dgm_timer_disarm(sdhci->env->reactor, &sdhci->timer);
    dgm_sdhci_write(sdhci, SDHCI_STATUS, UINT32_MAX);
    dgm_sdhci_write(sdhci, SDHCI_SIGNAL, SDHCI_STATUS_LIVE);
    dgm_reactor_post(sdhci->env->reactor, &sdhci->task);
}

/* Goes on as far as it goes without waiting. */
static void advance(struct dgm_sdhci *sdhci)
{
    int status = DGM_OK;

    while (status == DGM_OK && sdhci->state != DGM_SDHCI_LIVE) {
        status = dgm_sdhci_step(sdhci);
        if (status != DGM_OK && status != DGM_EAGAIN &&
            (sdhci->state == DGM_SDHCI_CLEARING || sdhci->state == DGM_SDHCI_STOPPING)) {
            sdhci->resets++;
            dgm_sdhci_reset(sdhci);
            status = DGM_OK;
        }
    }
    if (status == DGM_EAGAIN) {
        dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, dgm_env_now_ns() + LOOK_NS);
    } else if (status == DGM_OK) {
        live(sdhci);
    } else {
        dgm_sdhci_fail(sdhci);
    }
}

void dgm_sdhci_recover(struct dgm_sdhci *sdhci, int status, const char *cause)
{
    const uint64_t now_ns = dgm_env_now_ns();

    /* At most one line a second: a bad card can fail many commands in that time. */
    if (now_ns >= sdhci->log_next_ns) {
        dgm_env_log("%s: SD: %s (%lu more errors before this one)", sdhci->device.name, cause,
                    (unsigned long)sdhci->log_kept_back);
        sdhci->log_kept_back = 0;
        sdhci->log_next_ns = now_ns + 1000000000u;
    } else {
        sdhci->log_kept_back++;
    }
    sdhci->recoveries++;
    sdhci->status = status;
    dgm_sdhci_write(sdhci, SDHCI_SIGNAL, 0);
    dgm_sdhci_write8(sdhci, SDHCI_RESET, SDHCI_RESET_LINES);
    enter(sdhci, DGM_SDHCI_CLEARING, CLEAR_NS);
    advance(sdhci);
}

void dgm_sdhci_timer(struct dgm_timer *timer)
{
    struct dgm_sdhci *sdhci = dgm_container(timer, struct dgm_sdhci, timer);

    if (sdhci->state == DGM_SDHCI_LIVE)
        dgm_sdhci_io_tick(sdhci);
    else if (sdhci->state != DGM_SDHCI_FAILED)
        advance(sdhci);
}

void dgm_sdhci_irq(struct dgm_irq *irq)
{
    struct dgm_sdhci *sdhci = dgm_container(irq, struct dgm_sdhci, irq);

    sdhci->interrupts++;
    if (sdhci->state == DGM_SDHCI_LIVE)
        dgm_sdhci_io_interrupt(sdhci);
    else
        sdhci->interrupts_idle++; /* ours are off: a neighbour on the line */
}
