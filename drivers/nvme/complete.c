/* SPDX-License-Identifier: MIT */
/*
 * nvme/complete: completions, and what an error, a reset or the device's failure means for commands
 *
 * A completion is accepted only if its identifier is that of a command which is in the submission
 * queue and covered by the doorbell. Others are counted (`bogus`) and change nothing.
 *
 * Errors. The verdict on a status (status.c) decides whether the command is sent again:
 *
 *   passing          until it has failed for times.retry_ns
 *   medium, unknown  FEW_TRIES times in all
 *   refused          not at all
 *
 * The pauses between the tries double from 100 ms up to 5 s. A command that the controller lost in
 * a reset is sent again when the controller is live. It ends with an error after times.retry_ns and
 * LOST_TRIES resets in a row without any completion; and after LOST_TRIES_MAX resets in any case,
 * because a command that makes the controller fail would cause resets without end.
 *
 * A flush is different: a backend cannot report "written data may be lost" in a way that the guest
 * understands (Linux takes an error for "no such operation" and never flushes again). So a flush
 * whose error stays fails the whole device, and later writes fail visibly.
 *
 * With a level interrupt the controller lowers its line when the completion doorbell catches up
 * with its tail (NVMe 1.4, 7.5.1), so draining is all that the interrupt needs.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>

#define FEW_TRIES         5u
#define LOST_TRIES        3u
#define LOST_TRIES_MAX    32u
#define LOG_INTERVAL_NS   1000000000ull
#define ENTRY_NUMBER_MASK (DGM_NVME_DEPTH_MAX - 1)

static const struct dgm_pauses retry_pauses = {.first_ns = 100000000, .last_ns = 5000000000};

/* --- errors --- */

/* At most one line a second: a disk can fail thousands of commands in that time. */
static void log_error(struct dgm_nvme *nvme, const struct dgm_nvme_entry *entry, uint32_t word,
                      bool again)
{
    static const char *const verbs[] = {"read", "write", "flush"};
    const struct dgm_blk_command *command = entry->command;
    const uint64_t now_ns = dgm_env_now_ns();
    const char *text;

    if (now_ns < nvme->log_next_ns) {
        nvme->log_suppressed++;
        return;
    }
    dgm_nvme_verdict(word, &text);
    dgm_env_log("%s: %s of %u blocks at %lu failed: status type %u code 0x%02x (%s)%s; %lu more "
                "errors before this one",
                nvme->device.name, verbs[command->op], command->blocks,
                (unsigned long)command->block, NVME_STATUS_TYPE(word), NVME_STATUS_CODE(word), text,
                again ? ": it is tried again" : "", (unsigned long)nvme->log_suppressed);
    nvme->log_suppressed = 0;
    nvme->log_next_ns = now_ns + LOG_INTERVAL_NS;
}

/* Whether the doorbell has announced the command to the controller. */
static bool is_announced(const struct dgm_nvme *nvme, const struct dgm_nvme_entry *entry)
{
    return (int32_t)(entry->sequence - nvme->sequence_announced) < 0;
}

static void count_failure(const struct dgm_nvme *nvme, struct dgm_nvme_entry *entry,
                          uint64_t now_ns)
{
    if (entry->tries == 0) {
        entry->failed_ns = now_ns;
        entry->failed_at = nvme->completions;
    }
    if (entry->tries < UINT8_MAX)
        entry->tries++;
}

static bool may_try_again(const struct dgm_nvme *nvme, const struct dgm_nvme_entry *entry,
                          enum nvme_verdict verdict, uint64_t now_ns)
{
    switch (verdict) {
    case NVME_PASSING:
        return now_ns - entry->failed_ns < nvme->times.retry_ns;
    case NVME_MEDIA:
    case NVME_UNKNOWN:
        return entry->tries < FEW_TRIES;
    default:
        return false;
    }
}

/* Handles a completion with an error. */
static void handle_error(struct dgm_nvme *nvme, struct dgm_nvme_entry *entry, uint32_t word)
{
    const uint64_t now_ns = dgm_env_now_ns();
    const char *text;
    const enum nvme_verdict verdict = dgm_nvme_verdict(word, &text);
    bool again;

    count_failure(nvme, entry, now_ns);
    again = may_try_again(nvme, entry, verdict, now_ns);
    log_error(nvme, entry, word, again);
    if (again) {
        nvme->retries++;
        dgm_nvme_entry_park(nvme, entry, now_ns + dgm_pause_after_ns(retry_pauses, entry->tries));
        dgm_nvme_watch_arm(nvme, now_ns);
    } else if (entry->command->op == DGM_BLK_FLUSH && !nvme->closing) {
        nvme->flush_failed = true; /* it ends with the device */
        dgm_nvme_refuse(nvme, DGM_EIO, "a flush has failed, so written data may be lost");
    } else {
        dgm_nvme_entry_end(nvme, entry, DGM_EIO);
    }
}

