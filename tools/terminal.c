/* SPDX-License-Identifier: MIT */
/* terminal.c: see terminal.h. */
#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "must.h"

enum {
    PORTION_BYTES = 8,
    PORTION_PAUSE_MS = 40,
    KEY_BACKSPACE = 0x08,
    KEY_DELETE = 0x7f,
    KEY_CTRL_U = 0x15,
};

/* For atexit(), which passes no argument. */
static struct termios mode_before;
static bool mode_changed;

static void restore_mode(void)
{
    if (mode_changed)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &mode_before);
    mode_changed = false;
}

void terminal_make_raw(struct terminal *terminal)
{
    terminal->raw = true;
    if (tcgetattr(STDIN_FILENO, &mode_before) != 0)
        return; /* not a terminal: a script talks to the guest */
    struct termios raw = mode_before;
    cfmakeraw(&raw);
    mode_changed = true;
    atexit(restore_mode);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

void terminal_restore(struct terminal *terminal)
{
    restore_mode();
    terminal->raw = false;
}

size_t terminal_room(const struct terminal *terminal)
{
    /* A complete line of the monitor must fit into the rest of the queue. */
    size_t taken = terminal->queued + TERMINAL_LINE_BYTES + 1;
    return taken < sizeof terminal->queue ? sizeof terminal->queue - taken : 0;
}

void terminal_type(struct terminal *terminal, char key)
{
    if (terminal->queued < sizeof terminal->queue)
        terminal->queue[terminal->queued++] = key;
}

void terminal_edit_line(struct terminal *terminal, char key)
{
    if (key == '\r' || key == '\n') {
        for (size_t i = 0; i < terminal->line_length; i++)
            terminal_type(terminal, terminal->line[i]);
        terminal_type(terminal, '\n');
        terminal->line_length = 0;
        write_whole(STDOUT_FILENO, "\r\n", 2);
    } else if (key == KEY_BACKSPACE || key == KEY_DELETE) {
        if (terminal->line_length > 0) {
            terminal->line_length--;
            write_whole(STDOUT_FILENO, "\b \b", 3);
        }
    } else if (key == KEY_CTRL_U) {
        for (; terminal->line_length > 0; terminal->line_length--)
            write_whole(STDOUT_FILENO, "\b \b", 3);
    } else if (key >= ' ' && terminal->line_length < sizeof terminal->line) {
        terminal->line[terminal->line_length++] = key;
        write_whole(STDOUT_FILENO, &key, 1);
    }
}

void terminal_send(struct terminal *terminal, int fd, uint64_t now_ns)
{
    if (terminal->queued == 0 || now_ns < terminal->next_portion_ns)
        return;
    size_t count = terminal->queued < PORTION_BYTES ? terminal->queued : PORTION_BYTES;
    write_whole(fd, terminal->queue, count);
    terminal->queued -= count;
    memmove(terminal->queue, terminal->queue + count, terminal->queued);
    terminal->next_portion_ns = now_ns + PORTION_PAUSE_MS * 1000000ull;
}

uint64_t terminal_wait_ms(const struct terminal *terminal)
{
    return terminal->queued > 0 ? PORTION_PAUSE_MS : UINT64_MAX;
}
