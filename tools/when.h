/* SPDX-License-Identifier: MIT */
/*
 * when.h: words that are typed to the machine when its console prints a text (--when TEXT=WORDS).
 */
#ifndef DRAGOMAN_TOOLS_WHEN_H
#define DRAGOMAN_TOOLS_WHEN_H

#include <stdbool.h>
#include <stddef.h>

enum {
    WHEN_COUNT_MAX = 8,
};

struct whens {
    struct when {
        const char *text;
        size_t text_length;
        const char *words;
        bool done; /* each is typed once */
    } items[WHEN_COUNT_MAX];
    size_t count;
};

/* Adds one from "TEXT=WORDS", which must stay valid; a wrong one ends the tool. */
void when_add(struct whens *whens, const char *argument);

/* Writes the words of each entry whose text the line contains, and a line end, to fd. */
void when_line(struct whens *whens, const char *line, int fd);

#endif
