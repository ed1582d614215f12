/* SPDX-License-Identifier: MIT */
/*
 * boot_watch: one boot of a machine, from QEMU's first byte to its end.
 *
 * The watch writes every byte of the console to the log, shows the progress (boot_facts.h),
 * enforces the time limit and connects the user's terminal. The caller sets the options, opens the
 * files and starts QEMU.
 */
#ifndef BOOT_WATCH_H
#define BOOT_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "boot_facts.h"
#include "console_lines.h"
#include "guest_view.h"
#include "qemu.h"
#include "terminal.h"
#include "when.h"

enum {
    FOCUS_MONITOR = 0,
    FOCUS_GUEST = 1,
};

struct boot_watch {
    /* The options. */
    const char *log_path;
    const char *results_path;
    const char *keys_path;
    long timeout_s; /* 0: never */
    bool interactive;
    bool verbose;
    struct qemu qemu;
    int log_fd;
    int keys_fd; /* a pipe whose bytes are typed; -1: none */
    struct whens whens;
    struct boot_facts facts;
    int wanted_focus; /* FOCUS_GUEST at first */
    /* Private. */
    int log_error;  /* errno of a failed write to the log, or 0 */
    bool connected; /* the terminal's keys go to the machine now */
    bool switching; /* the tool sent a switch, and Xen has not yet reported it */
    bool left;      /* the user pressed KEY_LEAVE */
    bool input_ended;
    bool line_closed;   /* QEMU has ended, or is about to */
    uint64_t output_ns; /* when the machine wrote last */
    uint64_t deadline_ns;
    struct terminal terminal;
    struct guest_view view;
    struct console_lines lines;
};

/* Called before QEMU starts: the clock begins, and SIGINT, SIGTERM and SIGHUP end the watch. */
void boot_watch_prepare(struct boot_watch *watch);

/* Watches until QEMU closes the line, the time is up, or the user leaves. Returns a text for the
 * error, or NULL. */
const char *boot_watch_run(struct boot_watch *watch);

/* Stops QEMU, writes the last results and returns the tool's exit status. */
int boot_watch_conclude(struct boot_watch *watch, const char *trouble);

#endif
