/* SPDX-License-Identifier: MIT */
/* console_lines.c: see console_lines.h. */
#include "console_lines.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char xen_prefix[] = "(XEN) ";

/* Takes "DOMn: " off a guest's line. */
static void find_guest(struct console_line *line)
{
    char *end;

    if (strncmp(line->text, "DOM", 3) != 0 || !isdigit((unsigned char)line->text[3]))
        return;
    long guest = strtol(line->text + 3, &end, 10);
    if (strncmp(end, ": ", 2) != 0 && strcmp(end, ":") != 0)
        return;
    line->speaker = guest == 0 ? SPEAKER_DOMAIN : SPEAKER_GUEST;
    line->guest = (int)guest;
    line->text = end + 1 + (end[1] == ' ');
}

/* Finds the speaker of a complete line by its prefix, and delivers the line. */
static void deliver_line(struct console_lines *lines, char *text)
{
    struct console_line line = {SPEAKER_DOMAIN, 0, text};
    size_t prefix_length = strlen(xen_prefix);

    if (strncmp(text, xen_prefix, prefix_length) == 0) {
        line.speaker = SPEAKER_XEN;
        line.text = text + prefix_length;
    }
    find_guest(&line);
    lines->take_line(lines->context, &line);
}

void console_lines_flush(struct console_lines *lines)
{
    if (lines->length == 0)
        return;
    lines->buffer[lines->length] = '\0';
    lines->length = 0;
    deliver_line(lines, lines->buffer);
}

void console_lines_feed(struct console_lines *lines, const char *bytes, size_t count)
{
    size_t prefix_length = strlen(xen_prefix);

    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            console_lines_flush(lines);
            continue;
        }
        if (bytes[i] == '\r' || bytes[i] == '\0')
            continue;
        if (lines->length == sizeof lines->buffer - 1)
            console_lines_flush(lines);
        lines->buffer[lines->length++] = bytes[i];

        if (lines->length > prefix_length &&
            memcmp(lines->buffer + lines->length - prefix_length, xen_prefix, prefix_length) == 0) {
            lines->length -= prefix_length;
            console_lines_flush(lines);
            memcpy(lines->buffer, xen_prefix, prefix_length);
            lines->length = prefix_length;
        }
    }
}
