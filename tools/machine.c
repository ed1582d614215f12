/* SPDX-License-Identifier: MIT */
/*
 * machine: runs QEMU until the end of one boot, and reports how the boot went.
 *
 * The command that it is given (QEMU) gets a socket as the machine's serial line. This tool writes
 * every byte of the line to a log, shows the progress of the boot (boot_facts.c), and enforces a
 * time limit. With --interactive it also connects the user's terminal: to guest 1, or to Dragoman's
 * monitor (KEY_SWITCH). Xen gives the input of the serial line to one domain at a time; three
 * Ctrl-A move it to the next one. The tool sends them until Xen names the domain that the user
 * wants. A user who types them selects the domain that Xen then names.
 *
 * QEMU ends with this tool, and this tool with its parent. Exit status: 0 when the domain printed
 * "end poweroff" and QEMU ended by itself (interactive: or the user left), 128 + N after signal N,
 * 1 otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot_facts.h"
#include "console_lines.h"
#include "guest_view.h"
#include "message.h"
#include "must.h"
#include "options.h"
#include "qemu.h"
#include "terminal.h"
#include "when.h"

enum {
    KEY_LEAVE = 0x1d,  /* Ctrl-], as in telnet */
    KEY_SWITCH = 0x14, /* Ctrl-T: between the guest and Dragoman's monitor */
    FOCUS_MONITOR = 0,
    FOCUS_GUEST = 1,
    /* After a panic registers and a backtrace follow: the tool waits for so much silence. */
    PANIC_SILENCE_MS = 6000,
    /* After an interactive guest's end the domain still tears its devices down. */
    SHELL_LINGER_MS = 60000,
    /* A line of progress at least so often, so that long work is not taken for a hang. */
    PROGRESS_MS = 10000,
    READ_BYTES = 4096,
};

static const char usage[] =
    "Usage: machine --log FILE --results FILE [OPTION]... -- QEMU ARGUMENT...\n"
    "\n"
    "Boots QEMU, watches its console, and reports how the boot went.\n";

