/* SPDX-License-Identifier: MIT */
/* when.c: see when.h. */
#include "when.h"

#include <string.h>

#include "message.h"
#include "must.h"

void when_add(struct whens *whens, const char *argument)
{
    const char *equals = strchr(argument, '=');

    if (equals == NULL || equals == argument)
        die_usage("--when '%s' is not TEXT=WORDS", argument);
    if (whens->count == WHEN_COUNT_MAX)
        die_usage("--when may be given at most %d times", WHEN_COUNT_MAX);
    whens->items[whens->count++] = (struct when){
        .text = argument,
        .text_length = (size_t)(equals - argument),
        .words = equals + 1,
    };
}

void when_line(struct whens *whens, const char *line, int fd)
{
    for (size_t i = 0; i < whens->count; i++) {
        struct when *when = &whens->items[i];
        if (when->done || memmem(line, strlen(line), when->text, when->text_length) == NULL)
            continue;
        when->done = true;
        write_whole(fd, when->words, strlen(when->words));
        write_whole(fd, "\n", 1);
    }
}
