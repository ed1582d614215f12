/* SPDX-License-Identifier: MIT */
/*
 * terminal.h: the user's terminal during an interactive run.
 *
 * In raw mode every key reaches the machine, Ctrl-C too. Keys are queued and sent in small
 * portions: Xen buffers 32 characters for a guest and drops further ones, so a pasted line must not
 * be sent at once. Dragoman's monitor reads whole lines and shows no echo; for it this file
 * collects a line with echo and Backspace, and queues it when it is complete.
 */
#ifndef DRAGOMAN_TOOLS_TERMINAL_H
#define DRAGOMAN_TOOLS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TERMINAL_QUEUE_BYTES = 256,
    /* A line of Dragoman's monitor; longer ones are cut there. */
    TERMINAL_LINE_BYTES = 79,
};

struct terminal {
    bool raw;
    char queue[TERMINAL_QUEUE_BYTES]; /* typed and not yet sent */
    size_t queued;
    uint64_t next_portion_ns; /* when the next portion may be sent */
    char line[TERMINAL_LINE_BYTES];
    size_t line_length;
};

/* Puts standard input into raw mode if it is a terminal; the mode is restored at exit. */
void terminal_make_raw(struct terminal *terminal);
void terminal_restore(struct terminal *terminal);

/* The number of bytes that may be typed now: the caller reads no more from the user. */
size_t terminal_room(const struct terminal *terminal);

/* Sends a key to a guest or to Xen, unchanged. */
void terminal_type(struct terminal *terminal, char key);

/* Adds a key to a line for the monitor, which is echoed on standard output. */
void terminal_edit_line(struct terminal *terminal, char key);

/* Sends the next portion to fd if its time has come. */
void terminal_send(struct terminal *terminal, int fd, uint64_t now_ns);

/* The longest wait in ms after which terminal_send() must be called again; UINT64_MAX: no need. */
uint64_t terminal_wait_ms(const struct terminal *terminal);

#endif