struct machine {
    const char *log_path;
    const char *results_path;
    long timeout_s;
    bool interactive;
    bool verbose;
    struct qemu qemu;
    int log_fd;
    int log_error;  /* errno of a failed write to the log, or 0 */
    bool connected; /* the terminal's keys go to the machine now */
    int wanted_focus;
    bool switching; /* the tool sent a switch that Xen has not answered yet */
    bool left;      /* the user pressed KEY_LEAVE */
    bool input_ended;
    bool line_closed;   /* QEMU has ended, or is about to */
    uint64_t output_ns; /* when the machine wrote last */
    uint64_t deadline_ns;
    struct whens whens;
    const char *keys_path;
    int keys_fd; /* a pipe whose bytes are typed; -1: none */
    struct terminal terminal;
    struct guest_view view;
    struct console_lines lines;
    struct boot_facts facts;
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

/* --- the input focus --- */

static bool shell_runs(const struct machine *machine)
{
    return machine->interactive && machine->facts.shell_ready && !machine->facts.shell_done;
}

/* A line for the user, on a terminal that is in raw mode. */
static void show_notice(const char *text)
{
    write_whole(STDOUT_FILENO, "\r\n[", 3);
    write_whole(STDOUT_FILENO, text, strlen(text));
    write_whole(STDOUT_FILENO, "]\r\n", 3);
}

static void focus_arrived(struct machine *machine)
{
    if (!machine->connected) {
        if (machine->facts.focus != FOCUS_GUEST)
            return;
        boot_facts_show(&machine->facts,
                        "this is the guest's shell; 'exit' ends it, Ctrl-T is Dragoman's monitor, "
                        "Ctrl-] stops the machine");
        terminal_make_raw(&machine->terminal);
        machine->connected = machine->facts.raw_terminal = true;
        write_whole(machine->qemu.line_fd, "\n", 1);
    } else if (machine->facts.focus == FOCUS_MONITOR) {
        show_notice("Dragoman's monitor: 'help' lists its commands; Ctrl-T returns to the guest");
    } else if (machine->facts.focus == FOCUS_GUEST) {
        show_notice("the guest's shell");
    } else {
        show_notice("Xen: 'h' lists its keys; Ctrl-T returns to the guest");
    }
}

/* Moves the input towards the wanted domain; called after every line. `changed`: Xen moved it. */
static void pursue_focus(struct machine *machine, bool changed)
{
    if (!shell_runs(machine))
        return;
    if (changed) {
        if (machine->connected && !machine->switching)
            machine->wanted_focus = machine->facts.focus;
        machine->switching = false;
        if (machine->facts.focus == machine->wanted_focus)
            focus_arrived(machine);
    } else if (!machine->connected && machine->facts.focus == machine->wanted_focus) {
        focus_arrived(machine);
    }
    /* One switch, then wait for Xen's answer: a second one too soon would overshoot. */
    if (machine->facts.focus != machine->wanted_focus && !machine->switching) {
        machine->switching = true;
        write_whole(machine->qemu.line_fd, "\x01\x01\x01", 3);
    }
}

/* --- output of the machine --- */

/* A console_line_fn. */
static void take_line(void *context, const struct console_line *line)
{
    struct machine *machine = context;

    boot_facts_take_line(&machine->facts, line);
    when_line(&machine->whens, line->text, machine->qemu.line_fd);
}

/* Takes bytes that hold one line end at most: each line may change which program sees the next. */
static void take_part_of_line(struct machine *machine, const char *bytes, size_t count)
{
    if (machine->connected) {
        char seen[2 * READ_BYTES + 16];
        size_t seen_count = guest_view_filter(&machine->view, bytes, count, seen);
        write_whole(STDOUT_FILENO, seen, seen_count);
    } else if (machine->verbose) {
        write_whole(STDOUT_FILENO, bytes, count);
    }
    unsigned changes = machine->facts.focus_changes;
    console_lines_feed(&machine->lines, bytes, count);
    pursue_focus(machine, changes != machine->facts.focus_changes);
    if (machine->connected && machine->facts.shell_done) {
        terminal_restore(&machine->terminal);
        machine->connected = machine->facts.raw_terminal = false;
    }
}

/* False when the machine has closed its end of the line. */
static bool take_output(struct machine *machine)
{
    char bytes[READ_BYTES];
    ssize_t count = read(machine->qemu.line_fd, bytes, sizeof bytes);

    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (count <= 0)
        return false;
    machine->output_ns = monotonic_now_ns();
    if (machine->log_error == 0 && !write_whole(machine->log_fd, bytes, (size_t)count))
        machine->log_error = errno;
    for (char *at = bytes, *end = bytes + count; at < end;) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        char *next = line_end != NULL ? line_end + 1 : end;
        take_part_of_line(machine, at, (size_t)(next - at));
        at = next;
    }
    return true;
}

/* --- keys of the user --- */

static void take_key(struct machine *machine, char key)
{
    if (key == KEY_LEAVE) {
        machine->left = true;
    } else if (key == KEY_SWITCH) {
        machine->wanted_focus = machine->wanted_focus == FOCUS_GUEST ? FOCUS_MONITOR : FOCUS_GUEST;
        pursue_focus(machine, false);
    } else if (machine->facts.focus == FOCUS_MONITOR && key != '\x01') {
        terminal_edit_line(&machine->terminal, key);
    } else {
        terminal_type(&machine->terminal, key);
    }
}

static void take_keys(struct machine *machine)
{
    char keys[TERMINAL_QUEUE_BYTES];
    ssize_t count = read(STDIN_FILENO, keys, terminal_room(&machine->terminal));

    if (count < 0 && errno == EINTR)
        return;
    if (count <= 0)
        machine->input_ended = true; /* a script has written all that it had */
    for (ssize_t i = 0; i < count && !machine->left; i++)
        take_key(machine, keys[i]);
}

