/* SPDX-License-Identifier: MIT */
/*
 * console_lines.h: splits the output of the machine's serial line into lines, and finds the domain
 * that wrote each.
 *
 * Xen, Dom0 and all guests share the line. Xen begins its own lines with "(XEN) " and those of a
 * guest without the input focus with "(XEN) DOMn: "; those of a guest that Dragoman built begin
 * with "DOMn: ". Dom0's bytes come without a prefix, so either can begin in the middle of the
 * other's line; a "(XEN) " therefore always begins a new line. Bytes in, lines out through a
 * callback; a line longer than the buffer arrives in pieces.
 */
#ifndef DRAGOMAN_TOOLS_CONSOLE_LINES_H
#define DRAGOMAN_TOOLS_CONSOLE_LINES_H

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

struct console_lines {
    char buffer[2048];
    size_t length;
    console_line_fn *take_line;
    void *context;
};

void console_lines_feed(struct console_lines *lines, const char *bytes, size_t count);

/* Delivers a last line that has no line end: for the end of the stream. */
void console_lines_flush(struct console_lines *lines);

#endif
