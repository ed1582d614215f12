/* SPDX-License-Identifier: MIT */
/*
 * console.h: the one serial line that Xen, the domain and all guests share, taken apart again.
 *
 * Xen begins its own lines with "(XEN) " and those of a guest without the input focus with
 * "(XEN) DOMn: "; Dom0's bytes come raw, so either can begin in the middle of the other's line.
 * A "(XEN) " therefore always begins a line. Bytes in, lines out through a callback; a line longer
 * than the buffer is handed on in pieces.
 */
#ifndef DRAGOMAN_TOOLS_CONSOLE_H
#define DRAGOMAN_TOOLS_CONSOLE_H

#include <stddef.h>

enum console_speaker {
    SPEAKER_DOMAIN, /* Dom0, or the guest that has the input focus */
    SPEAKER_XEN,
    SPEAKER_GUEST,
};

struct console_line {
    enum console_speaker speaker;
    int guest; /* its domain number, for SPEAKER_GUEST */
    const char *text;
};

typedef void console_line_fn(void *context, const struct console_line *line);

struct console {
    char buffer[2048];
    size_t length;
    console_line_fn *take;
    void *context;
};

void console_feed(struct console *console, const char *bytes, size_t count);

/* Hands on what has no line end yet: for the end of the stream. */
void console_flush(struct console *console);

#endif
