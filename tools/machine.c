/* SPDX-License-Identifier: MIT */
/*
 * machine: boots QEMU and stays with it until the end.
 *
 * Runs the command it is given with a socket pair as the machine's serial line, writes every
 * byte of it to a log, shows how far the boot has come (story.c), and enforces a time limit. With
 * --interactive it also lends the user's terminal to guest 1: raw mode, so that Ctrl-C reaches the
 * guest, and Xen's own switch (Ctrl-A three times) sent until Xen says that the guest has the
 * input.
 *
 * QEMU is this tool's child and ends with it, however it ends. Exit status: 0 when the domain said
 * "end poweroff" and QEMU ended by itself (interactive: or the user left), 1 otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "say.h"
#include "story.h"
#include "view.h"

enum {
    KEY_LEAVE = 0x1d, /* Ctrl-] as in telnet */
    /* How long a machine may linger after a panic: registers and a backtrace are still to come. */
    CRASH_LINGER_MS = 6000,
    /* And after an interactive guest's end: the domain tears its devices down. */
    SHELL_LINGER_MS = 20000,
    GUEST_INTERACTIVE = 1,
    PIECE_SIZE = 4096,
    STOP_MS = 3000,
    WHEN_COUNT_MAX = 8,
    /* Xen keeps 32 characters for a guest and drops what comes beyond: a pasted line is typed to it
       in portions. */
    TYPE_BYTES = 8,
    TYPE_PAUSE_MS = 40,
};

static const char help[] =
    "Usage: machine --log FILE --results FILE [OPTION]... -- QEMU ARGUMENT...\n"
    "\n"
    "Boots QEMU, watches its console, and says how it went.\n"
    "\n"
    "  --log FILE       every byte of the console\n"
    "  --results FILE   what was understood of it (tools/story.h)\n"
    "  --timeout N      seconds until the machine is stopped (default 180; 0: never)\n"
    "  --interactive    connect this terminal to guest 1 as soon as its shell is ready\n"
    "  --when TEXT=WORDS  when a line holds TEXT, send WORDS and a line end, once; may be given "
    "again\n"
    "  --verbose        show the console itself instead of the progress\n";

/* Words to be typed when the console says something. */
struct when {
    const char *text;
    size_t text_length;
    const char *words;
    bool done;
};

struct machine {
    const char *log_path;
    const char *results_path;
    long timeout_s;
    bool interactive;
    bool verbose;
    pid_t qemu;
    int line_fd; /* our end of the serial line */
    int log_fd;
    bool connected; /* the terminal is the guest's now */
    bool left;      /* the user pressed the key to leave */
    bool input_ended;
    bool line_closed; /* QEMU has ended, or is about to */
    char typed[256];  /* by the user, not yet sent */
    size_t typed_count;
    uint64_t type_next_ns;
    unsigned switches_sent;
    uint64_t deadline_ns;
    struct when whens[WHEN_COUNT_MAX];
    size_t when_count;
    struct view view;
    struct console console;
    struct story story;
};

static struct termios terminal_before;
static bool terminal_is_raw;
static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

static void terminal_restore(void)
{
    if (terminal_is_raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal_before);
    terminal_is_raw = false;
}

static void terminal_make_raw(void)
{
    if (tcgetattr(STDIN_FILENO, &terminal_before) != 0)
        return; /* not a terminal: a script that talks to the guest */
    struct termios raw = terminal_before;
    cfmakeraw(&raw);
    terminal_is_raw = true;
    atexit(terminal_restore);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void write_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(fd, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* the reader is gone; the end of QEMU is noticed elsewhere */
        bytes += written;
        count -= (size_t)written;
    }
}

static void start_qemu(struct machine *machine, char **command)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        die("cannot make the serial line: %s", strerror(errno));
    machine->qemu = fork();
    if (machine->qemu < 0)
        die("cannot start QEMU: %s", strerror(errno));
    if (machine->qemu == 0) {
        /* A group of its own keeps the terminal's Ctrl-C from it; it must not outlive us. */
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pair[1], STDIN_FILENO);
        dup2(pair[1], STDOUT_FILENO);
        close(pair[0]);
        close(pair[1]);
        execvp(command[0], command);
        fprintf(stderr, "machine: cannot run %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    close(pair[1]);
    machine->line_fd = pair[0];
}

/* Asks Xen for the next domain's turn as input, until it is the guest's. */
static void pursue_focus(struct machine *machine)
{
    bool wanted = machine->interactive && machine->story.shell_ready && !machine->story.shell_done;
    if (!wanted || machine->story.focus == GUEST_INTERACTIVE)
        return;
    /* One switch, then wait for Xen's answer: a second one too soon would overshoot. */
    if (machine->switches_sent > machine->story.focus_changes)
        return;
    machine->switches_sent = machine->story.focus_changes + 1;
    write_all(machine->line_fd, "\x01\x01\x01", 3);
}

