/* SPDX-License-Identifier: MIT */
/*
 * sdhci/watch: how a transfer ends, and what an error means for its command
 *
 * A transfer has succeeded when the controller reports "transfer complete" without an error, and
 * the card's two status words, in the responses to the command and to CMD12, show no error. After
 * any other end the lines are reset before the command ends, because only then can the controller
 * no longer access the command's memory.
 *
 * The verdict (status.c) decides whether the command is started again after the lines are reset:
 *
 *   passing          until it has failed for times.retry_ns, FEW_TRIES times at least
 *   medium, unknown  FEW_TRIES times in all
 *   refused          not at all
 *
 * The pauses between the tries double from 10 ms up to 1 s. The card is reset before the third and
 * each later try. After damaged data its clock is halved, because a worn card or slot may not work
 * at the full clock.
 *
 * Lost interrupts: a poll that finds the end of a transfer polls again after a millisecond; an
 * interrupt that is merely pending has been handled by then. If the end is still not handled, its
 * interrupt is lost, and the next polls follow soon, with pauses that double from 1 ms to 1 s.
 *
 * A stuck level interrupt. A transfer that succeeds shows that an interrupt had a cause; every
 * other one counts, also one whose status cannot be cleared, or one of a device that is not live.
 * After a hundred in a row, if env->irq_mask finds that this device asserts the line, it is masked,
 * and the polls find the ends of transfers. After a number of them it is unmasked; the number
 * doubles each time.
 */
#include <drivers/sdhci/internal.h>

#include <dragoman/base/pause.h>
#include <port/arch.h>

#define STATUS_TAKES_MAX 4u /* in one interrupt */
#define LINE_TRIES       2u
#define FEW_TRIES        5u
#define LOG_INTERVAL_NS  1000000000ull
#define KHZ_MIN          3000u

static const struct dgm_pauses again_pauses = {.first_ns = 10000000, .last_ns = 1000000000};
static const struct dgm_pauses poll_pauses = {.first_ns = SDHCI_POLL_MIN_NS,
                                              .last_ns = SDHCI_POLL_MAX_NS};

/* --- errors --- */

/* At most one line a second: a bad card can fail many commands in that time. */
static void log_error(struct dgm_sdhci *sdhci, const char *cause, uint64_t now_ns)
{
    if (now_ns < sdhci->log_next_ns) {
        sdhci->log_suppressed++;
        return;
    }
    dgm_env_log("%s: SD: %s%s; %lu more errors before this one", sdhci->device.name, cause,
                sdhci->status == DGM_EAGAIN ? ": it is tried again" : "",
                (unsigned long)sdhci->log_suppressed);
    sdhci->log_suppressed = 0;
    sdhci->log_next_ns = now_ns + LOG_INTERVAL_NS;
}

static void count_failure(struct dgm_sdhci *sdhci, uint64_t now_ns)
{
    if (sdhci->tries == 0)
        sdhci->failed_ns = now_ns;
    if (sdhci->tries < UINT8_MAX)
        sdhci->tries++;
}

static bool may_try_again(const struct dgm_sdhci *sdhci, enum sdhci_verdict verdict,
                          uint64_t now_ns)
{
    if (verdict == SDHCI_REFUSED)
        return false;
    if (sdhci->tries < FEW_TRIES)
        return true;
    return verdict == SDHCI_PASSING && now_ns - sdhci->failed_ns < sdhci->times.retry_ns;
}

static void plan_again(struct dgm_sdhci *sdhci, uint64_t now_ns)
{
    sdhci->again_ns = now_ns + dgm_pause_after_ns(again_pauses, sdhci->tries);
    sdhci->reset_wanted = sdhci->tries >= LINE_TRIES;
}

void dgm_sdhci_recover(struct dgm_sdhci *sdhci, enum sdhci_verdict verdict, int status,
                       const char *cause)
{
    const uint64_t now_ns = dgm_env_now_ns();

    sdhci->recoveries++;
    sdhci->reset_wanted = false;
    sdhci->status = DGM_EAGAIN;
    if (sdhci->in_flight) {
        count_failure(sdhci, now_ns);
        if (may_try_again(sdhci, verdict, now_ns))
            plan_again(sdhci, now_ns);
        else
            sdhci->status = status;
    }
    log_error(sdhci, cause, now_ns);
    dgm_sdhci_write(sdhci, SDHCI_SIGNAL, 0);
    dgm_sdhci_write8(sdhci, SDHCI_RESET, SDHCI_RESET_LINES);
    dgm_sdhci_enter(sdhci, DGM_SDHCI_CLEARING, SDHCI_CLEAR_NS);
    dgm_sdhci_advance(sdhci);
}

void dgm_sdhci_interrupted(struct dgm_sdhci *sdhci)
{
    const uint64_t now_ns = dgm_env_now_ns();

    if (!sdhci->in_flight)
        return;
    count_failure(sdhci, now_ns);
    sdhci->status = may_try_again(sdhci, SDHCI_PASSING, now_ns) ? DGM_EAGAIN : DGM_ETIMEDOUT;
}

void dgm_sdhci_stopped(struct dgm_sdhci *sdhci)
{
    if (!sdhci->in_flight)
        return;
    sdhci->late_ns = 0;
    if (sdhci->status == DGM_EAGAIN)
        sdhci->in_flight = false; /* the command stays the oldest */
    else
        dgm_sdhci_end_oldest(sdhci, sdhci->status);
}

/* --- ends --- */

