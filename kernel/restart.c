/* SPDX-License-Identifier: MIT */
/* restart: see restart.h. */
#include "restart.h"

#include <dragoman/base/pause.h>

#include <stdio.h>
#include <xen/sched.h>

#define WORDS_BYTES 96u

static const struct dgm_pauses pauses = {.first_ns = RESTART_PAUSE_FIRST_NS,
                                         .last_ns = RESTART_PAUSE_LAST_NS};

static enum config_action action_of(const struct config_guest *guest, uint8_t reason)
{
    switch (reason) {
    case SHUTDOWN_poweroff:
        return guest->on[CONFIG_POWEROFF];
    case SHUTDOWN_reboot:
        return guest->on[CONFIG_REBOOT];
    case SHUTDOWN_crash:
        return guest->on[CONFIG_CRASH];
    case SHUTDOWN_watchdog:
        return guest->on[CONFIG_WATCHDOG];
    default: /* a suspend or a soft reset: nobody could go on with it */
        return CONFIG_DESTROY;
    }
}

static bool is_crash(uint8_t reason)
{
    return reason == SHUTDOWN_crash || reason == SHUTDOWN_watchdog;
}

static uint64_t pause_of(struct restart *restart, struct restart_end end)
{
    const bool early = end.now_ns - restart->started_ns < RESTART_EARLY_NS;
    const uint32_t free = is_crash(end.reason) ? 0 : 1; /* the first early reboot waits not */

    restart->early = early ? restart->early + 1 : 0;
    restart->crashes = early && is_crash(end.reason) ? restart->crashes + 1 : 0;
    if (restart->early > free)
        return dgm_pause_after_ns(pauses, restart->early - free);
    return is_crash(end.reason) ? RESTART_PAUSE_FIRST_NS : 0;
}

enum config_action restart_decide(struct restart *restart, const struct config_guest *guest,
                                  struct restart_end end, char *words)
{
    const enum config_action action = guest ? action_of(guest, end.reason) : CONFIG_DESTROY;
    uint64_t pause_ns;

    if (action == CONFIG_PRESERVE) {
        snprintf(words, WORDS_BYTES, "its domain is preserved, without devices");
        return action;
    }
    if (!guest || !guest->can_build) {
        snprintf(words, WORDS_BYTES, "it cannot start again until the machine is reset");
        return CONFIG_DESTROY;
    }
    if (action == CONFIG_DESTROY) {
        snprintf(words, WORDS_BYTES, "it is destroyed");
        return action;
    }
    pause_ns = pause_of(restart, end);
    if (restart->crashes > RESTART_CRASHES_MAX) {
        snprintf(words, WORDS_BYTES,
                 "that was %u times soon after its start: it is given up, and destroyed",
                 (unsigned)restart->crashes);
        return CONFIG_DESTROY;
    }
    restart->due_ns = end.now_ns + pause_ns;
    if (pause_ns)
        snprintf(words, WORDS_BYTES, "it restarts in %u s", (unsigned)(pause_ns / 1000000000));
    else
        snprintf(words, WORDS_BYTES, "it restarts");
    return CONFIG_RESTART;
}

bool restart_again(struct restart *restart, bool waiting, uint64_t now_ns)
{
    restart->failures = waiting ? restart->failures : restart->failures + 1;
    restart->due_ns =
        now_ns + (waiting ? RESTART_PAUSE_FIRST_NS : dgm_pause_after_ns(pauses, restart->failures));
    return restart->failures < RESTART_FAILURES_MAX;
}