/* Keys of a program (--keys), which sees to their pace and to whom they go. */
static void pass_keys(struct machine *machine)
{
    char keys[READ_BYTES];
    ssize_t count = read(machine->keys_fd, keys, sizeof keys);

    if (count > 0)
        write_whole(machine->qemu.line_fd, keys, (size_t)count);
}

/* --- the boot, from start to end --- */

/* Moves the deadline forward, never back. */
static void limit_deadline(struct machine *machine, uint64_t from_ns, uint64_t left_ms)
{
    uint64_t end_ns = from_ns + left_ms * 1000000u;
    if (end_ns < machine->deadline_ns)
        machine->deadline_ns = end_ns;
}

/* Waits for bytes of the machine or of the user. False when the machine has closed its end. */
static bool wait_and_take(struct machine *machine, uint64_t wait_ms)
{
    bool listen = machine->connected && !machine->input_ended && terminal_room(&machine->terminal);

    terminal_send(&machine->terminal, machine->qemu.line_fd, monotonic_now_ns());
    if (terminal_wait_ms(&machine->terminal) < wait_ms)
        wait_ms = terminal_wait_ms(&machine->terminal);
    struct pollfd fds[3] = {
        {.fd = machine->qemu.line_fd, .events = POLLIN},
        {.fd = listen ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = machine->keys_fd, .events = POLLIN},
    };
    if (poll(fds, 3, wait_ms > 200 ? 200 : (int)wait_ms) <= 0)
        return true; /* also after a signal, which watch() looks for */
    if (fds[0].revents != 0 && !take_output(machine))
        return false;
    if (fds[1].revents != 0)
        take_keys(machine);
    if (fds[2].revents != 0)
        pass_keys(machine);
    return true;
}

/* A sign of life when nothing else was shown for a while. */
static void show_that_it_runs(struct machine *machine, uint64_t now_ns)
{
    if (machine->connected || now_ns - machine->facts.shown_ns < PROGRESS_MS * 1000000ull)
        return;
    if (machine->deadline_ns == UINT64_MAX)
        boot_facts_show(&machine->facts, "the machine runs");
    else
        boot_facts_show(&machine->facts, "the machine runs; the time limit is in %llu s",
                        (unsigned long long)((machine->deadline_ns - now_ns) / 1000000000u));
}

/* Watches until QEMU closes the line, the time is up, or the user leaves. Returns what went wrong,
 * or NULL. */
static const char *watch(struct machine *machine)
{
    machine->deadline_ns = UINT64_MAX;
    if (machine->timeout_s > 0)
        limit_deadline(machine, monotonic_now_ns(), (uint64_t)machine->timeout_s * 1000);

    for (bool shell_ended = false;;) {
        if (stop_signal != 0)
            return "interrupted";
        if (machine->left)
            return NULL;
        if (machine->log_error != 0)
            return must_format("cannot write %s: %s; the machine is stopped", machine->log_path,
                               strerror(machine->log_error));
        uint64_t now_ns = monotonic_now_ns();
        if (machine->facts.crashed && now_ns - machine->output_ns >= PANIC_SILENCE_MS * 1000000ull)
            return NULL;
        if (machine->facts.shell_done && !shell_ended) {
            limit_deadline(machine, now_ns, SHELL_LINGER_MS);
            shell_ended = true;
        }
        if (now_ns >= machine->deadline_ns)
            return machine->facts.crashed ? NULL : "the time is up";
        show_that_it_runs(machine, now_ns);
        if (!wait_and_take(machine, (machine->deadline_ns - now_ns) / 1000000u + 1)) {
            machine->line_closed = true;
            return NULL;
        }
    }
}

