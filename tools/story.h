/* SPDX-License-Identifier: MIT */
/*
 * story.h: what a boot has told so far.
 *
 * Reads the console's lines one by one and keeps what matters: how far Xen, the domain and each
 * guest have come (shown to the user as it happens), the domain's counters, and how it ended. Each
 * fact is also written to the results file, one a line, for the checks after the boot and for the
 * tests:
 *
 *   phase NAME MILLISECONDS        xen, domain
 *   guest N WORD...                a guest's "@dragoman" line
 *   counter NAME VALUE             "dragoman: counter NAME VALUE"
 *   end WHAT                       "dragoman: end WHAT"
 *   panic TEXT                     "dragoman: panic TEXT"
 *   xen-panic TEXT                 Xen itself stopped, or said that Dom0 crashed
 */
#ifndef DRAGOMAN_TOOLS_STORY_H
#define DRAGOMAN_TOOLS_STORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "console.h"

struct story {
    FILE *results;
    bool quiet;        /* keep progress off the terminal */
    uint64_t start_ns; /* of the monotonic clock */
    bool xen_started;
    bool domain_started;
    bool ended;       /* "dragoman: end poweroff" was seen */
    bool crashed;     /* a panic, of the domain or of Xen */
    bool shell_ready; /* the guest of an interactive run is about to start its shell */
    bool shell_done;  /* that guest has ended */
    int focus;        /* the domain that Xen says has the input focus; -1: Xen itself */
    unsigned focus_changes;
};

uint64_t story_now_ns(void);
void story_take_line(void *story, const struct console_line *line);

/* One progress line, with the time since the start in front. */
__attribute__((format(printf, 2, 3))) void story_tell(const struct story *story, const char *format,
                                                      ...);

#endif
