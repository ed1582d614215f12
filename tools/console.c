/* SPDX-License-Identifier: MIT */
/* console.c: see console.h. */
#include "console.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char xen_prefix[] = "(XEN) ";

/* Sorts a whole line by its prefix and hands it on. */
static void hand_on(struct console *console, char *text)
{
    struct console_line line = {SPEAKER_DOMAIN, 0, text};
    size_t prefix_length = strlen(xen_prefix);

    if (strncmp(text, xen_prefix, prefix_length) == 0) {
        line.speaker = SPEAKER_XEN;
        line.text = text + prefix_length;
        if (strncmp(line.text, "DOM", 3) == 0 && isdigit((unsigned char)line.text[3])) {
            char *end;
            long guest = strtol(line.text + 3, &end, 10);
            if (strncmp(end, ": ", 2) == 0 || strcmp(end, ":") == 0) {
                line.speaker = guest == 0 ? SPEAKER_DOMAIN : SPEAKER_GUEST;
                line.guest = (int)guest;
                line.text = end + 1 + (end[1] == ' ');
            }
        }
    }
    console->take(console->context, &line);
}

void console_flush(struct console *console)
{
    if (console->length == 0)
        return;
    console->buffer[console->length] = '\0';
    console->length = 0;
    hand_on(console, console->buffer);
}

void console_feed(struct console *console, const char *bytes, size_t count)
{
    size_t prefix_length = strlen(xen_prefix);

    for (size_t i = 0; i < count; i++) {
        if (bytes[i] == '\n') {
            console_flush(console);
            continue;
        }
        if (bytes[i] == '\r' || bytes[i] == '\0')
            continue;
        if (console->length == sizeof console->buffer - 1)
            console_flush(console);
        console->buffer[console->length++] = bytes[i];

        if (console->length > prefix_length &&
            memcmp(console->buffer + console->length - prefix_length, xen_prefix, prefix_length) ==
                0) {
            console->length -= prefix_length;
            console_flush(console);
            memcpy(console->buffer, xen_prefix, prefix_length);
            console->length = prefix_length;
        }
    }
}