/* --- the end --- */

/* Ends every command; only while the controller cannot reach memory. */
static void end_all(struct dgm_nvme *nvme, int status)
{
    dgm_assert(nvme->state == DGM_NVME_FAILED); /* so that done() cannot add commands */
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        if (nvme->entries[i].command)
            dgm_nvme_entry_end(nvme, &nvme->entries[i], status);
    }
}

void dgm_nvme_fail(struct dgm_nvme *nvme)
{
    const unsigned in_flight = nvme->in_flight;

    if (nvme->state == DGM_NVME_FAILED)
        return;
    nvme->state = DGM_NVME_FAILED;
    nvme->device.failed = true;
    dgm_timer_disarm(nvme->env->reactor, &nvme->timer);
    dgm_nvme_write(nvme, NVME_CC, 0);
    if (nvme->env->dma_stop)
        nvme->env->dma_stop(nvme->env);
    dgm_env_log("%s: NVMe: given up: %s; %u commands end with errors", nvme->device.name,
                nvme->cause ? nvme->cause : "the disk cannot be used", in_flight);
    end_all(nvme, DGM_EIO);
    dgm_waiters_wake(&nvme->device.waiters, nvme->env->reactor);
    if (nvme->env->changed)
        nvme->env->changed(nvme->env);
}

/* --- completions --- */

/* The entry whose command `completion` ends, or NULL: no such command is in flight. */
static struct dgm_nvme_entry *entry_of(struct dgm_nvme *nvme,
                                       const struct nvme_completion *completion)
{
    const uint16_t cid = nvme_cid(completion);
    struct dgm_nvme_entry *entry = &nvme->entries[cid & ENTRY_NUMBER_MASK];

    if (completion->queue >> 16 != 1 || (cid & ENTRY_NUMBER_MASK) >= nvme->entry_count)
        return NULL;
    if (!entry->command || entry->parked || entry->cid != cid)
        return NULL;
    return is_announced(nvme, entry) ? entry : NULL;
}

/*
 * A full queue is the limit: before the doorbell a controller that obeys the specification cannot
 * post more, and later completions raise their own interrupt.
 */
unsigned dgm_nvme_drain(struct dgm_nvme *nvme)
{
    struct nvme_completion completion;
    unsigned taken = 0;
    unsigned completed = 0;

    while (taken < nvme->io.depth - 1u && !nvme->flush_failed &&
           dgm_nvme_completion_take(nvme, &nvme->io, &completion)) {
        struct dgm_nvme_entry *entry = entry_of(nvme, &completion);

        taken++;
        if (!entry) {
            nvme->bogus++;
            continue;
        }
        completed++;
        if (NVME_STATUS(completion.status))
            handle_error(nvme, entry, completion.status);
        else
            dgm_nvme_entry_end(nvme, entry, DGM_OK);
    }
    nvme->completions += taken;
    if (taken)
        dgm_nvme_cq_ring(nvme, &nvme->io);
    if (completed) {
        nvme->progress = true;
        nvme->resets_fruitless = 0;
        dgm_waiters_wake(&nvme->device.waiters, nvme->env->reactor);
    }
    if (nvme->flush_failed)
        dgm_nvme_fail(nvme);
    return taken;
}

/* --- resets --- */

/* Whether a command that the controller lost in a reset is sent again. */
static bool may_survive(const struct dgm_nvme *nvme, const struct dgm_nvme_entry *entry,
                        uint64_t now_ns)
{
    if (entry->tries < LOST_TRIES || now_ns - entry->failed_ns < nvme->times.retry_ns)
        return true;
    return nvme->completions != entry->failed_at && entry->tries < LOST_TRIES_MAX;
}

bool dgm_nvme_io_stopped(struct dgm_nvme *nvme)
{
    const uint64_t now_ns = dgm_env_now_ns();

    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        struct dgm_nvme_entry *entry = &nvme->entries[i];

        if (!entry->command || entry->parked)
            continue;
        if (is_announced(nvme, entry))
            count_failure(nvme, entry, now_ns);
        if (may_survive(nvme, entry, now_ns)) {
            dgm_nvme_entry_park(nvme, entry, now_ns);
            nvme->replays++;
        } else if (entry->command->op == DGM_BLK_FLUSH) {
            dgm_nvme_refuse(nvme, DGM_EIO, "a flush has failed, so written data may be lost");
            return false;
        } else {
            dgm_nvme_entry_end(nvme, entry, DGM_ETIMEDOUT);
        }
    }
    dgm_assert(nvme->sent == 0);
    nvme->sequence_announced = nvme->sequence;
    return true;
}