static int conclude(struct machine *machine, const char *trouble)
{
    FILE *results = machine->facts.results;
    int status = qemu_stop(&machine->qemu, machine->line_closed);

    console_lines_flush(&machine->lines);
    terminal_restore(&machine->terminal);
    if (machine->connected)
        fputs("\n", stderr);
    machine->facts.raw_terminal = false;
    if (machine->facts.in_xen_panic)
        fputs("xen-panic the console ended before the reason\n", results);
    if (trouble != NULL) {
        fprintf(results, "trouble %s\n", trouble);
        boot_facts_show(&machine->facts, "the machine is stopped: %s", trouble);
    }
    if (machine->line_closed && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        fprintf(results, "trouble QEMU ended with status %d\n", WEXITSTATUS(status));
        trouble = "QEMU failed";
    }
    /* A file system that is full shows only here for a log that lies in the cache. */
    if (close(machine->log_fd) != 0 && machine->log_error == 0)
        die("cannot write %s: %s", machine->log_path, strerror(errno));
    if (ferror(results) || fclose(results) != 0)
        die("cannot write %s: %s", machine->results_path, strerror(errno));
    if (stop_signal != 0)
        return 128 + stop_signal;
    if (trouble != NULL || machine->facts.crashed)
        return 1;
    return machine->facts.ended || machine->left ? 0 : 1;
}

/* --- the command line --- */

static void take_when(void *context, const char *argument)
{
    struct machine *machine = context;
    when_add(&machine->whens, argument);
}

static void take_timeout(void *context, const char *argument)
{
    struct machine *machine = context;
    char *end;

    machine->timeout_s = strtol(argument, &end, 10);
    if (end == argument || *end != '\0' || machine->timeout_s < 0)
        die_usage("--timeout '%s' is not a number of seconds", argument);
}

/* Returns the index in argv of QEMU's command. */
static int read_command_line(struct machine *machine, int argc, char **argv)
{
    const struct tool_option options[] = {
        {"log", "FILE", "receives every byte of the console", .text = &machine->log_path},
        {"results", "FILE", "receives the facts of the boot (tools/boot_facts.h)",
         .text = &machine->results_path},
        {"timeout", "SECONDS", "when the machine is stopped (default 180; 0: never)",
         .take = take_timeout},
        {"interactive", NULL, "connect this terminal to guest 1 as soon as its shell is ready",
         .flag = &machine->interactive},
        {"when", "TEXT=WORDS",
         "when a console line holds TEXT, send WORDS and a line end,\nonce; may be given again",
         .take = take_when},
        {"keys", "FILE", "a named pipe: what is written to it is typed on the console",
         .text = &machine->keys_path},
        {"verbose", NULL, "show the console instead of the progress", .flag = &machine->verbose},
    };
    const struct tool_options all = {usage, NULL, options, sizeof options / sizeof options[0],
                                     machine};
    int first = options_read(&all, argc, argv);

    if (machine->log_path == NULL || machine->results_path == NULL || first == argc)
        die_usage("--log, --results and a command are all needed");
    return first;
}

int main(int argc, char **argv)
{
    static struct machine machine = {.timeout_s = 180, .wanted_focus = FOCUS_GUEST, .keys_fd = -1};
    const pid_t parent = getppid();

    message_tool_name("machine");
    int command = read_command_line(&machine, argc, argv);
    machine.log_fd = open(machine.log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (machine.log_fd < 0)
        die("cannot write %s: %s", machine.log_path, strerror(errno));
    machine.facts.results = fopen(machine.results_path, "we");
    if (machine.facts.results == NULL)
        die("cannot write %s: %s", machine.results_path, strerror(errno));
    if (machine.keys_path != NULL) {
        /* Also for writing: the end of one writer is not the end of the pipe. */
        machine.keys_fd = open(machine.keys_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (machine.keys_fd < 0)
            die("cannot read %s: %s", machine.keys_path, strerror(errno));
    }
    machine.facts.quiet = machine.verbose;
    machine.facts.start_ns = machine.facts.shown_ns = machine.output_ns = monotonic_now_ns();
    machine.lines.take_line = take_line;
    machine.lines.context = &machine;

    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        return 1; /* the parent ended before the line above */

    qemu_start(&machine.qemu, argv + command);
    return conclude(&machine, watch(&machine));
}
