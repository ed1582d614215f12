/* SPDX-License-Identifier: MIT */
/*
 * boot_facts.h: the facts that the console lines of one boot contain.
 *
 * Reads the lines one by one and records the progress of Xen, the domain and each guest, the
 * domain's counters, and the end of the boot. Progress is shown to the user as it happens. Each
 * fact is also written to the results file, one a line, for the checks after the boot and for the
 * tests:
 *
 *   phase NAME MILLISECONDS   xen, domain
 *   guest N WORD...           a guest's "@dragoman" line
 *   gone N HOW                "dragoman: guest N (NAME) HOW": rebooted, crashed, was destroyed...
 *   counter NAME VALUE        "dragoman: counter NAME VALUE"
 *   end HOW                   "dragoman: end HOW"
 *   panic TEXT                "dragoman: panic TEXT"
 *   xen-panic TEXT            Xen stopped, or reported that Dom0 crashed
 *   trouble TEXT              found by tools/machine: time limit, QEMU's status, the log
 */
#ifndef DRAGOMAN_TOOLS_BOOT_FACTS_H
#define DRAGOMAN_TOOLS_BOOT_FACTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "console_lines.h"

struct boot_facts {
    FILE *results;
    bool quiet;        /* show no progress */
    bool raw_terminal; /* a line of progress needs a carriage return */
    uint64_t start_ns; /* of the monotonic clock */
    uint64_t shown_ns; /* when progress was shown last */
    bool xen_started;
    bool domain_started;
    bool ended;       /* "dragoman: end poweroff" or "end reboot" was seen */
    bool crashed;     /* a panic, of the domain or of Xen */
    bool shell_ready; /* the guest of an interactive run is about to start its shell */
    bool shell_done;  /* that guest has ended */
    int focus;        /* the domain that has the input focus, as Xen reports; -1: Xen itself */
    unsigned focus_changes;
    bool in_xen_panic; /* the next line of Xen is the text of its panic */
};

uint64_t monotonic_now_ns(void);

/* A console_line_fn; the context is the struct boot_facts. */
void boot_facts_take_line(void *facts, const struct console_line *line);

/* Shows one line of progress, with the time since the start in front. */
__attribute__((format(printf, 2, 3))) void boot_facts_show(struct boot_facts *facts,
                                                           const char *format, ...);

#endif