static void connect_terminal(struct machine *machine)
{
    if (machine->connected || !machine->interactive || !machine->story.shell_ready ||
        machine->story.shell_done || machine->story.focus != GUEST_INTERACTIVE)
        return;
    story_tell(&machine->story, "the guest's shell is yours; 'exit' ends it, Ctrl-] stops all");
    terminal_make_raw();
    machine->connected = true;
    write_all(machine->line_fd, "\n", 1);
}

/* Every line of the console comes through here. */
static void take_line(void *context, const struct console_line *line)
{
    struct machine *machine = context;
    story_take_line(&machine->story, line);
    for (size_t i = 0; i < machine->when_count; i++) {
        struct when *when = &machine->whens[i];
        if (when->done ||
            memmem(line->text, strlen(line->text), when->text, when->text_length) == NULL)
            continue;
        when->done = true;
        write_all(machine->line_fd, when->words, strlen(when->words));
        write_all(machine->line_fd, "\n", 1);
    }
}

static void add_when(struct machine *machine, const char *argument)
{
    const char *equals = strchr(argument, '=');
    if (equals == NULL || equals == argument)
        die_usage("--when '%s' is not TEXT=WORDS", argument);
    if (machine->when_count == WHEN_COUNT_MAX)
        die_usage("--when may be given at most %d times", WHEN_COUNT_MAX);
    machine->whens[machine->when_count++] = (struct when){
        .text = argument,
        .text_length = (size_t)(equals - argument),
        .words = equals + 1,
    };
}

/* Shows and understands bytes that end with a line at most: who sees the next may change then. */
static void take_piece(struct machine *machine, const char *bytes, size_t count)
{
    if (machine->connected) {
        char seen[2 * PIECE_SIZE + 16];
        write_all(STDOUT_FILENO, seen, view_filter(&machine->view, bytes, count, seen));
    } else if (machine->verbose) {
        write_all(STDOUT_FILENO, bytes, count);
    }
    console_feed(&machine->console, bytes, count);
    pursue_focus(machine);
    connect_terminal(machine);
    if (machine->connected && machine->story.shell_done) {
        terminal_restore();
        machine->connected = false;
    }
}

/* False when the machine has closed its end. */
static bool take_output(struct machine *machine)
{
    char bytes[PIECE_SIZE];
    ssize_t count = read(machine->line_fd, bytes, sizeof bytes);
    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (count <= 0)
        return false;
    write_all(machine->log_fd, bytes, (size_t)count);
    for (char *at = bytes, *end = bytes + count; at < end;) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        char *next = line_end != NULL ? line_end + 1 : end;
        take_piece(machine, at, (size_t)(next - at));
        at = next;
    }
    return true;
}

/* Sends the next portion of what the user typed, when it is time. */
static void type_portion(struct machine *machine)
{
    uint64_t now_ns = story_now_ns();
    if (machine->typed_count == 0 || now_ns < machine->type_next_ns)
        return;
    size_t count = machine->typed_count < TYPE_BYTES ? machine->typed_count : TYPE_BYTES;
    write_all(machine->line_fd, machine->typed, count);
    machine->typed_count -= count;
    memmove(machine->typed, machine->typed + count, machine->typed_count);
    machine->type_next_ns = now_ns + TYPE_PAUSE_MS * 1000000ull;
}

static void take_input(struct machine *machine)
{
    char *bytes = machine->typed + machine->typed_count;
    ssize_t count = read(STDIN_FILENO, bytes, sizeof machine->typed - machine->typed_count);
    if (count < 0 && errno == EINTR)
        return;
    if (count <= 0) {
        machine->input_ended = true; /* a script has said all it had to say */
        return;
    }
    char *leave = memchr(bytes, KEY_LEAVE, (size_t)count);
    if (leave != NULL) {
        machine->left = true;
        count = leave - bytes;
    }
    machine->typed_count += (size_t)count;
}

