/* SPDX-License-Identifier: MIT */
/*
 * machine: runs QEMU until the end of one boot, and reports how the boot went.
 *
 * The given command (QEMU) gets a socket as the machine's serial line. This tool writes every byte
 * of the line to a log, shows the progress of the boot (boot_facts.c), and enforces a time limit.
 * With --interactive it also connects the user's terminal: to guest 1, or to Dragoman's monitor
 * (Ctrl-T). boot_watch.c runs the boot.
 *
 * QEMU ends with this tool, and this tool with its parent. Exit status: 0 when the domain printed
 * "end poweroff" and QEMU ended by itself (interactive: or the user left), 128 + N after signal N
 * (SIGPIPE: the reader of the output is gone), 1 otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "boot_watch.h"
#include "message.h"
#include "must.h"
#include "options.h"

static const char usage[] =
    "Usage: machine --log FILE --results FILE [OPTION]... -- QEMU ARGUMENT...\n"
    "\n"
    "Boots QEMU, watches its console, and reports how the boot went.\n";

static void take_when(void *context, const char *argument)
{
    struct boot_watch *watch = context;
    when_add(&watch->whens, argument);
}

static void take_timeout(void *context, const char *argument)
{
    struct boot_watch *watch = context;
    char *end;

    watch->timeout_s = strtol(argument, &end, 10);
    if (end == argument || *end != '\0' || watch->timeout_s < 0)
        die_usage("--timeout '%s' is not a number of seconds", argument);
}

/* Returns the index in argv of QEMU's command. */
static int read_command_line(struct boot_watch *watch, int argc, char **argv)
{
    const struct tool_option options[] = {
        {"log", "FILE", "receives every byte of the console", .text = &watch->log_path},
        {"results", "FILE", "receives the facts of the boot (tools/boot_facts.h)",
         .text = &watch->results_path},
        {"timeout", "SECONDS", "when the machine is stopped (default 180; 0: never)",
         .take = take_timeout},
        {"interactive", NULL, "connect this terminal to guest 1 as soon as its shell is ready",
         .flag = &watch->interactive},
        {"when", "TEXT=WORDS",
         "when a console line holds TEXT, send WORDS and a line end,\nonce; may be given again",
         .take = take_when},
        {"keys", "FILE", "a named pipe: what is written to it is typed on the console",
         .text = &watch->keys_path},
        {"verbose", NULL, "show the console instead of the progress", .flag = &watch->verbose},
    };
    const struct tool_options all = {usage, NULL, options, sizeof options / sizeof options[0],
                                     watch};
    int first = options_read(&all, argc, argv);

    if (watch->log_path == NULL || watch->results_path == NULL || first == argc)
        die_usage("--log, --results and a command are all needed");
    return first;
}

int main(int argc, char **argv)
{
    static struct boot_watch watch = {.timeout_s = 180, .wanted_focus = FOCUS_GUEST, .keys_fd = -1};
    const pid_t parent = getppid();

    message_tool_name("machine");
    int command = read_command_line(&watch, argc, argv);
    watch.log_fd = open(watch.log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (watch.log_fd < 0)
        die("cannot write %s: %s", watch.log_path, strerror(errno));
    watch.facts.results = fopen(watch.results_path, "we");
    if (watch.facts.results == NULL)
        die("cannot write %s: %s", watch.results_path, strerror(errno));
    if (watch.keys_path != NULL) {
        /* Also for writing, so that the end of one writer is not the end of the pipe. */
        watch.keys_fd = open(watch.keys_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (watch.keys_fd < 0)
            die("cannot read %s: %s", watch.keys_path, strerror(errno));
    }
    boot_watch_prepare(&watch);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        return 1; /* the parent ended before the line above */

    qemu_start(&watch.qemu, argv + command);
    return boot_watch_conclude(&watch, boot_watch_run(&watch));
}
