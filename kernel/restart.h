/* SPDX-License-Identifier: MIT */
/*
 * restart: what follows a guest's end, and when
 *
 * As xl.cfg(5) has it: on_poweroff, on_reboot, on_crash and on_watchdog are destroy, restart or
 * preserve. A guest that restarts may end again at once, and each start costs the machine work, so
 * after an end that came early there is a pause, each twice the last one; a guest that crashes
 * again and again is given up, which is said.
 */
#ifndef KERNEL_RESTART_H
#define KERNEL_RESTART_H

#include "config.h"

/* An end is early within this time of the start. */
#define RESTART_EARLY_NS 60000000000ull
/* The pauses after the second early end in a row and the following ones, and after every crash. */
#define RESTART_PAUSE_FIRST_NS 1000000000ull
#define RESTART_PAUSE_LAST_NS  60000000000ull
/* Early crashes in a row, after which a guest is given up. */
#define RESTART_CRASHES_MAX 8u
/* Builds in a row that failed, after which a guest is given up. */
#define RESTART_FAILURES_MAX 8u

struct restart {
    uint64_t started_ns; /* the start of its present life */
    uint64_t due_ns;     /* of its next start */
    uint32_t early;      /* early ends in a row */
    uint32_t crashes;    /* early crashes in a row */
    uint32_t failures;   /* failed builds in a row */
    uint32_t starts;     /* by Dragoman */
};

struct restart_end {
    uint8_t reason; /* SHUTDOWN_* of xen/sched.h */
    uint64_t now_ns;
};

/*
 * Decides what follows the end of a guest that is configured as `guest` (NULL: not at all), and
 * sets restart->due_ns if that is its restart. `words`, of at least 96 bytes, gets what follows,
 * for the line about its end.
 */
enum config_action restart_decide(struct restart *restart, const struct config_guest *guest,
                                  struct restart_end end, char *words);

/* A build failed: sets due_ns for the next one. False: it is given up. `waiting`: Xen still has the
 * former domain, which is no failure. */
bool restart_again(struct restart *restart, bool waiting, uint64_t now_ns);

#endif