/* After "transfer complete": checks the card's status too. */
static void transfer_complete(struct dgm_sdhci *sdhci)
{
    const uint32_t begun = dgm_sdhci_read(sdhci, SDHCI_RESPONSE);
    /* A card that reads up to its last block may report that the next block is out of range (SD
     * 4.3.3). */
    const uint32_t stopped = dgm_sdhci_read(sdhci, SDHCI_RESPONSE + 12) & ~SD_STATUS_OUT_OF_RANGE;
    const uint32_t errors = (begun | stopped) & SD_STATUS_ERRORS;

    if (errors) {
        const char *text;
        const enum sdhci_verdict verdict = dgm_sdhci_card_verdict(errors, &text);

        dgm_sdhci_recover(sdhci, verdict, DGM_EIO, text);
        return;
    }
    dgm_timer_disarm(sdhci->env->reactor, &sdhci->timer);
    dgm_device_line_served(&sdhci->line);
    dgm_arch_dma_rmb();
    dgm_sdhci_end_oldest(sdhci, DGM_OK);
    dgm_sdhci_start_next(sdhci);
}

static void transfer_failed(struct dgm_sdhci *sdhci, uint32_t status)
{
    const bool silent = status & (SDHCI_STATUS_COMMAND_TIMEOUT | SDHCI_STATUS_DATA_TIMEOUT);
    const char *text;
    const enum sdhci_verdict verdict = dgm_sdhci_controller_verdict(status, &text);

    if ((status & SDHCI_STATUS_DATA_DAMAGED) && sdhci->tries >= LINE_TRIES &&
        sdhci->transfer_khz / 2 >= KHZ_MIN)
        sdhci->transfer_khz /= 2;
    dgm_sdhci_recover(sdhci, verdict, silent ? DGM_ETIMEDOUT : DGM_EIO, text);
}

bool dgm_sdhci_take_status(struct dgm_sdhci *sdhci)
{
    const uint32_t status = dgm_sdhci_read(sdhci, SDHCI_STATUS);

    if (status == UINT32_MAX) { /* no controller sets all bits */
        dgm_sdhci_lose(sdhci, "the controller has left the bus");
        return true;
    }
    if (!(status & SDHCI_STATUS_LIVE))
        return false;
    dgm_sdhci_write(sdhci, SDHCI_STATUS, status & SDHCI_STATUS_LIVE);
    if (status & SDHCI_STATUS_REMOVED)
        dgm_sdhci_recover(sdhci, SDHCI_PASSING, DGM_EIO, "the card was taken out");
    else if (!sdhci->in_flight)
        sdhci->bogus++;
    else if (status & SDHCI_STATUS_ERRORS)
        transfer_failed(sdhci, status);
    else
        transfer_complete(sdhci);
    return true;
}

/* --- interrupts and polls --- */

static void pause_longer(struct dgm_sdhci *sdhci)
{
    sdhci->poll_pause_ns = dgm_pause_next_ns(poll_pauses, sdhci->poll_pause_ns);
}

/* Every interrupt counts until a transfer succeeds. */
static void count_interrupt(struct dgm_sdhci *sdhci)
{
    if (!dgm_device_line_unserved(&sdhci->line, sdhci->env))
        return;
    if (sdhci->line.maskings == 1)
        dgm_env_log("%s: SD: its interrupt line stays asserted with nothing to serve: masked, and "
                    "polled",
                    sdhci->device.name);
    sdhci->poll_pause_ns = SDHCI_POLL_MIN_NS;
    if (sdhci->state == DGM_SDHCI_LIVE && sdhci->in_flight)
        dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, dgm_env_now_ns() + SDHCI_POLL_MIN_NS);
}

/* Repeated until no status is left: a message (MSI) is sent only when the status was empty
 * before. */
void dgm_sdhci_interrupt(struct dgm_sdhci *sdhci)
{
    unsigned takes = 0;

    count_interrupt(sdhci);
    while (takes < STATUS_TAKES_MAX && sdhci->state == DGM_SDHCI_LIVE &&
           dgm_sdhci_take_status(sdhci))
        takes++;
    if (takes == 0)
        sdhci->interrupts_idle++; /* another device on the line, or a poll was faster */
    else
        pause_longer(sdhci);
}

/* Polls the command in flight. */
static void poll_command(struct dgm_sdhci *sdhci)
{
    const uint64_t now_ns = dgm_env_now_ns();
    const uint32_t status = dgm_sdhci_read(sdhci, SDHCI_STATUS);

    if (!(status & SDHCI_STATUS_LIVE)) {
        if (now_ns >= sdhci->late_ns) {
            dgm_sdhci_recover(sdhci, SDHCI_PASSING, DGM_ETIMEDOUT, "a command got no response");
            return;
        }
        pause_longer(sdhci);
    } else if (sdhci->seen || sdhci->line.masked || status == UINT32_MAX) {
        sdhci->poll_pause_ns = SDHCI_POLL_MIN_NS;
        sdhci->interrupts_lost += !sdhci->line.masked && status != UINT32_MAX;
        if (dgm_sdhci_take_status(sdhci)) {
            dgm_device_line_polled(&sdhci->line, sdhci->env);
            return;
        }
        /* This read shows no end: the one before was ones, or wrong. The command stays polled. */
    } else {
        sdhci->seen = true;
        sdhci->poll_pause_ns = SDHCI_POLL_MIN_NS;
    }
    dgm_timer_arm(sdhci->env->reactor, &sdhci->timer, now_ns + sdhci->poll_pause_ns);
}

void dgm_sdhci_watch(struct dgm_sdhci *sdhci)
{
    if (sdhci->in_flight)
        poll_command(sdhci);
    else
        dgm_sdhci_start_next(sdhci);
}
