/* SPDX-License-Identifier: MIT */
/*
 * nvme/watch: supervises a live controller while it has commands, by one timer
 *
 * Stalls. Slow is not dead: a controller that has completed any command since the last poll makes
 * progress, and is not reset however long its other commands take. A controller that completes no
 * command for times.stall_ns is reset, and so is one that reports a fatal status or has left the
 * bus. A single command that the controller has forgotten would wait permanently while others
 * complete: so a command that is OVERTAKEN by several queues of later ones, and has waited for
 * times.stall_ns, causes a reset too; where others are rare, one that a later one has overtaken and
 * that has waited for FORGOTTEN_STALLS times that time. A reset causes no error for a backend
 * (complete.c).
 *
 * Lost interrupts. A poll that finds a completion polls again after a millisecond: an interrupt
 * that is merely pending has been handled by then. If the completion is still there its interrupt
 * is lost; it is taken, and the next polls follow soon, with pauses that double from 1 ms to 1 s.
 * So a disk whose interrupts are all lost takes about twice its usual time.
 *
 * A stuck level interrupt. QEMU 7.2 keeps a controller's INTx asserted after a reset before which
 * completions were not taken. After a hundred interrupts in a row without a completion, if
 * env->irq_mask finds that this device asserts the line, it is masked at the device, and the polls
 * serve the queue. After they have taken a number of completions the interrupt is unmasked; the
 * number doubles each time.
 */
#include <drivers/nvme/internal.h>

#include <dragoman/base/pause.h>
#include <dragoman/base/check.h>

#define OVERTAKEN        (4 * DGM_NVME_DEPTH_MAX)
#define FORGOTTEN_STALLS 10u
#define LOST_SAY_NS      60000000000ull

static const struct dgm_pauses poll_pauses = {.first_ns = NVME_POLL_MIN_NS,
                                              .last_ns = NVME_POLL_MAX_NS};

/* --- parked commands --- */

static void send_due(struct dgm_nvme *nvme, uint64_t now_ns)
{
    if (nvme->sent == nvme->in_flight)
        return;
    if (nvme->sent == 0)
        nvme->progress_ns = now_ns;
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        struct dgm_nvme_entry *entry = &nvme->entries[i];

        if (entry->command && entry->parked && entry->due_ns <= now_ns)
            dgm_nvme_entry_send(nvme, entry);
    }
    dgm_nvme_io_ring(nvme);
}

void dgm_nvme_watch_start(struct dgm_nvme *nvme)
{
    const uint64_t now_ns = dgm_env_now_ns();

    nvme->progress_ns = now_ns;
    nvme->progress = false;
    nvme->unannounced = 0;
    dgm_device_line_served(&nvme->line);
    send_due(nvme, now_ns);
    if (nvme->in_flight)
        dgm_nvme_watch_arm(nvme, now_ns);
}

/* --- interrupts --- */

static void say_lost(struct dgm_nvme *nvme, uint64_t now_ns)
{
    if (nvme->lost_said_ns && now_ns - nvme->lost_said_ns < LOST_SAY_NS)
        return;
    dgm_env_log("%s: NVMe: %lu completions so far came without their interrupt; it is polled for "
                "a while",
                nvme->device.name, (unsigned long)nvme->interrupts_lost);
    nvme->lost_said_ns = now_ns;
}

/* Finds completions whose interrupt is missing. */
static void poll_queue(struct dgm_nvme *nvme, uint64_t now_ns)
{
    const uint64_t next = nvme->completions + 1; /* the number of the completion at the head */

    if (!dgm_nvme_completion_waits(nvme, &nvme->io)) {
        nvme->poll_pause_ns = dgm_pause_next_ns(poll_pauses, nvme->poll_pause_ns);
        return;
    }
    nvme->poll_pause_ns = NVME_POLL_MIN_NS;
    if (nvme->line.masked) {
        if (dgm_nvme_drain(nvme) > 0)
            dgm_device_line_polled(&nvme->line, nvme->env);
    } else if (nvme->unannounced == next) {
        nvme->interrupts_lost += dgm_nvme_drain(nvme);
        say_lost(nvme, now_ns);
    } else {
        nvme->unannounced = next;
    }
}

void dgm_nvme_interrupt_idle(struct dgm_nvme *nvme)
{
    nvme->interrupts_idle++; /* another device on the line, or a poll was faster */
    if (!dgm_device_line_unserved(&nvme->line, nvme->env))
        return;
    if (nvme->line.maskings == 1)
        dgm_env_log("%s: NVMe: its interrupt line stays asserted with nothing to serve: masked, "
                    "and polled",
                    nvme->device.name);
    nvme->poll_pause_ns = NVME_POLL_MIN_NS;
    if (nvme->state == DGM_NVME_LIVE && nvme->in_flight)
        dgm_nvme_watch_arm(nvme, dgm_env_now_ns());
}

/* --- stalls --- */

static bool is_sent(const struct dgm_nvme_entry *entry)
{
    return entry->command && !entry->parked;
}

/* Notes for each command at the controller when a poll first found it there. */
static void watch_commands(struct dgm_nvme *nvme, uint64_t now_ns)
{
    for (uint16_t i = 0; i < nvme->entry_count; i++)
        if (is_sent(&nvme->entries[i]) && nvme->entries[i].watched_ns == 0)
            nvme->entries[i].watched_ns = now_ns;
}

/* Whether the controller has forgotten a command while it completed others. */
static bool has_forgotten_command(const struct dgm_nvme *nvme, uint64_t now_ns)
{
    for (uint16_t i = 0; i < nvme->entry_count; i++) {
        const struct dgm_nvme_entry *entry = &nvme->entries[i];

        if (!is_sent(entry) || now_ns - entry->watched_ns < nvme->times.stall_ns)
            continue;
        const uint32_t later = nvme->sequence - entry->sequence - 1; /* were sent, ... */
        const bool overtaken = later >= nvme->sent;                  /* ... and one is complete */

        if (later >= OVERTAKEN ||
            (overtaken && now_ns - entry->watched_ns >= FORGOTTEN_STALLS * nvme->times.stall_ns))
            return true;
    }
    return false;
}

static const char *reset_cause(struct dgm_nvme *nvme, uint64_t now_ns)
{
    const uint32_t csts = dgm_nvme_read(nvme, NVME_CSTS);

    if (csts == NVME_CSTS_GONE)
        return "the controller has left the bus";
    if (csts & NVME_CSTS_FATAL)
        return "the controller reports a fatal status";
    if (nvme->progress || nvme->sent == 0)
        nvme->progress_ns = now_ns;
    nvme->progress = false;
    if (now_ns - nvme->progress_ns >= nvme->times.stall_ns)
        return "the controller completes nothing";
    watch_commands(nvme, now_ns);
    if (has_forgotten_command(nvme, now_ns))
        return "the controller has forgotten a command";
    return NULL;
}

const char *dgm_nvme_watch(struct dgm_nvme *nvme)
{
    const uint64_t now_ns = dgm_env_now_ns();
    const char *cause;

    if (nvme->sent)
        poll_queue(nvme, now_ns);
    if (nvme->state != DGM_NVME_LIVE)
        return NULL;
    cause = reset_cause(nvme, now_ns);
    if (cause)
        return cause;
    send_due(nvme, now_ns);
    if (nvme->in_flight)
        dgm_nvme_watch_arm(nvme, now_ns);
    return NULL;
}