/* Waits for QEMU to end by itself; false when it has not within the time. */
static bool reap_qemu(struct machine *machine, int *status, unsigned wait_ms)
{
    struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    for (unsigned waited_ms = 0; waited_ms <= wait_ms; waited_ms += 20) {
        if (waitpid(machine->qemu, status, WNOHANG) == machine->qemu)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* The status of an ended QEMU; one that still runs is asked to end first, so that it closes its
 * images. */
static int stop_qemu(struct machine *machine, bool ended)
{
    int status = 0;
    if (ended && reap_qemu(machine, &status, STOP_MS))
        return status;
    kill(machine->qemu, SIGTERM);
    if (reap_qemu(machine, &status, STOP_MS))
        return status;
    kill(machine->qemu, SIGKILL);
    while (waitpid(machine->qemu, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

/* Brings the end of patience forward, never back. */
static void limit_patience(struct machine *machine, uint64_t left_ms)
{
    uint64_t end_ns = story_now_ns() + left_ms * 1000000u;
    if (end_ns < machine->deadline_ns)
        machine->deadline_ns = end_ns;
}

/* Waits for bytes of the machine or of the user. False when the machine has closed its end. */
static bool wait_and_take(struct machine *machine, uint64_t left_ms)
{
    bool listen =
        machine->connected && !machine->input_ended && machine->typed_count < sizeof machine->typed;
    if (machine->typed_count > 0 && left_ms > TYPE_PAUSE_MS)
        left_ms = TYPE_PAUSE_MS;
    type_portion(machine);
    struct pollfd fds[2] = {
        {.fd = machine->line_fd, .events = POLLIN},
        {.fd = listen ? STDIN_FILENO : -1, .events = POLLIN},
    };
    if (poll(fds, 2, left_ms > 1000 ? 1000 : (int)left_ms) <= 0)
        return true; /* also after a signal: the caller looks */
    if (fds[0].revents != 0 && !take_output(machine))
        return false;
    if (fds[1].revents != 0)
        take_input(machine);
    return true;
}

/* Runs until QEMU closes the line, the time is up, or the user has enough. Returns why not, or
 * NULL. */
static const char *watch(struct machine *machine)
{
    machine->deadline_ns = UINT64_MAX;
    if (machine->timeout_s > 0)
        limit_patience(machine, (uint64_t)machine->timeout_s * 1000);

    for (;;) {
        if (stop_signal != 0)
            return "interrupted";
        if (machine->left)
            return NULL;
        if (machine->story.crashed)
            limit_patience(machine, CRASH_LINGER_MS);
        else if (machine->story.shell_done)
            limit_patience(machine, SHELL_LINGER_MS);

        uint64_t now_ns = story_now_ns();
        if (now_ns >= machine->deadline_ns)
            return machine->story.crashed ? NULL : "the time is up";
        if (!wait_and_take(machine, (machine->deadline_ns - now_ns) / 1000000u + 1)) {
            machine->line_closed = true;
            return NULL;
        }
    }
}

static int conclude(struct machine *machine, const char *trouble)
{
    int status = stop_qemu(machine, machine->line_closed);
    console_flush(&machine->console);
    terminal_restore();

    FILE *results = machine->story.results;
    if (machine->connected)
        fputs("\n", stderr);
    if (trouble != NULL) {
        fprintf(results, "trouble %s\n", trouble);
        if (strcmp(trouble, "the time is up") == 0)
            story_tell(&machine->story, "the time is up: the machine is stopped");
    }
    if (machine->line_closed && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        fprintf(results, "trouble QEMU ended with status %d\n", WEXITSTATUS(status));
        trouble = "QEMU failed";
    }
    fclose(results);
    if (stop_signal != 0)
        return 128 + stop_signal;
    if (trouble != NULL || machine->story.crashed)
        return 1;
    return machine->story.ended || machine->left ? 0 : 1;
}

static void parse_options(struct machine *machine, int argc, char **argv)
{
    static const struct option known[] = {
        {"log", required_argument, NULL, 'l'},   {"results", required_argument, NULL, 'r'},
        {"when", required_argument, NULL, 'w'},  {"timeout", required_argument, NULL, 't'},
        {"interactive", no_argument, NULL, 'i'}, {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    char *end;
    for (int option; (option = getopt_long(argc, argv, "+ivh", known, NULL)) != -1;) {
        switch (option) {
        case 'l':
            machine->log_path = optarg;
            break;
        case 'r':
            machine->results_path = optarg;
            break;
        case 't':
            machine->timeout_s = strtol(optarg, &end, 10);
            if (end == optarg || *end != '\0' || machine->timeout_s < 0)
                die_usage("--timeout '%s' is no number of seconds", optarg);
            break;
        case 'w':
            add_when(machine, optarg);
            break;
        case 'i':
            machine->interactive = true;
            break;
        case 'v':
            machine->verbose = true;
            break;
        case 'h':
            fputs(help, stdout);
            exit(0);
        default:
            die_usage("the command line is wrong");
        }
    }
    if (machine->log_path == NULL || machine->results_path == NULL || optind == argc)
        die_usage("--log, --results and a command are all needed");
}

int main(int argc, char **argv)
{
    static struct machine machine = {.timeout_s = 180};

    say_tool_name("machine");
    parse_options(&machine, argc, argv);
    machine.log_fd = open(machine.log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (machine.log_fd < 0)
        die("cannot write %s: %s", machine.log_path, strerror(errno));
    machine.story.results = fopen(machine.results_path, "we");
    if (machine.story.results == NULL)
        die("cannot write %s: %s", machine.results_path, strerror(errno));
    machine.story.quiet = machine.verbose;
    machine.story.start_ns = story_now_ns();
    machine.console.take = take_line;
    machine.console.context = &machine;

    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);

    start_qemu(&machine, argv + optind);
    return conclude(&machine, watch(&machine));
}
