/* SPDX-License-Identifier: MIT */
/*
 * boot_watch: see boot_watch.h.
 *
 * Xen gives the input of the serial line to one domain at a time; three Ctrl-A move it to the next
 * one. The watch sends them until Xen names the wanted domain. If the user types them, the domain
 * that Xen then names becomes the wanted one.
 */
#include "boot_watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "message.h"
#include "must.h"

enum {
    KEY_LEAVE = 0x1d,  /* Ctrl-], as in telnet */
    KEY_SWITCH = 0x14, /* Ctrl-T: between the guest and Dragoman's monitor */
    /* After a panic registers and a backtrace follow: the tool waits until there is no output for
     * this time. */
    PANIC_SILENCE_MS = 6000,
    /* After an interactive guest's end the domain still removes its devices. */
    SHELL_LINGER_MS = 60000,
    /* The longest time without a line of progress, so that long work is not taken for a hang. */
    PROGRESS_MS = 10000,
    READ_BYTES = 4096,
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

/* --- the input focus --- */

static bool shell_runs(const struct boot_watch *watch)
{
    return watch->interactive && watch->facts.shell_ready && !watch->facts.shell_done;
}

/* Shows a line to the user, on a terminal that is in raw mode. */
static void show_notice(const char *text)
{
    write_whole(STDOUT_FILENO, "\r\n[", 3);
    write_whole(STDOUT_FILENO, text, strlen(text));
    write_whole(STDOUT_FILENO, "]\r\n", 3);
}

static void focus_arrived(struct boot_watch *watch)
{
    if (!watch->connected) {
        if (watch->facts.focus != FOCUS_GUEST)
            return;
        boot_facts_show(&watch->facts,
                        "this is the guest's shell; 'exit' ends it, Ctrl-T is Dragoman's monitor, "
                        "Ctrl-] stops the machine");
        terminal_make_raw(&watch->terminal);
        watch->connected = watch->facts.raw_terminal = true;
        write_whole(watch->qemu.line_fd, "\n", 1);
    } else if (watch->facts.focus == FOCUS_MONITOR) {
        show_notice("Dragoman's monitor: 'help' lists its commands; Ctrl-T returns to the guest");
    } else if (watch->facts.focus == FOCUS_GUEST) {
        show_notice("the guest's shell");
    } else {
        show_notice("Xen: 'h' lists its keys; Ctrl-T returns to the guest");
    }
}

/* Moves the input focus towards the wanted domain; called after every line. `changed`: Xen moved
 * it. */
static void pursue_focus(struct boot_watch *watch, bool changed)
{
    if (!shell_runs(watch))
        return;
    if (changed) {
        if (watch->connected && !watch->switching)
            watch->wanted_focus = watch->facts.focus;
        watch->switching = false;
        if (watch->facts.focus == watch->wanted_focus)
            focus_arrived(watch);
    } else if (!watch->connected && watch->facts.focus == watch->wanted_focus) {
        focus_arrived(watch);
    }
    /* Sends one switch, then waits for Xen's line: a second one too soon would go too far. */
    if (watch->facts.focus != watch->wanted_focus && !watch->switching) {
        watch->switching = true;
        write_whole(watch->qemu.line_fd, "\x01\x01\x01", 3);
    }
}

/* --- output of the machine --- */

/* A console_line_fn. */
static void take_line(void *context, const struct console_line *line)
{
    struct boot_watch *watch = context;

    boot_facts_take_line(&watch->facts, line);
    when_line(&watch->whens, line->text, watch->qemu.line_fd);
}

/* Takes bytes with at most one line end: each line may change the receiver of the next. */
static void take_part_of_line(struct boot_watch *watch, const char *bytes, size_t count)
{
    if (watch->connected) {
        char seen[2 * READ_BYTES + 16];
        size_t seen_count = guest_view_filter(&watch->view, bytes, count, seen);
        write_whole(STDOUT_FILENO, seen, seen_count);
    } else if (watch->verbose) {
        write_whole(STDOUT_FILENO, bytes, count);
    }
    unsigned changes = watch->facts.focus_changes;
    console_lines_feed(&watch->lines, bytes, count);
    pursue_focus(watch, changes != watch->facts.focus_changes);
    if (watch->connected && watch->facts.shell_done) {
        terminal_restore(&watch->terminal);
        watch->connected = watch->facts.raw_terminal = false;
    }
}

/* False when the machine has closed its end of the line. */
static bool take_output(struct boot_watch *watch)
{
    char bytes[READ_BYTES];
    ssize_t count = read(watch->qemu.line_fd, bytes, sizeof bytes);

    if (count < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (count <= 0)
        return false;
    watch->output_ns = monotonic_now_ns();
    if (watch->log_error == 0 && !write_whole(watch->log_fd, bytes, (size_t)count))
        watch->log_error = errno;
    for (char *at = bytes, *end = bytes + count; at < end;) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        char *next = line_end != NULL ? line_end + 1 : end;
        take_part_of_line(watch, at, (size_t)(next - at));
        at = next;
    }
    return true;
}

/* --- keys of the user --- */

static void take_key(struct boot_watch *watch, char key)
{
    if (key == KEY_LEAVE) {
        watch->left = true;
    } else if (key == KEY_SWITCH) {
        watch->wanted_focus = watch->wanted_focus == FOCUS_GUEST ? FOCUS_MONITOR : FOCUS_GUEST;
        pursue_focus(watch, false);
    } else if (watch->facts.focus == FOCUS_MONITOR && key != '\x01') {
        terminal_edit_line(&watch->terminal, key);
    } else {
        terminal_type(&watch->terminal, key);
    }
}

static void take_keys(struct boot_watch *watch)
{
    char keys[TERMINAL_QUEUE_BYTES];
    ssize_t count = read(STDIN_FILENO, keys, terminal_room(&watch->terminal));

    if (count < 0 && errno == EINTR)
        return;
    if (count <= 0)
        watch->input_ended = true; /* a script has ended its output */
    for (ssize_t i = 0; i < count && !watch->left; i++)
        take_key(watch, keys[i]);
}

/* Passes keys of a program (--keys), which controls their pace and the input focus. */
static void pass_keys(struct boot_watch *watch)
{
    char keys[READ_BYTES];
    ssize_t count = read(watch->keys_fd, keys, sizeof keys);

    if (count > 0)
        write_whole(watch->qemu.line_fd, keys, (size_t)count);
}

/* --- the boot, from start to end --- */

void boot_watch_prepare(struct boot_watch *watch)
{
    struct sigaction action = {.sa_handler = on_signal};

    watch->facts.quiet = watch->verbose;
    watch->facts.start_ns = watch->facts.shown_ns = watch->output_ns = monotonic_now_ns();
    watch->lines.take_line = take_line;
    watch->lines.context = watch;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Moves the deadline to an earlier time, never to a later one. */
static void limit_deadline(struct boot_watch *watch, uint64_t from_ns, uint64_t left_ms)
{
    uint64_t end_ns = from_ns + left_ms * 1000000u;
    if (end_ns < watch->deadline_ns)
        watch->deadline_ns = end_ns;
}

/* Waits for bytes of the machine or of the user. False when the machine has closed its end. */
static bool wait_and_take(struct boot_watch *watch, uint64_t wait_ms)
{
    bool listen = watch->connected && !watch->input_ended && terminal_room(&watch->terminal);

    terminal_send(&watch->terminal, watch->qemu.line_fd, monotonic_now_ns());
    if (terminal_wait_ms(&watch->terminal) < wait_ms)
        wait_ms = terminal_wait_ms(&watch->terminal);
    struct pollfd fds[5] = {
        {.fd = watch->qemu.line_fd, .events = POLLIN},
        {.fd = listen ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = watch->keys_fd, .events = POLLIN},
        /* Of these only errors: the reader of a pipe is gone. */
        {.fd = STDOUT_FILENO},
        {.fd = STDERR_FILENO},
    };
    if (poll(fds, 5, wait_ms > 200 ? 200 : (int)wait_ms) <= 0)
        return true; /* also after a signal, which boot_watch_run() checks */
    if (fds[0].revents != 0 && !take_output(watch))
        return false;
    if (fds[1].revents != 0)
        take_keys(watch);
    if (fds[2].revents != 0)
        pass_keys(watch);
    if (((fds[3].revents | fds[4].revents) & POLLERR) != 0)
        stop_signal = SIGPIPE;
    return true;
}

/* Shows that the machine runs if no other line was shown for some time. */
static void show_that_it_runs(struct boot_watch *watch, uint64_t now_ns)
{
    if (watch->connected || now_ns - watch->facts.shown_ns < PROGRESS_MS * 1000000ull)
        return;
    if (watch->deadline_ns == UINT64_MAX)
        boot_facts_show(&watch->facts, "the machine runs");
    else
        boot_facts_show(&watch->facts, "the machine runs; the time limit is in %llu s",
                        (unsigned long long)((watch->deadline_ns - now_ns) / 1000000000u));
}

const char *boot_watch_run(struct boot_watch *watch)
{
    watch->deadline_ns = UINT64_MAX;
    if (watch->timeout_s > 0)
        limit_deadline(watch, monotonic_now_ns(), (uint64_t)watch->timeout_s * 1000);

    for (bool shell_ended = false;;) {
        if (stop_signal != 0)
            return stop_signal == SIGPIPE ? "its output is no longer read" : "interrupted";
        if (watch->left)
            return NULL;
        if (watch->log_error != 0)
            return must_format("cannot write %s: %s; the machine is stopped", watch->log_path,
                               strerror(watch->log_error));
        uint64_t now_ns = monotonic_now_ns();
        if (watch->facts.crashed && now_ns - watch->output_ns >= PANIC_SILENCE_MS * 1000000ull)
            return NULL;
        if (watch->facts.shell_done && !shell_ended) {
            limit_deadline(watch, now_ns, SHELL_LINGER_MS);
            shell_ended = true;
        }
        if (now_ns >= watch->deadline_ns)
            return watch->facts.crashed ? NULL : "the time is up";
        show_that_it_runs(watch, now_ns);
        if (!wait_and_take(watch, (watch->deadline_ns - now_ns) / 1000000u + 1)) {
            watch->line_closed = true;
            return NULL;
        }
    }
}

int boot_watch_conclude(struct boot_watch *watch, const char *trouble)
{
    FILE *results = watch->facts.results;
    int status = qemu_stop(&watch->qemu, watch->line_closed);

    console_lines_flush(&watch->lines);
    terminal_restore(&watch->terminal);
    if (watch->connected)
        fputs("\n", stderr);
    watch->facts.raw_terminal = false;
    if (watch->facts.in_xen_panic)
        fputs("xen-panic the console ended before the reason\n", results);
    if (trouble != NULL) {
        fprintf(results, "trouble %s\n", trouble);
        boot_facts_show(&watch->facts, "the machine is stopped: %s", trouble);
    }
    if (watch->line_closed && WIFEXITED(status) && WEXITSTATUS(status) != 0) {
        fprintf(results, "trouble QEMU ended with status %d\n", WEXITSTATUS(status));
        trouble = "QEMU failed";
    }
    /* A full file system may be reported only here, because the log was cached. */
    if (close(watch->log_fd) != 0 && watch->log_error == 0)
        die("cannot write %s: %s", watch->log_path, strerror(errno));
    if (ferror(results) || fclose(results) != 0)
        die("cannot write %s: %s", watch->results_path, strerror(errno));
    if (stop_signal != 0)
        return 128 + stop_signal;
    if (trouble != NULL || watch->facts.crashed)
        return 1;
    return watch->facts.ended || watch->left ? 0 : 1;
}
